"""The json renderer: the strings and objects of ViUR 3.0 to 3.3, with a stable `code` in every error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from http import HTTPStatus

from authflow.errors import AuthflowError
from authflow.fields import Field, FieldError, FieldType, plain
from authflow.provider import PrimaryProvider
from authflow.web.answer import Answer, json_text
from authflow.web.exchange import Exchange
from authflow.web.views import Form, Meaning, View

TYPES = {
    FieldType.TEXT: "str",
    FieldType.EMAIL: "str.email",
    FieldType.PASSWORD: "password",
    FieldType.CODE: "str",
    FieldType.SELECT: "select",
    FieldType.HIDDEN: "str",
    FieldType.BOOLEAN: "bool",
    FieldType.NUMBER: "numeric",
    FieldType.LIST: "str",
    FieldType.DATE: "date",
}

_ACTIONS = {
    Meaning.ENTRY: "view",
    Meaning.STRUCTURE: "view",
    Meaning.LIST: "list",
    Meaning.ADDED: "addSuccess",
    Meaning.EDITED: "editSuccess",
}
_END = '"params":null}'
_LISTED = '"action":"list",' + _END


def render(x: Exchange, view: View) -> Answer:
    """Answer with ViUR's strings where it has them, else with its form and view objects."""
    if view.meaning in _ACTIONS:
        structured = structure_text(view.form) if view.form else "null"
        if view.meaning is Meaning.LIST:
            cursor = json_text(view.params.get("cursor"))
            text = f'{{"skellist":{json_text(view.data)},"cursor":{cursor},"structure":{structured},{_LISTED}'
        else:
            action = _ACTIONS[view.meaning]
            text = f'{{"values":{json_text(view.data)},"structure":{structured},"errors":[],"action":"{action}",{_END}'
        return Answer.json_text(text, view.status)
    return Answer.json(_body(x, view), view.status)


def render_error(x: Exchange, error: AuthflowError) -> Answer:
    """Answer an error as an object: ViUR's keys, and the code that programs should read."""
    body: dict[str, object] = {
        "status": error.status,
        "reason": HTTPStatus(error.status).phrase,
        "title": HTTPStatus(error.status).phrase,
        "descr": error.sentence,
        "code": error.code,
    }
    if error.retry_after is not None:
        body["retry_after"] = max(1, round(error.retry_after.total_seconds()))
    answer = Answer.json(body, error.status)
    # ViUR's tools read the reason here too. Our own sentence: nothing that was typed gets into a header.
    answer.headers.append((b"x-viur-error", error.sentence.encode("ascii", "replace")))
    return answer


def _body(x: Exchange, view: View) -> object:
    match view.meaning:
        case Meaning.LOGGED_IN | Meaning.LOGGED_OUT | Meaning.DONE:
            return view.data if view.data is not None else "OKAY"
        case Meaning.OFFER:
            return [provider.method_name for provider in view.choices]
        case Meaning.METHODS | Meaning.DATA:
            return view.data
        case Meaning.REFUSED if isinstance(view.provider, PrimaryProvider) and view.status == 200:
            return "FAILURE"
        case Meaning.SECOND_FACTOR if x.is_post and view.provider is not None and not view.reason:
            return view.provider.method_name
        case Meaning.CHOICE:
            return [
                {"name": factor.label, "start_url": x.address(f"/user/{factor.path}/start")} for factor in view.choices
            ]
        case Meaning.GO:
            return {"action": "redirect", "next_url": x.address(view.next_path)}
        case _:
            return _form(x, view)


def _form(x: Exchange, view: View) -> dict[str, object]:
    """Return a form object: `action` edit, values, structure, errors."""
    form = view.form or Form("", ())
    errors: Sequence[FieldError] = form.errors
    if view.reason and form.fields and not errors:
        message = view.errors[0] if view.errors else ""
        errors = (FieldError(form.fields[-1].name, view.reason, message),)
    params: dict[str, object] = dict(view.params)
    if form.path:
        params["action_url"] = x.address(form.path)
    if view.flow:
        params["flow"] = view.flow
    if view.provider is not None:
        params["name"] = view.provider.label
    if view.reason == "enrolment_owed":
        params["next_url"] = x.address(view.next_path)
    return {
        "action": view.action or "edit",
        "values": {f.name: plain(f, form.values.get(f.name, "")) for f in form.fields}
        if view.data is None
        else view.data,
        "structure": structure(form.fields),
        "errors": [field_error(error) for error in errors],
        "params": params or None,
        "code": view.reason or None,
    }


def field_error(error: FieldError) -> dict[str, object]:
    return {
        "severity": int(error.severity),
        "fieldPath": [error.name],
        "errorMessage": error.message,
        "invalidatedFields": None,
        "code": error.code,
    }


def structure(fields: Sequence[Field]) -> list[list[object]]:
    """Return fields as ViUR's ordered pairs of name and description."""
    return [[declared.name, _described(declared)] for declared in fields]


@lru_cache(maxsize=64)
def structure_text(form: Form) -> str:
    """Return a form's structure as JSON text: entries of one kind have the same form each time."""
    return json_text(structure(form.fields))


def _described(declared: Field) -> Mapping[str, object]:
    described: dict[str, object] = {
        "descr": declared.label,
        "type": "select" if declared.options else TYPES[declared.type],
        "required": declared.required,
        "params": {},
        "visible": declared.type is not FieldType.HIDDEN,
        "readonly": declared.is_readonly,
        "unique": False,
        "languages": None,
        "emptyValue": [] if declared.type is FieldType.LIST else "",
        "multiple": declared.type is FieldType.LIST,
    }
    if declared.max_length and declared.type not in (FieldType.SELECT, FieldType.BOOLEAN):
        described["maxlength"] = declared.max_length
    if declared.options:
        described["values"] = [list(option) for option in declared.options]
    return described
