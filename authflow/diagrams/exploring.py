"""What can happen in the flows of an application, found by sending every case of account through what serves.

`User.remaining_steps`, `User.advance` and `flow.start` are called as the engine calls them; what they answer is what is
drawn. Points of a flow that look the same and lead to the same become one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ParamSpec, TypeAlias

from authflow.diagrams.around import around
from authflow.diagrams.cases import Case, Cases, cases
from authflow.diagrams.graph import Arrow, Drawing, EndNode, StepNode
from authflow.diagrams.walking import WITH_STANDING, Walk
from authflow.errors import AuthflowError
from authflow.flow import SESSION_KINDS, Flow, FlowKind, FlowState, StepKind
from authflow.policy import reached_level
from authflow.user import User

MOST_STEPS = 8
"""A flow that goes on longer is drawn as one that does not end."""

P = ParamSpec("P")
_View: TypeAlias = tuple[str, ...]
"""What a flow looks like from outside: an owed step, or an end."""
_Flows: TypeAlias = Mapping[Case, "Flow | str"]


@dataclass(slots=True)
class _Node:
    view: _View
    leads: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    """By provider: conditions, and the nodes that they lead to."""
    substitutes: tuple[str, ...] = ()
    around: tuple[tuple[str, str], ...] = ()


def draw(user: User, kind: FlowKind) -> Drawing:
    """Find out what can happen in flows of one kind.

    Args:
        user: Of a built application: its registry is asked.

    Raises:
        BadInput: There are more second factors than a drawing could show.
    """
    found = cases(user, user.registry.rules, kind)
    return _Explorer(user, kind, found).drawing()


class _Explorer:
    def __init__(self, user: User, kind: FlowKind, found: Cases) -> None:
        self._user, self._kind, self._cases = user, kind, found
        self._walk = Walk(user, kind)
        self._nodes: list[_Node] = []
        self._known: dict[object, int] = {}

    def drawing(self) -> Drawing:
        everybody = self._cases.all if self._kind in WITH_STANDING else (frozenset[str](),)
        roots = self._below({case: self._tried(self._walk.begin, self._cases.standing(case)) for case in everybody}, 0)
        return _numbered(self._kind, self._nodes, roots, len(everybody))

    def _tried(self, work: Callable[P, Flow], *args: P.args, **kwargs: P.kwargs) -> Flow | str:
        try:
            return work(*args, **kwargs)
        except AuthflowError as error:
            return error.detail or error.code
        except Exception as error:
            # An application's own policy broke. Whoever gets here in earnest gets a 503.
            return f"{type(error).__name__}: {error}"

    def _below(self, flows: _Flows, depth: int) -> list[tuple[str, int]]:
        """Return where these flows stand: a condition and a node for each view."""
        groups: dict[_View, dict[Case, Flow | str]] = {}
        for case, flow in flows.items():
            groups.setdefault(self._view(flow, depth), {})[case] = flow
        return [(self._cases.condition(group, flows), self._node(view, group, depth)) for view, group in groups.items()]

    def _node(self, view: _View, group: _Flows, depth: int) -> int:
        node = _Node(view)
        flows = {case: flow for case, flow in group.items() if isinstance(flow, Flow) and flow.is_open}
        if flows and view[0] == "step":
            steps = [step for flow in flows.values() if (step := flow.open_step)]
            node.substitutes = tuple(dict.fromkeys(name for step in steps for name in step.substitutes))
            node.around = around(self._user, next(iter(flows.values())))
            for provider in dict.fromkeys(name for step in steps for name in step.accepted):
                answering = {case: flow for case, flow in flows.items() if flow.accepts(provider)}
                after = {
                    case: self._tried(self._walk.answer, flow, provider, self._cases.standing(case))
                    for case, flow in answering.items()
                }
                leads = self._below(after, depth + 1)
                among = self._cases.condition(answering, flows)
                node.leads[provider] = [(" and ".join(filter(None, (among, said))), to) for said, to in leads]
        key = (view, node.substitutes, node.around, tuple((p, tuple(leads)) for p, leads in node.leads.items()))
        if key not in self._known:
            self._known[key] = len(self._nodes)
            self._nodes.append(node)
        return self._known[key]

    def _view(self, flow: Flow | str, depth: int) -> _View:
        if isinstance(flow, str):
            return ("end", "", f"fault: {flow}")
        step = flow.open_step
        if step is not None and depth >= MOST_STEPS:
            return ("end", "", f"not ended after {MOST_STEPS} steps")
        if step is not None:
            return ("step", step.kind.value, "choice" if flow.state is FlowState.CHOOSING else "", *step.providers)
        if flow.state is FlowState.COMPLETED:
            return ("end", flow.state.value, self._reached(flow))
        reason = flow.trace[-1].partition(":")[2] if flow.trace else ""
        return ("end", flow.state.value, f"{flow.state.value}: {reason}" if reason else flow.state.value)

    def _reached(self, flow: Flow) -> str:
        if self._kind not in SESSION_KINDS:
            return "done; logs nobody in"
        return f"logged in, {reached_level(flow.proofs).name}"


def _numbered(kind: FlowKind, nodes: Sequence[_Node], roots: Sequence[tuple[str, int]], count: int) -> Drawing:
    """Number the nodes in the order of reading and put together arrows that differ in their provider alone."""
    order: list[int] = []
    waiting = [to for _, to in roots]
    while waiting:
        here = waiting.pop(0)
        if here not in order:
            order.append(here)
            waiting += [to for leads in nodes[here].leads.values() for _, to in leads]
    steps = [index for index in order if nodes[index].view[0] == "step"]
    ends = [index for index in order if nodes[index].view[0] == "end"]
    ends.sort(key=lambda index: (nodes[index].view[1] != FlowState.COMPLETED.value, nodes[index].view[1] == ""))
    ids = {index: str(number) for number, index in enumerate(steps, 1)}
    ids |= {index: chr(ord("A") + number) for number, index in enumerate(ends)}
    return Drawing(
        kind=kind,
        entries=_sorted(Arrow((), said, ids[to]) for said, to in roots),
        steps=tuple(_step(nodes[index], ids, index) for index in steps),
        ends=tuple(EndNode(ids[index], nodes[index].view[1], nodes[index].view[2]) for index in ends),
        cases=count,
    )


def _step(node: _Node, ids: Mapping[int, str], index: int) -> StepNode:
    merged: dict[tuple[str, str], list[str]] = {}
    for provider, leads in node.leads.items():
        for said, to in leads:
            # Who answers with it has it.
            said = "" if said == f"has {provider}" else said
            merged.setdefault((said, ids[to]), []).append(provider)
    return StepNode(
        id=ids[index],
        kind=StepKind(node.view[1]),
        offered=node.view[3:],
        substitutes=node.substitutes,
        is_choice=node.view[2] == "choice",
        arrows=_sorted(Arrow(tuple(names), said, to) for (said, to), names in merged.items()),
        around=node.around,
    )


def _sorted(arrows: Iterable[Arrow]) -> tuple[Arrow, ...]:
    """Put what goes by the same providers together: each alone, then several; further steps first, then ends."""
    found = list(arrows)
    names = list(dict.fromkeys(name for arrow in found for name in arrow.answers))

    def rank(arrow: Arrow) -> tuple[list[int], bool, str]:
        places = [names.index(name) for name in arrow.answers] or [0]
        return [places[-1], len(places), *places], arrow.target.isalpha(), arrow.target.zfill(3)

    return tuple(sorted(found, key=rank))
