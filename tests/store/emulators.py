"""The emulators of Datastore, started when first asked for."""

from __future__ import annotations

import secrets
from contextlib import ExitStack
from datetime import timedelta
from typing import get_args

import pytest

from authflow.store.datastore import DatastoreStore
from tests.parts.datastore_emulator import Backend, DatastoreEmulator, missing_part
from tests.parts.require import require
from tests.parts.server import ROOT

BACKENDS: tuple[Backend, ...] = get_args(Backend)
INDEX_FILE = ROOT / "index.yaml"
"""The Datastore emulator refuses a query that needs an index this file lacks. The other one knows no such thing."""

PATIENCE = timedelta(seconds=20)
PROJECT = "demo-authflow"


class Emulators:
    """Both emulators. Each test takes a namespace of its own, so that none sees what another wrote."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._running: dict[Backend, DatastoreEmulator] = {}
        self._stack = ExitStack()

    def host(self, backend: Backend) -> str:
        """Return `HOST:PORT` of an emulator that runs."""
        if backend not in self._running:
            reason = missing_part(backend)
            require(self._config, reason is None, str(reason))
            self._running[backend] = self._stack.enter_context(DatastoreEmulator(backend, index_file=INDEX_FILE))
        return self._running[backend].host

    def store(self, backend: Backend, **more) -> DatastoreStore:
        """Make a store in a fresh namespace; it is not open yet. It has patience with a cold or busy emulator."""
        return DatastoreStore(PROJECT, new_namespace(), emulator_host=self.host(backend), deadline=PATIENCE, **more)

    def close(self) -> None:
        self._stack.close()


def new_namespace() -> str:
    return f"test-{secrets.token_hex(8)}"
