"""Show mails on the terminal, for development."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import TextIO

from authflow.mail.message import build
from authflow.mail.protocol import Mail

_TERMINAL_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class ConsoleTransport:
    """Writes each mail to standard error, whole and decoded. The links work, so the terminal is as good as the mailbox.

    Args:
        stream: Where to write instead.
    """

    def __init__(self, sender: str, stream: TextIO | None = None) -> None:
        self._sender = sender
        self._stream = stream

    def __repr__(self) -> str:
        return "ConsoleTransport()"

    async def send(self, mail: Mail) -> None:
        """Write the mail. What SMTP would refuse is refused here too."""
        message = await asyncio.to_thread(build, mail, self._sender)
        headers = "\n".join(f"{name}: {message[name]}" for name in ("Date", "From", "To", "Subject", "Message-ID"))
        parts = [headers, mail.text.strip("\n")]
        if mail.html is not None:
            parts += ["--- html ---", mail.html.strip("\n")]
        # A name typed by a stranger may stand in the text; its escape sequences must not reach the terminal.
        shown = _TERMINAL_CONTROL.sub("\N{REPLACEMENT CHARACTER}", "\n\n".join(parts).replace("\r\n", "\n"))
        stream = self._stream or sys.stderr
        stream.write(f"{'-' * 30} mail {'-' * 30}\n{shown}\n{'-' * 66}\n")
        stream.flush()
