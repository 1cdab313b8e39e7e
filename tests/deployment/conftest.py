"""Fixtures of this room: the application as it lies on App Engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deployment import upload
from tests.parts.require import require

ROOT = Path(__file__).resolve().parents[2]


def session_folder(factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all test processes of this run share."""
    base = factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session")
def deployed_bin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs are that requirements.txt brings, alone in a fresh virtual environment."""
    target = session_folder(tmp_path_factory) / "deployed"
    problem = upload.installed(ROOT / "requirements.txt", target)
    require(request, problem is None, problem or "")
    return target / "bin"


@pytest.fixture(scope="module")
def uploaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What `gcloud app deploy` would upload, in a folder that cannot be written to."""
    missing = upload.missing_part()
    require(request, missing is None, missing or "")
    folder = upload.copied(ROOT, tmp_path_factory.mktemp("uploaded"))
    upload.make_read_only(folder)
    yield folder
    upload.make_writable(folder)


@pytest.fixture(scope="session")
def confined(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """What makes a read-only folder read-only for the process too, whoever runs the tests."""
    before = upload.confinement()
    require(request, before is not None, "a read-only disk needs setpriv when root runs the tests")
    return tuple(before or ())
