"""A clock that is turned by hand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
"""When every test begins, unless it says otherwise."""


@dataclass
class Clock:
    """Time that moves only when it is told to. Hand it in wherever a clock is wanted: calling it tells the time.

    Attributes:
        now: The instant; may be set, also backwards.
    """

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, span: timedelta) -> None:
        """Let time pass; a negative span puts the clock back."""
        self.now += span
