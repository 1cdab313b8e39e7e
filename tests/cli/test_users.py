"""`authflow users`: what it says, and how it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Command

NAME = "ada@example.org"
PASSWORD = "correct horse battery"
SECRET = "3132333435363738393031323334353637383930"


def test_an_account_is_made_and_found(authflow: Command) -> None:
    made = authflow("users", "create", NAME, "--active", "--admin", "--password", PASSWORD)

    shown = authflow("users", "show", NAME, "--json").data

    assert (made.code, made.out, made.err) == (0, f"created {NAME} (active)\n", "")
    assert (shown["status"], shown["access"], shown["logins"]) == (10, ["root"], 0)


def test_without_a_password_it_says_how_to_get_one(authflow: Command) -> None:
    made = authflow("users", "create", NAME)

    assert made.code == 0
    assert f"authflow users setup-link {NAME}" in made.err


def test_a_password_is_read_from_standard_input_as_it_is(authflow: Command) -> None:
    made = authflow("users", "create", NAME, "--password-stdin", "--json", typed=" spaces belong to it \n")

    assert made.code == 0
    assert made.data["name"] == NAME


def test_no_password_is_ever_said_back(authflow: Command) -> None:
    answers = [
        authflow("users", "create", NAME, "--password", PASSWORD),
        authflow("users", "set-password", NAME, "--password", "password123"),
        authflow("users", "create", "bob", "--password", "x" * 2000),
    ]

    for answer in answers:
        assert PASSWORD not in answer.out + answer.err
        assert "password123" not in answer.out + answer.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("users", "create", NAME), "exists already"),
        (("users", "create", ""), "name: empty"),
        (("users", "create", "bob", "--password", "short"), "at least 8 characters"),
        (("users", "create", "bob", "--role", "emperor"), "emperor"),
        (("users", "create", "bob", "--email", "nonsense"), "mail address"),
        (("users", "create", "bob", "--password", "x", "--password-stdin"), "exclude each other"),
        (("users", "create"), "Missing argument"),
        (("users", "show", "nobody"), "no account named 'nobody'"),
        (("users", "activate", "nobody"), "no account named"),
        (("users", "deactivate", "nobody"), "no account named"),
        (("users", "delete", "nobody"), "no account named"),
        (("users", "setup-link", "nobody"), "no account named"),
        (("users", "logout", "nobody"), "no account named"),
        (("users", "factors", "nobody"), "no account named"),
        (("users", "factors", NAME, "--remove", "nonsense"), "has no factor 'nonsense'"),
        (("users", "identities", "nobody"), "no account named"),
        (("users", "identities", NAME, "--remove", "google_account"), "has no identity of 'google_account'"),
        (("users", "set-password", NAME), "--password-stdin"),
        (("users", "set-password", "nobody", "--password", PASSWORD), "no account named"),
        (("users", "add-token", NAME, "--serial", "1"), "--secret-stdin"),
        (("users", "add-token", NAME, "--serial", "1", "--secret-stdin"), "secret_hex"),
        (("users", "list", "--limit", "0"), "--limit"),
        (("users", "list", "--cursor", "nonsense"), "cursor"),
        (("users", "edit", "nobody", "--firstname", "A"), "no account named"),
        (("users", "edit", NAME, "--role", "emperor"), "no role emperor"),
        (("users", "edit", NAME, "--access", "fly"), "no right fly"),
        (("users", "edit", NAME, "--status", "happy"), "--status"),
        (("users", "edit", NAME, "--email", "nonsense"), "mail address"),
        (("users", "edit", NAME, "--name", ""), "name: empty"),
        (("users", "edit", NAME, "--field", "shoe=43"), "no field shoe"),
        (("users", "edit", NAME, "--field", "shoe"), "NAME=VALUE"),
        (("users", "edit", NAME, "--firstname", "x" * 101), "too long"),
        (("users", "edit", NAME, "--role", "user", "--no-roles"), "exclude each other"),
        (("users", "edit", "bob", "--name", NAME), "exists already"),
        (("users", "nonsense"), "No such command"),
    ],
)
def test_what_cannot_be_carried_out_is_one_line_and_exit_code_2(
    authflow: Command, arguments: tuple[str, ...], says: str
) -> None:
    authflow("users", "create", NAME)
    if arguments[:3] == ("users", "edit", "bob"):
        authflow("users", "create", "bob")

    answer = authflow(*arguments)

    assert (answer.code, answer.out) == (2, "")
    assert answer.err.count("\n") == 1
    assert answer.err.startswith("authflow: ")
    assert says in answer.err


def test_accounts_are_listed_page_by_page(authflow: Command) -> None:
    for name in ("carol", "ada", "bob"):
        authflow("users", "create", name)

    first = authflow("users", "list", "--limit", "2", "--json").data
    second = authflow("users", "list", "--limit", "2", "--cursor", first["cursor"], "--json").data
    text = authflow("users", "list", "--limit", "2")

    assert [a["name"] for a in first["accounts"] + second["accounts"]] == ["ada", "bob", "carol"]
    assert second["cursor"] is None
    assert [line.split()[0] for line in text.out.splitlines()] == ["NAME", "ada", "bob"]
    assert first["cursor"] in text.err


def test_an_account_is_opened_shut_and_deleted(authflow: Command) -> None:
    authflow("users", "create", NAME)

    opened = authflow("users", "activate", NAME, "--json").data
    shut = authflow("users", "deactivate", NAME, "--json").data
    authflow("users", "delete", NAME)

    assert (opened["status"], shut["status"]) == (10, 5)
    assert authflow("users", "show", NAME).code == 2


def test_an_account_is_edited(authflow: Command) -> None:
    authflow("users", "create", NAME, "--active", "--password", PASSWORD)
    options = (
        "--role",
        "editor",
        "--role",
        "custom",
        "--access",
        "user-delete",
        "--firstname",
        "Ada",
        "--status",
        "disabled",
    )

    edited = authflow("users", "edit", NAME, *options, "--field", "lastname=Lovelace", "--json").data
    renamed = authflow(
        "users", "edit", NAME, "--name", "countess@example.org", "--status", "10", "--no-roles", "--json"
    ).data
    cleared = authflow("users", "edit", "countess@example.org", "--no-access", "--email", "")

    assert (edited["roles"], edited["access"], edited["status"]) == (["editor", "custom"], ["user-delete"], 5)
    assert edited["profile"] == {"firstname": "Ada", "lastname": "Lovelace"}
    assert (renamed["name"], renamed["email"], renamed["status"]) == (
        "countess@example.org",
        "countess@example.org",
        10,
    )
    assert (renamed["id"], renamed["roles"], renamed["access"]) == (edited["id"], [], ["user-delete"])
    assert cleared.out == "countess@example.org is as you said\n"
    shown = authflow("users", "show", "countess@example.org", "--json").data
    assert (shown["email"], shown["access"]) == (None, [])
    assert authflow("users", "show", NAME).code == 2


def test_an_operator_is_told_where_rights_do_not_count(authflow: Command) -> None:
    authflow("users", "create", NAME, "--role", "user")

    answer = authflow("users", "edit", NAME, "--access", "user-view")

    assert answer.code == 0
    assert "custom" in answer.err


def test_an_admin_with_roles_stays_an_admin(authflow: Command) -> None:
    made = authflow("users", "create", NAME, "--admin", "--role", "editor", "--json").data

    assert (made["access"], made["roles"]) == (["root"], ["editor", "custom"])


def test_accounts_are_listed_by_how_their_names_begin(authflow: Command) -> None:
    for name in ("carol", "ada", "adam"):
        authflow("users", "create", name)

    assert [a["name"] for a in authflow("users", "list", "--search", "AD", "--json").data["accounts"]] == [
        "ada",
        "adam",
    ]


def test_a_set_up_link_is_all_that_is_printed(authflow: Command) -> None:
    authflow("users", "create", NAME)

    answer = authflow("users", "setup-link", NAME)

    assert answer.out.startswith("http://127.0.0.1:8000/user/auth_userpassword/setup?setup_key=")
    assert answer.out.count("\n") == 1


def test_a_token_is_handed_out_listed_and_taken_away(authflow: Command) -> None:
    authflow("users", "create", NAME)

    given = authflow("users", "add-token", NAME, "--serial", "GA-0815", "--secret-stdin", typed=SECRET + "\n")
    listed = authflow("users", "factors", NAME, "--json").data
    taken = authflow("users", "factors", NAME, "--remove", "time_based_otp")

    assert given.code == taken.code == 0
    assert SECRET not in given.out + given.err
    assert [(factor["name"], factor["is_usable"]) for factor in listed] == [("time_based_otp", True)]
    assert authflow("users", "factors", NAME, "--json").data == []


def test_the_owners_mail_waits_for_the_worker(authflow: Command, tmp_path: Path) -> None:
    authflow("users", "create", NAME)
    authflow("users", "add-token", NAME, "--serial", "GA-0815", "--secret-stdin", typed=SECRET)

    done = authflow("tasks", "run", "--json").data

    assert done == {"done": 1}
    assert len(list((tmp_path / "mail").iterdir())) == 1
