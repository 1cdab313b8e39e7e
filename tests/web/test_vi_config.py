"""What ViUR's admin tools ask beside the flow: version, configuration, modules, skeys, methods."""

from __future__ import annotations

import pytest

from authflow.testing import ADA, PASSWORD, Site, make_site
from authflow.user import User
from authflow.web.vi_config import VERSIONS
from providers.google_account import GoogleAccount
from tests.vi_kit import LOGIN, Old, action_of, log_in, post

CLIENT_ID = "1234-abc.apps.googleusercontent.com"
CLIENT_ID_KEY = "admin.user.google.clientID"
GOOGLE = "/vi/user/auth_googleaccount/login"
SELECT = "/vi/user/select_authentication_provider"


class ToolsGoogle(GoogleAccount):
    google_nonce_required = False


class GoogleForTools(User):
    authentication_providers = ("providers.user_password:UserPassword", ToolsGoogle)


@pytest.fixture
async def site() -> Site:
    return await make_site()


# --- Version and configuration ----------------------------------------------------------------------------------------


async def test_the_version_tells_the_dialect() -> None:
    new, old = await make_site(), await make_site(Old())

    assert (await new.person().get("/vi/getVersion")).json == [3, 9, 3, None]
    # viur-vi refuses what is not from 3.0 to before 3.6.
    version = (await old.person().get("/vi/getVersion")).json
    assert [3, 0] <= version[:2] < [3, 6]
    assert len(version) == 3
    assert (await new.person().get("/admin/getVersion")).json == version


async def test_anybody_is_told_the_configuration_and_nothing_else(site: Site) -> None:
    page = await site.person().get("/vi/config")

    assert page.status == 200
    assert set(page.json) == {"configuration"}
    assert page.json["configuration"]["admin.name"] == "authflow"
    assert CLIENT_ID_KEY not in page.json["configuration"]


@pytest.mark.parametrize("access", [(), ("user-view",), ("user-edit",)])
async def test_whoever_is_no_administrator_is_told_no_more(site: Site, access: tuple[str, ...]) -> None:
    await site.account(access=access)
    person = site.person()
    await log_in(person)

    page = await person.get("/vi/config")

    assert set(page.json) == {"configuration"}


@pytest.mark.parametrize("more", [{"access": ("admin",)}, {"access": ("root",)}, {"roles": ("viewer",)}])
async def test_administrators_are_told_version_and_modules(site: Site, more: dict) -> None:
    await site.account(**more)
    person = site.person()
    await log_in(person)

    page = await person.get("/vi/config")

    assert set(page.json) == {"configuration", "version", "modules"}
    assert page.json["version"] == VERSIONS["3.9"]
    module = page.json["modules"]["user"]
    assert (module["name"], module["handler"], module["icon"]) == ("User", "list", "person-fill")


async def test_what_tools_show_of_the_module_is_the_applications_to_say() -> None:
    class Members(User):
        admin_info = {"name": "Members", "handler": "list.members", "icon": "people"}  # noqa: RUF012
        site_name = "The club"

    site = await make_site(Members())
    await site.account(access=("root",))
    person = site.person()
    await log_in(person)

    page = await person.get("/vi/config")

    assert page.json["modules"]["user"].items() >= Members.admin_info.items()
    assert page.json["configuration"]["admin.name"] == "The club"


async def test_the_settings_are_the_configuration_alone(site: Site) -> None:
    person = site.person()

    page = await person.get("/vi/settings")

    assert page.json == (await person.get("/vi/config")).json["configuration"]


@pytest.mark.parametrize("path", ["/vi/config", "/admin/config"])
async def test_the_old_configuration_needs_the_right_admin(path: str) -> None:
    """viur-vi shows its login when it is refused here, and its start page when it is not."""
    site = await make_site(Old())
    await site.account()
    await site.account("root@example.org", access=("root",))
    plain, admin = site.person(), site.person()
    await log_in(plain)
    await log_in(admin, "root@example.org")

    allowed = await admin.get(path)

    assert (await site.person().get(path)).status == 401
    assert (await plain.get(path)).status == 403
    assert set(allowed.json) == {"capabilities", "modules", "configuration"}
    assert "user" in allowed.json["modules"]


@pytest.mark.parametrize("path", ["/config", "/json/config", "/getVersion", "/settings", "/json/getVersion"])
async def test_other_prefixes_do_not_know_these_paths(site: Site, path: str) -> None:
    assert (await site.person().get(path)).status == 404


# --- Google -----------------------------------------------------------------------------------------------------------


async def test_googles_client_id_is_told_where_tools_may_use_it() -> None:
    allowed = await make_site(GoogleForTools(), provider_environment={"google_client_id": CLIENT_ID})
    refused = await make_site(provider_environment={"google_client_id": CLIENT_ID})

    told = (await allowed.person().get("/vi/config")).json["configuration"]
    kept = (await refused.person().get("/vi/config")).json["configuration"]

    assert told[CLIENT_ID_KEY] == CLIENT_ID
    assert CLIENT_ID_KEY not in kept


async def test_google_is_offered_where_tools_may_use_it() -> None:
    site = await make_site(GoogleForTools(), provider_environment={"google_client_id": CLIENT_ID})
    person = site.person()

    offered = await person.get("/vi/user/login")
    methods = await person.get("/vi/user/getAuthMethods")

    assert action_of(offered) == "select_authentication_provider"
    assert list(offered.json["structure"]["provider"]["values"]) == [LOGIN, GOOGLE]
    assert offered.json["values"] == {"provider": LOGIN}
    assert offered.json["next_url"] is None
    assert ["X-VIUR-AUTH-Google-Account", None] in methods.json


async def test_google_is_left_out_where_only_our_page_can_ask_it() -> None:
    site = await make_site(provider_environment={"google_client_id": CLIENT_ID})
    person = site.person()

    offered = await person.get("/vi/user/login")
    chosen = await person.get(f"{SELECT}?provider={GOOGLE}")

    assert action_of(offered) == "select_authentication_provider_success"
    assert list(offered.json["structure"]["provider"]["values"]) == [LOGIN]
    assert chosen.status == 404


# --- The choice of a first step ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("choice", [GOOGLE, "google_account", "X-VIUR-AUTH-Google-Account"])
async def test_a_chosen_first_step_is_answered_by_its_address(choice: str) -> None:
    site = await make_site(GoogleForTools(), provider_environment={"google_client_id": CLIENT_ID})
    person = site.person()

    pages = [
        await person.get(f"{SELECT}?provider={choice}"),
        await person.post(SELECT, {"provider": choice}),
        # As vue-utils sends it: the choice in the query, an skey in the body.
        await post(person, f"{SELECT}?provider={choice}"),
    ]

    for page in pages:
        assert action_of(page) == "select_authentication_provider_success"
        assert page.json["next_url"] == GOOGLE


async def test_without_a_choice_the_offer_is_shown() -> None:
    site = await make_site(GoogleForTools(), provider_environment={"google_client_id": CLIENT_ID})
    person = site.person()

    offer = await person.get("/vi/user/login")

    assert (await person.get(SELECT)).json == (await person.post(SELECT)).json == offer.json


async def test_what_is_not_offered_cannot_be_chosen(site: Site) -> None:
    page = await site.person().get(f"{SELECT}?provider=//evil.example")

    assert (page.status, page.json["code"]) == (404, "not_found")


# --- Context parameters -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["/json", "/admin", "/vi"])
async def test_what_begins_with_an_at_sign_is_nobodys_value(site: Site, prefix: str) -> None:
    await site.account()
    person = site.person()
    await log_in(person)
    before = (await person.get("/vi/user/view/self")).json["values"]

    query = "?%40lang=de&%40firstname=X&%40self=1&%40name=eve"
    skey = await person.skey(prefix)
    answer = await person.post(f"{prefix}/user/edit/self{query}", {"skey": skey, "@lastname": "X", "lastname": "L"})
    entry = await person.get(f"{prefix}/user/view/self{query}")

    assert answer.status == 200
    changed = {key for key, value in entry.json["values"].items() if before[key] != value}
    assert changed <= {"lastname", "version", "changedate"}
    assert entry.json["values"]["firstname"] == ""


async def test_a_context_beside_nothing_else_is_still_an_empty_post(site: Site) -> None:
    page = await site.person().post(f"{LOGIN}?%40lang=de", {"@x": "1"})

    assert action_of(page) == "login"


@pytest.mark.parametrize("in_query", [True, False])
async def test_a_tool_asks_for_the_strings_of_old(site: Site, in_query: bool) -> None:
    await site.account_with_totp()
    person = site.person()
    query, body = ("?@vi-admin=true", {}) if in_query else ("", {"@vi-admin": "true"})

    wrong = await post(person, LOGIN + query, **body, name=ADA, password="wrong")
    owed = await post(person, LOGIN + query, **body, name=ADA, password=PASSWORD)

    assert wrong.json == "FAILURE"
    assert owed.json == "X-VIUR-2FACTOR-TimeBasedOTP"


@pytest.mark.parametrize("value", ["false", "", "0", "TRUE!"])
async def test_another_value_asks_for_nothing(site: Site, value: str) -> None:
    page = await log_in(site.person(), path=f"{LOGIN}?@vi-admin={value}")

    assert action_of(page) == "login"


@pytest.mark.parametrize("prefix", ["/vi", "/admin"])
async def test_googles_button_is_a_page_for_the_browser_that_a_tool_opens(prefix: str) -> None:
    site = await make_site(GoogleForTools(), provider_environment={"google_client_id": CLIENT_ID})
    person = site.person()

    page = await person.get(prefix + "/user/auth_googleaccount/login")
    form = await post(person, GOOGLE)

    assert page.header("content-type").startswith("text/html")
    assert f'data-client_id="{CLIENT_ID}"' in page.text
    assert page.form("auth_googleaccount/login").action == "/user/auth_googleaccount/login"
    assert "https://accounts.google.com" in page.header("content-security-policy")
    assert action_of(form) == "login"
    assert list(form.json["structure"]) == ["token"]


async def test_programs_get_no_page_of_google() -> None:
    allowed = await make_site(GoogleForTools(), provider_environment={"google_client_id": CLIENT_ID})
    refused = await make_site(provider_environment={"google_client_id": CLIENT_ID})

    pages = [await allowed.person().get("/json/user/auth_googleaccount/login"), await refused.person().get(GOOGLE)]

    assert [page.header("content-type") for page in pages] == ["application/json"] * 2
