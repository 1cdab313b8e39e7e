"""Cookies: what we set comes back, and everything else is anonymous."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authflow.errors import ContractViolation
from authflow.settings import Settings
from authflow.tokens import Keyring, digest
from authflow.web.cookies import DEVICE_AGE, MAX_DEVICES, CookieJar, DeviceToken, SessionToken

KEYRING = Keyring(["k" * 40])
SECURE = Settings(base_url="https://login.example.org")
LOOPBACK = Settings(base_url="http://127.0.0.1:8000")
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
STAMP = int(NOW.timestamp())
TOKEN = SessionToken("s" * 43, "account-of-ann")

JAR = CookieJar(KEYRING, SECURE)
SESSION = JAR.session_cookie(TOKEN).partition(";")[0]
BROWSER = JAR.browser_cookie("browser-of-ann").partition(";")[0]


def a_device(number: int, issued_at: int = STAMP) -> DeviceToken:
    return DeviceToken(f"device-{number}", f"account-{number}", number, issued_at)


def a_scope(*cookies: str | bytes) -> dict[str, Any]:
    raw = (cookie if isinstance(cookie, bytes) else cookie.encode() for cookie in cookies)
    return {"headers": [(b"host", b"login.example.org"), *((b"cookie", cookie) for cookie in raw)]}


# --- What is set ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings_", "prefix", "secure"), [(SECURE, "__Host-", "; Secure"), (LOOPBACK, "authflow_", "")]
)
def test_names_and_flags_follow_the_base_url(settings_: Settings, prefix: str, secure: str) -> None:
    jar = CookieJar(KEYRING, settings_)
    flags = "; Path=/; HttpOnly; SameSite=Lax" + secure

    session, browser, device = jar.session_cookie(TOKEN), jar.browser_cookie("b"), jar.device_cookie([a_device(1)])

    assert session.startswith(f"{prefix}session=")
    assert session.endswith(flags)
    assert browser.startswith(f"{prefix}browser=")
    assert browser.endswith(flags + "; Max-Age=86400")
    assert device.startswith(f"{prefix}device=")
    assert device.endswith(flags + "; Max-Age=15552000")
    assert jar.clear_session() == f"{prefix}session={flags}; Max-Age=0"


def test_the_secret_of_a_session_is_not_shown() -> None:
    assert TOKEN.secret not in repr(TOKEN)


def test_the_session_id_is_the_digest_of_the_secret() -> None:
    assert TOKEN.session_id == digest(TOKEN.secret)


def test_the_device_cookie_keeps_the_newest_of_each_of_four_accounts() -> None:
    newer = DeviceToken("newer", "account-1", 9, STAMP)
    cookie = JAR.device_cookie([newer, *(a_device(number) for number in range(9))])

    devices = JAR.read(a_scope(cookie.partition(";")[0])).devices(NOW)

    assert devices == (newer, a_device(0), a_device(2), a_device(3))


def test_a_device_cookie_of_no_device_is_removed() -> None:
    assert JAR.device_cookie([]).endswith("; Max-Age=0")


@pytest.mark.parametrize("browser_id", ["x" * 4096, "a;b", "a b", "a\r\nSet-Cookie: b=c", "é", 'a"b', "a,b", "a\\b"])
def test_an_id_that_fits_no_cookie_is_never_sent(browser_id: str) -> None:
    with pytest.raises(ContractViolation):
        JAR.browser_cookie(browser_id)


def test_the_largest_device_cookie_stays_far_below_the_limit_of_browsers() -> None:
    devices = [DeviceToken("d" * 22, f"{number:022}", 999_999, STAMP) for number in range(MAX_DEVICES)]

    assert len(JAR.device_cookie(devices)) < 1024


# --- What is read -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "scope",
    [
        a_scope(SESSION),
        a_scope(f"_ga=GA1.2; {SESSION}; lang=de"),
        a_scope(f"a=1;{SESSION};b=2"),
        a_scope(f"a; =b; ;; {SESSION} \t; \xff=\xfe"),
        a_scope("a=1", SESSION, "b=2"),
        a_scope(SESSION.replace("=", " \t= ", 1)),
    ],
)
def test_the_session_is_found_among_others(scope: dict[str, Any]) -> None:
    assert JAR.read(scope).session == TOKEN


def test_a_session_nobody_is_known_in_yet_is_read() -> None:
    token = SessionToken("s" * 43)

    assert JAR.read(a_scope(JAR.session_cookie(token).partition(";")[0])).session == token


def test_all_three_are_read_from_one_header() -> None:
    device = JAR.device_cookie([a_device(1)]).partition(";")[0]

    cookies = JAR.read(a_scope(f"{BROWSER}; {device}; {SESSION}"))

    assert cookies.session == TOKEN
    assert cookies.browser_id == "browser-of-ann"
    assert cookies.devices(NOW) == (a_device(1),)


def test_a_cookie_of_an_older_key_is_read() -> None:
    rotated = CookieJar(Keyring(["n" * 40, "k" * 40]), SECURE)

    assert rotated.read(a_scope(SESSION, BROWSER)).session == TOKEN
    assert rotated.read(a_scope(SESSION, BROWSER)).browser_id == "browser-of-ann"


def test_a_device_token_ends_after_180_days() -> None:
    cookie = a_scope(JAR.device_cookie([a_device(1)]).partition(";")[0])

    assert JAR.read(cookie).devices(NOW + DEVICE_AGE - timedelta(seconds=1)) == (a_device(1),)
    assert JAR.read(cookie).devices(NOW + DEVICE_AGE) == ()


def test_one_bad_device_token_does_not_spoil_the_others() -> None:
    name, _, value = JAR.device_cookie([a_device(1), a_device(2)]).partition(";")[0].partition("=")
    first, second = value.split("~")

    assert JAR.read(a_scope(f"{name}={first}x~{second}")).devices(NOW) == (a_device(2),)


# --- What is anonymous ------------------------------------------------------------------------------------------------

VALUE = SESSION.partition("=")[2]
FORGED = CookieJar(Keyring(["x" * 40]), SECURE)

ANONYMOUS: dict[str, tuple[str | bytes, ...]] = {
    "none": (),
    "empty": ("__Host-session=",),
    "no_value": ("__Host-session",),
    "garbage": ("__Host-session=garbage",),
    "doubled": (f"{SESSION}; {SESSION}",),
    "doubled_in_two_headers": (SESSION, SESSION),
    "tripled": (f"{SESSION}; __Host-session=a; {SESSION}",),
    "cut": (SESSION[:-5],),
    "other_text": (SESSION.replace("account-of-ann", "account-of-eve"),),
    "other_key": (FORGED.session_cookie(TOKEN).partition(";")[0],),
    "other_purpose": ("__Host-session=" + BROWSER.partition("=")[2],),
    "quoted": (f'__Host-session="{VALUE}"',),
    "other_case": (f"__host-session={VALUE}",),
    "without_prefix": (f"session={VALUE}",),
    "loopback_name": (f"authflow_session={VALUE}",),
    "nameless": (f"=__Host-session={VALUE}",),
    "blank_that_some_strip": (f"\xa0__Host-session={VALUE}", f"\u2000__Host-session={VALUE}"),
    "legacy_version": (f"$Version=1, __Host-session={VALUE}",),
    "within_another": (f"a=b,__Host-session={VALUE}",),
    "huge_value": ("__Host-session=" + "a" * 100_000,),
    "long_value": ("__Host-session=" + VALUE + "a" * 5000,),
    "huge_header": (f"a={'b' * 20_000}; {SESSION}",),
    "semicolons": (";" * 16_000,),
    "not_ascii": (b"__Host-session=\xff\xfe\x00",),
    "nul": (b"__Host-session=\x00" + VALUE.encode(),),
}


@pytest.mark.parametrize("cookies", ANONYMOUS.values(), ids=ANONYMOUS)
def test_a_bad_session_cookie_is_anonymous(cookies: tuple[str | bytes, ...]) -> None:
    assert JAR.read(a_scope(*cookies)).session is None


def test_a_doubled_browser_or_device_cookie_is_absent() -> None:
    device = JAR.device_cookie([a_device(1)]).partition(";")[0]

    cookies = JAR.read(a_scope(f"{BROWSER}; {BROWSER}; {device}; {device}; {SESSION}"))

    assert cookies.browser_id is None
    assert cookies.devices(NOW) == ()
    assert cookies.session == TOKEN


PIECES = st.sampled_from(
    [SESSION, BROWSER, VALUE, "__Host-session", "__Host-device", "=", ";", " ", "~", ".", '"', "\xff", "\x00", ",", "a"]
)


@given(st.lists(PIECES | st.text(st.characters(max_codepoint=255), max_size=5), max_size=12).map("".join))
@settings(deadline=None, max_examples=300)
def test_no_cookie_header_is_an_error(header: str) -> None:
    cookies = JAR.read(a_scope(header.encode("latin-1")))

    assert cookies.session in {None, TOKEN}
    assert cookies.browser_id in {None, "browser-of-ann"}
    assert cookies.devices(NOW) == ()


@given(st.text(st.characters(categories=("L", "N"), max_codepoint=127), min_size=1), st.text(max_size=30))
@settings(deadline=None)
def test_signed_texts_of_another_shape_are_no_device_token(head: str, rest: str) -> None:
    signed = KEYRING.signer("device").sign(f"{head}.{rest}".encode("utf-8", "replace").decode())

    assert all(isinstance(device, DeviceToken) for device in JAR.read_devices(signed, NOW))
