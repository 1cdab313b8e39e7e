"""What happened: typed events, written in the commit they speak of and logged once it is done.

They hold no secret and nothing that was typed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from datetime import datetime, timedelta

from authflow.model import Event, Plain
from authflow.store.protocol import Insert, Key
from authflow.tokens import new_id

KIND = "event"
RETENTION = timedelta(days=90)
"""How long events are kept in the store."""

log = logging.getLogger("authflow.audit")


def event(
    type_: str,
    at: datetime,
    *,
    account_id: str = "",
    provider: str = "",
    flow_id: str = "",
    reason: str = "",
    client: str = "",
    **details: Plain,
) -> Event:
    """Make an event.

    Args:
        type_: A past participle such as `login_completed`.
        details: Few plain values that are safe to log.
    """
    return Event(new_id(), type_, at, account_id, provider, flow_id, reason, client, details)


def inserted(events: Iterable[Event]) -> list[Insert]:
    """Return the writes that record events. Their fresh keys also tell a lost acknowledgement from a conflict."""
    return [Insert(Key(KIND, event.id), event.to_data(), event.at + RETENTION) for event in events]


def written(events: Iterable[Event]) -> None:
    """Log events whose commit is done: one JSON object a line, so that nothing typed can forge a line."""
    for event in events:
        log.info("%s", json.dumps({"id": event.id, **event.to_data()}, sort_keys=True))
