"""A server whose records are in one of the emulators of Datastore."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.parts.datastore_emulator import Backend, DatastoreEmulator, missing_part
from tests.parts.require import require
from tests.parts.server import Server

PROJECT = "demo-authflow"


@contextmanager
def served(
    request: pytest.FixtureRequest, backend: Backend, *, workers: int = 2
) -> Iterator[tuple[Server, DatastoreEmulator]]:
    """Start an emulator and, on it, `authflow serve`."""
    reason = missing_part(backend)
    require(request, reason is None, str(reason))
    with DatastoreEmulator(backend) as emulator, Server(workers=workers, environment=environment(emulator)) as server:
        yield server, emulator


def environment(emulator: DatastoreEmulator) -> dict[str, str]:
    return {
        "AUTHFLOW_STORE": f"datastore:{PROJECT}/races-{secrets.token_hex(4)}",
        "AUTHFLOW_SECRET_KEYS": secrets.token_urlsafe(32),
        "DATASTORE_EMULATOR_HOST": emulator.host,
    }
