"""An event loop on which time passes at once: its clock jumps to the next timer, and it tells when nothing moves."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Mapping
from typing import Any


class _IdleSelector(selectors.BaseSelector):
    """Stands in the place of the operating system: time passes at once, and idleness is told of."""

    def __init__(self) -> None:
        self.now = 0.0
        self.idle: Callable[[], None] | None = None
        self._registered: dict[Any, selectors.SelectorKey] = {}

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None:
            self.now += max(timeout, 0.0)
        elif self.idle is None:
            # Sleeping here would be for ever.
            raise RuntimeError("everything waits for something that never comes: a thread, or a socket")
        else:
            self.idle()
        return []

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, -1, events, data)
        self._registered[fileobj] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._registered.pop(fileobj)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._registered


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer instead of waiting for it."""

    def __init__(self) -> None:
        self._virtual = _IdleSelector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now

    def on_idle(self, idle: Callable[[], None] | None) -> None:
        """Have something called whenever nothing is ready and no timer runs.

        Args:
            idle: Makes something ready. None: then such a state is an error.
        """
        self._virtual.idle = idle
