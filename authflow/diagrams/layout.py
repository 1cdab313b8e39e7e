"""Where the parts of a drawing lie: columns from left to right, in each as little crossing as sorting once can do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from textwrap import wrap

from authflow.diagrams.graph import Arrow, Drawing, EndNode, StepNode
from authflow.diagrams.words import any_of, end_title, step_notes, step_title

LINE = 18.0
"""Height of a line of text."""
SIGN = 7.3
"""Width of a sign of the monospaced face at 12 pixels, with some room: faces differ."""
PADDING = 12.0
GAP = 26.0
BETWEEN = 84.0
DOT = 7.0
_WIDEST = 40


@dataclass(frozen=True, slots=True)
class Line:
    """A line of text in a box.

    Attributes:
        role: `title`, `note`, `answers` or `row`.
        port: Number of the arrow that leaves beside it, or -1.
    """

    text: str
    role: str
    port: int = -1


@dataclass(slots=True)
class Box:
    """A step, an end, the beginning, or (without lines) a lane by which an arrow passes a column."""

    id: str
    role: str
    lines: tuple[Line, ...] = ()
    x: float = 0.0
    y: float = 0.0
    width: float = 0.0
    height: float = 0.0

    @property
    def middle(self) -> float:
        return self.y + self.height / 2

    def port(self, number: int) -> float:
        """Return the height at which an arrow leaves."""
        for index, line in enumerate(self.lines):
            if line.port == number:
                return self.y + PADDING + (index + 0.5) * LINE
        return self.middle


@dataclass(frozen=True, slots=True)
class Path:
    """An arrow as it is drawn: through these points, level at each of them.

    Attributes:
        role: Of the box that it leads to.
    """

    role: str
    points: tuple[tuple[float, float], ...]


@dataclass(slots=True)
class Layout:
    """A drawing with its places."""

    boxes: list[Box]
    arrows: list[Path] = field(default_factory=list)
    width: float = 0.0
    height: float = 0.0


@dataclass(frozen=True, slots=True)
class _Link:
    source: str
    port: int
    target: str


def lay_out(drawing: Drawing, label: Callable[[str], str]) -> Layout:
    """Give every part of a drawing its place; the upper left corner is at the origin.

    Args:
        label: What people read for a provider.
    """
    start = _begin(drawing)
    steps = (_step_box(step, label) for step in drawing.steps)
    boxes = {box.id: box for box in (start, *steps, *map(_end_box, drawing.ends))}
    links = [_Link(start.id, n, arrow.target) for n, arrow in enumerate(drawing.entries)]
    links += [_Link(step.id, n, arrow.target) for step in drawing.steps for n, arrow in enumerate(step.arrows)]
    columns = _columns(drawing, links)
    lanes = {
        (link.source, link.port, n): Box(f"lane {link.source} {link.port} {n}", "lane", height=LINE / 2)
        for link in links
        for n in range(columns[link.source] + 1, columns[link.target])
    }
    count = max(columns.values()) + 1
    placed: list[list[Box]] = []
    x = 0.0
    for number in range(count):
        column = [box for name, box in boxes.items() if columns[name] == number]
        column += [lane for (_, _, n), lane in lanes.items() if n == number]
        column.sort(key=lambda box: _pull(box, links, boxes, lanes, columns))
        x = _stack(column, x)
        placed.append(column)
    everything = [box for column in placed for box in column]
    top = min(box.y for box in everything)
    for box in everything:
        box.y -= top
    found = Layout([box for box in everything if box.role != "lane"])
    found.arrows = [_drawn(link, boxes, lanes, columns) for link in links]
    found.width = x - BETWEEN
    found.height = max(box.y + box.height for box in everything)
    return found


def _columns(drawing: Drawing, links: Sequence[_Link]) -> dict[str, int]:
    """Return the column of each box: steps by their longest way from the beginning, all ends in the last one."""
    columns = {"start": 0, **{step.id: 1 for step in drawing.steps}}
    ends = {end.id for end in drawing.ends}
    for _ in drawing.steps:
        for link in links:
            if link.target not in ends:
                columns[link.target] = max(columns[link.target], columns[link.source] + 1)
    last = max(columns.values()) + 1
    return columns | dict.fromkeys(sorted(ends), last)


def _pull(
    box: Box,
    links: Sequence[_Link],
    boxes: dict[str, Box],
    lanes: dict[tuple[str, int, int], Box],
    columns: dict[str, int],
) -> float:
    """Return the mean height of what leads to a box from the column before it."""
    heights = []
    for link in links:
        through = [lanes[link.source, link.port, n] for n in range(columns[link.source] + 1, columns[link.target])]
        chain = [boxes[link.source], *through, boxes[link.target]]
        for before, here in pairwise(chain):
            if here is box:
                heights.append(before.port(link.port) if before.role != "lane" else before.middle)
    return sum(heights) / len(heights) if heights else 0.0


def _stack(column: Sequence[Box], x: float) -> float:
    """Put a column's boxes one below the other, around the height zero; return where the next column begins."""
    width = max(box.width for box in column)
    y = -(sum(box.height for box in column) + GAP * (len(column) - 1)) / 2
    for box in column:
        box.x, box.y = x, y
        if box.role in ("lane", "step", "begins"):
            box.width = width
        y += box.height + GAP
    return x + width + BETWEEN


def _drawn(link: _Link, boxes: dict[str, Box], lanes: dict[tuple[str, int, int], Box], columns: dict[str, int]) -> Path:
    source, target = boxes[link.source], boxes[link.target]
    points = [(source.x + source.width, source.port(link.port))]
    for number in range(columns[link.source] + 1, columns[link.target]):
        lane = lanes[link.source, link.port, number]
        points += [(lane.x, lane.middle), (lane.x + lane.width, lane.middle)]
    return Path(target.role, (*points, (target.x, target.middle)))


# --- Boxes ------------------------------------------------------------------------------------------------------------


def _begin(drawing: Drawing) -> Box:
    if len(drawing.entries) == 1 and not drawing.entries[0].condition:
        return Box("start", "dot", width=2 * DOT, height=2 * DOT)
    lines = [Line("begins", "title"), *_rows(drawing.entries)]
    return _sized(Box("start", "begins", tuple(lines)))


def _step_box(step: StepNode, label: Callable[[str], str]) -> Box:
    lines = [Line(text, "title") for text in wrap(step_title(step), _WIDEST)]
    lines += [Line(text, "note") for note in step_notes(step, label) for text in wrap(note, _WIDEST)]
    number = 0
    for answers, group in groupby(step.arrows, key=lambda arrow: arrow.answers):
        arrows = list(group)
        said = wrap(any_of(answers), _WIDEST)
        if len(arrows) == 1 and not arrows[0].condition:
            lines += [Line(text, "answers") for text in said[:-1]] + [Line(said[-1], "answers", number)]
        else:
            lines += [Line(text, "answers") for text in said]
            lines += _rows(arrows, number)
        number += len(arrows)
    return _sized(Box(step.id, "step", tuple(lines)))


def _end_box(end: EndNode) -> Box:
    role = end.state or "fault"
    return _sized(Box(end.id, role, tuple(Line(text, "title") for text in wrap(end_title(end), _WIDEST))))


def _rows(arrows: Sequence[Arrow], first: int = 0) -> list[Line]:
    lines = []
    for number, arrow in enumerate(arrows, first):
        *before, last = wrap(arrow.condition or "any account", _WIDEST)
        lines += [Line(text, "row") for text in before] + [Line(last, "row", number)]
    return lines


def _sized(box: Box) -> Box:
    indent = {"row": 14.0}
    box.width = max(len(line.text) * SIGN + indent.get(line.role, 0.0) for line in box.lines) + 2 * PADDING
    box.height = len(box.lines) * LINE + 2 * PADDING
    return box
