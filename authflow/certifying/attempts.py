"""What is tried, by whom, and what came of it: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from authflow.certifying.given import Uses
from authflow.certifying.kit import Kit
from authflow.flow import Flow
from authflow.model import Account, Credential, Factor
from authflow.provider import Ask, Fetching, Identification, Outcome, Provider, Redirect, Submission, Verified

START = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)
"""Far from the wall clock, so that whoever looks at that one is seen."""


class Clock:
    """The time that is handed in."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, span: timedelta) -> None:
        self.now += span


@dataclass
class Person:
    """Somebody with an account who can use the provider."""

    kit: Kit
    account: Account
    credential: Credential | None


@dataclass(frozen=True)
class Attempt:
    """One submission, and all it is judged by."""

    flow: Flow
    ask: Ask | Redirect
    submission: Submission
    party: Fetching | None = None

    @property
    def values(self) -> Mapping[str, str]:
        return self.submission.values

    def of(self, values: Mapping[str, str]) -> Attempt:
        """Return the same with other values."""
        return replace(self, submission=replace(self.submission, values=values, evidence={}))


@dataclass
class Judged:
    """What came of a call, and what it cost."""

    outcome: Outcome | None
    error: BaseException | None
    uses: Uses
    who: Identification | None = None
    seconds: float = 0.0

    @property
    def is_verified(self) -> bool:
        return isinstance(self.outcome, Verified)

    def said(self) -> str:
        """Name it in a sentence."""
        if self.error is not None:
            return f"{type(self.error).__name__} ({self.error})"
        reason = getattr(self.outcome, "reason", "")
        charge = getattr(self.outcome, "charge", "")
        return type(self.outcome).__name__ + (f"({reason}, {charge})" if reason else "")


@dataclass
class Seen:
    """What all calls together have brought."""

    outcomes: list[object] = field(default_factory=list)
    errors: list[tuple[str, str]] = field(default_factory=list)


def is_one_time(provider: Provider) -> bool:
    """Whether an answer may be worth something only once: all but what is merely known."""
    return provider.factor is not Factor.KNOWLEDGE
