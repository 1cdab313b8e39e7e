"""Fields as ViUR 3.9 describes them to its tools: `structure`, `values` and `errors` of its envelope."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

from authflow.fields import Field, FieldError, FieldType, plain
from authflow.web.answer import json_text
from authflow.web.json import TYPES
from authflow.web.views import Form

_EMPTY: Mapping[FieldType, object] = {
    FieldType.CODE: None,
    FieldType.SELECT: None,
    FieldType.BOOLEAN: False,
    FieldType.NUMBER: 0,
    FieldType.DATE: None,
}
_TEXTS = frozenset({FieldType.TEXT, FieldType.EMAIL, FieldType.CODE, FieldType.HIDDEN})


def structure(fields: Sequence[Field]) -> dict[str, dict[str, object]]:
    """Return fields by name, with the keys that a bone of ViUR 3.9 has."""
    return {declared.name: _described(declared) for declared in fields}


@lru_cache(maxsize=64)
def structure_text(form: Form) -> str:
    """Return a form's structure as JSON text: entries of one kind have the same form each time."""
    return json_text(structure(form.fields))


def values(form: Form) -> dict[str, object]:
    """Return what stands in a form's fields; secrets never do."""
    return {
        declared.name: plain(declared, form.values.get(declared.name, "")) or _empty(declared)
        for declared in form.fields
    }


def _empty(declared: Field) -> object:
    return [] if declared.type is FieldType.LIST else _EMPTY.get(declared.type, "")


def error(found: FieldError) -> dict[str, object]:
    """Return why a field's value is not accepted: ViUR's `ReadFromClientError`, and our stable code."""
    return {
        "severity": int(found.severity),
        "error": found.severity.name.replace("_", ""),
        "errorMessage": found.message,
        "fieldPath": [found.name],
        "invalidatedFields": None,
        "code": found.code,
    }


def select(name: str, label: str, options: Mapping[str, str]) -> dict[str, dict[str, object]]:
    """Return the structure of one choice, whose options need not be known when it is declared."""
    return structure((Field(name, FieldType.SELECT, label, options=tuple(options.items())),))


def _described(declared: Field) -> dict[str, object]:
    is_list = declared.type is FieldType.LIST
    is_choice = declared.type is FieldType.SELECT or (is_list and bool(declared.options))
    described: dict[str, object] = {
        "clone_behavior": {"strategy": "copy_value"},
        "descr": declared.label,
        "emptyvalue": _EMPTY.get(declared.type, ""),
        "indexed": True,
        "languages": None,
        "multiple": is_list,
        "params": {"tooltip": declared.help} if declared.help else {},
        "readonly": declared.is_readonly,
        "required": declared.required and not declared.is_readonly,
        "tags": None,
        "type": "select" if is_choice else TYPES[declared.type],
        "unique": False,
        "visible": declared.type is not FieldType.HIDDEN,
    }
    if is_choice:
        described["values"] = dict(declared.options)
    elif declared.type in _TEXTS:
        described |= {"maxlength": declared.max_length, "minlength": declared.min_length or None}
    elif declared.type is FieldType.PASSWORD:
        # ViUR's rules are patterns that the tool tries; ours are not of that kind, and are told by the answer.
        described |= {"tests": [], "test_threshold": 0}
    elif declared.type is FieldType.NUMBER:
        described |= {"min": None, "max": None, "precision": 0, "decimal": False}
    elif declared.type is FieldType.DATE:
        described |= {"date": True, "time": False, "naive": True}
    return described
