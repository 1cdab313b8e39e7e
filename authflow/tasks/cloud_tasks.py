"""Cloud Tasks as the messenger of the outbox: it calls us with each task's id, at once and again until we say done.

The record in the store stays the truth. What is queued outside is the id and nothing else; a call that finds no record
has nothing to do, and a record that nobody calls for is found by the sweep. So a task that was never queued, queued
twice or delivered five times is carried out all the same, and once.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from authflow.errors import ConfigurationError
from authflow.model import Plain, to_instant
from authflow.seam import Seam
from authflow.settings import CloudTasksSetting
from authflow.store.protocol import Insert, Key, Store, Write
from authflow.tasks import outbox
from authflow.tasks.crew import carry_out_due
from authflow.tasks.protocol import Delivery, Handler, TaskFailed
from authflow.tasks.work import Outcome, TaskWork, described

if TYPE_CHECKING:
    from authflow.tasks.cloud_client import Client, Target

log = logging.getLogger("authflow.tasks")

PATH = "/_tasks/"
"""Below it tasks are delivered, each by its name."""

OVERDUE = timedelta(minutes=2)
"""So late a delivery is no longer waited for."""

_MAKING = 5.0
"""Seconds more that a command, which makes the client only when it has something to send, may take for that."""

_PAUSE = 2.0


class CloudTasksQueue:
    """Sends tasks on to Cloud Tasks and carries out those it delivers.

    Args:
        store: Where the outbox is.
        setting: The queue, and whose identity token comes with its calls; without one, App Engine's own way is taken.
        base_url: Our origin.
        service: The App Engine service that tasks are routed to; empty for the default one.
        clock, seam, lease: See `TaskWork`. The seam also sees each creation as `tasks.create` with the task's name.
        emulator_host: `HOST:PORT` of an emulator.
        patience: How long a request waits for Cloud Tasks at most.
        concurrency: Handlers at once, in a sweep.
        sweep_time: How long a sweep begins tasks.

    Raises:
        ConfigurationError: A span or number is not positive.
    """

    def __init__(
        self,
        store: Store,
        setting: CloudTasksSetting,
        *,
        base_url: str,
        service: str = "",
        clock: Callable[[], datetime],
        seam: Seam | None = None,
        lease: timedelta = timedelta(seconds=30),
        emulator_host: str = "",
        patience: timedelta = timedelta(seconds=1),
        concurrency: int = 8,
        sweep_time: timedelta = timedelta(minutes=2),
    ) -> None:
        if min(lease, patience, sweep_time) <= timedelta(0) or concurrency < 1:
            raise ConfigurationError("Cloud Tasks: lease, patience, sweep time and concurrency must be positive")
        self._store = store
        self._setting = setting
        self._base_url = base_url
        self._service = service
        self._clock = clock
        self._seam = seam or Seam()
        self._emulator_host = emulator_host
        self._patience = patience.total_seconds()
        self._concurrency = concurrency
        self._sweep_time = sweep_time.total_seconds()
        self._work = TaskWork(store, clock=clock, seam=self._seam, lease=lease, pause=_PAUSE)
        self._client: Client | None = None
        self._target: Target | None = None
        self._opening = asyncio.Lock()
        self._is_started = False

    def write(
        self, name: str, payload: Mapping[str, Plain], now: datetime, *, delay: timedelta = timedelta(0)
    ) -> Insert:
        """See `TaskQueue.write`.

        Raises:
            ContractViolation: See `outbox.written`.
        """
        return outbox.written(name, payload, now, delay)

    # --- Sending on ---------------------------------------------------------------------------------------------------

    async def dispatch(self, writes: Sequence[Write]) -> None:
        """See `TaskQueue.dispatch`. All are sent at once; what fails is logged by code and left to the sweep.

        Before `start` it also makes the client, which may take some seconds more: that is for commands.
        """
        tasks = outbox.tasks_among(writes)
        if not tasks:
            return
        until = asyncio.get_running_loop().time() + self._patience + (0 if self._is_started else _MAKING)
        failures = Counter(filter(None, await asyncio.gather(*(self._send(task, until) for task in tasks))))
        if failures:
            codes = ", ".join(f"{code} ({count})" for code, count in sorted(failures.items()))
            log.warning("%d of %d tasks wait for the sweep: %s", failures.total(), len(tasks), codes)

    async def start(self, handlers: Mapping[str, Handler]) -> None:
        """See `TaskQueue.start`. Makes the client, so that no request waits for that; tasks come by `deliver`."""
        self._is_started = True
        try:
            await self._opened()
        except Exception as error:
            # Tasks are still carried out, by the sweep, and the next one to be sent tries again.
            log.error("Cloud Tasks cannot be asked, tasks wait for the sweep: %s", _code(error))

    async def stop(self) -> None:
        """See `TaskQueue.stop`."""
        client, self._client = self._client, None
        self._is_started = False
        if client is not None and client.is_at_home:
            await client.close()

    async def _send(self, insert: Insert, until: float) -> str | None:
        """Create the task of one record; return the code of what went wrong."""
        name = str(insert.data["task"])
        try:
            async with asyncio.timeout_at(until):
                await self._seam.call("tasks", "create", (name,), lambda: self._create(insert, name, until))
        except TimeoutError:
            return "DEADLINE_EXCEEDED"
        except Exception as error:
            return _code(error)
        return None

    async def _create(self, insert: Insert, name: str, until: float) -> None:
        client, target = await self._opened()
        due_at = to_instant(insert.data[outbox.DUE])
        body = json.dumps({"id": insert.key.name}).encode()
        # By the id a repeated creation is the same task. With the count, one that is sent on after a try is another.
        task_name = f"{insert.key.name}-{insert.data['attempts']}"
        task = target.task(task_name, PATH + name, body, due_at if due_at > self._clock() else None)
        await client.create(self._setting.path, task, until)

    async def _opened(self) -> tuple[Client, Target]:
        async with self._opening:
            if self._client is None or self._target is None or not self._client.is_at_home:
                # In a thread: importing takes most of a second, and the loop has others to serve.
                door = await asyncio.to_thread(importlib.import_module, "authflow.tasks.cloud_client")
                client, target = door.Client, door.Target
                self._target = target(self._setting, self._base_url, self._service)
                self._client = await client.open(self._emulator_host)
            return self._client, self._target

    # --- Carrying out -------------------------------------------------------------------------------------------------

    async def deliver(self, handlers: Mapping[str, Handler], name: str, task_id: str) -> Delivery:
        """See `DeliveredQueue.deliver`. A task that was put off is carried out: when, is for Cloud Tasks to say."""
        key = Key(outbox.KIND, task_id)
        record = (await self._store.get([key])).get(key)
        if record is None:
            return Delivery.GONE
        try:
            task = outbox.read(record)
        except TaskFailed:
            await self._work.claim(record)  # Drops it, with an event.
            return Delivery.GIVEN_UP
        if task.name != name:
            return Delivery.MISNAMED
        if outbox.is_leased(record, self._clock()):
            return Delivery.BUSY
        job = await self._work.claim(record)
        if job is None:
            # Somebody was quicker, or it was given up as it had killed each of its workers; the next delivery will see.
            return Delivery.BUSY
        match await self._work.carry_out(handlers, job):
            case Outcome.DONE:
                return Delivery.DONE
            case Outcome.GIVEN_UP:
                return Delivery.GIVEN_UP
            case Outcome.POSTPONED | Outcome.LEFT:
                return Delivery.FAILED

    async def run_due(self, handlers: Mapping[str, Handler], *, limit: int = 100) -> int:
        """See `TaskQueue.run_due`. Does not wait for deliveries, and works when Cloud Tasks does not.

        Raises:
            StoreUnavailable: The outbox could not be read or claimed from; what had begun was finished.
        """
        return await carry_out_due(
            self._store, self._work, handlers, self._clock(), limit=limit, concurrency=self._concurrency
        )

    async def sweep(self, handlers: Mapping[str, Handler]) -> int:
        """See `DeliveredQueue.sweep`. What is less late than `OVERDUE` is left to its delivery."""
        return await carry_out_due(
            self._store,
            self._work,
            handlers,
            self._clock() - OVERDUE,
            limit=10_000,
            concurrency=self._concurrency,
            until=asyncio.get_running_loop().time() + self._sweep_time,
        )


def _code(error: Exception) -> str:
    """Say what an exception is without its message."""
    code = getattr(error, "code", None)
    return code if isinstance(code, str) else described(error)
