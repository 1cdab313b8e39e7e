"""A program at a terminal of its own, and somebody who reads there and types."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

PATIENCE = 60.0


class Terminal:
    """One run of a program. Ends with the context, whatever happened.

    Attributes:
        shown: All that was on the screen so far.
    """

    def __init__(self, command: Sequence[str | Path], *, folder: Path, environment: Mapping[str, str]) -> None:
        self._command = command
        self._folder = folder
        self._environment = environment
        self.shown = ""
        self._waited_to = 0

    def __enter__(self) -> Self:
        self._screen, theirs = pty.openpty()
        try:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                start_new_session=True,
                # Ctrl-C, and a password that is asked for, need this to be the terminal that the program is run from.
                preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            )
        finally:
            os.close(theirs)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self._screen)

    def wait_for(self, text: str) -> None:
        """Read until a text is on the screen, after the one that was waited for before it."""
        until = time.monotonic() + PATIENCE
        while (at := self.shown.find(text, self._waited_to)) < 0:
            assert self._read(until), f"{text!r} did not come: {self.shown}"
        self._waited_to = at + len(text)

    def type(self, text: str) -> None:
        os.write(self._screen, text.encode())

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        self.type("\x03")

    def end(self) -> int:
        """Read to the end; return the exit code."""
        until = time.monotonic() + PATIENCE
        while self._read(until):
            pass
        return self._process.wait(PATIENCE)

    def _read(self, until: float) -> str:
        ready, _, _ = select.select([self._screen], [], [], max(0.0, until - time.monotonic()))
        assert ready, f"nothing more came: {self.shown}"
        try:
            more = os.read(self._screen, 65536).decode(errors="replace")
        except OSError:
            # Linux says so when the last program has left the terminal.
            return ""
        self.shown += more
        return more
