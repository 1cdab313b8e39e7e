"""What the Datastore adapter promises beyond the contract."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from authflow.store.datastore import DatastoreStore
from authflow.store.datastore_codec import BODY, COMMIT_ID, EXPIRES_AT
from authflow.store.datastore_query import SWEPT
from authflow.store.protocol import INDEXED, Insert, Key
from tests.parts.server import ROOT
from tests.store.emulators import PROJECT

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
_NAMED = re.compile(r'\bKey\("(\w+)"|^(?:KIND|DECOY) = "(\w+)"', re.MULTILINE)


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


def test_no_indexed_field_is_called_as_a_property_of_the_adapter() -> None:
    fields = {field for fields in INDEXED.values() for field in fields}

    assert not fields & {BODY, COMMIT_ID, EXPIRES_AT}
