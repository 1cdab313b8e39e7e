"""A real Datastore emulator on loopback, from the jars that gcloud's emulator components bring.

with DatastoreEmulator() as emulator:
    store = DatastoreStore("demo-authflow", emulator_host=emulator.host)
    ...
    emulator.kill()
    emulator.start()
"""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeAlias

Backend: TypeAlias = Literal["datastore", "firestore"]

START_WITHIN = 60.0
_LIGHT = ["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Duser.language=en"]


def missing_part(backend: Backend = "datastore") -> str | None:
    """Name what keeps the emulator from starting here, or answer `None`."""
    if shutil.which("java") is None:
        return "the Datastore emulator needs java"
    if shutil.which("gcloud") is None:
        return "the Datastore emulator needs gcloud"
    jar = _jar(backend)
    return None if jar.exists() else f"gcloud lacks its component {jar.parent.name}"


class DatastoreEmulator:
    """The emulator, in a process of its own while the context lasts; its data is gone afterwards.

    Args:
        backend: `datastore` refuses the later of two commits at once, `firestore` (in Datastore mode) takes locks.
        index_file: Refuse a query that needs an index this file lacks (backend `datastore` only).

    Attributes:
        host: `127.0.0.1:PORT`, also while it is down.
    """

    def __init__(self, backend: Backend = "datastore", *, index_file: Path | None = None) -> None:
        self._backend = backend
        self._index_file = index_file
        self._process: subprocess.Popen[bytes] | None = None
        self._port = _free_port()
        self.host = f"127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="datastore-emulator-")
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
        """Start it, empty, and wait until it answers."""
        log_path = Path(self._folder.name) / "emulator.log"
        with log_path.open("wb") as log:
            self._process = subprocess.Popen(
                self._command(self._port), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._wait(self._process, log_path)

    def kill(self) -> None:
        """Send SIGKILL and wait for its end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def freeze(self) -> None:
        """Let it answer nothing, with its connections open, until `thaw`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def reset(self) -> None:
        """Drop every entity; takes some milliseconds."""
        request = urllib.request.Request(f"http://{self.host}/reset", method="POST", data=b"")
        with urllib.request.urlopen(request, timeout=10):
            pass

    def _command(self, port: int) -> list[str]:
        command = ["java", *_LIGHT, "-cp", str(_jar(self._backend))]
        where = ["start", "--host=127.0.0.1", f"--port={port}"]
        if self._backend == "firestore":
            program = "com.google.cloud.datastore.emulator.firestore.CloudFirestore"
            return [*command, program, *where, "--database-mode=datastore-mode"]
        indexes = []
        if self._index_file is not None:
            indexes = ["--require_indexes", f"--index_file={self._index_file.absolute()}"]
        options = ["--store_on_disk=False", "--firestore_in_datastore_mode", *indexes, self._folder.name]
        return [*command, "com.google.cloud.datastore.emulator.CloudDatastore", *where, *options]

    def _wait(self, process: subprocess.Popen[bytes], log_path: Path) -> None:
        until = time.monotonic() + START_WITHIN
        while time.monotonic() < until and process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://{self.host}/", timeout=1) as answer:
                    if answer.read().strip() == b"Ok":
                        return
            except OSError:
                pass
            time.sleep(0.05)
        raise RuntimeError(f"the Datastore emulator did not start: {log_path.read_text(errors='replace')[-2000:]}")

    def _end(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        self._folder.cleanup()


def _jar(backend: Backend) -> Path:
    root = Path(shutil.which("gcloud") or "gcloud").resolve().parents[1] / "platform"
    if backend == "firestore":
        return root / "cloud-firestore-emulator" / "cloud-firestore-emulator.jar"
    return root / "cloud-datastore-emulator" / "CloudDatastore.jar"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
