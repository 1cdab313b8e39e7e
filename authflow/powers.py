"""Optional powers of providers: small protocols, looked for with `isinstance`. A provider has one by its methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import Protocol, runtime_checkable

from authflow.fields import Field
from authflow.model import Credential, Plain
from authflow.provider import Ask, Enrolment, ProviderContext, Rejected, Submission


@runtime_checkable
class Enrols(Protocol):
    """A second factor that people can add by themselves."""

    def begin_enrolment(self, context: ProviderContext) -> Ask:
        """Make a new secret (in `Ask.scratch`) and show it."""

    async def answer_enrolment(self, submission: Submission, context: ProviderContext) -> Enrolment:
        """Judge the confirming submission against the secret in `submission.notes`."""


@runtime_checkable
class ShowsEnrolment(Protocol):
    """An enrolling factor that can show the secret of an open enrolment again, after a mistyped code."""

    def show_enrolment(self, notes: Mapping[str, Plain], context: ProviderContext) -> Ask:
        """Show what `begin_enrolment` showed.

        Args:
            notes: What it left in `Ask.scratch`.
        """


@runtime_checkable
class AcceptsTokens(Protocol):
    """A second factor of devices that the operator hands out."""

    def new_hardware_token(
        self,
        account_id: str,
        *,
        serial: str,
        secret_hex: str,
        now: datetime,
        interval: int,
        digits: int,
        algorithm: str,
    ) -> Credential:
        """Make the credential of a token from the data that its vendor delivers.

        Raises:
            BadInput: The data are not those of a supported device.
        """  # fmt: skip


@dataclass(frozen=True, slots=True)
class IssuedCodes:
    """Fresh codes to be shown once, and the credential that knows them."""

    credential: Credential
    codes: tuple[str, ...] = field(repr=False)


@runtime_checkable
class IssuesCodes(Protocol):
    """A factor whose secrets are made by us and shown once."""

    def issue(self, context: ProviderContext) -> IssuedCodes: ...


@runtime_checkable
class Rehashes(Protocol):
    """A provider whose stored form ages: it is renewed on its own after the answer is settled, failure ignored."""

    async def rehash(self, credential: Credential, submission: Submission, context: ProviderContext) -> Credential: ...


@runtime_checkable
class SetsPassword(Protocol):
    """A primary provider whose credential is chosen by the person: registration, recovery, set-up and change use it.

    The switches and templates of those are the provider's class attributes.
    """

    registration_enabled: bool
    registration_email_verification_required: bool
    registration_admin_verification_required: bool

    @property
    def password_field(self) -> Field: ...

    async def new_credential(self, password: str, context: ProviderContext) -> Credential | Rejected:
        """Make a credential of a new password, or say by a reason code why it is not accepted."""

    async def check_captcha(self, submission: Submission, context: ProviderContext) -> bool:
        """Hook on the first step of recovery and on registration; True lets the person go on."""


@lru_cache(maxsize=64)
def as_password_setter(provider: object) -> SetsPassword | None:
    """Return a provider as one that sets passwords, or None if it has not that power."""
    return provider if isinstance(provider, SetsPassword) else None
