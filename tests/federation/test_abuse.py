"""What was tried against identities of elsewhere, and holds."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest

from authflow.records import credential_key, identity_key
from authflow.testing import ADA, make_site
from tests.federation.elsewhere import BASE, ISSUER, LINK, LOGIN, Federated, Open, Welcoming, come, tell
from tests.threats.tools import recovery_link

PROFILE = "/user/view/self"


# --- Limits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("typed", [f"subject:{ISSUER} ada-there", f"{ISSUER} ada-there", "account:", "client:"])
async def test_no_typed_name_counts_against_an_identity(site, linked, typed):
    await linked(site, await site.account())
    mallory = site.person(address="198.51.100.1")

    answers = [(await mallory.log_in(typed, "wrong wrong wrong")).status for _ in range(11)]

    assert answers[-1] == 429
    assert (await come(site.person())).location == PROFILE


async def test_what_is_refused_for_one_client_is_not_refused_for_another(site, linked):
    await linked(site, await site.account())
    mallory = site.person(address="198.51.100.1")
    for _ in range(12):
        page = await mallory.get(LOGIN)
        await mallory.send(page.form("auth_elsewhere"), token="no token")

    page = await site.person().get(LOGIN)

    assert page.status == 200
    assert (await come(site.person())).location == PROFILE


async def test_refused_connections_are_counted_on_the_client(site):
    await site.account()
    p = await site.logged_in()
    page = await p.get(LINK)

    answers = [(await tell(p, page, nonce="00")).status for _ in range(31)]

    assert answers == [200] * 30 + [429]


async def test_a_burst_of_newcomers_is_admitted_as_far_as_it_can_be_counted(open_site):
    people = [open_site.person() for _ in range(28)]
    pages = [await who.get(LOGIN) for who in people]

    answers = await asyncio.gather(
        *(tell(w, p, f"n-{n}", address=f"n{n}@example.org") for n, (w, p) in enumerate(zip(people, pages, strict=True)))
    )

    assert sum(page.status == 303 for page in answers) <= 10


# --- Evidence that no nonce binds -------------------------------------------------------------------------------------


async def test_evidence_that_has_connected_an_identity_logs_nobody_in(site):
    await site.account()
    p = await site.logged_in()
    assert (await come(p, path=LINK, nonce="")).location == PROFILE
    other = site.person()

    assert (await come(other, nonce="")).status == 412
    assert (await other.get(PROFILE)).status == 303


async def test_evidence_that_has_logged_somebody_in_connects_nothing(site, linked):
    await linked(site, await site.account())
    victim = site.person()
    await come(victim, nonce="")
    await victim.send((await victim.get(f"{BASE}/remove")).form("remove"))
    await site.account("mallory@example.org")
    mallory = await site.logged_in("mallory@example.org")

    assert (await come(mallory, path=LINK, nonce="")).status == 412
    assert await site.kit.records("identity") == []


@pytest.mark.parametrize("path", [LOGIN, LINK])
async def test_evidence_stays_used_for_a_day_however_old_the_page_was(site, linked, path):
    account = await site.account()
    if path == LOGIN:
        await linked(site, account)
    p = site.person()
    page = await p.get(LOGIN)
    site.clock.pass_by(timedelta(hours=23))
    if path == LINK:
        p = await site.logged_in()
        page = await p.get(LINK)

    assert (await tell(p, page, nonce="")).location == PROFILE

    marks = await site.kit.records("spent")
    (mark,) = [mark for mark in marks if mark.key.name.startswith("elsewhere.")]
    assert mark.expires_at == site.clock() + timedelta(days=1)


async def test_evidence_that_has_made_an_account_makes_no_other(open_site):
    p = open_site.person()
    await come(p, nonce="", address="new@example.org")
    await open_site.app.accounts.delete((await open_site.app.administration.find("new@example.org")).id, "operator")

    page = await come(open_site.person(), nonce="", address="new@example.org")

    assert page.status == 412
    assert await open_site.kit.records("account") == []


# --- Who was there before ---------------------------------------------------------------------------------------------


async def test_an_identity_that_was_connected_under_a_lost_password_goes_with_it(site):
    account = await site.account()
    mallory = await site.logged_in()
    await come(mallory, "mallory-there", path=LINK)
    owner = site.person()

    page = await owner.get(await recovery_link(site, person=owner))
    await owner.send(page.forms[0], password="the owner's own phrase")

    assert (await come(site.person(), "mallory-there")).status == 200
    keys = (identity_key(ISSUER, "mallory-there"), credential_key(account.id, "elsewhere"))
    assert await site.kit.memory.get(keys) == {}
    await site.run_tasks()
    assert any("disconnected" in mail.subject for mail in site.outbox.mails)


async def test_who_has_no_password_yet_keeps_the_identity_when_choosing_one(site, linked):
    account = await site.account(password=None)
    await linked(site, account)
    owner = site.person()

    page = await owner.get(await recovery_link(site, person=owner))
    await owner.send(page.forms[0], password="the owner's own phrase")

    assert (await come(site.person())).location == PROFILE
    assert (await site.person().log_in(ADA, "the owner's own phrase")).location == PROFILE


async def test_a_taken_over_account_has_the_owners_spelling(open_site):
    from authflow.model import Status

    account = await open_site.account("Ada@Example.org", status=Status.WAITING_FOR_EMAIL_VERIFICATION)

    await come(open_site.person(), address="ada@example.org")

    now = await open_site.kit.account_now(account)
    assert (now.name, now.email) == ("ada@example.org", "ada@example.org")


# --- Half of what was promised ----------------------------------------------------------------------------------------


async def test_a_first_factor_alone_changes_nothing_of_the_account(site, linked):
    account = await site.account_with_totp()
    await linked(site, account, profile={"firstname": "Ada"})
    before = await site.kit.account_now(account)
    p = site.person()

    page = await p.follow(await come(p, profile={"firstname": "Owned"}))
    between = await site.kit.account_now(account)
    await p.send(page.form("otp"), otptoken=site.code())

    assert between == before
    assert (await site.kit.account_now(account)).profile == {"firstname": "Owned"}


async def test_the_hook_hears_of_a_newcomer_whom_a_rule_keeps_out():
    heard = []

    class Closed(Open):
        def is_active(self, account):
            return False

        async def on_added(self, account):
            heard.append(account.name)

    site = await make_site(Closed())

    assert (await come(site.person(), address="new@example.org")).status in (200, 406)
    assert heard == [record.data["name"] for record in await site.kit.records("account")]


async def test_connecting_works_without_the_cookie_of_the_browser(site):
    await site.account()
    p = await site.logged_in()
    p.cookies = {name: value for name, value in p.cookies.items() if "browser" not in name}

    assert (await come(p, path=LINK)).location == PROFILE


@pytest.mark.parametrize(
    "claims",
    [
        {"subject": "x" * 256},
        {"subject": "\ud800"},
        {"subject": ""},
        {"subject": "a\nb"},
        {"issuer": "https://a b"},
        {"issuer": ""},
        {"issuer": "https://" + "x" * 250},
    ],
)
async def test_a_subject_that_no_issuer_may_use_is_a_bad_request(open_site, claims):
    p = open_site.person()
    page = await p.get(LOGIN)
    said = {"issuer": ISSUER, "subject": "s", "nonce": page.form("auth_elsewhere").values["nonce"], **claims}

    answer = await p.send(page.form("auth_elsewhere"), token=json.dumps(said))

    assert answer.status == 400
    assert await open_site.kit.records("identity") == []


async def test_a_provider_that_asserts_another_subject_than_it_identified_is_a_fault():
    class Lying(Welcoming):
        async def assertion(self, submission, context):
            from dataclasses import replace

            return replace(await super().assertion(submission, context), subject="somebody else")

    class Trusting(Federated):
        authentication_providers = ("providers.user_password:UserPassword", Lying)
        valid_authentication_methods = Federated.valid_authentication_methods[:4]

    site = await make_site(Trusting())
    await site.account()

    assert (await come(site.person(), address="new@example.org")).status == 503
    assert (await come(await site.logged_in(), path=LINK)).status == 503
    assert await site.kit.records("identity") == []


# --- Operators --------------------------------------------------------------------------------------------------------


async def test_an_operator_takes_away_what_is_there_and_not_what_was(site, linked):
    """Between what an operator sees and the commit the owner connects another identity, and somebody else the first."""
    await linked(site, await site.account())
    ada = await site.logged_in()
    await site.account("bob@example.org")
    bob = await site.logged_in("bob@example.org")
    administration, seen = site.app.administration, []
    read = administration.read

    async def read_slowly(name):
        found = await read(name)
        if not seen:
            seen.append(name)
            await ada.send((await ada.get(f"{BASE}/remove")).form("remove"))
            await come(ada, "ada-elsewhere", path=LINK)
            await come(bob, "ada-there", path=LINK)
        return found

    administration.__dict__["read"] = read_slowly
    await administration.remove_identity(ADA, "elsewhere")

    assert (await come(site.person(), "ada-elsewhere")).status == 200
    assert (await come(site.person(), "ada-there")).location == PROFILE
    identities = [record.data["subject"] for record in await site.kit.records("identity")]
    assert identities == ["ada-there"]
