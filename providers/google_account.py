"""Log in with a Google account. ViUR: `GoogleAccount`.

Google's script in the browser hands over an ID token, which is posted here with skey and flow. The token is made for a
nonce of this very flow, so that neither one that was made elsewhere nor one that was used before logs anybody in. Whose
account it is follows from issuer and subject alone: addresses change hands, and at Google they change.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from hmac import compare_digest
from typing import ClassVar

from authflow.errors import ConfigurationError
from authflow.federated import Assertion, FederatedProvider
from authflow.fields import Field, FieldType
from authflow.model import Factor, Plain
from authflow.provider import (
    Ask,
    Charge,
    Identification,
    IdTokenRefused,
    Nobody,
    ProviderContext,
    Rejected,
    Subject,
    Submission,
)

ISSUER = "https://accounts.google.com"
"""What is stored, whichever of Google's two spellings a token has."""

_GSI = "https://accounts.google.com/gsi/"
_CLIENT_ID = re.compile(r"[A-Za-z0-9._-]{1,200}", re.ASCII)
_SHOWN = 254
_REFUSALS = (
    "google_token_refused", "id_token_malformed", "id_token_algorithm", "id_token_unknown_key", "id_token_signature",
    "id_token_issuer", "id_token_audience", "id_token_authorized_party", "id_token_lifetime", "id_token_subject",
)  # fmt: skip
"""The person cannot do anything about any of these; they stand apart for the operator, in the events."""


class GoogleAccount(FederatedProvider):
    """The Google provider. Offered when `AUTHFLOW_GOOGLE_CLIENT_ID` is set.

    Attributes:
        registration_enabled: Whether strangers with an address that Google is the authority for get an account.
        registration_domains: Google Workspace domains whose people get one although registration is off, by the signed
            `hd` claim. ViUR: `gsuiteDomains`.
        login_domains: If there are any, nobody logs in but people of these Workspace domains.
        google_nonce_required: Whether a token must be made for our nonce. Programs that obtain one by themselves cannot
            do that: without this they may, and such a token is good once.
        certs_url: Where Google publishes the certificates of its keys.
        issuers: Google's names in the claim `iss`.
    """

    name: ClassVar[str] = "google_account"
    label: ClassVar[str] = "Google account"
    factor: ClassVar[Factor] = Factor.FEDERATED
    method_name: ClassVar[str] = "X-VIUR-AUTH-Google-Account"
    path: ClassVar[str] = "auth_googleaccount"

    registration_enabled: bool = False
    registration_domains: Sequence[str] = ()
    login_domains: Sequence[str] = ()
    google_nonce_required: bool = True
    certs_url: str = "https://www.googleapis.com/oauth2/v1/certs"
    issuers: Sequence[str] = (ISSUER, "accounts.google.com")

    token_field: ClassVar[Field] = Field("token", FieldType.HIDDEN, "Google's confirmation", max_length=16 * 1024)

    # As Google documents it for its script, "Setup", "Content Security Policy".
    page_sources: ClassVar[Mapping[str, str]] = {
        "script-src": f"'self' {_GSI}client",
        "style-src": f"'nonce' {_GSI}style",
        "frame-src": _GSI,
        "connect-src": _GSI,
    }
    opens_popups: ClassVar[bool] = True

    messages: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(_REFUSALS, "Google's confirmation was not accepted. Please try again."),
        "id_token_expired": "Google's confirmation has expired. Please try again.",
        "id_token_early": "Google's confirmation is not valid yet. Please try again in a moment.",
        "google_nonce_wrong": "Google's confirmation was made for another page. Please try again on this one.",
        "google_domain_refused": "This Google account may not log in here. Please choose the one of your organisation.",
    }

    _client_id = ""

    def configure(self, environment: Mapping[str, str]) -> bool:
        """Take the client's id, and refuse bad class attributes when the app is built."""
        for attribute in ("registration_domains", "login_domains"):
            domains = getattr(self, attribute)
            # A bare text would be taken for a list of its letters, and empty ones would match what has no domain.
            if isinstance(domains, str) or not all(isinstance(domain, str) and "." in domain for domain in domains):
                raise ConfigurationError(f"{self.name}: {attribute} must be a list of domains such as example.org")
        client_id = environment.get("google_client_id", "").strip()
        if client_id and not _CLIENT_ID.fullmatch(client_id):
            raise ConfigurationError("AUTHFLOW_GOOGLE_CLIENT_ID must be the id of an OAuth client of Google")
        self._client_id = client_id
        # A program cannot have a token made for our nonce: to offer it the method would lead it nowhere.
        self.is_for_tools = not self.google_nonce_required
        return bool(client_id)

    def begin(self, context: ProviderContext) -> Ask:
        return Ask((self.token_field,), params={"client_id": self._client_id, "nonce": _nonce(context)})

    async def identify(self, submission: Submission, context: ProviderContext) -> Identification:
        """Read the token. A refused one speaks of nobody; `assertion` says why."""
        try:
            claims = await self._claims(submission, context)
        except IdTokenRefused as error:
            return Nobody({"refused": error.code})
        return Subject(ISSUER, str(claims["sub"]), claims)

    async def assertion(self, submission: Submission, context: ProviderContext) -> Assertion | Rejected:
        claims = submission.evidence
        # Every token that was read has a subject, so this is no claim of one.
        if "sub" not in claims:
            return Rejected(str(claims.get("refused", "google_token_refused")), Charge.FLOW)
        token, nonce = submission.get(self.token_field.name), claims.get("nonce")
        is_ours = isinstance(nonce, str) and compare_digest(nonce.encode(), _nonce(context).encode())
        if not is_ours and (self.google_nonce_required or "nonce" in claims):
            return Rejected("google_nonce_wrong", Charge.FLOW)
        if self.login_domains and not _is_of(claims, self.login_domains):
            return Rejected("google_domain_refused", Charge.FLOW)
        return Assertion(
            ISSUER,
            str(claims["sub"]),
            address=_address(claims),
            shown_as=_text(claims, "email") or _text(claims, "name"),
            profile={
                name: value
                for name, claim in (("firstname", "given_name"), ("lastname", "family_name"))
                if (value := _text(claims, claim))
            },
            single_use="" if is_ours else hashlib.sha256(token.encode()).hexdigest(),
        )

    def admits(self, assertion: Assertion, submission: Submission) -> bool:
        return self.registration_enabled or _is_of(submission.evidence, self.registration_domains)

    async def _claims(self, submission: Submission, context: ProviderContext) -> Mapping[str, Plain]:
        return await context.id_token(
            submission.get(self.token_field.name),
            certs_url=self.certs_url,
            issuers=frozenset(self.issuers),
            audience=self._client_id,
        )


def _nonce(context: ProviderContext) -> str:
    """Return the nonce of this flow and step. It is in the page: no secret, but nobody else's either."""
    return base64.urlsafe_b64encode(context.challenge("nonce")).rstrip(b"=").decode()


def _is_of(claims: Mapping[str, Plain], domains: Sequence[str]) -> bool:
    """Whether the account belongs to one of these Workspace domains: by `hd`, never by the address."""
    hosted = claims.get("hd")
    return isinstance(hosted, str) and hosted.lower() in {domain.lower() for domain in domains}


def _address(claims: Mapping[str, Plain]) -> str:
    """Return the address if Google is the authority for it, else the empty text.

    It is for addresses of its own mail, and for verified ones of a Workspace domain ("Verify the Google ID token").
    Another verified one was its owner's when Google asked, and may be somebody else's by now.
    """
    email, hosted = _text(claims, "email"), claims.get("hd")
    if claims.get("email_verified") is not True:
        return ""
    is_authority = email.lower().endswith("@gmail.com") or (isinstance(hosted, str) and hosted != "")
    return email if is_authority else ""


def _text(claims: Mapping[str, Plain], name: str) -> str:
    """Return a claim that is fit to be shown and stored, else the empty text."""
    value = claims.get(name)
    return value if isinstance(value, str) and len(value) <= _SHOWN and value.isprintable() else ""
