"""What people do with their own account: register, confirm, recover, set up, look, edit, change the password."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from authflow.accounts import Invalid
from authflow.errors import NotFound
from authflow.fields import Field, FieldType
from authflow.model import Account
from authflow.provider import Enrols, PrimaryProvider, as_password_setter
from authflow.user import User
from authflow.web.exchange import Exchange
from authflow.web.routes import Assurance, Handler, Route
from authflow.web.views import Form, Meaning, SessionChange, View

PROFILE = "/user/view/self"
EDIT = "/user/edit/self"

NAME = Field("name", FieldType.EMAIL, "E-mail address", autocomplete="username")
RECOVERY_KEY = Field("recovery_key", FieldType.TEXT, "Code from the mail", autocomplete="off", max_length=200)
CURRENT_PASSWORD = Field(
    "current_password", FieldType.PASSWORD, "Current password", autocomplete="current-password", max_length=1024
)


def routes(provider: PrimaryProvider | None) -> list[Route]:
    """Return the routes of accounts; those that need a password are there when a provider sets passwords."""
    found = [
        Route(PROFILE, Assurance.SESSION, get=profile),
        Route("/user/view", Assurance.SESSION, get=view_entry, takes_key=True),
        Route(EDIT, Assurance.SESSION, get=edit_page, post=edit),
    ]
    setter = as_password_setter(provider)
    if provider is None or setter is None:
        return found
    base, new = f"/user/{provider.path}", setter.password_field
    return [
        *found,
        Route(f"{base}/add", Assurance.ANYBODY, get=_register_page(base), post=_register(base)),
        Route(f"{base}/verify", Assurance.TICKET, get=_verify_page(base), post=_verify(base), needs_skey=False),
        Route(f"{base}/resend", Assurance.ANYBODY, get=_resend_page(base), post=_resend(base)),
        Route(f"{base}/pwrecover", Assurance.ANYBODY, get=_recover_page(base, new), post=_recover(base, new)),
        Route(f"{base}/setup", Assurance.TICKET, get=_set_up_page(base, new), post=_set_up(base, new)),
        Route(f"{base}/change", Assurance.FRESH, get=_change_page(base, new), post=_change(base, new)),
    ]


# --- The own entry ----------------------------------------------------------------------------------------------------


async def profile(x: Exchange) -> View:
    """Show the own account. ViUR: `view/self`."""
    if x.by_program:
        return _entry(x, (await x.demand_current()).account)
    enrolment = x.edge.app.enrolment
    current = await x.demand_current(also=enrolment.status_keys(x.claimed_account_id))
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
    links = {
        "change_password": f"/user/{password.path}/change" if password else "",
        "edit": EDIT if x.edge.user.edit_skel(current.account, current.account) else "",
        "recovery_codes": f"/user/{codes.path}/add" if codes else "",
        "logout": "/user/logout",
    }
    extra = {"rows": _rows(x, current.account), "factors": factors, "links": links}
    return View(Meaning.ENTRY, "profile.html", extra=extra)


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
        return _entry(x, account)
    return View(Meaning.ENTRY, "profile.html", extra={"rows": _rows(x, account), "factors": [], "links": {}})


def _entry(x: Exchange, account: Account) -> View:
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
    expected = int(version) if version.isascii() and version.isdigit() and len(version) < 12 else None
    result = await x.edge.app.accounts.edit(current, x.values, expected)
    if isinstance(result, Invalid):
        return _edit_form(x, current.account, result)
    return View(Meaning.DONE, next_path=PROFILE)


def _edit_form(x: Exchange, account: Account, invalid: Invalid | None = None) -> View:
    fields = x.edge.user.edit_skel(account, account)
    version = Field("version", FieldType.HIDDEN, required=False)
    values = {declared.name: str(account.profile.get(declared.name) or "") for declared in fields}
    values["version"] = str(account.version)
    return _form(EDIT, "edit.html", (*fields, version), invalid, values=values)


def _form(
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


# --- Registration and verification ------------------------------------------------------------------------------------


def _register_page(base: str) -> Handler:
    async def page(x: Exchange) -> View:
        return _registration(x, base)

    return page


def _registration(x: Exchange, base: str, invalid: Invalid | None = None) -> View:
    provider = as_password_setter(x.edge.app.engine.registry.password_provider)
    if provider is None or not provider.registration_enabled:
        raise NotFound("registration is off")
    fields = (*x.edge.user.add_skel(), provider.password_field)
    return _form(f"{base}/add", "user_password/register.html", fields, invalid)


def _register(base: str) -> Handler:
    async def register(x: Exchange) -> View:
        result = await x.edge.app.accounts.register(x.values, x.visitor)
        if isinstance(result, Invalid):
            return _registration(x, base, result)
        return View(Meaning.DONE, "user_password/register_done.html", extra={"stage": result.stage})

    return register


def _verify_page(base: str) -> Handler:
    async def page(x: Exchange) -> View:
        # Shows and does nothing: mail scanners follow links.
        return _verification(base, x.get("skey"))

    return page


def _verification(base: str, token: str) -> View:
    # ViUR's name of the mailed token. It is a proof of its own, so this form carries no other skey.
    field = Field("skey", FieldType.HIDDEN, max_length=200)
    return _form(f"{base}/verify", "user_password/verify.html", (field,), values={"skey": token}, is_ticket=True)


def _verify(base: str) -> Handler:
    async def verify(x: Exchange) -> View:
        x.demand_own_origin()
        stage = await x.edge.app.accounts.verify(x.get("skey"), x.visitor)
        return View(Meaning.DONE, "user_password/verify_done.html", extra={"stage": stage})

    return verify


def _resend_page(base: str) -> Handler:
    async def page(x: Exchange) -> View:
        return _form(f"{base}/resend", "user_password/resend.html", (NAME,))

    return page


def _resend(base: str) -> Handler:
    async def resend(x: Exchange) -> View:
        result = await x.edge.app.accounts.resend(x.values, x.visitor)
        if isinstance(result, Invalid):
            return _form(f"{base}/resend", "user_password/resend.html", (NAME,), result)
        return View(Meaning.DONE, "user_password/resend_done.html")

    return resend


# --- Recovery and set-up ----------------------------------------------------------------------------------------------


def _recover_page(base: str, new: Field) -> Handler:
    async def page(x: Exchange) -> View:
        token = _recovery_key(x)
        if token:
            return _recovery(base, "password", (_hidden(RECOVERY_KEY), new), token=token)
        if x.get("step") == "key":
            return _recovery(base, "key", (RECOVERY_KEY,))
        return _recovery(base, "name", (NAME,))

    return page


def _recover(base: str, new: Field) -> Handler:
    async def recover(x: Exchange) -> View:
        accounts, token = x.edge.app.accounts, _recovery_key(x)
        if token and x.get("password"):
            result = await accounts.recover(token, {**x.values, "recovery_key": token}, x.visitor)
            if isinstance(result, Invalid):
                return _recovery(base, "password", (_hidden(RECOVERY_KEY), new), result, token=token)
            done: dict[str, object] = {
                "action": "view",
                "values": None,
                "structure": None,
                "errors": [],
                "params": None,
            }
            return View(Meaning.DONE, "user_password/recover_done.html", extra={"next_url": "/user/login"}, data=done)
        if token:
            return _recovery(base, "password", (_hidden(RECOVERY_KEY), new), token=token)
        if "recovery_key" in x.values or "recoveryKey" in x.values:
            return _recovery(base, "key", (RECOVERY_KEY,), status=400)
        asked = await accounts.ask_recovery(x.values, x.visitor)
        if isinstance(asked, Invalid):
            return _recovery(base, "name", (NAME,), asked)
        view = _recovery(base, "key", (RECOVERY_KEY, new) if x.by_program else (RECOVERY_KEY,))
        return replace(view, next_path=f"{base}/pwrecover?step=key")

    return recover


def _recovery_key(x: Exchange) -> str:
    """Return the mailed code under either of ViUR's names, without what copying adds."""
    return "".join((x.get("recovery_key") or x.get("recoveryKey")).split())


def _recovery(
    base: str, step: str, fields: tuple[Field, ...], invalid: Invalid | None = None, *, token: str = "", status: int = 0
) -> View:
    values = {"recovery_key": token} if token else {}
    view = _form(
        f"{base}/pwrecover",
        "user_password/recover.html",
        fields,
        invalid,
        values=values,
        extra={"step": step},
        is_ticket=bool(token),
    )
    return replace(view, status=status) if status else view


def _set_up_page(base: str, new: Field) -> Handler:
    async def page(x: Exchange) -> View:
        return _set_up_form(base, new, x.get("setup_key"))

    return page


def _set_up_form(base: str, new: Field, token: str, invalid: Invalid | None = None) -> View:
    fields = (Field("setup_key", FieldType.HIDDEN, max_length=200), new)
    values = {"setup_key": token}
    return _form(f"{base}/setup", "user_password/setup.html", fields, invalid, values=values, is_ticket=True)


def _set_up(base: str, new: Field) -> Handler:
    async def set_up(x: Exchange) -> View:
        token = x.get("setup_key")
        result = await x.edge.app.accounts.set_up(token, x.values, x.visitor)
        if isinstance(result, Invalid):
            return _set_up_form(base, new, token, result)
        return View(Meaning.DONE, "user_password/recover_done.html", extra={"next_url": "/user/login"})

    return set_up


def _change_page(base: str, new: Field) -> Handler:
    async def page(x: Exchange) -> View:
        await x.demand_fresh()
        return _form(f"{base}/change", "user_password/change.html", (CURRENT_PASSWORD, new))

    return page


def _change(base: str, new: Field) -> Handler:
    async def change(x: Exchange) -> View:
        current = await x.demand_fresh()
        result = await x.edge.app.accounts.change_password(current, x.values, x.visitor)
        if isinstance(result, Invalid):
            return _form(f"{base}/change", "user_password/change.html", (CURRENT_PASSWORD, new), result)
        account = replace(current.account, epoch=result.session.epoch)
        change = SessionChange(result, account.id, x.known_device(account))
        return View(Meaning.DONE, next_path=PROFILE, session=change)

    return change


def _hidden(declared: Field) -> Field:
    return Field(declared.name, FieldType.HIDDEN, declared.label, max_length=declared.max_length)
