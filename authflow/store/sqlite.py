"""The embedded store: one SQLite file, which several processes of one machine may share.

Reads run on the event loop through a read-only connection: in WAL mode they wait for no writer, and a trip to a thread
would cost more than the read. Commits run in one thread per process (see `sqlite_writer`).

The version of a record is the random number of the commit that wrote it last. So every write changes it, a record that
is deleted and inserted again never gets an old one back, and all records of one commit carry the same.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias, assert_never

from authflow.errors import ConfigurationError, StoreUnavailable
from authflow.store import checks
from authflow.store.protocol import INDEXED, Delete, Insert, Key, Page, Put, Record, Update, Version, Write
from authflow.store.sqlite_writer import Statement, Writer, traced, unavailable

READ_WAIT = 0.05
"""Seconds a read may wait, on the loop, for a lock. Readers meet one only while a log is recovered or removed."""

_COLUMNS = "r.kind, r.name, r.version, r.body, r.expires_at"
_INSERT = "INSERT INTO record (kind, name, version, body, expires_at) VALUES (?, ?, ?, ?, ?) ON CONFLICT "

_Row: TypeAlias = tuple[str, str, int, str, int | None]


class SqliteStore:
    """A store in one SQLite file (made with mode 0600, in WAL mode).

    A store object may be made before a server forks its workers; each of them then opens it. Once open it is of no use
    in a forked child, and neither is another store of the same file there: SQLite's bookkeeping of locks does not
    survive a fork.

    Args:
        path: The file; it and its directory are made if missing. Not `:memory:`, see `MemoryStore`.
        trace: Called with the verb of each statement (`SELECT`, `BEGIN`, `COMMIT`, ...) as the driver runs it; for
            commits that is in the writer's thread. `get`, `find` and `find_expired` are one statement each. `BEGIN`
            to `COMMIT` or `ROLLBACK` is one round trip, as the same commit is to a remote store.
    """

    def __init__(self, path: str | Path, *, trace: Callable[[str], None] | None = None) -> None:
        if not str(path) or str(path) == ":memory:":
            raise ConfigurationError("a SQLite store needs a file; for a store in memory take MemoryStore")
        self._path = Path(path).absolute()
        self._trace = trace
        self._writer: Writer | None = None
        self._reader: sqlite3.Connection | None = None

    async def open(self) -> None:
        """Create the file and what it lacks, start the writer, connect the reader."""
        is_first = self._writer is None
        writer = self._writer = self._writer or Writer(self._path, _schema(), self._trace)
        _check_process(writer)
        try:
            await writer.run(())
            self._connect()
        except BaseException:
            if is_first:
                await self.close()
            raise

    async def close(self) -> None:
        """Finish the commits that wait, then let go of both connections and the thread."""
        writer, reader = self._writer, self._reader
        if writer is None or writer.process != os.getpid():
            return  # A forked child may not even close what it inherited.
        self._writer = self._reader = None
        await writer.stop()
        if reader is not None:
            reader.close()

    async def get(self, keys: Sequence[Key]) -> Mapping[Key, Record]:
        """See `Store.get`. A name that no record can have is absent."""
        wanted = dict.fromkeys(keys)
        if not wanted:
            return {}
        try:
            rows = self._select(_get_sql(len(wanted)), [text for key in wanted for text in key])
        except UnicodeEncodeError:
            return await self.get([key for key in wanted if checks.is_text(key.kind) and checks.is_text(key.name)])
        return {record.key: record for record in _records(rows)}

    async def find(
        self,
        kind: str,
        field: str,
        *,
        equals: str | int | None = None,
        at_most: str | int | None = None,
        at_least: str | int | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """See `Store.find`."""
        bounds = (equals, at_most, at_least)
        checks.check_question(kind, field, bounds, limit)
        question = checks.fingerprint(kind, field, bounds)
        value = f"json_extract(body, '$.{field}')"
        # The index is named, since SQLite would rather read the whole kind by the primary key; kind and field are no
        # parameters, else it could not see that the partial index serves.
        sql = (
            f"SELECT {_COLUMNS} FROM record r INDEXED BY {_index(kind, field)} "  # noqa: S608 - both are keys of INDEXED
            f"WHERE kind = '{kind}' AND {value} IS NOT NULL"
        )
        parameters: list[str | int] = []
        for operator, bound in zip(("=", "<=", ">="), bounds, strict=True):
            if bound is not None:
                sql += f" AND {value} {operator} ?"
                parameters.append(bound)
        if cursor is not None:
            last, name = checks.read_cursor(question, cursor)
            sql += f" AND {value} >= ? AND ({value}, name) > (?, ?)"
            parameters += [last, last, name]
        # Of one value only the names are to be put in order; SQLite does not see that and would sort.
        sql += " ORDER BY name LIMIT ?" if equals is not None else f" ORDER BY {value}, name LIMIT ?"
        rows = self._select(sql, [*parameters, limit + 1])
        records = _records(rows[:limit])
        if len(rows) <= limit:
            return Page(records)
        end = records[-1].data[field]
        assert isinstance(end, str | int)  # noqa: S101 - what is indexed was checked when it was written
        return Page(records, checks.make_cursor(question, end, records[-1].key.name))

    async def find_expired(self, now: datetime, *, limit: int = 500) -> Sequence[Record]:
        """See `Store.find_expired`."""
        sql = f"SELECT {_COLUMNS} FROM record r WHERE expires_at < ? ORDER BY expires_at, kind, name LIMIT ?"  # noqa: S608 - constants
        return _records(self._select(sql, [checks.to_microseconds(now), limit]))

    async def commit(self, writes: Sequence[Write], *, durable: bool = True) -> None:
        """See `Store.commit`. Answers within `sqlite_writer.ANSWER_WITHIN`; without writes it does nothing.

        Raises:
            StoreUnavailable: Nothing was written, or, where the detail says so, nobody knows.
        """
        checks.check_writes(writes)
        version = secrets.randbits(62)
        statements = [_statement(write, version) for write in writes]
        writer = self._writer
        if writer is None:
            raise StoreUnavailable("the store is not open")
        _check_process(writer)
        if statements:
            await writer.run(statements, durable=durable)

    def _select(self, sql: str, parameters: Sequence[str | int]) -> list[_Row]:
        """Run one statement to its end, so that no read transaction stays open."""
        try:
            return self._connect().execute(sql, parameters).fetchall()
        except sqlite3.Error as error:
            if self._reader is not None:
                self._reader.close()
                self._reader = None
            raise unavailable(error) from error

    def _connect(self) -> sqlite3.Connection:
        if self._writer is None:
            raise StoreUnavailable("the store is not open")
        _check_process(self._writer)
        self._writer.demand_own_file()
        if self._reader is None:
            address = self._path.as_uri() + "?mode=ro"
            try:
                # Several event loops, each in its thread, may share the connection: SQLite takes turns itself.
                reader = sqlite3.connect(
                    address, uri=True, timeout=READ_WAIT, isolation_level=None, check_same_thread=False
                )
            except sqlite3.Error as error:
                raise unavailable(error) from error
            reader.set_trace_callback(traced(self._trace))
            self._reader = reader
        return self._reader


@lru_cache(maxsize=128)
def _get_sql(count: int) -> str:
    # A join, since SQLite answers `(kind, name) IN (VALUES ...)` by reading the whole table.
    keys = ", ".join(["(?, ?)"] * count)
    return (
        f"WITH wanted (kind, name) AS (VALUES {keys}) SELECT {_COLUMNS} "  # noqa: S608 - question marks and constants
        "FROM wanted CROSS JOIN record r ON r.kind = wanted.kind AND r.name = wanted.name"
    )


def _statement(write: Write, version: Version) -> Statement:
    kind, name = write.key
    guards = checks.conflict_detail(write)
    if isinstance(write, Delete):
        if write.version is None:
            return Statement("DELETE FROM record WHERE kind = ? AND name = ?", (kind, name), None)
        sql = "DELETE FROM record WHERE kind = ? AND name = ? AND version = ?"
        return Statement(sql, (kind, name, write.version), guards)
    body = checks.encode_body(write.data)
    expires_at = None if write.expires_at is None else checks.to_microseconds(write.expires_at)
    match write:
        case Insert():
            return Statement(_INSERT + "DO NOTHING", (kind, name, version, body, expires_at), guards)
        case Put():
            replace = "DO UPDATE SET version = excluded.version, body = excluded.body, expires_at = excluded.expires_at"
            return Statement(_INSERT + replace, (kind, name, version, body, expires_at), None)
        case Update():
            sql = "UPDATE record SET version = ?, body = ?, expires_at = ? WHERE kind = ? AND name = ? AND version = ?"
            return Statement(sql, (version, body, expires_at, kind, name, write.version), guards)
        case _:
            assert_never(write)


def _records(rows: Iterable[_Row]) -> list[Record]:
    try:
        return [
            Record(
                Key(kind, name),
                checks.StoredBody(body),
                version,
                None if expires_at is None else checks.from_microseconds(expires_at),
            )
            for kind, name, version, body, expires_at in rows
        ]
    except (ValueError, OverflowError, TypeError) as error:
        raise StoreUnavailable("a record cannot be read") from error


def _schema() -> dict[str, str]:
    """Say what the file must hold, by name. A field that `INDEXED` gains later gets its index at the next start."""
    schema = {
        "record": "CREATE TABLE record (kind TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL, "
        "body TEXT NOT NULL, expires_at INTEGER, PRIMARY KEY (kind, name)) WITHOUT ROWID",
        "record_expires_at": "CREATE INDEX record_expires_at ON record (expires_at) WHERE expires_at IS NOT NULL",
    }
    for kind, fields in INDEXED.items():
        for field in fields:
            value = f"json_extract(body, '$.{field}')"
            schema[_index(kind, field)] = (
                f"CREATE INDEX {_index(kind, field)} ON record ({value}, name) "
                f"WHERE kind = '{kind}' AND {value} IS NOT NULL"
            )
    return schema


def _index(kind: str, field: str) -> str:
    return f"record_{kind}_{field}"


def _check_process(writer: Writer) -> None:
    if writer.process != os.getpid():
        raise StoreUnavailable("the store was opened before this process was forked; open it after the fork")
