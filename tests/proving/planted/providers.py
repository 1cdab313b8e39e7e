"""Providers that break their contract."""

from __future__ import annotations

from dataclasses import replace

from authflow.model import Factor, Proof
from authflow.provider import Ask, Verified
from authflow.user import User
from providers.recovery_codes import RecoveryCodes
from providers.time_based_otp import TimeBasedOTP
from providers.user_password import UserPassword


class EmptyIsRight(TimeBasedOTP):
    async def answer(self, credential, submission, context):
        if credential is not None and not submission.get("otptoken"):
            return Verified(context.prove(self))
        return await super().answer(credential, submission, context)


class EmptyAnswerVerifies(User):
    """AB 03, flask-session-captcha CVE-2022-24880: no code is as good as the right one."""

    second_factor_providers = (EmptyIsRight, RecoveryCodes)


class Blind(UserPassword):
    async def answer(self, credential, submission, context):
        return Verified(context.prove(self)) if credential is not None else await super().answer(
            credential, submission, context)  # fmt: skip


class AnyPasswordVerifies(User):
    """AB 110: a blank hash fits every password."""

    authentication_providers = (Blind,)
    valid_authentication_methods = (("user_password", "time_based_otp"), ("user_password", None))


class ForSomebodyElse(TimeBasedOTP):
    async def answer(self, credential, submission, context):
        outcome = await super().answer(credential, submission, context)
        if isinstance(outcome, Verified):
            return replace(outcome, proof=replace(outcome.proof, subject="account-of-bob"))
        return outcome


class ForeignProof(User):
    """AB 05, Pterodactyl GHSA-5vfx-8w6m-h3v4: the code is right, and proves somebody else."""

    second_factor_providers = (ForSomebodyElse, RecoveryCodes)


class AlwaysTheFirstStep(RecoveryCodes):
    async def answer(self, credential, submission, context):
        outcome = await super().answer(credential, submission, context)
        if isinstance(outcome, Verified):
            own = outcome.proof
            proof = Proof(own.provider, Factor.POSSESSION, own.at, "any flow", 0, own.subject)
            return replace(outcome, proof=proof)
        return outcome


class StaleProof(User):
    """A provider that mints its proofs by itself, for a flow of its own."""

    second_factor_providers = (TimeBasedOTP, AlwaysTheFirstStep)


class NotSpent(RecoveryCodes):
    async def answer(self, credential, submission, context):
        outcome = await super().answer(credential, submission, context)
        return replace(outcome, credential=credential) if isinstance(outcome, Verified) else outcome


class CodeReplayed(User):
    """AB 13: a code that was used is not crossed out."""

    second_factor_providers = (TimeBasedOTP, NotSpent)


class Deaf(TimeBasedOTP):
    def can_handle(self, credential):
        return False


class CannotHandleItsOwn(User):
    """VC: factors that cannot be handled are filtered, and with them their owners are kept out."""

    second_factor_providers = (Deaf, RecoveryCodes)


class Forgetful(TimeBasedOTP):
    def begin(self, context):
        return Ask((self.otp_field,), params={"challenge": context.random_bytes(8).hex()})


class ImpureBegin(User):
    """A challenge that is another one whenever the page is shown: nobody knows which was answered."""

    second_factor_providers = (Forgetful, RecoveryCodes)


class Fragile(TimeBasedOTP):
    async def answer(self, credential, submission, context):
        int(submission.get("otptoken"))
        return await super().answer(credential, submission, context)


class BreaksAtLetters(User):
    """AB 20: odd digits break what should judge them."""

    second_factor_providers = (Fragile, RecoveryCodes)


class Mute(UserPassword):
    def begin(self, context):
        if context.account is None:
            raise AttributeError("nobody")
        return super().begin(context)


class FirstPageBreaks(User):
    """The login page cannot be shown to somebody who is not logged in."""

    authentication_providers = (Mute,)
    valid_authentication_methods = (("user_password", "time_based_otp"), ("user_password", None))


PLANTED = {
    EmptyAnswerVerifies: "judges",
    AnyPasswordVerifies: "judges",
    ForeignProof: "own-proof",
    StaleProof: "own-proof",
    CodeReplayed: "single-use",
    CannotHandleItsOwn: "handles",
    ImpureBegin: "begins",
    BreaksAtLetters: "judges",
    FirstPageBreaks: "begins",
}
