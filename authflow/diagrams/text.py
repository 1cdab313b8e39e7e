"""Drawings as text, for terminals, reviews and files that are compared. At most 100 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from textwrap import wrap

from authflow.diagrams.graph import Arrow, Drawing, StepNode
from authflow.diagrams.sheet import FlowSheet, Sheet
from authflow.diagrams.words import any_of, step_title, step_too

WIDTH = 100
_COLUMN = 62
_LEGEND = (
    "orphaned: enrolled, but its provider is not offered or its credential cannot be used",
    "AAL1, AAL2: one factor, two factors of different kinds (NIST SP 800-63B)",
)


def text(drawn: Sheet, *, with_table: bool = True) -> str:
    """Write a sheet as text, ending in a line break.

    Args:
        with_table: Whether the table of states is in it.
    """
    return "\n".join(line.rstrip() for line in _lines(drawn, with_table)) + "\n"


def _lines(drawn: Sheet, with_table: bool) -> Iterator[str]:
    yield f"Flows of {drawn.user}"
    yield ""
    rows = [(line.name, line.label, f"{line.role}, {line.factor}") for line in drawn.providers]
    yield from _columns(rows, "  ")
    yield ""
    pairs = [first if second is None else f"{first} + {second}" for first, second in drawn.pairs]
    yield from wrap(f"pairs: {', '.join(pairs)}", WIDTH, initial_indent="  ", subsequent_indent="         ")
    common = _common(drawn)
    for flow in drawn.flows:
        yield ""
        yield from _flow(flow, common)
    if common:
        yield ""
        yield from _wrapped("At every step: " + "; ".join(f"{event}: {outcome}" for event, outcome in common))
    if drawn.flows:
        yield ""
        yield from _LEGEND
    if with_table:
        yield ""
        yield "The table of states"
        yield from _columns([(state, event, ", ".join(targets)) for state, event, targets in drawn.transitions], "  ")


def _common(drawn: Sheet) -> list[tuple[str, str]]:
    """Return what can happen at each step of each flow."""
    steps = [step for flow in drawn.flows if flow.drawing for step in flow.drawing.steps]
    return [told for told in steps[0].around if all(told in step.around for step in steps)] if steps else []


def _flow(flow: FlowSheet, common: Sequence[tuple[str, str]]) -> Iterator[str]:
    yield f"{flow.kind.value}: {flow.goal}"
    drawing = flow.drawing
    if drawing is None:
        yield f"  closed: {flow.closed}"
        return
    if len(drawing.entries) > 1 or drawing.entries[0].condition or drawing.entries[0].target != "1":
        yield "     begins"
        yield from _arrows(drawing, drawing.entries)
    for step in drawing.steps:
        yield from _step(drawing, step)
    for event, outcome, ids in drawing.around:
        if (event, outcome) not in common:
            where = f"at {any_of(ids)}" if ids else "at every step"
            yield from (f"  {line}" for line in wrap(f"{where}, {event}: {outcome}", WIDTH - 2))


def _step(drawing: Drawing, step: StepNode) -> Iterator[str]:
    too = step_too(step)
    said = f"{step_title(step)}; {too}" if too else step_title(step)
    yield from wrap(said, WIDTH, initial_indent=f"  {step.id}  ", subsequent_indent="       ")
    for answers, group in groupby(step.arrows, key=lambda arrow: arrow.answers):
        arrows = list(group)
        if len(arrows) == 1 and not arrows[0].condition:
            yield _row(drawing, f"       {any_of(answers)}", arrows[0])
        else:
            yield f"       {any_of(answers)}"
            yield from _arrows(drawing, arrows)


def _arrows(drawing: Drawing, arrows: Sequence[Arrow]) -> Iterator[str]:
    for arrow in arrows:
        *before, last = wrap(arrow.condition or "any account", _COLUMN - 11) or [""]
        yield from (f"         {line}" for line in before)
        yield _row(drawing, f"         {last}", arrow)


def _row(drawing: Drawing, left: str, arrow: Arrow) -> str:
    target = drawing.named(arrow.target)
    said = arrow.target if isinstance(target, StepNode) else target.words
    return f"{left.ljust(_COLUMN)} -> {said}"


def _wrapped(said: str) -> list[str]:
    return wrap(said, WIDTH, subsequent_indent="  ")


def _columns(rows: Sequence[tuple[str, ...]], indent: str) -> Iterator[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))] if rows else []
    for row in rows:
        yield indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
