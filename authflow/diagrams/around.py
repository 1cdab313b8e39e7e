"""What can happen at a step besides that it is done: tried out, event by event, on the functions that serve."""

from __future__ import annotations

from authflow.errors import AuthflowError
from authflow.flow import DeadlinePassed as Late
from authflow.flow import (
    Flow,
    FlowCancelled,
    FlowEvent,
    FlowState,
    NotesTaken,
    ProviderChosen,
    SentAway,
    SubmissionRejected,
)
from authflow.user import User

MOST_REJECTIONS = 50


def around(user: User, flow: Flow) -> tuple[tuple[str, str], ...]:
    """Return what leads where from an open step: the event and its outcome, in words.

    Args:
        flow: Open, at that step. It is not modified.
    """
    step = flow.open_step
    if step is None:
        return ()
    name = flow.provider or step.providers[0]
    if flow.state is FlowState.CHOOSING:
        chosen = _moved(user, flow, ProviderChosen(name))
        if isinstance(chosen, str):
            return (("a choice", chosen), *_endings(user, flow))
        flow = chosen
    told = [
        ("wrong answer", _rejected(user, flow, name)),
        ("sent to a remote party", _said(_moved(user, flow, SentAway(name)))),
        ("asked for more", _said(_moved(user, flow, NotesTaken(name, {})))),
    ]
    if len(step.accepted) > 1:
        other = _moved(user, flow, ProviderChosen(step.accepted[-1]))
        if isinstance(other, str) or other.state is not FlowState.ASKING:
            # That whoever has a choice may choose again goes without saying.
            told.append(("another provider", _said(other)))
    return (*told, *_endings(user, flow))


def _endings(user: User, flow: Flow) -> tuple[tuple[str, str], ...]:
    return (
        ("given up", _said(_moved(user, flow, FlowCancelled()))),
        ("deadline passed", _said(_moved(user, flow, Late()))),
    )


def _rejected(user: User, flow: Flow, name: str) -> str:
    """Say what wrong answers lead to, one after the other."""
    before = ""
    for number in range(1, MOST_REJECTIONS + 1):
        moved = _moved(user, flow, SubmissionRejected(name, "wrong"))
        if isinstance(moved, str) or not moved.is_open:
            return f"{before}, at the {number}th {_said(moved)}" if before else _said(moved)
        before, flow = _said(moved), moved
    return f"{before}, without end"


def _moved(user: User, flow: Flow, event: FlowEvent) -> Flow | str:
    try:
        return user.advance(flow, event)
    except AuthflowError:
        return "cannot happen"


def _said(moved: Flow | str) -> str:
    return moved if isinstance(moved, str) else moved.state.value
