"""Write mails into a folder, for tests and for relays that pick up files."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from pathlib import Path

from authflow.errors import ConfigurationError
from authflow.mail.message import build
from authflow.mail.protocol import Mail, MailUnavailable


class FileTransport:
    """Writes one `.eml` file for each sending, readable by its owner alone.

    A file appears whole or not at all. Names sort by time and then hold a hash of the Message-ID, so two sendings of
    one message are two files with one hash.

    Raises:
        ConfigurationError: `folder` is something else than a folder. It need not exist yet.
    """

    def __init__(self, folder: str | Path, sender: str) -> None:
        self._folder = Path(folder)
        self._sender = sender
        self._last = 0
        if self._folder.exists() and not self._folder.is_dir():
            raise ConfigurationError("mail: the path of file: exists and is not a folder")

    def __repr__(self) -> str:
        return f"FileTransport({str(self._folder)!r})"

    async def send(self, mail: Mail) -> None:
        """Write the file, and return when it is on the disk."""
        # Taken here, on the one thread of the event loop, so that a coarse clock cannot give two mails one instant.
        self._last = max(self._last + 1, time.time_ns())
        await asyncio.to_thread(self._write, mail, self._last)

    def _write(self, mail: Mail, at: int) -> None:
        content = build(mail, self._sender).as_bytes()
        seconds, fraction = divmod(at, 1_000_000_000)
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(seconds))
        digest = hashlib.sha256(mail.message_id.encode()).hexdigest()[:16]
        # The random end keeps two processes apart that share the folder.
        name = f"{stamp}.{fraction:09}Z-{digest}-{os.urandom(4).hex()}.eml"
        temporary = self._folder / f".{name}.tmp"
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.rename(self._folder / name)
            except OSError:
                with contextlib.suppress(OSError):
                    temporary.unlink(missing_ok=True)
                raise
        except OSError as error:
            raise MailUnavailable(f"cannot write into the mail folder: {error.strerror}") from error
