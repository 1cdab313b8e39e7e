"""Events: written with what they speak of, logged as one line of JSON, findable by account and time."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta

import pytest

from authflow import audit
from authflow.model import Event
from authflow.store.memory import MemoryStore

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def test_an_event_is_inserted_under_a_fresh_name_for_ninety_days() -> None:
    one, other = (audit.event("login_completed", NOW, account_id="a") for _ in range(2))

    first, second = audit.inserted((one, other))

    assert first.key != second.key
    assert first.key.kind == "event"
    assert first.expires_at == NOW + timedelta(days=90)
    assert Event.from_data(one.id, first.data) == one


def test_each_event_is_one_line_of_json_whatever_it_holds(caplog: pytest.LogCaptureFixture) -> None:
    nasty = '\r\n{"type": "login_completed"}\x1b[31m\u2028'
    happened = audit.event("login_refused", NOW, reason=nasty, client=nasty, note=nasty)

    with caplog.at_level(logging.INFO, logger="authflow.audit"):
        audit.written((happened, happened))

    assert len(caplog.messages) == 2
    for line in caplog.messages:
        assert len(line.splitlines()) == 1
        assert line.isascii()
        assert line.isprintable()
        assert json.loads(line)["type"] == "login_refused"
        assert json.loads(line)["details"] == {"note": nasty}


def test_percent_signs_in_an_event_format_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="authflow.audit"):
        audit.written((audit.event("x", NOW, reason="%s %d %(x)s"),))

    assert json.loads(caplog.messages[0])["reason"] == "%s %d %(x)s"


async def test_events_of_an_account_are_found_and_those_of_nobody_are_not_among_them() -> None:
    store = MemoryStore()
    await store.open()
    mine = [audit.event("a", NOW, account_id="ada"), audit.event("b", NOW + timedelta(seconds=1), account_id="ada")]
    await store.commit(audit.inserted((*mine, audit.event("c", NOW), audit.event("d", NOW, account_id="bob"))))

    of_ada = await store.find("event", "account_id", equals="ada")
    of_nobody = await store.find("event", "account_id", equals="")

    assert {record.key.name for record in of_ada.records} == {event.id for event in mine}
    assert of_nobody.records == []
    assert len((await store.find("event", "at")).records) == 4
