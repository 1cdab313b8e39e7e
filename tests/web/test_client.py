"""The client's address: told by the deployment, never chosen by the visitor, never an error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authflow.settings import Settings
from authflow.web.client import MAX_USER_AGENT, UNKNOWN, client_address, client_network, user_agent

PLAIN = Settings()
APP_ENGINE = Settings(on_app_engine=True, trusted_proxies=1)
PEER = ("192.0.2.1", 4711)
FORWARDED = b"x-forwarded-for"
APP_ENGINE_HEADER = b"x-appengine-user-ip"


def a_scope(*headers: tuple[bytes, bytes], client: tuple[str, int] | None = PEER) -> dict[str, Any]:
    return {"headers": list(headers), "client": client}


def behind(proxies: int, *forwarded: bytes) -> str:
    return client_address(a_scope(*((FORWARDED, value) for value in forwarded)), Settings(trusted_proxies=proxies))


def test_without_a_proxy_the_peer_counts_and_headers_do_not() -> None:
    scope = a_scope(
        (FORWARDED, b"203.0.113.9"), (APP_ENGINE_HEADER, b"203.0.113.9"), (b"forwarded", b"for=203.0.113.9")
    )

    assert client_address(scope, PLAIN) == "192.0.2.1"


def test_on_app_engine_its_own_header_counts() -> None:
    scope = a_scope((FORWARDED, b"203.0.113.9"), (APP_ENGINE_HEADER, b"198.51.100.7"))

    assert client_address(scope, APP_ENGINE) == "198.51.100.7"


@pytest.mark.parametrize("values", [(), (b"",), (b"x",), (b"198.51.100.7", b"198.51.100.8")])
def test_on_app_engine_nothing_stands_in_for_its_header(values: tuple[bytes, ...]) -> None:
    scope = a_scope((FORWARDED, b"203.0.113.9"), *((APP_ENGINE_HEADER, value) for value in values))

    assert client_address(scope, APP_ENGINE) == UNKNOWN


@pytest.mark.parametrize(
    ("proxies", "forwarded", "address"),
    [
        (1, [b"198.51.100.7"], "198.51.100.7"),
        (1, [b"10.0.0.1, 198.51.100.7"], "198.51.100.7"),
        (1, [b"10.0.0.1", b"198.51.100.7"], "198.51.100.7"),
        (2, [b"10.0.0.1, 198.51.100.7, 203.0.113.1"], "198.51.100.7"),
        (2, [b"198.51.100.7", b"203.0.113.1"], "198.51.100.7"),
        (1, [b"garbage, 198.51.100.7"], "198.51.100.7"),
        (1, [b"198.51.100.7, garbage"], UNKNOWN),
        (1, [b"198.51.100.7,"], UNKNOWN),
        (1, [b"," * 50_000 + b"198.51.100.7"], "198.51.100.7"),
        # Fewer hops than proxies: the request went past them, and its peer is who it is.
        (2, [b"198.51.100.7"], "192.0.2.1"),
        (1, [], "192.0.2.1"),
        (1, [b""], "192.0.2.1"),
    ],
)
def test_behind_proxies_the_hop_that_the_outermost_saw_counts(
    proxies: int, forwarded: list[bytes], address: str
) -> None:
    assert behind(proxies, *forwarded) == address


def test_a_visitor_cannot_choose_the_address_by_what_he_sends() -> None:
    seen = {behind(1, b"10.0.0.%d, 198.51.100.7" % number) for number in range(50)}

    assert seen == {"198.51.100.7"}


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        (" 192.0.2.1\t", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("2001:DB8:0::0001", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("::FFFF:c000:201", "192.0.2.1"),
        ("", UNKNOWN),
        ("unknown", UNKNOWN),
        ("testclient", UNKNOWN),
        ("_hidden", UNKNOWN),
        ("192.0.2.256", UNKNOWN),
        ("192.0.2.01", UNKNOWN),
        ("3221225985", UNKNOWN),
        ("0x7f.1", UNKNOWN),
        ("[", UNKNOWN),
        ("[]:1", UNKNOWN),
        (":::", UNKNOWN),
        ("１９２.0.2.1", UNKNOWN),
        ("192.0.2.1\r\nx", UNKNOWN),
        ("1" * 100_000, UNKNOWN),
    ],
)
def test_an_address_has_one_form_or_is_unknown(text: str, address: str) -> None:
    assert client_address(a_scope(client=(text, 0)), PLAIN) == address


def test_a_connection_without_address_is_unknown() -> None:
    assert client_address(a_scope(client=None), PLAIN) == UNKNOWN
    assert client_address({"headers": []}, PLAIN) == UNKNOWN


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        (UNKNOWN, UNKNOWN),
        ("garbage", UNKNOWN),
        (":" * 1000, UNKNOWN),
    ],
)
def test_limits_count_by_ipv4_address_and_ipv6_network(address: str, network: str) -> None:
    assert client_network(address) == network


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        (b"Mozilla/5.0 (X11; Linux x86_64)", "Mozilla/5.0 (X11; Linux x86_64)"),
        (b"a\r\nb\x1b[31m\x00c\x85\xa0", "ab[31mc"),
        (b"x" * 100_000, "x" * MAX_USER_AGENT),
        (b"", ""),
    ],
)
def test_a_user_agent_is_short_and_printable(sent: bytes, shown: str) -> None:
    assert user_agent(a_scope((b"user-agent", sent))) == shown


def test_no_user_agent_is_empty_text() -> None:
    assert user_agent(a_scope()) == ""


@given(st.lists(st.binary(max_size=40), max_size=3), st.integers(0, 3), st.booleans(), st.text(max_size=20))
@settings(deadline=None)
def test_no_header_is_an_error(values: list[bytes], proxies: int, on_app_engine: bool, peer: str) -> None:
    names = (FORWARDED, APP_ENGINE_HEADER, b"user-agent")
    scope = a_scope(*((name, value) for name in names for value in values), client=(peer, 1))

    address = client_address(scope, Settings(trusted_proxies=proxies, on_app_engine=on_app_engine))

    assert client_network(address)
    assert user_agent(scope).isprintable()
