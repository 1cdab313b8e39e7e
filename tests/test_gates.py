"""What must hold before a flow may move: open, in time, about its account, and able to go on under this definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from authflow.errors import DefinitionChanged, FlowInvalid, NoMethodLeft, TooLate
from authflow.flow import Flow, FlowKind, FlowState, Owing, Refusal, Step, StepKind
from authflow.gates import SEVERAL, Definition, demand_stored, demand_travelling, owed_by_both
from authflow.model import Factor, Proof

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
WORD = Proof("word", Factor.KNOWLEDGE, NOW, "f", 0, "ada")


def prove(*names: str, substitutes: tuple[str, ...] = ()) -> Step:
    return Step(StepKind.PROVE, names, substitutes)


def enrol(*names: str) -> Step:
    return Step(StepKind.ENROL, names)


FRESH = Flow(
    "f", FlowKind.LOGIN, FlowState.ASKING, (prove("word", "elsewhere"),), NOW, NOW + timedelta(hours=1),
    fingerprint="old", return_to="/wanted",
)  # fmt: skip
STORED = replace(
    FRESH, owed=(prove("amber"),), provider="amber", proofs=(WORD,), subject="ada", epoch=3, step=1
)  # fmt: skip


def definition(*steps: Step, offered: tuple[str, ...] = ("word", "elsewhere", "amber", "beryl", "paper")) -> Definition:
    return Definition(Owing(steps), offered, ("amber",))


def travelling(flow: Flow, here: Definition | None = None, *, provider: str = "", fingerprint: str = "new") -> Flow:
    return demand_travelling(flow, now=NOW, fingerprint=fingerprint, definition=here, provider=provider)


def stored(
    flow: Flow, here: Definition | None = None, *, provider: str = "", fingerprint: str = "new", **facts
) -> Flow:
    known = {"now": NOW, "epoch": 3, "is_active": True} | facts
    return demand_stored(flow, **known, fingerprint=fingerprint, definition=here, provider=provider)


# --- Under its own definition -----------------------------------------------------------------------------------------


def test_a_flow_in_time_passes_as_it_is() -> None:
    assert travelling(FRESH, fingerprint="old") is FRESH
    assert stored(STORED, fingerprint="old") is STORED


@pytest.mark.parametrize("gate", [travelling, stored])
@pytest.mark.parametrize("state", [FlowState.COMPLETED, FlowState.REFUSED, FlowState.CANCELLED, FlowState.EXPIRED])
def test_an_ended_flow_passes_nowhere(gate: Callable[..., Flow], state: FlowState) -> None:
    for fingerprint in ("old", "new"):
        with pytest.raises(FlowInvalid):
            gate(replace(STORED, state=state), definition(prove("amber")), fingerprint=fingerprint)


def test_a_flow_ends_with_its_deadline() -> None:
    with pytest.raises(FlowInvalid):
        travelling(replace(FRESH, deadline_at=NOW), fingerprint="old")
    with pytest.raises(TooLate):
        stored(replace(STORED, deadline_at=NOW), fingerprint="old")


@pytest.mark.parametrize("facts", [{"epoch": 4}, {"epoch": None}, {"is_active": False}])
def test_a_stored_flow_ends_with_its_account_whatever_the_definition(facts: dict[str, object]) -> None:
    for fingerprint in ("old", "new"):
        with pytest.raises(FlowInvalid, match="account has changed"):
            stored(STORED, definition(prove("amber")), fingerprint=fingerprint, **facts)


# --- Under another definition -----------------------------------------------------------------------------------------


def test_without_a_definition_to_ask_a_flow_of_elsewhere_ends_and_says_where_it_led() -> None:
    for gate, flow in ((travelling, FRESH), (stored, STORED)):
        with pytest.raises(DefinitionChanged) as told:
            gate(flow)
        assert told.value.return_to == "/wanted"


def test_a_flow_that_owes_the_same_goes_on_and_belongs_to_several_definitions() -> None:
    assert stored(STORED, definition(prove("amber"))) == replace(STORED, fingerprint=SEVERAL)


def test_what_either_definition_demands_is_owed() -> None:
    more = stored(STORED, definition(prove("amber"), prove("beryl")))
    less = stored(replace(STORED, owed=(prove("amber"), prove("beryl"))), definition(prove("beryl")))

    assert more.owed == (prove("amber"), prove("beryl"))
    assert less.owed == (prove("amber"), prove("beryl"))


def test_a_step_is_left_to_those_that_both_accept() -> None:
    flow = replace(STORED, owed=(prove("amber", "beryl", substitutes=("paper",)),))

    carried = stored(flow, definition(prove("amber", "coral", substitutes=("paper",))))

    assert carried.owed == (prove("amber", substitutes=("paper",)),)
    assert (carried.state, carried.provider) == (FlowState.ASKING, "amber")


def test_a_form_that_only_the_other_definition_asks_is_shut_and_none_opened_in_its_place() -> None:
    flow = replace(STORED, owed=(prove("amber", "beryl"),), provider="beryl", state=FlowState.AWAY)

    carried = stored(flow, definition(prove("amber")))

    assert (carried.state, carried.provider) == (FlowState.CHOOSING, "")
    with pytest.raises(DefinitionChanged):
        stored(flow, definition(prove("amber")), provider="beryl")


@pytest.mark.parametrize(
    ("owed", "here"),
    [
        ((prove("amber"),), definition(prove("beryl"), offered=("word", "beryl"))),
        ((prove("amber"),), definition(offered=("word", "beryl"))),
        ((prove("amber", substitutes=("paper",)),), definition(prove("beryl"), offered=("word", "beryl", "paper"))),
        ((enrol("beryl"),), definition(enrol("amber"))),
        ((enrol("amber"),), definition(enrol("amber"), prove("beryl"))),
    ],
    ids=["another factor", "no factor", "a substitute alone", "another enrolment", "more than an enrolment"],
)
def test_what_cannot_be_done_here_ends_the_flow(owed: tuple[Step, ...], here: Definition) -> None:
    with pytest.raises(DefinitionChanged):
        stored(replace(STORED, owed=owed, provider="", state=FlowState.CHOOSING), here)


def test_what_this_definition_demands_later_and_nobody_here_can_answer_ends_the_flow_before_a_code_is_spent() -> None:
    with pytest.raises(DefinitionChanged):
        stored(STORED, definition(prove("amber"), prove("coral")))


@pytest.mark.parametrize(("minutes", "ends_after"), [(10, 10), (60, 30)], ids=["shorter here", "shorter there"])
def test_a_flow_ends_in_the_time_of_both_definitions(minutes: int, ends_after: int) -> None:
    here = replace(definition(prove("amber")), window=timedelta(minutes=minutes))
    later = replace(WORD, provider="beryl", at=NOW + timedelta(minutes=5), step=1)
    flow = replace(STORED, deadline_at=NOW + timedelta(minutes=30), proofs=(WORD, later), step=2)

    assert stored(flow, here).deadline_at == NOW + timedelta(minutes=ends_after)
    assert stored(flow, here, now=NOW + timedelta(minutes=ends_after, seconds=-1)).is_open
    with pytest.raises(TooLate):
        stored(flow, here, now=NOW + timedelta(minutes=ends_after))


def test_an_enrolment_ends_in_the_time_of_both_definitions_too() -> None:
    flow = replace(STORED, kind=FlowKind.ENROL, owed=(enrol("amber"),), proofs=())

    assert stored(
        flow, replace(definition(enrol("amber")), window=timedelta(minutes=2))
    ).deadline_at == NOW + timedelta(minutes=2)


def test_what_proves_nothing_yet_travels_as_long_as_it_was_let() -> None:
    here = replace(definition(prove("word")), window=timedelta(minutes=2))

    assert travelling(FRESH, here, provider="word").deadline_at == FRESH.deadline_at


def test_a_definition_that_sees_no_way_on_says_why() -> None:
    for gate, flow in ((travelling, FRESH), (stored, STORED)):
        with pytest.raises(NoMethodLeft) as told:
            gate(flow, Definition(Refusal("factor_unavailable")))
        assert told.value.code == "factor_unavailable"


def test_a_flow_that_proved_nothing_is_taken_over_with_the_first_step_of_here() -> None:
    carried = travelling(FRESH, definition(prove("word")), provider="word")

    assert (carried.owed, carried.fingerprint) == ((prove("word"),), "new")
    assert (carried.id, carried.return_to) == ("f", "/wanted")


def test_a_flow_that_proved_nothing_keeps_a_second_step_that_is_known_already() -> None:
    carried = travelling(replace(FRESH, owed=(prove("word"), prove("amber"))), definition(prove("word")))

    assert (carried.owed, carried.fingerprint) == ((prove("word"), prove("amber")), SEVERAL)


def test_a_form_of_a_first_step_that_is_not_offered_here_ends_its_flow() -> None:
    with pytest.raises(DefinitionChanged):
        travelling(FRESH, definition(prove("word"), offered=("word",)), provider="elsewhere")


# --- After a proof ----------------------------------------------------------------------------------------------------


def test_after_a_proof_a_flow_of_one_definition_owes_what_that_says() -> None:
    assert owed_by_both(replace(STORED, owed=(prove("amber"), prove("beryl"))), Owing()) == Owing()


def test_after_a_proof_a_flow_of_several_owes_the_rest_of_both() -> None:
    flow = replace(STORED, owed=(prove("amber"), prove("beryl")), fingerprint=SEVERAL)

    assert owed_by_both(flow, Owing()) == Owing((prove("beryl"),))
    assert owed_by_both(flow, Owing((prove("coral"),))) == Owing((prove("beryl"), prove("coral")))
    assert owed_by_both(flow, Owing((prove("beryl", "coral"),))) == Owing((prove("beryl"),))
    assert owed_by_both(flow, Refusal("no_method_left")) == Refusal("no_method_left")


def test_what_cannot_be_put_into_one_row_of_steps_is_refused() -> None:
    flow = replace(STORED, owed=(prove("amber"), enrol("beryl")), fingerprint=SEVERAL)

    assert owed_by_both(flow, Owing((enrol("coral"),))) == Refusal("definition_changed")
