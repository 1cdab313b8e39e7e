"""The entries of others by access right: what each answer says, in every dialect for programs."""

from __future__ import annotations

import pytest

from authflow.model import Status
from authflow.testing import ADA, PASSWORD, Person, Site, make_site
from authflow.user import User

PREFIXES = ("/json", "/admin")
BOB = "bob@example.org"
ROOT = "root@example.org"
NEW = "another long password"


@pytest.fixture
async def site() -> Site:
    return await make_site()


async def logged_in(site: Site, name: str, **more) -> Person:
    await site.account(name, **more)
    return await site.logged_in(name)


@pytest.fixture
async def root(site: Site) -> Person:
    return await logged_in(site, ROOT, access=("root",))


async def now(site: Site, name: str):
    return await site.app.administration.find(name)


# --- Listing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_a_list_has_viurs_shape(site: Site, root: Person, prefix: str) -> None:
    ada = await site.account(roles=("viewer",), profile={"firstname": "Ada"})

    page = await root.get(f"{prefix}/user/list")

    assert page.status == 200
    assert page.header("content-type") == "application/json"
    assert set(page.json) == {"skellist", "cursor", "structure", "action", "params"}
    assert (page.json["action"], page.json["cursor"], page.json["params"]) == ("list", None, None)
    assert [entry["name"] for entry in page.json["skellist"]] == [ADA, ROOT]
    assert page.json["skellist"][0] == (await root.get(f"{prefix}/user/view/{ada.id}")).json["values"]
    assert "firstname" in dict(page.json["structure"])


async def test_a_list_goes_on_at_its_cursor(site: Site, root: Person) -> None:
    for number in range(5):
        await site.account(f"p{number}@example.org", password=None)

    first = (await root.get("/json/user/list?amount=4")).json
    second = (await root.get(f"/json/user/list?amount=4&cursor={first['cursor']}")).json

    names = [entry["name"] for entry in first["skellist"] + second["skellist"]]
    assert len(first["skellist"]) == 4
    assert names == [*(f"p{number}@example.org" for number in range(5)), ROOT]
    assert second["cursor"] is None


async def test_thirty_come_where_no_amount_is_said(site: Site, root: Person) -> None:
    for number in range(35):
        await site.account(f"p{number:02}@example.org", password=None)

    assert len((await root.get("/json/user/list")).json["skellist"]) == 30
    assert len((await root.get("/json/user/list?amount=100")).json["skellist"]) == 36
    assert len((await root.get("/json/user/list?limit=2")).json["skellist"]) == 2


@pytest.mark.parametrize("query", ["amount=0", "amount=101", "amount=-1", "amount=x", "amount=%D9%A3", "amount=1e1",
                                   "cursor=nonsense", "orderby=status", "orderdir=1"])  # fmt: skip
async def test_a_list_that_cannot_be_given_is_refused(root: Person, query: str) -> None:
    assert (await root.get(f"/json/user/list?{query}")).status == 400


@pytest.mark.parametrize("name", ["search", "name", "name$lk"])
@pytest.mark.parametrize(
    ("typed", "found"),
    [("a", [ADA]), ("ADA@", [ADA]), (" bob ", [BOB]), ("o", []), ("b%", []), ("é", []), ("x" * 300, [])],
)
async def test_a_search_finds_names_by_how_they_begin(
    site: Site, root: Person, name: str, typed: str, found: list[str]
) -> None:
    from urllib.parse import urlencode

    await site.account()
    await site.account(BOB)

    page = await root.get("/json/user/list?" + urlencode({name: typed, "orderby": "name"}))

    assert [entry["name"] for entry in page.json["skellist"]] == found


@pytest.mark.parametrize(
    ("access", "status"),
    [((), 403), (("admin",), 403), (("user-edit",), 403), (("user-view",), 200), (("root",), 200)],
)
async def test_who_may_list(site: Site, access: tuple[str, ...], status: int) -> None:
    person = await logged_in(site, ADA, access=access)

    assert (await person.get("/json/user/list")).status == status
    assert (await site.person().get("/json/user/list")).status == 401


# --- Seeing -----------------------------------------------------------------------------------------------------------


async def test_an_entry_is_named_in_the_path_or_by_a_parameter(site: Site, root: Person) -> None:
    ada = await site.account()

    for path in (f"view/{ada.id}", f"view?key={ada.id}", f"view/{ada.id}?key={ada.id}"):
        assert (await root.get(f"/json/user/{path}")).json["values"]["name"] == ADA
    assert (await root.get("/json/user/view")).json["values"]["name"] == ROOT
    assert (await root.get(f"/json/user/view/{ada.id}?key=other")).status == 400


@pytest.mark.parametrize("action", ["", "/view", "/add", "/edit", "?action=edit"])
async def test_the_structure_is_told_to_who_may_use_it(site: Site, root: Person, action: str) -> None:
    person = await logged_in(site, ADA)

    page = await root.get(f"/json/user/structure{action}")

    fields = dict(page.json["structure"])
    assert page.json["action"] == "view"
    assert set(page.json["values"]) == set(fields)
    assert fields["roles"]["multiple"]
    assert fields["roles"]["readonly"] is (action in ("", "/view"))
    assert (await person.get(f"/json/user/structure{action}")).status in (403, 404)


async def test_a_structure_that_there_is_not_is_not_found(root: Person) -> None:
    assert (await root.get("/json/user/structure/delete")).status == 404
    assert (await root.get("/user/structure")).status == 404


# --- Making -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_an_admin_makes_an_account_that_can_log_in(site: Site, root: Person, prefix: str) -> None:
    form = await root.get(f"{prefix}/user/add")
    values = {"name": BOB, "password": NEW, "firstname": "Bob", "roles": "editor"}

    page = await root.json_post(f"{prefix}/user/add", **values)

    assert form.json["action"] == "add"
    assert form.json["values"]["roles"] == []
    assert "values" in dict(form.json["structure"])["roles"]
    assert page.json["action"] == "addSuccess"
    assert page.json["errors"] == []
    account = await now(site, BOB)
    assert page.json["values"]["key"] == account.id
    assert (account.status, account.roles, account.email) == (Status.ACTIVE, ("editor",), BOB)
    assert account.profile["firstname"] == "Bob"
    assert (await site.person().log_in(BOB, NEW)).status == 303


async def test_without_a_password_the_owner_chooses_one_by_a_mailed_link(site: Site, root: Person) -> None:
    await root.json_post("/json/user/add", name=BOB)
    await site.run_tasks()
    owner = site.person()

    page = await owner.send((await owner.get(site.link())).form(), password=NEW)

    assert site.outbox.last().to == BOB
    assert page.status in (200, 303)
    assert (await site.person().log_in(BOB, NEW)).status == 303


async def test_what_somebody_makes_who_is_no_admin_waits_for_one(site: Site) -> None:
    person = await logged_in(site, ADA, access=("user-add",))

    fields = dict((await person.get("/json/user/add")).json["structure"])
    page = await person.json_post("/json/user/add", name=BOB, password=NEW, status="10", access="root", roles="admin")
    await site.run_tasks()

    account = await now(site, BOB)
    assert not {"status", "roles", "access"} & set(fields)
    assert page.json["action"] == "addSuccess"
    assert (account.status, account.access, account.roles) == (Status.WAITING_FOR_ADMIN_VERIFICATION, (), ())
    assert not site.outbox.mails
    assert (await site.person().log_in(BOB, NEW)).status == 200


@pytest.mark.parametrize(
    ("values", "field", "code", "status"),
    [
        ({}, "name", "field_empty", 200),
        ({"name": "nonsense"}, "name", "name_malformed", 200),
        ({"name": ADA}, "name", "name_taken", 409),
        ({"name": BOB, "password": "short"}, "password", "password_too_short", 200),
        ({"name": BOB, "roles": "emperor"}, "roles", "field_not_an_option", 200),
        ({"name": BOB, "access": "fly"}, "access", "field_not_an_option", 200),
        ({"name": BOB, "status": "99"}, "status", "field_not_an_option", 200),
        ({"name": BOB, "firstname": "x" * 101}, "firstname", "field_too_long", 200),
    ],
)
async def test_a_form_with_errors_is_an_answer_with_them(
    site: Site, root: Person, values: dict[str, str], field: str, code: str, status: int
) -> None:
    await site.account()
    before = await site.kit.records("account")

    page = await root.json_post("/json/user/add", **values)

    assert page.status == status
    assert page.json["action"] == "add"
    assert [(e["fieldPath"], e["code"]) for e in page.json["errors"]] == [([field], code)]
    assert NEW not in page.text
    assert await site.kit.records("account") == before


@pytest.mark.parametrize("path", ["add", "edit"])
async def test_bounce_only_checks(site: Site, root: Person, path: str) -> None:
    ada = await site.account()
    address = "/json/user/add" if path == "add" else f"/json/user/edit/{ada.id}"
    before = await site.kit.records("account")

    good = await root.json_post(address, name=BOB, firstname="B", bounce="1")
    bad = await root.json_post(address, name=ROOT, bounce="1")

    assert (good.status, good.json["action"], good.json["errors"]) == (200, path, [])
    assert good.json["values"]["firstname"] == "B"
    assert [error["code"] for error in bad.json["errors"]] == ["name_taken"]
    assert await site.kit.records("account") == before


# --- Editing ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_a_form_that_is_sent_back_as_it_came_changes_nothing(site: Site, root: Person, prefix: str) -> None:
    ada = await site.account(roles=("editor", "custom"), access=("user-delete",), profile={"firstname": "Ada"})
    form = (await root.get(f"{prefix}/user/edit/{ada.id}")).json

    pairs = [(name, value) for name, value in form["values"].items()]
    body = "&".join(
        f"{name}={item}" for name, value in pairs for item in (value if isinstance(value, list) else [value])
    )
    page = await root.request(
        "POST",
        f"{prefix}/user/edit/{ada.id}",
        body=f"{body}&skey={await root.skey()}".encode(),
        headers={"content-type": "application/x-www-form-urlencoded"},
    )

    assert page.json["action"] == "editSuccess"
    assert await now(site, ADA) == ada


async def test_lists_come_item_by_item_with_commas_or_as_json(site: Site, root: Person) -> None:
    import json

    ada = await site.account()
    path = f"/json/user/edit/{ada.id}"
    headers = {"content-type": "application/json"}

    for sent in (["viewer", "editor"], "viewer,editor", " viewer , editor,,"):
        await root.json_post(path, roles="")
        assert (await now(site, ADA)).roles == ()
        body = json.dumps({"skey": await root.skey(), "roles": sent}).encode()
        assert (await root.request("POST", path, body=body, headers=headers)).json["action"] == "editSuccess"
        assert (await now(site, ADA)).roles == ("viewer", "editor")


async def test_an_entry_is_named_by_a_parameter_too(site: Site, root: Person) -> None:
    ada = await site.account()

    page = await root.json_post("/json/user/edit", key=ada.id, firstname="Ada")

    assert page.json["values"]["firstname"] == "Ada"
    assert (await root.json_post(f"/json/user/edit/{ada.id}", key="other", firstname="X")).status == 400


@pytest.mark.parametrize("path", ["/json/user/edit", "/json/user/edit?key=self", "/json/user/edit/{own}"])
async def test_without_another_key_it_is_the_own_entry(site: Site, root: Person, path: str) -> None:
    own = await now(site, ROOT)

    page = await root.json_post(path.format(own=own.id), firstname="R", status="5", access="", name=BOB)

    account = await now(site, ROOT)
    assert page.json["values"]["firstname"] == "R"
    assert (account.status, account.access, account.epoch) == (own.status, own.access, own.epoch)


async def test_an_older_version_is_refused(site: Site, root: Person) -> None:
    ada = await site.account()
    path = f"/json/user/edit/{ada.id}"
    version = (await root.get(path)).json["values"]["version"]
    await root.json_post(path, firstname="First", version=version)

    page = await root.json_post(path, firstname="Second", version=version)

    assert (page.status, page.json["code"]) == (409, "version_conflict")
    assert (await now(site, ADA)).profile["firstname"] == "First"


async def test_a_new_name_ends_the_sessions_and_moves_mail_and_login(site: Site, root: Person) -> None:
    ada = await site.account()
    person = await site.logged_in()

    page = await root.json_post(f"/json/user/edit/{ada.id}", name="Countess@Example.org")
    await site.run_tasks()

    renamed = await now(site, "countess@example.org")
    assert page.json["values"]["name"] == "Countess@Example.org"
    assert (renamed.id, renamed.email, renamed.epoch) == (ada.id, "Countess@example.org", ada.epoch + 1)
    assert {mail.to for mail in site.outbox.mails} == {ADA, "Countess@example.org"}
    assert (await person.get("/json/user/view/self")).status == 401
    assert (await site.person().log_in()).status == 200
    assert (await site.person().log_in("countess@example.org")).status == 303
    await site.account()  # The old name is free again.


async def test_a_name_that_is_taken_is_refused(site: Site, root: Person) -> None:
    ada = await site.account()
    await site.account(BOB)

    page = await root.json_post(f"/json/user/edit/{ada.id}", name="BOB@example.org", firstname="X")

    assert (page.status, page.json["errors"][0]["code"]) == (409, "name_taken")
    assert await now(site, ADA) == ada


async def test_a_new_password_ends_the_sessions_and_is_told_to_the_owner(site: Site, root: Person) -> None:
    ada = await site.account()
    person = await site.logged_in()
    for _ in range(3):
        await site.person().log_in(password="wrong")

    page = await root.json_post(f"/json/user/edit/{ada.id}", password=NEW)
    await site.run_tasks()

    assert page.json["action"] == "editSuccess"
    assert "Your password was changed" in site.outbox.last().subject
    assert NEW not in page.text
    assert (await person.get("/json/user/view/self")).status == 401
    assert (await site.person().log_in(password=PASSWORD)).status == 200
    assert (await site.person().log_in(password=NEW)).status == 303


async def test_whoever_waited_for_an_admin_is_told(site: Site, root: Person) -> None:
    ada = await site.account(status=Status.WAITING_FOR_ADMIN_VERIFICATION)

    await root.json_post(f"/json/user/edit/{ada.id}", status="10")
    await site.run_tasks()

    assert "ready" in site.outbox.last().subject
    assert (await site.person().log_in()).status == 303


async def test_own_flags_go_with_a_role_that_is_not_custom(site: Site, root: Person) -> None:
    ada = await site.account(access=("user-delete",))
    path = f"/json/user/edit/{ada.id}"

    kept = (await root.json_post(path, roles="viewer,custom")).json["values"]["access"]
    gone = (await root.json_post(path, roles="viewer")).json["values"]["access"]
    back = (await root.json_post(path, roles="viewer,custom")).json["values"]["access"]

    assert kept == ["admin", "user-delete", "user-view"]
    assert gone == back == ["admin", "user-view"]


async def test_an_account_whose_name_is_no_address_can_be_edited(site: Site, root: Person) -> None:
    await site.app.administration.create("bob", is_active=True)
    bob = await now(site, "bob")

    page = await root.json_post(f"/json/user/edit/{bob.id}", name="bob", firstname="Bob")

    assert page.json["action"] == "editSuccess"
    assert (await now(site, "bob")).email is None


# --- Ending -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("by_path", [True, False])
async def test_an_entry_is_deleted_with_what_is_its_own(site: Site, root: Person, prefix: str, by_path: bool) -> None:
    ada = await site.account_with_totp()
    person = await site.logged_in(with_code=True)

    if by_path:
        page = await root.json_post(f"{prefix}/user/delete/{ada.id}")
    else:
        page = await root.json_post(f"{prefix}/user/delete", key=ada.id)

    assert (page.status, page.json) == (200, "OKAY")
    assert (await person.get("/json/user/view/self")).status == 401
    assert not [record for record in await site.kit.records("credential") if ada.id in record.key.name]
    assert len(await site.kit.records("name")) == len(await site.kit.records("account")) == 1


@pytest.mark.parametrize("path", ["delete/{key}", "delete?key={key}", "trigger/kick/{key}"])
async def test_nothing_is_deleted_or_kicked_by_get(site: Site, root: Person, path: str) -> None:
    ada = await site.account()

    for prefix in PREFIXES:
        page = await root.get(f"{prefix}/user/{path.format(key=ada.id)}&skey={await root.skey()}")
        assert page.status in (404, 405)

    assert await now(site, ADA) == ada


@pytest.mark.parametrize("by_path", [True, False])
async def test_a_kick_ends_every_session(site: Site, root: Person, by_path: bool) -> None:
    ada = await site.account()
    one, other = await site.logged_in(), await site.logged_in()

    if by_path:
        page = await root.json_post(f"/json/user/trigger/kick/{ada.id}")
    else:
        page = await root.json_post("/json/user/trigger/kick", key=ada.id)

    assert page.json == "OKAY"
    for person in (one, other):
        assert (await person.get("/json/user/view/self")).status == 401
    assert (await root.get("/json/user/view/self")).status == 200
    assert (await site.person().log_in()).status == 303


async def test_a_kick_with_an_skey_in_the_address_is_taken_as_viurs_tools_post_it(site: Site, root: Person) -> None:
    ada = await site.account()

    page = await root.post(f"/json/user/trigger/kick/{ada.id}?skey={await root.skey()}")

    assert page.json == "OKAY"


async def test_one_may_kick_oneself(site: Site, root: Person) -> None:
    page = await root.json_post("/json/user/trigger/kick/self")

    assert page.json == "OKAY"
    assert (await root.get("/json/user/view/self")).status == 401


@pytest.mark.parametrize("action", ["takeover", "kick/x/y", "", "nonsense"])
async def test_nothing_else_is_triggered(site: Site, root: Person, action: str) -> None:
    ada = await site.account()

    assert (await root.json_post(f"/json/user/trigger/{action}/{ada.id}")).status == 404


# --- Hooks and configuration ------------------------------------------------------------------------------------------


async def test_the_hooks_hear_of_it_once() -> None:
    heard: list[tuple[str, str]] = []

    class Heard(User):
        async def on_added(self, account) -> None:
            heard.append(("added", account.name))

        async def on_edited(self, account) -> None:
            heard.append(("edited", account.name))

        async def on_deleted(self, account) -> None:
            heard.append(("deleted", account.name))

    site = await make_site(Heard())
    root = await logged_in(site, ROOT, access=("root",))
    key = (await root.json_post("/json/user/add", name=BOB)).json["values"]["key"]
    await root.json_post(f"/json/user/edit/{key}", firstname="Bob", bounce="1")
    await root.json_post(f"/json/user/edit/{key}", firstname="Bob")
    await root.json_post(f"/json/user/edit/{key}", firstname="Bob")
    await root.json_post(f"/json/user/delete/{key}")

    assert heard == [("added", BOB), ("edited", BOB), ("deleted", BOB)]


async def test_each_change_leaves_an_event_that_says_who_did_it(site: Site, root: Person) -> None:
    own = await now(site, ROOT)
    key = (await root.json_post("/json/user/add", name=BOB)).json["values"]["key"]
    await root.json_post(f"/json/user/edit/{key}", firstname="Bob", password=NEW)
    await root.json_post(f"/json/user/trigger/kick/{key}")
    await root.json_post(f"/json/user/delete/{key}")

    events = [r.data for r in await site.kit.records("event") if r.data["account_id"] == key]
    assert {e["type"] for e in events} == {
        "account_added",
        "account_edited",
        "logged_out_everywhere",
        "account_deleted",
    }
    assert {e["details"]["by"] for e in events} == {own.id}
    edited = next(e for e in events if e["type"] == "account_edited")
    assert edited["details"]["changed"] == ["profile", "password"]
    assert NEW not in str(events)


# --- Costs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["", "/json", "/vi"])
async def test_what_an_entry_costs(site: Site, root: Person, prefix: str) -> None:
    ada = await site.account()

    async def posted(path: str, **values: str) -> int:
        return (await root.post(f"{prefix}/user/{path}", {"skey": await root.skey(), **values})).cost

    # The session comes first, always; then what is wanted.
    assert (await root.get(f"{prefix}/user/list?amount=99&search=a")).cost == 2
    assert (await root.get(f"{prefix}/user/view/{ada.id}")).cost == 2
    assert (await root.get(f"{prefix}/user/edit/{ada.id}")).cost == 2
    assert (await root.get(f"{prefix}/user/add")).cost == 1
    assert await posted(f"edit/{ada.id}", firstname="Ada") == 3
    assert await posted(f"edit/{ada.id}", name=BOB, password=NEW, roles="editor", status="10") == 3
    assert await posted(f"edit/{ada.id}", firstname="Ada") == 2  # Nothing is changed by it.
    assert await posted("add", name=ADA, password=NEW) == 3
    assert await posted(f"trigger/kick/{ada.id}") == 3
    assert await posted(f"delete/{ada.id}") == 5
