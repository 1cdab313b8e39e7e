"""Pages that set a password: recovery by mail, set-up by a printed link, change by its owner."""

from __future__ import annotations

from dataclasses import replace

from authflow.accounts import Invalid
from authflow.fields import Field, FieldType
from authflow.powers import as_password_setter
from authflow.provider import PrimaryProvider
from authflow.web.exchange import Exchange
from authflow.web.forms import form_view
from authflow.web.routes import Assurance, Handler, Route
from authflow.web.views import Meaning, SessionChange, View

PROFILE = "/user/view/self"

NAME = Field("name", FieldType.EMAIL, "E-mail address", autocomplete="username")
RECOVERY_KEY = Field("recovery_key", FieldType.TEXT, "Code from the mail", autocomplete="off", max_length=200)
CURRENT_PASSWORD = Field(
    "current_password", FieldType.PASSWORD, "Current password", autocomplete="current-password", max_length=1024
)


def routes(provider: PrimaryProvider | None) -> list[Route]:
    """Return the routes of passwords, if there is a provider that sets them."""
    setter = as_password_setter(provider)
    if provider is None or setter is None:
        return []
    base, new = f"/user/{provider.path}", setter.password_field
    return [
        Route(
            f"{base}/pwrecover", Assurance.ANYBODY, get=_recover_page(base, new), post=_recover(base, new), is_form=True
        ),
        Route(f"{base}/setup", Assurance.TICKET, get=_set_up_page(base, new), post=_set_up(base, new)),
        Route(f"{base}/change", Assurance.FRESH, get=_change_page(base, new), post=_change(base, new), is_form=True),
    ]


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
            return View(
                Meaning.DONE,
                "user_password/recover_done.html",
                extra={"next_url": f"{base}/login" if x.by_program else "/user/login"},
                data=done if x.speaks_strings else None,
            )
        if token:
            return _recovery(base, "password", (_hidden(RECOVERY_KEY), new), token=token)
        if "recovery_key" in x.values or "recoveryKey" in x.values:
            return _recovery(base, "key", (RECOVERY_KEY,), status=400)
        asked = await accounts.ask_recovery(x.values, x.visitor)
        if isinstance(asked, Invalid):
            return _recovery(base, "name", (NAME,), asked)
        # Programs of old send code and password together; those of today, like people, one after the other.
        view = _recovery(base, "key", (RECOVERY_KEY, new) if x.speaks_strings else (RECOVERY_KEY,))
        return replace(view, next_path=f"{base}/pwrecover?step=key")

    return recover


def _recovery_key(x: Exchange) -> str:
    """Return the mailed code under either of ViUR's names, without what copying adds."""
    return "".join((x.get("recovery_key") or x.get("recoveryKey")).split())


def _recovery(
    base: str, step: str, fields: tuple[Field, ...], invalid: Invalid | None = None, *, token: str = "", status: int = 0
) -> View:
    values = {"recovery_key": token} if token else {}
    view = form_view(
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
    return form_view(f"{base}/setup", "user_password/setup.html", fields, invalid, values=values, is_ticket=True)


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
        return form_view(f"{base}/change", "user_password/change.html", (CURRENT_PASSWORD, new))

    return page


def _change(base: str, new: Field) -> Handler:
    async def change(x: Exchange) -> View:
        current = await x.demand_fresh()
        result = await x.edge.app.accounts.change_password(current, x.values, x.visitor)
        if isinstance(result, Invalid):
            return form_view(f"{base}/change", "user_password/change.html", (CURRENT_PASSWORD, new), result)
        account = replace(current.account, epoch=result.session.epoch)
        change = SessionChange(result, account.id, x.known_device(account))
        return View(Meaning.DONE, next_path=PROFILE, session=change)

    return change


def _hidden(declared: Field) -> Field:
    return Field(declared.name, FieldType.HIDDEN, declared.label, max_length=declared.max_length)
