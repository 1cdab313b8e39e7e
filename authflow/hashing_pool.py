"""The bounded pool that all hashing runs in: few threads, a short queue, and a place taken before anything else."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Final, ParamSpec, TypeVar

from authflow.errors import ConfigurationError, ContractViolation, Overloaded
from authflow.seam import record_hash

P = ParamSpec("P")
T = TypeVar("T")

_NICENESS: Final = 10


def threads_for(workers: int, *, cores: int | None = None) -> int:
    """Return how many hashing threads each of so many worker processes gets: the cores, shared out, at least one."""
    return max(1, (cores or os.cpu_count() or 1) // max(1, workers))


class HashingPool:
    """Few threads and a short queue for work that holds a core for a quarter of a second.

    Many hashing threads starve the event loop of its core; an unbounded queue makes every login wait behind a flood.
    So there is a slot for each thread and each place in the queue, and who finds none is turned away at once.

    Args:
        threads: How many hashes are computed at a time (see `threads_for`).
        queue_per_thread: How many may wait for each thread.
    """

    def __init__(self, threads: int, queue_per_thread: int = 16) -> None:
        if threads < 1 or queue_per_thread < 0:
            raise ConfigurationError("the hashing pool needs at least one thread and no negative queue")
        self.threads = threads
        self._free = threads * (1 + queue_per_thread)
        self._lock = threading.Lock()
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="hashing", initializer=_yield_to_other_threads)

    def reserve(self) -> Slot:
        """Take a place in the pool, before any store call is made for the request.

        Returns:
            A context manager that gives the place back.

        Raises:
            Overloaded: Every thread and every place in the queue is taken.
        """
        with self._lock:
            if self._free == 0:
                raise Overloaded("the hashing pool is full")
            self._free -= 1
        return Slot(self)

    async def run(self, slot: Slot, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function in one of the pool's threads.

        Args:
            slot: A reserved place. It can be used again once this has returned.
            function: What to run. It must not touch anything that belongs to the event loop.

        Raises:
            ContractViolation: The slot is released, of another pool, or busy.
            Overloaded: The pool was closed.
        """
        if slot._pool is not self:
            raise ContractViolation("the hashing slot is of another pool")
        slot._start()
        record_hash()
        try:
            job = self._executor.submit(function, *args, **kwargs)
        except RuntimeError as error:
            slot._finish()
            raise Overloaded("the hashing pool is closed") from error
        # Registered before the one of `wrap_future`: the slot is idle again before the awaiting task wakes.
        job.add_done_callback(slot._finish)
        try:
            return await asyncio.wrap_future(job)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
        # Nobody cancelled the request: the pool was closed while the job was in its queue.
        raise Overloaded("the hashing pool was closed")

    def close(self) -> None:
        """Drop what is queued and let the threads end after their present job."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _give_back(self) -> None:
        with self._lock:
            self._free += 1


class Slot:
    """A reserved place in a `HashingPool`: `with pool.reserve() as slot: ...`.

    A request can be cancelled, a running hash cannot. The place is given back when the `with` block has ended and its
    job too: clients that connect and hang up must not pile up more work than the pool admits.
    """

    __slots__ = ("_is_busy", "_is_held", "_lock", "_pool")

    def __init__(self, pool: HashingPool) -> None:
        self._pool = pool
        self._lock = threading.Lock()
        self._is_held = True
        self._is_busy = False

    def __enter__(self) -> Slot:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Give the place back. Further calls do nothing."""
        with self._lock:
            is_last = self._is_held and not self._is_busy
            self._is_held = False
        if is_last:
            self._pool._give_back()

    def _start(self) -> None:
        with self._lock:
            if not self._is_held or self._is_busy:
                raise ContractViolation("the hashing slot is released or its earlier job still runs")
            self._is_busy = True

    def _finish(self, job: Future[T] | None = None) -> None:
        with self._lock:
            self._is_busy = False
            is_last = not self._is_held
        if is_last:
            self._pool._give_back()


def _yield_to_other_threads() -> None:
    """Make the calling thread nice, so that the event loop gets the core first."""
    # Only Linux counts niceness per thread and takes a thread's id here; elsewhere the whole process would slow down.
    # A sandbox may forbid it, and an error here would break the pool.
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread, max(_NICENESS, os.getpriority(os.PRIO_PROCESS, thread)))
