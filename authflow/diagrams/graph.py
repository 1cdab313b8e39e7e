"""What is drawn of one kind of flow: steps, ends, and what leads from one to the other."""

from __future__ import annotations

from dataclasses import dataclass

from authflow.flow import FlowKind, StepKind


@dataclass(frozen=True, slots=True)
class Arrow:
    """What leads on from a step.

    Attributes:
        answers: Providers by whose proof it is taken; none at the very start.
        condition: Of which accounts; empty for all that get there.
        target: Id of a step or of an end.
    """

    answers: tuple[str, ...]
    condition: str
    target: str


@dataclass(frozen=True, slots=True)
class StepNode:
    """An owed step.

    Attributes:
        id: A number, in the order of reading.
        offered: Providers that are asked with; `substitutes` are taken too, by accounts that have them.
        is_choice: Whether the person chooses one of the offered first.
        around: What else can happen here: event and outcome, in words.
    """

    id: str
    kind: StepKind
    offered: tuple[str, ...]
    substitutes: tuple[str, ...]
    is_choice: bool
    arrows: tuple[Arrow, ...]
    around: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class EndNode:
    """How a flow ends.

    Attributes:
        id: A letter, in the order of reading.
        state: Final, or empty where the functions that serve raise.
        words: What that means.
    """

    id: str
    state: str
    words: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """Everything that can happen in flows of one kind.

    Attributes:
        entries: Where flows begin.
        cases: How many kinds of account were sent through.
    """

    kind: FlowKind
    entries: tuple[Arrow, ...]
    steps: tuple[StepNode, ...]
    ends: tuple[EndNode, ...]
    cases: int

    def named(self, node_id: str) -> StepNode | EndNode:
        """Return a node by its id."""
        nodes: tuple[StepNode | EndNode, ...] = (*self.steps, *self.ends)
        return next(node for node in nodes if node.id == node_id)

    @property
    def around(self) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
        """What can happen besides: event, outcome, and the steps where it is so; none for all of them."""
        found: dict[tuple[str, str], list[str]] = {}
        for step in self.steps:
            for told in step.around:
                found.setdefault(told, []).append(step.id)
        return tuple((*told, () if len(ids) == len(self.steps) else tuple(ids)) for told, ids in found.items())
