"""Connecting an identity to an account whose owner is logged in, and disconnecting it."""

from __future__ import annotations

import asyncio

from authflow.accounts import Accounts
from authflow.records import credential_key, identity_key
from authflow.testing import ADA, make_site
from tests.federation.elsewhere import BASE, ISSUER, LINK, LOGIN, Federated, come, tell

PROFILE = "/user/view/self"
REMOVE = f"{BASE}/remove"


async def test_who_is_logged_in_connects_an_identity_and_logs_in_with_it(site):
    account = await site.account()
    p = await site.logged_in()

    page = await come(p, path=LINK, shown_as="ada@there.test")

    assert (page.location, page.cost) == (PROFILE, 4)
    assert "ada@there.test" in (await p.get(PROFILE)).text
    assert (await come(site.person())).location == PROFILE
    assert (await site.kit.account_now(account)).epoch == account.epoch + 1


async def test_connecting_ends_the_other_sessions_and_tells_the_owner(site):
    await site.account()
    other, p = await site.logged_in(), await site.logged_in()

    await come(p, path=LINK)

    assert (await p.get(PROFILE)).status == 200
    assert (await other.get(PROFILE)).status == 303
    await site.run_tasks()
    assert "Another way to log in was connected" in site.outbox.last().subject


async def test_connecting_wants_a_login_and_a_fresh_one(site):
    await site.account()
    assert (await site.person().get(LINK)).location.startswith("/user/login")
    p = await site.logged_in()
    page = await p.get(LINK)
    site.clock.pass_by(site.app.engine.user.fresh_login_window)

    assert "reauthenticate=1" in (await p.get(LINK)).location
    assert "reauthenticate=1" in (await tell(p, page)).location
    assert await site.kit.records("identity") == []


async def test_what_nobody_could_log_in_with_is_neither_offered_nor_connected():
    class Paused(Federated):
        valid_authentication_methods = (("user_password", "time_based_otp"), ("user_password", None), ("remote", None))

    site = await make_site(Paused())
    await site.account()
    p = await site.logged_in()

    assert (await p.get(LINK)).status == 404
    profile = await p.get(PROFILE)
    assert LINK not in profile.text
    assert "/user/auth_remote/add" in profile.text


async def test_with_a_second_factor_a_login_without_it_is_not_enough(site, linked):
    account = await site.account_with_totp()
    p = await site.logged_in(with_code=True)

    assert (await come(p, path=LINK)).location == PROFILE
    assert (await site.kit.account_now(account)).factors == account.factors


async def test_an_identity_of_another_account_is_not_taken_from_it(site, linked):
    eve = await site.account("eve@example.org")
    await linked(site, eve)
    await site.account()
    p = await site.logged_in()

    page = await come(p, path=LINK)

    assert "connected to another account here already" in page.text
    (identity,) = await site.kit.records("identity")
    assert identity.data["account_id"] == eve.id


async def test_an_account_has_one_identity_of_a_provider(site):
    await site.account()
    p = await site.logged_in()
    page = await p.get(LINK)
    await come(p, path=LINK)

    assert (await p.get(LINK)).status == 409
    assert (await tell(p, page, "another-there")).status in (409, 412)
    assert len(await site.kit.records("identity")) == 1


async def test_the_flow_of_another_account_connects_nothing(site):
    await site.account()
    await site.account("eve@example.org")
    p = await site.logged_in("eve@example.org")
    page = await p.get(LINK)
    await p.send((await p.get("/user/logout")).form("logout"))
    page_of_ada = await p.follow(await p.log_in(ADA))
    assert page_of_ada.status == 200
    form = page.form("auth_elsewhere")
    form.values["skey"] = await p.skey()

    assert (await tell(p, page)).status == 412
    assert await site.kit.records("identity") == []


async def test_the_flow_of_a_login_connects_nothing_and_that_of_a_connection_logs_nobody_in(site, linked):
    await site.account()
    p = await site.logged_in()
    login, link = await p.get(LOGIN), await p.get(LINK)
    login.form("auth_elsewhere").action = LINK
    assert (await tell(p, login)).status == 412
    await linked(site, await site.account("eve@example.org"))
    link.form("auth_elsewhere").action = LOGIN

    assert (await tell(p, link)).status == 412
    assert ADA in (await p.get(PROFILE)).text


async def test_a_refused_assertion_connects_nothing_and_shows_the_form_again(site):
    await site.account()
    p = await site.logged_in()

    page = await come(p, path=LINK, nonce="00")

    assert page.status == 200
    assert (await tell(p, page)).location == PROFILE


async def test_connecting_once_for_many_at_once(site):
    await site.account()
    p = await site.logged_in()
    pages = [await p.get(LINK) for _ in range(5)]

    answers = await asyncio.gather(*(tell(p, page, f"there-{n}") for n, page in enumerate(pages)))

    assert [page.location for page in answers].count(PROFILE) == 1
    assert len(await site.kit.records("identity")) == 1


async def test_of_two_accounts_at_once_one_gets_the_identity(site):
    await site.account()
    await site.account("eve@example.org")
    people = [await site.logged_in(), await site.logged_in("eve@example.org")]
    pages = [await p.get(LINK) for p in people]

    answers = await asyncio.gather(*(tell(p, page) for p, page in zip(people, pages, strict=True)))

    assert sorted(page.status for page in answers) == [200, 303]
    assert len(await site.kit.records("identity")) == 1


# --- Disconnecting ----------------------------------------------------------------------------------------------------


async def test_a_disconnected_identity_logs_nobody_in(site, linked):
    account = await site.account()
    await linked(site, account)
    p = await site.logged_in()

    page = await p.send((await p.get(REMOVE)).form("remove"))

    assert (page.location, page.cost) == (PROFILE, 3)
    assert (await come(site.person())).status == 200
    keys = (identity_key(ISSUER, "ada-there"), credential_key(account.id, "elsewhere"))
    assert await site.kit.memory.get(keys) == {}
    await site.run_tasks()
    assert "disconnected" in site.outbox.last().subject


async def test_the_only_way_to_log_in_stays(site, linked):
    await linked(site, await site.account(password=None))
    p = site.person()
    await come(p)

    profile = await p.get(PROFILE)
    assert REMOVE not in profile.text
    assert "Choose a password" in profile.text
    assert (await p.get(REMOVE)).status == 409
    answer = await p.json_post(f"/json{REMOVE}")
    assert (answer.status, answer.json["code"]) == (409, "last_method")
    assert (await come(site.person())).location == PROFILE


async def test_what_is_not_connected_cannot_be_disconnected(site):
    await site.account()
    p = await site.logged_in()

    assert (await p.json_post(f"/json{REMOVE}")).status == 404


async def test_a_deleted_account_leaves_its_identity_free(open_site, linked):
    account = await open_site.account()
    await linked(open_site, account)

    await Accounts(open_site.app.engine).delete(account.id, "operator")

    assert await open_site.kit.records("identity") == []
    assert await open_site.kit.records("credential") == []
    assert (await come(open_site.person(), address="ada@example.org")).status == 303


async def test_a_deleted_account_leaves_nothing_of_a_provider_that_is_declared_no_more(site, linked):
    account = await site.account()
    await linked(site, account)

    class Without(Federated):
        authentication_providers = Federated.authentication_providers[:1]
        valid_authentication_methods = Federated.valid_authentication_methods[:2]

    later = await make_site(Without(), store=site.kit.memory)
    await Accounts(later.app.engine).delete(account.id, "operator")

    assert await site.kit.records("identity") == await site.kit.records("credential") == []


# --- Behind a redirect ------------------------------------------------------------------------------------------------


def state_of(location: str) -> str:
    return location.partition("state=")[2].partition("&")[0]


async def test_an_identity_behind_a_redirect_is_connected_on_the_way_back(site):
    await site.account()
    p = await site.logged_in()

    page = await p.get("/user/auth_remote/add")
    assert page.location.startswith(f"{ISSUER}/authorize")
    assert "auth_remote%2Fadd" in page.location
    back = await p.get(f"/user/auth_remote/add?code=ada&state={state_of(page.location)}")

    assert back.location == PROFILE
    other = site.person()
    page = await other.get("/user/auth_remote/login")
    assert "auth_remote%2Flogin" in page.location
    assert (await other.get(f"/user/auth_remote/login?code=ada&state={state_of(page.location)}")).location == PROFILE


async def test_a_way_back_that_nobody_went_connects_nothing(site):
    await site.account()
    p, mallory = await site.logged_in(), site.person()
    own = await p.get(LINK)
    theirs = await mallory.get("/user/auth_remote/login")

    for state in (own.form("auth_elsewhere").values["flow"], state_of(theirs.location), "s.x.y", ""):
        assert (await p.get(f"/user/auth_remote/add?code=eve&state={state}")).status >= 400
    assert await site.kit.records("identity") == []
