"""What a request below `/vi` costs: what its twin below `/json` costs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from authflow.testing import ADA, PASSWORD, Page, Person, Site, make_site
from tests.vi_kit import BOB, NEW, Open, TwoFactors, site_with_two_factors

PASSWORDS = "/user/auth_userpassword/"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = await make_site(Open(), sqlite=tmp_path / "authflow.db")
    yield site
    await site.app.close()


async def post(person: Person, prefix: str, path: str, **values: str) -> Page:
    skey = await person.skey(prefix)
    return await person.post(prefix + path, {"skey": skey, **values})


async def costs(send: Callable[[str], Awaitable[Page]]) -> list[int]:
    """Return what a request costs below `/json` and below `/vi`, after checking that both were answered alike."""
    pages = [await send(prefix) for prefix in ("/json", "/vi")]
    assert pages[0].status // 100 == pages[1].status // 100, [page.text for page in pages]
    return [page.cost for page in pages]


@pytest.mark.parametrize(
    "path",
    ["/", "/skey?amount=100", "/user/login", "/user/getAuthMethods", f"{PASSWORDS}login", f"{PASSWORDS}pwrecover",
     f"{PASSWORDS}add", "/user/view/self", "/nothing"],
)  # fmt: skip
async def test_what_asks_nothing_of_anybody_costs_nothing(site: Site, path: str) -> None:
    assert await costs(lambda prefix: site.person().get(prefix + path)) == [0, 0]


@pytest.mark.parametrize(
    "path", ["/vi/config", "/vi/settings", "/vi/getVersion", "/vi/user/select_authentication_provider"]
)
async def test_what_only_tools_ask_costs_nothing_before_a_login(site: Site, path: str) -> None:
    assert (await site.person().get(path)).cost == 0


@pytest.mark.parametrize("path", ["login", "pwrecover", "add", "resend"])
async def test_an_empty_post_that_asks_for_a_form_costs_nothing(site: Site, path: str) -> None:
    page = await post(site.person(), "/vi", PASSWORDS + path)

    assert (page.status, page.cost) == (200, 0)


async def test_the_configuration_costs_a_session_its_reading(site: Site) -> None:
    await site.account(access=("root",))
    person = await site.logged_in()

    page = await person.get("/vi/config")

    assert "modules" in page.json
    assert page.cost == 1
    assert (await person.get("/vi/settings")).cost == 0


@pytest.mark.parametrize("path", ["/user/view/self", "/user/edit/self"])
async def test_a_session_costs_one(site: Site, path: str) -> None:
    await site.account()
    person = await site.logged_in()

    assert await costs(lambda prefix: person.get(prefix + path)) == [1, 1]


@pytest.mark.parametrize(("name", "password"), [(ADA, PASSWORD), (ADA, "wrong"), (BOB, PASSWORD)])
async def test_a_password_costs_what_it_costs_below_json(site: Site, name: str, password: str) -> None:
    await site.account()

    found = await costs(lambda prefix: post(site.person(), prefix, PASSWORDS + "login", name=name, password=password))

    assert found == [3, 3]


async def test_a_missing_password_costs_nothing(site: Site) -> None:
    page = await post(site.person(), "/vi", PASSWORDS + "login", name=ADA, password="")

    assert (page.json["errors"][0]["error"], page.cost) == ("EMPTY", 0)


@pytest.mark.parametrize("is_right", [True, False])
async def test_a_code_costs_what_it_costs_below_json(site: Site, is_right: bool) -> None:
    names = {"/json": ADA, "/vi": BOB}
    for name in names.values():
        await site.account_with_totp(name)

    async def send(prefix: str) -> Page:
        person = site.person()
        form = await post(person, prefix, PASSWORDS + "login", name=names[prefix], password=PASSWORD)
        assert form.cost == 3
        code = site.code() if is_right else site.wrong_code()
        return await post(person, prefix, "/user/f2_timebasedotp/otp", otptoken=code)

    json, vi = await costs(send)

    assert vi == json <= 3


async def test_a_code_beside_the_password_costs_the_look_at_the_step_more(site: Site) -> None:
    await site.account_with_totp()
    person = site.person()
    await post(person, "/vi", PASSWORDS + "login", name=ADA, password=PASSWORD)

    page = await post(person, "/vi", PASSWORDS + "edit", otptoken=site.code())

    assert page.json["action"] == "login_success"
    assert page.cost <= 4


async def test_a_choice_costs_what_it_costs_below_json() -> None:
    site = await site_with_two_factors(TwoFactors())

    async def choose(prefix: str) -> Page:
        person = site.person()
        await post(person, prefix, PASSWORDS + "login", name=ADA, password=PASSWORD)
        return await post(person, prefix, "/user/select_secondfactor_provider", provider="time_based_otp")

    async def start(prefix: str) -> Page:
        person = site.person()
        await post(person, prefix, PASSWORDS + "login", name=ADA, password=PASSWORD)
        return await person.get(prefix + "/user/f2_timebasedotp/start")

    for send in (choose, start):
        json, vi = await costs(send)
        assert vi == json


async def test_an_edit_costs_what_it_costs_below_json(site: Site) -> None:
    await site.account()
    person = await site.logged_in()

    json, vi = await costs(lambda prefix: post(person, prefix, "/user/edit/self", firstname=prefix[1:]))

    assert vi == json <= 3


async def test_recovery_and_log_out_cost_two_each(site: Site) -> None:
    await site.account()
    person = await site.logged_in()

    asked = await post(site.person(), "/vi", PASSWORDS + "pwrecover", name=ADA)
    await site.run_tasks()
    out = await post(person, "/vi", "/user/logout")
    key = site.link().partition("recovery_key=")[2]
    shown = await post(site.person(), "/vi", PASSWORDS + "pwrecover", recovery_key=key)
    done = await post(site.person(), "/vi", PASSWORDS + "pwrecover", recovery_key=key, password=NEW)

    assert [page.cost for page in (asked, out, shown, done)] == [2, 2, 0, 2]
