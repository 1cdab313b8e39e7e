"""Tables of one's own, and movements that none allows."""

from __future__ import annotations

from dataclasses import replace

from authflow.errors import IllegalTransition
from authflow.flow import TRANSITIONS, FlowState, StepCompleted, SubmissionRejected
from authflow.user import User

S = FlowState


class NoComingBack(User):
    """A table by which nobody who was sent away comes back."""

    transitions = {**TRANSITIONS, S.AWAY: {e: t for e, t in TRANSITIONS[S.AWAY].items() if e is not StepCompleted}}  # noqa: RUF012


class OneTry(User):
    """A table by which a mistyped code is the end of nothing: the flow neither goes on nor ends."""

    transitions = {  # noqa: RUF012
        **TRANSITIONS,
        S.ASKING: {e: t for e, t in TRANSITIONS[S.ASKING].items() if e is not SubmissionRejected}
        | {SubmissionRejected: frozenset({S.ASKING, S.REFUSED})},
    }

    def advance(self, flow, event):
        if isinstance(event, StepCompleted) and flow.state is S.AWAY:
            raise IllegalTransition("from here nobody goes on")
        return super().advance(flow, event)


class BackDoor(User):
    """A rejection that opens: the table says refused, the movement says completed."""

    def advance(self, flow, event):
        moved = super().advance(flow, event)
        if isinstance(event, SubmissionRejected) and moved.rejections > 1:
            return replace(moved, state=S.COMPLETED, owed=(), provider="", scratch={})
        return moved


PLANTED = {NoComingBack: "way-in", OneTry: "way-in", BackDoor: "evidence"}
