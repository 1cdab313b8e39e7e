"""What roles, modules and flags come to, and who is over whom."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from authflow.access import Access, Module, kept_flags
from authflow.assembly import build
from authflow.errors import ConfigurationError
from authflow.model import Account, Role
from authflow.settings import Settings
from authflow.testing import KEY
from authflow.user import User

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def somebody(*roles: str, access: tuple[str, ...] = (), account_id: str = "a") -> Account:
    return Account(account_id, account_id, account_id, NOW, NOW, roles=roles, access=access)


class Shop(User):
    roles = (*User.roles, Role("staff", "Staff", ("till",)))
    access_rights = (*User.access_rights, "till")
    modules = (
        *User.modules,
        Module("orders", roles={"staff": ("edit",), "admin": "*", "*": "view"}),
        Module("pages", rights=("edit", "publish"), roles={"editor": ("edit",)}),
    )


SHOP = Shop()


def test_a_module_makes_its_flags() -> None:
    assert Module("orders").flags == ("orders-view", "orders-add", "orders-edit", "orders-delete", "orders-manage")
    assert set(Module("pages", ("publish",)).flags) < {"pages-publish", "x"}


def test_what_can_be_given_is_what_is_declared_and_what_the_modules_make_each_once() -> None:
    flags = [flag for flag, _ in SHOP.extend_access_rights()]

    assert flags[:2] == ["root", "admin"]
    assert {"till", "user-manage", "orders-delete", "pages-publish"} < set(flags)
    assert len(flags) == len(set(flags))


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("staff", {"till", "orders-edit", "orders-view"}),
        ("user", {"orders-view"}),
        ("custom", {"orders-view"}),
        ("nobody-knows-it", set()),
    ],
)
def test_what_a_role_may_do_in_each_module(role: str, may: set[str]) -> None:
    assert SHOP.access_of(somebody(role)) == may


def test_a_star_is_every_right_of_the_module_and_never_root() -> None:
    may = SHOP.access_of(somebody("admin"))

    assert set(Module("orders").flags) < may
    assert "root" not in may
    assert "pages-edit" not in may


@pytest.mark.parametrize("right", ["edit", "delete"])
def test_who_may_edit_or_delete_may_view(right: str) -> None:
    module = Module("orders", roles={"clerk": right})

    assert set(module.flags_of("clerk")) == {f"orders-{right}", "orders-view"}


def test_a_module_without_a_view_does_not_get_one() -> None:
    assert SHOP.access_of(somebody("editor")) & {"pages-edit", "pages-view"} == {"pages-edit"}


@pytest.mark.parametrize(
    ("roles", "counts"), [((), True), (("custom",), True), (("custom", "viewer"), True), (("viewer",), False)]
)
def test_own_flags_count_without_a_role_or_with_custom(roles: tuple[str, ...], counts: bool) -> None:
    assert ("root" in User().access_of(somebody(*roles, access=("root",)))) is counts
    assert kept_flags(roles, ["root"]) == (("root",) if counts else ())


@pytest.mark.parametrize(
    ("above", "below", "is_over"),
    [
        (somebody(access=("root",)), somebody(access=("root",)), True),
        (somebody("editor"), somebody(), True),
        (somebody("editor"), somebody("viewer"), True),
        (somebody("editor"), somebody("admin"), False),
        (somebody("admin"), somebody(access=("root",)), False),
        (somebody("admin"), somebody(access=("unheard-of",)), False),
    ],
)
def test_who_lacks_a_right_is_not_over_one_who_has_it(above: Account, below: Account, is_over: bool) -> None:
    assert User().is_over(above, below) is is_over


@pytest.mark.parametrize(
    "declared",
    [
        {"modules": (Module("user"), Module("user"))},
        {"modules": (Module("orders", roles={"editor": "eidt"}),)},
        {"modules": (Module("orders", roles={"editor": ("view", "eidt")}),)},
        {"modules": (Module("or,ders"),)},
        {"roles": (Role("a,b", "A"),)},
        {"roles": (Role("", "A"),)},
        {"access_rights": (" x",)},
    ],
)
def test_a_bad_declaration_refuses_to_start(declared: dict[str, object]) -> None:
    user = type("Bad", (User,), declared)()

    with pytest.raises(ConfigurationError):
        build(Settings(store="memory:", secret_keys=(KEY,)), user=user)


def test_rights_are_worked_out_once() -> None:
    access = Access(("a",), (Role("r", "R", ("a",)),), ())

    assert access.of(somebody("r")) == {"a"}
    assert SHOP.access is SHOP.access
