"""Sound providers of rarer shapes, none of which may be found fault with."""

from __future__ import annotations

import hmac
import secrets
from typing import ClassVar

from authflow.certifying.kit import Kit
from authflow.fields import Field, FieldType
from authflow.model import Credential, Factor
from authflow.powers import IssuedCodes
from authflow.provider import (
    Ask,
    Charge,
    CredentialId,
    Delivery,
    Identifier,
    Nobody,
    PrimaryProvider,
    Rejected,
    SecondFactorProvider,
    Verified,
)
from tests.certifying.words import OneStep, TwoSteps

CODE = Field("code", FieldType.CODE, "Code", autocomplete="one-time-code", max_length=12)


class KeyHolder(Kit):
    """Somebody with a key that signs."""

    async def equip(self, context):
        self.key = context.random_bytes(32)
        self.id = context.random_bytes(16).hex()
        return Credential(
            context.account.id, self.provider.name, context.now, context.now, {"id": self.id}, secret=self.key
        )

    async def answer(self, ask, context):
        signed = hmac.digest(self.key, bytes.fromhex(ask.params["challenge"]), "sha256").hex()
        return {"credential": self.id, "signature": signed}

    def found_by(self):
        return CredentialId(self.id)


class SecurityKey(PrimaryProvider):
    """Finds the account by the key, which signs a challenge: like a passkey as first step."""

    name, label, factor = "security_key", "Security key", Factor.POSSESSION
    certification = KeyHolder

    def begin(self, context):
        fields = (Field("credential", label="Key"), Field("signature", FieldType.CODE, "Signature", max_length=64))
        return Ask(fields, params={"challenge": context.challenge().hex()})

    async def identify(self, submission, context):
        return CredentialId(submission.get("credential"))

    async def answer(self, credential, submission, context):
        key = credential.secret if credential else bytes(32)
        expected = hmac.digest(key, context.challenge(), "sha256").hex()
        is_right = hmac.compare_digest(expected.encode(), submission.get("signature").encode())
        if credential is None or not is_right:
            return Rejected("invalid_credentials")
        return Verified(context.prove(self))


class NameTyper(Kit):
    """Somebody who types a name, and then what was mailed."""

    async def equip(self, context):
        return None

    async def answer(self, ask, context):
        if ask.delivery is None:
            return {"name": context.account.name}
        return {"code": context.code()}


class MailedLogin(PrimaryProvider):
    """A first step of two questions, with nothing stored."""

    name, label, factor = "mailed_login", "Code by mail", Factor.MAILBOX
    certification = NameTyper

    def begin(self, context):
        return Ask((Field("name", label="E-mail address", autocomplete="username"),))

    async def identify(self, submission, context):
        return Identifier(str(submission.notes.get("name") or submission.get("name")))

    async def answer(self, credential, submission, context):
        if "name" not in submission.notes:
            return Ask((CODE,), scratch={"name": submission.get("name")}, delivery=Delivery("code"))
        if not hmac.compare_digest(context.code().encode(), submission.get("code").encode()):
            return Rejected("code_wrong")
        return Verified(context.prove(self)) if context.account else Rejected("code_wrong")


class Sheet(SecondFactorProvider):
    """Issued codes of ten digits, as a factor of its own and no substitute."""

    name, label = "sheet", "Sheet"
    messages: ClassVar = {"code_wrong": "That is none of your codes."}

    def begin(self, context):
        return Ask((CODE,))

    def issue(self, context):
        codes = [str(int.from_bytes(context.random_bytes(8)) % 10**10).zfill(10) for _ in range(10)]
        kept = [self._digest(context, context.account.id, code) for code in codes]
        return IssuedCodes(
            Credential(context.account.id, self.name, context.now, context.now, {"kept": kept}), tuple(codes)
        )

    def _digest(self, context, account_id, code):
        return context.mac("sheet", f"{account_id}:{code}".encode())[0].hex()

    def can_handle(self, credential):
        kept = credential.data.get("kept")
        return isinstance(kept, list) and all(isinstance(one, str) for one in kept)

    async def answer(self, credential, submission, context):
        account_id = credential.account_id if credential else ""
        digest = self._digest(context, account_id, submission.get("code"))
        if credential is None or digest not in credential.data["kept"]:
            return Rejected("code_wrong")
        left = [one for one in credential.data["kept"] if one != digest]
        spent = Credential(
            credential.account_id, self.name, credential.created_at, context.now, {"kept": left}, credential.secret
        )
        return Verified(context.prove(self), spent)


class Word(SecondFactorProvider):
    """A phrase that is known: it counts as knowledge, and may be said again."""

    name, label, factor = "word", "Phrase", Factor.KNOWLEDGE
    uses_hashing = True

    class Knower(Kit):
        async def equip(self, context):
            self.word = f"the word of {context.account.id}"
            hashed = await context.hashing.hash(self.word)
            return Credential(context.account.id, "word", context.now, context.now, {"hash": hashed})

        async def answer(self, ask, context):
            return {"word": self.word}

    certification = Knower

    def begin(self, context):
        return Ask((Field("word", FieldType.PASSWORD, "Phrase", autocomplete="off", max_length=200),))

    async def answer(self, credential, submission, context):
        if not submission.get("word"):
            return Rejected("code_malformed", Charge.NOTHING)
        stored = credential.data.get("hash") if credential else None
        verdict = await context.hashing.verify(submission.get("word"), stored if isinstance(stored, str) else None)
        return Verified(context.prove(self)) if verdict.is_valid and context.account else Rejected("code_wrong")


class NumberedPerson(Kit):
    """Somebody whose account is called by six digits."""

    def __init__(self, provider):
        super().__init__(provider)
        self.name = f"{secrets.randbelow(10**6):06}"
        self.pin = secrets.token_hex(6)

    async def equip(self, context):
        hashed = await context.hashing.hash(self.pin)
        return Credential(context.account.id, "badge_number", context.now, context.now, {"hash": hashed})

    async def answer(self, ask, context):
        return {"number": context.account.name, "pin": self.pin}


class BadgeNumber(PrimaryProvider):
    """A first step that knows nobody whose number is not one."""

    name, label, factor = "badge_number", "Badge", Factor.KNOWLEDGE
    uses_hashing = True
    certification = NumberedPerson

    def begin(self, context):
        pin = Field("pin", FieldType.PASSWORD, "PIN", autocomplete="current-password")
        return Ask((Field("number", label="Badge number", autocomplete="username"), pin))

    async def identify(self, submission, context):
        number = submission.get("number")
        return Identifier(number) if len(number) == 6 and number.isascii() and number.isdigit() else Nobody()

    async def answer(self, credential, submission, context):
        stored = credential.data.get("hash") if credential is not None else None
        # The verdict itself is as true as what it found.
        if await context.hashing.verify(submission.get("pin"), stored if isinstance(stored, str) else None):
            return Verified(context.prove(self))
        return Rejected("invalid_credentials")


SOUND = (SecurityKey, MailedLogin, Sheet, Word, BadgeNumber, TwoSteps, OneStep)
