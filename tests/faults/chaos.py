"""What can befall a call to the outside, and the store, mail, queue and remote party that it befalls.

One `Wire` numbers every call of one operation, whichever part it goes to, and strikes at one of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeVar

from authflow.errors import FetchFailed, StoreConflict, StoreUnavailable
from authflow.mail import Mail, MailRefused, MailUnavailable
from authflow.store.memory import MemoryStore
from authflow.store.protocol import Key, Page, Record, Write
from tests.web_kit import Outbox as Mailbox

T = TypeVar("T")
Rows = dict[Key, Any]

DEADLINE = 2.0
"""Seconds after which every adapter gives up a call (DESIGN of the stores: 2 s in all)."""
MARK = "by-a-fault"
"""Stands in the detail of every fault, and so must reach no client."""


class Fault(StrEnum):
    """What befalls a call.

    To the caller a call that was not carried out and whose answer is lost is `DEADLINE`.
    """

    UNAVAILABLE = "unavailable"
    DEADLINE = "deadline"
    OUTAGE = "outage"
    """This call and all that come after it are not answered."""
    DONE_UNANSWERED = "done, unanswered"
    CONFLICT = "conflict"
    CONFLICTS = "conflicts without end"
    STALE = "stale"
    """A read answers as it was before the last commit."""
    ABSENT = "absent"
    """A read finds nothing."""
    REFUSED = "refused"
    """The mail server refuses the message for good."""
    CRASH = "crash"
    """What nobody has foreseen is raised."""


STORE_FAULTS: Mapping[str, tuple[Fault, ...]] = {
    "get": (Fault.UNAVAILABLE, Fault.DEADLINE, Fault.OUTAGE, Fault.DONE_UNANSWERED, Fault.STALE, Fault.ABSENT),
    "find": (Fault.UNAVAILABLE, Fault.DEADLINE, Fault.OUTAGE, Fault.DONE_UNANSWERED, Fault.STALE, Fault.ABSENT),
    "commit": (
        Fault.UNAVAILABLE,
        Fault.DEADLINE,
        Fault.OUTAGE,
        Fault.DONE_UNANSWERED,
        Fault.CONFLICT,
        Fault.CONFLICTS,
    ),
}
FAULTS: Mapping[str, tuple[Fault, ...]] = {
    "mail": (
        Fault.UNAVAILABLE,
        Fault.DEADLINE,
        Fault.OUTAGE,
        Fault.DONE_UNANSWERED,
        Fault.REFUSED,
        Fault.CRASH,
    ),
    "fetch": (Fault.UNAVAILABLE, Fault.DEADLINE, Fault.OUTAGE, Fault.DONE_UNANSWERED, Fault.ABSENT, Fault.CRASH),
    "tasks": (Fault.UNAVAILABLE, Fault.DEADLINE, Fault.OUTAGE, Fault.DONE_UNANSWERED, Fault.CRASH),
}


def faults_of(kind: str, operation: str) -> tuple[Fault, ...]:
    """Return what can befall a call."""
    return STORE_FAULTS[operation] if kind == "store" else FAULTS[kind]


ENDLESS = 500
"""More calls than any operation makes, its retries included."""


class Endless(BaseException):
    """It goes on for ever. Nobody catches this."""


class Crash(Exception):
    """Nobody catches this by name."""


class CreateFailed(Exception):
    """A task was not created, or nobody knows."""


class Wire:
    """Numbers the calls of one operation and strikes at one of them.

    Attributes:
        calls: Kind and operation of each call since `arm`.
        struck: Whether the fault has befallen a call.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.disarm()

    def arm(self, at: int, fault: Fault) -> None:
        self.calls, self._at, self._fault, self.struck = [], at, fault, False

    def disarm(self) -> None:
        self.arm(-1, Fault.UNAVAILABLE)

    def due(self, kind: str, operation: str) -> Fault | None:
        """Count a call and return what befalls it."""
        number = len(self.calls)
        if number > ENDLESS:
            raise Endless(f"{number} calls of one operation")
        self.calls.append((kind, operation))
        is_here = number == self._at
        if self._fault is Fault.OUTAGE:
            is_here = 0 <= self._at <= number
        elif self._fault is Fault.CONFLICTS:
            is_here = 0 <= self._at <= number and (kind, operation) == ("store", "commit")
        self.struck = self.struck or is_here
        return self._fault if is_here else None

    async def through(self, kind: str, operation: str, error: type[Exception], do: Callable[[], Awaitable[T]]) -> T:
        """Make one call, or let what is due befall it. Reads that answer wrongly are their caller's."""
        match self.due(kind, operation):
            case Fault.UNAVAILABLE:
                raise error(MARK)
            case Fault.DEADLINE | Fault.OUTAGE:
                await asyncio.sleep(DEADLINE)
                raise error(MARK)
            case Fault.DONE_UNANSWERED:
                await do()
                await asyncio.sleep(DEADLINE)
                raise error(MARK)
            case Fault.CONFLICT | Fault.CONFLICTS:
                raise StoreConflict(MARK)
            case Fault.REFUSED:
                raise MailRefused(MARK)
            case Fault.CRASH:
                raise Crash(MARK)
            case _:
                return await do()


class FaultyStore(MemoryStore):
    """A memory store behind a wire.

    Attributes:
        previous: The rows as they were before the last commit.
        history: The rows after each commit since the list was cleared.
    """

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire
        self.previous: Rows = {}
        self.history: list[Rows] = []

    async def get(self, keys: Sequence[Key]) -> Mapping[Key, Record]:
        return await self._read("get", lambda store: MemoryStore.get(store, keys), {})

    async def find(self, kind: str, field: str, **question: Any) -> Page:
        return await self._read("find", lambda store: MemoryStore.find(store, kind, field, **question), Page(()))

    async def find_expired(self, now: datetime, *, limit: int = 500) -> Sequence[Record]:
        return await self._read("find", lambda store: MemoryStore.find_expired(store, now, limit=limit), ())

    async def _read(self, operation: str, ask: Callable[[MemoryStore], Awaitable[T]], nothing: T) -> T:
        number = len(self._wire.calls)

        async def do() -> T:
            return await ask(self)

        answer = await self._wire.through("store", operation, StoreUnavailable, do)
        if self._wire.struck and number == self._wire._at:
            if self._wire._fault is Fault.ABSENT:
                return nothing
            if self._wire._fault is Fault.STALE:
                old = MemoryStore()
                old._rows, old._is_open = self.previous, True
                return await ask(old)
        return answer

    async def commit(self, writes: Sequence[Write], *, durable: bool = True) -> None:
        async def do() -> None:
            before = dict(self._rows)
            await MemoryStore.commit(self, writes, durable=durable)
            self.previous = before
            self.history.append(dict(self._rows))

        await self._wire.through("store", "commit", StoreUnavailable, do)


class FaultyMail(Mailbox):
    """A mailbox behind a wire."""

    def __init__(self, wire: Wire) -> None:
        super().__init__()
        self._wire = wire

    async def send(self, mail: Mail) -> None:
        async def do() -> None:
            self.mails.append(mail)

        await self._wire.through("mail", "send", MailUnavailable, do)


class FaultyFetching:
    """A remote party behind a wire: it answers with what it was told to."""

    def __init__(self, wire: Wire, answer: Mapping[str, Any]) -> None:
        self._wire = wire
        self._answer = answer

    async def get_json(self, url: str, *, fresh: bool = False) -> Mapping[str, Any]:
        return await self._ask("get")

    async def post_form(self, url: str, values: Mapping[str, str]) -> Mapping[str, Any]:
        return await self._ask("post")

    async def _ask(self, operation: str) -> Mapping[str, Any]:
        number = len(self._wire.calls)

        async def do() -> Mapping[str, Any]:
            return dict(self._answer)

        answer = await self._wire.through("fetch", operation, FetchFailed, do)
        is_here = self._wire.struck and number == self._wire._at
        return {} if is_here and self._wire._fault is Fault.ABSENT else answer
