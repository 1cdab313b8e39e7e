"""A process as App Engine starts it: the line of `app.yaml`, by a shell, in the uploaded folder, with `$PORT` set."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from authflow.testing import Page
from tests.served.client import RemotePerson, new_address

PATIENCE = 60.0
"""Seconds until something that should have happened counts as failed; generous, for machines that do much else."""

_NOT_INHERITED = ("AUTHFLOW_", "GAE_", "GOOGLE_", "GCE_", "COV_", "PYTHON", "DATASTORE_", "CLOUD_TASKS_", "CLOUDSDK_")


def app_yaml(folder: Path) -> dict[str, Any]:
    """Read the `app.yaml` of a folder."""
    found: dict[str, Any] = yaml.safe_load((folder / "app.yaml").read_text(encoding="utf-8"))
    return found


def clean_environment(bin_folder: Path, **more: str) -> dict[str, str]:
    """Return an environment without the settings of whoever runs the tests; programs of `bin_folder` come first.

    `PYTHONNOUSERSITE` and no `HOME`: nothing of the user's own account gets in.
    """
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_INHERITED) and k != "HOME"}
    return {**kept, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}", "PYTHONNOUSERSITE": "1", **more}


class Entrypoint:
    """The process while the context lasts. Starts on entering, ends on leaving, whatever happened.

    Args:
        folder: Where it starts: what was uploaded.
        environment: All of it but `PORT`.
        log_folder: Where its output is kept.
        base_url: Where people believe to be, if not on the loopback port.
        confined: What the command line is put behind, see `confinement`.

    Attributes:
        port: Where it listens.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        log_folder: Path,
        *,
        base_url: str = "",
        confined: Sequence[str] = (),
    ) -> None:
        self.folder = folder
        self.line = app_yaml(folder)["entrypoint"]
        self.port = _free_port()
        self.base_url = base_url or f"http://127.0.0.1:{self.port}"
        self.environment = {**environment, "PORT": str(self.port)}
        self._log = log_folder / f"entrypoint-{self.port}.log"
        self._confined = list(confined)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.seconds = self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def run(self) -> int:
        """Start it and wait until it ends by itself; return its exit code."""
        self._spawn()
        assert self._process is not None
        try:
            return self._process.wait(PATIENCE)
        finally:
            self._end()

    def stop(self) -> int:
        """Ask it to stop, as App Engine does, and return its exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(PATIENCE)

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def is_healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/healthz", timeout=2) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _start(self) -> float:
        began = time.monotonic()
        self._spawn()
        assert self._process is not None
        while not self.is_healthy():
            if self._process.poll() is not None or time.monotonic() - began > PATIENCE:
                raise RuntimeError(f"it did not start: {self.log()[-4000:]}")
            time.sleep(0.02)
        return time.monotonic() - began

    def _spawn(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._confined, "/bin/sh", "-c", f"exec {self.line}"],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _end(self) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


class Visitor(RemotePerson):
    """Somebody with a browser, in front of a process that believes to be elsewhere.

    Args:
        through_app_engine: Come as App Engine's front end hands people on: TLS ended, its own headers set.
    """

    def __init__(self, server: Entrypoint, *, address: str = "", through_app_engine: bool = False) -> None:
        super().__init__(server, address=address or new_address())  # type: ignore[arg-type]
        self.headers["host"] = server.base_url.partition("//")[2]
        if through_app_engine:
            self.headers |= {"x-appengine-user-ip": self.address, "x-forwarded-proto": "https"}

    async def request(
        self, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Page:
        more = dict(headers or {})
        if method == "POST":
            more.setdefault("origin", self.server.base_url)
        path = path.removeprefix(self.server.base_url)
        return await super().request(method, path, body=body, headers=more)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
