"""What every store promises. An adapter joins by one line in `ADAPTERS`."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeAlias

import pytest

from authflow.errors import BadInput, StoreConflict, StoreUnavailable
from authflow.store.datastore import DatastoreStore
from authflow.store.instrumented import InstrumentedStore
from authflow.store.memory import MemoryStore
from authflow.store.protocol import MAX_WRITES, Delete, Insert, Key, Plain, Put, Record, Store, Update, Write
from authflow.store.sqlite import SqliteStore
from tests.store.emulators import BACKENDS, Emulators

OpenStore: TypeAlias = Callable[[Path], AbstractAsyncContextManager[Store]]

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANN = Key("account", "ann")
BOB = Key("account", "bob")
EVE = Key("account", "eve")
SESSION = Key("session", "ann")


@asynccontextmanager
async def opened(store: Store) -> AsyncIterator[Store]:
    await store.open()
    try:
        yield store
    finally:
        await store.close()


ADAPTERS: dict[str, OpenStore] = {
    "memory": lambda _: opened(MemoryStore()),
    "sqlite": lambda directory: opened(SqliteStore(directory / "store.sqlite")),
    "instrumented": lambda _: opened(InstrumentedStore(MemoryStore())),
}


@pytest.fixture(params=[*ADAPTERS, *(pytest.param(backend, marks=pytest.mark.emulator) for backend in BACKENDS)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    if request.param in BACKENDS:
        emulators: Emulators = request.getfixturevalue("emulators")
        adapter = opened(emulators.store(request.param))
    else:
        adapter = ADAPTERS[request.param](tmp_path)
    async with adapter as store:
        yield store


async def read(store: Store, key: Key) -> Record:
    return (await store.get([key]))[key]


async def outcomes(*commits: Awaitable[None]) -> tuple[int, int]:
    """Count who won and who met a conflict; anything else is raised."""
    won = lost = 0
    for answer in await asyncio.gather(*commits, return_exceptions=True):
        if answer is None:
            won += 1
        elif isinstance(answer, StoreConflict):
            lost += 1
        else:
            raise answer
    return won, lost


# --- Reading ----------------------------------------------------------------------------------------------------------


async def test_get_answers_what_is_there_by_key(store: Store) -> None:
    await store.commit([Insert(ANN, {"name": "Ann"}), Insert(SESSION, {"step": 1}, NOW)])

    found = await store.get([SESSION, BOB, ANN])

    assert set(found) == {ANN, SESSION}
    assert found[ANN].key == ANN
    assert found[ANN].data == {"name": "Ann"}
    assert found[ANN].expires_at is None
    assert found[SESSION].expires_at == NOW


async def test_get_reads_doubles_once(store: Store) -> None:
    await store.commit([Insert(ANN, {"name": "Ann"})])

    assert len(await store.get([ANN, ANN, BOB, ANN, BOB])) == 1


async def test_get_of_no_keys_is_empty(store: Store) -> None:
    assert await store.get([]) == {}


async def test_get_includes_the_expired(store: Store) -> None:
    await store.commit([Insert(SESSION, {}, datetime(1980, 1, 1, tzinfo=UTC))])

    assert SESSION in await store.get([SESSION])


@pytest.mark.parametrize("count", [1, 2, 7, 500])
async def test_get_reads_any_number_of_keys(store: Store, count: int) -> None:
    keys = [Key("session", f"s{number}") for number in range(count)]
    for start in range(0, count, MAX_WRITES):
        await store.commit([Insert(key, {"name": key.name}) for key in keys[start : start + MAX_WRITES]])

    found = await store.get(keys)

    assert [found[key].data["name"] for key in keys] == [key.name for key in keys]


@pytest.mark.parametrize("name", ["\ud800", "", "x" * 5_000])
async def test_a_name_that_no_record_can_have_is_absent(store: Store, name: str) -> None:
    await store.commit([Insert(ANN, {})])

    assert set(await store.get([Key("account", name), ANN])) == {ANN}


async def test_kinds_and_names_are_not_mixed_up(store: Store) -> None:
    await store.commit([Insert(ANN, {"of": "account"}), Insert(SESSION, {"of": "session"}), Insert(BOB, {"of": "bob"})])

    found = await store.get([SESSION, BOB])

    assert {key: record.data["of"] for key, record in found.items()} == {SESSION: "session", BOB: "bob"}


# --- What a record holds ----------------------------------------------------------------------------------------------


async def test_plain_values_come_back_as_they_were(store: Store) -> None:
    data: dict[str, Plain] = {
        "nothing": None,
        "yes": True,
        "no": False,
        "zero": 0,
        "negative": -(2**63),
        "large": 2**63 - 1,
        "half": 0.5,
        "whole": 1.0,
        "tiny": 5e-324,
        "empty": "",
        "list": [1, "two", None, [], {"deep": [True]}],
        "map": {"": 1, "ключ": {"x": []}},
    }
    await store.commit([Insert(ANN, data)])

    found = (await read(store, ANN)).data

    assert found == data
    assert [type(value) for value in found.values()] == [type(value) for value in data.values()]


@pytest.mark.parametrize(
    "text", ["Žluťoučký kůň", "山田太郎", "🔐👩‍👩‍👧", "e\u0301 ≠ é", "a\x00b", "' OR 1=1 --", '\u2028\\"\n']
)
async def test_any_text_serves_as_name_and_value(store: Store, text: str) -> None:
    key = Key("role", text)
    await store.commit([Insert(key, {"label": text, text: 1})])

    assert (await read(store, key)).data == {"label": text, text: 1}


async def test_names_are_compared_exactly(store: Store) -> None:
    names = ["ann", "Ann", "ann ", "é", "e\u0301", "1", "01"]
    await store.commit([Insert(Key("role", name), {"name": name}) for name in names])

    found = await store.get([Key("role", name) for name in names])

    assert [found[Key("role", name)].data["name"] for name in names] == names


async def test_a_name_may_have_a_thousand_bytes(store: Store) -> None:
    key = Key("role", "é" * 500)
    await store.commit([Insert(key, {})])

    assert key in await store.get([key])


async def test_a_large_body_is_kept(store: Store) -> None:
    body = base64.b64encode(secrets.token_bytes(600_000)).decode()
    await store.commit([Insert(SESSION, {"scratch": body})])

    assert (await read(store, SESSION)).data["scratch"] == body


@pytest.mark.parametrize(
    "instant",
    [NOW, NOW + timedelta(microseconds=1), datetime(1, 1, 1, tzinfo=UTC), datetime.max.replace(tzinfo=UTC)],
)
async def test_an_expiry_is_kept_to_the_microsecond(store: Store, instant: datetime) -> None:
    await store.commit([Insert(SESSION, {}, instant)])

    assert (await read(store, SESSION)).expires_at == instant


async def test_an_update_drops_an_expiry_that_it_does_not_repeat(store: Store) -> None:
    await store.commit([Insert(SESSION, {}, NOW)])

    await store.commit([Update(SESSION, {}, (await read(store, SESSION)).version)])

    assert (await read(store, SESSION)).expires_at is None


async def test_what_a_caller_changes_afterwards_is_not_stored(store: Store) -> None:
    roles: list[Plain] = ["user"]
    await store.commit([Insert(ANN, {"roles": roles})])

    roles.append("admin")
    found = (await read(store, ANN)).data["roles"]
    assert isinstance(found, list)
    found.append("root")

    assert (await read(store, ANN)).data == {"roles": ["user"]}


async def test_what_a_caller_changes_while_the_commit_runs_is_not_stored(store: Store) -> None:
    data = {"roles": "user"}
    task = asyncio.create_task(store.commit([Insert(ANN, data)]))
    await asyncio.sleep(0)

    data["roles"] = "admin"
    await task

    assert (await read(store, ANN)).data == {"roles": "user"}


# --- Preconditions ----------------------------------------------------------------------------------------------------


async def test_an_insert_of_what_exists_is_a_conflict(store: Store) -> None:
    await store.commit([Insert(ANN, {"n": 1})])

    with pytest.raises(StoreConflict):
        await store.commit([Insert(ANN, {"n": 2})])

    assert (await read(store, ANN)).data == {"n": 1}


async def test_an_update_replaces_the_whole_record(store: Store) -> None:
    await store.commit([Insert(ANN, {"n": 1, "old": True})])

    await store.commit([Update(ANN, {"n": 2}, (await read(store, ANN)).version)])

    assert (await read(store, ANN)).data == {"n": 2}


async def test_an_update_of_another_version_is_a_conflict(store: Store) -> None:
    await store.commit([Insert(ANN, {"n": 1})])
    stale = (await read(store, ANN)).version
    await store.commit([Update(ANN, {"n": 2}, stale)])

    with pytest.raises(StoreConflict):
        await store.commit([Update(ANN, {"n": 3}, stale)])

    assert (await read(store, ANN)).data == {"n": 2}


async def test_an_update_of_what_is_absent_is_a_conflict(store: Store) -> None:
    with pytest.raises(StoreConflict):
        await store.commit([Update(ANN, {}, 1)])

    assert await store.get([ANN]) == {}


async def test_a_put_writes_whatever_is_there(store: Store) -> None:
    await store.commit([Put(ANN, {"n": 1}, NOW)])
    await store.commit([Put(ANN, {"m": 2})])

    record = await read(store, ANN)

    assert (record.data, record.expires_at) == ({"m": 2}, None)


async def test_a_delete_of_its_version_removes(store: Store) -> None:
    await store.commit([Insert(ANN, {})])

    await store.commit([Delete(ANN, (await read(store, ANN)).version)])

    assert await store.get([ANN]) == {}


async def test_a_delete_of_another_version_is_a_conflict(store: Store) -> None:
    await store.commit([Insert(ANN, {})])
    stale = (await read(store, ANN)).version
    await store.commit([Put(ANN, {})])

    with pytest.raises(StoreConflict):
        await store.commit([Delete(ANN, stale)])

    assert ANN in await store.get([ANN])


async def test_a_guarded_delete_of_what_is_absent_is_a_conflict(store: Store) -> None:
    with pytest.raises(StoreConflict):
        await store.commit([Delete(ANN, 1)])


async def test_an_unguarded_delete_does_not_care(store: Store) -> None:
    await store.commit([Insert(ANN, {})])

    await store.commit([Delete(ANN), Delete(BOB)])

    assert await store.get([ANN, BOB]) == {}


async def test_all_writes_of_a_commit_are_carried_out(store: Store) -> None:
    await store.commit([Insert(ANN, {"n": 1}), Insert(BOB, {"n": 1})])
    before = await store.get([ANN, BOB])

    await store.commit(
        [
            Update(ANN, {"n": 2}, before[ANN].version),
            Delete(BOB, before[BOB].version),
            Insert(EVE, {"n": 3}),
            Put(SESSION, {"n": 4}),
        ]
    )

    found = await store.get([ANN, BOB, EVE, SESSION])
    assert {key: record.data["n"] for key, record in found.items()} == {ANN: 2, EVE: 3, SESSION: 4}


@pytest.mark.parametrize("place", [0, 2, 4])
@pytest.mark.parametrize("kind", ["insert", "update", "update of absent", "delete", "delete of absent"])
async def test_a_conflict_anywhere_leaves_nothing(store: Store, kind: str, place: int) -> None:
    await store.commit([Insert(ANN, {"n": 1}), Insert(BOB, {"n": 1}), Insert(SESSION, {"n": 1})])
    stale = (await read(store, ANN)).version
    await store.commit([Put(ANN, {"n": 2})])
    before = await store.get([ANN, BOB, EVE, SESSION])
    refusals: dict[str, Write] = {
        "insert": Insert(ANN, {}),
        "update": Update(ANN, {}, stale),
        "update of absent": Update(Key("account", "nobody"), {}, stale),
        "delete": Delete(ANN, stale),
        "delete of absent": Delete(Key("account", "nobody"), stale),
    }
    writes: list[Write] = [
        Update(BOB, {"n": 9}, before[BOB].version),
        Insert(EVE, {"n": 9}),
        Delete(SESSION),
        Put(Key("bucket", "x"), {"n": 9}),
    ]

    with pytest.raises(StoreConflict):
        await store.commit([*writes[:place], refusals[kind], *writes[place:]])

    assert await store.get([ANN, BOB, EVE, SESSION]) == before
    assert await store.get([Key("bucket", "x")]) == {}


async def test_an_empty_commit_does_nothing(store: Store) -> None:
    await store.commit([])


async def test_a_commit_that_need_not_be_durable_is_guarded_as_well(store: Store) -> None:
    await store.commit([Insert(ANN, {"n": 1})], durable=False)

    with pytest.raises(StoreConflict):
        await store.commit([Insert(ANN, {"n": 2})], durable=False)

    assert (await read(store, ANN)).data == {"n": 1}


# --- Versions ---------------------------------------------------------------------------------------------------------


async def test_a_version_stands_while_others_are_written(store: Store) -> None:
    await store.commit([Insert(ANN, {})])
    version = (await read(store, ANN)).version

    await store.commit([Insert(BOB, {}), Put(SESSION, {})])

    assert (await read(store, ANN)).version == version


@pytest.mark.parametrize("unchanged", [False, True])
async def test_a_write_that_changes_nothing_changes_the_version(store: Store, unchanged: bool) -> None:
    await store.commit([Insert(ANN, {"n": 1}, NOW)])
    record = await read(store, ANN)

    await store.commit([Update(ANN, record.data, record.version, NOW) if unchanged else Put(ANN, {"n": 1}, NOW)])

    assert (await read(store, ANN)).version != record.version
    with pytest.raises(StoreConflict):
        await store.commit([Update(ANN, record.data, record.version, NOW)])


async def test_a_record_made_anew_never_has_an_old_version(store: Store) -> None:
    versions = set()

    for _ in range(30):
        await store.commit([Insert(ANN, {"n": 1})])
        versions.add((await read(store, ANN)).version)
        await store.commit([Delete(ANN)])

    assert len(versions) == 30


async def test_a_version_from_before_a_deletion_guards_nothing(store: Store) -> None:
    await store.commit([Insert(ANN, {"n": 1})])
    stale = (await read(store, ANN)).version
    await store.commit([Delete(ANN)])
    await store.commit([Insert(ANN, {"n": 1})])

    with pytest.raises(StoreConflict):
        await store.commit([Update(ANN, {"n": 2}, stale)])
    with pytest.raises(StoreConflict):
        await store.commit([Delete(ANN, stale)])


# --- Races ------------------------------------------------------------------------------------------------------------


async def test_of_fifty_parallel_updates_one_wins(store: Store) -> None:
    await store.commit([Insert(ANN, {"n": 0})])

    for round_ in range(20):
        record = await read(store, ANN)
        commits = [store.commit([Update(ANN, {"n": round_, "by": by}, record.version)]) for by in range(50)]
        assert await outcomes(*commits) == (1, 49)


async def test_of_fifty_parallel_inserts_one_wins(store: Store) -> None:
    for round_ in range(20):
        key = Key("name", f"ann{round_}")
        assert await outcomes(*[store.commit([Insert(key, {"by": by})]) for by in range(50)]) == (1, 49)


async def test_of_fifty_parallel_deletes_one_wins(store: Store) -> None:
    for _ in range(10):
        await store.commit([Insert(ANN, {})])
        version = (await read(store, ANN)).version
        assert await outcomes(*[store.commit([Delete(ANN, version)]) for _ in range(50)]) == (1, 49)


async def test_a_race_loser_leaves_none_of_its_other_writes(store: Store) -> None:
    await store.commit([Insert(ANN, {"n": 0})])
    version = (await read(store, ANN)).version
    marks = [Key("event", f"e{by}") for by in range(50)]

    commits = [store.commit([Insert(mark, {}), Update(ANN, {"by": mark.name}, version)]) for mark in marks]
    assert await outcomes(*commits) == (1, 49)

    found = await store.get(marks)
    assert [key.name for key in found] == [(await read(store, ANN)).data["by"]]


async def test_parallel_counting_with_retries_loses_no_count(store: Store) -> None:
    bucket = Key("bucket", "ann")
    await store.commit([Insert(bucket, {"n": 0})])

    async def count() -> None:
        while True:
            record = await read(store, bucket)
            number = record.data["n"]
            assert isinstance(number, int)
            try:
                return await store.commit([Update(bucket, {"n": number + 1}, record.version)])
            except StoreConflict:
                await asyncio.sleep(0)

    await asyncio.gather(*(count() for _ in range(30)))

    assert (await read(store, bucket)).data == {"n": 30}


async def test_a_reader_never_sees_half_a_commit(store: Store) -> None:
    if isinstance(store, DatastoreStore):
        # Datastore reads all keys of a look-up at one instant and tells it; its emulators read one key after the other.
        await _a_reader_cannot_act_on_half_a_commit(store)
        return
    await store.commit([Insert(ANN, {"n": 0}), Insert(BOB, {"n": 0})])
    is_done = False

    async def watch() -> int:
        reads = 0
        while not is_done:
            found = await store.get([ANN, BOB])
            assert found[ANN].data == found[BOB].data
            reads += 1
            await asyncio.sleep(0)
        return reads

    watcher = asyncio.create_task(watch())
    for number in range(100):
        await store.commit([Put(ANN, {"n": number}), Put(BOB, {"n": number})])
    is_done = True

    assert await watcher > 0


async def _a_reader_cannot_act_on_half_a_commit(store: Store) -> None:
    """Commit what a read with halves leads to: it must be refused, for one of the halves is outdated."""
    await store.commit([Insert(ANN, {"n": 0}), Insert(BOB, {"n": 0})])
    is_done = False
    pages = 0

    async def watch() -> None:
        nonlocal pages
        while not is_done:
            found = await store.get([ANN, BOB])
            pages += 1
            if found[ANN].data != found[BOB].data:
                with pytest.raises(StoreConflict):
                    await store.commit([Update(key, {"n": -1}, record.version) for key, record in found.items()])

    watchers = [asyncio.create_task(watch()) for _ in range(3)]
    for number in range(100):
        await store.commit([Put(ANN, {"n": number}), Put(BOB, {"n": number})])
    is_done = True
    await asyncio.gather(*watchers)

    assert pages > 0
    assert {record.data["n"] for record in (await store.get([ANN, BOB])).values()} == {99}


# --- Listing ----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def store_with_outbox(store: Store) -> Store:
    """25 letters, three of them due at each minute; some records that are not to be found."""
    letters = [Insert(Key("outbox", f"m{number:02}"), {"due_at": number // 3, "n": number}) for number in range(25)]
    others = [
        Insert(Key("outbox", "never"), {"due_at": None}),
        Insert(Key("outbox", "without"), {}),
        Insert(Key("event", "m00"), {"at": 3, "account_id": "ann"}),
    ]
    await store.commit([*reversed(letters), *others])
    return store


async def listing(
    store: Store, *, limit: int, equals: int | None = None, at_most: int | None = None, at_least: int | None = None
) -> list[list[str]]:
    """Read the outbox to its end, as one list of names a page."""
    pages: list[list[str]] = []
    cursor = None
    for _ in range(100):
        page = await store.find(
            "outbox", "due_at", equals=equals, at_most=at_most, at_least=at_least, limit=limit, cursor=cursor
        )
        pages.append([record.key.name for record in page.records])
        cursor = page.cursor
        if cursor is None:
            return pages
    raise AssertionError("the listing does not end")


def names(numbers: Sequence[int]) -> list[str]:
    return [f"m{number:02}" for number in numbers]


async def test_find_lists_all_that_have_the_field_in_its_order(store_with_outbox: Store) -> None:
    page = await store_with_outbox.find("outbox", "due_at")

    assert [record.key.name for record in page.records] == names(range(25))
    assert page.records[4].data == {"due_at": 1, "n": 4}
    assert page.cursor is None


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 24, 25, 26])
async def test_pages_join_to_the_whole(store_with_outbox: Store, limit: int) -> None:
    pages = await listing(store_with_outbox, limit=limit)

    assert [name for page in pages for name in page] == names(range(25))
    assert {len(page) for page in pages[:-1]} <= {limit}


@pytest.mark.parametrize(
    ("bounds", "numbers"),
    [
        ({"equals": 2}, range(6, 9)),
        ({"at_most": 1}, range(6)),
        ({"at_least": 7}, range(21, 25)),
        ({"at_least": 2, "at_most": 4}, range(6, 15)),
        ({"equals": 2, "at_most": 1}, []),
        ({"equals": 99}, []),
        ({"at_most": 0}, range(3)),
        ({"equals": 0}, range(3)),
        ({"at_most": -1}, []),
    ],
)
async def test_bounds_are_inclusive_and_page_too(
    store_with_outbox: Store, bounds: dict[str, int], numbers: Sequence[int]
) -> None:
    for limit in (2, 50):
        pages = await listing(store_with_outbox, limit=limit, **bounds)
        assert [name for page in pages for name in page] == names(numbers)


async def test_texts_are_listed_by_code_point_then_name(store: Store) -> None:
    texts = ["b", "a", "B", "é", "z", "ä", "", "a\u0301", "𝄞", "\uffff", "10", "9"]
    await store.commit(
        [Insert(Key("account", f"{number:02}"), {"canonical_name": text}) for number, text in enumerate(texts)]
    )

    page = await store.find("account", "canonical_name")
    above = await store.find("account", "canonical_name", at_least="z")

    assert [record.data["canonical_name"] for record in page.records] == sorted(texts)
    assert [record.data["canonical_name"] for record in above.records] == ["z", "ä", "é", "\uffff", "𝄞"]


async def test_a_listing_follows_its_field_as_it_changes(store_with_outbox: Store) -> None:
    await store_with_outbox.commit([Put(Key("outbox", "m00"), {"due_at": 100}), Delete(Key("outbox", "m01"))])

    pages = await listing(store_with_outbox, limit=50)

    assert pages == [[*names(range(2, 25)), "m00"]]


async def test_paging_survives_the_removal_of_what_it_has_passed(store_with_outbox: Store) -> None:
    seen: list[str] = []
    cursor = None
    while True:
        page = await store_with_outbox.find("outbox", "due_at", limit=4, cursor=cursor)
        seen += [record.key.name for record in page.records]
        await store_with_outbox.commit([Delete(record.key) for record in page.records])
        cursor = page.cursor
        if cursor is None:
            break

    assert seen == names(range(25))


@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "x",
        "not a cursor",
        "é",
        "\ud800",
        "A" * 4_001,
        base64.urlsafe_b64encode(b"[]").decode(),
        base64.urlsafe_b64encode(b'["", 1, "x"]').decode(),
        base64.urlsafe_b64encode(b"[" * 100_000).decode(),
        base64.urlsafe_b64encode(b"9" * 10_000).decode(),
    ],
)
async def test_a_cursor_that_is_not_ours_is_refused(store_with_outbox: Store, cursor: str) -> None:
    with pytest.raises(BadInput):
        await store_with_outbox.find("outbox", "due_at", cursor=cursor)


async def test_a_cursor_of_another_question_is_refused(store_with_outbox: Store) -> None:
    cursor = (await store_with_outbox.find("outbox", "due_at", at_most=5, limit=2)).cursor
    assert cursor is not None

    with pytest.raises(BadInput):
        await store_with_outbox.find("outbox", "due_at", at_most=6, limit=2, cursor=cursor)
    with pytest.raises(BadInput):
        await store_with_outbox.find("event", "at", at_most=5, limit=2, cursor=cursor)
    with pytest.raises(BadInput):
        await store_with_outbox.find("outbox", "due_at", at_most=5, limit=2, cursor=cursor[:-2])


async def test_the_expired_are_listed_oldest_first(store: Store) -> None:
    minutes = {"a": -1, "b": -3, "c": 1, "d": -2, "e": 0}
    await store.commit(
        [Insert(Key("session", name), {}, NOW + timedelta(minutes=minute)) for name, minute in minutes.items()]
    )
    await store.commit([Insert(Key("ticket", "t"), {"x": 1}, NOW - timedelta(seconds=1)), Insert(ANN, {})])

    found = await store.find_expired(NOW)
    first = await store.find_expired(NOW, limit=2)

    assert [record.key.name for record in found] == ["b", "d", "a", "t"]
    assert [record.key.name for record in first] == ["b", "d"]
    assert (found[3].key.kind, found[3].data) == ("ticket", {"x": 1})


async def test_an_expired_version_serves_to_delete(store: Store) -> None:
    await store.commit([Insert(Key("session", str(n)), {}, NOW - timedelta(minutes=1)) for n in range(5)])

    await store.commit([Delete(record.key, record.version) for record in await store.find_expired(NOW)])

    assert await store.find_expired(NOW) == []


# --- What a caller gets wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "writes",
    [
        [Insert(ANN, {}), Delete(ANN)],
        [Insert(Key("role", str(number)), {}) for number in range(MAX_WRITES + 1)],
        [Insert(Key("role", ""), {})],
        [Insert(Key("", "x"), {})],
        [Insert(Key("role", "é" * 501), {})],
        [Insert(Key("role", "\ud800"), {})],
        [Insert(Key("role", "x"), {"n": float("nan")})],
        [Insert(Key("role", "x"), {"n": "\ud800"})],
        [Insert(Key("role", "x"), {"n": b"bytes"})],  # type: ignore[dict-item]
        [Insert(Key("role", "x"), {}, datetime(2026, 1, 1))],  # noqa: DTZ001
        [Insert(Key("outbox", "x"), {"due_at": 0.5})],
        [Insert(Key("outbox", "x"), {"due_at": 2**63})],
        [Insert(Key("outbox", "x"), {"due_at": True})],
        [Insert(Key("account", "x"), {"canonical_name": "a\x00b"})],
        [Insert(Key("account", "x"), {"canonical_name": "x" * 1_501})],
    ],
)
async def test_a_commit_outside_the_contract_is_refused(store: Store, writes: Sequence[Insert | Delete]) -> None:
    with pytest.raises(ValueError):
        await store.commit([Put(BOB, {}), *writes])

    assert await store.get([ANN, BOB]) == {}


async def test_a_question_outside_the_contract_is_refused(store: Store) -> None:
    for kind, field, limit in [
        ("account", "password", 50),
        ("nothing", "at", 50),
        ("event", "at", 0),
        ("event", "at", 501),
    ]:
        with pytest.raises(ValueError):
            await store.find(kind, field, limit=limit)
    with pytest.raises(ValueError):
        await store.find("event", "at", at_most=2**63)


async def test_a_complaint_does_not_quote_the_record(store: Store) -> None:
    with pytest.raises(ValueError) as caught:
        await store.commit([Insert(ANN, {"secret": "hunter2\ud800"})])
    await store.commit([Insert(ANN, {})])
    with pytest.raises(StoreConflict) as conflict:
        await store.commit([Insert(ANN, {"secret": "hunter2"})])

    assert "hunter2" not in f"{caught.value!r}{caught.value.__cause__!r}{conflict.value!r}"
    assert "ann" not in conflict.value.detail


# --- Opening and closing ----------------------------------------------------------------------------------------------


async def test_a_closed_store_is_unavailable(store: Store) -> None:
    await store.commit([Insert(ANN, {})])
    await store.close()

    calls: list[Awaitable[object]] = [
        store.get([ANN]),
        store.find("account", "canonical_name"),
        store.find_expired(NOW),
        store.commit([Put(ANN, {})]),
    ]
    for call in calls:
        with pytest.raises(StoreUnavailable):
            await call


async def test_a_store_can_be_opened_again(store: Store) -> None:
    await store.commit([Insert(ANN, {"n": 1})])

    await store.close()
    await store.close()
    await store.open()
    await store.open()

    assert (await read(store, ANN)).data == {"n": 1}
    await store.commit([Put(ANN, {"n": 2})])


async def test_parallel_openings_are_one(store: Store) -> None:
    await store.close()

    await asyncio.gather(*(store.open() for _ in range(10)))

    await store.commit([Insert(ANN, {})])


async def test_a_cancelled_commit_is_whole_or_absent(store: Store) -> None:
    for number in range(30):
        keys = [Key("role", f"{number}-{part}") for part in range(5)]
        task = asyncio.create_task(store.commit([Insert(key, {}) for key in keys]))
        await asyncio.sleep(number * 20e-6)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await store.commit([Put(ANN, {"n": number})])

        assert len(await store.get(keys)) in (0, 5)
