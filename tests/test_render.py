"""Every page and mail renders, escapes what it shows, and is fit for strict headers and for screen readers."""

from __future__ import annotations

import gettext
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from authflow.errors import ConfigurationError
from authflow.fields import Field, FieldType
from authflow.render import MailText, Renderer, RenderError, template_dir

Context = dict[str, Any]

# --- Samples: what the edge hands to the pages ------------------------------------------------------------------------


def asked(declared: Field, value: str = "", *errors: str) -> SimpleNamespace:
    """Make what a page sees of a field."""
    return SimpleNamespace(
        **{name: getattr(declared, name) for name in Field.__slots__} | {"value": value, "errors": list(errors)}
    )


def form(action: str, *fields: SimpleNamespace) -> SimpleNamespace:
    return SimpleNamespace(action=action, fields=list(fields))


NAME = Field("name", FieldType.EMAIL, "E-mail address", autocomplete="username")
PASSWORD = Field("password", FieldType.PASSWORD, "Password", max_length=1024, autocomplete="current-password")
NEW_PASSWORD = Field(
    "password", FieldType.PASSWORD, "New password", True, 8, 1024, "new-password", help="At least 8 characters."
)
CODE = Field("otptoken", FieldType.CODE, "Code", max_length=32, autocomplete="one-time-code", inputmode="numeric")
KEY = Field("recovery_key", FieldType.CODE, "Code from the mail", max_length=128, autocomplete="one-time-code")
TOKEN = Field("skey", FieldType.HIDDEN, "")
DETAILS = (
    asked(Field("key", label="Account number", is_readonly=True), "4711"),
    asked(Field("firstname", label="First name", required=False, autocomplete="given-name"), "Ada"),
    asked(Field("birthday", FieldType.DATE, "Birthday", required=False), "1815-12-10", "Please check the date."),
    asked(Field("size", FieldType.NUMBER, "Shoe size", required=False, help="European sizes."), "38"),
    asked(Field("language", FieldType.SELECT, "Language", options=(("de", "German"), ("en", "English"))), "en"),
    asked(Field("colour", FieldType.SELECT, "Colour", options=(("r", "Red"),)), "", "Please choose one of these."),
    asked(Field("hints", FieldType.LIST, "Hints", required=False), "one, two"),
    asked(Field("news", FieldType.BOOLEAN, "Send me news", required=False, help="Once a month."), "1"),
    asked(Field("terms", FieldType.BOOLEAN, "I accept the terms"), "", "Please accept the terms."),
)

EMPTY_PNG = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)

MINIMAL: Context = {
    "site_name": "",
    "url": lambda path: path,
    "stylesheet": "/user/static/authflow.css",
    "account": None,
    "lang": "",
    "skey": "a-skey",
    "flow": "",
    "errors": [],
    "notices": [],
    "form": None,
    "params": {},
}

RICH: Context = MINIMAL | {
    "site_name": "Orchard Library",
    "url": lambda path: f"/mounted{path}",
    "account": SimpleNamespace(name="ada@example.org"),
    "lang": "en",
    "flow": "a-flow",
    "errors": ["That did not match. Please check what you typed and try again."],
    "notices": ["Your details were saved."],
}

LOGIN = "/user/auth_userpassword/login"
PASSWORD_METHOD = SimpleNamespace(
    name="user_password",
    label="Password",
    template="",
    form=form(LOGIN, asked(NAME, "ada@example.org"), asked(PASSWORD, "")),
    params={},
    href="",
)
WRONG_PASSWORD_METHOD = SimpleNamespace(
    name="user_password",
    label="Password",
    template="user_password/form.html",
    form=form(LOGIN, asked(NAME, "ada"), asked(PASSWORD, "", "Please fill in this field.")),
    params={},
    href="",
)
GOOGLE_TOKEN = Field("token", FieldType.HIDDEN, "Google's confirmation", max_length=16384)
GOOGLE_METHOD = SimpleNamespace(
    name="google_account",
    label="Google account",
    template="google_account/form.html",
    form=form("/user/auth_googleaccount/login", asked(GOOGLE_TOKEN)),
    params={},
    href="",
)
REMOTE_METHOD = SimpleNamespace(name="remote", label="Remote", template="", form=None, params={}, href="/user/remote")
GOOGLE_PARAMS = {"client_id": "1234.apps.example.org", "nonce": "a-nonce"}
PIN_METHOD = SimpleNamespace(
    name="pin", label="Pin of your card", template="", form=form("/pin", asked(CODE)), params={}, href=""
)
LINKS = {"recover": "/user/auth_userpassword/pwrecover", "register": "/user/auth_userpassword/add"}
NO_LINKS = {"recover": None, "register": None}

SECOND = {
    "label": "Security key",
    "form": form("/user/f2_timebasedotp/otp", asked(CODE)),
    "alternatives": [],
    "cancel_url": "/user/cancel",
}
SECOND_RICH = SECOND | {
    "form": form("/user/f2_timebasedotp/otp", asked(CODE, "123456", "That code is not right.")),
    "alternatives": [SimpleNamespace(label="Recovery code", href="/user/f2_recoverycode/otp")],
}
QR = {"qr": EMPTY_PNG, "secret": "JBSW Y3DP EHPK 3PXP JBSW Y3DP EHPK 3PXP", "uri": "otpauth://totp/ada?secret=JBSW"}
BUTTON = {"form": form("/user/do")}
FACTORS = [
    SimpleNamespace(
        name="time_based_otp",
        label="Authenticator app",
        is_enrolled=True,
        add_href="",
        remove_href="/user/f2_timebasedotp/remove",
        detail="since 3 May 2025",
    ),
    SimpleNamespace(name="key", label="Security key", is_enrolled=False, add_href="/add", remove_href="", detail=""),
]
IDENTITIES = [
    {
        "label": "Google account",
        "is_linked": True,
        "shown_as": "ada@gmail.com",
        "add_href": "/user/auth_googleaccount/add",
        "remove_href": "/user/auth_googleaccount/remove",
    },
    {"label": "Somewhere", "is_linked": False, "shown_as": "", "add_href": "/user/auth_x/add", "remove_href": ""},
    {"label": "Only way", "is_linked": True, "shown_as": "", "add_href": "/user/auth_y/add", "remove_href": ""},
]
ENTRIES = [
    {"name": "ada@example.org", "detail": "Ada", "state": "", "roles": "Editor", "href": "/user/view/a"},
    {"name": "bob", "detail": "", "state": "Disabled", "roles": "", "href": "/user/view/b"},
]
ROLES = Field("roles", FieldType.LIST, "Roles", required=False, options=(("user", "User"), ("editor", "Editor")))
GOVERNED = (
    asked(ROLES, "editor", "Please choose one of the options."),
    asked(replace(ROLES, name="access", help="Flags that count."), "user"),
    asked(replace(ROLES, name="seen", is_readonly=True), ""),
)
PROFILE_LINKS = {
    "change_password": "/user/auth_userpassword/change",
    "edit": "/user/edit/self",
    "recovery_codes": "/user/f2_recoverycode/renew",
    "logout": "/user/logout",
}

# Template -> variants of its own variables; the first goes with the minimal context, all with the rich one.
PAGES: Mapping[str, tuple[Context, ...]] = {
    "error.html": (
        {"status": 404, "code": "not_found", "sentence": "There is nothing at this address.", "retry_after": None},
        {"status": 429, "code": "too_many_attempts", "sentence": "Too many attempts.", "retry_after": 840},
        {"status": 429, "code": "too_many_attempts", "sentence": "Too many attempts.", "retry_after": 9000},
        {"status": 503, "code": "unavailable", "sentence": "This is not possible right now.", "retry_after": 1.5},
        {"status": 412, "code": "flow_invalid", "sentence": "This step is no longer open.", "retry_after": None},
        {"status": 401, "code": "not_authenticated", "sentence": "Please log in first.", "retry_after": None},
        {"status": 403, "code": "forbidden", "sentence": "You are not allowed to do this.", "retry_after": None},
    ),
    "login.html": (
        {"methods": [PASSWORD_METHOD], "links": NO_LINKS, "reauthenticate": False},
        {"methods": [WRONG_PASSWORD_METHOD, PIN_METHOD, GOOGLE_METHOD], "links": LINKS, "reauthenticate": True},
        {"methods": [GOOGLE_METHOD], "links": NO_LINKS, "reauthenticate": False},
        {"methods": [REMOTE_METHOD, GOOGLE_METHOD], "links": NO_LINKS, "reauthenticate": False},
        {"methods": [], "links": NO_LINKS, "reauthenticate": False},
    ),
    "user_password/login.html": (
        {"form": PASSWORD_METHOD.form, "links": NO_LINKS, "reauthenticate": False},
        {"form": WRONG_PASSWORD_METHOD.form, "links": LINKS, "reauthenticate": False},
    ),
    "second_factor.html": (SECOND, SECOND_RICH),
    "time_based_otp/otp.html": (SECOND, SECOND_RICH),
    "recovery_codes/otp.html": (SECOND, SECOND_RICH),
    "select_factor.html": (
        {
            "form": form("/user/select_secondfactor_provider"),
            "choices": [
                SimpleNamespace(value="time_based_otp", label="Authenticator app"),
                SimpleNamespace(value="recovery_codes", label="Recovery code"),
            ],
        },
        {
            "form": form("/user/select_secondfactor_provider"),
            "choices": [SimpleNamespace(value="time_based_otp", label="Authenticator app")],
            "cancel_url": "/user/cancel",
        },
    ),
    "enrol.html": (
        {"stage": "start", "label": "Security key", "cancel_url": "/user/cancel", **BUTTON},
        {"label": "Security key", "stage": "start", **BUTTON},
        {"label": "Security key", "stage": "confirm", "form": form("/add", asked(CODE)), "params": QR},
        {"label": "Security key", "stage": "confirm", "form": form("/add", asked(CODE))},
    ),
    "time_based_otp/add.html": (
        {"stage": "start", **BUTTON},
        {"stage": "confirm", "form": form("/add", asked(CODE, "", "That code is not right.")), "params": QR},
        {"stage": "confirm", "form": form("/add", asked(CODE)), "params": {"qr": EMPTY_PNG}},
    ),
    "factor_remove.html": ({"label": "Authenticator app", **BUTTON},),
    "identity_link.html": (
        {"label": "Google account", "form": form("/user/auth_elsewhere/add", asked(TOKEN))},
        {"label": "Google account", **BUTTON},
    ),
    "google_account/login.html": (
        {"form": form("/login", asked(GOOGLE_TOKEN)), "params": GOOGLE_PARAMS, "csp_nonce": "for-styles"},
        {"form": form("/login", asked(GOOGLE_TOKEN, "", "Please fill in this field.")), "params": GOOGLE_PARAMS},
    ),
    "google_account/link.html": ({"form": form("/add", asked(GOOGLE_TOKEN, "old")), "params": GOOGLE_PARAMS},),
    "identity_remove.html": (
        {"label": "Google account", **BUTTON},
        {"label": "G", "shown_as": "ada@gmail.com", **BUTTON},
    ),
    "recovery_codes/show.html": ({"codes": [f"k7fq-{n}m3x-p9td" for n in range(10)], "next_url": "/user/view/self"},),
    "recovery_codes/renew.html": ({"remaining": 1, **BUTTON}, {"remaining": 7, **BUTTON}),
    "user_password/recover.html": (
        {"step": "name", "form": form("/r", asked(NAME))},
        {"step": "key", "form": form("/r", asked(KEY))},
        {"step": "password", "form": form("/r", asked(NEW_PASSWORD, "", "This is too short."))},
    ),
    "user_password/recover_done.html": ({"next_url": "/user/login"},),
    "user_password/register.html": ({"form": form("/user/add", asked(NAME), asked(NEW_PASSWORD), *DETAILS)},),
    "user_password/register_done.html": ({"stage": "verify"}, {"stage": "wait"}, {"stage": "ready"}),
    "user_password/verify.html": ({"form": form("/verify", asked(TOKEN, "from-the-mail"))},),
    "user_password/verify_done.html": ({"stage": "invalid"}, {"stage": "wait"}, {"stage": "ready"}),
    "user_password/resend.html": ({"form": form("/resend", asked(NAME))},),
    "user_password/resend_done.html": ({},),
    "user_password/setup.html": ({"form": form("/setup", asked(NEW_PASSWORD))},),
    "user_password/change.html": (
        {"form": form("/change", asked(PASSWORD), asked(replace(NEW_PASSWORD, name="new_password")))},
    ),
    "profile.html": (
        {"rows": [], "factors": [], "links": {}},
        {
            "rows": [("E-mail address", "ada@example.org"), ("First name", "Ada"), ("Status", "active")],
            "factors": FACTORS,
            "identities": IDENTITIES,
            "links": PROFILE_LINKS,
            "last_login": "21 November 2025, 14:03",
        },
        {"rows": [("Name", "ada")], "factors": FACTORS, "links": PROFILE_LINKS | {"recovery_codes": None}},
        {
            "rows": [("Name", "ada")],
            "factors": [],
            "identities": IDENTITIES,
            "links": {"choose_password": "/user/pwrecover"},
        },
    ),
    "edit.html": ({"form": form("/user/edit/self", *DETAILS)},),
    "entries.html": (
        {"rows": [], "search": "", "search_href": "/user/list", "first_href": "", "next_href": "", "add_href": ""},
        {
            "rows": ENTRIES,
            "search": "a",
            "search_href": "/user/list",
            "first_href": "/user/list?search=a",
            "next_href": "/user/list?search=a&cursor=x",
            "add_href": "/user/add",
        },
        {"rows": [], "search": "x", "search_href": "/l", "first_href": "", "next_href": "", "add_href": ""},
    ),
    "entry.html": (
        {"name": "ada", "rows": [], "edit_href": "", "kick_href": "", "delete_href": "", "list_href": ""},
        {
            "name": "ada@example.org",
            "rows": [("E-mail address", "ada@example.org"), ("Status", "Active")],
            "edit_href": "/user/edit/a",
            "kick_href": "/user/trigger/kick/a",
            "delete_href": "/user/delete/a",
            "list_href": "/user/list",
        },
    ),
    "entry_add.html": ({"back_href": "/user/list", "form": form("/user/add", asked(NAME), *GOVERNED)},),
    "entry_edit.html": (
        {"name": "ada", "back_href": "/user/view/a", "form": form("/user/edit/a", *DETAILS, *GOVERNED)},
    ),
    "entry_delete.html": ({"name": "ada", "back_href": "/user/view/a", "form": form("/user/delete/a")},),
    "logout.html": ({"form": form("/user/logout")},),
    "logout_done.html": ({},),
}

LINK = "https://example.org/user/do?skey=abc&x=1"
MAILS: Mapping[str, Context] = {
    "recovery": {"recovery_key": "k7fq-2m3x-p9td", "link": LINK, "minutes": 15, "device": "Firefox on Linux"},
    "verification": {"link": LINK, "days": 7, "at": "2026-03-01 12:00 UTC", "device": "Firefox, Windows"},
    "already_registered": {"login_link": LINK, "recover_link": "https://example.org/user/recover?a=1&b=2"},
    "password_changed": {"name": "ada@example.org", "at": "21 November 2025, 14:03 UTC"},
    "factor_added": {"label": "Authenticator app"},
    "factor_removed": {"label": "Authenticator app"},
    "identity_linked": {"label": "Google account"},
    "identity_unlinked": {"label": "Google account"},
    "recovery_codes_renewed": {},
    "recovery_code_used": {"remaining": 1},
    "account_activated": {"login_link": LINK},
    "name_changed": {"name": "ada@example.org", "at": "21 November 2025, 14:03 UTC"},
    "welcome": {"name": "ada@example.org", "login_link": LINK, "link": LINK, "recover_link": LINK, "minutes": 60},
    "code": {"code": "123456", "minutes": 10},
}

VARIANTS = [
    pytest.param(template, base | own, id=f"{template}-{number}-{kind}")
    for template, variants in PAGES.items()
    for number, own in enumerate(variants)
    for kind, base in (("rich", RICH), *((("minimal", MINIMAL),) if number == 0 else ()))
]

GOOGLE_SCRIPTS = ["/user/static/google_account.js", "https://accounts.google.com/gsi/client"]
WITH_SCRIPTS = {"google_account/login.html": GOOGLE_SCRIPTS, "google_account/link.html": GOOGLE_SCRIPTS}
"""The pages with scripts, and which: their providers declare where from (`Provider.page_sources`)."""

# --- Help -------------------------------------------------------------------------------------------------------------

CANARY = """"><script>alert(1)</script>'<img src=x onerror=y>{{7*7}}{% raw %}%(x)s%"""

# Values that steer a page and are no text of anybody's.
STEERING = {"type", "stage", "step", "template", "status", "retry_after", "lang"}


def poisoned(value: Any, key: str = "") -> Any:
    """Put the canary into every text of a context."""
    if key in STEERING:
        return value
    match value:
        case str():
            return CANARY if value else ""
        case SimpleNamespace():
            # The provider's name finds its template, the mail's token stands for the skey.
            kept = {"name": value.name} if hasattr(value, "template") or vars(value).get("type") == "hidden" else {}
            return SimpleNamespace(**{name: poisoned(one, name) for name, one in vars(value).items()} | kept)
        case dict():
            return {name: poisoned(one, name) for name, one in value.items()}
        case list() | tuple():
            return [poisoned(one) for one in value]
        case _ if callable(value):
            return lambda path: f"/mounted{path}"
        case _:
            return value


class Page(HTMLParser):
    """The elements of a page with their attributes, and its text, both decoded."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.shown = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"double attribute: {attrs}"
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.shown += data

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.elements if tag in tags]

    @property
    def controls(self) -> list[dict[str, str | None]]:
        return [one for one in self.all("input", "select", "textarea") if one.get("type") != "hidden"]


def files() -> Iterator[str]:
    return (path.relative_to(template_dir()).as_posix() for path in template_dir().rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def renderer() -> Renderer:
    return Renderer(site_name="Orchard Library")


# --- Pages ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("template", "context"), VARIANTS)
def test_a_page_is_fit_for_strict_headers(renderer: Renderer, template: str, context: Context) -> None:
    source = renderer.page(template, context)

    assert source.startswith("<!doctype html>")
    if template in WITH_SCRIPTS:
        # These two, from files, and nothing besides.
        source, number = re.subn(
            r'<script (id="google-client" )?src="[^"<>]+"( nonce="[^"<>]*")? defer></script>', "", source
        )
        assert number == len(WITH_SCRIPTS[template])
    assert not re.search(r"<(script|style|iframe|object|embed|base)\b|\sstyle=|\son\w+=|javascript:", source)


@pytest.mark.parametrize(("template", "context"), [v for v in VARIANTS if v.values[0] in WITH_SCRIPTS])
def test_a_page_with_scripts_has_those_that_are_known(renderer: Renderer, template: str, context: Context) -> None:
    page = Page(renderer.page(template, context))

    sources = [str(script["src"]).removeprefix("/mounted") for script in page.all("script")]
    assert sources == WITH_SCRIPTS[template]
    # Google's hands its nonce on to the styles that it makes.
    assert [script.get("nonce") for script in page.all("script")] == [None, context.get("csp_nonce", "")]
    assert [one["value"] for one in page.all("input") if one["name"] == "token"] == [""]


@pytest.mark.parametrize(("template", "context"), VARIANTS)
def test_a_page_can_be_used_without_seeing_it(renderer: Renderer, template: str, context: Context) -> None:
    page = Page(renderer.page(template, context))

    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    labelled = {label["for"] for label in page.all("label")}
    described = {one for control in page.controls for one in (control.get("aria-describedby") or "").split()}
    targets = {(link["href"] or "")[1:] for link in page.all("a") if (link["href"] or "").startswith("#")}
    assert len(ids) == len(set(ids))
    assert {control["id"] for control in page.controls} == labelled
    assert described | targets <= set(ids)
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert sum("autofocus" in attributes for _, attributes in page.elements) <= 1
    assert all(image.get("alt") for image in page.all("img"))


@pytest.mark.parametrize(("template", "context"), VARIANTS)
def test_a_page_sends_the_skey_and_the_flow_with_every_form(
    renderer: Renderer, template: str, context: Context
) -> None:
    page = Page(renderer.page(template, context))

    names = [one["name"] for one in page.all("input") if one.get("type") == "hidden"]
    # A search is no change: what it sends stands in the address, where a token must not.
    posted = [one for one in page.all("form") if one.get("method") == "post"]
    assert names.count("skey") == len(posted)
    assert names.count("flow") == (len(posted) if context["flow"] else 0)


@pytest.mark.parametrize(("template", "context"), VARIANTS)
def test_what_strangers_typed_stays_text(renderer: Renderer, template: str, context: Context) -> None:
    clean = Page(renderer.page(template, context))

    page = Page(renderer.page(template, poisoned(context)))

    tags = {tag for tag, _ in page.elements}
    assert "style" not in tags
    assert page.all("script") == [] or template in WITH_SCRIPTS
    # A select shows one more entry where the value is none of its options.
    assert [tag for tag, _ in page.elements if tag != "option"] == [tag for tag, _ in clean.elements if tag != "option"]
    assert not any(name.startswith("on") or name == "style" for _, attributes in page.elements for name in attributes)
    # Text and attributes, decoded, hold it exactly as it came: nothing was taken for a template or a format.
    everything = page.shown + "".join(value or "" for _, attributes in page.elements for value in attributes.values())
    assert CANARY in everything
    assert "{{" not in everything.replace(CANARY, "")


def test_a_page_needs_every_value(renderer: Renderer) -> None:
    context = {name: value for name, value in MINIMAL.items() if name != "stylesheet"}

    with pytest.raises(RenderError, match=r"logout_done\.html: 'stylesheet' is undefined"):
        renderer.page("logout_done.html", context)


def test_what_was_typed_is_shown_again_but_no_secret(renderer: Renderer) -> None:
    typed = form("/do", asked(NAME, "ada@example.org"), asked(PASSWORD, "hush-1"), asked(CODE, "hush-2"))

    source = renderer.page("edit.html", MINIMAL | {"form": typed})

    assert 'value="ada@example.org"' in source
    assert "hush" not in source


def test_a_field_tells_browsers_what_it_wants(renderer: Renderer) -> None:
    page = Page(renderer.page("user_password/change.html", MINIMAL | {"form": form("/do", asked(NEW_PASSWORD))}))

    (control,) = page.controls
    assert control == {
        "type": "password",
        "id": "f-password",
        "name": "password",
        "minlength": "8",
        "maxlength": "1024",
        "autocapitalize": "none",
        "spellcheck": "false",
        "autocomplete": "new-password",
        "required": None,
        "aria-describedby": "f-password-help",
        "autofocus": None,
    }


@pytest.mark.parametrize(
    ("fields", "focused"),
    [
        ((asked(NAME), asked(PASSWORD)), "name"),
        ((asked(NAME, "ada"), asked(PASSWORD)), "password"),
        ((asked(NAME), asked(PASSWORD, "", "Please fill in this field.")), "password"),
        ((asked(TOKEN), asked(Field("key", is_readonly=True)), asked(CODE, "123456")), "otptoken"),
    ],
)
def test_the_first_wrong_else_the_first_empty_field_has_the_focus(
    renderer: Renderer, fields: tuple[SimpleNamespace, ...], focused: str
) -> None:
    page = Page(renderer.page("edit.html", MINIMAL | {"form": form("/do", *fields)}))

    assert [control["name"] for control in page.controls if "autofocus" in control] == [focused]


def test_an_error_is_told_in_the_summary_and_at_its_field(renderer: Renderer) -> None:
    wrong = form("/do", asked(NAME, "x", "Please enter a valid e-mail address."), asked(PASSWORD))

    page = Page(renderer.page("edit.html", MINIMAL | {"form": wrong}))

    control = next(one for one in page.controls if one["name"] == "name")
    assert control["aria-invalid"] == "true"
    assert control["aria-describedby"] == "f-name-error-1"
    assert {"href": "#f-name"} in page.all("a")
    assert {"class": "problems", "role": "alert"} in page.all("div")
    assert "Please enter a valid e-mail address." in page.shown


def test_a_provider_without_a_template_gets_the_general_form(renderer: Renderer) -> None:
    page = Page(renderer.page("login.html", MINIMAL | {"methods": [PIN_METHOD], "links": {}, "reauthenticate": False}))

    assert [control["id"] for control in page.controls] == ["pin-otptoken"]


def test_the_mails_token_is_not_sent_beside_another_skey(renderer: Renderer) -> None:
    context = MINIMAL | {"form": form("/verify", asked(TOKEN, "from-the-mail"))}

    page = Page(renderer.page("user_password/verify.html", context))

    assert [one["value"] for one in page.all("input") if one["name"] == "skey"] == ["from-the-mail"]


def test_the_recovery_codes_are_all_shown(renderer: Renderer) -> None:
    (own,) = PAGES["recovery_codes/show.html"]

    page = Page(renderer.page("recovery_codes/show.html", MINIMAL | own))

    assert all(code in page.shown for code in own["codes"])


def test_a_key_to_be_typed_stands_in_groups(renderer: Renderer) -> None:
    context = MINIMAL | {"stage": "confirm", "form": form("/add"), "params": QR | {"secret": "JBSWY3DPEHPK3PXP"}}

    page = Page(renderer.page("time_based_otp/add.html", context))

    assert "JBSW Y3DP EHPK 3PXP" in page.shown


# --- Mails ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "context"), MAILS.items(), ids=MAILS)
def test_a_mail_says_the_same_in_text_and_html(renderer: Renderer, name: str, context: Context) -> None:
    mail = renderer.mail(name, context)

    assert mail.html is not None
    page = Page(mail.html)
    assert mail.subject.startswith("Orchard Library: ")
    assert not mail.subject.endswith(": ")
    for value in map(str, context.values()):
        assert value in mail.text
        assert value in page.shown + "".join(link["href"] or "" for link in page.all("a"))


@pytest.mark.parametrize("name", MAILS)
def test_a_mail_fetches_nothing(renderer: Renderer, name: str) -> None:
    mail = renderer.mail(name, MAILS[name])

    assert mail.html is not None
    assert not re.search(r"<(img|link|script|iframe|form|style)\b|url\(|@import", mail.html)


@pytest.mark.parametrize("name", MAILS)
def test_what_strangers_typed_stays_text_in_mails(renderer: Renderer, name: str) -> None:
    context = poisoned(MAILS[name]) | {"site_name": CANARY}

    mail = renderer.mail(name, context)

    assert mail.html is not None
    page = Page(mail.html)
    clean = Page(renderer.mail(name, MAILS[name]).html or "")
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in clean.elements]
    assert mail.subject.startswith(f"{CANARY}: ")
    assert "{{" not in (mail.text + page.shown).replace(CANARY, "")


@pytest.mark.parametrize("break_", ["\r\nBcc: all@example.org\r\n\r\n", "\n\n", "\u2028", "\x85", "\u202e"])
def test_no_value_breaks_the_line_of_a_mail(renderer: Renderer, break_: str) -> None:
    name = f"ada{break_}Your account is blocked"

    mail = renderer.mail("password_changed", {"name": name, "at": "now", "site_name": name})

    assert mail.subject.startswith("ada ")
    assert "blocked: Your password was changed" in mail.subject
    assert break_ not in mail.subject
    assert not any(line.startswith("Your account is blocked") for line in mail.text.splitlines())


def test_a_mail_without_its_optional_values_has_no_holes(renderer: Renderer) -> None:
    context = MAILS["recovery"] | {"device": ""}

    mail = renderer.mail("recovery", context)

    assert "came from" not in mail.text + (mail.html or "")
    assert "\n\n\n" not in mail.text
    assert "\n\n\n" not in renderer.mail("account_activated", {}).text


def test_a_mail_may_have_no_html(tmp_path: Path) -> None:
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail" / "plain.txt").write_text("Hello\n\nHello {{ name }}.\n")

    mail = Renderer(tmp_path).mail("plain", {"name": "<Ada>"})

    assert mail == MailText("Hello", "Hello <Ada>.\n", None)


def test_a_mail_without_a_subject_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mail").mkdir()
    (tmp_path / "mail" / "plain.txt").write_text("{{ '' }}\n\n\n")

    with pytest.raises(RenderError, match="subject"):
        Renderer(tmp_path).mail("plain", {})


def test_a_mail_keeps_its_text_out_of_logs() -> None:
    assert repr(MailText("Hello", "secret", "secret")) == "MailText(subject='Hello')"


# --- The renderer -----------------------------------------------------------------------------------------------------


def test_every_template_is_rendered_by_these_tests(tmp_path: Path) -> None:
    seen: set[str] = set()
    for name in files():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        source = (template_dir() / name).read_text(encoding="utf-8")
        (tmp_path / name).write_text(f'{{% set ignored = saw("{name}") %}}\n{source}', encoding="utf-8")
    renderer = Renderer(tmp_path)

    for template, variants in PAGES.items():
        for own in variants:
            renderer.page(template, RICH | own | {"saw": seen.add})
    for name, context in MAILS.items():
        renderer.mail(name, context | {"saw": seen.add})

    assert seen == set(files())


def test_no_template_is_broken(renderer: Renderer) -> None:
    assert renderer.check(files()) == []


def test_a_folder_of_the_application_is_searched_first(tmp_path: Path) -> None:
    (tmp_path / "logout_done.html").write_text("Gone, {{ who }}")

    page = Renderer(tmp_path).page("logout_done.html", {"who": "<Ada>"})

    assert page == "Gone, &lt;Ada&gt;"


def test_a_template_of_the_application_extends_ours_of_the_same_name(tmp_path: Path) -> None:
    (tmp_path / "base.html").write_text(
        '{% extends "authflow/base.html" %}{% block footer %}<footer>Imprint</footer>{% endblock %}'
    )

    page = Renderer(tmp_path).page("logout_done.html", MINIMAL)

    assert "<footer>Imprint</footer>" in page
    assert "You are logged out" in page


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="missing"):
        Renderer(tmp_path / "missing")


def test_no_name_leads_out_of_the_folders(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "secret.html").write_text("secret")
    renderer = Renderer(tmp_path / "inside")

    assert not renderer.has("../secret.html")
    assert not renderer.has(str(tmp_path / "secret.html"))


def test_what_is_missing_or_broken_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.html").write_text("one\n{% if %}")
    (tmp_path / "orphan.html").write_text('{% extends "gone.html" %}')
    (tmp_path / "parent.html").write_text('{% include "bad.html" %}{% include "may_miss.html" ignore missing %}')
    renderer = Renderer(tmp_path)

    found = renderer.check(["login.html", "orphan.html", "parent.html", "nowhere.html"])

    assert [one.name for one in found] == ["nowhere.html", "gone.html", "bad.html"]
    assert str(found[0]) == "nowhere.html: there is no such template"
    assert "line 2" in found[2].reason
    assert renderer.has("bad.html")
    assert not renderer.has("nowhere.html")
    with pytest.raises(RenderError, match="needs gone"):
        renderer.page("orphan.html", {})


def test_warming_up_names_what_is_missing(renderer: Renderer) -> None:
    renderer.warm(["login.html"])

    with pytest.raises(RenderError, match=r"nowhere\.html"):
        renderer.warm(["nowhere.html"])


class Loud(gettext.NullTranslations):
    def gettext(self, message: str) -> str:
        return re.sub(r"%\(\w+\)S", lambda found: found[0].lower(), message.upper())

    def ngettext(self, msgid1: str, msgid2: str, n: int) -> str:
        return self.gettext(msgid1 if n == 1 else msgid2)


@pytest.fixture
def loud() -> Renderer:
    """A site whose second language is its first in capitals."""

    def choose(lang: str) -> gettext.NullTranslations:
        return Loud() if lang == "x" else gettext.NullTranslations()

    return Renderer(translate=choose)


@pytest.mark.parametrize(("template", "variants"), PAGES.items(), ids=PAGES)
def test_every_sentence_of_a_page_can_be_translated(
    loud: Renderer, template: str, variants: tuple[Context, ...]
) -> None:
    silent = MINIMAL | {"lang": "x"}
    for own in variants:
        page = Page(loud.page(template, silent | {"links": {}, "alternatives": []} | own))

        values = {one["value"] for one in page.controls if one.get("value")}
        words = set(re.findall(r"[a-z]{3,}", page.shown))
        assert words <= set(re.findall(r"[a-z]{3,}", f"{own} {values}")), template


@pytest.mark.parametrize("name", MAILS)
def test_every_sentence_of_a_mail_can_be_translated(loud: Renderer, name: str) -> None:
    mail = loud.mail(name, MAILS[name] | {"lang": "x"})

    known = set(re.findall(r"[a-z]{3,}", str(MAILS[name])))
    for part in (mail.subject, mail.text, Page(mail.html or "").shown):
        assert set(re.findall(r"[a-z]{3,}", part)) <= known


def test_a_translation_is_escaped_as_a_whole() -> None:
    class Bold(gettext.NullTranslations):
        def gettext(self, message: str) -> str:
            return f"<b>{message}"

    page = Renderer(translate=lambda lang: Bold()).page("factor_remove.html", MINIMAL | {"label": "<i>", **BUTTON})

    assert "<b>" not in page
    assert "&lt;b&gt;Remove: &lt;b&gt;&lt;i&gt;" in page


def test_a_translation_with_a_wrong_placeholder_gives_way_to_the_original() -> None:
    class Slipped(gettext.NullTranslations):
        def gettext(self, message: str) -> str:
            return message.replace("%(method)s", "%(methode)s")

    page = Renderer(translate=lambda lang: Slipped()).page("factor_remove.html", MINIMAL | {"label": "App", **BUTTON})

    assert "Remove: App" in page


def test_threads_that_come_first_together_all_get_their_page() -> None:
    renderer = Renderer()

    with ThreadPoolExecutor(8) as pool:
        pages = list(pool.map(lambda _: renderer.page("logout_done.html", MINIMAL), range(32)))

    assert len(set(pages)) == 1


def test_jinja_is_imported_by_the_first_page_and_not_by_the_start() -> None:
    program = "import sys; from authflow.render import Renderer; Renderer(); print('jinja2' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"
