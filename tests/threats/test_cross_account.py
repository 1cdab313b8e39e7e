"""One account's rights, session, key and skey at work on another's entry (abuse cases 91 and 92), on every route."""

from __future__ import annotations

import pytest

from authflow.testing import ADA, PASSWORD, Site, make_site
from authflow.web.routes import Assurance

PREFIXES = ("", "/json", "/admin", "/vi")
BOB = "bob@example.org"
ROOT = "root@example.org"

EVERYTHING = {
    "name": "mallory@example.org", "firstname": "Mallory", "lastname": "M", "status": "5", "roles": "admin,custom",
    "access": "root", "email": "mallory@evil.example", "current_password": PASSWORD,
    "password": "another long password", "otptoken": "123456", "provider": "time_based_otp",
}  # fmt: skip


@pytest.fixture
async def site() -> Site:
    return await make_site()


def rows(site: Site, key: str) -> dict:
    """Return every record that is an account's own, and what finds it."""
    return {k: row for k, row in site.kit.memory._rows.items() if key in k.name or key in str(row)}


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("roles", [(), ("viewer",)])
async def test_no_route_lets_somebody_without_the_right_touch_another(site: Site, prefix: str, roles: tuple) -> None:
    bob = await site.account_with_totp(BOB)
    await site.account(roles=roles)
    person = await site.logged_in()
    before = rows(site, bob.id)

    for path, route in site.edge.routes.items():
        if path in ("/user/logout", "/user/login") or route.needs is Assurance.TICKET:
            continue
        address = prefix + path.replace("/*", f"/{bob.id}")
        if route.get:
            page = await person.get(f"{address}?key={bob.id}")
            assert page.status < 500, address
        if route.post:
            page = await person.post(address, {"skey": await person.skey(), "key": bob.id, **EVERYTHING})
            assert page.status < 500, address
            assert BOB not in page.text, address

    assert rows(site, bob.id) == before


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_an_entry_one_may_not_touch_looks_like_one_that_is_not_there(site: Site, prefix: str) -> None:
    bob = await site.account(BOB)
    await site.account()
    person = await site.logged_in()

    for path in ("view", "edit", "delete", "trigger/kick"):
        answers = []
        for key in (bob.id, "A" * len(bob.id)):
            page = await person.post(f"{prefix}/user/{path}/{key}", {"skey": await person.skey(), "firstname": "X"})
            answers.append((page.status, page.text.replace(key, "")))
            if path != "trigger/kick":
                page = await person.get(f"{prefix}/user/{path}/{key}")
                answers[-1] += (page.status, page.text.replace(key, "") if prefix else "")
        assert answers[0] == answers[1], path


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_the_skey_of_another_admin_changes_nothing(site: Site, prefix: str) -> None:
    bob = await site.account(BOB)
    for name in (ROOT, ADA):
        await site.account(name, access=("root",))
    root, ada = await site.logged_in(ROOT), await site.logged_in()
    before = await site.kit.records("account")

    for path in (f"edit/{bob.id}", "add", f"delete/{bob.id}", f"trigger/kick/{bob.id}"):
        for values in ({"skey": await ada.skey()}, {}, {"skey": "x"}):
            page = await root.post(f"{prefix}/user/{path}", {**EVERYTHING, **values})
            assert page.status == 412, path

    assert await site.kit.records("account") == before


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_a_page_of_elsewhere_makes_an_admin_do_nothing(site: Site, prefix: str) -> None:
    bob = await site.account(BOB)
    await site.account(ROOT, access=("root",))
    root = await site.logged_in(ROOT)
    headers = {"origin": "https://evil.example", "sec-fetch-site": "cross-site"}

    for path in (f"edit/{bob.id}", "add", f"delete/{bob.id}", f"trigger/kick/{bob.id}"):
        values = {**EVERYTHING, "skey": await root.skey()}
        assert (await root.post(f"{prefix}/user/{path}", values, headers=headers)).status == 412

    assert await site.kit.account_now(bob) == bob


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_a_secret_in_the_address_is_refused(site: Site, prefix: str) -> None:
    bob = await site.account(BOB)
    await site.account(ROOT, access=("root",))
    root = await site.logged_in(ROOT)

    for path in (f"edit/{bob.id}", "add"):
        page = await root.post(f"{prefix}/user/{path}?password=another+long+one", {"skey": await root.skey()})
        assert page.status == 400

    assert await site.kit.account_now(bob) == bob


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(
    "key", ["..", "%2e%2e", "self%2f..", "a.user_password", "%00", "é", "x" * 101, "x" * 2000, " "]
)
async def test_a_key_that_is_none_is_not_found(site: Site, prefix: str, key: str) -> None:
    await site.account(ROOT, access=("root",))
    root = await site.logged_in(ROOT)

    for path in ("view", "edit", "delete", "trigger/kick"):
        for method in ("GET", "POST"):
            address = f"{prefix}/user/{path}/{key}"
            page = await (root.get(address) if method == "GET" else root.json_post(address))
            assert page.status in (404, 405), (path, method, page.status)
