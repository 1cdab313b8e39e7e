"""Log in with a name and a password. ViUR: `UserPassword`.

Unknown, disabled, unverified and password-less accounts are judged by the same work and get the same answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from authflow.errors import BadInput
from authflow.fields import Field, FieldType
from authflow.model import Credential, Factor, Plain
from authflow.provider import (
    Ask,
    Identification,
    Identifier,
    Outcome,
    PrimaryProvider,
    ProviderContext,
    Rejected,
    Submission,
    Verified,
)

# Text, not e-mail: a browser would refuse to send a login name that is no address.
NAME = Field("name", FieldType.TEXT, "E-mail address", autocomplete="username", max_length=254, inputmode="email")
PASSWORD = Field("password", FieldType.PASSWORD, "Password", autocomplete="current-password", max_length=1024)


class UserPassword(PrimaryProvider):
    """The password provider.

    Attributes:
        registration_enabled: Whether strangers may make an account. Off by default.
        registration_email_verification_required: A mailed link must be confirmed first (status 1).
        registration_admin_verification_required: An admin must agree (status 2).
    """

    name: ClassVar[str] = "user_password"
    label: ClassVar[str] = "E-mail and password"
    factor: ClassVar[Factor] = Factor.KNOWLEDGE
    method_name: ClassVar[str] = "X-VIUR-AUTH-User-Password"
    uses_hashing: ClassVar[bool] = True

    registration_enabled: bool = False
    registration_email_verification_required: bool = True
    registration_admin_verification_required: bool = True

    login_fields: ClassVar[tuple[Field, ...]] = (NAME, PASSWORD)

    def begin(self, context: ProviderContext) -> Ask:
        values = {"name": context.account.name} if context.account else {}
        return Ask(self.login_fields, values=values)

    async def identify(self, submission: Submission, context: ProviderContext) -> Identification:
        return Identifier(submission.get("name"))

    async def answer(self, credential: Credential | None, submission: Submission, context: ProviderContext) -> Outcome:
        stored = credential.data.get("hash") if credential is not None else None
        verdict = await context.hashing.verify(submission.get("password"), stored if isinstance(stored, str) else None)
        if not verdict.is_valid or context.account is None:
            return Rejected("invalid_credentials")
        return Verified(context.prove(self), needs_rehash=verdict.needs_rehash)

    async def rehash(self, credential: Credential, submission: Submission, context: ProviderContext) -> Credential:
        data: Mapping[str, Plain] = {**credential.data, "hash": await context.hashing.hash(submission.get("password"))}
        return replace(credential, data=data)

    @property
    def password_field(self) -> Field:
        return Field(
            "password", FieldType.PASSWORD, "New password", autocomplete="new-password", max_length=1024,
            help="At least 8 characters. Several words in a row are easy to remember and hard to guess.",
        )  # fmt: skip

    async def new_credential(self, password: str, context: ProviderContext) -> Credential | Rejected:
        if context.account is None:
            raise BadInput("a password for nobody")
        refusal = context.hashing.refusal(password, name=context.account.name)
        if refusal is not None:
            return Rejected(refusal)
        data: Mapping[str, Plain] = {"hash": await context.hashing.hash(password)}
        return Credential(context.account.id, self.name, context.now, context.now, data)

    async def check_captcha(self, submission: Submission, context: ProviderContext) -> bool:
        """Hook: override to demand a solved task on the first step of recovery and on registration."""
        return True
