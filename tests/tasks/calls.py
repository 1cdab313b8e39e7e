"""A site whose tasks Cloud Tasks delivers, and calls to its task endpoint with headers as they come."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from authflow.assembly import Application, build
from authflow.seam import Bill, Observer, billing
from authflow.settings import Settings
from authflow.store.protocol import Record, Store
from authflow.tasks import outbox
from authflow.tasks.protocol import Task
from authflow.testing import KEY, Clock, Mailbox
from authflow.user import User
from authflow.web.app import Edge, create_app
from authflow.web.tasks import endpoint

BASE_URL = "https://login.example.org"
QUEUE = "cloudtasks:demo-project/europe-west1/mail"
QUEUE_PATH = "projects/demo-project/locations/europe-west1/queues/mail"
ACCOUNT = "caller@demo-project.iam.gserviceaccount.com"
NAME = "send_notice"

Headers = tuple[tuple[bytes, bytes], ...]
FROM_QUEUE: Headers = ((b"x-appengine-queuename", b"mail"),)
FROM_CRON: Headers = ((b"x-appengine-cron", b"true"),)


@dataclass
class Called:
    """What was answered, and what it cost."""

    status: int
    headers: dict[str, str]
    body: bytes
    bill: Bill

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Recorder:
    """A handler that keeps its tasks and raises its faults in turn."""

    tasks: list[Task] = field(default_factory=list)
    faults: list[BaseException] = field(default_factory=list)

    async def __call__(self, task: Task) -> None:
        self.tasks.append(task)
        if self.faults:
            raise self.faults.pop(0)


@dataclass
class Desk:
    """The site in process, and the one handler it has."""

    app: Application
    edge: Edge
    clock: Clock
    handler: Recorder

    @property
    def store(self) -> Store:
        return self.app.services.store

    async def defer(self, name: str = NAME, *, delay: timedelta = timedelta(0)) -> bytes:
        """Put a task into the outbox, as if Cloud Tasks knew it; return the body that it would send."""
        insert = outbox.written(name, {"account_id": "a1"}, self.clock(), delay)
        await self.store.commit([insert])
        return json.dumps({"id": insert.key.name}).encode()

    async def waiting(self) -> list[Record]:
        return list((await self.store.find("outbox", "due_at")).records)

    async def call(
        self,
        headers: Headers = FROM_QUEUE,
        body: bytes = b"",
        *,
        path: str = f"/_tasks/{NAME}",
        method: str = "POST",
        query: bytes = b"",
        messages: list[dict[str, Any]] | None = None,
    ) -> Called:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode("utf-8", "replace"),
            "query_string": query,
            "root_path": "",
            "headers": [(b"host", b"login.example.org"), (b"content-type", b"application/json"), *headers],
            "client": ("0.1.0.2", 1234),
            "server": ("127.0.0.1", 8000),
        }
        incoming = messages or [{"type": "http.request", "body": body, "more_body": False}]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return incoming.pop(0) if incoming else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        with billing() as bill:
            await self.edge(scope, receive, send)  # type: ignore[arg-type]
        if not sent:
            return Called(0, {}, b"", bill)
        got = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Called(sent[0]["status"], got, b"".join(message.get("body", b"") for message in sent[1:]), bill)


async def make_desk(
    *,
    on_app_engine: bool = True,
    service_account: str = "",
    certs_url: str = "",
    observers: tuple[Observer, ...] = (),
    **more: Any,
) -> Desk:
    """Build and open a site with Cloud Tasks, none of which is there."""
    account = f"?service_account={service_account}" if service_account else ""
    values: Mapping[str, Any] = {
        "store": "memory:",
        "tasks": QUEUE + account,
        "secret_keys": (KEY,),
        "base_url": BASE_URL,
        "bcrypt_rounds": 4,
        "on_app_engine": on_app_engine,
        **more,
    }
    clock, handler = Clock(), Recorder()
    app = build(Settings(**values), user=User(), transport=Mailbox(), clock=clock, observers=observers)
    app = replace(app, handlers={NAME: handler})
    await app.open(with_worker=False)
    edge = create_app(app)
    if certs_url:
        edge.tasks = endpoint(app, certs_url=certs_url)
    return Desk(app, edge, clock, handler)
