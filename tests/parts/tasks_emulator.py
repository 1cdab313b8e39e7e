"""A real Cloud Tasks emulator on loopback, which delivers what is created and tries again what fails.

with TasksEmulator(target_port=server.port) as emulator:
    ... CLOUD_TASKS_EMULATOR_HOST=emulator.host, the queue is emulator.queue ...

It wants older libraries than ours and so lives in a virtual environment of its own, inside the one the tests run in:
made once, from `requirements-tasks-emulator.txt`, by whichever test process comes first.

It is not like the real service in this: a name that was used already is accepted again, no identity token comes with an
HTTP task, the header with the queue's name holds the full path, and a failed task comes again after 0.1 to 0.2 s. Its
port is open to other machines too while it lasts; it holds nothing but ids.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import socket
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path
from types import TracebackType
from typing import Self

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ROOT / "requirements-tasks-emulator.txt"
QUEUE = "projects/test-project/locations/europe-west1/queues/mail"
START_WITHIN = 60.0

_SURROUNDING = Path(sys.prefix) if sys.prefix != sys.base_prefix else ROOT / ".venv"
_HOME = _SURROUNDING / "tasks-emulator"


@functools.cache
def missing_part() -> str | None:
    """Install the emulator unless it is there; say why it cannot be had, or answer `None`."""
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.encode() + str(_HOME).encode()).hexdigest()
    stamp = _HOME / "stamp"
    _SURROUNDING.mkdir(exist_ok=True)
    with open(_HOME.with_name("tasks-emulator.lock"), "w") as lock:
        # Test processes come at once: one installs, the others wait and find it done.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if stamp.exists() and stamp.read_text() == wanted:
            return None
        venv.create(_HOME, clear=True, with_pip=True)
        install = [_HOME / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes"]
        # The file names all there is. Asked to look for more itself, older pips stumble over extras in this mode.
        install.append("--no-deps")
        done = subprocess.run(
            [*install, "--requirement", REQUIREMENTS],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode != 0:
            return f"the Cloud Tasks emulator cannot be installed: {done.stdout[-500:]}"
        stamp.write_text(wanted)
        return None


class TasksEmulator:
    """The emulator, in a process of its own while the context lasts.

    Attributes:
        target_port: Where tasks with an App Engine target are sent, on 127.0.0.1. HTTP tasks go to their own address.
        host: `127.0.0.1:PORT`, also before it is started.
        queue: The full name of its one queue.
    """

    queue = QUEUE

    def __init__(self, *, target_port: int = 9) -> None:
        self.target_port = target_port
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        self.host = f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="tasks-emulator-")
        try:
            self.start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def start(self) -> None:
        """Start it and wait until it listens. What an earlier run held is gone."""
        where = ["-p", str(self.port), "-H", "127.0.0.1", "-t", str(self.target_port), "-d", self.queue]
        with open(self._log_path, "ab") as log:
            self._process = subprocess.Popen(
                [_HOME / "bin" / "gcloud-tasks-emulator", "start", *where],
                env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until = time.monotonic() + START_WITHIN
        while time.monotonic() < until and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 0.2).close()
                return
            except OSError:
                time.sleep(0.05)
        raise RuntimeError(f"the Cloud Tasks emulator did not start: {self.log()[-2000:]}")

    def stop(self) -> None:
        """End it: from now on nobody listens at its address."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log(self) -> str:
        return self._log_path.read_text(errors="replace")

    @property
    def _log_path(self) -> Path:
        return Path(self._folder.name) / "emulator.log"

    def _end(self) -> None:
        self.stop()
        self._folder.cleanup()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
