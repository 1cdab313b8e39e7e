"""Entries as ViUR 3.9 shows them to its tools: lists, structures, forms and what was changed."""

from __future__ import annotations

import pytest

from authflow.testing import ADA, Person, Site, make_site
from tests.vi_kit import BOB, ENVELOPE, NEW, Old, action_of, log_in, post


@pytest.fixture
async def site() -> Site:
    site = await make_site()
    await site.account(access=("root",))
    await site.account(BOB)
    return site


@pytest.fixture
async def admin(site: Site) -> Person:
    person = site.person()
    await log_in(person)
    return person


async def key_of(admin: Person, name: str = BOB) -> str:
    listed = (await admin.get("/vi/user/list")).json["skellist"]
    return next(entry["key"] for entry in listed if entry["name"] == name)


async def test_a_list_is_entries_a_cursor_and_their_structure(admin: Person) -> None:
    page = await admin.get("/vi/user/list?amount=1")

    assert set(page.json) == {"action", "skellist", "cursor", "structure", "params", "orders"}
    assert page.json["action"] == "list"
    assert [entry["name"] for entry in page.json["skellist"]] == [ADA]
    assert isinstance(page.json["structure"], dict)
    following = await admin.get(f"/vi/user/list?amount=1&cursor={page.json['cursor']}")
    assert [entry["name"] for entry in following.json["skellist"]] == [BOB]


async def test_the_old_dialect_lists_structures_as_pairs() -> None:
    site = await make_site(Old())
    await site.account(access=("root",))
    person = site.person()
    await log_in(person)

    page = await person.get("/vi/user/list")

    assert all(len(pair) == 2 for pair in page.json["structure"])
    assert page.json["action"] == "list"


async def test_an_entry_is_made_seen_edited_and_deleted(admin: Person) -> None:
    form = await admin.get("/vi/user/add")
    made = await post(admin, "/vi/user/add", name="new@example.org", password=NEW, status="10")
    key = made.json["values"]["key"]
    seen = await admin.get(f"/vi/user/view/{key}")
    editing = await admin.get(f"/vi/user/edit/{key}")
    edited = await post(admin, f"/vi/user/edit/{key}", firstname="Nina", name="new@example.org", status="10")
    deleted = await post(admin, "/vi/user/delete", key=key)

    assert action_of(form) == "add"
    assert {"name", "password", "status", "roles", "access"} <= set(form.json["structure"])
    assert made.json["action"] == "addSuccess"
    assert set(made.json) == set(seen.json) == set(edited.json) == ENVELOPE
    assert seen.json["values"]["name"] == "new@example.org"
    assert action_of(editing) == "edit"
    assert editing.json["params"]["action_url"] == f"/vi/user/edit/{key}"
    assert edited.json["action"] == "editSuccess"
    assert edited.json["values"]["firstname"] == "Nina"
    assert deleted.json == "OKAY"
    assert (await admin.get(f"/vi/user/view/{key}")).status == 404


async def test_a_refused_entry_is_its_form_with_errors(admin: Person) -> None:
    taken = await post(admin, "/vi/user/add", name=BOB, password=NEW, status="10")
    weak = await post(admin, "/vi/user/add", name="new@example.org", password="12345678", status="10")

    for page, field in ((taken, "name"), (weak, "password")):
        assert action_of(page) == "add"
        assert [error["fieldPath"] for error in page.json["errors"]] == [[field]]
        assert not page.json["values"].get("password")


async def test_a_choice_of_several_is_a_list_of_options(admin: Person) -> None:
    page = await admin.get(f"/vi/user/edit/{await key_of(admin)}")

    roles = page.json["structure"]["roles"]
    assert (roles["type"], roles["multiple"]) == ("select", True)
    assert "admin" in roles["values"]
    assert page.json["values"]["roles"] == []
    status = page.json["structure"]["status"]
    assert (status["type"], status["multiple"]) == ("select", False)
    assert status["values"]["10"]


@pytest.mark.parametrize(
    ("path", "action"), [("", "view"), ("/view", "view"), ("/add", "add"), ("?action=edit", "edit")]
)
async def test_structures_are_told_by_action(admin: Person, path: str, action: str) -> None:
    page = await admin.get(f"/vi/user/structure{path}")

    assert action_of(page) == f"structure.{action}"
    assert {"name", "status"} <= set(page.json["structure"])
    assert set(page.json["values"]) <= set(page.json["structure"])


async def test_the_kick_of_the_configuration_ends_the_sessions_of_somebody(site: Site, admin: Person) -> None:
    bob = site.person()
    await log_in(bob, BOB)
    action = (await admin.get("/vi/config")).json["modules"]["user"]["customActions"]["trigger_kick"]
    key, skey = await key_of(admin), await admin.skey("/vi")
    url = action["url"].replace("{{module}}", "user").replace("{{key}}", key).replace("{{skey}}", skey)

    by_get = await admin.get(url)
    still = (await bob.get("/vi/user/view/self")).status
    page = await admin.post(url)

    assert by_get.status == 405
    assert still == 200
    assert action_of(page) == "trigger/kickSuccess"
    assert (await bob.get("/vi/user/view/self")).status == 401


async def test_who_may_not_kick_is_not_offered_it(site: Site) -> None:
    await site.account("joe@example.org", access=("admin", "user-edit"))
    person = site.person()
    await log_in(person, "joe@example.org")

    page = await person.get("/vi/config")

    assert "customActions" not in page.json["modules"]["user"]


async def test_the_structures_of_a_module_are_told_together(site: Site, admin: Person) -> None:
    bob = site.person()
    await log_in(bob, BOB)

    page = await admin.get("/vi/getStructure/user")
    pairs = await admin.get("/admin/getStructure/user")

    assert set(page.json) == set(pairs.json) == {"viewSkel", "editSkel", "addSkel"}
    for name in ("view", "edit", "add"):
        assert page.json[f"{name}Skel"] == (await admin.get(f"/vi/user/structure/{name}")).json["structure"]
        assert [pair[0] for pair in pairs.json[f"{name}Skel"]] == list(page.json[f"{name}Skel"])
    assert page.cost == 1
    assert (await admin.get("/vi/getStructure/news")).json is None
    assert set((await bob.get("/vi/getStructure/user")).json or {}) <= {"editSkel"}
    assert (await site.person().get("/vi/getStructure/user")).status == 401


@pytest.mark.parametrize("in_path", [True, False])
async def test_the_form_of_an_entry_is_shown_to_a_post_that_only_names_it(admin: Person, in_path: bool) -> None:
    key = await key_of(admin)

    if in_path:
        page = await admin.post(f"/vi/user/edit/{key}")
    else:
        page = await post(admin, "/vi/user/edit", key=key)

    assert action_of(page) == "edit"
    assert page.json["values"]["name"] == BOB
    assert page.json["errors"] == []
