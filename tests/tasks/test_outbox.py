"""What each step of a task's life writes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from authflow.errors import ContractViolation
from authflow.model import Plain, from_instant
from authflow.store.protocol import Data, Delete, Insert, Record
from authflow.tasks import outbox
from authflow.tasks.protocol import TaskFailed

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEASE = timedelta(seconds=30)


def stored(data: Data, version: int = 7) -> Record:
    return Record(outbox.written("send_mail", {}, NOW).key, data, version)


def task_of(insert: Insert, version: int = 7) -> Record:
    return Record(insert.key, insert.data, version)


def test_a_written_task_is_due_at_once() -> None:
    insert = outbox.written("send_mail", {"account_id": "a1", "step": 2, "again": True}, NOW)

    assert insert.key.kind == "outbox"
    assert insert.data == {
        "task": "send_mail",
        "payload": {"account_id": "a1", "step": 2, "again": True},
        "created_at": from_instant(NOW),
        "due_at": from_instant(NOW),
        "attempts": 0,
    }


def test_a_delayed_task_is_due_after_its_delay() -> None:
    insert = outbox.written("send_mail", {}, NOW, timedelta(minutes=1))

    assert insert.data["due_at"] == from_instant(NOW + timedelta(minutes=1))
    assert insert.data["created_at"] == from_instant(NOW)


def test_every_task_has_its_own_id() -> None:
    assert len({outbox.written("send_mail", {}, NOW).key for _ in range(100)}) == 100


def test_a_task_is_read_as_it_was_written() -> None:
    record = task_of(outbox.written("send_mail", {"account_id": "a1"}, NOW, timedelta(hours=1)))

    task = outbox.read(record)

    assert (task.id, task.name, task.payload, task.created_at, task.attempts) == (
        record.key.name,
        "send_mail",
        {"account_id": "a1"},
        NOW,
        0,
    )


@pytest.mark.parametrize("name", ["", "Send", "send mail", "send/mail", "../x", "1st", "x" * 65, "send\n"])
def test_a_task_is_named_by_a_lower_case_word(name: str) -> None:
    with pytest.raises(ContractViolation):
        outbox.written(name, {}, NOW)


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "passwd",
        "passphrase",
        "token",
        "flow_token",
        "otpToken",
        "code",
        "Code",
        "recovery_key",
        "secret",
        "otp",
    ],
)
def test_a_payload_with_a_secret_looking_name_is_refused(name: str) -> None:
    with pytest.raises(ContractViolation, match=name) as caught:
        outbox.written("send_mail", {"account_id": "a1", name: "hunter2"}, NOW)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "payload",
    [{"id": None}, {"id": 0.5}, {"id": ["a"]}, {"id": {"a": 1}}, {"id": "x" * 301}, {"id": 2**63}, {"": 1}, {"a b": 1}],
)
def test_a_payload_holds_plain_ids_only(payload: Mapping[str, Plain]) -> None:
    with pytest.raises(ContractViolation):
        outbox.written("send_mail", payload, NOW)


def test_a_payload_takes_texts_numbers_and_bools() -> None:
    outbox.check_payload({"ticket_id": "x" * 300, "step": -(2**63), "epoch": 2**63 - 1, "is_new": False})


def test_a_claim_moves_the_task_to_the_end_of_its_lease_and_counts_the_try() -> None:
    record = task_of(outbox.written("send_mail", {"account_id": "a1"}, NOW))

    claim = outbox.claimed(record, NOW, LEASE)

    assert claim.key == record.key
    assert claim.version == record.version
    assert claim.data == {**record.data, "due_at": from_instant(NOW + LEASE), "attempts": 1, "leased": True}


def test_a_claim_leaves_the_record_that_was_read_as_it_was() -> None:
    record = task_of(outbox.written("send_mail", {}, NOW))
    before = dict(record.data)

    outbox.claimed(record, NOW, LEASE)

    assert record.data == before


def test_a_postponed_task_waits_by_its_tries_and_is_guarded() -> None:
    record = task_of(outbox.written("send_mail", {}, NOW))

    update = outbox.postponed(record, NOW, 3)

    assert update.version == record.version
    due_at = from_instant(NOW + timedelta(seconds=20))
    assert update.data == {**record.data, "due_at": due_at, "attempts": 3, "leased": False}


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(0, 5), (1, 5), (2, 10), (3, 20), (10, 2560), (11, 3600), (20, 3600), (10**9, 3600)]
)
def test_the_wait_doubles_from_five_seconds_to_an_hour(attempts: int, seconds: int) -> None:
    assert outbox.wait_after(attempts) == timedelta(seconds=seconds)


def test_a_task_is_done_only_as_it_was_read() -> None:
    record = task_of(outbox.written("send_mail", {}, NOW), version=41)

    assert outbox.done(record) == Delete(record.key, 41)


@pytest.mark.parametrize(
    ("attempts", "age", "reason"),
    [
        (19, timedelta(hours=71), None),
        (20, timedelta(0), "attempts_exhausted"),
        (1, timedelta(days=3), "task_too_old"),
    ],
)
def test_a_task_is_given_up_after_twenty_tries_or_three_days(attempts: int, age: timedelta, reason: str | None) -> None:
    assert outbox.last_try_reason(attempts, NOW, NOW + age) == reason


@pytest.mark.parametrize(
    "change",
    [{"task": None}, {"payload": "x"}, {"attempts": "many"}, {"created_at": None}, {"created_at": 10**30}],
)
def test_a_record_that_holds_no_task_cannot_be_read(change: dict[str, Plain]) -> None:
    record = stored({**outbox.written("send_mail", {}, NOW).data, **change})

    with pytest.raises(TaskFailed) as caught:
        outbox.read(record)

    assert caught.value.code == "task_unreadable"


def test_an_empty_record_cannot_be_read() -> None:
    with pytest.raises(TaskFailed):
        outbox.read(stored({"due_at": 1}))


# --- Who works on it --------------------------------------------------------------------------------------------------


def test_a_claim_is_a_lease_until_it_ends() -> None:
    record = task_of(outbox.written("send_mail", {}, NOW))
    held = stored(outbox.claimed(record, NOW, LEASE).data)

    assert outbox.is_leased(held, NOW)
    assert outbox.is_leased(held, NOW + LEASE - timedelta(microseconds=1))
    assert not outbox.is_leased(held, NOW + LEASE)


def test_a_task_that_waits_for_its_time_is_nobodys() -> None:
    fresh = task_of(outbox.written("send_mail", {}, NOW, timedelta(hours=1)))
    held = stored(outbox.claimed(fresh, NOW, LEASE).data)
    put_off = stored(outbox.postponed(held, NOW, 1).data)

    assert not outbox.is_leased(fresh, NOW)
    assert not outbox.is_leased(put_off, NOW)


def test_a_task_that_was_put_off_can_be_claimed_again() -> None:
    held = stored(outbox.claimed(task_of(outbox.written("send_mail", {}, NOW)), NOW, LEASE).data)
    put_off = stored(outbox.postponed(held, NOW, 1).data)

    assert outbox.is_leased(stored(outbox.claimed(put_off, NOW, LEASE).data), NOW)


@pytest.mark.parametrize(
    "data", [{}, {"leased": True}, {"leased": True, "due_at": None}, {"leased": 1, "due_at": 2**60}]
)
def test_a_record_that_is_no_task_is_nobodys(data: Data) -> None:
    assert not outbox.is_leased(stored(data), NOW)


@pytest.mark.parametrize("name", sorted(outbox.RESERVED))
def test_no_task_takes_the_place_of_another_path(name: str) -> None:
    with pytest.raises(ContractViolation):
        outbox.written(name, {}, NOW)
