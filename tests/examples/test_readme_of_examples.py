"""What `examples/README.md` says of the examples is true: they are all there, and its commands name what exists."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from authflow.provider import Provider
from authflow.user import User

FOLDER = Path(__file__).parents[2] / "examples"
TEXT = (FOLDER / "README.md").read_text(encoding="utf-8")
PROVIDERS = ("printed_list:PrintedList", "passkey:Passkey", "openid_connect:OpenIdConnect", "code_by_mail:CodeByMail")


def test_every_example_is_told_and_every_link_leads_somewhere() -> None:
    linked = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", TEXT)

    assert {file.name for file in FOLDER.glob("*.py")} <= set(linked)
    for target in linked:
        assert (FOLDER / target).exists(), target


def test_every_command_names_a_user_that_there_is() -> None:
    named = re.findall(r"AUTHFLOW_USER=(\S+)", TEXT)

    assert {name.partition(":")[0] for name in named} == {f"examples.{one.partition(':')[0]}" for one in PROVIDERS}
    for name in named:
        module, _, attribute = name.partition(":")
        assert issubclass(getattr(importlib.import_module(module), attribute), User)
    assert set(re.findall(r"AUTHFLOW_TEMPLATES=(\S+)", TEXT)) == {"examples/templates"}


@pytest.mark.parametrize("path", PROVIDERS)
def test_every_provider_has_pages_of_its_own_and_says_how_it_is_run(path) -> None:
    module, _, attribute = path.partition(":")
    loaded = importlib.import_module(f"examples.{module}")
    provider = getattr(loaded, attribute)

    assert issubclass(provider, Provider)
    assert list((FOLDER / "templates" / provider.name).glob("*.html"))
    assert f"AUTHFLOW_USER=examples.{module}:MyUser" in (loaded.__doc__ or "") + TEXT
