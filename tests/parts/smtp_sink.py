"""A real SMTP server on loopback that keeps what it gets, with STARTTLS on a certificate made at start.

with SmtpSink() as sink:
    transport = transport_from_url(sink.url, sender="noreply@example.org")
    ...
    assert sink.messages[0]["Subject"] == "..."
"""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
import tempfile
import threading
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_Folder = tempfile.TemporaryDirectory


@dataclass(frozen=True)
class Delivery:
    """One accepted message with its envelope."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


class SmtpSink:
    """The server, in a thread of its own while the context lasts.

    Args:
        host: Address to listen on. The certificate is for 127.0.0.1 and localhost alone.
        starttls: Offer STARTTLS and refuse mail before it. Without it the server is plain.
        implicit_tls: Speak TLS from the first byte instead.
        login: User and password to demand.
        smtputf8: Offer SMTPUTF8.
        rcpt_reply, data_reply: Answer RCPT or DATA with this line, such as `"550 5.1.1 no such user"`.
        hang_at: Never answer this command (`"EHLO"`, `"RCPT"`, `"DATA"`, `"QUIT"`).

    Attributes:
        host, port, cafile: Where it is, and the certificate to trust (made also for a plain server).
        deliveries, messages: What was accepted, raw with envelope, and parsed.
        logins: Users that tried to log in, with success or without.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        starttls: bool = True,
        implicit_tls: bool = False,
        login: tuple[str, str] | None = None,
        smtputf8: bool = True,
        rcpt_reply: str | None = None,
        data_reply: str | None = None,
        hang_at: str | None = None,
    ) -> None:
        self.host = host
        self.port = 0
        self.cafile = ""
        self.deliveries: list[Delivery] = []
        self.logins: list[str] = []
        self._starttls = starttls and not implicit_tls
        self._implicit_tls = implicit_tls
        self._login = login
        self._smtputf8 = smtputf8
        self._replies = {"RCPT": rcpt_reply, "DATA": data_reply}
        self._hang_at = hang_at
        self._folder: _Folder[str] | None = None
        self._thread: threading.Thread | None = None
        self._loop = asyncio.new_event_loop()

    @property
    def messages(self) -> list[EmailMessage]:
        return [message_from_bytes(kept.content, policy=policy.default) for kept in self.deliveries]

    @property
    def url(self) -> str:
        """The setting for this server, with its login and its certificate."""
        login = f"{quote(self._login[0], safe='')}:{quote(self._login[1], safe='')}@" if self._login else ""
        scheme = "smtps" if self._implicit_tls else "smtp"
        return f"{scheme}://{login}{self.host}:{self.port}?cafile={quote(self.cafile)}"

    def __enter__(self) -> Self:
        self._folder = _Folder(prefix="smtp-sink-")
        cafile, keyfile = make_certificate(Path(self._folder.name))
        self.cafile = str(cafile)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cafile, keyfile)
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._begin(context), self._loop).result(5)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        assert self._thread is not None
        self._thread.join(5)
        self._loop.close()
        assert self._folder is not None
        self._folder.cleanup()

    async def _begin(self, context: ssl.SSLContext) -> None:
        # Not aiosmtpd's Controller: it probes the port it was given, and so cannot be given 0.
        self._server = await self._loop.create_server(
            lambda: self._session(context), self.host, 0, ssl=context if self._implicit_tls else None
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        self._server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _session(self, context: ssl.SSLContext) -> SMTP:
        return SMTP(
            self,
            loop=self._loop,
            hostname="sink.localhost",  # else it asks DNS for our name
            enable_SMTPUTF8=self._smtputf8,
            tls_context=context if self._starttls else None,
            require_starttls=self._starttls,
            auth_require_tls=self._starttls,
            authenticator=self._authenticate,
        )

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.logins.append(data.login.decode())
        given = (data.login.decode(), data.password.decode())
        # handled=True would leave the client without an answer until its timeout.
        return AuthResult(success=True) if given == self._login else AuthResult(success=False, handled=False)

    async def _answer(self, command: str) -> str | None:
        if self._hang_at == command:
            await asyncio.Event().wait()
        return self._replies.get(command)

    async def handle_EHLO(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        await self._answer("EHLO")
        session.host_name = hostname
        return responses

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        # Not by the server's auth_required: that warns when TLS is there from the first byte.
        if self._login and not session.authenticated:
            return "530 5.7.0 Authentication required"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if reply := await self._answer("RCPT"):
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if reply := await self._answer("DATA"):
            return reply
        assert envelope.mail_from is not None
        assert isinstance(envelope.content, bytes)
        self.deliveries.append(Delivery(envelope.mail_from, tuple(envelope.rcpt_tos), envelope.content))
        return "250 kept"

    async def handle_QUIT(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        await self._answer("QUIT")
        return "221 Bye"


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for localhost and 127.0.0.1 that is its own authority, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        # Python 3.13 verifies strictly, and then the identifiers of the key must be there.
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    cafile, keyfile = folder / "cert.pem", folder / "key.pem"
    cafile.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    keyfile.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cafile, keyfile
