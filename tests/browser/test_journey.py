"""What the product is for, from beginning to end: a served instance, a real browser, a person.

Everything works without JavaScript. Every page is without a finding of axe, at the width of a phone and of a desk, in
light and dark, without a scrollbar across, a word on the console or a breach of the content security policy.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from authflow.testing.devices import totp, typed_secret, wrong_code
from tests.parts.server import PATIENCE, Server

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ADMIN = "admin@example.org"
ADA = "ada@example.org"
PASSWORD = "correct horse battery"
NEW_PASSWORD = "a quite different phrase"

OPEN_HOUSE = """
from authflow.user import User
from providers.user_password import UserPassword


class Password(UserPassword):
    registration_enabled = True
    registration_admin_verification_required = False


class OpenHouse(User):
    authentication_providers = (Password,)
    site_name = "Open House"
"""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(environment={"AUTHFLOW_ADMIN": ADMIN}) as server:
        yield server


@pytest.fixture
def open_house() -> Iterator[Server]:
    environment = {"AUTHFLOW_ADMIN": ADMIN, "AUTHFLOW_USER": "open_house:OpenHouse"}
    with Server(environment=environment, modules={"open_house.py": OPEN_HOUSE}) as server:
        yield server


class Reader:
    """Somebody before a browser of their own, who remembers what it complains of."""

    def __init__(self, chromium: Any, server: Server, *, javascript: bool) -> None:
        self.server = server
        self.context = chromium.new_context(locale="en-GB", java_script_enabled=javascript)
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE * 1000)
        self.complaints: list[str] = []
        self.page.on("console", self._complained)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _complained(self, message: Any) -> None:
        # The browser says of each 4xx answer that it is one; of our pages it is meant to be.
        is_status = message.text.startswith("Failed to load resource: the server responded with a status of 4")
        if message.type in ("error", "warning") and not (is_status and message.location["url"] == self.page.url):
            self.complaints.append(f"{self.page.url}: {message.text}")

    def open(self, path: str) -> None:
        self.page.goto(path if "://" in path else self.server.base_url + path)

    def follow(self, name: str) -> None:
        with self.page.expect_navigation():
            self.page.get_by_role("link", name=name, exact=True).click()

    def press(self, name: str) -> None:
        with self.page.expect_navigation():
            self.page.get_by_role("button", name=name, exact=True).click()

    def enter(self) -> None:
        """Send the form by the keyboard."""
        with self.page.expect_navigation():
            self.page.keyboard.press("Enter")

    def fill(self, label: str, value: str) -> None:
        self.page.get_by_label(label, exact=True).fill(value)

    def keys(self, *pressed: str) -> None:
        """Type texts, and press the keys that stand in angle brackets."""
        # The browser gives the focus with the first picture of a page, a little after it was loaded.
        self.page.locator(":focus").wait_for(state="attached")
        for one in pressed:
            if one == "<Enter>":
                self.enter()
            elif one.startswith("<"):
                self.page.keyboard.press(one.strip("<>"))
            else:
                self.page.keyboard.type(one)

    def log_in(self, name: str, password: str) -> None:
        self.open("/user/login")
        self.fill("E-mail address", name)
        self.fill("Password", password)
        self.press("Log in")

    def log_out(self) -> None:
        self.follow("Log out")
        self.press("Log out")
        self.sees("You are logged out")

    def sees(self, title: str) -> None:
        from playwright.sync_api import expect

        expect(self.page.get_by_role("heading", level=1)).to_have_text(title)
        assert title in self.page.title()

    def text(self) -> str:
        return str(self.page.locator("main").inner_text())

    def secret(self) -> bytes:
        """Read the app's key as people do who cannot scan the picture."""
        self.page.get_by_text("Type the key by hand instead").click()
        return typed_secret(self.page.locator("code.secret").inner_text())

    def codes(self) -> list[str]:
        return [str(code) for code in self.page.locator("ol.codes li").all_inner_texts()]


@pytest.fixture
def reader(chromium: Any, server: Server) -> Iterator[Reader]:
    reader = Reader(chromium, server, javascript=False)
    yield reader
    reader.context.close()


# --- Without JavaScript -----------------------------------------------------------------------------------------------


def test_an_admin_sets_up_an_account_loses_the_password_and_is_back(reader: Reader, server: Server) -> None:
    # The link of the terminal.
    reader.open(server.setup_link)
    reader.sees("Choose your password")
    reader.fill("New password", PASSWORD)
    reader.press("Save the password")
    reader.sees("Your password is changed")
    reader.follow("Log in")

    # The first login, by keyboard alone: the cursor stands where it should, and Enter sends.
    reader.sees("Log in")
    reader.keys(ADMIN, "<Tab>", PASSWORD, "<Enter>")
    reader.sees("Your account")
    assert ADMIN in reader.text()

    # An app, and codes for the day it is lost.
    reader.follow("Set up: Authenticator app")
    reader.sees("Set up your authenticator app")
    reader.press("Start")
    assert reader.page.locator("img.qr").evaluate("image => image.naturalWidth") > 100
    secret = reader.secret()
    reader.fill("Code", totp(secret))
    reader.press("Confirm")
    reader.sees("Keep your recovery codes")
    codes = reader.codes()
    assert len(set(codes)) == 10
    reader.follow("I have kept them")
    reader.sees("Your account")
    reader.log_out()

    # Both factors, by keyboard. The code of the step before is spent, so the app's next one.
    reader.follow("Log in again")
    reader.keys(ADMIN, "<Tab>", PASSWORD, "<Enter>")
    reader.sees("Enter the code from your app")
    reader.keys(totp(secret, step=1), "<Enter>")
    reader.sees("Your account")
    reader.log_out()

    # The password is forgotten; the mail brings a code.
    reader.open("/user/login")
    reader.follow("Forgot your password?")
    reader.keys(ADMIN, "<Enter>")
    reader.sees("Check your mail")
    key, link = recovery_mail(server)
    reader.fill("Code from the mail", key)
    reader.press("Continue")
    reader.sees("Choose a new password")
    reader.fill("New password", NEW_PASSWORD)
    reader.press("Save the new password")
    reader.sees("Your password is changed")

    # The old one opens nothing, the link neither, and the second factor is still asked for.
    reader.log_in(ADMIN, PASSWORD)
    assert "Enter the code" not in reader.page.title()
    reader.open(link)
    reader.fill("New password", PASSWORD)
    reader.press("Save the new password")
    reader.sees("Please start again")
    reader.log_in(ADMIN, NEW_PASSWORD)
    reader.sees("Enter the code from your app")
    reader.follow("Recovery code")
    reader.sees("Enter a recovery code")
    reader.keys(codes[3].upper(), "<Enter>")
    reader.sees("Your account")
    assert "9" in renewal_text(reader)
    assert reader.complaints == []


def test_somebody_registers_confirms_the_address_and_logs_in(chromium: Any, open_house: Server) -> None:
    reader = Reader(chromium, open_house, javascript=False)
    reader.open("/user/login")
    reader.follow("Create an account")
    reader.sees("Create an account")
    reader.keys(ADA, "<Tab>", "Ada", "<Tab>", "Lovelace", "<Tab>", PASSWORD, "<Enter>")
    reader.sees("Check your mail")

    reader.log_in(ADA, PASSWORD)
    reader.sees("Log in")

    reader.open(link_in(wait_for(open_house, "/verify?skey="), "/verify?skey="))
    reader.sees("Confirm your address")
    reader.press("Confirm this address")
    reader.sees("Your address is confirmed")
    reader.follow("Log in")
    reader.keys(ADA, "<Tab>", PASSWORD, "<Enter>")
    reader.sees("Your account")
    for word in (ADA, "Ada", "Lovelace"):
        assert word in reader.text()
    reader.follow("Edit your details")
    reader.fill("First name (optional)", "Augusta Ada")
    reader.enter()
    reader.sees("Your account")
    assert "Augusta Ada" in reader.text()
    assert reader.complaints == []
    reader.context.close()


def test_a_form_that_is_sent_without_what_it_needs_says_so(reader: Reader) -> None:
    reader.open("/user/login")
    # As a browser does that knows no `required`.
    reader.page.locator("form").evaluate("form => form.noValidate = true")
    reader.press("Log in")

    assert reader.page.locator("[role=alert]").count() == 1
    assert reader.page.locator("[aria-invalid=true]").count() == 2


# --- Every page -------------------------------------------------------------------------------------------------------


class Examiner(Reader):
    """A reader who looks at each page as a phone, a desk, by day and by night, and with axe."""

    def __init__(self, chromium: Any, server: Server) -> None:
        super().__init__(chromium, server, javascript=True)
        self.seen: list[str] = []
        self.findings: list[str] = []

    def examine(self, what: str) -> None:
        from axe_playwright_python.sync_playwright import Axe

        self.seen.append(what)
        for width in (390, 1280):
            self.page.set_viewport_size({"width": width, "height": 800})
            for scheme in ("light", "dark"):
                self.page.emulate_media(color_scheme=scheme)
                place = f"{what} ({urlsplit(self.page.url).path}) at {width} px, {scheme}"
                across = self.page.evaluate(
                    "document.documentElement.scrollWidth - document.documentElement.clientWidth"
                )
                if across > 0:
                    self.findings.append(f"{place}: scrolls {across} px across")
                result = Axe().run(self.page, options={"resultTypes": ["violations"]}).response
                assert len(result["passes"]) > 10, "axe has looked at nothing"
                for rule in result["violations"]:
                    nodes = "; ".join(str(node["html"])[:120] for node in rule["nodes"][:3])
                    self.findings.append(f"{place}: {rule['id']} ({rule['impact']}): {nodes}")

    def is_content(self) -> None:
        assert self.findings == [], "\n".join(self.findings)
        assert self.complaints == [], "\n".join(self.complaints)


def test_the_pages_of_an_account_are_for_everybody(chromium: Any, server: Server) -> None:
    reader = Examiner(chromium, server)
    reader.open(server.setup_link)
    reader.examine("set-up")
    reader.fill("New password", "password1")
    reader.press("Save the password")
    reader.examine("set-up, refused")
    reader.fill("New password", PASSWORD)
    reader.press("Save the password")
    reader.examine("set-up, done")
    reader.log_in(ADMIN, "not the password")
    reader.examine("login, refused")
    reader.log_in(ADMIN, PASSWORD)
    reader.sees("Your account")
    reader.examine("profile")
    reader.follow("Edit your details")
    reader.examine("edit")
    reader.open("/user/auth_userpassword/change")
    reader.examine("change")
    reader.fill("Current password", "not the password")
    reader.fill("New password", NEW_PASSWORD)
    reader.enter()
    reader.examine("change, refused")
    reader.open("/user/f2_timebasedotp/add")
    reader.examine("enrolment, start")
    reader.press("Start")
    reader.examine("enrolment, confirm")
    secret = reader.secret()
    reader.examine("enrolment, key shown")
    reader.fill("Code", wrong_code(secret))
    reader.press("Confirm")
    reader.examine("enrolment, refused")
    reader.fill("Code", totp(secret))
    reader.press("Confirm")
    reader.examine("recovery codes")
    reader.follow("I have kept them")
    reader.examine("profile with factors")
    reader.open("/user/f2_recoverycode/add")
    reader.examine("recovery codes, renew")
    reader.open("/user/f2_timebasedotp/remove")
    reader.examine("remove")
    reader.open("/user/logout")
    reader.examine("logout")
    reader.press("Log out")
    reader.examine("logged out")
    reader.is_content()


def test_the_pages_on_the_way_in_are_for_everybody(chromium: Any, server: Server) -> None:
    prepared = Reader(chromium, server, javascript=False)
    prepared.open(server.setup_link)
    prepared.fill("New password", PASSWORD)
    prepared.press("Save the password")
    prepared.log_in(ADMIN, PASSWORD)
    prepared.sees("Your account")
    prepared.open("/user/f2_timebasedotp/add")
    prepared.sees("Set up your authenticator app")
    prepared.press("Start")
    secret = prepared.secret()
    prepared.fill("Code", totp(secret))
    prepared.press("Confirm")
    prepared.sees("Keep your recovery codes")

    reader = Examiner(chromium, server)
    reader.open("/user/login")
    reader.examine("login")
    reader.log_in(ADMIN, PASSWORD)
    reader.sees("Enter the code from your app")
    reader.examine("code")
    reader.fill("Code", wrong_code(secret))
    reader.press("Continue")
    reader.examine("code, refused")
    reader.follow("Recovery code")
    reader.examine("recovery code")
    reader.fill("Recovery code", "0000-0000-0000-0000")
    reader.press("Continue")
    reader.examine("recovery code, refused")
    reader.press("Cancel and start again")
    reader.examine("cancelled")
    reader.open("/user/auth_userpassword/pwrecover")
    reader.examine("recovery, name")
    reader.fill("E-mail address", ADMIN)
    reader.press("Send me a code")
    reader.examine("recovery, code")
    reader.open(recovery_mail(server)[1])
    reader.examine("recovery, password")
    reader.fill("New password", "password1")
    reader.press("Save the new password")
    reader.examine("recovery, refused")
    reader.fill("New password", NEW_PASSWORD)
    reader.press("Save the new password")
    reader.examine("recovery, done")
    reader.open("/user/no/such/page")
    reader.examine("error 404")
    reader.open(f"/user/f2_timebasedotp/otp?flow=s.{'x' * 22}.{'y' * 22}")
    reader.examine("error 412")
    reader.is_content()


def test_the_pages_of_registration_are_for_everybody(chromium: Any, open_house: Server) -> None:
    reader = Examiner(chromium, open_house)
    reader.open("/user/auth_userpassword/add")
    reader.examine("registration")
    reader.fill("E-mail address", ADA)
    reader.fill("New password", "password1")
    reader.enter()
    reader.examine("registration, refused")
    reader.fill("New password", PASSWORD)
    reader.enter()
    reader.examine("registration, done")
    link = link_in(wait_for(open_house, "/verify?skey="), "/verify?skey=")
    reader.open("/user/auth_userpassword/resend")
    reader.examine("another mail")
    reader.fill("E-mail address", ADA)
    reader.enter()
    reader.examine("another mail, sent")
    reader.open(link)
    reader.examine("verification")
    reader.press("Confirm this address")
    reader.examine("verification, done")
    reader.open(link)
    reader.press("Confirm this address")
    reader.examine("verification, spent")
    reader.is_content()


# --- Mail -------------------------------------------------------------------------------------------------------------


def recovery_mail(server: Server) -> tuple[str, str]:
    """Return the code and the link of the newest recovery mail."""
    link = link_in(wait_for(server, "recovery_key="), "recovery_key=")
    return link.partition("recovery_key=")[2], link


def wait_for(server: Server, words: str) -> str:
    """Wait for a mail with these words, and return its text."""
    return until(lambda: next((text for text in map(plain, reversed(server.mails())) if words in text), ""))


def plain(mail: Any) -> str:
    return str(mail.get_body(("plain",)).get_content())


def link_in(text: str, words: str) -> str:
    return next(word for word in re.findall(r"http\S+", text) if words in word)


def until(ask: Callable[[], str]) -> str:
    end = time.monotonic() + PATIENCE
    while not (answer := ask()):
        assert time.monotonic() < end, "the mail did not come"
        time.sleep(0.05)
    return answer


def renewal_text(reader: Reader) -> str:
    reader.open("/user/f2_recoverycode/add")
    return reader.text()
