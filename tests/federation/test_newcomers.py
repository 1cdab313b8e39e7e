"""Strangers with an identity of elsewhere: refused, or given an account in the commit of their login."""

from __future__ import annotations

import asyncio

import pytest

from authflow.errors import Unavailable
from authflow.model import Status
from authflow.records import identity_key, name_key
from authflow.store.protocol import Put
from authflow.testing import ADA, PASSWORD, make_site
from tests.federation.elsewhere import ISSUER, LOGIN, Federated, Open, Welcoming, come, tell

NEW = "new@example.org"


async def account_named(site, name):
    found = await site.kit.memory.get((name_key(name),))
    return await site.app.engine.account_by_id(str(found[name_key(name)].data["account_id"])) if found else None


async def test_a_stranger_is_refused_where_strangers_may_not_come(site):
    p = site.person()

    page = await come(p, address=NEW)

    assert "not connected to an account here" in page.text
    assert await account_named(site, NEW) is None
    assert await site.kit.records("identity") == []


async def test_a_stranger_gets_an_account_and_is_logged_in(open_site):
    p = open_site.person()

    page = await come(p, address="New@Example.org", shown_as="New", profile={"firstname": "New", "rank": "king"})

    assert page.location == "/user/view/self"
    account = await account_named(open_site, NEW)
    assert (account.name, account.email, account.status) == ("New@example.org", "New@example.org", Status.ACTIVE)
    assert account.profile == {"firstname": "New"}
    assert (account.access, account.roles, account.factors) == ((), (), ())
    assert (await open_site.app.engine.account_by_id(account.id)) == account
    assert (await come(open_site.person())).location == "/user/view/self"
    assert page.cost == 4


async def test_a_stranger_without_an_address_that_can_be_believed_is_refused(open_site):
    for address in ("", "no address", "a@b", "x" * 300 + "@example.org"):
        assert (await come(open_site.person(), address=address)).status == 200
    assert await open_site.kit.records("account") == []


async def test_an_address_that_has_an_account_links_nothing(open_site):
    account = await open_site.account()
    p = open_site.person()

    page = await come(p, address=ADA.upper())

    assert "There is an account with your address already" in page.text
    assert await open_site.kit.records("identity") == []
    assert await open_site.kit.account_now(account) == account
    assert (await p.get("/user/view/self")).status == 303


@pytest.mark.parametrize("status", [Status.WAITING_FOR_ADMIN_VERIFICATION, Status.DISABLED, Status.UNSET])
async def test_an_account_that_may_not_log_in_is_not_taken_over(open_site, status):
    account = await open_site.account(status=status)

    assert (await come(open_site.person(), address=ADA)).status == 200

    assert await open_site.kit.account_now(account) == account


async def test_an_account_that_nobody_ever_confirmed_goes_to_the_first_who_proves_its_address(open_site):
    account = await open_site.account(
        status=Status.WAITING_FOR_EMAIL_VERIFICATION, profile={"firstname": "Mallory"}, access=()
    )
    p = open_site.person()

    page = await come(p, address=ADA, profile={"lastname": "Lovelace"})

    assert page.location == "/user/view/self"
    now = await open_site.kit.account_now(account)
    assert (now.status, now.epoch) == (Status.ACTIVE, account.epoch + 1)
    assert now.profile == {"lastname": "Lovelace"}
    stranger = open_site.person()
    await stranger.log_in(ADA, PASSWORD)
    assert (await stranger.get("/user/view/self")).status == 303
    assert {str(r.data["provider"]) for r in await open_site.kit.records("credential")} == {"elsewhere"}


async def test_links_that_were_mailed_before_a_takeover_are_worth_nothing():
    class Mailing(Open):
        pass

    from providers.user_password import UserPassword

    class Registering(UserPassword):
        registration_enabled = True
        registration_admin_verification_required = False

    Mailing.authentication_providers = (Registering, Welcoming)
    Mailing.valid_authentication_methods = Open.valid_authentication_methods[:4]
    site = await make_site(Mailing())
    mallory = site.person()
    await mallory.send(
        (await mallory.get("/user/auth_userpassword/add")).form(), name=ADA, password="mallorys password"
    )
    await site.run_tasks()
    link = site.link()

    assert (await come(site.person(), address=ADA)).status == 303
    await mallory.send((await mallory.get(link)).form("verify"))
    await mallory.log_in(ADA, "mallorys password")

    assert (await mallory.get("/user/view/self")).status == 303


async def test_registrations_of_one_client_are_limited(open_site):
    p = [open_site.person() for _ in range(11)]
    answers = [(await come(who, f"there-{n}", address=f"n{n}@example.org")).status for n, who in enumerate(p)]

    assert answers == [303] * 10 + [429]


async def test_of_two_at_once_with_one_address_one_gets_the_account(open_site):
    people = [open_site.person() for _ in range(5)]
    pages = [await who.get(LOGIN) for who in people]

    answers = await asyncio.gather(
        *(tell(w, page, f"there-{n}", address=NEW) for n, (w, page) in enumerate(zip(people, pages, strict=True)))
    )

    assert sorted(page.status for page in answers) == [200, 200, 200, 200, 303]
    assert len(await open_site.kit.records("account")) == len(await open_site.kit.records("identity")) == 1


async def test_of_two_at_once_with_one_identity_one_gets_the_account(open_site):
    people = [open_site.person() for _ in range(5)]
    pages = [await who.get(LOGIN) for who in people]

    answers = await asyncio.gather(
        *(tell(w, page, address=f"n{n}@example.org") for n, (w, page) in enumerate(zip(people, pages, strict=True)))
    )

    assert [page.status for page in answers].count(303) == 1
    assert len(await open_site.kit.records("account")) == len(await open_site.kit.records("identity")) == 1


async def test_a_policy_that_demands_a_factor_holds_for_newcomers():
    class Strict(Open):
        def demands_second_factor(self, account, flow):
            return True

    site = await make_site(Strict())
    p = site.person()

    page = await come(p, address=NEW)

    assert page.location.startswith("/user/f2_timebasedotp/add")
    assert (await p.get("/user/view/self")).status == 303
    assert (await account_named(site, NEW)).status == Status.ACTIVE


async def test_the_hooks_hear_of_a_newcomer():
    heard = []

    class Listening(Open):
        async def on_added(self, account):
            heard.append(("added", account.name))

        async def on_login(self, flow, account):
            heard.append(("login", account.name))

    site = await make_site(Listening())

    await come(site.person(), address=NEW)

    assert heard == [("added", NEW), ("login", NEW)]


async def test_no_call_to_the_store_that_fails_leaves_half_an_account():
    """Every call of the arrival fails once: 503, nothing written, and the next try is welcome."""

    class FailsAt:
        at, seen = -1, 0

        async def before(self, call):
            if call.kind == "store":
                self.seen += 1
                if self.seen == self.at:
                    raise Unavailable("planted")

        def after(self, call, seconds, error):
            pass

    for at in range(1, 5):
        fault = FailsAt()
        site = await make_site(Open(), observers=(fault,))
        p = site.person()
        page = await p.get(LOGIN)
        fault.seen, fault.at = 0, at

        assert (await tell(p, page, address=NEW)).status == 503
        assert await site.kit.records("account") == await site.kit.records("identity") == []
        assert (await tell(p, page, address=NEW)).status == 303


async def test_an_identity_that_has_lost_its_account_makes_no_other(open_site):
    await open_site.kit.memory.commit((Put(identity_key(ISSUER, "ada-there"), {"account_id": "gone"}),))

    assert (await come(open_site.person(), address=NEW)).status == 200
    assert await open_site.kit.records("account") == []


async def test_an_admission_is_asked_for_each_stranger():
    class Picky(Welcoming):
        def admits(self, assertion, submission):
            return assertion.address.endswith("@example.org")

    class Choosy(Federated):
        authentication_providers = ("providers.user_password:UserPassword", Picky)
        valid_authentication_methods = Federated.valid_authentication_methods[:4]

    site = await make_site(Choosy())

    assert (await come(site.person(), "a", address="a@example.com")).status == 200
    assert (await come(site.person(), "b", address="b@example.org")).status == 303
