"""Questions that are asked beside the exploration, each of everything there is: levels, sequences of proofs, starts."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations_with_replacement, permutations, product

from authflow import flow as table
from authflow import policy
from authflow.declarations import table_problems
from authflow.errors import IllegalTransition
from authflow.flow import (
    DeadlinePassed,
    Flow,
    FlowCancelled,
    FlowEvent,
    FlowKind,
    FlowRefused,
    FlowState,
    NotesTaken,
    Owing,
    ProviderChosen,
    Refusal,
    SentAway,
    Step,
    StepCompleted,
    StepKind,
    SubmissionRejected,
)
from authflow.model import Factor, Proof
from authflow.policy import CONSENT, TICKET
from authflow.proving.expectations import NOTHING_MORE, Closed, Given, asked
from authflow.proving.ground import Ground
from authflow.proving.moves import OWN
from authflow.proving.scenes import ADA, BEGAN, Scene
from authflow.proving.served import LOGS_IN, TRAVELS_FOR

_LONGEST = 3
_FULLY = 3
"""Scenes in which the longest sequences are asked about, too."""


def sweep_tables(ground: Ground) -> None:
    """Look at the table as it is written."""
    transitions = table.TRANSITIONS if ground.user.transitions is None else ground.user.transitions
    for problem in table_problems(transitions):
        ground.report.violated("table", problem, "the table", ())


def sweep_bounds(ground: Ground) -> None:
    """Move a flow by tables that allow nothing, or something else: what is not in a table does not happen."""
    report = ground.report
    flow = Flow(OWN, FlowKind.LOGIN, FlowState.ASKING, (Step(StepKind.PROVE, ("one",)),), BEGAN, BEGAN + TRAVELS_FOR)
    proof = Proof("one", Factor.KNOWLEDGE, BEGAN, OWN, 0, ADA)
    events: tuple[FlowEvent, ...] = (
        StepCompleted(proof, 1, Owing(())), ProviderChosen("one"), SubmissionRejected("one", "wrong"), SentAway("one"),
        NotesTaken("one", {}), FlowRefused("no"), FlowCancelled(), DeadlinePassed(),
    )  # fmt: skip
    for event in events:
        for row in ({}, {type(event): frozenset[FlowState]()}, {type(event): frozenset({FlowState.CHOOSING})}):
            report.checks += 1
            try:
                moved = table.advance(flow, event, dict.fromkeys(FlowState, row))
            except IllegalTransition:
                continue
            except Exception as error:
                report.violated("answered", f"{type(error).__name__}: {error}", "a table that allows nothing")
                continue
            told = f"{type(event).__name__} leads to {moved.state}, which the table does not say"
            report.violated("table", told, "a table that allows nothing")


def sweep_levels(ground: Ground) -> None:
    """Ask for the level of every set of kinds of evidence, up to four proofs."""
    report = ground.report
    for count in range(5):
        for factors in combinations_with_replacement(Factor, count):
            proofs = [Proof(f"p{n}", factor, BEGAN, OWN, n, ADA) for n, factor in enumerate(factors)]
            told = ", ".join(factors) or "nothing"
            report.checks += 1
            try:
                level = int(policy.reached_level(proofs))
            except Exception as error:
                report.violated("answered", f"{type(error).__name__}: {error}", f"the level of {told}")
                continue
            counting = [factor for factor in factors if factor != "mailbox"]
            own = [factor for factor in counting if factor in ("possession", "inherence")]
            other = [factor for factor in counting if not own or factor != own[0]]
            want = 0 if not counting else 2 if own and other else 1
            if level != want:
                report.violated("level", f"{level} instead of {want}", f"the level of {told}")


def sweep_starts(ground: Ground) -> None:
    """Start flows that owe nothing, or that are refused."""
    report = ground.report
    common = {"flow_id": OWN, "created_at": BEGAN, "deadline_at": BEGAN + TRAVELS_FOR}
    steps = (Step(StepKind.PROVE, ("one", "other")), Step(StepKind.PROVE, ("third",)))
    for kind in FlowKind:
        report.checks += 3
        for verdict in (Owing(()), Refusal("shown_the_door"), Owing(steps)):
            try:
                flow = table.start(kind=kind, verdict=verdict, **common)  # type: ignore[arg-type]
            except IllegalTransition:
                if verdict != Owing(()):
                    report.violated("goal", f"{verdict} cannot be started", f"{kind}")
                continue
            except Exception as error:
                report.violated("answered", f"{type(error).__name__}: {error}", f"{kind}")
                continue
            if verdict == Owing(()):
                report.violated("goal", "a flow that asks for nothing can be started", f"{kind}")
            elif isinstance(verdict, Refusal):
                if flow.state is not FlowState.REFUSED or flow.owed:
                    report.violated("goal", f"{flow.state} at the start of a flow that is refused", f"{kind}")
            elif flow.owed != steps or flow.state is not FlowState.ASKING or flow.provider:
                report.violated("goal", f"{flow.state} owing {len(flow.owed)} of {len(steps)} steps", f"{kind}")


def sweep_sequences(ground: Ground, kind: FlowKind, scenes: Iterable[Scene]) -> None:
    """Ask what is owed after every sequence of proofs, also such as no flow can come to."""
    report, user, facts = ground.report, ground.user, ground.facts
    names = (*facts.primaries, *facts.factors, *facts.substitutes, TICKET, CONSENT)
    short = [sequence for count in range(_LONGEST) for sequence in product(names, repeat=count)]
    # One provider may be proved twice, but not among three.
    long = list(permutations(names, _LONGEST))
    for number, scene in enumerate(scenes):
        standing = scene.loaded.standing(
            user.registry.providers, is_active=scene.is_active, demands_second_factor=scene.is_demanded
        )
        for sequence in (*short, *long) if number < _FULLY else short:
            report.checks += 1
            proofs = tuple(
                Proof(name, ground.moves.factor(name), BEGAN, OWN, n, ADA) for n, name in enumerate(sequence)
            )
            about = f"{kind} of an account that {scene.told}"
            path = (f"proved so far: {', '.join(sequence) or 'nothing'}",)
            try:
                verdict = user.remaining_steps(kind, proofs, standing)
                blind = user.remaining_steps(kind, proofs, None) if kind in (*LOGS_IN, FlowKind.ENROL) else Refusal("")
            except Exception as error:
                report.violated("answered", f"{type(error).__name__}: {error}", about, path)
                continue
            if blind == Owing(()):
                report.violated("evidence", "nothing is owed although nobody is known", about, path)
            given = [Given(StepKind.PROVE, name) for name in sequence]
            want = asked(facts, kind, scene, given)
            if verdict == Owing(()) and want != NOTHING_MORE:
                lacking = want.invariant if isinstance(want, Closed) else "demanded"
                report.violated(lacking, "nothing more is owed", about, path)
            elif ground.is_stock_policy and not _agrees(verdict, want):
                report.violated("way-in" if want == NOTHING_MORE else "demanded", f"{verdict}", about, path)


def _agrees(verdict: object, want: object) -> bool:
    if isinstance(want, Closed):
        return isinstance(verdict, Refusal)
    if not isinstance(verdict, Owing):
        return False
    if want == NOTHING_MORE:
        return not verdict.steps
    first = verdict.steps[0] if verdict.steps else None
    return first is not None and (first.kind, first.providers, first.substitutes) == (
        want.kind,  # type: ignore[attr-defined]
        want.providers,  # type: ignore[attr-defined]
        want.substitutes,  # type: ignore[attr-defined]
    )
