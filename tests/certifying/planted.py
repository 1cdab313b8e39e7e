"""Providers with one fault each, and the check that must find it. Each is a good provider but for a few lines."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import os
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar
from urllib.parse import urlencode

from authflow.errors import FetchFailed
from authflow.federated import Assertion, FederatedProvider
from authflow.fields import Field, FieldType
from authflow.model import Credential, Factor, Proof
from authflow.powers import IssuedCodes
from authflow.provider import (
    Ask,
    Charge,
    Delivery,
    Enrolled,
    Identifier,
    IdTokenRefused,
    Nobody,
    Provider,
    Redirect,
    Rejected,
    Subject,
    Verified,
)
from examples.code_by_mail import CodeByMail
from examples.openid_connect import OpenIdConnect
from examples.passkey import Passkey
from examples.printed_list import PrintedList
from providers.google_account import GoogleAccount
from providers.recovery_codes import RecoveryCodes
from providers.time_based_otp import TimeBasedOTP
from providers.user_password import UserPassword
from tests.certifying.people import ELSEWHERE as ISSUER
from tests.certifying.people import ElsewherePerson, Googler
from tests.certifying.sound import BadgeNumber, KeyHolder, SecurityKey, Word
from tests.certifying.words import NAMES, OneStep, TwoSteps, is_word, letters_of

log = logging.getLogger("authflow.planted")


@dataclass(frozen=True)
class Planted:
    """A fault.

    Attributes:
        checks: Which must find it.
        pages: Templates that it brings, by name.
    """

    provider: type[Provider]
    checks: tuple[str, ...]
    pages: dict[str, str]

    @property
    def kit(self):
        return Googler if issubclass(self.provider, GoogleAccount) else None


PLANTED: list[Planted] = []


def found_by(*checks: str, **pages: str) -> Callable[[type[Provider]], type[Provider]]:
    """Plant a provider that these checks must find. Pages: name without ending, such as `user_password__login`."""

    def plant(provider: type[Provider]) -> type[Provider]:
        named = {name.replace("__", "/") + ending(name): text for name, text in pages.items()}
        PLANTED.append(Planted(provider, checks, named))
        return provider

    return plant


def ending(name: str) -> str:
    return ".txt" if name.startswith("mail__") else ".html"


# --- Declarations -----------------------------------------------------------------------------------------------------


@found_by("declaration")
class NoLabel(UserPassword):
    label = ""


@found_by("declaration")
class OddName(TimeBasedOTP):
    name = "Time-based OTP"


@found_by("declaration")
class AsyncBegin(RecoveryCodes):
    async def begin(self, context):
        return Ask((self.code_field,))


@found_by("declaration")
class PlainAnswer(RecoveryCodes):
    def answer(self, credential, submission, context):
        return Rejected("code_wrong")


@found_by("configuring")
class SaysNothingOfItsSettings(UserPassword):
    def configure(self, environment):
        self.is_configured = True


@found_by("fields")
class SecretAsText(UserPassword):
    login_fields = (Field("name", label="Name"), Field("password", label="Password"))


@found_by("fields")
class NoFieldLabel(RecoveryCodes):
    code_field = Field("otptoken", FieldType.CODE)


@found_by("fields")
class TakenFieldName(RecoveryCodes):
    code_field = Field("skey", FieldType.CODE, "Code")


@found_by("fields")
class NoLimit(UserPassword):
    login_fields = (*UserPassword.login_fields[:1], Field("password", FieldType.PASSWORD, "Password", max_length=10**7))


@found_by("sentences")
class NoSentence(UserPassword):
    async def answer(self, credential, submission, context):
        outcome = await super().answer(credential, submission, context)
        return Rejected("try_harder") if isinstance(outcome, Rejected) else outcome


@found_by("sentences")
class MarkupInSentence(RecoveryCodes):
    messages: ClassVar = {"code_wrong": "<b>Wrong</b>", "code_malformed": "Malformed."}


@found_by("evidence")
class MailAsPossession(CodeByMail):
    factor = Factor.POSSESSION


@found_by("evidence")
class IssuerAsKnowledge(GoogleAccount):
    factor = Factor.KNOWLEDGE


# --- Asking -----------------------------------------------------------------------------------------------------------


@found_by("begin_is_pure")
class AsksByChance(RecoveryCodes):
    def begin(self, context):
        return Ask((self.code_field,), params={"hint": context.random_bytes(4).hex()})


@found_by("begin_is_pure")
class AsksByTheClock(RecoveryCodes):
    def begin(self, context):
        return Ask((self.code_field,), params={"asked_at": context.now.isoformat()})


@found_by("challenge_is_of_the_flow")
class SameChallengeForAll(GoogleAccount):
    def begin(self, context):
        return Ask((self.token_field,), params={"client_id": self._client_id, "nonce": "a nonce for everybody, always"})


@found_by("identify_is_closed")
class IdentifyRaises(UserPassword):
    async def identify(self, submission, context):
        return Identifier(submission.values["name"])


@found_by("identify_is_closed")
class IdentifiesByNumber(UserPassword):
    async def identify(self, submission, context):
        name = submission.get("name")
        return Identifier(int(name) if name.isdecimal() else name)


@found_by("can_handle_is_pure")
class HandlesByKey(UserPassword):
    def can_handle(self, credential):
        return credential.data["hash"] != ""


@found_by("can_handle_takes_its_own")
class HandlesNothing(TimeBasedOTP):
    def can_handle(self, credential):
        return False


# --- Judging: what is not right ---------------------------------------------------------------------------------------


@found_by("empty_is_refused")
class EmptyAdvances(UserPassword):
    async def answer(self, credential, submission, context):
        if not submission.get("password") and context.account is not None:
            return Verified(context.prove(self))
        return await super().answer(credential, submission, context)


@found_by("empty_is_refused")
class EmptyCodeAdvances(TimeBasedOTP):
    async def answer(self, credential, submission, context):
        if "otptoken" not in submission.values and context.account is not None:
            return Verified(context.prove(self))
        return await super().answer(credential, submission, context)


@found_by("empty_is_refused")
class NothingWasNoted(CodeByMail):
    def begin(self, context):
        return replace(super().begin(context), scratch={"expected": context.code()})

    begin_enrolment = begin

    def _is_right(self, submission, context):
        return submission.get("otptoken") == submission.notes.get("expected", "")


@found_by("empty_is_refused")
class ComingBackIsEnough(RecoveryCodes):
    async def answer(self, credential, submission, context):
        if submission.by_get and context.account is not None:
            return Verified(context.prove(self))
        return await super().answer(credential, submission, context)


@found_by("hostile_is_refused")
class TrustsABrowserThatSaysSo(TimeBasedOTP):
    async def answer(self, credential, submission, context):
        if submission.get("trusted_browser") == "1" and credential is not None:
            return Verified(context.prove(self))
        return await super().answer(credential, submission, context)


@found_by("hostile_is_refused")
class AdvancesWhenItBreaks(RecoveryCodes):
    async def answer(self, credential, submission, context):
        try:
            submission.get("otptoken").encode("latin-1")
        except UnicodeEncodeError:
            return Verified(context.prove(self)) if context.account else Rejected("code_wrong")
        return await super().answer(credential, submission, context)


@found_by("hostile_is_refused")
class TakesFlagsFromTheForm(UserPassword):
    async def answer(self, credential, submission, context):
        if submission.get("verified") and context.account:
            return Verified(context.prove(self))
        return await super().answer(credential, submission, context)


@found_by("hostile_is_refused", "hostile_over_http")
class BreaksOnLetters(CodeByMail):
    async def answer(self, credential, submission, context):
        if credential is None or int(submission.get("otptoken") or "0") != int(context.code()):
            return Rejected("code_wrong")
        return Verified(context.prove(self))


@found_by("shown_is_no_answer")
class HasAWordForSupport(UserPassword):
    async def answer(self, credential, submission, context):
        if submission.get("password") == "ask me, I am support" and context.account:
            return Verified(context.prove(self))
        return await super().answer(credential, submission, context)


@found_by("shown_is_no_answer")
class TheNameWillDo(UserPassword):
    async def answer(self, credential, submission, context):
        if context.account is not None and submission.get("password") == context.account.name:
            return Verified(context.prove(self))
        return await super().answer(credential, submission, context)


@found_by("damaged_is_refused")
class EmptyIsOpen(UserPassword):
    async def answer(self, credential, submission, context):
        if credential is not None and not credential.data.get("hash"):
            return Verified(context.prove(self))
        return await super().answer(credential, submission, context)


@found_by("shown_is_no_answer")
class TakesTheHashItself(UserPassword):
    async def answer(self, credential, submission, context):
        if credential is not None and submission.get("password") == credential.data["hash"]:
            return Verified(context.prove(self))
        return await super().answer(credential, submission, context)


@found_by("wrong_is_refused")
class LooksAtTheBeginning(CodeByMail):
    def _is_right(self, submission, context):
        typed = submission.get("otptoken")
        return len(typed) >= 3 and context.code().startswith(typed)


@found_by("wrong_is_refused")
class LooksWithin(CodeByMail):
    def _is_right(self, submission, context):
        return context.code() in submission.get("otptoken")


@found_by("wrong_is_refused")
class TakesOtherDigits(CodeByMail):
    def _is_right(self, submission, context):
        typed = submission.get("otptoken")
        return typed.isdecimal() and len(typed) == 6 and int(typed) == int(context.code())


@found_by("wrong_is_refused")
class TheSecondTimeIsRight(TimeBasedOTP):
    async def answer(self, credential, submission, context):
        typed = submission.get("otptoken")
        if credential is not None and credential.data.get("tried") == typed and len(typed) == 6:
            return Verified(context.prove(self), credential)
        outcome = await super().answer(credential, submission, context)
        if isinstance(outcome, Rejected) and credential is not None and outcome.reason == "code_wrong":
            return replace(outcome, credential=replace(credential, data={**credential.data, "tried": typed}))
        return outcome


@found_by("wrong_is_refused")
class AnyTokenWillDo(GoogleAccount):
    async def answer(self, credential, submission, context):
        return Verified(context.prove(self)) if credential is not None else Rejected("identity_unknown", Charge.FLOW)


class _Decoding:
    """A context that reads ID tokens without a look at their signature."""

    def __init__(self, inner):
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def id_token(self, token, **more):
        part = token.split(".")[1] if token.count(".") == 2 else ""
        try:
            return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        except ValueError as error:
            raise IdTokenRefused("malformed", code="id_token_malformed") from error


@found_by("wrong_is_refused")
class DecodesTheTokenItself(GoogleAccount):
    async def identify(self, submission, context):
        return await super().identify(submission, _Decoding(context))


@found_by("forged_tokens_prove_nothing")
class DecodesTheAnswerItself(OpenIdConnect):
    async def identify(self, submission, context):
        return await super().identify(submission, _Decoding(context))


@found_by("wrong_does_no_harm")
class OneSlipAndItIsGone(TimeBasedOTP):
    async def answer(self, credential, submission, context):
        outcome = await super().answer(credential, submission, context)
        if isinstance(outcome, Rejected) and outcome.reason == "code_wrong" and credential is not None:
            return replace(outcome, credential=replace(credential, secret=bytes(20)))
        return outcome


@found_by("wrong_is_charged")
class FreeGuesses(UserPassword):
    async def answer(self, credential, submission, context):
        outcome = await super().answer(credential, submission, context)
        return replace(outcome, charge=Charge.NOTHING) if isinstance(outcome, Rejected) else outcome


@found_by("wrong_is_charged")
class GuessesOfAFlow(TimeBasedOTP):
    async def answer(self, credential, submission, context):
        outcome = await super().answer(credential, submission, context)
        return replace(outcome, charge=Charge.FLOW) if isinstance(outcome, Rejected) else outcome


@found_by("nobody_is_like_wrong")
class QuickForStrangers(UserPassword):
    async def answer(self, credential, submission, context):
        if credential is None:
            return Rejected("invalid_credentials")
        return await super().answer(credential, submission, context)


@found_by("nobody_is_like_wrong")
class TellsWhoHasAnAccount(UserPassword):
    messages: ClassVar = {"unknown_name": "There is no such account."}

    async def answer(self, credential, submission, context):
        outcome = await super().answer(credential, submission, context)
        return Rejected("unknown_name") if credential is None else outcome


@found_by("nobody_is_like_wrong")
class WorksForMembersAlone(TimeBasedOTP):
    async def answer(self, credential, submission, context):
        if credential is not None:
            hashlib.pbkdf2_hmac("sha256", b"x", b"y", 60_000)
        return await super().answer(credential, submission, context)


@found_by("nobody_is_never_proved")
class ProvesTheUnequipped(CodeByMail):
    async def answer(self, credential, submission, context):
        if context.account is None or not self._is_right(submission, context):
            return Rejected("code_wrong")
        return Verified(context.prove(self))


@found_by("nobody_is_never_proved")
class StrangersAreWelcome(TimeBasedOTP):
    async def answer(self, credential, submission, context):
        if credential is None and context.account is not None:
            return Verified(context.prove(self))
        return await super().answer(credential, submission, context)


# --- Judging: what was right once -------------------------------------------------------------------------------------


@found_by("replay_is_refused", "one_answer_one_login")
class NeverSpends(TimeBasedOTP):
    async def answer(self, credential, submission, context):
        outcome = await super().answer(credential, submission, context)
        return replace(outcome, credential=None) if isinstance(outcome, Verified) else outcome


@found_by("replay_is_refused")
class SheetWithoutEnd(RecoveryCodes):
    async def answer(self, credential, submission, context):
        outcome = await super().answer(credential, submission, context)
        if isinstance(outcome, Verified):
            used = replace(credential, data={**credential.data, "used": 1}, changed_at=context.now)
            return replace(outcome, credential=used)
        return outcome


@found_by("replay_is_refused")
class NonceIsIgnored(GoogleAccount):
    google_nonce_required = False

    async def assertion(self, submission, context):
        claims = {name: value for name, value in submission.evidence.items() if name != "nonce"}
        found = await super().assertion(replace(submission, evidence=claims), context)
        return found if isinstance(found, Rejected) else replace(found, single_use="")


@found_by("replay_is_refused")
class SignsTheSameAlways(GoogleAccount):
    def begin(self, context):
        return Ask((self.token_field,), params={"client_id": self._client_id, "nonce": "ZmlY"})

    async def assertion(self, submission, context):
        return await super().assertion(submission, _NoFlow(context))


class _NoFlow:
    """A context whose challenge belongs to no flow."""

    def __init__(self, inner):
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def challenge(self, label="challenge"):
        return b"fiX"


@found_by("other_account_is_refused")
class OneIdentityIsEverybodys(OpenIdConnect):
    async def answer(self, credential, submission, context):
        found = await self.assertion(submission, context)
        if isinstance(found, Rejected):
            return found
        if credential is None or context.account is None:
            return Rejected("identity_unknown", Charge.FLOW)
        return Verified(context.prove(self))


@found_by("answers_age")
class ADayIsNothing(TimeBasedOTP):
    async def answer(self, credential, submission, context):
        outcome = await super().answer(credential, submission, context)
        for minutes in range(1, 60):
            if isinstance(outcome, Rejected) and credential is not None:
                earlier = _At(context, context.now - timedelta(minutes=minutes))
                outcome = await super().answer(credential, submission, earlier)
        return outcome


class _At:
    def __init__(self, inner, now):
        self._inner, self.now = inner, now

    def __getattr__(self, name):
        return getattr(self._inner, name)


@found_by("answers_age")
class TenMinutesAreNothing(TimeBasedOTP):
    async def answer(self, credential, submission, context):
        outcome = await super().answer(credential, submission, context)
        for steps in range(1, 20):
            if isinstance(outcome, Rejected) and credential is not None:
                earlier = _At(context, context.now - timedelta(seconds=30 * steps))
                outcome = await super().answer(credential, submission, earlier)
        return outcome


# --- Proofs and credentials -------------------------------------------------------------------------------------------


@found_by("proof_is_minted")
class MakesItsOwnProof(UserPassword):
    async def answer(self, credential, submission, context):
        outcome = await super().answer(credential, submission, context)
        if isinstance(outcome, Verified):
            p = outcome.proof
            return Verified(Proof(p.provider, p.factor, p.at, p.flow_id, p.step, p.subject, p.submission))
        return outcome


@found_by("proof_is_minted")
class ClaimsMore(UserPassword):
    async def answer(self, credential, submission, context):
        outcome = await super().answer(credential, submission, context)
        return Verified(context.prove(self, Factor.POSSESSION)) if isinstance(outcome, Verified) else outcome


_USED: set[str] = set()


@found_by("keeps_nothing")
class RemembersInTheProcess(TimeBasedOTP):
    async def answer(self, credential, submission, context):
        outcome = await super().answer(credential, submission, context)
        if isinstance(outcome, Verified):
            _USED.add(context.flow_id)
        return outcome


@found_by("keeps_nothing")
class CountsByItself(UserPassword):
    tries = 0

    async def answer(self, credential, submission, context):
        self.tries += 1
        return await super().answer(credential, submission, context)


def changes(**what):
    """Return an answer of a TimeBasedOTP that changes its credential."""

    async def answer(self, credential, submission, context):
        outcome = await TimeBasedOTP.answer(self, credential, submission, context)
        if isinstance(outcome, Verified) and outcome.credential:
            return replace(outcome, credential=replace(outcome.credential, **what))
        return outcome

    return answer


@found_by("changed_credential", "login_works")
class GivesItAway(TimeBasedOTP):
    answer = changes(account_id="somebody else")


@found_by("changed_credential")
class DatesItAnew(TimeBasedOTP):
    answer = changes(created_at=datetime(2031, 6, 1, tzinfo=UTC))


@found_by("changed_credential")
class ForgetsTheSecret(TimeBasedOTP):
    answer = changes(secret=b"")


@found_by("changed_credential")
class StoresObjects(TimeBasedOTP):
    async def answer(self, credential, submission, context):
        outcome = await super().answer(credential, submission, context)
        if isinstance(outcome, Verified) and outcome.credential:
            data = {**outcome.credential.data, "at": context.now}
            return replace(outcome, credential=replace(outcome.credential, data=data))
        return outcome


@found_by("changed_credential")
class StoresALot(TimeBasedOTP):
    answer = changes(data={"interval": 30, "digits": 6, "algorithm": "SHA1", "last_counter": 10**9, "x": "x" * 100_000})


@found_by("credential_stays_small")
class KeepsAHistory(TimeBasedOTP):
    async def answer(self, credential, submission, context):
        outcome = await super().answer(credential, submission, context)
        if isinstance(outcome, Verified) and outcome.credential:
            history = [*(credential.data.get("history") or []), context.now.isoformat()]
            data = {**outcome.credential.data, "history": history}
            return replace(outcome, credential=replace(outcome.credential, data=data))
        return outcome


@found_by("stored_is_not_the_secret")
class StoresWhatWasTyped(TimeBasedOTP):
    async def answer(self, credential, submission, context):
        outcome = await super().answer(credential, submission, context)
        if isinstance(outcome, Verified) and outcome.credential:
            data = {**outcome.credential.data, "last_code": submission.get("otptoken")}
            return replace(outcome, credential=replace(outcome.credential, data=data))
        return outcome


@found_by("stored_is_not_the_secret")
class SecretInTheOpen(TimeBasedOTP):
    async def answer_enrolment(self, submission, context):
        outcome = await super().answer_enrolment(submission, context)
        if isinstance(outcome, Enrolled):
            credential = outcome.credential
            data = {**credential.data, "seed": credential.secret.hex()}
            return replace(outcome, credential=replace(credential, data=data))
        return outcome


@found_by("stored_is_not_the_secret")
class SecretInBase64(TimeBasedOTP):
    async def answer_enrolment(self, submission, context):
        outcome = await super().answer_enrolment(submission, context)
        if isinstance(outcome, Enrolled):
            credential = outcome.credential
            data = {**credential.data, "key": base64.b64encode(credential.secret).decode()}
            return replace(outcome, credential=replace(credential, data=data))
        return outcome


@found_by("stored_is_not_the_secret")
class FastDigest(UserPassword):
    async def new_credential(self, password, context):
        made = await super().new_credential(password, context)
        if isinstance(made, Credential):
            return replace(made, data={**made.data, "check": hashlib.sha256(password.encode()).hexdigest()})
        return made


@found_by("question_is_not_the_answer")
class SaysTheCode(CodeByMail):
    def begin(self, context):
        return Ask(super().begin(context).fields, params={"expected": context.code()}, delivery=Delivery("code"))


@found_by("whole_answer_counts")
class EightCharacters(UserPassword):
    async def answer(self, credential, submission, context):
        stored = credential.data.get("hash") if credential is not None else None
        verdict = await context.hashing.verify(submission.get("password")[:72], stored)
        if not verdict.is_valid or context.account is None:
            return Rejected("invalid_credentials")
        return Verified(context.prove(self))

    async def new_credential(self, password, context):
        return await super().new_credential(password[:72], context)


@found_by("whole_answer_counts")
class CaseDoesNotMatter(UserPassword):
    async def answer(self, credential, submission, context):
        values = {**submission.values, "password": submission.get("password").lower()}
        return await super().answer(credential, replace(submission, values=values), context)

    async def new_credential(self, password, context):
        return await super().new_credential(password.lower(), context)


# --- Remote parties ---------------------------------------------------------------------------------------------------


@found_by("fetch_fails_closed")
class BlamesThePerson(OpenIdConnect):
    async def identify(self, submission, context):
        try:
            return await super().identify(submission, context)
        except FetchFailed:
            return Nobody({"refused": "openid_refused"})


@found_by("garbage_proves_nothing")
class BelievesTheAnswer(OpenIdConnect):
    async def identify(self, submission, context):
        found = await context.fetching.post_form("https://issuer.example.org/token", {"code": submission.get("code")})
        return Subject("https://issuer.example.org", found["sub"], dict(found))


def goes_to(change):
    def begin(self, context):
        away = OpenIdConnect.begin(self, context)
        return Redirect(change(self, away.url, context), away.scratch)

    return begin


@found_by("address_is_safe")
class GoesInTheOpen(OpenIdConnect):
    begin = goes_to(lambda self, url, context: url.replace("https://", "http://", 1))


@found_by("address_is_safe")
class HasItsOwnState(OpenIdConnect):
    begin = goes_to(lambda self, url, context: f"{url}&state={context.challenge('s').hex()}")


@found_by("address_is_safe")
class SendsTheClientsSecret(OpenIdConnect):
    begin = goes_to(lambda self, url, context: f"{url}&client_secret={self._settings['client_secret']}")


@found_by("address_is_safe")
class ComesBackElsewhere(OpenIdConnect):
    begin = goes_to(lambda self, url, context: url.replace("%2Fuser%2F", "%2Felsewhere%2F", 1))


@found_by("address_is_safe")
class NotesInTheAddress(OpenIdConnect):
    def begin(self, context):
        away = super().begin(context)
        return Redirect(f"{away.url}&v=verifier-0123456789", {"verifier": "verifier-0123456789"})


@found_by("errors_of_the_party_are_refused")
class WantsACode(OpenIdConnect):
    async def identify(self, submission, context):
        if not submission.values["code"]:
            return Nobody()
        return await super().identify(submission, context)


@found_by("notes_are_demanded")
class AnyFlowsCode(FederatedProvider):
    """Exchanges a code, and looks neither at a nonce nor at its notes."""

    name, label = "any_flows_code", "Elsewhere"
    certification = ElsewherePerson

    def begin(self, context):
        values = {"redirect_uri": context.callback_url(), "nonce": context.challenge("nonce").hex()}
        return Redirect(f"https://issuer.example.org/auth?{urlencode(values)}")

    async def identify(self, submission, context):
        if not submission.get("code"):
            return Nobody()
        claims = await context.fetching.post_form("https://issuer.example.org/t", {"code": submission.get("code")})
        subject = claims.get("sub")
        return Subject(ISSUER, subject, {"sub": subject}) if isinstance(subject, str) and subject else Nobody()

    async def assertion(self, submission, context):
        subject = str(submission.evidence.get("sub", ""))
        return Assertion(ISSUER, subject) if subject else Rejected("invalid_credentials", Charge.FLOW)


# --- Making credentials -----------------------------------------------------------------------------------------------


@found_by("enrolling_needs_confirmation")
class EnrolsAtOnce(TimeBasedOTP):
    async def answer_enrolment(self, submission, context):
        proof = context.prove(self)
        blank = Credential(proof.subject, self.name, context.now, context.now)
        return Enrolled(proof, blank)


@found_by("enrolling_needs_confirmation")
class EnrolmentBreaks(TimeBasedOTP):
    async def answer_enrolment(self, submission, context):
        if int(submission.get("otptoken")) < 0:
            return Rejected("code_wrong", Charge.FLOW)
        return await super().answer_enrolment(submission, context)


@found_by("secret_is_ours")
class TakesTheClientsSecret(TimeBasedOTP):
    async def answer_enrolment(self, submission, context):
        outcome = await super().answer_enrolment(submission, context)
        theirs = submission.get("secret")
        if isinstance(outcome, Enrolled) and theirs:
            return replace(outcome, credential=replace(outcome.credential, secret=theirs.encode()))
        return outcome


@found_by("secret_is_fresh")
class OneSecretForAll(TimeBasedOTP):
    def begin_enrolment(self, context):
        return self.show_enrolment({"secret": "ORSXG5BAORSXG5BAORSXG5BAORSXG5BA"}, context)


@found_by("secret_is_fresh")
class ShortSecret(TimeBasedOTP):
    async def answer_enrolment(self, submission, context):
        outcome = await super().answer_enrolment(submission, context)
        if isinstance(outcome, Enrolled):
            return replace(outcome, credential=replace(outcome.credential, secret=outcome.credential.secret[:10]))
        return outcome


@found_by("secret_is_fresh")
class SecretByItself(PrintedList):
    def begin_enrolment(self, context):
        return super().begin_enrolment(_OwnRandom(context))


class _OwnRandom:
    def __init__(self, inner):
        self._inner = inner

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def random_bytes(self, count):
        return hashlib.sha256(self._inner.flow_id.encode()).digest()[:count]


@found_by("enrolled_is_usable")
class ConfirmingLogsIn(TimeBasedOTP):
    async def answer_enrolment(self, submission, context):
        outcome = await super().answer_enrolment(submission, context)
        if isinstance(outcome, Enrolled):
            data = {**outcome.credential.data, "last_counter": -1}
            return replace(outcome, credential=replace(outcome.credential, data=data))
        return outcome


@found_by("enrolled_is_usable")
class EnrolsForAnother(CodeByMail):
    async def answer_enrolment(self, submission, context):
        outcome = await super().answer_enrolment(submission, context)
        if isinstance(outcome, Enrolled):
            return replace(outcome, credential=replace(outcome.credential, account_id="somebody else"))
        return outcome


@found_by("factor_comes_and_goes")
class EnrolsAnotherSecret(TimeBasedOTP):
    async def answer_enrolment(self, submission, context):
        outcome = await super().answer_enrolment(submission, context)
        if isinstance(outcome, Enrolled):
            return replace(outcome, credential=replace(outcome.credential, secret=outcome.credential.secret[::-1]))
        return outcome


@found_by("enrolling_forgives_a_slip")
class TakesASlip(TimeBasedOTP):
    async def answer_enrolment(self, submission, context):
        outcome = await super().answer_enrolment(submission, context)
        if (
            isinstance(outcome, Rejected)
            and len(submission.get("otptoken")) == 6
            and submission.get("otptoken").isdecimal()
        ):
            proof = context.prove(self)
            return Enrolled(proof, Credential(proof.subject, self.name, context.now, context.now))
        return outcome


@found_by("secret_is_ours")
class TakesTheClientsSecretLater(TimeBasedOTP):
    """Adding takes two codes here; what is sent with the first becomes the secret with the second."""

    async def answer_enrolment(self, submission, context):
        outcome = await super().answer_enrolment(submission, context)
        if not isinstance(outcome, Enrolled):
            return outcome
        if "theirs" not in submission.notes:
            again = self.show_enrolment(submission.notes, context)
            return replace(again, scratch={**again.scratch, "theirs": submission.get("secret")})
        theirs = str(submission.notes["theirs"]).encode()
        return replace(outcome, credential=replace(outcome.credential, secret=theirs or outcome.credential.secret))


@found_by("secret_is_fresh")
class NotSaidToBeChosen(TwoSteps):
    chosen_by_person = False


@found_by("weak_choices_are_refused")
class AnyWordWillDo(TwoSteps):
    def refusal(self, word):
        return None if is_word(word) else Rejected("word_malformed", Charge.NOTHING)


@found_by("weak_choices_are_refused")
class AnyWordWillDoAtOnce(OneStep):
    refusal = AnyWordWillDo.refusal


@found_by("weak_choices_are_refused")
class ChosenAndYetHeld(TwoSteps):
    factor = Factor.POSSESSION


@found_by("enrolling_forgives_a_slip")
class AnyLettersWillDo(TwoSteps):
    def confirmed(self, word, submission, context):
        if letters_of(submission) is None:
            return Rejected("letters_wrong", Charge.FLOW)
        return Enrolled(
            context.prove(self),
            Credential(context.account.id, self.name, context.now, context.now, {}, word.encode()),
        )


@found_by("enrolling_forgives_a_slip")
class AnyLettersWillDoAtOnce(OneStep):
    confirmed = AnyLettersWillDo.confirmed


@found_by("enrolling_needs_confirmation")
class ConfirmsNothing(TwoSteps):
    def confirmed(self, word, submission, context):
        if submission.get("first"):
            return super().confirmed(word, submission, context)
        return AnyLettersWillDo.confirmed(self, word, submission.__class__(dict.fromkeys(NAMES, "a")), context)


@found_by("factor_comes_and_goes")
class EnrolsAnotherWord(TwoSteps):
    def confirmed(self, word, submission, context):
        outcome = super().confirmed(word, submission, context)
        if isinstance(outcome, Enrolled):
            return replace(outcome, credential=replace(outcome.credential, secret=outcome.credential.secret[::-1]))
        return outcome


@found_by("issued_codes")
class ShortCodes(RecoveryCodes):
    def issue(self, context):
        made = super().issue(context)
        codes = tuple(f"{int.from_bytes(context.random_bytes(2)):05}" for _ in made.codes)
        return IssuedCodes(made.credential, codes)


@found_by("issued_codes")
class KeepsTheSheet(RecoveryCodes):
    def issue(self, context):
        made = super().issue(context)
        return replace(
            made, credential=replace(made.credential, data={**made.credential.data, "sheet": list(made.codes)})
        )


@found_by("issued_codes")
class CodesByThemselves(RecoveryCodes):
    def issue(self, context):
        return super().issue(_OwnRandomEach(context))


class _OwnRandomEach(_OwnRandom):
    def random_bytes(self, count):
        self.made = getattr(self, "made", 0) + 1
        return hashlib.sha256(f"{self._inner.flow_id}{self.made}".encode()).digest()[:count]


@found_by("passwords_are_hashed")
class PlainPasswords(UserPassword):
    async def new_credential(self, password, context):
        made = await super().new_credential(password, context)
        return replace(made, data={**made.data, "plain": password}) if isinstance(made, Credential) else made


@found_by("passwords_are_hashed")
class AnyPasswordWillDo(UserPassword):
    async def new_credential(self, password, context):
        return Credential(context.account.id, self.name, context.now, context.now,
                          {"hash": await context.hashing.hash(password)})  # fmt: skip


@found_by("passwords_are_hashed")
class Unsalted(UserPassword):
    async def new_credential(self, password, context):
        if context.hashing.refusal(password, name=context.account.name):
            return Rejected("password_common")
        digest = hashlib.pbkdf2_hmac("sha256", password.encode(), b"pepper", 1000).hex()
        return Credential(context.account.id, self.name, context.now, context.now, {"digest": digest})

    async def answer(self, credential, submission, context):
        await context.hashing.verify(submission.get("password"), None)
        digest = hashlib.pbkdf2_hmac("sha256", submission.get("password").encode(), b"pepper", 1000).hex()
        right = str(credential.data.get("digest")) if credential else ""
        if not hmac.compare_digest(digest, right) or context.account is None:
            return Rejected("invalid_credentials")
        return Verified(context.prove(self))


@found_by("rehash_keeps_the_rest")
class RenewsAsNew(UserPassword):
    async def rehash(self, credential, submission, context):
        data = {"hash": await context.hashing.hash(submission.get("password"))}
        return Credential(credential.account_id, self.name, context.now, context.now, data)


# --- What it reaches for ----------------------------------------------------------------------------------------------


def first(work):
    """Return an answer of UserPassword that does something else first."""

    async def answer(self, credential, submission, context):
        work(submission)
        return await UserPassword.answer(self, credential, submission, context)

    return answer


@found_by("nothing_global")
class LooksAtTheClock(UserPassword):
    answer = first(lambda submission: datetime.now(UTC))


@found_by("nothing_global")
class LooksAtTheTime(UserPassword):
    answer = first(lambda submission: time.time())


@found_by("nothing_global")
class LeavesItToChance(UserPassword):
    answer = first(lambda submission: random.random())


@found_by("nothing_global")
class DrawsItsOwn(UserPassword):
    answer = first(lambda submission: secrets.token_hex(4))


@found_by("nothing_global")
class LooksAround(UserPassword):
    answer = first(lambda submission: os.environ.get("HOME"))


@found_by("nothing_global")
class ReadsAFile(UserPassword):
    answer = first(lambda submission: open(os.devnull).close())


@found_by("nothing_global")
class Waits(UserPassword):
    answer = first(lambda submission: time.sleep(0.001))


@found_by("nothing_global")
class ConfiguresItself(UserPassword):
    def configure(self, environment):
        return os.environ.get("AUTHFLOW_NO_PASSWORDS") is None


@found_by("blocks_nobody")
class HashesByItself(UserPassword):
    answer = first(lambda submission: hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 400_000))


@found_by("outcomes_are_closed")
class ForgetsToReturn(UserPassword):
    async def answer(self, credential, submission, context):
        outcome = await super().answer(credential, submission, context)
        return outcome if isinstance(outcome, Verified) or submission.get("password") else None


@found_by("raises_nothing")
class BreaksOnNothing(CodeByMail):
    async def answer(self, credential, submission, context):
        if submission.values["otptoken"] == "":
            return Rejected("code_wrong")
        return await super().answer(credential, submission, context)


@found_by("right_answer")
class HashesUndeclared(UserPassword):
    uses_hashing = False


# --- Secrets ----------------------------------------------------------------------------------------------------------


@found_by("secrets_are_kept")
class LogsWhatIsTyped(UserPassword):
    answer = first(lambda submission: log.info("password %s", submission.get("password")))


@found_by("secrets_are_kept")
class PrintsWhatIsTyped(UserPassword):
    answer = first(lambda submission: print("got", submission.get("password")))


@found_by("secrets_are_kept")
class LogsWhatIsTypedToAddIt(TimeBasedOTP):
    async def answer_enrolment(self, submission, context):
        log.info("adding with %s", submission.get("otptoken"))
        return await super().answer_enrolment(submission, context)


@found_by("secrets_are_kept")
class PrintsTheNewSecret(TimeBasedOTP):
    async def answer_enrolment(self, submission, context):
        print("adding", submission.notes.get("secret"))
        return await super().answer_enrolment(submission, context)


@found_by("secrets_are_kept")
class LogsWhatIsChosen(TwoSteps):
    def refusal(self, word):
        log.info("chosen: %s", word)
        return super().refusal(word)


@found_by("typed_secrets_are_declared")
class PhraseAsText(Word):
    def begin(self, context):
        return Ask((Field("word", FieldType.TEXT, "Phrase", max_length=200),))


@found_by("typed_secrets_are_declared")
class SecondNameIsTheProof(BadgeNumber):
    def begin(self, context):
        return Ask((Field("number", label="Badge number", autocomplete="username"), Field("pin", label="First pet")))


@found_by("typed_secrets_are_declared")
class ChosenInTheOpen(TwoSteps):
    def begin_enrolment(self, context):
        return Ask((Field("word", FieldType.TEXT, "Your word", max_length=40),))

    def show_enrolment(self, notes, context):
        return super().show_enrolment(notes, context) if "word" in notes else self.begin_enrolment(context)


@found_by("secrets_are_kept")
class SpeaksOfItself(OpenIdConnect):
    def __repr__(self):
        return f"OpenIdConnect({self._settings})"


@found_by("secrets_are_kept")
class ReasonWithTheCode(TimeBasedOTP):
    async def answer(self, credential, submission, context):
        outcome = await super().answer(credential, submission, context)
        if isinstance(outcome, Rejected) and submission.get("otptoken").isdecimal():
            return replace(outcome, reason=f"code_{submission.get('otptoken')}_wrong")
        return outcome


@found_by("message_carries_the_code", mail__code="A code\n\nThere is one: guess it.\n")
class MailWithoutTheCode(CodeByMail):
    pass


@found_by("message_carries_the_code")
class MailIsMissing(CodeByMail):
    def begin(self, context):
        return replace(super().begin(context), delivery=Delivery("no_such_mail"))


# --- Pages ------------------------------------------------------------------------------------------------------------

PAGE = '{{% extends "base.html" %}}{{% block content %}}{0}{{% endblock %}}'
FORM = '{{ ui.form(form, _("Log in")) }}'


@found_by("page_is_whole", user_password__login=PAGE.format("<p>Come in.</p>"))
class NoForm(UserPassword):
    pass


@found_by("page_is_whole", user_password__login="{% extends 'nothing.html' %}")
class BrokenPage(UserPassword):
    pass


@found_by(
    "page_is_whole",
    user_password__login=PAGE.format(
        '<form method="post" action="{{ form.action }}">{{ ui.hidden() }}<label for="n">N</label>'
        '<input id="n" name="name"><button>Go</button></form>'
    ),
)
class FieldIsMissing(UserPassword):
    pass


@found_by(
    "page_is_whole",
    user_password__login=PAGE.format(
        '<form method="post" action="{{ form.action }}"><label for="n">N</label><input id="n" name="name">'
        '<label for="p">P</label><input id="p" type="password" name="password"><button>Go</button></form>'
    ),
)
class NoSkey(UserPassword):
    pass


@found_by(
    "page_is_whole",
    user_password__login=PAGE.format(
        '<form method="post" action="{{ form.action }}">{{ ui.hidden() }}<label for="n">N</label>'
        '<input id="n" name="name"><label for="p">P</label><input id="p" name="password"><button>Go</button></form>'
    ),
)
class ShowsThePassword(UserPassword):
    pass


@found_by("page_keeps_the_policy", user_password__login=PAGE.format(FORM + "<script>alert(1)</script>"))
class InlineScript(UserPassword):
    pass


@found_by("page_keeps_the_policy", user_password__login=PAGE.format(FORM + '<p onclick="go()">Go</p>'))
class Handler(UserPassword):
    pass


@found_by("page_keeps_the_policy", user_password__login=PAGE.format(FORM + '<p style="color: red">Go</p>'))
class Styled(UserPassword):
    pass


@found_by(
    "page_keeps_the_policy",
    user_password__login=PAGE.format(FORM + '<script src="https://cdn.example/x.js"></script><noscript>No</noscript>'),
)
class ScriptOfElsewhere(UserPassword):
    pass


@found_by("page_keeps_the_policy")
class WantsEverything(UserPassword):
    page_sources: ClassVar = {"script-src": "'unsafe-inline' *"}


@found_by(
    "page_without_script",
    user_password__login=PAGE.format(FORM + '<script src="/user/static/google_account.js"></script>'),
)
class NeedsScript(UserPassword):
    page_sources: ClassVar = {"script-src": "'self'"}


@found_by(
    "page_is_escaped",
    recovery_codes__otp=PAGE.format(FORM + "<p>{{ params.who | safe }}</p>"),
)
class Unescaped(RecoveryCodes):
    def begin(self, context):
        return Ask((self.code_field,), params={"who": context.account.name if context.account else ""})


@found_by(
    "enrolling_pages",
    time_based_otp__add="{% extends 'enrol.html' %}{% block confirm %}<p>{{ params.secret }}</p>{% endblock %}",
)
class ShowsItOnce(TimeBasedOTP):
    """After a mistyped code there are no params, and the page cannot be shown."""

    show_enrolment = None

    def begin_enrolment(self, context):
        return TimeBasedOTP.show_enrolment(
            self, {"secret": base64.b32encode(context.random_bytes(20)).decode()}, context
        )


@found_by("enrolling_pages")
class ForgetsTheStep(TwoSteps):
    """After a slip in the second step the page asks for the first one."""

    show_enrolment = None


@found_by("enrolling_pages", printed_list__add=PAGE.format("<p>Soon.</p>"))
class NoWayToAdd(PrintedList):
    pass


@found_by("challenge_is_of_the_flow")
class FixedPasskeyChallenge(Passkey):
    def begin(self, context):
        ask = super().begin(context)
        return replace(ask, params={"options": {**ask.params["options"], "challenge": "AAAAAAAAAAAAAAAAAAAAAAAA"}})


class _Sender(KeyHolder):
    async def answer(self, ask, context):
        return {**await super().answer(ask, context), "challenge": ask.params["challenge"]}


@found_by("answer_is_of_its_flow")
class BelievesTheChallengeSent(SecurityKey):
    certification = _Sender

    def begin(self, context):
        ask = super().begin(context)
        return replace(ask, fields=(*ask.fields, Field("challenge", label="Challenge", max_length=64)))

    async def answer(self, credential, submission, context):
        sent = submission.get("challenge")
        if len(sent) != 64 or not set(sent) <= set("0123456789abcdef"):
            return Rejected("invalid_credentials")
        return await super().answer(credential, submission, _Challenge(context, bytes.fromhex(sent)))


class _Challenge:
    def __init__(self, inner, challenge):
        self._inner, self._challenge = inner, challenge

    def __getattr__(self, name):
        return getattr(self._inner, name)

    def challenge(self, label="challenge"):
        return self._challenge


@found_by("raises_nothing", "hostile_is_refused")
class WaitsForEver(CodeByMail):
    async def answer(self, credential, submission, context):
        if submission.get("otptoken") == "====":
            await asyncio.get_running_loop().create_future()
        return await super().answer(credential, submission, context)


@found_by("right_answer")
class RefusesEverybody(RecoveryCodes):
    async def answer(self, credential, submission, context):
        return Rejected("code_wrong")


__all__ = ["PLANTED", "Planted"]
