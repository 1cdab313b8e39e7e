"""The emulators of Datastore, shared by the tests of one process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.store.emulators import Emulators


@pytest.fixture(scope="session")
def emulators(request: pytest.FixtureRequest) -> Iterator[Emulators]:
    emulators = Emulators(request.config)
    yield emulators
    emulators.close()
