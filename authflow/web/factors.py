"""Second factors of the logged-in person: add, remove, new recovery codes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from authflow.errors import AlreadyEnrolled, DefinitionChanged, NoMethodLeft, NotFound, RequestError, TooLate
from authflow.flow import FlowKind
from authflow.messages import sentence
from authflow.powers import Enrols, IssuesCodes
from authflow.provider import Ask, Charge, SecondFactorProvider
from authflow.results import Changed, LoggedIn, NotProved, StepOwed
from authflow.web.exchange import Exchange
from authflow.web.presenting import CANCEL_PATH, present
from authflow.web.routes import Assurance, Handler, Route
from authflow.web.views import Form, Meaning, SessionChange, View

PROFILE = "/user/view/self"


def routes(providers: Iterable[SecondFactorProvider]) -> list[Route]:
    """Return the routes of what each factor can do."""
    found: list[Route] = []
    for provider in providers:
        base = f"/user/{provider.path}"
        if isinstance(provider, Enrols):
            found.append(Route(f"{base}/add", Assurance.FRESH, get=_add_page(provider), post=_add(provider)))
            found.append(Route(f"{base}/remove", Assurance.FRESH, get=_remove_page(provider), post=_remove(provider)))
        if isinstance(provider, IssuesCodes):
            found.append(Route(f"{base}/add", Assurance.FRESH, get=_renew_page(provider), post=_renew(provider)))
    return found


def _add_page(provider: SecondFactorProvider) -> Handler:
    async def page(x: Exchange) -> View:
        is_owed = await _is_pending(x, provider)
        if not is_owed:
            current = await x.demand_fresh()
            if provider.name in current.account.factors:
                raise AlreadyEnrolled()
            if provider.name not in x.edge.app.engine.registry.rules.enrollable:
                raise NotFound("this factor belongs to no valid method")
        form = Form(f"/user/{provider.path}/add", ())
        return _stage(x, provider, "start", form, flow=x.get("flow"), is_owed=is_owed)

    return page


async def _is_pending(x: Exchange, provider: SecondFactorProvider) -> bool:
    """Whether a login of this browser waits for this enrolment as its last step.

    Raises:
        DefinitionChanged, TooLate, NoMethodLeft: The page was asked for by such a login, which cannot go on, and nobody
            is logged in who could add the factor all the same.
    """
    if not x.get("flow") and await x.current() is not None:
        return False
    try:
        engine = x.edge.app.engine
        result = await engine.waiting.show(x.visitor, flow_reference=x.get("flow"))
    except (DefinitionChanged, TooLate, NoMethodLeft):
        if x.get("flow") and await x.current() is None:
            raise
        return False
    except RequestError:
        return False
    return not isinstance(result, NotProved | StepOwed) and provider.name in (
        step.accepted if (step := result.flow.open_step) else ()
    )


def _add(provider: SecondFactorProvider) -> Handler:
    async def add(x: Exchange) -> View:
        enrolment = x.edge.app.enrolment
        is_answer = any(name not in ("skey", "flow") for name in x.values)
        if not is_answer:
            begun = await enrolment.begin(provider, x.visitor, await x.current(), flow_reference=x.get("flow"))
            return _confirm(x, provider, begun)
        result = await enrolment.confirm(provider, x.values, x.visitor, x.get("flow"), with_static_key=x.by_program)
        match result:
            case Changed():
                return changed(x, result)
            case LoggedIn():
                return present(x, result)
            case StepOwed():
                return _confirm(x, provider, result)
            case NotProved(flow, _, ask, reason, charge):
                handle = x.edge.app.engine.sealer.handle(flow)
                form = Form(f"/user/{provider.path}/add", ask.fields, ask.values)
                status = 400 if charge is Charge.NOTHING else 200
                errors = (sentence(reason, provider.messages),)
                is_owed = flow.kind is not FlowKind.ENROL
                view = _stage(x, provider, "confirm", form, flow=handle, ask=ask, is_owed=is_owed)
                return replace(view, status=status, reason=reason, errors=errors)

    return add


def _confirm(x: Exchange, provider: SecondFactorProvider, begun: StepOwed) -> View:
    ask = begun.ask if isinstance(begun.ask, Ask) else Ask(())
    form = Form(f"/user/{provider.path}/add", ask.fields, ask.values)
    handle = x.edge.app.engine.sealer.handle(begun.flow)
    is_owed = begun.flow.kind is not FlowKind.ENROL
    return _stage(x, provider, "confirm", form, flow=handle, ask=ask, is_owed=is_owed)


def _stage(
    x: Exchange,
    provider: SecondFactorProvider,
    stage: str,
    form: Form,
    *,
    flow: str = "",
    ask: Ask | None = None,
    is_owed: bool = False,
) -> View:
    own = f"{provider.name}/add.html"
    template = own if x.edge.app.renderer.has(own) else "enrol.html"
    return View(
        Meaning.FORM,
        template,
        form=form,
        params=ask.params if ask else {},
        extra={"stage": stage, "label": provider.label, "cancel_url": CANCEL_PATH if is_owed else ""},
        flow=flow,
        provider=provider,
    )


def changed(x: Exchange, result: Changed) -> View:
    """Say that what protects an account was changed: fresh codes are shown once, else the account's page comes."""
    change = SessionChange(result.session, result.account.id, x.known_device(result.account))
    if result.codes:
        extra = {"codes": result.codes, "next_url": PROFILE}
        data = {"action": "view", "values": {"codes": list(result.codes)}, "errors": []}
        return View(Meaning.DONE, "recovery_codes/show.html", extra=extra, data=data, session=change)
    return View(Meaning.DONE, next_path=PROFILE, session=change)


def _remove_page(provider: SecondFactorProvider) -> Handler:
    async def page(x: Exchange) -> View:
        await x.demand_fresh()
        form = Form(f"/user/{provider.path}/remove", ())
        return View(Meaning.FORM, "factor_remove.html", form=form, extra={"label": provider.label})

    return page


def _remove(provider: SecondFactorProvider) -> Handler:
    async def remove(x: Exchange) -> View:
        return changed(x, await x.edge.app.enrolment.remove(provider, x.visitor, await x.demand_fresh()))

    return remove


def _renew_page(provider: SecondFactorProvider) -> Handler:
    async def page(x: Exchange) -> View:
        enrolment = x.edge.app.enrolment
        await x.demand_current(also=enrolment.status_keys(x.claimed_account_id))
        lines = enrolment.status(await x.demand_fresh())
        detail = next((line.detail for line in lines if line.provider is provider), None)
        remaining = detail.remaining if detail and detail.remaining else 0
        form = Form(f"/user/{provider.path}/add", ())
        return View(Meaning.FORM, "recovery_codes/renew.html", form=form, extra={"remaining": remaining})

    return page


def _renew(provider: SecondFactorProvider) -> Handler:
    async def renew(x: Exchange) -> View:
        return changed(x, await x.edge.app.enrolment.renew_codes(provider, x.visitor, await x.demand_fresh()))

    return renew
