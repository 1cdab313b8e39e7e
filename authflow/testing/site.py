"""A whole application in process: its pages, its mails, its people, and a clock that is turned by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import TypedDict, Unpack

from authflow.assembly import Application, build, make_store
from authflow.model import Account, Status
from authflow.notices import handlers
from authflow.powers import AcceptsTokens
from authflow.provider import Fetching
from authflow.render import Renderer
from authflow.seam import Observer
from authflow.settings import Settings
from authflow.store.protocol import Store
from authflow.testing.browser import ADDRESS, BASE_URL, AsgiApp
from authflow.testing.clock import Clock
from authflow.testing.devices import Authenticator
from authflow.testing.kit import KEY, Details, Kit
from authflow.testing.mail import Mailbox
from authflow.testing.page import Page
from authflow.testing.person import ADA, PASSWORD, Person
from authflow.user import User
from authflow.web.app import Edge, create_app

OTP_SECRET = bytes(range(20, 40))
PROFILE = "/user/view/self"


class Deployment(TypedDict, total=False):
    """Further settings of a site; see `Settings`."""

    templates: str
    provider_environment: Mapping[str, str]
    trusted_proxies: int
    google_cloud_project: str


class Visit(TypedDict, total=False):
    """Where a person comes from; see `Browser`."""

    address: str
    headers: Mapping[str, str]


@dataclass
class Site:
    """A whole application in process.

    Attributes:
        edge: The ASGI application.
        outbox: The mails that it has sent.
        memory: Its bare store.
        front: An application of your own around the edge, which people talk to instead.
    """

    app: Application
    edge: Edge
    clock: Clock
    outbox: Mailbox
    memory: Store
    front: AsgiApp | None = None

    async def run_tasks(self) -> int:
        """Carry out what was deferred, such as mails; return how many tasks that were."""
        return await self.app.services.tasks.run_due(self.app.handlers)

    async def close(self) -> None:
        """End it. A site that is only forgotten leaves nothing behind but the threads of its pool."""
        await self.app.close()

    @property
    def kit(self) -> Kit:
        """The engine and its bare store, for making accounts and looking at records."""
        return Kit(self.app.engine, self.clock, self.memory, self.app.services.pool)

    # --- Mails --------------------------------------------------------------------------------------------------------

    def link(self, *, to: str = "") -> str:
        """Return the newest mailed address that holds a key, without its origin; see `Mailbox.link`."""
        return self.outbox.link(self.app.settings.base_url, to=to)

    async def mailed_link(self, *, to: str = "") -> str:
        """Have the mails sent, and return the newest address that holds a key."""
        await self.run_tasks()
        return self.link(to=to)

    async def mailed_code(self, *, to: str = "") -> str:
        """Have the mails sent, and return the newest code."""
        await self.run_tasks()
        return self.outbox.code(to=to)

    # --- Accounts -----------------------------------------------------------------------------------------------------

    async def account(
        self,
        name: str = ADA,
        *,
        password: str | None = PASSWORD,
        status: int = Status.ACTIVE,
        **details: Unpack[Details],
    ) -> Account:
        """Write an account, with a password unless it is None."""
        return await self.kit.account(name, password=password, status=status, **details)

    async def account_with_totp(
        self,
        name: str = ADA,
        *,
        secret: bytes = OTP_SECRET,
        factor: str = "time_based_otp",
        password: str | None = PASSWORD,
        status: int = Status.ACTIVE,
        **details: Unpack[Details],
    ) -> Account:
        """Write an account that owes a code of an authenticator app after its password.

        Raises:
            LookupError: The application has no such factor, or not one of devices.
        """
        provider: object = self.app.engine.registry.declared.get(factor)
        if not isinstance(provider, AcceptsTokens):
            raise LookupError(f"{factor} is no factor of this application that takes devices")
        account = await self.kit.account(name, password=password, status=status, **details)
        token = provider.new_hardware_token(
            account.id,
            serial="1",
            secret_hex=secret.hex(),
            now=self.clock(),
            interval=30,
            digits=6,
            algorithm="SHA1",
        )
        return await self.kit.enrolled(account, token)

    def device(self, secret: bytes = OTP_SECRET) -> Authenticator:
        """Return the app of an account that has one."""
        return Authenticator(secret, self.clock)

    def code(self, step: int = 0, *, secret: bytes = OTP_SECRET) -> str:
        """Return what the app shows now, or so many steps later."""
        return self.device(secret).code(step)

    def wrong_code(self) -> str:
        """Return a code that no step near now has."""
        return self.device().wrong_code()

    # --- People -------------------------------------------------------------------------------------------------------

    def person(
        self,
        *,
        address: str = ADDRESS,
        headers: Mapping[str, str] | None = None,
        name: str = ADA,
        password: str = PASSWORD,
        device: Authenticator | None = None,
    ) -> Person:
        """Return somebody with a fresh browser, and the app of `account_with_totp` unless another is given."""
        return Person(
            self.front or self.edge,
            address=address,
            headers=headers,
            origin=self.app.settings.base_url,
            name=name,
            password=password,
            device=device or self.device(),
        )

    async def logged_in(self, name: str = ADA, *, with_code: bool = False, **visit: Unpack[Visit]) -> Person:
        """Return a person who has logged in by the pages. With a code, the step of the app is spent.

        Raises:
            LookupError: The login did not end.
        """
        person = self.person(name=name, **visit)
        page = await person.log_in()
        if with_code:
            page = await person.type_code()
        if page.location != PROFILE:
            raise LookupError(f"{name} is not logged in: {page.status} {page.location} {page.words[:500]}")
        return person

    async def pending(self, name: str = ADA, **visit: Unpack[Visit]) -> tuple[Person, Page]:
        """Return a person whose password was right and who owes a code, and the page that asks for it.

        Raises:
            LookupError: No code is asked for.
        """
        person = self.person(name=name, **visit)
        page = await person.follow(await person.log_in())
        page.form("otp")
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
    clock: Clock | None = None,
    fetching: Fetching | None = None,
    **deployment: Unpack[Deployment],
) -> Site:
    """Build and open an application with a clock that is turned by hand, without a task worker.

    Args:
        user: The application's own; the stock one unless given.
        store: Instead of one in memory. To be shared by several sites, or troubled (`ContendedStore`).
        observers: Told of every call to the outside (`Faults`).
        sqlite: A file to store in, instead.
        rounds: bcrypt's cost.
        fetching: In the place of remote parties (`Issuer.fetching`).

    Raises:
        ConfigurationError: A declaration or setting is refused.
    """
    now, outbox = clock or Clock(), Mailbox()
    configured = Settings(
        store=f"sqlite:{sqlite}" if sqlite else "memory:",
        secret_keys=(KEY,),
        base_url=base_url,
        bcrypt_rounds=rounds,
        **deployment,
    )
    memory = store or make_store(configured)
    app = build(
        configured,
        user=user or User(),
        store=memory,
        transport=outbox,
        clock=now,
        observers=observers,
        fetching=fetching,
    )
    # One renderer for all sites: to compile the templates takes longer than most tests.
    renderer = _renderer(configured.templates)
    app = replace(app, renderer=renderer, handlers=handlers(app.engine, renderer, outbox))
    await app.open(with_worker=False)
    return Site(app, create_app(app), now, outbox, memory)
