"""The pages of accounts: what an admin sees and presses, without JavaScript."""

from __future__ import annotations

import re
from urllib.parse import urlencode

import pytest

from authflow.testing import ADA, Page, Person, Site, make_site

BOB = "bob@example.org"
ROOT = "root@example.org"
NEW = "another long password"


@pytest.fixture
async def site() -> Site:
    return await make_site()


@pytest.fixture
async def root(site: Site) -> Person:
    await site.account(ROOT, access=("root",))
    return await site.logged_in(ROOT)


def hrefs(page: Page) -> list[str]:
    return [text.replace("&amp;", "&") for text in re.findall(r'href="(/user/[^"]*)"', page.text)]


async def ticked(page: Page, name: str) -> list[str]:
    return re.findall(rf'type="checkbox"[^>]*name="{name}" value="([^"]*)" checked', page.text)


async def test_the_own_page_leads_to_all_accounts_and_back(site: Site, root: Person) -> None:
    ada = await site.account(profile={"firstname": "Ada"})

    profile = await root.get("/user/view/self")
    listed = await root.get("/user/list")
    entry = await root.get(f"/user/view/{ada.id}")

    assert "/user/list" in hrefs(profile)
    assert {f"/user/view/{ada.id}", "/user/add"} <= set(hrefs(listed))
    assert "Ada" in listed.text
    assert {f"/user/edit/{ada.id}", f"/user/delete/{ada.id}", "/user/list"} <= set(hrefs(entry))
    assert entry.form("kick")


async def test_somebody_without_rights_is_led_to_none_of_it(site: Site) -> None:
    await site.account()
    person = await site.logged_in()

    assert not {"/user/list", "/user/add"} & set(hrefs(await person.get("/user/view/self")))
    assert (await person.get("/user/list")).status == 403
    assert (await person.get("/user/add")).status == 403


async def test_a_viewer_sees_and_is_offered_nothing_to_do(site: Site) -> None:
    await site.account(roles=("viewer",))
    bob = await site.account(BOB)
    person = await site.logged_in()

    listed, entry = await person.get("/user/list"), await person.get(f"/user/view/{bob.id}")

    assert "/user/add" not in hrefs(listed)
    assert not [path for path in hrefs(entry) if path.startswith(("/user/edit", "/user/delete"))]
    assert not entry.forms


async def test_a_long_list_is_paged_and_the_search_stays(site: Site, root: Person) -> None:
    for number in range(3):
        await site.account(f"a&b{number}@example.org", password=None)

    first = await root.get("/user/list?" + urlencode({"search": "a&b", "amount": "2"}))
    following = next(path for path in hrefs(first) if "cursor=" in path)
    second = await root.get(following)

    names = re.findall(r"a&amp;b\d@example.org", first.text + second.text)
    assert names == [f"a&amp;b{number}@example.org" for number in range(3)]
    assert 'value="a&amp;b"' in second.text
    assert not [path for path in hrefs(second) if "cursor=" in path]
    assert [path for path in hrefs(second) if path.startswith("/user/list?search=a%26b")]


async def test_a_search_without_a_hit_says_so(root: Person) -> None:
    assert "No account begins with this." in (await root.get("/user/list?search=zzz")).text


async def test_an_account_is_made_edited_kicked_and_deleted_by_the_pages(site: Site, root: Person) -> None:
    made = await root.send((await root.get("/user/add")).form("add"), name=BOB, password=NEW, status="10", roles="user")
    entry = await root.follow(made)
    bob = site.person()
    await bob.log_in(BOB, NEW)
    form = await root.get(next(path for path in hrefs(entry) if path.startswith("/user/edit/")))
    edited = await root.send(form.form("edit"), name="rob@example.org", firstname="Rob", status="10")
    kicked = await root.send((await root.follow(edited)).form("kick"))
    asked = await root.get(next(path for path in hrefs(await root.follow(kicked)) if path.startswith("/user/delete/")))
    deleted = await root.send(asked.form("delete"))

    assert await ticked(form, "roles") == ["user"]
    assert [page.status for page in (made, edited, kicked, deleted)] == [303] * 4
    assert "rob@example.org" in asked.text
    assert (await bob.get("/json/user/view/self")).status == 401
    assert deleted.location == "/user/list"
    assert "rob@example.org" not in (await root.follow(deleted)).text


async def test_no_box_ticked_means_none(site: Site, root: Person) -> None:
    ada = await site.account(roles=("editor", "custom"), access=("user-delete",))
    form = (await root.get(f"/user/edit/{ada.id}")).form("edit")

    await root.post(form.action, {**form.values, "status": "10", "roles": "", "access": ""})

    account = await site.kit.account_now(ada)
    assert (account.roles, account.access) == ((), ())


@pytest.mark.parametrize(
    ("typed", "status", "says"),
    [
        ({"name": "nonsense"}, 400, "valid e-mail address"),
        ({"name": ADA}, 409, "This name is taken."),
        ({"name": BOB, "password": "short"}, 400, "at least 8 characters"),
        ({"name": BOB, "roles": "emperor"}, 400, "one of the options"),
    ],
)
async def test_a_wrong_form_comes_back_with_what_was_typed(
    site: Site, root: Person, typed: dict[str, str], status: int, says: str
) -> None:
    await site.account()
    form = (await root.get("/user/add")).form("add")

    page = await root.send(form, **{"status": "10", "firstname": "Typed", **typed})

    assert page.status == status
    assert says in page.text
    assert 'value="Typed"' in page.text
    assert 'value="short"' not in page.text


async def test_a_form_that_is_too_old_comes_back(site: Site, root: Person) -> None:
    ada = await site.account()
    form = (await root.get(f"/user/edit/{ada.id}")).form("edit")

    page = await root.send(form, skey="old", firstname="Ada", status="10")

    assert page.status == 412
    assert (await root.send(page.form("edit"), status="10")).status == 303
    assert (await site.kit.account_now(ada)).profile["firstname"] == "Ada"


async def test_who_edits_the_profile_alone_sees_the_rest_and_cannot_send_it(site: Site) -> None:
    await site.account(access=("user-edit",))
    bob = await site.account(BOB, roles=("viewer",))
    person = await site.logged_in()

    page = await person.get(f"/user/edit/{bob.id}")

    assert re.search(r'name="name"[^>]* readonly', page.text)
    assert re.search(r'value="viewer" checked disabled', page.text)
    assert 'type="password"' not in page.text
    assert (await person.send(page.form("edit"), firstname="Bob")).location == "/user/view/self"
    assert (await site.kit.account_now(bob)).profile["firstname"] == "Bob"


async def test_an_editor_is_asked_to_log_in_and_comes_back(site: Site) -> None:
    page = await site.person().get("/user/list")

    assert (page.status, page.location) == (303, "/user/login?next=/user/list")
