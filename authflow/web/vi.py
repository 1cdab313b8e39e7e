"""The renderer of ViUR's admin tools: the envelope of 3.8 and 3.9, in which every step is an action with values.

Where a tool speaks the strings of old (`/admin`, `@vi-admin=true`, or `User.vi_dialect`), the json renderer answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from authflow.errors import AuthflowError
from authflow.fields import FieldError
from authflow.provider import PrimaryProvider, Provider
from authflow.web import entries, html
from authflow.web import json as strings
from authflow.web import vi_structure as bones
from authflow.web.answer import Answer, json_text
from authflow.web.exchange import Exchange
from authflow.web.views import Form, Meaning, View

SELECT = "select_secondfactor_provider"

_DONE = {"add": "addSuccess", "edit": "editSuccess", "trigger/kick": "trigger/kickSuccess"}
"""ViUR's names where they do not end in `_success`."""


def render(x: Exchange, view: View) -> Answer:
    """Answer in the dialect that the tool speaks."""
    if _is_for_a_browser(x, view):
        return html.render(x, view)
    if x.speaks_strings:
        return strings.render(x, view)
    match view.meaning:
        case Meaning.METHODS | Meaning.DATA:
            return Answer.json(view.data, view.status)
        case Meaning.ENTRY | Meaning.ADDED | Meaning.EDITED:
            return _entry(view)
        case Meaning.LIST:
            return _list(view)
        case Meaning.STRUCTURE:
            return _structure(x, view)
        case Meaning.LOGGED_IN:
            return _with_entry(x, view, "login_success")
        case Meaning.LOGGED_OUT:
            return _envelope("logout_success")
        case Meaning.DONE:
            return _done(x, view)
        case Meaning.GO:
            return _envelope("redirect", next_url=x.address(view.next_path))
        case Meaning.OFFER:
            return _offer(x, view)
        case Meaning.CHOICE:
            return _choice(x, view)
        case Meaning.SECOND_FACTOR if x.is_post and _method(x) == SELECT and view.provider is not None:
            return _chosen(x, view.provider)
        case _:
            return _form(x, view)


def _is_for_a_browser(x: Exchange, view: View) -> bool:
    """Whether a tool shows this in a browser: a page with a button that its provider's own script makes.

    As in ViUR, tools open Google's page at their own prefix, or look for `data-client_id` in it.
    """
    provider = view.provider
    if x.method not in ("GET", "HEAD") or view.meaning is not Meaning.FORM or not isinstance(provider, PrimaryProvider):
        return False
    return provider.is_for_tools and bool(provider.page_sources)


def render_error(x: Exchange, error: AuthflowError) -> Answer:
    """Answer an error as ViUR 3.9 does: an object, and the sentence in a header."""
    return strings.render_error(x, error)


def _envelope(
    action: str,
    *,
    values: object = None,
    structure: object = None,
    errors: object = (),
    next_url: str | None = None,
    params: Mapping[str, object] | None = None,
    code: str = "",
    status: int = 200,
) -> Answer:
    body: dict[str, object] = {
        "action": action,
        "values": {} if values is None else values,
        "structure": {} if structure is None else structure,
        "errors": errors,
        "next_url": next_url,
        "params": {} if params is None else params,
    }
    if code:
        body["code"] = code
    return Answer.json(body, status)


_ENTRY_ACTIONS = {Meaning.ENTRY: "view", Meaning.ADDED: "addSuccess", Meaning.EDITED: "editSuccess"}
_REST = '"errors":[],"next_url":null,"params":null}'


def _entry(view: View) -> Answer:
    # Written in pieces: the structure is the same for every entry and is made once.
    structure, action = bones.structure_text(view.form) if view.form else "null", _ENTRY_ACTIONS[view.meaning]
    text = f'{{"action":"{action}","values":{json_text(view.data)},"structure":{structure},{_REST}'
    return Answer.json_text(text, view.status)


def _list(view: View) -> Answer:
    structure, cursor = bones.structure_text(view.form) if view.form else "null", json_text(view.params.get("cursor"))
    rest = '"params":{},"orders":null}'
    text = f'{{"action":"list","skellist":{json_text(view.data)},"cursor":{cursor},"structure":{structure},{rest}'
    return Answer.json_text(text, view.status)


def _structure(x: Exchange, view: View) -> Answer:
    form = view.form or Form("", ())
    values = bones.values(form) if view.data is None else view.data
    action = x.key or x.get("action") or "view"
    return _envelope(f"structure.{action}", values=values, structure=bones.structure(form.fields))


def _with_entry(
    x: Exchange, view: View, action: str, *, next_url: str | None = None, params: Mapping[str, object] | None = None
) -> Answer:
    """Answer with the entry that a change or login was about, where it is told, in the form of `view`."""
    entry = View(Meaning.ENTRY) if view.account is None else entries.entry_view(x, view.account)
    structure = bones.structure(entry.form.fields) if entry.form else None
    return _envelope(action, values=entry.data, structure=structure, next_url=next_url, params=params)


# --- Forms ------------------------------------------------------------------------------------------------------------


def _form(x: Exchange, view: View) -> Answer:
    form = view.form or Form("", ())
    params: dict[str, object] = dict(view.params)
    if form.path:
        params |= {"action_name": form.path.rpartition("/")[2], "action_url": x.address(form.path)}
    if view.flow:
        params["flow"] = view.flow
    if view.provider is not None:
        params["name"] = view.provider.label
    errors = form.errors or _refusals(form, view)
    return _envelope(
        view.action or _action(form, view),
        values=bones.values(form) if view.data is None else view.data,
        structure=bones.structure(form.fields),
        errors=[bones.error(error) for error in errors],
        next_url=x.address(view.next_path) if view.reason == "enrolment_owed" else None,
        params=params,
        code=view.reason,
        # A form with its errors is an answer, not a failure: tools read forms of status 200 alone.
        status=200 if errors else view.status,
    )


def _action(form: Form, view: View) -> str:
    """Return what ViUR calls a form: by the method it is posted to; each step after the first is an `edit`."""
    if not form.path or not (view.provider is None or isinstance(view.provider, PrimaryProvider)):
        return "edit"
    return method_of(form.path)


def _refusals(form: Form, view: View) -> tuple[FieldError, ...]:
    """Return the errors of a refused form. Which of the fields of a first step was wrong is nobody's business."""
    if not view.reason or not form.fields:
        return ()
    fields = form.fields if isinstance(view.provider, PrimaryProvider) else form.fields[-1:]
    message = view.errors[0] if view.errors else ""
    return tuple(FieldError(declared.name, view.reason, message) for declared in fields)


def _method(x: Exchange) -> str:
    return method_of(x.path.removeprefix(x.prefix))


def method_of(path: str) -> str:
    """Return the method's name in a path of ours: `edit` of `/user/edit/<key>`, `login` of `/user/auth_x/login`."""
    parts = path.split("/")[2:]
    if len(parts) > 1 and parts[0].startswith(("auth_", "f2_")):
        return parts[1]
    return "/".join(parts[: 2 if parts[:1] == ["trigger"] else 1])


# --- Choices ----------------------------------------------------------------------------------------------------------


def _offer(x: Exchange, view: View) -> Answer:
    """Answer with the first steps. Where there is but one, it is chosen already."""
    options = {x.address(f"/user/{provider.path}/{provider.action}"): provider.label for provider in view.choices}
    first = next(iter(options), None)
    action = "select_authentication_provider"
    structure = bones.select("provider", "Authentication method", options)
    structure["provider"]["defaultvalue"] = first
    if len(options) == 1:
        return _envelope(f"{action}_success", values={"provider": first}, structure=structure, next_url=first)
    return _envelope(action, values={"provider": first}, structure=structure)


def _choice(x: Exchange, view: View) -> Answer:
    params = {"flow": view.flow} if view.flow else None
    return _envelope(SELECT, values={"provider": None}, structure=_factors(x, view.choices), params=params)


def _chosen(x: Exchange, factor: Provider) -> Answer:
    """Answer where the chosen factor starts, instead of its form: tools go there by themselves."""
    start = _start(x, factor)
    return _envelope(f"{SELECT}_success", values={"provider": start}, structure=_factors(x, (factor,)), next_url=start)


def _factors(x: Exchange, factors: Sequence[Provider]) -> dict[str, dict[str, object]]:
    return bones.select("provider", "Second factor", {_start(x, factor): factor.label for factor in factors})


def _start(x: Exchange, factor: Provider) -> str:
    return x.address(f"/user/{factor.path}/start")


# --- Done -------------------------------------------------------------------------------------------------------------


def _done(x: Exchange, view: View) -> Answer:
    if isinstance(view.data, Mapping) and "action" in view.data:
        data = view.data
        return _envelope(
            data["action"], values=data.get("values"), structure=data.get("structure"), errors=data.get("errors", ())
        )
    if view.data is not None:
        return Answer.json(view.data, view.status)
    codes = view.extra.get("codes")
    params = {"codes": list(codes)} if isinstance(codes, tuple) else None
    if view.account is not None and view.session.issued is not None:
        return _with_entry(x, view, "login_success", params=params)
    method = _method(x)
    if method == "delete":
        return Answer.json("OKAY", view.status)
    action = _DONE.get(method, f"{method}_success")
    target = view.extra.get("next_url")
    next_url = x.address(target) if isinstance(target, str) else None
    return _with_entry(x, view, action, next_url=next_url, params=params)
