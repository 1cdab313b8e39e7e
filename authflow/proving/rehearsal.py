"""A configuration that leaves nothing out: choices, substitutes, roles, a first step without and one with exceptions.

A small configuration does not reach every row of the table nor every rule of the policy. So that a fault in these is
found where it is made, and not when the second factor is added, they are explored with this one too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from authflow.fields import Field
from authflow.flow import Transitions
from authflow.model import Credential, Factor, Plain, Role
from authflow.provider import (
    Ask,
    Enrolment,
    Outcome,
    PrimaryProvider,
    Provider,
    ProviderContext,
    Rejected,
    SecondFactorProvider,
    Submission,
)
from authflow.user import User

DEMANDING = "guarded"


class _Answers(Provider):
    """Asks for one field, and verifies nothing: proofs are the explorer's."""

    answer_field: ClassVar[Field] = Field("answer", label="Answer")

    def begin(self, context: ProviderContext) -> Ask:
        return Ask((self.answer_field,))

    async def answer(self, credential: Credential | None, submission: Submission, context: ProviderContext) -> Outcome:
        return Rejected("code_wrong")


class FirstWay(_Answers, PrimaryProvider):
    name, label = "first_way", "First way"
    registration_enabled: bool = True
    registration_email_verification_required: bool = True
    registration_admin_verification_required: bool = True

    @property
    def password_field(self) -> Field:
        return Field("password", label="Password")

    async def new_credential(self, password: str, context: ProviderContext) -> Credential | Rejected:
        return Rejected("password_wrong")

    async def check_captcha(self, submission: Submission, context: ProviderContext) -> bool:
        return True


class OtherWay(_Answers, PrimaryProvider):
    name, label, factor = "other_way", "Other way", Factor.FEDERATED


class StrictWay(_Answers, PrimaryProvider):
    name, label = "strict_way", "Way that always wants a second factor"


class BareWay(_Answers, PrimaryProvider):
    name, label = "bare_way", "Way that no second factor is paired with"


class _Enrolling(_Answers):
    def begin_enrolment(self, context: ProviderContext) -> Ask:
        return Ask((self.answer_field,), scratch={"secret": "made up"})

    async def answer_enrolment(self, submission: Submission, context: ProviderContext) -> Enrolment:
        return Rejected("code_wrong")

    def show_enrolment(self, notes: Mapping[str, Plain], context: ProviderContext) -> Ask:
        return Ask((self.answer_field,))


class OwnApp(_Enrolling, SecondFactorProvider):
    name, label = "own_app", "App"


class OwnKey(_Enrolling, SecondFactorProvider):
    name, label = "own_key", "Key"


class HandedOut(_Answers, SecondFactorProvider):
    name, label = "handed_out", "Token that is handed out"


class Printed(_Enrolling, SecondFactorProvider):
    """In a pair, and to be added by oneself: neither makes a factor of what only stands in for one."""

    name, label, is_substitute = "printed", "Printed codes", True


class Rehearsal(User):
    """The stock user module under such a configuration."""

    authentication_providers = (FirstWay, OtherWay, StrictWay, BareWay)
    second_factor_providers = (OwnApp, OwnKey, HandedOut, Printed)
    valid_authentication_methods: ClassVar[Sequence[tuple[str, str | None]]] = (
        ("first_way", "own_key"),
        ("first_way", "own_app"),
        ("first_way", "printed"),
        ("first_way", None),
        ("other_way", "own_app"),
        ("other_way", None),
        ("strict_way", "own_key"),
        ("strict_way", "handed_out"),
        ("bare_way", None),
    )
    second_factor_required_roles = frozenset({DEMANDING})
    roles = (Role("user", "User"), Role(DEMANDING, "Guarded"))


def rehearsal(transitions: Transitions | None) -> User:
    """Return such a user module, moving by this table."""
    user = Rehearsal()
    if transitions is not None:
        user.transitions = transitions  # type: ignore[misc]
    return user
