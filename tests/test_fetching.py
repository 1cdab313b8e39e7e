"""Remote parties are asked in bounded time and size, once for all who ask, and kept as their headers say."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import json
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from authflow.errors import FetchFailed, FetchRefused
from authflow.fetching import MAX_KEPT, HttpFetching
from authflow.freshness import LONGEST, lifetime
from authflow.seam import Call, Seam, billing
from authflow.strict_json import read_object
from authflow.testing import Clock

Respond = Callable[[asyncio.StreamWriter, bytes], Awaitable[None]]
SHORT = 0.3
"""Patience of tests in which it runs out."""


def answer(body: bytes = b'{"a": 1}', status: str = "200 OK", **headers: str) -> bytes:
    lines = {"Content-Type": "application/json", "Content-Length": str(len(body))}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items() if value)
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


class Remote:
    """A remote party on loopback that answers what it is told to.

    Attributes:
        requests: What came, whole.
        respond: Writes one answer.
    """

    def __init__(self) -> None:
        self.requests: list[bytes] = []
        self.respond: Respond = self._say
        self.says = answer()
        self.origin = ""

    async def _say(self, writer: asyncio.StreamWriter, request: bytes) -> None:
        writer.write(self.says)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                for line in request.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        request += await reader.readexactly(int(line.split(b":")[1]))
                self.requests.append(request)
                await self.respond(writer, request)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    def url(self, path: str = "/keys") -> str:
        return self.origin + path


@pytest.fixture
async def remote() -> AsyncIterator[Remote]:
    party = Remote()
    server = await asyncio.start_server(party.talk, "127.0.0.1", 0)
    party.origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield party
    server.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def fetching(clock: Clock) -> AsyncIterator[HttpFetching]:
    made = HttpFetching(Seam(), clock)
    yield made
    await made.close()


@pytest.fixture
async def impatient(clock: Clock) -> AsyncIterator[HttpFetching]:
    made = HttpFetching(Seam(), clock, patience=SHORT)
    yield made
    await made.close()


def for_an_hour(body: bytes = b'{"a": 1}') -> bytes:
    return answer(body, Cache_Control="public, max-age=3600")


# --- What is asked, and what is taken for an answer -------------------------------------------------------------------


async def test_an_object_is_fetched(remote, fetching) -> None:
    remote.says = answer(b'{"kid": "text", "n": [1, 2.5, null, true, {"deep": "er"}]}')

    found = await fetching.get_json(remote.url())

    assert found == {"kid": "text", "n": [1, 2.5, None, True, {"deep": "er"}]}


async def test_a_form_is_sent_and_its_answer_never_kept(remote, fetching) -> None:
    remote.says = for_an_hour()

    first = await fetching.post_form(remote.url(), {"code": "a b&c"})
    await fetching.post_form(remote.url(), {"code": "a b&c"})

    assert first == {"a": 1}
    assert len(remote.requests) == 2
    assert remote.requests[0].startswith(b"POST /keys HTTP/1.1\r\n")
    assert remote.requests[0].endswith(b"\r\n\r\ncode=a+b%26c")


@pytest.mark.parametrize(
    ("says", "why"),
    [
        (answer(status="404 Not Found"), "status 404"),
        (answer(status="500 Internal Server Error"), "status 500"),
        (answer(status="204 No Content", body=b""), "status 204"),
        (answer(status="302 Found", body=b"", Location="/elsewhere"), "status 302"),
        (answer(b"<html>"), "not strict JSON"),
        (answer(b""), "not strict JSON"),
        (answer(b"[1]"), "not a JSON object"),
        (answer(b'{"a": 1, "a": 2}'), "not strict JSON"),
        (answer(gzip.compress(b'{"a": 1}'), Content_Encoding="gzip"), "an encoded body, which was not asked for"),
        (answer(b'{"a": "' + b"x" * 262_144 + b'"}'), "more than 262144 bytes"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "RemoteProtocolError"),
        (answer(b'{"a": 1}', Content_Length="eight"), "RemoteProtocolError"),
    ],
)
async def test_anything_but_one_object_with_status_200_is_a_failure(remote, fetching, says, why) -> None:
    remote.says = says

    with pytest.raises(FetchFailed) as caught:
        await fetching.get_json(remote.url("/keys?secret=1"))

    assert caught.value.detail == f"{remote.origin.removeprefix('http://')}: {why}"
    assert caught.value.status == 503
    assert caught.value.__cause__ is None
    assert len(remote.requests) == 1


async def test_a_form_that_is_refused_says_why_and_is_a_failure_like_another(remote, fetching) -> None:
    remote.says = answer(b'{"error": "invalid_grant", "error_description": "<secret>"}', status="400 Bad Request")

    with pytest.raises(FetchRefused) as caught:
        await fetching.post_form(remote.url(), {"code": "a"})

    assert (caught.value.reason, caught.value.code, caught.value.status) == ("invalid_grant", "fetch_failed", 503)
    assert caught.value.detail == f"{remote.origin.removeprefix('http://')}: status 400"


@pytest.mark.parametrize(
    "says",
    [
        answer(b'{"error": "invalid_client"}', status="401 Unauthorized"),
        answer(b'{"error": "server_error"}', status="500 Internal Server Error"),
        answer(b'{"error": 1}', status="400 Bad Request"),
        answer(b'{"error": ""}', status="400 Bad Request"),
        answer(b'{"error": "<b>\\n"}', status="400 Bad Request"),
        answer(b'{"error": "' + b"x" * 65 + b'"}', status="400 Bad Request"),
        answer(b"{}", status="400 Bad Request"),
        answer(b"<html>", status="400 Bad Request"),
        answer(b'{"error": "' + b"x" * 262_144 + b'"}', status="400 Bad Request"),
    ],
)
async def test_what_does_not_say_why_is_a_failure_and_no_refusal(remote, fetching, says) -> None:
    remote.says = says

    with pytest.raises(FetchFailed) as caught:
        await fetching.post_form(remote.url(), {"code": "a"})

    assert type(caught.value) is FetchFailed


async def test_asking_without_a_form_is_never_refused(remote, fetching) -> None:
    remote.says = answer(b'{"error": "invalid_grant"}', status="400 Bad Request")

    with pytest.raises(FetchFailed) as caught:
        await fetching.get_json(remote.url())

    assert type(caught.value) is FetchFailed


async def test_a_body_that_never_ends_is_cut(remote, fetching) -> None:
    async def for_ever(writer, request):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
            await writer.drain()

    remote.respond = for_ever

    with pytest.raises(FetchFailed, match="more than 262144 bytes"):
        await fetching.get_json(remote.url())


@pytest.mark.parametrize("begins", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"])
async def test_an_answer_that_stops_half_way_is_waited_for_no_longer_than_patience(remote, impatient, begins) -> None:
    async def stop(writer, request):
        writer.write(begins)
        await writer.drain()
        await asyncio.Event().wait()

    remote.respond = stop
    began = asyncio.get_running_loop().time()

    with pytest.raises(FetchFailed):
        await impatient.get_json(remote.url())

    assert asyncio.get_running_loop().time() - began < 4 * SHORT


async def test_an_answer_that_comes_byte_by_byte_is_not_waited_for(remote, impatient) -> None:
    async def drip(writer, request):
        for byte in answer(b'{"a": "' + b"x" * 5000 + b'"}'):
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(0.01)

    remote.respond = drip

    with pytest.raises(FetchFailed, match="no whole answer within"):
        await impatient.get_json(remote.url())


async def test_a_form_is_waited_for_no_longer_either(remote, impatient) -> None:
    async def hang(writer, request):
        await asyncio.Event().wait()

    remote.respond = hang

    with pytest.raises(FetchFailed):
        await impatient.post_form(remote.url(), {"code": "secret"})


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/keys",
        "http://127.0.0.1.example.org/keys",
        "http://127.0.0.1@example.org/keys",
        "https://user:password@example.org/keys",
        "ftp://127.0.0.1/keys",
        "file:///etc/passwd",
        "https:///keys",
        "https://example.org:99999/keys",
        "//example.org/keys",
        "",
    ],
)
async def test_only_https_is_asked_and_http_on_this_machine(fetching, url) -> None:
    with billing() as bill, pytest.raises(FetchFailed) as caught:
        await fetching.get_json(url)

    assert bill.total("fetch") == 0
    assert "password" not in caught.value.detail
    with pytest.raises(FetchFailed):
        await fetching.post_form(url, {})


async def test_no_proxy_is_taken_from_the_environment(remote, fetching, monkeypatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")

    assert await fetching.get_json(remote.url()) == {"a": 1}


async def test_a_cookie_of_one_answer_is_not_sent_with_the_next_request(remote, fetching) -> None:
    remote.says = answer(Set_Cookie="who=ada; Path=/")

    await fetching.get_json(remote.url())
    await fetching.get_json(remote.url())

    assert len(remote.requests) == 2
    assert b"cookie" not in remote.requests[1].lower()


async def test_addresses_and_forms_stay_out_of_the_log(remote, fetching, caplog) -> None:
    caplog.set_level(logging.DEBUG)

    await fetching.get_json(remote.url("/keys?secret-query"))
    await fetching.post_form(remote.url(), {"code": "secret-code"})
    remote.says = answer(b"secret-body")
    with pytest.raises(FetchFailed):
        await fetching.get_json(remote.url("/other?secret-query"))

    assert "secret" not in caplog.text


# --- TLS --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate of 127.0.0.1 that no authority has signed, with its key."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "here")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file = tmp_path / "certificate.pem"
    file.write_bytes(private + made.public_bytes(pem))
    return file


@pytest.fixture
async def secured(certificate: Path) -> AsyncIterator[Remote]:
    party, context = Remote(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = await asyncio.start_server(party.talk, "127.0.0.1", 0, ssl=context)
    party.origin = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield party
    server.close()


async def test_a_certificate_that_nobody_vouches_for_is_not_accepted(secured, fetching) -> None:
    with pytest.raises(FetchFailed, match="ConnectError"):
        await fetching.get_json(secured.url())

    assert secured.requests == []


async def test_a_party_with_a_certificate_that_is_trusted_is_asked(secured, certificate, clock) -> None:
    fetching = HttpFetching(Seam(), clock, tls=ssl.create_default_context(cafile=certificate))

    assert await fetching.get_json(secured.url()) == {"a": 1}
    with pytest.raises(FetchFailed):
        await fetching.get_json(secured.url().replace("127.0.0.1", "localhost"))
    await fetching.close()


# --- Keeping ----------------------------------------------------------------------------------------------------------


async def test_an_answer_is_asked_for_once_as_long_as_it_may_be_kept(remote, fetching, clock) -> None:
    remote.says = for_an_hour()

    await fetching.get_json(remote.url())
    clock.pass_by(timedelta(minutes=59, seconds=59))
    await fetching.get_json(remote.url())
    asked_before_its_end = len(remote.requests)
    clock.pass_by(timedelta(seconds=1))
    await fetching.get_json(remote.url())

    assert (asked_before_its_end, len(remote.requests)) == (1, 2)


async def test_an_answer_without_a_lifetime_is_asked_for_each_time(remote, fetching) -> None:
    await fetching.get_json(remote.url())
    await fetching.get_json(remote.url())

    assert len(remote.requests) == 2


async def test_an_answer_is_not_believed_longer_because_the_clock_was_put_back(remote, fetching, clock) -> None:
    remote.says = for_an_hour()

    await fetching.get_json(remote.url())
    clock.pass_by(-timedelta(days=1))
    await fetching.get_json(remote.url())

    assert len(remote.requests) == 2


async def test_whoever_changes_an_answer_changes_it_for_nobody_else(remote, fetching) -> None:
    remote.says = for_an_hour(b'{"list": [1]}')

    (await fetching.get_json(remote.url()))["list"].append(2)

    assert await fetching.get_json(remote.url()) == {"list": [1]}


async def test_the_number_of_addresses_that_are_remembered_is_bounded(remote, fetching) -> None:
    remote.says = for_an_hour()
    for number in range(MAX_KEPT + 1):
        await fetching.get_json(remote.url(f"/{number}"))

    await fetching.get_json(remote.url("/1"))
    asked_for_one_that_is_kept = len(remote.requests)
    await fetching.get_json(remote.url("/0"))

    assert asked_for_one_that_is_kept == MAX_KEPT + 1
    assert len(remote.requests) == MAX_KEPT + 2


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Cache-Control": "public, max-age=21600, must-revalidate, no-transform"}, 21600),
        ({"cache-control": 'MAX-AGE="60"'}, 60),
        ({"Cache-Control": "max-age=100", "Age": "40"}, 60),
        ({"Cache-Control": "max-age=100", "Age": "100"}, 0),
        ({"Cache-Control": "max-age=100", "Age": "soon"}, 100),
        ({"Cache-Control": "max-age=100, no-store"}, 0),
        ({"Cache-Control": "max-age=100, no-cache"}, 0),
        ({"Cache-Control": "private, max-age=100"}, 100),
        ({"Cache-Control": "s-maxage=100"}, 0),
        ({"Cache-Control": "max-age=-1"}, 0),
        ({"Cache-Control": "max-age=1.5"}, 0),
        ({"Cache-Control": "max-age=١٢"}, 0),
        ({"Cache-Control": "max-age=1, max-age=100"}, 0),
        ({"Cache-Control": "max-age=99999999999999999999999999"}, LONGEST.total_seconds()),
        ({"Cache-Control": "max-age=100", "Age": "9" * 5000}, 0),
        ({"Cache-Control": "max-age=100", "Vary": "*"}, 0),
        ({"Cache-Control": "max-age=100", "Vary": "Origin, *"}, 0),
        ({"Cache-Control": "max-age=100", "Vary": "Origin, X-Origin, Referer"}, 100),
        ({"Expires": "Wed, 21 Oct 2026 07:28:00 GMT", "Date": "Wed, 21 Oct 2026 07:18:00 GMT"}, 600),
        ({"Expires": "Wed, 21 Oct 2026 07:28:00 GMT", "Date": "Wed, 21 Oct 2026 07:18:00 GMT", "Age": "60"}, 540),
        ({"Expires": "Wed, 21 Oct 2026 07:18:00 GMT", "Date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0),
        ({"Expires": "0", "Date": "Wed, 21 Oct 2026 07:18:00 GMT"}, 0),
        ({"Expires": "Wed, 21 Oct 2026 07:28:00 GMT"}, 0),
        ({"Cache-Control": "max-age=0", "Expires": "Wed, 21 Oct 2099 07:28:00 GMT"}, 0),
        ({}, 0),
    ],
)
def test_the_headers_say_how_long_an_answer_is_kept(headers, seconds) -> None:
    assert lifetime(headers.items()).total_seconds() == seconds


def test_several_lines_of_one_header_count_together() -> None:
    assert lifetime([("cache-control", "max-age=100"), ("cache-control", "no-store")]) == timedelta(0)


# --- Asking anew ------------------------------------------------------------------------------------------------------


async def test_asking_anew_replaces_what_is_kept(remote, fetching) -> None:
    remote.says = for_an_hour(b'{"key": 1}')
    await fetching.get_json(remote.url())
    remote.says = for_an_hour(b'{"key": 2}')

    anew = await fetching.get_json(remote.url(), fresh=True)

    assert anew == {"key": 2}
    assert await fetching.get_json(remote.url()) == {"key": 2}
    assert len(remote.requests) == 2


async def test_who_asks_anew_while_it_is_done_waits_for_it(remote, fetching) -> None:
    remote.says = for_an_hour(b'{"key": 1}')
    await fetching.get_json(remote.url())
    remote.says = for_an_hour(b'{"key": 2}')

    answers = await asyncio.gather(*(fetching.get_json(remote.url(), fresh=True) for _ in range(5)))

    assert answers == [{"key": 2}] * 5
    assert len(remote.requests) == 2


async def test_asking_anew_is_done_once_in_ten_seconds(remote, fetching, clock) -> None:
    remote.says = for_an_hour()
    await fetching.get_json(remote.url())

    for _ in range(20):
        await fetching.get_json(remote.url(), fresh=True)
    at_once = len(remote.requests)
    clock.pass_by(timedelta(seconds=10))
    await fetching.get_json(remote.url(), fresh=True)

    assert (at_once, len(remote.requests)) == (2, 3)


async def test_asking_anew_in_vain_returns_what_is_kept(remote, fetching) -> None:
    remote.says = for_an_hour()
    await fetching.get_json(remote.url())
    remote.says = answer(status="500 Internal Server Error")

    assert await fetching.get_json(remote.url(), fresh=True) == {"a": 1}
    assert await fetching.get_json(remote.url()) == {"a": 1}


# --- Failures ---------------------------------------------------------------------------------------------------------


async def test_during_an_outage_what_is_kept_is_used_and_nothing_older(remote, fetching, clock) -> None:
    remote.says = for_an_hour()
    await fetching.get_json(remote.url())
    remote.says = answer(status="500 Internal Server Error")
    clock.pass_by(timedelta(minutes=59))

    assert await fetching.get_json(remote.url()) == {"a": 1}

    clock.pass_by(timedelta(minutes=1))
    with pytest.raises(FetchFailed, match="status 500"):
        await fetching.get_json(remote.url())


async def test_a_failure_is_remembered_for_a_second(remote, fetching, clock) -> None:
    remote.says = answer(status="500 Internal Server Error")
    for _ in range(20):
        with pytest.raises(FetchFailed, match="status 500"):
            await fetching.get_json(remote.url())
    asked_at_once = len(remote.requests)
    remote.says = answer()

    clock.pass_by(timedelta(seconds=1))

    assert await fetching.get_json(remote.url()) == {"a": 1}
    assert asked_at_once == 1


async def test_a_failure_of_one_address_is_not_one_of_another(remote, fetching) -> None:
    remote.says = answer(status="500 Internal Server Error")
    with pytest.raises(FetchFailed):
        await fetching.get_json(remote.url("/one"))
    remote.says = answer()

    assert await fetching.get_json(remote.url("/other")) == {"a": 1}


async def test_nobody_listening_is_a_failure(fetching, unused_tcp_port) -> None:
    with pytest.raises(FetchFailed, match="ConnectError"):
        await fetching.get_json(f"http://127.0.0.1:{unused_tcp_port}/keys")


# --- Many at once -----------------------------------------------------------------------------------------------------


class Gate:
    """Holds answers back until it is opened."""

    def __init__(self, remote: Remote) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()
        self._remote = remote
        remote.respond = self._respond

    async def _respond(self, writer: asyncio.StreamWriter, request: bytes) -> None:
        self.reached.set()
        await self.open.wait()
        writer.write(self._remote.says)


async def test_many_who_ask_at_once_cause_one_fetch(remote, fetching) -> None:
    gate = Gate(remote)
    callers = [asyncio.create_task(fetching.get_json(remote.url())) for _ in range(100)]
    await gate.reached.wait()
    gate.open.set()

    answers = await asyncio.gather(*callers)

    assert answers == [{"a": 1}] * 100
    assert len(remote.requests) == 1


async def test_many_who_ask_at_once_fail_together(remote, impatient) -> None:
    gate = Gate(remote)

    outcomes = await asyncio.gather(*(impatient.get_json(remote.url()) for _ in range(100)), return_exceptions=True)

    assert all(isinstance(outcome, FetchFailed) for outcome in outcomes)
    assert len(remote.requests) == 1
    gate.open.set()


async def test_a_caller_who_goes_away_does_not_take_the_answer_from_the_others(remote, fetching) -> None:
    gate = Gate(remote)
    first = asyncio.create_task(fetching.get_json(remote.url()))
    second = asyncio.create_task(fetching.get_json(remote.url()))
    await gate.reached.wait()

    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    gate.open.set()

    assert await second == {"a": 1}
    assert len(remote.requests) == 1


async def test_what_nobody_waits_for_any_more_is_kept_for_the_next(remote, fetching) -> None:
    remote.says = for_an_hour()
    gate = Gate(remote)
    caller = asyncio.create_task(fetching.get_json(remote.url()))
    await gate.reached.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    gate.open.set()

    assert await fetching.get_json(remote.url()) == {"a": 1}
    assert len(remote.requests) == 1


async def test_closing_ends_what_is_under_way_with_a_failure(remote, clock) -> None:
    fetching, gate = HttpFetching(Seam(), clock), Gate(remote)
    caller = asyncio.create_task(fetching.get_json(remote.url()))
    await gate.reached.wait()

    await fetching.close()

    with pytest.raises(FetchFailed, match="closes"):
        await caller
    gate.open.set()


async def test_what_was_closed_can_be_used_again(remote, fetching) -> None:
    await fetching.get_json(remote.url())
    await fetching.close()
    await fetching.close()

    assert await fetching.get_json(remote.url()) == {"a": 1}


def test_one_instance_serves_one_event_loop_after_another(clock) -> None:
    fetching = HttpFetching(Seam(), clock)

    async def one_life(path: str) -> Mapping:
        party = Remote()
        server = await asyncio.start_server(party.talk, "127.0.0.1", 0)
        party.origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        found = await fetching.get_json(party.url(path))
        await fetching.close()
        server.close()
        return found

    assert asyncio.run(one_life("/1")) == asyncio.run(one_life("/2")) == {"a": 1}


# --- The seam ---------------------------------------------------------------------------------------------------------


class Watches:
    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.refuses = False

    async def before(self, call: Call) -> None:
        self.calls.append(call)
        if self.refuses:
            raise FetchFailed("injected")

    def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
        pass


async def test_each_request_passes_the_seam_with_its_host_alone(remote, clock) -> None:
    watches = Watches()
    fetching, host = HttpFetching(Seam((watches,)), clock), remote.origin.removeprefix("http://")
    remote.says = for_an_hour()

    with billing() as bill:
        await fetching.get_json(remote.url("/keys?secret"))
        await fetching.get_json(remote.url("/keys?secret"))
        await fetching.post_form(remote.url("/token"), {"code": "secret"})

    assert watches.calls == [Call("fetch", "get", (host,)), Call("fetch", "post", (host,))]
    assert (bill.total("fetch", "get"), bill.total("fetch", "post")) == (1, 1)
    await fetching.close()


async def test_a_fault_put_in_at_the_seam_is_a_failure_like_another(remote, clock) -> None:
    watches = Watches()
    fetching, watches.refuses = HttpFetching(Seam((watches,)), clock), True

    for _ in range(2):
        with pytest.raises(FetchFailed, match="injected"):
            await fetching.get_json(remote.url())

    assert len(watches.calls) == 1
    assert remote.requests == []
    await fetching.close()


# --- Strict JSON ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1e999}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": {"b": 1, "b": 1}}',
        b'{"a": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"a": "\xff"}',
        b'{"a": 1} {"b": 2}',
        b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"a": 1,}',
        b"{'a': 1}",
        b"null",
        b'"text"',
        json.dumps({"a": 1}).encode("utf-16"),
        b"\xef\xbb\xbf{}",
    ],
    ids=lambda raw: repr(raw[:20]),
)
def test_json_that_readers_could_take_in_two_ways_is_none(raw) -> None:
    with pytest.raises(ValueError) as caught:
        read_object(raw)

    assert caught.value.__cause__ is None
    assert str(caught.value) in ("not strict JSON", "not a JSON object")


def test_json_as_everybody_writes_it_is_read() -> None:
    assert read_object(b'{"a": "\\ud83d\\ude00 \xc3\xa4", "b": 1.5, "c": 12}') == {
        "a": "\U0001f600 ä",
        "b": 1.5,
        "c": 12,
    }
