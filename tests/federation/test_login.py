"""Logging in with an identity of elsewhere: found by issuer and subject, proved in this flow, once."""

from __future__ import annotations

import json
import re
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest

from authflow.model import Status
from authflow.records import account_key, identity_key
from authflow.store.protocol import Delete
from authflow.testing import ADA, make_site
from tests.federation.elsewhere import ISSUER, LOGIN, OTHER_ISSUER, Federated, come, tell


async def test_a_linked_identity_logs_in(site, linked):
    await linked(site, await site.account())

    p = site.person()
    page = await come(p)

    assert page.location == "/user/view/self"
    assert ADA in (await p.get("/user/view/self")).text
    assert page.cost == 3


@pytest.mark.parametrize("who", [{"subject": "ada-ther"}, {"issuer": OTHER_ISSUER}, {"subject": "Ada-there"}])
async def test_another_subject_or_issuer_is_a_stranger_whatever_the_address(site, linked, who):
    await linked(site, await site.account())

    p = site.person()
    page = await come(p, **{"address": ADA, "shown_as": ADA, **who})

    assert page.status == 200
    assert "not connected to an account here" in page.text
    assert (await p.get("/user/view/self")).status == 303


async def test_the_nonce_of_another_browser_proves_nothing(site, linked):
    await linked(site, await site.account())
    mallory, ada = site.person(), site.person()
    nonce = (await mallory.get(LOGIN)).form("auth_elsewhere").values["nonce"]

    page = await come(ada, nonce=nonce)

    assert page.status == 200
    assert (await ada.get("/user/view/self")).status == 303


async def test_the_form_of_another_browser_is_refused(site, linked):
    await linked(site, await site.account())
    mallory, ada = site.person(), site.person()
    theirs, own = await mallory.get(LOGIN), await ada.get(LOGIN)
    form = own.form("auth_elsewhere")
    form.values |= {name: theirs.form("auth_elsewhere").values[name] for name in ("flow", "nonce")}

    assert (await tell(ada, own)).status == 412


async def test_what_was_sent_once_is_refused_the_second_time(site, linked):
    await linked(site, await site.account())
    p = site.person()
    page = await p.get(LOGIN)
    sent = page.form("auth_elsewhere")
    said = json.dumps({"issuer": ISSUER, "subject": "ada-there", "nonce": sent.values["nonce"]})
    cookies = dict(p.cookies)

    assert (await p.send(sent, token=said)).status == 303
    p.cookies = cookies

    assert (await p.send(sent, token=said)).status == 412


async def test_evidence_without_a_nonce_proves_something_once(site, linked):
    await linked(site, await site.account())
    first, second = site.person(), site.person()

    assert (await come(first, nonce="")).status == 303
    assert (await come(second, nonce="")).status == 412
    assert (await second.get("/user/view/self")).status == 303


async def test_a_second_factor_is_owed_as_after_a_password(site, linked):
    await linked(site, await site.account_with_totp())
    p = site.person()

    page = await p.follow(await come(p))
    assert (await p.get("/user/view/self")).status == 303
    page = await p.send(page.form("otp"), otptoken=site.code())

    assert page.location == "/user/view/self"


async def test_a_second_factor_that_is_owed_after_a_redirect_is_asked_for_on_a_page_of_its_own(site, linked):
    await linked(site, await site.account_with_totp(), provider="remote")
    p = site.person()
    away = await p.get("/user/auth_remote/login?next=/user/edit/self")
    state = parse_qs(urlsplit(away.location).query)["state"][0]

    back = await p.get(f"/user/auth_remote/login?code=ada-there&state={state}")
    assert back.status == 303
    assert "state" not in back.location
    page = await p.follow(back)
    done = await p.send(page.form("otp"), otptoken=site.code())

    assert done.location == "/user/edit/self", done.text


async def test_the_link_to_a_redirect_leads_where_one_wanted_to_go(site, linked):
    await linked(site, await site.account(), provider="remote")
    p = site.person()
    page = await p.get("/user/login?next=/user/edit/self")
    link = unescape(re.search(r'href="(/user/auth_remote/login[^"]*)"', page.text)[1])

    away = await p.get(link)
    state = parse_qs(urlsplit(away.location).query)["state"][0]
    done = await p.get(f"/user/auth_remote/login?code=ada-there&state={state}")

    assert done.location == "/user/edit/self"


@pytest.mark.parametrize("status", [Status.DISABLED, Status.WAITING_FOR_ADMIN_VERIFICATION])
async def test_an_account_that_may_not_log_in_may_not_by_this_way_either(site, linked, status):
    await linked(site, await site.account(status=status))
    p = site.person()

    assert (await come(p)).status == 200
    assert (await p.get("/user/view/self")).status == 303


async def test_an_identity_whose_account_is_gone_is_a_stranger_even_where_strangers_may_come(open_site, linked):
    account = await open_site.account()
    await linked(open_site, account)
    await open_site.kit.memory.commit((Delete(account_key(account.id)),))

    page = await come(open_site.person(), address=ADA)

    assert page.status == 200
    assert "not connected" in page.text


async def test_a_fresh_login_can_be_had_by_it(site, linked):
    await linked(site, await site.account())
    p = site.person()
    await come(p)
    site.clock.pass_by(site.app.engine.user.fresh_login_window)

    page = await p.get(f"{LOGIN}?reauthenticate=1&next=/user/auth_elsewhere/remove")

    assert (await tell(p, page)).location == "/user/auth_elsewhere/remove"


async def test_a_fresh_login_with_somebody_elses_identity_is_none(site, linked):
    await linked(site, await site.account())
    await linked(site, await site.account("eve@example.org"), "eve-there")
    p = site.person()
    await come(p)

    page = await tell(p, await p.get(f"{LOGIN}?reauthenticate=1"), "eve-there")

    assert page.status == 200
    assert ADA in (await p.get("/user/view/self")).text


async def test_a_fresh_login_makes_no_account(open_site, linked):
    await linked(open_site, await open_site.account())
    p = open_site.person()
    await come(p)

    page = await tell(p, await p.get(f"{LOGIN}?reauthenticate=1"), "new-there", address="new@example.org")

    assert page.status == 200
    assert identity_key(ISSUER, "new-there") not in await open_site.kit.memory.get((identity_key(ISSUER, "new-there"),))


async def test_a_provider_that_is_gone_ends_the_flows_that_began_with_it(site, linked):
    class Without(Federated):
        authentication_providers = Federated.authentication_providers[:1]
        valid_authentication_methods = Federated.valid_authentication_methods[:2]

    await linked(site, await site.account())
    p = site.person()
    page = await p.get(LOGIN)
    p.edge = (await make_site(Without(), store=site.kit.memory)).edge

    told = await tell(p, page)
    assert (told.status, "definition_changed" in told.text) == (412, True)


async def test_a_refusal_counts_on_the_client_and_on_nobody_else(site, linked, caplog):
    caplog.set_level("INFO")
    await linked(site, await site.account())
    p, other = site.person(), site.person(address="198.51.100.7")

    answers = [(await come(p, nonce="00")).status for _ in range(31)]

    assert answers == [200] * 30 + [429]
    assert (await come(other)).status == 303
    assert sum("token_refused" in record.getMessage() for record in caplog.records) == 30


# --- Profile ----------------------------------------------------------------------------------------------------------


async def test_profile_values_that_change_there_change_here(site, linked):
    account = await site.account(profile={"firstname": "Ada", "lastname": "Byron"})
    await linked(site, account, profile={"firstname": "Ada", "lastname": "Byron"})

    await come(site.person(), profile={"firstname": "Ada", "lastname": "Lovelace"})

    now = await site.kit.account_now(account)
    assert now.profile == {"firstname": "Ada", "lastname": "Lovelace"}
    assert (now.version, now.epoch) == (account.version + 1, account.epoch)


async def test_what_the_owner_has_changed_here_stays_until_it_changes_there(site, linked):
    account = await site.account(profile={"firstname": "Countess"})
    await linked(site, account, profile={"firstname": "Ada"})

    await come(site.person(), profile={"firstname": "Ada"})
    assert (await site.kit.account_now(account)).profile == {"firstname": "Countess"}
    await come(site.person(), profile={"firstname": "Augusta"})

    assert (await site.kit.account_now(account)).profile == {"firstname": "Augusta"}


async def test_names_addresses_and_rights_are_never_taken_over(site, linked):
    account = await site.account()
    await linked(site, account)
    claims = {"name": "eve", "email": "eve@example.org", "status": 10, "access": "root", "roles": "admin", "epoch": "9"}

    await come(site.person(), profile=claims, address="eve@example.org", shown_as="eve@example.org")

    assert await site.kit.account_now(account) == account


@pytest.mark.parametrize("value", ["x" * 101, "a\nb", 7, None, ["x"], ""])
async def test_a_profile_value_that_no_person_could_enter_is_dropped(site, linked, value):
    account = await site.account(profile={"firstname": "Ada"})
    await linked(site, account, profile={"firstname": "Ada"})

    assert (await come(site.person(), profile={"firstname": value})).status == 303

    assert (await site.kit.account_now(account)).profile == {"firstname": "Ada"}
