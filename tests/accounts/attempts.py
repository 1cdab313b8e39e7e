"""Several people who register one address, and the links that they get for it."""

from __future__ import annotations

from datetime import timedelta

from authflow.accounts import Registered
from authflow.model import Account
from authflow.results import LoggedIn, NotProved
from authflow.sessions import Visitor
from authflow.tasks.protocol import Task
from authflow.testing import browser
from tests.accounts.desk import Desk, make_desk, provider_with

NAME = "victim@example.org"
STRANGERS, VICTIMS, THIRD = "the stranger's phrase", "the victim's own phrase", "what a third one chose"


def ready_desk() -> Desk:
    """Make a desk whose accounts are ready once their address is confirmed."""
    return make_desk(provider_with(registration_admin_verification_required=False))


async def register(desk: Desk, password: str, visitor: Visitor | None = None, **profile: str) -> None:
    answer = await desk.accounts.register({"name": NAME, "password": password, **profile}, visitor or browser())
    assert answer == Registered("verify")


async def link_of(desk: Desk, password: str, **profile: str) -> str:
    """Register, and return the token that is mailed for it."""
    sent = len(desk.tokens())
    await register(desk, password, **profile)
    await desk.deliver()
    assert len(desk.tokens()) == sent + 1
    return desk.tokens()[-1]


async def later_link_of(desk: Desk, password: str, **profile: str) -> str:
    """The same, when the address may have another mail."""
    desk.kit.clock.pass_by(timedelta(minutes=16))
    return await link_of(desk, password, **profile)


async def resent(desk: Desk) -> list[str]:
    """Ask for another mail when one may be had, and return the tokens that it brought."""
    desk.kit.clock.pass_by(timedelta(minutes=16))
    sent = len(desk.tokens())
    await desk.accounts.resend({"name": NAME}, browser())
    await desk.deliver()
    return desk.tokens()[sent:]


async def opens(desk: Desk, password: str) -> bool:
    result = await desk.kit.login(NAME, password)
    assert isinstance(result, LoggedIn | NotProved)
    return isinstance(result, LoggedIn)


async def only_account(desk: Desk) -> Account:
    [record] = await desk.kit.records("account")
    return Account.from_data(record.data)


async def only_task(desk: Desk) -> Task:
    [record] = await desk.kit.records("outbox")
    return Task(record.key.name, str(record.data["task"]), record.data["payload"], desk.kit.clock())  # type: ignore[arg-type]
