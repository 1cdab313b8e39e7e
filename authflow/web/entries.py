"""Entries: the own one with its second factors, others by access right, and editing."""

from __future__ import annotations

from functools import lru_cache

from authflow.accounts import Invalid
from authflow.errors import BadInput
from authflow.federated import FederatedProvider
from authflow.fields import Field, FieldType
from authflow.identities import LinkedIdentity
from authflow.model import Account
from authflow.provider import Enrols
from authflow.user import User
from authflow.web.exchange import Exchange
from authflow.web.forms import form_view
from authflow.web.routes import Assurance, Route
from authflow.web.views import Form, Meaning, View

PROFILE = "/user/view/self"
EDIT = "/user/edit/self"


def routes() -> list[Route]:
    """Return the routes of entries."""
    return [
        Route(PROFILE, Assurance.SESSION, get=profile),
        Route("/user/view", Assurance.SESSION, get=view_entry, takes_key=True),
        Route(EDIT, Assurance.SESSION, get=edit_page, post=edit),
    ]


async def profile(x: Exchange) -> View:
    """Show the own account. ViUR: `view/self`."""
    if x.by_program:
        return entry_view(x, (await x.demand_current()).account)
    enrolment, identities = x.edge.app.enrolment, x.edge.app.identities
    own = x.claimed_account_id
    current = await x.demand_current(also=(*enrolment.status_keys(own), *identities.status_keys(own)))
    lines, enrollable = enrolment.status(current), x.edge.app.engine.registry.rules.enrollable
    factors = [
        {
            "name": line.provider.name,
            "label": line.provider.label,
            "is_enrolled": line.is_enrolled,
            "add_href": f"/user/{line.provider.path}/add" if line.provider.name in enrollable else "",
            "remove_href": f"/user/{line.provider.path}/remove",
            "detail": f"since {line.detail.enrolled_at:%d %B %Y}" if line.detail else "",
        }
        for line in lines
        if isinstance(line.provider, Enrols) and (line.is_enrolled or line.provider.name in enrollable)
    ]
    codes = next((line.provider for line in lines if line.provider.is_substitute and line.is_enrolled), None)
    password = x.edge.app.engine.registry.password_provider
    ways = identities.status(current)
    has_password = any(way.is_linked for way in ways if way.provider is password)
    links = {
        "change_password": f"/user/{password.path}/change" if password and has_password else "",
        "choose_password": f"/user/{password.path}/pwrecover" if password and not has_password else "",
        "edit": EDIT if x.edge.user.edit_skel(current.account, current.account) else "",
        "recovery_codes": f"/user/{codes.path}/add" if codes else "",
        "logout": "/user/logout",
    }
    extra = {
        "rows": _rows(x, current.account),
        "factors": factors,
        "identities": [_identity(way) for way in ways if isinstance(way.provider, FederatedProvider)],
        "links": links,
    }
    return View(Meaning.ENTRY, "profile.html", extra=extra)


def _identity(way: LinkedIdentity) -> dict[str, object]:
    path = f"/user/{way.provider.path}"
    return {
        "label": way.provider.label,
        "is_linked": way.is_linked,
        "shown_as": way.shown_as,
        "add_href": f"{path}/add",
        "remove_href": "" if way.is_only_way else f"{path}/remove",
    }


def _rows(x: Exchange, account: Account) -> list[tuple[str, str]]:
    shown = [("E-mail address", account.name)]
    for declared in x.edge.user.profile_fields:
        value = account.profile.get(declared.name)
        if value:
            shown.append((declared.label, str(value)))
    return shown


async def view_entry(x: Exchange) -> View:
    """Show an entry that the viewer may see. ViUR: `view/<key>`."""
    account = await x.edge.user.view(await x.account(), x.key)
    if x.by_program:
        return entry_view(x, account)
    return View(Meaning.ENTRY, "profile.html", extra={"rows": _rows(x, account), "factors": [], "links": {}})


def entry_view(x: Exchange, account: Account) -> View:
    """Return an entry for programs: declared fields only. No hash, no secret, no epoch."""
    user = x.edge.user
    values: dict[str, object] = {
        "key": account.id,
        "name": account.name,
        **{declared.name: account.profile.get(declared.name) or "" for declared in user.profile_fields},
        "status": account.status,
        "roles": list(account.roles),
        "access": sorted(user.access_of(account)),
        "version": account.version,
        "creationdate": account.created_at.isoformat(),
        "changedate": account.changed_at.isoformat(),
    }
    return View(Meaning.ENTRY, data=values, form=_entry_form(user))


@lru_cache(maxsize=16)
def _entry_form(user: User) -> Form:
    fields = (
        Field("key", FieldType.TEXT, "Key", is_readonly=True),
        Field("name", FieldType.EMAIL, "E-mail address", is_readonly=True),
        *user.profile_fields,
        Field("status", FieldType.SELECT, "Status", is_readonly=True),
        Field("roles", FieldType.LIST, "Roles", is_readonly=True),
        Field("access", FieldType.LIST, "Access rights", is_readonly=True),
    )
    return Form("", fields)


async def edit_page(x: Exchange) -> View:
    """Show the own details to be edited. ViUR: `edit`."""
    current = await x.demand_current()
    return _edit_form(x, current.account)


async def edit(x: Exchange) -> View:
    """Save the own details; what is not declared is passed over, so no right can be assigned."""
    current = await x.demand_current()
    version = x.get("version")
    if version and not (version.isascii() and version.isdigit() and len(version) < 12):
        raise BadInput("version is a number")
    expected = int(version) if version else None
    result = await x.edge.app.accounts.edit(current, x.values, expected, client=x.visitor.network)
    if isinstance(result, Invalid):
        return _edit_form(x, current.account, result)
    return View(Meaning.DONE, next_path=PROFILE)


def _edit_form(x: Exchange, account: Account, invalid: Invalid | None = None) -> View:
    fields = x.edge.user.edit_skel(account, account)
    version = Field("version", FieldType.HIDDEN, required=False)
    values = {declared.name: str(account.profile.get(declared.name) or "") for declared in fields}
    values["version"] = str(account.version)
    return form_view(EDIT, "edit.html", (*fields, version), invalid, values=values)
