"""The examples whose other half is a browser: passkeys with a virtual authenticator, and an issuer on another site.

The house is at `localhost` and the issuer at 127.0.0.1, two sites to a browser: what is true here of cookies, of the
content security policy and of passkeys is true of two hosts.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser.test_google import ADA, PASSWORD, with_password
from tests.browser.test_journey import Examiner, Reader
from tests.parts.openid_provider import OpenIdProvider, missing_part
from tests.parts.require import require
from tests.parts.server import Server

pytestmark = [pytest.mark.browser, pytest.mark.slow]

TEMPLATES = str(Path(__file__).parents[2] / "examples" / "templates")


def house(user: str) -> Server:
    """Return a server that is not started yet, at a name that browsers know passkeys on."""
    server = Server(environment={"AUTHFLOW_USER": user, "AUTHFLOW_TEMPLATES": TEMPLATES})
    server.base_url = f"http://localhost:{server.port}"
    return server


@pytest.fixture
def server() -> Iterator[Server]:
    with house("examples.passkey:MyUser") as server:
        yield server


class Device:
    """A virtual authenticator of one page (W3C WebAuthn, section 11)."""

    def __init__(self, reader: Reader) -> None:
        self._cdp = reader.page.context.new_cdp_session(reader.page)
        self._cdp.send("WebAuthn.enable")
        wishes = {
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
            "isUserVerified": True, "automaticPresenceSimulation": True,
        }  # fmt: skip
        answer = self._cdp.send("WebAuthn.addVirtualAuthenticator", {"options": wishes})
        self.id = answer["authenticatorId"]

    def knows_its_owner(self, knows: bool) -> None:
        self._cdp.send("WebAuthn.setUserVerified", {"authenticatorId": self.id, "isUserVerified": knows})

    def forgets(self) -> None:
        self._cdp.send("WebAuthn.clearCredentials", {"authenticatorId": self.id})

    @property
    def passkeys(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._cdp.send("WebAuthn.getCredentials", {"authenticatorId": self.id})[
            "credentials"
        ]
        return found


def add_passkey(reader: Reader) -> None:
    with_password(reader)
    reader.open("/user/f2_passkey/add")
    reader.press("Start")
    reader.press("Confirm")
    reader.sees("Keep your recovery codes")


def says(reader: Reader, words: str) -> None:
    from playwright.sync_api import expect

    expect(reader.page.locator("#passkey")).to_contain_text(words)


def press_by_keyboard(reader: Reader) -> None:
    """Reach the button of the form with the tabulator, and press it."""
    for _ in range(10):
        reader.page.keyboard.press("Tab")
        if reader.page.evaluate("document.activeElement.innerText") == "Continue":
            break
    reader.enter()


def test_somebody_adds_a_passkey_and_logs_in_with_it_by_keyboard(chromium: Any, server: Server) -> None:
    reader = Reader(chromium, server, javascript=True)
    device = Device(reader)
    add_passkey(reader)
    (passkey,) = device.passkeys
    assert passkey["rpId"] == "localhost"

    for _ in range(2):
        reader.follow("I have kept them") if "kept" in reader.text() else None
        reader.log_out()
        reader.log_in(ADA, PASSWORD)
        reader.sees("Use your passkey")
        press_by_keyboard(reader)
        reader.sees("Your account")

    assert device.passkeys[0]["signCount"] == passkey["signCount"] + 2
    assert reader.complaints == []
    reader.context.close()


def test_whoever_cancels_is_told_so_and_may_try_again(chromium: Any, server: Server) -> None:
    reader = Reader(chromium, server, javascript=True)
    device = Device(reader)
    add_passkey(reader)
    reader.follow("I have kept them")
    reader.log_out()
    reader.log_in(ADA, PASSWORD)

    device.knows_its_owner(False)
    reader.page.get_by_role("button", name="Continue").click()
    says(reader, "it was cancelled, or took too long")
    reader.sees("Use your passkey")

    device.knows_its_owner(True)
    # The button has the focus again.
    reader.enter()
    reader.sees("Your account")
    assert reader.complaints == []
    reader.context.close()


def test_a_device_that_has_lost_its_passkey_cannot_log_in(chromium: Any, server: Server) -> None:
    reader = Reader(chromium, server, javascript=True)
    device = Device(reader)
    add_passkey(reader)
    reader.follow("I have kept them")
    reader.log_out()
    device.forgets()
    reader.log_in(ADA, PASSWORD)

    reader.page.get_by_role("button", name="Continue").click()

    says(reader, "it was cancelled, or took too long")
    reader.open("/user/view/self")
    reader.sees("Log in")
    reader.context.close()


def test_the_same_device_is_not_added_twice_and_one_is_enough(chromium: Any, server: Server) -> None:
    reader = Reader(chromium, server, javascript=True)
    device = Device(reader)
    with_password(reader)
    reader.open("/user/f2_passkey/add")
    reader.press("Start")
    reader.page.get_by_label("I have another device to add after this one").check()
    reader.press("Confirm")
    assert "Now add the next device" in reader.text()

    reader.page.get_by_role("button", name="Confirm").click()
    says(reader, "has been added already")
    reader.press("No further device")

    reader.sees("Keep your recovery codes")
    assert len(device.passkeys) == 1
    assert reader.complaints == []
    reader.context.close()


def test_without_scripts_the_page_says_so_and_nothing_is_proved(chromium: Any, server: Server) -> None:
    reader = Reader(chromium, server, javascript=True)
    Device(reader)
    add_passkey(reader)
    other = Reader(chromium, server, javascript=False)

    other.log_in(ADA, PASSWORD)
    assert "Passkeys need JavaScript" in other.text()
    other.press("Continue")

    assert "has not used a passkey" in other.text()
    other.follow("Recovery code")
    other.sees("Enter a recovery code")
    assert reader.complaints == other.complaints == []
    reader.context.close()
    other.context.close()


def test_the_pages_of_passkeys_are_for_everybody(chromium: Any, server: Server) -> None:
    reader = Examiner(chromium, server)
    device = Device(reader)
    with_password(reader)
    reader.open("/user/f2_passkey/add")
    reader.examine("passkey, start")
    reader.press("Start")
    reader.examine("passkey, make")
    reader.page.get_by_label("I have another device to add after this one").check()
    reader.press("Confirm")
    reader.examine("passkey, next")
    reader.press("No further device")
    reader.follow("I have kept them")
    reader.log_out()
    reader.log_in(ADA, PASSWORD)
    reader.examine("passkey, login")
    device.knows_its_owner(False)
    reader.page.get_by_role("button", name="Continue").click()
    says(reader, "cancelled")
    reader.examine("passkey, cancelled")
    reader.is_content()
    reader.context.close()


# --- An issuer on another site ----------------------------------------------------------------------------------------


@pytest.fixture
def federated(request: pytest.FixtureRequest) -> Iterator[Server]:
    reason = missing_part()
    require(request, reason is None, reason or "")
    server = house("examples.openid_connect:MyUser")
    back = [f"{server.base_url}/user/auth_openidconnect/{end}" for end in ("login", "add")]
    people = {"ada": {"email": "ada@example.net"}}
    with OpenIdProvider(back, people) as issuer:
        server._more |= issuer.environment()
        with server:
            yield server


def without_the_world(reader: Reader) -> None:
    """Keep the issuer's own pages from the internet, which they want fonts of, and their complaints to themselves."""
    reader.context.route(lambda address: "://127.0.0.1:" not in address and "://localhost:" not in address, _aborted)
    ours = reader.server.base_url

    def complained(message: Any) -> None:
        if message.type in ("error", "warning") and reader.page.url.startswith(ours):
            reader.complaints.append(f"{reader.page.url}: {message.text}")

    reader.page.remove_listener("console", reader._complained)
    reader.page.on("console", complained)


def _aborted(route: Any) -> None:
    route.abort()


def sign_in_there(reader: Reader, login: str) -> None:
    reader.page.get_by_placeholder("Enter any login").fill(login)
    reader.page.get_by_placeholder("and password").fill("not looked at")
    reader.press("Sign-in")
    reader.press("Continue")


def test_somebody_connects_the_account_of_an_issuer_and_logs_in_with_it(chromium: Any, federated: Server) -> None:
    reader = Reader(chromium, federated, javascript=False)
    without_the_world(reader)
    with_password(reader)
    reader.follow("Connect: Your organisation")
    assert reader.page.url.startswith("http://127.0.0.1:")
    sign_in_there(reader, "ada")
    reader.sees("Your account")
    assert "ada@example.net" in reader.text()
    reader.log_out()

    # Signed in there as she still is, she comes straight back, to where she wanted to go.
    reader.open("/user/edit/self")
    reader.sees("Log in")
    reader.follow("Continue with Your organisation")
    assert reader.page.url == f"{federated.base_url}/user/edit/self"
    assert reader.complaints == []
    reader.context.close()


def test_whoever_is_not_known_here_reads_why_and_finds_the_other_ways(chromium: Any, federated: Server) -> None:
    reader = Examiner(chromium, federated)
    without_the_world(reader)
    reader.open("/user/login")
    reader.examine("login with an issuer")
    reader.follow("Continue with Your organisation")
    sign_in_there(reader, "stranger")

    assert "not connected to an account here" in reader.text()
    reader.examine("refused")
    reader.follow("Log in another way")
    reader.sees("Log in")
    reader.is_content()
    reader.context.close()
