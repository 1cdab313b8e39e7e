"""`authflow check-provider`: what it says and how it exits."""

from __future__ import annotations

import json

import pytest

from authflow.certifying.run import CHECKS
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
    assert {"ok", "not shown", "n/a"} == {check["state"] for check in found["checks"]}


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


def test_chosen_checks_certify_nothing(capsys) -> None:
    arguments = ["check-provider", BADGE, "--kit", "tests.certifying.bare:Bearer", "--only", "right_answer"]

    assert run(arguments) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{BADGE}: 1 check made, none failed"
    assert run([*arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["certified"], found["only"]) == (False, ["right_answer"])


def test_a_chosen_check_that_does_not_apply_is_said_so(capsys) -> None:
    arguments = ["check-provider", BADGE, "--kit", "tests.certifying.bare:Bearer", "--only", "replay_is_refused"]

    assert run(arguments) == 0

    said = capsys.readouterr().out
    assert "n/a        replay_is_refused  does not apply: what is known may be said again" in said
    assert said.splitlines()[-1] == f"{BADGE}: 0 checks made, none failed"
    assert "certified" not in said.splitlines()[-1].removeprefix(BADGE)


def test_every_check_is_listed_with_why_it_does_not_apply(capsys) -> None:
    assert run(["check-provider", BADGE, "--kit", "tests.certifying.bare:Bearer", "--json"]) == 0

    found = json.loads(capsys.readouterr().out)
    assert [check["name"] for check in found["checks"]] == [check.name for check in CHECKS]
    why = {check["name"]: check["why"] for check in found["checks"] if check["state"] == "n/a"}
    assert why["enrolling_pages"] == "does not apply: people cannot add it by themselves (Enrols)"
    assert all(len(said) > len("does not apply: ") for said in why.values())


@pytest.mark.parametrize("kit", ["MadeOfNothing", "NeverHanded"])
def test_a_kit_that_cannot_be_made_is_said_once(kit, capsys) -> None:
    assert run(["check-provider", BADGE, "--kit", f"tests.certifying.bare:{kit}"]) == 2

    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("authflow: the kit cannot be made: ")
    assert said.err.count("\n") == 1


def test_a_failure_says_how_to_draw_the_same_once_more(capsys) -> None:
    arguments = ["check-provider", "tests.certifying.planted:EmptyAdvances", "--only", "empty_is_refused"]

    assert run([*arguments, "--seed", "4711"]) == 1
    assert "--seed 4711" in capsys.readouterr().err
    assert run([*arguments, "--seed", "4711", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["seed"] == 4711


def test_settings_reach_configure(capsys) -> None:
    arguments = ["providers.google_account:GoogleAccount", "--setting", "GOOGLE_CLIENT_ID=1.apps.example", "--partial"]

    assert run(["check-provider", *arguments]) == 0
