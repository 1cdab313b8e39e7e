"""What a check is: a name, what it shows, what to do where it fails, and the work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from authflow.certifying.bench import Bench

Work: TypeAlias = "Callable[[Bench], Awaitable[None]]"


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: Stable, in snake case.
        shows: What holds where it is ok.
        mend: What to do where it fails.
        work: Raises `report.Failed`, `NotShown` or `DoesNotApply`; returns where all is well.
        needs_kit: Whether somebody must be able to give right answers.
        by_chance: Whether an answer may be right elsewhere by chance, where each flow asks for another one. Such a
            failure counts when it comes up again in other flows.
    """

    name: str
    shows: str
    mend: str
    work: Work
    needs_kit: bool = False
    by_chance: bool = False


def check(shows: str, *, mend: str, needs_kit: bool = False, by_chance: bool = False) -> Callable[[Work], Check]:
    """Make a check of a function; its name is the check's."""

    def make(work: Work) -> Check:
        name = getattr(work, "__name__", "")
        return Check(name, shows, mend, work, needs_kit, by_chance)

    return make
