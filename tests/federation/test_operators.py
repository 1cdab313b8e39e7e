"""What operators see and do about the identities of an account."""

from __future__ import annotations

import pytest

from authflow.errors import NotFound
from authflow.testing import ADA, make_site
from tests.federation.elsewhere import ISSUER, Federated, come


async def test_identities_are_listed_with_what_finds_them(site, linked):
    await linked(site, await site.account())

    (held,) = await site.app.administration.identities(ADA)

    assert (held.provider, held.issuer, held.subject) == ("elsewhere", ISSUER, "ada-there")
    assert (held.shown_as, held.linked_at, held.is_offered) == ("ada@there.test", site.clock(), True)


@pytest.mark.parametrize("named", ["elsewhere", "auth_elsewhere", "X-VIUR-AUTH-Elsewhere"])
async def test_an_identity_is_taken_away_and_every_session_with_it(site, linked, named):
    await linked(site, await site.account())
    p = site.person()
    await come(p)

    await site.app.administration.remove_identity(ADA, named)

    assert (await p.get("/user/view/self")).status == 303
    assert (await come(site.person())).status == 200
    assert await site.kit.records("identity") == []
    await site.run_tasks()
    assert "disconnected" in site.outbox.last().subject


async def test_the_identity_of_a_provider_that_is_gone_can_be_taken_away(site, linked):
    class Without(Federated):
        authentication_providers = Federated.authentication_providers[:1]
        valid_authentication_methods = Federated.valid_authentication_methods[:2]

    await linked(site, await site.account())
    later = await make_site(Without(), store=site.kit.memory)

    (held,) = await later.app.administration.identities(ADA)
    await later.app.administration.remove_identity(ADA, held.provider)

    assert not held.is_offered
    assert await site.kit.records("identity") == await later.app.administration.identities(ADA) == []


async def test_a_password_is_no_identity(site):
    await site.account()

    assert await site.app.administration.identities(ADA) == []
    with pytest.raises(NotFound):
        await site.app.administration.remove_identity(ADA, "user_password")
