"""Sessions: two lifetimes, the epoch, a use that is noted without bringing anything back to life."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from authflow.errors import StoreUnavailable
from authflow.model import Account, Factor, Proof, Session, Status
from authflow.records import account_key, session_key
from authflow.seam import billing
from authflow.sessions import (
    Current,
    IssuedSession,
    Lifetimes,
    Sessions,
    Visitor,
    belongs_to,
    insert,
    is_alive,
    issue,
    reissue,
)
from authflow.store.instrumented import InstrumentedStore
from authflow.store.memory import MemoryStore
from authflow.store.protocol import Delete, Insert, Put
from authflow.tokens import digest

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ADA = Account("ada", "ada@example.org", "ada@example.org", NOW, NOW, epoch=3)
PROOFS = (Proof("password", Factor.KNOWLEDGE, NOW, "f", 0, "ada"),)
MINUTE = timedelta(minutes=1)


class World:
    """A store with one account and one session of it."""

    def __init__(self, *observers) -> None:
        self.memory = MemoryStore()
        self.sessions = Sessions(InstrumentedStore(self.memory, observers), Lifetimes())
        self.issued = issue(NOW, account=ADA, proofs=PROOFS)

    async def open(self, account: Account = ADA) -> World:
        await self.memory.open()
        await self.memory.commit((Insert(account_key("ada"), account.to_data()), self.issued.write(Lifetimes())))
        return self

    async def current(self, at: datetime, issued: IssuedSession | None = None, owner: str = "ada") -> Current | None:
        return await self.sessions.current(Visitor(session_id=(issued or self.issued).session.id, account_id=owner), at)

    async def stored(self, session_id: str = "") -> Session | None:
        key = session_key(session_id or self.issued.session.id)
        record = (await self.memory.get((key,))).get(key)
        return None if record is None else Session.from_data(key.name, record.data)


async def test_a_session_is_read_with_its_account_in_one_round_trip() -> None:
    world = await World().open()

    with billing() as bill:
        current = await world.current(NOW + MINUTE)

    assert (current.account, current.session) == (ADA, world.issued.session)
    assert bill.total("store") == 1


async def test_further_records_come_in_the_same_round_trip() -> None:
    world = await World().open()
    there, absent = account_key("ada"), account_key("bob")
    visitor = Visitor(session_id=world.issued.session.id, account_id="ada")

    with billing() as bill:
        current = await world.sessions.current(visitor, NOW, also=(there, absent))

    assert set(current.others) == {there}
    assert bill.total("store") == 1


@pytest.mark.parametrize(
    "visitor", [Visitor(), Visitor(session_id="x"), Visitor(account_id="ada")], ids=["nothing", "session", "account"]
)
async def test_who_has_no_cookie_costs_nothing(visitor: Visitor) -> None:
    world = await World().open()

    with billing() as bill:
        assert await world.sessions.current(visitor, NOW) is None

    assert bill.total("store") == 0


# --- Ages -------------------------------------------------------------------------------------------------------------


async def test_a_session_that_is_not_used_ends_after_an_hour() -> None:
    world = await World().open()

    assert await world.current(NOW + 60 * MINUTE) is None


async def test_a_session_that_is_used_ends_after_a_day_all_the_same() -> None:
    world = await World().open()

    for minutes in range(30, 24 * 60, 30):
        assert await world.current(NOW + minutes * MINUTE) is not None, minutes
    assert await world.current(NOW + timedelta(days=1)) is None


async def test_using_a_session_never_moves_its_start() -> None:
    world = await World().open()
    await world.current(NOW + 30 * MINUTE)

    assert (await world.stored()).created_at == NOW
    key = session_key(world.issued.session.id)
    assert (await world.memory.get((key,)))[key].expires_at == NOW + timedelta(days=1)


def test_a_clock_that_steps_back_ends_no_session_and_lengthens_none() -> None:
    session = issue(NOW, account=ADA).session

    assert is_alive(session, NOW - timedelta(hours=1), Lifetimes())
    assert not is_alive(session, NOW + timedelta(days=1), Lifetimes(idle=timedelta(days=2)))


# --- The use that is noted --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("after", "commits"), [(MINUTE, 0), (5 * MINUTE - timedelta(seconds=1), 0), (5 * MINUTE, 1)])
async def test_a_use_is_noted_every_five_minutes(after: timedelta, commits: int) -> None:
    world = await World().open()

    with billing() as bill:
        current = await world.current(NOW + after)

    assert bill.total("store", "commit") == commits
    assert current.session.seen_at == (NOW + after if commits else NOW)
    assert await world.stored() == current.session


async def test_a_use_that_loses_a_race_is_dropped_and_the_request_goes_on() -> None:
    class Meanwhile:
        """Somebody else writes the session between our reading and our noting."""

        async def before(self, call) -> None:
            if call.operation == "commit":
                session = replace(world.issued.session, fields={"theirs": 1})
                await world.memory.commit((Put(session_key(session.id), session.to_data()),))

        def after(self, call, seconds, error) -> None:
            pass

    world = await World(Meanwhile()).open()

    current = await world.current(NOW + 10 * MINUTE)

    assert current is not None
    assert (await world.stored()).fields == {"theirs": 1}
    assert (await world.stored()).seen_at == NOW


async def test_a_session_that_was_deleted_meanwhile_stays_deleted() -> None:
    class Meanwhile:
        async def before(self, call) -> None:
            if call.operation == "commit":
                await world.memory.commit((Delete(session_key(world.issued.session.id)),))

        def after(self, call, seconds, error) -> None:
            pass

    world = await World(Meanwhile()).open()

    assert await world.current(NOW + 10 * MINUTE) is not None, "it was valid when the request came"
    assert await world.stored() is None
    assert await world.current(NOW + 10 * MINUTE) is None


async def test_a_store_that_does_not_answer_is_never_taken_for_nobody() -> None:
    class Down:
        async def before(self, call) -> None:
            raise StoreUnavailable

        def after(self, call, seconds, error) -> None:
            pass

    world = await World(Down()).open()

    with pytest.raises(StoreUnavailable):
        await world.current(NOW)


# --- Whose it is ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        replace(ADA, epoch=4),
        replace(ADA, epoch=2),
        replace(ADA, status=Status.DISABLED),
        replace(ADA, status=Status.WAITING_FOR_EMAIL_VERIFICATION),
    ],
)
async def test_a_session_ends_with_what_it_was_made_under(changed: Account) -> None:
    world = await World().open(changed)

    assert await world.current(NOW) is None


async def test_an_applications_own_rule_ends_sessions_too() -> None:
    world = await World().open()
    world.sessions = Sessions(world.memory, Lifetimes(), is_active=lambda account: account.name != ADA.name)

    assert await world.current(NOW) is None


async def test_a_session_is_nothing_to_another_account() -> None:
    world = await World().open()
    await world.memory.commit((Insert(account_key("bob"), replace(ADA, id="bob").to_data()),))

    assert await world.current(NOW, owner="bob") is None
    assert await world.current(NOW, owner="nobody") is None


@pytest.mark.parametrize("flows", [(), ({"id": "f"},)])
async def test_a_session_with_nobody_in_it_grants_nothing(flows: tuple) -> None:
    world = await World().open()
    pending = issue(NOW, flows=flows, fields={"language": "de"})
    await world.memory.commit((pending.write(Lifetimes()),))

    assert await world.current(NOW, pending) is None
    assert not belongs_to(pending.session, replace(ADA, id="", epoch=0))


# --- Making and ending ------------------------------------------------------------------------------------------------


def test_the_store_knows_a_session_by_the_digest_of_its_secret() -> None:
    issued = issue(NOW, account=ADA, proofs=PROOFS, with_static_key=True, fields={"x": 1})

    assert issued.session.id == digest(issued.secret)
    assert issued.session.static_key == digest(issued.static_key)
    written = repr(issued.write(Lifetimes()))
    assert issued.secret not in written
    assert issued.static_key not in written
    assert issued.secret not in repr(issued)
    assert issued.static_key not in repr(issued)


def test_a_session_is_written_and_read_back() -> None:
    session = issue(NOW, account=ADA, proofs=PROOFS, fields={"x": [1, {"y": None}]}, flows=({"id": "f"},)).session

    assert Session.from_data(session.id, session.to_data()) == session


def test_the_acting_session_is_made_anew_with_its_age_and_proofs() -> None:
    before = issue(NOW, account=ADA, proofs=PROOFS, with_static_key=True, flows=({"id": "f"},), fields={"x": 1})
    raised, later = replace(ADA, epoch=4), NOW + 30 * MINUTE

    after = reissue(before.session, raised, later)

    assert after.session.id == digest(after.secret) != before.session.id
    assert belongs_to(after.session, raised)
    assert not belongs_to(before.session, raised)
    assert (after.session.created_at, after.session.authenticated_at, after.session.seen_at) == (NOW, NOW, later)
    assert (after.session.proofs, after.session.fields) == (PROOFS, {"x": 1})
    assert (after.session.flows, after.session.static_key) == ((), "")


def test_a_session_is_inserted_until_its_absolute_end() -> None:
    write = insert(issue(NOW, account=ADA).session, Lifetimes())

    assert isinstance(write, Insert)
    assert write.expires_at == NOW + timedelta(days=1)
