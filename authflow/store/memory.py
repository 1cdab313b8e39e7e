"""A store in this process's memory, for tests and for one process that may forget everything."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import assert_never

from authflow.errors import StoreConflict, StoreUnavailable
from authflow.store import checks
from authflow.store.protocol import Delete, Insert, Key, Page, Put, Record, Update, Version, Write


@dataclass(frozen=True, slots=True)
class _Row:
    """A record as it lies here: as text, so that nobody holds a reference into the store."""

    body: str
    version: Version
    expires_at: int | None


class MemoryStore:
    """Same semantics as the other adapters, in a dictionary.

    Every method yields to the event loop once before it touches a record, so that what races against a real store
    races here too. What it does then is one step of the loop, hence all or nothing. It is not for several threads.
    """

    def __init__(self) -> None:
        self._rows: dict[Key, _Row] = {}
        self._is_open = False

    async def open(self) -> None:
        """Make ready. What an earlier opening stored is still there."""
        self._is_open = True

    async def close(self) -> None:
        """Refuse further calls until opened again."""
        self._is_open = False

    async def get(self, keys: Sequence[Key]) -> Mapping[Key, Record]:
        """See `Store.get`."""
        await self._yield_once()
        return {key: _record(key, row) for key in keys if (row := self._rows.get(key)) is not None}

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
        """See `Store.find`."""
        bounds = (equals, at_most, at_least)
        checks.check_question(kind, field, bounds, limit)
        question = checks.fingerprint(kind, field, bounds)
        start = None if cursor is None else checks.read_cursor(question, cursor)
        await self._yield_once()
        found = sorted(
            (_rank(value), key.name, value)
            for key, value in self._indexed(kind, field)
            if (equals is None or value == equals)
            and (at_most is None or _rank(value) <= _rank(at_most))
            and (at_least is None or _rank(value) >= _rank(at_least))
            and (start is None or (_rank(value), key.name) > (_rank(start[0]), start[1]))
        )
        keys = [Key(kind, name) for _, name, _ in found[:limit]]
        end = checks.make_cursor(question, found[limit - 1][2], keys[-1].name) if len(found) > limit else None
        return Page([_record(key, self._rows[key]) for key in keys], end)

    async def find_expired(self, now: datetime, *, limit: int = 500) -> Sequence[Record]:
        """See `Store.find_expired`."""
        before = checks.to_microseconds(now)
        await self._yield_once()
        expired = sorted(
            (row.expires_at, key)
            for key, row in self._rows.items()
            if row.expires_at is not None and row.expires_at < before
        )
        return [_record(key, self._rows[key]) for _, key in expired[:limit]]

    async def commit(self, writes: Sequence[Write], *, durable: bool = True) -> None:
        """See `Store.commit`. Nothing here is durable."""
        checks.check_writes(writes)
        version = secrets.randbits(62)
        changes = {write.key: _row(write, version) for write in writes}
        await self._yield_once()
        for write in writes:
            self._guard(write)
        for key, row in changes.items():
            if row is None:
                self._rows.pop(key, None)
            else:
                self._rows[key] = row

    async def _yield_once(self) -> None:
        if not self._is_open:
            raise StoreUnavailable("the store is not open")
        await asyncio.sleep(0)

    def _guard(self, write: Write) -> None:
        row = self._rows.get(write.key)
        match write:
            case Insert():
                holds = row is None
            case Update(version=version):
                holds = row is not None and row.version == version
            case Delete(version=version):
                holds = version is None or (row is not None and row.version == version)
            case Put():
                holds = True
            case _:
                assert_never(write)
        if not holds:
            raise StoreConflict(checks.conflict_detail(write))

    def _indexed(self, kind: str, field: str) -> Iterator[tuple[Key, str | int]]:
        for key, row in self._rows.items():
            if key.kind == kind:
                value = checks.decode_body(row.body).get(field)
                if isinstance(value, str | int):
                    yield key, value


def _rank(value: str | int) -> tuple[bool, str, int]:
    """Order as SQLite and Datastore do: numbers, then texts by their UTF-8 bytes (Python's code points agree)."""
    return (True, value, 0) if isinstance(value, str) else (False, "", value)


def _row(write: Write, version: Version) -> _Row | None:
    if isinstance(write, Delete):
        return None
    expires_at = None if write.expires_at is None else checks.to_microseconds(write.expires_at)
    return _Row(checks.encode_body(write.data), version, expires_at)


def _record(key: Key, row: _Row) -> Record:
    expires_at = None if row.expires_at is None else checks.from_microseconds(row.expires_at)
    return Record(key, checks.decode_body(row.body), row.version, expires_at)
