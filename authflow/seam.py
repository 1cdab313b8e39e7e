"""The one place where calls to the outside are seen: budgets, bills, traces and injected faults all hang on it.

Whoever talks to a store, a task queue, a mail server or a remote site does so through `Seam.call`. Observers given to
the seam see each call; a `Bill` counts what one piece of work has cost.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One call to the outside.

    Attributes:
        kind: `store`, `tasks`, `mail` or `fetch`.
        operation: What is asked, such as `get`, `find` or `commit` of a store.
        detail: What it is about, fit for a log: the kinds of the keys, never their names.
    """

    kind: str
    operation: str
    detail: tuple[str, ...] = ()


class Observer(Protocol):
    """What is told of each call. It runs in the caller's task, so it should be quick."""

    async def before(self, call: Call) -> None:
        """Hear that a call is about to be made. What this raises is raised to the caller, and no call is made."""

    def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
        """Hear how a call ended, also one that another observer refused or that was cancelled."""


class Bill:
    """Counts calls by kind and operation. A call that fails is counted; one that an observer refused was not made.

    Args:
        parent: The bill that was open when this one was opened; it counts the same calls.

    Attributes:
        hashes: How many hashes were computed. They are no calls, and the dearest part of a login.
    """

    __slots__ = ("counts", "hashes", "parent")

    def __init__(self, parent: Bill | None = None) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.hashes = 0
        self.parent = parent

    def total(self, kind: str, operation: str | None = None) -> int:
        """Sum up the calls of one kind, or of one operation of it."""
        if operation is not None:
            return self.counts[kind, operation]
        return sum(count for (of_kind, _), count in self.counts.items() if of_kind == kind)

    def __repr__(self) -> str:
        lines = ", ".join(f"{kind}.{operation}: {count}" for (kind, operation), count in sorted(self.counts.items()))
        return f"<Bill {lines or 'empty'}>"


_open_bill: ContextVar[Bill | None] = ContextVar("authflow_bill", default=None)


@contextmanager
def billing() -> Iterator[Bill]:
    """Count the calls made in this block, by this task and by those that it starts."""
    bill = Bill(_open_bill.get())
    token = _open_bill.set(bill)
    try:
        yield bill
    finally:
        _open_bill.reset(token)


class Seam:
    """Passes calls through, telling observers and the open bill.

    Args:
        observers: Told in this order before a call, in the reverse order after it.
    """

    __slots__ = ("_observers", "is_observed")

    def __init__(self, observers: Sequence[Observer] = ()) -> None:
        self._observers = tuple(observers)
        self.is_observed = bool(self._observers)

    async def call(self, kind: str, operation: str, detail: tuple[str, ...], function: Callable[[], Awaitable[T]]) -> T:
        """Make one call to the outside.

        Args:
            detail: See `Call`. Where making it costs something, ask `is_observed` first.
            function: Makes the call; whatever it returns or raises is passed on.
        """
        if self._observers:
            return await self._observed(Call(kind, operation, detail), function)
        record(kind, operation)
        return await function()

    async def _observed(self, call: Call, function: Callable[[], Awaitable[T]]) -> T:
        told: list[Observer] = []
        error: BaseException | None = None
        began = time.perf_counter()
        try:
            for observer in self._observers:
                told.append(observer)
                await observer.before(call)
            record(call.kind, call.operation)
            began = time.perf_counter()
            return await function()
        except BaseException as raised:
            error = raised
            raise
        finally:
            seconds = time.perf_counter() - began
            for observer in reversed(told):
                observer.after(call, seconds, error)


def record(kind: str, operation: str) -> None:
    """Put one call on the open bill and those around it, if there are any."""
    bill = _open_bill.get()
    while bill is not None:
        bill.counts[kind, operation] += 1
        bill = bill.parent


def record_hash() -> None:
    """Put one hash on the open bill and those around it, if there are any."""
    bill = _open_bill.get()
    while bill is not None:
        bill.hashes += 1
        bill = bill.parent
