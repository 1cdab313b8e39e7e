"""Declarations that are refused at the start, since nobody could log in by them or no flow would end."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from authflow import declarations
from authflow.apart import apart
from authflow.errors import ConfigurationError
from authflow.flow import (
    TRANSITIONS,
    DeadlinePassed,
    FlowCancelled,
    FlowState,
    NotesTaken,
    ProviderChosen,
    StepCompleted,
    SubmissionRejected,
)
from authflow.sessions import Lifetimes
from authflow.settings import Settings
from authflow.user import User
from providers.recovery_codes import RecoveryCodes
from providers.time_based_otp import TimeBasedOTP
from providers.user_password import UserPassword

S = FlowState


def started(user: User) -> User:
    """Start an application with this user module."""
    app = apart(Settings(), user)
    app.services.pool.close()
    return app.engine.user


def table(**rows):
    """Return the stock table with other rows."""
    return {state: rows.get(state.value, dict(row)) for state, row in TRANSITIONS.items()}


def changed(state: FlowState, **events):
    """Return the stock table with other targets in one row; None takes an event out of it."""
    row = {event: targets for event, targets in TRANSITIONS[state].items() if event.__name__ not in events}
    named = {event.__name__: event for event in (*TRANSITIONS[S.ASKING], *TRANSITIONS[S.CHOOSING])}
    row |= {named[name]: frozenset(targets) for name, targets in events.items() if targets is not None}
    return table(**{state.value: row})


WITHOUT_A_ROW = {state: row for state, row in TRANSITIONS.items() if state is not S.AWAY}


@pytest.mark.parametrize(
    ("transitions", "words"),
    [
        (WITHOUT_A_ROW, "no row for away"),
        ({**TRANSITIONS, "parked": {}}, "'parked' is no state"),
        (table(completed={FlowCancelled: frozenset({S.CANCELLED})}), "completed is final"),
        (table(expired={StepCompleted: frozenset({S.COMPLETED})}), "expired is final"),
        (changed(S.ASKING, FlowCancelled=None), "FlowCancelled must lead from asking to cancelled"),
        (changed(S.CHOOSING, DeadlinePassed=None), "DeadlinePassed must lead from choosing to expired"),
        (changed(S.AWAY, FlowRefused={S.ASKING}), "FlowRefused must lead from away to refused"),
        (changed(S.ASKING, NotesTaken={S.ASKING, S.COMPLETED}), "asking lets NotesTaken lead where it must not"),
        (changed(S.AWAY, SubmissionRejected={S.COMPLETED}), "away lets SubmissionRejected lead"),
        (changed(S.CHOOSING, StepCompleted={S.COMPLETED}), "StepCompleted before anything was chosen"),
        (changed(S.ASKING, StepCompleted={S.ASKING, S.REFUSED}), "does not let StepCompleted lead to completed"),
        (changed(S.ASKING, SubmissionRejected={S.ASKING}), "does not let SubmissionRejected lead to refused"),
        (changed(S.AWAY, SubmissionRejected={S.ASKING}), "away does not let SubmissionRejected lead to refused"),
        (changed(S.CHOOSING, ProviderChosen=None), "nothing can be chosen"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_table_that_does_not_end_every_flow_is_refused(transitions, words: str) -> None:
    user = User()
    user.transitions = transitions

    with pytest.raises(ConfigurationError, match=words):
        started(user)


class Substitutes(User):
    valid_authentication_methods = (("user_password", "recovery_codes"),)


class Unenrollable(User):
    second_factor_providers = (RecoveryCodes,)
    valid_authentication_methods = (("user_password", None),)
    second_factor_required_roles = frozenset({"admin"})


class AText(User):
    second_factor_required_roles = "admin"  # type: ignore[assignment]


class NoTime(User):
    second_factor_time_window = timedelta(0)


class ForEver(User):
    second_factor_time_window = timedelta(days=365)


class NeverStale(User):
    fresh_login_window = timedelta(days=2)


@pytest.mark.parametrize(
    ("user", "words"),
    [
        (Substitutes, "substitutes alone"),
        (Unenrollable, "no factor in valid_authentication_methods can be enrolled"),
        (AText, "not a text"),
        (NoTime, "second_factor_time_window"),
        (ForEver, "second_factor_time_window"),
        (NeverStale, "fresh_login_window"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_declarations_by_which_somebody_is_kept_out_or_never_stopped_are_refused(user: type[User], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        started(user())


def test_a_table_that_allows_less_is_accepted() -> None:
    user = User()
    user.transitions = changed(S.AWAY, NotesTaken=None)

    assert started(user).transitions[S.AWAY].keys() == TRANSITIONS[S.AWAY].keys() - {NotesTaken}


def test_a_longer_session_allows_a_longer_window() -> None:
    class Slow(User):
        lifetimes = Lifetimes(absolute=timedelta(days=3))
        second_factor_time_window = timedelta(days=2)

    assert started(Slow()).second_factor_time_window == timedelta(days=2)


def test_the_names_of_events_are_those_of_the_table() -> None:
    assert {DeadlinePassed, FlowCancelled, ProviderChosen, StepCompleted, SubmissionRejected} <= set(
        TRANSITIONS[S.ASKING]
    )


def test_the_check_takes_less_than_ten_milliseconds() -> None:
    class Large(User):
        second_factor_providers = (TimeBasedOTP, RecoveryCodes)
        authentication_providers = (UserPassword,)
        valid_authentication_methods = (("user_password", "time_based_otp"), ("user_password", None))
        second_factor_required_roles = frozenset({"admin"})

    user = started(Large())

    def seconds() -> float:
        began = time.process_time()
        declarations.check(user, user.registry)
        return time.process_time() - began

    assert min(seconds() for _ in range(5)) < 0.01
