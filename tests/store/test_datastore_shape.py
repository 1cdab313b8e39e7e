"""The store's protocol fits one conditional commit of Datastore: shown on the real emulators.

A commit is one RPC: mode TRANSACTIONAL with a single-use transaction, `insert` for what must be absent, `base_version`
with the conflict strategy FAIL for what must be as it was read. No transaction is begun and no lock is held.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

import grpc
import pytest
from google.api_core import exceptions
from google.cloud.datastore_v1 import DatastoreAsyncClient, types
from google.cloud.datastore_v1.services.datastore.transports import DatastoreGrpcAsyncIOTransport

from authflow.errors import StoreConflict
from authflow.store.protocol import Data, Delete, Insert, Key, Put, Record, Update, Write
from tests.parts.datastore_emulator import Backend, DatastoreEmulator, missing_part
from tests.parts.require import require

FAIL = types.Mutation.ConflictResolutionStrategy.FAIL
CONFLICTS = (exceptions.FailedPrecondition, exceptions.AlreadyExists, exceptions.NotFound, exceptions.Aborted)

ANN = Key("account", "ann")
BOB = Key("account", "bob")
SESSION = Key("session", "s1")


@dataclass(frozen=True)
class Shape:
    """Just enough of a store to try the shape: no deadlines, no retries, no codec worth the name."""

    client: DatastoreAsyncClient
    project: str

    async def get(self, keys: Sequence[Key]) -> Mapping[Key, Record]:
        wanted = [self._key(key) for key in dict.fromkeys(keys)]
        found: dict[Key, Record] = {}
        while wanted:
            answer = await self.client.lookup(types.LookupRequest(project_id=self.project, keys=wanted), timeout=10)
            for result in answer.found:
                element = result.entity.key.path[-1]
                key = Key(element.kind, element.name)
                found[key] = Record(key, json.loads(result.entity.properties["body"].string_value), result.version)
            wanted = list(answer.deferred)
        return found

    async def commit(self, writes: Sequence[Write], *, commit_id: str | None = None) -> None:
        commit_id = commit_id or secrets.token_hex(16)
        try:
            await self.send([self.mutation(write, commit_id) for write in writes])
        except CONFLICTS as error:
            raise StoreConflict(type(error).__name__) from error

    async def send(self, mutations: Sequence[types.Mutation]) -> None:
        request = types.CommitRequest(
            project_id=self.project,
            mode=types.CommitRequest.Mode.TRANSACTIONAL,
            single_use_transaction=types.TransactionOptions(read_write=types.TransactionOptions.ReadWrite()),
            mutations=mutations,
        )
        await self.client.commit(request, timeout=10)

    def mutation(self, write: Write, commit_id: str) -> types.Mutation:
        match write:
            case Insert(key=key, data=data):
                return types.Mutation(insert=self._entity(key, data, commit_id))
            case Update(key=key, data=data, version=version):
                entity = self._entity(key, data, commit_id)
                return types.Mutation(update=entity, base_version=version, conflict_resolution_strategy=FAIL)
            case Put(key=key, data=data):
                return types.Mutation(upsert=self._entity(key, data, commit_id))
            case Delete(key=key, version=None):
                return types.Mutation(delete=self._key(key))
            case Delete(key=key, version=version):
                return types.Mutation(delete=self._key(key), base_version=version, conflict_resolution_strategy=FAIL)
            case _:
                assert_never(write)

    def _entity(self, key: Key, data: Data, commit_id: str) -> types.Entity:
        properties = {
            "body": types.Value(string_value=json.dumps(data), exclude_from_indexes=True),
            "commit_id": types.Value(string_value=commit_id, exclude_from_indexes=True),
        }
        return types.Entity(key=self._key(key), properties=properties)

    def _key(self, key: Key) -> types.Key:
        partition = types.PartitionId(project_id=self.project)
        return types.Key(partition_id=partition, path=[types.Key.PathElement(kind=key.kind, name=key.name)])


@pytest.fixture(scope="module", params=["datastore", "firestore"])
def emulator(request: pytest.FixtureRequest) -> Iterator[DatastoreEmulator]:
    backend: Backend = request.param
    reason = missing_part(backend)
    require(request, reason is None, str(reason))
    with DatastoreEmulator(backend) as emulator:
        yield emulator


@pytest.fixture
async def store(emulator: DatastoreEmulator) -> AsyncIterator[Shape]:
    emulator.reset()
    async with grpc.aio.insecure_channel(emulator.host) as channel:
        yield Shape(DatastoreAsyncClient(transport=DatastoreGrpcAsyncIOTransport(channel=channel)), "demo-authflow")


async def version_of(store: Shape, key: Key) -> int:
    return (await store.get([key]))[key].version


async def test_the_probe_of_an_absent_key_is_refused_and_leaves_nothing(store: Shape) -> None:
    probe = Key("probe", secrets.token_hex(16))

    with pytest.raises(exceptions.FailedPrecondition):
        await store.send([store.mutation(Delete(probe, 1), "")])

    assert await store.get([probe]) == {}


async def test_each_write_does_what_the_protocol_says(store: Shape) -> None:
    await store.commit([Insert(ANN, {"n": 1}), Put(BOB, {"n": 1}), Delete(SESSION)])
    await store.commit([Update(ANN, {"n": 2}, await version_of(store, ANN)), Put(BOB, {"n": 2}), Insert(SESSION, {})])
    await store.commit([Delete(BOB), Delete(SESSION, await version_of(store, SESSION))])

    found = await store.get([ANN, BOB, SESSION, ANN])

    assert {key: record.data for key, record in found.items()} == {ANN: {"n": 2}}


@pytest.mark.parametrize("case", ["insert", "update", "update of absent", "delete", "delete of absent"])
async def test_a_precondition_that_fails_is_a_conflict_and_leaves_nothing(store: Shape, case: str) -> None:
    await store.commit([Insert(ANN, {"n": 1}), Insert(BOB, {"n": 1})])
    stale = await version_of(store, ANN)
    await store.commit([Put(ANN, {"n": 2})])
    before = await store.get([ANN, BOB, SESSION])
    refusals: dict[str, Write] = {
        "insert": Insert(ANN, {}),
        "update": Update(ANN, {}, stale),
        "update of absent": Update(Key("account", "nobody"), {}, stale),
        "delete": Delete(ANN, stale),
        "delete of absent": Delete(Key("account", "nobody"), stale),
    }

    with pytest.raises(StoreConflict):
        await store.commit([Update(BOB, {"n": 9}, before[BOB].version), Insert(SESSION, {}), refusals[case]])

    assert await store.get([ANN, BOB, SESSION]) == before


async def test_a_fresh_commit_id_makes_an_unchanged_write_change_the_version(store: Shape) -> None:
    await store.commit([Insert(ANN, {"n": 1})], commit_id="first")
    first = await version_of(store, ANN)

    await store.commit([Update(ANN, {"n": 1}, first)], commit_id="first")
    same = await version_of(store, ANN)
    await store.commit([Update(ANN, {"n": 1}, first)], commit_id="second")

    assert same == first
    assert await version_of(store, ANN) != first
    with pytest.raises(StoreConflict):
        await store.commit([Update(ANN, {"n": 1}, first)])


async def test_a_version_from_before_a_deletion_guards_nothing(store: Shape) -> None:
    await store.commit([Insert(ANN, {"n": 1})])
    stale = await version_of(store, ANN)
    await store.commit([Delete(ANN)])
    await store.commit([Insert(ANN, {"n": 1})])

    for write in (Update(ANN, {}, stale), Delete(ANN, stale)):
        with pytest.raises(StoreConflict):
            await store.commit([write])


@pytest.mark.parametrize("case", ["insert", "update", "delete"])
async def test_of_fifty_parallel_commits_one_wins(store: Shape, case: str) -> None:
    for round_ in range(3):
        key = Key("session", f"r{round_}")
        version = 0
        if case != "insert":
            await store.commit([Insert(key, {})])
            version = await version_of(store, key)

        def guarded(by: int, key: Key = key, version: int = version) -> Write:
            writes: dict[str, Write] = {
                "insert": Insert(key, {"by": by}),
                "update": Update(key, {"by": by}, version),
                "delete": Delete(key, version),
            }
            return writes[case]

        answers = await asyncio.gather(
            *(store.commit([guarded(by), Insert(Key("event", f"{round_}-{by}"), {})]) for by in range(50)),
            return_exceptions=True,
        )

        winners = [by for by, answer in enumerate(answers) if answer is None]
        assert len(winners) == 1
        assert sum(isinstance(answer, StoreConflict) for answer in answers) == 49
        events = await store.get([Key("event", f"{round_}-{by}") for by in range(50)])
        assert set(events) == {Key("event", f"{round_}-{winners[0]}")}
        found = await store.get([key])
        assert [record.data["by"] for record in found.values()] == ([] if case == "delete" else winners)
