"""Fixtures of the tests of accounts."""

import pytest

from tests.accounts.desk import Desk, make_desk


@pytest.fixture
def desk() -> Desk:
    return make_desk()
