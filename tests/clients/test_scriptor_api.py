"""viur-scriptor-api 1.16.1, unchanged: it logs in below `/vi`, in the strings of old, and works below `/json`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from authflow.testing.devices import totp
from tests.clients.house import PASSWORD, SECRET, House, open_house
from tests.clients.scriptor import run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("python_clients")]

ROOT = "root@example.org"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with open_house() as house:
        house.add_person(ROOT, is_admin=True)
        yield house


def new_name() -> str:
    return f"person{next(_numbers)}@example.org"


# --- In and out -------------------------------------------------------------------------------------------------------


def test_it_logs_in_and_learns_of_the_user_module(house: House) -> None:
    before = len(house.front.asked)

    seen = run(
        house,
        """
        modules = Modules(url, name, password)
        await modules.init()
        users = await modules.get_module("user")
        return [repr(modules), repr(users), modules.is_logged_in()]
        """,
        name=ROOT,
    )

    assert seen == ["<Modules, modules: ['user']>", '<ListModule "user">', True]
    asked = house.front.asked[before:]
    assert [one.line for one in asked] == ["GET /json/skey", "POST /vi/user/auth_userpassword/login", "GET /vi/config"]
    assert asked[1].query == {"@vi-admin": "true"}
    assert asked[1].fields.keys() == {"skey", "name", "password"}
    assert asked[1].got == b'"OKAY"'


def test_a_wrong_password_leaves_it_outside(house: House) -> None:
    before = len(house.front.asked)

    seen = run(
        house,
        """
        modules = Modules(url, name, "a wrong password")
        try:
            await modules.init()
        except RuntimeError as error:
            return [str(error), modules.is_logged_in()]
        """,
        name=ROOT,
    )

    assert seen == ["You need to log in.", False]
    assert house.front.asked[before + 1].got == b'"FAILURE"'
    assert len(house.front.asked) == before + 2


def test_it_knows_no_second_factor_and_gets_nowhere_without_one(house: House) -> None:
    name = new_name()
    house.add_person(name, is_admin=True, with_totp=True)
    before = len(house.front.asked)

    seen = run(
        house,
        """
        modules = Modules(url, name, password)
        await modules.init()
        seen = [repr(modules)]
        for path in ("/user/list", "/user/view/self"):
            try:
                await modules.viur_request("GET", path)
            except HTTPException as error:
                seen.append(error.status)
        return seen
        """,
        name=name,
    )

    assert house.front.asked[before + 1].got == b'"X-VIUR-2FACTOR-TimeBasedOTP"'
    assert seen == ["<Modules, modules: []>", 401, 401]


def test_a_script_can_answer_a_second_factor_with_the_means_of_the_client(house: House) -> None:
    name = new_name()
    house.add_person(name, is_admin=True, with_totp=True)

    seen = run(
        house,
        f"""
        import requests

        modules = Modules(url, name, password)
        await modules.init()
        with requests.Session() as session:
            session.cookies.update(modules._cookies)
            skey = session.get(url + "/json/skey").json()
            sent = {{"otptoken": "{totp(SECRET)}", "skey": skey}}
            answer = session.post(url + "/json/user/f2_timebasedotp/otp", data=sent).json()
            modules = Modules(url, cookies=session.cookies.get_dict())
        await modules.init()
        return [answer, repr(modules)]
        """,
        name=name,
    )

    assert seen == ["OKAY", "<Modules, modules: ['user']>"]


def test_a_script_ends_its_session(house: House) -> None:
    seen = run(
        house,
        """
        modules = Modules(url, name, password)
        await modules.init()
        done = await modules.viur_request("SECURE_POST", "/user/logout")
        try:
            await modules.viur_request("GET", "/user/view/self")
        except HTTPException as error:
            return [done, error.status]
        """,
        name=ROOT,
    )

    assert seen == ["OKAY", 401]


def test_the_log_out_of_the_client_ends_the_session(house: House) -> None:
    before = len(house.front.asked)

    seen = run(
        house,
        """
        modules = Modules(url, name, password)
        await modules.init()
        cookies = dict(modules._cookies)
        await modules.logout()
        again = Modules(url, cookies=cookies)
        await again.init()
        try:
            await again.viur_request("GET", "/user/view/self")
        except HTTPException as error:
            return [modules.is_logged_in(), error.status]
        """,
        name=ROOT,
    )

    assert "POST /json/json/user/logout" in [one.line for one in house.front.asked[before:]]
    assert seen == [False, 401]


# --- The user module --------------------------------------------------------------------------------------------------


def test_its_user_module_adds_views_edits_and_deletes(house: House) -> None:
    name = new_name()
    before = len(house.front.asked)

    seen = run(
        house,
        f"""
        modules = Modules(url, name, password)
        await modules.init()
        users = await modules.get_module("user")
        added = await users.add({{"name": "{name}", "password": "{PASSWORD}", "firstname": "Ada"}})
        key = added["values"]["key"]
        viewed = await users.view(key)
        edited = await users.edit(key, {{"firstname": "Augusta", "lastname": "King"}})
        viewed_again = await users.view(key)
        deleted = await users.delete(key)
        try:
            await users.view(key)
        except HTTPException as error:
            return [added["action"], viewed, edited["action"], viewed_again, deleted, error.status]
        """,
        name=ROOT,
    )

    added, viewed, edited, viewed_again, deleted, status = seen
    assert (added, edited, deleted, status) == ("addSuccess", "editSuccess", True, 404)
    assert (viewed["name"], viewed["firstname"]) == (name, "Ada")
    assert (viewed_again["firstname"], viewed_again["lastname"]) == ("Augusta", "King")
    assert "password" not in viewed or not viewed["password"]
    asked = [one for one in house.front.asked[before:] if one.method == "POST"]
    assert [one.line.rsplit("/", 2)[-2] for one in asked[2:]] == ["edit", "delete"]
    assert all(one.headers["content-type"].startswith("multipart/form-data") for one in asked[1:])


def test_its_user_module_lists_all_in_pieces(house: House) -> None:
    names = [new_name() for _ in range(5)]
    for name in names:
        house.add_person(name)
    before = len(house.front.asked)

    seen = run(
        house,
        """
        modules = Modules(url, name, password)
        await modules.init()
        users = await modules.get_module("user")
        by_two = [user["name"] async for user in users.list({"limit": 2})]
        at_once = [user["name"] async for user in users.list()]
        three = [user["name"] async for user in users.list(limit=3)]
        return [by_two, at_once, three]
        """,
        name=ROOT,
    )

    by_two, at_once, three = seen
    assert len(by_two) == len(set(by_two))
    assert set(by_two) == set(at_once) >= {*names, ROOT}
    assert len(three) == 3
    cursors = [one.query.get("cursor") for one in house.front.asked[before:] if one.query.get("limit")]
    assert len(cursors) == len(set(cursors)) >= 4


def test_its_user_module_has_a_structure(house: House) -> None:
    seen = run(
        house,
        """
        modules = Modules(url, name, password)
        await modules.init()
        return await (await modules.get_module("user")).structure()
        """,
        name=ROOT,
    )

    assert {"name", "status"} <= {name for name, _ in seen["structure"]}


def test_what_is_not_accepted_is_told_by_its_field(house: House) -> None:
    seen = run(
        house,
        """
        modules = Modules(url, name, password)
        await modules.init()
        users = await modules.get_module("user")
        answer = await users.add({"name": "no address at all", "password": password})
        return [answer["action"], [error["fieldPath"] for error in answer["errors"]]]
        """,
        name=ROOT,
    )

    assert seen == ["add", [["name"]]]


# --- Rights -----------------------------------------------------------------------------------------------------------


def test_rights_are_kept_whatever_a_script_asks_for(house: House) -> None:
    name, victim = new_name(), new_name()
    own_key, key = house.add_person(name), house.add_person(victim)

    seen = run(
        house,
        f"""
        modules = Modules(url, name, password)
        await modules.init()
        seen = []
        for method, path, params in (
            ("GET", "/user/list", None),
            ("GET", "/user/view/{key}", None),
            ("SECURE_POST", "/user/add", {{"name": "x@example.org", "password": password}}),
            ("SECURE_POST", "/user/edit/{key}", {{"firstname": "Mallory"}}),
            ("SECURE_POST", "/user/delete/{key}", {{}}),
            ("SECURE_POST", "/user/edit/{own_key}", {{"access": "root", "roles": "admin", "status": "10"}}),
        ):
            try:
                await modules.viur_request(method, path, params)
                seen.append(200)
            except HTTPException as error:
                seen.append(error.status)
        return [seen, await modules.viur_request("GET", "/user/view/self")]
        """,
        name=name,
    )

    statuses, own = seen
    assert all(status in (401, 403, 404) for status in statuses[:5]), statuses
    assert (own["values"]["access"], own["values"]["roles"]) == ([], [])
    entry = run(
        house,
        f"""
        modules = Modules(url, name, password)
        await modules.init()
        return await (await modules.get_module("user")).view("{key}")
        """,
        name=ROOT,
    )
    assert entry["firstname"] == ""


def test_a_viewer_looks_and_changes_nothing(house: House) -> None:
    name, other = new_name(), new_name()
    house.add_person(name, roles=("viewer",))
    key = house.add_person(other)

    seen = run(
        house,
        f"""
        modules = Modules(url, name, password)
        await modules.init()
        users = await modules.get_module("user")
        viewed = await users.view("{key}")
        listed = [user["name"] async for user in users.list()]
        refused = []
        for attempt in (
            lambda: users.add({{"name": "x@example.org", "password": password}}),
            lambda: users.edit("{key}", {{"firstname": "Mallory"}}),
            lambda: users.delete("{key}"),
        ):
            try:
                await attempt()
            except HTTPException as error:
                refused.append([error.status, error.name, "reason: " in str(error)])
        return [viewed["name"], "{other}" in listed, refused, (await users.view("{key}"))["firstname"]]
        """,
        name=name,
    )

    forbidden, not_found = [403, "Forbidden", True], [404, "Not Found", True]
    assert seen == [other, True, [forbidden, not_found, not_found], ""]
