"""Applications in which every invariant holds: the stock one, and those that people make of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from authflow.cli.main import run
from authflow.flow import TRANSITIONS, FlowState, NotesTaken, Owing, SentAway, Step, StepKind
from authflow.user import User
from providers.recovery_codes import RecoveryCodes
from providers.time_based_otp import TimeBasedOTP
from providers.user_password import UserPassword
from tests.proving.kit import proof_of, told


class SecondApp(TimeBasedOTP):
    name, label, path, method_name = "second_app", "Second app", "f2_secondapp", "X-SECOND-APP"


class PasswordAlone(User):
    authentication_providers = (UserPassword,)
    second_factor_providers = ()
    valid_authentication_methods = (("user_password", None),)


class GoogleAlone(User):
    authentication_providers = ("providers.google_account:GoogleAccount",)
    second_factor_providers = ()
    valid_authentication_methods = (("google_account", None),)


class TwoFactors(User):
    second_factor_providers = (TimeBasedOTP, SecondApp, RecoveryCodes)
    valid_authentication_methods = (
        ("user_password", "time_based_otp"),
        ("user_password", "second_app"),
        ("user_password", None),
        ("google_account", "second_app"),
        ("google_account", None),
    )


class Strict(TwoFactors):
    second_factor_required_roles = frozenset({"admin", "editor"})


class AlwaysTwo(User):
    """Nobody comes in without a second factor: who has none sets one up."""

    valid_authentication_methods = (("user_password", "time_based_otp"), ("google_account", "time_based_otp"))

    def demands_second_factor(self, account, flow):
        return True


class BothFactors(TwoFactors):
    """Demands more than the stock policy: whoever has two factors proves both."""

    def remaining_steps(self, kind, proofs, standing):
        verdict = super().remaining_steps(kind, proofs, standing)
        proved = {proof.provider for proof in proofs}
        if isinstance(verdict, Owing) and not verdict.steps and standing is not None and len(proofs) > 1:
            rest = [n for n in ("time_based_otp", "second_app") if n in standing.present & set(standing.enrolled)]
            rest = [name for name in rest if name not in proved]
            if rest and kind.value == "login":
                return Owing((Step(StepKind.PROVE, tuple(rest)),))
        return verdict


class Cautious(User):
    """Fewer edges than the stock table has, and fewer people who are active."""

    transitions = {  # noqa: RUF012
        state: {event: targets for event, targets in row.items() if event not in (SentAway, NotesTaken)}
        if state is not FlowState.CHOOSING
        else row
        for state, row in TRANSITIONS.items()
    }

    def is_active(self, account):
        return super().is_active(account) and "viewer" not in account.roles


@pytest.mark.parametrize(
    "user",
    [User, PasswordAlone, TwoFactors, Strict, AlwaysTwo, BothFactors, Cautious],
    ids=lambda user: user.__name__,
)
@pytest.mark.parametrize("google", [False, True], ids=["without-google", "with-google"])
def test_every_invariant_holds(user: type[User], google: bool) -> None:
    report = proof_of(user(), google=google)

    assert report.violations == [], told(report)
    assert report.states > 50


def test_every_invariant_holds_where_google_is_the_only_way() -> None:
    report = proof_of(GoogleAlone(), google=True)

    assert report.violations == [], told(report)


EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(
    ("folder", "user"),
    [
        (EXAMPLES / "bookshop", "shop.user:ShopUser"),
        (EXAMPLES, "code_by_mail:MyUser"),
        (EXAMPLES, "printed_list:MyUser"),
        (EXAMPLES, "passkey:MyUser"),
        (EXAMPLES, "openid_connect:MyUser"),
    ],
)
def test_every_invariant_holds_in_the_examples(
    folder: Path, user: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(folder))

    code = run(["flows", "check", "--user", user])

    assert code == 0, capsys.readouterr()
