"""SQLite, Datastore and memory give the same answers to any sequence of operations."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authflow.errors import StoreConflict
from authflow.store.memory import MemoryStore
from authflow.store.protocol import Delete, Insert, Key, Plain, Put, Record, Store, Update, Write
from authflow.store.sqlite import SqliteStore
from tests.parts.datastore_emulator import Backend
from tests.store.emulators import BACKENDS, Emulators

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
KEYS = [Key(kind, name) for kind in ("outbox", "account") for name in ("a", "é", "\U0001f511")]

numbers = st.integers(-2, 3) | st.sampled_from([-(2**63), 2**63 - 1])
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=3)
plain: st.SearchStrategy[Plain] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
instants = st.none() | st.integers(-3, 3).map(lambda seconds: EPOCH + timedelta(seconds=seconds))


@dataclass(frozen=True)
class Intent:
    """A write before its version is known: `age` 0 guards with the version as it is, 1 and up with an older one."""

    operation: str
    key: Key
    data: dict[str, Plain]
    expires_at: datetime | None
    age: int


@st.composite
def intents(draw: st.DrawFn, key: Key) -> Intent:
    data = draw(st.dictionaries(texts, plain, max_size=3))
    if draw(st.booleans()):
        data |= {"due_at": draw(st.none() | numbers), "canonical_name": draw(st.none() | texts)}
    else:
        data = {field: value for field, value in data.items() if field not in ("due_at", "canonical_name")}
    operation = draw(st.sampled_from(["insert", "update", "put", "delete", "remove"]))
    return Intent(operation, key, data, draw(instants), draw(st.sampled_from([0, 0, 0, 1, 2])))


commits = st.lists(st.sampled_from(KEYS), min_size=1, max_size=4, unique=True).flatmap(
    lambda keys: st.tuples(*(intents(key) for key in keys))
)


class Player:
    """Plays intents on one store and remembers the versions that each record has had."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.versions: dict[Key, list[int]] = {key: [1, 2, 3] for key in KEYS}

    async def play(self, intended: Sequence[Intent]) -> bool:
        try:
            await self.store.commit([self._write(intent) for intent in intended])
        except StoreConflict:
            return False
        for key, record in (await self.store.get(KEYS)).items():
            if record.version != self.versions[key][-1]:
                assert record.version not in self.versions[key]
                self.versions[key].append(record.version)
        return True

    def _write(self, intent: Intent) -> Write:
        version = self.versions[intent.key][-1 - intent.age]
        match intent.operation:
            case "insert":
                return Insert(intent.key, intent.data, intent.expires_at)
            case "update":
                return Update(intent.key, intent.data, version, intent.expires_at)
            case "put":
                return Put(intent.key, intent.data, intent.expires_at)
            case "delete":
                return Delete(intent.key, version)
            case _:
                return Delete(intent.key)

    async def state(self) -> list[object]:
        """Read all there is to see, but for the versions."""
        found = await self.store.get(KEYS)
        state: list[object] = [view([found[key] for key in KEYS if key in found])]
        for at_most, at_least in ((None, None), (1, None), (None, 0), (1, -1)):
            state.append(await self._listed("outbox", "due_at", at_most, at_least))
        state.append(await self._listed("account", "canonical_name", None, None))
        state.append(await self._listed("account", "canonical_name", "m", "a"))
        for key in KEYS:
            if key in found and isinstance(value := found[key].data.get("due_at"), int) and key.kind == "outbox":
                state.append(view((await self.store.find("outbox", "due_at", equals=value)).records))
        state.append(view(await self.store.find_expired(EPOCH + timedelta(seconds=1))))
        return state

    async def _listed(self, kind: str, field: str, at_most: str | int | None, at_least: str | int | None) -> object:
        pages = []
        cursor = None
        for _ in range(20):
            page = await self.store.find(kind, field, at_most=at_most, at_least=at_least, limit=2, cursor=cursor)
            pages.append(view(page.records))
            cursor = page.cursor
            if cursor is None:
                return pages
        raise AssertionError("the listing does not end")


def view(records: Sequence[Record]) -> list[object]:
    # By `repr` as well, which tells 1 from 1.0 and from True.
    return [(record.key, record.data, repr(sorted(record.data.items())), record.expires_at) for record in records]


histories = st.lists(commits, min_size=1, max_size=12)


async def agree(first: Store, second: Store, history: Sequence[Sequence[Intent]]) -> None:
    """Play a history on two empty stores and compare the verdicts and what is there after each commit."""
    players = [Player(first), Player(second)]
    for player in players:
        await player.store.open()
    for intended in history:
        verdicts = [await player.play(intended) for player in players]
        assert verdicts[0] == verdicts[1]
        states = [await player.state() for player in players]
        assert states[0] == states[1]
    for player in players:
        await player.store.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories)
def test_sqlite_and_memory_agree(history: list[tuple[Intent, ...]]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(agree(SqliteStore(Path(directory) / "store.sqlite"), MemoryStore(), history))


@pytest.mark.emulator
@pytest.mark.parametrize("backend", BACKENDS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(history=histories)
def test_datastore_and_memory_agree(emulators: Emulators, backend: Backend, history: list[tuple[Intent, ...]]) -> None:
    asyncio.run(agree(emulators.store(backend), MemoryStore(), history))
