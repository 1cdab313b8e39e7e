"""Drawings in the language of Graphviz (graphviz.org, "DOT Language")."""

from __future__ import annotations

from collections.abc import Iterator

from authflow.diagrams.graph import Drawing
from authflow.diagrams.sheet import FlowSheet, Sheet
from authflow.diagrams.words import arrow_words, end_title, merged, step_notes, step_title


def dot(drawn: Sheet, *, with_table: bool = True) -> str:
    """Write a sheet as one directed graph, ending in a line break.

    Args:
        with_table: Whether the table of states is in it.
    """
    lines = [
        "digraph flows {",
        "  rankdir=LR;",
        '  graph [fontname="sans-serif", fontsize=12, style=rounded, color=gray];',
        '  node [fontname="sans-serif", fontsize=11, shape=box, style=rounded];',
        '  edge [fontname="sans-serif", fontsize=10];',
    ]
    for flow in drawn.flows:
        lines += _flow(drawn, flow)
    if with_table:
        lines += _table(drawn)
    return "\n".join([*lines, "}"]) + "\n"


def _flow(drawn: Sheet, flow: FlowSheet) -> Iterator[str]:
    name = flow.kind.value
    yield f"  subgraph cluster_{name} {{"
    yield f"    label={_quoted(f'{name}: {flow.goal}')};"
    if flow.drawing is None:
        yield f"    {name}_closed [label={_quoted(f'closed: {flow.closed}')}, style=dashed];"
    else:
        yield from _drawing(drawn, name, flow.drawing)
    yield "  }"


def _drawing(drawn: Sheet, name: str, drawing: Drawing) -> Iterator[str]:
    yield f'    {name}_start [label="", shape=circle, width=0.2, style=filled, fillcolor=black];'
    for step in drawing.steps:
        lines = [step_title(step), *step_notes(step, drawn.label)]
        yield f"    {name}_{step.id} [label={_quoted(*lines)}];"
    for end in drawing.ends:
        yield f"    {name}_{end.id} [label={_quoted(end_title(end))}, shape=ellipse, style=solid];"
    for arrow in drawing.entries:
        yield _arrow(f"{name}_start", arrow.condition, f"{name}_{arrow.target}")
    for step in drawing.steps:
        for words, target in merged(step.arrows, arrow_words):
            yield _arrow(f"{name}_{step.id}", words, f"{name}_{target}")


def _table(drawn: Sheet) -> Iterator[str]:
    yield "  subgraph cluster_states {"
    yield '    label="the table of states";'
    events: dict[tuple[str, str], list[str]] = {}
    for state, event, targets in drawn.transitions:
        for target in targets:
            events.setdefault((state, target), []).append(event)
    states = dict.fromkeys(name for pair in events for name in pair)
    yield from (f"    state_{name} [label={_quoted(name)}, shape=ellipse, style=solid];" for name in states)
    for (state, target), names in events.items():
        yield _arrow(f"state_{state}", ", ".join(names), f"state_{target}")
    yield "  }"


def _arrow(here: str, words: str, there: str) -> str:
    return f"    {here} -> {there} [label={_quoted(words)}];" if words else f"    {here} -> {there};"


def _quoted(*lines: str) -> str:
    # Within quotes only the quote itself ends a text; a backslash of a label begins one of Graphviz's own signs.
    escaped = (" ".join(line.split()).replace("\\", "\\\\").replace('"', '\\"') for line in lines)
    return '"' + "\\n".join(escaped) + '"'
