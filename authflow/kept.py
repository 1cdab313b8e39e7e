"""Values that were decoded already, by version: a record that has not changed is not taken apart again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from authflow.store.protocol import Data, Record, Version

T = TypeVar("T")


class Kept(Generic[T]):
    """The last decoded values of one kind, each for the version it was decoded from. Never a source of truth.

    The store is asked every time; only taking its answer apart is saved. Values must be immutable.

    Args:
        decode: Makes a value of a record's name and data.
        size: How many are kept; the oldest falls out.
    """

    __slots__ = ("_decode", "_kept", "_size")

    def __init__(self, decode: Callable[[str, Data], T], *, size: int = 512) -> None:
        self._decode = decode
        self._size = size
        self._kept: dict[str, tuple[Version, T]] = {}

    def of(self, record: Record) -> T:
        """Return the value of a record as it was just read."""
        name = record.key.name
        held = self._kept.get(name)
        if held is not None and held[0] == record.version:
            return held[1]
        value = self._decode(name, record.data)
        if held is None and len(self._kept) >= self._size:
            del self._kept[next(iter(self._kept))]
        self._kept[name] = (record.version, value)
        return value
