"""What docs/providers.md shows can be served and logged in with, and what it says of pages and registering is so."""

from __future__ import annotations

import base64
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import jinja2
import pytest

from authflow.render import template_dir
from authflow.testing import Page, Site, make_kit, make_site
from authflow.testing.forms import Form
from authflow.user import User
from tests.certifying.test_docs_page import ROOT, command_of, copied, files, run, text

MODULES = ("button_token", "staff_badge", "give_badge")
NUMBER = "4711"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return copied(tmp_path)


@pytest.fixture
def modules(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The modules of the page, imported from the reader's folder."""
    monkeypatch.syspath_prepend(str(folder))
    loaded: dict[str, ModuleType] = {name: import_module(name) for name in MODULES}
    yield loaded
    for name in loaded:
        del sys.modules[name]


# --- The token --------------------------------------------------------------------------------------------------------


async def test_the_token_is_added_after_a_mistyped_code_and_then_asked_for(folder: Path, modules) -> None:
    token = modules["button_token"]
    site = await make_site(token.MyUser(), templates=str(folder / "pages"))
    await site.account()
    ada = await site.logged_in()
    await ada.open("/user/view/self")
    await ada.click("Set up", to=token.ButtonToken.path)
    shown = await ada.press("Start")
    [key] = re.findall(r'class="secret">([A-Z2-7]{32})<', shown.text)
    codes = [token.hotp(base64.b32decode(key), n) for n in range(token.AHEAD)]
    wrong = next(code for code in ("000000", "000001", "000002", "000003", "000004", "000005") if code not in codes)

    again = await ada.press("Confirm", {"Code": wrong})
    assert (again.status, key in again.text) == (200, True)
    assert "Put this key into your token" in again.words
    await ada.press("Confirm", {"Code": codes[0]})

    asked = await ada.elsewhere().open("/user/login")
    assert asked.status == 200
    for code, is_in in ((codes[1], True), (codes[0], False), (codes[1], False), (codes[2], True)):
        phone = ada.elsewhere()
        page = await phone.follow(await phone.log_in())
        assert "Press the button of your token" in page.words
        await phone.type_code(code)
        assert await phone.is_logged_in() is is_in


# --- The badge --------------------------------------------------------------------------------------------------------


def badge_form(page: Page) -> Form:
    return page.form("auth_staffbadge")


async def try_badge(site: Site, path: str, number: str, pin: str) -> tuple[Page, bool]:
    person = site.person()
    answer = await person.send(badge_form(await person.get(path)), number=number, pin=pin)
    return answer, await person.is_logged_in()


@pytest.mark.parametrize("templates", ["pages", ""], ids=["with its pages", "with the general pages"])
async def test_a_badge_that_the_page_s_program_gave_out_logs_in(folder: Path, modules, templates: str) -> None:
    store = {"AUTHFLOW_STORE": f"sqlite:{folder / 'badges.db'}", "AUTHFLOW_USER": "staff_badge:Staff"}
    created = run(folder, "-m", "authflow.cli", "users", "create", *command_of("authflow users create 4711"), **store)
    given = run(folder, "give_badge.py", *command_of("python give_badge.py 4711"), **store)
    assert (created.returncode, given.returncode) == (0, 0), created.stderr + given.stderr
    pin = given.stdout.strip()
    assert re.fullmatch("[0-9]{6}", pin)
    other = "111111" if pin != "111111" else "222222"

    site = await make_site(
        modules["staff_badge"].Staff(),
        sqlite=folder / "badges.db",
        templates=str(folder / templates) if templates else "",
    )
    try:
        for path in ("/user/login", "/user/auth_staffbadge/login"):
            wrong, is_in = await try_badge(site, path, NUMBER, other)
            assert (wrong.status, is_in) == (200, False)
            assert "Badge number and PIN do not belong together." in wrong.words
            unknown, is_in = await try_badge(site, path, "815", pin)
            assert (unknown.words, is_in) == (wrong.words, False)
            malformed, is_in = await try_badge(site, path, NUMBER, "12")
            assert (malformed.status, is_in) == (400, False)
            assert "A PIN has six digits." in malformed.words
            right, is_in = await try_badge(site, path, NUMBER, f"{pin[:3]} {pin[3:]}")
            assert (right.location, is_in) == ("/user/view/self", True)
    finally:
        await site.close()


async def test_a_new_badge_ends_sessions_and_the_badge_of_before(folder: Path, modules) -> None:
    site = await make_site(modules["staff_badge"].Staff(), templates=str(folder / "pages"))
    await site.account(NUMBER, password=None)
    first = await modules["give_badge"].give(site.app, NUMBER)
    holder = site.person()
    await holder.send(badge_form(await holder.get("/user/login")), number=NUMBER, pin=first)
    assert await holder.is_logged_in()

    second = await modules["give_badge"].give(site.app, NUMBER)

    assert not await holder.is_logged_in()
    assert (await try_badge(site, "/user/login", NUMBER, second))[1]
    if first != second:
        assert not (await try_badge(site, "/user/login", NUMBER, first))[1]
    assert "badge_given" in {record.data["type"] for record in await site.kit.records("event")}


async def test_a_badge_does_not_leave_out_the_authenticator_app(folder: Path, modules) -> None:
    site = await make_site(modules["staff_badge"].Staff(), templates=str(folder / "pages"))
    await site.account_with_totp(NUMBER, password=None)
    pin = await modules["give_badge"].give(site.app, NUMBER)
    holder = site.person()

    await holder.send(badge_form(await holder.get("/user/login")), number=NUMBER, pin=pin)
    assert not await holder.is_logged_in()
    await holder.type_code(site.code())

    assert await holder.is_logged_in()


# --- Pages and registering --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("extended", ["login.html", "method.html"])
async def test_what_the_page_says_not_to_extend_ends_in_a_fault(folder: Path, modules, extended: str) -> None:
    own = folder / "pages/staff_badge/login.html"
    own.write_text(f'{{% extends "{extended}" %}}\n', encoding="utf-8")
    site = await make_site(modules["staff_badge"].Staff(), templates=str(folder / "pages"))

    assert (await site.person().get("/user/auth_staffbadge/login")).status == 503


def test_every_block_of_the_table_is_in_the_page_that_is_extended() -> None:
    loader = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template_dir()), autoescape=True, extensions=["jinja2.ext.i18n"]
    )
    rows = re.findall(r"^\| `(\w+\.html)` \| [^|]+ \| `(\w+\.html)` \| [^|]+ \| ([^|]+) \|$", text(), re.M)

    assert [name for name, _, _ in rows] == ["login.html", "otp.html", "add.html", "link.html"]
    for _, extended, blocks in rows:
        found: set[str] = set()
        for name in (extended, "base.html"):
            found |= set(loader.get_template(name).blocks)
        assert set(re.findall(r"`(\w+)`", blocks)) <= found, extended


def test_what_is_registered_as_the_page_says_is_offered_in_these_pairs(modules) -> None:
    found = re.search(r"^## Register it\n\n```python\n(.*?)```", text(), re.M | re.S)
    assert found is not None
    names: dict[str, Any] = {"User": User, "__name__": "registered"}
    exec(found[1], names)

    registry = make_kit(names["MyUser"]()).engine.registry

    assert {("user_password", "button_token"), ("staff_badge", "time_based_otp"), ("staff_badge", None)} <= set(
        registry.rules.pairs
    )
    assert "button_token" in registry.rules.enrollable


def test_the_fixture_is_shown_alike_where_testing_is_told() -> None:
    assert files()["test_button_token.py"] in (ROOT / "docs/testing.md").read_text(encoding="utf-8")
