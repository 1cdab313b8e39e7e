"""A whole site behind a wire, what it holds at one moment, and how two moments are compared."""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cache, partial
from typing import Any

from authflow.assembly import build
from authflow.federated import Assertion
from authflow.federation import linking
from authflow.hashing_pool import HashingPool, Slot
from authflow.mail import MailUnavailable
from authflow.model import Account, Credential
from authflow.notices import handlers
from authflow.render import Renderer
from authflow.seam import Call
from authflow.settings import Settings
from authflow.store.protocol import Key
from authflow.tasks.protocol import Handler, Task
from authflow.user import User
from authflow.web.app import create_app
from providers.google_account import ISSUER, GoogleAccount
from tests.engine_kit import KEY, Clock
from tests.faults.chaos import CreateFailed, FaultyFetching, FaultyMail, FaultyStore, Rows, Wire
from tests.parts.google_issuer import SigningKey
from tests.parts.google_people import ADAS_SUBJECT, CLIENT_ID, attribute
from tests.threats.tools import Registering
from tests.web_kit import BASE_URL, OTP_SECRET, Page, Person, Site

GOOGLE = SigningKey("key-1")
TOKEN_SECRET = bytes(range(60, 80))
"""Of a second factor beside the app, for those who choose."""

_CODE = r"[0-9a-z]{4}(?:-[0-9a-z]{4}){3}"
_DRAWN_ON_PAGES = re.compile(_CODE + r"|(?=[a-z_=.-]*[A-Z0-9])[A-Za-z0-9_=.-]{16,}")
_DRAWN_IN_STORES = re.compile(_CODE + r"|(?=[a-z_=/+$.-]*[A-Z0-9])[A-Za-z0-9_=/+$.-]{16,}")
"""What chance has made has a digit or a capital among its sixteen characters and more; no word of ours has."""
_SHOWN = re.compile(r'(<code class="secret">)[^<]+|(data:image/)[^"]+')
_INSTANT = 10**15
"""Whole numbers above it are instants in microseconds."""


class OwnGoogle(GoogleAccount):
    """Google whose keys come over the wire. Strangers may come."""

    certs_url = "https://certs.test/certs"
    registration_enabled = True


class Everything(User):
    """Every way in, every factor, and open registration. Each flow leaves a trace, so that no run depends on chance."""

    trace_share = 1.0
    authentication_providers: tuple[Any, ...] = (Registering, OwnGoogle)
    second_factor_providers: tuple[Any, ...] = (
        "providers.time_based_otp:TimeBasedOTP",
        "providers.recovery_codes:RecoveryCodes",
    )
    valid_authentication_methods = (
        ("user_password", "time_based_otp"),
        ("user_password", None),
        ("google_account", "time_based_otp"),
        ("google_account", None),
    )


class InlinePool(HashingPool):
    """Hashes where it is asked to: threads would have no part in virtual time."""

    async def run(self, slot: Slot, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        slot._start()
        try:
            return function(*args, **kwargs)
        finally:
            slot._finish()


class Seen:
    """An observer of the product's own seam: it must see every call that the wire sees."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []

    async def before(self, call: Call) -> None:
        self.calls.append((call.kind, call.operation))

    def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
        pass


class Log(logging.Handler):
    """Keeps what is logged, traces and all."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@dataclass
class Moment:
    """What everything was like."""

    rows: Rows
    previous: Rows
    now: datetime
    cookies: dict[str, str]


@dataclass
class Stage:
    """A site, one person with a browser, and the wire to everything outside.

    Attributes:
        secrets: What must not be logged, as far as the operation knows it.
    """

    site: Site
    person: Person
    wire: Wire
    store: FaultyStore
    mail: FaultyMail
    seen: Seen
    secrets: list[str] = field(default_factory=list)

    def moment(self) -> Moment:
        store = self.store
        return Moment(dict(store._rows), dict(store.previous), self.site.clock.now, dict(self.person.cookies))

    def restore(self, moment: Moment) -> None:
        self.store._rows, self.store.previous = dict(moment.rows), dict(moment.previous)
        self.store.history.clear()
        self.site.clock.now = moment.now
        self.person.cookies = dict(moment.cookies)
        self.mail.mails.clear()
        self.seen.calls.clear()
        self.wire.disarm()

    async def linked(self, account: Account, subject: str = ADAS_SUBJECT) -> Account:
        """Give an account a Google identity, as a link would have written it."""
        now, found = self.site.clock(), Assertion(ISSUER, subject, shown_as="ada@gmail.com")
        credential = Credential(account.id, "google_account", now, now, found.to_data())
        await self.store.commit(linking(self.site.app.engine.vault.credential_data(credential), found, now))
        return account

    def google_token(self, page: Page, subject: str = ADAS_SUBJECT, **claims: Any) -> str:
        """Return what Google would confirm on a page."""
        now = int(self.site.clock().timestamp())
        client = attribute(page, "data-client_id")
        honest = {"iss": ISSUER, "aud": client, "azp": client, "sub": subject, "iat": now, "exp": now + 3600}
        honest |= {"nonce": attribute(page, "data-nonce"), "email": "ada@gmail.com", "email_verified": True}
        return GOOGLE.token({**honest, **claims})

    def is_idle(self) -> bool:
        """Whether nothing that a request takes is still taken."""
        services = self.site.app.services
        is_free = services.pool._free == services.pool.threads * 17
        return is_free and not self.site.app.engine.admission._running


@cache
def _renderer() -> Renderer:
    """Return one renderer for all stages: to compile the templates takes longer than most trials."""
    return Renderer()


async def make_stage(user: User | None = None, *, has_cloud_tasks: bool = False) -> Stage:
    """Build and open a site behind a wire.

    Args:
        has_cloud_tasks: On App Engine, with a queue that is asked over the wire.
    """
    wire, clock = Wire(), Clock()
    store, mail, seen = FaultyStore(wire), FaultyMail(wire), Seen()
    settings = Settings(
        store="memory:",
        secret_keys=(KEY,),
        base_url=BASE_URL,
        bcrypt_rounds=4,
        provider_environment={"google_client_id": CLIENT_ID},
        tasks="cloudtasks:demo-project/europe-west1/mail" if has_cloud_tasks else "local:",
        on_app_engine=has_cloud_tasks,
    )
    fetching = FaultyFetching(wire, {GOOGLE.kid: GOOGLE.pem})
    app = build(
        settings,
        user=user or Everything(),
        store=store,
        transport=mail,
        clock=clock,
        fetching=fetching,
        observers=(seen,),
    )
    app.services.pool.__class__ = InlinePool
    if has_cloud_tasks:
        _wire_queue(wire, app.services.tasks)
    renderer = _renderer()
    made = {name: _wired(wire, do) for name, do in handlers(app.engine, renderer, mail).items()}
    app = replace(app, renderer=renderer, handlers=made)
    await app.open(with_worker=False)
    site = Site(app, create_app(app), clock, mail, store)
    stage = Stage(site, site.person(), wire, store, mail, seen)
    stage.secrets += [KEY, OTP_SECRET.hex(), TOKEN_SECRET.hex()]
    return stage


def _wired(wire: Wire, do: Handler) -> Handler:
    async def handler(task: Task) -> None:
        await wire.through("tasks", "run", MailUnavailable, partial(do, task))

    return handler


def _wire_queue(wire: Wire, queue: Any) -> None:
    async def accepted() -> None:
        """Take a task, as Cloud Tasks does, and never deliver it."""

    async def create(*task: object) -> None:
        await wire.through("tasks", "create", CreateFailed, accepted)

    queue._create = create


# --- Comparing --------------------------------------------------------------------------------------------------------


def masked(text: str) -> str:
    """Blot out what chance has made of a page."""
    return _DRAWN_ON_PAGES.sub("*", _SHOWN.sub(r"\1\2*", text))


def contents(rows: Rows, known: Rows, *, without_times: bool = False) -> Counter[str]:
    """Return what a store holds, so that two runs from one moment can be compared whatever they drew.

    Args:
        known: The rows at that moment: their keys stand as they are.
        without_times: Blot out instants, and how often a task was tried.
    """
    found: Counter[str] = Counter()
    for key, row in rows.items():
        if key.kind == "trace":
            continue  # Tells how long things took, and stands in the commit that it is about.
        name = key.name if key in known else "*"
        data = _plain(json.loads(row.body), without_times)
        expires = "" if without_times else row.expires_at
        found[f"{key.kind} {name} {json.dumps(data, sort_keys=True)} {expires}"] += 1
    return found


def _plain(value: Any, without_times: bool) -> Any:
    match value:
        case dict():
            return {
                name: _plain(part, without_times)
                for name, part in value.items()
                if not (without_times and name in ("attempts", "due_at", "leased"))
            }
        case list():
            return [_plain(part, without_times) for part in value]
        case str():
            return _DRAWN_IN_STORES.sub("*", value)
        case int() if without_times and value > _INSTANT:
            return "then"
        case _:
            return value


def difference(one: Counter[str], other: Counter[str]) -> str:
    """Say what two contents do not share."""
    lines = [f"- {line}" for line in (one - other)] + [f"+ {line}" for line in (other - one)]
    return "\n".join(lines)


def kinds_changed(before: Rows, after: Rows) -> set[str]:
    """Return the kinds of records that were made, changed or removed."""
    keys: set[Key] = {*before, *after}
    return {key.kind for key in keys if before.get(key) != after.get(key)}


Act = Callable[[], Awaitable[Any]]
