"""What the Datastore adapter makes of calls that are lost, late, refused or answered in pieces."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from authflow.errors import StoreConflict, StoreUnavailable
from authflow.store.datastore import DatastoreStore
from authflow.store.protocol import Delete, Insert, Key, Put, Record, Store, Update
from tests.store.emulators import BACKENDS, PROJECT, Emulators, new_namespace
from tests.store.faulty_proxy import Code, Fault, FaultyProxy

pytestmark = pytest.mark.emulator

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SHORT = timedelta(seconds=0.4)
ANN = Key("account", "ann")
BOB = Key("account", "bob")
EVENT = Key("event", "e1")
UNANSWERED = {
    "unavailable": {"code": Code.UNAVAILABLE},
    "cancelled": {"code": Code.CANCELLED},
    "deadline": {"code": Code.DEADLINE_EXCEEDED},
    "internal": {"code": Code.INTERNAL},
    "no answer": {"hangs": True},
}
OPERATIONS: dict[str, Callable[[Store], Awaitable[object]]] = {
    "get": lambda store: store.get([ANN]),
    "find": lambda store: store.find("account", "canonical_name"),
    "find_expired": lambda store: store.find_expired(NOW),
    "insert": lambda store: store.commit([Insert(BOB, {})]),
    "update": lambda store: store.commit([Update(ANN, {}, 1)]),
    "put": lambda store: store.commit([Put(ANN, {})]),
}


@pytest.fixture(params=BACKENDS)
async def proxy(request: pytest.FixtureRequest, emulators: Emulators) -> AsyncIterator[FaultyProxy]:
    async with FaultyProxy(emulators.host(request.param)) as proxy:
        yield proxy


@pytest.fixture
async def direct(proxy: FaultyProxy) -> AsyncIterator[DatastoreStore]:
    """A store that sees the same records without the proxy."""
    store = DatastoreStore(PROJECT, new_namespace(), emulator_host=proxy.target)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def store(proxy: FaultyProxy, direct: DatastoreStore) -> AsyncIterator[DatastoreStore]:
    """A store behind the proxy that has given its proof."""
    store = behind(proxy, direct)
    await store.open()
    await direct.commit([Insert(Key("marker", "m"), {})])
    await store.commit([Delete(Key("marker", "m"), (await read(direct, Key("marker", "m"))).version)])
    proxy.calls.clear()
    yield store
    await store.close()


def behind(proxy: FaultyProxy, direct: DatastoreStore, **more) -> DatastoreStore:
    return DatastoreStore(PROJECT, direct._codec.partition.namespace_id, emulator_host=proxy.host, **more)


async def read(store: Store, key: Key) -> Record:
    return (await store.get([key]))[key]


# --- Acknowledgements that are lost -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", UNANSWERED)
async def test_a_commit_whose_answer_was_lost_is_done_once(
    store: DatastoreStore, direct: DatastoreStore, proxy: FaultyProxy, how: str
) -> None:
    await direct.commit([Insert(ANN, {"n": 1})])
    version = (await read(direct, ANN)).version
    proxy.planned = [Fault("Commit", **UNANSWERED[how])]

    await store.commit([Update(ANN, {"n": 2}, version), Insert(EVENT, {})])

    found = await direct.get([ANN, EVENT])
    assert found[ANN].data == {"n": 2}
    assert EVENT in found
    assert proxy.calls == ["Commit", "Commit", "Lookup"]


@pytest.mark.parametrize("how", UNANSWERED)
async def test_a_commit_that_was_lost_itself_is_done_by_the_second_sending(
    store: DatastoreStore, direct: DatastoreStore, proxy: FaultyProxy, how: str
) -> None:
    proxy.planned = [Fault("Commit", passes_on=False, **UNANSWERED[how])]

    await store.commit([Insert(ANN, {"n": 1})])

    assert (await read(direct, ANN)).data == {"n": 1}
    assert proxy.calls == ["Commit", "Commit"]


@pytest.mark.parametrize("way", ["insert", "update", "delete with event"])
async def test_who_lost_the_race_while_its_commit_was_lost_is_told_a_conflict(
    store: DatastoreStore, direct: DatastoreStore, proxy: FaultyProxy, way: str
) -> None:
    if way != "insert":
        await direct.commit([Insert(ANN, {"by": "nobody"})])
        version = (await read(direct, ANN)).version
    rival = lambda: direct.commit([Put(ANN, {"by": "rival"})])  # noqa: E731
    proxy.planned = [Fault("Commit", passes_on=False, code=Code.UNAVAILABLE, meanwhile=rival)]

    with pytest.raises(StoreConflict):
        await store.commit(
            {
                "insert": lambda: [Insert(ANN, {"by": "us"})],
                "update": lambda: [Update(ANN, {"by": "us"}, version)],
                "delete with event": lambda: [Delete(ANN, version), Insert(EVENT, {})],
            }[way]()
        )

    assert {key: record.data for key, record in (await direct.get([ANN, EVENT])).items()} == {ANN: {"by": "rival"}}


async def test_an_unguarded_commit_whose_answer_was_lost_is_done(
    store: DatastoreStore, direct: DatastoreStore, proxy: FaultyProxy
) -> None:
    proxy.planned = [Fault("Commit", code=Code.UNAVAILABLE)]

    await store.commit([Put(ANN, {"n": 1}), Delete(BOB)])

    assert (await read(direct, ANN)).data == {"n": 1}


async def test_of_a_deletion_whose_answer_was_lost_nobody_knows(
    store: DatastoreStore, direct: DatastoreStore, proxy: FaultyProxy
) -> None:
    await direct.commit([Insert(ANN, {})])
    version = (await read(direct, ANN)).version
    proxy.planned = [Fault("Commit", code=Code.UNAVAILABLE)]

    with pytest.raises(StoreUnavailable, match="nobody knows"):
        await store.commit([Delete(ANN, version)])


async def test_a_commit_that_was_aborted_the_second_time_is_not_told_a_conflict(
    store: DatastoreStore, direct: DatastoreStore, proxy: FaultyProxy
) -> None:
    # The first one may be under way still, and hold what the second one wants.
    proxy.planned = [
        Fault("Commit", passes_on=False, code=Code.UNAVAILABLE),
        Fault("Commit", passes_on=False, code=Code.ABORTED),
    ]

    with pytest.raises(StoreUnavailable, match="nobody knows"):
        await store.commit([Insert(ANN, {})])


@pytest.mark.parametrize("second", UNANSWERED)
async def test_a_commit_that_was_never_answered_is_unavailable(
    proxy: FaultyProxy, direct: DatastoreStore, second: str
) -> None:
    store = behind(proxy, direct, deadline=SHORT)
    await store.open()
    proxy.planned = [Fault("Commit", code=Code.UNAVAILABLE), Fault("Commit", **UNANSWERED[second])]

    with pytest.raises(StoreUnavailable, match="nobody knows"):
        await store.commit([Insert(ANN, {})])

    assert proxy.calls == ["Commit", "Commit"]
    await store.close()


async def test_a_commit_that_cannot_be_looked_up_is_unavailable(
    store: DatastoreStore, direct: DatastoreStore, proxy: FaultyProxy
) -> None:
    proxy.planned = [Fault("Commit", code=Code.UNAVAILABLE)]
    proxy.always = [Fault("Lookup", code=Code.UNAVAILABLE)]

    with pytest.raises(StoreUnavailable, match="nobody knows"):
        await store.commit([Insert(ANN, {})])


async def test_parallel_commits_whose_answers_are_lost_have_one_winner_who_knows_it(
    store: DatastoreStore, direct: DatastoreStore, proxy: FaultyProxy
) -> None:
    for round_ in range(10):
        key = Key("session", f"s{round_}")
        await direct.commit([Insert(key, {"by": -1})])
        version = (await read(direct, key)).version
        proxy.planned = [Fault("Commit", passes_on=n % 2 == 0, code=Code.UNAVAILABLE) for n in range(20)]

        answers = await asyncio.gather(
            *(
                store.commit([Update(key, {"by": by}, version), Insert(Key("event", f"{round_}.{by}"), {})])
                for by in range(20)
            ),
            return_exceptions=True,
        )

        winners = [by for by, answer in enumerate(answers) if answer is None]
        assert [type(answer) for answer in answers if answer is not None] == [StoreConflict] * 19
        assert winners == [(await read(direct, key)).data["by"]]


# --- What the server says ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "text"),
    [
        (Code.FAILED_PRECONDITION, ""),
        (Code.ALREADY_EXISTS, ""),
        (Code.NOT_FOUND, ""),
        (Code.ABORTED, ""),
        (Code.INVALID_ARGUMENT, "the base version is greater than the stored version"),
    ],
)
async def test_a_refused_guard_is_a_conflict(store: DatastoreStore, proxy: FaultyProxy, code: Code, text: str) -> None:
    proxy.planned = [Fault("Commit", passes_on=False, code=code, text=text)]

    with pytest.raises(StoreConflict):
        await store.commit([Update(ANN, {}, 1)])

    assert proxy.calls == ["Commit"]


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        (Code.PERMISSION_DENIED, "roles/datastore.user"),
        (Code.UNAUTHENTICATED, "credentials"),
        (Code.RESOURCE_EXHAUSTED, "quota"),
        (Code.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
        (Code.UNIMPLEMENTED, "UNIMPLEMENTED"),
    ],
)
@pytest.mark.parametrize("operation", ["get", "find", "insert"])
async def test_a_fault_is_unavailable_at_once_with_advice_for_the_log(
    store: DatastoreStore, proxy: FaultyProxy, code: Code, advice: str, operation: str
) -> None:
    method = {"get": "Lookup", "find": "RunQuery", "insert": "Commit"}[operation]
    proxy.planned = [Fault(method, passes_on=False, code=code, text='no "ann@example.org" here')]

    with pytest.raises(StoreUnavailable) as caught:
        await OPERATIONS[operation](store)

    assert advice in caught.value.detail
    assert "ann@example.org" not in f"{caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert proxy.calls == [method]


async def test_a_missing_index_is_named(store: DatastoreStore, proxy: FaultyProxy) -> None:
    proxy.planned = [Fault("RunQuery", passes_on=False, code=Code.FAILED_PRECONDITION, text="no matching index")]

    with pytest.raises(StoreUnavailable, match="index"):
        await OPERATIONS["find"](store)


@pytest.mark.parametrize("operation", ["get", "find"])
@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.INTERNAL, Code.CANCELLED])
async def test_a_read_is_tried_three_times(
    store: DatastoreStore, proxy: FaultyProxy, operation: str, code: Code
) -> None:
    method = {"get": "Lookup", "find": "RunQuery"}[operation]

    proxy.planned = [Fault(method, code=code)] * 2
    await OPERATIONS[operation](store)
    proxy.planned = [Fault(method, code=code)] * 3
    with pytest.raises(StoreUnavailable):
        await OPERATIONS[operation](store)

    assert proxy.calls == [method] * 6


async def test_a_read_whose_answer_is_lost_is_asked_again_in_time(store: DatastoreStore, proxy: FaultyProxy) -> None:
    proxy.planned = [Fault("Lookup", hangs=True)]
    began = time.monotonic()

    assert await store.get([ANN]) == {}

    assert time.monotonic() - began < 2


# --- Answers in pieces ------------------------------------------------------------------------------------------------


async def test_what_a_lookup_defers_is_asked_for_again(
    store: DatastoreStore, direct: DatastoreStore, proxy: FaultyProxy
) -> None:
    keys = [Key("session", f"s{n}") for n in range(10)]
    await direct.commit([Insert(key, {"name": key.name}) for key in keys])

    def defer(answer: Any) -> None:
        answer.deferred.extend(result.entity.key for result in answer.found[3:])
        del answer.found[3:]

    proxy.always = [Fault("Lookup", response=defer)]

    found = await store.get(keys)

    assert {key: record.data["name"] for key, record in found.items()} == {key: key.name for key in keys}
    assert proxy.calls == ["Lookup"] * 4


async def test_a_query_that_is_answered_in_batches_is_read_to_its_end(
    store: DatastoreStore, direct: DatastoreStore, proxy: FaultyProxy
) -> None:
    await direct.commit([Insert(Key("outbox", f"m{n:02}"), {"due_at": n // 2}) for n in range(20)])
    wanted = 0

    def ask_less(request: Any) -> None:
        nonlocal wanted
        wanted = request.query.limit.value
        request.query.limit.value = min(wanted, 3)

    def say_so(answer: Any) -> None:
        if len(answer.batch.entity_results) < wanted and answer.batch.more_results != answer.batch.NO_MORE_RESULTS:
            answer.batch.more_results = answer.batch.NOT_FINISHED

    proxy.always = [Fault("RunQuery", request=ask_less, response=say_so)]

    page = await store.find("outbox", "due_at", limit=10)

    assert [record.key.name for record in page.records] == [f"m{n:02}" for n in range(10)]
    assert page.cursor is not None
    assert len(proxy.calls) == 4


# --- Proof ------------------------------------------------------------------------------------------------------------


def unguard(request: Any, *kinds: str) -> None:
    """Do as a backend does that has never heard of conditions."""
    for mutation in request.mutations:
        if mutation.WhichOneof("operation") in kinds:
            mutation.ClearField("base_version")
            mutation.ClearField("conflict_resolution_strategy")


async def test_the_proof_is_given_once_for_all_commits_that_wait_for_it(
    proxy: FaultyProxy, direct: DatastoreStore
) -> None:
    store = behind(proxy, direct)
    await store.open()
    await direct.commit([Insert(Key("session", f"s{n}"), {}) for n in range(20)])
    found = await direct.get([Key("session", f"s{n}") for n in range(20)])

    await asyncio.gather(*(store.commit([Update(key, {}, record.version)]) for key, record in found.items()))
    assert len(proxy.calls) == 21

    await store.commit([Delete(key, record.version) for key, record in (await direct.get(list(found))).items()])
    assert len(proxy.calls) == 22
    await store.close()


async def test_a_commit_that_guards_by_no_version_needs_no_proof(proxy: FaultyProxy, direct: DatastoreStore) -> None:
    store = behind(proxy, direct)
    await store.open()

    await store.commit([Insert(ANN, {}), Put(BOB, {}), Delete(EVENT)])

    assert proxy.calls == ["Commit"]
    await store.close()


async def test_nothing_is_written_under_a_guard_that_the_backend_ignores(
    proxy: FaultyProxy, direct: DatastoreStore
) -> None:
    store = behind(proxy, direct)
    await store.open()
    await direct.commit([Insert(ANN, {"n": 1})])
    version = (await read(direct, ANN)).version
    proxy.always = [Fault("Commit", request=lambda request: unguard(request, "delete", "update"))]

    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="does not refuse"):
            await store.commit([Update(ANN, {"n": 2}, version)])
    with pytest.raises(StoreUnavailable, match="does not refuse"):
        await store.probe()

    assert (await read(direct, ANN)).data == {"n": 1}
    await store.close()


async def test_a_proof_that_failed_is_tried_again_by_the_next_commit(
    proxy: FaultyProxy, direct: DatastoreStore
) -> None:
    store = behind(proxy, direct)
    await store.open()
    await direct.commit([Insert(ANN, {"n": 1})])
    version = (await read(direct, ANN)).version
    proxy.always = [Fault("Commit", passes_on=False, code=Code.UNAVAILABLE)]

    answers = await asyncio.gather(
        *(store.commit([Update(ANN, {"n": n}, version)]) for n in range(5)), return_exceptions=True
    )
    assert [type(answer) for answer in answers] == [StoreUnavailable] * 5
    assert len(proxy.calls) == 2

    proxy.always = []
    await store.commit([Update(ANN, {"n": 2}, version)])
    assert (await read(direct, ANN)).data == {"n": 2}
    await store.close()


async def test_who_is_cancelled_while_waiting_for_the_proof_leaves_it_to_the_others(
    proxy: FaultyProxy, direct: DatastoreStore
) -> None:
    store = behind(proxy, direct)
    await store.open()
    await direct.commit([Insert(ANN, {}), Insert(BOB, {})])
    found = await direct.get([ANN, BOB])
    go = asyncio.Event()
    has_come = asyncio.Event()

    async def wait() -> None:
        has_come.set()
        await go.wait()

    proxy.planned = [Fault("Commit", meanwhile=wait)]
    first, second = (asyncio.create_task(store.commit([Update(k, {"n": 1}, r.version)])) for k, r in found.items())
    await has_come.wait()

    first.cancel()
    await asyncio.sleep(0)
    go.set()

    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    assert {key.name: record.data for key, record in (await direct.get([ANN, BOB])).items()} == {
        "ann": {},
        "bob": {"n": 1},
    }
    await store.close()


async def test_the_thorough_probe_passes_and_leaves_nothing(proxy: FaultyProxy, direct: DatastoreStore) -> None:
    store = behind(proxy, direct)
    await store.open()

    await store.probe()

    keys: list[Key] = []
    proxy.always = [Fault("Commit", request=lambda request: keys.extend(written(request)))]
    await store.probe()
    assert keys
    assert await direct.get(keys) == {}
    await store.close()


def written(request: Any) -> list[Key]:
    mutations = [getattr(mutation, mutation.WhichOneof("operation")) for mutation in request.mutations]
    keys = [getattr(message, "key", message) for message in mutations]
    return [Key(key.path[0].kind, key.path[0].name) for key in keys]


async def test_the_thorough_probe_finds_what_the_short_one_misses(proxy: FaultyProxy, direct: DatastoreStore) -> None:
    store = behind(proxy, direct)
    await store.open()
    proxy.always = [Fault("Commit", request=lambda request: unguard(request, "update"))]

    with pytest.raises(StoreUnavailable, match="does not refuse"):
        await store.probe()
    await store.close()


async def test_the_thorough_probe_tells_what_it_may_not_do(proxy: FaultyProxy, direct: DatastoreStore) -> None:
    store = behind(proxy, direct)
    await store.open()
    proxy.always = [Fault("Commit", passes_on=False, code=Code.PERMISSION_DENIED)]

    with pytest.raises(StoreUnavailable, match="roles/datastore"):
        await store.probe()
    await store.close()


# --- Time -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_backend_that_hangs_is_unavailable_within_the_deadline(
    proxy: FaultyProxy, direct: DatastoreStore, operation: str
) -> None:
    store = behind(proxy, direct, deadline=SHORT)
    await store.open()
    proxy.always = [Fault(method, hangs=True) for method in ("Lookup", "RunQuery", "Commit")]
    began = time.monotonic()

    with pytest.raises(StoreUnavailable):
        await OPERATIONS[operation](store)

    assert time.monotonic() - began < SHORT.total_seconds() + 0.5
    await store.close()


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_the_cancellation_of_the_caller_is_passed_on_and_nothing_is_sent_again(
    store: DatastoreStore, proxy: FaultyProxy, operation: str
) -> None:
    proxy.always = [Fault(method, hangs=True) for method in ("Lookup", "RunQuery", "Commit")]
    call = asyncio.ensure_future(OPERATIONS[operation](store))
    await asyncio.sleep(0.1)
    sent = list(proxy.calls)
    assert sent

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    await asyncio.sleep(0.2)
    assert proxy.calls == sent


async def test_a_commit_under_a_caller_s_timeout_ends_with_it(store: DatastoreStore, proxy: FaultyProxy) -> None:
    proxy.always = [Fault("Commit", hangs=True)]

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await store.commit([Insert(ANN, {})])


async def test_a_call_under_way_when_the_store_is_closed_is_unavailable_and_not_cancelled(
    proxy: FaultyProxy, direct: DatastoreStore
) -> None:
    store = behind(proxy, direct, deadline=timedelta(seconds=30))
    await store.open()
    await direct.commit([Insert(ANN, {"n": 1})])
    proxy.always = [Fault(method, hangs=True) for method in ("Lookup", "RunQuery", "Commit")]
    calls = [asyncio.ensure_future(call(store)) for call in OPERATIONS.values()]
    await asyncio.sleep(0.1)
    assert proxy.calls

    await store.close()

    answers = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 10)
    assert [type(answer) for answer in answers] == [StoreUnavailable] * len(OPERATIONS)
