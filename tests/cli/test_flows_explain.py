"""`authflow flows explain` at the command line."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from authflow.errors import Forbidden
from authflow.flow import Flow
from authflow.loading import Loaded
from authflow.model import Proof
from authflow.user import User
from tests.cli.conftest import Command

ADA = "ada@example.org"
TOKEN = "3132333435363738393031323334353637383930"


class Stricter(User):
    """Has a say that the table does not know."""

    def continue_authentication_flow(self, flow: Flow, proof: Proof, loaded: Loaded) -> Flow:
        raise Forbidden("not today")


def content(store: Path) -> list[str]:
    with sqlite3.connect(store) as database:
        return list(database.iterdump())


@pytest.fixture
def ada(authflow: Command, monkeypatch: pytest.MonkeyPatch) -> str:
    made = authflow("users", "create", ADA, "--active", "--password", "correct horse battery")
    assert made.code == 0, made.err
    added = authflow("users", "add-token", ADA, "--serial", "GA-1", "--secret-stdin", typed=TOKEN)
    assert added.code == 0, added.err
    return ADA


def test_an_account_of_the_store_is_explained_and_nothing_is_written_or_sent(
    authflow: Command, ada: str, tmp_path: Path
) -> None:
    before, mails = content(tmp_path / "store.db"), sorted((tmp_path / "mail").glob("*"))

    told = authflow("flows", "explain", ada)

    assert (told.code, told.err) == (0, "")
    assert told.out.startswith(f"{ADA}\n  status          10, active\n")
    assert "user_password, time_based_otp -> logged in, AAL2" in told.out
    assert "costs 5 round trips (user_password 3 + time_based_otp 2), 1 hash, no mail" in told.out
    assert max(map(len, told.out.splitlines())) <= 100
    assert content(tmp_path / "store.db") == before
    assert sorted((tmp_path / "mail").glob("*")) == mails


def test_a_factor_that_was_taken_from_the_application_is_named_with_the_way_out(authflow: Command, ada: str) -> None:
    told = authflow("flows", "explain", ada, "--user", "tests.cli.without_totp:User")

    assert "time_based_otp cannot be asked for: its provider is not declared any more." in told.out
    assert f"The way out: authflow users factors {ADA} --remove time_based_otp" in told.out
    assert "user_password -> refused: factor_unavailable" in told.out


def test_programs_get_ways_reasons_and_costs(authflow: Command) -> None:
    told = authflow("flows", "explain", "--factors", "time_based_otp, recovery_codes", "--kind", "login", "--json")

    [login] = told.data["flows"]
    way = login["paths"][0]
    assert way["answers"] == ["user_password", "time_based_otp"]
    assert (way["outcome"], way["level"], way["is_open"]) == ("logged in", "AAL2", True)
    assert (way["cost"]["round_trips"], way["cost"]["hashes"], way["cost"]["mails"]) == (5, 1, [])
    assert [spent["what"] for spent in way["cost"]["requests"]] == way["answers"]


def test_a_described_account_needs_no_store(authflow: Command, tmp_path: Path) -> None:
    told = authflow("flows", "explain", "--roles", "editor", "--status", "disabled")

    assert told.code == 0
    assert "refused: account_inactive" in told.out
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_not_there_is_not_made(authflow: Command, tmp_path: Path) -> None:
    refused = authflow("flows", "explain", ADA)

    assert refused.code == 2
    assert "there is no store" in refused.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("nobody@example.org",),
        (),
        (ADA, "--status", "active"),
        ("--roles", "emperor"),
        ("--status", "happy"),
        ("--factors", "recovery_codes"),
        ("--status", "active", "--kind", "register"),
    ],
    ids=lambda arguments: " ".join(arguments) or "nothing",
)
def test_what_cannot_be_explained_is_refused_in_one_line(
    authflow: Command, ada: str, arguments: tuple[str, ...]
) -> None:
    refused = authflow("flows", "explain", *arguments)

    assert (refused.code, refused.out) == (2, "")
    assert refused.err.startswith("authflow: ")
    assert refused.err.count("\n") == 1


def test_a_way_that_ends_otherwise_when_it_is_gone_is_said_to(authflow: Command) -> None:
    described = ("flows", "explain", "--status", "active", "--kind", "login")
    user = ("--user", "tests.cli.test_flows_explain:Stricter")

    told = authflow(*described, *user)
    [login] = authflow(*described, *user, "--json").data["flows"]

    assert "cost not measured: gone through, it ended otherwise (refused: forbidden)" in told.out
    assert login["paths"][0]["cost"] is None
