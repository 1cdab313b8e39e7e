"""What a proof found: how much was looked at, and for each invariant that does not hold the shortest way to it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from authflow.model import Plain
from authflow.proving.invariants import INVARIANTS


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that does not hold.

    Attributes:
        invariant: Its id in `INVARIANTS`.
        detail: In what it does not hold.
        about: Which flow, of whom, under which configuration.
        path: What has to happen, in order. The shortest that there is.
    """

    invariant: str
    detail: str
    about: str
    path: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        return INVARIANTS[self.invariant]

    def to_data(self) -> dict[str, Plain]:
        return {
            "invariant": self.invariant,
            "sentence": self.sentence,
            "detail": self.detail,
            "about": self.about,
            "path": list(self.path),
        }


@dataclass(slots=True)
class Report:
    """What was looked at and what was found.

    Attributes:
        scenarios: Kinds of flow times accounts, for each configuration that was looked at.
        states: Different states that flows were found in.
        transitions: Events that were tried on them, also those that were refused.
        checks: Questions beside these: gates, sessions, sequences of proofs, provider probes.
        notes: What is no fault, and may be none of the application's intentions.
        seen: How often each violated invariant was found.
    """

    scenarios: int = 0
    states: int = 0
    transitions: int = 0
    checks: int = 0
    seconds: float = 0.0
    kinds: tuple[str, ...] = ()
    shortest: dict[str, Violation] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)

    @property
    def violations(self) -> list[Violation]:
        """The shortest violation of each invariant, the shortest first."""
        return sorted(self.shortest.values(), key=lambda found: (len(found.path), found.invariant))

    def violated(self, invariant: str, detail: str, about: str, path: tuple[str, ...] = ()) -> None:
        """Remember a violation, if it is the shortest of its kind."""
        self.seen[invariant] += 1
        before = self.shortest.get(invariant)
        if before is None or len(path) < len(before.path):
            self.shortest[invariant] = Violation(invariant, detail, about, path)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def to_data(self) -> dict[str, Plain]:
        return {
            "ok": not self.shortest,
            "kinds": list(self.kinds),
            "scenarios": self.scenarios,
            "states": self.states,
            "transitions": self.transitions,
            "checks": self.checks,
            "invariants": len(INVARIANTS),
            "seconds": round(self.seconds, 3),
            "violations": [found.to_data() | {"times": self.seen[found.invariant]} for found in self.violations],
            "notes": list(self.notes),
        }
