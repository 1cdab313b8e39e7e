"""More is sent than was asked for, or something else than text (abuse cases 35, 90 to 95, 107, 108 and 116)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from urllib.parse import quote

import pytest

from authflow.model import Status
from authflow.testing import ADA, PASSWORD, Person, Site, make_site
from tests.threats.tools import Open, recovery_link, who

BOB = "bob@example.org"
NEW = "another long password"

FORBIDDEN = {
    "status": "10", "access": "root", "access[]": "root", "roles": "admin", "role": "admin", "is_admin": "true",
    "id": "0", "key": "0", "account_id": "0", "epoch": "99", "email": "eve@evil.example", "canonical_name": "eve",
    "factors": "", "otp_secret": "AAAA", "otpSecret": "AAAA", "secret": "AAAA", "hash": "$2b$04$x", "created_at": "0",
    "identities": "x", "session": "x", "profile": "x", "profile.status": "10", "__class__": "x", "credential": "x",
    "creationdate": "0", "changedate": "0", "user": "0", "userId": "0", "sub": "0",
}  # fmt: skip


async def record_of(site: Site, name: str) -> dict:
    account = await site.app.administration.find(name)
    return account.to_data()


@pytest.mark.parametrize("prefix", ["", "/json", "/admin"])
async def test_nothing_that_was_not_asked_for_is_stored_by_an_edit(site: Site, prefix: str) -> None:
    """Abuse case 90: rights, status, ids and secrets are sent along with the own details."""
    await site.account()
    person = await site.logged_in()
    before = await record_of(site, ADA)

    for name, value in FORBIDDEN.items():
        await person.post(f"{prefix}/user/edit/self", {"skey": await person.skey(), name: value, "firstname": "A"})
        after = await record_of(site, ADA)
        changed = {key for key in after if after[key] != before.get(key)}
        assert changed <= {"profile", "version", "changed_at"}, name
        assert after["profile"] == {"firstname": "A"}


async def test_the_own_name_is_not_a_detail(site: Site) -> None:
    """Abuse case 90: the name, by which recovery finds the mailbox, is changed like a first name."""
    await site.account()
    person = await site.logged_in()

    await person.json_post("/json/user/edit/self", firstname="A", name=BOB)

    assert await who(person) == ADA


@pytest.mark.parametrize("prefix", ["", "/json", "/admin"])
async def test_nothing_that_was_not_asked_for_is_stored_by_a_registration(prefix: str) -> None:
    """Abuse case 90: a stranger makes himself an administrator."""
    site = await make_site(Open())
    person = site.person()
    values = {"skey": await person.skey(), "name": BOB, "password": NEW, **FORBIDDEN}

    await person.post(f"{prefix}/user/auth_userpassword/add", values)

    record = await record_of(site, BOB)
    assert record["status"] == Status.WAITING_FOR_EMAIL_VERIFICATION
    assert not record["access"]
    assert not record["roles"]
    assert not record["factors"]
    assert record["email"] == BOB
    assert record["epoch"] < 99
    assert set(record["profile"]) <= {"firstname", "lastname"}


async def test_the_secret_of_an_app_is_in_no_form_and_no_entry(site: Site) -> None:
    """Abuse case 35: the second factor's secret is a field of the user."""
    await site.account_with_totp(access=("root",))
    person = await site.logged_in(with_code=True)

    view = (await person.get("/json/user/view/self")).json
    edit = (await person.get("/json/user/edit/self")).json

    assert [name for name, _ in edit["structure"]] == ["firstname", "lastname", "version"]
    assert not {"password", "secret", "otp", "hash", "factors", "epoch"} & set(view["values"])


async def test_the_entry_of_another_is_neither_seen_nor_changed(site: Site) -> None:
    """Abuse case 91: the key of somebody else in every address and field."""
    await site.account()
    bob = await site.account(BOB)
    person = await site.logged_in()
    before = await record_of(site, BOB)

    for prefix in ("", "/json", "/admin"):
        for path in ("view", "edit", "delete", "logout"):
            page = await person.get(f"{prefix}/user/{path}/{bob.id}")
            assert page.status == 404
            assert BOB not in page.text
            page = await person.post(f"{prefix}/user/{path}/{bob.id}", {"skey": await person.skey(), "firstname": "X"})
            assert page.status in (404, 405)

    assert await record_of(site, BOB) == before


@pytest.mark.parametrize("field", ["key", "id", "user", "userId", "user_id", "account_id", "name", "self_", "uid"])
async def test_who_acts_comes_from_the_session_alone(site: Site, field: str) -> None:
    """Abuse case 92: the request says on whose behalf it is made."""
    bob = await site.account(BOB)
    await site.account()
    person, stranger = await site.logged_in(), site.person()
    before = await record_of(site, BOB)

    for value in (bob.id, BOB):
        entry = await person.get(f"/json/user/view/self?{field}={quote(value)}")
        assert entry.json["values"]["name"] == ADA
        await person.json_post("/json/user/edit/self", **{field: value, "firstname": "X"})
        assert (await stranger.json_post("/json/user/edit/self", **{field: value, "firstname": "X"})).status == 401
        assert (await stranger.get(f"/json/user/view/self?{field}={quote(value)}")).status == 401

    assert await record_of(site, BOB) == before


async def test_nobody_makes_or_changes_accounts_without_a_login(site: Site) -> None:
    """Abuse case 93: forms of the profile are open to whoever finds them."""
    await site.account()
    person = site.person()
    before = await site.kit.records("account")

    for path in (
        "add",
        "edit",
        "edit/self",
        "edit/x",
        "delete",
        "list",
        "structure",
        "trigger/kick",
        "trigger/takeover",
    ):
        for prefix in ("", "/json", "/admin"):
            values = {"skey": await person.skey(), "name": "x@example.org", "password": NEW, "key": "x"}
            page = await person.post(f"{prefix}/user/{path}", values)
            assert page.status in (401, 403, 404, 405), path

    assert await site.kit.records("account") == before


VALUES = ["null", "true", "1", "1.5", "[]", '["a"]', "{}", '{"$ne": null}', '{"$gt": ""}', '"\\ud800"', '"\\u0000"']
FIELDS = ["name", "password", "skey", "otptoken", "flow", "provider", "firstname", "version", "recovery_key"]


@pytest.mark.parametrize("value", VALUES)
async def test_another_type_than_text_is_refused_or_means_nothing(site: Site, value: str) -> None:
    """Abuse case 94: numbers, lists, objects and nothing at all where text is due."""
    await site.account_with_totp()
    person, _ = await site.pending()
    paths = [path for path, route in site.edge.routes.items() if route.post]

    for path in paths:
        for field in FIELDS:
            values = {"skey": json.dumps(await person.skey()), field: value}
            body = "{" + ",".join(f'"{key}":{text}' for key, text in values.items()) + "}"
            page = await person.request(
                "POST", "/json" + path, body=body.encode(), headers={"content-type": "application/json"}
            )
            assert page.status < 500, (path, field)
    assert await who(person) is None


@pytest.mark.parametrize(
    "value", ["garbage", "1.2.3.4, 5.6.7.8", "::1", "\xff\xfe", "a" * 5000, "", ",,,", "127.0.0.1"]
)
@pytest.mark.parametrize("header", ["x-forwarded-for", "x-real-ip", "x-appengine-user-ip", "forwarded", "via"])
async def test_an_address_that_is_none_opens_and_breaks_nothing(site: Site, header: str, value: str) -> None:
    """Abuse case 95: a header that the policy of addresses cannot read switches the password off."""
    await site.account()
    person = site.person(headers={header: value})

    wrong = await person.log_in(password="wrong")
    right = await person.send(wrong.form("login"), password=PASSWORD)

    assert wrong.status == 200
    assert right.status == 303


@pytest.mark.parametrize("doubled", ["name", "password", "skey", "flow"])
async def test_a_name_sent_twice_is_refused(site: Site, doubled: str) -> None:
    """Abuse case 116: one parser takes the first, another the last."""
    await site.account()
    person = site.person()
    values = {**(await person.get("/user/login")).form("login").values, "name": ADA, "password": PASSWORD}
    raw = "&".join(f"{name}={quote(value)}" for name, value in values.items())

    in_body = await post_raw(person, "/user/auth_userpassword/login", raw + f"&{doubled}={quote(values[doubled])}")
    in_both = await post_raw(person, f"/user/auth_userpassword/login?{doubled}={quote(values[doubled])}", raw)
    encoded = await post_raw(person, "/user/auth_userpassword/login", raw + f"&%{ord(doubled[0]):x}{doubled[1:]}=x")

    assert [in_body, in_both, encoded] == [400, 400, 400]
    assert await who(person) is None


async def post_raw(person: Person, path: str, body: str) -> int:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return (await person.request("POST", path, body=body.encode(), headers=headers)).status


async def test_a_second_key_beside_the_good_one_is_refused(site: Site) -> None:
    """Abuse case 116: the key of a recovery under both of its names at once."""
    await site.account()
    key = (await recovery_link(site)).partition("recovery_key=")[2]
    person = site.person()

    values = {"skey": await person.skey(), "recovery_key": "x." + "A" * 43, "recoveryKey": key, "password": NEW}
    page = await person.post("/user/auth_userpassword/pwrecover", values)

    assert page.status >= 400
    assert (await site.person().log_in(password=NEW)).status == 200


@pytest.mark.parametrize("text", ["'", '"', "\\", "%", "%s", "{}", "{0}", "$1", "--", "/*", "`", "\u2028", "é" * 100])
async def test_odd_characters_bring_no_inside_to_light(site: Site, text: str) -> None:
    """Abuse case 107: an error shows a statement, a row or a path of the server."""
    person = site.person()

    pages = [
        await person.log_in(text, text),
        await person.get(f"/user/view/{quote(text, safe='')}"),
        await person.get(f"/json/{quote(text, safe='')}?{quote(text)}={quote(text)}"),
        await person.json_post("/json/user/auth_userpassword/login", name=text, password=text),
    ]

    for page in pages:
        assert page.status < 500
        for inside in (
            "Traceback",
            "sqlite",
            "SELECT",
            str(Path(__file__).parents[2]),
            "authflow/",
            "KeyError",
            "ValueError",
            "$2b$",
        ):
            assert inside not in page.text
        # A module's name. A token may hold these letters too, but then it goes on.
        assert not re.search(r"\.py(?![\w-])", page.text)
