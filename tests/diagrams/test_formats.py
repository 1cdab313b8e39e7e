"""Every form of a drawing is well-formed, complete, and fit to be read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from authflow.diagrams.dot import dot
from authflow.diagrams.layout import lay_out
from authflow.diagrams.mermaid import mermaid
from authflow.diagrams.sheet import Sheet
from authflow.diagrams.svg import svg
from authflow.diagrams.text import WIDTH, text
from authflow.flow import FlowKind
from authflow.user import User
from providers.time_based_otp import TimeBasedOTP
from tests.browser.conftest import chromium  # noqa: F401 - a fixture
from tests.diagrams.kit import Demanding, drawn

SVG = "{http://www.w3.org/2000/svg}"


class Hostile(User):
    class Named(TimeBasedOTP):
        label = 'An "odd" <b>label</b> & more # `x` \\ ' + "very long " * 12

    second_factor_providers = (Named, "providers.recovery_codes:RecoveryCodes")


@pytest.fixture(scope="module", params=[User, Demanding, Hostile], ids=["stock", "demanding", "hostile"])
def sheet(request: pytest.FixtureRequest) -> Sheet:
    return drawn(request.param())


def nodes(sheet: Sheet) -> set[str]:
    found = {f"state_{name}" for state, _, targets in sheet.transitions for name in (state, *targets)}
    for flow in sheet.flows:
        kind = flow.kind.value
        if flow.drawing is None:
            found.add(f"{kind}_closed")
            continue
        found |= {f"{kind}_start", *(f"{kind}_{n.id}" for n in (*flow.drawing.steps, *flow.drawing.ends))}
    return found


# --- Text -------------------------------------------------------------------------------------------------------------


def test_text_fits_a_terminal(sheet: Sheet) -> None:
    lines = text(sheet).splitlines()
    labels = [line.label for line in sheet.providers]

    assert [line for line in lines if len(line) > WIDTH and not any(label in line for label in labels)] == []
    assert [line for line in lines if line != line.rstrip()] == []


def test_text_names_every_kind_step_and_end(sheet: Sheet) -> None:
    shown = text(sheet)

    for flow in sheet.flows:
        assert f"{flow.kind.value}: {flow.goal}\n" in shown
        for step in flow.drawing.steps if flow.drawing else ():
            assert re.search(rf"^  {step.id}  ", shown, re.M)
        for end in flow.drawing.ends if flow.drawing else ():
            assert f"-> {end.words}\n" in shown


# --- Mermaid ----------------------------------------------------------------------------------------------------------


def test_mermaid_declares_every_node_once_and_links_no_other(sheet: Sheet) -> None:
    lines = mermaid(sheet).splitlines()
    declared = [found[1] for line in lines if (found := re.match(r"    (\w+)(?:\[|\(\[|\(\()\"", line))]
    links = [found.groups() for line in lines if (found := re.match(r"    (\w+) -->(?:\|\".*\"\|)? (\w+)$", line))]

    assert lines[0] == "flowchart TD"
    assert len(declared) == len(set(declared))
    assert set(declared) == nodes(sheet)
    assert links
    assert {name for link in links for name in link} <= set(declared)
    assert sum(line.startswith("  subgraph ") for line in lines) == sum(line == "  end" for line in lines)
    assert len(lines) == 1 + len(declared) + len(links) + 2 * sum(line == "  end" for line in lines)


def test_mermaid_puts_no_label_in_a_position_to_end_its_quotes(sheet: Sheet) -> None:
    for line in mermaid(sheet).splitlines():
        assert line.count('"') in (0, 2), line
        quoted = line.partition('"')[2].rpartition('"')[0].replace("<br>", "")
        assert not set(quoted) & set('<>"`'), line


# --- DOT --------------------------------------------------------------------------------------------------------------

TOKEN = re.compile(r'\s*(->|[{}\[\];,=]|"(?:[^"\\]|\\.)*"|[A-Za-z_]\w*|-?\d+(?:\.\d+)?)')


class Dot:
    """Reads the part of the DOT language that graphs of ours use, by its grammar. What is not of it raises."""

    def __init__(self, source: str) -> None:
        self.tokens = list(self._tokens(source))
        self.nodes: set[str] = set()
        self.links: list[tuple[str, str]] = []
        self._take("digraph")
        self._take()
        self._take("{")
        self._statements()
        assert self.tokens == [], "something follows the graph"

    def _tokens(self, source: str) -> Iterator[str]:
        at = 0
        while source[at:].strip():
            found = TOKEN.match(source, at)
            assert found, f"no token: {source[at : at + 40]!r}"
            yield found[1]
            at = found.end()

    def _take(self, expected: str = "") -> str:
        token = self.tokens.pop(0)
        assert not expected or token == expected, f"{token!r} instead of {expected!r}"
        return token

    def _statements(self) -> None:
        while self.tokens[0] != "}":
            name = self._take()
            if name == "subgraph":
                self._take()
                self._take("{")
                self._statements()
                continue
            if self.tokens[0] == "=":
                self._take("=")
                self._take()
            elif self.tokens[0] == "->":
                self._take("->")
                self.links.append((name, self._take()))
                self._attributes()
            else:
                self._attributes()
                if name not in ("graph", "node", "edge"):
                    assert name not in self.nodes
                    self.nodes.add(name)
            self._take(";")
        self._take("}")

    def _attributes(self) -> None:
        if self.tokens[0] != "[":
            return
        self._take("[")
        while True:
            assert re.fullmatch(r"[a-z]+", self._take())
            self._take("=")
            self._take()
            if self._take() == "]":
                return


def test_dot_is_of_its_grammar_and_links_declared_nodes_alone(sheet: Sheet) -> None:
    read = Dot(dot(sheet))

    assert read.nodes == nodes(sheet)
    assert {name for link in read.links for name in link} <= read.nodes


def test_the_reader_of_dot_refuses_what_is_broken() -> None:
    whole = dot(drawn())

    for broken in (whole[:-3], whole.replace('"];', "];", 1), whole.replace("->", "-", 1), whole + "}"):
        with pytest.raises((AssertionError, IndexError)):
            Dot(broken)


# --- SVG --------------------------------------------------------------------------------------------------------------


def test_svg_is_valid_and_tells_what_it_shows(sheet: Sheet) -> None:
    root = ElementTree.fromstring(svg(sheet))

    assert root.tag == f"{SVG}svg"
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "title desc"
    assert root.find(f"{SVG}title[@id='title']").text.startswith(f"Flows of {sheet.user}")
    assert root.find(f"{SVG}desc[@id='desc']").text == text(sheet)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} == {
        "svg", "title", "desc", "style", "g", "rect", "text", "path", "circle", "line",
    }  # fmt: skip
    assert not any("href" in name for element in root.iter() for name in element.attrib)


def test_svg_has_colours_for_light_and_dark() -> None:
    style = ElementTree.fromstring(svg(drawn())).find(f"{SVG}style").text
    light, _, dark = style.partition("prefers-color-scheme: dark")

    names = set(re.findall(r"var\((--\w+)\)", style))
    assert names
    for name in names:
        assert re.findall(rf"{name}: (#\w{{6}})", light) != re.findall(rf"{name}: (#\w{{6}})", dark)


def test_no_two_boxes_overlap_and_no_arrow_runs_backwards(sheet: Sheet) -> None:
    for flow in sheet.flows:
        if flow.drawing is None:
            continue
        layout = lay_out(flow.drawing, sheet.label)
        for n, one in enumerate(layout.boxes):
            assert one.x >= 0
            assert one.x + one.width <= layout.width + 0.01
            assert one.y + one.height <= layout.height + 0.01
            for other in layout.boxes[n + 1 :]:
                beside = one.x + one.width <= other.x or other.x + other.width <= one.x
                assert beside or one.y + one.height <= other.y or other.y + other.height <= one.y
        for arrow in layout.arrows:
            xs = [x for x, _ in arrow.points]
            assert xs == sorted(xs)
        boxes = {(box.x, box.middle) for box in layout.boxes}
        assert all(arrow.points[-1] in boxes for arrow in layout.arrows)
        arrows = len(flow.drawing.entries) + sum(len(step.arrows) for step in flow.drawing.steps)
        assert len(layout.arrows) == arrows


@pytest.mark.browser
def test_no_text_runs_out_of_its_box_in_a_browser(chromium, tmp_path: Path) -> None:  # noqa: F811
    file = tmp_path / "flows.svg"
    file.write_text(svg(drawn(Demanding())), encoding="utf-8")
    page = chromium.new_page()

    page.goto(file.as_uri())
    outside = page.evaluate("""() => {
        const bad = [];
        let box = null;
        for (const element of document.querySelectorAll('rect.box, text')) {
            if (element.tagName === 'rect') { box = element.getBBox(); continue; }
            const own = element.getBBox();
            const is_in_box = ['title', 'note', 'answers', 'row'].includes(element.getAttribute('class'));
            if (!is_in_box || !box || !element.previousElementSibling) continue;
            if (element.getAttribute('class') === 'title' && element.parentNode.querySelector('.head')) continue;
            if (own.x < box.x || own.x + own.width > box.x + box.width || own.y < box.y ||
                own.y + own.height > box.y + box.height) bad.push(element.textContent);
        }
        return bad;
    }""")
    drawn_boxes = page.locator("rect.box").count()
    page.close()

    assert drawn_boxes > 20
    assert outside == []


@pytest.mark.parametrize("kind", list(FlowKind))
def test_one_kind_can_be_drawn_alone(kind: FlowKind) -> None:
    alone = drawn(kinds=[kind])

    assert [flow.kind for flow in alone.flows] == [kind]
    for written in (text(alone, with_table=False), mermaid(alone, with_table=False), svg(alone, with_table=False)):
        assert "StepCompleted" not in written
