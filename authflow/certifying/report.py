"""What a certificate says: the checks, each with how it ended, why, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How a check ended."""

    OK = "ok"
    FAILED = "failed"
    NOT_SHOWN = "not shown"
    NOT_APPLICABLE = "n/a"


class Failed(Exception):
    """What a check found wrong: one sentence.

    Args:
        mend: What to do about it, where that is not what the check says.
    """

    def __init__(self, said: str, mend: str = "") -> None:
        super().__init__(said)
        self.mend = mend


class NotShown(Exception):
    """Why a check could not be made: one sentence."""


class DoesNotApply(Exception):
    """Why a check is not about this provider: one sentence."""


@dataclass(frozen=True, slots=True)
class Result:
    """One line of a certificate.

    Attributes:
        name: Of the check, stable.
        shows: What is shown where it is ok.
        why: What was found, or why nothing could be shown, or why the check is not about this provider.
        mend: What to do where it failed.
    """

    name: str
    state: State
    shows: str
    why: str = ""
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What was found out about one provider.

    Attributes:
        provider: Its class, as `package.module:Class`.
        kit: Who gave the right answers; empty where nobody could.
        only: The checks that were chosen; empty where all were made.
        seed: What chance was drawn from; given again, the same is drawn.
    """

    provider: str
    kit: str
    results: tuple[Result, ...]
    only: tuple[str, ...] = ()
    seed: int = 0

    def of(self, state: State) -> tuple[Result, ...]:
        return tuple(result for result in self.results if result.state is state)

    @property
    def failed(self) -> tuple[Result, ...]:
        return self.of(State.FAILED)

    @property
    def not_shown(self) -> tuple[Result, ...]:
        return self.of(State.NOT_SHOWN)

    @property
    def made(self) -> tuple[Result, ...]:
        """Those that are about this provider and could be made."""
        return (*self.of(State.OK), *self.failed)

    @property
    def is_whole(self) -> bool:
        """Whether all that was to be tried was shown, and nothing failed."""
        return not self.failed and not self.not_shown

    @property
    def is_certified(self) -> bool:
        """Whether everything was tried and shown, and nothing failed. Chosen checks alone certify nothing."""
        return self.is_whole and not self.only

    @property
    def verdict(self) -> str:
        """Say in a line what came of it. The word certified is said of all checks alone."""
        made, failed, not_shown = len(self.made), len(self.failed), len(self.not_shown)
        could_not = f", {not_shown} could not be made" if not_shown else ""
        if self.only:
            checks = "1 check" if made == 1 else f"{made} checks"
            return f"{checks} made, {failed or 'none'} failed{could_not}"
        said = "not certified" if failed else ("certified in part" if not_shown else "certified")
        return f"{said}; {failed} of {made} checks failed{could_not}"

    def lines(self) -> Iterator[str]:
        """Write it for people, one check a line, what failed with the way out below it; what does not apply, too."""
        width = max((len(result.name) for result in self.results), default=0)
        for result in self.results:
            said = result.shows if result.state is State.OK else result.why
            state = "FAILED" if result.state is State.FAILED else result.state.value
            yield f"{state.ljust(9)}  {result.name.ljust(width)}  {said}"
            if result.state is State.FAILED and result.mend:
                yield f"{' ' * (11 + width)}  do: {result.mend}"

    def to_data(self) -> dict[str, object]:
        """Write it for programs."""
        return {
            "provider": self.provider,
            "kit": self.kit,
            "certified": self.is_certified,
            "only": list(self.only),
            "seed": self.seed,
            "checks": [
                {"name": r.name, "state": r.state.value, "shows": r.shows, "why": r.why, "mend": r.mend}
                for r in self.results
            ],
        }
