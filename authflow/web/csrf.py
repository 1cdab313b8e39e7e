"""Anti-forgery: the skey, the claim of a static session key, and the check of the origin.

An skey is signed and stateless. It belongs to a session or, before the login, to a browser, so one of another person's
browser is worth nothing, and asking for any number of them costs no store operation.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from functools import lru_cache
from hmac import compare_digest
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from authflow.settings import Settings, is_loopback
from authflow.tokens import Keyring, encode
from authflow.web.cookies import BROWSER_AGE, BrowserCookies
from authflow.web.headers import header_values

if TYPE_CHECKING:
    from starlette.types import Scope

STATIC_KEY_HEADERS = ("Sec-X-ViUR-StaticSKey", "Sec-X-ViUR-StaticSessionKey")
"""The header of ViUR up to 3.4 and that of 3.5 and later."""

_STATIC_KEY_NAMES = frozenset(name.lower().encode() for name in STATIC_KEY_HEADERS)
_STATIC_KEY_MARKERS = frozenset({"staticsessionkey", "static_session_key"}) | {
    name.lower() for name in STATIC_KEY_HEADERS
}
_MAX_LENGTH = 128
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
_SESSION = "session:"
_BROWSER = "browser:"


def binding_of(cookies: BrowserCookies) -> str | None:
    """Return what an skey of this browser is bound to, or None when it has neither of the two cookies."""
    if (session := cookies.session) is not None:
        return _SESSION + session.session_id
    if (browser_id := cookies.browser_id) is not None:
        return _BROWSER + browser_id
    return None


def max_age_of(binding: str) -> timedelta | None:
    """Return how long an skey of this binding is good: as long as its session, or 24 hours before a login."""
    return None if binding.startswith(_SESSION) else BROWSER_AGE


class SkeyIssuer:
    """Issues and checks skeys. Made once per app."""

    _PURPOSE = "skey"

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def issue(self, binding: str, now: datetime) -> str:
        """Return a fresh skey: `<issued, base 36>.<random>.<mac>`."""
        head = f"{_to_base36(int(now.timestamp()))}.{encode(secrets.token_bytes(8))}"
        return f"{head}.{encode(self._keyring.mac(self._PURPOSE, _message(head, binding)))}"

    def check(self, skey: str, binding: str, now: datetime, *, max_age: timedelta | None) -> bool:
        """Whether we issued this skey for this binding, not longer ago than `max_age`."""
        if len(skey) > _MAX_LENGTH or not skey.isascii():
            return False
        head, _, mac = skey.rpartition(".")
        macs = self._keyring.macs(self._PURPOSE, _message(head, binding))
        if not any(compare_digest(encode(own), mac) for own in macs):
            return False
        if max_age is None:
            return True
        age = now.timestamp() - int(head.partition(".")[0], 36)
        # Also the other way round: one issued under a clock that was far ahead must not live until then.
        return abs(age) <= max_age.total_seconds()


def _message(head: str, binding: str) -> bytes:
    # Neither part of the head can hold a colon, so no head and binding read as another pair.
    return f"{head}:{binding}".encode("utf-8", "surrogatepass")


def _to_base36(number: int) -> str:
    text = ""
    while number > 0:
        number, rest = divmod(number, 36)
        text = _DIGITS[rest] + text
    return text or "0"


def static_key_claim(scope: Scope, skey: str) -> str | None:
    """Return the static session key that a program sends, when it says so in both ways that ViUR wants.

    Args:
        skey: The request's `skey`: one of ViUR's markers, or the name of the header.

    Returns:
        The key as sent, to be compared with the session's; None when marker or header is missing, or when several
        headers are sent.
    """
    if skey.lower() not in _STATIC_KEY_MARKERS:
        return None
    keys = [value for name, value in scope["headers"] if name in _STATIC_KEY_NAMES]
    if len(keys) != 1 or not 0 < len(keys[0]) <= _MAX_LENGTH or not keys[0].isascii():
        return None
    return str(keys[0], "ascii")


def origin_is_ours(scope: Scope, settings: Settings) -> bool:
    """Whether a request that changes state comes from one of our own pages, or from no page at all.

    A second line behind skey and SameSite. Programs send neither header and pass. Not for requests that only read: a
    link in a mail is followed across sites.
    """
    sites = header_values(scope, b"sec-fetch-site")
    # `same-site` too is somebody else: no form of ours lies on a sibling domain. `none` is the person's own doing.
    if sites and sites not in _OWN_SITES:
        return False
    origins = header_values(scope, b"origin")
    if not origins:
        return True
    if len(origins) > 1:
        return False
    own = _origin_of(settings.base_url)
    if origins[0] == own:
        return True
    if sites != _SAME_ORIGIN:
        return False
    # Our own pages under another guise. The browser says that the page lies where the request goes; no page can set
    # `Sec-Fetch-*` (Fetch Metadata, section 2). `null`: a ticket page, whose referrer policy hides its origin.
    return origins[0] == b"null" or _is_loopback_alias(origins[0], own)


_SAME_ORIGIN = [b"same-origin"]
_OWN_SITES = (_SAME_ORIGIN, [b"none"])


@lru_cache(maxsize=16)
def _origin_of(base_url: str) -> bytes:
    """Return the origin of a base URL as a browser writes it (RFC 6454, section 6.2)."""
    parts = urlsplit(base_url)
    host = parts.hostname or ""
    port = None if parts.port == {"http": 80, "https": 443}.get(parts.scheme) else parts.port
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{'' if port is None else f':{port}'}".encode()


def _is_loopback_alias(origin: bytes, own: bytes) -> bool:
    """Whether both are loopback origins of one port: `localhost` is typed where we listen on 127.0.0.1."""
    try:
        theirs, ours = urlsplit(origin.decode("ascii")), urlsplit(own.decode())
        same = (theirs.scheme, theirs.port) == (ours.scheme, ours.port)
        return same and is_loopback(theirs.geturl()) and is_loopback(ours.geturl())
    except ValueError:
        return False
