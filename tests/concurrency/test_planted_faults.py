"""What the exploration is worth: guards are taken away, one at a time, and it must notice.

A guard that stands behind another one cannot be missed alone. Then both are taken away, and the pair says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import pytest

from authflow import parts, sessions, tickets
from authflow.engine import Engine
from authflow.errors import StoreConflict
from authflow.store.memory import MemoryStore
from authflow.store.protocol import Delete, Insert, Put, Update, Write
from authflow.submissions import Submissions
from authflow.throttle import Bucket
from tests.concurrency.exploring import SCENES, explore, scene
from tests.concurrency.judging import Violation


class Unguarded:
    """A store that does not look whether what it is to change is what was read, for some kinds of records."""

    def __init__(self, memory: MemoryStore, kinds: frozenset[str]) -> None:
        self._memory = memory
        self._kinds = kinds
        self.get, self.find, self.find_expired = memory.get, memory.find, memory.find_expired

    async def commit(self, writes: Sequence[Write], *, durable: bool = True) -> None:
        await self._memory.commit([self._without(write) for write in writes], durable=durable)

    def _without(self, write: Write) -> Write:
        match write:
            case Insert(key, data, expires_at) | Update(key, data, _, expires_at) if key.kind in self._kinds:
                return Put(key, data, expires_at)
            case Delete(key) if key.kind in self._kinds:
                return Delete(key)
            case _:
                return write


def meet(name: str, *operations: str) -> list[list]:
    """Return one meeting of operations of a scene, by their names."""
    return [[next(op for op in SCENES[name][1] if op.name == wanted) for wanted in operations]]


UNGUARDED = [
    ("bucket", "settled", ("types a wrong code", "types a wrong code elsewhere"), "1 counted and 2 told"),
    ("bucket", "settled", ("gives a wrong password", "gives a wrong password"), "1 counted and 2 told"),
    ("bucket", "brink", ("gives a wrong password", "gives the password"), "at the limit|counted"),
    ("bucket", "brink", ("types a wrong code", "types another recovery code"), "at the limit|counted"),
    ("session", "settled", ("logs out", "begins to add an app"), "logged in again: desk"),
    ("session", "settled", ("looks at a page after a while", "logs out the phone"), "logged in again: phone"),
    ("session", "settled", ("types the code", "cancels"), "no serial order"),
    ("credential", "settled", ("gives the password of an old hash", "changes the password"), "no serial order"),
    ("account", "settled", ("edits the profile", "is given a role"), "no serial order"),
    ("account", "settled", ("edits the profile", "edits the profile by phone"), "no serial order"),
    ("account", "settled", ("recovers", "is shut out by the operator"), "no serial order"),
    ("account", "settled", ("is deleted", "is kicked"), "time_based_otp is enrolled and not there"),
    ("spent", "settled", ("comes from there", "comes from there on a known device"), "used twice: token"),
    ("spent", "settled", ("gives the password of a form", "gives the password of the same form on a known device"),
     "used twice: login form"),
    ("login_info", "untouched", ("gives the password", "gives the password on a known device"), "no serial order"),
    ("name", "nobody", ("is made by the operator", "is made with a password"), "does not find its account"),
    ("name", "nobody", ("registers", "comes with an identity"), "does not find its account"),
    ("ticket account credential", "settled", ("recovers", "recovers"), "used twice"),
    ("credential bucket login_info", "settled", ("types the code", "types the code elsewhere"), "used twice: code"),
    ("credential bucket login_info", "settled", ("types a recovery code", "types a recovery code elsewhere"),
     "used twice: code 1"),
    ("session bucket login_info", "settled", ("types the code", "types a recovery code"),
     "used twice: login at the cafe"),
    ("identity bucket", "nobody", ("comes with an identity", "comes with the identity and another address"),
     "no serial order"),
]  # fmt: skip
"""Kinds of records that are not guarded, where, what meets, and what is found."""


@pytest.mark.parametrize(("kinds", "where", "operations", "found"), UNGUARDED)
def test_a_store_without_guards_is_found(kinds: str, where: str, operations: tuple[str, ...], found: str) -> None:
    unguarded = frozenset(kinds.split())

    with (
        scene(where, wrap=lambda memory: Unguarded(memory, unguarded)) as world,
        pytest.raises(Violation, match=found),
    ):
        explore(world, meet(where, *operations))


def test_a_success_that_does_not_write_its_limit_is_found(monkeypatch) -> None:
    """The right one among many guesses at once would always get through."""
    monkeypatch.setattr(Bucket, "succeeded", lambda self, now: ())

    with scene("brink") as world, pytest.raises(Violation, match="let in at the limit"):
        explore(world, meet("brink", "types a wrong code", "types the code elsewhere"))


def test_a_limit_that_is_written_unseen_is_found(monkeypatch) -> None:
    monkeypatch.setattr(Bucket, "_write", lambda self, state, now: Put(self.key, state, now + self.limit.lifetime))

    with scene("settled") as world, pytest.raises(Violation, match="1 counted and 2 told"):
        explore(world, meet("settled", "types a wrong code", "types a wrong code elsewhere"))


def test_a_ticket_that_is_spent_unseen_is_found(monkeypatch) -> None:
    monkeypatch.setattr(tickets, "spend", lambda record: Delete(record.key))

    with scene("settled") as world, pytest.raises(Violation, match="a ticket is spent without a look"):
        explore(world, meet("settled", "recovers", "recovers"))


def test_a_session_that_is_ended_unseen_is_found(monkeypatch) -> None:
    """A login would be completed in a browser in which it was cancelled."""
    monkeypatch.setattr(parts, "end_of", lambda loaded: [Delete(loaded.session_record.key)] if loaded.session else [])

    with scene("settled") as world, pytest.raises(Violation, match="no serial order"):
        explore(world, meet("settled", "types the code", "cancels"))


def test_a_use_that_is_noted_unseen_is_found(monkeypatch) -> None:
    def put(session, record, lifetimes):
        return Put(record.key, session.to_data(), session.created_at + lifetimes.absolute)

    monkeypatch.setattr(sessions, "update", put)

    with scene("settled") as world, pytest.raises(Violation, match="session is overwritten unseen"):
        explore(world, meet("settled", "looks at a page after a while", "logs out the phone"))


def test_a_log_out_that_gives_way_is_found(monkeypatch) -> None:
    right = Engine.log_out

    async def once(self: Engine, current, *, client: str = ""):
        # Guarded by what was read, as if a conflict meant that somebody else had ended the session.
        store = self.services.store

        class Once:
            async def commit(self, writes, *, durable: bool = True) -> None:
                record = current.session_record
                guarded = [Delete(w.key, record.version) if w.key == record.key else w for w in writes]
                with suppress(StoreConflict):
                    await store.commit(guarded)

        changed = type("Services", (), {**{n: getattr(self.services, n) for n in self.services.__slots__}})
        changed.store = Once()
        before, self.services = self.services, changed  # type: ignore[assignment]
        try:
            return await right(self, current, client=client)
        finally:
            self.services = before

    monkeypatch.setattr(Engine, "log_out", once)

    with scene("settled") as world, pytest.raises(Violation, match="logged in again: desk"):
        explore(world, meet("settled", "logs out", "begins to add an app"))


def test_a_verdict_that_outlives_its_credential_is_found(monkeypatch) -> None:
    monkeypatch.setattr(Submissions, "_has_moved", lambda self, provider, before, now: False)

    with scene("settled") as world, pytest.raises(Violation, match="used twice: code"):
        explore(world, meet("settled", "types the code", "types the code elsewhere"))


def test_a_flow_that_is_not_marked_as_started_is_found(monkeypatch) -> None:
    monkeypatch.setattr(parts, "spending", lambda flow, provider, evidence, now: [])

    with scene("settled") as world, pytest.raises(Violation, match="used twice: login form"):
        explore(world, meet("settled", "gives the password of a form", "gives the password of a form"))


def test_a_hash_that_is_renewed_unseen_is_found(monkeypatch) -> None:
    """A password that was changed meanwhile would be the old one again."""

    async def rehash(self: Submissions, provider, submission, loaded) -> None:
        record, credential = loaded.credential_record(provider.name), loaded.credentials[provider.name]
        try:
            await self._engine.services.store.commit((Put(record.key, self._engine.vault.credential_data(credential)),))
        except StoreConflict:
            return

    monkeypatch.setattr(Submissions, "_rehash", rehash)

    with scene("settled") as world, pytest.raises(Violation, match="credential is overwritten unseen"):
        explore(world, meet("settled", "gives the password of an old hash", "changes the password"))


@pytest.mark.parametrize(("where", "operations"), sorted({(where, names) for _, where, names, _ in UNGUARDED}))
def test_with_all_guards_the_same_meetings_are_quiet(where: str, operations: tuple[str, ...]) -> None:
    with scene(where) as world:
        assert explore(world, meet(where, *operations)) >= 6
