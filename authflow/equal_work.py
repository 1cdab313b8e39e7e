"""How much has to be computed so that one judgement takes as long as another, of a function that costs otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

SAMPLES: Final = 8


def ratio(one: Callable[[], object], other: Callable[[], object], timer: Callable[[], float]) -> float:
    """Return how many times as long as the other one piece of work takes on this machine.

    The fastest of some runs counts: what is slower has waited for something. They are run in turn, as the speed of a
    core changes with what else it does.
    """
    ones, others = list[float](), list[float]()
    for _ in range(SAMPLES):
        started = timer()
        one()
        between = timer()
        other()
        ones.append(between - started)
        others.append(timer() - between)
    # A clock may be too coarse to see any of it.
    return max(min(ones), 1e-9) / max(min(others), 1e-9)


def fillers(missing: float, *, least: int, most: int) -> Iterator[int]:
    """Return what adds up to so much work, in powers of two, to less than the least of them.

    Args:
        missing: In bcrypt's measure: 2 to the power of its rounds.
        least, most: Smallest and greatest rounds that there are.
    """
    for rounds in range(most, least - 1, -1):
        while missing >= 2**rounds:
            yield rounds
            missing -= 2**rounds
