"""Requests of one person reach two engines with two definitions, in any order, on one store."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from authflow.errors import DefinitionChanged, FlowInvalid, NoMethodLeft, RequestError
from authflow.flow import Flow, Owing
from authflow.model import Credential
from authflow.policy import Standing
from authflow.provider import Provider
from authflow.results import ChoiceOwed, LoggedIn, StepOwed
from authflow.user import User
from tests.engine_kit import Kit, browser, make_kit
from tests.two_definitions import FACTORS, RIGHT, demanding, is_done, stock_rules, unmet

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
