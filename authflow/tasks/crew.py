"""Many tasks at once: the handlers at work, and one sweep over what is due."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from functools import partial

from authflow.changes import MAX_TRIES, back_off
from authflow.errors import StoreUnavailable
from authflow.model import from_instant
from authflow.store.protocol import Key, Store, Version
from authflow.tasks import outbox
from authflow.tasks.protocol import Handler
from authflow.tasks.work import Outcome, TaskWork, described

log = logging.getLogger("authflow.tasks")


class Crew:
    """The handlers at work, each in a task of the group.

    Attributes:
        free: How many more may begin.
        begun, done: How many did, and how many of those were carried out.
        fruitless: How many looks in a row have found the very same records and could claim none of them.
        changed: Set whenever one ends.
    """

    def __init__(self, group: asyncio.TaskGroup, size: int, changed: asyncio.Event) -> None:
        self.free = size
        self.begun = 0
        self.done = 0
        self.fruitless = 0
        self.changed = changed
        self._group = group
        self._seen: frozenset[tuple[Key, Version]] = frozenset()

    async def begin(
        self, store: Store, work: TaskWork, handlers: Mapping[str, Handler], cutoff: datetime, limit: int
    ) -> int:
        """Claim up to `limit` tasks that were due at the cutoff and set to work on them; return how many were found.

        Raises:
            StoreUnavailable: The outbox could not be read or claimed from.
        """
        page = await store.find(outbox.KIND, outbox.DUE, at_most=from_instant(cutoff), limit=limit)
        before = self.begun
        for record in page.records:
            if (job := await work.claim(record)) is not None:
                self._employ(partial(work.carry_out, handlers, job))
        seen = frozenset((record.key, record.version) for record in page.records)
        self.fruitless = self.fruitless + 1 if seen and seen == self._seen and self.begun == before else 0
        self._seen = seen
        return len(page.records)

    def _employ(self, work: Callable[[], Awaitable[Outcome]]) -> None:
        self.free -= 1
        self.begun += 1
        self._group.create_task(self._see_through(work))

    async def _see_through(self, work: Callable[[], Awaitable[Outcome]]) -> None:
        try:
            outcome = await work()
            self.done += outcome is Outcome.DONE
        except Exception as error:
            # Out of here it would cancel the others of the group. The task itself is found again.
            log.error("a task was left at a fault: %s", described(error))
        finally:
            self.free += 1
            self.changed.set()


async def carry_out_due(
    store: Store,
    work: TaskWork,
    handlers: Mapping[str, Handler],
    cutoff: datetime,
    *,
    limit: int,
    concurrency: int,
    until: float | None = None,
) -> int:
    """Carry out what was due at the cutoff, several at once; return how many tasks were done.

    Args:
        limit: How many to begin at most.
        until: The loop's time after which none is begun.

    Raises:
        StoreUnavailable: The outbox could not be read or claimed from; what had begun was finished.
    """
    fault: StoreUnavailable | None = None
    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as group:
        crew = Crew(group, concurrency, asyncio.Event())
        try:
            while crew.begun < limit and (until is None or loop.time() < until):
                crew.changed.clear()
                if crew.free == 0:
                    await crew.changed.wait()
                elif not await crew.begin(store, work, handlers, cutoff, min(crew.free, limit - crew.begun)):
                    break
                elif crew.fruitless:
                    # Whoever got in between would have moved the record: this is contention, which may not end.
                    if crew.fruitless >= MAX_TRIES:
                        raise StoreUnavailable("conflicts did not end")
                    await back_off(crew.fruitless)
        except StoreUnavailable as error:
            # Raised inside the group, it would cancel handlers that are at work.
            fault = error
    if fault is not None:
        raise fault
    return crew.done
