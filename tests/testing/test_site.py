"""A site, an engine and their people are at hand at once, and say clearly what went wrong."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from authflow.errors import ConfigurationError
from authflow.model import Status
from authflow.results import LoggedIn, NotProved, StepOwed
from authflow.testing import ADA, Clock, Site, browser, make_kit, make_site
from authflow.user import User
from authflow.web.middleware import SessionMiddleware
from providers.user_password import UserPassword

BOB = "bob@example.org"


class PasswordOnly(User):
    authentication_providers = (UserPassword,)
    second_factor_providers = ()
    valid_authentication_methods = (("user_password", None),)


@pytest.fixture
async def site() -> Site:
    return await make_site()


async def test_people_are_told_apart_by_name_and_browser(site: Site) -> None:
    await site.account(ADA)
    await site.account("kim@example.org")
    await site.account(BOB, password="another long password")
    ada, kim = await site.logged_in(ADA), await site.logged_in("kim@example.org")
    bob = site.person(name=BOB, password="another long password")

    await bob.log_in()
    phone = ada.elsewhere(address="198.51.100.7")

    names = [(await one.get("/json/user/view/self")).json["values"]["name"] for one in (ada, kim, bob)]
    assert names == [ADA, "kim@example.org", BOB]
    assert not await phone.is_logged_in()
    assert (phone.name, phone.address) == (ADA, "198.51.100.7")


async def test_a_person_logs_out(site: Site) -> None:
    await site.account()
    ada = await site.logged_in()

    await ada.log_out()

    assert not await ada.is_logged_in()


async def test_a_code_is_owed_and_typed(site: Site) -> None:
    await site.account_with_totp()
    ada, _ = await site.pending()
    assert not await ada.is_logged_in()

    await ada.type_code(site.wrong_code())
    assert not await ada.is_logged_in()
    await ada.type_code()

    assert await ada.is_logged_in()
    site.clock.pass_by(timedelta(seconds=30))
    assert await (await site.logged_in(with_code=True)).is_logged_in()


async def test_a_login_that_did_not_end_is_said_with_the_page(site: Site) -> None:
    await site.account_with_totp()
    with pytest.raises(LookupError, match=r"ada@example\.org is not logged in: 303"):
        await site.logged_in()
    await site.account(BOB, status=Status.DISABLED)
    with pytest.raises(LookupError, match=BOB):
        await site.logged_in(BOB)
    with pytest.raises(LookupError, match="no form to 'otp'"):
        await site.pending(BOB)


async def test_a_code_can_be_typed_only_where_one_is_asked_for(site: Site) -> None:
    await site.account()
    ada = await site.logged_in()
    with pytest.raises(LookupError, match="no page asks for a code"):
        await ada.type_code()
    await site.account_with_totp(BOB)
    bob, _ = await site.pending(BOB)
    bob.device = None
    with pytest.raises(LookupError, match="has no device"):
        await bob.type_code()


async def test_an_application_without_devices_says_so() -> None:
    site = await make_site(PasswordOnly())

    with pytest.raises(LookupError, match="time_based_otp"):
        await site.account_with_totp()


async def test_only_its_own_clock_moves_a_site(site: Site) -> None:
    await site.account()
    ada = await site.logged_in()

    site.clock.pass_by(timedelta(minutes=59))
    assert await ada.is_logged_in()
    site.clock.pass_by(timedelta(minutes=61))

    assert not await ada.is_logged_in()


async def test_two_sites_on_one_store_and_clock_are_two_processes(tmp_path: Path) -> None:
    clock = Clock()
    one = await make_site(sqlite=tmp_path / "authflow.db", clock=clock)
    other = await make_site(store=one.memory, clock=clock)
    await one.account()
    ada = await one.logged_in()

    ada.edge = other.edge

    assert await ada.is_logged_in()
    await one.close()


async def test_an_https_origin_has_cookies_that_a_browser_keeps_and_others_it_does_not() -> None:
    site = await make_site(base_url="https://login.example.org")
    await site.account()

    ada = await site.logged_in()

    assert ada.cookies
    assert all(name.startswith("__Host-") for name in ada.cookies)
    assert ADA in (await ada.get("https://login.example.org/user/view/self")).words


async def test_a_bad_declaration_is_refused_when_the_site_is_made() -> None:
    class Bad(User):
        valid_authentication_methods = (("nobody", None),)

    with pytest.raises(ConfigurationError, match="nobody"):
        await make_site(Bad())


async def test_an_engine_alone_judges_submissions() -> None:
    kit = make_kit()
    ada = await kit.account()

    wrong = await kit.login(password="wrong")
    right = await kit.login()

    assert isinstance(wrong, NotProved)
    assert isinstance(right, LoggedIn)
    assert (await kit.account_now(ada)).id == right.account.id
    assert {record.data["account_id"] for record in await kit.records("credential")} == {ada.id}


async def test_an_engine_alone_goes_on_in_the_browser_that_it_began_in() -> None:
    kit = make_kit()
    site = await make_site(store=kit.memory, clock=kit.clock)
    ada = await site.account_with_totp()

    pending = await kit.login()
    assert isinstance(pending, StepOwed)
    visitor = browser(pending.session, ada.id)
    done = await kit.engine.submit(kit.provider("time_based_otp"), {"otptoken": site.code()}, visitor)

    assert isinstance(done, LoggedIn)


async def test_an_account_may_be_without_a_password_and_with_anything_else() -> None:
    kit = make_kit()

    ada = await kit.account(password=None, roles=("editor",), access=("root",), profile={"firstname": "Ada"})

    assert await kit.records("credential") == []
    kept = await kit.account_now(ada)
    assert (kept.roles, kept.access, kept.profile) == (("editor",), ("root",), {"firstname": "Ada"})


async def test_people_talk_to_the_application_around_it(site: Site) -> None:
    async def home(request: Request) -> PlainTextResponse:
        account = await site.app.engine.user.get_current_user(request)
        return PlainTextResponse(f"Hello {account.name if account else 'stranger'}")

    await site.account()
    site.front = Starlette(
        routes=[Route("/", home), Mount("/", site.edge)],
        middleware=[Middleware(SessionMiddleware, edge=site.edge)],
    )

    ada = await site.logged_in()

    assert (await ada.get("/")).text == f"Hello {ADA}"
    assert (await ada.elsewhere().get("/")).text == "Hello stranger"


async def test_an_account_that_is_gone_is_said_to_be() -> None:
    kit = make_kit()
    ada = await make_kit().account()

    with pytest.raises(LookupError, match=ada.id):
        await kit.account_now(ada)
