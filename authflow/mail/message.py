"""Make an RFC 5322 message of a `Mail`, so that nothing in it can add a header or a recipient."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from authflow.errors import BadInput, ConfigurationError
from authflow.identifiers import mail_address
from authflow.mail.protocol import Mail, MailRefused

if TYPE_CHECKING:
    from email.message import EmailMessage

_MESSAGE_ID = re.compile(r"<[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9.-]+>")
_NOT_IN_A_HEADER = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff]")
_NOT_IN_7BIT = re.compile(r"[^\n\t -~]|[^\n]{999}")


def build(mail: Mail, sender: str, *, now: datetime | None = None) -> EmailMessage:
    """Make the message that goes over the wire.

    Text and HTML are alternatives (RFC 2046, section 5.1.4), transfer-encoded to seven bits. `Auto-Submitted` keeps
    vacation responders quiet (RFC 3834). Domains are A-labels, so only a local part beyond ASCII needs a server with
    SMTPUTF8 (RFC 6531); `needs_smtputf8` tells.

    Args:
        sender: As in `transport_from_url`.
        now: The instant of the Date line, else the system clock's.

    Raises:
        MailRefused: An address is not exactly one address, a header has characters that cannot stand in one, or the
            text is no Unicode.
    """
    # 30 ms of imports that a process which sends no mail should not pay.
    from email import policy
    from email.headerregistry import Address
    from email.message import EmailMessage
    from email.utils import format_datetime

    name, address = _split_sender(sender)
    from_, to = _checked_address(address), _checked_address(mail.to)
    if _NOT_IN_A_HEADER.search(name + mail.subject) or "=?" in name:
        raise MailRefused("a header has control characters, line separators or lone surrogates")
    if not _MESSAGE_ID.fullmatch(mail.message_id) or "=?" in mail.message_id:
        raise MailRefused("the Message-ID is not <unique@domain>")

    message = EmailMessage(policy=policy.SMTP if (from_ + to).isascii() else policy.SMTPUTF8)
    message["Date"] = format_datetime(now or datetime.now(UTC))
    message["Message-ID"] = mail.message_id
    message["Auto-Submitted"] = "auto-generated"
    message["From"] = Address(name, *_halves(from_))
    message["To"] = Address("", *_halves(to))
    # Assigning a header decodes encoded words (RFC 2047), and up to Python 3.12.4 a line break that comes out of one is
    # written as it is. What looks like one is text here.
    message["Subject"] = mail.subject.replace("=?", "= ?")
    try:
        message.set_content(mail.text, cte=_transfer_encoding(mail.text))
        if mail.html is not None:
            message.add_alternative(mail.html, subtype="html", cte=_transfer_encoding(mail.html))
    except UnicodeEncodeError:
        # The exception holds the text, which holds a token.
        raise MailRefused("the text has lone surrogates") from None
    return message


def needs_smtputf8(message: EmailMessage) -> bool:
    """Tell whether a built message can only go to a server that speaks SMTPUTF8."""
    return not "".join(envelope(message)).isascii()


def envelope(message: EmailMessage) -> tuple[str, str]:
    """Return sender and recipient of a built message, as bare addresses."""
    return message["From"].addresses[0].addr_spec, message["To"].addresses[0].addr_spec


def check_sender(sender: str) -> None:
    """Refuse a sender that cannot be right, without the cost of judging it in full.

    Raises:
        ConfigurationError: It is neither `local@domain` nor `Name <local@domain>`.
    """
    name, address = _split_sender(sender)
    bad_name = _NOT_IN_A_HEADER.search(name) or re.search(r'=\?|[<>"\\]', name)
    if bad_name or not re.fullmatch(r"[^\s@<>,;:\"()\[\]\\]+@[^\s@<>,;:\"()\[\]\\]+", address):
        raise ConfigurationError("mail: the sender must be one address, as local@domain or Name <local@domain>")


def _split_sender(sender: str) -> tuple[str, str]:
    found = re.fullmatch(r'\s*"?([^<>"]*?)"?\s*<([^<>]*)>', sender)
    return (found[1], found[2]) if found else ("", sender)


def _checked_address(text: str) -> str:
    # `=?` is legal in a local part, and the start of an encoded word to the parsers behind us.
    if "=?" in text or " " in text:
        raise MailRefused("an address is not exactly one address")
    try:
        return mail_address(text)
    except BadInput as error:
        raise MailRefused("an address is not exactly one address") from error


def _halves(address: str) -> tuple[str, str]:
    local, _, domain = address.rpartition("@")
    return local, domain


def _transfer_encoding(text: str) -> str:
    # Left to itself the library wraps lines beyond 78 characters, which is every link, and makes base64 of the rest.
    return "quoted-printable" if _NOT_IN_7BIT.search(text) else "7bit"
