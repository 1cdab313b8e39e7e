"""Fixtures of this room: a command line on a store of its own."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from authflow.cli.main import run

KEY = "command line test key that is long enough to be one"


@dataclass(frozen=True)
class Answer:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def data(self):
        return json.loads(self.out)


Command = Callable[..., Answer]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The settings of a new deployment, in this process's environment too."""
    for name in os.environ:
        if name.startswith(("AUTHFLOW_", "GAE_")):
            monkeypatch.delenv(name)
    settings = {
        "AUTHFLOW_STORE": f"sqlite:{tmp_path / 'store.db'}",
        "AUTHFLOW_SECRET_KEYS": KEY,
        "AUTHFLOW_BCRYPT_ROUNDS": "4",
        "AUTHFLOW_MAIL": f"file:{tmp_path / 'mail'}",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    return settings


@pytest.fixture
def authflow(
    environment: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Command:
    """Run a command in this process."""

    def command(*arguments: str, typed: str = "") -> Answer:
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        capsys.readouterr()
        code = run(arguments)
        said = capsys.readouterr()
        return Answer(code, said.out, said.err)

    return command
