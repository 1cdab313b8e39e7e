"""Send mails over SMTP, always under TLS with a verified certificate."""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING, Self

from authflow.errors import ConfigurationError
from authflow.mail.message import build, envelope, needs_smtputf8
from authflow.mail.protocol import Mail, MailRefused, MailUnavailable

if TYPE_CHECKING:
    import ssl

    from aiosmtplib import SMTP, SMTPResponseException

DEADLINE = 15.0
"""Seconds for one message, from the look-up of the server's name to its answer for the text."""

# The resolver raises UnicodeError on empty or longer labels; that is for the start to find, not for the first mail.
_HOST = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63}){0,126}|[0-9a-f:.]*:[0-9a-f:.]*")

_LOGIN_WANTED = frozenset({530, 534, 535, 538})
"""Replies that speak of our login and not of the message (RFC 4954, section 6)."""


class SmtpTransport:
    """Sends each mail over a connection of its own.

    Without TLS nothing is sent, not even the user's name: a server that does not offer STARTTLS, or whose certificate
    does not verify, is `MailUnavailable`.

    Args:
        implicit_tls: Speak TLS from the first byte (RFC 8314) instead of after STARTTLS.
        cafile: PEM certificates to trust besides the system's.
        deadline: Seconds for one message.

    Raises:
        ConfigurationError: `cafile` cannot be read.
    """

    def __init__(
        self,
        host: str,
        port: int,
        sender: str,
        *,
        user: str | None = None,
        password: str | None = None,
        implicit_tls: bool = False,
        cafile: str | None = None,
        deadline: float = DEADLINE,
    ) -> None:
        self._host = host
        self._port = port
        self._sender = sender
        self._user = user
        self._password = password
        self._implicit_tls = implicit_tls
        self._deadline = deadline
        # Without a file of ours nothing can be wrong with the trust, and reading the system's waits for the first mail.
        self._tls = _tls_context(cafile) if cafile is not None else None

    @classmethod
    def from_url(cls, url: str, sender: str) -> Self:
        """Read `smtp://` or `smtps://` (see `transport_from_url`).

        Raises:
            ConfigurationError: The URL is malformed. No part of it is shown, as any part may be the password.
        """
        from urllib.parse import parse_qsl, unquote, urlsplit

        # Errors of the standard library quote what they cannot parse: none of them is chained.
        try:
            if not url.isprintable() or " " in url:  # urlsplit drops line breaks in silence
                raise ValueError
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
            login, at, _ = parts.netloc.rpartition("@")
            user, colon, password = (unquote(part, errors="strict") for part in login.partition(":"))
            options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query), errors="strict")
        except ValueError:
            raise ConfigurationError(
                "mail: the SMTP URL is malformed; user and password must be percent-encoded"
            ) from None
        if not host or not _HOST.fullmatch(host) or port == 0:
            raise ConfigurationError("mail: the SMTP URL has no usable host and port")
        if at and not (user and colon and password and (user + password).isprintable()):
            raise ConfigurationError("mail: the SMTP URL must have both user and password, or neither")
        if parts.path not in ("", "/") or parts.fragment or [name for name, _ in options] not in ([], ["cafile"]):
            raise ConfigurationError("mail: after host and port the SMTP URL may have ?cafile=PATH and nothing else")
        implicit_tls = parts.scheme == "smtps"
        return cls(
            host,
            port or (465 if implicit_tls else 587),
            sender,
            user=user or None,
            password=password or None,
            implicit_tls=implicit_tls,
            cafile=dict(options).get("cafile"),
        )

    def __repr__(self) -> str:
        scheme = "smtps" if self._implicit_tls else "smtp"
        return f"SmtpTransport({scheme}://{self._host}:{self._port})"

    async def send(self, mail: Mail) -> None:
        """Hand the mail to the server, and return when it has answered 250 for it."""
        message = await asyncio.to_thread(build, mail, self._sender)
        content = message.as_bytes()
        sender, recipient = envelope(message)
        options = ["SMTPUTF8", "BODY=8BITMIME"] if needs_smtputf8(message) else []
        if self._tls is None:
            self._tls = await asyncio.to_thread(_tls_context, None)
        from aiosmtplib import SMTP

        client = SMTP(
            hostname=self._host,
            port=self._port,
            use_tls=self._implicit_tls,
            start_tls=not self._implicit_tls,
            tls_context=self._tls,
            timeout=self._deadline,
            # The default asks DNS for our own name, which may take seconds and tells the relay more than it needs.
            local_hostname=sender.rpartition("@")[2],
        )
        try:
            async with asyncio.timeout(self._deadline):
                await self._log_in(client)
                await self._deliver(client, sender, recipient, content, options)
        except TimeoutError as error:
            raise MailUnavailable(f"{self!r}: no answer in time") from error
        except OSError as error:
            raise MailUnavailable(f"{self!r}: {_reason(error)}") from error
        finally:
            client.close()

    async def _log_in(self, client: SMTP) -> None:
        """Connect, start TLS, log in. Whatever fails here is not the message's fault, so the message waits."""
        from aiosmtplib import SMTPException, SMTPResponseException

        try:
            await client.connect()
            if self._user is not None and self._password is not None:
                await client.login(self._user, self._password)
        except SMTPResponseException as error:
            raise MailUnavailable(f"{self!r}: refused before the message: {_reply(error)}") from None
        except SMTPException as error:
            if isinstance(error, OSError):
                raise
            raise MailUnavailable(f"{self!r}: no STARTTLS, or no login that we know") from error

    async def _deliver(self, client: SMTP, sender: str, recipient: str, content: bytes, options: list[str]) -> None:
        from aiosmtplib import SMTPException, SMTPNotSupported, SMTPRecipientsRefused, SMTPResponseException

        try:
            await client.sendmail(sender, [recipient], content, mail_options=options)
        except SMTPRecipientsRefused as error:
            raise self._judged(error.recipients[0]) from None
        except SMTPResponseException as error:
            raise self._judged(error) from None
        except (SMTPNotSupported, ValueError) as error:
            raise MailRefused(f"{self!r}: the address needs SMTPUTF8, or cannot be said in SMTP") from error
        except SMTPException as error:
            if isinstance(error, OSError):
                raise
            raise MailUnavailable(f"{self!r}: the server did not follow the protocol") from error
        # The server has the message. A fault while parting must not make it be sent again.
        with contextlib.suppress(SMTPException, OSError):
            await client.quit(timeout=1)

    def _judged(self, error: SMTPResponseException) -> MailRefused | MailUnavailable:
        if 500 <= error.code < 600 and error.code not in _LOGIN_WANTED:
            return MailRefused(f"{self!r}: {_reply(error)}")
        return MailUnavailable(f"{self!r}: {_reply(error)}")


def _reply(error: SMTPResponseException) -> str:
    """Return the reply's numbers. Its words may quote the message, and with it a link, so they stay out of logs."""
    status = re.match(r"[245]\.\d{1,3}\.\d{1,3}\b", error.message)
    return f"{error.code} {status[0]}" if status else str(error.code)


def _reason(error: OSError) -> str:
    import ssl

    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"certificate refused: {cause.verify_message}"
    return f"{type(cause).__name__}: {cause.strerror or 'connection failed'}"


def _tls_context(cafile: str | None) -> ssl.SSLContext:
    import ssl

    context = ssl.create_default_context()
    if cafile is not None:
        try:
            context.load_verify_locations(cafile)
        except OSError as error:  # ssl.SSLError is one
            raise ConfigurationError("mail: the cafile of the SMTP URL cannot be read as PEM certificates") from error
    return context
