"""An event loop whose time passes only where everybody waits: deadlines are exact, and cost nothing."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class _Selector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Instead of waiting for a timer, tells the loop that its time has come."""

    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> Any:
        events = super().select(0)
        if events or timeout == 0:
            return events
        if timeout is None:
            return super().select(None)
        self.loop.passed += timeout
        return events


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its `time` begins at 0. Nothing that it runs may wait for a thread while a timer runs: the timer would win."""

    def __init__(self) -> None:
        self.passed = 0.0
        selector = _Selector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.passed


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run some work on a loop of its own, in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


def elapsed() -> float:
    """Return how many seconds have passed on the running loop."""
    return asyncio.get_running_loop().time()
