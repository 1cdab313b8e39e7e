"""A served instance as App Engine has it: Datastore, Cloud Tasks and SMTP, all of them running beside it.

The emulator's queue calls the server with each task, by HTTP, and again as long as the server wants that.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from aiosmtpd.smtp import SMTP, Envelope, Session

from authflow.assembly import Application, build
from authflow.model import Account, Event, from_instant
from authflow.recovery import RECOVERY_TASK
from authflow.settings import CloudTasksSetting, from_environment
from authflow.store.protocol import Record, Update
from authflow.tasks.cloud_client import Client, Target
from tests.parts import datastore_emulator, tasks_emulator
from tests.parts.datastore_emulator import DatastoreEmulator
from tests.parts.require import require
from tests.parts.server import PATIENCE, ROOT, Server
from tests.parts.smtp_sink import SmtpSink
from tests.parts.tasks_emulator import QUEUE, TasksEmulator
from tests.served.client import Connection, RemotePerson
from tests.served.people import PASSWORD_PATH, new_account

pytestmark = [pytest.mark.emulator, pytest.mark.slow]

_, PROJECT, _, LOCATION, _, NAME = QUEUE.split("/")
PATH = f"/_tasks/{RECOVERY_TASK}"
SWEEP = "GET /_tasks/sweep HTTP/1.1"
CRON = "X-Appengine-Cron: true"


class Sink(SmtpSink):
    """An SMTP server that answers recipients with these lines first, one each."""

    def __init__(self, *replies: str) -> None:
        super().__init__()
        self.replies = list(replies)

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self.replies:
            return self.replies.pop(0)
        return await super().handle_RCPT(server, session, envelope, address, options)


@dataclass
class Deployment:
    """A server and what stands around it."""

    server: Server
    emulator: TasksEmulator
    sink: Sink

    @asynccontextmanager
    async def application(self) -> AsyncIterator[Application]:
        """Open a second application on the same store, in this process: an operator's hands. It does no tasks."""
        app = build(from_environment(self.server.environment))
        await app.open(with_worker=False)
        try:
            yield app
        finally:
            await app.close()

    async def account(self) -> Account:
        async with self.application() as app:
            return await new_account(app)

    async def asked_recovery(self, account: Account) -> None:
        person = RemotePerson(self.server)
        page = await person.get(f"{PASSWORD_PATH}/pwrecover")
        page = await person.send(page.form("pwrecover"), name=account.name)
        assert page.status == 303, page.text

    async def waiting(self) -> list[Record]:
        async with self.application() as app:
            return list((await app.services.store.find("outbox", "due_at")).records)

    async def events(self, type_: str) -> list[Event]:
        async with self.application() as app:
            records = (await app.services.store.find("event", "at", limit=500)).records
        every = [Event.from_data(record.key.name, record.data) for record in records]
        return [event for event in every if event.type == type_]

    async def until(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, self.server.log()[-2000:] + self.emulator.log()[-2000:]
            await asyncio.sleep(0.02)

    async def until_empty(self) -> None:
        end = time.monotonic() + PATIENCE
        async with self.application() as app:
            while (await app.services.store.find("outbox", "due_at", limit=1)).records:
                assert time.monotonic() < end, self.server.log()[-2000:] + self.emulator.log()[-2000:]
                await asyncio.sleep(0.02)

    async def made_overdue(self) -> None:
        """Put the time of every waiting task, and the end of every lease, back by minutes."""
        past = from_instant(datetime.now(UTC) - timedelta(minutes=5))
        async with self.application() as app:
            for record in (await app.services.store.find("outbox", "due_at")).records:
                write = Update(record.key, {**record.data, "due_at": past}, record.version)
                await app.services.store.commit([write])

    async def call(self, *lines: str, body: bytes = b"") -> tuple[int, str]:
        """Send a request as it stands here; return status and text of the answer."""
        async with Connection(self.server) as connection:
            head = [*lines, "Host: login.example.org", f"Content-Length: {len(body)}", "Connection: close", "", ""]
            page = await connection.exchange("\r\n".join(head).encode("latin-1") + body)
        return page.status, page.text

    async def swept(self) -> dict[str, int]:
        status, text = await self.call(SWEEP, CRON)
        assert status == 200, text
        return json.loads(text)


@contextmanager
def deployed(
    datastore: DatastoreEmulator, sink: Sink, *, tasks_host: str = "", with_emulator: bool = True
) -> Iterator[Deployment]:
    emulator = TasksEmulator()
    server = Server(
        environment={
            "GAE_ENV": "standard",
            "GOOGLE_CLOUD_PROJECT": PROJECT,
            "AUTHFLOW_STORE": f"datastore:{PROJECT}/test-{secrets.token_hex(8)}",
            "AUTHFLOW_TASKS": f"cloudtasks:{PROJECT}/{LOCATION}/{NAME}",
            "AUTHFLOW_MAIL": sink.url,
            "AUTHFLOW_MAIL_FROM": "noreply@example.org",
            "AUTHFLOW_SECRET_KEYS": "a-master-key-of-the-tests-with-no-comma",
            "AUTHFLOW_BASE_URL": "https://login.example.org",
            "DATASTORE_EMULATOR_HOST": datastore.host,
            "CLOUD_TASKS_EMULATOR_HOST": tasks_host or emulator.host,
        }
    )
    emulator.target_port = server.port
    if with_emulator:
        with emulator, server:
            yield Deployment(server, emulator, sink)
    else:
        with server:
            yield Deployment(server, emulator, sink)


@pytest.fixture(scope="module")
def datastore(request: pytest.FixtureRequest) -> Iterator[DatastoreEmulator]:
    missing = datastore_emulator.missing_part() or tasks_emulator.missing_part()
    require(request, missing is None, str(missing))
    with DatastoreEmulator() as emulator:
        yield emulator


@contextmanager
def black_hole() -> Iterator[str]:
    """Yield an address where connections are taken and nothing is ever answered."""
    with closing(socket.socket()) as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(16)
        yield f"127.0.0.1:{listening.getsockname()[1]}"


# --- Delivery ---------------------------------------------------------------------------------------------------------


async def test_a_recovery_mail_is_delivered_by_the_queue_and_once_however_often_it_calls(
    datastore: DatastoreEmulator,
) -> None:
    with Sink() as sink, deployed(datastore, sink) as site:
        account = await site.account()
        async with site.application() as app:
            await site.asked_recovery(account)
            await site.until(lambda: len(sink.deliveries) == 1)
            await site.until_empty()
            task_id = str(sink.messages[0]["Message-ID"]).strip("<>").partition("@")[0]

            # As the real service may do: the same call, five times more.
            setting = app.settings.cloud_tasks
            client = await Client.open(site.emulator.host)
            soon = asyncio.get_running_loop().time() + 5
            for number in range(5):
                body = json.dumps({"id": task_id}).encode()
                task = Target(setting, "").task(f"again-{number}", PATH, body, None)
                await client.create(setting.path, task, soon)
            await client.close()
            await site.until(lambda: site.emulator.log().count("Requesting POST") == 6)

        (message,) = sink.messages
        text = message.get_body(("plain",)).get_content()  # type: ignore[union-attr]
        assert message["To"] == account.email
        assert "https://login.example.org/user/auth_userpassword/pwrecover?recovery_key=" in text
        assert "Moving failed task" not in site.emulator.log()
        assert await site.events("task_failed") == []


async def test_a_mail_that_is_put_off_twice_is_asked_for_again_and_arrives_once(datastore: DatastoreEmulator) -> None:
    with Sink("451 4.7.1 later", "421 4.7.0 busy") as sink, deployed(datastore, sink) as site:
        await site.asked_recovery(await site.account())

        await site.until(lambda: len(sink.deliveries) == 1)
        await site.until_empty()

        assert sink.replies == []
        assert site.emulator.log().count("Moving failed task") >= 2
        assert site.server.log().count("failed at try") == 2
        await asyncio.sleep(0.5)  # Time for the queue to call once more, if it did.
        assert len(sink.deliveries) == 1


async def test_a_mail_that_can_never_be_delivered_is_acknowledged_and_leaves_an_event(
    datastore: DatastoreEmulator,
) -> None:
    with Sink(*["550 5.1.1 no such user"] * 9) as sink, deployed(datastore, sink) as site:
        account = await site.account()
        await site.asked_recovery(account)

        await site.until_empty()

        (event,) = await site.events("task_failed")
        assert (event.reason, event.details["task"]) == ("mail_refused", RECOVERY_TASK)
        await asyncio.sleep(0.5)  # Time for the queue to call once more, if it did.
        assert len(sink.replies) == 8
        assert "Moving failed task" not in site.emulator.log()


async def test_nothing_but_ids_is_queued_outside(datastore: DatastoreEmulator) -> None:
    with Sink("451 4.7.1 later", "451 4.7.1 later") as sink, deployed(datastore, sink) as site:
        account = await site.account()
        await site.asked_recovery(account)
        await site.until(lambda: len(sink.deliveries) == 1)

        log = site.emulator.log()
        assert PATH in log
        assert account.id not in log
        assert account.name not in log


# --- Faults -----------------------------------------------------------------------------------------------------------


async def test_a_server_killed_between_commit_and_dispatch_still_sends_by_the_sweep(
    datastore: DatastoreEmulator,
) -> None:
    with (
        Sink() as sink,
        black_hole() as nowhere,
        deployed(datastore, sink, tasks_host=nowhere, with_emulator=False) as site,
    ):
        account = await site.account()
        person = RemotePerson(site.server)
        page = await person.get(f"{PASSWORD_PATH}/pwrecover")
        asking = asyncio.create_task(person.send(page.form("pwrecover"), name=account.name))
        async with site.application() as app:
            async with asyncio.timeout(PATIENCE):
                while not (await app.services.store.find("outbox", "due_at", limit=1)).records:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        site.server.kill()
        (answer,) = await asyncio.gather(asking, return_exceptions=True)
        assert isinstance(answer, Exception), "it was killed too late"

        await asyncio.to_thread(site.server.start)
        assert (await site.swept())["done"] == 0, "it may still be delivered"
        await site.made_overdue()
        assert (await site.swept())["done"] == 1

        assert [message["To"] for message in sink.messages] == [account.email]
        assert await site.waiting() == []


@pytest.mark.parametrize("how", ["refuses", "hangs"])
async def test_without_cloud_tasks_people_are_answered_and_mails_go_by_command(
    datastore: DatastoreEmulator, how: str
) -> None:
    with (
        Sink() as sink,
        black_hole() as nowhere,
        deployed(datastore, sink, tasks_host=nowhere if how == "hangs" else "127.0.0.1:9", with_emulator=False) as site,
    ):
        account = await site.account()
        began = time.monotonic()
        await site.asked_recovery(account)
        assert time.monotonic() - began < 3

        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "authflow.cli", "tasks", "run", "--json"],
            cwd=ROOT,
            env=site.server.environment,
            capture_output=True,
            text=True,
            check=True,
        )

        assert json.loads(done.stdout) == {"done": 1}
        assert [message["To"] for message in sink.messages] == [account.email]
        assert "1 of 1 tasks wait for the sweep" in site.server.log()


async def test_mails_go_out_again_by_themselves_once_cloud_tasks_is_back(datastore: DatastoreEmulator) -> None:
    with Sink() as sink, deployed(datastore, sink) as site:
        site.emulator.stop()
        first, second = await site.account(), await site.account()
        await site.asked_recovery(first)
        site.emulator.start()

        await asyncio.sleep(1.2)  # As long as gRPC waits at most until it connects again.
        await site.asked_recovery(second)
        await site.until(lambda: len(sink.deliveries) == 1)

        assert sink.messages[0]["To"] == second.email
        await site.made_overdue()
        await site.swept()
        assert {message["To"] for message in sink.messages} == {first.email, second.email}


# --- Strangers --------------------------------------------------------------------------------------------------------


async def test_over_the_wire_no_spelling_of_the_headers_lets_a_stranger_in(datastore: DatastoreEmulator) -> None:
    with Sink() as sink, deployed(datastore, sink, tasks_host="127.0.0.1:9", with_emulator=False) as site:
        await site.asked_recovery(await site.account())
        (record,) = await site.waiting()
        body = json.dumps({"id": record.key.name}).encode()
        post, genuine = f"POST {PATH} HTTP/1.1", f"X-AppEngine-QueueName: {NAME}"
        forged = [
            (post,),
            (post, f"X_AppEngine_QueueName: {NAME}"),
            (post, f"X-AppEngine_QueueName: {NAME}"),
            (post, f"X-CloudTasks-QueueName: {NAME}"),
            (post, f"HTTP_X_APPENGINE_QUEUENAME: {NAME}"),
            (post, f"X-AppEngine-QueueName: {NAME}x"),
            (post, f"X-AppEngine-QueueName: {NAME}, {NAME}"),
            (post, genuine, genuine),
            (post, genuine, "X-AppEngine-QueueName: other"),
            (post, genuine, "Cookie: a=b"),
            (post, genuine, "Origin: https://login.example.org"),
            (post, "X-AppEngine-Cron: true"),
            (post.replace("POST", "GET"), genuine),
            (post.replace(PATH, PATH + "/"), genuine),
            (post.replace(PATH, "/_tasks/" + PATH.removeprefix("/_tasks/").upper()), genuine),
            (SWEEP,),
            (SWEEP, genuine),
            (SWEEP, "X-Appengine-Cron: True"),
            (SWEEP, CRON, CRON),
            (SWEEP, CRON, "Cookie: a=b"),
        ]

        for lines in forged:
            assert (await site.call(*lines, body=body))[0] in (403, 404, 405), lines

        assert sink.deliveries == []
        assert (await site.waiting()) == [record]
        # Case is the one thing that headers do not have.
        assert (await site.call(post, f"x-aPPENGINE-queueNAME: {NAME}", body=body)) == (200, '{"status":"done"}')
        assert len(sink.deliveries) == 1


async def test_outside_app_engine_its_headers_let_nobody_in() -> None:
    queue = f"cloudtasks:{PROJECT}/{LOCATION}/{NAME}?service_account=caller@test-project.iam.gserviceaccount.com"
    environment = {"AUTHFLOW_TASKS": queue, "CLOUD_TASKS_EMULATOR_HOST": "127.0.0.1:9"}
    with Sink() as sink, Server(environment=environment) as server:
        site = Deployment(server, TasksEmulator(), sink)
        await site.asked_recovery(await site.account())
        (record,) = await site.waiting()
        body = json.dumps({"id": record.key.name}).encode()

        post = f"POST {PATH} HTTP/1.1"
        for lines in [
            (post, f"X-AppEngine-QueueName: {NAME}"),
            (post, f"X-AppEngine-QueueName: {QUEUE}"),
            (post, f"X-CloudTasks-QueueName: {NAME}", "X-CloudTasks-TaskName: 1"),
            (post, "Authorization: Bearer e30.e30.e30"),
            (SWEEP, CRON),
        ]:
            assert (await site.call(*lines, body=body))[0] == 403, lines

        assert (await site.waiting()) == [record]
        assert server.mails() == []


def test_the_emulators_queue_is_one_that_settings_can_name() -> None:
    assert CloudTasksSetting(PROJECT, LOCATION, NAME).path == QUEUE
