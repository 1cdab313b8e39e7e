"""Logging in with Google in a real browser, with a stand-in for Google and the code that verifies Google's tokens.

The pages load what Google's script needs and nothing else does; who has no script, or whose script is kept away, is
told so and finds the other ways.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from authflow.testing import GoogleIssuer
from authflow.testing.google_people import CLIENT_ID
from tests.browser.google_stand_in import GoogleStandIn
from tests.browser.test_journey import Examiner, Reader
from tests.parts.server import PATIENCE, Server

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ADA = "ada@example.org"
PASSWORD = "correct horse battery"
PEOPLE = {
    "Ada": {"sub": "1", "email": "ada@gmail.com", "given_name": "Ada", "family_name": "Lovelace"},
    "Grace": {"sub": "2", "email": "grace@gmail.com"},
}
HOUSE = """
import os

from authflow.user import User
from providers.google_account import GoogleAccount


class Google(GoogleAccount):
    certs_url = os.environ["TEST_CERTS_URL"]


class Welcoming(Google):
    registration_enabled = True


class House(User):
    authentication_providers = ("providers.user_password:UserPassword", Google)
    valid_authentication_methods = (
        ("user_password", "time_based_otp"), ("user_password", None),
        ("google_account", "time_based_otp"), ("google_account", None),
    )


class OpenHouse(House):
    authentication_providers = ("providers.user_password:UserPassword", Welcoming)
"""


@pytest.fixture
def issuer() -> Iterator[GoogleIssuer]:
    with GoogleIssuer() as issuer:
        yield issuer


@pytest.fixture
def google(issuer: GoogleIssuer) -> GoogleStandIn:
    return GoogleStandIn(issuer, PEOPLE)


def house(issuer: GoogleIssuer, user: str) -> Server:
    environment = {
        "AUTHFLOW_USER": f"house:{user}",
        "AUTHFLOW_GOOGLE_CLIENT_ID": CLIENT_ID,
        "TEST_CERTS_URL": issuer.certs_url,
    }
    return Server(environment=environment, modules={"house.py": HOUSE})


@pytest.fixture
def server(issuer: GoogleIssuer) -> Iterator[Server]:
    with house(issuer, "House") as server:
        yield server


@pytest.fixture
def open_house(issuer: GoogleIssuer) -> Iterator[Server]:
    with house(issuer, "OpenHouse") as server:
        yield server


def with_password(reader: Reader) -> None:
    """Have an operator make an account with a password, and log in with it."""
    server = reader.server
    made = subprocess.run(
        [sys.executable, "-m", "authflow.cli", "users", "create", ADA, "--active", "--password-stdin"],
        cwd=server.folder, env=server.environment, input=PASSWORD, text=True, capture_output=True, timeout=PATIENCE,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    reader.log_in(ADA, PASSWORD)
    reader.sees("Your account")


def choose(reader: Reader, who: str) -> None:
    """Press Google's button, and choose somebody in Google's window."""
    button = reader.page.frame_locator("iframe").get_by_role("button", name="Continue with Google")
    with reader.page.expect_popup() as popup:
        button.click()
    person = popup.value.get_by_role("button", name=who, exact=True)
    person.wait_for()
    with answered(reader):
        person.click()


def choose_by_keyboard(reader: Reader) -> None:
    """Reach Google's button with the tabulator, and take whom Google's window offers first."""
    page = reader.page
    page.frame_locator("iframe").get_by_role("button").wait_for()
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.tagName") == "IFRAME":
            break
    with page.expect_popup() as popup:
        page.keyboard.press("Enter")
    window = popup.value
    window.locator(":focus").wait_for()
    with answered(reader):
        window.keyboard.press("Enter")


@contextlib.contextmanager
def answered(reader: Reader) -> Iterator[None]:
    """Wait until the page goes on. The window closes at once, perhaps before the browser says that it was pressed."""
    from playwright.sync_api import Error

    with reader.page.expect_navigation(), contextlib.suppress(Error):
        yield


def come(chromium: Any, server: Server, google: GoogleStandIn, **more: Any) -> Reader:
    reader = Reader(chromium, server, javascript=True, **more)
    google.stand_in(reader.context)
    return reader


def test_somebody_connects_a_google_account_and_logs_in_with_it(
    chromium: Any, server: Server, google: GoogleStandIn
) -> None:
    reader = come(chromium, server, google)
    with_password(reader)
    reader.follow("Connect: Google account")
    reader.sees("Connect your Google account")
    choose(reader, "Ada")
    reader.sees("Your account")
    assert "ada@gmail.com" in reader.text()
    assert google.wishes["context"] == "use"
    reader.log_out()

    # Whoever wanted to go somewhere gets there, by keyboard alone.
    reader.open("/user/edit/self")
    reader.sees("Log in")
    reader.follow("Continue with Google")
    reader.sees("Continue with Google")
    choose_by_keyboard(reader)
    assert urlsplit(reader.page.url).path == "/user/edit/self"
    assert google.wishes == {
        "client_id": CLIENT_ID,
        "nonce": google.wishes["nonce"],
        "context": "signin",
        "ux_mode": "popup",
        "fedcm": "true",
        "auto_prompt": "false",
    }
    reader.open("/user/view/self")
    reader.follow("Disconnect: Google account")
    reader.press("Disconnect")
    reader.sees("Your account")
    assert "Not connected" in reader.text()
    assert reader.complaints == []
    reader.context.close()


def test_a_stranger_is_told_what_to_do_and_can_choose_somebody_else(
    chromium: Any, server: Server, google: GoogleStandIn
) -> None:
    reader = come(chromium, server, google)
    with_password(reader)
    reader.follow("Connect: Google account")
    choose(reader, "Grace")
    reader.log_out()
    reader.open("/user/login")
    reader.follow("Continue with Google")

    choose(reader, "Ada")
    assert "not connected to an account here" in reader.text()
    choose(reader, "Grace")

    reader.sees("Your account")
    assert reader.complaints == []
    reader.context.close()


def test_a_stranger_gets_an_account_where_strangers_may_come(
    chromium: Any, open_house: Server, google: GoogleStandIn
) -> None:
    reader = come(chromium, open_house, google)
    reader.open("/user/login")
    reader.follow("Continue with Google")
    choose(reader, "Ada")

    reader.sees("Your account")
    for word in ("ada@gmail.com", "Ada", "Lovelace"):
        assert word in reader.text()
    assert reader.complaints == []
    reader.context.close()


def test_google_is_asked_by_its_own_pages_alone_and_learns_no_more_than_the_site(
    chromium: Any, server: Server, google: GoogleStandIn
) -> None:
    reader = come(chromium, server, google)
    with_password(reader)
    for path in ("/user/view/self", "/user/edit/self", "/user/f2_timebasedotp/add", "/user/logout", "/user/login",
                 "/user/auth_userpassword/login"):  # fmt: skip
        reader.open(path)
    assert google.asked == []

    reader.open("/user/login?next=/user/edit/self")
    reader.follow("Continue with Google")
    reader.page.frame_locator("iframe").get_by_role("button").wait_for()

    assert {path for path, _ in google.asked} == {"/gsi/client", "/gsi/style", "/gsi/status", "/gsi/button"}
    assert {referrer for _, referrer in google.asked} == {server.base_url + "/"}
    assert reader.complaints == []
    reader.context.close()


def test_without_scripts_the_page_says_so_and_the_other_ways_are_there(
    chromium: Any, server: Server, google: GoogleStandIn
) -> None:
    reader = Reader(chromium, server, javascript=False)
    google.stand_in(reader.context)
    reader.open("/user/login?next=/user/edit/self")
    reader.follow("Continue with Google")

    assert "needs JavaScript" in reader.text()
    reader.follow("Log in another way")
    reader.sees("Log in")
    assert google.asked == []
    assert reader.complaints == []
    reader.context.close()


def test_a_script_that_is_kept_away_is_told_of_and_the_other_ways_lead_where_one_wanted(
    chromium: Any, server: Server, google: GoogleStandIn
) -> None:
    reader = come(chromium, server, google)
    with_password(reader)
    reader.log_out()
    google.is_blocked = True
    reader.open("/user/login?next=/user/edit/self")
    reader.follow("Continue with Google")

    reader.page.get_by_role("alert").wait_for()
    assert "cannot be loaded" in reader.text()
    reader.follow("Log in another way")
    reader.fill("E-mail address", ADA)
    reader.fill("Password", PASSWORD)
    reader.press("Log in")

    assert urlsplit(reader.page.url).path == "/user/edit/self"
    reader.context.close()


def test_a_token_for_an_old_page_is_refused_and_the_page_works_again(
    chromium: Any, server: Server, google: GoogleStandIn, issuer: GoogleIssuer
) -> None:
    reader = come(chromium, server, google)
    reader.open("/user/auth_googleaccount/login")
    reader.page.frame_locator("iframe").get_by_role("button").wait_for()
    stale = issuer.id_token(aud=CLIENT_ID, sub="1", nonce="of another page")

    with reader.page.expect_navigation():
        reader.page.evaluate("token => authflowGoogleAccount({credential: token})", stale)

    assert "made for another page" in reader.text()
    choose(reader, "Ada")
    assert "not connected to an account here" in reader.text()
    assert reader.complaints == []
    reader.context.close()


def test_the_script_sends_one_answer_and_no_nonsense(chromium: Any, server: Server, google: GoogleStandIn) -> None:
    reader = come(chromium, server, google)
    sent: list[str] = []
    reader.page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    reader.open("/user/auth_googleaccount/login")
    reader.page.frame_locator("iframe").get_by_role("button").wait_for()

    reader.page.evaluate("[null, undefined, {}, {credential: 1}].forEach(authflowGoogleAccount)")
    assert sent == []
    with reader.page.expect_navigation():
        reader.page.evaluate("['a.b.c', 'd.e.f'].forEach(one => authflowGoogleAccount({credential: one}))")

    assert sent == [server.base_url + "/user/auth_googleaccount/login"]
    assert reader.complaints == []
    reader.context.close()


class Undisturbed(Examiner):
    """An examiner who does not count what axe does itself: it copies stylesheets from elsewhere into the page."""

    def examine(self, what: str) -> None:
        complaints = list(self.complaints)
        super().examine(what)
        self.complaints = complaints


def test_the_pages_with_google_are_for_everybody(chromium: Any, server: Server, google: GoogleStandIn) -> None:
    reader = Undisturbed(chromium, server)
    google.stand_in(reader.context)
    reader.open("/user/login")
    reader.examine("login with Google")
    reader.follow("Continue with Google")
    button = reader.page.frame_locator("iframe").get_by_role("button")
    button.wait_for()
    reader.examine("Google")
    choose(reader, "Ada")
    button.wait_for()
    reader.examine("Google, refused")
    with_password(reader)
    reader.examine("profile with Google")
    reader.follow("Connect: Google account")
    button.wait_for()
    reader.examine("connect")
    google.is_blocked = True
    complained = len(reader.complaints)
    reader.open("/user/auth_googleaccount/login")
    reader.page.get_by_role("alert").wait_for()
    reader.examine("Google, kept away")
    # The browser says itself that the script could not be loaded.
    assert all("accounts.google.com" in line or "ERR_FAILED" in line for line in reader.complaints[complained:])
    del reader.complaints[complained:]
    reader.is_content()
    reader.context.close()
