"""The edge: one ASGI application over one table of routes. Reads the request, calls the engine, renders, answers.

Plain ASGI: every answer gets the security headers, no error leaves as a 500, and a path costs one dictionary look-up.
Mount it in an application of your own, or serve it alone.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from authflow.assembly import Application
from authflow.errors import (
    AuthflowError,
    BadInput,
    ConfigurationError,
    DefinitionChanged,
    MethodNotAllowed,
    NotFound,
    RequestError,
    SkeyInvalid,
    Unavailable,
)
from authflow.sealing import is_reference
from authflow.web import (
    entries,
    entries_of_others,
    factors,
    html,
    identities,
    login,
    recovery,
    refusals,
    registration,
    service,
    vi,
    vi_config,
)
from authflow.web import json as json_renderer
from authflow.web.answer import Answer
from authflow.web.body import ClientGone
from authflow.web.cookies import CookieJar, DeviceToken, SessionToken
from authflow.web.csrf import STATIC_KEY_HEADERS, SkeyIssuer, origin_is_ours
from authflow.web.exchange import SECRET_NAMES, VI, Exchange
from authflow.web.headers import SecurityHeaders
from authflow.web.page_policy import page_policies
from authflow.web.routes import Assurance, Handler, Route, table
from authflow.web.static_files import static_files
from authflow.web.views import Form, SessionChange, View

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from authflow.web.tasks import TaskEndpoint

Renderer: TypeAlias = Callable[[Exchange, View], Answer]
ErrorRenderer: TypeAlias = Callable[[Exchange, AuthflowError], Answer]

log = logging.getLogger("authflow.web")

PROGRAM_PREFIXES = ("/json", "/admin", VI)
"""Where programs are spoken to; `/admin` is what the older desktop tool calls `/json`."""

TASKS_PREFIX = "/_tasks/"

TOOL_PREFIXES = ("/admin", VI)
"""Where the paths lie that only ViUR's admin tools know."""

_RENDERERS: Mapping[str, tuple[Renderer, ErrorRenderer]] = {
    "/json": (json_renderer.render, json_renderer.render_error),
    "/admin": (vi.render, vi.render_error),
    VI: (vi.render, vi.render_error),
}

_ASKING = frozenset({"skey", "flow", "key"})
"""What a POST may hold that asks for a form: it says which one, and no more."""


class Edge:
    """The ASGI application.

    Args:
        app: The wired whole.
        manages_lifespan: Whether the server's start and stop open and close it. Mounted in another application, call
            `app.open` and `app.close` in that one's lifespan instead.
    """

    def __init__(self, app: Application, *, manages_lifespan: bool = True) -> None:
        self.app = app
        self.user = app.engine.user
        if self.user.vi_dialect not in vi_config.VERSIONS:
            raise ConfigurationError(f"vi_dialect must be one of {', '.join(vi_config.VERSIONS)}")
        self.jar = CookieJar(app.services.keyring, app.settings)
        self.skeys = SkeyIssuer(app.services.keyring)
        self.page_policies = page_policies(app.engine.registry.providers.values())
        self._headers = SecurityHeaders(app.settings)
        self._manages_lifespan = manages_lifespan
        providers, password = tuple(app.engine.registry.providers.values()), app.engine.registry.password_provider
        declared = [
            *login.routes(providers),
            *registration.routes(password),
            *recovery.routes(password),
            *entries.routes(),
            *entries_of_others.routes(),
            *factors.routes(app.engine.registry.second_factors),
            *identities.routes(providers),
            *service.routes(),
        ]
        self.routes = table(declared)
        self._paths = {prefix + path: (route, prefix) for prefix in ("", *PROGRAM_PREFIXES)
                       for path, route in self.routes.items()}  # fmt: skip
        # `viur-scriptor-api` 1.16.1 logs out with its renderer's prefix twice.
        self._paths[f"/json/json{login.LOGOUT_PATH}"] = (self.routes[login.LOGOUT_PATH], "/json")
        self.tool_routes = table(vi_config.routes(providers))
        self._paths |= {prefix + path: (route, prefix) for prefix in TOOL_PREFIXES
                        for path, route in self.tool_routes.items()}  # fmt: skip
        self._plain: dict[str, Callable[[], Answer]] = {
            "/healthz": lambda: Answer.json({"status": "ok"}),
            "/_ah/warmup": self._warm_up,
            **static_files(),
        }
        self.tasks = self._tasks_endpoint()

    def _tasks_endpoint(self) -> TaskEndpoint | None:
        """Make what Cloud Tasks calls; None where a queue delivers nothing from outside."""
        if self.app.settings.tasks == "local:":
            return None
        from authflow.web.tasks import endpoint

        return endpoint(self.app)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        else:
            # No websocket of ours exists: closing before accepting answers 403.
            await receive()
            await send({"type": "websocket.close", "code": 1000})

    # --- Requests -----------------------------------------------------------------------------------------------------

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        root: str = scope.get("root_path", "")
        if root and path.startswith(root):
            path = path[len(root) :] or "/"
        found, key = self._paths.get(path), ""
        if found is None and (plain := self._plain.get(path)) is not None:
            await self._send(send, scope, plain() if scope["method"] in ("GET", "HEAD") else _not_allowed())
            return
        if found is None and self.tasks is not None and path.startswith(TASKS_PREFIX):
            if (called := await self.tasks.answer(scope, receive, path)) is not None:
                await self._send(send, scope, called)
            return
        if found is None:
            parent, _, key = path.rpartition("/")
            found = self._paths.get(parent + "/*") if key else None
        prefix = found[1] if found else next((p for p in PROGRAM_PREFIXES if path.startswith(p + "/")), "")
        x = Exchange(self, scope, receive, prefix, key)
        x.path = path
        scope["authflow"] = x
        render, render_error = _RENDERERS.get(prefix, (html.render, html.render_error))
        try:
            try:
                if found is None:
                    raise await _lost(x)
                view = await self._handle(x, found[0])
                answer = render(x, view)
                self._apply(x, answer, view.session)
            except AuthflowError as error:
                answer = self._refused(x, error, render_error)
            except ClientGone:
                return
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and _is_being_cancelled():
                raise
            # The last resort (ASVS 16.5.4): nobody was let in, and the trace is in the log alone.
            log.exception("a request failed")
            answer = self._fallen(x, render_error)
        await self._send(send, scope, answer)

    async def _handle(self, x: Exchange, route: Route) -> View:
        method = "GET" if x.method == "HEAD" else x.method
        handler = {"GET": route.get, "POST": route.post}.get(method)
        if handler is None:
            raise MethodNotAllowed(route.methods)
        await x.read()
        if method == "GET":
            return await handler(x)
        if x.prefix == VI and route.is_form and route.get is not None and x.values.keys() <= _ASKING:
            return await self._ask(x, route.get)
        is_ticket_in_query = route.needs is Assurance.TICKET and "skey" in x.query
        if is_ticket_in_query or not SECRET_NAMES.isdisjoint(x.query):
            raise BadInput("a secret in the query")
        if route.needs_skey:
            try:
                await x.demand_skey()
            except SkeyInvalid as error:
                view = await self._again(x, route, error)
                refusals.note(x, error)
                return view
        return await handler(x)

    async def _ask(self, x: Exchange, show: Handler) -> View:
        """Show a form to a tool that asks for it by an empty POST. ViUR wants an skey good if there is one."""
        if "skey" in x.values:
            await x.demand_skey()
        x.demand_own_origin()
        x.is_asking = True
        return await show(x)

    async def _again(self, x: Exchange, route: Route, error: SkeyInvalid) -> View:
        """On pages a form that is too old comes back with what was typed, passwords excepted, and a fresh skey."""
        if x.by_program or route.get is None or not origin_is_ours(x.scope, self.app.settings):
            # What a page of somebody else sends is not shown again: one press on a button would make it ours.
            raise error
        x.demand_browser()
        try:
            twin = x.as_reading()
            view = await route.get(twin)
        except AuthflowError:
            raise error from None
        x.adopt(twin)
        if view.next_path or not view.template:
            raise error
        form = view.form and Form(view.form.path, view.form.fields, {**view.form.values, **x.values}, view.form.errors)
        return replace(view, status=error.status, form=form, errors=(error.sentence,))

    def _refused(self, x: Exchange, error: AuthflowError, render: ErrorRenderer) -> Answer:
        refusals.note(x, error)
        if error.status >= 500:
            log.error("%s: %s", error.code, error.detail, exc_info=error.status == 500)
        if error.status == 500:
            error = Unavailable(error.detail)
        answer = render(x, error)
        if error.retry_after is not None:
            seconds = max(1, -(-error.retry_after.total_seconds() // 1))
            answer.headers.append((b"retry-after", str(int(seconds)).encode()))
        if isinstance(error, MethodNotAllowed):
            answer.headers.append((b"allow", ", ".join(error.allowed).encode()))
        if x.new_browser_id:
            answer.headers.append((b"set-cookie", self.jar.browser_cookie(x.new_browser_id).encode()))
        return answer

    def _fallen(self, x: Exchange, render: ErrorRenderer) -> Answer:
        """Answer what nobody has foreseen, without a template if that is what fails."""
        fault = Unavailable("a request failed, see the trace before")
        try:
            return self._refused(x, fault, render)
        except Exception:
            log.exception("the page of a failed request failed")
            return self._refused(x, fault, json_renderer.render_error)

    def _apply(self, x: Exchange, answer: Answer, change: SessionChange) -> None:
        """Set the cookies that an answer changes."""
        headers, jar = answer.headers, self.jar
        if x.new_browser_id:
            headers.append((b"set-cookie", jar.browser_cookie(x.new_browser_id).encode()))
        if change.issued is not None:
            token = SessionToken(change.issued.secret, change.account_id)
            headers.append((b"set-cookie", jar.session_cookie(token).encode()))
            if change.issued.static_key and x.by_program:
                headers += [(name.lower().encode(), change.issued.static_key.encode()) for name in STATIC_KEY_HEADERS]
        elif change.is_ended:
            headers.append((b"set-cookie", jar.clear_session().encode()))
            headers.append((b"clear-site-data", b'"cache", "storage"'))
        if change.device is not None:
            claim = change.device
            device = DeviceToken(claim.device_id, claim.account_id, claim.epoch, int(x.now.timestamp()))
            headers.append((b"set-cookie", jar.device_cookie((device, *x.cookies.devices(x.now))).encode()))

    async def _send(self, send: Send, scope: Scope, answer: Answer) -> None:
        headers = self._headers.add(answer.headers, answer.kind)
        headers.append((b"content-length", str(len(answer.body)).encode()))
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})

    # --- Plain paths and the server's life ----------------------------------------------------------------------------

    def _warm_up(self) -> Answer:
        self.app.renderer.warm(["login.html", "user_password/login.html", "profile.html", "error.html"])
        return Answer.json({"status": "warm"})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._run(self.app.open, send, "lifespan.startup")
            else:
                await self._run(self.app.close, send, "lifespan.shutdown")
                return

    async def _run(self, step: Callable[[], Awaitable[None]], send: Send, name: str) -> None:
        try:
            if self._manages_lifespan:
                await step()
        except AuthflowError as error:
            await send({"type": f"{name}.failed", "message": f"{error.code}: {error.detail or error.sentence}"})
        else:
            await send({"type": f"{name}.complete"})


async def _lost(x: Exchange) -> RequestError:
    """Say why there is nothing here: a step of a flow may be one that only another version of this site has."""
    if x.path.startswith(f"{x.prefix}/user/") and x.method in ("GET", "HEAD", "POST"):
        await x.read()
        if is_reference(x.get("flow")) or is_reference(x.query.get("state", "")):
            return DefinitionChanged("no provider of this name is declared here")
    return NotFound()


def _is_being_cancelled() -> bool:
    """Whether somebody cancels this request, rather than something inside it having been cancelled."""
    task = asyncio.current_task()
    return task is None or bool(task.cancelling())


def _not_allowed() -> Answer:
    answer = Answer.json({"status": 405, "code": MethodNotAllowed.code}, 405)
    answer.headers.append((b"allow", b"GET, HEAD"))
    return answer


def create_app(app: Application, *, manages_lifespan: bool = True) -> Edge:
    """Make the ASGI application of a wired whole."""
    return Edge(app, manages_lifespan=manages_lifespan)
