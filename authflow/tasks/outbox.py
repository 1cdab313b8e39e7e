"""Tasks as records of the outbox: what each step of a task's life writes. Nothing here waits or stores.

One question finds all work: whose `due_at` is past? A claim moves `due_at` to the end of its lease, so what a dead
worker held is found again by the same question. A queue that delivers tasks one by one asks another: does somebody work
on it right now? For that a claim leaves its mark (`is_leased`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from authflow.errors import ContractViolation
from authflow.model import Plain, from_instant, to_instant
from authflow.store.protocol import Delete, Insert, Key, Record, Update, Write
from authflow.tasks.protocol import Task, TaskFailed
from authflow.tokens import new_id

KIND = "outbox"
DUE = "due_at"
"""The indexed field by which work is found."""

LEASED = "leased"

RESERVED = frozenset({"sweep"})
"""Paths below `/_tasks/` that are no task's."""

MAX_ATTEMPTS = 20
"""Tries of one task, about half a day of them."""

MAX_AGE = timedelta(days=3)
"""After it a failed try is the last one."""

FIRST_WAIT = timedelta(seconds=5)
LONGEST_WAIT = timedelta(hours=1)

MAX_TEXT = 300
"""Characters of a text in a payload: ids are short, and what is not short is no id."""

_TASK_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_FIELD_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}", re.IGNORECASE)
_SECRET_NAME = re.compile(r"passw|passphrase|token|code|key|secret|otp", re.IGNORECASE)


def written(name: str, payload: Mapping[str, Plain], now: datetime, delay: timedelta = timedelta(0)) -> Insert:
    """Return the write that defers a task.

    Args:
        name: Which handler is to carry it out; it also names a path below `/_tasks/`.
        payload: Ids, flags and numbers, see `check_payload`.
        delay: How long it waits at least.

    Raises:
        ContractViolation: The name is none or reserved, or the payload may hold a secret.
    """
    if not _TASK_NAME.fullmatch(name):
        raise ContractViolation("the name of a task is a lower-case word")
    if name in RESERVED:
        raise ContractViolation(f"no task is named {name!r}")
    check_payload(payload)
    data: dict[str, Plain] = {
        "task": name,
        "payload": dict(payload),
        "created_at": from_instant(now),
        DUE: from_instant(now + delay),
        "attempts": 0,
    }
    return Insert(Key(KIND, new_id()), data)


def tasks_among(writes: Sequence[Write]) -> list[Insert]:
    """Return the tasks that a commit defers."""
    return [write for write in writes if isinstance(write, Insert) and write.key.kind == KIND]


def check_payload(payload: Mapping[str, Plain]) -> None:
    """Refuse a payload that holds more than plain ids.

    The outbox is neither encrypted nor hashed, and queues show payloads to operators. So a handler makes a link's token
    itself, from ids. Names that speak of secrets are refused, since a value alone does not tell.

    Raises:
        ContractViolation: Names the field, never its value.
    """
    for name, value in payload.items():
        if not _FIELD_NAME.fullmatch(name):
            raise ContractViolation("a field of a task's payload is not named by a word")
        if _SECRET_NAME.search(name):
            raise ContractViolation(f"a task's payload holds no secrets, and {name!r} is named like one")
        match value:
            case str() if len(value) <= MAX_TEXT:
                continue
            case int() if -(2**63) <= value < 2**63:
                continue
            case _:
                raise ContractViolation(f"{name!r} of a task's payload is no short text, whole number or bool")


def read(record: Record) -> Task:
    """Return the task that a record holds.

    Raises:
        TaskFailed: It holds none (`task_unreadable`).
    """
    data: Mapping[str, Any] = record.data
    try:
        name, payload, attempts = data["task"], data["payload"], data["attempts"]
        created_at = to_instant(data["created_at"])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise TaskFailed("a record of the outbox holds no task", code="task_unreadable") from None
    if not (isinstance(name, str) and isinstance(payload, dict) and isinstance(attempts, int)):
        raise TaskFailed("a record of the outbox holds no task", code="task_unreadable")
    return Task(record.key.name, name, payload, created_at, attempts)


def claimed(record: Record, now: datetime, lease: timedelta) -> Update:
    """Return the write by which a worker takes a task for itself until the lease ends.

    The try is counted here and not at its end, so that a task which kills its worker is given up some day too. The
    count also makes every claim of a task differ from every other.
    """
    return _changed(record, due_at=now + lease, attempts=read(record).attempts + 1, leased=True)


def is_leased(record: Record, now: datetime) -> bool:
    """Whether somebody works on a task: one that merely waits for its time may be carried out early."""
    due_at = record.data.get(DUE)
    return record.data.get(LEASED) is True and isinstance(due_at, int) and due_at > from_instant(now)


def postponed(record: Record, now: datetime, attempts: int) -> Update:
    """Return the write that puts a failed task off.

    Args:
        record: As its claim left it.
        attempts: How often it has been tried, this time included. The wait doubles with each.
    """
    return _changed(record, due_at=now + wait_after(attempts), attempts=attempts, leased=False)


def done(record: Record) -> Delete:
    """Return the write that takes a task out of the outbox, if it still is as it was read."""
    return Delete(record.key, record.version)


def wait_after(attempts: int) -> timedelta:
    """Return how long a task waits after so many failed tries."""
    # The exponent is bounded before it is used: two to the power of a stored number could be any size.
    return min(FIRST_WAIT * (1 << min(max(attempts - 1, 0), 20)), LONGEST_WAIT)


def last_try_reason(attempts: int, created_at: datetime, now: datetime) -> str | None:
    """Return the code of why a task that failed just now is not tried again, or None if it is."""
    if attempts >= MAX_ATTEMPTS:
        return "attempts_exhausted"
    if now - created_at >= MAX_AGE:
        return "task_too_old"
    return None


def _changed(record: Record, *, due_at: datetime, attempts: int, leased: bool) -> Update:
    data = {**record.data, DUE: from_instant(due_at), "attempts": attempts, LEASED: leased}
    return Update(record.key, data, record.version, record.expires_at)
