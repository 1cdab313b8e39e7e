"""What can happen to a flow at one point: what its owner does, what an attacker tries, what the store brings along."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto

from authflow.flow import (
    DeadlinePassed,
    Flow,
    FlowCancelled,
    FlowKind,
    FlowRefused,
    FlowState,
    NotesTaken,
    Owing,
    ProviderChosen,
    SentAway,
    StepCompleted,
    StepKind,
    SubmissionRejected,
)
from authflow.model import Factor, Proof
from authflow.policy import CONSENT, TICKET
from authflow.proving.facts import Facts
from authflow.proving.scenes import BEGAN, BOB, GONE, Scene
from authflow.proving.served import Served

CANARY = "canary-7f3a"
"""Stands in private notes, and must turn up nowhere else."""

OWN, OTHERS, ELSEWHERE = "flow-1", "flow-of-bob", "flow-in-another-browser"


class Sort(Enum):
    """What a move is to the invariants."""

    HONEST = auto()
    DISHONEST = auto()
    CHOICE = auto()
    REJECTION = auto()
    AWAY = auto()
    NOTES = auto()
    REFUSAL = auto()
    CANCEL = auto()
    DEADLINE = auto()


@dataclass(frozen=True, slots=True)
class Move:
    """Something that happens.

    Attributes:
        told: What a person reads of it.
        make: Asks what is served; returns the flow after it, or raises.
        provider: Whom it concerns.
        proof: What is handed in.
        breaks: The invariant that a dishonest move breaks if it gets through.
    """

    sort: Sort
    told: str
    make: Callable[[], Flow]
    provider: str = ""
    proof: Proof | None = None
    breaks: str = "binding"


class Moves:
    """Makes the moves of one application's flows."""

    def __init__(self, served: Served, facts: Facts, factors: dict[str, Factor]) -> None:
        self._served, self._facts, self._factors = served, facts, factors

    def proof(self, flow: Flow, provider: str, subject: str, now: datetime) -> Proof:
        """Return the proof that a provider mints at this point."""
        return Proof(provider, self.factor(provider), now, flow.id, flow.step, subject, f"submission {flow.step}")

    def factor(self, provider: str) -> Factor:
        """Return what kind of evidence a provider's proof is; a ticket's is the mailbox."""
        return self._factors.get(provider, Factor.MAILBOX)

    def can_prove(self, flow: Flow, scene: Scene, provider: str) -> bool:
        """Whether the owner of this account can do the open step with this provider."""
        step, facts = flow.open_step, self._facts
        if step is None:
            return False
        match step.kind:
            case StepKind.ENROL:
                if flow.kind in (FlowKind.RECOVER, FlowKind.SETUP, FlowKind.REGISTER):
                    return provider == facts.password
                return provider in facts.enrollable and provider not in scene.account.factors
            case StepKind.ACCEPT:
                return provider == CONSENT
            case StepKind.PROVE:
                if provider == TICKET:
                    return flow.kind in (FlowKind.RECOVER, FlowKind.SETUP, FlowKind.VERIFY)
                return provider in facts.primaries or provider in scene.usable or provider in scene.substitutes

    def now(self, flow: Flow) -> datetime:
        """Return an instant that is within the flow's time: nearer to its end the further it has come."""
        if not flow.proofs:
            return BEGAN + timedelta(minutes=1) if flow.deadline_at > BEGAN + timedelta(minutes=1) else BEGAN
        return max(proof.at for proof in flow.proofs) + timedelta(microseconds=1)

    def honest(self, flow: Flow, scene: Scene) -> Iterator[Move]:
        """What moves a flow on: each proof that the owner can give to the open step."""
        step, served, now = flow.open_step, self._served, self.now(flow)
        if step is None or flow.state is FlowState.CHOOSING:
            return
        for provider in step.accepted:
            if not self.can_prove(flow, scene, provider):
                continue
            proof = self.proof(flow, provider, scene.account.id, now)
            yield Move(Sort.HONEST, f"{provider} is proved", _prove(served, flow, proof, scene, now), provider, proof)

    def choices(self, flow: Flow) -> Iterator[Move]:
        """What a person may choose."""
        step = flow.open_step
        for name in step.accepted if step else ():
            yield Move(Sort.CHOICE, f"{name} is chosen", _move(self._served, flow, ProviderChosen(name)), name)

    def plain(self, flow: Flow) -> Iterator[Move]:
        """What moves a flow without a proof."""
        served = self._served
        step = flow.open_step
        accepted = step.accepted if step else ()
        others = [name for name in (*sorted(self._facts.providers), TICKET, CONSENT) if name not in accepted][:3]
        for name in (*accepted, *others, GONE):
            event = ProviderChosen(name)
            yield Move(Sort.CHOICE, f"{name} is chosen", _move(served, flow, event), name)
            event_ = SubmissionRejected(name, "wrong")
            yield Move(Sort.REJECTION, f"a submission to {name} is rejected", _move(served, flow, event_), name)
            away = SentAway(name)
            yield Move(Sort.AWAY, f"{name} sends the person away", _move(served, flow, away), name)
            notes = NotesTaken(name, {"note": CANARY})
            yield Move(Sort.NOTES, f"{name} asks on", _move(served, flow, notes), name)
        yield Move(Sort.REFUSAL, "the engine refuses", _move(served, flow, FlowRefused("shown_the_door")))
        yield Move(Sort.CANCEL, "the person cancels", _move(served, flow, FlowCancelled()))
        yield Move(Sort.DEADLINE, "the deadline passes", _move(served, flow, DeadlinePassed()))

    def dishonest(self, flow: Flow, scene: Scene, other: Scene, *, is_short: bool) -> Iterator[Move]:
        """What must not move a flow: everything that is wrong with a proof in one point alone.

        Args:
            other: The same with somebody else's account.
            is_short: One of each sort will do: the same flow was met before with other notes or rejections.
        """
        served, now, step = self._served, self.now(flow), flow.open_step
        own = next((name for name in step.accepted if self.can_prove(flow, scene, name)), None) if step else None
        name = own or (step.accepted[0] if step and step.accepted else next(iter(self._facts.primaries)))
        right = self.proof(flow, name, scene.account.id, now)
        bad: list[tuple[str, str, Proof]] = [
            (f"a proof of {name} from a flow in another browser", "binding", replace(right, flow_id=ELSEWHERE)),
            (f"a proof of {name} that names no flow", "binding", replace(right, flow_id="")),
            (f"a proof of {name} for the step after", "binding", replace(right, step=flow.step + 1)),
            (f"a proof of {name} for the step before", "binding", replace(right, step=flow.step - 1)),
            (f"a proof of {name} about nobody", "binding", replace(right, subject="")),
        ]
        if flow.subject:
            bad.append((f"Bob's proof of {name}, for this flow", "binding", replace(right, subject=BOB)))
            bad.append((f"Bob's proof of {name}, for his flow", "binding", replace(right, subject=BOB, flow_id=OTHERS)))
        bad += [(f"the proof of {old.provider} once more", "binding", old) for old in flow.proofs]
        accepted = step.accepted if step else ()
        strangers = (*sorted(self._facts.providers), TICKET, CONSENT, GONE, "")
        bad += [
            (f"a proof of {stranger}, which is not asked for", "acceptance", replace(right, provider=stranger,
             factor=self.factor(stranger)))
            for stranger in strangers if stranger not in accepted
        ]  # fmt: skip
        for told, breaks, proof in bad[2::3] if is_short else bad:
            loaded = other.loaded if proof.subject == BOB else scene.loaded
            yield Move(Sort.DISHONEST, told, _prove(served, flow, proof, scene, now), proof.provider, proof, breaks)
            if loaded is not scene.loaded:
                yield Move(Sort.DISHONEST, f"{told}, with Bob's records", _prove(served, flow, proof, other, now),
                           proof.provider, proof, breaks)  # fmt: skip
            # The table itself must say no, whatever somebody says is owed.
            event = StepCompleted(proof, scene.account.epoch, Owing(()))
            yield Move(
                Sort.DISHONEST, f"{told}, by an event", _move(served, flow, event), proof.provider, proof, breaks
            )
        if flow.epoch:
            for epoch in (scene.account.epoch + 1, scene.account.epoch - 1):
                event = StepCompleted(right, epoch, Owing(()))
                told = f"{name} is proved after the account has changed"
                yield Move(Sort.DISHONEST, told, _move(served, flow, event), name, right, "epoch")


def _prove(served: Served, flow: Flow, proof: Proof, scene: Scene, now: datetime) -> Callable[[], Flow]:
    return lambda: served.prove(flow, proof, scene.loaded, now)


def _move(served: Served, flow: Flow, event: object) -> Callable[[], Flow]:
    return lambda: served.move(flow, event)  # type: ignore[arg-type]
