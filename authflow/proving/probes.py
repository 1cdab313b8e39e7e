"""The providers of the configuration, asked on real pieces of the engine: what they want, and what they take for proof.

What takes a person or a remote party to be right is shown by `authflow check-provider`. Here stands what can be asked
of any provider: that nothing senseless is verified, and that what is verified is proved of the account at hand.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from authflow.assembly import Application
from authflow.engine import Engine
from authflow.errors import AuthflowError
from authflow.fields import Field, FieldType
from authflow.flow import Flow, FlowKind, StepKind
from authflow.model import Account, Credential, Proof
from authflow.powers import AcceptsTokens, Enrols, IssuesCodes, as_password_setter
from authflow.provider import Ask, Enrolled, Outcome, PrimaryProvider, Provider, Submission, Verified
from authflow.proving.equipment import SECRET_HEX, blank, flow_for, made_by, person
from authflow.proving.report import Report
from authflow.seam import Call

PASSPHRASE = "correct horse battery staple, planted here"
SENSELESS = ("", "0", "000000", "null", "true", "' OR 1=1 --", "\x00", "\u0660" * 6, "x" * 5000, "{}", "[]")


class Counting:
    """Hears of every call to the outside."""

    def __init__(self) -> None:
        self.calls = 0

    async def before(self, call: Call) -> None:
        self.calls += 1

    def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
        """Nothing more to count."""


@dataclass(frozen=True, slots=True)
class Right:
    """A submission that is right for a credential."""

    credential: Credential
    values: Mapping[str, str]


class Probes:
    """Probes the providers of one application.

    Args:
        app: Apart from what it is deployed on, and with this observer.
    """

    def __init__(self, app: Application, report: Report, heard: Counting) -> None:
        self._app, self._report, self._heard = app, report, heard
        self._engine: Engine = app.engine
        self._person = person(self._engine)

    def run(self) -> None:
        """Probe all of them. What does not hold is in the report."""
        asyncio.run(self._all())

    async def _all(self) -> None:
        for provider in self._engine.registry.providers.values():
            self._handles(provider)
            for flow, account in self._places(provider):
                self._begins(provider, flow, account)
            await self._judges(provider)
            await self._verifies(provider)

    def _violated(self, invariant: str, detail: str, provider: Provider) -> None:
        self._report.violated(invariant, detail, f"provider {provider.name}")

    def _places(self, provider: Provider) -> Iterator[tuple[Flow, Account | None]]:
        """Say where the form of a provider can be opened."""
        if isinstance(provider, PrimaryProvider):
            yield flow_for(provider.name), None
            yield flow_for(provider.name, kind=FlowKind.REAUTHENTICATE), self._person
            yield flow_for(provider.name, kind=FlowKind.SETTINGS), self._person
        else:
            yield flow_for(provider.name, step=1), self._person
            yield flow_for(provider.name, kind=FlowKind.STEP_UP), self._person
            yield flow_for(provider.name, step=2), self._person

    # --- Handling and asking ------------------------------------------------------------------------------------------

    def _handles(self, provider: Provider) -> None:
        self._report.checks += 2
        try:
            made = made_by(self._engine, provider)
            if made is not None and not provider.can_handle(made.credential):
                self._violated("handles", "it cannot handle the credential that it has made", provider)
            if made is not None and (made.credential.provider, made.credential.account_id) != (
                provider.name, self._person.id,
            ):  # fmt: skip
                self._violated("handles", "the credential that it makes is not its own, or not the account's", provider)
            provider.can_handle(blank(provider.name))
        except Exception as error:
            self._violated("handles", f"{type(error).__name__}: {error}", provider)

    def _begins(self, provider: Provider, flow: Flow, account: Account | None) -> None:
        self._report.checks += 1
        heard = self._heard.calls
        try:
            first, again = (self._engine.ask(flow, provider, account) for _ in range(2))
        except Exception as error:
            self._violated("begins", f"{type(error).__name__}: {error}", provider)
            return
        # Fields are compared by what they say: an equal one may be made anew.
        if first != again:
            self._violated("begins", "asked twice, it asks for two things", provider)
        if self._heard.calls != heard:
            self._violated("begins", "it makes a call to the outside", provider)
        if isinstance(first, Ask) and any(getattr(field, "name", None) is None for field in first.fields):
            self._violated("begins", "what it asks for are no fields", provider)

    # --- Judging ------------------------------------------------------------------------------------------------------

    async def _answer(
        self, provider: Provider, flow: Flow, credential: Credential | None, values: Mapping[str, str],
        account: Account | None,
    ) -> Outcome:  # fmt: skip
        submission = Submission(values)
        with self._app.services.pool.reserve() as slot:
            context = self._engine.context(flow, provider, account=account, slot=slot, submission=submission)
            await provider.identify(submission, context)
            return await provider.answer(credential, submission, context)

    async def _judges(self, provider: Provider) -> None:
        flow = next(flow for flow, _ in self._places(provider))
        names = [field.name for field in self._fields(provider, flow)]
        try:
            made = made_by(self._engine, provider)
        except Exception:
            made = None  # Told by `_handles`.
        credentials: tuple[Credential | None, ...] = (None, blank(provider.name))
        if made is not None:
            credentials += (made.credential,)
        submissions: list[Mapping[str, str]] = [{}, {"unknown": "x"}]
        submissions += [dict.fromkeys(names, text) for text in SENSELESS]
        for credential in credentials:
            account = None if credential is None and isinstance(provider, PrimaryProvider) else self._person
            if credential is not None and credential.data == {} and not self._can_handle(provider, credential):
                continue  # The engine does not ask for what cannot be handled.
            for values in submissions:
                self._report.checks += 1
                told = "an empty submission" if not any(values.values()) else "a senseless submission"
                try:
                    outcome = await self._answer(provider, flow, credential, values, account)
                except AuthflowError:
                    continue
                except Exception as error:
                    # That a credential which it never made breaks it is a fault to the person, and no open door.
                    if credential is None or credential.data:
                        self._violated("judges", f"{type(error).__name__} at {told}: {error}", provider)
                    continue
                if isinstance(outcome, Verified):
                    self._violated("judges", f"{told} is verified", provider)

    async def _verifies(self, provider: Provider) -> None:
        """Hand in what is right, where that can be known, and look at what is proved by it."""
        base = next(flow for flow, _ in self._places(provider))
        try:
            rights = await self._rights(provider, base)
        except Exception as error:
            self._violated("judges", f"{type(error).__name__} at what is right: {error}", provider)
            return
        for right in rights:
            for flow in (base, replace(base, id="another-flow", step=base.step + 3)):
                self._report.checks += 1
                try:
                    outcome = await self._answer(provider, flow, right.credential, right.values, self._person)
                except Exception as error:
                    self._violated("judges", f"{type(error).__name__} at what is right: {error}", provider)
                    continue
                if not isinstance(outcome, Verified):
                    self._violated("handles", "what is right for the credential that it has made is refused", provider)
                    continue
                self._check_proof(provider, flow, outcome.proof)
                if outcome.credential is not None:
                    changed = (outcome.credential.account_id, outcome.credential.provider)
                    if changed != (self._person.id, provider.name):
                        self._violated("own-proof", "it changes another credential than its own", provider)
                    again = await self._answer(provider, flow, outcome.credential, right.values, self._person)
                    if isinstance(again, Verified):
                        self._violated("single-use", "what it has spent is verified once more", provider)
        if isinstance(provider, Enrols):
            await self._enrols(provider)

    def _check_proof(self, provider: Provider, flow: Flow, proof: Proof) -> None:
        wrong = [
            name
            for name, found, want in (
                ("provider", proof.provider, provider.name),
                ("subject", proof.subject, self._person.id),
                ("flow", proof.flow_id, flow.id),
                ("step", proof.step, flow.step),
            )
            if found != want
        ]
        if wrong:
            self._violated("own-proof", f"its proof names another {' and '.join(wrong)}", provider)

    async def _enrols(self, provider: Provider) -> None:
        power: object = provider
        if not isinstance(power, Enrols):
            return
        flow = flow_for(provider.name, kind=FlowKind.ENROL, step=0, asks=StepKind.ENROL)
        try:
            begun = power.begin_enrolment(self._engine.context(flow, provider, account=self._person))
            names = [field.name for field in begun.fields]
            # Its secret is drawn: any code may be right for it.
            for values in ({}, *(dict.fromkeys(names, text) for text in SENSELESS if not text.isdecimal())):
                self._report.checks += 1
                submission = Submission(values, begun.scratch)
                context = self._engine.context(flow, provider, account=self._person, submission=submission)
                if isinstance(await power.answer_enrolment(submission, context), Enrolled):
                    self._violated("judges", "an empty or senseless submission enrols it", provider)
        except AuthflowError:
            return
        except Exception as error:
            self._violated("judges", f"{type(error).__name__} at an enrolment: {error}", provider)

    # --- What is right ------------------------------------------------------------------------------------------------

    async def _rights(self, provider: Provider, flow: Flow) -> list[Right]:
        """Return right submissions of what is known to everybody: passwords, printed codes, RFC 6238, mailed codes."""
        power: object = provider
        fields = self._fields(provider, flow)
        code = next((field.name for field in fields if field.type is FieldType.CODE), "")
        made = made_by(self._engine, provider)
        if made is not None and isinstance(power, IssuesCodes) and code and made.codes:
            return [Right(made.credential, {code: made.codes[0]})]
        if made is not None and isinstance(power, AcceptsTokens) and code:
            return [Right(made.credential, {code: _code(self._app.services.clock())})]
        setter = as_password_setter(provider)
        if setter is not None:
            submission = Submission({"name": self._person.name, "password": PASSPHRASE})
            with self._app.services.pool.reserve() as slot:
                context = self._engine.context(flow, provider, account=self._person, slot=slot, submission=submission)
                credential = await setter.new_credential(PASSPHRASE, context)
            if isinstance(credential, Credential):
                return [Right(credential, {"name": self._person.name, setter.password_field.name: PASSPHRASE})]
        return []

    def _fields(self, provider: Provider, flow: Flow) -> tuple[Field, ...]:
        try:
            ask = self._engine.ask(flow, provider, self._person)
        except Exception:
            return ()  # Told by `_begins`.
        return ask.fields if isinstance(ask, Ask) else ()

    def _can_handle(self, provider: Provider, credential: Credential) -> bool:
        try:
            return provider.can_handle(credential)
        except Exception:
            return False


def _code(now: datetime) -> str:
    """Return the code of RFC 6238 for the secret of its test vectors: six digits, thirty seconds, SHA-1."""
    counter = int(now.timestamp()) // 30
    digest = hmac.digest(bytes.fromhex(SECRET_HEX), counter.to_bytes(8, "big"), hashlib.sha1)
    offset = digest[-1] & 15
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**6:06d}"
