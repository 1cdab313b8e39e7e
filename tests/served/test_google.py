"""Google's tokens over the network, at a server of two processes: forged ones, replays, races, outages, a new key.

The keys are fetched from an issuer on loopback; everything that verifies is what verifies Google's.
`AUTHFLOW_ROUNDS` scales the rounds of races: 10 is what runs by default.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from authflow.assembly import Application
from authflow.federated import Assertion
from authflow.federation import linking
from authflow.model import Account, Credential
from authflow.testing import GoogleIssuer
from authflow.testing.google_people import CLIENT_ID, LINK, LOGIN, attribute, come, tell, token_on
from authflow.testing.signing import SigningKey
from providers.google_account import ISSUER
from tests.parts.server import Server
from tests.served.client import RemotePerson, progress, rounds, volley
from tests.served.people import PROFILE, logged_in, new_account, new_name

pytestmark = [pytest.mark.slow]

PARALLEL = 50
ROUNDS = rounds(5)
HOUSE = """
import os

from authflow.user import User
from providers.google_account import GoogleAccount


class Google(GoogleAccount):
    certs_url = os.environ["TEST_CERTS_URL"]
    registration_enabled = True


class House(User):
    authentication_providers = ("providers.user_password:UserPassword", Google)
    valid_authentication_methods = (("user_password", None), ("google_account", None))


class Lenient(Google):
    google_nonce_required = False


class LenientHouse(House):
    authentication_providers = ("providers.user_password:UserPassword", Lenient)
"""

_subjects = itertools.count(1)


def house(google: GoogleIssuer, user: str = "House") -> Server:
    environment = {
        "AUTHFLOW_USER": f"house:{user}",
        "AUTHFLOW_GOOGLE_CLIENT_ID": CLIENT_ID,
        "TEST_CERTS_URL": google.certs_url,
    }
    return Server(workers=2, environment=environment, modules={"house.py": HOUSE})


@pytest.fixture(scope="module")
def google() -> Iterator[GoogleIssuer]:
    with GoogleIssuer() as google:
        yield google


@pytest.fixture(scope="module")
def server(google: GoogleIssuer) -> Iterator[Server]:
    with house(google) as server:
        yield server


@pytest.fixture(scope="module")
def lenient(google: GoogleIssuer) -> Iterator[Server]:
    with house(google, "LenientHouse") as server:
        yield server


@pytest.fixture
async def app(server: Server) -> AsyncIterator[Application]:
    async with server.application() as app:
        yield app


async def linked(app: Application) -> tuple[Account, str]:
    """Make an account with a Google identity; return it and the subject."""
    account, now = await new_account(app), datetime.now(UTC)
    found = Assertion(ISSUER, f"subject-{next(_subjects)}")
    credential = Credential(account.id, "google_account", now, now, found.to_data())
    await app.services.store.commit(linking(app.engine.vault.credential_data(credential), found, now))
    return account, found.subject


async def is_in(person: RemotePerson) -> bool:
    return (await person.get("/json/user/view/self")).status == 200


# --- Forged and replayed ----------------------------------------------------------------------------------------------


def forgeries(
    google: GoogleIssuer, foreign: SigningKey, page: Any, subject: str, chance: random.Random
) -> Iterator[str]:
    """Yield tokens that are wrong in one thing each, without an end."""
    good = google.claims(aud=CLIENT_ID, azp=CLIENT_ID, sub=subject, nonce=attribute(page, "data-nonce"))
    now = int(time.time())
    while True:
        yield foreign.token(good)
        yield foreign.token(good, {"kid": f"key-{chance.random()}"})
        for algorithm in ("none", "HS256", "RS384", "PS256", "ES256"):
            yield google.key.token(good, {"alg": algorithm})
        for name, values in {
            "aud": ("another", [CLIENT_ID, "another"], None),
            "azp": ("another", subject),
            "iss": ("https://evil.example", None),
            "exp": (now - 1, now + 200_000, "never", None),
            "iat": (now + 600, None),
            "nonce": ("x" * 43, "", None, 1),
            "sub": ("", None, 7),
        }.items():
            for value in values:
                claims = {k: v for k, v in {**good, name: value}.items() if v is not None}
                yield google.key.token(claims)
        token = google.key.token(good)
        at = chance.randrange(len(token))
        other = chance.choice("ABCdef_-012")
        if token[at] not in (other, "."):
            yield token[:at] + other + token[at + 1 :]


async def test_three_hundred_forged_tokens_log_nobody_in(
    server: Server, app: Application, google: GoogleIssuer
) -> None:
    _, subject = await linked(app)
    foreign, chance, statuses = SigningKey("key-1"), random.Random(20), Counter[int]()
    sent = 0
    while sent < 300:
        person = RemotePerson(server)
        page = await person.get(LOGIN)
        for token in itertools.islice(forgeries(google, foreign, page, subject, chance), 25):
            answer = await tell(person, page, token)
            assert answer.location == "", token
            statuses[answer.status] += 1
            sent += 1
        assert not await is_in(person)

    assert set(statuses) == {200}
    assert (await come(RemotePerson(server), google, subject)).location == PROFILE


async def test_a_token_that_was_used_opens_nothing_in_any_process(
    server: Server, app: Application, google: GoogleIssuer
) -> None:
    for _ in range(20):
        _, subject = await linked(app)
        owner, thief = RemotePerson(server), RemotePerson(server)
        page = await owner.get(LOGIN)
        token, cookies = token_on(google, page, subject), dict(owner.cookies)
        assert (await tell(owner, page, token)).location == PROFILE
        thief.cookies = cookies

        replayed = await tell(thief, page, token)
        elsewhere = RemotePerson(server)
        moved = await tell(elsewhere, await elsewhere.get(LOGIN), token)

        assert (replayed.status, moved.location) == (412, "")
        assert not await is_in(thief)
        assert not await is_in(elsewhere)


# --- Races ------------------------------------------------------------------------------------------------------------


async def test_of_fifty_who_send_one_token_at_once_one_is_logged_in(
    server: Server, app: Application, google: GoogleIssuer
) -> None:
    for number in range(ROUNDS):
        _, subject = await linked(app)
        person = RemotePerson(server)
        page = await person.get(LOGIN)
        form, token = page.form("auth_google"), token_on(google, page, subject)

        answers = await volley(server, [person.filled(form, token=token)] * PARALLEL)

        one_wins("token", number, answers)


async def test_of_fifty_browsers_that_send_one_token_without_a_nonce_one_is_logged_in(
    lenient: Server, google: GoogleIssuer
) -> None:
    async with lenient.application() as app:
        for number in range(ROUNDS):
            _, subject = await linked(app)
            people = [RemotePerson(lenient) for _ in range(PARALLEL)]
            pages = [await person.get(LOGIN) for person in people]
            token = token_on(google, pages[0], subject, nonce=None)
            requests = [p.filled(q.form("auth_google"), token=token) for p, q in zip(people, pages, strict=True)]

            answers = await volley(lenient, requests)

            one_wins("token without a nonce", number, answers)


async def test_of_fifty_strangers_with_one_identity_one_gets_an_account(
    server: Server, app: Application, google: GoogleIssuer
) -> None:
    for number in range(ROUNDS):
        subject, address = f"subject-{next(_subjects)}", new_name().partition("@")[0] + "@gmail.com"
        people = [RemotePerson(server) for _ in range(PARALLEL)]
        pages = [await person.get(LOGIN) for person in people]
        requests = [
            person.filled(page.form("auth_google"), token=token_on(google, page, subject, email=address))
            for person, page in zip(people, pages, strict=True)
        ]

        answers = await volley(server, requests)

        # The others may come in to the account that the first one got: it is their identity.
        statuses = Counter(answer.status for answer in answers)
        progress(f"strangers {number}: {dict(statuses)}")
        assert PROFILE in [answer.location for answer in answers]
        assert set(statuses) <= {200, 303, 409, 412, 429, 503}
        assert [account.name for account in await everybody(app)].count(address) == 1
        assert (await come(RemotePerson(server), google, subject)).location == PROFILE


async def everybody(app: Application) -> list[Account]:
    found, cursor = [], None
    while True:
        listing = await app.administration.list(cursor)
        found += listing.accounts
        cursor = listing.cursor
        if not cursor:
            return found


async def test_of_two_accounts_that_connect_one_identity_at_once_one_gets_it(
    server: Server, app: Application, google: GoogleIssuer
) -> None:
    for number in range(ROUNDS):
        subject, owners = f"subject-{next(_subjects)}", []
        requests = []
        for _ in range(2):
            account = await new_account(app)
            owner = await logged_in(RemotePerson(server), account.name)
            page = await owner.get(LINK)
            token = token_on(google, page, subject)
            requests += [owner.filled(page.form("auth_google"), token=token)] * (PARALLEL // 2)
            owners.append(account)

        answers = await volley(server, requests)

        one_wins("link", number, answers)
        person = RemotePerson(server)
        assert (await come(person, google, subject)).location == PROFILE


def one_wins(what: str, number: int, answers: list[Any]) -> None:
    statuses = Counter(answer.status for answer in answers)
    progress(f"{what} {number}: {dict(statuses)}")
    assert [answer.location for answer in answers].count(PROFILE) == 1, (number, statuses)
    assert set(statuses) <= {200, 303, 401, 403, 409, 412, 429, 503}, (number, statuses)


# --- Google's keys ----------------------------------------------------------------------------------------------------


async def test_an_outage_is_answered_within_three_seconds_and_over_when_it_is_over() -> None:
    with GoogleIssuer() as google, house(google) as server:
        async with server.application() as app:
            _, subject = await linked(app)
            account = await new_account(app)
        people = [RemotePerson(server) for _ in range(20)]
        pages = [await person.get(LOGIN) for person in people]
        requests = [
            p.filled(q.form("auth_google"), token=token_on(google, q, subject))
            for p, q in zip(people, pages, strict=True)
        ]
        google.outage = "hang"
        began = time.monotonic()
        waiting = asyncio.create_task(volley(server, requests))
        await logged_in(RemotePerson(server), account.name)
        password_took = time.monotonic() - began

        answers = await waiting

        took = time.monotonic() - began
        assert {answer.status for answer in answers} == {503}
        assert all(answer.header("retry-after") for answer in answers)
        progress(f"outage: {took:.2f} s, a password meanwhile {password_took:.2f} s")
        assert took < 3
        assert password_took < took
        google.outage = ""
        await asyncio.sleep(1.1)  # A failure is remembered for a second.
        assert (await come(RemotePerson(server), google, subject)).location == PROFILE


async def test_keys_are_fetched_once_a_process_and_a_new_one_is_found() -> None:
    with GoogleIssuer() as google, house(google) as server:
        async with server.application() as app:
            _, subject = await linked(app)
        for _ in range(20):
            assert (await come(RemotePerson(server), google, subject)).location == PROFILE
        before = google.hits
        google.rotate()
        for _ in range(20):
            assert (await come(RemotePerson(server), google, subject)).location == PROFILE

        assert before <= 2
        assert google.hits <= before + 2


# --- What is written down ---------------------------------------------------------------------------------------------


async def test_tokens_are_in_no_log_and_not_in_the_store(google: GoogleIssuer) -> None:
    with house(google) as server:
        async with server.application() as app:
            _, subject = await linked(app)
        person = RemotePerson(server)
        page = await person.get(LOGIN)
        good, bad = token_on(google, page, subject), token_on(google, page, subject, aud="another")
        await tell(person, page, bad)
        await person.get(f"{LOGIN}?token={bad}")
        await person.post(f"{LOGIN}?token={bad}", {"skey": "x"})
        assert (await tell(person, page, good)).location == PROFILE
        server.stop()

        kept = b"".join(file.read_bytes() for file in server.folder.rglob("*") if file.is_file())
        for token in (good, bad):
            for part in token.split(".")[1:]:
                assert part.encode() not in kept
        assert b"id_token_audience" in kept
