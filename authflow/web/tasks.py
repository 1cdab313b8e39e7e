"""Where Cloud Tasks delivers and the clock calls: `POST /_tasks/<name>` and `/_tasks/sweep`. No page, cookie or skey.

The origin is proved before anything else is read or asked. Then the status is an answer to Cloud Tasks:

- 200 says that this call is of no further use: the task is done, was done before, can never be done (an event tells of
  it), or the call makes no sense, which no repetition mends. Nothing is lost by it: the truth is the outbox, and the
  sweep finds what waits there.
- 409 wants the call again by the queue's own backoff: the task failed this time, or somebody is at it. Any status but
  2xx does that; 503 and 429, with targets outside App Engine every 5xx, would slow down the whole queue besides.
- 503 is for faults of ours, such as a store that is away: there the whole queue should slow down.
"""

from __future__ import annotations

import asyncio
import logging
import re
from typing import TYPE_CHECKING

from authflow import audit
from authflow.assembly import Application
from authflow.errors import AuthflowError, Forbidden, MethodNotAllowed, NotFound, Unavailable
from authflow.strict_json import read_object
from authflow.tasks.origin import GOOGLE_CERTIFICATES, Origin, demand_program, origins
from authflow.tasks.protocol import DeliveredQueue
from authflow.web.answer import Answer
from authflow.web.body import ClientGone
from authflow.web.client import client_address, client_network

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

PREFIX = "/_tasks/"
MAX_BODY = 4 * 1024
PATIENCE = 20.0
"""Seconds for a body to arrive."""
CLEANING = 120.0
"""With the time for its tasks, a sweep stays far below App Engine's ten minutes."""

_SWEEP = "sweep"
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.ASCII)
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)

log = logging.getLogger("authflow.tasks")


def endpoint(app: Application, *, certs_url: str = GOOGLE_CERTIFICATES) -> TaskEndpoint | None:
    """Make the endpoint; None where no queue outside delivers tasks: then its paths do not exist.

    Args:
        certs_url: Where the certificates of identity tokens are, instead of Google's own.
    """
    queue = app.services.tasks
    return TaskEndpoint(app, queue, certs_url) if isinstance(queue, DeliveredQueue) else None


class TaskEndpoint:
    """Answers the calls below `/_tasks/`.

    Attributes:
        cleaning: Seconds of a sweep for deleting what has expired.
    """

    def __init__(self, app: Application, queue: DeliveredQueue, certs_url: str) -> None:
        self._app = app
        self._queue = queue
        self.cleaning = CLEANING
        self._origins = origins(app.settings, app.services.fetching, app.services.clock, certs_url=certs_url)

    async def answer(self, scope: Scope, receive: Receive, path: str) -> Answer | None:
        """Answer one call; None if nobody is there to be answered."""
        try:
            return await self._answer(scope, receive, path.removeprefix(PREFIX))
        except ClientGone:
            return None
        except Forbidden as error:
            self._note_refusal(scope, error.code)
            return _refusal(error)
        except AuthflowError as error:
            if error.status >= 500:
                log.error("a task call failed: %s: %s", error.code, error.detail, exc_info=error.status == 500)
            return _refusal(error if error.status != 500 else Unavailable())
        except Exception:
            log.exception("a task call failed")
            return _refusal(Unavailable())

    async def _answer(self, scope: Scope, receive: Receive, name: str) -> Answer:
        method, is_sweep = scope["method"], name == _SWEEP
        if not _NAME.fullmatch(name):
            raise NotFound()
        # App Engine's cron knows GET alone.
        allowed = ("GET", "POST") if is_sweep else ("POST",)
        if method not in allowed:
            raise MethodNotAllowed(allowed)
        await self._prove(self._origins.clock if is_sweep else self._origins.queue, scope)
        return await self._sweep() if is_sweep else await self._deliver(name, await _read(receive))

    async def _prove(self, origin: Origin, scope: Scope) -> None:
        demand_program(scope["headers"])
        await origin.prove(scope["headers"])

    async def _deliver(self, name: str, raw: bytes) -> Answer:
        task_id = _task_id(raw)
        if task_id is None:
            log.error("a call for a task %s of our own queue makes no sense and is dropped", name)
            return Answer.json({"status": "ignored"})
        delivery = await self._queue.deliver(self._app.handlers, name, task_id)
        if delivery is delivery.MISNAMED:
            log.error("a call for a task %s names a task of another kind and is dropped", name)
        return Answer.json({"status": delivery.value}, 200 if delivery.is_final else 409)

    async def _sweep(self) -> Answer:
        """Carry out what is overdue, then delete what has expired, each for a bounded time; the next sweep goes on."""
        done, deleted = await self._queue.sweep(self._app.handlers), 0

        def count(total: int) -> None:
            nonlocal deleted
            deleted = total

        is_complete = True
        try:
            async with asyncio.timeout(self.cleaning):
                await self._app.administration.clean(progress=count)
        except TimeoutError:
            is_complete = False
        return Answer.json({"done": done, "deleted": deleted, "complete": is_complete})

    def _note_refusal(self, scope: Scope, code: str) -> None:
        # In the log alone: what anybody can cause must not cost a write.
        client = client_network(client_address(scope, self._app.settings))
        audit.written([audit.event("task_call_refused", self._app.services.clock(), reason=code, client=client)])


async def _read(receive: Receive) -> bytes:
    """Read the body; of one that is too long, only so much that it is seen to be."""
    chunks = bytearray()
    try:
        async with asyncio.timeout(PATIENCE):
            while len(chunks) <= MAX_BODY:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientGone
                chunks += message.get("body", b"")
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        raise Unavailable("the body of a task call trickles") from None
    return bytes(chunks)


def _task_id(raw: bytes) -> str | None:
    """Return the id that a body names; None unless it is exactly what `CloudTasksQueue` sends."""
    if len(raw) > MAX_BODY:
        return None
    try:
        document = read_object(raw)
    except ValueError:
        return None
    task_id = document.get("id")
    if len(document) != 1 or not isinstance(task_id, str) or not _ID.fullmatch(task_id):
        return None
    return task_id


def _refusal(error: AuthflowError) -> Answer:
    # A refused call does not learn what was wrong with it.
    code = Forbidden.code if isinstance(error, Forbidden) else error.code
    answer = Answer.json({"status": error.status, "code": code}, error.status)
    if isinstance(error, MethodNotAllowed):
        answer.headers.append((b"allow", ", ".join(error.allowed).encode()))
    if error.retry_after is not None:
        answer.headers.append((b"retry-after", str(int(error.retry_after.total_seconds())).encode()))
    return answer
