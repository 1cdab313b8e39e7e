"""Changes that no submission of a flow makes: read, judge, commit once; on a conflict all of it again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from authflow import audit, tracing
from authflow.errors import AuthflowError, StoreConflict, StoreUnavailable
from authflow.model import Event
from authflow.store.protocol import Write
from authflow.tracing import Moved, metered

if TYPE_CHECKING:
    from authflow.engine import Engine

T = TypeVar("T")

MAX_TRIES = 8
"""Commits tried before a conflict that does not end is answered as a fault."""


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """One commit and what it means.

    Attributes:
        writes: All or none. Empty when there is nothing to be changed.
        result: What the caller is told once the commit is done.
        events: Inserted with the writes and logged after them.
        refusal: Raised after the commit instead of the result.
        moved: What it means to flows, for their traces.
    """

    writes: tuple[Write, ...]
    result: T
    events: tuple[Event, ...] = ()
    refusal: AuthflowError | None = None
    moved: tuple[Moved, ...] = ()


async def carry_out(engine: Engine, prepare: Callable[[], Awaitable[Change[T]]]) -> T:
    """Commit a change, preparing it anew from live records as long as somebody else gets in between.

    Args:
        prepare: Reads what the change depends on, judges it, and says what to write, each write guarded by what was
            read. What it raises is raised here, and nothing is written.

    Raises:
        StoreUnavailable: Conflicts did not end.
    """
    with metered():
        for attempt in range(MAX_TRIES):
            change = await prepare()
            try:
                if change.writes or change.events:
                    written = [*change.writes, *audit.inserted(change.events)]
                    await engine.services.store.commit([*written, *tracing.writes(engine, change.moved, written)])
            except StoreConflict:
                await back_off(attempt)
                continue
            audit.written(change.events)
            await engine.services.tasks.dispatch(change.writes)
            if change.refusal is not None:
                raise change.refusal
            return change.result
    raise StoreUnavailable("conflicts did not end")


async def back_off(attempt: int) -> None:
    """Wait a little before a commit is tried again, longer each time, so that racers fall out of step."""
    await asyncio.sleep(random.uniform(0, 0.01 * (attempt + 1)))  # noqa: S311 - jitter, no secret
