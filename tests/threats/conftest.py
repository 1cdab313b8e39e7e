"""What the tests of attacks share."""

from __future__ import annotations

import pytest

from authflow.testing import Site, make_site
from tests.threats.tools import Open


@pytest.fixture
async def site() -> Site:
    """A site where strangers may register, confirming their address by mail."""
    return await make_site(Open())
