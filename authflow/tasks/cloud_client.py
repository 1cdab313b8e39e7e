"""The door to Google's Cloud Tasks client: a channel and the one call we make. Imported only where it is configured."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from datetime import datetime
from typing import Self

import google.auth
import grpc.aio
from google.api_core.exceptions import AlreadyExists, DeadlineExceeded, GoogleAPICallError, ServiceUnavailable
from google.auth.exceptions import GoogleAuthError
from google.cloud.tasks_v2 import types
from google.cloud.tasks_v2.services.cloud_tasks import CloudTasksAsyncClient
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport

from authflow.settings import CloudTasksSetting

_OPTIONS = (
    # After an outage gRPC would wait for up to two minutes until it connects again.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
)


class CreateFailed(Exception):
    """A task was not created, or nobody knows. `code` is what gRPC or Google's client call it: it names no task."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True, slots=True)
class Target:
    """Where a queue delivers its tasks.

    Attributes:
        base_url: Our origin. An App Engine target has its own way to us and does not use it.
        service: The App Engine service; empty for the default one.
    """

    queue: CloudTasksSetting
    base_url: str
    service: str = ""

    def task(self, name: str, path: str, body: bytes, at: datetime | None) -> types.Task:
        """Describe a task that posts a JSON body to one of our paths.

        Args:
            name: Two tasks of one name are one: the later is refused.
            at: Not before then.
        """
        task = types.Task(name=f"{self.queue.path}/tasks/{name}")
        if at is not None:
            task.schedule_time = at
        headers = {"Content-Type": "application/json"}
        if self.queue.service_account:
            task.http_request = types.HttpRequest(
                url=self.base_url + path,
                http_method=types.HttpMethod.POST,
                headers=headers,
                body=body,
                # The audience is what the token is good for: us, whatever the path.
                oidc_token=types.OidcToken(service_account_email=self.queue.service_account, audience=self.base_url),
            )
        else:
            task.app_engine_http_request = types.AppEngineHttpRequest(
                relative_uri=path,
                http_method=types.HttpMethod.POST,
                headers=headers,
                body=body,
                app_engine_routing=types.AppEngineRouting(service=self.service),
            )
        return task


class Client:
    """A channel to Cloud Tasks, good on the event loop and in the process that opened it."""

    def __init__(self, client: CloudTasksAsyncClient) -> None:
        self._client = client
        self._home = _here()

    @classmethod
    async def open(cls, emulator_host: str = "") -> Self:
        """Make the channel; the first call connects.

        Args:
            emulator_host: `HOST:PORT` of an emulator, which is asked in the clear and without credentials.

        Raises:
            CreateFailed: There are no credentials.
        """
        if emulator_host:
            # A proxy for the outside world has no business between here and an emulator.
            options = (*_OPTIONS, ("grpc.enable_http_proxy", 0))
            channel = grpc.aio.insecure_channel(emulator_host, options=options)
        else:
            try:
                # It may ask the metadata server, by blocking calls.
                scopes = CloudTasksGrpcAsyncIOTransport.AUTH_SCOPES
                credentials, _ = await asyncio.to_thread(google.auth.default, scopes=scopes)
            except GoogleAuthError as error:
                raise CreateFailed(f"no credentials ({type(error).__name__})") from None
            host = CloudTasksGrpcAsyncIOTransport.DEFAULT_HOST
            channel = CloudTasksGrpcAsyncIOTransport.create_channel(host, credentials=credentials, options=_OPTIONS)
        return cls(CloudTasksAsyncClient(transport=CloudTasksGrpcAsyncIOTransport(channel=channel)))

    @property
    def is_at_home(self) -> bool:
        """Whether this is the event loop and the process it was opened in: elsewhere it would hang."""
        return self._home == _here()

    async def close(self) -> None:
        """Let go of the channel. Idempotent."""
        await self._client.transport.close()  # type: ignore[no-untyped-call]

    async def create(self, queue: str, task: types.Task, until: float) -> None:
        """Create a task. One of the same name that is there, or was until lately, is this very one.

        Args:
            queue: Its full name.
            until: The loop's time to be done by. A peer that is not there, or hangs up, is asked once more before it.

        Raises:
            CreateFailed: It was not created, or no answer came.
        """
        request = types.CreateTaskRequest(parent=queue, task=task)
        loop = asyncio.get_running_loop()
        for is_last in (False, True):
            try:
                # `retry=None`: the default one goes on for ten seconds.
                await self._client.create_task(request, retry=None, timeout=until - loop.time())
            except AlreadyExists:
                return
            except (ServiceUnavailable, DeadlineExceeded) as error:
                if is_last or loop.time() >= until:
                    raise CreateFailed(_code(error)) from None
            except (GoogleAPICallError, GoogleAuthError) as error:
                raise CreateFailed(_code(error)) from None
            else:
                return


def _code(error: Exception) -> str:
    # Never the message: it may quote the task.
    code = getattr(error, "grpc_status_code", None)
    return str(code.name) if code is not None else type(error).__name__


def _here() -> tuple[int, asyncio.AbstractEventLoop]:
    return os.getpid(), asyncio.get_running_loop()
