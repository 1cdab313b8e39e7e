"""What docs/viur.md tells is true: its names exist, its example is accepted, its fields are those that are read."""

from __future__ import annotations

import re
from pathlib import Path

from authflow import errors, viur_entries
from authflow.assembly import build
from authflow.messages import SENTENCES
from authflow.provider import Provider
from authflow.render import template_dir
from authflow.settings import Settings
from authflow.testing import KEY
from authflow.throttle import Limits
from authflow.tickets import TicketInvalid
from authflow.user import User
from authflow.web.app import create_app
from providers.google_account import GoogleAccount
from providers.time_based_otp import TimeBasedOTP
from providers.user_password import UserPassword

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/viur.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    found = re.search(rf"^(#+) {heading}\n(.*?)(?=^#+ |\Z)", PAGE, re.M | re.S)
    assert found is not None, heading
    return found[2]


def rows(text: str) -> list[list[str]]:
    lines = [line.strip("|").split("|") for line in re.findall(r"^\|.*\|$", text, re.M)]
    return [[cell.strip() for cell in line] for line in lines[2:]]


def test_our_names_exist() -> None:
    owners = {cls.__name__: cls for cls in (User, UserPassword, GoogleAccount, TimeBasedOTP, Provider, Limits)}
    named = [(o, a) for o, a in re.findall(r"`(\w+)\.(\w+)", PAGE) if o in owners]

    assert len(named) > 25
    for owner, attribute in named:
        fields = getattr(owners[owner], "__dataclass_fields__", {})
        assert hasattr(owners[owner], attribute) or attribute in fields, f"{owner}.{attribute}"


def test_the_variables_are_those_of_the_settings() -> None:
    told = (ROOT / "docs/settings.md").read_text(encoding="utf-8")

    for name in set(re.findall(r"AUTHFLOW_[A-Z_]+", PAGE)):
        assert f"`{name}`" in told, name


def test_the_templates_exist() -> None:
    named = set(re.findall(r"`templates/([\w/.]+)`", PAGE))

    assert len(named) > 10
    for name in named:
        assert (template_dir() / name).is_file(), name


def test_the_codes_are_those_of_refusals() -> None:
    known = set(SENTENCES) | {TicketInvalid.code} | {getattr(e, "code", "") for e in vars(errors).values()}
    shown = " ".join(row[2] for row in rows(section("What is safer, and how that shows")))

    for code in re.findall(r"`([a-z]+_[a-z_]+)`", shown):
        assert code in known or code == "get_cookie_for_app", code


def test_the_user_of_the_example_is_accepted() -> None:
    source = PAGE.partition("```python\n")[2].partition("```")[0]
    module: dict[str, type[User]] = {}
    exec(source, module)

    user = module["User"]()
    app = build(
        Settings(store="memory:", secret_keys=(KEY,), provider_environment={"google_client_id": "an-id.apps.example"}),
        user=user,
    )

    assert {"news-edit", "scriptor"} <= set(user.access.flags)
    assert ("X-VIUR-AUTH-Google-Account", None) in app.engine.user.get_auth_methods()


def test_the_fields_of_the_import_are_those_that_are_read() -> None:
    told = {name for row in rows(section("Import"))[:9] for name in re.findall(r"`(\w+)`", row[0])}

    assert told == viur_entries._TAKEN | {field.name for field in User.profile_fields}


def test_what_is_said_not_to_come_is_not_there() -> None:
    edge = create_app(build(Settings(store="memory:", secret_keys=(KEY,))))
    routes = (*edge.routes, *edge.tool_routes)
    absent = {
        path
        for left, right, *_ in rows(section("Paths"))
        if right == "none"
        for path in re.findall(r"`(?:vi|user)/([\w/]+)", left)
    }

    assert {"trigger/takeover/", "get_cookie_for_app", "timestamp"} <= absent
    for path in absent:
        assert not any(known.removeprefix("/user").startswith(f"/{path}") for known in routes), path


def test_what_is_said_to_be_the_same_is_there() -> None:
    edge = create_app(build(Settings(store="memory:", secret_keys=(KEY,))))
    routes = (*edge.routes, *edge.tool_routes)
    told = [left for left, right, *_ in rows(section("Paths")) if right.startswith("the same")]
    whole = {path for left in told for path in re.findall(r"`((?:user|vi)/[\w/]+)", left)}

    assert {"user/login", "user/auth_userpassword/login", "vi/config", "user/trigger/kick/"} <= whole
    for path in whole - {"user/auth_googleaccount/login"}:  # Where a client id is set.
        ours = "/" + path.removeprefix("vi/").removesuffix("/")
        with_key = ours.rpartition("/")[0] + "/*"
        assert ours in routes or with_key in routes, path
