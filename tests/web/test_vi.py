"""The renderer of `/vi`: the envelope of ViUR 3.8 and 3.9, as its tools read it."""

from __future__ import annotations

from authflow.user import User
from providers.time_based_otp import TimeBasedOTP
from tests.engine_kit import PASSWORD
from tests.web_kit import ADA, Page, Person, Site, make_site

BOB = "bob@example.org"
NEW = "another long password"
LOGIN = "/vi/user/auth_userpassword/login"
OTP = "/vi/user/f2_timebasedotp/otp"
START = "/vi/user/f2_timebasedotp/start"
ENVELOPE = {"action", "values", "structure", "errors", "next_url", "params"}


class HardwareOTP(TimeBasedOTP):
    name = "hardware_otp"
    label = "Hardware token"
    path = "f2_hardwareotp"
    method_name = "X-Test-Hardware-OTP"


class TwoFactors(User):
    second_factor_providers = (TimeBasedOTP, HardwareOTP, "providers.recovery_codes:RecoveryCodes")
    valid_authentication_methods = (
        ("user_password", "hardware_otp"),
        ("user_password", "time_based_otp"),
        ("user_password", None),
    )


async def post(person: Person, path: str, **values: str) -> Page:
    return await person.post(path, {"skey": await person.skey("/vi"), **values})


async def log_in(person: Person, name: str = ADA, password: str = PASSWORD, *, query: str = "") -> Page:
    return await post(person, LOGIN + query, name=name, password=password)


def action_of(page: Page) -> str:
    """Return what an answer says, after checking that it is ViUR's envelope with status 200."""
    assert page.status == 200, page.text
    assert page.header("content-type") == "application/json"
    assert set(page.json) - {"code"} == ENVELOPE
    assert isinstance(page.json["structure"], dict)
    return page.json["action"]


async def test_a_right_password_is_a_success_with_the_own_entry() -> None:
    site = await make_site()
    account = await site.account()
    person = site.person()

    page = await log_in(person)
    entry = await person.get("/vi/user/view/self")

    assert action_of(page) == "login_success"
    assert page.json["values"]["key"] == account.id
    assert page.json["values"] == entry.json["values"]
    assert page.json["structure"] == entry.json["structure"]
    assert page.json["next_url"] is None
