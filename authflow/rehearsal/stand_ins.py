"""Providers that answer without a person, for looking at what a flow costs: stand-ins for those nobody can answer for.

A stand-in is of the class that it stands in for, so that the engine asks and writes all the same. What it judges is not
judged: it is used on a store in memory alone (`rehearsal`).
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import TYPE_CHECKING

from authflow.federated import Assertion, FederatedProvider
from authflow.model import Credential
from authflow.powers import Enrols
from authflow.provider import (
    Ask,
    Enrolled,
    Enrolment,
    Identification,
    Identifier,
    Outcome,
    PrimaryProvider,
    Provider,
    ProviderContext,
    Redirect,
    Rejected,
    Subject,
    Submission,
    Verified,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

ISSUER = "https://issuer.invalid"
NAME, SUBJECT = "name", "subject"
"""Fields that stand-ins read."""


class _Scripted:
    """What every stand-in does. Mixed in before the class that it stands in for."""

    name: str
    uses_hashing: bool

    def configure(self, environment: Mapping[str, str]) -> bool:
        return True

    def can_handle(self, credential: Credential) -> bool:
        return True

    def begin(self, context: ProviderContext) -> Ask | Redirect:
        return Ask(())

    async def answer(self, credential: Credential | None, submission: Submission, context: ProviderContext) -> Outcome:
        if self.uses_hashing:
            await context.hashing.verify("", None)
        if credential is None or context.account is None:
            return Rejected("stand_in_without_credential")
        assert isinstance(self, Provider)  # noqa: S101 - what it is mixed into
        return Verified(context.prove(self), replace(credential, changed_at=context.now))


class _Primary(_Scripted):
    async def identify(self, submission: Submission, context: ProviderContext) -> Identification:
        return Identifier(submission.get(NAME))


class _Federated(_Scripted):
    async def identify(self, submission: Submission, context: ProviderContext) -> Identification:
        return Subject(ISSUER, submission.get(SUBJECT))

    async def assertion(self, submission: Submission, context: ProviderContext) -> Assertion | Rejected:
        return Assertion(ISSUER, submission.get(SUBJECT))

    async def answer(self, credential: Credential | None, submission: Submission, context: ProviderContext) -> Outcome:
        assert isinstance(self, FederatedProvider)  # noqa: S101 - what it is mixed into
        return await FederatedProvider.answer(self, credential, submission, context)


class _Enrolling(_Scripted):
    def begin_enrolment(self, context: ProviderContext) -> Ask:
        return Ask((), scratch={"stand_in": True})

    async def answer_enrolment(self, submission: Submission, context: ProviderContext) -> Enrolment:
        assert isinstance(self, Provider)  # noqa: S101 - what it is mixed into
        proof = context.prove(self)
        return Enrolled(proof, Credential(proof.subject, self.name, context.now, context.now))


def stand_in(provider: Provider) -> Provider:
    """Return what stands in for a provider. The provider itself is not changed."""
    cls = type(provider)
    if isinstance(provider, FederatedProvider):
        script: type[_Scripted] = _Federated
    elif isinstance(provider, PrimaryProvider):
        script = _Primary
    else:
        script = _Enrolling if isinstance(provider, Enrols) else _Scripted
    double = copy.copy(provider)
    double.__class__ = type(cls.__name__, (script, cls), {"__module__": __name__})
    return double


def credential_of(provider: Provider, account_id: str, context: ProviderContext) -> Credential:
    """Return the credential that a stand-in is content with."""
    data = {"issuer": ISSUER, "subject": account_id} if isinstance(provider, FederatedProvider) else {}
    assertion = Assertion(ISSUER, account_id).to_data() if data else {}
    return Credential(account_id, provider.name, context.now, context.now, assertion)
