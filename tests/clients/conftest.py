"""Each program that is missing skips its tests, or fails them where the real parts are demanded."""

from __future__ import annotations

import pytest

from tests.browser.conftest import chromium as chromium
from tests.parts import viur_clients, vue_login
from tests.parts.require import require


@pytest.fixture(scope="session")
def python_clients(request: pytest.FixtureRequest) -> None:
    """`viur-cli` and `viur-scriptor-api` are installed."""
    missing = viur_clients.missing_part()
    require(request, missing is None, missing or "")


@pytest.fixture(scope="session")
def vue_page(request: pytest.FixtureRequest) -> None:
    """The login screen of `@viur/vue-utils` is built."""
    missing = vue_login.missing_part()
    require(request, missing is None, missing or "")
