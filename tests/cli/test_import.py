"""`authflow users import`: what it says, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from authflow.cli.main import run
from tests.cli.conftest import Command
from tests.importing.kit import ADA, FIRST_ERA, LATER, LATER_ERA, OTP_KEY, PASSWORD, SALT, SEED, entity, lines

EVERYBODY = (SEED, entity(LATER, name="bob@example.org"))


@pytest.fixture
def export(tmp_path: Path):
    def write(*entities: dict | str) -> str:
        file = tmp_path / "users.jsonl"
        file.write_bytes(lines(*entities).getvalue())
        return str(file)

    return write


def test_accounts_are_brought_along(authflow: Command, export) -> None:
    done = authflow("users", "import", export(*EVERYBODY))

    listed = authflow("users", "list", "--json").data["accounts"]

    assert (done.code, done.out) == (0, "2 taken in, 0 here already, 0 refused\n")
    assert [account["name"] for account in listed] == ["Ada@example.org", "bob@example.org"]
    assert authflow("users", "show", ADA, "--json").data["last_login_at"] == "2024-05-01T10:00:00+00:00"
    assert authflow("users", "factors", "bob@example.org", "--json").data[0]["is_usable"]


def test_a_run_that_was_stopped_can_be_repeated(authflow: Command, export) -> None:
    authflow("users", "import", export(SEED))

    done = authflow("users", "import", export(*EVERYBODY))

    assert (done.code, done.out) == (0, "1 taken in, 1 here already, 0 refused\n")


def test_refused_lines_are_named_and_the_code_is_1(authflow: Command, export) -> None:
    authflow("users", "create", "eve@example.org")

    done = authflow("users", "import", export(SEED, "nonsense", entity(name="eve@example.org"), SEED))

    assert (done.code, done.out) == (1, "1 taken in, 0 here already, 3 refused\n")
    assert "line 2: not strict JSON\n" in done.err
    assert "line 3 (eve@example.org): name: an account of this name exists already\n" in done.err
    assert "line 4 (Ada@example.org): name: the same as in line 1\n" in done.err


def test_a_dry_run_writes_nothing(authflow: Command, export) -> None:
    authflow("users", "create", "eve@example.org")

    done = authflow("users", "import", export(*EVERYBODY), "--dry-run")

    assert (done.code, done.out) == (0, "2 would be taken in, 0 here already, 0 refused\n")
    assert len(authflow("users", "list", "--json").data["accounts"]) == 1


def test_a_dry_run_makes_no_store(authflow: Command, export, tmp_path: Path) -> None:
    done = authflow("users", "import", export(SEED), "--dry-run")

    assert done.code == 2
    assert "there is no store" in done.err
    assert not (tmp_path / "store.db").exists()


def test_programs_are_told_in_json(authflow: Command, export) -> None:
    done = authflow("users", "import", export(*EVERYBODY, entity(name="c", access=["news-edit"])), "--json")

    assert done.code == 1
    assert done.err == ""
    assert done.data == {
        "dry_run": False,
        "taken_in": 2,
        "already_here": 0,
        "refused": [
            {
                "line": 3,
                "name": "c",
                "code": "bad_input",
                "reason": "access: there is no right or role 'news-edit' here",
            }
        ],
        "kept_hashes": 1,
        "not_taken_along": {"gaeadmin": 2, "sync": 1},
        "rights_left_out": {},
    }


def test_unknown_rights_are_left_out_when_asked(authflow: Command, export) -> None:
    done = authflow("users", "import", export(entity(access=["user-view", "news-edit"])), "--drop-unknown-rights")

    assert done.code == 0
    assert "rights left out: 'news-edit' (1)" in done.err
    assert authflow("users", "show", ADA, "--json").data["access"] == ["user-view"]


def test_accounts_come_from_standard_input_too(authflow: Command, monkeypatch, capsys) -> None:
    class Piped:
        buffer = lines(SEED)

    monkeypatch.setattr("sys.stdin", Piped())

    code = run(["users", "import", "-"])

    assert (code, capsys.readouterr().out) == (0, "1 taken in, 0 here already, 0 refused\n")


@pytest.mark.parametrize("arguments", [(), ("nowhere.jsonl",), (".",), ("a", "b")])
def test_what_is_no_file_is_one_line_and_exit_code_2(authflow: Command, arguments: tuple[str, ...]) -> None:
    answer = authflow("users", "import", *arguments)

    assert (answer.code, answer.out) == (2, "")
    assert answer.err.count("\n") == 1
    assert answer.err.startswith("authflow: ")


def test_a_low_cost_of_hashes_is_warned_of_where_it_tells_accounts_apart(
    authflow: Command, export, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned = authflow("users", "import", export(*EVERYBODY))
    monkeypatch.setenv("AUTHFLOW_BCRYPT_ROUNDS", "12")

    fine = authflow("users", "import", export(entity(LATER, name="c@example.org", uid="5")))

    assert "AUTHFLOW_BCRYPT_ROUNDS" in warned.err
    assert "AUTHFLOW_BCRYPT_ROUNDS" not in fine.err


def test_no_secret_is_said_logged_or_stored_as_it_was(
    authflow: Command, export, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    broken = [
        entity(name=f"p{n}", password={"pwhash": pwhash, "salt": SALT}, otpid="x", otpkey=key)
        for n, (pwhash, key) in enumerate([(FIRST_ERA + "0", OTP_KEY), (FIRST_ERA, OTP_KEY + "0"), ("zz", OTP_KEY)])
    ]

    answers = [
        authflow("users", "import", export(*EVERYBODY, *broken, json.dumps(SEED) + "}"), *more)
        for more in ((), ("--json",), ("--drop-unknown-rights",))
    ]

    said = "".join(answer.out + answer.err for answer in answers) + caplog.text
    stored = b"".join(file.read_bytes() for file in tmp_path.glob("store.db*"))
    for secret in (FIRST_ERA[:20], LATER_ERA[:20], OTP_KEY, PASSWORD, SALT):
        assert secret not in said
    for secret in (FIRST_ERA[:20], OTP_KEY):
        assert secret.encode() not in stored
    assert bytes.fromhex(OTP_KEY) not in stored
    assert "account_imported" in caplog.text


def test_nothing_in_a_name_steers_the_terminal(authflow: Command, export) -> None:
    done = authflow("users", "import", export(entity(name="a\x1b[31m@example.org"), entity(name="b", status="\x1b[0m")))

    assert done.code == 1
    assert "\x1b" not in done.out + done.err


def test_unknown_fields_are_told_as_quoted_text(authflow: Command, export) -> None:
    done = authflow("users", "import", export({**SEED, "a\x1b[31m\nb": 1}))

    assert "\x1b" not in done.err
    assert "'a\\x1b[31m\\nb' (1)" in done.err
