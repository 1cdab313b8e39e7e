"""Security headers: on every answer, each once, and an answer's own word wins."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from authflow.settings import Settings
from authflow.web.headers import Kind, SecurityHeaders, content_security_policy, header_values

SECURE = SecurityHeaders(Settings(base_url="https://login.example.org"))
LOOPBACK = SecurityHeaders(Settings(base_url="http://127.0.0.1:8000"))


def test_a_page_gets_the_whole_set() -> None:
    headers = dict(SECURE.add([(b"content-type", b"text/html")]))

    assert headers == {
        b"content-type": b"text/html",
        b"content-security-policy": b"default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
        b"frame-ancestors 'none'; base-uri 'none'; object-src 'none'",
        b"strict-transport-security": b"max-age=31536000",
        b"x-content-type-options": b"nosniff",
        b"x-frame-options": b"DENY",
        b"cross-origin-opener-policy": b"same-origin",
        b"cross-origin-resource-policy": b"same-origin",
        b"permissions-policy": b"camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
        b"referrer-policy": b"same-origin",
        b"cache-control": b"no-store",
        b"vary": b"Cookie",
    }


def test_hsts_is_for_https_alone() -> None:
    assert b"strict-transport-security" not in dict(LOOPBACK.add([]))


def test_the_address_of_a_ticket_page_is_no_referrer() -> None:
    assert dict(SECURE.add([], Kind.TICKET))[b"referrer-policy"] == b"no-referrer"


def test_a_static_file_may_be_cached() -> None:
    headers = dict(SECURE.add([], Kind.STATIC))

    assert headers[b"cache-control"] == b"public, max-age=3600"
    assert b"vary" not in headers


@pytest.mark.parametrize("kind", Kind)
def test_no_header_goes_out_twice(kind: Kind) -> None:
    own = [(b"content-security-policy", b"default-src 'self'"), (b"cache-control", b"private"), (b"vary", b"Accept")]

    headers = SECURE.add(own, kind)

    assert headers[:3] == own
    assert max(Counter(name for name, _ in headers).values()) == 1


def test_cookies_may_be_several() -> None:
    own = [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]

    assert SECURE.add(own)[:2] == own


def test_a_page_can_open_the_policy_by_directive() -> None:
    policy = content_security_policy({"script-src": "https://accounts.google.com", "style-src": "'self' 'nonce-x'"})

    assert policy.startswith("default-src 'none'; style-src 'self' 'nonce-x'; ")
    assert policy.endswith("; script-src https://accounts.google.com")


async def started(status: int, kind: Kind, headers: list[tuple[bytes, bytes]] | None = None) -> list[dict[str, Any]]:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    secured = SECURE.wrap(send, kind)
    start: dict[str, Any] = {"type": "http.response.start", "status": status}
    await secured(start if headers is None else {**start, "headers": headers})
    await secured({"type": "http.response.body", "body": b"x"})
    return sent


@pytest.mark.parametrize("status", [200, 303, 400, 401, 404, 405, 412, 413, 415, 429, 500, 503])
async def test_the_start_of_every_answer_is_secured(status: int) -> None:
    start, body = await started(status, Kind.PAGE, [(b"content-type", b"text/html")])

    assert start["headers"] == SECURE.add([(b"content-type", b"text/html")])
    assert body == {"type": "http.response.body", "body": b"x"}


async def test_an_answer_without_headers_is_secured() -> None:
    start, _ = await started(200, Kind.TICKET)

    assert start["headers"] == SECURE.add([], Kind.TICKET)


@pytest.mark.parametrize(("status", "cached"), [(200, True), (206, True), (304, True), (404, False), (500, False)])
async def test_only_a_static_file_that_is_there_may_be_cached(status: int, cached: bool) -> None:
    start, _ = await started(status, Kind.STATIC)

    assert (dict(start["headers"])[b"cache-control"] != b"no-store") is cached


def test_request_headers_are_found_in_order() -> None:
    scope = {"headers": [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]}

    assert header_values(scope, b"a") == [b"1", b"3"]
    assert header_values(scope, b"c") == []
