"""The contended store does what it is told at the call that fits, once, and is an ordinary store else."""

from __future__ import annotations

import asyncio

import pytest

from authflow.errors import StoreConflict, StoreUnavailable
from authflow.results import LoggedIn
from authflow.store.memory import MemoryStore
from authflow.store.protocol import Insert, Key, Put, Update
from authflow.testing import ContendedStore, make_kit, make_site
from authflow.testing.stores import records_in_memory

ANN, BOB, SESSION = Key("account", "ann"), Key("account", "bob"), Key("session", "s")


@pytest.fixture
async def store() -> ContendedStore:
    made = ContendedStore()
    await made.commit([Insert(ANN, {"n": 1})])
    return made


async def number(store: ContendedStore, key: Key = ANN) -> object:
    found = await store.get([key])
    return found[key].data["n"] if key in found else None


async def test_without_a_plan_it_is_an_ordinary_store(store: ContendedStore) -> None:
    version = (await store.get([ANN]))[ANN].version
    await store.commit([Update(ANN, {"n": 2}, version)])

    with pytest.raises(StoreConflict):
        await store.commit([Update(ANN, {"n": 3}, version)])

    assert await number(store) == 2


async def test_a_planned_conflict_writes_nothing_and_is_over(store: ContendedStore) -> None:
    store.conflict(times=2)
    for _ in range(2):
        with pytest.raises(StoreConflict):
            await store.commit([Put(ANN, {"n": 2})])

    assert (await number(store), store.planned) == (1, 0)
    await store.commit([Put(ANN, {"n": 2})])
    assert await number(store) == 2


async def test_a_plan_waits_for_the_kind_that_it_names(store: ContendedStore) -> None:
    store.conflict(kinds=["session"])
    await store.commit([Put(ANN, {"n": 2})])

    with pytest.raises(StoreConflict):
        await store.commit([Put(ANN, {"n": 3}), Put(SESSION, {})])

    assert (await number(store), store.planned) == (2, 0)


async def test_a_refused_call_does_nothing(store: ContendedStore) -> None:
    store.refuse("commit")
    assert await number(store) == 1
    with pytest.raises(StoreUnavailable):
        await store.commit([Put(ANN, {"n": 2})])
    store.refuse("find")
    with pytest.raises(StoreUnavailable):
        await store.find("account", "canonical_name")

    assert await number(store) == 1


async def test_a_lost_answer_has_done_its_work(store: ContendedStore) -> None:
    store.lose_answer()
    with pytest.raises(StoreUnavailable):
        await store.commit([Put(ANN, {"n": 2})])

    assert await number(store) == 2


async def test_a_lost_answer_of_a_commit_that_conflicts_is_a_conflict(store: ContendedStore) -> None:
    store.lose_answer()

    with pytest.raises(StoreConflict):
        await store.commit([Insert(ANN, {"n": 2})])


async def test_a_stale_answer_is_from_before_the_newest_commit(store: ContendedStore) -> None:
    await store.commit([Put(ANN, {"n": 2})])
    await store.commit([Put(ANN, {"n": 3}), Insert(BOB, {"n": 1})])

    store.answer_stale(times=2)

    assert (await number(store), await number(store, BOB)) == (2, None)
    assert (await number(store), await number(store, BOB)) == (3, 1)


async def test_what_is_written_on_a_stale_answer_conflicts(store: ContendedStore) -> None:
    await store.commit([Put(ANN, {"n": 2})])
    store.answer_stale()
    stale = (await store.get([ANN]))[ANN]

    with pytest.raises(StoreConflict):
        await store.commit([Update(ANN, {"n": 3}, stale.version)])


async def test_a_rival_is_done_right_before_the_commit(store: ContendedStore) -> None:
    version = (await store.get([ANN]))[ANN].version
    store.meanwhile(lambda: store.commit([Put(ANN, {"n": 7})]))

    with pytest.raises(StoreConflict):
        await store.commit([Update(ANN, {"n": 2}, version)])

    assert await number(store) == 7


async def test_a_held_call_waits_before_anything_of_it_is_done(store: ContendedStore) -> None:
    hold = store.hold("commit")
    held = asyncio.create_task(store.commit([Put(ANN, {"n": 2})]))
    await hold.reached()

    assert await number(store) == 1
    assert not held.done()
    hold.let_go()
    await held

    assert await number(store) == 2


async def test_a_call_may_meet_a_rival_and_a_lost_answer(store: ContendedStore) -> None:
    store.meanwhile(lambda: store.inner.commit([Put(BOB, {"n": 7})]))
    store.lose_answer()

    with pytest.raises(StoreUnavailable):
        await store.commit([Put(ANN, {"n": 2})])

    assert (await number(store), await number(store, BOB)) == (2, 7)


async def test_plans_can_be_forgotten(store: ContendedStore) -> None:
    store.refuse(times=5)

    store.calm_down()

    assert await number(store) == 1


async def test_it_says_what_was_asked(store: ContendedStore) -> None:
    await store.get([ANN, SESSION])

    assert store.calls == [("commit", {"account"}), ("get", {"account", "session"})]


async def test_what_lies_in_memory_can_be_listed_also_below_a_wrapper(store: ContendedStore) -> None:
    assert list(records_in_memory(store)) == list(records_in_memory(store.inner)) == [ANN]
    with pytest.raises(TypeError, match="object"):
        records_in_memory(object())  # type: ignore[arg-type]


async def test_an_engine_gets_past_a_conflict_and_a_site_past_an_outage() -> None:
    store = ContendedStore(MemoryStore())
    kit = make_kit(store=store)
    await kit.account()
    store.conflict()
    assert isinstance(await kit.login(), LoggedIn)

    site = await make_site(store=store)
    ada = site.person()
    await ada.get("/user/login")
    store.refuse("get")

    page = await ada.log_in()

    assert page.status == 503
    assert (await ada.log_in()).status == 303
