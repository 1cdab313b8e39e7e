"""Mail: one message type, the transports that send it, and the setting that names one.

Every transport sends what `build` makes, so an address that the relay could be tricked with is refused everywhere.
"""

from __future__ import annotations

from authflow.errors import ConfigurationError
from authflow.mail.console import ConsoleTransport
from authflow.mail.file import FileTransport
from authflow.mail.message import build, check_sender
from authflow.mail.protocol import Mail, MailRefused, MailTransport, MailUnavailable
from authflow.mail.smtp import SmtpTransport

__all__ = [
    "ConsoleTransport",
    "FileTransport",
    "Mail",
    "MailRefused",
    "MailTransport",
    "MailUnavailable",
    "SmtpTransport",
    "build",
    "transport_from_url",
]


def transport_from_url(url: str, *, sender: str) -> MailTransport:
    """Make the transport that a setting names. Nothing is connected or written yet.

    Args:
        url: `console:`, `file:DIR`, `smtp://USER:PASS@HOST:PORT` (STARTTLS, port 587 unless given) or
            `smtps://USER:PASS@HOST:PORT` (TLS from the first byte, port 465 unless given). User and password are
            percent-encoded and may be left out together. `?cafile=PATH` adds certificates to the system's trust.
        sender: Address of the From line, `noreply@example.org` or `Example <noreply@example.org>`.

    Raises:
        ConfigurationError: One of the two cannot be used. The message says why and never repeats the URL.
    """
    check_sender(sender)
    scheme, _, rest = url.partition(":")
    match scheme.lower():
        case "console" if not rest:
            return ConsoleTransport(sender)
        case "file":
            return FileTransport(_folder(rest), sender)
        case "smtp" | "smtps":
            return SmtpTransport.from_url(url, sender)
        case _:
            raise ConfigurationError("mail: want console:, file:DIR, smtp://... or smtps://...")


def _folder(rest: str) -> str:
    if rest.startswith("///"):
        rest = rest[2:]
    if not rest or rest.startswith("//") or "\0" in rest:
        raise ConfigurationError("mail: file: wants a folder, as in file:outbox or file:/var/outbox")
    return rest
