"""The fingerprint of a definition: the same for the same one everywhere, another one for any other."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from functools import partial, update_wrapper, wraps

import pytest

from authflow.flow import TRANSITIONS, FlowState
from authflow.user import User
from providers.time_based_otp import TimeBasedOTP
from tests.engine_kit import make_kit


def fingerprint(**attributes) -> str:
    cls = type("Mine", (User,), attributes) if attributes else User
    kit = make_kit(cls())
    kit.pool.close()
    return kit.engine.fingerprint


class Patient(TimeBasedOTP):
    window_size = 3


class Renamed(TimeBasedOTP):
    pass


def stricter(self, kind, proofs, standing):
    return User.remaining_steps(self, kind, proofs, standing)


def stricter_still(self, kind, proofs, standing):
    return User.remaining_steps(self, kind, tuple(proofs[:1]), standing)


stricter_still.__qualname__ = stricter.__qualname__


def logged(function):
    @wraps(function)
    def inner(*args, **named):
        return function(*args, **named)

    return inner


class Stored:
    """A decorator that is no function, and holds what it decorates where nobody looks."""

    def __init__(self, function):
        self.call = function
        update_wrapper(self, function)

    def __get__(self, owner, cls=None):
        return self if owner is None else partial(self.call, owner)


def demanding(wanted, first=None, *, then=None):
    """Return methods that differ only in what they hold."""

    def taken(self, account, flow):
        return wanted

    def by_default(self, account, flow, wanted=first):
        return wanted

    def by_name(self, account, flow, *, wanted=then):
        return wanted

    return taken, by_default, by_name


def yes(self, account, flow):
    return True


def no(self, account, flow):
    return False


yes.__qualname__ = no.__qualname__ = "answer"


def set_up(**settings):
    provider = TimeBasedOTP()
    for name, value in settings.items():
        setattr(provider, name, value)
    return (provider, CODES)


ONE = ("providers.user_password:UserPassword",)
CODES = "providers.recovery_codes:RecoveryCodes"
SHORT = {**TRANSITIONS, FlowState.AWAY: {}}

CHANGES = {
    "pairs": {"valid_authentication_methods": User.valid_authentication_methods[:1]},
    "order of pairs": {"valid_authentication_methods": User.valid_authentication_methods[1::-1]},
    "factors": {"second_factor_providers": ("providers.time_based_otp:TimeBasedOTP",)},
    "class of a provider": {"second_factor_providers": (Renamed, CODES)},
    "setting of a provider": {"second_factor_providers": (Patient, CODES)},
    "transitions": {"transitions": SHORT},
    "policy": {"remaining_steps": stricter},
    "policy's code": {"remaining_steps": stricter_still},
    "table's method": {"advance": lambda self, flow, event: User.advance(self, flow, event)},
    "who is active": {"is_active": lambda self, account: True},
    "who must have a factor": {"second_factor_required_roles": frozenset({"admin"})},
    "time of the second step": {"second_factor_time_window": timedelta(minutes=9)},
    "time of a fresh login": {"fresh_login_window": timedelta(minutes=9)},
    "a setting of one's own": {"floors": ("first", "second")},
}


HELD = {
    "what a decorator wraps": (logged(yes), logged(no)),
    "what a decorator wraps twice": (logged(logged(yes)), logged(logged(no))),
    "what an object wraps": (Stored(yes), Stored(no)),
    "what is taken along": (demanding(True)[0], demanding(False)[0]),
    "a function that is taken along": (logged(demanding(True)[0]), logged(demanding(False)[0])),
    "a default": (demanding(0, True)[1], demanding(0, False)[1]),
    "a default of a named argument": (demanding(0, then=True)[2], demanding(0, then=False)[2]),
}


@pytest.mark.parametrize("difference", HELD)
def test_methods_that_differ_only_in_what_they_hold_make_two_definitions(difference: str) -> None:
    one, other = HELD[difference]

    assert fingerprint(demands_second_factor=one) == fingerprint(demands_second_factor=one)
    assert fingerprint(demands_second_factor=one) != fingerprint(demands_second_factor=other)


def test_a_method_that_holds_itself_has_a_fingerprint() -> None:
    def counting(self, account, flow, times=2):
        return times == 0 or counting(self, account, flow, times - 1)

    assert fingerprint(demands_second_factor=counting) == fingerprint(demands_second_factor=counting)


def test_settings_of_a_providers_object_count_like_those_of_its_class() -> None:
    assert fingerprint(second_factor_providers=set_up()) == fingerprint(second_factor_providers=set_up())
    assert fingerprint(second_factor_providers=set_up(window_size=3)) != fingerprint(second_factor_providers=set_up())
    assert fingerprint(second_factor_providers=set_up(digits=8)) != fingerprint(
        second_factor_providers=set_up(digits=6)
    )
    assert fingerprint(second_factor_providers=set_up(label="App")) == fingerprint(second_factor_providers=set_up())


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_definition_has_another_fingerprint(change: str) -> None:
    others = {fingerprint(**attributes) for name, attributes in CHANGES.items() if name != change}

    assert fingerprint(**CHANGES[change]) not in others | {fingerprint()}


def test_the_same_definition_has_the_same_fingerprint() -> None:
    assert fingerprint() == fingerprint()
    assert fingerprint(remaining_steps=stricter) == fingerprint(remaining_steps=stricter)


def test_what_is_only_shown_does_not_count() -> None:
    plain = fingerprint(floors=())

    assert fingerprint(floors=(), site_name="Elsewhere", login_redirect="/") == plain


def test_processes_agree_whatever_the_order_of_their_sets() -> None:
    program = (
        "from tests.test_fingerprints import *\n"
        "print(fingerprint(remaining_steps=logged(stricter), transitions=SHORT, second_factor_providers=set_up()))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }

    here = fingerprint(remaining_steps=logged(stricter), transitions=SHORT, second_factor_providers=set_up())
    assert found == {here + "\n"}
