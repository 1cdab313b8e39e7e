"""The work on one task, the same for every queue: claim it by lease, carry it out, write what came of it.

A claim is a guarded write, so of all who try only one gets the task. Whoever dies while holding it leaves a task that
is due again when the lease ends: nothing is lost, and it is done twice only if the first one got as far as its effect.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from authflow import audit
from authflow.errors import AuthflowError, StoreConflict, StoreUnavailable
from authflow.mail.protocol import MailRefused
from authflow.model import Event
from authflow.seam import Seam
from authflow.store.protocol import Record, Store, Write
from authflow.tasks import outbox
from authflow.tasks.protocol import Handler, Task, TaskFailed

log = logging.getLogger("authflow.tasks")


class Outcome(StrEnum):
    """What came of one try of a task."""

    DONE = "done"
    GIVEN_UP = "given_up"
    """It can never succeed, or has failed too often. It is gone, and an event tells of it."""
    POSTPONED = "postponed"
    LEFT = "left"
    """Its outcome could not be written, or somebody else has it by now. It is found again."""

    @property
    def is_final(self) -> bool:
        """Whether the task is out of the outbox."""
        return self in (Outcome.DONE, Outcome.GIVEN_UP)


class Job:
    """A task under our lease. Its times are the loop's, which no change of the system's clock moves."""

    __slots__ = ("held", "lease_end", "task", "time_limit")

    def __init__(self, task: Task, held: Record, began: float, lease: timedelta) -> None:
        self.task = task
        self.held = held
        self.lease_end = began + lease.total_seconds()
        self.time_limit = began + lease.total_seconds() * 2 / 3


class TaskWork:
    """Claims tasks of a store and carries them out.

    A handler gets two thirds of the lease and is then cancelled, so that the rest is left to write the outcome and the
    lease never ends under a live handler. One that blocks the loop or refuses cancellation breaks that promise.

    Args:
        store: Where the outbox is.
        clock: Tells the time, aware. Its differences between processes must be small beside the lease.
        seam: Sees each handler as `tasks.run` with the task's name.
        lease: How long a claimed task is left alone by others.
        pause: Seconds between two tries to write an outcome while the store is away.
    """

    def __init__(
        self, store: Store, *, clock: Callable[[], datetime], seam: Seam, lease: timedelta, pause: float
    ) -> None:
        self._store = store
        self._clock = clock
        self._seam = seam
        self._lease = lease
        self._pause = pause

    async def claim(self, record: Record) -> Job | None:
        """Take a task; None if somebody else has it, or if it was not worth taking: then it is gone, with an event.

        Raises:
            StoreUnavailable: It may be claimed or not; if it is, it is free again when the lease ends.
        """
        # Before the clock is read for the lease, so that our own reckoning ends before it.
        began = asyncio.get_running_loop().time()
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
        return Job(task, held, began, self._lease)

    async def carry_out(self, handlers: Mapping[str, Handler], job: Job) -> Outcome:
        """Try a claimed task and write what came of it."""
        task = job.task
        try:
            handler = handlers.get(task.name)
            if handler is None:
                raise TaskFailed("no handler has this name", code="unknown_task")
            async with asyncio.timeout_at(job.time_limit):
                await self._seam.call("tasks", "run", (task.name,), lambda: handler(task))
        except (TaskFailed, MailRefused) as error:
            log.warning("task %s %s cannot succeed: %s", task.name, task.id, described(error))
            return await self._give_up(job, error.code)
        except Exception as error:
            log.warning("task %s %s failed at try %d: %s", task.name, task.id, task.attempts + 1, described(error))
            return await self._postpone(job)
        return await self._settle(job, [outbox.done(job.held)], Outcome.DONE)

    async def _drop(self, record: Record, event: Event) -> None:
        with contextlib.suppress(StoreConflict):
            await self._store.commit([outbox.done(record), *audit.inserted([event])])
            audit.written([event])

    async def _postpone(self, job: Job) -> Outcome:
        now, attempts = self._clock(), job.task.attempts + 1
        reason = outbox.last_try_reason(attempts, job.task.created_at, now)
        if reason is None:
            return await self._settle(job, [outbox.postponed(job.held, now, attempts)], Outcome.POSTPONED)
        return await self._give_up(job, reason)

    async def _give_up(self, job: Job, reason: str) -> Outcome:
        event = _failure(job.task, self._clock(), reason, job.task.attempts + 1)
        outcome = await self._settle(job, [outbox.done(job.held), *audit.inserted([event])], Outcome.GIVEN_UP)
        if outcome is Outcome.GIVEN_UP:
            audit.written([event])
        return outcome

    async def _settle(self, job: Job, writes: Sequence[Write], outcome: Outcome) -> Outcome:
        """Write the outcome of a try, through an outage as long as the lease lasts; `LEFT` if it was not written."""
        is_answer_lost = False
        while True:
            try:
                await self._store.commit(writes)
            except StoreConflict:
                # While the lease lasts nobody else writes: the commit whose answer was lost has been carried out.
                return outcome if is_answer_lost else Outcome.LEFT
            except StoreUnavailable as error:
                if asyncio.get_running_loop().time() + self._pause >= job.lease_end:
                    log.warning(
                        "task %s %s will be repeated, the store is away: %s", job.task.name, job.task.id, error.detail
                    )
                    return Outcome.LEFT
                is_answer_lost = True
                await asyncio.sleep(self._pause)
            else:
                return outcome


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


def described(error: BaseException) -> str:
    """Say what an exception is without its message, which may quote a payload or a mail. Our own keep secrets out."""
    if isinstance(error, AuthflowError):
        return f"{error.code}: {error.detail}"
    frames = traceback.extract_tb(error.__traceback__)
    return f"{type(error).__name__} at {frames[-1].filename}:{frames[-1].lineno}" if frames else type(error).__name__
