"""Mails that came, and the links in them."""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
import time
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path

from tests.deployment.entrypoint import PATIENCE


async def wait_until(holds: Callable[[], bool], complaint: str) -> None:
    """Wait for something that another process does."""
    until = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < until, complaint
        await asyncio.sleep(0.02)


def in_folder(folder: Path) -> list[EmailMessage]:
    """Read the mails that were written to a folder, the oldest first."""
    files = sorted(folder.glob("*.eml"))
    return [email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in files]


def link_in(message: EmailMessage, base_url: str) -> str:
    """Return the first link of ours in a mail."""
    body = message.get_body(("plain",))
    assert body is not None
    found = re.search(re.escape(base_url) + r"/\S+", body.get_content())
    assert found is not None, body.get_content()
    return found[0]
