"""What is uploaded: all that the process needs, and nothing else, whatever lies in a developer's folder."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deployment import upload
from tests.parts.require import require

ROOT = Path(__file__).resolve().parents[2]

STRAY = [
    "authflow.db",
    "authflow.db-wal",
    "authflow.db.keys",
    ".env",
    ".env.production",
    "production.env",
    "service-account.json",
    "dump.sql",
    "notes.txt",
    "key.pem",
    "old/authflow/settings.py",
    ".git/config",
    ".venv/bin/python",
    ".venv/lib/python3.13/site-packages/x.py",
    ".github/workflows/ci.yml",
    "node_modules/x/index.js",
    "mails/1.eml",
    "authflow/__pycache__/settings.cpython-313.pyc",
    "authflow/store.db",
    "authflow/authflow.db.keys",
    "authflow/.env",
    "authflow/web/.settings.py.swp",
    "providers/.ipynb_checkpoints/x.py",
    "templates/.DS_Store",
    "templates/key.pem",
]


@pytest.fixture
def checkout(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """All that is kept in the repository, without what lies beside it here."""
    missing = upload.missing_part()
    require(request, missing is None, missing or "")
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    require(request, done.returncode == 0, "this is no git checkout")
    for name in filter(None, done.stdout.split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tmp_path / name)
    return tmp_path


def test_the_packages_the_templates_and_the_requirements_are_uploaded_and_nothing_else(checkout: Path) -> None:
    needed = {"app.yaml", "requirements.txt", "LICENSE"}
    for folder in ("authflow", "providers", "templates"):
        needed |= {str(path.relative_to(checkout)) for path in (checkout / folder).rglob("*") if path.is_file()}

    assert upload.chosen(checkout) == needed


def test_what_lies_about_in_a_developers_folder_is_not_uploaded(checkout: Path) -> None:
    clean = upload.chosen(checkout)
    for name in STRAY:
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        (checkout / name).write_text("canary")

    assert upload.chosen(checkout) == clean


def test_the_requirements_are_pinned_as_pip_demands_it(checkout: Path) -> None:
    """pip refuses a file in which some lines have hashes and others have not."""
    lines = [line for line in (checkout / "requirements.txt").read_text().splitlines() if line and line[0] not in "# "]

    assert len(lines) > 30
    assert all(" \\" in line for line in lines), "each is followed by its hashes"
