"""The test kit is refused wherever people are served."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from authflow.settings import why_not_testing as refusal
from authflow.testing import refuse_outside_tests

ROOT = Path(__file__).parents[2]
HTTPS = {"AUTHFLOW_BASE_URL": " HTTPS://login.example.org"}


@pytest.mark.parametrize("is_under_test", [True, False])
@pytest.mark.parametrize(
    ("environment", "named"),
    [({"GAE_ENV": "standard"}, "GAE_ENV"), ({"K_SERVICE": "login"}, "K_SERVICE"), (HTTPS, "AUTHFLOW_BASE_URL")],
)
def test_a_deployment_is_refused_whatever_else_is_said(
    environment: dict[str, str], named: str, is_under_test: bool
) -> None:
    said = refusal(is_under_test=is_under_test, environ={**environment, "AUTHFLOW_TESTING": "1"})

    assert said.startswith(named)


@pytest.mark.parametrize("value", ["", "0", "no", "true", "11"])
def test_without_a_test_runner_only_a_one_opens(value: str) -> None:
    assert "AUTHFLOW_TESTING=1" in refusal(is_under_test=False, environ={"AUTHFLOW_TESTING": value})
    assert refusal(is_under_test=False, environ={"AUTHFLOW_TESTING": " 1 "}) == ""


def test_a_test_runner_needs_nothing() -> None:
    assert refusal(is_under_test=True, environ={}) == ""
    refuse_outside_tests()


def imported(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AUTHFLOW_", "GAE_", "K_", "PYTEST_"))}
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("module", ["authflow.testing", "authflow.testing.clock", "authflow.testing.person"])
def test_a_process_that_is_no_test_cannot_import_any_of_it(module: str) -> None:
    done = imported(f"import {module}")

    assert done.returncode == 1
    assert "ConfigurationError: authflow.testing is for tests alone" in done.stderr


def test_a_process_that_is_no_test_may_be_declared_one() -> None:
    assert imported("import authflow.testing", AUTHFLOW_TESTING="1").returncode == 0


def test_unittest_is_a_test_runner() -> None:
    assert imported("import unittest, authflow.testing").returncode == 0


def test_a_deployment_cannot_import_it_under_a_test_runner_either() -> None:
    assert "GAE_ENV" in imported("import unittest, authflow.testing", GAE_ENV="standard").stderr


def test_what_is_served_loads_nothing_of_it() -> None:
    program = "import sys, authflow.asgi, authflow.cli.main; print([m for m in sys.modules if 'testing' in m])"

    done = imported(program, AUTHFLOW_STORE="memory:")

    assert done.stdout.strip() == "[]", done.stderr


def test_it_needs_no_library_that_only_developers_have() -> None:
    program = "import sys, authflow.testing; print([m for m in ('pytest', 'hypothesis', 'httpx') if m in sys.modules])"

    done = imported(program, AUTHFLOW_TESTING="1")

    assert done.stdout.strip() == "[]", done.stderr
