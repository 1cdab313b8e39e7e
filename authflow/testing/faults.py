"""Faults at any call to the outside: store, tasks, mail and remote parties alike, as an observer of the seam."""

from __future__ import annotations

from authflow.errors import StoreConflict, StoreUnavailable
from authflow.seam import Call

FOR_EVER = 1 << 30


class Faults:
    """An observer that breaks calls, counted from when it was armed. Hand it to `make_site(observers=...)`.

    Attributes:
        calls: What was called since it was armed.
        broken: How many of them it broke.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.disarm()

    def arm(
        self,
        error: type[Exception] = StoreUnavailable,
        *,
        kind: str = "",
        operation: str = "",
        at: int = 0,
        times: int = 1,
        is_late: bool = False,
    ) -> None:
        """Break calls from now on.

        Args:
            error: What is raised. A conflict is raised at commits alone, since nothing else has one.
            kind, operation: Which calls count; see `Call`. Empty for all.
            at: How many of them are let through first.
            times: How many break; `FOR_EVER` for all that follow.
            is_late: The call is carried out first, so that only its answer is lost.
        """
        self.calls, self.broken = [], 0
        self._error, self._kind, self._operation = error, kind, operation
        self._from, self._until, self._is_late = at, at + times, is_late
        self._seen = 0

    def disarm(self) -> None:
        """Let everything through."""
        self.arm(times=0)

    async def before(self, call: Call) -> None:
        """See `Observer.before`."""
        self.calls.append(call)
        if not self._is_late:
            self._meet(call)

    def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
        """See `Observer.after`."""
        if self._is_late and error is None:
            self._meet(call)

    def _meet(self, call: Call) -> None:
        if self._kind not in ("", call.kind) or self._operation not in ("", call.operation):
            return
        if issubclass(self._error, StoreConflict) and call.operation != "commit":
            return
        number, self._seen = self._seen, self._seen + 1
        if self._from <= number < self._until:
            self.broken += 1
            raise self._error("broken, as planned")
