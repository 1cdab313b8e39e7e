"""Anti-forgery: an skey is good for its own browser and its own time; another site's request is none of ours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authflow.settings import Settings
from authflow.tokens import Keyring
from authflow.web.cookies import BROWSER_AGE, CookieJar, SessionToken
from authflow.web.csrf import SkeyIssuer, binding_of, max_age_of, origin_is_ours, static_key_claim

KEYRING = Keyring(["k" * 40])
ISSUER = SkeyIssuer(KEYRING)
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SETTINGS = Settings(base_url="https://login.example.org")
BINDING = "session:" + "a" * 64
SKEY = ISSUER.issue(BINDING, NOW)
SECOND = timedelta(seconds=1)


def test_an_skey_is_good_many_times_for_its_binding() -> None:
    assert all(ISSUER.check(SKEY, BINDING, NOW + timedelta(days=day), max_age=None) for day in range(3))


def test_each_skey_is_another() -> None:
    assert len({ISSUER.issue(BINDING, NOW) for _ in range(100)}) == 100


def test_an_skey_is_plain_text_for_forms_and_headers() -> None:
    assert len(SKEY) < 80
    assert set(SKEY) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")


@pytest.mark.parametrize("binding", ["session:" + "b" * 64, "browser:" + "a" * 64, "", BINDING + "a", BINDING[:-1]])
def test_an_skey_is_nothing_to_another_browser(binding: str) -> None:
    assert not ISSUER.check(SKEY, binding, NOW, max_age=None)


def test_an_skey_of_before_the_login_is_nothing_after_it() -> None:
    skey = ISSUER.issue("browser:ann", NOW)

    assert not ISSUER.check(skey, BINDING, NOW, max_age=None)


def test_an_skey_ends_with_its_age() -> None:
    age = timedelta(hours=24)

    assert ISSUER.check(SKEY, BINDING, NOW + age, max_age=age)
    assert not ISSUER.check(SKEY, BINDING, NOW + age + SECOND, max_age=age)


def test_an_skey_from_a_far_future_is_refused_where_age_counts() -> None:
    assert ISSUER.check(SKEY, BINDING, NOW - timedelta(minutes=1), max_age=BROWSER_AGE)
    assert not ISSUER.check(SKEY, BINDING, NOW - BROWSER_AGE - SECOND, max_age=BROWSER_AGE)


def test_an_skey_of_an_older_key_is_good_and_one_of_a_dropped_key_is_not() -> None:
    assert SkeyIssuer(Keyring(["n" * 40, "k" * 40])).check(SKEY, BINDING, NOW, max_age=None)
    assert not SkeyIssuer(Keyring(["n" * 40])).check(SKEY, BINDING, NOW, max_age=None)


HEAD, RANDOM, MAC = SKEY.split(".")

GARBAGE = {
    "empty": "",
    "dots": "..",
    "no_mac": f"{HEAD}.{RANDOM}",
    "empty_mac": f"{HEAD}.{RANDOM}.",
    "later": f"zzzzzz.{RANDOM}.{MAC}",
    "other_random": f"{HEAD}.AAAAAAAAAAA.{MAC}",
    "padded": SKEY + "=",
    "blank": SKEY + " ",
    "upper": f"{HEAD.upper()}.{RANDOM}.{MAC}",
    "twice": SKEY + "." + SKEY,
    "not_ascii": SKEY[:-1] + "é",
    "surrogate": SKEY[:-1] + "\ud800",
    "nul": SKEY + "\0",
    "huge": "a" * 100_000,
    "marker": "STATIC_SESSION_KEY",
}


@pytest.mark.parametrize("skey", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_no_skey(skey: str) -> None:
    assert not ISSUER.check(skey, BINDING, NOW, max_age=None)


def test_no_change_of_one_character_is_an_skey() -> None:
    for place in range(len(SKEY)):
        other = "A" if SKEY[place] != "A" else "B"
        assert not ISSUER.check(SKEY[:place] + other + SKEY[place + 1 :], BINDING, NOW, max_age=None)


@given(st.text())
@settings(deadline=None)
def test_no_text_is_an_error(text: str) -> None:
    assert not ISSUER.check(text, BINDING, NOW, max_age=BROWSER_AGE)
    assert not ISSUER.check(SKEY, text, NOW, max_age=BROWSER_AGE)


# --- The binding ------------------------------------------------------------------------------------------------------


def test_a_browser_is_bound_by_its_session_before_its_browser_cookie() -> None:
    jar = CookieJar(KEYRING, SETTINGS)
    token = SessionToken("s" * 43, "ann")
    session = jar.session_cookie(token).partition(";")[0].encode()
    browser = jar.browser_cookie("browser-of-ann").partition(";")[0].encode()

    assert binding_of(jar.read({"headers": []})) is None
    assert binding_of(jar.read({"headers": [(b"cookie", browser)]})) == "browser:browser-of-ann"
    assert binding_of(jar.read({"headers": [(b"cookie", session + b"; " + browser)]})) == f"session:{token.session_id}"


def test_only_a_browser_binding_has_an_age() -> None:
    assert max_age_of("browser:x") == timedelta(hours=24)
    assert max_age_of("session:x") is None


# --- The static key ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [b"sec-x-viur-staticskey", b"sec-x-viur-staticsessionkey"])
@pytest.mark.parametrize(
    "marker",
    [
        "staticSessionKey",
        "STATIC_SESSION_KEY",
        "Sec-X-ViUR-StaticSKey",
        "Sec-X-ViUR-StaticSessionKey",
        "sec-x-viur-staticsessionkey",
    ],
)
def test_a_static_key_is_claimed_by_header_and_marker(name: bytes, marker: str) -> None:
    assert static_key_claim({"headers": [(b"a", b"b"), (name, b"secret")]}, marker) == "secret"


@pytest.mark.parametrize(
    ("headers", "skey"),
    [
        ([], "STATIC_SESSION_KEY"),
        ([(b"sec-x-viur-staticskey", b"secret")], ""),
        ([(b"sec-x-viur-staticskey", b"secret")], "secret"),
        ([(b"sec-x-viur-staticskey", b"secret")], "tb7yo0.FzHiyHyzy9Q.wwcnwotq0zo"),
        ([(b"sec-x-viur-staticskey", b"")], "staticSessionKey"),
        ([(b"sec-x-viur-staticskey", b"\xff")], "staticSessionKey"),
        ([(b"sec-x-viur-staticskey", b"a" * 5000)], "staticSessionKey"),
        ([(b"sec-x-viur-staticskey", b"a"), (b"sec-x-viur-staticskey", b"a")], "staticSessionKey"),
        ([(b"sec-x-viur-staticskey", b"a"), (b"sec-x-viur-staticsessionkey", b"b")], "staticSessionKey"),
        ([(b"sec_x_viur_staticskey", b"secret")], "staticSessionKey"),
    ],
)
def test_half_a_claim_is_none(headers: list[tuple[bytes, bytes]], skey: str) -> None:
    assert static_key_claim({"headers": headers}, skey) is None


# --- The origin -------------------------------------------------------------------------------------------------------


def from_page(origin: str | None, site: str | None, base_url: str = SETTINGS.base_url) -> bool:
    headers = {b"origin": origin, b"sec-fetch-site": site}
    raw = [(name, value.encode("latin-1")) for name, value in headers.items() if value is not None]
    scope: dict[str, Any] = {"headers": [(b"host", b"login.example.org"), *raw]}
    return origin_is_ours(scope, Settings(base_url=base_url))


@pytest.mark.parametrize(
    ("origin", "site"),
    [
        (None, None),
        (None, "same-origin"),
        (None, "none"),
        ("https://login.example.org", None),
        ("https://login.example.org", "same-origin"),
        # What Chromium sends with a form of a page whose referrer policy is `no-referrer`.
        ("null", "same-origin"),
    ],
)
def test_our_own_pages_and_programs_pass(origin: str | None, site: str | None) -> None:
    assert from_page(origin, site)


@pytest.mark.parametrize(
    ("origin", "site"),
    [
        (None, "cross-site"),
        (None, "same-site"),
        (None, "unheard-of"),
        (None, ""),
        ("https://login.example.org", "cross-site"),
        ("https://login.example.org", "same-origin, same-origin"),
        ("null", None),
        ("null", "none"),
        ("null", "cross-site"),
        ("", None),
        ("https://evil.example", None),
        ("https://evil.example", "same-origin"),
        ("http://login.example.org", None),
        ("https://login.example.org:8443", None),
        ("https://login.example.org.evil.example", None),
        ("https://login.example.org@evil.example", None),
        ("https://login.example.org/", None),
        ("https://LOGIN.example.org", None),
        ("https://sibling.example.org", "same-site"),
        ("http://localhost", "same-origin"),
        ("http://[", "same-origin"),
        ("http://[::1]:99999", "same-origin"),
        ("\xff\xfe", "same-origin"),
        ("a" * 100_000, "same-origin"),
    ],
)
def test_every_other_origin_is_refused(origin: str | None, site: str | None) -> None:
    assert not from_page(origin, site)


def test_several_origins_are_none_of_ours() -> None:
    origin = (b"origin", b"https://login.example.org")

    assert not origin_is_ours({"headers": [origin, origin]}, SETTINGS)


@pytest.mark.parametrize(
    ("base_url", "origin"),
    [
        ("https://Login.Example.ORG", "https://login.example.org"),
        ("https://login.example.org:443", "https://login.example.org"),
        ("https://login.example.org:8443", "https://login.example.org:8443"),
        ("http://127.0.0.1:80", "http://127.0.0.1"),
        ("http://[::1]:8000", "http://[::1]:8000"),
    ],
)
def test_the_base_url_is_compared_as_a_browser_writes_it(base_url: str, origin: str) -> None:
    assert from_page(origin, None, base_url)


@pytest.mark.parametrize(
    ("origin", "site", "passes"),
    [
        ("http://localhost:8000", "same-origin", True),
        ("http://[::1]:8000", "same-origin", True),
        ("http://localhost:8000", "cross-site", False),
        ("http://localhost:8000", None, False),
        ("http://localhost:9000", "same-origin", False),
        ("https://localhost:8000", "same-origin", False),
        # A name of the attacker's that leads to this machine (DNS rebinding).
        ("http://rebound.example:8000", "same-origin", False),
    ],
)
def test_a_loopback_server_is_reached_by_its_other_names(origin: str, site: str | None, passes: bool) -> None:
    assert from_page(origin, site, "http://127.0.0.1:8000") is passes


@given(st.binary(max_size=40), st.binary(max_size=20))
@settings(deadline=None)
def test_no_origin_is_an_error(origin: bytes, site: bytes) -> None:
    scope = {"headers": [(b"origin", origin), (b"sec-fetch-site", site)]}

    assert not origin_is_ours(scope, Settings(base_url="http://127.0.0.1:8000"))
