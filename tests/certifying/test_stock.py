"""Every stock provider and every example is certified, whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from authflow.certifying.report import State
from authflow.certifying.run import certify
from authflow.user import User
from tests.certifying.people import Googler
from tests.certifying.sound import SOUND, BadgeNumber
from tests.certifying.words import OneStep, TwoSteps

TEMPLATES = str(Path(__file__).parent.parent.parent / "examples/templates")
STOCK = {
    "providers.user_password:UserPassword": None,
    "providers.time_based_otp:TimeBasedOTP": None,
    "providers.recovery_codes:RecoveryCodes": None,
    "providers.google_account:GoogleAccount": Googler,
}
WHOLE = (BadgeNumber, TwoSteps, OneStep)
EXAMPLES = ("code_by_mail:CodeByMail", "printed_list:PrintedList", "passkey:Passkey", "openid_connect:OpenIdConnect")


@pytest.mark.parametrize("path", STOCK)
def test_a_stock_provider_is_certified(certify_provider, path: str) -> None:
    certificate = certify_provider(path, kit=STOCK[path])

    assert certificate.is_certified
    assert len(certificate.of(State.OK)) == len(certificate.made) >= 25
    assert {result.state for result in certificate.results} <= {State.OK, State.NOT_APPLICABLE}


@pytest.mark.parametrize("path", EXAMPLES)
def test_an_example_is_certified(certify_provider, path: str) -> None:
    certificate = certify_provider(f"examples.{path}", templates=TEMPLATES)

    assert certificate.is_whole


@pytest.mark.parametrize("provider", SOUND, ids=lambda provider: provider.__name__)
def test_a_sound_provider_of_another_shape_is_not_found_fault_with(provider) -> None:
    certificate = certify(provider)

    assert certificate.failed == ()
    assert certificate.is_certified or provider not in WHOLE


@pytest.mark.parametrize("provider", [TwoSteps, OneStep])
def test_of_a_chosen_secret_only_what_is_drawn_by_us_does_not_apply(provider) -> None:
    certificate = certify(provider, only=("secret_is_ours", "secret_is_fresh", "weak_choices_are_refused"))

    assert {one.name: one.state for one in certificate.results} == {
        "secret_is_ours": State.NOT_APPLICABLE,
        "secret_is_fresh": State.NOT_APPLICABLE,
        "weak_choices_are_refused": State.OK,
    }


def test_no_stock_provider_is_left_out() -> None:
    declared = {*User.authentication_providers, *User.second_factor_providers}

    assert {*STOCK} == declared
