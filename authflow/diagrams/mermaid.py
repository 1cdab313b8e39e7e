"""Drawings as Mermaid flowcharts, which GitHub and many editors show (mermaid.js.org, "Flowcharts")."""

from __future__ import annotations

from collections.abc import Iterator

from authflow.diagrams.graph import Drawing
from authflow.diagrams.sheet import FlowSheet, Sheet
from authflow.diagrams.words import arrow_words, end_title, merged, step_notes, step_title


def mermaid(drawn: Sheet, *, with_table: bool = True) -> str:
    """Write a sheet as one flowchart, ending in a line break.

    Args:
        with_table: Whether the table of states is in it.
    """
    lines = ["flowchart TD"]
    for flow in drawn.flows:
        lines += _flow(drawn, flow)
    if with_table:
        lines += _table(drawn)
    return "\n".join(lines) + "\n"


def _flow(drawn: Sheet, flow: FlowSheet) -> Iterator[str]:
    name = flow.kind.value
    yield f'  subgraph {name}["{_text(f"{name}: {flow.goal}")}"]'
    if flow.drawing is None:
        yield f'    {name}_closed["{_text(f"closed: {flow.closed}")}"]'
    else:
        yield from _drawing(drawn, name, flow.drawing)
    yield "  end"


def _drawing(drawn: Sheet, name: str, drawing: Drawing) -> Iterator[str]:
    yield f'    {name}_start(("begin"))'
    for step in drawing.steps:
        lines = [step_title(step), *step_notes(step, drawn.label)]
        yield f'    {name}_{step.id}["{"<br>".join(map(_text, lines))}"]'
    for end in drawing.ends:
        yield f'    {name}_{end.id}(["{_text(end_title(end))}"])'
    for arrow in drawing.entries:
        yield _arrow(f"{name}_start", arrow.condition, f"{name}_{arrow.target}")
    for step in drawing.steps:
        for words, target in merged(step.arrows, arrow_words):
            yield _arrow(f"{name}_{step.id}", words, f"{name}_{target}")


def _table(drawn: Sheet) -> Iterator[str]:
    yield '  subgraph states["the table of states"]'
    states = dict.fromkeys(name for state, _, targets in drawn.transitions for name in (state, *targets))
    yield from (f'    state_{name}(["{name}"])' for name in states)
    events: dict[tuple[str, str], list[str]] = {}
    for state, event, targets in drawn.transitions:
        for target in targets:
            events.setdefault((state, target), []).append(event)
    for (state, target), names in events.items():
        yield _arrow(f"state_{state}", ", ".join(names), f"state_{target}")
    yield "  end"


def _arrow(here: str, words: str, there: str) -> str:
    return f'    {here} -->|"{_text(words)}"| {there}' if words else f"    {here} --> {there}"


def _text(words: str) -> str:
    """Return words as Mermaid takes them in quotes: its own entities, since a label is read as Markdown and HTML."""
    for sign, entity in (("#", "#35;"), ('"', "#quot;"), ("<", "#lt;"), (">", "#gt;"), ("`", "#96;")):
        words = words.replace(sign, entity)
    return " ".join(words.split())
