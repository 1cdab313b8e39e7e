"""A good provider that nobody knows how to answer, and two kits for it."""

from __future__ import annotations

import hmac

from authflow.certifying.kit import Kit
from authflow.fields import Field, FieldType
from authflow.model import Credential, Factor
from authflow.provider import Ask, Identifier, PrimaryProvider, Rejected, Verified

PIN = Field("pin", FieldType.PASSWORD, "PIN", autocomplete="current-password")


class Badge(PrimaryProvider):
    """A number on a badge and a PIN. Stores a hash of the PIN."""

    name, label, factor = "badge", "Badge", Factor.KNOWLEDGE
    uses_hashing = True

    def begin(self, context):
        return Ask((Field("number", label="Badge number", autocomplete="username"), PIN))

    async def identify(self, submission, context):
        return Identifier(submission.get("number"))

    async def answer(self, credential, submission, context):
        stored = credential.data.get("hash") if credential is not None else None
        verdict = await context.hashing.verify(submission.get("pin"), stored if isinstance(stored, str) else None)
        if not verdict.is_valid or context.account is None:
            return Rejected("invalid_credentials")
        return Verified(context.prove(self))


class Bearer(Kit):
    """Somebody with a badge."""

    async def equip(self, context):
        self.pin = hmac.new(b"pin", context.account.id.encode(), "sha256").hexdigest()[:12]
        hashed = await context.hashing.hash(self.pin)
        return Credential(context.account.id, "badge", context.now, context.now, {"hash": hashed})

    async def answer(self, ask, context):
        return {"number": context.account.name, "pin": self.pin}


class Twin(Bearer):
    """Somebody whose PIN everybody has."""

    async def equip(self, context):
        self.pin = "471108154711"
        hashed = await context.hashing.hash(self.pin)
        return Credential(context.account.id, "badge", context.now, context.now, {"hash": hashed})


class MadeOfNothing(Bearer):
    """A kit that does not take what it is handed."""

    def __init__(self):
        super().__init__(None)


class NeverHanded(Bearer):
    """A kit that keeps what it is handed to itself."""

    def __init__(self, provider):
        self.pin = "4711"


class Certified(Badge):
    certification = "tests.certifying.bare:Bearer"
