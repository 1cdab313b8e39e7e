"""A real Chromium for the examples that need a browser."""

from __future__ import annotations

from tests.browser.conftest import chromium

__all__ = ["chromium"]
