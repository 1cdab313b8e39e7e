"""A form of an account as a view: its fields, what is wrong with them, and the status that says so."""

from __future__ import annotations

from collections.abc import Mapping

from authflow.accounts import Invalid
from authflow.fields import Field
from authflow.web.views import Form, Meaning, View


def form_view(
    path: str,
    template: str,
    fields: tuple[Field, ...],
    invalid: Invalid | None = None,
    *,
    values: Mapping[str, str] | None = None,
    extra: Mapping[str, object] | None = None,
    is_ticket: bool = False,
) -> View:
    errors = invalid.errors if invalid else ()
    status = 200
    if errors:
        status = 409 if any(error.code == "name_taken" for error in errors) else 400
    typed = {**(values or {}), **(invalid.values if invalid else {})}
    return View(
        Meaning.FORM,
        template,
        status,
        Form(path, fields, typed, errors),
        reason=errors[0].code if errors else "",
        extra=extra or {},
        is_ticket=is_ticket,
    )
