"""The application as people run it: `authflow serve` in processes of its own, on a free port and a fresh folder.

with Server(workers=2) as server:
    person = RemotePerson(server)
    ...
    server.kill()
    server.start()
"""

from __future__ import annotations

import contextlib
import email
import email.policy
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import AsyncIterator, Mapping
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Self

from authflow.assembly import Application, build
from authflow.settings import from_environment

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 30.0
"""Seconds until something that should have happened counts as failed; generous, for machines that do much else."""


class Server:
    """One served instance with a store of its own. Starts on entering, ends on leaving, whatever happened.

    Args:
        workers: Processes that serve.
        rounds: bcrypt's cost.
        environment: Further variables; wins over what is made here.
        modules: By file name, the text of Python modules that the server can import.
        log_config: A `logging` configuration: then uvicorn is started with it, not `authflow serve`.
        arguments: Further arguments of `authflow serve`.

    Attributes:
        folder: What the server writes lies below it: store, keys, mails, logs.
        port, base_url: Where it is, also while it is down.
    """

    def __init__(
        self,
        *,
        workers: int = 1,
        rounds: int = 4,
        environment: Mapping[str, str] | None = None,
        modules: Mapping[str, str] | None = None,
        log_config: Mapping[str, object] | None = None,
        arguments: tuple[str, ...] = (),
    ) -> None:
        self.workers = workers
        self._rounds = rounds
        self._more = dict(environment or {})
        self._modules = dict(modules or {})
        self._log_config = log_config
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self.port = _free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._temporary = tempfile.TemporaryDirectory(prefix="authflow-served-", ignore_cleanup_errors=True)
        self.folder = Path(self._temporary.name)
        for name, text in self._modules.items():
            (self.folder / name).write_text(text)
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

    # --- Its life -----------------------------------------------------------------------------------------------------

    def start(self) -> float:
        """Start it and wait until it answers; return the seconds that this took."""
        began = time.monotonic()
        with open(self._log_path, "ab") as log:
            self._process = subprocess.Popen(
                self._command(),
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while not self.is_healthy():
            if self._process.poll() is not None or time.monotonic() - began > PATIENCE:
                raise RuntimeError(f"the server did not start: {self.log()[-3000:]}")
            time.sleep(0.02)
        return time.monotonic() - began

    def stop(self) -> int:
        """Ask it to stop, and return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(PATIENCE)

    def kill(self) -> None:
        """Send SIGKILL to all of its processes at once, and wait until they are gone."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _end(self) -> None:
        try:
            if self._process is not None and self._process.poll() is None:
                self._process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(5)
        finally:
            self.kill()
            self._temporary.cleanup()

    def is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.base_url}/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def _command(self) -> list[str]:
        if self._log_config is None:
            serve = [sys.executable, "-m", "authflow.cli", "serve", "--host", "127.0.0.1", "--port", str(self.port)]
            return [*serve, "--workers", str(self.workers), *self._arguments]
        config = self.folder / "logging.json"
        config.write_text(json.dumps(self._log_config))
        bound = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", str(self.workers)]
        return [sys.executable, "-m", "uvicorn", "authflow.asgi:app", *bound, "--log-config", str(config)]

    # --- What it reads and writes -------------------------------------------------------------------------------------

    @property
    def origin(self) -> str:
        """Where the application believes to be."""
        return self.environment["AUTHFLOW_BASE_URL"]

    @property
    def environment(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AUTHFLOW_", "GAE_", "GOOGLE_", "COV_"))}
        return {
            **kept,
            "PYTHONPATH": f"{self.folder}{os.pathsep}{ROOT}",
            "PYTHONUNBUFFERED": "1",
            "AUTHFLOW_STORE": f"sqlite:{self.database}",
            "AUTHFLOW_MAIL": f"file:{self.mail_folder}",
            "AUTHFLOW_BASE_URL": self.base_url,
            "AUTHFLOW_BCRYPT_ROUNDS": str(self._rounds),
            # So that a test can be as many clients as it likes, see `RemotePerson`.
            "AUTHFLOW_TRUSTED_PROXIES": "1",
            "AUTHFLOW_WORKERS": str(self.workers),
            **self._more,
        }

    @property
    def database(self) -> Path:
        return self.folder / "store.sqlite"

    @property
    def mail_folder(self) -> Path:
        return self.folder / "mails"

    @property
    def _log_path(self) -> Path:
        return self.folder / "server.log"

    def log(self) -> str:
        return self._log_path.read_text(errors="replace")

    @property
    def setup_link(self) -> str:
        """The link that the first start printed."""
        found = re.search(r"http\S+/setup\?setup_key=\S+", self.log())
        assert found is not None, self.log()
        return found[0]

    def mails(self) -> list[EmailMessage]:
        """Return what was mailed so far, the oldest first."""
        files = sorted(self.mail_folder.glob("*.eml"))
        return [email.message_from_bytes(file.read_bytes(), policy=email.policy.default) for file in files]

    def wait_for_mail(self, *, count: int = 1) -> EmailMessage:
        """Wait until so many mails were sent; return the newest."""
        until = time.monotonic() + PATIENCE
        while len(mails := self.mails()) < count:
            assert time.monotonic() < until, f"{len(mails)} mails, not {count}: {self.log()[-2000:]}"
            time.sleep(0.02)
        return mails[-1]

    @contextlib.asynccontextmanager
    async def application(self) -> AsyncIterator[Application]:
        """Open a second application on the same store, in this process: an operator's hands. It does no tasks."""
        # No module of the server's own: the stock `User` suffices to look at the store.
        settings = from_environment({**self.environment, "AUTHFLOW_USER": "", "AUTHFLOW_MAIL": "file:unused"})
        app = build(settings)
        await app.open(with_worker=False)
        try:
            yield app
        finally:
            await app.close()

    # --- Its processes ------------------------------------------------------------------------------------------------

    def pids(self) -> list[int]:
        """Return the processes of the server, the one that was started first."""
        return [self.pid, *_descendants(self.pid)]

    def serving(self, connection: socket.socket) -> int:
        """Return the process that holds the other end of a connection (Linux)."""
        mine, theirs = connection.getsockname()[1], connection.getpeername()[1]
        inode = _inode(local=theirs, remote=mine)
        for pid in self.pids():
            with contextlib.suppress(OSError):
                for entry in os.scandir(f"/proc/{pid}/fd"):
                    with contextlib.suppress(OSError):
                        if os.readlink(entry.path) == f"socket:[{inode}]":
                            return pid
        raise LookupError("no process of the server holds this connection")

    def resident_bytes(self) -> int:
        """Return how much memory all of its processes hold (Linux)."""
        total = 0
        for pid in self.pids():
            found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
            total += int(found[1]) * 1024 if found else 0
        return total


def _descendants(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            found += [int(child), *_descendants(int(child))]
    return found


def _inode(*, local: int, remote: int) -> str:
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        ports = [int(words[column].rpartition(":")[2], 16) for column in (1, 2)]
        if ports == [local, remote] and words[9] != "0":
            return words[9]
    raise LookupError("the connection is not (yet) accepted")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
