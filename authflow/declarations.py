"""What an application declares, checked at every start: a table that ends every flow, pairs that let somebody in.

Bounded: a few loops over a table of seven rows and over the pairs. `authflow flows check` explores what follows from
them; here stands what can be said without.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from authflow import flow as stock
from authflow.errors import ConfigurationError
from authflow.flow import (
    DeadlinePassed,
    FlowCancelled,
    FlowEvent,
    FlowRefused,
    FlowState,
    NotesTaken,
    ProviderChosen,
    SentAway,
    StepCompleted,
    SubmissionRejected,
    Transitions,
)
from authflow.powers import AcceptsTokens

if TYPE_CHECKING:
    from authflow.registry import Registry
    from authflow.user import User

_S = FlowState
_OPEN = (_S.ASKING, _S.CHOOSING, _S.AWAY)
_ENDINGS: Mapping[type[FlowEvent], FlowState] = {
    FlowRefused: _S.REFUSED,
    FlowCancelled: _S.CANCELLED,
    DeadlinePassed: _S.EXPIRED,
}
_MOST: Mapping[type[FlowEvent], frozenset[FlowState]] = {
    StepCompleted: frozenset({_S.ASKING, _S.CHOOSING, _S.COMPLETED, _S.REFUSED}),
    ProviderChosen: frozenset({_S.ASKING}),
    SubmissionRejected: frozenset({_S.ASKING, _S.REFUSED}),
    SentAway: frozenset({_S.AWAY}),
    NotesTaken: frozenset({_S.ASKING}),
    **{event: frozenset({state}) for event, state in _ENDINGS.items()},
}
"""The most that an event may lead to, whatever a table says: what it means. A table of one's own may allow less."""

_BEFORE_A_CHOICE = (ProviderChosen, *_ENDINGS)


def check(user: User, registry: Registry) -> None:
    """Refuse declarations that nobody could log in by, or that leave a flow without an end.

    Raises:
        ConfigurationError: It names what is wrong.
    """
    table = stock.TRANSITIONS if user.transitions is None else user.transitions
    for problem in (*table_problems(table), *other_problems(user, registry)):
        raise ConfigurationError(f"{type(user).__name__}: {problem}")


def other_problems(user: User, registry: Registry) -> Iterator[str]:
    """Say what is wrong with everything that is declared, apart from the table."""
    yield from _pair_problems(registry)
    yield from _demand_problems(user, registry)
    yield from _time_problems(user)


def table_problems(table: Transitions) -> Iterator[str]:
    """Say what is wrong with a transition table."""
    for state in FlowState:
        if state not in table:
            yield f"transitions: there is no row for {state}"
            return
    for state in table:
        if state not in set(FlowState):
            yield f"transitions: {state!r} is no state"
    for state in set(FlowState) - set(_OPEN):
        if table[state]:
            yield f"transitions: {state} is final, and its row allows something"
    for state in _OPEN:
        for event, target in _ENDINGS.items():
            if table[state].get(event) != frozenset({target}):
                yield f"transitions: {event.__name__} must lead from {state} to {target}"
        for event, targets in table[state].items():
            if event not in _MOST or not targets <= _MOST[event]:
                yield f"transitions: {state} lets {event.__name__} lead where it must not"
            elif state is _S.CHOOSING and event not in _BEFORE_A_CHOICE:
                yield f"transitions: {state} allows {event.__name__} before anything was chosen"
    for event, target in ((StepCompleted, _S.COMPLETED), (StepCompleted, _S.REFUSED), (SubmissionRejected, _S.ASKING),
                          (SubmissionRejected, _S.REFUSED)):  # fmt: skip
        if target not in table[_S.ASKING].get(event, ()):
            yield f"transitions: {_S.ASKING} does not let {event.__name__} lead to {target}"
    if _S.REFUSED not in table[_S.AWAY].get(SubmissionRejected, {_S.REFUSED}):
        yield f"transitions: {_S.AWAY} does not let SubmissionRejected lead to {_S.REFUSED}"
    if _S.ASKING not in table[_S.CHOOSING].get(ProviderChosen, ()):
        yield f"transitions: nothing can be chosen in {_S.CHOOSING}"


def _pair_problems(registry: Registry) -> Iterator[str]:
    rules = registry.rules
    for primary in rules.primaries:
        real = [name for name in rules.seconds_of(primary) if name not in rules.substitutes]
        if (primary, None) not in rules.pairs and not real:
            yield f"valid_authentication_methods: nobody gets in by {primary}, which is paired with substitutes alone"


def _demand_problems(user: User, registry: Registry) -> Iterator[str]:
    demanding: object = user.second_factor_required_roles
    if isinstance(demanding, str):
        yield "second_factor_required_roles must be a set of role ids, not a text"
        return
    if not demanding:
        return
    rules = registry.rules
    can_be_had = {p.name for p in registry.second_factors if isinstance(p, AcceptsTokens)} | rules.enrollable
    if not any(can_be_had.intersection(rules.seconds_of(primary)) for primary in rules.primaries):
        yield "second_factor_required_roles: no factor in valid_authentication_methods can be enrolled"


def _time_problems(user: User) -> Iterator[str]:
    for name in ("second_factor_time_window", "fresh_login_window"):
        span = getattr(user, name)
        if not isinstance(span, timedelta) or not timedelta(0) < span <= user.lifetimes.absolute:
            yield f"{name} must be longer than nothing and not longer than a session"
