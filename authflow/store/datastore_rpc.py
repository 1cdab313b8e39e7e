"""The door to Google's Datastore client and to gRPC: messages, a connection, calls, and what a call can fail with.

The generated `DatastoreAsyncClient` gives address, credentials and stubs. Its methods are passed by: their
messages cost twice the time of bare ones, and their retries wait for most of a minute.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeAlias
from urllib.parse import quote

import google.auth
import grpc
import grpc.aio
from google.auth.exceptions import GoogleAuthError
from google.cloud.datastore_v1 import DatastoreAsyncClient, types
from google.cloud.datastore_v1.services.datastore.transports import DatastoreGrpcAsyncIOTransport

from authflow.errors import ConfigurationError, StoreUnavailable

Code: TypeAlias = grpc.StatusCode
Interceptor: TypeAlias = grpc.aio.UnaryUnaryClientInterceptor
Message: TypeAlias = Any
"""A bare protocol buffer of one of the classes below. They are made when the program starts, so they have no types."""

KeyMessage = types.Key.pb()
PathElement = types.Key.pb().PathElement
PartitionId = types.PartitionId.pb()
Entity = types.Entity.pb()
Value = types.Value.pb()
Mutation = types.Mutation.pb()
Query = types.Query.pb()
PropertyFilter = types.PropertyFilter.pb()
PropertyOrder = types.PropertyOrder.pb()
LookupRequest = types.LookupRequest.pb()
RunQueryRequest = types.RunQueryRequest.pb()
CommitRequest = types.CommitRequest.pb()
QueryResultBatch = types.QueryResultBatch.pb()

GRACE = timedelta(seconds=2)
"""How long calls under way may go on when the connection is closed."""

_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # gRPC would wait a second, then up to two minutes, until it tries to connect again. The second figure is also how
    # long one attempt may take.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    # A peer that vanished without a word is noticed when it answers no ping, or when what was sent stays unacknowledged
    # for the second figure. The first one is what Google's Firestore client takes.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
)
_QUOTED = re.compile(r'"[^"]*"|\'[^\']*\'')


class CallFailed(Exception):
    """A call was answered with an error, or not at all.

    Attributes:
        code: What gRPC calls it.
        text: The server's words without anything quoted: those are names and values of records.
    """

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(f"{code.name}: {text}")
        self.code = code
        self.text = text


class Connection:
    """A channel to Datastore, good on the event loop and in the process that opened it.

    Args:
        project: The Google Cloud project.
        emulator_host: `HOST:PORT` of an emulator, which is asked in the clear and without credentials.
        interceptors: See every call; for tests that count calls or disturb them.
    """

    def __init__(self, project: str, *, emulator_host: str = "", interceptors: Sequence[Interceptor] = ()) -> None:
        self.project = project
        self._emulator_host = emulator_host
        self._interceptors = tuple(interceptors)
        self._metadata = (("x-goog-request-params", f"project_id={quote(project)}"),)
        self._transport: Any = None
        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None

    async def open(self) -> None:
        """Make the channel, which connects meanwhile. Idempotent.

        Raises:
            ConfigurationError: There are no credentials.
        """
        if self._is_open_here():
            return
        credentials = None if self._emulator_host else await _credentials()
        if not self._is_open_here():  # Another opening may have been faster.
            channel = self._channel(credentials)
            client = DatastoreAsyncClient(transport=DatastoreGrpcAsyncIOTransport(channel=channel))
            self._transport, self._home = client.transport, _here()
            # It connects meanwhile, so that the first call need not wait for that.
            channel.get_state(try_to_connect=True)

    async def close(self) -> None:
        """Let go of the channel. Idempotent."""
        transport, self._transport = self._transport, None
        if transport is not None and self._home == _here():
            await transport.grpc_channel.close(GRACE.total_seconds())

    async def lookup(self, request: Message, seconds: float) -> Message:
        """Send a bare `LookupRequest`, return a bare `LookupResponse`. All three raise `CallFailed`."""
        self.demand_open()
        return await self._call(self._transport.lookup, types.LookupRequest.wrap(request), seconds)

    async def run_query(self, request: Message, seconds: float) -> Message:
        """Send a bare `RunQueryRequest`, return a bare `RunQueryResponse`."""
        self.demand_open()
        return await self._call(self._transport.run_query, types.RunQueryRequest.wrap(request), seconds)

    async def commit(self, request: Message, seconds: float) -> Message:
        """Send a bare `CommitRequest`, return a bare `CommitResponse`."""
        self.demand_open()
        return await self._call(self._transport.commit, types.CommitRequest.wrap(request), seconds)

    def demand_open(self) -> None:
        """Refuse work on a connection that is not open here.

        Raises:
            StoreUnavailable: It is closed, or was opened by another event loop or process.
        """
        if self._transport is None:
            raise StoreUnavailable("the store is not open")
        if self._home != _here():
            raise StoreUnavailable("the store was opened on another event loop or before a fork; open it here")

    async def _call(self, stub: Any, request: Message, seconds: float) -> Message:
        try:
            answer = await stub(request, timeout=seconds, metadata=self._metadata)
        except grpc.aio.AioRpcError as error:
            # Without the error itself, which says all it knows wherever it is printed.
            raise CallFailed(error.code(), _redacted(error.details() or "")) from None
        except grpc.aio.BaseError:
            raise CallFailed(grpc.StatusCode.CANCELLED, "the channel was closed") from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            # Nobody cancelled the caller: the channel was closed under its call.
            raise CallFailed(grpc.StatusCode.CANCELLED, "the channel was closed") from None
        return type(answer).pb(answer)

    def _is_open_here(self) -> bool:
        return self._transport is not None and self._home == _here()

    def _channel(self, credentials: Any) -> Any:
        if credentials is None:
            # A proxy for the outside world has no business between here and an emulator.
            options = (*_OPTIONS, ("grpc.enable_http_proxy", 0))
            return grpc.aio.insecure_channel(self._emulator_host, options=options, interceptors=self._interceptors)
        host = f"{DatastoreGrpcAsyncIOTransport.DEFAULT_HOST}:443"
        return DatastoreGrpcAsyncIOTransport.create_channel(
            host, credentials=credentials, options=_OPTIONS, interceptors=self._interceptors
        )


async def _credentials() -> Any:
    try:
        # In a thread, since the metadata server may be asked, by calls that block.
        scopes = DatastoreGrpcAsyncIOTransport.AUTH_SCOPES
        credentials, _ = await asyncio.to_thread(google.auth.default, default_scopes=scopes)
    except GoogleAuthError as error:
        raise ConfigurationError(
            "AUTHFLOW_STORE: Datastore needs credentials. On Google Cloud they are the service account's; elsewhere "
            "run `gcloud auth application-default login` or set GOOGLE_APPLICATION_CREDENTIALS"
        ) from error
    return credentials


def _here() -> tuple[int, asyncio.AbstractEventLoop]:
    return os.getpid(), asyncio.get_running_loop()


def _redacted(text: str) -> str:
    return _QUOTED.sub('"..."', text)[:500]
