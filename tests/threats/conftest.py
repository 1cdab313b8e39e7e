"""What the tests of attacks share."""

from __future__ import annotations

import pytest

from authflow.user import User
from providers.user_password import UserPassword
from tests.web_kit import Site, make_site


class Registering(UserPassword):
    registration_enabled = True
    registration_admin_verification_required = False


class Open(User):
    authentication_providers = (Registering,)


@pytest.fixture
async def site() -> Site:
    """A site where strangers may register, confirming their address by mail."""
    return await make_site(Open())
