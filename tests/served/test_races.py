"""Things that are good once, asked for fifty times at once of a server with two processes; guesses; dead sessions.

`AUTHFLOW_ROUNDS` scales the number of rounds: 10 is what runs by default (`scripts/explore races --rounds 200`).
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest

from authflow.assembly import Application
from authflow.model import Purpose, Status
from authflow.records import credential_key
from authflow.testing import Page
from authflow.testing.devices import totp, wrong_code
from authflow.throttle import bucket_key
from tests.parts.server import Server
from tests.served.client import Connection, RemotePerson, new_address, progress, rounds, volley
from tests.served.people import (
    NEW_PASSWORD,
    PASSWORD,
    PASSWORD_PATH,
    PROFILE,
    RECOVERY_CODE,
    SECRET,
    begun_enrolment,
    in_status,
    logged_in,
    new_account,
    owing_a_code,
    shown_codes,
    ticket,
)

pytestmark = [pytest.mark.slow]

PARALLEL = 50
ROUNDS = rounds(10)
REFUSED = {200, 303, 400, 401, 403, 409, 412, 429, 503}
"""What a loser may be answered. Anything else, a 500 above all, is a fault."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(workers=2) as server:
        yield server


@pytest.fixture
async def app(server: Server) -> AsyncIterator[Application]:
    async with server.application() as app:
        yield app


# --- Good once --------------------------------------------------------------------------------------------------------


async def test_a_code_of_an_app_opens_one_of_two_sessions_once(server: Server, app: Application) -> None:
    for number in range(ROUNDS):
        account = await new_account(app, with_totp=True)
        persons = [RemotePerson(server), RemotePerson(server)]
        forms = [(await owing_a_code(person, account.name)).form("/otp") for person in persons]
        code = totp(SECRET)

        requests = [persons[i % 2].filled(forms[i % 2], otptoken=code) for i in range(PARALLEL)]
        answers = await volley(server, requests)

        told("code", number, one_wins(answers, is_let_in))


async def test_a_recovery_code_opens_one_of_two_sessions_once(server: Server, app: Application) -> None:
    for number in range(ROUNDS):
        account = await new_account(app)
        owner = await logged_in(RemotePerson(server), account.name)
        page, secret = await begun_enrolment(owner)
        code = shown_codes(await owner.send(page.form("/add"), otptoken=totp(secret)))[0]
        persons = [RemotePerson(server), RemotePerson(server)]
        for person in persons:
            await owing_a_code(person, account.name)
        chosen = [await person.follow(await person.get(f"{RECOVERY_CODE}/start")) for person in persons]
        forms = [page.form(f"{RECOVERY_CODE}/otp") for page in chosen]

        requests = [persons[i % 2].filled(forms[i % 2], otptoken=code) for i in range(PARALLEL)]
        answers = await volley(server, requests)

        told("recovery code", number, one_wins(answers, is_let_in))


async def test_a_login_form_makes_one_session(server: Server, app: Application) -> None:
    for number in range(ROUNDS):
        account = await new_account(app)
        person = RemotePerson(server)
        form = (await person.get("/user/login")).form("login")

        request = person.filled(form, name=account.name, password=PASSWORD)
        answers = await volley(server, [request] * PARALLEL)

        told("login form", number, one_wins(answers, is_let_in))


@pytest.mark.parametrize("purpose", [Purpose.RECOVERY, Purpose.SETUP])
async def test_a_ticket_sets_one_password(server: Server, app: Application, purpose: Purpose) -> None:
    path, field = {
        Purpose.RECOVERY: (f"{PASSWORD_PATH}/pwrecover", "recovery_key"),
        Purpose.SETUP: (f"{PASSWORD_PATH}/setup", "setup_key"),
    }[purpose]
    persons = [RemotePerson(server) for _ in range(PARALLEL)]
    skeys = [await person.skey() for person in persons]
    for number in range(ROUNDS):
        account = await new_account(app)
        token = await ticket(app, account, purpose)
        passwords = [f"{NEW_PASSWORD} {i}" for i in range(PARALLEL)]
        for person in persons:
            person.address = new_address()

        requests = [
            person.posting(path, skey=skey, password=password, **{field: token})
            for person, skey, password in zip(persons, skeys, passwords, strict=True)
        ]
        answers = await volley(server, requests)

        winner = one_wins(answers, lambda page: page.status == 200 and "Your password is changed" in page.text)
        let_in = await RemotePerson(server).log_in(account.name, passwords[winner])
        assert let_in.location == PROFILE
        told(str(purpose), number, winner)


async def test_a_verification_ticket_confirms_once(server: Server, app: Application) -> None:
    for number in range(ROUNDS):
        account = await in_status(app, await new_account(app), Status.WAITING_FOR_EMAIL_VERIFICATION)
        token = await ticket(app, account, Purpose.VERIFICATION)

        persons = [RemotePerson(server) for _ in range(PARALLEL)]
        answers = await volley(server, [p.posting(f"{PASSWORD_PATH}/verify", skey=token) for p in persons])

        told("verification", number, one_wins(answers, lambda page: page.status == 200))


async def test_an_enrolment_is_confirmed_once(server: Server, app: Application) -> None:
    for number in range(ROUNDS):
        account = await new_account(app)
        person = await logged_in(RemotePerson(server), account.name)
        page, secret = await begun_enrolment(person)

        request = person.filled(page.form("/add"), otptoken=totp(secret))
        answers = await volley(server, [request] * PARALLEL)

        winner = one_wins(answers, lambda page: len(shown_codes(page)) == 10)
        after = await app.administration.find(account.name)
        key = credential_key(account.id, "time_based_otp")
        assert after.factors == ("time_based_otp",)
        assert key in await app.services.store.get((key,))
        told("enrolment", number, winner)


# --- Guessing ---------------------------------------------------------------------------------------------------------


async def test_two_hundred_passwords_at_once_get_ten_verdicts(server: Server, app: Application) -> None:
    for number in range(rounds(2)):
        account = await new_account(app)
        persons = [RemotePerson(server) for _ in range(200)]
        skeys = [await person.skey() for person in persons]

        requests = [
            person.posting(
                f"{PASSWORD_PATH}/login",
                skey=skey,
                name=account.name,
                password=PASSWORD if i == 150 else f"a wrong guess, the {i}th",
            )
            for i, (person, skey) in enumerate(zip(persons, skeys, strict=True))
        ]
        answers, before = await in_two_halves(server, requests, enough=10)

        verdicts = [page for page in answers if page.status == 200 or is_let_in(page)]
        assert 8 <= len(verdicts) <= 10, Counter(page.status for page in answers)
        # It was sent when the limit was reached. (Where conflicts ate a verdict or two, it was not.)
        assert before < 10 or not is_let_in(answers[150])
        assert {page.status for page in answers} <= {200, 429, 503}
        assert all(page.header("retry-after") for page in answers if page.status in (429, 503))
        told("passwords", number, 10)


async def test_a_right_guess_among_two_hundred_does_not_outrun_the_count(server: Server, app: Application) -> None:
    chance = random.Random(7)
    persons = [RemotePerson(server) for _ in range(200)]
    skeys = [await person.skey() for person in persons]
    for number in range(rounds(8)):
        account = await new_account(app)
        assert (await RemotePerson(server).log_in(account.name, "the first wrong guess")).status == 200
        # Early enough to find a place among those that are verified at once.
        right = chance.randrange(30)
        for person in persons:
            person.address = new_address()

        requests = [
            person.posting(
                f"{PASSWORD_PATH}/login",
                skey=skey,
                name=account.name,
                password=PASSWORD if i == right else f"a wrong guess, the {i}th",
            )
            for i, (person, skey) in enumerate(zip(persons, skeys, strict=True))
        ]
        answers = await volley(server, requests)

        statuses = Counter(page.status for page in answers)
        assert 1 + statuses[200] <= 10, statuses
        if is_let_in(answers[right]):
            # It has put an end to the row of failures, of which there was one at least.
            bucket = bucket_key(app.services.keyring, "password_per_name", account.canonical_name)
            row = (await app.services.store.get((bucket,)))[bucket].data["row"]
            assert row < 1 + statuses[200], (row, statuses)
        told("right guess", number, f"let in: {is_let_in(answers[right])}")


async def test_two_hundred_codes_at_once_get_five_verdicts(server: Server, app: Application) -> None:
    for number in range(rounds(2)):
        account = await new_account(app, with_totp=True)
        persons = [RemotePerson(server) for _ in range(20)]
        forms = [(await owing_a_code(person, account.name)).form("/otp") for person in persons]
        wrong, right = wrong_code(SECRET), totp(SECRET)

        requests = [persons[i % 20].filled(forms[i % 20], otptoken=right if i == 150 else wrong) for i in range(200)]
        answers, before = await in_two_halves(server, requests, enough=5)

        verdicts = [page for page in answers if page.status == 200 or is_let_in(page)]
        assert 3 <= len(verdicts) <= 5, Counter(page.status for page in answers)
        assert before < 5 or not is_let_in(answers[150])
        assert {page.status for page in answers} <= {200, 412, 429, 503}
        told("codes", number, len(verdicts))


async def in_two_halves(server: Server, requests: Sequence[bytes], *, enough: int) -> tuple[list[Page], int]:
    """Send the first half at once, and the second while the first is in flight but so many verdicts were told.

    Returns:
        The answers, and how many verdicts were told when the second half was sent.
    """
    half = len(requests) // 2
    verdicts = asyncio.Event()
    told = 0

    async def one(connection: Connection) -> Page:
        nonlocal told
        page = await connection.answer()
        told += page.status == 200 or is_let_in(page)
        if told >= enough:
            verdicts.set()
        return page

    connections = [Connection(server) for _ in requests]
    await asyncio.gather(*(connection.__aenter__() for connection in connections))
    for connection, raw in zip(connections, requests, strict=True):
        connection.writer.write(raw[:-1])
    await asyncio.sleep(0.05)
    waiting = [asyncio.create_task(one(connection)) for connection in connections]
    for connection, raw in zip(connections[:half], requests[:half], strict=True):
        connection.writer.write(raw[-1:])
    # Fewer verdicts than the limit may come of the first half, when most of it met a full queue.
    first = asyncio.gather(*waiting[:half])
    await asyncio.wait([first, asyncio.create_task(verdicts.wait())], return_when=asyncio.FIRST_COMPLETED)
    before = told
    for connection, raw in zip(connections[half:], requests[half:], strict=True):
        connection.writer.write(raw[-1:])
    answers = await asyncio.gather(*waiting)
    for connection in connections:
        connection.writer.close()
    return answers, before


# --- Dead sessions ----------------------------------------------------------------------------------------------------

ENDINGS = ["logout", "reset", "deactivation", "logout everywhere"]


@pytest.mark.parametrize("ending", ENDINGS)
async def test_the_next_request_of_a_dead_session_is_refused_by_both_processes(
    server: Server, app: Application, ending: str
) -> None:
    async with two_workers(server) as (one, other):
        probes = 0
        for number in range(rounds(10)):
            account = await new_account(app)
            person = await logged_in(RemotePerson(server, connection=one), account.name)
            for connection in (one, other):
                assert (await probe(person, connection)).status == 200

            await end_session(ending, app, person, account.name)

            # The other process first: it had no part in the ending.
            for connection in (other, one) * 5:
                page = await probe(person, connection)
                assert (page.status, page.location) == (303, "/user/login"), f"round {number}: {ending}"
                probes += 1
            told(ending, number, probes)


@pytest.mark.parametrize("ending", ["logout", "reset"])
async def test_requests_in_flight_do_not_bring_a_dead_session_back(
    server: Server, app: Application, ending: str
) -> None:
    for number in range(rounds(5)):
        account = await new_account(app)
        person = await logged_in(RemotePerson(server), account.name)
        reading = person.encode("GET", PROFILE)

        flight = asyncio.create_task(volley(server, [reading] * 30))
        await asyncio.sleep(0.03)
        cookies = dict(person.cookies)
        await end_session(ending, app, person, account.name)
        await flight
        person.cookies = cookies
        answers = await volley(server, [reading] * 10)

        assert {page.status for page in answers} == {303}
        told(f"in flight: {ending}", number, 10)


async def end_session(ending: str, app: Application, person: RemotePerson, name: str) -> None:
    """End a person's session; the browser keeps its cookies, as a thief's would."""
    cookies = dict(person.cookies)
    if ending == "logout":
        page = await person.get("/user/logout")
        page = await person.send(page.form("logout"))
        assert "You are logged out" in page.text
    elif ending == "reset":
        account = await app.administration.find(name)
        token, owner = await ticket(app, account, Purpose.RECOVERY), RemotePerson(person.server)
        values = {"skey": await owner.skey(), "recovery_key": token, "password": NEW_PASSWORD}
        assert (await owner.post(f"{PASSWORD_PATH}/pwrecover", values)).status == 200
    elif ending == "deactivation":
        await app.administration.deactivate(name)
    else:
        await app.administration.log_out(name)
    person.cookies = cookies


async def probe(person: RemotePerson, connection: Connection) -> Page:
    cookies, before = dict(person.cookies), person.connection
    person.connection = connection
    page = await person.get(PROFILE)
    person.connection, person.cookies = before, cookies
    return page


class two_workers:  # noqa: N801 - reads as what it gives
    """Two kept-alive connections that different processes answer on."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._made: list[Connection] = []

    async def __aenter__(self) -> tuple[Connection, Connection]:
        found: dict[int, Connection] = {}
        healthz = RemotePerson(self._server).encode("GET", "/healthz")
        # Whoever is idle accepts, so a few at a time are spread over both sooner or later.
        for _ in range(100):
            batch = [Connection(self._server) for _ in range(8)]
            await asyncio.gather(*(connection.__aenter__() for connection in batch))
            await asyncio.gather(*(connection.exchange(healthz) for connection in batch))
            self._made += batch
            for connection in batch:
                found.setdefault(await connection.worker(), connection)
            if len(found) > 1:
                one, other = list(found.values())[:2]
                return one, other
        raise AssertionError("one process accepts all connections")

    async def __aexit__(self, *error: object) -> None:
        for connection in self._made:
            connection.writer.close()


# --- Judging ----------------------------------------------------------------------------------------------------------


def is_let_in(page: Page) -> bool:
    return page.status == 303 and page.location == PROFILE


def one_wins(answers: Sequence[Page], is_won) -> int:  # type: ignore[no-untyped-def]
    """Check that exactly one answer is a winner's and no other is a fault; return which."""
    statuses = Counter(page.status for page in answers)
    winners = [i for i, page in enumerate(answers) if is_won(page)]
    assert set(statuses) <= REFUSED, statuses
    assert len(winners) == 1, (len(winners), statuses)
    return winners[0]


def told(what: str, number: int, outcome: object) -> None:
    progress(f"{what}: round {number + 1} of {ROUNDS} done ({outcome})")
