"""What passes through the seam is seen, counted, and may be refused."""

from __future__ import annotations

import asyncio
import time

import pytest

from authflow.errors import StoreConflict, StoreUnavailable
from authflow.seam import Bill, Call, Observer, Seam, billing
from authflow.store.instrumented import InstrumentedStore
from authflow.store.memory import MemoryStore
from authflow.store.protocol import Insert, Key, Store

ANN = Key("account", "ann")
SESSION = Key("session", "s1")


class Notes:
    """An observer that writes down what it hears."""

    def __init__(self, name: str = "", log: list[str] | None = None) -> None:
        self.name = name
        self.log = [] if log is None else log
        self.ended: list[tuple[Call, float, BaseException | None]] = []

    async def before(self, call: Call) -> None:
        self.log.append(f"{self.name}before {call.operation}")

    def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
        self.log.append(f"{self.name}after {call.operation}")
        self.ended.append((call, seconds, error))


class Refuses:
    """An observer that lets no call of an operation through."""

    def __init__(self, operation: str) -> None:
        self.operation = operation

    async def before(self, call: Call) -> None:
        if call.operation == self.operation:
            raise StoreUnavailable("injected")

    def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
        pass


async def opened(*observers: Observer) -> Store:
    store = InstrumentedStore(MemoryStore(), observers)
    await store.open()
    return store


async def test_an_observer_sees_operation_and_kinds_but_no_names() -> None:
    notes = Notes()
    store = await opened(notes)

    await store.get([ANN, SESSION])
    await store.find("account", "canonical_name")
    await store.commit([Insert(ANN, {}), Insert(SESSION, {})])

    assert [call for call, _, _ in notes.ended] == [
        Call("store", "get", ("account", "session")),
        Call("store", "find", ("account",)),
        Call("store", "commit", ("account", "session")),
    ]


async def test_an_observer_hears_the_error_and_the_caller_gets_it() -> None:
    notes = Notes()
    store = await opened(notes)
    await store.commit([Insert(ANN, {})])

    with pytest.raises(StoreConflict) as caught:
        await store.commit([Insert(ANN, {})])

    assert notes.ended[-1][2] is caught.value


async def test_a_refused_call_is_not_made_and_not_counted() -> None:
    store = await opened(Refuses("commit"))

    with billing() as bill, pytest.raises(StoreUnavailable, match="injected"):
        await store.commit([Insert(ANN, {})])

    assert await store.get([ANN]) == {}
    assert bill.total("store") == 0


async def test_observers_are_told_in_order_and_in_reverse() -> None:
    log: list[str] = []
    store = await opened(Notes("outer ", log), Notes("inner ", log))

    await store.get([ANN])

    assert log == ["outer before get", "inner before get", "inner after get", "outer after get"]


async def test_an_observer_hears_of_a_cancelled_call() -> None:
    notes = Notes()
    call = Seam([notes]).call("fetch", "get", (), lambda: asyncio.sleep(60))
    task = asyncio.create_task(call)
    await asyncio.sleep(0)

    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert isinstance(notes.ended[0][2], asyncio.CancelledError)


async def test_a_call_answers_what_its_function_answers() -> None:
    async def send() -> str:
        return "250 OK"

    assert await Seam([Notes()]).call("mail", "send", ("verify",), send) == "250 OK"
    assert await Seam().call("mail", "send", ("verify",), send) == "250 OK"


async def test_a_bill_counts_by_kind_and_operation() -> None:
    store = await opened()

    with billing() as bill:
        await store.get([ANN, SESSION])
        await store.get([ANN])
        await store.commit([Insert(ANN, {})])

    assert bill.counts == {("store", "get"): 2, ("store", "commit"): 1}
    assert bill.total("store") == 3
    assert bill.total("store", "get") == 2
    assert bill.total("mail") == 0


async def test_a_bill_counts_a_call_that_fails() -> None:
    store = await opened()
    await store.commit([Insert(ANN, {})])

    with billing() as bill, pytest.raises(StoreConflict):
        await store.commit([Insert(ANN, {})])

    assert bill.total("store", "commit") == 1


async def test_a_bill_counts_what_tasks_of_its_block_do() -> None:
    store = await opened()

    with billing() as bill:
        await asyncio.gather(*(store.get([ANN]) for _ in range(5)))

    assert bill.total("store", "get") == 5


async def test_bills_of_parallel_tasks_are_apart() -> None:
    store = await opened()

    async def work(rounds: int) -> Bill:
        with billing() as bill:
            for _ in range(rounds):
                await store.get([ANN])
        return bill

    bills = await asyncio.gather(*(work(rounds) for rounds in range(4)))

    assert [bill.total("store") for bill in bills] == [0, 1, 2, 3]


async def test_an_outer_bill_counts_what_an_inner_one_counts() -> None:
    store = await opened()

    with billing() as outer:
        await store.get([ANN])
        with billing() as inner:
            await store.get([ANN])
        await store.get([ANN])

    assert (outer.total("store"), inner.total("store")) == (3, 1)


async def test_nothing_is_counted_after_the_block() -> None:
    store = await opened()
    with billing() as bill:
        pass

    await store.get([ANN])

    assert repr(bill) == "<Bill empty>"


async def test_the_seam_costs_next_to_nothing_when_nobody_listens() -> None:
    async def nothing() -> None:
        return None

    seam = Seam()

    async def measure(through: bool) -> float:
        times = []
        for _ in range(20):
            began = time.perf_counter()
            for _ in range(500):
                if through:
                    await seam.call("store", "get", (), lambda: nothing())
                else:
                    await nothing()
            times.append((time.perf_counter() - began) / 500)
        return min(times)

    cost = await measure(through=True) - await measure(through=False)

    # About half a microsecond on a quiet machine; the bound leaves room for a slow and busy one.
    assert cost < 10e-6
