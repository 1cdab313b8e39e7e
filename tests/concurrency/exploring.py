"""Which operations meet which, in which world, and how many orders that makes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations_with_replacement
from typing import Any

from tests.concurrency import world as worlds
from tests.concurrency.judging import Judge, Watch
from tests.concurrency.operations import (
    FIRST,
    FRESH,
    LONG_TRIPLES,
    OWING,
    REGISTERED,
    SETTLED,
    TRIPLES,
    Operation,
    named,
)
from tests.concurrency.world import World

SCENES: dict[str, tuple[Callable[[World], Any], Sequence[Operation]]] = {
    "settled": (worlds.settled, SETTLED),
    "waiting": (worlds.waiting, REGISTERED),
    "owing": (worlds.owing, OWING),
    "untouched": (worlds.untouched, FRESH),
    "nobody": (worlds.nobody, FIRST),
}


@contextmanager
def scene(name: str, **more: Any) -> Iterator[World]:
    """Make a world, and let go of it afterwards. Nothing is logged: hundreds of thousands of events happen in it."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    world = World(SCENES[name][0], watch=Watch(), **more)
    try:
        yield world
    finally:
        world.close()
        logging.disable(before)


def pairs(name: str, part: int = 0, parts: int = 1) -> list[tuple[Operation, Operation]]:
    """Return the pairs of a scene, each operation with itself too; or every so many of them."""
    return list(combinations_with_replacement(SCENES[name][1], 2))[part::parts]


def explore(
    world: World, meetings: Sequence[Sequence[Operation]], told: Callable[[int, int], None] | None = None
) -> int:
    """Judge every order of each meeting; return how many there were.

    Args:
        told: Hears of the meetings that are done, and of the orders.

    Raises:
        Violation: With the schedule that must not be.
    """
    count = 0
    for done, operations in enumerate(meetings, 1):
        count += Judge(world, operations).explore()
        if told:
            told(done, count)
    return count


def triples(*, with_long_ones: bool) -> list[tuple[Operation, ...]]:
    """Return the chosen triples, all on the settled account."""
    return [named(*names) for names in (*TRIPLES, *(LONG_TRIPLES if with_long_ones else ()))]
