"""Mutants of the table, the policy, the gates and the hooks: one small change each, put into force and explored.

A mutant is the code of one function with one thing changed: a comparison, a condition, a constant, a dropped statement.
It takes the place of the function's own code, so that everything that is served runs it; nothing is written anywhere.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import inspect
import json
import random
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, ModuleType

from authflow import flow, gates, policy, user
from authflow.apart import apart
from authflow.assembly import Application
from authflow.flow import FlowKind, FlowState, StepKind
from authflow.model import Factor
from authflow.proving.proof import explore
from authflow.proving.rehearsal import rehearsal
from authflow.proving.report import Report
from authflow.settings import Settings
from tests.proving.kit import GOOGLE

EQUIVALENT = Path(__file__).parent / "equivalent_mutants.json"
HOOKS = (
    "remaining_steps", "advance", "continue_authentication_flow", "second_factor_succeeded", "authenticate_user",
    "is_active", "demands_second_factor", "standing", "owed_after", "definition",
)  # fmt: skip
_COMPARISONS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_MEMBERS = {member.name: kind.__name__ for kind in (FlowState, StepKind, Factor, FlowKind) for member in kind}
_OTHERS = {kind.__name__: [m.name for m in kind] for kind in (FlowState, StepKind, Factor, FlowKind)}


class Found(BaseException):
    """Something does not hold: no need to look further."""


class Impatient(Report):
    """A report that ends the exploration with the first thing that it hears of."""

    def violated(self, invariant: str, detail: str, about: str, path: tuple[str, ...] = ()) -> None:
        raise Found(invariant)


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        name: Where and what; stable as long as the code that it changes is.
    """

    name: str
    apply: Callable[[], contextlib.AbstractContextManager[None]] = field(repr=False)


@dataclass
class Outcome:
    """What became of the mutants that were tried."""

    killed: dict[str, str] = field(default_factory=dict)
    survivors: list[str] = field(default_factory=list)

    def rate(self, equivalent: dict[str, str]) -> float:
        """Return how many of those that change anything were found."""
        others = [name for name in self.survivors if name not in equivalent]
        return len(self.killed) / max(1, len(self.killed) + len(others))


def equivalent() -> dict[str, str]:
    """Return the mutants that change nothing that can happen, each with the reason."""
    return dict(json.loads(EQUIVALENT.read_text(encoding="utf-8")))


# --- Trying them ------------------------------------------------------------------------------------------------------


def applications() -> list[tuple[Application, str]]:
    """Return what is explored: the stock application with Google, and the rehearsal."""
    stock = apart(Settings(provider_environment=GOOGLE))
    wide = apart(Settings(), rehearsal(None))
    return [(wide, "rehearsal"), (stock, "")]


def tried(mutants: list[Mutant], told: Callable[[int], None] = lambda done: None) -> Outcome:
    """Try mutants, each on all kinds of flow until something does not hold."""
    outcome, apps = Outcome(), applications()
    try:
        for number, mutant in enumerate(mutants):
            with mutant.apply():
                found = _killed_by(apps)
            if found is None:
                outcome.survivors.append(mutant.name)
            else:
                outcome.killed[mutant.name] = found
            told(number + 1)
    finally:
        for app, _ in apps:
            app.services.pool.close()
    return outcome


def _killed_by(apps: list[tuple[Application, str]]) -> str | None:
    for app, configuration in apps:
        for kind in FlowKind:
            try:
                explore(app, Impatient(), (kind,), configuration, lambda text: None)
            except Found as found:
                return str(found)
            except Exception as error:
                # Whoever runs the command sees a fault: not a proof, in any case.
                return f"a fault: {type(error).__name__}"
    return None


# --- Making them ------------------------------------------------------------------------------------------------------


def all_mutants() -> list[Mutant]:
    """Return every mutant there is, in a stable order."""
    made = [*_of_table(), *_of_module(flow), *_of_module(policy)]
    made += [*_of_module(gates), *_of_module(user, HOOKS)]
    return list({mutant.name: mutant for mutant in made}.values())


def sample(count: int, seed: int) -> list[Mutant]:
    """Return so many of them, by chance."""
    everything = all_mutants()
    return random.Random(seed).sample(everything, min(count, len(everything)))


def _of_table() -> Iterator[Mutant]:
    table = flow.TRANSITIONS
    events = sorted({event for row in table.values() for event in row}, key=lambda event: event.__name__)
    for state in FlowState:
        for event in events:
            allowed = table[state].get(event, frozenset())
            for target in FlowState:
                changed = allowed ^ {target}
                sign = "-" if target in allowed else "+"
                row = {**table[state], event: changed}
                if not changed:
                    del row[event]
                name = f"TRANSITIONS[{state}][{event.__name__}] {sign} {target}"
                yield Mutant(name, _setting(flow, "TRANSITIONS", {**table, state: row}))
        without = {other: row for other, row in table.items() if other is not state}
        yield Mutant(f"TRANSITIONS without {state}", _setting(flow, "TRANSITIONS", without))


def _of_module(module: ModuleType, only: tuple[str, ...] = ()) -> Iterator[Mutant]:
    tree = ast.parse(inspect.getsource(module))
    for owner, function in _functions(tree):
        if only and function.name not in only:
            continue
        path = f"{owner}.{function.name}" if owner else function.name
        target = _resolve(module, path)
        if target is None:
            continue
        seen: dict[str, int] = {}
        for told, changed in _changes(function):
            seen[told] = seen.get(told, 0) + 1
            count = f" ({seen[told]})" if seen[told] > 1 else ""
            code = _code(module, tree, owner, function, changed)
            if code is not None and code.co_freevars == target.__code__.co_freevars:
                name = f"{module.__name__.rpartition('.')[2]}.{path}: {told}{count}"
                yield Mutant(name, _swapping(target, code))


def _functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield "", node
        elif isinstance(node, ast.ClassDef):
            for part in node.body:
                if isinstance(part, ast.FunctionDef):
                    yield node.name, part


def _resolve(module: ModuleType, path: str) -> types.FunctionType | None:
    owner, _, name = path.rpartition(".")
    holder = getattr(module, owner) if owner else module
    found = inspect.getattr_static(holder, name)
    if isinstance(found, property):
        found = found.fget
    if isinstance(found, classmethod | staticmethod):
        found = found.__func__
    return found if isinstance(found, types.FunctionType) else None


def _code(module: ModuleType, tree: ast.Module, owner: str, function: ast.FunctionDef, changed: ast.FunctionDef
          ) -> CodeType | None:  # fmt: skip
    mutated = copy.deepcopy(changed)
    mutated.decorator_list = []
    body: list[ast.stmt] = [mutated]
    if owner:
        body = [ast.ClassDef(owner, [], [], body, [])]
    future = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
    whole = ast.fix_missing_locations(ast.Module([*future, *body], []))
    try:
        return _found(compile(whole, module.__file__ or "", "exec"), function.name)
    except (SyntaxError, ValueError):
        return None


def _found(code: CodeType, name: str) -> CodeType | None:
    for part in code.co_consts:
        if isinstance(part, CodeType):
            if part.co_name == name:
                return part
            deeper = _found(part, name)
            if deeper is not None:
                return deeper
    return None


def _changes(function: ast.FunctionDef) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Return every change of one node, as what it says and the changed function."""
    nodes = list(_mutable(function))
    for index, node in enumerate(nodes):
        for number, _ in enumerate(_instead(node)):
            changed = copy.deepcopy(function)
            twin = list(_mutable(changed))[index]
            new = list(_instead(twin))[number]
            told = f"{_text(node)} -> {_text(new)}"
            _Putting(twin, new).visit(changed)
            yield told, changed


def _mutable(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """Return what may be changed: not annotations, not docstrings, and not what an error or a note says."""
    waiting: list[ast.AST] = [*function.body]
    if isinstance(function.body[0], ast.Expr) and isinstance(function.body[0].value, ast.Constant):
        waiting = waiting[1:]
    while waiting:
        node = waiting.pop(0)
        yield node
        if isinstance(node, ast.Raise | ast.JoinedStr):
            continue
        parts = list(ast.iter_child_nodes(node))
        if isinstance(node, ast.AnnAssign):
            parts = [node.value] if node.value else []
        waiting += parts


def _instead(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(left, [operator], [right]):
            yield ast.Compare(left, [_COMPARISONS[type(operator)]()], [right])
        case ast.BoolOp(operator, values):
            yield ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)
            for value in values:
                rest = [other for other in values if other is not value]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(operator, rest)
        case ast.If(test, body, orelse) | ast.IfExp(test, body, orelse):  # type: ignore[misc]
            for condition in (ast.UnaryOp(ast.Not(), test), ast.Constant(True), ast.Constant(False)):
                yield type(node)(condition, body, orelse)
        case ast.Raise() | ast.AugAssign():
            yield ast.Pass()
        case ast.Return(value) if value is not None:
            match value:
                case ast.Call(ast.Name("Refusal" | "Owing" as verdict), arguments):
                    if arguments:
                        yield ast.Return(ast.parse("Owing(())", mode="eval").body)
                    if verdict == "Owing":
                        yield ast.Return(ast.parse("Refusal('mutant')", mode="eval").body)
        case ast.Expr(ast.Call()):
            yield ast.Pass()
        case ast.Constant(bool() as value):
            yield ast.Constant(not value)
        case ast.Constant(int() as value):
            yield ast.Constant(value + 1)
            yield ast.Constant(value - 1)
        case ast.Constant(""):
            yield ast.Constant("mutant")
        case ast.Attribute(base, name) if name in _MEMBERS and isinstance(base, ast.Name):
            for other in _OTHERS[_MEMBERS[name]]:
                if other != name:
                    yield ast.Attribute(base, other, node.ctx)
        case ast.Call(function, arguments, keywords):
            for keyword in keywords:
                rest = [other for other in keywords if other is not keyword]
                yield ast.Call(function, arguments, rest)
        case ast.Dict(keys, values) if len(keys) > 1:
            for index in range(len(keys)):
                yield ast.Dict(keys[:index] + keys[index + 1 :], values[:index] + values[index + 1 :])
        case ast.BinOp(left, ast.Add(), right):
            yield ast.BinOp(left, ast.Sub(), right)
            yield left
        case ast.UnaryOp(ast.Not(), operand):
            yield operand
        case ast.Tuple(elts) if len(elts) > 1 and isinstance(node.ctx, ast.Load):
            for index in range(len(elts)):
                yield ast.Tuple(elts[:index] + elts[index + 1 :], ast.Load())


class _Putting(ast.NodeTransformer):
    def __init__(self, old: ast.AST, new: ast.AST) -> None:
        self._old, self._new = old, new

    def visit(self, node: ast.AST) -> ast.AST:
        return self._new if node is self._old else self.generic_visit(node)


def _text(node: ast.AST) -> str:
    text = ast.unparse(ast.fix_missing_locations(copy.deepcopy(node)))
    return " ".join(text.split())[:160]


# --- Putting them into force ------------------------------------------------------------------------------------------


def _setting(module: ModuleType, name: str, value: object) -> Callable[[], contextlib.AbstractContextManager[None]]:
    @contextlib.contextmanager
    def applied() -> Iterator[None]:
        before = getattr(module, name)
        setattr(module, name, value)
        try:
            yield
        finally:
            setattr(module, name, before)

    return applied


def _swapping(function: types.FunctionType, code: CodeType) -> Callable[[], contextlib.AbstractContextManager[None]]:
    @contextlib.contextmanager
    def applied() -> Iterator[None]:
        before = function.__code__
        function.__code__ = code
        try:
            yield
        finally:
            function.__code__ = before

    return applied


def main(count: int, seed: int) -> int:
    """Try mutants and print what became of them. Returns 1 where one survives that is not known to change nothing."""
    import time

    chosen, began = sample(count, seed), time.monotonic()

    def told(done: int) -> None:
        if done % 50 == 0:
            left = (time.monotonic() - began) / done * (len(chosen) - done)
            print(f"{done} of {len(chosen)}, {left:.0f} s left", file=sys.stderr, flush=True)

    outcome, known = tried(chosen, told), equivalent()
    unexplained = [name for name in outcome.survivors if name not in known]
    for name in unexplained:
        print(f"survived: {name}")
    print(
        f"{len(chosen)} of {len(all_mutants())} mutants, seed {seed}: {len(outcome.killed)} found, "
        f"{len(outcome.survivors) - len(unexplained)} that change nothing, {len(unexplained)} not found; "
        f"{outcome.rate(known):.1%} of those that change anything; {time.monotonic() - began:.0f} s"
    )
    return 1 if unexplained else 0
