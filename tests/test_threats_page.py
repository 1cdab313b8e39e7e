"""`docs/threats.md` says what is so: each attack and requirement is there, and each test and section it names."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGE = (DOCS / "threats.md").read_text(encoding="utf-8")

ATTACKS = range(1, 121)

_APPLICABLE = """
1.1.1 1.2.1 1.2.2 1.2.4 1.2.9 1.3.2 1.3.3 1.3.7 1.3.11 1.5.2
2.1.1 2.1.3 2.2.1 2.2.2 2.2.3 2.3.1 2.3.2 2.3.3 2.3.4 2.4.1
3.2.1 3.3.1 3.3.2 3.3.3 3.3.4 3.4.1 3.4.2 3.4.3 3.4.4 3.4.5 3.4.6 3.5.1 3.5.2 3.5.3 3.7.2
4.1.1 4.1.3 4.2.1
6.1.1 6.1.2 6.1.3 6.2.1 6.2.2 6.2.3 6.2.4 6.2.5 6.2.6 6.2.7 6.2.8 6.2.9 6.2.10 6.2.11 6.2.12 6.3.1
6.3.2 6.3.3 6.3.4 6.4.1 6.4.2 6.4.3 6.4.4 6.5.1 6.5.2 6.5.3 6.5.4 6.5.5 6.6.2 6.6.3 6.8.1 6.8.2
6.8.4
7.1.1 7.1.2 7.1.3 7.2.1 7.2.2 7.2.3 7.2.4 7.3.1 7.3.2 7.4.1 7.4.2 7.4.3 7.4.4 7.4.5 7.5.1 7.5.2
7.6.1 7.6.2
8.1.1 8.1.2 8.2.1 8.2.2 8.2.3 8.3.1
9.1.1 9.1.2 9.1.3 9.2.1 9.2.2 9.2.3
10.1.1 10.1.2 10.2.1 10.5.1 10.5.2 10.5.4
11.2.2 11.4.2 11.5.1
12.2.1
13.2.1 13.3.1 13.4.2 13.4.5
14.2.1 14.2.2 14.3.1 14.3.2
15.1.2 15.1.3 15.2.1 15.2.2 15.2.3 15.3.1 15.3.3 15.3.4 15.3.5 15.3.7
16.1.1 16.2.1 16.2.2 16.2.5 16.3.1 16.3.2 16.3.3 16.3.4 16.4.1 16.5.1 16.5.2 16.5.3
"""
APPLICABLE = _APPLICABLE.split()
"""Requirements of levels 1 and 2 of ASVS 5.0.0 that apply to a login that keeps its own sessions."""

_LEVEL_3 = """
1.3.12 1.5.3
2.4.2
3.3.5 3.4.7 3.4.8 3.5.8
4.1.4 4.2.5
6.3.5 6.3.6 6.3.7 6.3.8 6.4.6 6.5.6 6.5.8
7.5.3
8.3.2
11.2.4
13.3.4 13.4.6
14.2.6
15.4.2 15.4.3
16.5.4
"""
LEVEL_3 = _LEVEL_3.split()
"""Those of level 3. They need not be held; those that are not are said to be so."""

TEST = re.compile(r"`([a-z0-9_/]+)::([a-z0-9_]+)`")
LINK = re.compile(r"\]\(([a-z_]+\.md)?(?:#([a-z0-9-]+))?\)")


def section(start: str, end: str) -> list[list[str]]:
    """Return the rows of the tables between two headings, the heads of the tables left out."""
    text = PAGE[PAGE.index(start) : PAGE.index(end)]
    rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line[:1] == "|"]
    return [row for row in rows if re.match(r"\|? ?\d", row[0])]


ATTACK_ROWS = section("\n## Attacks", "\n## ASVS 5.0.0")
REQUIREMENT_ROWS = section("\n## ASVS 5.0.0", "\n## What is not held")
NOT_HELD = PAGE[PAGE.index("\n## What is not held") :]


@functools.cache
def functions(file: str) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    path = ROOT / "tests" / f"{file}.py"
    assert path.exists(), f"there is no {path.relative_to(ROOT)}"
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {n.name: n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)}


@functools.cache
def anchors(page: str) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", (DOCS / page).read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^a-z0-9 _-]", "", head.lower()).replace(" ", "-") for head in heads}


def demand_evidence(text: str) -> None:
    tests, links = TEST.findall(text), LINK.findall(text)
    assert tests or links, "no evidence"
    for file, name in tests:
        function = functions(file).get(f"test_{name}")
        assert function is not None, f"{file}.py has no test_{name}"
        left_out = re.search(r"(?:mark\.|pytest\.)(?:skip|skipif|xfail)\b", ast.unparse(function))
        assert left_out is None, f"{name} is skipped, or expected to fail"
    for page, anchor in links:
        assert (DOCS / (page or "threats.md")).exists(), page
        assert not anchor or anchor in anchors(page or "threats.md"), f"{page} has no {anchor}"


def test_every_attack_is_there_once_and_in_order() -> None:
    assert [int(row[0]) for row in ATTACK_ROWS] == list(ATTACKS)


@pytest.mark.parametrize("row", ATTACK_ROWS, ids=lambda row: row[0])
def test_an_attack_is_held_by_something_that_a_test_shows(row: list[str]) -> None:
    _, attack, holds, shown = row

    assert attack.endswith(".")
    assert holds.endswith(".")
    assert TEST.search(shown), "no test"
    demand_evidence(shown)


def test_every_module_that_holds_something_exists() -> None:
    named = {name for row in ATTACK_ROWS for name in re.findall(r"`([a-z_/]+\.py)`", row[2])}

    assert len(named) >= 8
    for name in named:
        assert any((ROOT / room / name).exists() for room in ("authflow", "")), name


def test_every_applicable_requirement_is_there_once() -> None:
    found = [row[0] for row in REQUIREMENT_ROWS]

    assert len(found) == len(set(found))
    assert set(APPLICABLE) <= set(found)
    assert set(found) <= {*APPLICABLE, *LEVEL_3}


def test_what_of_level_3_is_not_held_is_said_so() -> None:
    held = {row[0] for row in REQUIREMENT_ROWS if row[1] == "3"}

    assert len(held) >= 0.8 * len(LEVEL_3)
    for number in set(LEVEL_3) - held:
        assert f"| {number} |" in NOT_HELD


@pytest.mark.parametrize("row", REQUIREMENT_ROWS, ids=lambda row: row[0])
def test_a_requirement_has_evidence(row: list[str]) -> None:
    number, level, short, evidence = row

    assert level == ("3" if number in LEVEL_3 else level)
    assert level in ("1", "2", "3")
    assert short
    demand_evidence(evidence)


def test_every_link_of_the_page_leads_somewhere() -> None:
    for page, anchor in LINK.findall(PAGE):
        assert (DOCS / (page or "threats.md")).exists(), page
        assert not anchor or anchor in anchors(page or "threats.md"), f"{page}#{anchor}"


@pytest.mark.parametrize(
    "evidence", ["`threats/test_skipped_step::that_there_is_not`", "[x](architecture.md#nowhere)", "nothing"]
)
def test_evidence_that_is_not_there_is_noticed(evidence: str) -> None:
    with pytest.raises(AssertionError):
        demand_evidence(evidence)
