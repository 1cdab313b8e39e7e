"""What must hold before a flow may move at all, whatever the event. Pure: facts in, an exception out or the flow.

The table says how a flow moves, policy what it owes; a gate says that this flow is still a flow: open, in time, about
the account that it was begun for, under a definition that this one can go on with.

While a new version is rolled out, two versions with two definitions serve the same people. A flow that was begun under
the other one is carried over where everything that either of them demands can be done here, and owes all of that from
then on, wherever it goes next; else it ends, and the person is told to start again. So no flow ends with less than the
definition demands that completes it, nor with less than it owed before.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from authflow.errors import DefinitionChanged, FlowInvalid, NoMethodLeft, TooLate
from authflow.flow import SESSION_KINDS, Flow, FlowKind, FlowState, Owing, Refusal, Step, StepKind, Verdict

_S = FlowState

SEVERAL = "several"
"""The fingerprint of a flow that more than one definition has moved: each of them treats it as begun elsewhere."""


@dataclass(frozen=True, slots=True)
class Definition:
    """What the definition in force says about a flow that was begun under another one.

    Attributes:
        verdict: What it finds owed for the flow's kind, its proofs, and its subject as it stands now.
        offered: Names of the providers that can be asked here to prove something.
        enrollable: Names of those that a person can enrol here.
        window: From the first proof to the last, and from the beginning of an enrolment to its end.
    """

    verdict: Verdict
    offered: Collection[str] = ()
    enrollable: Collection[str] = ()
    window: timedelta = timedelta(days=1)

    def can_answer(self, kind: StepKind, provider: str) -> bool:
        """Whether a step of this kind can be done with this provider here."""
        return provider in (self.enrollable if kind is StepKind.ENROL else self.offered)


def demand_travelling(
    flow: Flow, *, now: datetime, fingerprint: str, definition: Definition | None = None, provider: str = ""
) -> Flow:
    """Let a flow pass that a form carried, since nothing of it is stored.

    Args:
        fingerprint: Of the definition in force.
        definition: Asked where the flow was begun under another one; without it such a flow ends.
        provider: Whom the form is sent to, where that is known.

    Returns:
        The flow, as it goes on here.

    Raises:
        FlowInvalid: It is over. `DefinitionChanged`: it cannot go on under the definition in force.
        NoMethodLeft: The definition in force sees no way on.
    """
    if not flow.is_open or now >= flow.deadline_at:
        raise FlowInvalid("the flow is over")
    return flow if flow.fingerprint == fingerprint else _carried(flow, fingerprint, definition, provider, _S.ASKING)


def demand_stored(
    flow: Flow,
    *,
    now: datetime,
    epoch: int | None,
    is_active: bool,
    fingerprint: str,
    definition: Definition | None = None,
    provider: str = "",
) -> Flow:
    """Let a flow pass that lay in the session.

    Args:
        epoch: Of its subject as it is now; None where there is no such account any more.
        is_active: Whether the subject may log in.
        fingerprint: Of the definition in force.
        definition: Asked where the flow was begun under another one; without it such a flow ends.
        provider: Who is to answer, where that is known.

    Returns:
        The flow, as it goes on here.

    Raises:
        FlowInvalid: It has ended, or its subject has changed or may not log in. `DefinitionChanged`: it cannot go on
            under the definition in force.
        TooLate: Its time is over.
        NoMethodLeft: The definition in force sees no way on.
    """
    if not flow.is_open:
        raise FlowInvalid("the flow has ended")
    if now >= flow.deadline_at:
        raise TooLate()
    if epoch is None or epoch != flow.epoch or not is_active:
        raise FlowInvalid("the account has changed since the flow began")
    if flow.fingerprint == fingerprint:
        return flow
    carried = _carried(flow, fingerprint, definition, provider, _S.CHOOSING)
    if now >= carried.deadline_at:
        raise TooLate()
    return carried


def owed_by_both(flow: Flow, verdict: Verdict) -> Verdict:
    """Say what is owed after the open step of a flow that several definitions have moved.

    Args:
        flow: As it was before the step.
        verdict: Of the definition in force, with the step counted.

    Returns:
        What both demand. A refusal where that cannot be put into one row of steps.
    """
    if flow.fingerprint != SEVERAL or isinstance(verdict, Refusal):
        return verdict
    steps = _both(flow.owed[1:], verdict.steps)
    return Refusal(DefinitionChanged.code) if steps is None else Owing(steps)


def _carried(
    flow: Flow, fingerprint: str, definition: Definition | None, provider: str, without_choice: FlowState
) -> Flow:
    changed = DefinitionChanged("the flow was started under another definition", return_to=flow.return_to)
    if definition is None:
        raise changed
    if isinstance(definition.verdict, Refusal):
        raise NoMethodLeft(definition.verdict.code, code=definition.verdict.code)
    owed, demanded = (_all_here(steps, definition) for steps in (flow.owed, definition.verdict.steps))
    steps = None if owed is None or demanded is None else _both(owed, demanded)
    if not steps or (not flow.proofs and not demanded):
        raise changed
    accepted = steps[0].accepted
    if flow.accepts(provider) and provider not in accepted:
        raise changed
    # Whose form is open may not be asked here. No other one is opened in its place: that may send a message.
    is_open = not flow.provider or flow.provider in accepted
    chosen, state = (flow.provider, flow.state) if is_open else ("", without_choice)
    # Nothing is proved yet and nothing owed beyond what this definition asks first: from here on it is this one's.
    is_ours = not flow.proofs and len(steps) == len(definition.verdict.steps) == 1
    return replace(
        flow,
        owed=steps,
        provider=chosen,
        state=state,
        fingerprint=fingerprint if is_ours else SEVERAL,
        deadline_at=_deadline(flow, definition.window),
    )


def _deadline(flow: Flow, window: timedelta) -> datetime:
    """Return when a flow ends: in the time that it was given, and in that which this definition gives, too."""
    begun = flow.created_at if flow.kind is FlowKind.ENROL else None
    if flow.proofs and flow.kind in SESSION_KINDS:
        begun = flow.proofs[0].at
    return flow.deadline_at if begun is None else min(flow.deadline_at, begun + window)


def _all_here(steps: Sequence[Step], definition: Definition) -> list[Step] | None:
    """Return steps with those of their providers that can be asked here; None where nobody could be, at any of them."""
    found = [
        _narrowed(step, [name for name in step.accepted if definition.can_answer(step.kind, name)]) for step in steps
    ]
    here = [step for step in found if step is not None]
    return here if len(here) == len(found) else None


def _both(owed: Sequence[Step], demanded: Sequence[Step]) -> tuple[Step, ...] | None:
    """Return steps by which everything is done that either row wants, the first row's open step first; or None."""
    left, steps = list(demanded), list[Step]()
    for step in owed:
        for other in left:
            common = _narrowed(step, other.accepted) if step.kind is other.kind else None
            if common is not None:
                left.remove(other)
                steps.append(common)
                break
        else:
            steps.append(step)
    steps += left
    # An enrolment ends its flow: it comes last, and there is one.
    return None if any(step.kind is StepKind.ENROL for step in steps[:-1]) else tuple(steps)


def _narrowed(step: Step, accepted: Collection[str]) -> Step | None:
    offered = tuple(name for name in step.providers if name in accepted)
    if not offered:
        return None
    return replace(step, providers=offered, substitutes=tuple(name for name in step.substitutes if name in accepted))
