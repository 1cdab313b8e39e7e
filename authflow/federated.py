"""The contract of primary providers whose identities are kept elsewhere: OpenID providers such as Google.

An identity is an (issuer, subject) pair (OpenID Connect Core 1.0, section 2) and nothing else: addresses change hands.
A provider judges what the issuer asserts; the engine finds the account of the identity, links an identity to an account
whose owner is logged in, and makes accounts for strangers where the provider admits them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

from authflow.model import Account, Credential, Factor, Plain
from authflow.provider import (
    Charge,
    Outcome,
    PrimaryProvider,
    ProviderContext,
    Rejected,
    Submission,
    Verified,
)

IDENTITY_UNKNOWN = "identity_unknown"
"""The identity is real and belongs to no account here."""


@dataclass(frozen=True, slots=True)
class Assertion:
    """What an issuer says of a person, judged for this flow and this submission alone.

    Attributes:
        issuer, subject: The identity.
        address: A mail address that the issuer has verified and is the authority for; empty otherwise. It names a new
            account, so one that merely stands in a token is not enough.
        shown_as: What the person knows the identity by, such as an address. It proves nothing.
        profile: Further values by the names of `User.profile_fields`; what is not declared there is dropped.
        single_use: What tells this evidence from any other, where no nonce of ours binds it to the flow: it then proves
            something once. Empty where the flow's own single start is enough.
    """

    issuer: str
    subject: str
    address: str = ""
    shown_as: str = ""
    profile: Mapping[str, Plain] = field(default_factory=dict, repr=False)
    single_use: str = field(default="", repr=False)

    def to_credential(self, account: Account, provider: str, context: ProviderContext) -> Credential:
        """Return what is kept of it with the account it is linked to."""
        return Credential(account.id, provider, context.now, context.now, self.to_data())

    def to_data(self) -> dict[str, Plain]:
        """Return the data of such a credential. What is `synced` has reached the account, or was there before it."""
        return {
            "issuer": self.issuer,
            "subject": self.subject,
            "shown_as": self.shown_as,
            "profile": dict(self.profile),
            "synced": dict(self.profile),
        }


class FederatedProvider(PrimaryProvider):
    """Base of providers whose identities are kept elsewhere. Subclasses say how to `begin`, `identify` and `assertion`.

    `identify` answers with the `Subject` that a submission speaks of, `assertion` judges it.

    Attributes:
        has_profile_sync: Whether profile values that change at the issuer change here too. Names, addresses for mail
            and rights never do. ViUR: the bone `sync`.
    """

    factor: ClassVar[Factor] = Factor.FEDERATED
    has_profile_sync: bool = True

    async def assertion(self, submission: Submission, context: ProviderContext) -> Assertion | Rejected:
        """Judge what a submission asserts, without regard to any account.

        Returns:
            The assertion; or why there is none, with `Charge.FLOW`, since no account can be named by it.
        """
        raise NotImplementedError

    def admits(self, assertion: Assertion, submission: Submission) -> bool:
        """Say whether a stranger may have an account made by this assertion. Only one with an address can."""
        return False

    async def answer(self, credential: Credential | None, submission: Submission, context: ProviderContext) -> Outcome:
        found = await self.assertion(submission, context)
        if isinstance(found, Rejected):
            return found
        if credential is None or context.account is None or not _is_of(credential, found):
            return Rejected(IDENTITY_UNKNOWN, Charge.FLOW)
        data = found.to_data() | {"synced": credential.data.get("synced", {})}
        has_changed = data != credential.data
        changed = replace(credential, data=data, changed_at=context.now) if has_changed else None
        return Verified(context.prove(self), changed, single_use=found.single_use)


def _is_of(credential: Credential, found: Assertion) -> bool:
    return (credential.data.get("issuer"), credential.data.get("subject")) == (found.issuer, found.subject)
