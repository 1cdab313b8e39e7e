"""What `gcloud app deploy` takes along: chosen by gcloud itself, copied, and installed as App Engine's build does."""

from __future__ import annotations

import fcntl
import functools
import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

_NO_OVERRIDE = "-dac_override,-dac_read_search"


def missing_part() -> str | None:
    """Name what is needed to find out what would be uploaded, or answer `None`."""
    return None if shutil.which("gcloud") else "finding out what is uploaded needs gcloud"


def chosen(folder: Path) -> set[str]:
    """Return the paths below a folder that `gcloud app deploy` would upload. gcloud decides; nothing leaves here."""
    with tempfile.TemporaryDirectory() as config:
        quiet = {"CLOUDSDK_CONFIG": config, "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "true"}
        done = subprocess.run(
            ["gcloud", "meta", "list-files-for-upload", str(folder)],
            env=os.environ | quiet,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split("\n")) - {""}


def copied(folder: Path, target: Path) -> Path:
    """Copy what would be uploaded, and return where it is."""
    for name in chosen(folder):
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, target / name)
    return target


def installed(requirements: Path, target: Path) -> str | None:
    """Make a virtual environment that holds just what a file of requirements names, each of it checked by its hash.

    Several test processes may ask for the same one: the first makes it.

    Returns:
        Why it cannot be made, or `None`.
    """
    stamp = target.with_name(target.name + ".made")
    with open(target.with_name(target.name + ".lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists():
            return stamp.read_text() or None
        subprocess.run([_python(), "-m", "venv", str(target)], check=True, stdin=subprocess.DEVNULL, timeout=120)
        done = subprocess.run(
            [target / "bin" / "pip", "install", "--quiet", "--require-hashes", "--requirement", requirements],
            cwd=requirements.parent,
            env={k: v for k, v in os.environ.items() if not k.startswith("PYTHON")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
            check=False,
        )
        problem = "" if done.returncode == 0 else f"{requirements.name} cannot be installed: {done.stdout[-1500:]}"
        make_read_only(target)
        stamp.write_text(problem)
        return problem or None


@functools.cache
def _python() -> str:
    """Return the interpreter of app.yaml's runtime where there is one, else the one that runs the tests."""
    found = shutil.which("python3.13")
    if (
        found
        and subprocess.run([found, "-c", "import venv, ensurepip"], capture_output=True, check=False).returncode == 0
    ):
        return found
    return sys.executable


# --- A disk that cannot be written to ---------------------------------------------------------------------------------


def confinement() -> Sequence[str] | None:
    """Return what to put before a command so that permissions hold for it; for root they do not by themselves."""
    if os.geteuid() != 0:
        return ()
    return ("setpriv", f"--bounding-set={_NO_OVERRIDE}") if shutil.which("setpriv") else None


def make_read_only(folder: Path) -> None:
    """Take the right to write away from everything below a folder, and from itself."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o222)


def make_writable(folder: Path) -> None:
    """Give it back to the owner, so that the folder can be removed."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(stat.S_IMODE(path.stat().st_mode) | 0o200)


def state(folder: Path) -> dict[str, tuple[int, int]]:
    """Return size and time of change of everything below a folder."""
    return {str(path): (found.st_size, found.st_mtime_ns) for path in folder.rglob("*") if (found := path.lstat())}
