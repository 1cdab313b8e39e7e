"""Workers that are killed at each boundary of a task, and workers that share one file.

The workers are processes of their own, made of this file. The one to be killed says on its output where it stands and
stays there; then it gets SIGKILL. Who comes after it, this process, has a clock that is an hour ahead, so that no test
waits for a lease except the one about that.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from authflow.mail import Mail, MailTransport, transport_from_url
from authflow.seam import Call
from authflow.store.instrumented import InstrumentedStore
from authflow.store.protocol import Record, Store
from authflow.store.sqlite import SqliteStore
from authflow.tasks.local import LocalQueue
from authflow.tasks.protocol import Handler, Task

ROOT = Path(__file__).resolve().parents[2]
SENDER = "noreply@example.org"
PATIENCE = 20.0

INSERTED = "after the commit that inserts the task"
CLAIMED = "after the claim"
READY = "before the mail is sent"
SENT = "after the server's 250"
MARKING = "before the mark"
MARKED = "after the mark"


def now() -> datetime:
    return datetime.now(UTC)


def in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


# --- The tests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("boundary", "deliveries"), [(INSERTED, 1), (CLAIMED, 1), (READY, 1), (SENT, 2), (MARKING, 2), (MARKED, 1)]
)
async def test_a_mail_survives_a_kill_and_is_doubled_only_between_the_answer_and_the_mark(
    tmp_path: Path, boundary: str, deliveries: int
) -> None:
    from tests.parts.smtp_sink import SmtpSink

    path = tmp_path / "store.sqlite"
    with SmtpSink() as sink:
        with worker("stop_at", path, sink.url, boundary) as process:
            kill_at(process, boundary)
        await sweep(path, sink.url)

        assert len(sink.deliveries) == deliveries
        assert len({message["Message-ID"] for message in sink.messages}) == 1
        assert await waiting(path) == []


async def test_a_killed_workers_task_is_left_alone_while_its_lease_lasts(tmp_path: Path) -> None:
    path, folder = tmp_path / "store.sqlite", tmp_path / "mails"
    with worker("stop_at", path, f"file:{folder}", CLAIMED) as process:
        kill_at(process, CLAIMED)

    async with opened(path) as store:
        assert await LocalQueue(store, clock=now).run_due({"mail": mailing(f"file:{folder}")}) == 0

    assert len(await waiting(path)) == 1
    assert not folder.exists()


async def test_a_running_worker_takes_over_when_the_lease_of_a_killed_one_ends(tmp_path: Path) -> None:
    path, folder = tmp_path / "store.sqlite", tmp_path / "mails"
    with worker("stop_at", path, f"file:{folder}", CLAIMED, "0.3") as process:
        kill_at(process, CLAIMED)

    async with opened(path) as store:
        queue = LocalQueue(store, clock=now, poll=timedelta(seconds=0.05))
        await queue.start({"mail": mailing(f"file:{folder}")})
        await until_empty(store)
        await queue.stop()

    assert len(list(folder.glob("*.eml"))) == 1


async def test_kills_in_full_swing_lose_nothing(tmp_path: Path) -> None:
    path, folder, kills = tmp_path / "store.sqlite", tmp_path / "mails", 3
    ids = await filled(path, 40)

    for number in range(kills):
        with worker("serve", path, f"file:{folder}") as process:
            await until_holds(folder, 5 * (number + 1))
            process.kill()
    left = len(await waiting(path))
    await sweep(path, f"file:{folder}")

    sent = Counter(file.name.split("-")[1] for file in folder.glob("*.eml"))
    assert 0 < left < len(ids)
    assert len(sent) == len(ids)
    assert sent.total() - len(ids) <= kills * 4  # so many are in work at once
    assert await waiting(path) == []


async def test_two_processes_share_the_work_and_do_each_task_once(tmp_path: Path) -> None:
    path, notes = tmp_path / "store.sqlite", tmp_path / "notes"
    ids = await filled(path, 40)

    with worker("note", path, str(notes)) as one, worker("note", path, str(notes)) as other:
        async with opened(path) as store:
            await until_empty(store)
        for process in (one, other):
            process.communicate("stop\n", PATIENCE)

    lines = [line.split() for line in notes.read_text().splitlines()]
    assert sorted(task for _, task in lines) == sorted(ids)
    assert {int(process) for process, _ in lines} == {one.pid, other.pid}


# --- What they need ---------------------------------------------------------------------------------------------------


@contextmanager
def worker(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    """Start this file as a process; end it if it is still there."""
    process = subprocess.Popen(
        [sys.executable, __file__, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str], what: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline().strip() == what


def kill_at(process: subprocess.Popen[str], boundary: str) -> None:
    said(process, boundary)
    process.kill()
    assert process.wait(PATIENCE) == -9


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[Store]:
    store = SqliteStore(path)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


async def filled(path: Path, count: int) -> list[str]:
    """Insert tasks in one commit; return their ids."""
    async with opened(path) as store:
        inserts = [LocalQueue(store, clock=now).write("mail", {"number": number}, now()) for number in range(count)]
        await store.commit(inserts)
    return [insert.key.name for insert in inserts]


async def waiting(path: Path) -> list[Record]:
    async with opened(path) as store:
        return list((await store.find("outbox", "due_at")).records)


async def sweep(path: Path, url: str) -> None:
    """Carry out all there is, by a clock that is an hour ahead."""
    async with opened(path) as store:
        await LocalQueue(store, clock=in_an_hour).run_due({"mail": mailing(url)})


async def until_empty(store: Store) -> None:
    async with asyncio.timeout(PATIENCE):
        while (await store.find("outbox", "due_at", limit=1)).records:  # noqa: ASYNC110 - other processes empty it
            await asyncio.sleep(0.02)


async def until_holds(folder: Path, count: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while len(list(folder.glob("*.eml"))) < count:  # noqa: ASYNC110, ASYNC240 - another process fills it
            await asyncio.sleep(0.001)


# --- The workers ------------------------------------------------------------------------------------------------------


def mailing(url: str, reached: Callable[[str], None] = lambda _: None) -> Handler:
    """Return a handler that sends a mail whose Message-ID is the task's."""
    transport: MailTransport = transport_from_url(url, sender=SENDER)

    async def handler(task: Task) -> None:
        reached(READY)
        await transport.send(Mail("ann@example.org", "Hello", "Hello, Ann.", None, f"<{task.id}@example.org>"))
        reached(SENT)

    return handler


class Boundaries:
    """An observer that knows where in the life of one task the store's calls stand."""

    def __init__(self, reached: Callable[[str], None]) -> None:
        self._reached = reached
        self._after = iter((INSERTED, CLAIMED, MARKED))
        self._before = iter(("", "", MARKING))

    async def before(self, call: Call) -> None:
        if call.operation == "commit":
            self._reached(next(self._before))

    def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
        if call.operation == "commit":
            self._reached(next(self._after))


async def stop_at(path: Path, url: str, boundary: str, lease: str = "30") -> None:
    """Write a task and carry it out, but stand still at a boundary."""

    def reached(place: str) -> None:
        if place == boundary:
            print(place, flush=True)
            time.sleep(60)

    async with opened(path) as inner:
        store = InstrumentedStore(inner, [Boundaries(reached)])
        queue = LocalQueue(store, clock=now, lease=timedelta(seconds=float(lease)))
        await store.commit([queue.write("mail", {}, now())])
        await queue.run_due({"mail": mailing(url, reached)})


async def serve(path: Path, url: str) -> None:
    """Work until killed."""
    async with opened(path) as store:
        await LocalQueue(store, clock=now).start({"mail": mailing(url)})
        await asyncio.sleep(60)


async def note(path: Path, notes: str) -> None:
    """Note down each task in a file; work until a line comes in. Nobody ends a task before two processes have one."""

    def has_company(task: Task | None = None) -> bool:
        with open(notes, "a+") as file:
            if task is not None:
                file.write(f"{os.getpid()} {task.id}\n")
            file.seek(0)
            return len({line.split()[0] for line in file}) > 1

    async def handler(task: Task) -> None:
        is_alone = not has_company(task)
        while is_alone:
            await asyncio.sleep(0.01)
            is_alone = not has_company()

    async with opened(path) as store:
        queue = LocalQueue(store, clock=now, poll=timedelta(seconds=0.05))
        await queue.start({"mail": handler})
        await asyncio.to_thread(sys.stdin.readline)
        await queue.stop()


if __name__ == "__main__":
    name, path, *rest = sys.argv[1:]
    roles = {role.__name__: role for role in (stop_at, serve, note)}
    asyncio.run(roles[name](Path(path), *rest))
