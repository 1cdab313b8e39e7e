"""The application that a provider is tried in: this provider alone, and what it takes to get to it.

A second factor needs a first step. The one here asks for a name and believes it: it lives in an application apart, on a
store in memory, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from authflow.fields import Field, FieldType
from authflow.model import Credential, Factor
from authflow.provider import (
    Ask,
    Identification,
    Identifier,
    Outcome,
    PrimaryProvider,
    Provider,
    ProviderContext,
    Rejected,
    SecondFactorProvider,
    Submission,
    Verified,
)
from authflow.user import User

NAME = Field("certified_name", FieldType.TEXT, "Name", autocomplete="username")


class Opener(PrimaryProvider):
    """Believes a name."""

    name: ClassVar[str] = "certification_opener"
    label: ClassVar[str] = "Name"

    def begin(self, context: ProviderContext) -> Ask:
        return Ask((NAME,))

    async def identify(self, submission: Submission, context: ProviderContext) -> Identification:
        return Identifier(submission.get(NAME.name))

    async def answer(self, credential: Credential | None, submission: Submission, context: ProviderContext) -> Outcome:
        return Verified(context.prove(self)) if context.account else Rejected("invalid_credentials")


class Owed(SecondFactorProvider):
    """Is owed and refuses, so that what stands in for factors is asked for."""

    name: ClassVar[str] = "certification_factor"
    label: ClassVar[str] = "Nothing"
    factor: ClassVar[Factor] = Factor.POSSESSION

    def begin(self, context: ProviderContext) -> Ask:
        return Ask((Field("certified_code", FieldType.CODE, "Code"),))

    async def answer(self, credential: Credential | None, submission: Submission, context: ProviderContext) -> Outcome:
        return Rejected("code_wrong")


class TriedUser(User):
    """The `User` of the application apart.

    Attributes:
        further_factors: What is enrolled beside the provider, so that it is asked for.
        is_substitute: Whether the provider stands in for others.
    """

    trace_share = 1.0  # All that is said of a login is looked through, so all of it must be said.
    further_factors: ClassVar[tuple[str, ...]] = ()
    is_substitute: ClassVar[bool] = False


def make_user(make: Callable[[], Provider]) -> type[TriedUser]:
    """Return a `User` with the provider that is to be tried."""
    provider = make()
    if isinstance(provider, PrimaryProvider):

        class First(TriedUser):
            authentication_providers = (make(),)
            second_factor_providers = ()
            valid_authentication_methods = ((provider.name, None),)

        return First
    is_substitute_ = getattr(provider, "is_substitute", False)

    class Second(TriedUser):
        authentication_providers = (Opener,)
        second_factor_providers = (Owed, make()) if is_substitute_ else (make(),)
        valid_authentication_methods = (
            (Opener.name, None),
            (Opener.name, Owed.name if is_substitute_ else provider.name),
        )
        further_factors = (Owed.name,) if is_substitute_ else ()
        is_substitute = is_substitute_

    return Second
