"""The fingerprint of a definition: the same for the same one everywhere, another one for any other."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

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
    program = "from tests.test_fingerprints import *\nprint(fingerprint(remaining_steps=stricter, transitions=SHORT))"
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

    assert found == {fingerprint(remaining_steps=stricter, transitions=SHORT) + "\n"}
