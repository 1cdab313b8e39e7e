"""Every order in which concurrent operations can reach the store, one after the other.

What a race does depends on one thing: whose call the store answers next. So the store is wrapped, each `get`, `find`
and `commit` of an operation waits until it is let through, and one is let through whenever nothing else can move. The
choices of a run are a path; `explore` walks all of them, each from a fresh copy of the world. Nothing is left to
chance and nothing takes time: pauses before another try are passed over on a clock of their own.

Operations must not leave the event loop (no threads, no sockets): hash in line, keep records in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeAlias, TypeVar

from authflow.testing.scheduled_store import Point, ScheduledStore, Step, operation_of_task
from authflow.testing.virtual_loop import VirtualLoop

__all__ = ["Explorer", "Point", "Run", "ScheduleError", "ScheduledStore", "Step"]

T = TypeVar("T")
Operation: TypeAlias = Callable[[], Awaitable[Any]]
"""Begins an operation; called anew for each run."""

Chooser: TypeAlias = Callable[[int, Sequence[Point]], int]

MAX_CALLS = 400
"""Store calls of one run. More means that operations keep each other from ending."""


class ScheduleError(Exception):
    """A run cannot be explored: it depends on more than the order of store calls, or does not end."""


@dataclass(frozen=True, slots=True)
class Run:
    """One schedule from its beginning to its end.

    Attributes:
        outcomes: What each operation returned, or the exception that it raised.
        steps: In the order in which the store did them.
        path: The choices; hand it to `replay`.
    """

    outcomes: tuple[Any, ...]
    steps: tuple[Step, ...]
    path: tuple[int, ...]

    def __str__(self) -> str:
        return " ".join(map(str, self.steps))


@dataclass(slots=True)
class _Scheduler:
    """Lets one waiting call through at a time.

    Attributes:
        choose: Says which of several; what it raises ends the run.
        choices: What there was to choose from, each time that there was more than one.
    """

    choose: Chooser
    over: asyncio.Future[None]
    on_step: Callable[[Step], None] | None = None
    chosen: list[int] = field(default_factory=list)
    choices: list[tuple[Point, ...]] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    _waiting: list[tuple[Point, asyncio.Future[None]]] = field(default_factory=list)
    _calls: int = 0

    async def turn(self, point: Point) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((point, turn))
        await turn

    def done(self, step: Step) -> None:
        self.steps.append(step)
        if self.on_step is not None and not self.over.done():
            # Not to the operation, which would take it for the store's fault.
            self._guarded(lambda on_step: on_step(step), self.on_step)

    def idle(self) -> None:
        """Nothing can move any more: let the next call through, or end the run."""
        if self.over.done():
            return
        if not self._waiting:
            self.over.set_result(None)
            return
        self._guarded(lambda _: self._next(), None)

    def _next(self) -> None:
        self._calls += 1
        if self._calls > MAX_CALLS:
            raise ScheduleError("the run does not end")
        # By operation: which of them came to its call first depends on the event loop alone.
        self._waiting.sort(key=lambda waiting: waiting[0].who)
        index = 0
        if len(self._waiting) > 1:
            points = tuple(point for point, _ in self._waiting)
            index = self.choose(len(self.choices), points)
            self.chosen.append(index)
            self.choices.append(points)
        self._waiting.pop(index)[1].set_result(None)

    def _guarded(self, work: Callable[[Any], None], argument: Any) -> None:
        try:
            work(argument)
        except Exception as error:
            self.over.set_exception(error)


class Explorer:
    """Runs operations against each other in every order. Close it, or use it as a context manager.

    Args:
        store: The store that all operations talk to.
        fresh: Puts the world back to where each run begins: the store's records, the clock, whatever else is kept.
        on_step: Told of each call that was let through; what it raises ends the exploration.
    """

    def __init__(
        self, store: ScheduledStore, fresh: Callable[[], None], on_step: Callable[[Step], None] | None = None
    ) -> None:
        self._store = store
        self._fresh = fresh
        self._on_step = on_step
        self._loop = VirtualLoop()

    def __enter__(self) -> Explorer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the event loop."""
        self._loop.close()

    def prepare(self, work: Coroutine[Any, Any, T]) -> T:
        """Carry out something on the explorer's event loop without any waiting, such as making the world."""
        return self._loop.run_until_complete(work)

    def explore(self, operations: Sequence[Operation], limit: int | None = None) -> Iterator[Run]:
        """Run the operations in every order of their store calls, each order once.

        Args:
            limit: Runs at most; None for all of them.

        Raises:
            ScheduleError: The same path led elsewhere at another time, or a run does not end.
        """
        path: list[int] | None = []
        expected: list[tuple[Point, ...]] = []
        count = 0
        while path is not None and (limit is None or count < limit):
            run, expected = self._run(operations, _along(path, expected))
            count += 1
            yield run
            path = _next_path(run.path, expected)
            expected = expected[: len(path or ())]

    def replay(self, operations: Sequence[Operation], path: Sequence[int]) -> Run:
        """Run the operations once, along a path that was found before.

        Raises:
            ScheduleError: There is no such path.
        """
        return self.guided(operations, _along(path, ()))

    def in_series(self, operations: Sequence[Operation]) -> Run:
        """Run the operations one after the other, each to its end, with what goes on after its answer."""
        return self.guided(operations, lambda place, points: 0)

    def guided(self, operations: Sequence[Operation], choose: Chooser) -> Run:
        """Run the operations once.

        Args:
            choose: Is told how many choices were made and which calls wait, by operation; says which goes next.
        """
        return self._run(operations, choose)[0]

    def _run(self, operations: Sequence[Operation], choose: Chooser) -> tuple[Run, list[tuple[Point, ...]]]:
        self._fresh()
        scheduler = _Scheduler(choose, self._loop.create_future(), self._on_step)
        self._store.scheduler = scheduler
        self._loop.on_idle(scheduler.idle)
        try:
            outcomes = self._loop.run_until_complete(_all(operations, scheduler.over))
        finally:
            self._store.scheduler = None
            self._loop.on_idle(None)
        return Run(outcomes, tuple(scheduler.steps), tuple(scheduler.chosen)), scheduler.choices


async def _all(operations: Sequence[Operation], over: asyncio.Future[None]) -> tuple[Any, ...]:
    before = asyncio.all_tasks()
    tasks = [_started(who, operation) for who, operation in enumerate(operations)]
    try:
        await over
        waiting = [who for who, task in enumerate(tasks) if not task.done()]
        if waiting:
            raise ScheduleError(f"operations {waiting} wait for what never comes: a thread, or a socket")
        return tuple(task.result() for task in tasks)
    finally:
        left = asyncio.all_tasks() - before
        for task in left:
            task.cancel()
        if left:
            await asyncio.gather(*left, return_exceptions=True)


def _started(who: int, operation: Operation) -> asyncio.Task[Any]:
    # A task takes a copy of what is set when it is made, and so does what it starts itself.
    token = operation_of_task.set(who)
    try:
        return asyncio.create_task(_outcome(operation))
    finally:
        operation_of_task.reset(token)


async def _outcome(operation: Operation) -> Any:
    try:
        return await operation()
    except Exception as error:
        return error


def _along(path: Sequence[int], expected: Sequence[tuple[Point, ...]]) -> Chooser:
    """Choose as a path says, and then always the first.

    Args:
        expected: What there was to choose from when the path was found.
    """

    def choose(place: int, points: Sequence[Point]) -> int:
        if place < len(expected) and expected[place] != points:
            raise ScheduleError(f"the same path led elsewhere: {_shown(expected[place])}, then {_shown(points)}")
        index = path[place] if place < len(path) else 0
        if not 0 <= index < len(points):
            raise ScheduleError(f"the path has choice {index} where there are {len(points)}")
        return index

    return choose


def _next_path(path: Sequence[int], choices: Sequence[tuple[Point, ...]]) -> list[int] | None:
    """Return the path after this one, depth first; None after the last."""
    for place in range(len(path) - 1, -1, -1):
        if path[place] + 1 < len(choices[place]):
            return [*path[:place], path[place] + 1]
    return None


def _shown(points: Sequence[Point]) -> str:
    return " | ".join(map(str, points))
