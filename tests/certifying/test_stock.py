"""Every stock provider and every example is certified, whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from authflow.certifying.report import State
from authflow.user import User
from tests.certifying.people import Googler

TEMPLATES = str(Path(__file__).parent.parent.parent / "examples/templates")
STOCK = {
    "providers.user_password:UserPassword": None,
    "providers.time_based_otp:TimeBasedOTP": None,
    "providers.recovery_codes:RecoveryCodes": None,
    "providers.google_account:GoogleAccount": Googler,
}
EXAMPLES = ("code_by_mail:CodeByMail", "printed_list:PrintedList", "passkey:Passkey", "openid_connect:OpenIdConnect")


@pytest.mark.parametrize("path", STOCK)
def test_a_stock_provider_is_certified(certify_provider, path: str) -> None:
    certificate = certify_provider(path, kit=STOCK[path])

    assert certificate.is_whole
    assert len(certificate.of(State.OK)) == len(certificate.results) >= 25


@pytest.mark.parametrize("path", EXAMPLES)
def test_an_example_is_certified(certify_provider, path: str) -> None:
    certificate = certify_provider(f"examples.{path}", templates=TEMPLATES)

    assert certificate.is_whole


def test_no_stock_provider_is_left_out() -> None:
    declared = {*User.authentication_providers, *User.second_factor_providers}

    assert {*STOCK} == declared
