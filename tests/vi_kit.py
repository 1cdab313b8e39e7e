"""A tool of ViUR, talking to `/vi`: what its tests share."""

from __future__ import annotations

from authflow.testing import ADA, PASSWORD, Page, Person, Site, make_site
from authflow.user import User
from providers.time_based_otp import TimeBasedOTP
from providers.user_password import UserPassword

BOB = "bob@example.org"
NEW = "another long password"
LOGIN = "/vi/user/auth_userpassword/login"
RECOVER = "/vi/user/auth_userpassword/pwrecover"
OTP = "/vi/user/f2_timebasedotp/otp"
START = "/vi/user/f2_timebasedotp/start"
HARDWARE = "ab" * 20
ENVELOPE = {"action", "values", "structure", "errors", "next_url", "params"}


class HardwareOTP(TimeBasedOTP):
    name = "hardware_otp"
    label = "Hardware token"
    path = "f2_hardwareotp"
    method_name = "X-Test-Hardware-OTP"


class TwoFactors(User):
    """Offers two second factors that an account may have side by side."""

    second_factor_providers = (TimeBasedOTP, HardwareOTP, "providers.recovery_codes:RecoveryCodes")
    valid_authentication_methods = (
        ("user_password", "hardware_otp"),
        ("user_password", "time_based_otp"),
        ("user_password", None),
    )


class Registering(UserPassword):
    registration_enabled = True


class Open(User):
    authentication_providers = (Registering,)


class Old(User):
    vi_dialect = "3.3"


async def site_with_two_factors(user: User | None = None) -> Site:
    """Make a site whose one account has both factors."""
    site = await make_site(user or TwoFactors())
    account = await site.account_with_totp()
    token = HardwareOTP().new_hardware_token(account.id, serial="2", secret_hex=HARDWARE, now=site.clock(), interval=30)
    await site.kit.enrolled(account, token)
    return site


async def post(person: Person, path: str, **values: str) -> Page:
    """Send a secure request: with an skey of its own."""
    return await person.post(path, {"skey": await person.skey("/vi"), **values})


async def log_in(person: Person, name: str = ADA, password: str = PASSWORD, *, path: str = LOGIN) -> Page:
    return await post(person, path, name=name, password=password)


def action_of(page: Page) -> str:
    """Return what an answer says, after checking that it is the envelope of ViUR 3.9 with status 200."""
    assert page.status == 200, page.text
    assert page.header("content-type") == "application/json"
    assert set(page.json) - {"code"} == ENVELOPE
    assert isinstance(page.json["structure"], dict)
    assert isinstance(page.json["errors"], list)
    return page.json["action"]
