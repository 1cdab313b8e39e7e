"""Google's side of a login: own keys, the address they are fetched from, ID tokens signed with them.

In process, without any network:

    google = Issuer(site_clock)
    site = await make_site(fetching=google.fetching(), provider_environment={"google_client_id": CLIENT_ID}, clock=...)

On loopback, for an application that runs elsewhere (its provider's `certs_url` must name the address):

    with GoogleIssuer() as google:
        token = google.id_token(aud="a client id", sub="1", email="ada@example.org", email_verified=True)
        ... certs_url=google.certs_url ...
"""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from authflow.errors import FetchFailed
from authflow.model import Plain
from authflow.testing.signing import SigningKey

ISSUER = "https://accounts.google.com"
OUTAGES = ("refuse", "hang", "garbage", "empty", "500", "huge")


@lru_cache(maxsize=1)
def _first_key() -> SigningKey:
    """Return the key that every issuer of a process begins with: making one takes longer than most tests."""
    return SigningKey("key-1")


class Issuer:
    """Signs tokens and knows what it publishes.

    Args:
        clock: Dates the tokens.
        max_age: What the answers say of how long they may be kept.

    Attributes:
        hits: How often the certificates were asked for.
        outage: Empty, or one of `OUTAGES`: how it fails from now on.
        headers: Sent instead of `Cache-Control` when set.
    """

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC), *, max_age: int = 3600) -> None:
        self.clock = clock
        self.max_age = max_age
        self.hits = 0
        self.outage = ""
        self.headers: dict[str, str] | None = None
        self.key = _first_key()
        self.certs = {self.key.kid: self.key.pem}
        self._rotations = 1
        self._going_home = threading.Event()

    def rotate(self) -> None:
        """Sign with a new key from now on; the old one is not published any more."""
        self._rotations += 1
        self.key = SigningKey(f"key-{self._rotations}")
        self.certs = {self.key.kid: self.key.pem}

    def claims(self, **claims: Any) -> dict[str, Any]:
        """Return the claims of a token that is good now; None leaves one out."""
        now = int(self.clock().timestamp())
        every = {"iss": ISSUER, "iat": now, "exp": now + 3600, **claims}
        return {name: value for name, value in every.items() if value is not None}

    def id_token(self, **claims: Any) -> str:
        """Sign a token that is good now, with further claims or other ones."""
        return self.key.token(self.claims(**claims))

    def fetching(self) -> IssuerFetching:
        """Return what a site asks in the place of the network."""
        return IssuerFetching(self)

    def answer(self) -> tuple[int, dict[str, str], bytes] | None:
        """Return status, headers and body of one answer, or None where there is none."""
        self.hits += 1
        kept = {"Cache-Control": f"public, max-age={self.max_age}"} if self.headers is None else self.headers
        body = json.dumps(self.certs).encode()
        match self.outage:
            case "":
                return 200, kept, body
            case "garbage":
                return 200, kept, b"<html>We will be back soon.</html>"
            case "empty":
                return 200, kept, b"{}"
            case "500":
                return 500, {}, body
            case "huge":
                return 200, kept, json.dumps({**self.certs, "filler": "x" * 300_000}).encode()
            case "hang":
                self._going_home.wait(60)
        return None


@dataclass
class IssuerFetching:
    """In the place of the network: certificates come from the issuer at once, or not at all. Nothing is kept."""

    issuer: Issuer

    async def get_json(self, url: str, *, fresh: bool = False) -> Mapping[str, Plain]:
        """See `provider.Fetching`.

        Raises:
            FetchFailed: The issuer has an outage.
        """
        self.issuer.hits += 1
        if self.issuer.outage == "empty":
            return {}
        if self.issuer.outage:
            raise FetchFailed(f"the issuer has an outage: {self.issuer.outage}")
        return dict(self.issuer.certs)

    async def post_form(self, url: str, values: Mapping[str, str]) -> Mapping[str, Plain]:
        """See `provider.Fetching`. Nothing takes forms here.

        Raises:
            FetchFailed: Always.
        """
        raise FetchFailed("the issuer takes no forms")


class GoogleIssuer(Issuer):
    """An issuer that serves its certificates on loopback while the block lasts.

    Attributes:
        certs_url: Where they are.
    """

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC), *, max_age: int = 3600) -> None:
        super().__init__(clock, max_age=max_age)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.certs_url = f"http://127.0.0.1:{self._server.server_port}/certs"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._going_home.set()
        self._server.shutdown()
        self._server.server_close()


def _handler(issuer: Issuer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # One write an answer: head and body apart wait 40 ms for a delayed acknowledgement.

        def do_GET(self) -> None:
            answer = issuer.answer() if self.path == "/certs" else (404, {}, b"{}")
            if answer is None:
                # Closed with a reset, as where nobody listens.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.close_connection = True
                return
            status, headers, body = answer
            self.send_response(status)
            for name, value in {
                "Content-Type": "application/json",
                **headers,
                "Content-Length": str(len(body)),
            }.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
