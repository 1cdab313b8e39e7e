"""Fixtures of this room."""

from datetime import timedelta

import pytest

from authflow.testing import Kit, make_kit
from tests.enrolment.scene import Person


@pytest.fixture
def kit() -> Kit:
    return make_kit()


@pytest.fixture
async def ada(kit: Kit) -> Person:
    """Somebody with a password and nothing else."""
    return Person(kit, await kit.account())


@pytest.fixture
async def ada_with_app(ada: Person) -> Person:
    """Somebody who has enrolled an app, half an hour ago; her session is still there and not fresh."""
    await ada.enrols()
    ada.kit.clock.pass_by(timedelta(minutes=30))
    return ada
