"""Identities of elsewhere on the logged-in person's account: connect one, disconnect it."""

from __future__ import annotations

from collections.abc import Iterable

from authflow.commits import sent_away
from authflow.errors import LastMethod
from authflow.federated import FederatedProvider
from authflow.messages import sentence
from authflow.provider import Ask, Provider, Redirect
from authflow.results import Changed, NotProved, StepOwed
from authflow.web.exchange import Exchange
from authflow.web.factors import changed
from authflow.web.routes import Assurance, Handler, Route
from authflow.web.views import Form, Meaning, View

PROFILE = "/user/view/self"


def routes(providers: Iterable[Provider]) -> list[Route]:
    """Return the routes of what each provider of such identities can do."""
    found: list[Route] = []
    for provider in providers:
        if isinstance(provider, FederatedProvider):
            base = f"/user/{provider.path}"
            found.append(Route(f"{base}/add", Assurance.FRESH, get=_link_page(provider), post=_link(provider)))
            found.append(Route(f"{base}/remove", Assurance.FRESH, get=_unlink_page(provider), post=_unlink(provider)))
    return found


def _link_page(provider: FederatedProvider) -> Handler:
    async def page(x: Exchange) -> View:
        if "state" in x.query:
            return await _judged(x, provider, by_get=True)
        x.demand_browser()  # The flow of the page is good in this browser alone.
        return _asking(x, await x.edge.app.identities.begin(provider, x.visitor, await x.demand_fresh()))

    return page


def _link(provider: FederatedProvider) -> Handler:
    async def link(x: Exchange) -> View:
        return await _judged(x, provider, by_get=False)

    return link


async def _judged(x: Exchange, provider: FederatedProvider, *, by_get: bool) -> View:
    result = await x.edge.app.identities.link(
        provider,
        x.values,
        x.visitor,
        await x.demand_fresh(),
        flow_reference=x.get("state") if by_get else x.get("flow"),
        by_get=by_get,
    )
    if isinstance(result, Changed):
        return changed(x, result)
    return _refused(x, result)


def _asking(x: Exchange, owed: StepOwed) -> View:
    engine, provider, ask = x.edge.app.engine, owed.provider, owed.ask
    if isinstance(ask, Redirect):
        moved = sent_away(engine, owed.flow, provider, ask)
        return View(Meaning.GO, next_path=engine.sealer.with_state(ask.url, moved, x.visitor.browser_id))
    return View(
        Meaning.FORM,
        _template(x, provider),
        form=Form(f"/user/{provider.path}/add", ask.fields, ask.values),
        params=ask.params,
        extra={"label": provider.label},
        flow=engine.reference(owed.flow, x.visitor),
        provider=provider,
    )


def _refused(x: Exchange, result: NotProved) -> View:
    """Say what was wrong. A provider behind a redirect has no form: the page offers to go there once more."""
    engine, provider, ask = x.edge.app.engine, result.provider, result.ask
    return View(
        Meaning.REFUSED,
        _template(x, provider),
        form=Form(f"/user/{provider.path}/add", ask.fields, ask.values),
        errors=(sentence(result.reason, provider.messages),),
        reason=result.reason,
        params=ask.params if isinstance(ask, Ask) else {},
        extra={"label": provider.label},
        flow=engine.reference(result.flow, x.visitor),
        provider=provider,
    )


def _template(x: Exchange, provider: Provider) -> str:
    own = f"{provider.name}/link.html"
    return own if x.edge.app.renderer.has(own) else "identity_link.html"


def _unlink_page(provider: FederatedProvider) -> Handler:
    async def page(x: Exchange) -> View:
        identities = x.edge.app.identities
        await x.demand_current(also=identities.status_keys(x.claimed_account_id))
        line = next(line for line in identities.status(await x.demand_fresh()) if line.provider is provider)
        if line.is_only_way:
            raise LastMethod()
        form = Form(f"/user/{provider.path}/remove", ())
        extra = {"label": provider.label, "shown_as": line.shown_as}
        return View(Meaning.FORM, "identity_remove.html", form=form, extra=extra)

    return page


def _unlink(provider: FederatedProvider) -> Handler:
    async def unlink(x: Exchange) -> View:
        return changed(x, await x.edge.app.identities.unlink(provider, x.visitor, await x.demand_fresh()))

    return unlink
