"""Parts that are installed or built on the machine that tests: once, by whichever process comes first."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / ".cache"
"""What can be thrown away at any time. Not part of the repository."""


def made_once(home: Path, ingredients: Sequence[bytes], make: Callable[[], str | None]) -> str | None:
    """Make what lies at `home`, unless it was made of just these ingredients already.

    Args:
        ingredients: All that decides the outcome.
        make: Fills `home`, which is gone when it is called; returns why it could not, or None.

    Returns:
        Why it is not there, or None.
    """
    digest = hashlib.sha256(str(home).encode())
    for ingredient in ingredients:
        digest.update(hashlib.sha256(ingredient).digest())
    wanted, stamp = digest.hexdigest(), home / "stamp"
    home.parent.mkdir(parents=True, exist_ok=True)
    with open(home.with_name(f"{home.name}.lock"), "w") as lock:
        # Test processes come at once: one works, the others wait and find it done.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return None
        shutil.rmtree(home, ignore_errors=True)
        reason = make()
        if reason is None:
            stamp.write_text(wanted)
        return reason


def complaint(command: Sequence[str | Path], *, folder: Path | None = None) -> str | None:
    """Run a command to its end; return the end of what it said if it failed, or None."""
    try:
        done = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
    except OSError as error:
        return str(error)
    return None if done.returncode == 0 else done.stdout[-1500:]
