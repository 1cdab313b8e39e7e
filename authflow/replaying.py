"""Traces run against the present definition: which of them would have gone another way.

`User.remaining_steps` and `User.advance` are asked, as in the service, with the facts that each trace holds. Nothing is
read, written or sent; proofs are made up, since a trace holds none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from authflow.errors import AuthflowError, ContractViolation, TooLate
from authflow.flow import (
    SESSION_KINDS,
    Flow,
    FlowCancelled,
    FlowKind,
    FlowState,
    NotesTaken,
    ProviderChosen,
    SentAway,
    StepCompleted,
    SubmissionRejected,
    Verdict,
    start,
)
from authflow.model import Factor, Proof
from authflow.partly_known import KnownAccount, KnownFlow, asked_for, flow_of
from authflow.policy import Standing
from authflow.traces import Facts, Trace, order_of, outcome_of, refusal_kept, told
from authflow.user import User

NOBODY = "nobody"
"""The subject of every flow that is replayed."""

_LONG = timedelta(days=1)
_ANSWERS = frozenset({"completed", "rejected", "chosen", "asked", "away"})


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of one flow.

    Attributes:
        after: The events up to the difference, in the words of `Flow.trace`.
        was, now: What came of them then and now; equal where nothing has changed.
        at_definition: Fingerprint of the definition that the flow met.
        is_mixed: Whether several definitions have moved it: then a difference may be due to the other one.
        is_unknown: Whether nobody can tell: it hangs on what no trace holds. `now` says on what.
    """

    flow_id: str
    kind: FlowKind
    after: tuple[str, ...]
    was: str
    now: str
    at_definition: str
    is_mixed: bool = False

    is_unknown: bool = False

    @property
    def has_changed(self) -> bool:
        return self.was != self.now and not self.is_unknown

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
        self._is_same = False
        self._wanted: set[str] = set()

    def run(self) -> Replayed:
        was = now = "open"
        try:
            flow = self._begun()
        except _CannotTell as error:
            return self._replayed(outcome_of(self._first), str(error), is_unknown=True)
        except Exception as error:
            return self._replayed(outcome_of(self._first), _impossible(error))
        if not flow.is_open:
            return self._replayed(outcome_of(self._first), _outcome(flow, ""))
        for trace in self._traces:
            self._look_at(trace)
            was = outcome_of(trace)
            try:
                for event in trace.events:
                    self._seen.append(event)
                    flow = self._moved(flow, event, trace)
                # Before anything is proved a flow owes what this definition offers at first, whatever was offered then.
                now = _outcome(flow, trace.refusal) if _is_stored(flow) else was
            except _CannotTell as error:
                return self._replayed(was, str(error), is_unknown=True)
            except TooLate:
                now = "too late"
            except Exception as error:
                now = _impossible(error)
            if was != now:
                break
        return self._replayed(was, now)

    def _look_at(self, trace: Trace) -> None:
        self._facts = trace.facts
        self._is_same = trace.definition == self._user.engine.fingerprint

    def _replayed(self, was: str, now: str, *, is_unknown: bool = False) -> Replayed:
        definitions = {name for trace in self._traces for name in (trace.definition, trace.flow_definition)}
        return Replayed(
            self._first.flow_id, self._first.kind, tuple(self._seen), was, now, self._first.definition,
            is_mixed=len(definitions) > 1, is_unknown=is_unknown,
        )  # fmt: skip

    def _begun(self) -> Flow:
        """Start the flow, and prove what was proved before the first trace that is known."""
        first = self._first
        self._look_at(first)
        earlier = first.proofs[: len(first.proofs) - sum(e.startswith("completed:") for e in first.events)]
        # Who was freshly logged in had a subject from the start; elsewhere policy knows nobody yet.
        standings = self._standings(None) if first.kind is FlowKind.ENROL and not earlier else [None]
        flow = start(
            flow_id=first.flow_id,
            kind=first.kind,
            verdict=self._only(self._user.remaining_steps(first.kind, (), standing) for standing in standings),
            created_at=first.started_at,
            deadline_at=first.at + _LONG,
            subject=NOBODY if first.kind is not FlowKind.LOGIN else "",
            epoch=1 if first.kind is not FlowKind.LOGIN else 0,
        )
        for provider, factor in earlier:
            flow = self._proved(flow, provider, factor, first)
        before = first.rejections - sum(event.startswith("rejected:") for event in first.events)
        return replace(flow, rejections=max(before, 0))

    def _moved(self, flow: Flow, event: str, trace: Trace) -> Flow:
        what, _, rest = event.partition(":")
        name, _, reason = rest.partition(":")
        advance = self._user.advance
        if what in _ANSWERS and trace.at >= self._ends_at(flow, trace):
            raise TooLate()
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
        verdict = self._only(self._user.owed_after(flow, proof, standing) for standing in self._standings(flow))
        return self._user.advance(flow, StepCompleted(proof, 1, verdict))

    def _factor(self, trace: Trace, provider: str) -> str:
        return next((factor for name, factor in reversed(trace.proofs) if name == provider), Factor.KNOWLEDGE.value)

    def _ends_at(self, flow: Flow, trace: Trace) -> datetime:
        """Return until when this definition waits for answers. Where the first proof is missing, no earlier than it."""
        window = self._user.second_factor_time_window
        if flow.kind is FlowKind.ENROL:
            return flow.created_at + window
        if flow.kind not in SESSION_KINDS or not flow.proofs:
            return trace.at + window
        return min(known.at for known in self._traces if known.proofs) + window

    # --- What is known of the subject ---------------------------------------------------------------------------------

    def _standings(self, flow: Flow | None) -> list[Standing | None]:
        """Return the facts that this definition may have judged by: more than one where a trace does not tell."""
        facts, user = self._facts, self._user
        self._wanted.clear()
        if facts is None:
            return [None]
        account = facts.account(self._first.at)
        # Whom this definition thinks active, and of whom it demands a second factor.
        actives = self._answers(facts, facts.is_active, lambda: user.is_active(account), account)
        demands = [facts.demands_second_factor]
        if flow is not None:
            known = flow_of(flow)
            demands = self._answers(
                facts, facts.demands_second_factor, lambda: user.demands_second_factor(account, known), account, known
            )
        present = frozenset(facts.present)
        unseen = self._unseen(facts)
        return [
            Standing(is_active, facts.enrolled, there, demanded)
            for is_active in actives
            for demanded in demands
            for there in ([present, present | unseen] if unseen else [present])
        ]

    def _answers(
        self, facts: Facts, then: bool, rule: Callable[[], bool], *views: KnownAccount | KnownFlow
    ) -> list[bool]:
        if self._is_same and not facts.is_described:
            return [then]
        for view in views:
            view.asked_for.clear()
        found = then
        try:
            found = rule()
        except Exception:
            if not asked_for(*views):
                raise
        wanted = asked_for(*views)
        self._wanted.update(wanted)
        return [True, False] if wanted else [found]

    def _unseen(self, facts: Facts) -> frozenset[str]:
        """Return factors, enrolled or standing in, that are declared here and were not then: nobody looked for them."""
        if facts.declared is None:
            return frozenset()
        registry = self._user.registry
        unseen = registry.rules.substitutes.union(facts.enrolled).intersection(registry.declared) - {*facts.declared}
        self._wanted.update(f"the credential of {name}" for name in unseen)
        return unseen

    def _only(self, verdicts: Iterable[Verdict]) -> Verdict:
        """Return the one verdict that all come to.

        Raises:
            _CannotTell: They do not agree.
        """
        found = list(verdicts)
        if any(verdict != found[0] for verdict in found):
            raise _CannotTell(f"cannot tell: it hangs on {' and '.join(sorted(self._wanted))}, which no trace holds")
        return found[0]


class _CannotTell(Exception):
    """What comes of a flow hangs on something that its traces do not hold."""


def _is_stored(flow: Flow) -> bool:
    return bool(flow.proofs) or flow.kind is FlowKind.ENROL


def _impossible(error: Exception) -> str:
    """Say why there is no such way: the table has no edge, or a method of the application's own did not bear it."""
    return (
        f"impossible: {error}" if isinstance(error, AuthflowError) else f"impossible: {type(error).__name__}: {error}"
    )


def _outcome(flow: Flow, refusal: str) -> str:
    found = flow.trace[-1].partition(":")[2] if flow.trace and flow.trace[-1].startswith("refused:") else refusal
    return told(flow.state, flow.owed, refusal_kept(found) if found else "")
