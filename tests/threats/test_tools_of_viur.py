"""What ViUR's tools are offered beside the common paths is tried as a way around the checks (ViUR's own gaps)."""

from __future__ import annotations

import pytest

from authflow.testing import ADA, PASSWORD, Person, Site, make_site
from tests.threats.tools import who
from tests.vi_kit import HARDWARE, LOGIN, OTP, post, site_with_two_factors

BESIDE = "/vi/user/auth_userpassword/edit"
BESIDE_OTP = "/vi/user/f2_timebasedotp/edit"
CHOICE_BESIDE = "/vi/user/auth_userpassword/select_secondfactor_provider"
FOREIGN = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}


async def pending(site: Site) -> Person:
    person = site.person()
    await post(person, LOGIN, name=ADA, password=PASSWORD)
    return person


# --- The paths beside the step ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [BESIDE, BESIDE_OTP, CHOICE_BESIDE])
async def test_a_step_beside_its_path_is_no_first_step(site: Site, path: str) -> None:
    await site.account_with_totp()
    person = site.person()

    page = await post(person, path, name=ADA, password=PASSWORD, otptoken=site.code(), provider="time_based_otp")

    assert (page.status, page.json["code"]) == (412, "flow_invalid")
    assert await who(person) is None


@pytest.mark.parametrize("path", [BESIDE, BESIDE_OTP])
@pytest.mark.parametrize(
    "values", [{}, {"otptoken": ""}, {"otptoken": "000000", "skip": "1"}, {"name": ADA, "password": PASSWORD}]
)
async def test_a_step_beside_its_path_is_not_skipped(site: Site, path: str, values: dict[str, str]) -> None:
    await site.account_with_totp()
    person = await pending(site)

    page = await post(person, path, **values)

    assert page.json.get("action") != "login_success"
    assert await who(person) is None


async def test_wrong_codes_beside_the_path_are_counted_with_the_others(site: Site) -> None:
    await site.account_with_totp()
    person = await pending(site)

    for path in (BESIDE, OTP, BESIDE_OTP, BESIDE, OTP):
        await post(person, path, otptoken=site.wrong_code())
    pages = [await post(person, path, otptoken=site.code()) for path in (BESIDE, BESIDE_OTP, OTP)]

    assert [page.status for page in pages] == [429] * 3
    assert await who(person) is None


async def test_a_code_is_good_once_whatever_its_path(site: Site) -> None:
    await site.account_with_totp()
    first, second = await pending(site), await pending(site)
    code = site.code()

    taken = await post(first, BESIDE, otptoken=code)
    pages = [await post(second, path, otptoken=code) for path in (BESIDE, BESIDE_OTP, OTP)]

    assert taken.json["action"] == "login_success"
    assert {page.json["code"] for page in pages} == {"code_replayed"}
    assert await who(second) is None


async def test_a_choice_beside_its_path_opens_only_what_the_account_has() -> None:
    site = await site_with_two_factors()
    person = await pending(site)

    refused = await post(person, CHOICE_BESIDE, provider="recovery_codes")
    chosen = await post(person, CHOICE_BESIDE, provider="hardware_otp")
    other = await post(person, BESIDE, otptoken=site.code())
    right = await post(person, BESIDE, otptoken=site.code(secret=bytes.fromhex(HARDWARE)))

    assert refused.status >= 400
    assert chosen.json["action"] == "select_secondfactor_provider_success"
    assert other.json["action"] != "login_success"
    assert right.json["action"] == "login_success"


@pytest.mark.parametrize("path", [LOGIN, OTP, BESIDE, BESIDE_OTP, CHOICE_BESIDE, "/vi/user/f2_timebasedotp/start"])
async def test_no_step_is_taken_for_another_site_or_without_an_skey(site: Site, path: str) -> None:
    await site.account_with_totp()
    person = await pending(site)
    values = {"name": ADA, "password": PASSWORD, "otptoken": site.code(), "provider": "time_based_otp"}
    before = dict(site.kit.memory._rows)

    pages = [
        await person.post(path, values),
        await person.post(path, {**values, "@vi-admin": "true"}),
        await person.post(path, {**values, "skey": await person.skey()}, headers=FOREIGN),
        await person.post(path, {"skey": await person.skey()}, headers=FOREIGN),
    ]

    assert [page.status for page in pages] == [412] * 4
    assert site.kit.memory._rows == before


# --- Empty posts ------------------------------------------------------------------------------------------------------


async def test_asking_for_forms_by_empty_posts_writes_and_counts_nothing(site: Site) -> None:
    await site.account_with_totp()
    await site.account("bob@example.org")
    people = [site.person(), await pending(site), await site.logged_in("bob@example.org")]
    before = dict(site.kit.memory._rows)
    paths = [path for path, route in site.edge.routes.items() if route.is_form]

    for person in people:
        for path in paths:
            for values in ({}, {"skey": await person.skey()}, {"@a": "b"}):
                page = await person.post("/vi" + path.replace("/*", "/self"), values)
                assert page.status < 500
                assert not page.set_cookies.keys() - {site.edge.jar.browser_name}

    assert len(paths) > 6
    assert site.kit.memory._rows == before


# --- What ViUR does by GET or in an address ---------------------------------------------------------------------------


async def test_a_password_or_code_in_an_address_logs_nobody_in(site: Site) -> None:
    await site.account_with_totp()
    person = await pending(site)
    skey = await person.skey()

    pages = [
        await person.get(f"{LOGIN}?name={ADA}&password={PASSWORD.replace(' ', '+')}&skey={skey}&@vi-admin=true"),
        await person.get(f"{OTP}?otptoken={site.code()}&skey={skey}"),
        await person.get(f"/vi/user/logout?skey={skey}"),
    ]
    refused = await person.post(f"{OTP}?otptoken={site.code()}", {"skey": skey})

    assert all(page.json.get("action") != "login_success" for page in pages)
    assert refused.status == 400
    assert await who(person) is None


@pytest.mark.parametrize(
    "path",
    [
        "get_cookie_for_app?redirect_to=http://localhost:60000",
        "apply_login_cookie?cookie=authflow_session=x",
        "trigger/takeover",
        "trigger/takeover/self",
    ],
)
@pytest.mark.parametrize("prefix", ["", "/json", "/admin", "/vi"])
async def test_nobodys_session_is_handed_over(site: Site, prefix: str, path: str) -> None:
    await site.account(access=("root",))
    person = await site.logged_in()

    by_get = await person.get(f"{prefix}/user/{path}")
    by_post = await person.post(f"{prefix}/user/{path}", {"skey": await person.skey()})

    assert by_get.status == by_post.status == 404
    assert not by_get.set_cookies
    assert person.cookies[site.edge.jar.session_name] not in by_get.text


# --- The context ------------------------------------------------------------------------------------------------------


async def test_a_context_carries_no_value_past_a_check() -> None:
    site = await make_site()
    await site.account()
    person = site.person()

    page = await person.post(
        LOGIN, {"skey": await person.skey(), "@name": ADA, "@password": PASSWORD, "name": ADA, "password": "wrong"}
    )
    without_skey = await person.post(LOGIN, {"@skey": await person.skey(), "name": ADA, "password": PASSWORD})

    assert page.json["action"] == "login"
    assert without_skey.status == 412
    assert await who(person) is None


async def test_no_context_opens_the_configuration(site: Site) -> None:
    await site.account()
    person = await site.logged_in()

    for query in ("?@vi-admin=true", "?@access=root", "?%40root=1"):
        page = await person.get("/vi/config" + query)
        assert set(page.json) == {"configuration"}
