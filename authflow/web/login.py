"""Logging in and out: pages and submissions of primary providers and second factors, for every renderer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from authflow.commits import sent_away
from authflow.errors import AuthflowError, DefinitionChanged, FlowInvalid, NotFound
from authflow.fields import read
from authflow.flow import Flow, FlowKind
from authflow.provider import Ask, PrimaryProvider, Provider, Redirect, SecondFactorProvider
from authflow.results import EnrolmentOwed, StepOwed
from authflow.sealing import is_reference
from authflow.web.exchange import Exchange
from authflow.web.presenting import CANCEL_PATH, SELECT_PATH, answer_path, links, present, step_view
from authflow.web.redirects import safe_path
from authflow.web.routes import Assurance, Handler, Route
from authflow.web.views import Form, Meaning, SessionChange, View

LOGOUT_PATH = "/user/logout"


def routes(providers: Iterable[Provider]) -> list[Route]:
    """Return the routes of logging in for these providers."""
    found = [
        Route("/user/login", Assurance.ANYBODY, get=login_page),
        Route(SELECT_PATH, Assurance.PENDING, get=select_page, post=select, is_form=True),
        Route(CANCEL_PATH, Assurance.PENDING, post=cancel),
        Route(LOGOUT_PATH, Assurance.SESSION, get=logout_page, post=logout),
        Route("/user/getAuthMethods", Assurance.ANYBODY, get=get_auth_methods),
    ]
    for provider in providers:
        path = answer_path(provider)
        if isinstance(provider, PrimaryProvider):
            page, submission = _page_of(provider), answer_to(provider)
            found.append(Route(path, Assurance.ANYBODY, get=page, post=submission, is_form=True))
        else:
            page, submission = _page_of(provider), answer_to(provider)
            found.append(Route(path, Assurance.PENDING, get=page, post=submission, is_form=True))
            start = _start_of(provider)
            found.append(Route(f"/user/{provider.path}/start", Assurance.PENDING, get=start, post=start))
    return found


# --- The first step ---------------------------------------------------------------------------------------------------


async def login_page(x: Exchange) -> View:
    """Offer the primary providers side by side. No store operation, but for a person who logs in once more."""
    if x.by_program:
        return offer(x)
    flow, name = await _new_flow(x)
    return _offered(x, flow, name)


def _offered(x: Exchange, flow: Flow, name: str, error: AuthflowError | None = None) -> View:
    engine = x.edge.app.engine
    methods = [_method(x, flow, provider, {"name": name} if name else {}) for provider in engine.registry.primaries]
    return View(
        Meaning.FORM,
        "login.html",
        status=error.status if error else 200,
        flow=engine.reference(flow, x.visitor),
        errors=(error.sentence,) if error else (),
        extra={"methods": methods, "links": links(x), "reauthenticate": flow.kind is FlowKind.REAUTHENTICATE},
    )


def _started_again(x: Exchange, error: DefinitionChanged) -> View:
    """Offer a fresh login in the place of one that cannot go on here, with the name that was typed."""
    if x.by_program:
        raise error
    x.demand_browser()
    return _offered(x, x.edge.app.engine.start(return_to=error.return_to), x.get("name"), error)


def offer(x: Exchange) -> View:
    """Name the first steps that are open to tools."""
    primaries = x.edge.app.engine.registry.primaries
    return View(Meaning.OFFER, choices=tuple(provider for provider in primaries if provider.is_for_tools))


async def _new_flow(x: Exchange) -> tuple[Flow, str]:
    """Start the flow that the page's forms carry; where to go afterwards is fixed here."""
    x.demand_browser()
    engine = x.edge.app.engine
    return_to = safe_path(x.get("next"), default="") if x.get("next") else ""
    is_once_more = x.get("reauthenticate") == "1"
    if x.get("flow"):
        # A form that is shown once more goes on with the flow it carried, so that nobody is sent elsewhere afterwards.
        try:
            carried = engine.travelling(x.get("flow"), x.visitor)
        except DefinitionChanged as error:
            return_to = error.return_to
        except FlowInvalid:
            pass
        else:
            if not carried.subject or await _is_of_present(x, carried):
                return carried, ""
            # The account has changed since, or its login has ended: whoever is logged in now begins anew.
            is_once_more, return_to = is_once_more or carried.kind is FlowKind.REAUTHENTICATE, carried.return_to
    if is_once_more:
        current = await x.current()
        if current is not None:
            account = current.account
            flow = engine.start(FlowKind.REAUTHENTICATE, return_to=return_to, subject=account.id, epoch=account.epoch)
            return flow, account.name
    return engine.start(return_to=return_to), ""


async def _is_of_present(x: Exchange, flow: Flow) -> bool:
    """Whether a flow was begun for the account that is logged in, as it is now."""
    current = await x.current()
    return current is not None and (current.account.id, current.account.epoch) == (flow.subject, flow.epoch)


def _method(x: Exchange, flow: Flow, provider: Provider, values: Mapping[str, str]) -> dict[str, object]:
    ask = x.edge.app.engine.ask(flow, provider)
    form = Form(answer_path(provider), ask.fields, {**ask.values, **values}) if isinstance(ask, Ask) else None
    return {
        "name": provider.name,
        "label": provider.label,
        "template": f"{provider.name}/form.html",
        "form": form,
        "params": dict(ask.params) if isinstance(ask, Ask) else {},
        "href": answer_path(provider) if isinstance(ask, Redirect) else "",
    }


def _page_of(provider: Provider) -> Handler:
    async def page(x: Exchange) -> View:
        engine = x.edge.app.engine
        if "state" in x.query:
            return await _submitted(x, provider, by_get=True)
        if isinstance(provider, SecondFactorProvider):
            return present(x, await engine.waiting.show(x.visitor, flow_reference=x.get("flow"), provider=provider))
        flow, name = await _new_flow(x)
        ask = engine.ask(flow, provider)
        if isinstance(ask, Redirect):
            moved = sent_away(engine, flow, provider, ask)
            return View(Meaning.GO, next_path=engine.sealer.with_state(ask.url, moved, x.visitor.browser_id))
        return step_view(x, flow, provider, ask, values={"name": name} if name else {})

    return page


def answer_to(provider: Provider) -> Handler:
    """Return what submits an answer to a provider."""

    async def submission(x: Exchange) -> View:
        return await _submitted(x, provider, by_get=False)

    return submission


async def _submitted(x: Exchange, provider: Provider, *, by_get: bool) -> View:
    engine = x.edge.app.engine
    reference = x.get("state") if by_get else x.get("flow")
    if isinstance(provider, PrimaryProvider) and not by_get:
        try:
            missing = _missing(x, provider, reference)
        except DefinitionChanged as error:
            return _started_again(x, error)
        if missing is not None:
            return missing
    result = await engine.submit(
        provider, x.values, x.visitor, flow_reference=reference, by_get=by_get, with_static_key=x.by_program
    )
    return present(x, result)


def _missing(x: Exchange, provider: Provider, reference: str) -> View | None:
    """Show a first form again when a field is empty or malformed; nothing is read, judged or counted."""
    engine = x.edge.app.engine
    flow = engine.travelling(reference, x.visitor, provider.name)
    ask = engine.ask(flow, provider)
    # Notes are left by a provider that has asked on: what it asked then is not declared by what it begins with.
    if not isinstance(ask, Ask) or provider.name in flow.scratch:
        return None
    errors = read(ask.fields, x.values).errors
    if not errors:
        return None
    x.demand_browser()
    return step_view(x, flow, provider, ask, errors=errors, values=x.values, status=400)


# --- Later steps ------------------------------------------------------------------------------------------------------


def _start_of(provider: Provider) -> Handler:
    async def start(x: Exchange) -> View:
        # ViUR's tools open a factor by GET. It moves this browser's own flow, so nobody else's page may do it.
        x.demand_own_origin()
        engine = x.edge.app.engine
        if x.method == "HEAD":
            return present(x, await engine.waiting.show(x.visitor, flow_reference=x.get("flow")))
        return present(x, await engine.waiting.choose(provider, x.visitor, flow_reference=x.get("flow")))

    return start


async def answer_open_step(x: Exchange) -> View:
    """Submit to whichever provider the pending flow waits for. Costs the reading of it beforehand."""
    shown = await x.edge.app.engine.waiting.show(x.visitor, flow_reference=x.get("flow"))
    return await _submitted(x, shown.provider, by_get=False) if isinstance(shown, StepOwed) else present(x, shown)


async def select_page(x: Exchange) -> View:
    """Show the usable factors of the pending flow."""
    return present(x, await x.edge.app.engine.waiting.show(x.visitor, flow_reference=x.get("flow")))


async def select(x: Exchange) -> View:
    """Take the person's choice: a provider's name, its method name, or the start path that tools send.

    Raises:
        NotFound: There is no such factor, and the flow was not begun under another definition, which may have one.
    """
    engine, chosen = x.edge.app.engine, x.get("provider")
    for provider in engine.registry.second_factors:
        start_path = f"/user/{provider.path}/start"
        if chosen in (provider.name, provider.path, provider.method_name, start_path, x.prefix + start_path):
            shown = await engine.waiting.show(x.visitor, flow_reference=x.get("flow"))
            if isinstance(shown, EnrolmentOwed) and not shown.flow.accepts(provider.name):
                return present(x, shown)
            if isinstance(shown, EnrolmentOwed):
                handle = engine.sealer.handle(shown.flow)
                return View(Meaning.GO, next_path=f"/user/{provider.path}/add?flow={handle}")
            return present(x, await engine.waiting.choose(provider, x.visitor, flow_reference=x.get("flow")))
    if is_reference(x.get("flow")):
        # It may be one that only another version of this site offers. What this one sees as the next step is shown.
        shown = await engine.waiting.show(x.visitor, flow_reference=x.get("flow"))
        if shown.flow.fingerprint != engine.fingerprint:
            return present(x, shown)
    raise NotFound("no such factor")


async def cancel(x: Exchange) -> View:
    """Give up what is pending in this browser."""
    # Read beforehand: once it is done, no fault may hide it.
    is_logged_in = await x.current() is not None
    await x.edge.app.engine.waiting.cancel(x.visitor)
    return View(Meaning.DONE, next_path="/user/login", session=SessionChange(is_ended=not is_logged_in))


# --- Out --------------------------------------------------------------------------------------------------------------


async def logout_page(x: Exchange) -> View:
    """Ask whether to log out: a log-out is a POST."""
    await x.demand_current()
    return View(Meaning.FORM, "logout.html", form=Form(LOGOUT_PATH, ()))


async def logout(x: Exchange) -> View:
    """End the session. What is named persistent on log-out goes on in an anonymous one."""
    current = await x.demand_current()
    kept = await x.edge.app.engine.log_out(current, client=x.visitor.network)
    change = SessionChange(issued=kept, is_ended=kept is None)
    return View(Meaning.LOGGED_OUT, "logout_done.html", session=change)


async def get_auth_methods(x: Exchange) -> View:
    """Tell tools which pairs of methods are open. ViUR: `getAuthMethods`."""
    return View(Meaning.METHODS, data=[list(pair) for pair in x.edge.user.get_auth_methods()])
