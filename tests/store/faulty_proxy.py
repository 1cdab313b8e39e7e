"""A real gRPC server in front of the emulator that loses, delays, refuses and changes what passes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import grpc
import grpc.aio
from google.cloud.datastore_v1 import types

Code = grpc.StatusCode
Change = Callable[[Any], None]
MESSAGES = {
    "Lookup": (types.LookupRequest.pb(), types.LookupResponse.pb()),
    "RunQuery": (types.RunQueryRequest.pb(), types.RunQueryResponse.pb()),
    "Commit": (types.CommitRequest.pb(), types.CommitResponse.pb()),
}


@dataclass(frozen=True)
class Fault:
    """What becomes of one call.

    Attributes:
        method: `Lookup`, `RunQuery` or `Commit`.
        passes_on: The emulator gets the request.
        code: Answer with this instead of the emulator's answer. `None` gives the emulator's answer.
        text: The words with the code.
        hangs: Never answer.
        meanwhile: Awaited before anything else.
        request, response: Change the message in place.
    """

    method: str
    passes_on: bool = True
    code: Code | None = None
    text: str = "out of order"
    hangs: bool = False
    meanwhile: Callable[[], Awaitable[object]] | None = None
    request: Change | None = None
    response: Change | None = None


@dataclass
class FaultyProxy:
    """Passes calls on to `target`; each planned fault strikes the next call of its method, once.

    Attributes:
        port: Where it listens; chosen if 0.
        calls: Names of the methods that were called, in order.
        always: Strikes each call for which no other fault is planned.
    """

    target: str
    planned: list[Fault] = field(default_factory=list)
    always: list[Fault] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    port: int = 0
    host: str = ""

    async def __aenter__(self) -> Self:
        options = (("grpc.max_receive_message_length", -1), ("grpc.enable_http_proxy", 0))
        self._channel = grpc.aio.insecure_channel(self.target, options=options)
        self._server = grpc.aio.server(options=options)
        handlers = {name: grpc.unary_unary_rpc_method_handler(self._handler(name)) for name in MESSAGES}
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("google.datastore.v1.Datastore", handlers),)
        )
        self.host = f"127.0.0.1:{self._server.add_insecure_port(f'127.0.0.1:{self.port}')}"
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.stop(0)
        await self._channel.close()

    def _handler(self, method: str) -> Callable[[bytes, grpc.aio.ServicerContext], Awaitable[bytes]]:
        forward = self._channel.unary_unary(f"/google.datastore.v1.Datastore/{method}")

        async def handle(raw: bytes, context: grpc.aio.ServicerContext) -> bytes:
            self.calls.append(method)
            fault = self._take(method)
            asked, told = (kind.FromString(raw) if kind is MESSAGES[method][0] else kind() for kind in MESSAGES[method])
            if fault.meanwhile is not None:
                await fault.meanwhile()
            if fault.request is not None:
                fault.request(asked)
            if fault.passes_on:
                try:
                    told.ParseFromString(await forward(asked.SerializeToString(), timeout=10))
                except grpc.aio.AioRpcError as error:
                    if fault.code is None and not fault.hangs:
                        await context.abort(error.code(), error.details() or "")
            if fault.hangs:
                await asyncio.Event().wait()
            if fault.code is not None:
                await context.abort(fault.code, fault.text)
            if fault.response is not None:
                fault.response(told)
            return told.SerializeToString()

        return handle

    def _take(self, method: str) -> Fault:
        for faults in (self.planned, self.always):
            for fault in faults:
                if fault.method == method:
                    if faults is self.planned:
                        faults.remove(fault)
                    return fault
        return Fault(method)
