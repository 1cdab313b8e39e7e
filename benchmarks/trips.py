"""Store round trips per step, counted in-process where every call to the store passes, beside their budgets."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import pyotp

from authflow import tickets
from authflow.assembly import Application, build
from authflow.model import Account, Purpose
from authflow.records import account_key, name_key
from authflow.seam import billing
from authflow.settings import from_environment
from authflow.web.app import Edge, create_app
from benchmarks.client import Failed, Reply
from benchmarks.floor import PASSWORD
from benchmarks.seed import fill
from benchmarks.subjects import AUTHFLOW, hidden, mail, otp_secret

LOGIN, OTP, RECOVER = "/user/auth_userpassword/login", "/user/f2_timebasedotp/otp", "/user/auth_userpassword/pwrecover"
PROFILE, LOGOUT = "/json/user/view/self", "/user/logout"
FORGED = {"authflow_session": "x" * 43 + "." + "y" * 22 + "." + "z" * 43}


@dataclass(frozen=True, slots=True)
class Step:
    """One row: what was done, how many round trips it took and how many it may take."""

    name: str
    trips: int
    budget: int


async def count() -> list[Step]:
    """Take every step once, on an own store, and count."""
    with tempfile.TemporaryDirectory(prefix="authflow-bench-") as folder:
        clock = _Clock()
        settings = from_environment(AUTHFLOW.environment(Path(folder, "trips.db"), 0))
        app = build(settings, clock=clock)
        # Without the worker: only what stands between a request and its answer is counted.
        await app.open(with_worker=False)
        try:
            await fill(app, 4)
            return await _Walk(app, create_app(app), clock).take()
        finally:
            await app.close()


@dataclass
class _Clock:
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.now


@dataclass
class _Visit:
    """A browser that calls the application without a server."""

    edge: Edge
    jar: dict[str, str] = field(default_factory=dict)
    trips: int = 0

    async def get(self, path: str, status: int = 200) -> Reply:
        return await self._call("GET", path, b"", status)

    async def post(self, path: str, fields: Mapping[str, str], status: int = 200) -> Reply:
        return await self._call("POST", path, urlencode(fields).encode(), status)

    async def form(self, path: str) -> dict[str, str]:
        return hidden(await self.get(path))

    async def _call(self, method: str, path: str, body: bytes, status: int) -> Reply:
        cookies = "; ".join(f"{name}={value}" for name, value in self.jar.items())
        headers = [(b"host", b"127.0.0.1:8000"), (b"cookie", cookies.encode())]
        if method == "POST":
            headers.append((b"content-type", b"application/x-www-form-urlencoded"))
            headers.append((b"content-length", str(len(body)).encode()))
        path, _, query = path.partition("?")
        scope = {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": headers,
                 "root_path": "", "scheme": "http", "client": ("127.0.0.1", 1)}  # fmt: skip
        sent: list[Mapping[str, object]] = []

        async def receive() -> Mapping[str, object]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Mapping[str, object]) -> None:
            sent.append(message)

        with billing() as bill:
            await self.edge(scope, receive, send)  # type: ignore[arg-type]  # plain mappings are messages
        self.trips = bill.total("store")
        reply = self._reply(sent)
        if reply.status != status:
            raise Failed(f"{method} {path}: {reply.status} instead of {status}: {reply.body[:300]!r}")
        return reply

    def _reply(self, sent: list[Mapping[str, object]]) -> Reply:
        start, end = sent
        headers: list[tuple[bytes, bytes]] = start["headers"]  # type: ignore[assignment]  # as ASGI has it
        for name, value in headers:
            if name == b"set-cookie":
                key, _, text = value.decode().partition(";")[0].partition("=")
                self.jar[key] = text
        head = b"".join(b"\r\n" + name + b": " + value for name, value in headers)
        return Reply(int(str(start["status"])), head + b"\r\n", bytes(end["body"]))  # type: ignore[call-overload]


class _Walk:
    def __init__(self, app: Application, edge: Edge, clock: _Clock) -> None:
        self._app = app
        self._edge = edge
        self._clock = clock
        self._steps: list[Step] = []

    async def take(self) -> list[Step]:
        await self._anonymous()
        await self._passwords()
        await self._codes()
        await self._recovery()
        return self._steps

    def _note(self, name: str, visit: _Visit, budget: int) -> None:
        self._steps.append(Step(name, visit.trips, budget))

    def _visit(self, jar: Mapping[str, str] | None = None) -> _Visit:
        return _Visit(self._edge, dict(jar or {}))

    async def _anonymous(self) -> None:
        visit = self._visit()
        await visit.get("/user/login")
        self._note("login page", visit, 0)
        await visit.get("/skey?amount=100")
        self._note("skey, a hundred", visit, 0)
        await visit.get(RECOVER)
        self._note("anonymous page", visit, 0)
        forger = self._visit(FORGED)
        await forger.get(PROFILE, 401)
        self._note("forged cookie", forger, 0)

    async def _passwords(self) -> None:
        visit = await self._log_in(mail(0))
        self._note("password right, complete", visit, 3)
        await visit.get(LOGOUT)
        self._note("page with a valid session", visit, 1)
        await visit.get(PROFILE)
        self._note("authenticated request", visit, 1)
        self._clock.now += timedelta(minutes=6)
        await visit.get(PROFILE)
        self._note("authenticated request, use noted", visit, 2)
        await visit.post(LOGOUT, await visit.form(LOGOUT))
        self._note("log out", visit, 2)
        await self._attempt(mail(1), "wrong, all of it")
        self._note("password wrong", self._last, 3)
        await self._attempt("nobody@example.org", "wrong, all of it")
        self._note("password, unknown name", self._last, 3)
        for _ in range(10):
            await self._attempt(mail(2), "wrong, all of it")
        await self._attempt(mail(2), PASSWORD, 429)
        self._note("password refused at the limit", self._last, 1)

    async def _codes(self) -> None:
        visit, page = await self._owing(mail(0, with_factor=True))
        self._note("password right, factor owed", visit, 3)
        fields = await visit.form(page)
        await visit.post(OTP, {**fields, "otptoken": self._code(days=1)})
        self._note("code wrong", visit, 2)
        await visit.post(OTP, {**await visit.form(page), "otptoken": self._code()}, 303)
        self._note("code right", visit, 2)

    async def _recovery(self) -> None:
        for name, label in ((mail(3), "known"), ("nobody@example.org", "unknown")):
            visit = self._visit()
            await visit.post(RECOVER, {**await visit.form(RECOVER), "name": name}, 303)
            self._note(f"recovery asked, {label} name", visit, 2)
        visit = self._visit()
        page = f"{RECOVER}?recovery_key={await self._ticket(mail(3))}"
        reply = await visit.get(page)
        key = page.partition("=")[2]
        fields = {**hidden(reply), "recovery_key": key, "password": "an entirely new phrase"}
        await visit.post(RECOVER, fields)
        self._note("recovery finished", visit, 2)

    async def _attempt(self, name: str, password: str, status: int = 200) -> Reply:
        self._last = visit = self._visit()
        fields = {**await visit.form("/user/login"), "name": name, "password": password}
        return await visit.post(LOGIN, fields, status)

    async def _log_in(self, name: str) -> _Visit:
        await self._attempt(name, PASSWORD, 303)
        return self._last

    async def _owing(self, name: str) -> tuple[_Visit, str]:
        reply = await self._attempt(name, PASSWORD, 303)
        return self._last, reply.header("location")

    def _code(self, days: int = 0) -> str:
        return pyotp.TOTP(otp_secret()).at(self._clock.now + timedelta(days=days))

    async def _ticket(self, name: str) -> str:
        """Make a recovery ticket as the worker would, without its mail."""
        store, keyring = self._app.services.store, self._app.services.keyring
        place = name_key(name)
        owner = account_key(str((await store.get((place,)))[place].data["account_id"]))
        account = Account.from_data((await store.get((owner,)))[owner].data)
        token = tickets.mint(keyring, Purpose.RECOVERY, "bench", account.id)
        await store.commit((tickets.insertion(token, tickets.make(Purpose.RECOVERY, account, self._clock.now)),))
        return token
