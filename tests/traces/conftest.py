"""Fixtures of this room: sites whose flows all leave a trace."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from authflow.testing import Site, make_site
from authflow.traces import Trace, listed
from authflow.user import User


class Traced(User):
    """Every flow leaves a trace."""

    trace_share = 1.0


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    made = await make_site(Traced())
    yield made
    await made.close()


async def traces_of(site: Site) -> list[Trace]:
    """Return all traces in a site's store, in order."""
    page = await listed(site.memory, site.clock(), limit=500)
    return list(page.traces)
