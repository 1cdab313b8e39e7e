"""A store seen through the seam."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from authflow.seam import Observer, Seam, record
from authflow.store.protocol import Key, Page, Record, Store, Write

_KIND = "store"


class InstrumentedStore:
    """Passes on to another store and shows each round trip to the observers and to the open bill.

    The operations are `get`, `find` (also for `find_expired`) and `commit`; the detail is the kinds of the keys.

    Args:
        store: The store that does the work.
        seam: The application's seam, or observers for one of its own.
    """

    def __init__(self, store: Store, seam: Seam | Sequence[Observer] = ()) -> None:
        self._store = store
        self._seam = seam if isinstance(seam, Seam) else Seam(seam)

    async def open(self) -> None:
        """Pass on, unseen."""
        await self._store.open()

    async def close(self) -> None:
        """Pass on, unseen."""
        await self._store.close()

    async def get(self, keys: Sequence[Key]) -> Mapping[Key, Record]:
        """See `Store.get`."""
        if not self._seam.is_observed:
            record(_KIND, "get")
            return await self._store.get(keys)
        detail = tuple([key.kind for key in keys])
        return await self._seam.call(_KIND, "get", detail, lambda: self._store.get(keys))

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
        return await self._seam.call(
            _KIND,
            "find",
            (kind,),
            lambda: self._store.find(
                kind, field, equals=equals, at_most=at_most, at_least=at_least, limit=limit, cursor=cursor
            ),
        )

    async def find_expired(self, now: datetime, *, limit: int = 500) -> Sequence[Record]:
        """See `Store.find_expired`."""
        return await self._seam.call(_KIND, "find", (), lambda: self._store.find_expired(now, limit=limit))

    async def commit(self, writes: Sequence[Write], *, durable: bool = True) -> None:
        """See `Store.commit`."""
        detail = tuple([write.key.kind for write in writes]) if self._seam.is_observed else ()
        await self._seam.call(_KIND, "commit", detail, lambda: self._store.commit(writes, durable=durable))
