"""The login screen that ViUR's admin has today (npm: `@viur/vue-utils` 3.3.1), unchanged, in a real browser.

Where there is one way to log in the screen shows that form at once; of several it shows each with a part of its own.
These are two programs in one, which read the same answers differently.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from authflow.testing import GoogleIssuer
from authflow.testing.devices import totp, wrong_code
from authflow.testing.google_people import CLIENT_ID
from tests.clients.house import PASSWORD, SECRET, House, open_house
from tests.clients.login_screen import LoginScreen
from tests.parts import vue_login

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.usefixtures("vue_page")]

HOUSES = """
import os

from authflow.user import User
from providers.google_account import GoogleAccount
from providers.time_based_otp import TimeBasedOTP


class Google(GoogleAccount):
    certs_url = os.environ["TEST_CERTS_URL"]
    registration_enabled = True
    google_nonce_required = False


class AuthenticatorOTP(TimeBasedOTP):
    name = "authenticator_otp"
    label = "Another app"
    path = "f2_authenticatorotp"
    method_name = "X-VIUR-2FACTOR-AuthenticatorOTP"


class OneWay(User):
    second_factor_providers = (
        "providers.time_based_otp:TimeBasedOTP", AuthenticatorOTP, "providers.recovery_codes:RecoveryCodes"
    )
    valid_authentication_methods = (
        ("user_password", "time_based_otp"), ("user_password", "authenticator_otp"), ("user_password", None),
        ("google_account", None),
    )


class ManyWays(OneWay):
    authentication_providers = ("providers.user_password:UserPassword", Google)


class OldTongue(User):
    vi_dialect = "3.3"
"""
PAGES = {vue_login.PREFIX: vue_login.PAGE}

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def issuer() -> Iterator[GoogleIssuer]:
    with GoogleIssuer() as issuer:
        yield issuer


def house_of(issuer: GoogleIssuer, user: str) -> Any:
    environment = {
        "AUTHFLOW_USER": f"houses:{user}",
        "AUTHFLOW_GOOGLE_CLIENT_ID": CLIENT_ID,
        "TEST_CERTS_URL": issuer.certs_url,
    }
    return open_house(pages=PAGES, environment=environment, modules={"houses.py": HOUSES})


@pytest.fixture(scope="module")
def one_way(issuer: GoogleIssuer) -> Iterator[House]:
    """Google is there for people and, as it comes, left out for tools."""
    with house_of(issuer, "OneWay") as house:
        yield house


@pytest.fixture(scope="module")
def many_ways(issuer: GoogleIssuer) -> Iterator[House]:
    with house_of(issuer, "ManyWays") as house:
        yield house


@pytest.fixture(params=["one_way", "many_ways"])
def either_house(request: pytest.FixtureRequest) -> House:
    house: House = request.getfixturevalue(request.param)
    return house


def new_name() -> str:
    return f"person{next(_numbers)}@example.org"


# --- In and out -------------------------------------------------------------------------------------------------------


def test_somebody_logs_in_and_out_and_in_again(chromium: Any, either_house: House) -> None:
    name = new_name()
    either_house.add_person(name)

    with LoginScreen(chromium, either_house) as screen:
        screen.send(name)
        screen.is_in_as(name)
        screen.press("Log out")
        screen.send(name)
        screen.is_in_as(name)


def test_who_comes_back_is_logged_in_still_and_after_the_log_out_is_not(chromium: Any, either_house: House) -> None:
    name = new_name()
    either_house.add_person(name)

    with LoginScreen(chromium, either_house) as screen:
        screen.send(name)
        screen.is_in_as(name)
        screen.open()
        screen.is_in_as(name)
        screen.press("Log out")
        screen.page.get_by_role("button", name="Sign in", exact=True).wait_for()
        screen.open()
        screen.page.get_by_role("button", name="Sign in", exact=True).wait_for()


def test_a_wrong_password_is_refused_and_the_right_one_taken_after_it(chromium: Any, either_house: House) -> None:
    name = new_name()
    either_house.add_person(name)

    with LoginScreen(chromium, either_house) as screen:
        screen.send(name, "a wrong password")
        screen.sees("That did not match. Please check what you typed and try again.")
        screen.send(name)
        screen.is_in_as(name)


@pytest.mark.parametrize(
    ("user", "told"), [("OneWay", "That did not work."), ("ManyWays", "Incorrect username or password.")]
)
def test_who_has_tried_too_often_is_kept_out(chromium: Any, issuer: GoogleIssuer, user: str, told: str) -> None:
    # A house of their own: whoever guesses makes neighbours wait.
    with house_of(issuer, user) as house:
        house.add_person("ada@example.org")
        with httpx.Client(base_url=house.url) as guesser:
            sent = {"name": "ada@example.org", "password": "a guess", "skey": guesser.get("/json/skey").json()}
            statuses = [guesser.post("/json/user/auth_userpassword/login", data=sent).status_code for _ in range(20)]

        with LoginScreen(chromium, house) as screen:
            screen.send("ada@example.org")
            screen.page.locator("sl-alert[open]").filter(has_text=told).wait_for()

        assert (statuses[0], statuses[-1]) == (200, 429)
        assert house.front.asked[-1].status == 429


# --- Second factors ---------------------------------------------------------------------------------------------------


def test_a_second_factor_is_asked_for(chromium: Any, either_house: House) -> None:
    name = new_name()
    either_house.add_person(name, with_totp=True)

    with LoginScreen(chromium, either_house) as screen:
        screen.send(name)
        screen.fill("otptoken", wrong_code(SECRET))
        screen.press("Sign in")
        screen.sees("That code is not right. Please enter the code that is shown now.")
        screen.fill("otptoken", totp(SECRET))
        screen.press("Sign in")
        screen.is_in_as(name)


def test_of_two_factors_one_is_chosen_on_a_screen_with_many_ways(chromium: Any, many_ways: House) -> None:
    name = new_name()
    many_ways.add_person(name, with_totp=True)
    secret = many_ways.enrol(name, "f2_authenticatorotp")

    with LoginScreen(chromium, many_ways) as screen:
        screen.send(name)
        screen.press("Another app")
        screen.fill("otptoken", wrong_code(secret))
        screen.press("Verify")
        screen.sees("The code was invalid.")
        screen.fill("otptoken", totp(secret, step=1))
        screen.press("Verify")
        screen.is_in_as(name)


def test_of_two_factors_one_is_chosen_on_a_screen_with_one_way(chromium: Any, one_way: House) -> None:
    name = new_name()
    one_way.add_person(name, with_totp=True)
    secret = one_way.enrol(name, "f2_authenticatorotp")

    with LoginScreen(chromium, one_way) as screen:
        screen.send(name)
        screen.choose("Another app")
        screen.press("Sign in")
        screen.fill("otptoken", wrong_code(secret))
        screen.press("Sign in")
        screen.sees("That code is not right. Please enter the code that is shown now.")
        screen.fill("otptoken", totp(secret, step=1))
        screen.press("Sign in")
        screen.is_in_as(name)


def test_nobody_is_in_before_the_second_factor(chromium: Any, either_house: House) -> None:
    name = new_name()
    either_house.add_person(name, with_totp=True)

    with LoginScreen(chromium, either_house) as screen:
        screen.send(name)
        screen.field("otptoken").wait_for()
        profile = screen.page.request.get(f"{either_house.url}/vi/user/view/self")
        screen.open()
        screen.field("password").wait_for()

    assert profile.status == 401


# --- Recovery ---------------------------------------------------------------------------------------------------------


def test_a_forgotten_password_is_set_anew(chromium: Any, one_way: House) -> None:
    name = new_name()
    one_way.add_person(name)
    mails = len(one_way.server.mails())

    with LoginScreen(chromium, one_way) as screen:
        screen.open("?recover")
        screen.field("password").wait_for()
        screen.press("Reset my password")
        screen.field("password").wait_for(state="detached")
        screen.fill("name", name)
        screen.press("Reset password")
        screen.field("recovery_key").wait_for()
        text = one_way.server.wait_for_mail(count=mails + 1).get_body().get_content()
        key = re.search(r"recovery_key=([\w.-]+)", text)
        assert key is not None, text
        screen.fill("recovery_key", key[1])
        screen.press("Reset password")
        screen.fill("password", "a quite different phrase")
        screen.press("Reset password")
        screen.page.get_by_role("button", name="Sign in", exact=True).wait_for()
        screen.send(name, "a quite different phrase")
        screen.is_in_as(name)


# --- Google -----------------------------------------------------------------------------------------------------------


def test_google_is_left_out_unless_it_is_allowed_for_tools(chromium: Any, one_way: House, many_ways: House) -> None:
    with LoginScreen(chromium, one_way) as screen:
        screen.page.get_by_role("button", name="Sign in", exact=True).wait_for()
        assert screen.page.get_by_role("button", name="Sign in with Google").count() == 0

    with LoginScreen(chromium, many_ways) as screen:
        screen.page.get_by_role("button", name="Sign in with Google").wait_for()


def test_somebody_logs_in_with_google_where_it_is_allowed(
    chromium: Any, many_ways: House, issuer: GoogleIssuer
) -> None:
    token = issuer.id_token(aud=CLIENT_ID, azp=CLIENT_ID, sub="11", email="grace@gmail.com", email_verified=True)

    with LoginScreen(chromium, many_ways, google_confirms=token) as screen:
        screen.press("Sign in with Google")
        screen.is_in_as("grace@gmail.com")


# --- The older screen -------------------------------------------------------------------------------------------------


def test_the_screen_of_old_logs_in_where_vi_speaks_as_it_did_then(chromium: Any, issuer: GoogleIssuer) -> None:
    with house_of(issuer, "OldTongue") as house:
        house.add_person("ada@example.org")

        with LoginScreen(chromium, house) as screen:
            screen.fill("username", "ada@example.org")
            screen.fill("current-password", "a wrong password")
            screen.press("Sign in")
            screen.sees("Benutzername oder Passwort falsch!")
            screen.fill("current-password", PASSWORD)
            screen.press("Sign in")
            screen.sees("Logged in")
            assert screen.page.locator("#name").inner_text() == "ada@example.org"


# --- What goes over the wire ------------------------------------------------------------------------------------------


def test_no_secret_stands_in_an_address(chromium: Any, either_house: House) -> None:
    name = new_name()
    either_house.add_person(name, with_totp=True)
    before = len(either_house.front.asked)

    with LoginScreen(chromium, either_house) as screen:
        screen.send(name)
        screen.fill("otptoken", totp(SECRET))
        screen.press("Sign in")
        screen.is_in_as(name)
        screen.press("Log out")
        screen.page.get_by_role("button", name="Sign in", exact=True).wait_for()

    asked = either_house.front.asked[before:]
    assert [one.line for one in asked].count("POST /vi/user/logout") == 1
    assert {name for one in asked for name in one.query} <= {"amount"}
    assert all("skey" in one.fields for one in asked if one.method == "POST")
