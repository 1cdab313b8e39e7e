"""Chance that can be had again: what `secrets` draws in one thread comes from a seed while somebody is certified.

Other threads draw as ever, so nothing real is ever made of it. `os.urandom`, called by its own name, is not led here.
"""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_seeded: dict[int, random.Random] = {}
_lock = threading.Lock()


def _draw(count: int) -> bytes:
    chance = _seeded.get(threading.get_ident())
    return os.urandom(count) if chance is None else chance.randbytes(count)


@contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Let `secrets` and `random.SystemRandom` draw from a seed, in this thread, until it is left."""
    with _lock:
        _seeded[threading.get_ident()] = random.Random(seed)  # noqa: S311 - nothing that is kept is made of it
        random._urandom = _draw  # type: ignore[attr-defined]
    try:
        yield
    finally:
        with _lock:
            del _seeded[threading.get_ident()]
            if not _seeded:
                random._urandom = os.urandom  # type: ignore[attr-defined]
