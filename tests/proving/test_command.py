"""`authflow flows check` at the command line."""

from __future__ import annotations

import json

import pytest

from authflow.cli.main import run


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_stock_configuration_is_proved_and_nothing_is_written(capsys: pytest.CaptureFixture[str], tmp_path) -> None:
    code = run(["flows", "check", "--kinds", "login,recover"])

    said = capsys.readouterr()
    assert code == 0, said.out
    assert "every invariant holds" in said.out
    assert "transitions" in said.out
    assert said.err == ""
    assert list(tmp_path.iterdir()) == []


def test_a_fault_is_shown_with_the_events_that_lead_to_it(capsys: pytest.CaptureFixture[str]) -> None:
    fault = "tests.proving.planted.policies:LostFactorIsSkipped"

    code = run(["flows", "check", "--user", fault, "--kinds", "login"])

    said = capsys.readouterr().out
    assert code == 1
    assert "orphan: An enrolled factor that cannot be asked for refuses; it is never skipped." in said
    assert "  1. the flow is started -> asking (prove user_password)" in said
    assert "  2. user_password is proved -> completed" in said
    assert "1 invariant does not hold" in said


def test_programs_are_told_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    code = run(["flows", "check", "--user", "tests.proving.planted.steps:NoWayOut", "--kinds", "login", "--json"])

    told = json.loads(capsys.readouterr().out)
    assert code == 1
    assert told["ok"] is False
    assert told["states"] > 100
    assert told["transitions"] > told["states"]
    [found] = [one for one in told["violations"] if one["invariant"] == "endings"]
    assert found["path"][-1].startswith("the person cancels")
    assert found["times"] > 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--kinds", "login,dance"], "--kinds: there is no kind 'dance'"),
        (["--user", "nowhere.at_all:User"], "AUTHFLOW_USER: nowhere.at_all:User cannot be imported"),
        (["--user", "json:JSONDecoder"], "is not a subclass of authflow.user:User"),
    ],
)
def test_what_cannot_be_carried_out_is_said_in_one_line(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(["flows", "check", *arguments])

    said = capsys.readouterr()
    assert code == 2
    assert words in said.err
    assert said.err.count("\n") == 1
