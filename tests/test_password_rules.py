"""What a new password must be."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import authflow
from authflow.password_rules import check_new_password, common_passwords

GOOD = "correct horse battery staple"


@pytest.mark.parametrize("password", [GOOD, "zq7-VHm!", "еще один пароль", "пароль🔑🔑", "        ..zw", "k" * 1024])
def test_a_password_without_any_composition_is_accepted(password: str) -> None:
    assert check_new_password(password, name="anna@example.com") is None


@pytest.mark.parametrize(
    ("password", "reason"),
    [
        ("", "password_too_short"),
        ("zq7-VHm", "password_too_short"),
        ("🔑🔒🗝🔐🔓🔏🛡", "password_too_short"),
        ("k" * 1025, "password_too_long"),
        ("é" * 513, "password_too_long"),
        (GOOD + "\0", "password_malformed"),
        (GOOD + "\ud800", "password_malformed"),
        ("\udfff", "password_malformed"),
        ("password", "password_common"),
        ("PassWord1", "password_common"),
        ("qwertz123", "password_common"),
        ("iloveyou", "password_common"),
    ],
)
def test_a_password_is_refused_with_a_stable_reason(password: str, reason: str) -> None:
    assert check_new_password(password) == reason


def test_the_length_is_counted_in_code_points() -> None:
    assert check_new_password("🔑🔒🗝🔐🔓🔏🛡🎲") is None
    assert check_new_password("é" * 512) is None


def test_a_site_can_ask_for_more_characters() -> None:
    assert check_new_password("zq7-VHm!zq7-VH", min_length=15) == "password_too_short"
    assert check_new_password("zq7-VHm!zq7-VHm", min_length=15) is None


@pytest.mark.parametrize(
    "password",
    [
        "annabella@example.org",
        "ANNABELLA@Example.org",
        "annabella",
        "Annabella",
        "allebanna",
        "gro.elpmaxe@allebanna",
        "annabella1",
        "annabella!23",
        "1annabella!",
        "annabella@example.org1!",
    ],
)
def test_a_password_is_not_the_name(password: str) -> None:
    assert check_new_password(password, name="annabella@example.org") == "password_is_name"


@pytest.mark.parametrize("password", ["annabella1234", "annabellaxyz", "annabella zq7-VHm", "example.org/zq7"])
def test_a_password_may_contain_the_name(password: str) -> None:
    assert check_new_password(password, name="annabella@example.org") is None


@pytest.mark.parametrize("name", ["", "@", "@example.org", "a@example.org", "  "])
def test_an_empty_or_short_name_forbids_nothing(name: str) -> None:
    assert check_new_password("zq7-VHm!", name=name) is None


@pytest.mark.parametrize("password", ["wonderland", "Wonderland1!", "dnalrednow"])
def test_a_word_of_the_site_counts_as_common(password: str) -> None:
    assert check_new_password(password, context_words=["Wonderland"]) == "password_common"
    assert check_new_password(password + "-zq7") is None


@given(st.text(), st.text(max_size=20))
def test_any_text_gets_an_answer(password: str, name: str) -> None:
    assert check_new_password(password, name=name, context_words=[name]) in {
        None,
        "password_malformed",
        "password_too_short",
        "password_too_long",
        "password_is_name",
        "password_common",
    }


def test_the_common_list_holds_more_than_the_3000_most_frequent_that_are_long_enough() -> None:
    path = Path(authflow.__file__).parent / "data" / "common_passwords.txt.gz"

    lines = gzip.decompress(path.read_bytes()).decode().splitlines()

    assert len(lines) == len(set(lines)) == len(common_passwords()) > 15_000
    assert all(len(line) >= 8 and line == line.lower() for line in lines)
    assert lines[:2] == ["123456789", "password"]
    assert all(check_new_password(line) == "password_common" for line in lines[:3000])
