"""What one version of an application does not declare, it ends all the same: several may serve at once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from authflow.testing import ADA, PASSWORD, Site, make_site
from authflow.user import User
from providers.time_based_otp import TimeBasedOTP
from providers.user_password import UserPassword
from tests.federation.elsewhere import LINK, Federated, Welcoming, come
from tests.threats.tools import Registering, codes_on, enrol, secret_on


class PasswordsAlone(User):
    authentication_providers = (UserPassword,)


class WithoutCodes(User):
    authentication_providers = (UserPassword,)
    second_factor_providers = (TimeBasedOTP,)
    valid_authentication_methods = (("user_password", "time_based_otp"), ("user_password", None))


class BothOpen(User):
    authentication_providers = (Registering, Welcoming)
    second_factor_providers = ()
    valid_authentication_methods = (("user_password", None), ("elsewhere", None))


class ElsewhereAlone(User):
    authentication_providers = (Welcoming,)
    second_factor_providers = ()
    valid_authentication_methods = (("elsewhere", None),)


async def beside(site: Site, user: User) -> Site:
    """Return another version of the application, on the same store and at the same time."""
    return await make_site(user, store=site.memory, clock=site.clock)


@pytest.mark.parametrize("by_other", [False, True])
async def test_recovery_ends_identities_that_only_another_version_knows(by_other: bool) -> None:
    site = await make_site(Federated())
    other = await beside(site, PasswordsAlone())
    await site.account()
    await come(await site.logged_in(), "thief-there", path=LINK)
    await site.run_tasks()
    at = other if by_other else site
    owner = at.person()
    await owner.send((await owner.get("/user/auth_userpassword/pwrecover")).form(), name=ADA)

    await owner.send((await owner.get(await at.mailed_link())).form(), password=PASSWORD + " new")

    thief = site.person()
    page = await come(thief, "thief-there")
    assert page.status == 200
    assert not page.location
    assert (await thief.get("/user/view/self")).status in (303, 401)


async def test_an_identity_that_is_linked_after_a_recovery_logs_in() -> None:
    site = await make_site(Federated())
    await site.account()
    owner = site.person()
    await owner.send((await owner.get("/user/auth_userpassword/pwrecover")).form(), name=ADA)
    await owner.send((await owner.get(await site.mailed_link())).form(), password=PASSWORD + " new")
    site.clock.pass_by(timedelta(seconds=1))
    person = site.person()
    await person.log_in(ADA, PASSWORD + " new")

    await come(person, "ada-there", path=LINK)

    assert (await come(site.person(), "ada-there")).location == "/user/view/self"


@pytest.mark.parametrize("by_other", [False, True])
async def test_who_proves_the_address_puts_out_a_password_that_only_another_version_knows(by_other: bool) -> None:
    site = await make_site(BothOpen())
    other = await beside(site, ElsewhereAlone())
    mallory = site.person(address="198.51.100.9")
    form = (await mallory.get("/user/auth_userpassword/add")).form()
    await mallory.send(form, name=ADA, password="mallory chose this")

    arrived = await come((other if by_other else site).person(), "ada-there", address=ADA)

    assert arrived.location == "/user/view/self"
    page = await site.person(address="198.51.100.10").log_in(ADA, "mallory chose this")
    assert (page.status, page.location) == (200, "")


@pytest.mark.parametrize("by_other", [False, True])
async def test_codes_that_outlive_the_last_factor_are_replaced_by_the_next_first_one(by_other: bool) -> None:
    site = await make_site(PasswordsAlone())
    other = await beside(site, WithoutCodes())
    await site.account()
    person = await site.logged_in()
    _, old = await enrol(site, person)
    if by_other:
        person.edge = other.edge
    await person.send((await person.get("/user/f2_timebasedotp/remove")).form())
    person.edge = site.edge

    page = await person.send((await person.get("/user/f2_timebasedotp/add")).form())
    site.clock.pass_by(timedelta(seconds=31))
    page = await person.send(page.form("add"), otptoken=site.code(secret=secret_on(page)))

    new = codes_on(page)
    assert len(new) == 10
    assert set(new).isdisjoint(old)
    stranger = site.person()
    await stranger.follow(await stranger.log_in())
    page = await stranger.follow(await stranger.get("/user/f2_recoverycode/start"))
    page = await stranger.send(page.form("otp"), otptoken=old[0])
    assert (page.status, page.location) == (200, "")
