"""What the embedded store promises beyond the contract: several processes, locks, crashes, the file itself."""

# ruff: noqa: ASYNC240 - a test may wait for its own small files

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from authflow.errors import ConfigurationError, StoreConflict, StoreUnavailable
from authflow.store.protocol import INDEXED, Insert, Key, Put, Update, Write
from authflow.store.sqlite import SqliteStore
from authflow.store.sqlite_writer import ANSWER_WITHIN

ANN = Key("account", "ann")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.sqlite"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(path)
    await store.open()
    yield store
    await store.close()


@contextmanager
def lock_held(path: Path) -> Iterator[None]:
    """Hold the write lock from another connection, as a second process would."""
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        holder.close()


class Lag:
    """Measures how long the event loop was kept from running while the block ran."""

    worst = 0.0

    async def __aenter__(self) -> Lag:
        self._task = asyncio.create_task(self._watch())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task

    async def _watch(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0.005)
            self.worst = max(self.worst, time.perf_counter() - began - 0.005)


# --- The file ---------------------------------------------------------------------------------------------------------


async def test_the_file_and_its_log_are_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "new" / "directory" / "store.sqlite"
    store = SqliteStore(path)
    await store.open()
    await store.commit([Insert(ANN, {})])

    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}

    assert modes == {"store.sqlite": 0o600, "store.sqlite-wal": 0o600, "store.sqlite-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    await store.close()


async def test_the_mode_does_not_hang_on_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        store = SqliteStore(path)
        await store.open()
        await store.close()
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("path", [":memory:", "", Path(":memory:")])
def test_a_store_without_a_file_is_refused(path: str | Path) -> None:
    with pytest.raises(ConfigurationError):
        SqliteStore(path)


async def test_what_was_committed_is_there_after_reopening(path: Path) -> None:
    for number in range(3):
        store = SqliteStore(path)
        await store.open()
        found = await store.get([ANN])
        assert [record.data["n"] for record in found.values()] == ([number - 1] if number else [])
        await store.commit([Put(ANN, {"n": number})])
        await store.close()


async def test_a_file_that_is_no_database_is_unavailable(path: Path) -> None:
    path.write_bytes(b"this is no database" * 500)

    with pytest.raises(StoreUnavailable):
        await SqliteStore(path).open()


async def test_a_file_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    for path in (tmp_path / "file" / "store.sqlite", tmp_path):
        with pytest.raises(StoreUnavailable):
            await SqliteStore(path).open()


async def test_an_opening_that_failed_leaves_the_store_closed(path: Path) -> None:
    path.mkdir()
    store = SqliteStore(path)
    with pytest.raises(StoreUnavailable):
        await store.open()
    path.rmdir()

    with pytest.raises(StoreUnavailable, match="not open"):
        await store.get([ANN])
    await store.open()
    await store.commit([Insert(ANN, {})])
    await store.close()


async def test_a_damaged_record_is_unavailable(store: SqliteStore, path: Path) -> None:
    await store.commit([Insert(Key("role", "x"), {})])
    with sqlite3.connect(path) as other:
        other.execute("UPDATE record SET body = '{'")

    damaged = (await store.get([Key("role", "x")]))[Key("role", "x")]
    with pytest.raises(StoreUnavailable):
        damaged.data["anything"]


async def test_a_table_that_vanished_is_unavailable_and_comes_back(store: SqliteStore, path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("DROP TABLE record")

    with pytest.raises(StoreUnavailable):
        await store.get([ANN])
    with pytest.raises(StoreUnavailable):
        await store.commit([Insert(ANN, {})])

    await store.commit([Insert(ANN, {})])
    assert ANN in await store.get([ANN])


async def test_a_full_disk_is_unavailable_and_leaves_nothing(store: SqliteStore, path: Path) -> None:
    await store.commit([Insert(ANN, {"n": 1})])
    writes: list[Write] = [Put(ANN, {"n": 2}), Insert(Key("session", "big"), {"body": "x" * 3_000_000})]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, limits[1]))
    try:
        with pytest.raises(StoreUnavailable):
            await store.commit(writes)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)

    assert (await store.get([ANN]))[ANN].data == {"n": 1}
    await store.commit(writes)
    assert (await store.get([ANN]))[ANN].data == {"n": 2}


async def test_every_listing_uses_its_index_and_sorts_nothing(
    store: SqliteStore, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    questions: list[dict[str, Any]] = [{}, {"equals": 1}, {"at_most": 1}, {"at_least": 0, "at_most": 1}]
    plans: list[str] = []
    select = store._select

    def explain_and_select(sql: str, parameters: list[str | int]) -> object:
        with sqlite3.connect(path) as other:
            plans.append(str(other.execute("EXPLAIN QUERY PLAN " + sql, parameters).fetchall()))
        return select(sql, parameters)

    monkeypatch.setattr(store, "_select", explain_and_select)
    for kind, fields in INDEXED.items():
        for field in fields:
            await store.commit([Put(Key(kind, str(number)), {field: number % 2}) for number in range(5)])
            plans.clear()
            for bounds in questions:
                cursor = (await store.find(kind, field, limit=1, **bounds)).cursor
                await store.find(kind, field, cursor=cursor, **bounds)
            assert len(plans) == 8
            assert all(f"USING INDEX record_{kind}_{field}" in plan for plan in plans)
            assert not any("TEMP B-TREE" in plan for plan in plans)
    plans.clear()

    await store.find_expired(datetime(2026, 1, 1, tzinfo=UTC))

    assert "record_expires_at" in plans[0]
    assert "TEMP B-TREE" not in plans[0]


# --- Round trips ------------------------------------------------------------------------------------------------------


async def test_a_read_is_one_statement_and_a_commit_one_transaction(path: Path) -> None:
    verbs: list[str] = []
    store = SqliteStore(path, trace=verbs.append)
    await store.open()
    assert verbs == []

    await store.get([ANN, Key("session", "s"), Key("bucket", "b")])
    assert verbs == ["WITH"]

    verbs.clear()
    await store.commit([Insert(ANN, {"secret": "hunter2"}), Put(Key("session", "s"), {})])
    assert verbs == ["BEGIN", "INSERT", "INSERT", "COMMIT"]

    verbs.clear()
    with pytest.raises(StoreConflict):
        await store.commit([Insert(ANN, {})])
    assert verbs == ["BEGIN", "INSERT", "ROLLBACK"]
    await store.close()


async def test_a_commit_is_synced_to_disk_unless_it_need_not_be(path: Path) -> None:
    verbs: list[str] = []
    store = SqliteStore(path, trace=verbs.append)
    await store.open()

    await store.commit([Put(ANN, {})], durable=False)
    await store.commit([Put(ANN, {})], durable=False)
    await store.commit([Put(ANN, {})], durable=True)

    transaction = ["BEGIN", "INSERT", "COMMIT"]
    assert verbs == ["PRAGMA", *transaction, *transaction, "PRAGMA", *transaction]
    await store.close()


# --- Locks ------------------------------------------------------------------------------------------------------------


async def test_a_lock_held_elsewhere_is_unavailable_in_time_and_the_loop_runs_on(
    store: SqliteStore, path: Path
) -> None:
    # One hold for all that follows from it, since it takes its time.
    events = [Key("event", str(by)) for by in range(20)]
    with lock_held(path):
        async with Lag() as lag:
            began = time.monotonic()
            calls = [*(store.commit([Insert(event, {})]) for event in events), store.open()]
            answers = await asyncio.gather(*calls, return_exceptions=True)
            took = time.monotonic() - began

    assert {type(answer) for answer in answers} == {StoreUnavailable}
    assert took < 2
    assert lag.worst < 0.25

    # What was given up is not carried out later, and the opening that failed did not close the store.
    await store.commit([Insert(ANN, {})])
    assert set(await store.get([ANN, *events])) == {ANN}


async def test_a_commit_waits_for_a_lock_that_is_let_go(store: SqliteStore, path: Path) -> None:
    with lock_held(path):
        task = asyncio.create_task(store.commit([Insert(ANN, {})]))
        await asyncio.sleep(0.2)
        assert not task.done()

    await asyncio.wait_for(task, ANSWER_WITHIN)

    assert ANN in await store.get([ANN])


async def test_readers_do_not_wait_for_a_writer(store: SqliteStore, path: Path) -> None:
    await store.commit([Insert(ANN, {"n": 1}), Insert(Key("outbox", "m"), {"due_at": 1})])
    with lock_held(path):
        began = time.monotonic()

        for _ in range(100):
            assert ANN in await store.get([ANN])
            assert (await store.find("outbox", "due_at")).records

        assert time.monotonic() - began < 0.5


async def test_a_read_leaves_no_transaction_open(store: SqliteStore, path: Path) -> None:
    await store.commit([Insert(ANN, {"n": 1})])
    await store.get([ANN])
    await store.find("account", "canonical_name")

    with sqlite3.connect(path) as other:
        busy, _, _ = other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()

    assert busy == 0


async def test_a_store_opens_while_another_process_writes(store: SqliteStore, path: Path) -> None:
    second = SqliteStore(path)
    with lock_held(path):
        await second.open()
    await second.close()


async def test_closing_finishes_what_was_handed_in(path: Path) -> None:
    store = SqliteStore(path)
    await store.open()
    commits = [asyncio.create_task(store.commit([Insert(Key("event", str(by)), {})])) for by in range(20)]
    await asyncio.sleep(0)

    await store.close()

    assert await asyncio.gather(*commits) == [None] * 20
    await store.open()
    assert len(await store.get([Key("event", str(by)) for by in range(20)])) == 20
    await store.close()


def test_a_store_serves_one_event_loop_after_another(path: Path) -> None:
    store = SqliteStore(path)

    async def work(number: int) -> None:
        await store.open()
        await store.commit([Insert(Key("event", str(number)), {})])
        assert len(await store.get([Key("event", str(past)) for past in range(number + 1)])) == number + 1

    for number in range(3):
        asyncio.run(work(number))
    asyncio.run(store.close())


# --- Several processes ------------------------------------------------------------------------------------------------

ROUNDS = 60
RACERS = 8


def _race(
    path: Path, name: str, barrier: multiprocessing.synchronize.Barrier, results: multiprocessing.Queue[str]
) -> None:
    async def run() -> None:
        store = SqliteStore(path)
        await store.open()
        for round_ in range(ROUNDS):
            key = Key("session", f"r{round_}")
            record = (await store.get([key]))[key]
            barrier.wait(20)
            answers = await asyncio.gather(
                *(store.commit([Update(key, {"by": f"{name}{by}"}, record.version)]) for by in range(RACERS)),
                return_exceptions=True,
            )
            for by, answer in enumerate(answers):
                if answer is None:
                    results.put(f"{round_} {name}{by}")
                elif not isinstance(answer, StoreConflict):
                    results.put(f"{round_} {answer!r}")
        await store.close()

    asyncio.run(run())
    results.put("end")


async def test_of_two_processes_one_wins(store: SqliteStore, path: Path) -> None:
    await store.commit([Insert(Key("session", f"r{round_}"), {}) for round_ in range(ROUNDS)])
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    results: multiprocessing.Queue[str] = context.Queue()
    processes = [context.Process(target=_race, args=(path, name, barrier, results), daemon=True) for name in "ab"]
    for process in processes:
        process.start()

    winners: list[str] = []
    for _ in processes:
        while (line := await asyncio.to_thread(results.get, True, 30)) != "end":
            winners.append(line)

    found = await store.get([Key("session", f"r{round_}") for round_ in range(ROUNDS)])
    expected = [f"{round_} {found[Key('session', f'r{round_}')].data['by']}" for round_ in range(ROUNDS)]
    assert sorted(winners) == sorted(expected)
    for process in processes:
        process.join(10)


FORKED = """
import asyncio, os, sys
from authflow.errors import StoreUnavailable
from authflow.store.protocol import Insert, Key
from authflow.store.sqlite import SqliteStore

path, when = sys.argv[1:]
store = SqliteStore(path)

async def insert(name):
    await store.open()
    await store.commit([Insert(Key("event", name), {})])

if when == "after":
    asyncio.run(insert("before"))
child = os.fork()
try:
    asyncio.run(insert("child" if child == 0 else "parent"))
    asyncio.run(store.close())
except StoreUnavailable as error:
    os._exit(3 if "forked" in str(error) else 4)
if child:
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status))
os._exit(0)
"""


@pytest.mark.parametrize(("when", "status", "names"), [("before", 0, "child parent"), ("after", 3, "before parent")])
def test_a_fork_needs_an_opening_of_its_own(path: Path, when: str, status: int, names: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED, str(path), when],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=20,
    )

    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, str(status), "")
    with sqlite3.connect(path) as other:
        assert " ".join(name for (name,) in other.execute("SELECT name FROM record ORDER BY name")) == names


WRITER = """
import asyncio, sys
from authflow.store.protocol import Key, Put
from authflow.store.sqlite import SqliteStore

async def main():
    store = SqliteStore(sys.argv[1])
    await store.open()
    number = int(sys.argv[2])
    while True:
        number += 1
        body = {"n": number, "padding": "x" * (number % 50 * 200)}
        await store.commit([Put(Key("event", str(part)), body) for part in range(8)], durable=number % 2 == 0)
        print(number, flush=True)

asyncio.run(main())
"""


def test_a_killed_writer_leaves_no_half_commit_and_loses_none(path: Path) -> None:
    keys = [Key("event", str(part)) for part in range(8)]

    async def read_numbers() -> set[int]:
        store = SqliteStore(path)
        await store.open()
        found = await store.get(keys)
        await store.close()
        assert len(found) == len(keys)
        return {number for record in found.values() if isinstance(number := record.data["n"], int)}

    number = 0
    for kill in range(24):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(number)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        acknowledged = int(process.stdout.readline())
        time.sleep(kill * 0.0007)
        process.kill()
        acknowledged = max([acknowledged, *map(int, process.stdout.read().split())])
        process.wait()
        process.stdout.close()

        numbers = asyncio.run(read_numbers())
        assert len(numbers) == 1
        assert numbers <= {acknowledged, acknowledged + 1}
        number = numbers.pop()
    with sqlite3.connect(path) as other:
        assert other.execute("PRAGMA integrity_check").fetchone() == ("ok",)
