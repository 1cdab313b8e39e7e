"""What is owed: the rules of the pairs as a table, and as properties beside a small second statement of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authflow.flow import SESSION_KINDS, FlowKind, Owing, Refusal, Step, StepKind
from authflow.model import Factor, Proof
from authflow.policy import (
    CONSENT,
    TICKET,
    AuthenticationLevel,
    Rules,
    Standing,
    orphaned_factors,
    reached_level,
    remaining_steps,
    usable_factors,
)

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
RULES = Rules(
    pairs=(("password", "totp"), ("password", "key"), ("password", None), ("google", None)),
    second_factors=("totp", "key", "codes"),
    substitutes=frozenset({"codes"}),
    enrollable=frozenset({"totp"}),
    passwords=("password",),
)


def proofs(*providers: str) -> tuple[Proof, ...]:
    return tuple(Proof(name, Factor.POSSESSION, NOW, "f", step, "ada") for step, name in enumerate(providers))


def standing(*enrolled: str, present: tuple[str, ...] | None = None, **more: bool) -> Standing:
    there = enrolled if present is None else present
    return Standing(is_active=more.get("is_active", True), enrolled=enrolled, present=frozenset(there),
                    demands_second_factor=more.get("demanded", False))  # fmt: skip


def prove(*providers: str, or_: tuple[str, ...] = ()) -> Owing:
    return Owing((Step(StepKind.PROVE, providers, or_),))


# --- Logging in -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proved", "who", "verdict"),
    [
        ((), None, prove("password", "google")),
        ((), standing("totp"), prove("password", "google")),
        (("totp",), standing("totp"), prove("password", "google")),
        (("password",), standing(), Owing()),
        (("password",), standing("totp"), prove("totp")),
        (("password",), standing("key", "totp"), prove("totp", "key")),
        (("password", "totp"), standing("totp"), Owing()),
        (("password", "key"), standing("totp", "key"), Owing()),
        (("password", "key"), standing("totp"), prove("totp")),
        (("password", "password"), standing("totp"), prove("totp")),
        # A factor that is paired with another primary is not asked for by this one.
        (("google",), standing("totp"), Owing()),
        # Substitutes: taken beside a usable factor, and nothing by themselves.
        (("password",), standing("totp", present=("totp", "codes")), prove("totp", or_=("codes",))),
        (("password", "codes"), standing("totp", present=("totp", "codes")), Owing()),
        (("password", "codes"), standing("totp"), prove("totp")),
        (("password",), standing(present=("codes",)), Owing()),
        # The enrolled factor's credential or provider is gone.
        (("password",), standing("totp", present=()), Refusal("factor_unavailable")),
        (("password",), standing("gone"), Refusal("factor_unavailable")),
        (("password", "codes"), standing("gone", present=("gone", "codes")), Refusal("factor_unavailable")),
        (("google",), standing("gone"), Refusal("factor_unavailable")),
        (("password",), standing("gone", "totp"), prove("totp")),
        # Demanded of an account without any: to enrol one is the last step.
        (("password",), standing(demanded=True), Owing((Step(StepKind.ENROL, ("totp",)),))),
        (("password", "totp"), standing(demanded=True), Owing()),
        (("password", "codes"), standing(present=("codes",), demanded=True), Owing((Step(StepKind.ENROL, ("totp",)),))),
        (("password",), standing("totp", demanded=True), prove("totp")),
        (("google",), standing(demanded=True), Refusal("no_method_left")),
        (("password",), standing("gone", demanded=True), Refusal("factor_unavailable")),
        # Nobody, or nobody who may.
        (("password",), None, Refusal("account_inactive")),
        (("password", "totp"), standing("totp", is_active=False), Refusal("account_inactive")),
    ],
)
@pytest.mark.parametrize("kind", [FlowKind.LOGIN, FlowKind.REAUTHENTICATE])
def test_the_pairs_say_what_a_login_owes(kind: FlowKind, proved: tuple[str, ...], who, verdict) -> None:
    assert remaining_steps(kind, proofs(*proved), RULES, who) == verdict


def test_without_the_pair_with_none_a_factor_must_be_there() -> None:
    strict = replace(RULES, pairs=(("password", "totp"),))

    assert remaining_steps(FlowKind.LOGIN, proofs("password"), strict, standing()) == Refusal("no_method_left")


def test_without_any_pair_there_is_no_way() -> None:
    assert remaining_steps(FlowKind.LOGIN, (), Rules(()), None) == Refusal("no_method_left")


@pytest.mark.parametrize("who", [standing("codes"), standing("codes", demanded=True), standing(present=("codes",))])
def test_a_substitute_is_never_asked_for_even_if_a_pair_and_the_account_name_it(who: Standing) -> None:
    paired = replace(RULES, pairs=(("password", "codes"), *RULES.pairs), enrollable=frozenset({"totp", "codes"}))

    for kind, proved in ((FlowKind.LOGIN, ("password",)), (FlowKind.STEP_UP, ()), (FlowKind.ENROL, ())):
        verdict = remaining_steps(kind, proofs(*proved), paired, who)
        assert isinstance(verdict, Refusal) or all("codes" not in step.providers for step in verdict.steps)


def test_usable_and_orphaned_factors_are_told_apart() -> None:
    who = standing("totp", "key", "gone", present=("totp", "gone"))

    assert usable_factors("password", RULES, who) == ("totp",)
    assert orphaned_factors(RULES, who) == ("key", "gone")


# --- The other kinds --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "proved", "verdict"),
    [
        (FlowKind.STEP_UP, (), prove("totp", "key")),
        (FlowKind.STEP_UP, ("password",), prove("totp", "key")),
        (FlowKind.STEP_UP, ("codes",), prove("totp", "key")),
        (FlowKind.STEP_UP, ("key",), Owing()),
        (FlowKind.VERIFY, (TICKET,), Owing((Step(StepKind.ACCEPT, (CONSENT,)),))),
        (FlowKind.VERIFY, (CONSENT,), Owing((Step(StepKind.PROVE, (TICKET,)), Step(StepKind.ACCEPT, (CONSENT,))))),
        (FlowKind.VERIFY, (TICKET, CONSENT), Owing()),
        (FlowKind.REGISTER, (), Owing((Step(StepKind.ENROL, ("password",)),))),
        (FlowKind.SETTINGS, (), prove("password", "google")),
        (FlowKind.ENROL, (), Owing((Step(StepKind.ENROL, ("totp",)),))),
        (FlowKind.ENROL, ("totp",), Owing()),
    ],
)
def test_each_other_kind_owes_its_own_steps(kind: FlowKind, proved: tuple[str, ...], verdict) -> None:
    who = standing("totp", "key", present=("totp", "key", "codes"))

    assert remaining_steps(kind, proofs(*proved), RULES, who) == verdict


@pytest.mark.parametrize("kind", [FlowKind.RECOVER, FlowKind.SETUP])
def test_a_new_password_needs_the_ticket_first(kind: FlowKind) -> None:
    enrol = Step(StepKind.ENROL, ("password",))
    both = Owing((Step(StepKind.PROVE, (TICKET,)), enrol))

    assert remaining_steps(kind, (), RULES, None) == both
    assert remaining_steps(kind, proofs("password"), RULES, None) == both
    assert remaining_steps(kind, proofs("password", TICKET), RULES, None) == Owing((enrol,))
    assert remaining_steps(kind, proofs(TICKET, "password"), RULES, None) == Owing()


@pytest.mark.parametrize("kind", [FlowKind.STEP_UP, FlowKind.ENROL])
@pytest.mark.parametrize("who", [None, standing("totp", is_active=False)])
def test_what_concerns_an_account_needs_an_active_one(kind: FlowKind, who: Standing | None) -> None:
    assert remaining_steps(kind, proofs("totp"), RULES, who) == Refusal("account_inactive")


def test_recovery_verification_and_setup_never_end_in_a_session() -> None:
    assert not SESSION_KINDS & {FlowKind.RECOVER, FlowKind.VERIFY, FlowKind.SETUP, FlowKind.REGISTER, FlowKind.ENROL}


# --- Properties -------------------------------------------------------------------------------------------------------

PRIMARIES, SECONDS = ("password", "google"), ("totp", "key", "codes", "printed")
names = st.sampled_from(SECONDS)
rules = st.builds(
    Rules,
    pairs=st.lists(st.tuples(st.sampled_from(PRIMARIES), st.none() | names), min_size=1, max_size=6).map(tuple),
    second_factors=st.lists(names, unique=True).map(tuple),
    substitutes=st.frozensets(st.sampled_from(("codes", "printed"))),
    enrollable=st.frozensets(names),
)
standings = st.builds(
    Standing,
    is_active=st.booleans(),
    enrolled=st.lists(st.sampled_from((*SECONDS, "gone")), unique=True, max_size=3).map(tuple),
    present=st.frozensets(st.sampled_from((*PRIMARIES, *SECONDS, "gone"))),
    demands_second_factor=st.booleans(),
)
histories = st.lists(st.sampled_from((*PRIMARIES, *SECONDS, "gone", TICKET, CONSENT)), max_size=5)


def expected(proved: list[str], rules: Rules, who: Standing) -> str:
    """Say in other words what a login owes: a letter for the kind of verdict."""
    primary = next((name for name in proved if name in {p for p, _ in rules.pairs}), None)
    if primary is None:
        return "primary"
    if not who.is_active:
        return "refused"
    real = {name for name in who.enrolled if name in rules.second_factors and name not in rules.substitutes}
    paired = {name for name in real & who.present if (primary, name) in rules.pairs}
    instead = set(rules.second_factors) & rules.substitutes & who.present
    if paired:
        return "done" if set(proved) & (paired | instead) else "factor"
    if any(name not in rules.second_factors or name not in who.present for name in who.enrolled):
        return "refused"
    if who.demands_second_factor:
        offers = {s for p, s in rules.pairs if p == primary and s in rules.enrollable} - rules.substitutes
        if not offers:
            return "refused"
        return "done" if set(proved) & offers else "enrol"
    return "done" if (primary, None) in rules.pairs else "refused"


@given(histories, rules, standings)
def test_a_login_owes_what_the_rules_say_in_other_words(proved: list[str], rules: Rules, who: Standing) -> None:
    verdict = remaining_steps(FlowKind.LOGIN, proofs(*proved), rules, who)

    match verdict:
        case Refusal():
            said = "refused"
        case Owing(()):
            said = "done"
        case Owing((step,)) if step.kind is StepKind.ENROL:
            said = "enrol"
        case Owing((step,)):
            said = "primary" if set(step.providers) <= set(PRIMARIES) else "factor"
    assert said == expected(proved, rules, who)


@given(histories, histories, rules, standings)
def test_nothing_a_person_does_lowers_what_is_owed(
    before: list[str], more: list[str], rules: Rules, who: Standing
) -> None:
    rules = replace(rules, pairs=(("password", "totp"), *rules.pairs), second_factors=("totp", "key", "codes"))
    who = replace(who, is_active=True)
    owed = remaining_steps(FlowKind.LOGIN, proofs("password", *before), rules, who)
    taken = {name for step in owed.steps for name in step.accepted} if isinstance(owed, Owing) else set()

    others = [name for name in more if name not in taken]
    after = remaining_steps(FlowKind.LOGIN, proofs("password", *before, *others), rules, who)

    assert after == owed


@given(histories, rules, standings, st.sampled_from(FlowKind))
def test_a_refusal_is_not_talked_away_by_more_proofs(
    proved: list[str], rules: Rules, who: Standing, kind: FlowKind
) -> None:
    if isinstance(remaining_steps(kind, proofs(*proved), rules, who), Refusal):
        assert isinstance(remaining_steps(kind, proofs(*proved, *SECONDS, TICKET), rules, who), Refusal)


@given(histories, rules, standings, st.sampled_from(FlowKind))
def test_a_substitute_is_never_offered_first(proved: list[str], rules: Rules, who: Standing, kind: FlowKind) -> None:
    verdict = remaining_steps(kind, proofs(*proved), rules, who)

    if isinstance(verdict, Owing):
        assert not any(set(step.providers) & rules.substitutes for step in verdict.steps)


@given(rules, standings)
def test_an_orphan_refuses_unless_another_paired_factor_can_be_asked_for(rules: Rules, who: Standing) -> None:
    for primary in rules.primaries:
        verdict = remaining_steps(FlowKind.LOGIN, proofs(primary), rules, who)
        if orphaned_factors(rules, who) and not usable_factors(primary, rules, who):
            assert isinstance(verdict, Refusal)


# --- Level ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("factors", "level"),
    [
        ((), AuthenticationLevel.NONE),
        ((Factor.MAILBOX,), AuthenticationLevel.NONE),
        ((Factor.KNOWLEDGE,), AuthenticationLevel.AAL1),
        ((Factor.POSSESSION,), AuthenticationLevel.AAL1),
        ((Factor.FEDERATED,), AuthenticationLevel.AAL1),
        ((Factor.KNOWLEDGE, Factor.KNOWLEDGE), AuthenticationLevel.AAL1),
        ((Factor.POSSESSION, Factor.POSSESSION), AuthenticationLevel.AAL1),
        ((Factor.KNOWLEDGE, Factor.FEDERATED), AuthenticationLevel.AAL1),
        ((Factor.KNOWLEDGE, Factor.MAILBOX), AuthenticationLevel.AAL1),
        ((Factor.POSSESSION, Factor.MAILBOX), AuthenticationLevel.AAL1),
        ((Factor.KNOWLEDGE, Factor.POSSESSION), AuthenticationLevel.AAL2),
        ((Factor.KNOWLEDGE, Factor.INHERENCE), AuthenticationLevel.AAL2),
        ((Factor.FEDERATED, Factor.POSSESSION), AuthenticationLevel.AAL2),
        ((Factor.POSSESSION, Factor.INHERENCE), AuthenticationLevel.AAL2),
    ],
)
def test_two_proofs_are_worth_more_only_if_of_different_kinds(factors, level) -> None:
    made = [Proof("p", factor, NOW, "f", step, "ada") for step, factor in enumerate(factors)]

    assert reached_level(made) is level
