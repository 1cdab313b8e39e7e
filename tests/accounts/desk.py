"""An engine with its account operations, a mailbox instead of a mail server, and tasks that run when told to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

from authflow.accounts import Accounts, TicketInvalid
from authflow.errors import Overloaded, TooManyAttempts
from authflow.hashing_pool import HashingPool, Slot
from authflow.mail import Mail
from authflow.model import Account
from authflow.notices import handlers
from authflow.records import account_key
from authflow.render import Renderer
from authflow.seam import Bill, Call, billing
from authflow.sessions import Visitor
from authflow.store.protocol import Update
from authflow.tasks.protocol import Handler
from authflow.testing import Kit, browser, make_kit
from authflow.user import User
from providers.user_password import UserPassword

NEW_PASSWORD = "a quite different phrase"
_TOKEN = re.compile(r"(?:recovery_key|skey)=(\S+)")


class Mailbox:
    """Takes mails instead of a server; raises `fault` while there is one."""

    def __init__(self) -> None:
        self.mails: list[Mail] = []
        self.fault: Exception | None = None

    async def send(self, mail: Mail) -> None:
        if self.fault is not None:
            raise self.fault
        self.mails.append(mail)


class Commits:
    """Sees the kinds of what each commit writes."""

    def __init__(self) -> None:
        self.kinds: list[tuple[str, ...]] = []

    async def before(self, call: Call) -> None:
        if (call.kind, call.operation) == ("store", "commit"):
            self.kinds.append(call.detail)

    def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
        pass


@dataclass
class Desk:
    """What a test of accounts works with."""

    kit: Kit
    accounts: Accounts
    box: Mailbox
    handlers: Mapping[str, Handler]
    commits: Commits = field(default_factory=Commits)

    async def deliver(self) -> int:
        """Carry out what is due, and say how many tasks were done."""
        return await self.kit.engine.services.tasks.run_due(self.handlers)

    async def mailed_token(self) -> str:
        """Deliver, and return the token of the newest mail that has one."""
        await self.deliver()
        return self.tokens()[-1]

    def tokens(self) -> list[str]:
        return [found[1] for mail in self.box.mails if (found := _TOKEN.search(mail.text))]

    async def recovery_token(self, name: str = "ada@example.org") -> str:
        """Ask for a recovery mail as the only one in a while, and return its token."""
        self.kit.clock.pass_by(timedelta(minutes=16))
        return await self.asked_recovery(name)

    async def asked_recovery(self, name: str = "ada@example.org") -> str:
        """Ask for a recovery mail and return its token."""
        await self.accounts.ask_recovery({"name": name}, browser())
        return await self.mailed_token()

    async def registered(self, name: str = "new@example.org", password: str = NEW_PASSWORD) -> str:
        """Register a name and return the token that was mailed."""
        await self.accounts.register({"name": name, "password": password}, browser())
        return await self.mailed_token()

    async def rewrite(self, account: Account) -> None:
        """Store an account as it is given, epoch and all."""
        key = account_key(account.id)
        record = (await self.kit.memory.get((key,)))[key]
        await self.kit.memory.commit((Update(key, account.to_data(), record.version),))

    async def billed(self, work) -> tuple[object, Bill, list[int]]:  # type: ignore[no-untyped-def]
        """Return the answer of some work, its bill, and the number of writes of each of its commits."""
        self.commits.kinds.clear()
        with billing() as bill:
            answer = await work
        return answer, bill, [len(kinds) for kinds in self.commits.kinds]

    def everything_stored(self) -> str:
        """Return all that the store holds, as text."""
        return "\n".join(f"{key} {row.body}" for key, row in self.kit.memory._rows.items())


def provider_with(**switches: bool) -> type[UserPassword]:
    """Return a password provider with other switches than the stock one."""
    return type("UserPassword", (UserPassword,), {"registration_enabled": True, **switches})


def make_desk(
    provider: type[UserPassword] | None = None,
    *,
    methods: Sequence[tuple[str, str | None]] = (("user_password", "time_based_otp"), ("user_password", None)),
    attributes: Mapping[str, object] | None = None,
) -> Desk:
    """Make a desk whose registration is open."""
    made = {
        "authentication_providers": (provider or provider_with(),),
        "valid_authentication_methods": tuple(methods),
        # Each flow, so that what one writes more than another is not a matter of which are traced.
        "trace_share": 1.0,
        **(attributes or {}),
    }
    user: User = type("ThisUser", (User,), made)()
    commits, box = Commits(), Mailbox()
    kit = make_kit(user, observers=(commits,))
    return Desk(kit, Accounts(kit.engine), box, handlers(kit.engine, Renderer(), box), commits)


async def is_refused(work) -> bool:  # type: ignore[no-untyped-def]
    """Whether a ticket was not taken."""
    try:
        await work
    except (TicketInvalid, TooManyAttempts):
        return True
    return False


def fill(pool: HashingPool) -> list[Slot]:
    """Take every place of a hashing pool."""
    slots: list[Slot] = []
    while True:
        try:
            slots.append(pool.reserve())
        except Overloaded:
            return slots


def from_network(network: str) -> Visitor:
    return browser(network=network)
