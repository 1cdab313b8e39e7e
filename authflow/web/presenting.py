"""What the engine says of a flow, as views: the same for every renderer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from authflow.fields import FieldError
from authflow.flow import Flow
from authflow.messages import sentence
from authflow.powers import as_password_setter
from authflow.provider import Ask, Charge, PrimaryProvider, Provider, Redirect
from authflow.results import Away, ChoiceOwed, EnrolmentOwed, LoggedIn, NotProved, Result, StepOwed
from authflow.sessions import IssuedSession
from authflow.web.exchange import Exchange
from authflow.web.views import Form, Meaning, SessionChange, View

if TYPE_CHECKING:
    from authflow.engine import Engine

SELECT_PATH = "/user/select_secondfactor_provider"
CANCEL_PATH = "/user/cancel"


def present(x: Exchange, result: Result) -> View:
    """Say what a result means for this request, whatever the renderer."""
    engine = x.edge.app.engine
    match result:
        case LoggedIn(flow, account, issued, device, codes):
            change = SessionChange(issued, account.id, device)
            target = flow.return_to or x.edge.user.login_redirect
            if codes:
                extra = {"codes": codes, "next_url": target}
                return View(Meaning.DONE, "recovery_codes/show.html", extra=extra, session=change, account=account)
            return View(Meaning.LOGGED_IN, next_path=target, session=change, account=account)
        case Away(_, _, url):
            return View(Meaning.GO, next_path=url)
        case ChoiceOwed(flow, providers, issued):
            handle = engine.sealer.handle(flow)
            view = _choice_view(flow, providers, handle)
            return _stored(x, view, flow, issued, f"{SELECT_PATH}?flow={handle}")
        case EnrolmentOwed(flow, providers, issued):
            handle = engine.sealer.handle(flow)
            if len(providers) > 1 and not x.by_program:
                return _stored(x, _choice_view(flow, providers, handle), flow, issued, f"{SELECT_PATH}?flow={handle}")
            path = f"/user/{providers[0].path}/add"
            view = View(Meaning.FORM, reason="enrolment_owed", next_path=path, flow=handle)
            return _stored(x, view, flow, issued, f"{path}?flow={handle}")
        case StepOwed(flow, provider, ask, issued):
            if isinstance(ask, Redirect):
                return View(Meaning.GO, next_path=engine.sealer.with_state(ask.url, flow, x.visitor.browser_id))
            if not flow.proofs:
                return step_view(x, flow, provider, ask)
            view = step_view(x, flow, provider, ask)
            return _stored(x, view, flow, issued, f"{answer_path(provider)}?flow={engine.sealer.handle(flow)}")
        case NotProved(flow, provider, ask, reason, charge):
            status = 400 if charge is Charge.NOTHING else 200
            return step_view(x, flow, provider, ask, reason=reason, values=x.values, status=status)


def _stored(x: Exchange, view: View, flow: Flow, issued: IssuedSession | None, page: str) -> View:
    """After an answer, pages are reached by a redirect, so that going back or reloading sends nothing twice.

    So also after one that came by GET, back from a remote party: a page of that very request would carry an skey of the
    browser, while the session that comes with it wants its own.
    """
    change = SessionChange(issued, flow.subject) if issued else SessionChange()
    is_answer = x.is_post or "state" in x.query
    is_on_its_way = is_answer or x.scope["path"].endswith("/start") or view.reason == "enrolment_owed"
    return replace(view, next_path=page if is_on_its_way else "", session=change)


def _choice_view(flow: Flow, providers: tuple[Provider, ...], handle: str) -> View:
    choices = [{"value": provider.name, "label": provider.label} for provider in providers]
    return View(
        Meaning.CHOICE,
        "select_factor.html",
        form=Form(SELECT_PATH, ()),
        extra={"choices": choices, "cancel_url": CANCEL_PATH},
        flow=handle,
        choices=providers,
    )


def step_view(
    x: Exchange,
    flow: Flow,
    provider: Provider,
    ask: Ask,
    *,
    reason: str = "",
    errors: tuple[FieldError, ...] = (),
    values: Mapping[str, str] | None = None,
    status: int = 200,
) -> View:
    """Show what a provider asks, and why the last answer was refused, if it was."""
    engine = x.edge.app.engine
    form = Form(answer_path(provider), ask.fields, {**ask.values, **(values or {})}, errors or ask.errors)
    is_first = isinstance(provider, PrimaryProvider)
    extra = {"label": provider.label, "links": links(x)} if is_first else _ways(engine, flow, provider)
    return View(
        Meaning.REFUSED if reason else (Meaning.FORM if is_first else Meaning.SECOND_FACTOR),
        _template(x, provider, ask),
        status,
        form,
        (sentence(reason, provider.messages),) if reason else (),
        reason=reason,
        params=ask.params,
        extra=extra,
        flow=engine.reference(flow, x.visitor),
        provider=provider,
    )


def _template(x: Exchange, provider: Provider, ask: Ask) -> str:
    wanted = ask.template or provider.template
    if x.edge.app.renderer.has(wanted):
        return wanted
    return "user_password/login.html" if isinstance(provider, PrimaryProvider) else "second_factor.html"


def _ways(engine: Engine, flow: Flow, provider: Provider) -> dict[str, object]:
    """Name the other ways to take this step, and the way out."""
    step, handle = flow.open_step, engine.sealer.handle(flow)
    others = [engine.registry.get(name) for name in (step.accepted if step else ()) if name != provider.name]
    alternatives = [{"label": p.label, "href": f"/user/{p.path}/start?flow={handle}"} for p in others if p is not None]
    return {"label": provider.label, "alternatives": alternatives, "cancel_url": CANCEL_PATH}


def answer_path(provider: Provider) -> str:
    """Return where answers to a provider are posted, without a renderer's prefix."""
    return f"/user/{provider.path}/{provider.action}"


def links(x: Exchange) -> Mapping[str, str]:
    """Return the ways for people who cannot use the form."""
    provider = x.edge.app.engine.registry.password_provider
    if provider is None:
        return {"recover": "", "register": ""}
    setter = as_password_setter(provider)
    opens = setter is not None and setter.registration_enabled
    base = f"/user/{provider.path}"
    return {"recover": f"{base}/pwrecover", "register": f"{base}/add" if opens else ""}
