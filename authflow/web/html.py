"""The html renderer: Jinja pages, redirects after posts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from secrets import token_urlsafe
from typing import Any
from urllib.parse import quote

from authflow.errors import AuthflowError, DefinitionChanged, ReauthenticationRequired
from authflow.fields import Field, FieldError
from authflow.web.answer import Answer
from authflow.web.exchange import Exchange
from authflow.web.headers import Kind
from authflow.web.static_files import PREFIX
from authflow.web.views import Form, Meaning, View

STYLESHEET = PREFIX + "authflow.css"


@dataclass(frozen=True, slots=True)
class FieldShown:
    """A field with its value and errors, as `templates/forms.html` shows it."""

    declared: Field
    value: str
    errors: Sequence[str]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.declared, name)


@dataclass(frozen=True, slots=True)
class FormShown:
    action: str
    fields: Sequence[FieldShown]


def render(x: Exchange, view: View) -> Answer:
    """Answer with a page, or go on to the next one."""
    if view.meaning in (Meaning.DATA, Meaning.METHODS, Meaning.ENTRY) and not view.template:
        return Answer.json(view.data, view.status)
    if view.next_path:
        return Answer.redirect(_address(x, view.next_path))
    policy = x.edge.page_policies.get(view.provider.name) if view.provider else None
    nonce = token_urlsafe(16) if policy else ""
    page = x.edge.app.renderer.page(view.template, {**context(x, view), "csp_nonce": nonce})
    answer = Answer.html(page, view.status, Kind.TICKET if view.is_ticket else Kind.PAGE)
    if policy is not None:
        answer.headers += policy.headers(nonce)
    return answer


def render_error(x: Exchange, error: AuthflowError) -> Answer:
    """Answer an error with a page that says what to do next."""
    if error.status == 401 and not x.is_post:
        return Answer.redirect(_address(x, "/user/login" + _next(x)))
    if isinstance(error, ReauthenticationRequired):
        return Answer.redirect(_address(x, "/user/login?reauthenticate=1" + _next(x, "&")))
    wait = None if error.retry_after is None else max(1, round(error.retry_after.total_seconds()))
    extra = {"status": error.status, "code": error.code, "sentence": error.sentence, "retry_after": wait, "href": ""}
    if isinstance(error, DefinitionChanged):
        extra["href"] = "/user/login" + (f"?next={quote(error.return_to)}" if error.return_to else "")
    page = x.edge.app.renderer.page("error.html", context(x, View(Meaning.FORM, "error.html", extra=extra)))
    return Answer.html(page, error.status)


def context(x: Exchange, view: View) -> dict[str, object]:
    """Return what every page may use."""
    root = x.scope.get("root_path", "")

    def url(path: str) -> str:
        return f"{root}{path}"

    # Whoever has just logged out is nobody on the page that says so.
    account = None if view.session.is_ended else x.known_account
    return {
        "site_name": x.edge.user.site_name,
        "url": url,
        "stylesheet": url(STYLESHEET),
        "account": account,
        "lang": "",
        "skey": x.skey(),
        "flow": view.flow,
        "errors": list(view.errors),
        "notices": list(view.notices),
        "form": None if view.form is None else shown(view.form, url),
        "params": dict(view.params),
        **{name: _with_root(value, url) for name, value in view.extra.items()},
    }


def shown(form: Form, url: Any) -> FormShown:
    """Return a form as the templates take it. Secret fields are never filled."""
    by_name: dict[str, list[FieldError]] = {}
    for error in form.errors:
        by_name.setdefault(error.name, []).append(error)
    fields = [
        FieldShown(
            declared,
            "" if declared.is_secret else form.values.get(declared.name, ""),
            [error.message for error in by_name.get(declared.name, ())],
        )
        for declared in form.fields
    ]
    return FormShown(url(form.path), fields)


_PATHS = frozenset({"href", "recover", "register", "cancel_url", "next_url", "add_href", "remove_href"})


def _with_root(value: object, url: Any, name: str = "") -> object:
    """Put the mount point before the paths within a page's values, and forms into the shape that templates take."""
    if isinstance(value, Form):
        return shown(value, url)
    if isinstance(value, Mapping):
        return {key: _with_root(item, url, key) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_root(item, url, name) for item in value]
    if isinstance(value, str) and value.startswith("/user/"):
        return url(value)
    return value


def _address(x: Exchange, path: str) -> str:
    return path if "://" in path else f"{x.scope.get('root_path', '')}{path}"


def _next(x: Exchange, joint: str = "?") -> str:
    """Return the query that brings the person back here after the login; only pages are worth coming back to."""
    path = x.path
    if path in ("/", "/user", "/user/view/self", "/user/logout"):
        return ""
    return f"{joint}next={quote(path, safe='/')}"
