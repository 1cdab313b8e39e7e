"""Declared inputs: only what is declared gets in, and each error says which field and why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authflow.fields import Field, FieldType, Severity, read

NAME = Field("name", max_length=10, min_length=2)
PASSWORD = Field("password", FieldType.PASSWORD, max_length=10)
CODE = Field("code", FieldType.CODE, required=False)
COLOUR = Field("colour", FieldType.SELECT, options=(("r", "Red"), ("g", "Green")), required=False)


def codes(*fields: Field, **submitted: str) -> list[tuple[str, str, Severity]]:
    return [(error.name, error.code, error.severity) for error in read(fields, submitted).errors]


@pytest.mark.parametrize(
    ("field", "value", "code", "severity"),
    [
        (NAME, "", "field_empty", Severity.EMPTY),
        (NAME, "   ", "field_empty", Severity.EMPTY),
        (NAME, "x", "field_too_short", Severity.INVALID),
        (NAME, "x" * 11, "field_too_long", Severity.INVALID),
        (NAME, "a\nb", "field_malformed", Severity.INVALID),
        (NAME, "a\0b", "field_malformed", Severity.INVALID),
        (NAME, "a\u202eb", "field_malformed", Severity.INVALID),
        (NAME, "a\ud800", "field_malformed", Severity.INVALID),
        (NAME, "a\u2028b", "field_malformed", Severity.INVALID),
        (PASSWORD, "", "field_empty", Severity.EMPTY),
        (PASSWORD, "x" * 11, "field_too_long", Severity.INVALID),
        (COLOUR, "b", "field_not_an_option", Severity.INVALID),
        (COLOUR, "Red", "field_not_an_option", Severity.INVALID),
    ],
)
def test_a_bad_value_is_named_with_its_reason(field: Field, value: str, code: str, severity: Severity) -> None:
    assert codes(field, **{field.name: value}) == [(field.name, code, severity)]


def test_good_values_come_out_trimmed_and_passwords_as_typed() -> None:
    reading = read((NAME, PASSWORD, COLOUR), {"name": "  Ada ", "password": "  x ", "colour": "r"})

    assert reading.errors == ()
    assert reading.values == {"name": "Ada", "password": "  x ", "colour": "r"}


def test_only_ascii_spaces_are_trimmed() -> None:
    assert codes(NAME, name="\u00a0Ada") == [("name", "field_malformed", Severity.INVALID)]


def test_what_is_missing_is_empty_and_may_be_left_out_where_it_is_not_required() -> None:
    reading = read((NAME, CODE), {})

    assert [error.name for error in reading.errors] == ["name"]
    assert reading.values == {"name": "", "code": ""}


def test_every_field_is_checked_and_each_error_told() -> None:
    assert [name for name, _, _ in codes(NAME, PASSWORD, COLOUR, colour="b")] == ["name", "password", "colour"]


@given(st.dictionaries(st.text(), st.text()))
def test_nothing_undeclared_gets_in(submitted: dict[str, str]) -> None:
    shown = Field("status", is_readonly=True)

    values = read((NAME, PASSWORD, shown), submitted | {"status": "10", "access": "root"}).values

    assert set(values) == {"name", "password"}


@given(st.text())
def test_what_is_accepted_fits_the_declaration(value: str) -> None:
    reading = read((NAME,), {"name": value})

    if not reading.errors:
        clean = reading.values["name"]
        assert 2 <= len(clean) <= 10
        assert clean.isprintable()
        assert clean == clean.strip(" ")


def test_passwords_and_codes_are_secret_and_others_are_not() -> None:
    assert {of for of in FieldType if Field("x", of).is_secret} == {FieldType.PASSWORD, FieldType.CODE}


def test_repr_shows_nothing_that_was_typed() -> None:
    assert "canary" not in repr(read((NAME, PASSWORD), {"name": "canary", "password": "canary"}))


def test_severities_have_viurs_numbers() -> None:
    assert [int(severity) for severity in Severity] == [0, 1, 2, 3]
