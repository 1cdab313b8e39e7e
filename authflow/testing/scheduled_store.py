"""A store whose calls wait for their turn; see `authflow.testing.schedules`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeVar

from authflow.store.protocol import Key, Page, Record, Store, Write

T = TypeVar("T")

operation_of_task: ContextVar[int | None] = ContextVar("operation_of_task", default=None)
"""Whose calls these are: the place in the list of operations; None outside a run."""


@dataclass(frozen=True, slots=True)
class Point:
    """One store call of one operation.

    Attributes:
        who: The operation's place in the list.
        operation: `get`, `find` or `commit`.
        kinds: Of the records that it is about.
    """

    who: int
    operation: str
    kinds: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.who}:{self.operation}({','.join(self.kinds)})"


@dataclass(frozen=True, slots=True)
class Step:
    """A call that was let through.

    Attributes:
        error: What the store answered instead of doing it, such as a conflict.
        writes: Of a commit that was done.
    """

    point: Point
    error: Exception | None = None
    writes: tuple[Write, ...] = ()

    def __str__(self) -> str:
        return f"{self.point}{f' !{type(self.error).__name__}' if self.error else ''}"


class Turns(Protocol):
    """What gives calls their turn."""

    async def turn(self, point: Point) -> None:
        """Return when the call may be made."""

    def done(self, step: Step) -> None:
        """Hear that it was made."""


class ScheduledStore:
    """A store whose calls wait for their turn while a run is explored, and pass through at any other time.

    Args:
        store: Does the work; each call must be one step of the event loop (`store.memory`).
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.scheduler: Turns | None = None

    async def open(self) -> None:
        """Pass on."""
        await self._store.open()

    async def close(self) -> None:
        """Pass on."""
        await self._store.close()

    async def get(self, keys: Sequence[Key]) -> Mapping[Key, Record]:
        """See `Store.get`."""
        return await self._in_turn("get", [key.kind for key in keys], lambda: self._store.get(keys))

    async def find(
        self,
        kind: str,
        field: str,
        *,
        equals: str | int | None = None,
        at_most: str | int | None = None,
        at_least: str | int | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """See `Store.find`."""

        def find() -> Awaitable[Page]:
            return self._store.find(
                kind, field, equals=equals, at_most=at_most, at_least=at_least, limit=limit, cursor=cursor
            )

        return await self._in_turn("find", [kind], find)

    async def find_expired(self, now: datetime, *, limit: int = 500) -> Sequence[Record]:
        """See `Store.find_expired`."""
        return await self._in_turn("find", [], lambda: self._store.find_expired(now, limit=limit))

    async def commit(self, writes: Sequence[Write], *, durable: bool = True) -> None:
        """See `Store.commit`."""
        kinds = [write.key.kind for write in writes]
        await self._in_turn("commit", kinds, lambda: self._store.commit(writes, durable=durable), writes)

    async def _in_turn(
        self, operation: str, kinds: Sequence[str], call: Callable[[], Awaitable[T]], writes: Sequence[Write] = ()
    ) -> T:
        who, scheduler = operation_of_task.get(), self.scheduler
        if who is None or scheduler is None:
            return await call()
        # Sorted: the order of keys may hang on random ids, and says nothing of the race.
        point = Point(who, operation, tuple(sorted(kinds)))
        await scheduler.turn(point)
        try:
            answer = await call()
        except Exception as error:
            scheduler.done(Step(point, error))
            raise
        scheduler.done(Step(point, None, tuple(writes)))
        return answer
