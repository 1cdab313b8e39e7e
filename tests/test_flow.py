"""The flow: a complete and closed table, no end without each owed proof, and writing and reading back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authflow.errors import IllegalTransition
from authflow.flow import (
    FINAL_STATES,
    MAX_REJECTIONS,
    MAX_TRACE,
    SESSION_KINDS,
    TRANSITIONS,
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
    advance,
    start,
)
from authflow.model import Factor, Proof
from authflow.policy import CONSENT, TICKET, Rules, Standing, remaining_steps

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
EVENTS: tuple[type, ...] = get_args(FlowEvent)
TWO = Step(StepKind.PROVE, ("totp", "key"), ("codes",))
ONE = Step(StepKind.PROVE, ("totp",), ("codes",))


def proof(provider: str = "totp", *, flow_id: str = "f", step: int = 1, subject: str = "ada") -> Proof:
    return Proof(provider, Factor.POSSESSION, NOW, flow_id, step, subject)


def flow_in(state: FlowState, *owed: Step, **more) -> Flow:
    values = {
        "proofs": (proof("password", step=0),), "subject": "ada", "epoch": 1, "step": 1,
        "provider": "" if state is FlowState.CHOOSING else "totp", "scratch": {"totp": {"note": "private"}},
    }  # fmt: skip
    return Flow("f", FlowKind.LOGIN, state, owed or (TWO,), NOW, NOW, **(values | more))


def an_event(of: type) -> FlowEvent:
    return {
        StepCompleted: StepCompleted(proof(), 1, Owing()),
        ProviderChosen: ProviderChosen("totp"),
        SubmissionRejected: SubmissionRejected("totp", "code_wrong"),
        SentAway: SentAway("totp"),
        NotesTaken: NotesTaken("totp", {"note": "new"}),
        FlowRefused: FlowRefused("because"),
        FlowCancelled: FlowCancelled(),
        DeadlinePassed: DeadlinePassed(),
    }[of]


# --- The table --------------------------------------------------------------------------------------------------------


def test_the_table_has_a_row_for_every_state_and_names_only_known_events() -> None:
    assert set(TRANSITIONS) == set(FlowState)
    assert {event for row in TRANSITIONS.values() for event in row} <= set(EVENTS)


@pytest.mark.parametrize("of", EVENTS)
@pytest.mark.parametrize("state", FlowState)
def test_an_event_moves_a_flow_as_the_table_says_or_not_at_all(state: FlowState, of: type) -> None:
    flow = flow_in(state)
    before = repr(flow), dict(flow.scratch)

    if of in TRANSITIONS[state]:
        assert advance(flow, an_event(of)).state in TRANSITIONS[state][of]
    else:
        with pytest.raises(IllegalTransition):
            advance(flow, an_event(of))

    assert (repr(flow), dict(flow.scratch)) == before


@pytest.mark.parametrize("state", sorted(FINAL_STATES))
def test_nothing_leads_out_of_a_final_state(state: FlowState) -> None:
    assert TRANSITIONS[state] == {}
    assert flow_in(state).open_step is None
    assert not flow_in(state).accepts("totp")


@pytest.mark.parametrize("state", sorted(set(FlowState) - FINAL_STATES))
@pytest.mark.parametrize(
    ("event", "end"),
    [
        (DeadlinePassed(), FlowState.EXPIRED),
        (FlowCancelled(), FlowState.CANCELLED),
        (FlowRefused("because"), FlowState.REFUSED),
    ],
)
def test_every_open_flow_can_end_and_loses_its_notes_then(state: FlowState, event: FlowEvent, end: FlowState) -> None:
    ended = advance(flow_in(state), event)

    assert (ended.state, ended.is_open, ended.scratch) == (end, False, {})


def test_a_flow_that_asks_for_nothing_does_not_start() -> None:
    with pytest.raises(IllegalTransition):
        start(flow_id="f", kind=FlowKind.LOGIN, verdict=Owing(), created_at=NOW, deadline_at=NOW)


def test_a_refusal_at_the_start_is_final() -> None:
    flow = start(flow_id="f", kind=FlowKind.LOGIN, verdict=Refusal("closed"), created_at=NOW, deadline_at=NOW)

    assert (flow.state, flow.is_open, flow.owed) == (FlowState.REFUSED, False, ())


# --- Proofs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "foreign",
    [
        proof(flow_id="another"),
        proof(step=0),
        proof(step=2),
        proof(subject="bob"),
        proof(subject=""),
        proof("password"),
        proof("unheard_of"),
    ],
)
@pytest.mark.parametrize("state", [FlowState.ASKING, FlowState.AWAY])
def test_a_foreign_proof_completes_nothing(state: FlowState, foreign: Proof) -> None:
    with pytest.raises(IllegalTransition):
        advance(flow_in(state), StepCompleted(foreign, 1, Owing()))


def test_a_proof_under_another_epoch_completes_nothing() -> None:
    with pytest.raises(IllegalTransition):
        advance(flow_in(FlowState.ASKING), StepCompleted(proof(), 2, Owing()))


def test_a_proof_is_good_once() -> None:
    after = advance(flow_in(FlowState.ASKING), StepCompleted(proof(), 1, Owing((ONE,))))

    with pytest.raises(IllegalTransition):
        advance(after, StepCompleted(proof(), 1, Owing()))


def test_the_first_proof_fixes_subject_and_epoch() -> None:
    flow = flow_in(FlowState.ASKING, subject="", epoch=0, step=0, proofs=())

    moved = advance(flow, StepCompleted(proof(step=0), 7, Owing((ONE,))))

    assert (moved.subject, moved.epoch, moved.step) == ("ada", 7, 1)


def test_a_substitute_completes_the_step_it_stands_in_for() -> None:
    assert advance(flow_in(FlowState.ASKING), StepCompleted(proof("codes"), 1, Owing())).state is FlowState.COMPLETED


@pytest.mark.parametrize("state", [FlowState.ASKING, FlowState.CHOOSING, FlowState.AWAY])
def test_only_a_provider_of_the_open_step_can_be_chosen(state: FlowState) -> None:
    with pytest.raises(IllegalTransition):
        advance(flow_in(state), ProviderChosen("password"))


def test_several_offered_providers_make_a_choice_owed_and_a_substitute_does_not() -> None:
    flow = flow_in(FlowState.ASKING)

    assert advance(flow, StepCompleted(proof(), 1, Owing((TWO,)))).state is FlowState.CHOOSING
    assert advance(flow, StepCompleted(proof(), 1, Owing((ONE,)))).provider == "totp"


# --- Every short history ----------------------------------------------------------------------------------------------

RULES = Rules(
    pairs=(("password", "totp"), ("password", "key"), ("password", None)),
    second_factors=("totp", "key", "codes"),
    substitutes=frozenset({"codes"}),
    enrollable=frozenset({"totp"}),
    passwords=("password",),
)
NO_FACTOR = Standing(is_active=True, present=frozenset({"password"}))
BOTH = Standing(is_active=True, enrolled=("totp", "key"), present=frozenset({"password", "totp", "key", "codes"}))
DEMANDED = replace(NO_FACTOR, demands_second_factor=True)
DISABLED = replace(BOTH, is_active=False)
AFTER_PASSWORD = {("password", "totp"), ("password", "key"), ("password", "codes")}
WAYS: dict[tuple[FlowKind, str], set[tuple[str, ...]]] = {
    (FlowKind.LOGIN, "none"): {("password",)},
    (FlowKind.LOGIN, "both"): AFTER_PASSWORD,
    (FlowKind.LOGIN, "demanded"): {("password", "totp")},
    (FlowKind.STEP_UP, "both"): {("totp",), ("key",)},
    (FlowKind.ENROL, "none"): {("totp",)},
    (FlowKind.ENROL, "both"): {("totp",)},
    (FlowKind.ENROL, "demanded"): {("totp",)},
}
WAYS |= {(FlowKind.REAUTHENTICATE, name): WAYS[FlowKind.LOGIN, name] for name in ("none", "both", "demanded")}
for _standing in ("none", "both", "demanded", "disabled"):
    WAYS[FlowKind.RECOVER, _standing] = WAYS[FlowKind.SETUP, _standing] = {(TICKET, "password")}
    WAYS[FlowKind.VERIFY, _standing] = {(TICKET, CONSENT)}
    WAYS[FlowKind.REGISTER, _standing] = WAYS[FlowKind.SETTINGS, _standing] = {("password",)}


def every_event(flow: Flow, standing: Standing) -> Iterator[FlowEvent]:
    names = (*RULES.primaries, *RULES.second_factors, TICKET, CONSENT)
    proofs = [proof(name, step=flow.step) for name in names]
    proofs += [replace(good, **bad) for good in proofs for bad in (
        {"flow_id": "another"}, {"step": flow.step + 1}, {"subject": "bob" if flow.subject else ""},
    )]  # fmt: skip
    for made in (*proofs, *flow.proofs):
        yield StepCompleted(made, 1, remaining_steps(flow.kind, (*flow.proofs, made), RULES, standing))
    for name in names:
        yield from (ProviderChosen(name), SubmissionRejected(name, "no"), SentAway(name), NotesTaken(name, {"n": 1}))
    yield from (FlowRefused("because"), FlowCancelled(), DeadlinePassed())


@pytest.mark.parametrize("kind", FlowKind)
@pytest.mark.parametrize(
    ("name", "standing"), [("none", NO_FACTOR), ("both", BOTH), ("demanded", DEMANDED), ("disabled", DISABLED)]
)
def test_no_history_of_five_events_completes_without_each_owed_proof(
    kind: FlowKind, name: str, standing: Standing
) -> None:
    first = remaining_steps(kind, (), RULES, standing)
    begun = start(flow_id="f", kind=kind, verdict=first, created_at=NOW, deadline_at=NOW)
    level, seen, completed = [begun], set(), set()

    for _ in range(5):
        following = []
        for flow in level:
            for event in every_event(flow, standing):
                try:
                    moved = replace(advance(flow, event), trace=())
                except IllegalTransition:
                    continue
                # Where a flow can go depends on all but its trace, so one of equal flows stands for all.
                if repr(moved) not in seen:
                    seen.add(repr(moved))
                    following.append(moved)
                if moved.state is FlowState.COMPLETED:
                    completed.add(tuple(made.provider for made in moved.proofs))
                    assert [made.step for made in moved.proofs] == list(range(len(moved.proofs)))
                    assert {(made.flow_id, made.subject) for made in moved.proofs} == {("f", "ada")}
                assert bool(moved.owed) or not moved.is_open
        level = following

    assert completed == WAYS.get((kind, name), set())


def test_only_three_kinds_may_end_in_a_session() -> None:
    assert {FlowKind.LOGIN, FlowKind.REAUTHENTICATE, FlowKind.STEP_UP} == SESSION_KINDS


# --- Bounds -----------------------------------------------------------------------------------------------------------


def test_a_flow_ends_after_ten_rejections_and_loses_its_notes() -> None:
    flow = flow_in(FlowState.ASKING)

    for _ in range(MAX_REJECTIONS - 1):
        flow = advance(flow, SubmissionRejected("totp", "code_wrong"))
        assert flow.is_open
    flow = advance(flow, SubmissionRejected("totp", "code_wrong"))

    assert (flow.state, flow.scratch) == (FlowState.REFUSED, {})


def test_choosing_again_does_not_reset_the_rejections() -> None:
    flow = flow_in(FlowState.ASKING)

    for _ in range(3):
        flow = advance(flow, SubmissionRejected("totp", "code_wrong"))
        flow = advance(flow, ProviderChosen("key"))

    assert flow.rejections == 3


def test_the_trace_is_bounded_and_the_newest_stays() -> None:
    flow = flow_in(FlowState.ASKING)

    for _ in range(3 * MAX_TRACE):
        flow = advance(flow, SentAway("totp"))
    flow = advance(flow, FlowCancelled())

    assert len(flow.trace) == MAX_TRACE
    assert flow.trace[-1] == "cancelled"


def test_a_providers_notes_end_with_its_step_and_others_stay() -> None:
    flow = flow_in(FlowState.ASKING, scratch={"totp": {"n": 1}, "key": {"n": 2}})

    assert advance(flow, StepCompleted(proof(), 1, Owing((ONE,)))).scratch == {"key": {"n": 2}}


def test_repr_shows_no_notes() -> None:
    noted = NotesTaken("totp", {"secret": "canary"})

    assert "canary" not in repr(noted)
    assert "canary" not in repr(advance(flow_in(FlowState.ASKING), noted))
    assert "canary" not in str(advance(flow_in(FlowState.ASKING), noted).to_data())


# --- Writing and reading ----------------------------------------------------------------------------------------------

texts = st.text(max_size=8)
names = st.sampled_from(["password", "totp", "key", "codes"])
instants = st.datetimes(timezones=st.just(UTC))
steps = st.builds(Step, st.sampled_from(StepKind), st.lists(names).map(tuple), st.lists(names).map(tuple))
proofs = st.builds(Proof, names, st.sampled_from(Factor), instants, texts, st.integers(0, 9), texts, texts)
flows = st.builds(
    Flow,
    id=texts,
    kind=st.sampled_from(FlowKind),
    state=st.sampled_from(FlowState),
    owed=st.lists(steps, max_size=3).map(tuple),
    created_at=instants,
    deadline_at=instants,
    provider=names,
    proofs=st.lists(proofs, max_size=3).map(tuple),
    subject=texts,
    epoch=st.integers(0, 99),
    step=st.integers(0, 9),
    return_to=texts,
    fingerprint=texts,
    rejections=st.integers(0, 9),
    scratch=st.dictionaries(names, st.dictionaries(texts, texts, max_size=2), max_size=2),
    trace=st.lists(texts, max_size=5).map(tuple),
)


@given(flows)
def test_what_was_written_is_read_back_except_the_notes(flow: Flow) -> None:
    assert Flow.from_data(flow.to_data()) == replace(flow, scratch={})
    assert Flow.from_data(flow.to_data(), flow.scratch) == flow


def test_an_instant_is_kept_to_the_microsecond() -> None:
    flow = replace(flow_in(FlowState.ASKING), deadline_at=NOW + timedelta(microseconds=1))

    assert Flow.from_data(flow.to_data()).deadline_at == NOW + timedelta(microseconds=1)
