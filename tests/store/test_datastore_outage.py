"""The Datastore adapter while nobody answers, and when somebody answers again."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from authflow.errors import ConfigurationError, StoreUnavailable
from authflow.store.datastore import DatastoreStore
from authflow.store.protocol import Insert, Key, Update
from tests.parts.datastore_emulator import Backend, DatastoreEmulator, missing_part
from tests.parts.require import require
from tests.store.emulators import BACKENDS, PROJECT, Emulators
from tests.store.faulty_proxy import FaultyProxy
from tests.store.test_datastore_faults import OPERATIONS

ANN = Key("account", "ann")


@pytest.fixture(scope="module", params=[pytest.param(backend, marks=pytest.mark.emulator) for backend in BACKENDS])
def emulator(request: pytest.FixtureRequest) -> Iterator[DatastoreEmulator]:
    """An emulator for this module alone, to be mistreated."""
    backend: Backend = request.param
    reason = missing_part(backend)
    require(request, reason is None, str(reason))
    with DatastoreEmulator(backend) as emulator:
        yield emulator


@asynccontextmanager
async def opened(host: str, **more: Any) -> AsyncIterator[DatastoreStore]:
    store = DatastoreStore(PROJECT, emulator_host=host, **more)
    await store.open()
    yield store
    await store.close()


async def refused_after(store: DatastoreStore, operation: str) -> float:
    """Do something that must be unavailable; return the seconds that it took to say so."""
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await OPERATIONS[operation](store)
    return time.monotonic() - began


async def back_after(store: DatastoreStore) -> float:
    """Read until it works; return the seconds that it took."""
    began = time.monotonic()
    while True:
        try:
            await store.get([ANN])
            return time.monotonic() - began
        except StoreUnavailable:
            assert time.monotonic() - began < 20


async def test_a_killed_emulator_is_an_outage_and_a_restarted_one_is_its_end(emulator: DatastoreEmulator) -> None:
    async with opened(emulator.host) as store:
        await store.commit([Insert(ANN, {})])
        await store.commit([Update(ANN, {"n": 1}, (await store.get([ANN]))[ANN].version)])

        emulator.kill()
        seconds = [await refused_after(store, operation) for operation in OPERATIONS]
        await asyncio.to_thread(emulator.start)
        until_back = await back_after(store)
        await store.commit([Insert(ANN, {"n": 2})])

        assert max(seconds) < 2.3, seconds
        assert until_back < 2.5
        assert (await store.get([ANN]))[ANN].data == {"n": 2}


async def test_a_frozen_emulator_is_an_outage_and_a_thawed_one_is_its_end(emulator: DatastoreEmulator) -> None:
    async with opened(emulator.host) as store:
        await store.get([ANN])

        emulator.freeze()
        seconds = await asyncio.gather(*(refused_after(store, operation) for operation in OPERATIONS))
        emulator.thaw()

        assert max(seconds) < 2.3, seconds
        assert await back_after(store) < 2.5


async def test_a_long_outage_ends_as_fast_as_a_short_one(absent_host: str, emulator: DatastoreEmulator) -> None:
    # gRPC's own pauses between attempts to connect grow up to two minutes.
    async with opened(absent_host) as store:
        began = time.monotonic()
        while time.monotonic() - began < 6.5:
            await refused_after(store, "get")

        async with FaultyProxy(emulator.host, port=int(absent_host.rpartition(":")[2])):
            assert await back_after(store) < 1.6


# --- Without an emulator ----------------------------------------------------------------------------------------------


@pytest.fixture
def mute_host() -> Iterator[str]:
    """Somebody who accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def absent_host() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_nobody_listening_is_unavailable_at_once(absent_host: str, operation: str) -> None:
    async with opened(absent_host) as store:
        assert await refused_after(store, operation) < 1
        # Also while gRPC waits with its next attempt to connect.
        assert await refused_after(store, operation) < 1


@pytest.mark.parametrize("host", ["mute_host", "absent_host"])
async def test_an_outage_leaves_no_task_behind(request: pytest.FixtureRequest, host: str) -> None:
    address = request.getfixturevalue(host)
    before = asyncio.all_tasks()

    async with opened(address, deadline=timedelta(seconds=0.3)) as store:
        await asyncio.gather(*(refused_after(store, operation) for operation in OPERATIONS))
        await asyncio.sleep(0)
        during = asyncio.all_tasks()

    assert during == before


async def test_a_mute_backend_is_unavailable_within_the_deadline(mute_host: str) -> None:
    async with opened(mute_host) as store:
        seconds = await asyncio.gather(*(refused_after(store, operation) for operation in OPERATIONS))

        assert max(seconds) < 2.3, seconds


# --- Where it is opened -----------------------------------------------------------------------------------------------


def test_a_store_is_of_no_use_on_another_event_loop_until_it_is_opened_there(
    absent_host: str,
) -> None:
    store = DatastoreStore(PROJECT, emulator_host=absent_host)
    asyncio.run(store.open())

    with pytest.raises(StoreUnavailable, match="another event loop"):
        asyncio.run(store.get([ANN]))  # type: ignore[arg-type]


@pytest.mark.emulator
def test_a_store_can_be_opened_on_one_event_loop_after_another(emulators: Emulators) -> None:
    store = emulators.store("datastore")

    async def use(count: int) -> int:
        await asyncio.gather(*(store.open() for _ in range(3)))
        await store.commit([Insert(Key("session", str(count)), {})])
        return len(await store.get([Key("session", str(n)) for n in range(9)]))

    assert [asyncio.run(use(count)) for count in range(3)] == [1, 2, 3]


async def test_a_forked_child_is_refused(absent_host: str) -> None:
    async with opened(absent_host) as store:
        store._connection._home = (os.getpid() + 1, asyncio.get_running_loop())

        with pytest.raises(StoreUnavailable, match="fork"):
            await store.get([ANN])


async def test_missing_credentials_are_told_at_the_start(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    store = DatastoreStore(PROJECT)

    with pytest.raises(ConfigurationError, match="credentials"):
        await store.open()


async def test_credentials_of_a_service_account_open_a_channel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    key = rsa.generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    account = {
        "type": "service_account",
        "client_email": "robot@demo-authflow.iam.gserviceaccount.com",
        "token_uri": "http://127.0.0.1:1/token",
        "private_key": key.decode(),
    }
    file = tmp_path / "account.json"
    file.write_text(json.dumps(account))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    store = DatastoreStore(PROJECT)

    await store.open()

    assert store._connection._transport.grpc_channel is not None
    await store.close()


def test_a_store_without_a_project_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="project"):
        DatastoreStore("")
