"""Sites on which people log in with a password or with an identity of elsewhere."""

from __future__ import annotations

import pytest

from authflow.federated import Assertion
from authflow.federation import linking
from authflow.model import Account, Credential
from authflow.testing import Site, make_site
from tests.federation.elsewhere import ISSUER, Federated, Open


@pytest.fixture
async def site() -> Site:
    return await make_site(Federated())


@pytest.fixture
async def open_site() -> Site:
    return await make_site(Open())


@pytest.fixture
def linked():
    """Give an account an identity, as a link would have written it."""

    async def link(site: Site, account: Account, subject: str = "ada-there", *, provider="elsewhere", profile=None):
        now, found = site.clock(), Assertion(ISSUER, subject, shown_as="ada@there.test", profile=profile or {})
        credential = Credential(account.id, provider, now, now, found.to_data())
        writes = linking(site.app.engine.vault.credential_data(credential), found, now)
        await site.kit.memory.commit(writes)

    return link
