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


class Failed(Exception):
    """What a check found wrong: one sentence."""


class NotShown(Exception):
    """Why a check could not be made: one sentence."""


class DoesNotApply(Exception):
    """The provider does nothing that this check is about."""


@dataclass(frozen=True, slots=True)
class Result:
    """One line of a certificate.

    Attributes:
        name: Of the check, stable.
        shows: What is shown where it is ok.
        why: What was found, or why nothing could be shown.
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
    """

    provider: str
    kit: str
    results: tuple[Result, ...]

    def of(self, state: State) -> tuple[Result, ...]:
        return tuple(result for result in self.results if result.state is state)

    @property
    def failed(self) -> tuple[Result, ...]:
        return self.of(State.FAILED)

    @property
    def not_shown(self) -> tuple[Result, ...]:
        return self.of(State.NOT_SHOWN)

    @property
    def is_whole(self) -> bool:
        """Whether everything was shown and nothing failed."""
        return not self.failed and not self.not_shown

    def lines(self) -> Iterator[str]:
        """Write it for people, one check a line, what failed with the way out below it."""
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
            "certified": self.is_whole,
            "checks": [
                {"name": r.name, "state": r.state.value, "shows": r.shows, "why": r.why, "mend": r.mend}
                for r in self.results
            ],
        }
