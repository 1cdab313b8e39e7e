"""Traces run against the present definition: which of them would have gone another way.

`User.remaining_steps` and `User.advance` are asked, as in the service, with the facts that each trace holds. Nothing is
read, written or sent; proofs are made up, since a trace holds none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from authflow.errors import AuthflowError, ContractViolation
from authflow.flow import (
    Flow,
    FlowCancelled,
    FlowKind,
    FlowState,
    NotesTaken,
    ProviderChosen,
    SentAway,
    StepCompleted,
    SubmissionRejected,
    start,
)
from authflow.model import Factor, Proof
from authflow.policy import Standing
from authflow.traces import Facts, Trace, order_of, outcome_of, told
from authflow.user import User

NOBODY = "nobody"
"""The subject of every flow that is replayed."""

_LONG = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of one flow.

    Attributes:
        after: The events up to the difference, in the words of `Flow.trace`.
        was, now: What came of them then and now; equal where nothing has changed.
        at_definition: Fingerprint of the definition that the flow met.
        is_mixed: Whether several definitions have moved it: then a difference may be due to the other one.
    """

    flow_id: str
    kind: FlowKind
    after: tuple[str, ...]
    was: str
    now: str
    at_definition: str
    is_mixed: bool = False

    @property
    def has_changed(self) -> bool:
        return self.was != self.now

    def __str__(self) -> str:
        after = ", ".join(self.after) or "the start"
        mixed = " (several definitions moved it then)" if self.is_mixed else ""
        return f"{self.kind} {self.flow_id}: after {after} was {self.was}, now {self.now}{mixed}"


def by_flow(traces: Iterable[Trace]) -> list[list[Trace]]:
    """Put traces together by flow: each flow's in the order in which they happened, flows in that of their first."""
    found: dict[str, list[Trace]] = {}
    for trace in traces:
        found.setdefault(trace.flow_id, []).append(trace)
    for flow in found.values():
        flow.sort(key=order_of)
    return sorted(found.values(), key=lambda flow: flow[0].at)


def replay(user: User, flows: Iterable[Sequence[Trace]]) -> Iterator[Replayed]:
    """Run flows against a definition, and say of each what came of it.

    Args:
        user: The definition; bound to an engine.
        flows: From `by_flow`. Where the beginning of one is missing, it is begun where its first trace stands.
    """
    for traces in flows:
        yield _Course(user, traces).run()


class _Course:
    """One flow on its way through the present definition."""

    def __init__(self, user: User, traces: Sequence[Trace]) -> None:
        self._user = user
        self._traces = traces
        self._first = traces[0]
        self._seen: list[str] = []
        self._facts: Facts | None = None

    def run(self) -> Replayed:
        was = now = "open"
        try:
            flow = self._begun()
        except Exception as error:
            return self._replayed(outcome_of(self._first), _impossible(error))
        if not flow.is_open:
            return self._replayed(outcome_of(self._first), _outcome(flow, ""))
        for trace in self._traces:
            was, self._facts = outcome_of(trace), trace.facts
            try:
                for event in trace.events:
                    self._seen.append(event)
                    flow = self._moved(flow, event, trace)
                # Before anything is proved a flow owes what this definition offers at first, whatever was offered then.
                now = _outcome(flow, trace.refusal) if _is_stored(flow) else was
            except Exception as error:
                now = _impossible(error)
            if was != now:
                break
        return self._replayed(was, now)

    def _replayed(self, was: str, now: str) -> Replayed:
        definitions = {name for trace in self._traces for name in (trace.definition, trace.flow_definition)}
        return Replayed(
            self._first.flow_id, self._first.kind, tuple(self._seen), was, now, self._first.definition,
            is_mixed=len(definitions) > 1,
        )  # fmt: skip

    def _begun(self) -> Flow:
        """Start the flow, and prove what was proved before the first trace that is known."""
        first = self._first
        self._facts = first.facts
        earlier = first.proofs[: len(first.proofs) - sum(e.startswith("completed:") for e in first.events)]
        # Who was freshly logged in had a subject from the start; elsewhere policy knows nobody yet.
        standing = self._standing(None) if first.kind is FlowKind.ENROL and not earlier else None
        flow = start(
            flow_id=first.flow_id,
            kind=first.kind,
            verdict=self._user.remaining_steps(first.kind, (), standing),
            created_at=first.started_at,
            deadline_at=first.at + _LONG,
            subject=NOBODY if first.kind is not FlowKind.LOGIN else "",
            epoch=1 if first.kind is not FlowKind.LOGIN else 0,
        )
        for provider, factor in earlier:
            flow = self._proved(flow, provider, factor, first)
        return flow

    def _moved(self, flow: Flow, event: str, trace: Trace) -> Flow:
        what, _, rest = event.partition(":")
        name, _, reason = rest.partition(":")
        advance = self._user.advance
        if flow.state is FlowState.CHOOSING and what in ("completed", "rejected", "asked", "away"):
            flow = advance(flow, ProviderChosen(name))
        match what:
            case "completed":
                return self._proved(flow, name, self._factor(trace, name), trace)
            case "chosen":
                return advance(flow, ProviderChosen(name))
            case "rejected":
                # A first step that was wrong leaves its flow as it was: it is not stored.
                moved = advance(flow, SubmissionRejected(name, reason))
                return moved if _is_stored(flow) else flow
            case "asked":
                return advance(flow, NotesTaken(name, {}))
            case "away":
                return advance(flow, SentAway(name))
            case "cancelled":
                return advance(flow, FlowCancelled())
            case "refused":
                return flow  # Said of what came of the event before.
            case _:
                raise ContractViolation(f"no event is called {what}")

    def _proved(self, flow: Flow, provider: str, factor: str, trace: Trace) -> Flow:
        if flow.state is FlowState.CHOOSING:
            flow = self._user.advance(flow, ProviderChosen(provider))
        proof = Proof(provider, Factor(factor), trace.at, flow.id, flow.step, NOBODY)
        verdict = self._user.owed_after(flow, proof, self._standing(flow))
        return self._user.advance(flow, StepCompleted(proof, 1, verdict))

    def _factor(self, trace: Trace, provider: str) -> str:
        return next((factor for name, factor in reversed(trace.proofs) if name == provider), Factor.KNOWLEDGE.value)

    def _standing(self, flow: Flow | None) -> Standing | None:
        facts = self._facts
        if facts is None:
            return None
        is_active, demands = facts.is_active, facts.demands_second_factor
        if facts.is_described:
            # Whom this definition thinks active, and of whom it demands a second factor.
            account = facts.account(self._first.at)
            is_active = self._user.is_active(account)
            if flow is not None:
                demands = self._user.demands_second_factor(account, flow)
        return Standing(is_active, facts.enrolled, frozenset(facts.present), demands)


def _is_stored(flow: Flow) -> bool:
    return bool(flow.proofs) or flow.kind is FlowKind.ENROL


def _impossible(error: Exception) -> str:
    """Say why there is no such way: the table has no edge, or a method of the application's own did not bear it."""
    return (
        f"impossible: {error}" if isinstance(error, AuthflowError) else f"impossible: {type(error).__name__}: {error}"
    )


def _outcome(flow: Flow, refusal: str) -> str:
    found = flow.trace[-1].partition(":")[2] if flow.trace and flow.trace[-1].startswith("refused:") else refusal
    return told(flow.state, flow.owed, found)
