"""Rules that the code keeps: nothing typed is carried out, guessed from a weak source, or compared by its time."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import authflow
import providers

ROOT = Path(__file__).resolve().parents[2]
TOOLS = {"testing", "certifying", "proving", "diagrams"}
"""Rooms that serve nobody: they look at the rest, with made-up secrets."""

SOURCES = sorted(
    path for room in ("authflow", "providers") for path in (ROOT / room).rglob("*.py") if TOOLS.isdisjoint(path.parts)
)
TREES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}


def nodes(kind: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    for name, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, kind):
                yield name, node


def imported() -> Iterator[tuple[str, str]]:
    for name, node in nodes(ast.AST):
        if isinstance(node, ast.Import):
            yield from ((name, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield name, node.module.partition(".")[0]


def test_the_sources_are_found() -> None:
    assert len(TREES) > 100
    assert {"authflow/flow.py", "providers/time_based_otp.py"} <= set(TREES)


def test_no_text_is_carried_out() -> None:
    carried_out = {"eval", "exec", "compile", "__import__"}
    found = [
        (name, node.func.id)
        for name, node in nodes(ast.Call)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in carried_out
    ]

    assert found == []


def test_nothing_is_unpickled() -> None:
    unsafe = {"pickle", "marshal", "shelve", "dill", "yaml", "jsonpickle"}

    assert [(name, module) for name, module in imported() if module in unsafe] == []


def test_no_template_is_made_of_a_text() -> None:
    made = {
        (name, node.attr)
        for name, node in nodes(ast.Attribute)
        if isinstance(node, ast.Attribute) and node.attr in ("from_string", "Template")
    }
    # Google's reader of certificates has a method of that name.
    assert {name for name, _ in made} <= {"authflow/id_tokens.py"}
    assert [name for name, module in imported() if module == "jinja2" and name != "authflow/render.py"] == []


def test_no_page_switches_escaping_off() -> None:
    pages = sorted((ROOT / "templates").rglob("*.html"))

    assert len(pages) > 30
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"\|\s*safe\b|autoescape\s+false", text), page


def test_no_pattern_is_made_of_what_was_typed() -> None:
    functions = {"compile", "match", "search", "fullmatch", "sub", "subn", "split", "findall", "finditer"}
    made: list[tuple[str, str]] = []
    for name, node in nodes(ast.Call):
        assert isinstance(node, ast.Call)
        is_of_re = (
            isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "re"
            and node.func.attr in functions
        )
        if not is_of_re:
            continue
        pattern = node.args[0]
        used = [part.id for part in ast.walk(pattern) if isinstance(part, ast.Name)]
        # Constants of the module are written in capitals.
        made += [(name, variable) for variable in used if variable not in ("re", variable.upper())]

    # The names of our own cookies, which the settings decide.
    assert [found for found in made if found != ("authflow/web/cookies.py", "names")] == []


def test_randomness_comes_from_the_system_alone() -> None:
    waits = {"authflow/changes.py", "authflow/store/datastore_calls.py"}

    assert {name for name, module in imported() if module == "random"} <= waits
    assert {name for name, module in imported() if module == "secrets"} >= {"authflow/tokens.py"}


def test_digests_are_compared_in_constant_time() -> None:
    secret = re.compile(r"(?:^|_)(?:mac|macs|hmac|signature|static_key|secret|code|otp|password)$")
    found = []
    for name, node in nodes(ast.Compare):
        assert isinstance(node, ast.Compare)
        if not any(isinstance(operator, ast.Eq | ast.NotEq) for operator in node.ops):
            continue
        sides = [node.left, *node.comparators]
        named = [side.id for side in sides if isinstance(side, ast.Name)]
        named += [side.attr for side in sides if isinstance(side, ast.Attribute)]
        is_of_two = all(isinstance(side, ast.Name | ast.Attribute | ast.Call) for side in sides)
        found += [(name, node.lineno, word) for word in named if is_of_two and secret.search(word)]

    allowed = {"code"}  # Reason codes and error codes are no secrets.
    assert [one for one in found if one[2] not in allowed] == []


def patterns() -> dict[str, re.Pattern]:
    found = {}
    for package in (authflow, providers):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not TOOLS.isdisjoint(module.name.split(".")) or module.name.endswith("__main__"):
                continue
            held = vars(importlib.import_module(module.name))
            found |= {f"{module.name}.{name}": v for name, v in held.items() if isinstance(v, re.Pattern)}
    return found


PATTERNS = patterns()
ODD = [
    unit * (6000 // len(unit)) + end
    for unit in ("a", "0", " ", ".", "-", "_", "a.", "a-", "=?", "%41", "a@", '"', "\\", ";", "a=", "/", "\t ", "[:")
    for end in ("", "!", "\n", "\0")
]


def test_the_patterns_are_found() -> None:
    assert len(PATTERNS) > 25


@pytest.mark.parametrize("name", sorted(PATTERNS))
def test_no_pattern_takes_long(name: str) -> None:
    pattern = PATTERNS[name]
    texts = [text.encode() for text in ODD] if isinstance(pattern.pattern, bytes) else ODD

    began = time.process_time()
    for text in texts:
        pattern.fullmatch(text)
        pattern.match(text)

    # 72 texts of 6,000 characters: microseconds each, or a pattern that goes back over itself.
    assert time.process_time() - began < 1
