"""Tasks that Cloud Tasks delivers: each is done once, however often, late, early or twice at a time it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from authflow.errors import StoreUnavailable
from authflow.mail import MailRefused, MailUnavailable
from authflow.model import Event
from authflow.seam import Call, billing
from authflow.settings import CloudTasksSetting
from authflow.store.instrumented import InstrumentedStore
from authflow.store.memory import MemoryStore
from authflow.store.protocol import Insert, Key, Record, Store, Update
from authflow.store.sqlite import SqliteStore
from authflow.tasks import outbox
from authflow.tasks.cloud_tasks import OVERDUE, CloudTasksQueue
from authflow.tasks.protocol import DeliveredQueue, Delivery, Task, TaskFailed

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEASE = timedelta(seconds=30)
MOMENT = timedelta(microseconds=1)
SOON = 5.0


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def move(self, span: timedelta) -> None:
        self.now += span


class Handler:
    """Keeps what it was given, raises its faults in turn, and waits for its gate."""

    def __init__(self, *faults: BaseException, is_open: bool = True) -> None:
        self.tasks: list[Task] = []
        self.faults = list(faults)
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        if is_open:
            self.gate.set()

    async def __call__(self, task: Task) -> None:
        self.tasks.append(task)
        self.begun.set()
        await self.gate.wait()
        if self.faults:
            raise self.faults.pop(0)


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    store: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "store.sqlite")
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def queue_of(store: Store, clock: Clock, **more: Any) -> CloudTasksQueue:
    setting = CloudTasksSetting("demo-project", "europe-west1", "mail")
    # Nobody listens there: all of this works when Cloud Tasks does not.
    more = {"lease": LEASE, "emulator_host": "127.0.0.1:9", **more}
    return CloudTasksQueue(store, setting, base_url="https://login.example.org", clock=clock, **more)


@pytest.fixture
def queue(store: Store, clock: Clock) -> CloudTasksQueue:
    return queue_of(store, clock)


async def put(store: Store, *, delay: timedelta = timedelta(0), name: str = "mail") -> str:
    insert = outbox.written(name, {"account_id": "a1"}, NOW, delay)
    await store.commit([insert])
    return insert.key.name


async def waiting(store: Store) -> list[Record]:
    return list((await store.find("outbox", "due_at")).records)


async def events(store: Store) -> list[Event]:
    return [Event.from_data(found.key.name, found.data) for found in (await store.find("event", "at")).records]


def test_it_is_a_queue_that_delivers(queue: CloudTasksQueue) -> None:
    assert isinstance(queue, DeliveredQueue)


# --- One delivery -----------------------------------------------------------------------------------------------------


async def test_a_delivered_task_is_carried_out_and_leaves_the_outbox(store: Store, queue: CloudTasksQueue) -> None:
    task_id = await put(store)
    handler = Handler()

    assert await queue.deliver({"mail": handler}, "mail", task_id) is Delivery.DONE
    assert handler.tasks == [Task(task_id, "mail", {"account_id": "a1"}, NOW, 0)]
    assert await waiting(store) == []
    assert await events(store) == []


async def test_a_task_that_is_delivered_five_times_is_done_once(
    store: Store, queue: CloudTasksQueue, clock: Clock
) -> None:
    task_id = await put(store)
    handler = Handler()

    came_of_it = []
    for _ in range(5):
        came_of_it.append(await queue.deliver({"mail": handler}, "mail", task_id))
        clock.move(LEASE)

    assert came_of_it == [Delivery.DONE, *[Delivery.GONE] * 4]
    assert len(handler.tasks) == 1


async def test_of_five_deliveries_at_once_one_does_the_task_and_the_others_are_to_come_again(
    store: Store, clock: Clock
) -> None:
    task_id = await put(store)
    handler = Handler(is_open=False)
    # As in as many processes.
    deliveries = [
        asyncio.create_task(queue_of(store, clock).deliver({"mail": handler}, "mail", task_id)) for _ in range(5)
    ]

    async with asyncio.timeout(SOON):
        while sum(delivery.done() for delivery in deliveries) < 4:
            await asyncio.wait(deliveries, return_when=asyncio.FIRST_COMPLETED, timeout=0.05)
    handler.gate.set()
    came_of_it = sorted(await asyncio.gather(*deliveries))

    assert came_of_it == [*[Delivery.BUSY] * 4, Delivery.DONE]
    assert len(handler.tasks) == 1


async def test_a_delivery_costs_two_looks_a_claim_and_a_mark(store: Store, clock: Clock) -> None:
    queue = queue_of(InstrumentedStore(store), clock)
    task_id = await put(store)

    with billing() as bill:
        await queue.deliver({"mail": Handler()}, "mail", task_id)

    assert bill.counts == {("store", "get"): 2, ("store", "commit"): 2, ("tasks", "run"): 1}


async def test_a_delivery_of_what_is_gone_costs_one_look(store: Store, clock: Clock) -> None:
    queue = queue_of(InstrumentedStore(store), clock)

    with billing() as bill:
        assert await queue.deliver({}, "mail", "none") is Delivery.GONE

    assert bill.counts == {("store", "get"): 1}


async def test_a_task_is_not_carried_out_under_another_name(store: Store, queue: CloudTasksQueue) -> None:
    task_id = await put(store)
    handler = Handler()

    assert await queue.deliver({"mail": handler, "wipe": handler}, "wipe", task_id) is Delivery.MISNAMED
    assert handler.tasks == []
    assert [record.data["attempts"] for record in await waiting(store)] == [0]


async def test_a_delivery_that_comes_before_the_time_by_our_clock_is_carried_out(
    store: Store, queue: CloudTasksQueue
) -> None:
    task_id = await put(store, delay=timedelta(seconds=2))

    assert await queue.deliver({"mail": Handler()}, "mail", task_id) is Delivery.DONE


# --- Repetition -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [OSError("gone"), MailUnavailable("421"), StoreUnavailable("away"), TimeoutError()])
async def test_a_failed_task_is_done_by_the_next_delivery_whenever_that_comes(
    store: Store, queue: CloudTasksQueue, fault: Exception
) -> None:
    task_id = await put(store)
    handler = Handler(fault, fault)

    assert await queue.deliver({"mail": handler}, "mail", task_id) is Delivery.FAILED
    assert await queue.deliver({"mail": handler}, "mail", task_id) is Delivery.FAILED
    assert await queue.deliver({"mail": handler}, "mail", task_id) is Delivery.DONE
    assert [task.attempts for task in handler.tasks] == [0, 1, 2]


async def test_a_task_in_work_is_left_alone_until_its_lease_ends(
    store: Store, queue: CloudTasksQueue, clock: Clock
) -> None:
    task_id = await put(store)
    dead, handler = Handler(is_open=False), Handler()
    first = asyncio.create_task(queue.deliver({"mail": dead}, "mail", task_id))
    await dead.begun.wait()
    first.cancel()
    await asyncio.wait({first})

    clock.move(LEASE - MOMENT)
    assert await queue.deliver({"mail": handler}, "mail", task_id) is Delivery.BUSY
    clock.move(MOMENT)
    assert await queue.deliver({"mail": handler}, "mail", task_id) is Delivery.DONE


async def test_a_delivery_leaves_alone_what_the_sweep_is_at(store: Store, queue: CloudTasksQueue) -> None:
    task_id = await put(store)
    slow = Handler(is_open=False)
    sweep = asyncio.create_task(queue.run_due({"mail": slow}))
    await slow.begun.wait()

    assert await queue.deliver({"mail": Handler()}, "mail", task_id) is Delivery.BUSY
    slow.gate.set()
    assert await sweep == 1


async def test_a_store_that_is_away_is_told(clock: Clock) -> None:
    class Away:
        async def before(self, call: Call) -> None:
            raise StoreUnavailable("injected")

        def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
            pass

    with pytest.raises(StoreUnavailable, match="injected"):
        await queue_of(InstrumentedStore(MemoryStore(), [Away()]), clock).deliver({}, "mail", "x")


# --- The end of a task ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "reason"), [(TaskFailed(code="ticket_gone"), "ticket_gone"), (MailRefused("550"), "mail_refused")]
)
async def test_what_cannot_succeed_is_given_up_with_an_event(
    store: Store, queue: CloudTasksQueue, fault: Exception, reason: str
) -> None:
    task_id = await put(store)

    assert await queue.deliver({"mail": Handler(fault)}, "mail", task_id) is Delivery.GIVEN_UP
    assert await waiting(store) == []
    (event,) = await events(store)
    assert (event.type, event.account_id, event.reason) == ("task_failed", "a1", reason)


async def test_a_task_is_given_up_with_an_event_after_twenty_deliveries(store: Store, queue: CloudTasksQueue) -> None:
    task_id = await put(store)
    handler = Handler(*[OSError()] * 30)

    came_of_it = [await queue.deliver({"mail": handler}, "mail", task_id) for _ in range(21)]

    assert came_of_it == [*[Delivery.FAILED] * 19, Delivery.GIVEN_UP, Delivery.GONE]
    assert [event.reason for event in await events(store)] == ["attempts_exhausted"]


async def test_a_task_that_killed_twenty_workers_is_given_up_with_an_event(
    store: Store, queue: CloudTasksQueue, clock: Clock
) -> None:
    task_id = await put(store)
    (record,) = await waiting(store)
    await store.commit([Update(record.key, {**record.data, "attempts": 20, "leased": True}, record.version)])
    handler = Handler()

    # Not final, since by the store alone it cannot be told from a lost race; the second delivery finds it gone.
    assert await queue.deliver({"mail": handler}, "mail", task_id) is Delivery.BUSY
    assert await queue.deliver({"mail": handler}, "mail", task_id) is Delivery.GONE
    assert handler.tasks == []
    assert [event.reason for event in await events(store)] == ["attempts_exhausted"]


async def test_a_record_that_is_no_task_is_dropped_with_an_event(store: Store, queue: CloudTasksQueue) -> None:
    await store.commit([Insert(Key("outbox", "junk"), {"due_at": 0})])

    assert await queue.deliver({}, "mail", "junk") is Delivery.GIVEN_UP
    assert await waiting(store) == []
    assert [event.reason for event in await events(store)] == ["task_unreadable"]


async def test_a_task_without_a_handler_is_given_up_with_an_event(store: Store, queue: CloudTasksQueue) -> None:
    task_id = await put(store, name="forgotten")

    assert await queue.deliver({"mail": Handler()}, "forgotten", task_id) is Delivery.GIVEN_UP
    assert [event.reason for event in await events(store)] == ["unknown_task"]


# --- The sweep --------------------------------------------------------------------------------------------------------


async def test_the_sweep_does_what_is_overdue_and_leaves_the_rest_to_its_delivery(
    store: Store, queue: CloudTasksQueue, clock: Clock
) -> None:
    old = await put(store)
    young = await put(store, delay=timedelta(microseconds=1))
    handler = Handler()

    clock.move(OVERDUE - MOMENT)
    assert await queue.sweep({"mail": handler}) == 0
    clock.move(MOMENT)
    assert await queue.sweep({"mail": handler}) == 1

    assert [task.id for task in handler.tasks] == [old]
    assert [record.key.name for record in await waiting(store)] == [young]


async def test_a_command_does_what_is_due_without_waiting_for_its_delivery(
    store: Store, queue: CloudTasksQueue
) -> None:
    await put(store)

    assert await queue.run_due({"mail": Handler()}) == 1


async def test_a_swept_task_is_gone_for_the_delivery_that_comes_after_all(
    store: Store, queue: CloudTasksQueue, clock: Clock
) -> None:
    task_id = await put(store)
    handler = Handler()
    clock.move(OVERDUE)

    await queue.sweep({"mail": handler})

    assert await queue.deliver({"mail": handler}, "mail", task_id) is Delivery.GONE
    assert len(handler.tasks) == 1


async def test_a_sweep_ends_in_time_and_the_next_goes_on(store: Store, clock: Clock) -> None:
    queue = queue_of(store, clock, concurrency=1, sweep_time=timedelta(seconds=0.05))
    for _ in range(5):
        await put(store)
    clock.move(OVERDUE)

    async def slow(task: Task) -> None:
        await asyncio.sleep(0.04)

    first = await queue.sweep({"mail": slow})
    left = len(await waiting(store))
    rest = await queue_of(store, clock).sweep({"mail": Handler()})

    assert 1 <= first <= 2
    assert (left, rest) == (5 - first, 5 - first)


async def test_a_sweep_does_more_than_a_page_of_tasks(store: Store, clock: Clock) -> None:
    for _ in range(120):
        await put(store)
    clock.move(OVERDUE)

    assert await queue_of(store, clock).sweep({"mail": Handler()}) == 120
