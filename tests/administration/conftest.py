"""Fixtures of this room."""

import pytest

from authflow.administration import Administration
from authflow.testing import Kit, make_kit


@pytest.fixture
def kit() -> Kit:
    return make_kit()


@pytest.fixture
def desk(kit: Kit) -> Administration:
    return Administration(kit.engine)
