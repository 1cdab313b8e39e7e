"""Fixtures of this room."""

import pytest

from authflow.testing import Kit, make_kit


@pytest.fixture
def kit() -> Kit:
    return make_kit()
