"""Ways around the rules of rights that were tried: through forms, states, passwords, duties and old sessions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from authflow.errors import ConfigurationError
from authflow.fields import Field, FieldType
from authflow.model import Role, Status
from authflow.records import account_key
from authflow.store.protocol import Put
from authflow.testing import ADA, BASE_URL, make_site
from authflow.user import User
from tests.federation.elsewhere import Open as Federated
from tests.federation.elsewhere import come

EVE, BOB = "eve@example.org", "bob@example.org"
PROFILE = "/user/view/self"


class OpenForm(User):
    """Lets everybody who may edit write name and status: a form of an application's own."""

    def edit_skel(self, editor, account):
        status = Field("status", FieldType.SELECT, "Status", options=(("5", "Disabled"), ("10", "Active")))
        return (Field("name", FieldType.EMAIL, "Name"), status, *self.profile_fields)


@pytest.mark.parametrize("change", [{"name": "eve2@example.org"}, {"status": "5"}])
async def test_a_form_of_ones_own_gives_no_editor_power_over_root(change):
    site = await make_site(OpenForm())
    root = await site.account(ADA, access=("root",))
    await site.account(EVE, access=("user-edit",))
    p = await site.logged_in(EVE)

    page = await p.json_post(f"/json/user/edit/{root.id}", **change)

    assert page.status == 403
    assert await site.kit.account_now(root) == root


async def test_nobody_is_made_to_confirm_an_address_again():
    site = await make_site(Federated())
    await site.account(ADA, access=("root",))
    bob = await site.account_with_totp(BOB, roles=("admin",))
    p = await site.logged_in(ADA)

    page = await p.json_post(f"/json/user/edit/{bob.id}", status="1")

    assert page.json["errors"]
    assert (await site.kit.account_now(bob)).status == Status.ACTIVE


@pytest.mark.parametrize("was", [{"roles": ("admin",)}, {"access": ("root",)}, {"has_totp": True}, {"has_come": True}])
async def test_an_account_that_was_somebodys_is_not_taken_over(was):
    site = await make_site(Federated())
    make = site.account_with_totp if was.pop("has_totp", False) else site.account
    has_come = was.pop("has_come", False)
    bob = await make(BOB, **was)
    if has_come:
        await site.logged_in(BOB)
    waiting = replace(await site.kit.account_now(bob), status=Status.WAITING_FOR_EMAIL_VERIFICATION)
    await site.kit.memory.commit((Put(account_key(bob.id), waiting.to_data()),))

    page = await come(site.person(), address=BOB)

    assert page.status == 200
    assert await site.kit.account_now(bob) == waiting


async def test_who_is_no_admin_chooses_no_password_for_somebody_else():
    site = await make_site()
    await site.account(ADA, access=("root",))
    await site.account(EVE, roles=("editor",))
    eve, root = await site.logged_in(EVE), await site.logged_in(ADA)

    made = await eve.json_post("/json/user/add", name="victim@example.org", password="known to eve 123")
    key = made.json["values"]["key"]
    await root.json_post(f"/json/user/edit/{key}", status="10")
    await site.run_tasks()
    p = site.person()
    await p.log_in("victim@example.org", "known to eve 123")

    assert (await p.get(PROFILE)).status == 303
    assert "If you have no password yet" in site.outbox.last().text


async def test_a_form_that_somebody_elses_page_sends_is_not_shown_again():
    site = await make_site()
    await site.account(ADA, access=("root",))
    eve = await site.account(EVE)
    p = await site.logged_in(ADA)
    foreign = {"origin": "https://evil.example.org", "sec-fetch-site": "same-site"}

    page = await p.post(f"/user/edit/{eve.id}", {"access": "root"}, headers=foreign)

    assert page.status == 412
    assert "checked" not in page.text
    assert not any("edit" in form.action for form in page.forms)


async def test_an_own_form_that_is_too_old_still_comes_back():
    site = await make_site()
    await site.account()
    p = await site.logged_in()

    page = await p.post("/user/edit/self", {"firstname": "Ada"}, headers={"origin": BASE_URL})

    assert page.status == 412
    assert page.form("edit").values["firstname"] == "Ada"


@pytest.mark.parametrize(
    "declared",
    [
        Field("token", FieldType.PASSWORD, "Token"),
        Field("status", FieldType.TEXT, "Status"),
        Field("access", FieldType.TEXT, "Access"),
        Field("password", FieldType.TEXT, "Password"),
        Field("firstname", FieldType.TEXT, "First name"),
    ],
)
async def test_a_profile_field_that_would_be_taken_for_something_else_refuses_to_start(declared):
    class Colliding(User):
        profile_fields = (*User.profile_fields, declared)

    with pytest.raises(ConfigurationError, match="profile_fields"):
        await make_site(Colliding())


async def test_who_must_have_a_second_factor_makes_nobody_who_need_not():
    class Duty(User):
        second_factor_required_roles = frozenset({"manager"})
        roles = (*User.roles, Role("manager", "Manager", ("user-view", "user-edit", "user-add", "user-manage")))

        def is_admin(self, account):
            return not self.access_of(account).isdisjoint({"root", "user-manage"})

    site = await make_site(Duty())
    await site.account_with_totp(EVE, roles=("manager",))
    p = await site.logged_in(EVE, with_code=True)
    mine = {"name": "shadow@example.org", "password": "another long password"}

    by_flags = await p.json_post("/json/user/add", access="user-view,user-edit,user-add,user-manage", **mine)
    by_role = await p.json_post("/json/user/add", roles="manager", **mine)

    assert by_flags.status == 403
    assert by_role.json["action"] == "addSuccess"


class Meanwhile:
    """Does something once, when the store is asked for the second time."""

    def __init__(self):
        self.deed, self.asked = None, 0

    async def before(self, call):
        self.asked += call.kind == "store" and self.deed is not None
        if self.asked == 2 and (deed := self.deed) is not None:
            self.deed = None
            await deed()

    def after(self, call, seconds, error):
        pass


async def test_a_request_acts_only_while_its_session_lives():
    meanwhile = Meanwhile()
    site = await make_site(observers=(meanwhile,))
    await site.account(ADA, access=("root",))
    eve = await site.account(EVE)
    p, copy = await site.logged_in(ADA), site.person()
    copy.cookies = dict(p.cookies)
    form, skey = (await copy.get("/user/logout")).form("logout"), await p.skey()

    meanwhile.deed = lambda: copy.send(form)
    page = await p.post(f"/json/user/edit/{eve.id}", {"skey": skey, "access": "root"})

    assert meanwhile.deed is None
    assert page.status == 401
    assert (await site.kit.account_now(eve)).access == ()


async def test_the_own_form_names_no_other_entry():
    site = await make_site()
    eve = await site.account(EVE)
    await site.account()
    p = await site.logged_in()

    assert (await p.json_post("/json/user/edit/self", key=eve.id, firstname="X")).status == 400
