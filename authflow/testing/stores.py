"""A store that others use too: conflicts, stale and lost answers, outages and waits, each when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, auto
from typing import TypeVar

from authflow.errors import StoreConflict, StoreUnavailable
from authflow.store.memory import MemoryStore
from authflow.store.protocol import Key, Page, Record, Store, Write


class _Trouble(Enum):
    REFUSED = auto()
    LOST = auto()
    CONFLICT = auto()
    STALE = auto()
    MEANWHILE = auto()
    HELD = auto()


@dataclass
class Hold:
    """A call that waits at a gate."""

    _reached: asyncio.Event = field(default_factory=asyncio.Event)
    _gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def reached(self) -> None:
        """Wait until the call has come to the gate."""
        await self._reached.wait()

    def let_go(self) -> None:
        """Open the gate. The call goes on when the loop comes to it."""
        self._gone.set()

    async def pass_through(self) -> None:
        self._reached.set()
        await self._gone.wait()


@dataclass
class _Plan:
    trouble: _Trouble
    operation: str
    kinds: frozenset[str]
    work: Callable[[], Awaitable[object]] | None = None
    hold: Hold | None = None

    def is_about(self, operation: str, kinds: frozenset[str]) -> bool:
        return self.operation in ("", operation) and (not self.kinds or bool(self.kinds & kinds))


class ContendedStore:
    """Passes on to another store. Each trouble is planned beforehand, meets the first call that fits, and is over.

    Operations are `get`, `find` (also for `find_expired`) and `commit`. Where `kinds` are named, a call fits that is
    about one of these kinds of records.

    Args:
        store: Does the work; a fresh one in memory unless given.

    Attributes:
        calls: What was asked, as operation and kinds, oldest first.
    """

    def __init__(self, store: Store | None = None) -> None:
        self.inner = opened(store or MemoryStore())
        self.calls: list[tuple[str, frozenset[str]]] = []
        self._plans: list[_Plan] = []
        self._before: dict[Key, Record | None] = {}

    # --- What can be planned ------------------------------------------------------------------------------------------

    def refuse(self, operation: str = "", *, kinds: Sequence[str] = (), times: int = 1) -> None:
        """Do not answer: nothing is done, and `StoreUnavailable` is raised."""
        self._plan(_Trouble.REFUSED, operation, kinds, times)

    def lose_answer(self, *, kinds: Sequence[str] = (), times: int = 1) -> None:
        """Carry out a commit, and raise `StoreUnavailable` all the same: its caller cannot know."""
        self._plan(_Trouble.LOST, "commit", kinds, times)

    def conflict(self, *, kinds: Sequence[str] = (), times: int = 1) -> None:
        """Raise `StoreConflict` at a commit, and write nothing."""
        self._plan(_Trouble.CONFLICT, "commit", kinds, times)

    def answer_stale(self, *, kinds: Sequence[str] = (), times: int = 1) -> None:
        """Answer a `get` with what was there before the newest commit that wrote these records."""
        self._plan(_Trouble.STALE, "get", kinds, times)

    def meanwhile(self, work: Callable[[], Awaitable[object]], *, kinds: Sequence[str] = ()) -> None:
        """Have somebody else's work done right before a commit, through this store or around it."""
        self._plans.append(_Plan(_Trouble.MEANWHILE, "commit", frozenset(kinds), work=work))

    def hold(self, operation: str = "", *, kinds: Sequence[str] = ()) -> Hold:
        """Make a call wait before anything of it is done, until it is let go."""
        hold = Hold()
        self._plans.append(_Plan(_Trouble.HELD, operation, frozenset(kinds), hold=hold))
        return hold

    def calm_down(self) -> None:
        """Forget all that was planned and has not happened."""
        self._plans.clear()

    @property
    def planned(self) -> int:
        """How much of what was planned has not happened yet."""
        return len(self._plans)

    def _plan(self, trouble: _Trouble, operation: str, kinds: Sequence[str], times: int) -> None:
        self._plans += [_Plan(trouble, operation, frozenset(kinds)) for _ in range(times)]

    # --- The store ----------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """See `Store.open`."""
        await self.inner.open()

    async def close(self) -> None:
        """See `Store.close`."""
        await self.inner.close()

    async def get(self, keys: Sequence[Key]) -> Mapping[Key, Record]:
        """See `Store.get`."""
        trouble = await self._meet("get", frozenset(key.kind for key in keys))
        found = await self.inner.get(keys)
        if trouble is not _Trouble.STALE:
            return found
        old = {**found, **{key: self._before[key] for key in keys if key in self._before}}
        return {key: record for key, record in old.items() if record is not None}

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
        await self._meet("find", frozenset({kind}))
        return await self.inner.find(
            kind, field, equals=equals, at_most=at_most, at_least=at_least, limit=limit, cursor=cursor
        )

    async def find_expired(self, now: datetime, *, limit: int = 500) -> Sequence[Record]:
        """See `Store.find_expired`."""
        await self._meet("find", frozenset())
        return await self.inner.find_expired(now, limit=limit)

    async def commit(self, writes: Sequence[Write], *, durable: bool = True) -> None:
        """See `Store.commit`."""
        trouble = await self._meet("commit", frozenset(write.key.kind for write in writes))
        keys = [write.key for write in writes]
        before = await self.inner.get(keys)
        await self.inner.commit(writes, durable=durable)
        self._before |= {key: before.get(key) for key in keys}
        if trouble is _Trouble.LOST:
            raise StoreUnavailable("the answer was lost, as planned")

    async def _meet(self, operation: str, kinds: frozenset[str]) -> _Trouble | None:
        """Have happen what was planned for this call; return what is left to be done at its end."""
        self.calls.append((operation, kinds))
        while (plan := next((plan for plan in self._plans if plan.is_about(operation, kinds)), None)) is not None:
            self._plans.remove(plan)
            if plan.work is not None:
                await plan.work()
            elif plan.hold is not None:
                await plan.hold.pass_through()
            elif plan.trouble is _Trouble.REFUSED:
                raise StoreUnavailable("refused, as planned")
            elif plan.trouble is _Trouble.CONFLICT:
                raise StoreConflict("a conflict, as planned")
            else:
                return plan.trouble
        return None


S = TypeVar("S", bound=Store)


def opened(store: S) -> S:
    """Return a store in memory open; opening it does no more, and would make every maker of a kit async."""
    if isinstance(store, MemoryStore):
        store._is_open = True
    return store


def records_in_memory(store: Store) -> dict[Key, str]:
    """Return the texts of all records of a store in memory, also of one that is wrapped.

    Raises:
        TypeError: It is another store, which does not say what it has.
    """
    bare = store.inner if isinstance(store, ContendedStore) else store
    if not isinstance(bare, MemoryStore):
        raise TypeError(f"{type(bare).__name__} does not list its records")
    return {key: row.body for key, row in bare._rows.items()}
