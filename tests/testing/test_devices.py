"""Devices show what the standards say, by clocks of their own."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest

from authflow.testing import START, Authenticator, ButtonToken, Clock, Site, make_site
from authflow.testing.devices import totp, typed_secret, wrong_code

RFC_4226 = b"12345678901234567890"
RFC_4226_CODES = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]
# RFC 6238, appendix B: the secret is as long as the digest.
RFC_6238 = {"SHA1": RFC_4226, "SHA256": (RFC_4226 * 2)[:32], "SHA512": (RFC_4226 * 4)[:64]}
RFC_6238_CODES = [
    (59, "94287082", "SHA1"),
    (59, "46119246", "SHA256"),
    (59, "90693936", "SHA512"),
    (1111111109, "07081804", "SHA1"),
    (1111111111, "67062674", "SHA256"),
    (1234567890, "93441116", "SHA512"),
    (20000000000, "65353130", "SHA1"),
    (20000000000, "77737706", "SHA256"),
    (20000000000, "47863826", "SHA512"),
]


def test_a_button_token_shows_the_codes_of_rfc_4226() -> None:
    token = ButtonToken(RFC_4226)

    assert [token.press() for _ in RFC_4226_CODES] == RFC_4226_CODES


def test_presses_that_nobody_typed_put_a_button_token_ahead() -> None:
    assert ButtonToken(RFC_4226).press(5) == RFC_4226_CODES[4]


@pytest.mark.parametrize(("seconds", "code", "algorithm"), RFC_6238_CODES)
def test_an_authenticator_shows_the_codes_of_rfc_6238(seconds: int, code: str, algorithm: str) -> None:
    clock = Clock(datetime.fromtimestamp(seconds, UTC))

    device = Authenticator(RFC_6238[algorithm], clock, digits=8, algorithm=algorithm)

    assert device.code() == code


def test_an_ordinary_app_shows_the_last_six_of_these_digits() -> None:
    assert totp(RFC_4226, 59) == "287082"
    assert totp(RFC_4226, 29, step=1) == "287082"


def test_a_code_changes_with_its_step_and_not_before() -> None:
    clock = Clock()
    device = Authenticator(RFC_4226, clock)
    first = device.code()

    clock.pass_by(timedelta(seconds=29))
    assert device.code() == first
    clock.pass_by(timedelta(seconds=1))

    assert device.code() == device.code(-1 + 1) != first
    assert device.code(-1) == first


def test_a_drifting_clock_goes_further_wrong_each_day_until_it_is_set() -> None:
    clock = Clock()
    device = Authenticator(RFC_4226, clock, is_fast_by=timedelta(seconds=-5), drift_per_day=timedelta(seconds=2))
    assert device.now - clock() == timedelta(seconds=-5)

    clock.pass_by(timedelta(days=30))
    assert device.now - clock() == timedelta(seconds=55)
    device.resync()
    assert device.now == clock()
    clock.pass_by(timedelta(days=1))

    assert device.now - clock() == timedelta(seconds=2)


def test_a_wrong_code_is_none_of_those_around() -> None:
    device = Authenticator(RFC_4226, Clock())

    assert device.wrong_code() not in {device.code(step) for step in range(-25, 26)}
    assert wrong_code(RFC_4226, 1111111109) not in {totp(RFC_4226, 1111111109, step=step) for step in range(-15, 16)}


def test_a_device_keeps_its_secret_out_of_its_repr() -> None:
    shown = repr(Authenticator(b"canary-canary-canary", Clock())) + repr(ButtonToken(b"canary-canary-canary"))

    assert "canary" not in shown


def test_a_scanned_address_says_all_about_the_device() -> None:
    secret = base64.b32encode(RFC_6238["SHA256"]).decode().rstrip("=")
    uri = f"otpauth://totp/Site:ada?secret={secret}&issuer=Site&algorithm=SHA256&digits=8&period=60"

    device = Authenticator.scanned(uri, Clock())

    assert (device.secret, device.interval, device.digits, device.algorithm) == (RFC_6238["SHA256"], 60, 8, "SHA256")


@pytest.mark.parametrize("uri", ["otpauth://hotp/x?secret=AAAA", "https://totp/x?secret=AAAA", ""])
def test_another_address_is_no_authenticators(uri: str) -> None:
    with pytest.raises(ValueError, match="otpauth"):
        Authenticator.scanned(uri, Clock())


def test_a_typed_key_may_have_spaces_and_small_letters() -> None:
    assert typed_secret("gezd gnbv gy3t qojq gezd gnbv gy3t qojq ") == RFC_4226


@pytest.fixture
async def site() -> Site:
    return await make_site()


async def test_an_app_is_set_up_from_the_page_and_lets_its_owner_in(site: Site) -> None:
    await site.account()
    ada = await site.logged_in()
    await ada.open("/user/f2_timebasedotp/add")
    page = await ada.press("Start")
    ada.device = Authenticator.scanned(page.link("Open the app on this device instead"), site.clock)
    await ada.press("Confirm", {"Code": ada.device.code()})
    phone = ada.elsewhere()
    site.clock.pass_by(timedelta(seconds=30))

    await phone.log_in()
    assert not await phone.is_logged_in()
    done = await phone.type_code()

    assert done.status == 303
    assert await phone.is_logged_in()


async def logs_in(site: Site, drift: timedelta, days: int) -> list[bool]:
    """Log in once a day with a token whose clock goes wrong."""
    site.clock.now = START
    await site.account_with_totp()
    ada = site.person(device=site.device())
    ada.device.drift_per_day = drift
    done = []
    for _ in range(days):
        site.clock.pass_by(timedelta(days=1))
        browser = ada.elsewhere()
        await browser.log_in()
        await browser.type_code()
        done.append(await browser.is_logged_in())
    return done


async def test_a_slowly_drifting_device_is_followed(site: Site) -> None:
    assert all(await logs_in(site, timedelta(seconds=2), days=60))


async def test_a_device_that_runs_away_is_not_let_in_for_ever(site: Site) -> None:
    assert not all(await logs_in(site, timedelta(seconds=45), days=10))
