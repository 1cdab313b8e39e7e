"""SIGKILL at every point of a recovery mail's way, and in full swing; afterwards nothing is lost and nothing is half.

Points on the mail's way are the SMTP server's own: it kills the sender when a command arrives. Before a restart the
leases of killed workers are ended by hand, so that nobody waits the half minute they last.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from authflow.model import Account, Factor, Purpose, from_instant
from authflow.model import Session as LoginSession
from authflow.records import Vault, account_key, credential_key
from authflow.store.protocol import Key, Update
from authflow.store.sqlite import SqliteStore
from authflow.tasks import outbox
from tests.parts.server import PATIENCE, Server
from tests.parts.smtp_sink import SmtpSink
from tests.served.client import Connection, RemotePerson, progress, rounds
from tests.served.otp import totp
from tests.served.people import (
    NEW_PASSWORD,
    PASSWORD,
    PASSWORD_PATH,
    PROFILE,
    SECRET,
    begun_enrolment,
    new_account,
    owing_a_code,
    ticket,
)
from tests.web_kit import Page

pytestmark = [pytest.mark.slow]

ON_THE_WAY = ["EHLO", "MAIL", "RCPT"]
HANDED_OVER = ["DATA", "accepted", "QUIT"]
"""From the whole message to its mark in our store: here, and only here, the mail may come twice."""

GONE = (OSError, asyncio.IncompleteReadError)
"""What a person sees of a server that is killed."""


class KillingSink(SmtpSink):
    """An SMTP server that kills its client at a named point, once."""

    def __init__(self) -> None:
        super().__init__()
        self.point = ""
        self.strike: Callable[[], None] = lambda: None
        self.has_struck = False

    def at(self, point: str) -> None:
        if point == self.point:
            self.point = ""
            self.strike()
            self.has_struck = True

    async def _answer(self, command: str) -> str | None:
        self.at(command)
        return await super()._answer(command)

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.at("MAIL")
        return await super().handle_MAIL(server, session, envelope, address, options)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        reply = await super().handle_DATA(server, session, envelope)
        self.at("accepted")
        return reply

    def received_by(self, address: str) -> list[str]:
        """Return the Message-IDs of what an address got."""
        return [
            str(message["Message-ID"])
            for kept, message in zip(self.deliveries, self.messages, strict=True)
            if address in kept.recipients
        ]


@pytest.fixture
def sink() -> Iterator[KillingSink]:
    with KillingSink() as sink:
        yield sink


def serving(sink: SmtpSink) -> Server:
    return Server(environment={"AUTHFLOW_MAIL": sink.url, "AUTHFLOW_MAIL_FROM": "noreply@example.org"})


# --- The mail's way ---------------------------------------------------------------------------------------------------


async def test_a_mail_survives_a_kill_at_each_point_and_is_doubled_only_once_it_is_handed_over(
    sink: KillingSink,
) -> None:
    with serving(sink) as server:
        asked: list[tuple[str, str]] = []
        for number in range(rounds(1)):
            for point in [*ON_THE_WAY, *HANDED_OVER]:
                account = await account_of(server)
                sink.has_struck, sink.strike, sink.point = False, server.kill, point

                await asked_recovery(server, account.name)
                await asyncio.to_thread(until, lambda: sink.has_struck)

                assert not server.is_healthy()
                asked.append((point, account.name))
                await restarted(server)
                # Or the next kill would hit this mail a second time.
                await drained(server)
                progress(f"mail: killed at {point}, round {number + 1}")

        for point, name in asked:
            received = sink.received_by(name)
            if point in HANDED_OVER:
                assert 1 <= len(received) <= 2, point
            else:
                assert len(received) == 1, point
            assert len(set(received)) == 1, point


async def test_a_mail_that_was_promised_comes_whenever_the_server_is_killed(sink: KillingSink) -> None:
    delays = [0.0, 0.001, 0.003, 0.006, 0.01, 0.02] + [random.uniform(0, 0.03) for _ in range(rounds(10) - 6)]
    with serving(sink) as server:
        names = []
        for number, delay in enumerate(delays):
            account = await account_of(server)
            await asked_recovery(server, account.name)
            await asyncio.sleep(delay)
            server.kill()
            names.append(account.name)
            await restarted(server)
            await drained(server)
            progress(f"mail: killed {delay * 1000:.0f} ms after the answer, {number + 1} of {len(delays)}")

        counts = Counter(len(sink.received_by(name)) for name in names)
        assert set(counts) <= {1, 2}, counts
        assert all(len(set(sink.received_by(name))) == 1 for name in names)


async def test_the_mailed_code_of_a_killed_server_works(sink: KillingSink) -> None:
    with serving(sink) as server:
        account = await account_of(server)
        sink.strike, sink.point = server.kill, "DATA"
        await asked_recovery(server, account.name)
        await asyncio.to_thread(until, lambda: sink.has_struck)
        await restarted(server)
        await drained(server)

        text = sink.messages[-1].get_body(("plain",)).get_content()  # type: ignore[union-attr]
        link = next(word for word in text.split() if word.startswith(server.base_url) and "recovery_key=" in word)
        person = RemotePerson(server)
        page = await person.send((await person.get(link)).form("pwrecover"), password=NEW_PASSWORD)

        assert "Your password is changed" in page.text
        assert (await RemotePerson(server).log_in(account.name, NEW_PASSWORD)).location == PROFILE


# --- In full swing ----------------------------------------------------------------------------------------------------


async def test_kills_amid_logins_and_enrolments_leave_no_half_state() -> None:
    chance = random.Random(20260301)
    with Server() as server:
        slowest = 0.0
        for number in range(rounds(20)):
            async with server.application() as app:
                accounts = {
                    role: await new_account(app, with_totp=role == "code")
                    for role in ("login", "code", "enrol", "reset", "logout")
                }
                token = await ticket(app, accounts["reset"], Purpose.RECOVERY)
            told: dict[str, Page | str] = {}
            doings = [
                asyncio.create_task(doing)
                for doing in (
                    logs_in(server, accounts["login"].name, told),
                    gives_a_code(server, accounts["code"].name, told),
                    enrols(server, accounts["enrol"].name, told),
                    resets(server, token, told),
                    logs_out(server, accounts["logout"].name, told),
                )
            ]
            await asyncio.sleep(chance.uniform(0, 0.12))
            server.kill()
            for outcome in await asyncio.gather(*doings, return_exceptions=True):
                assert outcome is None or isinstance(outcome, GONE), outcome
            slowest = max(slowest, await asyncio.to_thread(server.start))

            await check_store(server)
            await check_promises(server, accounts, told)
            progress(f"full swing: kill {number + 1} of {rounds(20)}, told {sorted(told)}")

        # An empty machine takes half a second; what matters is that nobody waits for a lock, a lease or a repair.
        assert slowest < 10


async def logs_in(server: Server, name: str, told: dict[str, Page | str]) -> None:
    person = RemotePerson(server)
    page = await person.log_in(name, PASSWORD)
    assert page.location == PROFILE, page.text
    told["login"] = cookie(person)


async def gives_a_code(server: Server, name: str, told: dict[str, Page | str]) -> None:
    person = RemotePerson(server)
    page, code = await owing_a_code(person, name), totp(SECRET)
    told["code sent"] = code
    page = await person.send(page.form("/otp"), otptoken=code)
    assert page.location == PROFILE, page.text
    told["code"] = cookie(person)


async def enrols(server: Server, name: str, told: dict[str, Page | str]) -> None:
    person = RemotePerson(server)
    await person.log_in(name, PASSWORD)
    page, secret = await begun_enrolment(person)
    told["enrolment sent"] = secret.hex()
    page = await person.send(page.form("/add"), otptoken=totp(secret))
    assert page.status == 200, page.text
    told["enrolment"] = cookie(person)


async def resets(server: Server, token: str, told: dict[str, Page | str]) -> None:
    person = RemotePerson(server)
    page = await person.get(f"{PASSWORD_PATH}/pwrecover?recovery_key={token}")
    page = await person.send(page.form("pwrecover"), password=NEW_PASSWORD)
    assert page.status == 200, page.text
    told["reset"] = page


async def logs_out(server: Server, name: str, told: dict[str, Page | str]) -> None:
    person = RemotePerson(server)
    await person.log_in(name, PASSWORD)
    kept = cookie(person)
    page = await person.send((await person.get("/user/logout")).form("logout"))
    assert page.status == 200, page.text
    told["logout"] = kept


async def check_promises(server: Server, accounts: dict[str, Account], told: dict[str, Page | str]) -> None:
    """What the server has answered before it died holds after it."""
    for role in ("login", "code", "enrolment"):
        if role in told:
            assert await is_open(server, str(told[role])), f"the session of a finished {role} is gone"
    if "logout" in told:
        assert not await is_open(server, str(told["logout"])), "a session is back that was logged out"
    if "code" in told:
        page = await RemotePersonOwing(server, accounts["code"].name).send_code(str(told["code sent"]))
        assert page.location != PROFILE, "a spent code is good again"
    # Told or not: either all of it happened or nothing.
    old = await RemotePerson(server).log_in(accounts["reset"].name, PASSWORD)
    new = await RemotePerson(server).log_in(accounts["reset"].name, NEW_PASSWORD)
    assert [old.location, new.location].count(PROFILE) == 1
    if "reset" in told:
        assert new.location == PROFILE
    if "enrolment" in told:
        await owing_a_code(RemotePerson(server), accounts["enrol"].name)


class RemotePersonOwing:
    """Somebody who has given the password and sends a code."""

    def __init__(self, server: Server, name: str) -> None:
        self._person, self._name = RemotePerson(server), name

    async def send_code(self, code: str) -> Page:
        page = await owing_a_code(self._person, self._name)
        return await self._person.send(page.form("/otp"), otptoken=code)


async def check_store(server: Server) -> None:
    """Whatever was in the air, the records agree with each other."""
    async with server.application() as app:
        vault = Vault(app.services.keyring)
        store = app.services.store
        found = await app.administration.list(limit=500)
        for account in found.accounts:
            names = ("user_password", "time_based_otp", "recovery_codes")
            keys = [credential_key(account.id, name) for name in names]
            records = await store.get(keys)
            password, app_, codes = (records.get(key) for key in keys)
            has_factor = "time_based_otp" in account.factors
            assert has_factor == (app_ is not None), f"{account.name}: factor and credential differ"
            assert not (codes is not None and not has_factor), f"{account.name}: codes for no factor"
            for record in (password, app_, codes):
                if record is not None:
                    vault.credential(record.data)
        for key in all_keys(server.database, "session"):
            record = (await store.get((key,)))[key]
            session = LoginSession.from_data(key.name, record.data)
            if session.account_id and session.authenticated_at:
                owner_key = account_key(session.account_id)
                owner = Account.from_data((await store.get((owner_key,)))[owner_key].data)
                assert session.epoch <= owner.epoch
                assert session.proofs, "a session that nothing was proved for"
                if session.epoch == owner.epoch and "time_based_otp" in owner.factors:
                    assert {Factor.POSSESSION} & {proof.factor for proof in session.proofs}, "a step was skipped"


async def is_open(server: Server, session: str) -> bool:
    person = RemotePerson(server)
    person.cookies["authflow_session"] = session
    return (await person.get(PROFILE)).status == 200


def cookie(person: RemotePerson) -> str:
    return person.cookies["authflow_session"]


# --- One process of several -------------------------------------------------------------------------------------------


async def test_a_killed_worker_is_replaced_and_nobody_is_logged_out() -> None:
    with Server(workers=2) as server:
        async with server.application() as app:
            account = await new_account(app)
        person = RemotePerson(server)
        await person.log_in(account.name, PASSWORD)
        async with Connection(server) as connection:
            await connection.exchange(person.encode("GET", "/healthz"))
            victim = await connection.worker()

        os.kill(victim, signal.SIGKILL)
        await asyncio.to_thread(until, lambda: victim not in server.pids() and server.is_healthy())

        pages = [await person.get(PROFILE) for _ in range(10)]
        assert {page.status for page in pages} == {200}


async def test_workers_end_with_a_killed_supervisor() -> None:
    with Server(workers=2) as server:
        workers = server.pids()[1:]
        try:
            os.kill(server.pid, signal.SIGKILL)
            await asyncio.to_thread(until, lambda: not server.is_healthy(), 5)
        finally:
            for pid in workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


# --- Means ------------------------------------------------------------------------------------------------------------


async def account_of(server: Server) -> Account:
    async with server.application() as app:
        return await new_account(app)


async def asked_recovery(server: Server, name: str) -> None:
    """Ask for a recovery mail, and have the promise of one."""
    person = RemotePerson(server)
    page = await person.get(f"{PASSWORD_PATH}/pwrecover")
    page = await person.send(page.form("pwrecover"), name=name)
    assert page.status == 303, page.text


async def restarted(server: Server) -> None:
    """End the leases that the killed process held, and start again."""
    server.kill()
    store = SqliteStore(server.database)
    await store.open()
    past = from_instant(datetime.now(UTC) - timedelta(seconds=1))
    try:
        for key in all_keys(server.database, outbox.KIND):
            record = (await store.get((key,)))[key]
            await store.commit((Update(key, {**record.data, outbox.DUE: past}, record.version, record.expires_at),))
    finally:
        await store.close()
    await asyncio.to_thread(server.start)


async def drained(server: Server) -> None:
    """Wait until the server has carried out every task."""
    await asyncio.to_thread(until, lambda: not all_keys(server.database, outbox.KIND))


def all_keys(database: Path, kind: str) -> list[Key]:
    connection = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)
    try:
        rows = connection.execute("SELECT name FROM record WHERE kind = ?", (kind,)).fetchall()
    finally:
        connection.close()
    return [Key(kind, name) for (name,) in rows]


def until(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    end = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < end, "what was waited for did not happen"
        time.sleep(0.01)
