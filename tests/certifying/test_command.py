"""`authflow check-provider`: what it says and how it exits."""

from __future__ import annotations

import json

import pytest

from authflow.cli.main import run

BADGE = "tests.certifying.bare:Badge"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch) -> None:
    for name in ("AUTHFLOW_USER", "AUTHFLOW_TEMPLATES", "AUTHFLOW_STORE"):
        monkeypatch.delenv(name, raising=False)


def test_a_good_provider_with_its_kit_exits_with_0(capsys) -> None:
    assert run(["check-provider", BADGE, "--kit", "tests.certifying.bare:Bearer"]) == 0

    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.splitlines()[-1].startswith(f"{BADGE}: certified; 0 of ")


def test_the_kit_that_the_class_names_is_found(capsys) -> None:
    assert run(["check-provider", "tests.certifying.bare:Certified", "--json"]) == 0

    assert json.loads(capsys.readouterr().out)["kit"] == "Bearer"


def test_without_a_kit_it_is_certified_in_part_and_exits_with_1(capsys) -> None:
    assert run(["check-provider", BADGE]) == 1

    said = capsys.readouterr()
    assert "certified in part" in said.out
    assert "name a kit by --kit" in said.err


def test_in_part_is_enough_where_it_is_asked_for(capsys) -> None:
    assert run(["check-provider", BADGE, "--partial", "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert found["certified"] is False
    assert {"ok", "not shown"} == {check["state"] for check in found["checks"]}


def test_a_faulty_provider_exits_with_1_and_says_what_to_do(capsys) -> None:
    assert run(["check-provider", "tests.certifying.planted:EmptyAdvances", "--only", "empty_is_refused"]) == 1

    said = capsys.readouterr()
    assert "FAILED     empty_is_refused" in said.out
    assert "do: " in said.out
    assert said.err.count("\n") == 1
    assert "empty_is_refused" in said.err


def test_a_kit_that_gives_everybody_one_secret_is_told_so(capsys) -> None:
    assert run(["check-provider", BADGE, "--kit", "tests.certifying.bare:Twin"]) == 1

    assert "the kit gives everybody the same secret" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["tests.certifying.bare:Nowhere"],
        ["tests.certifying.bare:PIN"],
        [BADGE, "--kit", "tests.certifying.bare:PIN"],
        [BADGE, "--kit", "tests.certifying.bare:Nobody"],
        [BADGE, "--setting", "without a sign"],
        [BADGE, "--only", "everything"],
        [BADGE, "--templates", "no/such/folder"],
        ["providers.google_account:GoogleAccount"],
    ],
)
def test_what_cannot_be_carried_out_exits_with_2_and_one_line(arguments, capsys) -> None:
    assert run(["check-provider", *arguments]) == 2

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("authflow: ")
    assert said.err.count("\n") == 1


def test_settings_reach_configure(capsys) -> None:
    arguments = ["providers.google_account:GoogleAccount", "--setting", "GOOGLE_CLIENT_ID=1.apps.example", "--partial"]

    assert run(["check-provider", *arguments]) == 0
