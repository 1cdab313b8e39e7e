"""The embedded task queue: a worker on the event loop of each process, with the outbox in the store as its queue.

Processes that share a store share the work. A task is claimed by a guarded write with a lease, carried out, and deleted
with the version of the claim. Whoever dies in between leaves a task that is due again when its lease ends: nothing is
lost, and it is done twice only if the first one got as far as its effect.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

from authflow import audit
from authflow.errors import AuthflowError, ConfigurationError, StoreConflict, StoreUnavailable
from authflow.mail.protocol import MailRefused
from authflow.model import Event, Plain, from_instant
from authflow.seam import Seam
from authflow.store.protocol import Insert, Record, Store, Write
from authflow.tasks import outbox
from authflow.tasks.protocol import Handler, Task, TaskFailed

log = logging.getLogger("authflow.tasks")

_LET_GO = 1.0
"""Seconds that handlers get to take their cancellation at `stop`."""


class LocalQueue:
    """Carries out the tasks of a store.

    A handler gets two thirds of the lease and is then cancelled, so that the rest is left to write the outcome and the
    lease never ends under a live handler. One that blocks the loop or refuses cancellation breaks that promise.

    Args:
        store: Where the outbox is; open while the queue is at work.
        clock: Tells the time, aware. Its differences between processes must be small beside the lease.
        seam: Sees each handler as `tasks.run` with the task's name.
        lease: How long a claimed task is left alone by others.
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
        self._seam = seam or Seam()
        self._lease = lease
        self._poll = poll.total_seconds()
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
        cutoff = self._clock()
        fault: StoreUnavailable | None = None
        async with asyncio.TaskGroup() as group:
            crew = _Crew(group, self._concurrency, asyncio.Event())
            try:
                while crew.begun < limit:
                    crew.changed.clear()
                    if crew.free == 0:
                        await crew.changed.wait()
                    elif not await self._begin(handlers, crew, cutoff, min(crew.free, limit - crew.begun)):
                        break
            except StoreUnavailable as error:
                # Raised inside the group, it would cancel handlers that are at work.
                fault = error
        if fault is not None:
            raise fault
        return crew.done

    def _wake(self) -> None:
        if self._woken is not None:
            self._woken.set()

    async def _serve(self, handlers: Mapping[str, Handler], woken: asyncio.Event) -> None:
        async with asyncio.TaskGroup() as group:
            crew = _Crew(group, self._concurrency, woken)
            while not self._is_stopping:
                # Cleared before the look, so that what is committed during it is not slept over.
                woken.clear()
                if crew.free and await self._look(handlers, crew):
                    continue
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._poll if crew.free else None):
                        await woken.wait()

    async def _look(self, handlers: Mapping[str, Handler], crew: _Crew) -> bool:
        """Begin what is due; tell whether there may be more. Faults end here, for the worker outlives all of them."""
        room = crew.free
        try:
            found = await self._begin(handlers, crew, self._clock(), room)
        except StoreUnavailable as error:
            if not self._is_store_away:
                log.warning("tasks wait for the store: %s", error.detail)
            self._is_store_away = True
            return False
        except Exception as error:
            log.error("the task worker goes on after a fault: %s", _described(error))
            return False
        if self._is_store_away:
            log.info("tasks go on, the store answers again")
        self._is_store_away = False
        return found == room

    async def _begin(self, handlers: Mapping[str, Handler], crew: _Crew, cutoff: datetime, limit: int) -> int:
        """Claim up to `limit` due tasks and set the crew to work on them; return how many were found."""
        page = await self._store.find(outbox.KIND, outbox.DUE, at_most=from_instant(cutoff), limit=limit)
        for record in page.records:
            # Before the clock is read for the lease, so that our own reckoning ends before it.
            began = asyncio.get_running_loop().time()
            if (job := await self._claim(record, began)) is not None:
                crew.begin(partial(self._carry_out, handlers, job))
        return len(page.records)

    async def _claim(self, record: Record, began: float) -> _Job | None:
        """Take a task; None if somebody else has it, or if it was not worth taking."""
        now = self._clock()
        try:
            task = outbox.read(record)
        except TaskFailed as error:
            await self._drop(record, audit.event("task_failed", now, reason=error.code, task_id=record.key.name))
            return None
        if task.attempts >= outbox.MAX_ATTEMPTS:
            # Each of those tries ended without a word: it takes its workers down with it.
            await self._drop(record, _failure(task, now, "attempts_exhausted", task.attempts))
            return None
        claim = outbox.claimed(record, now, self._lease)
        try:
            # Not durable: when a power failure takes a claim back, nobody is left who holds it.
            await self._store.commit([claim], durable=False)
        except StoreConflict:
            return None
        held = (await self._store.get([record.key])).get(record.key)
        # No two claims of a task have the same count, so this is ours unless we slept beyond its lease.
        if held is None or held.data != claim.data:
            return None
        return _Job(task, held, began, self._lease)

    async def _drop(self, record: Record, event: Event) -> None:
        with contextlib.suppress(StoreConflict):
            await self._store.commit([outbox.done(record), *audit.inserted([event])])
            audit.written([event])

    async def _carry_out(self, handlers: Mapping[str, Handler], job: _Job) -> bool:
        """Try a claimed task and write what came of it; tell whether it is done."""
        task = job.task
        try:
            handler = handlers.get(task.name)
            if handler is None:
                raise TaskFailed("no handler has this name", code="unknown_task")
            async with asyncio.timeout_at(job.time_limit):
                await self._seam.call("tasks", "run", (task.name,), lambda: handler(task))
        except (TaskFailed, MailRefused) as error:
            log.warning("task %s %s cannot succeed: %s", task.name, task.id, _described(error))
            await self._give_up(job, error.code)
            return False
        except Exception as error:
            log.warning("task %s %s failed at try %d: %s", task.name, task.id, task.attempts + 1, _described(error))
            await self._postpone(job)
            return False
        return await self._settle(job, [outbox.done(job.held)])

    async def _postpone(self, job: _Job) -> None:
        now, attempts = self._clock(), job.task.attempts + 1
        reason = outbox.last_try_reason(attempts, job.task.created_at, now)
        if reason is None:
            await self._settle(job, [outbox.postponed(job.held, now, attempts)])
        else:
            await self._give_up(job, reason)

    async def _give_up(self, job: _Job, reason: str) -> None:
        event = _failure(job.task, self._clock(), reason, job.task.attempts + 1)
        if await self._settle(job, [outbox.done(job.held), *audit.inserted([event])]):
            audit.written([event])

    async def _settle(self, job: _Job, writes: Sequence[Write]) -> bool:
        """Write the outcome of a try, through an outage as long as the lease lasts; tell whether it was written."""
        is_answer_lost = False
        while True:
            try:
                await self._store.commit(writes)
            except StoreConflict:
                # While the lease lasts nobody else writes: the commit whose answer was lost has been carried out.
                return is_answer_lost
            except StoreUnavailable as error:
                if asyncio.get_running_loop().time() + self._poll >= job.lease_end:
                    log.warning(
                        "task %s %s will be repeated, the store is away: %s", job.task.name, job.task.id, error.detail
                    )
                    return False
                is_answer_lost = True
                await asyncio.sleep(self._poll)
            else:
                return True


class _Job:
    """A task under our lease. Its times are the loop's, which no change of the system's clock moves."""

    __slots__ = ("held", "lease_end", "task", "time_limit")

    def __init__(self, task: Task, held: Record, began: float, lease: timedelta) -> None:
        self.task = task
        self.held = held
        self.lease_end = began + lease.total_seconds()
        self.time_limit = began + lease.total_seconds() * 2 / 3


class _Crew:
    """The handlers at work, each in a task of the group.

    Attributes:
        free: How many more may begin.
        begun, done: How many did, and how many of those were carried out.
        changed: Set whenever one ends.
    """

    def __init__(self, group: asyncio.TaskGroup, size: int, changed: asyncio.Event) -> None:
        self.free = size
        self.begun = 0
        self.done = 0
        self.changed = changed
        self._group = group

    def begin(self, work: Callable[[], Awaitable[bool]]) -> None:
        self.free -= 1
        self.begun += 1
        self._group.create_task(self._see_through(work))

    async def _see_through(self, work: Callable[[], Awaitable[bool]]) -> None:
        try:
            # Awaited first: `+=` would add to the count as it was before the wait.
            is_done = await work()
            self.done += is_done
        except Exception as error:
            # Out of here it would cancel the others of the group. The task itself is found again.
            log.error("a task was left at a fault: %s", _described(error))
        finally:
            self.free += 1
            self.changed.set()


def _failure(task: Task, now: datetime, reason: str, attempts: int) -> Event:
    """Make the event of a task that is given up. Of the payload it tells whom it concerned."""
    account_id = task.payload.get("account_id")
    return audit.event(
        "task_failed",
        now,
        account_id=account_id if isinstance(account_id, str) else "",
        reason=reason,
        task=task.name,
        task_id=task.id,
        attempts=attempts,
    )


def _described(error: Exception) -> str:
    """Say what an exception is without its message, which may quote a payload or a mail. Our own keep secrets out."""
    if isinstance(error, AuthflowError):
        return f"{error.code}: {error.detail}"
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at {frames[-1].filename}:{frames[-1].lineno}" if frames else type(error).__name__
