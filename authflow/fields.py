"""`Field`: one thing a person is asked for. Pages, JSON structures and later OpenAPI are all made from it.

A field says what it accepts; `read` checks a whole submission against a tuple of fields. Nothing that is not declared
gets in, so mass assignment is impossible by construction.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

_NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])", re.ASCII)


class FieldType(StrEnum):
    """How a field is typed and shown."""

    TEXT = "text"
    EMAIL = "email"
    PASSWORD = "password"
    CODE = "code"
    SELECT = "select"
    HIDDEN = "hidden"
    BOOLEAN = "boolean"
    NUMBER = "number"
    LIST = "list"
    DATE = "date"


class Severity(IntEnum):
    """How bad a field's error is, with ViUR's numbers (`ReadFromClientErrorSeverity`)."""

    NOT_SET = 0
    INVALIDATES_OTHER = 1
    EMPTY = 2
    INVALID = 3


@dataclass(frozen=True, slots=True)
class FieldError:
    """Why a field's value is not accepted. `code` is stable, `message` a gettext message id."""

    name: str
    code: str
    message: str
    severity: Severity = Severity.INVALID


@dataclass(frozen=True, slots=True)
class Field:
    """One declared input.

    Attributes:
        name: As it stands on the wire; ViUR's spelling where ViUR has it.
        type: See `FieldType`.
        label: Gettext message id.
        required: Whether an empty value is an error.
        max_length: In characters (code points).
        autocomplete: Token of the HTML standard, section "Autofill": `username`, `current-password`, `one-time-code`.
        options: For `SELECT`, and for a `LIST` of known items: (value, label) pairs.
        help: A further sentence under the field.
        is_readonly: Shown, never accepted.
        inputmode: HTML's `inputmode`, such as `numeric`.
    """

    name: str
    type: FieldType = FieldType.TEXT
    label: str = ""
    required: bool = True
    min_length: int = 0
    max_length: int = 254
    autocomplete: str = ""
    options: tuple[tuple[str, str], ...] = ()
    help: str = ""
    is_readonly: bool = False
    inputmode: str = ""

    @property
    def is_secret(self) -> bool:
        """Whether the value is never sent back, logged or stored as typed."""
        return self.type in (FieldType.PASSWORD, FieldType.CODE)


@dataclass(frozen=True, slots=True)
class Reading:
    """A submission after the check: clean values of the declared fields, and what is wrong."""

    values: Mapping[str, str] = field(repr=False)
    errors: tuple[FieldError, ...]


def read(fields: Sequence[Field], submitted: Mapping[str, str]) -> Reading:
    """Check what was submitted against the declared fields.

    Args:
        fields: The declaration. Read-only ones are passed over.
        submitted: Names to text, already decoded once; anything undeclared is ignored.

    Returns:
        The declared values (passwords exactly as received, other text without surrounding spaces, lists as text with
        commas) and the errors.
    """
    values: dict[str, str] = {}
    errors: list[FieldError] = []
    for declared in fields:
        if declared.is_readonly:
            continue
        raw = submitted.get(declared.name, "")
        value = raw if declared.type is FieldType.PASSWORD else raw.strip(" ")
        if declared.type is FieldType.LIST:
            value = ",".join(items(value))
        error = _check(declared, value)
        if error is not None:
            errors.append(error)
        values[declared.name] = value
    return Reading(values=values, errors=tuple(errors))


def items(value: str) -> tuple[str, ...]:
    """Take the text of a list apart: its items without surrounding spaces, each once. Commas stand between them."""
    return tuple(dict.fromkeys(item for part in value.split(",") if (item := part.strip(" "))))


def plain(declared: Field, value: str) -> str | list[str]:
    """Return a field's text as programs are shown it: a list as a list, a secret not at all."""
    if declared.is_secret:
        return ""
    return list(items(value)) if declared.type is FieldType.LIST else value


def _check(declared: Field, value: str) -> FieldError | None:
    if value == "":
        if declared.required:
            return FieldError(declared.name, "field_empty", "Please fill in this field.", Severity.EMPTY)
        return None
    if declared.type is FieldType.LIST and declared.options:
        # Bounded by its options: each of them may be chosen, however long that gets.
        known = {option for option, _ in declared.options}
        if not known.issuperset(items(value)):
            return FieldError(declared.name, "field_not_an_option", "Please choose one of the options.")
        return None
    if len(value) > declared.max_length:
        return FieldError(declared.name, "field_too_long", "This is too long.")
    if len(value) < declared.min_length:
        return FieldError(declared.name, "field_too_short", "This is too short.")
    if declared.type is not FieldType.PASSWORD and not value.isprintable():
        return FieldError(declared.name, "field_malformed", "This holds characters that are not accepted here.")
    if declared.type is FieldType.NUMBER and not _NUMBER.fullmatch(value):
        return FieldError(declared.name, "field_malformed", "Please enter a number.")
    if declared.type is FieldType.DATE and not _DATE.fullmatch(value):
        return FieldError(declared.name, "field_malformed", "Please enter a date such as 2026-12-31.")
    if declared.type is FieldType.BOOLEAN and value not in ("0", "1", "true", "false", "on"):
        return FieldError(declared.name, "field_malformed", "Please choose yes or no.")
    if declared.type is FieldType.SELECT and value not in {option for option, _ in declared.options}:
        return FieldError(declared.name, "field_not_an_option", "Please choose one of the options.")
    return None
