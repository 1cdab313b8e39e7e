"""`authflow flows show` at the command line."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from tests.cli.conftest import Command


def test_the_flows_are_shown_and_nothing_is_made(authflow: Command, tmp_path: Path) -> None:
    shown = authflow("flows", "show")

    assert (shown.code, shown.err) == (0, "")
    assert shown.out.startswith("Flows of authflow.user:User\n")
    assert "The table of states" in shown.out
    assert list(tmp_path.iterdir()) == []


def test_one_kind_is_shown_as_each_format(authflow: Command) -> None:
    def written(name: str) -> str:
        return authflow("flows", "show", "--kind", "login", "--format", name).out

    assert "login: log in" in written("text")
    assert "recover: " not in written("text")
    assert written("mermaid").startswith("flowchart TD\n")
    assert written("dot").startswith("digraph flows {\n")
    assert ElementTree.fromstring(written("svg")).tag.endswith("svg")


def test_a_file_gets_what_would_be_printed(authflow: Command, tmp_path: Path) -> None:
    file = tmp_path / "flows.txt"

    quiet = authflow("flows", "show", "--output", str(file))

    assert (quiet.code, quiet.out) == (0, "")
    assert file.read_text(encoding="utf-8") == authflow("flows", "show").out


def test_another_class_is_drawn_by_name(authflow: Command) -> None:
    drawn = authflow("flows", "show", "--user", "tests.cli.without_totp:User", "--json")

    assert drawn.data["user"] == "tests.cli.without_totp:User"
    assert [provider["name"] for provider in drawn.data["providers"]] == ["user_password"]


def test_programs_get_steps_and_arrows(authflow: Command) -> None:
    [login] = authflow("flows", "show", "--kind", "login", "--json").data["flows"]

    first = login["drawing"]["steps"][0]
    assert first["offered"] == ["user_password"]
    assert {"answers": ["user_password"], "condition": "has time_based_otp", "target": "2"} in first["arrows"]


def test_what_is_no_class_kind_or_format_is_refused_in_one_line(authflow: Command) -> None:
    for wrong in (("--user", "nowhere:User"), ("--kind", "logout"), ("--format", "png")):
        refused = authflow("flows", "show", *wrong)

        assert refused.code == 2
        assert refused.err.count("\n") == 1
        assert wrong[0] in refused.err
