"""A person with a browser, talking to the edge in process: cookies, forms, redirects, and what each request costs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlencode

from authflow.assembly import Application, build
from authflow.model import Account
from authflow.notices import handlers
from authflow.render import Renderer
from authflow.seam import Bill, Observer, billing
from authflow.settings import Settings
from authflow.store.protocol import Store
from authflow.user import User
from authflow.web.app import Edge, create_app
from providers.time_based_otp import generate_otps, new_hardware_token
from tests.engine_kit import KEY, PASSWORD, Clock, Kit

BASE_URL = "http://127.0.0.1:8000"
OTP_SECRET = bytes(range(20, 40))
ADA = "ada@example.org"


class Outbox:
    """A mail transport that keeps what it is given."""

    def __init__(self) -> None:
        self.mails: list = []

    async def send(self, mail) -> None:
        self.mails.append(mail)

    def last(self):
        return self.mails[-1]


@dataclass
class Site:
    """A whole application in process."""

    app: Application
    edge: Edge
    clock: Clock
    outbox: Outbox

    async def run_tasks(self) -> int:
        return await self.app.services.tasks.run_due(self.app.handlers)

    def person(self, **more) -> Person:
        return Person(self.edge, **more)

    def link(self) -> str:
        """Return the newest mailed address that holds a key, without its origin."""
        for mail in reversed(self.outbox.mails):
            if found := re.search(re.escape(self.app.settings.base_url) + r"(\S+=\S+)", mail.text):
                return found[1]
        raise AssertionError("no mail holds a key")

    @property
    def kit(self) -> Kit:
        """The engine and its bare store, for making accounts and looking at records."""
        services = self.app.services
        return Kit(self.app.engine, self.clock, services.store._store, services.pool)

    async def account(self, name: str = ADA, **more) -> Account:
        return await self.kit.account(name, **more)

    async def account_with_totp(self, name: str = ADA, *, secret: bytes = OTP_SECRET, **more) -> Account:
        """Write an account that owes a code of an authenticator app after its password."""
        account = await self.kit.account(name, **more)
        now = self.clock()
        token = new_hardware_token(account.id, serial="1", secret_hex=secret.hex(), now=now, interval=30)
        return await self.kit.enrolled(account, token)

    def code(self, step: int = 0, *, secret: bytes = OTP_SECRET) -> str:
        """Return what the app shows now, or so many steps later."""
        counter = int(self.clock().timestamp()) // 30 + step
        return generate_otps(secret, (counter,), digits=6, algorithm="SHA1")[0]

    def wrong_code(self) -> str:
        """Return a code that no step near now has."""
        near = {self.code(step) for step in range(-15, 16)}
        return next(code for code in ("000000", "111111", "222222") if code not in near)

    async def logged_in(self, name: str = ADA, *, with_code: bool = False, **more) -> Person:
        """Return a person who has logged in by the pages. With a code, the step of the app is spent."""
        person = self.person(**more)
        page = await person.log_in(name)
        if with_code:
            page = await person.send((await person.follow(page)).form("otp"), otptoken=self.code())
        assert page.location == "/user/view/self", page.text
        return person

    async def pending(self, name: str = ADA, **more) -> tuple[Person, Page]:
        """Return a person whose password was right and who owes a code, and the page that asks for it."""
        person = self.person(**more)
        page = await person.follow(await person.log_in(name))
        assert page.form("otp")
        return person, page


@lru_cache
def _renderer(templates: str) -> Renderer:
    return Renderer(templates or None)


async def make_site(
    user: User | None = None,
    *,
    store: Store | None = None,
    observers: tuple[Observer, ...] = (),
    base_url: str = BASE_URL,
    sqlite: Path | None = None,
    rounds: int = 4,
    **settings,
) -> Site:
    """Build and open an application with a clock that is turned by hand, without a task worker."""
    clock, outbox = Clock(), Outbox()
    configured = Settings(
        store=f"sqlite:{sqlite}" if sqlite else "memory:",
        secret_keys=(KEY,),
        base_url=base_url,
        bcrypt_rounds=rounds,
        **settings,
    )
    app = build(configured, user=user or User(), store=store, transport=outbox, clock=clock, observers=observers)
    # One renderer for all sites: to compile the templates takes longer than most tests.
    renderer = _renderer(configured.templates)
    app = replace(app, renderer=renderer, handlers=handlers(app.engine, renderer, outbox))
    await app.open(with_worker=False)
    return Site(app, create_app(app), clock, outbox)


@dataclass
class Page:
    """An answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    bill: Bill
    forms: list[Form] = field(default_factory=list)

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self):
        return json.loads(self.body)

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")

    @property
    def location(self) -> str:
        return self.header("location")

    @property
    def cost(self) -> int:
        """Round trips to the store."""
        return self.bill.total("store")

    @property
    def set_cookies(self) -> dict[str, str]:
        found = [value for key, value in self.headers if key == "set-cookie"]
        return {text.partition("=")[0]: text for text in found}

    def form(self, action: str = "") -> Form:
        return next(form for form in self.forms if action in form.action)


@dataclass
class Form:
    action: str
    values: dict[str, str]


class _Forms(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[Form] = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "form":
            self.found.append(Form(given.get("action") or "", {}))
        elif tag == "input" and self.found and given.get("name"):
            self.found[-1].values[given["name"]] = given.get("value") or ""


class Person:
    """Somebody with a browser of their own.

    Args:
        address: Where they come from.
        headers: Sent with every request.
    """

    def __init__(self, edge: Edge, *, address: str = "192.0.2.10", headers: Mapping[str, str] | None = None) -> None:
        self.edge = edge
        self.address = address
        self.headers = dict(headers or {})
        self.cookies: dict[str, str] = {}

    async def get(self, path: str, **more) -> Page:
        return await self.request("GET", path, **more)

    async def post(self, path: str, values: Mapping[str, str] | None = None, **more) -> Page:
        body = urlencode(values or {}).encode()
        headers = {"content-type": "application/x-www-form-urlencoded"}
        return await self.request("POST", path, body=body, headers=headers | dict(more.pop("headers", {})), **more)

    async def send(self, form: Form, **typed: str) -> Page:
        """Fill in a form and send it."""
        return await self.post(form.action, {**form.values, **typed})

    async def log_in(self, name: str = ADA, password: str = PASSWORD, *, path: str = "/user/login") -> Page:
        """Send name and password from the login page; return the answer."""
        page = await self.get(path)
        return await self.send(page.form("login"), name=name, password=password)

    async def follow(self, page: Page) -> Page:
        """Go where an answer leads, until it is a page."""
        while page.status == 303:
            page = await self.get(page.location)
        return page

    async def skey(self, prefix: str = "/json") -> str:
        return (await self.get(f"{prefix}/skey")).json

    async def json_post(self, path: str, **values: str) -> Page:
        return await self.post(path, {"skey": await self.skey(), **values})

    async def request(
        self, method: str, path: str, *, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> Page:
        if path.startswith(BASE_URL):
            path = path[len(BASE_URL) :]
        path, _, query = path.partition("?")
        raw = [(b"host", b"127.0.0.1:8000")]
        for name, value in {**self.headers, **(headers or {})}.items():
            raw.append((name.lower().encode(), value.encode()))
        if self.cookies:
            raw.append((b"cookie", "; ".join(f"{k}={v}" for k, v in self.cookies.items()).encode()))
        if body:
            raw.append((b"content-length", str(len(body)).encode()))
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            # As servers do it: the path arrives decoded, once.
            "path": unquote_to_bytes(path).decode("utf-8", "replace"),
            "raw_path": path.encode(),
            "query_string": query.partition("#")[0].encode(),
            "root_path": "",
            "headers": raw,
            "client": (self.address, 1234),
            "server": ("127.0.0.1", 8000),
        }
        sent: list[dict] = []
        messages = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive():
            return messages.pop(0) if messages else {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        with billing() as bill:
            await self.edge(scope, receive, send)
        answer = [(k.decode(), v.decode()) for k, v in sent[0]["headers"]]
        page = Page(sent[0]["status"], answer, b"".join(m.get("body", b"") for m in sent[1:]), bill)
        for text in page.set_cookies.values():
            name, _, rest = text.partition("=")
            value = rest.partition(";")[0]
            if "Max-Age=0" in text or not value:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        if "html" in page.header("content-type"):
            parser = _Forms()
            parser.feed(page.text)
            page.forms = parser.found
        return page
