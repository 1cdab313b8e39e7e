"""The own entry: the account page with its second factors, and editing. Those of others: `entries_of_others`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from authflow.accounts import Invalid
from authflow.errors import BadInput
from authflow.federated import FederatedProvider
from authflow.fields import Field, FieldType
from authflow.model import Account
from authflow.powers import Enrols
from authflow.user import User
from authflow.web.exchange import Exchange
from authflow.web.forms import form_view
from authflow.web.routes import Assurance, Route
from authflow.web.views import Form, Meaning, View

if TYPE_CHECKING:
    from authflow.identities import LinkedIdentity

PROFILE = "/user/view/self"
EDIT = "/user/edit/self"
LIST = "/user/list"
VERSION = Field("version", FieldType.HIDDEN, "Version", required=False)


def routes() -> list[Route]:
    """Return the routes of entries."""
    return [
        Route(PROFILE, Assurance.SESSION, get=profile),
        Route(EDIT, Assurance.SESSION, get=edit_page, post=edit, is_form=True),
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
    ways, valid = identities.status(current), x.edge.app.engine.registry.rules.primaries
    has_password = any(way.is_linked for way in ways if way.provider is password)
    links = {
        "change_password": f"/user/{password.path}/change" if password and has_password else "",
        "choose_password": f"/user/{password.path}/pwrecover" if password and not has_password else "",
        "edit": EDIT if x.edge.user.edit_skel(current.account, current.account) else "",
        "recovery_codes": f"/user/{codes.path}/add" if codes else "",
        "entries": LIST if x.edge.user.can_list(current.account) else "",
        "logout": "/user/logout",
    }
    extra = {
        "rows": rows(x, current.account),
        "factors": factors,
        "identities": [
            _identity(way)
            for way in ways
            if isinstance(way.provider, FederatedProvider) and (way.is_linked or way.provider.name in valid)
        ],
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


def rows(x: Exchange, account: Account) -> list[tuple[str, str]]:
    shown = [("E-mail address", account.name)]
    for declared in x.edge.user.profile_fields:
        value = account.profile.get(declared.name)
        if value:
            shown.append((declared.label, str(value)))
    return shown


def entry_view(x: Exchange, account: Account) -> View:
    """Return an entry for programs."""
    return View(Meaning.ENTRY, data=entry_values(x.edge.user, account), form=entry_form(x.edge.user))


def entry_values(user: User, account: Account) -> dict[str, object]:
    """Return an entry's values: declared fields only. No hash, no secret, no epoch."""
    return {
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


@lru_cache(maxsize=16)
def entry_form(user: User) -> Form:
    """Return the structure of entries as they are seen."""
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
    if x.get("key") not in ("", "self", current.account.id):
        raise BadInput("key: another entry than the own one")
    if is_check(x):
        return _edit_form(x, current.account, x.edge.app.accounts.checked(current.account, x.values))
    result = await x.edge.app.accounts.edit(current, x.values, version_of(x), client=x.visitor.network)
    if isinstance(result, Invalid):
        return _edit_form(x, current.account, result)
    return saved(x, result, Meaning.EDITED, PROFILE)


def saved(x: Exchange, account: Account, meaning: Meaning, next_path: str) -> View:
    """Answer that an entry was made or changed: programs get it as it is now."""
    user = x.edge.user
    return View(meaning, next_path=next_path, data=entry_values(user, account), form=entry_form(user), account=account)


def version_of(x: Exchange) -> int | None:
    """Return the version that a form was made from, if the request tells.

    Raises:
        BadInput: It is no number.
    """
    version = x.get("version")
    if version and not (version.isascii() and version.isdigit() and len(version) < 12):
        raise BadInput("version is a number")
    return int(version) if version else None


def is_check(x: Exchange) -> bool:
    """Whether a form is only to be checked. ViUR: `bounce`."""
    return x.get("bounce").lower() in ("1", "true", "yes")


def entry_edit_view(
    x: Exchange,
    path: str,
    template: str,
    fields: tuple[Field, ...],
    values: Mapping[str, str],
    invalid: Invalid | None,
    extra: Mapping[str, object] | None = None,
) -> View:
    """Return the form of an entry. In ViUR's dialects a form with errors is an answer like any other."""
    view = form_view(path, template, fields, invalid, values=values, extra=extra)
    status = 200 if x.by_program and view.status == 400 else view.status
    return replace(view, status=status, action=path.split("/")[2])


def _edit_form(x: Exchange, account: Account, invalid: Invalid | None = None) -> View:
    fields = x.edge.user.edit_skel(account, account)
    return entry_edit_view(
        x, EDIT, "edit.html", (*fields, VERSION), {**texts(account, fields), "version": str(account.version)}, invalid
    )


def texts(account: Account, fields: Sequence[Field]) -> dict[str, str]:
    """Return what stands in the fields of an entry's form."""
    governed = {
        "name": account.name,
        "status": str(int(account.status)),
        "roles": ",".join(account.roles),
        "access": ",".join(account.access),
    }
    return {f.name: governed.get(f.name) or str(account.profile.get(f.name) or "") for f in fields if not f.is_secret}
