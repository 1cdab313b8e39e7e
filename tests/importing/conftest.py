"""Fixtures of this room."""

import pytest

from tests.engine_kit import Kit, make_kit


@pytest.fixture
def kit() -> Kit:
    return make_kit()
