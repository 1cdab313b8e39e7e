"""The task endpoint: what it answers, and what that makes Cloud Tasks do."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from authflow.errors import StoreUnavailable
from authflow.mail import MailRefused
from authflow.seam import Call
from authflow.store.protocol import Insert, Key, Update
from authflow.tasks import outbox
from authflow.tasks.cloud_tasks import OVERDUE, PATH
from authflow.tasks.protocol import TaskFailed
from authflow.testing import GoogleIssuer
from authflow.web import tasks as web_tasks
from tests.tasks.calls import ACCOUNT, BASE_URL, FROM_CRON, NAME, QUEUE_PATH, Desk, make_desk
from tests.tasks.fake_cloud_tasks import FakeCloudTasks

SWEEP = "/_tasks/sweep"
THROTTLES = {429, 500, 502, 503, 504}
"""Statuses that slow down the whole queue, with an App Engine target or with an HTTP target."""


class Outage:
    """An observer that refuses every call of the store while it is on."""

    def __init__(self) -> None:
        self.is_on = False

    async def before(self, call: Call) -> None:
        if self.is_on and call.kind == "store":
            raise StoreUnavailable("injected")

    def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
        pass


@pytest.fixture
def outage() -> Outage:
    return Outage()


@pytest.fixture
async def desk(outage: Outage) -> AsyncIterator[Desk]:
    desk = await make_desk(observers=(outage,))
    yield desk
    outage.is_on = False
    await desk.app.close()


def test_queue_and_endpoint_speak_of_the_same_place() -> None:
    assert web_tasks.PREFIX == PATH
    assert web_tasks._SWEEP in outbox.RESERVED


# --- Tasks ------------------------------------------------------------------------------------------------------------


async def test_a_delivered_task_is_done_and_acknowledged(desk: Desk) -> None:
    body = await desk.defer()

    answer = await desk.call(body=body)

    assert (answer.status, answer.json) == (200, {"status": "done"})
    assert [task.payload for task in desk.handler.tasks] == [{"account_id": "a1"}]
    assert await desk.waiting() == []


async def test_a_task_that_is_delivered_five_times_is_done_once_and_acknowledged_each_time(desk: Desk) -> None:
    body = await desk.defer()

    answers = [await desk.call(body=body) for _ in range(5)]

    assert [answer.status for answer in answers] == [200] * 5
    assert len(desk.handler.tasks) == 1


async def test_of_five_deliveries_at_once_one_does_it(desk: Desk) -> None:
    body = await desk.defer()

    answers = await asyncio.gather(*(desk.call(body=body) for _ in range(5)))

    assert len(desk.handler.tasks) == 1
    assert {answer.status for answer in answers} <= {200, 409}
    assert {answer.status for answer in await asyncio.gather(*(desk.call(body=body) for _ in range(5)))} == {200}
    assert len(desk.handler.tasks) == 1


async def test_a_task_that_fails_is_asked_for_again_without_slowing_down_the_queue(desk: Desk) -> None:
    body = await desk.defer()
    desk.handler.faults = [OSError(), OSError()]

    first, second, third = [await desk.call(body=body) for _ in range(3)]

    assert (first.status, first.json) == (409, {"status": "failed"})
    assert first.status not in THROTTLES
    assert "retry-after" not in first.headers
    assert (second.status, third.status) == (409, 200)


async def test_a_task_that_somebody_is_at_is_asked_for_again_without_slowing_down_the_queue(desk: Desk) -> None:
    body = await desk.defer()
    (record,) = await desk.waiting()
    await desk.store.commit([outbox.claimed(record, desk.clock(), timedelta(seconds=30))])

    answer = await desk.call(body=body)

    assert (answer.status, answer.json) == (409, {"status": "busy"})
    desk.clock.pass_by(timedelta(seconds=30))
    assert (await desk.call(body=body)).status == 200


@pytest.mark.parametrize("fault", [TaskFailed(code="account_gone"), MailRefused("550")])
async def test_a_task_that_can_never_succeed_is_acknowledged_and_leaves_an_event(desk: Desk, fault: Exception) -> None:
    body = await desk.defer()
    desk.handler.faults = [fault]

    answer = await desk.call(body=body)

    assert (answer.status, answer.json) == (200, {"status": "given_up"})
    (event,) = (await desk.store.find("event", "at")).records
    assert (event.data["type"], event.data["account_id"]) == ("task_failed", "a1")


async def test_a_task_that_failed_too_often_is_acknowledged_and_leaves_an_event(desk: Desk) -> None:
    body = await desk.defer()
    desk.handler.faults = [OSError() for _ in range(outbox.MAX_ATTEMPTS)]

    statuses = [(await desk.call(body=body)).status for _ in range(outbox.MAX_ATTEMPTS)]

    assert statuses == [*[409] * 19, 200]
    assert len((await desk.store.find("event", "at")).records) == 1


async def test_a_store_that_is_away_slows_down_the_queue(desk: Desk, outage: Outage) -> None:
    body = await desk.defer()
    outage.is_on = True

    answer = await desk.call(body=body)

    assert (answer.status, answer.json["code"]) == (503, "store_unavailable")
    assert answer.headers["retry-after"] == "2"
    outage.is_on = False
    assert (await desk.call(body=body)).status == 200


async def test_certificates_that_cannot_be_had_slow_down_the_queue() -> None:
    with GoogleIssuer() as google:
        desk = await make_desk(on_app_engine=False, service_account=ACCOUNT, certs_url=google.certs_url)
        google.clock, google.outage = desk.clock, "refuse"
        body = await desk.defer()
        token = google.id_token(aud=BASE_URL, sub="1", email=ACCOUNT, email_verified=True)
        headers = ((b"authorization", b"Bearer " + token.encode()),)

        assert (await desk.call(headers, body)).status == 503
        assert desk.handler.tasks == []

        google.outage = ""
        desk.clock.pass_by(timedelta(seconds=5))
        assert (await desk.call(headers, body)).status == 200
        await desk.app.close()


async def test_a_fault_of_ours_is_a_503_and_a_trace_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    class Bug:
        async def before(self, call: Call) -> None:
            if call.operation == "get":
                raise ZeroDivisionError

        def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
            pass

    desk = await make_desk(observers=(Bug(),))

    answer = await desk.call(body=await desk.defer())

    assert (answer.status, answer.json["code"]) == (503, "unavailable")
    assert "ZeroDivisionError" in caplog.text
    await desk.app.close()


async def test_on_an_emulator_the_queue_may_give_its_full_name() -> None:
    desk = await make_desk(tasks_emulator="127.0.0.1:9")

    answer = await desk.call(((b"x-appengine-queuename", QUEUE_PATH.encode()),), await desk.defer())

    assert answer.status == 200
    await desk.app.close()


# --- There and back ---------------------------------------------------------------------------------------------------


async def test_what_is_queued_with_an_identity_token_is_let_in_when_it_comes_back() -> None:
    """As the real service does it: the token is made for the audience and the account that the task names."""
    async with FakeCloudTasks() as service:
        with GoogleIssuer() as google:
            desk = await make_desk(
                on_app_engine=False, service_account=ACCOUNT, certs_url=google.certs_url, tasks_emulator=service.host
            )
            google.clock = desk.clock
            write = desk.app.services.tasks.write(NAME, {"account_id": "a1"}, desk.clock())
            await desk.store.commit([write])

            # Told of the commit twice, it queues one task.
            await desk.app.services.tasks.dispatch([write])
            await desk.app.services.tasks.dispatch([write])

            (task,) = service.created
            call, wanted = task.http_request, task.http_request.oidc_token
            token = google.id_token(
                aud=wanted.audience, azp="1", sub="1", email=wanted.service_account_email, email_verified=True
            )
            headers = ((b"authorization", f"Bearer {token}".encode()),)
            path = call.url.removeprefix(BASE_URL)
            answers = [await desk.call(headers, call.body, path=path) for _ in range(5)]

            assert [answer.json["status"] for answer in answers] == ["done", *["gone"] * 4]
            assert len(desk.handler.tasks) == 1
            assert google.hits == 1
            await desk.app.close()


async def test_what_is_queued_for_app_engine_is_let_in_when_it_comes_back() -> None:
    async with FakeCloudTasks() as service:
        desk = await make_desk(tasks_emulator=service.host)
        write = desk.app.services.tasks.write(NAME, {"account_id": "a1"}, desk.clock())
        await desk.store.commit([write])

        await desk.app.services.tasks.dispatch([write])

        call = service.created[0].app_engine_http_request
        answer = await desk.call(body=call.body, path=call.relative_uri)
        assert (answer.status, len(desk.handler.tasks)) == (200, 1)
        await desk.app.close()


# --- Calls that make no sense -----------------------------------------------------------------------------------------

NONSENSE: list[bytes] = [
    b"",
    b"{}",
    b"null",
    b"[]",
    b'"x"',
    b"1",
    b"{",
    b'{"id": "x"',
    b'{"id": "x"}}',
    b'{"id": null}',
    b'{"id": 1}',
    b'{"id": true}',
    b'{"id": ""}',
    b'{"id": ["x"]}',
    b'{"id": {"id": "x"}}',
    b'{"id": "x", "id": "y"}',
    b'{"id": "x", "payload": {}}',
    b'{"ID": "x"}',
    b'{"id": "../x"}',
    b'{"id": "x y"}',
    b'{"id": "x\\u0000"}',
    b'{"id": "\\ud800"}',
    b'{"id": "\xc3\xa9"}',
    b'{"id": "\xff"}',
    b'{"id": "' + b"x" * 65 + b'"}',
    b'{"id": "' + b"x" * 10_000 + b'"}',
    b'{"id": NaN}',
    b'{"id": ' + b"9" * 4000 + b"}",
    b"[" * 3000,
    b"id=x",
    b"\x00" * 100,
    b"\xef\xbb\xbf{}",
]


@pytest.mark.parametrize("body", NONSENSE, ids=lambda body: repr(body[:30]))
async def test_a_body_that_makes_no_sense_is_dropped_for_good_and_logged(
    desk: Desk, caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    answer = await desk.call(body=body)

    assert (answer.status, answer.json) == (200, {"status": "ignored"})
    assert answer.bill.total("store") == 0
    (line,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert "makes no sense" in line.getMessage()


async def test_a_body_may_come_in_pieces(desk: Desk) -> None:
    body = await desk.defer()
    pieces: list[dict[str, Any]] = [
        {"type": "http.request", "body": body[:5], "more_body": True},
        {"type": "http.request", "body": body[5:], "more_body": False},
    ]

    assert (await desk.call(messages=pieces)).json == {"status": "done"}


async def test_of_an_endless_body_no_more_is_read_than_a_body_may_have(desk: Desk) -> None:
    pieces: list[dict[str, Any]] = [{"type": "http.request", "body": b"x" * 1024, "more_body": True}] * 100

    answer = await desk.call(messages=pieces)

    assert answer.json == {"status": "ignored"}
    assert len(pieces) == 95


async def test_a_caller_who_goes_away_is_not_answered(desk: Desk) -> None:
    answer = await desk.call(messages=[{"type": "http.disconnect"}])

    assert answer.status == 0
    assert answer.bill.total("store") == 0


async def test_a_task_of_another_name_is_not_carried_out_and_not_asked_for_again(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    body = await desk.defer("send_recovery")

    answer = await desk.call(body=body)

    assert (answer.status, answer.json) == (200, {"status": "misnamed"})
    assert desk.handler.tasks == []
    assert len(await desk.waiting()) == 1
    assert "another kind" in caplog.text


# --- The sweep --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_sweep_does_what_is_overdue_and_deletes_what_has_expired(desk: Desk, method: str) -> None:
    await desk.defer()
    long_ago = desk.clock() - timedelta(days=1)
    await desk.store.commit([Insert(Key("spent", str(number)), {}, long_ago) for number in range(3)])
    desk.clock.pass_by(OVERDUE)

    answer = await desk.call(FROM_CRON, path=SWEEP, method=method)

    assert (answer.status, answer.json) == (200, {"done": 1, "deleted": 3, "complete": True})
    assert len(desk.handler.tasks) == 1
    assert (await desk.call(FROM_CRON, path=SWEEP)).json == {"done": 0, "deleted": 0, "complete": True}


async def test_a_sweep_leaves_alone_what_may_still_be_delivered(desk: Desk) -> None:
    await desk.defer()

    assert (await desk.call(FROM_CRON, path=SWEEP)).json["done"] == 0
    assert len(await desk.waiting()) == 1


async def test_a_sweep_with_nothing_to_do_costs_two_queries(desk: Desk) -> None:
    answer = await desk.call(FROM_CRON, path=SWEEP)

    assert answer.bill.total("store") == answer.bill.total("store", "find") + answer.bill.total("store", "find_expired")
    assert answer.bill.total("store") == 2


async def test_a_failing_task_does_not_fail_the_sweep(desk: Desk) -> None:
    await desk.defer()
    desk.handler.faults = [OSError()]
    desk.clock.pass_by(OVERDUE)

    answer = await desk.call(FROM_CRON, path=SWEEP)

    assert (answer.status, answer.json["done"]) == (200, 0)


async def test_a_sweep_without_a_store_is_a_503(desk: Desk, outage: Outage) -> None:
    outage.is_on = True

    assert (await desk.call(FROM_CRON, path=SWEEP)).status == 503


async def test_deleting_what_has_expired_ends_in_time_and_the_next_sweep_goes_on() -> None:
    class Slow:
        """Takes its time for every commit while it is on."""

        is_on = False

        async def before(self, call: Call) -> None:
            if self.is_on and call.operation == "commit":
                await asyncio.sleep(0.05)

        def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
            pass

    slow = Slow()
    desk = await make_desk(observers=(slow,))
    assert desk.edge.tasks is not None
    desk.edge.tasks.cleaning = 0.12
    long_ago = desk.clock() - timedelta(days=1)
    for page in range(12):
        await desk.store.commit([Insert(Key("spent", f"{page}.{number}"), {}, long_ago) for number in range(100)])
    slow.is_on = True

    first = await desk.call(FROM_CRON, path=SWEEP)
    slow.is_on, desk.edge.tasks.cleaning = False, 60.0
    second = await desk.call(FROM_CRON, path=SWEEP)

    assert (first.status, first.json["complete"]) == (200, False)
    assert second.json["complete"]
    assert 0 < second.json["deleted"] < 1200
    assert list(await desk.store.find_expired(desk.clock())) == []
    await desk.app.close()


async def test_postponed_tasks_are_swept_by_their_own_time(desk: Desk) -> None:
    body = await desk.defer()
    desk.handler.faults = [OSError()]
    await desk.call(body=body)
    (record,) = await desk.waiting()
    later = outbox.postponed(record, desk.clock(), 5).data
    await desk.store.commit([Update(record.key, later, record.version)])

    desk.clock.pass_by(OVERDUE)
    assert (await desk.call(FROM_CRON, path=SWEEP)).json["done"] == 0
    desk.clock.pass_by(outbox.wait_after(5))
    assert (await desk.call(FROM_CRON, path=SWEEP)).json["done"] == 1
    assert json.loads(body)["id"] == desk.handler.tasks[-1].id
