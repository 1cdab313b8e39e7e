"""The embedded task queue: a worker on the event loop of each process, with the outbox in the store as its queue.

Processes that share a store share the work; each task is done by whoever claims it (see `work`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from authflow.errors import ConfigurationError, StoreUnavailable
from authflow.model import Plain
from authflow.seam import Seam
from authflow.store.protocol import Insert, Store, Write
from authflow.tasks import outbox
from authflow.tasks.crew import Crew, carry_out_due
from authflow.tasks.protocol import Handler
from authflow.tasks.work import TaskWork, described

log = logging.getLogger("authflow.tasks")

_LET_GO = 1.0
"""Seconds that handlers get to take their cancellation at `stop`."""


class LocalQueue:
    """Carries out the tasks of a store.

    Args:
        store: Where the outbox is; open while the queue is at work.
        clock, seam, lease: See `TaskWork`.
        poll: How often to look for work that nobody told of: delayed, postponed, or another process's.
        concurrency: Handlers at once.
        grace: How long `stop` waits for handlers before it cancels them.

    Raises:
        ConfigurationError: A span or number is not positive.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], datetime],
        seam: Seam | None = None,
        lease: timedelta = timedelta(seconds=30),
        poll: timedelta = timedelta(seconds=2),
        concurrency: int = 4,
        grace: timedelta = timedelta(seconds=5),
    ) -> None:
        if min(lease, poll) <= timedelta(0) or concurrency < 1:
            raise ConfigurationError("local tasks: lease, poll and concurrency must be positive")
        self._store = store
        self._clock = clock
        self._poll = poll.total_seconds()
        self._work = TaskWork(store, clock=clock, seam=seam or Seam(), lease=lease, pause=self._poll)
        self._concurrency = concurrency
        self._grace = grace.total_seconds()
        self._worker: asyncio.Task[None] | None = None
        self._woken: asyncio.Event | None = None
        self._is_stopping = False
        self._is_store_away = False

    def write(
        self, name: str, payload: Mapping[str, Plain], now: datetime, *, delay: timedelta = timedelta(0)
    ) -> Insert:
        """See `TaskQueue.write`.

        Raises:
            ContractViolation: See `outbox.written`.
        """
        return outbox.written(name, payload, now, delay)

    async def dispatch(self, writes: Sequence[Write]) -> None:
        """See `TaskQueue.dispatch`. Wakes the worker; before `start` and after `stop` there is none."""
        if outbox.tasks_among(writes):
            self._wake()

    async def start(self, handlers: Mapping[str, Handler]) -> None:
        """See `TaskQueue.start`."""
        if self._worker is not None:
            raise RuntimeError("the task queue was started already")
        self._is_stopping = False
        self._woken = asyncio.Event()
        self._worker = asyncio.create_task(self._serve(dict(handlers), self._woken), name="authflow-tasks")

    async def stop(self) -> None:
        """See `TaskQueue.stop`. Claims nothing more and waits up to `grace`; what is cancelled then is found again."""
        worker, self._worker = self._worker, None
        if worker is None:
            return
        self._is_stopping = True
        self._wake()
        self._woken = None
        try:
            await asyncio.wait({worker}, timeout=self._grace)
        finally:
            worker.cancel()
        await asyncio.wait({worker}, timeout=_LET_GO)

    async def run_due(self, handlers: Mapping[str, Handler], *, limit: int = 100) -> int:
        """See `TaskQueue.run_due`. Tasks that fell due after the call began are left for the next one.

        Raises:
            StoreUnavailable: The outbox could not be read or claimed from; what had begun was finished.
        """
        return await carry_out_due(
            self._store, self._work, handlers, self._clock(), limit=limit, concurrency=self._concurrency
        )

    def _wake(self) -> None:
        if self._woken is not None:
            self._woken.set()

    async def _serve(self, handlers: Mapping[str, Handler], woken: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            crew = Crew(group, self._concurrency, woken)
            while not self._is_stopping:
                # Cleared before the look, so that what is committed during it is not slept over.
                woken.clear()
                if crew.free and await self._look(handlers, crew):
                    continue
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._poll if crew.free else None):
                        await woken.wait()

    async def _look(self, handlers: Mapping[str, Handler], crew: Crew) -> bool:
        """Begin what is due; tell whether there may be more. Faults end here, for the worker outlives all of them."""
        room = crew.free
        try:
            found = await crew.begin(self._store, self._work, handlers, self._clock(), room)
        except StoreUnavailable as error:
            if not self._is_store_away:
                log.warning("tasks wait for the store: %s", error.detail)
            self._is_store_away = True
            return False
        except Exception as error:
            log.error("the task worker goes on after a fault: %s", described(error))
            return False
        if self._is_store_away:
            log.info("tasks go on, the store answers again")
        self._is_store_away = False
        return found == room and not crew.fruitless
