"""The local Google: a person comes with a token of it, without a network, and not with another's."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from authflow.errors import FetchFailed
from authflow.testing import Clock, GoogleIssuer, Issuer, Site, make_site
from authflow.testing.google import OUTAGES
from authflow.testing.google_people import CLIENT_ID, LOGIN, come, tell, token_on
from authflow.testing.signing import SigningKey
from authflow.user import User
from providers.google_account import GoogleAccount
from providers.user_password import UserPassword


class OpenGoogle(GoogleAccount):
    registration_enabled = True


class Members(User):
    authentication_providers = (UserPassword, OpenGoogle)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def google(clock: Clock) -> Issuer:
    return Issuer(clock)


@pytest.fixture
async def site(clock: Clock, google: Issuer) -> Site:
    environment = {"google_client_id": CLIENT_ID}
    return await make_site(Members(), clock=clock, fetching=google.fetching(), provider_environment=environment)


async def test_somebody_comes_with_google_and_without_a_network(site: Site, google: Issuer) -> None:
    ada = site.person()

    page = await come(ada, google)

    assert page.status == 303
    assert await ada.is_logged_in()
    assert google.hits == 1


async def test_a_token_that_another_key_signed_opens_nothing(site: Site, google: Issuer) -> None:
    eve = site.person()
    page = await eve.get(LOGIN)
    honest = token_on(google, page)
    google.key = SigningKey("key-1")

    await tell(eve, page, token_on(google, page))
    assert not await eve.is_logged_in()
    await tell(eve, page, honest)

    assert await eve.is_logged_in()


@pytest.mark.parametrize("outage", OUTAGES)
async def test_an_outage_of_google_lets_nobody_in(site: Site, google: Issuer, outage: str) -> None:
    google.outage = outage
    ada = site.person()

    page = await come(ada, google)

    assert page.status in (200, 503)
    assert not await ada.is_logged_in()


async def test_a_rotated_key_is_published_in_the_place_of_the_old_one(google: Issuer) -> None:
    before = dict(await google.fetching().get_json("https://example.org/certs"))

    google.rotate()

    after = dict(await google.fetching().get_json("https://example.org/certs"))
    assert (set(before), set(after)) == ({"key-1"}, {"key-2"})


async def test_it_takes_no_forms(google: Issuer) -> None:
    with pytest.raises(FetchFailed):
        await google.fetching().post_form("https://example.org/token", {})


def test_claims_can_be_changed_and_left_out(google: Issuer, clock: Clock) -> None:
    claims = google.claims(iss="https://evil.example", exp=None, sub="1")

    assert claims == {"iss": "https://evil.example", "iat": int(clock().timestamp()), "sub": "1"}


def test_issuers_on_loopback_have_ports_of_their_own() -> None:
    with GoogleIssuer() as one, GoogleIssuer() as other:
        assert one.certs_url != other.certs_url


def test_it_can_be_served_by_a_program_of_its_own() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "authflow.testing.serve_google", "--audience", CLIENT_ID],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "AUTHFLOW_TESTING": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            said = json.loads(process.stdout.readline())
            with urllib.request.urlopen(said["certs_url"], timeout=10) as answer:
                certs = json.load(answer)
        finally:
            process.kill()

    assert list(certs) == ["key-1"]
    assert f'"aud": "{CLIENT_ID}"' in base64.urlsafe_b64decode(said["token"].split(".")[1] + "==").decode()
