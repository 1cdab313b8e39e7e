"""What docs/testing.md shows is what the kit does: its whole test passes, and fails where the application is wrong."""

from __future__ import annotations

import asyncio
import inspect
import re
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import ModuleType

import pytest

import authflow.testing
from authflow.testing import Site, make_site
from authflow.user import User
from tests.test_readme import program, run_as_module

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/testing.md").read_text(encoding="utf-8")
TESTS = ("test_a_mailed_code_is_needed_once_it_is_set_up", "test_a_code_that_comes_too_late_lets_nobody_in")

myapp = run_as_module(program("own provider"), "myapp")


class Stubborn(myapp.CodeByMail):
    """Takes no code at a login."""

    async def answer(self, credential, submission, context):
        return myapp.Rejected("code_wrong")


class StubbornUser(User):
    second_factor_providers = (*User.second_factor_providers, Stubborn)
    valid_authentication_methods = (*User.valid_authentication_methods, ("user_password", Stubborn))


class Forgetful(myapp.MyUser):
    """Demands no second factor of anybody."""

    valid_authentication_methods = (("user_password", None), ("google_account", None))


@pytest.fixture
def whole_test(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[Site], Awaitable[None]]]:
    monkeypatch.setitem(sys.modules, "myapp", myapp)
    found = re.search(r"<!-- whole test -->\n```python\n(.*?)```", PAGE, re.S)
    assert found is not None
    module = ModuleType("test_myapp")
    exec(compile(found[1], "docs/testing.md", "exec"), module.__dict__)
    return {name: test for name, test in vars(module).items() if name.startswith("test_")}


def test_the_page_holds_these_tests(whole_test) -> None:
    assert tuple(whole_test) == TESTS


@pytest.mark.parametrize("name", TESTS)
async def test_the_whole_test_passes(whole_test, name: str) -> None:
    await whole_test[name](await make_site(myapp.MyUser()))


@pytest.mark.parametrize("user", [Forgetful, StubbornUser])
async def test_the_whole_test_fails_where_the_factor_is_not_demanded_or_not_taken(whole_test, user: type[User]) -> None:
    with pytest.raises((AssertionError, LookupError)):
        await whole_test[TESTS[0]](await make_site(user()))


async def test_the_whole_test_fails_where_a_late_code_is_taken(whole_test) -> None:
    class Patient(myapp.MyUser):
        second_factor_time_window = User.second_factor_time_window * 6

    with pytest.raises(AssertionError):
        await whole_test[TESTS[1]](await make_site(Patient()))


def test_a_person_can_be_driven_without_pytests_loop() -> None:
    async def scenario() -> bool:
        site = await make_site()
        await site.account()
        return await (await site.logged_in()).is_logged_in()

    assert asyncio.run(scenario())


def test_every_name_of_the_kit_is_told_on_the_page() -> None:
    plain = {"ADA", "BASE_URL", "KEY", "OTP_SECRET", "PASSWORD", "START", "Form", "Hold", "Mailbox", "Person", "Clock"}

    told = {name for name in authflow.testing.__all__ if re.search(rf"\b{name}\b", PAGE)}

    assert set(authflow.testing.__all__) - told <= plain | {"Browser", "Kit", "refuse_outside_tests"}


def test_every_method_that_the_page_calls_exists() -> None:
    owners = {
        "site": authflow.testing.Site,
        "ada": authflow.testing.Person,
        "phone": authflow.testing.Person,
        "store": authflow.testing.ContendedStore,
        "hold": authflow.testing.Hold,
        "faults": authflow.testing.Faults,
        "site.outbox": authflow.testing.Mailbox,
        "site.clock": authflow.testing.Clock,
        "token": authflow.testing.Authenticator,
        "issuer": authflow.testing.Issuer,
    }
    calls = re.findall(r"\b(site\.outbox|site\.clock|\w+)\.(\w+)\(", PAGE)

    missing = [f"{o}.{m}" for o, m in calls if o in owners and not inspect.isfunction(getattr(owners[o], m, None))]

    assert len(calls) > 20
    assert missing == []
