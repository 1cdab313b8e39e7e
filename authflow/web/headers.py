"""Security headers on every answer, made once per app and added to the raw header list.

What an answer says itself wins over what stands here, so that no header goes out twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from authflow.settings import Settings

if TYPE_CHECKING:
    from starlette.types import Message, Scope, Send

RawHeader: TypeAlias = tuple[bytes, bytes]

_DIRECTIVES = {
    "default-src": "'none'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "object-src": "'none'",
}
_PERMISSIONS = "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()"


class Kind(StrEnum):
    """What kind of answer the headers are for."""

    PAGE = "page"
    TICKET = "ticket"
    """A page whose own address holds a mailed token."""
    STATIC = "static"


def content_security_policy(changes: Mapping[str, str]) -> str:
    """Return our policy with some directives replaced or added, for the one page that needs more.

    An answer that carries it as its own `content-security-policy` header keeps it.
    """
    return "; ".join(f"{name} {sources}" for name, sources in {**_DIRECTIVES, **changes}.items())


class SecurityHeaders:
    """The headers of a deployment.

    Args:
        settings: HSTS goes out when the base URL is https (RFC 6797, section 7.2 forbids it over http).
    """

    def __init__(self, settings: Settings) -> None:
        common = {
            "content-security-policy": content_security_policy({}),
            "x-content-type-options": "nosniff",
            "x-frame-options": "DENY",
            "cross-origin-opener-policy": "same-origin",
            "cross-origin-resource-policy": "same-origin",
            "permissions-policy": _PERMISSIONS,
            # Not `no-referrer`: under it a browser sends `Origin: null` with our own forms (Fetch, "append a request
            # Origin header"), and the check of the origin would hold on `Sec-Fetch-Site` alone.
            "referrer-policy": "same-origin",
        }
        if settings.is_secure:
            common["strict-transport-security"] = "max-age=31536000"
        # `Vary` is for the shared cache that ignores `no-store`.
        page = {**common, "cache-control": "no-store", "vary": "Cookie"}
        # The address of a ticket page is a secret: not even our own request log may get it as a referrer.
        self._of = {
            Kind.PAGE: _prepare(page),
            Kind.TICKET: _prepare({**page, "referrer-policy": "no-referrer"}),
            Kind.STATIC: _prepare({**common, "cache-control": "public, max-age=3600"}),
        }

    def add(self, headers: Iterable[RawHeader], kind: Kind = Kind.PAGE) -> list[RawHeader]:
        """Return the headers of an answer with ours after them.

        Args:
            headers: Names in lower case, as ASGI demands.
        """
        result = list(headers)
        names, ours = self._of[kind]
        present = {name for name, _ in result}
        if names.isdisjoint(present):
            result += ours
        else:
            result += [header for header in ours if header[0] not in present]
        return result

    def wrap(self, send: Send, kind: Kind = Kind.PAGE) -> Send:
        """Return a `send` that adds the headers to the start of the answer.

        A static file that is not there is answered like a page: its 404 must not stay in a cache.
        """

        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                fits = kind is not Kind.STATIC or message["status"] in _CACHEABLE
                message = {**message, "headers": self.add(message.get("headers", ()), kind if fits else Kind.PAGE)}
            await send(message)

        return send_secured


_CACHEABLE = frozenset({200, 206, 304})


def _prepare(headers: Mapping[str, str]) -> tuple[frozenset[bytes], tuple[RawHeader, ...]]:
    raw = tuple((name.encode(), value.encode()) for name, value in headers.items())
    return frozenset(name for name, _ in raw), raw


# --- What came in -----------------------------------------------------------------------------------------------------


def header_values(scope: Scope, name: bytes) -> list[bytes]:
    """Return the values of one request header, in order; several when it was sent several times."""
    return [value for key, value in scope["headers"] if key == name]
