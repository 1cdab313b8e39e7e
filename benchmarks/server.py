"""A server child and what the kernel knows of it: CPU time, memory."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from benchmarks.client import Browser, Failed, drive
from benchmarks.subjects import ROOT, Subject, repeated

START_WITHIN = 30.0


def cores() -> tuple[int, int]:
    """Return the core of the server and that of the client; -1 for both where there is only one."""
    if not hasattr(os, "sched_getaffinity"):
        return -1, -1
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[1]) if len(usable) > 1 else (-1, -1)


class Server:
    """One uvicorn worker of a subject, with a fresh copy of a seeded database. A context manager.

    Attributes:
        start_wall, start_cpu: Seconds from the process's creation to the first login page.
        start_rss: MB resident at that point.
    """

    def __init__(self, subject: Subject, seeded: Path, core: int) -> None:
        self.subject = subject
        self.port = _free_port()
        self._file = seeded.with_suffix(".run")
        self._remove_files()
        shutil.copy(seeded, self._file)
        command = [sys.executable, "-m", "benchmarks.serve", subject.app, str(self.port), str(core)]
        environment = subject.child_environment(self._file, self.port)
        began = time.perf_counter()
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE)
        try:
            self._wait_until_ready(began + START_WITHIN)
        except BaseException:
            self._stop()
            raise
        self.start_wall = time.perf_counter() - began
        self.start_cpu = self.cpu()
        self.start_rss = self.rss()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop()

    def browser(self) -> Browser:
        return Browser(self.port)

    def cpu(self) -> float:
        """Return the seconds of CPU, user and system, that the process has used with all its threads."""
        # The kernel's name for another process's CPU clock (clock_getcpuclockid): nanoseconds, where /proc has ticks.
        return time.clock_gettime_ns((~self._process.pid << 3) | 2) / 1e9

    def rss(self) -> float:
        """Return the resident memory in MB."""
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise Failed("the server has gone")

    def modules(self) -> int:
        """Return how many modules the process has loaded."""
        self._process.send_signal(signal.SIGUSR1)
        # The interpreter looks at signals when it runs next.
        drive(self.port, [repeated(self.browser().get(self.subject.login), 1)], within=10)
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())

    def _wait_until_ready(self, until: float) -> None:
        request = repeated(Browser(self.port).get(self.subject.login), 1)
        while True:
            try:
                drive(self.port, [request], within=10)
            except ConnectionRefusedError:
                if self._process.poll() is not None or time.perf_counter() > until:
                    raise Failed(f"{self.subject.name} did not start") from None
                time.sleep(0.002)
                request = repeated(Browser(self.port).get(self.subject.login), 1)
            else:
                return

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._remove_files()

    def _remove_files(self) -> None:
        for suffix in ("", "-wal", "-shm"):
            self._file.with_name(self._file.name + suffix).unlink(missing_ok=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
