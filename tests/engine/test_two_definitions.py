"""Requests of one person reach two engines with two definitions, in any order, on one store."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authflow.errors import DefinitionChanged, FlowInvalid, NoMethodLeft, RequestError, TooLate
from authflow.flow import Flow, Owing, Step, StepKind
from authflow.model import Credential
from authflow.policy import Standing
from authflow.provider import Ask, Provider, Rejected
from authflow.results import ChoiceOwed, LoggedIn, StepOwed
from authflow.sessions import Visitor
from authflow.user import User
from tests.engine_kit import Kit, browser, make_kit
from tests.two_definitions import FACTORS, RIGHT, STONES, WORD, Word, demanding, is_done, stock_rules, unmet

NAME = "ada@example.org"
STANDING = Standing(True, FACTORS, frozenset(FACTORS))

SOME = [some for count in (3, 2, 1) for some in combinations(FACTORS, count)]
step = st.sampled_from(SOME).map(frozenset)


@st.composite
def definitions(draw) -> User:
    offered = draw(st.sampled_from(SOME))
    if draw(st.booleans()):
        return stock_rules(offered, draw(st.sampled_from([some for some in SOME if set(some) <= set(offered)])))
    return demanding(offered, draw(st.lists(st.sampled_from(SOME).map(frozenset), min_size=1, max_size=3)))


@st.composite
def pairs_of_which_one_is_stricter(draw) -> tuple[User, User]:
    """Two definitions: whatever the second one wants does what the first one wants too."""
    lax = draw(st.lists(step, max_size=2))
    strict = [draw(st.sampled_from([frozenset(some) for some in SOME if names.issuperset(some)])) for names in lax]
    strict += draw(st.lists(step, max_size=1))
    return demanding(FACTORS, lax), demanding(FACTORS, strict)


@dataclass
class Course:
    """What one person went through.

    Attributes:
        seen: Flows as they were shown or moved, each with the number of its proofs.
        codes: Of what was refused.
    """

    done: LoggedIn | None = None
    by: Kit | None = None
    codes: list[str] = field(default_factory=list)
    restarts: int = 0
    seen: list[Flow] = field(default_factory=list)


async def _account(kit: Kit) -> None:
    account = await kit.account(NAME, password=None)
    for name in FACTORS:
        account = await kit.enrolled(account, Credential(account.id, name, kit.clock(), kit.clock(), {}))


async def log_in(one: User, other: User, turns: list[bool], choices: list[int]) -> Course:
    """Let a person log in who follows every page; each request reaches one of two engines."""
    first = make_kit(one)
    second = make_kit(other, store=first.memory)
    await _account(first)
    course, visitor, pending, turn, choice = Course(), browser(), None, 0, 0

    def kit() -> Kit:
        nonlocal turn
        turn += 1
        return second if turns[turn % len(turns)] else first

    for _ in range(16):
        try:
            if pending is None:
                page, here = kit(), kit()
                sealed = page.engine.reference(page.engine.start(return_to="/wanted"), visitor)
                values = {"name": NAME, "word": RIGHT}
                result = await here.engine.submit(here.provider("word"), values, visitor, flow_reference=sealed)
            else:
                here, choice = kit(), choice + 1
                offered = _offered(pending)
                name = offered[choices[choice % len(choices)] % len(offered)]
                provider: Provider | None = here.engine.registry.get(name)
                if provider is None:
                    # The edge has no such address; it answers as the engine does for a step that is not offered.
                    raise DefinitionChanged()
                sealed = here.engine.sealer.handle(pending.flow)
                if isinstance(pending, ChoiceOwed):
                    result = await here.engine.waiting.choose(provider, visitor, flow_reference=sealed)
                else:
                    result = await here.engine.submit(provider, {"word": RIGHT}, visitor, flow_reference=sealed)
        except RequestError as error:
            course.codes.append(error.code)
            if isinstance(error, NoMethodLeft):
                return course
            try:
                # What the page would show instead.
                pending = await here.engine.waiting.show(visitor)
            except RequestError as gone:
                course.codes.append(gone.code)
                pending, course.restarts = None, course.restarts + 1
            continue
        course.seen.append(result.flow)
        assert result.flow.return_to == "/wanted"
        if isinstance(result, LoggedIn):
            course.done, course.by = result, here
            return course
        if result.session is not None:
            visitor = browser(result.session)
        pending = result
    return course


def _offered(pending) -> tuple[str, ...]:
    if isinstance(pending, StepOwed):
        return (pending.provider.name,)
    return pending.flow.owed[0].accepted


CODES = {DefinitionChanged.code, NoMethodLeft.code, FlowInvalid.code, "factor_unavailable"}

schedules = (st.lists(st.booleans(), min_size=4, max_size=9), st.lists(st.integers(0, 2), min_size=3, max_size=6))


@given(definitions(), definitions(), *schedules)
@settings(max_examples=400, deadline=None)
def test_nobody_gets_in_with_less_than_the_definition_that_lets_in_or_than_the_flow_owed(
    one: User, other: User, turns: list[bool], choices: list[int]
) -> None:
    course = asyncio.run(log_in(one, other, turns, choices))

    assert set(course.codes) <= CODES
    if course.done is None or course.by is None:
        return
    flow = course.done.flow
    assert course.by.user.remaining_steps(flow.kind, flow.proofs, STANDING) == Owing(())
    proved = [proof.provider for proof in flow.proofs]
    for before in course.seen:
        if before.id == flow.id:
            assert is_done(before, proved[len(before.proofs) :]), (before.owed, proved)


@given(pairs_of_which_one_is_stricter(), *schedules)
@settings(max_examples=400, deadline=None)
def test_where_one_definition_is_at_least_as_strict_a_login_ends_without_being_started_twice(
    pair: tuple[User, User], turns: list[bool], choices: list[int]
) -> None:
    course = asyncio.run(log_in(*pair, turns, choices))

    assert course.done is not None
    assert course.restarts <= 1
    assert set(course.codes) <= {DefinitionChanged.code}


def test_the_fewest_steps_are_left_whichever_way_proofs_are_counted() -> None:
    both = [frozenset({"amber", "beryl"}), frozenset({"amber"})]

    assert unmet(both, ["amber", "beryl"]) == []
    assert unmet(both, ["amber"]) in ([both[0]], [both[1]])
    assert unmet(both, ["coral"]) == both


async def _halfway(one: User, other: User, word: str = "word") -> tuple[Kit, Kit, str, Visitor]:
    """Return two engines, and a login that has proved its first step at the first one."""
    first = make_kit(one)
    second = make_kit(other, store=first.memory, clock=first.clock)
    await _account(first)
    pending = await first.engine.submit(first.provider(word), {"name": NAME, "word": RIGHT}, browser())
    assert isinstance(pending, StepOwed)
    return first, second, first.engine.sealer.handle(pending.flow), browser(pending.session)


async def test_the_shorter_time_of_two_definitions_holds() -> None:
    class Hasty(User):
        authentication_providers = (Word,)
        second_factor_providers = (STONES["amber"],)
        valid_authentication_methods = (("word", None), ("word", "amber"))
        second_factor_time_window = timedelta(minutes=1)

    first, second, handle, visitor = await _halfway(stock_rules(("amber",), ("amber",)), Hasty())
    first.clock.pass_by(timedelta(minutes=5))

    with pytest.raises(TooLate):
        await second.engine.submit(second.provider("amber"), {"word": RIGHT}, visitor, flow_reference=handle)
    done = await first.engine.submit(first.provider("amber"), {"word": RIGHT}, visitor, flow_reference=handle)
    assert isinstance(done, LoggedIn)


async def test_a_first_step_that_would_be_owed_later_ends_the_flow_before_a_code_is_spent() -> None:
    class OtherWord(Word):
        name, label, path, method_name = "otherword", "Other word", "auth_otherword", "X-OTHERWORD"

    class Both(User):
        authentication_providers = (Word, OtherWord)
        second_factor_providers = (STONES["amber"],)
        valid_authentication_methods = (("word", "amber"), ("otherword", "amber"))

    _, second, handle, visitor = await _halfway(Both(), stock_rules(("amber",), ("amber",)), "otherword")

    for attempt in (
        second.engine.waiting.show(visitor, flow_reference=handle),
        second.engine.submit(second.provider("amber"), {"word": RIGHT}, visitor, flow_reference=handle),
    ):
        with pytest.raises(DefinitionChanged):
            await attempt


class _Settable:
    """What makes a stone one that people can set up."""

    def begin_enrolment(self, context):
        return Ask((WORD,), scratch={"begun": True})

    async def answer_enrolment(self, submission, context):
        return Rejected("code_wrong")


SETTABLE = {name: type(name.title(), (_Settable, stone), {}) for name, stone in STONES.items()}


def _setting_up(owed_after_amber: str, *, at_once: bool) -> User:
    """Return a definition that owes amber, and then to set up another stone."""
    then = Step(StepKind.ENROL, (owed_after_amber,))

    class Mine(User):
        authentication_providers = (Word,)
        second_factor_providers = tuple(SETTABLE.values())
        valid_authentication_methods = tuple(("word", name) for name in SETTABLE)

        def remaining_steps(self, kind, proofs, standing):
            proved = [proof.provider for proof in proofs]
            if not proved:
                return super().remaining_steps(kind, proofs, standing)
            if "amber" in proved:
                return Owing((then,))
            return Owing((Step(StepKind.PROVE, ("amber",)), *((then,) if at_once else ())))

    return Mine()


async def test_a_flow_that_both_definitions_cannot_end_is_out_of_the_session_and_says_where_it_led() -> None:
    first = make_kit(_setting_up("coral", at_once=True))
    second = make_kit(_setting_up("beryl", at_once=False), store=first.memory, clock=first.clock)
    await _account(first)
    sealed = first.engine.reference(first.engine.start(return_to="/wanted"), browser())
    values = {"name": NAME, "word": RIGHT}
    pending = await first.engine.submit(first.provider("word"), values, browser(), flow_reference=sealed)
    assert isinstance(pending, StepOwed)
    visitor, handle = browser(pending.session), first.engine.sealer.handle(pending.flow)

    with pytest.raises(DefinitionChanged) as told:
        await second.engine.submit(second.provider("amber"), {"word": RIGHT}, visitor, flow_reference=handle)

    assert told.value.return_to == "/wanted"
    for kit in (first, second):
        with pytest.raises(FlowInvalid, match="no such flow"):
            await kit.engine.waiting.show(visitor, flow_reference=handle)
