"""A second factor of one's own as a form: a printed list of codes, for people without a phone.

The list is used from the top down; whoever has used a code crosses it off. Each code is right once, and voids those
above it. So a list that somebody saw is worth less with every login, and one that was lost is replaced by its owner.

    AUTHFLOW_USER=examples.printed_list:MyUser AUTHFLOW_TEMPLATES=examples/templates scripts/serve

Shown here: a form with a template of its own (`templates/printed_list/`), a secret that is stored encrypted, a
credential that changes with each use, enrolling by oneself, and how many uses are left.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

from authflow.fields import Field, FieldType
from authflow.model import Credential, Factor, Plain
from authflow.provider import (
    Ask,
    Charge,
    Enrolled,
    Enrolment,
    Outcome,
    ProviderContext,
    Rejected,
    SecondFactorProvider,
    Submission,
    Verified,
)
from authflow.user import User

CODES = 60
DIGITS = 6
AHEAD = 5
"""So many of the next codes are right: people skip one now and then. Each more makes guessing easier."""

_SECRET_BYTES = 20
_NOBODYS_SECRET = bytes(_SECRET_BYTES)


class PrintedList(SecondFactorProvider):
    """Codes of a list on paper, in their order."""

    name, label, factor = "printed_list", "Printed list of codes", Factor.POSSESSION
    messages: ClassVar[Mapping[str, str]] = {
        "code_wrong": "That is not the next code of your list.",
        "list_used_up": "All codes of your list are used. Use another way now, and make a new list.",
    }
    certification = "examples.kits:ListHolder"

    code_field = Field(
        "otptoken", FieldType.CODE, "Code", max_length=32, autocomplete="one-time-code", inputmode="numeric"
    )

    # --- At a login ---------------------------------------------------------------------------------------------------

    def begin(self, context: ProviderContext) -> Ask:
        return Ask((self.code_field,))

    async def answer(self, credential: Credential | None, submission: Submission, context: ProviderContext) -> Outcome:
        code = _normalised(submission.get(self.code_field.name))
        if code is None:
            return Rejected("code_malformed", Charge.NOTHING)
        # For an account without a list the same work is done, with the same end as a wrong code.
        secret, used = (_NOBODYS_SECRET, 0) if credential is None else (credential.secret, _used(credential))
        place = _place(code, secret, range(used, min(used + AHEAD, CODES)))
        if credential is None:
            return Rejected("code_wrong")
        if place is not None:
            changed = replace(credential, data={**credential.data, "used": place + 1}, changed_at=context.now)
            return Verified(context.prove(self), changed)
        if used >= CODES:
            return Rejected("list_used_up", Charge.FLOW)
        if used and _place(code, secret, range(used - 1, used)) is not None:
            # The owner clicked twice. Who holds a spent code gains nothing, and shall lock nobody out.
            return Rejected("code_replayed", Charge.FLOW)
        return Rejected("code_wrong")

    def can_handle(self, credential: Credential) -> bool:
        return len(credential.secret) == _SECRET_BYTES and isinstance(credential.data.get("used"), int)

    def remaining(self, credential: Credential) -> int:
        return max(0, CODES - _used(credential))

    # --- Making a list: with these, people do it by themselves -----------------------------------------------------

    def begin_enrolment(self, context: ProviderContext) -> Ask:
        return self.show_enrolment({"secret": context.random_bytes(_SECRET_BYTES).hex()}, context)

    def show_enrolment(self, notes: Mapping[str, Plain], context: ProviderContext) -> Ask:
        """Show the list of an open enrolment: also after a mistyped code, when it may be on paper already."""
        codes: list[Plain] = [_code(bytes.fromhex(str(notes["secret"])), number) for number in range(CODES)]
        return Ask((self.code_field,), params={"codes": codes}, scratch={"secret": notes["secret"]})

    async def answer_enrolment(self, submission: Submission, context: ProviderContext) -> Enrolment:
        """Take the first code as a sign that the list is on paper. It is spent by that."""
        try:
            secret = bytes.fromhex(str(submission.notes["secret"]))
        except (KeyError, ValueError):
            return Rejected("ticket_invalid", Charge.NOTHING)
        code = _normalised(submission.get(self.code_field.name))
        if code is None or len(secret) != _SECRET_BYTES:
            return Rejected("code_malformed", Charge.NOTHING)
        if _place(code, secret, range(1)) is None:
            return Rejected("code_wrong", Charge.FLOW)
        proof = context.prove(self)
        kept = Credential(proof.subject, self.name, context.now, context.now, data={"used": 1}, secret=secret)
        return Enrolled(proof, kept)


def _code(secret: bytes, number: int) -> str:
    digest = hmac.digest(secret, number.to_bytes(8, "big"), "sha256")
    return str(int.from_bytes(digest, "big") % 10**DIGITS).zfill(DIGITS)


def _place(code: str, secret: bytes, numbers: Sequence[int]) -> int | None:
    """Return the first of these places on the list that has the code. All are compared, whichever it is."""
    found = [number for number in numbers if hmac.compare_digest(_code(secret, number), code)]
    return found[0] if found else None


def _used(credential: Credential) -> int:
    used = credential.data.get("used")
    return used if isinstance(used, int) else CODES


def _normalised(typed: str) -> str | None:
    """Return a code as it is compared, or None. People type it with spaces; digits of other scripts are none."""
    code = typed.replace(" ", "")
    return code if len(code) == DIGITS and code.isascii() and code.isdigit() else None


class MyUser(User):
    """The stock user module, with this factor after a password."""

    second_factor_providers = (*User.second_factor_providers, PrintedList)
    valid_authentication_methods = (*User.valid_authentication_methods, ("user_password", PrintedList))
