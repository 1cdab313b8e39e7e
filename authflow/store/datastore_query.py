"""The questions that listings and the sweep ask of Datastore. None of them needs a composite index.

A page ends at a value and a name, and our own cursor says so. From there on are two questions, both asked at once: who
has the same value and a greater name, and who has a greater value. Datastore's own cursor would take one, but it is a
position in one backend's index, and other text than the other adapters give.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from authflow.store.datastore_codec import EXPIRES_AT, Codec, index_value, instant_value
from authflow.store.datastore_rpc import Message, PropertyFilter, PropertyOrder, Query, RunQueryRequest, Value
from authflow.store.protocol import Key

SWEPT = frozenset(
    [
        "account",
        "attempt",
        "bucket",
        "credential",
        "credential_id",
        "decoy",
        "event",
        "identity",
        "login_info",
        "marker",
        "name",
        "newest_attempt",
        "outbox",
        "probe",
        "session",
        "spent",
        "ticket",
        "trace",
    ]
)
"""Kinds whose expired records the sweep looks for; no other kind may have an expiry.

Datastore has an index for each kind, none of all kinds. It can list its kinds too, but one of its emulators cannot.
"""

_EQUAL, _LESS, _AT_MOST, _GREATER, _AT_LEAST = (
    PropertyFilter.EQUAL,
    PropertyFilter.LESS_THAN,
    PropertyFilter.LESS_THAN_OR_EQUAL,
    PropertyFilter.GREATER_THAN,
    PropertyFilter.GREATER_THAN_OR_EQUAL,
)
_KEY = "__key__"


@dataclass(frozen=True, slots=True)
class Question:
    """What `find` is asked.

    Attributes:
        equals, at_most, at_least: Inclusive bounds on the field.
    """

    kind: str
    field: str
    equals: str | int | None
    at_most: str | int | None
    at_least: str | int | None

    @property
    def bounds(self) -> tuple[str | int | None, str | int | None, str | int | None]:
        return self.equals, self.at_most, self.at_least

    def queries(self, codec: Codec, start: tuple[str | int, str] | None) -> list[Message]:
        """Return queries whose answers, one behind the other, are the answer.

        Args:
            start: Value and name of the last record that was listed.
        """
        if not self._can_be_met():
            return []
        if start is None:
            if self.equals is not None:
                return [self._of_value(self.equals)]
            return [self._ordered(*self._ends())]
        value, name = start
        after = PropertyFilter(op=_GREATER, value=Value(key_value=codec.key(Key(self.kind, name))))
        after.property.name = _KEY
        same = self._of_value(value, after)
        if self.equals is not None:
            return [same]
        return [same, self._ordered(_bound(self.field, _GREATER, value), *self._ends(lower=False))]

    def _can_be_met(self) -> bool:
        low = [_rank(bound) for bound in (self.at_least, self.equals) if bound is not None]
        high = [_rank(bound) for bound in (self.at_most, self.equals) if bound is not None]
        return not low or not high or max(low) <= min(high)

    def _ends(self, *, lower: bool = True) -> list[Message]:
        filters = []
        if lower and self.at_least is not None:
            filters.append(_bound(self.field, _AT_LEAST, self.at_least))
        if self.at_most is not None:
            filters.append(_bound(self.field, _AT_MOST, self.at_most))
        return filters

    def _of_value(self, value: str | int, *more: Message) -> Message:
        """Datastore lists the entities of one value by key, and so by name."""
        return _query(self.kind, [_bound(self.field, _EQUAL, value), *more])

    def _ordered(self, *filters: Message) -> Message:
        """Entities that lack the field are in no index of it, and so in no answer."""
        return _query(self.kind, filters, order=self.field)


def expired(kind: str, now: datetime) -> Message:
    """Ask for the records of a kind that expired before `now`, oldest first."""
    before = PropertyFilter(op=_LESS, value=instant_value(now))
    before.property.name = EXPIRES_AT
    return _query(kind, [before], order=EXPIRES_AT)


def request(codec: Codec, query: Message, limit: int, start_cursor: bytes) -> Message:
    """Make the request for so many results of a query, from where an earlier batch of it ended."""
    asked = RunQueryRequest(project_id=codec.project, partition_id=codec.partition, query=query)
    asked.query.limit.value = limit
    asked.query.start_cursor = start_cursor
    return asked


def _query(kind: str, filters: Sequence[Message], *, order: str = "") -> Message:
    query = Query()
    query.kind.add().name = kind
    if len(filters) == 1:
        query.filter.property_filter.CopyFrom(filters[0])
    elif filters:
        query.filter.composite_filter.op = query.filter.composite_filter.AND
        for wanted in filters:
            query.filter.composite_filter.filters.add().property_filter.CopyFrom(wanted)
    if order:
        query.order.add(direction=PropertyOrder.ASCENDING).property.name = order
    return query


def _bound(field: str, operator: int, value: str | int) -> Message:
    wanted = PropertyFilter(op=operator, value=index_value(value))
    wanted.property.name = field
    return wanted


def _rank(value: str | int) -> tuple[bool, str, int]:
    return (True, value, 0) if isinstance(value, str) else (False, "", value)
