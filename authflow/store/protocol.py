"""What the engine asks of a store: `get` many keys, `find` by an indexed field, `commit` all or none.

A record is a bag of plain values under a key of kind and name. Versions are opaque: compare them for equality and hand
them back, nothing else. Every adapter passes the contract suite in `tests/store/`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol, TypeAlias

Plain: TypeAlias = "None | bool | int | float | str | list[Plain] | dict[str, Plain]"
"""What a record may hold. Instants are whole microseconds since 1970 in UTC, bytes are base64 text (see `model`)."""

Data: TypeAlias = Mapping[str, Plain]
Version: TypeAlias = int

MAX_WRITES = 100
"""Writes of one commit; far below every backend's own limit."""


class Key(NamedTuple):
    """Address of a record. `name` is at most 1,000 bytes of UTF-8 and not empty."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it was read.

    Attributes:
        version: Opaque; changes with every write of this record, also with one that changes nothing.
        expires_at: After it the record means nothing. Readers check it; a sweep removes it some day.
    """

    key: Key
    data: Data
    version: Version
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Insert:
    """Write a record that must be absent."""

    key: Key
    data: Data
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Update:
    """Replace a record that must still have this version."""

    key: Key
    data: Data
    version: Version
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Put:
    """Write a record whatever is there (unguarded)."""

    key: Key
    data: Data
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a record: of this version, or with `None` whatever is there."""

    key: Key
    version: Version | None = None


Write: TypeAlias = Insert | Update | Put | Delete


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a listing. `cursor` is `None` on the last page, else opaque text for the next call."""

    records: Sequence[Record]
    cursor: str | None = None


INDEXED: Mapping[str, tuple[str, ...]] = {
    "account": ("canonical_name",),
    "credential": ("account_id",),
    "outbox": ("due_at",),
    "event": ("account_id", "at"),
    "session": ("account_id",),
    "trace": ("account_id", "flow_id", "at"),
}
"""Fields that `find` may be asked for, by kind. A field that a record lacks, or holds as None, is not indexed."""


class Store(Protocol):
    """A store. All methods may raise `StoreUnavailable`; none blocks the event loop for longer than a read takes."""

    async def open(self) -> None:
        """Make ready on the running event loop; create what is missing. Idempotent."""

    async def close(self) -> None:
        """Let go of connections and threads. Idempotent."""

    async def get(self, keys: Sequence[Key]) -> Mapping[Key, Record]:
        """Read records in one round trip.

        Args:
            keys: In any order; doubles are read once.

        Returns:
            What is there, by key; an absent key is missing from the answer. Expired records are included.
        """

    async def find(
        self,
        kind: str,
        field: str,
        *,
        equals: str | int | None = None,
        at_most: str | int | None = None,
        at_least: str | int | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """List records of a kind by an indexed field, in the field's order, then by name.

        Args:
            field: One of `INDEXED[kind]`.
            equals, at_most, at_least: Bounds on the field, inclusive; without any, all that have the field.
            limit: 1 to 500.
            cursor: Of the page before, for the same question.

        Raises:
            BadInput: The cursor is not one of ours.
        """

    async def find_expired(self, now: datetime, *, limit: int = 500) -> Sequence[Record]:
        """List records whose `expires_at` is before `now`, oldest first."""

    async def commit(self, writes: Sequence[Write], *, durable: bool = True) -> None:
        """Carry out all writes, or none of them.

        Args:
            writes: At most `MAX_WRITES`, each key once.
            durable: False where the loss of this commit in a power failure does no harm.

        Raises:
            StoreConflict: A precondition does not hold. Nothing was written.
        """
