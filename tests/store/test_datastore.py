"""What the Datastore adapter promises beyond the contract: how records lie there, names, sizes, namespaces."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from authflow.errors import BadInput, PayloadTooLarge, StoreConflict, StoreUnavailable
from authflow.store import checks
from authflow.store.datastore import DatastoreStore
from authflow.store.datastore_calls import Deadline
from authflow.store.datastore_codec import BODY, COMMIT_ID, EXPIRES_AT, MAX_BODY_BYTES
from authflow.store.datastore_query import SWEPT, Question
from authflow.store.datastore_rpc import Mutation, Value
from authflow.store.protocol import INDEXED, Delete, Insert, Key, Put, Update
from tests.parts.server import ROOT
from tests.store.emulators import BACKENDS, PROJECT, Emulators, new_namespace

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANN = Key("account", "ann")
SESSION = Key("session", "s")
_NAMED = re.compile(r'\bKey\("(\w+)"|^(?:KIND|DECOY) = "(\w+)"', re.MULTILINE)


@pytest.fixture(params=[pytest.param(backend, marks=pytest.mark.emulator) for backend in BACKENDS])
async def store(request: pytest.FixtureRequest, emulators: Emulators) -> AsyncIterator[DatastoreStore]:
    store = emulators.store(request.param)
    await store.open()
    yield store
    await store.close()


async def entity(store: DatastoreStore, key: Key) -> Any:
    """Read an entity as it lies there."""
    answer = await store._connection.lookup(store._codec.lookup([store._codec.key(key)]), 5)
    return answer.found[0].entity


# --- How a record lies ------------------------------------------------------------------------------------------------


async def test_a_record_is_an_entity_with_its_body_and_what_is_asked_for(store: DatastoreStore) -> None:
    at = NOW + timedelta(microseconds=7)
    await store.commit([Insert(Key("event", "e"), {"account_id": "ann", "at": 5, "what": "x"}, at)])

    found = await entity(store, Key("event", "e"))

    properties = found.properties
    assert set(properties) == {BODY, COMMIT_ID, EXPIRES_AT, "account_id", "at"}
    assert properties[BODY].string_value == '{"account_id":"ann","at":5,"what":"x"}'
    assert (properties["account_id"].string_value, properties["at"].integer_value) == ("ann", 5)
    instant = properties[EXPIRES_AT].timestamp_value
    assert (instant.seconds, instant.nanos) == (int(NOW.timestamp()), 7_000)
    assert {name for name, value in properties.items() if value.exclude_from_indexes} == {BODY, COMMIT_ID}
    assert found.key.partition_id.project_id == PROJECT
    assert found.key.partition_id.namespace_id.startswith("test-")
    assert [(element.kind, element.name) for element in found.key.path] == [("event", "e")]


async def test_what_is_none_or_of_another_kind_is_no_property(store: DatastoreStore) -> None:
    await store.commit([Insert(ANN, {"canonical_name": None, "account_id": "x", "at": 1})])

    assert set((await entity(store, ANN)).properties) == {BODY, COMMIT_ID}


async def test_every_commit_has_an_id_of_its_own_on_each_record(store: DatastoreStore) -> None:
    ids = []
    for _ in range(2):
        await store.commit([Put(ANN, {}), Put(SESSION, {})])
        ids += [(await entity(store, key)).properties[COMMIT_ID].string_value for key in (ANN, SESSION)]

    assert ids[0] == ids[1] != ids[2] == ids[3]


async def test_an_entity_that_is_no_record_cannot_be_read(store: DatastoreStore) -> None:
    stranger = Mutation()
    stranger.upsert.key.CopyFrom(store._codec.key(ANN))
    stranger.upsert.properties["name"].CopyFrom(Value(string_value="ann"))
    await store._connection.commit(store._codec.commit([stranger]), 5)
    garbled = Mutation()
    garbled.upsert.key.CopyFrom(store._codec.key(SESSION))
    garbled.upsert.properties[BODY].CopyFrom(Value(string_value="{"))
    await store._connection.commit(store._codec.commit([garbled]), 5)

    with pytest.raises(StoreUnavailable, match="cannot be read"):
        await store.get([ANN])
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        dict((await store.get([SESSION]))[SESSION].data)


# --- Names ------------------------------------------------------------------------------------------------------------

RESERVED = ["__x__", "____", "__x__\0", "__x__\0\0", "__a\nb__"]


@pytest.mark.parametrize("name", RESERVED)
async def test_a_name_that_datastore_keeps_for_itself_can_be_read_and_written(store: DatastoreStore, name: str) -> None:
    key = Key("name", name)
    assert await store.get([key]) == {}

    await store.commit([Insert(key, {"n": 1})])
    with pytest.raises(StoreConflict):
        await store.commit([Insert(key, {"n": 2})])
    found = await store.get([key])
    await store.commit([Delete(key, found[key].version)])

    assert found[key].data == {"n": 1}
    assert await store.get([key]) == {}


async def test_names_keep_their_order_when_some_are_reserved(store: DatastoreStore) -> None:
    names = [*RESERVED, "__x__!", "__x__ ", "__x_", "__x", "__x__\0a", "_", "a", "__y__", "Z"]
    await store.commit([Insert(Key("outbox", name), {"due_at": 1}) for name in names])

    listed: list[str] = []
    cursor = None
    while True:
        page = await store.find("outbox", "due_at", limit=2, cursor=cursor)
        listed += [record.key.name for record in page.records]
        if (cursor := page.cursor) is None:
            break

    assert listed == sorted(names)
    assert set(await store.get([Key("outbox", name) for name in names])) == {Key("outbox", name) for name in names}


@pytest.mark.parametrize("name", ["", "x" * 1_001])
async def test_a_forged_cursor_with_a_name_that_no_record_can_have_is_refused(store: DatastoreStore, name: str) -> None:
    question = checks.fingerprint("outbox", "due_at", (None, None, None))

    with pytest.raises(BadInput):
        await store.find("outbox", "due_at", cursor=checks.make_cursor(question, 1, name))


# --- Sizes ------------------------------------------------------------------------------------------------------------


async def test_a_record_as_large_as_datastore_takes_is_kept_and_a_larger_one_refused(store: DatastoreStore) -> None:
    around = len('{"text":""}')
    await store.commit([Insert(SESSION, {"text": "x" * (MAX_BODY_BYTES - around - 100)})])
    version = (await store.get([SESSION]))[SESSION].version

    for text in ("x" * (MAX_BODY_BYTES - around + 1), "é" * (MAX_BODY_BYTES // 2)):
        with pytest.raises(PayloadTooLarge, match="session"):
            await store.commit([Insert(ANN, {}), Update(SESSION, {"text": text}, version)])

    found = await store.get([ANN, SESSION])
    assert {key: record.version for key, record in found.items()} == {SESSION: version}


async def test_an_indexed_text_may_have_1500_bytes(store: DatastoreStore) -> None:
    name = "é" * 750
    await store.commit([Insert(ANN, {"canonical_name": name})])

    assert (await store.find("account", "canonical_name", equals=name)).records[0].key == ANN


async def test_a_commit_larger_than_a_request_may_be_is_refused(store: DatastoreStore) -> None:
    writes = [Insert(Key("session", f"s{n}"), {"text": "x" * 900_000}) for n in range(12)]

    with pytest.raises(PayloadTooLarge):
        await store.commit(writes)

    assert await store.get([write.key for write in writes]) == {}


async def test_more_keys_than_one_lookup_takes_are_read(store: DatastoreStore) -> None:
    await store.commit([Insert(Key("session", "1500"), {})])

    assert len(await store.get([Key("session", str(n)) for n in range(2_345)])) == 1


# --- Namespaces -------------------------------------------------------------------------------------------------------


@pytest.mark.emulator
@pytest.mark.parametrize("backend", BACKENDS)
async def test_namespaces_and_projects_know_nothing_of_each_other(emulators: Emulators, backend: Any) -> None:
    host, namespace = emulators.host(backend), new_namespace()
    stores = [
        DatastoreStore(PROJECT, namespace, emulator_host=host),
        DatastoreStore(PROJECT, new_namespace(), emulator_host=host),
        DatastoreStore(PROJECT, emulator_host=host),
        DatastoreStore("demo-another", namespace, emulator_host=host),
    ]
    key = Key("account", namespace)
    for store in stores:
        await store.open()

    for number, store in enumerate(stores):
        await store.commit([Insert(key, {"n": number, "canonical_name": namespace}, NOW)])

    for number, store in enumerate(stores):
        page = await store.find("account", "canonical_name", equals=namespace)
        expired = [record.data["n"] for record in await store.find_expired(datetime.max.replace(tzinfo=UTC))]
        assert (await store.get([key]))[key].data["n"] == number
        assert [record.data["n"] for record in page.records] == [number]
        assert expired == [number]
        await store.commit([Delete(key)])
        assert await store.get([key]) == {}
        await store.close()


# --- The sweep --------------------------------------------------------------------------------------------------------


def test_the_sweep_looks_for_every_kind_that_the_engine_writes() -> None:
    texts = [path.read_text() for path in (ROOT / "authflow").rglob("*.py") if path.parent.name != "store"]
    named = {kind for text in texts for groups in _NAMED.findall(text) for kind in groups if kind}

    assert {"account", "bucket", "event", "outbox", "decoy"} <= named
    assert named <= SWEPT
    assert set(INDEXED) <= SWEPT


async def test_an_expiry_that_the_sweep_would_not_find_is_refused() -> None:
    store = DatastoreStore(PROJECT, emulator_host="127.0.0.1:1")

    with pytest.raises(ValueError, match="souvenir"):
        await store.commit([Insert(Key("souvenir", "x"), {}, NOW)])


async def test_the_oldest_of_many_expired_of_several_kinds_are_found(store: DatastoreStore) -> None:
    ages = {Key("session", f"s{n:03}"): n for n in range(120)} | {Key("event", f"e{n}"): n * 30 for n in range(5)}
    keys = list(ages)
    for start in range(0, len(keys), 100):
        await store.commit([Insert(k, {}, NOW + timedelta(seconds=ages[k])) for k in keys[start : start + 100]])
    later = NOW + timedelta(hours=1)

    for limit in (1, 49, 50, 51, 75, 124, 125, 500):
        found = await store.find_expired(later, limit=limit)
        assert [record.key for record in found] == sorted(keys, key=lambda key: (ages[key], key))[:limit]


async def test_a_question_whose_bounds_exclude_each_other_is_not_asked(store: DatastoreStore) -> None:
    await store.commit([Insert(Key("outbox", "m"), {"due_at": 5})])

    for bounds in ({"equals": 5, "at_most": 4}, {"equals": 5, "at_least": 6}, {"at_least": 6, "at_most": 4}):
        assert (await store.find("outbox", "due_at", **bounds)).records == []


def test_no_indexed_field_is_called_as_a_property_of_the_adapter() -> None:
    fields = {field for fields in INDEXED.values() for field in fields}

    assert not fields & {BODY, COMMIT_ID, EXPIRES_AT}


@pytest.mark.emulator
async def test_the_emulator_of_these_tests_refuses_a_query_without_its_index(emulators: Emulators) -> None:
    # So that a listing which needs one would fail in the contract suite.
    store = emulators.store("datastore")
    await store.open()
    (query,) = Question("event", "account_id", "ann", None, None).queries(store._codec, None)
    query.order.add().property.name = "at"

    with pytest.raises(StoreUnavailable, match="index"):
        await store._calls.query(query, 5, Deadline(timedelta(seconds=5)))
    await store.close()


# --- What is imported -------------------------------------------------------------------------------------------------


def test_one_module_of_the_store_knows_google_s_libraries() -> None:
    knowing = [
        path.name
        for path in (ROOT / "authflow" / "store").glob("*.py")
        if re.search(r"^\s*(?:from|import) (?:google|grpc)", path.read_text(), re.MULTILINE)
    ]

    assert knowing == ["datastore_rpc.py"]


def test_an_application_with_another_store_does_not_load_them() -> None:
    program = (
        "import sys; from authflow.assembly import build; from authflow.settings import from_environment;"
        "build(from_environment({'AUTHFLOW_STORE': 'memory:'}));"
        "print([name for name in sys.modules if name.partition('.')[0] in ('grpc', 'proto') or 'datastore' in name])"
    )

    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.stdout.strip() == "[]", done.stderr
