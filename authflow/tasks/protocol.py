"""What the engine asks of a task queue, and what a handler is given.

A task is a record of the outbox, inserted by the commit that wants it done. Its payload holds ids, never a secret, a
code or a token. It is carried out at least once, so handlers must not mind a repeat.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol, TypeAlias, runtime_checkable

from authflow.errors import AuthflowError
from authflow.model import Plain
from authflow.store.protocol import Insert, Write


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of deferred work.

    Attributes:
        id: Stays the same over repeats: what is derived from it (a link's token, a Message-ID) does so too.
        attempts: How often it has been tried before.
    """

    id: str
    name: str
    payload: Mapping[str, Any]
    created_at: datetime
    attempts: int = 0


class TaskFailed(AuthflowError):
    """The task can never succeed. It is dropped with an event, not tried again."""

    code = "task_failed"


Handler: TypeAlias = Callable[[Task], Awaitable[None]]
"""Carries out a task. Raises `TaskFailed` when it never can; anything else that it raises is tried again later."""


class TaskQueue(Protocol):
    """Where tasks wait."""

    def write(
        self, name: str, payload: Mapping[str, Plain], now: datetime, *, delay: timedelta = timedelta(0)
    ) -> Insert:
        """Return the write that defers a task, for the commit it belongs to."""

    async def dispatch(self, writes: Sequence[Write]) -> None:
        """Hear of a commit that is done and send the tasks among its writes on their way.

        Never fails, and waits for a second at most: what is not sent on is found in the outbox by the next sweep.
        """

    async def start(self, handlers: Mapping[str, Handler]) -> None:
        """Begin to carry out tasks on the running event loop."""

    async def stop(self) -> None:
        """Stop; a task in progress is finished, or found again by somebody else after its lease."""

    async def run_due(self, handlers: Mapping[str, Handler], *, limit: int = 100) -> int:
        """Carry out what is due now; return how many tasks were done. For `authflow tasks run` and cron."""


class Delivery(StrEnum):
    """What came of one delivery of a task by a queue outside."""

    DONE = "done"
    GIVEN_UP = "given_up"
    """It can never succeed, or has failed too often; an event tells of it."""
    GONE = "gone"
    """There is no such task: an earlier delivery, or the sweep, has seen to it."""
    MISNAMED = "misnamed"
    """The task of this id has another name. Nothing was done."""
    FAILED = "failed"
    """It failed this time."""
    BUSY = "busy"
    """Another delivery, or the sweep, is at it."""

    @property
    def is_final(self) -> bool:
        """Whether another delivery of the same call is of no use."""
        return self not in (Delivery.FAILED, Delivery.BUSY)


@runtime_checkable
class DeliveredQueue(TaskQueue, Protocol):
    """A queue outside that calls us with each task, and may fail to."""

    async def deliver(self, handlers: Mapping[str, Handler], name: str, task_id: str) -> Delivery:
        """Carry out the task of a call whose origin is proved.

        Raises:
            StoreUnavailable: Nobody knows; the call is to be repeated.
        """

    async def sweep(self, handlers: Mapping[str, Handler]) -> int:
        """Carry out what should have been delivered a while ago, for a bounded time; return how many tasks were done.

        Raises:
            StoreUnavailable: The outbox could not be read.
        """
