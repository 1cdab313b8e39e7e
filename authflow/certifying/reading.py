"""What the source of a provider tells: texts and names that stand in it. Read, never run."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import suppress


def trees(cls: type) -> Iterator[ast.Module]:
    """Give the syntax of a class and of those it is made of, but for ours. Made without a file, it has none."""
    for one in cls.__mro__:
        if one is object or one.__module__.startswith("authflow."):
            continue
        with suppress(OSError, TypeError, SyntaxError):
            yield ast.parse(textwrap.dedent(inspect.getsource(one)))


def texts(cls: type) -> set[str]:
    """Return the texts that stand in a class: a word that always works would be one of them."""
    values = [node.value for tree in trees(cls) for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    return {text for text in values if isinstance(text, str) and 3 <= len(text) <= 64 and "\n" not in text}


def names_read(cls: type) -> set[str]:
    """Return the names that a class may read from a submission: `.get("name")` and `["name"]` of anything."""
    found: set[str] = set()
    for tree in trees(cls):
        for node in ast.walk(tree):
            argument: ast.expr | None = None
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "get" and node.args:
                argument = node.args[0]
            elif isinstance(node, ast.Subscript):
                argument = node.slice
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                found.add(argument.value)
    return {name for name in found if name.isidentifier() and len(name) <= 50}


def reasons(cls: type) -> set[str]:
    """Return the reasons that stand in a class as `Rejected("...")`."""
    found: set[str] = set()
    for tree in trees(cls):
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "Rejected":
                first = next((k.value for k in node.keywords if k.arg == "reason"), node.args[0] if node.args else None)
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    found.add(first.value)
    return found
