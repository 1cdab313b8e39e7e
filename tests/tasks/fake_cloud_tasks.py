"""Cloud Tasks as the real service is where the emulator is not: it refuses a name twice, and can be told to fail.

Speaks gRPC, so that the client under test is the real one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio
from google.cloud.tasks_v2 import types


async def _at_once() -> None:
    pass


class FakeCloudTasks:
    """The service, on the running event loop while the block lasts.

    Attributes:
        host: `127.0.0.1:PORT`.
        created: Tasks that were accepted, the oldest first.
        raw: What came in, as bytes on the wire, accepted or not.
        faults: Answered in turn instead, one a call; after it was accepted, if `loses_answers`.
        before: Awaited by each call first.
    """

    def __init__(self, port: int = 0) -> None:
        self._port = port
        self.host = ""
        self.created: list[types.Task] = []
        self.raw: list[bytes] = []
        self.faults: list[grpc.StatusCode] = []
        self.loses_answers = False
        self.before: Callable[[], Awaitable[object]] = _at_once

    async def __aenter__(self) -> Self:
        method = grpc.unary_unary_rpc_method_handler(
            self._create, response_serializer=lambda task: types.Task.pb(task).SerializeToString()
        )
        service = grpc.method_handlers_generic_handler("google.cloud.tasks.v2.CloudTasks", {"CreateTask": method})
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((service,))
        self._port = self._server.add_insecure_port(f"127.0.0.1:{self._port}")
        self.host = f"127.0.0.1:{self._port}"
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop(0)

    async def _create(self, raw: bytes, context: Any) -> types.Task:
        self.raw.append(raw)
        await self.before()
        request = types.CreateTaskRequest.deserialize(raw)
        fault = self.faults.pop(0) if self.faults else None
        if fault is not None and not self.loses_answers:
            await context.abort(fault, f'no: "{request.task.name}"')
        if request.task.name in [task.name for task in self.created]:
            await context.abort(grpc.StatusCode.ALREADY_EXISTS, "the name was used")
        self.created.append(request.task)
        if fault is not None:
            await context.abort(fault, "the answer is lost")
        return request.task
