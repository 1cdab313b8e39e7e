"""What every form of a drawing says of its steps, arrows and ends."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from authflow.diagrams.graph import Arrow, EndNode, StepNode
from authflow.flow import StepKind

_DO = {StepKind.PROVE: "prove", StepKind.ENROL: "set up", StepKind.ACCEPT: "accept"}


def step_title(step: StepNode) -> str:
    """Return what a step asks for."""
    how = "choose one and " if step.is_choice else ""
    return f"{how}{_DO[step.kind]} {any_of(step.offered)}"


def step_too(step: StepNode) -> str:
    """Return what is taken for a step too; empty where nothing is."""
    if not step.substitutes:
        return ""
    return f"{any_of(step.substitutes)} {'is' if len(step.substitutes) == 1 else 'are'} taken too"


def step_notes(step: StepNode, label: Callable[[str], str]) -> list[str]:
    """Return what people read for what a step asks for, and what is taken too.

    Args:
        label: Of a provider; empty for what is none.
    """
    labels = " / ".join(filter(None, map(label, step.offered)))
    return [note for note in (labels, step_too(step)) if note]


def end_title(end: EndNode) -> str:
    """Return how a flow ends."""
    return end.words


def arrow_words(arrow: Arrow) -> str:
    """Return by whose answer, and of which accounts, an arrow is taken."""
    by = any_of(arrow.answers)
    return f"{by}: {arrow.condition}" if by and arrow.condition else by or arrow.condition


def any_of(names: Sequence[str]) -> str:
    """Join names by commas and `or`."""
    return " or ".join([*([", ".join(names[:-1])] if len(names) > 1 else []), *names[-1:]])


def merged(arrows: Iterable[Arrow], words: Callable[[Arrow], str]) -> list[tuple[str, str]]:
    """Return words and target of arrows, with those that lead to the same put into one."""
    found: dict[str, list[str]] = {}
    for arrow in arrows:
        found.setdefault(arrow.target, []).append(words(arrow))
    return [("; ".join(dict.fromkeys(filter(None, said))), target) for target, said in found.items()]
