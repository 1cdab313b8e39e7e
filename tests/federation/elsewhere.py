"""A provider whose identities are kept elsewhere, without any cryptography: what it is told is what the issuer says."""

from __future__ import annotations

import json

from authflow.federated import Assertion, FederatedProvider
from authflow.fields import Field, FieldType
from authflow.provider import Ask, Charge, Nobody, Redirect, Rejected, Subject
from authflow.testing import Page, Person
from authflow.user import User

BASE = "/user/auth_elsewhere"
LOGIN = f"{BASE}/login"
LINK = f"{BASE}/add"
ISSUER = "https://elsewhere.test"
OTHER_ISSUER = "https://other.test"


class Elsewhere(FederatedProvider):
    """Asks for a token that holds the nonce of the flow."""

    name, label = "elsewhere", "Elsewhere"
    admits_anybody = False

    def begin(self, context):
        # The nonce stands in the form, as a page would show it to the issuer's script.
        nonce = context.challenge("nonce").hex()
        fields = (Field("token", FieldType.HIDDEN, max_length=2000), Field("nonce", FieldType.HIDDEN, required=False))
        return Ask(fields, values={"nonce": nonce})

    async def identify(self, submission, context):
        try:
            claims = json.loads(submission.get("token"))
        except ValueError:
            return Nobody()
        return Subject(claims["issuer"], claims["subject"], claims)

    async def assertion(self, submission, context):
        claims = submission.evidence
        if not claims or claims.get("nonce", "") not in ("", context.challenge("nonce").hex()):
            return Rejected("token_refused", Charge.FLOW)
        return Assertion(
            claims["issuer"],
            claims["subject"],
            claims.get("address", ""),
            claims.get("shown_as", ""),
            claims.get("profile", {}),
            "" if claims.get("nonce") else submission.get("token"),
        )

    def admits(self, assertion, submission):
        return self.admits_anybody


class Welcoming(Elsewhere):
    admits_anybody = True


class Remote(FederatedProvider):
    """Away by redirect, back by GET with a code that is the subject."""

    name, label = "remote", "Remote"

    def begin(self, context):
        return Redirect(f"{ISSUER}/authorize?redirect_uri={context.callback_url()}", scratch={"seen": 1})

    async def identify(self, submission, context):
        return Subject(ISSUER, submission.get("code"), {"sub": submission.get("code")})

    async def assertion(self, submission, context):
        if submission.notes != {"seen": 1}:
            return Rejected("token_refused", Charge.FLOW)
        return Assertion(ISSUER, str(submission.evidence["sub"]))


class Federated(User):
    """Password, elsewhere, and an app as the second factor of both."""

    authentication_providers = ("providers.user_password:UserPassword", Elsewhere, Remote)
    valid_authentication_methods = (
        ("user_password", "time_based_otp"),
        ("user_password", None),
        ("elsewhere", "time_based_otp"),
        ("elsewhere", None),
        ("remote", "time_based_otp"),
        ("remote", None),
    )


class Open(Federated):
    """The same, and strangers may come."""

    authentication_providers = ("providers.user_password:UserPassword", Welcoming, Remote)


async def come(person: Person, subject: str = "ada-there", *, path: str = LOGIN, **claims: object) -> Page:
    """Log in, or connect, with an identity of elsewhere by the page; return the answer."""
    return await tell(person, await person.get(path), subject, **claims)


async def tell(person: Person, page: Page, subject: str = "ada-there", **claims: object) -> Page:
    """Send what the issuer says of somebody, with the nonce of the page unless another one is given."""
    form = page.form("auth_elsewhere")
    said = {"issuer": ISSUER, "subject": subject, "nonce": form.values["nonce"], **claims}
    return await person.send(form, token=json.dumps(said))
