"""What is drawn is what the functions that serve answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authflow.apart import apart
from authflow.diagrams.cases import DEMANDED, INACTIVE, ORPHANED, Cases, _cover, demanding
from authflow.diagrams.cases import cases as list_cases
from authflow.diagrams.graph import Arrow, Drawing, StepNode
from authflow.errors import BadInput, IllegalTransition
from authflow.flow import (
    TRANSITIONS,
    Flow,
    FlowEvent,
    FlowKind,
    Owing,
    SentAway,
    Step,
    StepCompleted,
    StepKind,
    Verdict,
)
from authflow.model import Account, Proof
from authflow.policy import Standing
from authflow.registry import ProviderSpec
from authflow.settings import from_environment
from authflow.user import User
from providers.time_based_otp import TimeBasedOTP
from tests.diagrams.kit import Demanding, drawn

FACTS = ("a", "b", "c", ORPHANED, DEMANDED)


def of(user: User, kind: FlowKind = FlowKind.LOGIN) -> Drawing:
    drawing = drawn(user, [kind]).flows[0].drawing
    assert drawing is not None
    return drawing


def ways(drawing: Drawing, step: StepNode | None = None) -> set[tuple[str, str, str]]:
    """Return provider, condition and outcome of what leads on from a step."""
    arrows: Sequence[Arrow] = (step or drawing.steps[0]).arrows
    found = set()
    for arrow in arrows:
        target = drawing.named(arrow.target)
        said = f"{target.kind} {target.offered}" if isinstance(target, StepNode) else target.words
        found |= {(name, arrow.condition, said) for name in arrow.answers}
    return found


def test_the_stock_login_owes_what_the_pairs_say() -> None:
    assert ways(of(User())) == {
        (primary, *way)
        for primary in ("user_password", "google_account")
        for way in (
            ("has time_based_otp", "prove ('time_based_otp',)"),
            ("no second factor", "logged in, AAL1"),
            ("no time_based_otp, an orphaned factor", "refused: factor_unavailable"),
            ("not active", "refused: account_inactive"),
        )
    }


def test_a_substitute_is_taken_and_not_offered() -> None:
    drawing = of(User())
    second = drawing.steps[1]

    assert (second.offered, second.substitutes) == (("time_based_otp",), ("recovery_codes",))
    assert ways(drawing, second) == {
        ("time_based_otp", "", "logged in, AAL2"),
        ("recovery_codes", "", "logged in, AAL2"),
    }


def test_a_role_that_demands_a_factor_leads_to_its_enrolment() -> None:
    drawing = of(Demanding())

    assert (
        "user_password",
        "no second factor, demanded (role admin)",
        "enrol ('time_based_otp', 'code_by_mail')",
    ) in ways(drawing)
    assert any(step.is_choice and step.kind is StepKind.ENROL for step in drawing.steps)


def test_a_level_is_that_of_the_proofs_and_not_of_the_steps() -> None:
    drawing = of(Demanding())
    by_mail = next(step for step in drawing.steps if step.offered == ("code_by_mail",))

    assert ("code_by_mail", "", "logged in, AAL1") in ways(drawing, by_mail)


def test_recovery_verification_and_set_up_log_nobody_in() -> None:
    for kind in (FlowKind.RECOVER, FlowKind.VERIFY, FlowKind.SETUP):
        assert [end.words for end in of(User(), kind).ends] == ["done; logs nobody in"]


class Closed(User):
    authentication_providers = ("providers.google_account:GoogleAccount",)


def test_what_cannot_begin_is_said_to_be_closed() -> None:
    stock = {flow.kind: flow.closed for flow in drawn().flows}
    without = {flow.kind: flow.closed for flow in drawn(Closed()).flows}

    assert stock[FlowKind.REGISTER] == "registration_enabled of user_password is off"
    assert [kind for kind, closed in stock.items() if closed] == [FlowKind.REGISTER]
    assert {FlowKind.RECOVER, FlowKind.SETUP, FlowKind.VERIFY, FlowKind.REGISTER} == {
        kind for kind, closed in without.items() if closed
    }


# --- Policies of the application's own --------------------------------------------------------------------------------


class Breaking(User):
    def remaining_steps(self, kind: FlowKind, proofs: Sequence[Proof], standing: Standing | None) -> Verdict:
        if standing is not None and "time_based_otp" in standing.enrolled:
            raise KeyError("oops")
        return super().remaining_steps(kind, proofs, standing)


def test_a_policy_that_raises_is_drawn_as_a_fault() -> None:
    assert ("user_password", "has time_based_otp", "fault: KeyError: 'oops'") in ways(of(Breaking()))


class Endless(User):
    def remaining_steps(self, kind: FlowKind, proofs: Sequence[Proof], standing: Standing | None) -> Verdict:
        return Owing((Step(StepKind.PROVE, ("user_password",)),))


def test_a_flow_without_end_is_drawn_as_one() -> None:
    assert [end.words for end in of(Endless()).ends] == ["not ended after 8 steps"]


class AtHome(User):
    """Sends nobody anywhere."""

    transitions: ClassVar = {
        state: {event: targets for event, targets in edges.items() if event is not SentAway}
        for state, edges in TRANSITIONS.items()
    }


def test_what_the_table_leaves_out_is_said() -> None:
    assert ("sent to a remote party", "cannot happen", ()) in of(AtHome()).around
    assert ("sent to a remote party", "away", ()) in of(User()).around


class Stuck(User):
    """Completes no step."""

    def advance(self, flow: Flow, event: FlowEvent) -> Flow:
        if isinstance(event, StepCompleted):
            raise IllegalTransition("no step is ever done")
        return super().advance(flow, event)


def test_an_application_in_which_no_step_completes_leads_to_a_fault() -> None:
    assert {end.words for end in of(Stuck()).ends} == {"fault: no step is ever done"}


def test_ten_wrong_answers_end_a_flow() -> None:
    assert ("wrong answer", "asking, at the 10th refused", ()) in of(User()).around


class ByRight(User):
    def demands_second_factor(self, account: Account, flow) -> bool:  # type: ignore[no-untyped-def]
        return "root" in account.access or (flow.kind is FlowKind.REAUTHENTICATE and "editor" in account.roles)


class Everybody(User):
    def demands_second_factor(self, account: Account, flow) -> bool:  # type: ignore[no-untyped-def]
        return True


def test_what_demands_a_factor_is_found_by_asking_the_hook() -> None:
    assert demanding(User(), FlowKind.LOGIN) == ()
    assert demanding(Demanding(), FlowKind.LOGIN) == ("role admin",)
    assert demanding(ByRight(), FlowKind.LOGIN) == ("right root",)
    assert demanding(ByRight(), FlowKind.REAUTHENTICATE) == ("role editor", "right root")
    assert demanding(Everybody(), FlowKind.LOGIN) == ("of everybody",)


def test_where_everybody_must_have_a_factor_nobody_gets_in_without() -> None:
    assert "logged in, AAL1" not in {words for _, _, words in ways(of(Everybody()))}


def test_no_case_has_codes_without_a_factor_that_they_stand_in_for() -> None:
    app = apart(from_environment({}), User())
    app.services.pool.close()

    found = list_cases(app.engine.user, app.engine.registry.rules, FlowKind.LOGIN).all

    assert len(found) == len(set(found)) == 14
    assert all(case & {"time_based_otp", ORPHANED} for case in found if "recovery_codes" in case)


def test_more_factors_than_can_be_read_are_refused() -> None:
    class Many(User):
        second_factor_providers: Sequence[ProviderSpec] = tuple(
            type(f"Otp{n}", (TimeBasedOTP,), {"name": f"otp_{n}", "path": f"otp_{n}", "method_name": f"otp_{n}"})
            for n in range(10)
        )
        valid_authentication_methods = (("user_password", None), *(("user_password", f"otp_{n}") for n in range(10)))

    with pytest.raises(BadInput, match="10 second factors"):
        drawn(Many())


# --- Conditions -------------------------------------------------------------------------------------------------------

cases = st.sets(st.frozensets(st.sampled_from(FACTS)), min_size=1, max_size=20)


@given(some=cases, others=cases)
def test_a_condition_holds_of_the_cases_meant_and_of_no_other(
    some: set[frozenset[str]], others: set[frozenset[str]]
) -> None:
    rest = others - some

    found = _cover(some, rest, FACTS)

    assert all(any(has <= case and lacks.isdisjoint(case) for has, lacks in found) for case in some)
    assert not any(has <= case and lacks.isdisjoint(case) for has, lacks in found for case in rest)


def test_conditions_read_as_one_would_say_them() -> None:
    known = Cases(("app", "key"), ("codes",), ("role admin",), ())
    everything = [
        frozenset(case)
        for case in (
            set(),
            {"app"},
            {"key"},
            {"app", "key"},
            {ORPHANED},
            {DEMANDED},
            {"app", INACTIVE},
            {INACTIVE},
        )
    ]

    def said(*facts: set[str]) -> str:
        return known.condition([frozenset(f) for f in facts], everything)

    assert said({"app", "key"}) == "has app and key"
    assert said({"app"}) == "has app, no key"
    assert said({ORPHANED}) == "an orphaned factor"
    assert said({DEMANDED}) == "demanded (role admin)"
    assert said({"app", INACTIVE}, {INACTIVE}) == "not active"
    assert known.condition(everything, everything) == ""
