"""A small world that fits into a dictionary: its store, its people, and how to put it back to where it began.

Everything that costs time is left out: hashes are texts, the clock stands still, nothing leaves the event loop.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from authflow import tickets
from authflow.accounts import Accounts
from authflow.administration import Administration
from authflow.engine import Engine
from authflow.enrolment import Enrolment
from authflow.federated import Assertion
from authflow.federation import linking
from authflow.identifiers import canonical_name
from authflow.identities import Identities
from authflow.managing import Managing
from authflow.model import Account, Credential, Plain, Purpose, Status
from authflow.passwords import Verification
from authflow.provider import Ask
from authflow.records import account_key, credential_key, name_key
from authflow.results import ChoiceOwed, EnrolmentOwed, LoggedIn, StepOwed
from authflow.sessions import Current, DeviceClaim, Visitor
from authflow.store.memory import MemoryStore
from authflow.store.protocol import Insert, Key, Write
from authflow.testing.schedules import Explorer, ScheduledStore, Step
from authflow.throttle import Admission, Bucket, Limit, bucket_key
from authflow.tokens import digest
from authflow.user import User
from providers.time_based_otp import TimeBasedOTP, generate_otps, new_hardware_token
from providers.user_password import UserPassword
from tests.engine_kit import PASSWORD, Clock, browser, make_kit
from tests.federation.elsewhere import ISSUER, Elsewhere

ADA, ROOT, WAITING, GRACE = "ada@example.org", "root@example.org", "wanda@example.org", "grace@example.org"
SECRET = bytes(range(30, 50))
THERE, OTHER_THERE = "ada-there", "ada-elsewhere"

renewing: ContextVar[bool] = ContextVar("renewing", default=False)
"""Whether a right password finds its hash to be one of long ago."""


class InlineHasher:
    """Judges passwords at once. A hash is the password in clear, which says in a trace what it was made of."""

    async def hash(self, slot: object, password: str) -> str:
        return f"hash of {password}"

    async def verify(self, slot: object, password: str, stored: str | None) -> Verification:
        is_valid = stored == f"hash of {password}"
        return Verification(is_valid, is_valid and renewing.get())


class Elsewhen(Admission):
    """Every operation runs in a process of its own, and none of them knows of the others but by the store."""

    @contextmanager
    def enter(self, *buckets: Bucket, now: datetime) -> Iterator[None]:
        yield


class SpareApp(TimeBasedOTP):
    name, label = "spare_app", "Spare app"
    path, method_name = "f2_spareapp", "X-VIUR-2FACTOR-SpareApp"


class Yonder(Elsewhere):
    name, label = "yonder", "Yonder"
    path, method_name = "auth_yonder", "X-VIUR-AUTH-Yonder"


class Open(UserPassword):
    registration_enabled = True
    registration_admin_verification_required = False


class Welcoming(Elsewhere):
    admits_anybody = True


class Everybody(User):
    """All there is: two identities of elsewhere, two apps, codes, and registration."""

    authentication_providers = (Open, Welcoming, Yonder)
    second_factor_providers = (
        "providers.time_based_otp:TimeBasedOTP",
        SpareApp,
        "providers.recovery_codes:RecoveryCodes",
    )
    valid_authentication_methods = tuple(
        (first, second)
        for first in ("user_password", "elsewhere", "yonder")
        for second in ("time_based_otp", "spare_app", None)
    )
    second_factor_required_roles = frozenset({"viewer"})
    trace_share = 1.0  # Which flows leave a trace would hang on their random ids.


@dataclass(frozen=True)
class Home:
    """What was in the world when it was made: who has which browser, and what everybody holds in hand.

    Attributes:
        visitors: By the name of the browser.
        held: Tokens, codes and references of forms, by name.
        sessions: Ids of the sessions of the beginning, to the name of the browser.
    """

    ids: Mapping[str, str]
    visitors: Mapping[str, Visitor]
    held: Mapping[str, str]
    sessions: Mapping[str, str]


class Watching(Protocol):
    """Looks at what happens in a world."""

    def over(self, world: World) -> None:
        """Hear which world it is, once it is made."""

    def began(self) -> None:
        """Hear that a run begins."""

    def step(self, step: Step) -> None:
        """Hear of a call to the store that was let through."""


class World:
    """An engine over a scheduled store.

    Args:
        make: Makes what is there when each run begins.
        wrap: Puts something between the scheduler and the records, such as a fault.
        watch: Looks at each commit.
    """

    def __init__(
        self,
        make: Callable[[World], Any],
        *,
        wrap: Callable[[MemoryStore], Any] = lambda store: store,
        watch: Watching | None = None,
    ) -> None:
        self.watch = watch
        self.memory = MemoryStore()
        self.memory._is_open = True
        self.store = ScheduledStore(wrap(self.memory))
        self.kit = make_kit(Everybody(), store=self.store)
        self.clock: Clock = self.kit.clock
        self.engine: Engine = self.kit.engine
        self.engine.services = replace(self.engine.services, hasher=InlineHasher())  # type: ignore[arg-type]
        self.engine.admission = Elsewhen()
        self.accounts = Accounts(self.engine)
        self.managing = Managing(self.engine)
        self.operator = Administration(self.engine)
        self.enrolment = Enrolment(self.engine)
        self.identities = Identities(self.engine)
        self.explorer = Explorer(self.store, self.fresh, watch.step if watch else None)
        self.home: Home = self.explorer.prepare(make(self))
        self.rows = dict(self.memory._rows)
        self.began = self.clock.now
        if watch:
            watch.over(self)

    def close(self) -> None:
        self.explorer.close()
        self.kit.pool.close()

    def fresh(self) -> None:
        self.memory._rows = dict(self.rows)
        self.clock.now = self.began
        if self.watch:
            self.watch.began()

    def provider(self, name: str) -> Any:
        return self.engine.registry.providers[name]

    def visitor(self, name: str) -> Visitor:
        """Return a browser of the beginning, or a new one of this name."""
        return self.home.visitors.get(name) or browser(browser_id=name)

    async def current(self, name: str) -> Current | None:
        """Read who is logged in, as the edge does before anything else."""
        return await self.engine.sessions.current(self.visitor(name), self.clock())

    def code(self, secret: bytes = SECRET, step: int = 0) -> str:
        counter = int(self.clock().timestamp()) // 30 + step
        return generate_otps(secret, (counter,), digits=6, algorithm="SHA1")[0]

    def wrong_code(self) -> str:
        near = {self.code(step=step) for step in range(-20, 21)}
        return next(code for code in ("000000", "111111", "222222", "333333") if code not in near)

    def token(self, subject: str, reference: str = "", **claims: str) -> str:
        """Return what an issuer says of somebody. Without a nonce it proves something once, wherever it is sent."""
        return json.dumps({"issuer": ISSUER, "subject": subject, **claims})


# --- Making -----------------------------------------------------------------------------------------------------------


async def account(world: World, name: str, *, password: str | None = PASSWORD, **more: Any) -> Account:
    now = world.clock()
    made = Account(digest(name)[:22], name, canonical_name(name), now, now, email=name, **more)
    writes: list[Write] = [
        Insert(account_key(made.id), made.to_data()),
        Insert(name_key(made.canonical_name), {"account_id": made.id}),
    ]
    if password is not None:
        writes.append(credential(world, made, "user_password", {"hash": f"hash of {password}"}))
    await world.memory.commit(writes)
    return made


def credential(world: World, owner: Account, provider: str, data: dict[str, Plain]) -> Insert:
    now = world.clock()
    made = Credential(owner.id, provider, now, now, data)
    return Insert(credential_key(owner.id, provider), world.engine.vault.credential_data(made))


async def settled(world: World) -> Home:
    """Ada has a password, an app, codes and an identity of elsewhere; she is logged in twice and about to be again."""
    ada = await account(world, ADA, factors=("time_based_otp",), profile={"firstname": "Ada"})
    root = await account(world, ROOT, access=("root",))
    now, vault = world.clock(), world.engine.vault
    app = new_hardware_token(ada.id, serial="1", secret_hex=SECRET.hex(), now=now, interval=30)
    flow = world.engine.start()
    issued = world.provider("recovery_codes").issue(
        world.engine.context(flow, world.provider("recovery_codes"), account=ada)
    )
    there = Assertion(ISSUER, THERE)
    linked = Credential(ada.id, "elsewhere", now, now, there.to_data())
    await world.memory.commit(
        [
            Insert(credential_key(ada.id, app.provider), vault.credential_data(app)),
            Insert(credential_key(ada.id, "recovery_codes"), vault.credential_data(issued.credential)),
            *linking(vault.credential_data(linked), there, now),
        ]
    )
    held = {"code 1": issued.codes[0], "code 2": issued.codes[1]}
    visitors: dict[str, Visitor] = {}

    # The phone has been there for six minutes, so that its use is noted at its next request.
    visitors["phone"] = await logged_in(world, "phone", ada)
    world.clock.pass_by(timedelta(minutes=6))
    visitors["desk"] = await logged_in(world, "desk", ada)
    held["spent code"] = world.code()
    visitors["office"] = await entered(world, "office", root)
    world.clock.pass_by(timedelta(seconds=30))
    for name in ("cafe", "train"):
        visitors[name] = await entered(world, name, ada)

    # Begun and not ended: another app, the connection of another identity, a login, all at the desk.
    current = await world.engine.sessions.current(visitors["desk"], world.clock())
    owed = await world.enrolment.begin(world.provider("spare_app"), visitors["desk"], current)
    assert isinstance(owed.ask, Ask)
    secret = str(owed.ask.params["secret"]).replace(" ", "")
    held |= {"enrolment": world.engine.reference(owed.flow, visitors["desk"]), "app secret": secret}
    begun = await world.identities.begin(world.provider("yonder"), visitors["desk"], current)
    held["connection"] = world.engine.reference(begun.flow, visitors["desk"])
    held["login"] = world.engine.reference(world.engine.start(), browser(browser_id="library"))
    visitors |= known(ada)

    for name, purpose in (
        ("recovery 1", Purpose.RECOVERY),
        ("recovery 2", Purpose.RECOVERY),
        ("set-up", Purpose.SETUP),
    ):
        held[name] = tickets.mint(world.engine.services.keyring, purpose, name, ada.id)
        await world.memory.commit((tickets.insertion(held[name], tickets.make(purpose, ada, world.clock())),))
    return Home({ADA: ada.id, ROOT: root.id}, visitors, held, _sessions(visitors))


async def on_the_brink(world: World) -> Home:
    """As settled, and one failure is left of each exact limit that Ada's submissions count on."""
    home = await settled(world)
    for name, who, limit, failures in (
        ("password_per_name", ADA, world.engine.user.limits.password_per_name, 9),
        ("second_factor_per_account", home.ids[ADA], world.engine.user.limits.second_factor_per_account, 4),
    ):
        await _failed(world, bucket_key(world.engine.services.keyring, name, who), limit, failures)
    return home


async def _failed(world: World, place: Key, limit: Limit, failures: int) -> None:
    for _ in range(failures):
        record = (await world.memory.get((place,))).get(place)
        await world.memory.commit((Bucket(place, limit, record).failed(world.clock()),))


def known(owner: Account) -> dict[str, Visitor]:
    """Return browsers that the owner has logged in from before: their failures are counted apart."""
    claim = DeviceClaim("a device", owner.id, owner.epoch)
    return {
        "home": browser(browser_id="home", devices=(claim,)),
        "own library": browser(browser_id="library", devices=(claim,)),
    }


def _sessions(visitors: Mapping[str, Visitor]) -> dict[str, str]:
    return {visitor.session_id: name for name, visitor in visitors.items() if visitor.session_id}


async def waiting(world: World) -> Home:
    """Wanda's name was registered twice and waits for its address; both links are there."""
    root = await account(world, ROOT, access=("root",))
    wanda = await account(
        world, WAITING, password="first choice here", status=Status.WAITING_FOR_EMAIL_VERIFICATION, profile={}
    )
    visitors = {"office": await entered(world, "office", root)}
    keyring, now = world.engine.services.keyring, world.clock()
    held: dict[str, str] = {}
    for name, chosen in (("link 1", ""), ("link 2", "second choice here")):
        attempt = tickets.Attempt("", now)
        if chosen:
            made = Credential(wanda.id, "user_password", now, now, {"hash": f"hash of {chosen}"})
            sealed = world.engine.vault.seal_choice(name, made, {"firstname": "Second"})
            attempt = tickets.Attempt(name, now, chosen=sealed)
        held[name] = tickets.mint(keyring, Purpose.VERIFICATION, name, wanda.id)
        ticket = tickets.make(Purpose.VERIFICATION, wanda, now)
        await world.memory.commit((tickets.insertion(held[name], ticket, attempt),))
    return Home({WAITING: wanda.id, ROOT: root.id}, visitors, held, {visitors["office"].session_id: "office"})


async def untouched(world: World) -> Home:
    """Grace has a password and nothing else, and has never logged in."""
    return await _of_grace(world, ())


async def owing(world: World) -> Home:
    """Grace must have a factor and has none: two of her logins wait for her to confirm an app."""
    return await _of_grace(world, ("cafe", "train"))


async def _of_grace(world: World, browsers: Sequence[str]) -> Home:
    root = await account(world, ROOT, access=("root",))
    grace = await account(world, GRACE, roles=("viewer",) if browsers else ())
    visitors = {"office": await entered(world, "office", root)}
    held = {"login": world.engine.reference(world.engine.start(), browser(browser_id="cafe"))}
    for name in browsers:
        visitors[name] = await entered(world, name, grace)
        owed = await world.enrolment.begin(world.provider("time_based_otp"), visitors[name], None)
        assert isinstance(owed.ask, Ask)
        held[f"app secret {name}"] = str(owed.ask.params["secret"]).replace(" ", "")
    held["recovery 1"] = tickets.mint(world.engine.services.keyring, Purpose.RECOVERY, "recovery 1", grace.id)
    await world.memory.commit(
        (tickets.insertion(held["recovery 1"], tickets.make(Purpose.RECOVERY, grace, world.clock())),)
    )
    visitors |= known(grace)
    return Home({GRACE: grace.id, ROOT: root.id}, visitors, held, _sessions(visitors))


async def nobody(world: World) -> Home:
    """An empty place: whoever comes now is the first."""
    return Home({}, {}, {}, {})


async def entered(world: World, name: str, owner: Account) -> Visitor:
    """Give the password; return the browser as it is then, logged in or asked for more."""
    values = {"name": owner.name, "password": PASSWORD}
    result = await world.engine.submit(world.provider("user_password"), values, browser(browser_id=name))
    assert isinstance(result, StepOwed | ChoiceOwed | EnrolmentOwed | LoggedIn), result
    return browser(result.session, owner.id, browser_id=name)


async def logged_in(world: World, name: str, owner: Account) -> Visitor:
    visitor = await entered(world, name, owner)
    result = await world.engine.submit(world.provider("time_based_otp"), {"otptoken": world.code()}, visitor)
    assert isinstance(result, LoggedIn), result
    return browser(result.session, owner.id, browser_id=name)
