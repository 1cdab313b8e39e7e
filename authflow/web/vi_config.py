"""What ViUR's admin tools ask beside the steps of the flow: the version, the configuration, and the choice of a method.

These paths exist for tools alone, below `/vi` and, as the older desktop tool calls it, `/admin`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from authflow.errors import Forbidden, NotFound
from authflow.model import Account
from authflow.provider import Ask, PrimaryProvider, Provider
from authflow.web import json as strings
from authflow.web import vi_structure
from authflow.web.entries_of_others import structure
from authflow.web.exchange import VI, Exchange
from authflow.web.login import answer_open_step, answer_to, offer, select, select_page
from authflow.web.presenting import answer_path
from authflow.web.routes import Assurance, Route
from authflow.web.views import Meaning, View

SELECT_PRIMARY_PATH = "/user/select_authentication_provider"

VERSIONS: dict[str, list[int | None]] = {"3.9": [3, 9, 3, None], "3.3": [3, 3, 0]}
"""By dialect, the version of ViUR whose answers are given. Tools refuse servers by it."""


def routes(providers: Iterable[Provider]) -> list[Route]:
    """Return the routes that only tools know."""
    found = [
        Route("/config", Assurance.ANYBODY, get=config),
        Route("/settings", Assurance.ANYBODY, get=settings),
        Route("/getVersion", Assurance.ANYBODY, get=get_version),
        Route("/getStructure", Assurance.SESSION, get=get_structure, takes_key=True),
        # Reads and changes nothing, and ViUR demands no skey of it either.
        Route(SELECT_PRIMARY_PATH, Assurance.ANYBODY, get=select_primary, post=select_primary, needs_skey=False),
    ]
    for provider in providers:
        # The login form of vue-utils goes on where it is, with the action it was answered: a code is posted to `edit`
        # and a choice to `select_secondfactor_provider` beside the path of the step before.
        base, is_first = f"/user/{provider.path}", isinstance(provider, PrimaryProvider)
        submission = answer_open_step if is_first else answer_to(provider)
        found.append(Route(f"{base}/edit", Assurance.PENDING, post=submission))
        if is_first:
            found.append(Route(f"{base}/select_secondfactor_provider", Assurance.PENDING, get=select_page, post=select))
    return found


async def get_version(x: Exchange) -> View:
    """Tell which ViUR's dialect is spoken. ViUR: `getVersion`."""
    return View(Meaning.DATA, data=VERSIONS[_dialect(x)])


async def config(x: Exchange) -> View:
    """Tell what tools show before a login and, to administrators, the modules. ViUR: `config`."""
    account = await x.account()
    is_admin = account is not None and not x.edge.user.access_of(account).isdisjoint({"root", "admin"})
    if _dialect(x) == "3.3":
        if account is None:
            await x.demand_current()
        if account is None or not is_admin:
            raise Forbidden("config needs the right admin")
        body: dict[str, object] = {"capabilities": {}, "modules": _modules(x, account)}
    elif account is not None and is_admin:
        body = {"version": VERSIONS["3.9"], "modules": _modules(x, account)}
    else:
        body = {}
    return View(Meaning.DATA, data={**body, "configuration": _configuration(x)})


async def settings(x: Exchange) -> View:
    """Tell the configuration alone. ViUR: `settings`."""
    return View(Meaning.DATA, data=_configuration(x))


async def get_structure(x: Exchange) -> View:
    """Tell the fields of a module's entries, as far as the viewer may use them. ViUR: `getStructure`."""
    await x.demand_current()
    if x.key != "user":
        return View(Meaning.DATA, data=None)
    describe = strings.structure if x.speaks_strings else vi_structure.structure
    found: dict[str, object] = {}
    for action in ("view", "edit", "add"):
        twin = x.as_reading()
        twin.key = action
        with suppress(Forbidden, NotFound):
            form = (await structure(twin)).form
            found[f"{action}Skel"] = describe(form.fields if form else ())
    return View(Meaning.DATA, data=found or None)


async def select_primary(x: Exchange) -> View:
    """Take the choice of a first step: a provider's name, its method name, or the path that tools send."""
    chosen, offered = x.get("provider"), offer(x)
    if not chosen:
        return offered
    for provider in offered.choices:
        path = answer_path(provider)
        if chosen in (provider.name, provider.path, provider.method_name, path, x.address(path)):
            return View(Meaning.OFFER, choices=(provider,))
    raise NotFound("no such method")


def _dialect(x: Exchange) -> str:
    """Return the dialect of a prefix: `/admin` is what tools of the seed's time call."""
    return x.edge.user.vi_dialect if x.prefix == VI else "3.3"


def _configuration(x: Exchange) -> dict[str, object]:
    found: dict[str, object] = {
        "admin.name": x.edge.user.site_name,
        "admin.language": "en",
        "admin.languages": ["en"],
    }
    engine = x.edge.app.engine
    for provider in engine.registry.primaries:
        if provider.is_for_tools and provider.method_name == "X-VIUR-AUTH-Google-Account":
            ask = engine.ask(engine.start(), provider)
            if isinstance(ask, Ask):
                found["admin.user.google.clientID"] = ask.params.get("client_id")
    return found


def _modules(x: Exchange, viewer: Account) -> dict[str, object]:
    user = x.edge.user
    described: dict[str, object] = {"name": "User", "handler": "list", **user.admin_info}
    if user.is_admin(viewer):
        described |= {
            "actions": ["trigger_kick"],
            "customActions": {
                "trigger_kick": {
                    "name": "Log out everywhere",
                    "icon": "trash2-fill",
                    "action": "fetch",
                    # As from ViUR 3.5 to 3.7: tools post to an address that asks for an skey.
                    "url": f"{x.prefix}/{{{{module}}}}/trigger/kick/{{{{key}}}}?skey={{{{skey}}}}",
                    "access": ["root"],
                    "confirm": "End all sessions of this account?",
                    "success": "All sessions of this account have ended.",
                }
            },
        }
    return {"user": described}
