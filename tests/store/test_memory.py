"""What the store in memory promises beyond the contract."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from authflow.store.memory import MemoryStore
from authflow.store.protocol import Key, Put

ANN = Key("account", "ann")


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.get([ANN]),
        lambda store: store.find("account", "canonical_name"),
        lambda store: store.commit([Put(ANN, {})]),
    ],
)
async def test_every_call_lets_others_run(call: Callable[[MemoryStore], Awaitable[object]]) -> None:
    store = MemoryStore()
    await store.open()
    ran = asyncio.Event()
    asyncio.get_running_loop().call_soon(ran.set)

    await call(store)

    assert ran.is_set()
