"""Recovery codes: ten look-up secrets (NIST SP 800-63B, section 5.1.2) for the day the other factor is lost.

A code has 80 bits and is worth one use. Only keyed digests are stored: a copy of the store tells none, and without the
master keys not even whether a guess was right.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar

from authflow.errors import ContractViolation
from authflow.fields import Field, FieldType
from authflow.model import Credential, Plain
from authflow.powers import IssuedCodes
from authflow.provider import (
    Ask,
    Charge,
    Outcome,
    ProviderContext,
    Rejected,
    SecondFactorProvider,
    Submission,
    Verified,
)

CODES = 10

_CODE_BYTES = 10  # 80 bits are 16 characters without rest
_LENGTH = 16
_GROUP = 4
# Crockford's base32 has no letters that are read as digits; typed all the same, they are taken for the digits.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_FROM_RFC_4648 = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", _ALPHABET)
_AS_READ = str.maketrans("oil", "011", " -")


class RecoveryCodes(SecondFactorProvider):
    """Ten printed codes that stand in for any other second factor."""

    name = "recovery_codes"
    label = "Recovery code"
    path = "f2_recoverycode"
    method_name = "X-VIUR-2FACTOR-RecoveryCode"
    is_substitute = True
    notice_when_used = "recovery_code_used"
    messages: ClassVar[Mapping[str, str]] = {
        "code_wrong": "That is none of your unused recovery codes. Each works once; please try another one.",
        "code_malformed": "Please enter one recovery code as you kept it: four groups of four letters and digits.",
    }

    code_field: ClassVar[Field] = Field("otptoken", FieldType.CODE, "Recovery code", max_length=64, autocomplete="off")

    def begin(self, context: ProviderContext) -> Ask:
        return Ask(fields=(self.code_field,))

    async def answer(self, credential: Credential | None, submission: Submission, context: ProviderContext) -> Outcome:
        """Judge a code and spend it. One that was spent is as wrong as one that never was."""
        code = _normalise(submission.get(self.code_field.name))
        if code is None:
            return Rejected("code_malformed", Charge.NOTHING)
        account_id = "" if credential is None else credential.account_id
        known = _known(credential)
        right = _match(known, _digests(account_id, code, context))
        if credential is None or right is None:
            return Rejected("code_wrong")
        left: list[Plain] = [digest for digest in known if digest != right]
        data = {**credential.data, "digests": left, "used": CODES - len(left)}
        spent = replace(credential, data=data, changed_at=context.now)
        return Verified(context.prove(self), spent)

    def can_handle(self, credential: Credential) -> bool:
        return self.remaining(credential) > 0

    def remaining(self, credential: Credential) -> int:
        return len(_known(credential))

    def issue(self, context: ProviderContext) -> IssuedCodes:
        """Make ten codes. The credential replaces the one before, so that older codes are worth nothing."""
        if context.account is None:
            raise ContractViolation("recovery codes were to be issued to nobody")
        account_id = context.account.id
        codes = [_encode(context.random_bytes(_CODE_BYTES)) for _ in range(CODES)]
        credential = Credential(
            account_id,
            self.name,
            created_at=context.now,
            changed_at=context.now,
            data={"digests": [_digests(account_id, code, context)[0] for code in codes], "used": 0},
        )
        return IssuedCodes(credential, tuple(_grouped(code) for code in codes))


def _normalise(typed: str) -> str | None:
    """Return the 16 characters of a code, or nothing for anything that is none."""
    # Before the case: the Kelvin sign's lower case is an ordinary k.
    if not typed.isascii():
        return None
    code = typed.lower().translate(_AS_READ)
    return code if len(code) == _LENGTH and set(code) <= set(_ALPHABET) else None


def _encode(raw: bytes) -> str:
    return base64.b32encode(raw).decode().translate(_FROM_RFC_4648)


def _grouped(code: str) -> str:
    return "-".join(code[start : start + _GROUP] for start in range(0, _LENGTH, _GROUP))


def _digests(account_id: str, code: str, context: ProviderContext) -> list[str]:
    """Return a code's digests, the newest key's first. With the account id, so that no code fits a second account."""
    return [mac.hex() for mac in context.mac("recovery_code", f"{account_id}.{code}".encode())]


def _known(credential: Credential | None) -> list[str]:
    stored = None if credential is None else credential.data.get("digests")
    return [digest for digest in stored if isinstance(digest, str)] if isinstance(stored, list) else []


def _match(known: list[str], made: list[str]) -> str | None:
    """Return the stored digest that was made of the code. The time tells neither which one nor how many are left."""
    right = None
    for stored in [*known, *["-" * 64] * (CODES - len(known))]:
        for digest in made:
            if hmac.compare_digest(stored.encode(), digest.encode()):
                right = stored
    return right
