"""Drawings as SVG: plain shapes and text, without script, links or fonts of elsewhere, in light and in dark.

Each flow stands below the one before. A reader that does not look at the picture gets its title and what happens in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.sax.saxutils import escape

from authflow.diagrams.layout import DOT, LINE, PADDING, SIGN, Box, Layout, Path, lay_out
from authflow.diagrams.sheet import FlowSheet, Sheet
from authflow.diagrams.text import text

MARGIN = 20.0
HEAD = 34.0
_CORNER = 7

_STYLE = """
svg { --page: #ffffff; --card: #f6f8fa; --line: #8a94a0; --ink: #1f2328; --soft: #57606a;
--good: #1a7f37; --bad: #b3261e }
@media (prefers-color-scheme: dark) {
svg { --page: #0d1117; --card: #1b222b; --line: #7d8794; --ink: #e6edf3; --soft: #a3adb8;
--good: #4ac26b; --bad: #ff8f87 }
}
text { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: var(--ink) }
.page { fill: var(--page) }
.head { font-weight: 700; font-size: 14px }
.title { font-weight: 700 }
.note, .row, .closed { fill: var(--soft) }
.box { fill: var(--card); stroke: var(--line) }
.box.completed { stroke: var(--good); stroke-width: 2 }
.box.refused { stroke: var(--bad); stroke-width: 2 }
.box.fault { stroke: var(--bad); stroke-width: 2; stroke-dasharray: 5 3 }
.dot, .tip { fill: var(--line) }
.arrow { fill: none; stroke: var(--line); stroke-width: 1.3 }
.arrow.completed { stroke: var(--good) }
.arrow.refused, .arrow.fault { stroke: var(--bad) }
.tip.completed { fill: var(--good) }
.tip.refused, .tip.fault { fill: var(--bad) }
.rule { stroke: var(--line); stroke-width: 0.6 }
""".strip()


def svg(drawn: Sheet, *, with_table: bool = True) -> str:
    """Write a sheet as one SVG document, ending in a line break.

    Args:
        with_table: Whether the table of states is in it.
    """
    parts: list[str] = []
    y, width = MARGIN, 0.0
    for flow in drawn.flows:
        layout = lay_out(flow.drawing, drawn.label) if flow.drawing else None
        parts += _flow(flow, layout, y)
        y += HEAD + (layout.height if layout else LINE) + 2 * MARGIN
        width = max(width, layout.width if layout else 0.0, len(_heading(flow)) * SIGN * 1.2)
    if with_table:
        rows = [("state", "event", "may lead to"), *((s, e, ", ".join(t)) for s, e, t in drawn.transitions)]
        parts += _table(rows, y)
        y += HEAD + len(rows) * LINE + MARGIN
        width = max(width, max(_offsets(rows)[2] + len(row[2]) * SIGN for row in rows))
    size = (width + 2 * MARGIN, y)
    named = ", ".join(flow.kind.value for flow in drawn.flows) or "the table of states"
    head = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{size[0]:.0f}" height="{size[1]:.0f}" '
        f'viewBox="0 0 {size[0]:.0f} {size[1]:.0f}" role="img" aria-labelledby="title desc">',
        f'<title id="title">{escape(f"Flows of {drawn.user}: {named}")}</title>',
        f'<desc id="desc">{escape(text(drawn, with_table=with_table))}</desc>',
        f"<style>{escape(_STYLE)}</style>",
        f'<rect class="page" width="{size[0]:.0f}" height="{size[1]:.0f}"/>',
    ]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"


def _heading(flow: FlowSheet) -> str:
    return f"{flow.kind.value}: {flow.goal}"


def _flow(flow: FlowSheet, layout: Layout | None, y: float) -> Iterator[str]:
    yield f'<g transform="translate({MARGIN:.0f} {y:.0f})">'
    yield f'<text class="head" x="0" y="14">{escape(_heading(flow))}</text>'
    if layout is None:
        yield f'<text class="closed" x="0" y="{HEAD + 4:.0f}">{escape(f"closed: {flow.closed}")}</text>'
    else:
        yield f'<g transform="translate(0 {HEAD:.0f})">'
        for arrow in layout.arrows:
            yield from _arrow(arrow)
        for box in layout.boxes:
            yield from _box(box)
        yield "</g>"
    yield "</g>"


def _box(box: Box) -> Iterator[str]:
    if box.role == "dot":
        yield f'<circle class="dot" cx="{box.x + DOT:.1f}" cy="{box.middle:.1f}" r="{DOT:.0f}"/>'
        return
    corner = _CORNER if box.role in ("step", "begins") else box.height / 2
    yield (
        f'<rect class="box {box.role}" x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" '
        f'height="{box.height:.1f}" rx="{corner:.1f}"/>'
    )
    for index, line in enumerate(box.lines):
        x = box.x + PADDING + (14 if line.role == "row" else 0)
        y = box.y + PADDING + index * LINE + 13
        yield f'<text class="{line.role}" x="{x:.1f}" y="{y:.1f}">{escape(line.text)}</text>'


def _arrow(arrow: Path) -> Iterator[str]:
    (x, y), *others = arrow.points
    drawn = [f"M{x:.1f} {y:.1f}"]
    for there_x, there_y in others:
        middle = (x + there_x) / 2
        drawn.append(f"C{middle:.1f} {y:.1f} {middle:.1f} {there_y:.1f} {there_x:.1f} {there_y:.1f}")
        x, y = there_x, there_y
    yield f'<path class="arrow {arrow.role}" d="{" ".join(drawn)}"/>'
    yield f'<path class="tip {arrow.role}" d="M{x:.1f} {y:.1f}l-8 -4v8z"/>'


def _offsets(rows: list[tuple[str, str, str]]) -> list[float]:
    widths = [max(len(row[i]) for row in rows) * SIGN + 20 for i in range(2)]
    return [0.0, widths[0], widths[0] + widths[1]]


def _table(rows: list[tuple[str, str, str]], y: float) -> Iterator[str]:
    offsets = _offsets(rows)
    yield f'<g transform="translate({MARGIN:.0f} {y:.0f})">'
    yield '<text class="head" x="0" y="14">the table of states</text>'
    for index, row in enumerate(rows):
        at = HEAD + index * LINE + 6
        if index and row[0] != rows[index - 1][0]:
            right = offsets[2] + max(len(r[2]) for r in rows) * SIGN
            yield f'<line class="rule" x1="0" y1="{at - 13:.1f}" x2="{right:.1f}" y2="{at - 13:.1f}"/>'
        for cell, x in zip(row, offsets, strict=True):
            role = "title" if index == 0 else "cell"
            yield f'<text class="{role}" x="{x:.1f}" y="{at:.1f}">{escape(cell)}</text>'
    yield "</g>"
