"""ViUR's command line and its Python client, as people install them, in a virtual environment of their own.

Made once, from `requirements-viur-clients.txt`. The command line says that it runs with Python 3.11, yet its sources
hold what 3.11 cannot read, so that this takes an interpreter of 3.12 or newer, which need not be the one that tests.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.parts.made_once import CACHE, ROOT, complaint, made_once

REQUIREMENTS = ROOT / "requirements-viur-clients.txt"
LEAST = (3, 12)

HOME = CACHE / "viur-clients"
PROGRAMS = HOME / "bin"
PYTHON = PROGRAMS / "python"
VIUR = PROGRAMS / "viur"


@functools.cache
def missing_part() -> str | None:
    """Install the clients unless they are there; say why they cannot be had, or answer `None`."""
    python = _new_enough_python()
    if python is None:
        return (
            "viur-cli needs Python 3.12 or newer beside the one that tests (name it: PYTHON_FOR_VIUR=/path/to/python)"
        )

    def make() -> str | None:
        if reason := complaint([python, "-m", "venv", HOME]):
            return f"no virtual environment for ViUR's clients: {reason}"
        install = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        # The file names all there is. Asked to look for more itself, older pips stumble over extras in this mode.
        if reason := complaint([*install, "--no-deps", "--requirement", REQUIREMENTS]):
            return f"ViUR's clients cannot be installed: {reason}"
        if reason := complaint([PYTHON, "-c", "import viur.scriptor"]):
            return f"viur-scriptor-api does not start (apt-get install libmagic1?): {reason}"
        return None

    return made_once(HOME, (REQUIREMENTS.read_bytes(), python.encode()), make)


def _new_enough_python() -> str | None:
    question = f"import sys; sys.exit(sys.version_info < {LEAST})"
    for candidate in _candidates():
        # pyenv puts programs on the path that only say which versions they would have.
        if complaint([candidate, "-c", question]) is None:
            return candidate
    return None


def _candidates() -> Iterator[str]:
    if named := os.environ.get("PYTHON_FOR_VIUR"):
        yield named
        return
    yield sys.executable
    for name in ("python3.12", "python3.13", "python3.14", "python3"):
        if found := shutil.which(name):
            yield found
    if pyenv := shutil.which("pyenv"):
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=False).stdout.strip()
        if root:
            yield from map(str, sorted(Path(root, "versions").glob("3.*/bin/python")))


if __name__ == "__main__":
    sys.exit(missing_part())
