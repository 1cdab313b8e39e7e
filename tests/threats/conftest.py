"""What the tests of attacks share."""

from __future__ import annotations

import pytest

from tests.threats.tools import Open
from tests.web_kit import Site, make_site


@pytest.fixture
async def site() -> Site:
    """A site where strangers may register, confirming their address by mail."""
    return await make_site(Open())
