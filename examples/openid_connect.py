"""A primary provider of one's own by redirect: any OpenID issuer (OpenID Connect Core 1.0), such as a company's own.

Authorization code flow with PKCE (RFC 7636), nonce and state: the person goes to the issuer and comes back with a code,
which we exchange for an ID token. Whose account it is follows from issuer and subject alone.

Register at the issuer as a confidential client, with `client_secret_post`, for ID tokens signed by RS256, with these
two addresses to come back to: https://YOURS/user/auth_openidconnect/login and https://YOURS/user/auth_openidconnect/add.
The rest is in what it publishes at ISSUER/.well-known/openid-configuration, under the same names:

    export AUTHFLOW_OIDC_CLIENT_ID=... AUTHFLOW_OIDC_CLIENT_SECRET=... AUTHFLOW_OIDC_ISSUER=https://...
    export AUTHFLOW_OIDC_AUTHORIZATION_ENDPOINT=... AUTHFLOW_OIDC_TOKEN_ENDPOINT=... AUTHFLOW_OIDC_JWKS_URI=...
    AUTHFLOW_USER=examples.openid_connect:MyUser AUTHFLOW_TEMPLATES=examples/templates scripts/serve

People connect it on their account's page first. Strangers may come where AUTHFLOW_OIDC_DOMAINS names the mail domains
(comma separated) whose addresses are the issuer's to give.

Shown here: `Redirect`, an exchange at a remote party by `context.fetching`, what it brought as `evidence`, an ID token
read by `context.id_token`, settings of the deployment, a secret among them.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from hmac import compare_digest
from typing import ClassVar
from urllib.parse import urlencode, urlsplit

from authflow.errors import ConfigurationError, FetchRefused
from authflow.federated import Assertion, FederatedProvider
from authflow.model import Plain
from authflow.provider import (
    Charge,
    Identification,
    IdTokenRefused,
    Nobody,
    ProviderContext,
    Redirect,
    Rejected,
    Subject,
    Submission,
)
from authflow.user import User

_PREFIX = "oidc_"
_ADDRESSES = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")
_REQUIRED = ("client_id", "client_secret", *_ADDRESSES)
_FRESH = timedelta(minutes=5)
_LONGEST_CODE = 2048
_SHOWN = 254
_REFUSALS = (
    "openid_refused", "id_token_malformed", "id_token_algorithm", "id_token_unknown_key", "id_token_signature",
    "id_token_issuer", "id_token_audience", "id_token_authorized_party", "id_token_lifetime", "id_token_expired",
    "id_token_early", "id_token_subject", "openid_nonce_wrong", "openid_mixed_up", "openid_code_refused",
)  # fmt: skip
"""Nothing that the person can do anything about; they stand apart for the operator, in the events."""


class OpenIdConnect(FederatedProvider):
    """One OpenID issuer. Offered when `AUTHFLOW_OIDC_CLIENT_ID` is set.

    Attributes:
        algorithm: What the issuer signs this client's ID tokens with (`id_token_signed_response_alg`).
        scope: What is asked for. `openid` must be among it.
        names_itself: Whether the issuer sends `iss` along with each answer; then one without is refused (RFC 9207). Its
            metadata say `authorization_response_iss_parameter_supported`. A wrong one is refused in any case.
    """

    name, label = "openid_connect", "Your organisation"
    is_for_tools = False  # A program has no browser that could go away and come back.
    certification = "examples.kits:Colleague"

    algorithm: str = "RS256"
    scope: str = "openid email profile"
    names_itself: bool = False

    messages: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(_REFUSALS, "Your organisation's confirmation was not accepted. Please try again."),
        "openid_denied": "You have not agreed to log in, or may not. Please try again, or use another way.",
        "openid_not_fresh": "Your organisation did not ask you to log in again, as this needs. Please use another way.",
        "openid_busy": "Your organisation's login does not work at the moment. Please try again in a little while.",
    }

    def __init__(self) -> None:
        self._settings: Mapping[str, str] = {}
        self._domains: frozenset[str] = frozenset()

    def configure(self, environment: Mapping[str, str]) -> bool:
        """Take the settings of the deployment. What is half there, or leads to no safe place, refuses to start."""
        settings = {name: environment.get(_PREFIX + name, "").strip() for name in _REQUIRED}
        if not settings["client_id"]:
            return False
        for name, value in settings.items():
            # No value is quoted: one of them is a secret.
            if not value:
                raise ConfigurationError(f"AUTHFLOW_OIDC_{name.upper()} is missing")
            if name in _ADDRESSES and not _is_safe(value):
                raise ConfigurationError(f"AUTHFLOW_OIDC_{name.upper()} must be an https address")
        self._settings = settings
        domains = environment.get(_PREFIX + "domains", "").split(",")
        self._domains = frozenset(domain.strip().lower() for domain in domains if domain.strip())
        return True

    # --- There --------------------------------------------------------------------------------------------------------

    def begin(self, context: ProviderContext) -> Redirect:
        """Send the person to the issuer. The engine adds `state`, bound to this browser and flow."""
        values = {
            "response_type": "code",
            "client_id": self._settings["client_id"],
            "redirect_uri": context.callback_url(),
            "scope": self.scope,
            "nonce": _text(context.challenge("nonce")),
            # What stands here is a digest: only we know what the code can be exchanged with (RFC 7636, section 4.2).
            "code_challenge": _text(hashlib.sha256(_verifier(context).encode()).digest()),
            "code_challenge_method": "S256",
        }
        if context.wants_fresh_login:
            # Whoever finds an open browser has the person's session at the issuer, too (section 3.1.2.1).
            values |= {"prompt": "login", "max_age": "0"}
        address = self._settings["authorization_endpoint"]
        return Redirect(f"{address}{'&' if urlsplit(address).query else '?'}{urlencode(values)}")

    # --- And back -----------------------------------------------------------------------------------------------------

    async def identify(self, submission: Submission, context: ProviderContext) -> Identification:
        """Exchange the code for an ID token and read it. What is refused speaks of nobody; `assertion` says why.

        Raises:
            FetchFailed: The issuer does not answer, or does not know us: nobody is let in, and nothing is counted.
        """
        refused = self._refusal(submission)
        if refused:
            return Nobody({"refused": refused})
        values = {
            "grant_type": "authorization_code",
            "code": submission.get("code"),
            "redirect_uri": context.callback_url(),
            "client_id": self._settings["client_id"],
            "client_secret": self._settings["client_secret"],
            "code_verifier": _verifier(context),
        }
        try:
            answer = await context.fetching.post_form(self._settings["token_endpoint"], values)
        except FetchRefused as error:
            # RFC 6749, section 5.2: the code is used, expired, or another flow's. Anything else is a fault of ours.
            if error.reason != "invalid_grant":
                raise
            return Nobody({"refused": "openid_code_refused"})
        token = answer.get("id_token")
        try:
            claims = await context.id_token(
                token if isinstance(token, str) else "",
                certs_url=self._settings["jwks_uri"],
                issuers=frozenset({self._settings["issuer"]}),
                audience=self._settings["client_id"],
                algorithm=self.algorithm,
            )
        except IdTokenRefused as error:
            return Nobody({"refused": error.code})
        if not _belong_together(claims, answer.get("access_token")):
            return Nobody({"refused": "openid_refused"})
        return Subject(self._settings["issuer"], str(claims["sub"]), claims)

    async def assertion(self, submission: Submission, context: ProviderContext) -> Assertion | Rejected:
        claims = submission.evidence
        # Every token that was read has a subject, so this is no claim of one.
        if "sub" not in claims:
            return Rejected(str(claims.get("refused", "openid_refused")), Charge.FLOW)
        nonce = claims.get("nonce")
        if not isinstance(nonce, str) or not compare_digest(nonce.encode(), _text(context.challenge("nonce")).encode()):
            return Rejected("openid_nonce_wrong", Charge.FLOW)
        if context.wants_fresh_login and not _is_recent(claims.get("auth_time"), context.now):
            return Rejected("openid_not_fresh", Charge.FLOW)
        return Assertion(
            self._settings["issuer"],
            str(claims["sub"]),
            address=self._address(claims),
            shown_as=_shown(claims, "email") or _shown(claims, "preferred_username") or _shown(claims, "name"),
            profile={
                name: value
                for name, claim in (("firstname", "given_name"), ("lastname", "family_name"))
                if (value := _shown(claims, claim))
            },
        )

    def admits(self, assertion: Assertion, submission: Submission) -> bool:
        """Let in whoever has an address that the issuer is the authority for."""
        return assertion.address != ""

    # --- Parts --------------------------------------------------------------------------------------------------------

    def _refusal(self, submission: Submission) -> str:
        """Say why an answer of the issuer's is none to go on with, or return the empty text. Asks nobody."""
        issuer, error, code = submission.get("iss"), submission.get("error"), submission.get("code")
        if not submission.by_get:
            return "openid_refused"
        # RFC 9207, section 2.4: the answer of another issuer, which would get our code.
        if (issuer or self.names_itself) and issuer != self._settings["issuer"]:
            return "openid_mixed_up"
        if error:
            # RFC 6749, section 4.1.2.1. The text beside it is whoever's, and is not shown.
            busy = error in ("temporarily_unavailable", "server_error")
            return "openid_busy" if busy else "openid_denied" if error == "access_denied" else "openid_refused"
        if not (0 < len(code) <= _LONGEST_CODE and code.isascii() and code.isprintable()):
            return "openid_refused"
        return ""

    def _address(self, claims: Mapping[str, Plain]) -> str:
        """Return the address if the issuer has verified it and is the authority for its domain."""
        email = _shown(claims, "email")
        is_ours = email.rpartition("@")[2].lower() in self._domains
        return email if claims.get("email_verified") is True and is_ours else ""


def _verifier(context: ProviderContext) -> str:
    """Return the PKCE verifier of this flow and step: 43 characters that nobody else can make, stored nowhere."""
    return _text(context.challenge("pkce"))


def _belong_together(claims: Mapping[str, Plain], access_token: Plain) -> bool:
    """Whether an access token is the one that the ID token was made with (section 3.1.3.6), where it says so."""
    said = claims.get("at_hash")
    if said is None:
        return True
    if not isinstance(said, str) or not isinstance(access_token, str):
        return False
    # Half of the hash that belongs to the algorithm: SHA-256 for RS256 and ES256.
    half = _text(hashlib.sha256(access_token.encode()).digest()[:16])
    return compare_digest(said.encode(), half.encode())


def _is_recent(at: Plain, now: datetime) -> bool:
    """Whether the issuer says that it has asked the person just now. It must, where `max_age` was sent (section 2)."""
    return isinstance(at, int) and not isinstance(at, bool) and abs(now.timestamp() - at) <= _FRESH.total_seconds()


def _is_safe(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    is_local = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "::1", "localhost")
    return bool(parts.hostname) and not parts.fragment and (parts.scheme == "https" or is_local)


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _shown(claims: Mapping[str, Plain], name: str) -> str:
    """Return a claim that is fit to be shown and stored, else the empty text."""
    value = claims.get(name)
    return value if isinstance(value, str) and len(value) <= _SHOWN and value.isprintable() else ""


class MyUser(User):
    """Passwords and the organisation's login, each with an authenticator app where the account has one."""

    authentication_providers = ("providers.user_password:UserPassword", OpenIdConnect)
    valid_authentication_methods = (
        ("user_password", "time_based_otp"),
        ("user_password", None),
        (OpenIdConnect, "time_based_otp"),
        (OpenIdConnect, None),
    )
