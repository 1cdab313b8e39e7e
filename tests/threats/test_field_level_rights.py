"""Who may change which field of whose entry: every kind of right, every field, every prefix (abuse cases 90 to 93).

The table says what must happen; nothing else may change, whatever else is sent along.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from authflow.access import Module
from authflow.errors import RequestError
from authflow.managing import Managing
from authflow.model import Account, Role, Status
from authflow.records import account_key
from authflow.store.protocol import Update
from authflow.testing import ADA, Person, Site, make_site
from authflow.user import User

PREFIXES = ("", "/json", "/admin", "/vi")
BOB = "bob@example.org"
EVE = "eve@example.org"
NEW = "another long password"

GOVERNED = {"name": "mallory@example.org", "status": "5", "roles": "admin,custom", "access": "root", "password": NEW}
PROFILE = {"firstname": "Changed"}
ALWAYS_CLOSED = {
    "id": "0", "key_": "0", "account_id": "0", "epoch": "99", "email": "eve@evil.example", "canonical_name": "eve",
    "factors": "", "created_at": "0", "changed_at": "0", "creationdate": "0", "changedate": "0", "profile": "x",
    "profile.firstname": "x", "credential": "x", "hash": "$2b$04$x", "otp_secret": "AAAA", "is_admin": "true",
    "access[]": "root", "roles.0": "admin", "role": "admin", "identities": "x", "uid": "1",
}  # fmt: skip

RIGHTS: dict[str, dict[str, tuple[str, ...]]] = {
    "nobody": {},
    "a user": {"roles": ("user",)},
    "admin flag": {"access": ("admin",)},
    "viewer": {"roles": ("viewer",)},
    "user-view": {"access": ("user-view",)},
    "user-add": {"access": ("user-add",)},
    "user-manage": {"access": ("user-manage",)},
    "user-delete": {"access": ("user-delete",)},
    "user-edit": {"access": ("user-edit",)},
    "editor": {"roles": ("editor",)},
    "admin role": {"roles": ("admin",)},
    "root behind a role": {"roles": ("viewer",), "access": ("root",)},
    "root": {"access": ("root",)},
}
MAY_EDIT = {"user-edit", "editor", "admin role", "root"}
MAY_ADD = {"user-add", "editor", "admin role", "root"}
MAY_DELETE = {"user-delete", "admin role", "root"}
MAY_VIEW = {"viewer", "user-view", "editor", "admin role", "root", "root behind a role"}
MAY_KICK = {"root"}

by_right = pytest.mark.parametrize("right", RIGHTS)
by_prefix = pytest.mark.parametrize("prefix", PREFIXES)


async def cast(right: str) -> tuple[Site, Person, Account]:
    """Return a site with somebody of these rights, and somebody else's account."""
    site = await make_site()
    await site.account(EVE, **RIGHTS[right])
    bob = await site.account(BOB)
    return site, await site.logged_in(EVE), bob


async def account(site: Site, account_id: str) -> Account | None:
    return await site.app.engine.account_by_id(account_id)


async def credentials(site: Site) -> dict:
    return {record.key: record.data for record in await site.kit.records("credential")}


async def fields_of(site: Site, before: Account, account_id: str) -> set[str]:
    """Return which fields of an account are not what they were."""
    after = await account(site, account_id)
    assert after is not None
    own, now = before.to_data(), after.to_data()
    return {name for name in own if own[name] != now[name]} - {"version", "changed_at"}


# --- Fields -----------------------------------------------------------------------------------------------------------


@by_right
@by_prefix
@pytest.mark.parametrize("field", [*GOVERNED, *PROFILE])
async def test_each_field_is_changed_by_those_alone_who_may(right: str, prefix: str, field: str) -> None:
    site, person, bob = await cast(right)
    hashes = await credentials(site)
    values = {**GOVERNED, **PROFILE}

    page = await person.post(f"{prefix}/user/edit/{bob.id}", {"skey": await person.skey(), field: values[field]})

    changed, has_new_hash = await fields_of(site, bob, bob.id), await credentials(site) != hashes
    if right == "root":
        expected = {"name": {"name", "canonical_name", "email"}, "firstname": {"profile"}, "password": set()}
        assert changed - {"epoch"} == expected.get(field, {field})
        assert ("epoch" in changed) is (field not in PROFILE)
        assert has_new_hash is (field == "password")
        return
    assert changed == ({"profile"} if right in MAY_EDIT and field in PROFILE else set())
    assert not has_new_hash
    if right not in MAY_EDIT:
        assert page.status == 404
        assert BOB not in page.text


@by_right
@by_prefix
async def test_what_is_no_field_changes_nothing(right: str, prefix: str) -> None:
    site, person, bob = await cast(right)

    for name, value in ALWAYS_CLOSED.items():
        await person.post(f"{prefix}/user/edit/{bob.id}", {"skey": await person.skey(), name: value})

    assert await account(site, bob.id) == bob


@by_right
@by_prefix
@pytest.mark.parametrize("path", ["self", "", "{own}", "?key={own}"])
async def test_name_status_and_rights_are_never_ones_own(right: str, prefix: str, path: str) -> None:
    site, person, _ = await cast(right)
    eve = await site.app.administration.find(EVE)
    hashes = await credentials(site)
    address = f"{prefix}/user/edit{'' if path[:1] in ('', '?') else '/'}{path.format(own=eve.id)}"

    for name, value in {**GOVERNED, **ALWAYS_CLOSED}.items():
        if name == "password" and "?" in address:
            continue
        await person.post(address, {"skey": await person.skey(), name: value, "firstname": "E"})

    assert await fields_of(site, eve, eve.id) <= {"profile"}
    assert await credentials(site) == hashes


@by_right
@by_prefix
async def test_a_new_account_can_do_no_more_than_its_maker_may_give(right: str, prefix: str) -> None:
    site, person, _ = await cast(right)
    values = {**GOVERNED, **PROFILE, **ALWAYS_CLOSED, "status": "10"}

    page = await person.post(f"{prefix}/user/add", {"skey": await person.skey(), **values})

    made = [record.data for record in await site.kit.records("account") if record.data["name"] == GOVERNED["name"]]
    assert len(made) == (1 if right in MAY_ADD else 0)
    if right not in MAY_ADD:
        assert page.status == 403
        return
    assert (made[0]["email"], made[0]["epoch"], made[0]["factors"]) == (GOVERNED["name"], 1, [])
    assert made[0]["profile"] == {"firstname": "Changed", "lastname": ""}
    if right == "root":
        assert (made[0]["status"], made[0]["roles"], made[0]["access"]) == (10, ["admin", "custom"], ["root"])
    else:
        assert (made[0]["status"], made[0]["roles"], made[0]["access"]) == (2, [], [])


@by_right
@pytest.mark.parametrize("prefix", PREFIXES[1:])
async def test_forms_show_what_may_be_changed(right: str, prefix: str) -> None:
    _, person, bob = await cast(right)

    page = await person.get(f"{prefix}/user/edit/{bob.id}")

    if right not in MAY_EDIT:
        assert page.status == 404
        return
    shown = page.json["structure"]
    fields = dict(shown) if isinstance(shown, list) else shown
    writable = {name for name, about in fields.items() if not about["readonly"]} - {"version"}
    own = {"firstname", "lastname"}
    assert writable == ({*own, *GOVERNED} if right == "root" else own)
    assert ("password" in fields) is (right == "root")


# --- Deeds ------------------------------------------------------------------------------------------------------------


@by_right
@by_prefix
@pytest.mark.parametrize(
    ("path", "may"), [("delete/{key}", MAY_DELETE), ("delete", MAY_DELETE), ("trigger/kick/{key}", MAY_KICK)]
)
async def test_deleting_and_kicking_by_right(right: str, prefix: str, path: str, may: set[str]) -> None:
    site, person, bob = await cast(right)
    own = await site.logged_in(BOB)
    values = {"skey": await person.skey(), **({} if "{key}" in path else {"key": bob.id})}

    page = await person.post(f"{prefix}/user/{path.format(key=bob.id)}", values)

    is_done = right in may
    assert page.status == ((200 if prefix else 303) if is_done else 404)
    assert ((await own.get("/json/user/view/self")).status == 401) is is_done
    assert (await account(site, bob.id) is None) is (is_done and path.startswith("delete"))


@by_right
@by_prefix
async def test_seeing_and_listing_by_right(right: str, prefix: str) -> None:
    _, person, bob = await cast(right)

    entry, listed = await person.get(f"{prefix}/user/view/{bob.id}"), await person.get(f"{prefix}/user/list")

    assert entry.status == (200 if right in MAY_VIEW else 404)
    assert listed.status == (200 if right in MAY_VIEW else 403)
    assert (BOB in entry.text, BOB in listed.text) == (right in MAY_VIEW, right in MAY_VIEW)


@by_prefix
@pytest.mark.parametrize("above", [{"access": ("root",)}, {"roles": ("admin",)}, {"access": ("unheard-of",)}])
async def test_nobody_deletes_an_account_that_may_do_what_they_may_not(prefix: str, above: dict) -> None:
    site, person, _ = await cast("user-delete")
    other = await site.account("above@example.org", **above)

    page = await person.post(f"{prefix}/user/delete/{other.id}", {"skey": await person.skey()})

    assert page.status == 403
    assert await account(site, other.id) == other


@by_prefix
async def test_root_does_not_delete_itself(prefix: str) -> None:
    site, person, _ = await cast("root")
    own = await site.app.administration.find(EVE)

    page = await person.post(f"{prefix}/user/delete/{own.id}", {"skey": await person.skey()})

    assert page.status == 403
    assert await account(site, own.id) == own


# --- Administrators without root --------------------------------------------------------------------------------------


class Branch(User):
    """Here whoever has `user-manage` is an admin of accounts."""

    roles = (
        *User.roles,
        Role("manager", "Manager", ("user-view", "user-edit", "user-add", "user-manage", "till-view")),
    )
    modules = (*User.modules, Module("till"))

    def is_admin(self, account: Account) -> bool:
        return not self.access_of(account).isdisjoint({"root", "user-manage"})


@pytest.mark.parametrize(
    ("given", "may"),
    [
        ({"access": "till-view"}, True),
        ({"roles": "manager"}, True),
        ({"roles": "viewer"}, False),
        ({"roles": "admin"}, False),
        ({"access": "root"}, False),
        ({"access": "till-edit"}, False),
        ({"roles": "manager,custom", "access": "till-edit"}, False),
    ],
)
@pytest.mark.parametrize("path", ["edit", "add"])
async def test_nobody_gives_a_right_that_they_do_not_have(given: dict[str, str], may: bool, path: str) -> None:
    site = await make_site(Branch())
    await site.account(EVE, roles=("manager",))
    bob = await site.account(BOB)
    person = await site.logged_in(EVE)
    before = await site.kit.records("account")
    values = {"name": "new@example.org", **given} if path == "add" else given

    page = await person.json_post(f"/json/user/{path if path == 'add' else f'edit/{bob.id}'}", **values)

    assert page.status == (200 if may else 403)
    assert (await site.kit.records("account") != before) is may


async def test_an_admin_without_root_touches_nobody_above() -> None:
    site = await make_site(Branch())
    await site.account(EVE, roles=("manager",))
    above = await site.account(BOB, access=("root",))
    person = await site.logged_in(EVE)
    hashes = await credentials(site)

    for name, value in GOVERNED.items():
        await person.json_post(f"/json/user/edit/{above.id}", **{name: value})
    kicked = await person.json_post(f"/json/user/trigger/kick/{above.id}")

    assert kicked.status == 403
    assert await account(site, above.id) == above
    assert await credentials(site) == hashes


async def test_rights_that_are_there_may_stay_when_something_else_is_changed() -> None:
    site = await make_site(Branch())
    await site.account(EVE, roles=("manager",))
    equal = await site.account(BOB, roles=("manager",))
    person = await site.logged_in(EVE)

    page = await person.json_post(f"/json/user/edit/{equal.id}", roles="manager", firstname="B")

    assert page.json["values"]["firstname"] == "B"


# --- At once ----------------------------------------------------------------------------------------------------------


async def test_two_who_take_root_from_each_other_leave_one() -> None:
    for deed in ("edit", "delete", "disable"):
        site = await make_site()
        one = await site.account(ADA, access=("root",))
        two = await site.account(BOB, access=("root",))
        people = [(await site.logged_in(ADA), two), (await site.logged_in(BOB), one)]
        skeys = [await person.skey() for person, _ in people]
        values = {"edit": {"access": ""}, "delete": {}, "disable": {"status": "5"}}[deed]
        path = "delete" if deed == "delete" else "edit"

        pages = await asyncio.gather(
            *(
                person.post(f"/json/user/{path}/{other.id}", {"skey": skey, **values})
                for (person, other), skey in zip(people, skeys, strict=True)
            )
        )

        left = [a for a in (await account(site, one.id), await account(site, two.id)) if a is not None]
        roots = [a for a in left if "root" in a.access and a.status == Status.ACTIVE]
        assert len(roots) == 1, (deed, [page.status for page in pages])


@pytest.mark.parametrize("deed", ["edit", "add", "delete", "kick"])
async def test_rights_that_are_taken_away_meanwhile_do_nothing_any_more(deed: str) -> None:
    """The rights were there when the request came, and are gone when it commits."""
    site, person, bob = await cast("root")
    eve = await site.app.administration.find(EVE)
    current = await site.app.engine.sessions.current(claim_of(site, person), site.clock())
    assert current is not None
    managing, store = Managing(site.app.engine), site.kit.memory
    record = (await store.get((account_key(eve.id),)))[account_key(eve.id)]
    await store.commit((Update(record.key, replace(eve, access=()).to_data(), record.version),))

    deeds = {
        "edit": lambda: managing.edit(current, bob.id, {"access": "root"}),
        "add": lambda: managing.add(current, {"name": "x@example.org", "access": "root"}),
        "delete": lambda: managing.delete(current, bob.id),
        "kick": lambda: managing.kick(current, bob.id),
    }
    with pytest.raises(RequestError):
        await deeds[deed]()

    assert await account(site, bob.id) == bob
    assert len(await site.kit.records("account")) == 2


def claim_of(site: Site, person: Person):
    """Return what the session cookie of a person says."""
    raw = "; ".join(f"{name}={value}" for name, value in person.cookies.items()).encode()
    session = site.edge.jar.read({"type": "http", "headers": [(b"cookie", raw)]}).session
    assert session is not None
    return session
