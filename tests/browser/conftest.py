"""A real Chromium, and people who sit before it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts.require import require

QUIET = ["--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip


@pytest.fixture(scope="module")
def chromium(request: pytest.FixtureRequest) -> Iterator[Any]:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    require(request, path is not None, "needs Chromium (apt-get install chromium)")
    try:
        import axe_playwright_python  # noqa: F401
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        require(request, False, f"needs {error.name}")
        raise
    with sync_playwright() as playwright:
        # The sandbox does not work for root, whom containers run tests as.
        browser = playwright.chromium.launch(executable_path=str(Path(str(path))), chromium_sandbox=False, args=QUIET)
        yield browser
        browser.close()
