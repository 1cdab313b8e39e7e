"""What makes a password, where a Google account is another way to log in."""

from __future__ import annotations

import pytest

from authflow.flow import FlowKind
from authflow.testing import ADA, Site, make_site
from tests.threats.tools import recovery_link

NEW = "a quite different phrase"


@pytest.fixture
async def site() -> Site:
    return await make_site(provider_environment={"google_client_id": "0815.apps.googleusercontent.com"})


async def test_both_ways_are_offered(site: Site) -> None:
    assert site.app.engine.registry.rules.primaries == ("user_password", "google_account")
    assert site.app.engine.start(FlowKind.LOGIN).accepts("google_account")


async def test_a_password_is_recovered(site: Site) -> None:
    await site.account()
    person = site.person()

    page = await person.get(await recovery_link(site, person=person))
    done = await person.send(page.forms[0], password=NEW)

    assert done.status in (200, 303)
    assert (await person.log_in(ADA, NEW)).location == "/user/view/self"


async def test_a_first_password_is_set_by_a_printed_link(site: Site) -> None:
    link = await site.app.administration.create_new_user_if_not_exists()
    assert link is not None
    person = site.person()

    page = await person.get(link)
    done = await person.send(page.forms[0], password=NEW)

    assert done.status in (200, 303)
    assert (await person.log_in("admin@localhost", NEW)).location == "/user/view/self"
