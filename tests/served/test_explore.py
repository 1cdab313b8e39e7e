"""The long runs, in short: they run, they say what they found, and they find what was planted."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.parts.server import ROOT


def explore(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.served.explore", *arguments]
    environment = {**os.environ, "AUTHFLOW_TESTING": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_a_thousand_malformed_requests_break_nothing() -> None:
    done = explore("fuzz", "--requests", "1000", "--seed", "1")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "1000 requests" in done.stdout


def test_a_provider_that_leaks_is_found() -> None:
    done = explore("timing", "--planted", "--samples", "150", "--endpoint", "login", "--cost", "5")

    assert done.returncode == 1, done.stdout + done.stderr
    assert "TELLS  known / unknown" in done.stdout


def test_the_orders_of_a_scene_are_counted() -> None:
    done = explore("schedules", "-k", "untouched")

    assert done.returncode == 0, done.stdout + done.stderr
    assert "untouched: 45 meetings" in done.stdout


@pytest.mark.parametrize("command", [(), ("races",), ("kill",), ("timing",), ("fuzz",), ("schedules",), ("stateful",)])
def test_each_command_says_what_it_does(command: tuple[str, ...]) -> None:
    done = explore(*command, "--help")

    assert done.returncode == 0
    assert "usage: scripts/explore" in done.stdout
