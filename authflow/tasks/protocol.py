"""What the engine asks of a task queue, and what a handler is given.

A task is a record of the outbox, inserted by the commit that wants it done. Its payload holds ids, never a secret, a
code or a token. It is carried out at least once, so handlers must not mind a repeat.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeAlias

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
