"""A person's SSH key: the real `ssh-keygen` makes it and signs with it."""

from __future__ import annotations

import re
import shutil
import subprocess
from html import unescape
from pathlib import Path


def missing_part() -> str | None:
    return None if shutil.which("ssh-keygen") else "signing needs ssh-keygen"


class SshIdentity:
    """A key pair in a folder."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "id_ed25519"
        self._run("-q", "-t", "ed25519", "-N", "", "-C", "till 1", "-f", str(self._file))

    @property
    def public_key(self) -> str:
        return self._file.with_suffix(".pub").read_text().strip()

    def follow(self, page: str) -> str:
        """Do what a page says, and return what would be pasted into it: browsers take line breaks out."""
        found = re.search(r"printf %s (\S+) \| ssh-keygen -Y sign -n (\S+) -f", unescape(page))
        assert found is not None, page
        return self.sign(found[1], namespace=found[2])

    def sign(self, text: str, *, namespace: str) -> str:
        return self._run("-Y", "sign", "-n", namespace, "-f", str(self._file), typed=text).replace("\n", "")

    def _run(self, *arguments: str, typed: str = "") -> str:
        return subprocess.run(
            ["ssh-keygen", *arguments], input=typed, capture_output=True, text=True, check=True, timeout=30
        ).stdout
