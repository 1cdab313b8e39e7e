"""Who sends a request, as far as the deployment lets us know: address, network and user agent.

Nothing is decided by them but limits and what the log says. Garbage is the address `unknown`, never an error and never
a way past a limit: all of it shares one bucket.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import TYPE_CHECKING

from authflow.settings import Settings
from authflow.web.headers import header_values

if TYPE_CHECKING:
    from starlette.types import Scope

UNKNOWN = "unknown"
MAX_USER_AGENT = 200

_MAX_ADDRESS = 64


def client_address(scope: Scope, settings: Settings) -> str:
    """Return the address a request comes from, in its one canonical form.

    On App Engine its own header counts, which its edge takes away from what a visitor sends. Behind n trusted proxies
    it is the n-th from the right of `X-Forwarded-For`: each proxy appends whom it saw, and all that stands further left
    was typed by the visitor. Otherwise, or when fewer proxies were passed, it is the peer of the connection.
    """
    if settings.on_app_engine:
        given = header_values(scope, b"x-appengine-user-ip")
        return _canonical(given[0].decode("latin-1")) if len(given) == 1 else UNKNOWN
    if settings.trusted_proxies:
        forwarded = b",".join(header_values(scope, b"x-forwarded-for"))
        hops = forwarded.rsplit(b",", settings.trusted_proxies)[-settings.trusted_proxies :]
        if forwarded and len(hops) == settings.trusted_proxies:
            return _canonical(hops[0].decode("latin-1"))
    peer = scope.get("client")
    return _canonical(str(peer[0])) if peer else UNKNOWN


def client_network(address: str) -> str:
    """Return what limits count by: an IPv4 address itself, the /64 of an IPv6 address (one household has 2**64)."""
    return _network(address) if ":" in address and len(address) <= _MAX_ADDRESS else _canonical(address)


def user_agent(scope: Scope) -> str:
    """Return what the client calls itself, cut to 200 printable characters."""
    given = header_values(scope, b"user-agent")
    text = given[0][: 2 * MAX_USER_AGENT].decode("latin-1") if given else ""
    if not text.isprintable():
        text = "".join(filter(str.isprintable, text))
    return text[:MAX_USER_AGENT]


def _canonical(text: str) -> str:
    # Before the cache, so that it never holds long texts.
    return _parsed(text) if len(text) <= _MAX_ADDRESS else UNKNOWN


@lru_cache(maxsize=1024)
def _parsed(text: str) -> str:
    text = text.strip(" \t")
    # Some proxies add the port: `192.0.2.1:4711`, `[2001:db8::1]:4711` (RFC 7239, section 6).
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        # The zone of a link-local address is this machine's own affair.
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return UNKNOWN
    return str(_unmapped(address))


def _unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


@lru_cache(maxsize=1024)
def _network(text: str) -> str:
    address = _parsed(text)
    return str(ip_network((address, 64), strict=False)) if ":" in address else address
