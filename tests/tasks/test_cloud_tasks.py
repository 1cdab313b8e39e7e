"""Sending on to Cloud Tasks: what is created, and that nothing which goes wrong there reaches who committed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.cloud.tasks_v2 import types

from authflow.errors import ConfigurationError, StoreUnavailable
from authflow.seam import Call, Seam, billing
from authflow.settings import CloudTasksSetting
from authflow.store.memory import MemoryStore
from authflow.store.protocol import Insert
from authflow.tasks import outbox
from authflow.tasks.cloud_tasks import CloudTasksQueue
from tests.tasks.fake_cloud_tasks import FakeCloudTasks

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ON_APP_ENGINE = CloudTasksSetting("demo-project", "europe-west1", "mail")
ELSEWHERE = CloudTasksSetting("demo-project", "europe-west1", "mail", "caller@demo-project.iam.gserviceaccount.com")
PARENT = "projects/demo-project/locations/europe-west1/queues/mail"
BASE_URL = "https://login.example.org"
SOON = 5.0


def at_now() -> datetime:
    return NOW


def queue_at(host: str, setting: CloudTasksSetting = ON_APP_ENGINE, **more: Any) -> CloudTasksQueue:
    return CloudTasksQueue(MemoryStore(), setting, base_url=BASE_URL, clock=at_now, emulator_host=host, **more)


@pytest.fixture
async def service() -> AsyncIterator[FakeCloudTasks]:
    async with FakeCloudTasks() as service:
        yield service


@pytest.fixture
async def queue(service: FakeCloudTasks) -> AsyncIterator[CloudTasksQueue]:
    queue = queue_at(service.host)
    await queue.start({})
    yield queue
    await queue.stop()


def some(count: int, name: str = "send_notice") -> list[Insert]:
    return [outbox.written(name, {"account_id": f"account-{number}"}, NOW) for number in range(count)]


# --- What is created --------------------------------------------------------------------------------------------------


async def test_a_task_is_a_post_of_its_id_to_its_name(service: FakeCloudTasks, queue: CloudTasksQueue) -> None:
    (write,) = some(1)

    await queue.dispatch([write])

    (task,) = service.created
    assert task.name == f"{PARENT}/tasks/{write.key.name}-0"
    call = task.app_engine_http_request
    assert (call.http_method, call.relative_uri) == (types.HttpMethod.POST, "/_tasks/send_notice")
    assert json.loads(call.body) == {"id": write.key.name}
    assert call.headers["Content-Type"] == "application/json"
    assert not task.http_request.url


async def test_nothing_of_the_payload_leaves_the_store(service: FakeCloudTasks, queue: CloudTasksQueue) -> None:
    write = outbox.written("send_notice", {"account_id": "account-of-ada", "name": "ada@example.org"}, NOW)

    await queue.dispatch([write])

    (raw,) = service.raw
    assert write.key.name.encode() in raw
    assert b"account" not in raw
    assert b"ada" not in raw


@pytest.mark.parametrize("service_name", ["", "login"])
async def test_an_app_engine_task_is_routed_to_our_service(service: FakeCloudTasks, service_name: str) -> None:
    queue = queue_at(service.host, service=service_name)

    await queue.dispatch(some(1))
    await queue.stop()

    assert service.created[0].app_engine_http_request.app_engine_routing.service == service_name


async def test_elsewhere_a_task_goes_to_our_origin_with_an_identity_token(service: FakeCloudTasks) -> None:
    queue = queue_at(service.host, ELSEWHERE)
    (write,) = some(1)

    await queue.dispatch([write])
    await queue.stop()

    (task,) = service.created
    call = task.http_request
    assert (call.http_method, call.url) == (types.HttpMethod.POST, "https://login.example.org/_tasks/send_notice")
    assert call.oidc_token.service_account_email == ELSEWHERE.service_account
    assert call.oidc_token.audience == BASE_URL
    assert json.loads(call.body) == {"id": write.key.name}
    assert not task.app_engine_http_request.relative_uri


async def test_a_delayed_task_is_scheduled(service: FakeCloudTasks, queue: CloudTasksQueue) -> None:
    at_once = outbox.written("send_notice", {}, NOW)
    later = outbox.written("send_notice", {}, NOW, timedelta(hours=1))

    await queue.dispatch([at_once, later])

    times = {task.name.rpartition("/")[2][:22]: task.schedule_time for task in service.created}
    assert times == {at_once.key.name: None, later.key.name: NOW + timedelta(hours=1)}


async def test_each_task_of_a_commit_is_created_once_and_nothing_else_is(
    service: FakeCloudTasks, queue: CloudTasksQueue
) -> None:
    tasks = some(3)

    with billing() as bill:
        await queue.dispatch([Insert(outbox.written("x", {}, NOW).key._replace(kind="event"), {}), *tasks])

    assert len(service.created) == 3
    assert bill.counts == {("tasks", "create"): 3}


async def test_the_seam_sees_the_task_by_name(service: FakeCloudTasks) -> None:
    seen: list[Call] = []

    class Notes:
        async def before(self, call: Call) -> None:
            seen.append(call)

        def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
            pass

    queue = queue_at(service.host, seam=Seam([Notes()]))
    await queue.dispatch(some(1))
    await queue.stop()

    assert seen == [Call("tasks", "create", ("send_notice",))]


async def test_all_tasks_of_a_commit_are_sent_at_once(service: FakeCloudTasks, queue: CloudTasksQueue) -> None:
    # None is answered before all are there: one after the other would wait for ever.
    all_there = asyncio.Barrier(10)
    service.before = all_there.wait

    async with asyncio.timeout(SOON):
        await queue.dispatch(some(10))

    assert len(service.created) == 10


# --- What goes wrong --------------------------------------------------------------------------------------------------


async def test_a_task_that_was_created_already_is_fine(
    service: FakeCloudTasks, queue: CloudTasksQueue, caplog: pytest.LogCaptureFixture
) -> None:
    tasks = some(2)

    await queue.dispatch(tasks)
    await queue.dispatch(tasks)

    assert len(service.created) == 2
    assert len(service.raw) == 4
    assert caplog.text == ""


@pytest.mark.parametrize("is_applied", [False, True])
@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED])
async def test_a_lost_call_is_made_once_more(
    service: FakeCloudTasks,
    queue: CloudTasksQueue,
    caplog: pytest.LogCaptureFixture,
    code: grpc.StatusCode,
    is_applied: bool,
) -> None:
    service.faults, service.loses_answers = [code], is_applied

    await queue.dispatch(some(1))

    assert len(service.created) == 1
    assert len(service.raw) == 2
    assert caplog.text == ""


@pytest.mark.parametrize(
    "code",
    [
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.NOT_FOUND,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.FAILED_PRECONDITION,
    ],
)
async def test_what_is_refused_is_left_to_the_sweep_with_a_line_in_the_log(
    service: FakeCloudTasks, queue: CloudTasksQueue, caplog: pytest.LogCaptureFixture, code: grpc.StatusCode
) -> None:
    tasks = some(3)
    service.faults = [code]

    await queue.dispatch(tasks)

    assert len(service.created) == 2
    (line,) = caplog.records
    assert line.getMessage() == f"1 of 3 tasks wait for the sweep: {code.name} (1)"
    assert not any(task.key.name in caplog.text for task in tasks)


async def test_an_outage_is_told_in_one_line_for_all_tasks(caplog: pytest.LogCaptureFixture) -> None:
    queue = queue_at("127.0.0.1:9")
    await queue.start({})

    await queue.dispatch(some(20))
    await queue.stop()

    (line,) = caplog.records
    assert line.getMessage() == "20 of 20 tasks wait for the sweep: UNAVAILABLE (20)"


async def test_a_service_that_hangs_is_not_waited_for(
    service: FakeCloudTasks, caplog: pytest.LogCaptureFixture
) -> None:
    queue = queue_at(service.host, patience=timedelta(seconds=0.2))
    await queue.start({})
    service.before = asyncio.Event().wait
    began = asyncio.get_running_loop().time()

    await queue.dispatch(some(5))

    assert 0.1 < asyncio.get_running_loop().time() - began < 2
    assert caplog.records[-1].getMessage() == "5 of 5 tasks wait for the sweep: DEADLINE_EXCEEDED (5)"
    await queue.stop()


async def test_it_is_asked_again_as_soon_as_it_is_back(caplog: pytest.LogCaptureFixture) -> None:
    async with FakeCloudTasks() as service:
        queue = queue_at(service.host)
        await queue.dispatch(some(1))
        port = int(service.host.rpartition(":")[2])
    await queue.dispatch(some(1))
    assert len(caplog.records) == 1

    async with FakeCloudTasks(port) as service:
        async with asyncio.timeout(SOON):
            while not service.created:
                await queue.dispatch(some(1))
        await queue.stop()


async def test_a_fault_at_the_seam_is_no_fault_of_who_committed(
    service: FakeCloudTasks, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        async def before(self, call: Call) -> None:
            raise StoreUnavailable("injected") if call.detail == ("send_notice",) else ZeroDivisionError("hunter2")

        def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
            pass

    queue = queue_at(service.host, seam=Seam([Broken()]))

    await queue.dispatch([*some(1), *some(1, "send_recovery")])

    assert service.created == []
    assert "2 of 2 tasks wait" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert "hunter2" not in caplog.text


async def test_a_server_starts_without_credentials_and_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    queue = queue_at("")

    await queue.start({})
    await queue.dispatch(some(1))
    await queue.stop()

    first, second = [line.getMessage() for line in caplog.records]
    assert first == "Cloud Tasks cannot be asked, tasks wait for the sweep: no credentials (DefaultCredentialsError)"
    assert second == "1 of 1 tasks wait for the sweep: no credentials (DefaultCredentialsError) (1)"


# --- The client -------------------------------------------------------------------------------------------------------


async def test_a_command_that_never_started_the_queue_still_sends(service: FakeCloudTasks) -> None:
    queue = queue_at(service.host)

    await queue.dispatch(some(1))
    await queue.stop()

    assert len(service.created) == 1


async def test_stopping_twice_does_no_harm_and_a_stopped_queue_can_send_again(service: FakeCloudTasks) -> None:
    queue = queue_at(service.host)
    await queue.start({})
    await queue.stop()
    await queue.stop()

    await queue.dispatch(some(1))
    await queue.stop()

    assert len(service.created) == 1


def test_a_queue_can_be_used_on_one_event_loop_after_the_other() -> None:
    queue = queue_at("")

    async def send() -> int:
        async with FakeCloudTasks() as service:
            queue._emulator_host = service.host
            await queue.dispatch(some(1))
            return len(service.created)

    # Not stopped in between, as after a crash of the first loop.
    assert [asyncio.run(send()), asyncio.run(send())] == [1, 1]


def test_nothing_of_google_is_imported_before_there_is_something_to_send() -> None:
    program = (
        "import asyncio, sys\n"
        "from authflow.tasks.cloud_tasks import CloudTasksQueue\n"
        "from authflow.settings import CloudTasksSetting\n"
        "from authflow.store.memory import MemoryStore\n"
        "import authflow.web.tasks\n"
        "queue = CloudTasksQueue(MemoryStore(), CloudTasksSetting('p', 'l', 'q'), base_url='', clock=None)\n"
        "asyncio.run(queue.dispatch([]))\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('google', 'grpc')])\n"
    )

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "wrong",
    [
        {"lease": timedelta(0)},
        {"patience": timedelta(0)},
        {"concurrency": 0},
        {"sweep_time": timedelta(0)},
        {"lease": -timedelta(1)},
    ],
)
def test_spans_and_numbers_must_be_positive(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        queue_at("", **wrong)


async def test_a_request_waits_for_a_second_at_most_by_default(service: FakeCloudTasks) -> None:
    queue = queue_at(service.host)
    await queue.start({})
    service.before = asyncio.Event().wait
    began = asyncio.get_running_loop().time()

    await queue.dispatch(some(1))

    assert asyncio.get_running_loop().time() - began < 1.5
    await queue.stop()
