"""Pages of registration: the form, the confirmation of the address, another mail."""

from __future__ import annotations

from authflow.accounts import Invalid, TicketInvalid
from authflow.errors import NotFound
from authflow.fields import Field, FieldType
from authflow.powers import as_password_setter
from authflow.provider import PrimaryProvider
from authflow.web.exchange import Exchange
from authflow.web.forms import form_view
from authflow.web.routes import Assurance, Handler, Route
from authflow.web.views import Meaning, View

NAME = Field("name", FieldType.EMAIL, "E-mail address", autocomplete="username")


def routes(provider: PrimaryProvider | None) -> list[Route]:
    """Return the routes of registration, if there is a provider that sets passwords."""
    if provider is None or as_password_setter(provider) is None:
        return []
    base = f"/user/{provider.path}"
    return [
        Route(f"{base}/add", Assurance.ANYBODY, get=_register_page(base), post=_register(base), is_form=True),
        Route(f"{base}/verify", Assurance.TICKET, get=_verify_page(base), post=_verify(base), needs_skey=False),
        Route(f"{base}/resend", Assurance.ANYBODY, get=_resend_page(base), post=_resend(base), is_form=True),
    ]


def _register_page(base: str) -> Handler:
    async def page(x: Exchange) -> View:
        return _registration(x, base)

    return page


def _registration(x: Exchange, base: str, invalid: Invalid | None = None) -> View:
    provider = as_password_setter(x.edge.app.engine.registry.password_provider)
    if provider is None or not provider.registration_enabled:
        raise NotFound("registration is off")
    fields = (*x.edge.user.add_skel(), provider.password_field)
    return form_view(f"{base}/add", "user_password/register.html", fields, invalid)


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
    return form_view(f"{base}/verify", "user_password/verify.html", (field,), values={"skey": token}, is_ticket=True)


def _verify(base: str) -> Handler:
    async def verify(x: Exchange) -> View:
        x.demand_own_origin()
        try:
            stage = await x.edge.app.accounts.verify(x.get("skey"), x.visitor)
        except TicketInvalid as refusal:
            if x.by_program:
                raise
            extra = {"stage": "invalid", "resend_url": f"{base}/resend"}
            return View(Meaning.DONE, "user_password/verify_done.html", refusal.status, extra=extra)
        return View(Meaning.DONE, "user_password/verify_done.html", extra={"stage": stage})

    return verify


def _resend_page(base: str) -> Handler:
    async def page(x: Exchange) -> View:
        return form_view(f"{base}/resend", "user_password/resend.html", (NAME,))

    return page


def _resend(base: str) -> Handler:
    async def resend(x: Exchange) -> View:
        result = await x.edge.app.accounts.resend(x.values, x.visitor)
        if isinstance(result, Invalid):
            return form_view(f"{base}/resend", "user_password/resend.html", (NAME,), result)
        return View(Meaning.DONE, "user_password/resend_done.html")

    return resend
