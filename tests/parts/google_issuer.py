"""Google's side of a login, on loopback: own keys, the address they are fetched from, ID tokens signed with them.

with GoogleIssuer() as google:
    token = google.id_token(aud="a client id", sub="1", email="ada@example.org", email_verified=True)
    ... certs_url=google.certs_url ...

Run as a program it serves until it is ended, and prints one line of JSON: the address and a token.
"""

from __future__ import annotations

import argparse
import base64
import json
import socket
import struct
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

ISSUER = "https://accounts.google.com"
OUTAGES = ("refuse", "hang", "garbage", "empty", "500", "huge")


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class SigningKey:
    """An RSA key with the certificate that Google would publish for it."""

    def __init__(self, kid: str) -> None:
        self.kid = kid
        self._key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, kid)])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=14))
            .sign(self._key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(serialization.Encoding.PEM).decode()

    def signature(self, text: bytes) -> bytes:
        return self._key.sign(text, padding.PKCS1v15(), hashes.SHA256())

    def token(self, claims: Mapping[str, Any], header: Mapping[str, Any] | None = None) -> str:
        """Sign claims; what the header says wins over what an honest one would say, and None leaves a name out."""
        parts = {"alg": "RS256", "kid": self.kid, "typ": "JWT", **(header or {})}
        honest = {name: value for name, value in parts.items() if value is not None}
        return self.token_of(json.dumps(honest).encode(), json.dumps(dict(claims)).encode())

    def token_of(self, header: bytes, claims: bytes) -> str:
        """Sign two texts as they are."""
        text = f"{base64url(header)}.{base64url(claims)}"
        return f"{text}.{base64url(self.signature(text.encode()))}"


@lru_cache(maxsize=1)
def _first_key() -> SigningKey:
    """Return the key that every issuer of a process begins with: making one takes longer than most tests."""
    return SigningKey("key-1")


class GoogleIssuer:
    """Serves its certificates while the block lasts.

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
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.certs_url = f"http://127.0.0.1:{self._server.server_port}/certs"

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
        return self.key.token(self.claims(**claims))

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._going_home.set()
        self._server.shutdown()
        self._server.server_close()

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


def _handler(issuer: GoogleIssuer) -> type[BaseHTTPRequestHandler]:
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


def main() -> None:
    """Serve, and print the address and a token for `--audience`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--audience", default="client-id")
    parser.add_argument("--sub", default="1")
    arguments = parser.parse_args()
    with GoogleIssuer() as google:
        token = google.id_token(aud=arguments.audience, sub=arguments.sub, email="ada@example.org", email_verified=True)
        print(json.dumps({"certs_url": google.certs_url, "token": token}), flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
