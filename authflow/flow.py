"""The flow: one attempt at one goal, as a value, and the one table by which it moves. Pure.

Nothing here knows a clock, a store, a request or a provider. Facts come in as arguments, a changed copy goes out.
What is owed is decided by `policy.remaining_steps` and handed in with the event; what an event may do is decided here.
No event completes a step without a proof that was minted for this flow, this subject and this step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias

from authflow.errors import IllegalTransition
from authflow.model import Plain, Proof, from_instant, to_instant

MAX_TRACE = 20
"""Events a flow remembers of itself; the oldest fall away."""

MAX_REJECTIONS = 10
"""Rejected submissions after which a stored flow ends, whatever the account's buckets say."""


class FlowKind(StrEnum):
    """The goal of a flow. Only the first three end in a session."""

    LOGIN = "login"
    REAUTHENTICATE = "reauthenticate"
    STEP_UP = "step_up"
    RECOVER = "recover"
    REGISTER = "register"
    VERIFY = "verify"
    ENROL = "enrol"
    SETTINGS = "settings"
    SETUP = "setup"


SESSION_KINDS = frozenset({FlowKind.LOGIN, FlowKind.REAUTHENTICATE, FlowKind.STEP_UP})
"""Kinds whose completion issues a session. Recovery, verification and set-up never log in."""


class FlowState(StrEnum):
    """Where a flow stands. The last four are final."""

    ASKING = "asking"
    CHOOSING = "choosing"
    AWAY = "away"
    COMPLETED = "completed"
    REFUSED = "refused"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


FINAL_STATES = frozenset({FlowState.COMPLETED, FlowState.REFUSED, FlowState.CANCELLED, FlowState.EXPIRED})


class StepKind(StrEnum):
    """What a step wants: a proof, a new credential, or consent."""

    PROVE = "prove"
    ENROL = "enrol"
    ACCEPT = "accept"


@dataclass(frozen=True, slots=True)
class Step:
    """One owed step, answered by any one of its providers.

    Attributes:
        providers: Names of the providers a person chooses from; more than one means a choice is owed first.
        substitutes: Providers that are taken too but never offered first, such as recovery codes.
    """

    kind: StepKind
    providers: tuple[str, ...]
    substitutes: tuple[str, ...] = ()

    @property
    def accepted(self) -> tuple[str, ...]:
        """Every provider that can complete the step."""
        return self.providers + self.substitutes


@dataclass(frozen=True, slots=True)
class Flow:
    """One attempt at one goal.

    Attributes:
        id: Random; also the name of the record that lets it start only once.
        owed: Steps still to be done, the open one first. Never empty while the flow is open, empty when completed.
        provider: Whose form is open, or empty while the person chooses or any of the open step's may answer.
        proofs: What has been proved, in order.
        subject: Account id, once a proof or the start has fixed it.
        epoch: The subject's epoch when it was fixed.
        step: Completed steps; what a proof must name.
        deadline_at: The whole flow ends here; set by the engine at the start and at the first proof.
        return_to: Where to go afterwards: a same-origin path, fixed at the start.
        fingerprint: Of the definition it runs under.
        rejections: Rejected submissions since it was stored.
        messaged: Providers that have sent their message for the open step: choosing one again sends none.
        scratch: Private notes, by provider. Encrypted wherever the flow is written.
        trace: Redacted events, the newest last.
    """

    id: str
    kind: FlowKind
    state: FlowState
    owed: tuple[Step, ...]
    created_at: datetime
    deadline_at: datetime
    provider: str = ""
    proofs: tuple[Proof, ...] = ()
    subject: str = ""
    epoch: int = 0
    step: int = 0
    return_to: str = ""
    fingerprint: str = ""
    rejections: int = 0
    messaged: tuple[str, ...] = ()
    scratch: Mapping[str, Mapping[str, Plain]] = field(default_factory=dict, repr=False)
    trace: tuple[str, ...] = ()

    @property
    def is_open(self) -> bool:
        return self.state not in FINAL_STATES

    @property
    def open_step(self) -> Step | None:
        return self.owed[0] if self.is_open and self.owed else None

    def accepts(self, provider: str) -> bool:
        """Whether a submission to this provider can be an answer to the open step."""
        step = self.open_step
        return step is not None and provider in step.accepted

    def to_data(self) -> dict[str, Plain]:
        """Write all but the scratch area, which is encrypted elsewhere (see `tokens.FlowSealer`)."""
        return {
            "id": self.id,
            "kind": self.kind.value,
            "state": self.state.value,
            "owed": [[step.kind.value, list(step.providers), list(step.substitutes)] for step in self.owed],
            "created_at": from_instant(self.created_at),
            "deadline_at": from_instant(self.deadline_at),
            "provider": self.provider,
            "proofs": [proof.to_data() for proof in self.proofs],
            "subject": self.subject,
            "epoch": self.epoch,
            "step": self.step,
            "return_to": self.return_to,
            "fingerprint": self.fingerprint,
            "rejections": self.rejections,
            "messaged": list(self.messaged),
            "trace": list(self.trace),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any], scratch: Mapping[str, Mapping[str, Plain]] | None = None) -> Flow:
        return cls(
            id=data["id"],
            kind=FlowKind(data["kind"]),
            state=FlowState(data["state"]),
            owed=tuple(Step(StepKind(k), tuple(names), tuple(others)) for k, names, others in data["owed"]),
            created_at=to_instant(data["created_at"]),
            deadline_at=to_instant(data["deadline_at"]),
            provider=data["provider"],
            proofs=tuple(Proof.from_data(proof) for proof in data["proofs"]),
            subject=data["subject"],
            epoch=data["epoch"],
            step=data["step"],
            return_to=data["return_to"],
            fingerprint=data["fingerprint"],
            rejections=data["rejections"],
            messaged=tuple(data["messaged"]),
            scratch=scratch or {},
            trace=tuple(data["trace"]),
        )


# --- What policy says is owed -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Owing:
    """The steps that are still owed; none means that the goal is reached."""

    steps: tuple[Step, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """There is no way on. `code` is a stable reason code."""

    code: str


Verdict: TypeAlias = Owing | Refusal


# --- Events -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StepCompleted:
    """The open step was done.

    Attributes:
        proof: Minted by the provider for this flow, subject and step.
        epoch: The subject's epoch as read with the judgement.
        verdict: What policy says is owed with this proof counted.
    """

    proof: Proof
    epoch: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class ProviderChosen:
    """The person chose which of the open step's providers to answer with."""

    provider: str


@dataclass(frozen=True, slots=True)
class SubmissionRejected:
    """A submission was judged and found wanting."""

    provider: str
    reason: str


@dataclass(frozen=True, slots=True)
class SentAway:
    """The person was sent to a remote party and comes back by GET."""

    provider: str


@dataclass(frozen=True, slots=True)
class NotesTaken:
    """A provider asked on and left private notes; nothing is proved by it."""

    provider: str
    scratch: Mapping[str, Plain] = field(repr=False)


@dataclass(frozen=True, slots=True)
class FlowRefused:
    """The engine or policy closes the flow for good."""

    reason: str


@dataclass(frozen=True, slots=True)
class FlowCancelled:
    """The person gave up, or a newer completion voided this flow."""


@dataclass(frozen=True, slots=True)
class DeadlinePassed:
    """The time for this flow is over."""


FlowEvent: TypeAlias = (
    StepCompleted
    | ProviderChosen
    | SubmissionRejected
    | SentAway
    | NotesTaken
    | FlowRefused
    | FlowCancelled
    | DeadlinePassed
)

_S = FlowState
_ENDINGS: dict[type[FlowEvent], frozenset[FlowState]] = {
    FlowRefused: frozenset({_S.REFUSED}),
    FlowCancelled: frozenset({_S.CANCELLED}),
    DeadlinePassed: frozenset({_S.EXPIRED}),
}
_AFTER_STEP = frozenset({_S.ASKING, _S.CHOOSING, _S.COMPLETED, _S.REFUSED})

Transitions: TypeAlias = Mapping[FlowState, Mapping[type[FlowEvent], frozenset[FlowState]]]
"""A table: the states that an event may lead to, by the state it finds."""

TRANSITIONS: Transitions = {
    _S.ASKING: {
        StepCompleted: _AFTER_STEP,
        ProviderChosen: frozenset({_S.ASKING}),
        SubmissionRejected: frozenset({_S.ASKING, _S.REFUSED}),
        SentAway: frozenset({_S.AWAY}),
        NotesTaken: frozenset({_S.ASKING}),
        **_ENDINGS,
    },
    _S.CHOOSING: {ProviderChosen: frozenset({_S.ASKING}), **_ENDINGS},
    _S.AWAY: {
        StepCompleted: _AFTER_STEP,
        ProviderChosen: frozenset({_S.ASKING}),
        SubmissionRejected: frozenset({_S.ASKING, _S.REFUSED}),
        SentAway: frozenset({_S.AWAY}),
        NotesTaken: frozenset({_S.ASKING}),
        **_ENDINGS,
    },
    _S.COMPLETED: {},
    _S.REFUSED: {},
    _S.CANCELLED: {},
    _S.EXPIRED: {},
}
"""The states an event may lead to, by state. What is not here does not happen."""


def start(
    *,
    flow_id: str,
    kind: FlowKind,
    verdict: Verdict,
    created_at: datetime,
    deadline_at: datetime,
    return_to: str = "",
    fingerprint: str = "",
    subject: str = "",
    epoch: int = 0,
) -> Flow:
    """Make a flow at its first step.

    Args:
        flow_id: Random, from the engine.
        verdict: What policy says is owed before anything is proved.
        subject: Fixed from the start where the goal concerns one account (reauthentication, recovery).

    Raises:
        IllegalTransition: Nothing is owed at the start. A flow that asks for nothing would prove nothing.
    """
    blank = Flow(
        id=flow_id,
        kind=kind,
        state=FlowState.ASKING,
        owed=(),
        created_at=created_at,
        deadline_at=deadline_at,
        return_to=return_to,
        fingerprint=fingerprint,
        subject=subject,
        epoch=epoch,
    )
    match verdict:
        case Refusal(code):
            return replace(blank, state=FlowState.REFUSED, trace=(f"refused:{code}",))
        case Owing(steps) if steps:
            # Before anything is proved the offered providers stand side by side on one page: no choice is owed.
            only = steps[0].providers[0] if len(steps[0].providers) == 1 else ""
            return replace(blank, owed=steps, provider=only, trace=("started",))
    raise IllegalTransition("a flow starts with at least one owed step")


def advance(flow: Flow, event: FlowEvent, transitions: Transitions | None = None) -> Flow:
    """Move a flow along one edge of the transition table.

    Args:
        flow: The flow as it was last stored. It is not modified.
        event: What has just happened to it.
        transitions: Instead of `TRANSITIONS`.

    Returns:
        A copy of the flow in its new state.

    Raises:
        IllegalTransition: The flow's state has no edge for this event, or its proof is of another flow, subject or
            step, or its provider is not one of the open step's.
    """
    allowed = (TRANSITIONS if transitions is None else transitions)[flow.state].get(type(event))
    if allowed is None:
        raise IllegalTransition(f"{flow.kind}/{flow.state}: no edge for {type(event).__name__}")
    moved = _apply(flow, event)
    if moved.state not in allowed:
        raise IllegalTransition(f"{flow.kind}/{flow.state}: {type(event).__name__} does not lead to {moved.state}")
    return moved


def _apply(flow: Flow, event: FlowEvent) -> Flow:
    match event:
        case StepCompleted():
            return _complete_step(flow, event)
        case ProviderChosen(provider):
            _demand_acceptance(flow, provider)
            return _noted(flow, f"chosen:{provider}", state=FlowState.ASKING, provider=provider)
        case SubmissionRejected(provider, reason):
            _demand_acceptance(flow, provider)
            rejections = flow.rejections + 1
            note = f"rejected:{provider}:{reason}"
            if rejections >= MAX_REJECTIONS:
                return _noted(flow, note, state=FlowState.REFUSED, rejections=rejections, scratch={})
            return _noted(flow, note, state=FlowState.ASKING, rejections=rejections)
        case SentAway(provider):
            _demand_acceptance(flow, provider)
            return _noted(flow, f"away:{provider}", state=FlowState.AWAY, provider=provider)
        case NotesTaken(provider, scratch):
            _demand_acceptance(flow, provider)
            notes = {**flow.scratch, provider: dict(scratch)}
            return _noted(flow, f"asked:{provider}", state=FlowState.ASKING, provider=provider, scratch=notes)
        case FlowRefused(reason):
            return _noted(flow, f"refused:{reason}", state=FlowState.REFUSED, scratch={})
        case FlowCancelled():
            return _noted(flow, "cancelled", state=FlowState.CANCELLED, scratch={})
        case DeadlinePassed():
            return _noted(flow, "expired", state=FlowState.EXPIRED, scratch={})


def _complete_step(flow: Flow, event: StepCompleted) -> Flow:
    proof = event.proof
    _demand_acceptance(flow, proof.provider)
    if proof.flow_id != flow.id or proof.step != flow.step:
        raise IllegalTransition("the proof was minted for another flow or step")
    if not proof.subject or (flow.subject and flow.subject != proof.subject):
        raise IllegalTransition("the proof is about another subject")
    if flow.epoch and flow.epoch != event.epoch:
        raise IllegalTransition("the subject has changed since the flow began")
    done = {
        "proofs": (*flow.proofs, proof),
        "subject": proof.subject,
        "epoch": event.epoch,
        "step": flow.step + 1,
        "rejections": 0,
        "messaged": (),
        # A provider's notes end with its step: what was asked there is of no use later.
        "scratch": {name: notes for name, notes in flow.scratch.items() if name != proof.provider},
    }
    trace = f"completed:{proof.provider}"
    match event.verdict:
        case Refusal(code):
            return _noted(flow, trace, f"refused:{code}", state=FlowState.REFUSED, owed=(), **(done | {"scratch": {}}))
        case Owing(steps) if not steps:
            return _noted(flow, trace, state=FlowState.COMPLETED, owed=(), provider="", **(done | {"scratch": {}}))
        case Owing(steps):
            offered = steps[0].providers
            state, provider = (FlowState.ASKING, offered[0]) if len(offered) == 1 else (FlowState.CHOOSING, "")
            return _noted(flow, trace, state=state, owed=steps, provider=provider, **done)


def _demand_acceptance(flow: Flow, provider: str) -> None:
    if not flow.accepts(provider):
        raise IllegalTransition(f"{provider} is not one of the open step's providers")


def _noted(flow: Flow, *notes: str, **changes: Any) -> Flow:
    return replace(flow, trace=(flow.trace + notes)[-MAX_TRACE:], **changes)
