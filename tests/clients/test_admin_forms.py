"""The user module in ViUR's admin: list, forms and requests of `@viur/vue-utils` 3.3.1, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.clients.house import PASSWORD, House, open_house
from tests.clients.login_screen import LoginScreen
from tests.parts import vue_login

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.usefixtures("vue_page")]

ROOT = "root@example.org"
ADA, BEN = "ada@example.org", "ben@example.org"
PAGES = {vue_login.PREFIX: vue_login.PAGE}


@pytest.fixture
def house() -> Iterator[House]:
    with open_house(pages=PAGES, environment={"AUTHFLOW_ADMIN": ROOT}) as house:
        yield house


class Admin(LoginScreen):
    """An administrator who has logged in and looks at the accounts."""

    def begin(self, name: str = ROOT) -> None:
        self.send(name)
        self.is_in_as(name)
        self.press("People")

    def press_of(self, name: str, button: str) -> None:
        """Press a button of somebody's row."""
        self.page.locator(f"tr[data-name='{name}']").get_by_role("button", name=button, exact=True).click()

    def has_come_to(self, outcome: str) -> None:
        self.page.locator("#outcome").get_by_text(outcome, exact=True).wait_for()

    def names(self) -> list[str]:
        found: list[str] = self.page.locator("tr td:first-child").all_inner_texts()
        return found

    def entry(self, key: str) -> dict[str, Any]:
        """Return an entry as the instance tells it to this browser."""
        values: dict[str, Any] = self.page.request.get(f"{self.house.url}/vi/user/view/{key}").json()["values"]
        return values


@pytest.fixture
def admin(chromium: Any, house: House) -> Iterator[Admin]:
    house.add_person("second@example.org", is_admin=True)
    with Admin(chromium, house) as admin:
        yield admin


def test_the_list_goes_on_where_it_ended(admin: Admin, house: House) -> None:
    for name in (ADA, BEN, "cem@example.org"):
        house.add_person(name)

    admin.begin("second@example.org")
    admin.page.locator(f"tr[data-name='{ADA}']").wait_for()
    assert admin.names() == [ADA, BEN]
    admin.press("More")
    admin.page.locator(f"tr[data-name='{ROOT}']").wait_for()
    assert admin.names() == [ADA, BEN, "cem@example.org", ROOT]
    admin.press("More")
    admin.page.locator("tr[data-name='second@example.org']").wait_for()

    columns = admin.page.locator("#columns").inner_text().split()
    assert {"key", "name", "firstname", "lastname", "status"} <= set(columns)
    assert "password" not in columns


def test_a_form_changes_an_entry_and_leaves_alone_what_was_not_touched(admin: Admin, house: House) -> None:
    key = house.add_person(ADA)

    admin.begin("second@example.org")
    before = admin.entry(key)
    admin.press_of(ADA, "Edit")
    admin.fill("firstname", "Augusta")
    admin.press("Save")
    admin.has_come_to("editSuccess")

    changed = {name for name, value in admin.entry(key).items() if value != before[name]}
    assert changed == {"firstname", "version", "changedate"}
    with httpx.Client(base_url=house.url) as ada:
        sent = {"name": ADA, "password": PASSWORD, "skey": ada.get("/json/skey").json()}
        assert ada.post("/json/user/auth_userpassword/login", data=sent).json() == "OKAY"


def test_several_roles_are_chosen_in_a_form(admin: Admin, house: House) -> None:
    key = house.add_person(ADA)

    admin.begin("second@example.org")
    admin.press_of(ADA, "Edit")
    roles = admin.page.locator(".widget-bone-select-roles")
    roles.click()
    for role in ("user", "viewer"):
        roles.locator(f"sl-option[value={role}]").click()
    admin.page.keyboard.press("Escape")
    admin.press("Save")
    admin.has_come_to("editSuccess")

    assert sorted(admin.entry(key)["roles"]) == ["user", "viewer"]


def test_a_form_makes_an_entry_that_can_log_in(admin: Admin, house: House, chromium: Any) -> None:
    admin.begin("second@example.org")
    admin.press("Add")
    admin.fill("name", ADA)
    for field in admin.page.locator("#form input[type=password]").all():
        field.fill(PASSWORD)
    admin.press("Save")
    admin.has_come_to("addSuccess")

    with LoginScreen(chromium, house) as screen:
        screen.send(ADA)
        screen.is_in_as(ADA)


def test_a_form_shows_what_is_not_accepted_at_its_field(admin: Admin, house: House) -> None:
    house.add_person(ADA)

    admin.begin("second@example.org")
    admin.press("Add")
    admin.fill("name", "zoe@example.org")
    for field in admin.page.locator("#form input[type=password]").all():
        field.fill("short")
    admin.press("Save")
    admin.page.locator(".wrapper-bone-password").get_by_text("at least 8 characters").wait_for()

    admin.has_come_to("add")
    assert "zoe@example.org" not in admin.names()


def test_an_entry_is_deleted(admin: Admin, house: House) -> None:
    key = house.add_person(ADA)

    admin.begin("second@example.org")
    admin.press_of(ADA, "Delete")
    admin.page.locator(f"tr[data-name='{ADA}']").wait_for(state="detached")

    assert admin.page.request.get(f"{house.url}/vi/user/view/{key}").status == 404


def test_the_action_of_the_configuration_ends_somebodys_sessions(admin: Admin, house: House, chromium: Any) -> None:
    house.add_person(ADA)

    with LoginScreen(chromium, house) as screen:
        screen.send(ADA)
        screen.is_in_as(ADA)
        admin.begin("second@example.org")
        admin.press_of(ADA, "Log out everywhere")
        admin.has_come_to("trigger/kickSuccess")
        screen.open()
        screen.field("password").wait_for()


def test_somebody_without_a_right_gets_no_list(chromium: Any, house: House) -> None:
    house.add_person(ADA)

    with Admin(chromium, house) as nobody:
        nobody.begin(ADA)
        nobody.page.locator("#outcome").get_by_text("403").wait_for()
        assert nobody.names() == []


def test_rights_that_came_with_a_role_go_with_it(admin: Admin, house: House) -> None:
    key = house.add_person(ADA, roles=("viewer",))

    admin.begin("second@example.org")
    had = admin.entry(key)
    admin.press_of(ADA, "Edit")
    roles = admin.page.locator(".widget-bone-select-roles")
    roles.click()
    roles.locator("sl-option[value=viewer]").click()
    admin.page.keyboard.press("Escape")
    admin.press("Save")
    admin.has_come_to("editSuccess")

    assert "user-view" in had["access"]
    assert (admin.entry(key)["roles"], admin.entry(key)["access"]) == ([], [])
