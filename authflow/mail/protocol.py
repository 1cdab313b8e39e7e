"""What a mail is, what a transport does with it, and the two ways in which it can fail."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from authflow.errors import AuthflowError, Unavailable


class MailRefused(AuthflowError):
    """This message can never be sent: its address or encoding is bad, or the server refused it for good (5xx)."""

    code = "mail_refused"
    sentence = "This message could not be sent."


class MailUnavailable(Unavailable):
    """The message could not be sent just now: connection, TLS, login, time or a passing refusal (4xx)."""

    code = "mail_unavailable"


@dataclass(frozen=True, slots=True)
class Mail:
    """One message to one address.

    Attributes:
        to: Exactly one address, without a display name.
        text: The plain text part. It and `html` hold links with tokens and stay out of `repr`.
        html: The same in HTML, or None for a message of text alone.
        message_id: `<unique@domain>`. The same for every attempt to send this message, so that a receiver can drop
            the second copy.
    """

    to: str
    subject: str
    text: str = field(repr=False)
    html: str | None = field(repr=False)
    message_id: str


class MailTransport(Protocol):
    """Takes a message to where it is delivered from."""

    async def send(self, mail: Mail) -> None:
        """Send a message. When this returns, the next hop has answered for it.

        Raises:
            MailRefused: It can never be sent; trying again is of no use.
            MailUnavailable: It may be sent later. After a lost connection it may already have been.
        """
