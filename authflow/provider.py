"""The contract between the engine and whoever judges proofs.

A provider gets a credential, a submission and a context, and answers with one value of a closed set: `Ask`, `Verified`,
`Rejected` or `Redirect`. It never stores, renders, sends, redirects or sets a cookie; the engine does, once, in one
commit. Four shapes fit: a form, challenge-response, redirect to a remote party, and a message out of band.

Optional powers are further small protocols: see `powers`, and `federated` for identities that are kept elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import ClassVar, Protocol, TypeAlias

from authflow.errors import RequestError
from authflow.fields import Field, FieldError
from authflow.model import Account, Credential, Factor, Plain, Proof


class IdTokenRefused(RequestError):
    """An ID token does not say what it must. `code` tells in what, `sentence` only that it was not accepted."""

    code = "id_token_refused"
    sentence = "The other side's confirmation was not accepted. Please start again."


# --- What a provider is given -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Submission:
    """What the person sent back.

    Attributes:
        values: Declared and undeclared names to text, decoded once, sizes limited, no doubles.
        notes: The provider's own scratch of this flow, as its last `Ask` or `Redirect` left it.
        by_get: True when the person came back from a remote party.
        evidence: What `identify` learned on the way, for `answer`; never stored.
    """

    values: Mapping[str, str] = field(repr=False)
    notes: Mapping[str, Plain] = field(default_factory=dict, repr=False)
    by_get: bool = False
    evidence: Mapping[str, Plain] = field(default_factory=dict, repr=False)

    def get(self, name: str) -> str:
        """Return a value, or the empty text where nothing was sent."""
        return self.values.get(name, "")


class HashVerdict(Protocol):
    """What judging a password found. As a truth it is `is_valid`."""

    def __bool__(self) -> bool: ...

    @property
    def is_valid(self) -> bool: ...

    @property
    def needs_rehash(self) -> bool:
        """Whether it is valid and should be stored anew, since its form or cost is not what is configured."""


class Hashing(Protocol):
    """Slow hashing on the engine's bounded pool. A place in it has been taken before the provider is asked."""

    async def hash(self, password: str) -> str: ...

    async def verify(self, password: str, stored: str | None) -> HashVerdict:
        """Judge a password; `stored=None` costs the same and is not valid."""

    def refusal(self, password: str, *, name: str = "") -> str | None:
        """Return why a new password is not accepted, as a reason code, or None (ASVS 6.2.1 to 6.2.12)."""


class Fetching(Protocol):
    """Requests to remote parties: bounded in time and size, counted, never on the provider's own account."""

    async def get_json(self, url: str, *, fresh: bool = False) -> Mapping[str, Plain]:
        """Return the JSON object at an address, from what is kept as long as its headers allow.

        Args:
            fresh: Something newer is said to be there: ask again, though at most once in ten seconds for an address.

        Raises:
            FetchFailed: Nothing usable is kept and none came.
        """

    async def post_form(self, url: str, values: Mapping[str, str]) -> Mapping[str, Plain]:
        """Send a form and return the JSON object that is answered; never kept.

        Raises:
            FetchRefused: The party says that the form is wrong, and by `reason` in what. A kind of `FetchFailed`.
            FetchFailed: None came.
        """


class ProviderContext(Protocol):
    """All that a provider may lean on. Nothing is global: the time, randomness and keys come from here.

    Attributes:
        now: The engine's time, aware UTC.
        account: The account the submission speaks of, where one was found.
        flow_id, step: Where in which flow this happens.
        wants_fresh_login: Somebody who is logged in proves it once more, for a change that no session of long ago may
            make. A session at a remote party is no such proof: it must ask the person again.
        hashing, fetching: See there. Not to be used in `begin`.
    """

    @property
    def now(self) -> datetime: ...

    @property
    def account(self) -> Account | None: ...

    @property
    def flow_id(self) -> str: ...

    @property
    def step(self) -> int: ...

    @property
    def wants_fresh_login(self) -> bool: ...

    @property
    def hashing(self) -> Hashing: ...

    @property
    def fetching(self) -> Fetching: ...

    def prove(self, provider: Provider, factor: Factor | None = None) -> Proof:
        """Mint the proof for the account, flow, step and submission at hand.

        Raises:
            ContractViolation: No account was found, so there is nobody to prove anything about.
        """

    def challenge(self, label: str = "challenge") -> bytes:
        """Return 32 unpredictable bytes that belong to this flow and step. The same each time it is asked for."""

    def code(self, digits: int = 6) -> str:
        """Return the decimal code of this flow, step and account, for an out-of-band message. It is stored nowhere."""

    def mac(self, label: str, message: bytes) -> Sequence[bytes]:
        """Return keyed digests of a message, made with the newest master key first, for look-up secrets."""

    def random_bytes(self, count: int) -> bytes:
        """Return bytes from the system's secure generator."""

    async def id_token(
        self, token: str, *, certs_url: str, issuers: frozenset[str], audience: str, algorithm: str = "RS256"
    ) -> Mapping[str, Plain]:
        """Read an ID token that a remote party made for a client (OpenID Connect Core 1.0, section 3.1.3.7).

        Signature, issuer, audience, times and the form of the subject are checked. Its `nonce`, `hd` and
        `email_verified` are the provider's to judge.

        Args:
            certs_url: Where the issuer publishes its keys: a JSON Web Key Set (`jwks_uri`), or a JSON object of key id
                to certificate in PEM.
            issuers: The accepted values of `iss`.
            audience: The client's id.
            algorithm: What the issuer signs with: RS256, or ES256 with a key set. The token has no say in it.

        Raises:
            IdTokenRefused: It is not what it should be.
            FetchFailed: The issuer's keys cannot be had.
        """

    def callback_url(self) -> str:
        """Return the absolute address of this provider's answer path, for a remote party to come back to."""


# --- Whom a submission is about ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Identifier:
    """A name the person typed. The engine finds the account by its canonical form, or pretends to."""

    name: str


@dataclass(frozen=True, slots=True)
class Subject:
    """An (issuer, subject) pair. The engine only loads by it; `answer` judges.

    Attributes:
        evidence: What was learned in finding it out (the claims a code was exchanged for), handed on to `answer`.
    """

    issuer: str
    subject: str
    evidence: Mapping[str, Plain] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class CredentialId:
    """The public id of a credential of this provider, as a passkey sends it."""

    id: str


@dataclass(frozen=True, slots=True)
class Nobody:
    """Nobody is named: the flow's subject is meant, or nobody at all.

    Attributes:
        evidence: What `identify` found instead, such as why a token was refused; handed on to `answer`.
    """

    evidence: Mapping[str, Plain] = field(default_factory=dict, repr=False)


Identification: TypeAlias = Identifier | Subject | CredentialId | Nobody


# --- What a provider answers ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message to the account's address. The worker makes the code anew, so that no payload ever holds it.

    Attributes:
        template: Mail template below `templates/mail/`, without ending.
        digits: Length of the code of this flow and step (`ProviderContext.code`).
    """

    template: str
    digits: int = 6


@dataclass(frozen=True, slots=True)
class Ask:
    """Something is wanted from the person.

    Attributes:
        fields: What to ask for.
        template: Page below the template folder; empty for the provider's own.
        values: To be shown in the fields; secret fields are never filled.
        params: Further plain values for the page and the JSON answer (a challenge, a QR code).
        scratch: Private notes, encrypted until the next submission.
        delivery: A message that goes out with the commit of this step.
        errors: What was wrong with the submission before.
    """

    fields: tuple[Field, ...]
    template: str = ""
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    params: Mapping[str, Plain] = field(default_factory=dict, repr=False)
    scratch: Mapping[str, Plain] = field(default_factory=dict, repr=False)
    delivery: Delivery | None = None
    errors: tuple[FieldError, ...] = ()


@dataclass(frozen=True, slots=True)
class Verified:
    """The submission proves what was asked for.

    Attributes:
        proof: From `ProviderContext.prove`.
        credential: The credential as it must now be stored (a counter spent, a drift moved), or None if unchanged.
        needs_rehash: The provider wants to store it anew after the answer is settled (see `Rehashes`).
        single_use: Names evidence that is not bound to this flow and may prove something only once, such as a token
            that was made elsewhere. It is spent in the same commit, for a day.
    """

    proof: Proof
    credential: Credential | None = None
    needs_rehash: bool = False
    single_use: str = field(default="", repr=False)


class Charge(StrEnum):
    """On whose account a rejection is counted."""

    ACCOUNT = "account"
    FLOW = "flow"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Rejected:
    """The submission does not prove it.

    Attributes:
        reason: Stable reason code with a sentence in `messages.SENTENCES` or in the provider's `messages`.
        charge: Whom it counts against. `NOTHING` is for submissions that were not judged at all.
        credential: The credential as it must now be stored even so, for resynchronisation in two steps.
    """

    reason: str
    charge: Charge = Charge.ACCOUNT
    credential: Credential | None = None


@dataclass(frozen=True, slots=True)
class Redirect:
    """Go to a remote party and come back by GET. The engine adds `state`, bound to browser and flow."""

    url: str
    scratch: Mapping[str, Plain] = field(default_factory=dict, repr=False)


Outcome: TypeAlias = Ask | Verified | Rejected | Redirect


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A new credential was made and confirmed."""

    proof: Proof
    credential: Credential


Enrolment: TypeAlias = Ask | Enrolled | Rejected


# --- The provider -----------------------------------------------------------------------------------------------------


class Provider:
    """Base of primary and second-factor providers. Subclass one of those; class attributes are the settings.

    Attributes:
        name: One word for file, templates, tests and credentials, such as `time_based_otp`.
        label: What people read, a gettext message id.
        factor: The kind of evidence a proof of it is.
        method_name: What `getAuthMethods` tells tools. ViUR: `METHOD_NAME`.
        path: Path segment. ViUR: the lower-cased class name behind `auth_` or `f2_`.
        action: Last path segment its answers are posted to. ViUR: `ACTION_NAME`.
        uses_hashing: Whether `answer` hashes, so that a place in the pool must be free first.
        is_for_tools: Whether `getAuthMethods` names it to programs; not where they could not answer what it asks.
        messages: Further reason codes and their sentences.
        page_sources: What the provider's own pages load from elsewhere: by directive of the content security policy
            (`script-src`, `style-src`, `img-src`, `font-src`, `frame-src`, `connect-src`) the sources beyond ours:
            https addresses, `'self'`, and `'nonce'` for one made for each answer, which the page gets as `csp_nonce`.
        opens_popups: Whether a window that one of these pages opens may answer it.
    """

    name: ClassVar[str] = ""
    label: ClassVar[str] = ""
    factor: ClassVar[Factor] = Factor.KNOWLEDGE
    method_name: ClassVar[str] = ""
    path: ClassVar[str] = ""
    action: ClassVar[str] = ""
    uses_hashing: ClassVar[bool] = False
    is_for_tools: bool = True
    messages: ClassVar[Mapping[str, str]] = {}
    page_sources: ClassVar[Mapping[str, str]] = {}
    opens_popups: ClassVar[bool] = False

    def configure(self, environment: Mapping[str, str]) -> bool:
        """Read deployment settings (names without `AUTHFLOW_`, lower case); say whether the provider can be offered."""
        return True

    @property
    def template(self) -> str:
        """The page of the provider's form."""
        return f"{self.name}/{self.action}.html"

    def begin(self, context: ProviderContext) -> Ask | Redirect:
        """Say what to ask for. Pure: the same flow and step give the same answer."""
        raise NotImplementedError

    async def identify(self, submission: Submission, context: ProviderContext) -> Identification:
        """Say whom a submission is about. It is not believed yet; the engine only loads by it.

        Async, since behind a redirect the subject is known only once the code is exchanged at the remote party.
        """
        return Nobody()

    def can_handle(self, credential: Credential) -> bool:
        """Say whether a stored credential can be answered at all. ViUR: `canHandle`. Pure, no time passes.

        One that cannot be is never handed to `answer`. A second factor of which this is so refuses the login.
        """
        return True

    async def answer(self, credential: Credential | None, submission: Submission, context: ProviderContext) -> Outcome:
        """Judge a submission.

        Args:
            credential: What this provider stored for the account, or None for an unknown or unequipped one. Both must
                take the same time and give the same answer as a wrong submission.
        """
        raise NotImplementedError


class PrimaryProvider(Provider):
    """A provider that can open a flow: it finds out who somebody is."""

    action: ClassVar[str] = "login"

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        _name_by_class(cls, "auth_", "X-VIUR-AUTH-")


class SecondFactorProvider(Provider):
    """A provider that adds a proof to an account which is already known.

    Attributes:
        is_substitute: It stands in for another factor (recovery codes): taken where a factor is owed, never demanded,
            never offered first, and gone with the last other factor.
        notice_when_used: Mail template below `templates/mail/` of the message that its owner gets when a proof was made
            with it; empty for none. It is told `remaining`.
        chosen_by_person: What enrolling keeps is chosen by its owner, such as a word or a PIN, and not drawn by us. The
            certifier then demands that weak choices are refused, instead of 128 random bits.
    """

    factor: ClassVar[Factor] = Factor.POSSESSION
    action: ClassVar[str] = "otp"
    is_substitute: ClassVar[bool] = False
    notice_when_used: ClassVar[str] = ""
    chosen_by_person: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        _name_by_class(cls, "f2_", "X-VIUR-2FACTOR-")

    def remaining(self, credential: Credential) -> int | None:
        """Say how many uses a credential has left, or None where it does not wear out."""
        return None


def _name_by_class(cls: type[Provider], path_prefix: str, method_prefix: str) -> None:
    """Fill path and method name from the class name as ViUR does, unless the class or a stock parent says them."""
    if not cls.name:
        return  # A base of providers, none itself: what it were called its subclasses would be called.
    if not cls.path:
        cls.path = path_prefix + cls.__name__.lower()
    if not cls.method_name:
        cls.method_name = method_prefix + cls.__name__
