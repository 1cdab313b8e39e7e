"""What flows leave behind for `traces`: which of them do, what a commit means to a flow, and what it has cost so far.

Everything that writes a trace goes through here, and none of it is imported before a flow that leaves one is written.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from authflow.flow import Flow
from authflow.seam import Bill, billing
from authflow.store.protocol import Plain, Write

if TYPE_CHECKING:
    from authflow.engine import Engine
    from authflow.loading import Loaded
    from authflow.tasks.protocol import Task
    from authflow.tokens import Keyring

ERASING_TASK = "erase_traces"
"""The task by which the traces of a deleted account go."""

ERASED_AGAIN_AFTER = timedelta(hours=1)
"""Longer than any submission takes from its reading to its commit."""


@dataclass(frozen=True, slots=True)
class Moved:
    """What one commit means to a flow.

    Attributes:
        flow: As the commit leaves it.
        events: What has happened to it, in the words of `Flow.trace`.
        loaded: The records that it was judged by; None where policy was told nothing of its subject.
        account_id: Whom it is about, empty for nobody. None where `loaded` says so, or, without it, the flow's subject,
            whom its writer has just read.
    """

    flow: Flow
    events: tuple[str, ...]
    loaded: Loaded | None = field(default=None, repr=False)
    account_id: str | None = None


class Meter:
    """What one piece of work has cost since it began."""

    __slots__ = ("_began", "bill")

    def __init__(self, bill: Bill) -> None:
        self.bill = bill
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began


_meter: ContextVar[Meter | None] = ContextVar("authflow_meter", default=None)


@contextmanager
def metered() -> Iterator[Meter]:
    """Measure what this block costs; within another such block nothing is measured anew."""
    running = _meter.get()
    if running is not None:
        yield running
        return
    with billing() as bill:
        meter = Meter(bill)
        token = _meter.set(meter)
        try:
            yield meter
        finally:
            _meter.reset(token)


def is_traced(keyring: Keyring, flow_id: str, share: float) -> bool:
    """Whether a flow leaves a trace: decided by its id, so that it is traced as a whole or not at all.

    By a keyed digest of it: whoever reads the id in a form cannot tell, nor start flows until one is traced, or is not.
    The oldest master key decides: another one in front of it changes nothing, also while processes run with and
    without it. Once the oldest is taken away, flows on their way may end with a part of their traces.
    """
    oldest = keyring.macs("trace", flow_id.encode())[-1]
    return int.from_bytes(oldest[:8]) < share * 2**64


def writes(engine: Engine, moved: Sequence[Moved], others: Sequence[Write]) -> list[Write]:
    """Return what a commit writes of the flows it moves; mostly nothing.

    Args:
        others: What else the commit writes.
    """
    share, keyring = engine.user.trace_share, engine.services.keyring
    found = [one for one in moved if share and is_traced(keyring, one.flow.id, share)]
    if not found:
        return []
    from authflow.recording import inserted

    return [*inserted(engine, found, others, _meter.get())]


async def erase_traces(engine: Engine, task: Task) -> None:
    """Erase what the flows of a deleted account have left, and once more an hour later. May be called again.

    A submission that was on its way when the account went may commit its trace after the first time.
    """
    from authflow.traces import erase

    services, account_id = engine.services, str(task.payload["account_id"])
    await erase(services.store, account_id)
    if task.payload.get("is_last"):
        return
    payload: dict[str, Plain] = {"account_id": account_id, "is_last": True}
    later = services.tasks.write(ERASING_TASK, payload, services.clock(), delay=ERASED_AGAIN_AFTER)
    await services.store.commit((later,))
    await services.tasks.dispatch((later,))
