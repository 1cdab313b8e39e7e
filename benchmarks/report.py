"""Figures of a run as text or JSON: medians, their spread, ratios to the floor, goals."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmarks.trips import Step


@dataclass(slots=True)
class Row:
    """One figure of both subjects, measured several times.

    Attributes:
        goal: What authflow's figure may be at most, as a multiple of the floor's.
    """

    label: str
    unit: str
    goal: float | None = None
    samples: dict[str, list[float]] = field(default_factory=dict)

    def add(self, subject: str, figure: float) -> None:
        self.samples.setdefault(subject, []).append(figure)

    def median(self, subject: str) -> float | None:
        samples = self.samples.get(subject)
        return median(samples) if samples else None

    def spread(self, subject: str) -> float:
        """Return half of the way from the least to the greatest, in parts of the median."""
        samples = self.samples[subject]
        middle = median(samples)
        return (max(samples) - min(samples)) / 2 / abs(middle) if middle else 0.0

    @property
    def ratio(self) -> float | None:
        """The median of authflow's figure against the floor's of the same turn."""
        floor, ours = self.samples.get("floor", []), self.samples.get("authflow", [])
        pairs = [theirs / base for base, theirs in zip(floor, ours, strict=False) if base > 0]
        return median(pairs) if pairs else None

    @property
    def is_missed(self) -> bool:
        return self.goal is not None and (self.ratio is None or self.ratio > self.goal)


@dataclass(frozen=True, slots=True)
class Report:
    """A run's outcome."""

    rows: Sequence[Row]
    steps: Sequence[Step]
    repetitions: int

    @property
    def missed(self) -> list[str]:
        """The goals and budgets that were not kept."""
        over = [step.name for step in self.steps if step.trips > step.budget]
        return [row.label for row in self.rows if row.is_missed] + over

    def as_text(self) -> str:
        lines = [
            f"Python {platform.python_version()}, {os.cpu_count()} cores, {self.repetitions} turns",
            "",
            f"{'':52}{'floor':>16}{'authflow':>16}{'ratio':>8}{'goal':>9}",
            *(self._row_text(row) for row in self.rows),
            "",
            f"{'store round trips':52}{'':16}{'authflow':>16}{'':8}{'budget':>9}",
            *(self._step_text(step) for step in self.steps),
        ]
        return "\n".join(lines)

    def as_json(self) -> str:
        rows = [
            {
                "name": row.label,
                "unit": row.unit,
                **{
                    name: {"median": row.median(name), "spread": row.spread(name), "samples": samples}
                    for name, samples in row.samples.items()
                },
                "ratio": row.ratio,
                "goal": row.goal,
            }
            for row in self.rows
        ]
        steps = [{"name": step.name, "trips": step.trips, "budget": step.budget} for step in self.steps]
        return json.dumps({"rows": rows, "round_trips": steps, "missed": self.missed}, indent=1)

    def _row_text(self, row: Row) -> str:
        label = f"{row.label}, {row.unit}" if row.unit else row.label
        figures = "".join(f"{self._figure(row, name):>16}" for name in ("floor", "authflow"))
        # Memory may shrink: no ratio means anything there.
        ratio = "" if row.ratio is None or "growth" in row.label else f"{row.ratio:.2f}"
        goal = "" if row.goal is None else f"<= {row.goal}"
        return f"{label:52}{figures}{ratio:>8}{goal:>9}{'  missed' if row.is_missed else ''}"

    def _figure(self, row: Row, subject: str) -> str:
        middle = row.median(subject)
        if middle is None:
            return "-"
        number = f"{middle:.0f}" if middle >= 1_000 or not row.unit else f"{middle:.{1 if middle >= 10 else 2}f}"
        return f"{number} ±{row.spread(subject):3.0%}" if len(row.samples[subject]) > 1 else number

    def _step_text(self, step: Step) -> str:
        missed = "  missed" if step.trips > step.budget else ""
        return f"{step.name:52}{'':16}{step.trips:>16}{'':8}{step.budget:>9}{missed}"
