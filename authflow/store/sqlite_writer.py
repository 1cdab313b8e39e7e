"""The one thread of a process that writes to a SQLite file.

Commits leave the event loop, since they wait for the lock of another process and for the disk. They share one thread,
since waiters for SQLite's lock poll: many of them would starve each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

from authflow.errors import StoreConflict, StoreUnavailable

LOCK_WAIT = 1.2
"""Seconds a commit waits for another process to finish its own."""

ANSWER_WITHIN = 1.7
"""Seconds after which a commit is given up, its wait behind others included."""


class Statement(NamedTuple):
    """One statement of a commit.

    Attributes:
        guards: What a conflict is to be called if it does not touch exactly one record; `None` if it need not.
    """

    sql: str
    values: tuple[str | int | None, ...]
    guards: str | None


class Writer:
    """Owns a thread and, in it, the only connection of this process that writes.

    Args:
        path: The file to write to.
        schema: By name, the statement that creates each table and index.
        trace: See `SqliteStore`.
    """

    def __init__(self, path: Path, schema: Mapping[str, str], trace: Callable[[str], None] | None) -> None:
        self.process = os.getpid()
        self._path = path
        self._schema = schema
        self._trace = trace
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_durable = True
        self._file: tuple[int, int] | None = None

    def demand_own_file(self) -> None:
        """Refuse to go on when the file that was opened does not lie under its path any more.

        SQLite would write on into a deleted file, and all of it is gone when the last process lets go; of processes
        that share the path, some would see another store than others.

        Raises:
            StoreUnavailable: It was deleted, moved or replaced.
        """
        if self._file is not None and _identity(self._path) != self._file:
            raise StoreUnavailable("the file was deleted or replaced; put it back, or start the server again")

    async def run(self, statements: Sequence[Statement], *, durable: bool = True) -> None:
        """Carry out statements in one transaction; without any, only see to it that the file is ready.

        Raises:
            StoreConflict: A statement did not touch the one record it had to.
            StoreUnavailable: SQLite refused, or did not answer in time.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="authflow-sqlite-writer", daemon=True)
            self._thread.start()
        job = _Job(statements, durable)
        self._jobs.put(job)
        await job.answer()

    async def stop(self) -> None:
        """End the thread once the jobs before are done."""
        if self._thread is not None:
            job = _Job((), is_last=True)
            self._jobs.put(job)
            await job.future

    def _serve(self) -> None:
        connection: sqlite3.Connection | None = None
        while True:
            job = self._jobs.get()
            error: Exception | None = None
            if job.is_last:
                break
            if job.is_claimed():
                continue
            try:
                self.demand_own_file()
                if connection is None:
                    connection = self._connect()
                if job.statements:
                    self._carry_out(connection, job)
            except sqlite3.Error as reason:
                error = unavailable(reason)
                if connection is not None and not _is_busy(reason):
                    connection.close()
                    connection = None
            except OSError as reason:
                error = StoreUnavailable(f"the file cannot be made: {reason.strerror}")
                error.__cause__ = reason
            except Exception as reason:
                error = reason
            job.settle(error)
        if connection is not None:
            connection.close()
        job.settle(None)

    def _carry_out(self, connection: sqlite3.Connection, job: _Job) -> None:
        if job.durable != self._is_durable:
            connection.execute(f"PRAGMA synchronous = {'FULL' if job.durable else 'NORMAL'}")
            self._is_durable = job.durable
        # Never a deferred transaction: once it has read, no wait helps it to the lock (SQLITE_BUSY_SNAPSHOT).
        connection.execute("BEGIN IMMEDIATE")
        try:
            for sql, values, guards in job.statements:
                if connection.execute(sql, values).rowcount != 1 and guards is not None:
                    raise StoreConflict(guards)
            if not job.claim():
                raise StoreUnavailable("given up")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite gives the log and the shared index the file's own mode.
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        self._file = _identity(self._path)
        connection = sqlite3.connect(self._path, timeout=LOCK_WAIT, isolation_level=None)
        try:
            _turn_on_log(connection)
            connection.execute("PRAGMA synchronous = FULL")
            self._is_durable = True
            if self._missing(connection):
                connection.execute("BEGIN IMMEDIATE")
                for sql in self._missing(connection):
                    connection.execute(sql)
                connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        connection.set_trace_callback(traced(self._trace))
        return connection

    def _missing(self, connection: sqlite3.Connection) -> list[str]:
        present = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
        return [sql for name, sql in self._schema.items() if name not in present]


class _Job:
    """What the loop hands to the thread, and the way back.

    Whoever claims the job first decides it: the thread before its COMMIT, or the waiter that gives up. So a commit that
    was given up is not carried out behind its caller's back, unless it was already on its way to the disk.
    """

    def __init__(self, statements: Sequence[Statement], durable: bool = True, *, is_last: bool = False) -> None:
        self.statements = statements
        self.durable = durable
        self.is_last = is_last
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self._loop.create_future()
        self._turn = threading.Lock()

    async def answer(self) -> None:
        """Wait for the thread, up to `ANSWER_WITHIN`."""
        timer = self._loop.call_later(ANSWER_WITHIN, self._give_up)
        try:
            await self.future
        except asyncio.CancelledError:
            self.claim()
            raise
        finally:
            timer.cancel()

    def claim(self) -> bool:
        """Answer True to the first who asks, False to all others."""
        return self._turn.acquire(blocking=False)

    def is_claimed(self) -> bool:
        """Tell whether the waiter has gone (for the thread, which has not claimed yet)."""
        return self._turn.locked()

    def settle(self, error: Exception | None) -> None:
        """Hand the answer to the waiter's loop, from the thread."""
        # The loop may have been closed meanwhile; then nobody waits.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._resolve, error)

    def _resolve(self, error: Exception | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(error)

    def _give_up(self) -> None:
        outcome = "nothing was written" if self.claim() else "whether it was written is unknown"
        self._resolve(StoreUnavailable(f"no answer in {ANSWER_WITHIN} s; {outcome}"))


def unavailable(error: sqlite3.Error) -> StoreUnavailable:
    """Translate what the driver raised; its messages hold names of ours, never values."""
    translated = StoreUnavailable(f"{getattr(error, 'sqlite_errorname', type(error).__name__)}: {error}")
    translated.__cause__ = error
    return translated


def traced(trace: Callable[[str], None] | None) -> Callable[[str], None] | None:
    """Wrap a trace for the driver, which hands out statements with their values filled in: only the verb passes."""
    if trace is None:
        return None
    return lambda sql: trace(sql.split(maxsplit=1)[0])


def _turn_on_log(connection: sqlite3.Connection) -> None:
    # While another process does the same for a new file, SQLite refuses at once instead of waiting.
    until = time.monotonic() + LOCK_WAIT
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)
            continue
        if mode != "wal":
            raise sqlite3.OperationalError("this file system does not bear SQLite's WAL mode")
        return


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _is_busy(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
