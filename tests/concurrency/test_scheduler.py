"""The explorer itself: every order once, none twice, the same path the same way, and no time passes."""

from __future__ import annotations

import asyncio
import time
from math import comb

import pytest

from authflow.errors import StoreConflict
from authflow.store.memory import MemoryStore
from authflow.store.protocol import Key, Put, Update
from authflow.testing.schedules import Explorer, ScheduledStore, ScheduleError

COUNTER = Key("marker", "counter")


class Place:
    """A store with one counter in it."""

    def __init__(self) -> None:
        self.memory = MemoryStore()
        self.memory._is_open = True
        self.store = ScheduledStore(self.memory)
        self.explorer = Explorer(self.store, self.fresh)
        self.explorer.prepare(self.memory.commit((Put(COUNTER, {"count": 0}),)))
        self.rows = dict(self.memory._rows)

    def fresh(self) -> None:
        self.memory._rows = dict(self.rows)

    @property
    def count(self) -> int:
        return int(self.explorer.prepare(self.memory.get((COUNTER,)))[COUNTER].data["count"])  # type: ignore[arg-type]

    async def careless(self) -> str:
        record = (await self.store.get((COUNTER,)))[COUNTER]
        await self.store.commit((Put(COUNTER, {"count": record.data["count"] + 1}),))  # type: ignore[operator]
        return "done"

    async def careful(self) -> str:
        while True:
            record = (await self.store.get((COUNTER,)))[COUNTER]
            try:
                raised = {"count": record.data["count"] + 1}  # type: ignore[operator]
                await self.store.commit((Update(COUNTER, raised, record.version),))
            except StoreConflict:
                await asyncio.sleep(3600)
                continue
            return "done"

    async def looks(self, times: int) -> None:
        for _ in range(times):
            await self.store.get((COUNTER,))


@pytest.fixture
def place():
    place = Place()
    yield place
    place.explorer.close()


@pytest.mark.parametrize(("first", "second"), [(1, 1), (2, 2), (3, 3), (2, 5), (4, 4)])
def test_every_order_of_two_is_run_once(place: Place, first: int, second: int) -> None:
    runs = list(place.explorer.explore([lambda: place.looks(first), lambda: place.looks(second)]))
    orders = {tuple(step.point.who for step in run.steps) for run in runs}

    assert len(runs) == len(orders) == comb(first + second, first)


def test_every_order_of_three_is_run_once(place: Place) -> None:
    runs = list(place.explorer.explore([lambda: place.looks(2)] * 3))

    assert len(runs) == len({tuple(step.point.who for step in run.steps) for run in runs}) == 90


def test_an_update_that_can_be_lost_is_lost_in_some_order(place: Place) -> None:
    counts = {place.count for _ in place.explorer.explore([place.careless, place.careless])}

    assert counts == {1, 2}


def test_an_update_that_is_guarded_is_lost_in_none_however_long_it_backs_off(place: Place) -> None:
    began = time.monotonic()

    counts = {place.count for _ in place.explorer.explore([place.careful] * 3)}

    assert counts == {3}
    assert time.monotonic() - began < 60  # Each pause is an hour.


def test_each_run_begins_from_the_same_world(place: Place) -> None:
    for run in place.explorer.explore([place.careful, place.careful]):
        assert run.outcomes == ("done", "done")
        assert place.count == 2


def test_a_path_that_was_found_is_run_again_the_same_way(place: Place) -> None:
    operations = [place.careful, place.careless]
    lost = [run for run in place.explorer.explore(operations) if place.count == 1]

    again = place.explorer.replay(operations, lost[0].path)

    assert again.path == lost[0].path
    assert str(again) == str(lost[0])
    assert place.count == 1


def test_a_path_that_is_none_is_refused(place: Place) -> None:
    with pytest.raises(ScheduleError, match="choice 7"):
        place.explorer.replay([place.careful, place.careful], [7])


def test_in_series_one_ends_before_the_next_begins(place: Place) -> None:
    run = place.explorer.in_series([place.careless, place.careful, place.careless])

    assert [step.point.who for step in run.steps] == [0, 0, 1, 1, 2, 2]
    assert place.count == 3


def test_what_an_operation_leaves_running_is_scheduled_too(place: Place) -> None:
    async def goes_on() -> str:
        place.background = asyncio.create_task(place.careless())  # type: ignore[attr-defined]
        return "answered"

    runs = list(place.explorer.explore([goes_on, place.careless]))

    assert {run.outcomes for run in runs} == {("answered", "done")}
    assert len(runs) == comb(4, 2)


def test_the_outcome_of_an_operation_may_be_an_error(place: Place) -> None:
    async def fails() -> None:
        await place.looks(1)
        raise StoreConflict("as it is")

    run = next(place.explorer.explore([fails]))

    assert isinstance(run.outcomes[0], StoreConflict)


def test_what_does_not_hang_on_the_order_alone_is_noticed(place: Place) -> None:
    tossed = iter([1, 2] * 100)

    with pytest.raises(ScheduleError, match="led elsewhere"):
        list(place.explorer.explore([lambda: place.store.find("marker" * next(tossed), "x", limit=1), place.careful]))


def test_operations_that_keep_each_other_from_ending_are_noticed(place: Place) -> None:
    with pytest.raises(ScheduleError, match="does not end"):
        next(place.explorer.explore([lambda: place.looks(1000)]))


def test_a_thread_is_noticed(place: Place) -> None:
    with pytest.raises(ScheduleError, match="never comes"):
        next(place.explorer.explore([lambda: asyncio.get_running_loop().create_future()]))


def test_what_a_watcher_raises_ends_the_run_and_is_no_outcome() -> None:
    place = Place()

    def watch(step: object) -> None:
        raise LookupError("not so")

    with Explorer(place.store, place.fresh, watch) as explorer, pytest.raises(LookupError, match="not so"):
        next(explorer.explore([place.careful]))


def test_outside_a_run_calls_pass_through(place: Place) -> None:
    place.explorer.prepare(place.careful())

    assert place.count == 1
