"""What is due is carried out, put off or given up, by one at a time: on every queue. And the embedded one's worker."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from authflow.errors import ConfigurationError, ContractViolation, StoreUnavailable
from authflow.mail import MailRefused, MailUnavailable
from authflow.model import Event, Plain
from authflow.seam import Call, Seam, billing
from authflow.settings import CloudTasksSetting
from authflow.store.instrumented import InstrumentedStore
from authflow.store.memory import MemoryStore
from authflow.store.protocol import Delete, Insert, Key, Record, Store
from authflow.store.sqlite import SqliteStore
from authflow.tasks.cloud_tasks import CloudTasksQueue
from authflow.tasks.local import LocalQueue
from authflow.tasks.protocol import Task, TaskFailed, TaskQueue

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEASE = timedelta(seconds=30)
SOON = 5.0
"""Seconds within which a test on the real loop must come to its end."""


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def move(self, span: timedelta) -> None:
        self.now += span


class Handler:
    """A handler that keeps what it was given and raises what it is told to.

    Attributes:
        faults: Raised in turn, one a call, until none is left.
        gate: Waited for by every call.
    """

    def __init__(self, *faults: BaseException, is_open: bool = True) -> None:
        self.tasks: list[Task] = []
        self.cancelled = 0
        self.faults = list(faults)
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        if is_open:
            self.gate.set()

    async def __call__(self, task: Task) -> None:
        self.tasks.append(task)
        self.begun.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.faults:
            raise self.faults.pop(0)


class Outage:
    """An observer that refuses these operations of a store while it is on."""

    def __init__(self, *operations: str) -> None:
        self.operations = operations
        self.is_on = False
        self.refused = asyncio.Semaphore(0)

    async def before(self, call: Call) -> None:
        if self.is_on and call.operation in self.operations:
            self.refused.release()
            raise StoreUnavailable("injected")

    def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
        pass


class LosesAnswers:
    """An observer that loses the answer of the commit with this number."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.count = 0

    async def before(self, call: Call) -> None:
        pass

    def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
        if call.operation == "commit":
            self.count += 1
            if self.count == self.number:
                raise StoreUnavailable("no answer; whether it was written is unknown")


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "store.sqlite")
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


QUEUES: dict[str, Callable[[Store, Clock], TaskQueue]] = {
    "local": lambda store, clock: LocalQueue(store, clock=clock, lease=LEASE),
    "cloud tasks": lambda store, clock: CloudTasksQueue(
        store,
        CloudTasksSetting("demo-project", "europe-west1", "mail"),
        base_url="https://login.example.org",
        clock=clock,
        lease=LEASE,
        emulator_host="127.0.0.1:9",
    ),
}
"""What every queue does with what is due, whoever else may deliver it."""


@pytest.fixture(params=list(QUEUES))
def queue(request: pytest.FixtureRequest, store: Store, clock: Clock) -> TaskQueue:
    return QUEUES[request.param](store, clock)


async def told(queue: TaskQueue, clock: Clock) -> None:
    """Tell of a commit with a task."""
    await queue.dispatch([queue.write("mail", {}, clock())])


async def put(
    store: Store, queue: TaskQueue, name: str = "mail", delay: timedelta = timedelta(0), **payload: Plain
) -> Key:
    insert = queue.write(name, payload, NOW, delay=delay)
    await store.commit([insert])
    return insert.key


async def outbox(store: Store) -> list[Record]:
    return list((await store.find("outbox", "due_at")).records)


async def events(store: Store) -> list[Event]:
    return [Event.from_data(found.key.name, found.data) for found in (await store.find("event", "at")).records]


async def emptied(store: Store, *, but: int = 0) -> None:
    async with asyncio.timeout(SOON):
        while len(await outbox(store)) > but:  # noqa: ASYNC110 - a store has no event to wait for
            await asyncio.sleep(0.005)


# --- One sweep --------------------------------------------------------------------------------------------------------


async def test_a_due_task_is_carried_out_and_leaves_the_outbox(store: Store, queue: TaskQueue) -> None:
    key = await put(store, queue, account_id="a1")
    handler = Handler()

    assert await queue.run_due({"mail": handler}) == 1
    assert handler.tasks == [Task(key.name, "mail", {"account_id": "a1"}, NOW, 0)]
    assert await outbox(store) == []
    assert await events(store) == []


async def test_a_task_is_carried_out_once(store: Store, queue: TaskQueue, clock: Clock) -> None:
    await put(store, queue)
    handler = Handler()
    await queue.run_due({"mail": handler})
    clock.move(timedelta(days=1))

    assert await queue.run_due({"mail": handler}) == 0
    assert len(handler.tasks) == 1


async def test_an_empty_outbox_costs_one_query(store: Store, clock: Clock) -> None:
    queue = LocalQueue(InstrumentedStore(store), clock=clock)

    with billing() as bill:
        assert await queue.run_due({}) == 0

    assert bill.counts == {("store", "find"): 1}


async def test_a_task_costs_a_claim_a_look_and_a_mark(store: Store, clock: Clock) -> None:
    queue = LocalQueue(InstrumentedStore(store), clock=clock)
    await put(store, queue)

    with billing() as bill:
        await queue.run_due({"mail": Handler()}, limit=1)

    assert bill.counts == {("store", "find"): 1, ("store", "get"): 1, ("store", "commit"): 2, ("tasks", "run"): 1}


async def test_a_delayed_task_waits_for_its_time(store: Store, queue: TaskQueue, clock: Clock) -> None:
    await put(store, queue, delay=timedelta(minutes=1))
    handler = Handler()

    assert await queue.run_due({"mail": handler}) == 0
    clock.move(timedelta(minutes=1))
    assert await queue.run_due({"mail": handler}) == 1


async def test_a_sweep_carries_out_more_than_fit_at_once(store: Store, queue: TaskQueue) -> None:
    keys = {(await put(store, queue)).name for _ in range(15)}
    handler = Handler()

    assert await queue.run_due({"mail": handler}) == 15
    assert {task.id for task in handler.tasks} == keys


async def test_a_sweep_stops_at_its_limit(store: Store, queue: TaskQueue) -> None:
    for _ in range(7):
        await put(store, queue)

    assert await queue.run_due({"mail": Handler()}, limit=5) == 5
    assert len(await outbox(store)) == 2


async def test_so_many_handlers_run_at_once_and_no_more(store: Store, clock: Clock) -> None:
    queue = LocalQueue(store, clock=clock, concurrency=3)
    at_once: list[int] = []
    running = 0

    async def handler(task: Task) -> None:
        nonlocal running
        running += 1
        at_once.append(running)
        await asyncio.sleep(0.01)
        running -= 1

    for _ in range(10):
        await put(store, queue)
    await queue.run_due({"mail": handler})

    assert max(at_once) == 3


async def test_the_seam_sees_the_task_by_name(store: Store, clock: Clock) -> None:
    seen: list[Call] = []

    class Notes:
        async def before(self, call: Call) -> None:
            seen.append(call)

        def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
            pass

    queue = LocalQueue(store, clock=clock, seam=Seam([Notes()]))
    await put(store, queue, account_id="a1")

    await queue.run_due({"mail": Handler()})

    assert seen == [Call("tasks", "run", ("mail",))]


async def test_a_secret_looking_payload_is_refused(queue: TaskQueue) -> None:
    with pytest.raises(ContractViolation):
        queue.write("mail", {"token": "hunter2"}, NOW)


@pytest.mark.parametrize(
    "wrong", [{"lease": timedelta(0)}, {"poll": timedelta(0)}, {"concurrency": 0}, {"lease": -timedelta(1)}]
)
def test_spans_and_numbers_must_be_positive(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        LocalQueue(MemoryStore(), clock=Clock(), **wrong)


# --- Claims -----------------------------------------------------------------------------------------------------------


async def test_a_claimed_task_is_left_alone_until_its_lease_ends(store: Store, queue: TaskQueue, clock: Clock) -> None:
    await put(store, queue)
    slow, other = Handler(is_open=False), Handler()
    first = asyncio.create_task(queue.run_due({"mail": slow}))
    await slow.begun.wait()
    second = LocalQueue(store, clock=clock, lease=LEASE)

    clock.move(LEASE - timedelta(microseconds=1))
    assert await second.run_due({"mail": other}) == 0
    clock.move(timedelta(microseconds=1))
    assert await second.run_due({"mail": other}) == 1

    assert [task.attempts for task in other.tasks] == [1]
    slow.gate.set()
    assert await first == 0


async def test_who_lost_the_lease_does_not_touch_the_task_of_the_next(
    store: Store, queue: TaskQueue, clock: Clock
) -> None:
    await put(store, queue)
    late, next_ = Handler(TaskFailed("late"), is_open=False), Handler(is_open=False)
    first = asyncio.create_task(queue.run_due({"mail": late}))
    await late.begun.wait()
    clock.move(LEASE)
    second = asyncio.create_task(LocalQueue(store, clock=clock, lease=LEASE).run_due({"mail": next_}))
    await next_.begun.wait()

    late.gate.set()
    await first

    assert len(await outbox(store)) == 1
    assert await events(store) == []
    next_.gate.set()
    assert await second == 1


async def test_queues_that_race_do_each_task_once(store: Store, clock: Clock) -> None:
    queues = [LocalQueue(store, clock=clock, lease=LEASE) for _ in range(5)]
    keys = sorted([(await put(store, queues[0])).name for _ in range(20)])
    handler = Handler()

    counts = await asyncio.gather(*(queue.run_due({"mail": handler}) for queue in queues))

    assert sum(counts) == 20
    assert sorted(task.id for task in handler.tasks) == keys


async def test_a_claim_that_was_slept_over_is_not_worked_on(store: Store, clock: Clock) -> None:
    other, handler = Handler(is_open=False), Handler()
    sweeps: list[asyncio.Task[int]] = []

    class ClaimsAfterTheLease:
        """Lets the lease end, and somebody else claim the task, between our claim and the look at it."""

        async def before(self, call: Call) -> None:
            if call.operation == "get":
                clock.move(LEASE)
                sweeps.append(asyncio.create_task(LocalQueue(store, clock=clock).run_due({"mail": other})))
                await other.begun.wait()

        def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
            pass

    queue = LocalQueue(InstrumentedStore(store, [ClaimsAfterTheLease()]), clock=clock, lease=LEASE)
    await put(store, queue)

    assert await queue.run_due({"mail": handler}) == 0

    assert handler.tasks == []
    other.gate.set()
    assert await sweeps[0] == 1


async def test_a_cancelled_sweep_leaves_its_task_to_the_next(store: Store, queue: TaskQueue, clock: Clock) -> None:
    key = await put(store, queue)
    slow, handler = Handler(is_open=False), Handler()
    sweep = asyncio.create_task(queue.run_due({"mail": slow}))
    await slow.begun.wait()

    sweep.cancel()
    await asyncio.wait({sweep})
    clock.move(LEASE)

    assert slow.cancelled == 1
    assert await queue.run_due({"mail": handler}) == 1
    assert handler.tasks == [Task(key.name, "mail", {}, NOW, 1)]


async def test_a_handler_is_cancelled_before_its_lease_ends(store: Store, clock: Clock) -> None:
    queue = LocalQueue(store, clock=clock, lease=timedelta(seconds=0.15))
    await put(store, queue)
    handler = Handler(is_open=False)
    began = asyncio.get_running_loop().time()

    assert await queue.run_due({"mail": handler}) == 0

    assert handler.cancelled == 1
    assert 0.09 <= asyncio.get_running_loop().time() - began < 2
    assert (await outbox(store))[0].data["attempts"] == 1


# --- Failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [OSError("gone"), MailUnavailable("421"), StoreUnavailable("away"), TimeoutError()])
async def test_a_fault_postpones_the_task(store: Store, queue: TaskQueue, clock: Clock, fault: Exception) -> None:
    await put(store, queue)
    handler = Handler(fault)

    assert await queue.run_due({"mail": handler}) == 0
    clock.move(timedelta(seconds=4.9))
    assert await queue.run_due({"mail": handler}) == 0
    clock.move(timedelta(seconds=0.1))
    assert await queue.run_due({"mail": handler}) == 1

    assert [task.attempts for task in handler.tasks] == [0, 1]
    assert await events(store) == []


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (TaskFailed("no such account"), "task_failed"),
        (TaskFailed("the ticket is gone", code="ticket_gone"), "ticket_gone"),
        (MailRefused("550"), "mail_refused"),
    ],
)
async def test_what_cannot_succeed_is_dropped_with_an_event(
    store: Store, queue: TaskQueue, clock: Clock, fault: Exception, reason: str
) -> None:
    key = await put(store, queue, account_id="a1")

    assert await queue.run_due({"mail": Handler(fault)}) == 0

    assert await outbox(store) == []
    (event,) = await events(store)
    assert (event.type, event.at, event.account_id, event.reason) == ("task_failed", NOW, "a1", reason)
    assert event.details == {"task": "mail", "task_id": key.name, "attempts": 1}


async def test_a_task_without_a_handler_is_dropped_with_an_event(store: Store, queue: TaskQueue) -> None:
    await put(store, queue, "forgotten")

    assert await queue.run_due({"mail": Handler()}) == 0

    assert await outbox(store) == []
    assert [event.reason for event in await events(store)] == ["unknown_task"]


async def test_the_event_and_the_end_of_the_task_are_one_commit(store: Store, clock: Clock) -> None:
    commits: list[tuple[str, ...]] = []

    class Notes:
        async def before(self, call: Call) -> None:
            if call.operation == "commit":
                commits.append(call.detail)

        def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
            pass

    queue = LocalQueue(InstrumentedStore(store, [Notes()]), clock=clock)
    await put(store, queue)

    await queue.run_due({"mail": Handler(TaskFailed())})

    assert commits == [("outbox",), ("outbox", "event")]


async def test_a_poison_task_ends_in_an_event_after_twenty_tries(store: Store, queue: TaskQueue, clock: Clock) -> None:
    await put(store, queue)
    handler = Handler(*[ValueError("bad") for _ in range(30)])

    for _ in range(30):
        await queue.run_due({"mail": handler})
        clock.move(timedelta(hours=1))

    assert len(handler.tasks) == 20
    assert await outbox(store) == []
    (event,) = await events(store)
    assert (event.reason, event.details["attempts"]) == ("attempts_exhausted", 20)


async def test_a_task_that_takes_its_workers_down_ends_in_an_event(
    store: Store, queue: TaskQueue, clock: Clock
) -> None:
    await put(store, queue)
    handler = Handler(is_open=False)
    for _ in range(20):
        handler.begun.clear()
        sweep = asyncio.create_task(queue.run_due({"mail": handler}))
        await handler.begun.wait()
        sweep.cancel()
        await asyncio.wait({sweep})
        clock.move(LEASE)

    assert await queue.run_due({"mail": handler}) == 0

    assert len(handler.tasks) == 20
    assert await outbox(store) == []
    assert [event.reason for event in await events(store)] == ["attempts_exhausted"]


async def test_a_task_is_given_up_after_three_days(store: Store, queue: TaskQueue, clock: Clock) -> None:
    await put(store, queue)
    handler = Handler(OSError(), OSError())
    await queue.run_due({"mail": handler})

    clock.move(timedelta(days=3))
    await queue.run_due({"mail": handler})

    assert await outbox(store) == []
    assert [event.reason for event in await events(store)] == ["task_too_old"]


async def test_an_old_task_still_gets_its_try(store: Store, queue: TaskQueue, clock: Clock) -> None:
    await put(store, queue)
    clock.move(timedelta(days=10))

    assert await queue.run_due({"mail": Handler()}) == 1


async def test_a_record_that_is_no_task_does_not_hold_up_the_others(store: Store, queue: TaskQueue) -> None:
    await store.commit([Insert(Key("outbox", "junk"), {"due_at": 0})])
    await put(store, queue)

    assert await queue.run_due({"mail": Handler()}) == 1
    assert await outbox(store) == []
    assert [event.reason for event in await events(store)] == ["task_unreadable"]


async def test_logs_hold_neither_payload_nor_message(
    store: Store, queue: TaskQueue, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "authflow")
    await put(store, queue, ticket_id="payload-of-the-task")
    handler = Handler(ValueError("hunter2"), TaskFailed("the account is gone"))

    await queue.run_due({"mail": handler})
    clock.move(timedelta(seconds=5))
    await queue.run_due({"mail": handler})

    assert "ValueError" in caplog.text
    assert "the account is gone" in caplog.text
    assert "hunter2" not in caplog.text
    assert "payload-of-the-task" not in caplog.text
    (line,) = [line.getMessage() for line in caplog.records if line.name == "authflow.audit"]
    assert json.loads(line)["type"] == "task_failed"


# --- Outages ----------------------------------------------------------------------------------------------------------


async def test_a_sweep_tells_that_the_store_is_away(store: Store, clock: Clock) -> None:
    outage = Outage("find")
    outage.is_on = True

    with pytest.raises(StoreUnavailable, match="injected"):
        await LocalQueue(InstrumentedStore(store, [outage]), clock=clock).run_due({})


async def test_a_mark_outlives_a_short_outage(store: Store, clock: Clock) -> None:
    outage = Outage("commit")
    queue = LocalQueue(InstrumentedStore(store, [outage]), clock=clock, lease=LEASE, poll=timedelta(milliseconds=5))
    await put(store, queue)
    handler = Handler(is_open=False)
    sweep = asyncio.create_task(queue.run_due({"mail": handler}))
    await handler.begun.wait()

    outage.is_on = True
    handler.gate.set()
    await outage.refused.acquire()
    outage.is_on = False

    assert await sweep == 1
    assert await outbox(store) == []


async def test_a_mark_is_not_tried_beyond_the_lease(store: Store, clock: Clock) -> None:
    outage = Outage("commit")
    queue = LocalQueue(
        InstrumentedStore(store, [outage]), clock=clock, lease=timedelta(seconds=0.5), poll=timedelta(seconds=0.05)
    )
    await put(store, queue)
    handler = Handler(is_open=False)
    sweep = asyncio.create_task(queue.run_due({"mail": handler}))
    await handler.begun.wait()
    outage.is_on = True
    handler.gate.set()

    assert await sweep == 0
    outage.is_on = False
    clock.move(timedelta(seconds=0.5))
    assert await queue.run_due({"mail": handler}) == 1
    assert len(handler.tasks) == 2


@pytest.mark.parametrize("fault", [None, TaskFailed()])
async def test_a_mark_whose_answer_was_lost_counts_once(
    store: Store, clock: Clock, fault: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "authflow.audit")
    queue = LocalQueue(InstrumentedStore(store, [LosesAnswers(2)]), clock=clock, poll=timedelta(milliseconds=5))
    await put(store, queue)

    count = await queue.run_due({"mail": Handler(*([fault] if fault else []))})

    assert count == (1 if fault is None else 0)
    assert await outbox(store) == []
    told = 0 if fault is None else 1
    lines = [line for line in caplog.records if line.name == "authflow.audit"]
    assert (len(await events(store)), len(lines)) == (told, told)


async def test_a_claim_whose_answer_was_lost_is_found_again(store: Store, clock: Clock) -> None:
    queue = LocalQueue(InstrumentedStore(store, [LosesAnswers(1)]), clock=clock, lease=LEASE)
    await put(store, queue)
    handler = Handler()

    with pytest.raises(StoreUnavailable):
        await queue.run_due({"mail": handler})
    clock.move(LEASE)

    assert await queue.run_due({"mail": handler}) == 1
    assert len(handler.tasks) == 1


async def test_the_worker_outlives_an_outage_and_logs_it_once(
    store: Store, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "authflow.tasks")
    outage = Outage("find", "get", "commit")
    outage.is_on = True
    queue = LocalQueue(InstrumentedStore(store, [outage]), clock=clock, poll=timedelta(milliseconds=2))
    await put(store, queue)
    await queue.start({"mail": Handler()})
    async with asyncio.timeout(SOON):
        for _ in range(5):
            await outage.refused.acquire()

    outage.is_on = False
    await emptied(store)
    await queue.stop()

    lines = [line.getMessage() for line in caplog.records]
    assert lines == ["tasks wait for the store: injected", "tasks go on, the store answers again"]


async def test_the_worker_outlives_a_fault_of_ours(
    store: Store, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    class Bug:
        is_on = True

        async def before(self, call: Call) -> None:
            if self.is_on:
                self.is_on = False
                raise ZeroDivisionError("hunter2")

        def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
            pass

    queue = LocalQueue(InstrumentedStore(store, [Bug()]), clock=clock, poll=timedelta(milliseconds=2))
    await put(store, queue)

    await queue.start({"mail": Handler()})
    await emptied(store)
    await queue.stop()

    assert "ZeroDivisionError" in caplog.text
    assert "hunter2" not in caplog.text


# --- The worker -------------------------------------------------------------------------------------------------------


async def test_the_worker_finds_tasks_without_being_told(store: Store, clock: Clock) -> None:
    queue = LocalQueue(store, clock=clock, poll=timedelta(milliseconds=5))
    await queue.start({"mail": Handler()})

    await put(store, queue)

    await emptied(store)
    await queue.stop()


async def test_being_told_of_a_task_saves_the_wait_for_the_poll(store: Store, clock: Clock) -> None:
    queue = LocalQueue(store, clock=clock, poll=timedelta(hours=1))
    handler = Handler()
    await queue.start({"mail": handler})
    await asyncio.sleep(0.01)

    await put(store, queue)
    await told(queue, clock)

    async with asyncio.timeout(SOON):
        await handler.begun.wait()
    await emptied(store)
    await queue.stop()


async def test_the_worker_empties_a_long_outbox_at_one_call(store: Store, clock: Clock) -> None:
    queue = LocalQueue(store, clock=clock, poll=timedelta(hours=1))
    keys = sorted([(await put(store, queue)).name for _ in range(20)])
    handler = Handler()

    await queue.start({"mail": handler})
    await emptied(store)
    await queue.stop()

    assert sorted(task.id for task in handler.tasks) == keys


async def test_a_slow_task_does_not_hold_up_the_others(store: Store, clock: Clock) -> None:
    queue = LocalQueue(store, clock=clock, poll=timedelta(hours=1), concurrency=2)
    slow, quick = Handler(is_open=False), Handler()
    await put(store, queue, "slow")
    await queue.start({"slow": slow, "quick": quick})
    await slow.begun.wait()

    for _ in range(6):
        await put(store, queue, "quick")
    await told(queue, clock)

    await emptied(store, but=1)
    slow.gate.set()
    await queue.stop()
    assert (len(quick.tasks), len(slow.tasks)) == (6, 1)


async def test_an_idle_worker_asks_once_a_poll(store: Store, clock: Clock) -> None:
    queue = LocalQueue(InstrumentedStore(store), clock=clock, poll=timedelta(seconds=0.05))

    with billing() as bill:
        await queue.start({})
        await asyncio.sleep(0.22)
        await queue.stop()

    assert 1 <= bill.total("store", "find") <= 6
    assert bill.total("store") == bill.total("store", "find")


async def test_stopping_lets_a_task_finish(store: Store, clock: Clock) -> None:
    queue = LocalQueue(store, clock=clock)
    handler = Handler(is_open=False)
    await put(store, queue)
    await queue.start({"mail": handler})
    await handler.begun.wait()

    stop = asyncio.create_task(queue.stop())
    await asyncio.sleep(0.01)
    assert not stop.done()
    handler.gate.set()
    await stop

    assert await outbox(store) == []
    assert handler.cancelled == 0


async def test_stopping_cancels_what_does_not_end_and_it_is_found_again(store: Store, clock: Clock) -> None:
    queue = LocalQueue(store, clock=clock, lease=LEASE, grace=timedelta(milliseconds=20))
    slow, handler = Handler(is_open=False), Handler()
    await put(store, queue)
    await queue.start({"mail": slow})
    await slow.begun.wait()

    await queue.stop()
    clock.move(LEASE)

    assert slow.cancelled == 1
    assert await queue.run_due({"mail": handler}) == 1


async def test_a_stopped_worker_claims_nothing_more(store: Store, clock: Clock) -> None:
    queue = LocalQueue(store, clock=clock, poll=timedelta(milliseconds=2))
    handler = Handler()
    await queue.start({"mail": handler})
    await queue.stop()

    await put(store, queue)
    await told(queue, clock)
    await asyncio.sleep(0.02)

    assert handler.tasks == []


async def test_telling_of_a_task_and_stopping_need_no_start(queue: TaskQueue, clock: Clock) -> None:
    await told(queue, clock)
    await queue.stop()
    await queue.stop()


async def test_a_queue_is_started_once_and_again_after_its_stop(store: Store, clock: Clock) -> None:
    queue = LocalQueue(store, clock=clock)
    handler = Handler()
    await queue.start({"mail": handler})
    with pytest.raises(RuntimeError, match="already"):
        await queue.start({"mail": handler})
    await queue.stop()

    await put(store, queue)
    await queue.start({"mail": handler})
    await emptied(store)
    await queue.stop()

    assert len(handler.tasks) == 1


async def test_a_task_that_an_operator_removed_is_not_missed(store: Store, queue: TaskQueue) -> None:
    key = await put(store, queue)
    handler = Handler(is_open=False)
    sweep = asyncio.create_task(queue.run_due({"mail": handler}))
    await handler.begun.wait()

    await store.commit([Delete(key)])
    handler.gate.set()

    assert await sweep == 0
    assert await outbox(store) == []
