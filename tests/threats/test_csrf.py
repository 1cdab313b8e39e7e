"""Somebody else's page makes the victim's browser send requests (abuse cases 77 to 82 and 85)."""

from __future__ import annotations

import json

import pytest

from authflow.testing import ADA, BASE_URL, PASSWORD, Person, Site
from tests.threats.tools import who

BOB = "bob@example.org"
EVIL = "https://evil.example"

FOREIGN = [
    {"origin": EVIL},
    {"origin": EVIL, "sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"origin": "null"},
    {"origin": "null", "sec-fetch-site": "cross-site"},
    {"origin": ""},
    {"origin": BASE_URL + ".evil.example"},
    {"origin": BASE_URL.replace("http:", "https:")},
    {"origin": BASE_URL.replace(":8000", ":8001")},
    {"origin": "http://127.0.0.1"},
    {"origin": BASE_URL + "/"},
    {"origin": f"{BASE_URL}, {EVIL}"},
]


def posts(site: Site) -> list[str]:
    return [
        prefix + path
        for prefix in ("", "/json", "/admin", "/vi")
        for path, route in site.edge.routes.items()
        if route.post
    ]


@pytest.mark.parametrize("headers", FOREIGN, ids=str)
async def test_no_post_of_a_foreign_page_changes_anything(site: Site, headers: dict[str, str]) -> None:
    """Abuse cases 77, 78 and 81: even with a good token, which it could not know."""
    await site.account()
    person = await site.logged_in()
    before = dict(site.kit.memory._rows)

    for path in posts(site):
        values = {"skey": await person.skey(), "name": ADA, "password": PASSWORD, "firstname": "Mallory"}
        page = await person.post(path, values, headers=headers)
        assert page.status == 412, path

    assert site.kit.memory._rows == before


@pytest.mark.parametrize("headers", [{}, {"origin": BASE_URL}, {"origin": BASE_URL, "sec-fetch-site": "same-origin"}])
async def test_our_own_pages_are_let_through(site: Site, headers: dict[str, str]) -> None:
    """The other side: browsers and programs that behave."""
    await site.account()
    person = await site.logged_in()

    page = await person.post("/json/user/edit/self", {"skey": await person.skey(), "firstname": "A"}, headers=headers)

    assert page.json["action"] == "editSuccess"


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_nobody_is_logged_out_by_an_image(site: Site, method: str) -> None:
    """Abuse case 77: a log-out by an address alone."""
    await site.account()
    person = await site.logged_in()
    skey = await person.skey()

    for prefix in ("", "/json", "/admin", "/vi"):
        await person.request(method, f"{prefix}/user/logout?skey={skey}")

    assert await who(person) == ADA


async def test_nobody_is_logged_in_by_a_foreign_form(site: Site) -> None:
    """Abuse case 78: the victim is logged in to the attacker's account, and confides in it."""
    await site.account(BOB)
    attacker, victim = site.person(), site.person()
    form = (await attacker.get("/user/login")).form("login")
    await victim.get("/user/login")
    stolen = {**form.values, "name": BOB, "password": PASSWORD}

    for values in ({"name": BOB, "password": PASSWORD}, stolen, {**stolen, "skey": ""}):
        page = await victim.post(form.action, values)
        assert page.status == 412

    assert await who(victim) is None


async def test_a_flow_that_somebody_else_began_cannot_be_sent_on(site: Site) -> None:
    """Abuse case 78: the victim's own token, with the attacker's flow and its target."""
    await site.account()
    attacker, victim = site.person(), site.person()
    flow = (await attacker.get("/user/login?next=/user/auth_userpassword/change")).form("login").values["flow"]
    form = (await victim.get("/user/login")).form("login")

    page = await victim.post(form.action, {**form.values, "flow": flow, "name": ADA, "password": PASSWORD})

    assert page.status == 412
    assert await who(victim) is None


@pytest.mark.parametrize("content_type", ["text/plain", "text/plain; charset=utf-8", "", "application/octet-stream"])
async def test_json_in_disguise_is_not_read(site: Site, content_type: str) -> None:
    """Abuse case 80: a body of a type that any page may send, with JSON in it."""
    await site.account()
    person = await site.logged_in()
    body = json.dumps({"skey": await person.skey(), "firstname": "Mallory"}).encode()

    page = await person.request("POST", "/json/user/edit/self", body=body, headers={"content-type": content_type})

    assert page.status == 415


async def test_no_answer_lets_another_origin_read_it(site: Site) -> None:
    """Abuse cases 80 and 82: the answer is opened to whatever origin asks."""
    await site.account()
    person = await site.logged_in()

    for path in ("/json/skey", "/json/user/view/self", "/user/view/self", "/user/getAuthMethods"):
        for method in ("GET", "OPTIONS"):
            page = await person.request(method, path, headers={"origin": EVIL, "access-control-request-method": "POST"})
            assert not [name for name, _ in page.headers if name.startswith("access-control-")]
            assert page.header("cross-origin-resource-policy") == "same-origin"


async def test_a_token_in_the_address_of_a_get_does_nothing(site: Site) -> None:
    """Abuse case 77: the values of a form, sent as an address."""
    await site.account()
    person = await site.logged_in()
    before = dict(site.kit.memory._rows)
    skey = await person.skey()

    for path in posts(site):
        await person.get(f"{path}?skey={skey}&firstname=Mallory&name={ADA}&password={PASSWORD.replace(' ', '+')}")

    assert site.kit.memory._rows == before


@pytest.mark.parametrize("secret", ["password", "otptoken", "recovery_key", "recoveryKey", "current_password", "token"])
async def test_a_secret_is_not_taken_from_the_address_of_a_post(site: Site, secret: str) -> None:
    """Abuse case 82: what stands in an address is written to logs."""
    person = site.person()
    skey = await person.skey()

    page = await person.post(f"/json/user/auth_userpassword/login?{secret}=x", {"skey": skey, "name": ADA})

    assert page.status == 400


async def test_pages_cannot_be_framed_or_kept(site: Site) -> None:
    """Abuse case 85: a page of the account lies invisible under a foreign one, or in a shared cache."""
    await site.account()
    person = await site.logged_in()

    for path in ("/user/view/self", "/user/login", "/user/logout", "/nothing", "/json/user/view/self", "/"):
        page = await person.get(path)
        assert page.header("x-frame-options") == "DENY"
        assert "frame-ancestors 'none'" in page.header("content-security-policy")
        assert page.header("cache-control") == "no-store"


async def test_the_token_of_another_person_is_worth_nothing(site: Site) -> None:
    """Abuse case 79: the attacker's own token, which he may have as many of as he likes."""
    await site.account()
    await site.account(BOB)
    attacker, victim = await site.logged_in(BOB), await site.logged_in(ADA)
    tokens = (await attacker.get("/json/skey?amount=20")).json

    for token in tokens:
        page = await victim.post("/json/user/edit/self", {"skey": token, "firstname": "Mallory"})
        assert page.status == 412


async def test_a_browser_without_cookies_has_no_good_token(site: Site) -> None:
    """Abuse case 78: no cookie at all, so that nothing could be compared."""
    await site.account()
    person = site.person()
    skey = await person.skey()
    bare = Person(site.edge)

    page = await bare.post("/user/auth_userpassword/login", {"skey": skey, "name": ADA, "password": PASSWORD})

    assert page.status == 412
