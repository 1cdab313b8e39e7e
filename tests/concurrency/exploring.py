"""Which operations meet which, in which world, and how many orders that makes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations_with_replacement
from typing import Any

from providers import time_based_otp
from tests.concurrency import world as worlds
from tests.concurrency.judging import Judge, Violation, Watch
from tests.concurrency.operations import (
    BRINK,
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
    "brink": (worlds.on_the_brink, BRINK),
    "waiting": (worlds.waiting, REGISTERED),
    "owing": (worlds.owing, OWING),
    "untouched": (worlds.untouched, FRESH),
    "nobody": (worlds.nobody, FIRST),
}


@contextmanager
def scene(name: str, **more: Any) -> Iterator[World]:
    """Make a world, and let go of it afterwards. Nothing is logged: hundreds of thousands of events happen in it."""
    before, drawn = logging.root.manager.disable, time_based_otp._qr_code
    logging.disable(logging.CRITICAL)
    time_based_otp._qr_code = lambda text: ""  # Drawing one takes longer than a schedule.
    world = World(SCENES[name][0], watch=Watch(), **more)
    try:
        yield world
    finally:
        world.close()
        time_based_otp._qr_code = drawn
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


def explore_all(meetings_told: Callable[[str, int, int], None], words: str = "") -> list[str]:
    """Judge every order of every pair and triple; return what was found.

    Args:
        meetings_told: Hears of each scene when it is done: its name, its meetings and the orders of them.
        words: Only scenes whose names hold them.
    """
    found = []
    sizes = {**{name: pairs(name) for name in SCENES}, "triples": triples(with_long_ones=True)}
    for name, meetings in sizes.items():
        if words not in name:
            continue
        count = 0
        with scene("settled" if name == "triples" else name) as world:
            for operations in meetings:
                try:
                    count += Judge(world, operations).explore()
                except Violation as violation:
                    found.append(str(violation))
        meetings_told(name, len(meetings), count)
    return found


def triples(*, with_long_ones: bool) -> list[tuple[Operation, ...]]:
    """Return the chosen triples, all on the settled account."""
    return [named(*names) for names in (*TRIPLES, *(LONG_TRIPLES if with_long_ones else ()))]
