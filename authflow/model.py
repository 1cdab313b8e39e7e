"""The records: frozen values without behaviour beyond reading and writing themselves as plain data.

Each has `to_data` and `from_data` for the store (see `store.protocol.Plain`): instants are whole microseconds since
1970 in UTC, tuples are lists. Secrets and hashes are kept out of `repr`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Any, TypeAlias

Plain: TypeAlias = "None | bool | int | float | str | list[Plain] | dict[str, Plain]"
Data: TypeAlias = Mapping[str, Plain]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_instant(microseconds: Any) -> datetime:
    """Read an instant as it is stored (exact, unlike a float timestamp)."""
    return _EPOCH + timedelta(0, 0, microseconds)


def from_instant(at: datetime) -> int:
    """Write an aware instant as whole microseconds since 1970."""
    return (at - _EPOCH) // _MICROSECOND


class Status(IntEnum):
    """Account status with ViUR's numbers. Applications may use others: 10 and above is active."""

    UNSET = 0
    WAITING_FOR_EMAIL_VERIFICATION = 1
    WAITING_FOR_ADMIN_VERIFICATION = 2
    DISABLED = 5
    ACTIVE = 10


class Factor(StrEnum):
    """What kind of evidence a proof is (NIST SP 800-63B, section 4; the last two never count as a second factor)."""

    KNOWLEDGE = "knowledge"
    POSSESSION = "possession"
    INHERENCE = "inherence"
    FEDERATED = "federated"
    MAILBOX = "mailbox"


# A look-up costs a fifth of `Factor(...)`.
_FACTORS = {factor.value: factor for factor in Factor}


@dataclass(frozen=True, slots=True)
class Proof:
    """Evidence that one step of one flow was completed for one subject by one submission.

    Attributes:
        provider: Name of the provider that minted it.
        factor: The kind of evidence.
        at: When it was judged.
        flow_id: The flow it belongs to; it is worth nothing in another one.
        step: The flow's step counter it answers.
        subject: Account id it speaks of.
        submission: Digest of the submission that was judged.
    """

    provider: str
    factor: Factor
    at: datetime
    flow_id: str
    step: int
    subject: str
    submission: str = ""

    def to_data(self) -> dict[str, Plain]:
        return {
            "provider": self.provider,
            "factor": self.factor.value,
            "at": from_instant(self.at),
            "flow_id": self.flow_id,
            "step": self.step,
            "subject": self.subject,
            "submission": self.submission,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Proof:
        return cls(
            provider=data["provider"],
            factor=_FACTORS[data["factor"]],
            at=to_instant(data["at"]),
            flow_id=data["flow_id"],
            step=data["step"],
            subject=data["subject"],
            submission=data["submission"],
        )


@dataclass(frozen=True, slots=True)
class Account:
    """Our record of a person.

    Attributes:
        id: Random, never reused, never an address.
        name: What the person types to be found, as first typed. ViUR: `name`.
        canonical_name: The look-up key made of it (`identifiers.canonical_name`).
        email: Where mail goes, or None when there is no address.
        status: See `Status`; 10 and above is active.
        access: Access flags such as `root`, `admin`, `user-view`.
        roles: Role ids; what a role may do is configuration.
        factors: Names of the second-factor providers with an enrolled credential. Written in the commit that enrols or
            removes one, so that a factor whose provider is gone is seen and not skipped.
        epoch: Rises when a password is set, a factor added or removed, name or status changed, or everything is logged
            out. What was issued under an older epoch is dead.
        version: Rises with edits only; what a client hands back to notice a lost update.
        profile: Further fields, as `User.profile_fields` declares them.
        identities_since: Identities of elsewhere that were linked before are worth nothing: a recovery has ended them,
            also those of a provider that was not declared where it happened.
    """

    id: str
    name: str
    canonical_name: str
    created_at: datetime
    changed_at: datetime
    email: str | None = None
    status: int = Status.ACTIVE
    access: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    factors: tuple[str, ...] = ()
    epoch: int = 1
    version: int = 1
    profile: Mapping[str, Plain] = field(default_factory=dict)
    identities_since: datetime | None = None

    def to_data(self) -> dict[str, Plain]:
        # What few accounts have is left out where there is none: each of them is written and read at every turn.
        since = {} if self.identities_since is None else {"identities_since": from_instant(self.identities_since)}
        return {
            "id": self.id,
            "name": self.name,
            "canonical_name": self.canonical_name,
            "created_at": from_instant(self.created_at),
            "changed_at": from_instant(self.changed_at),
            "email": self.email,
            "status": int(self.status),
            "access": list(self.access),
            "roles": list(self.roles),
            "factors": list(self.factors),
            "epoch": self.epoch,
            "version": self.version,
            "profile": dict(self.profile),
            **since,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Account:
        return cls(
            id=data["id"],
            name=data["name"],
            canonical_name=data["canonical_name"],
            created_at=to_instant(data["created_at"]),
            changed_at=to_instant(data["changed_at"]),
            email=data["email"],
            status=data["status"],
            access=tuple(data["access"]),
            roles=tuple(data["roles"]),
            factors=tuple(data["factors"]),
            epoch=data["epoch"],
            version=data["version"],
            profile=MappingProxyType(data["profile"]),
            identities_since=to_instant(since) if (since := data.get("identities_since")) is not None else None,
        )


@dataclass(frozen=True, slots=True)
class Identity:
    """A (issuer, subject) pair bound to an account (OpenID Connect Core 1.0, section 2: `iss` + `sub`)."""

    issuer: str
    subject: str
    account_id: str
    created_at: datetime

    def to_data(self) -> dict[str, Plain]:
        return {
            "issuer": self.issuer,
            "subject": self.subject,
            "account_id": self.account_id,
            "created_at": from_instant(self.created_at),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Identity:
        return cls(data["issuer"], data["subject"], data["account_id"], to_instant(data["created_at"]))


@dataclass(frozen=True, slots=True)
class Credential:
    """What one provider keeps about one account: hash, public key, secret, counters.

    Attributes:
        data: The provider's own plain values (a password hash, a drift, counters). Not shown in `repr`.
        secret: What must not be readable from a copy of the store, such as an OTP secret: encrypted at rest.
    """

    account_id: str
    provider: str
    created_at: datetime
    changed_at: datetime
    data: Mapping[str, Plain] = field(default_factory=dict, repr=False)
    secret: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Session:
    """A server-side session: from an authentication to its end, or a flow in progress before that.

    Attributes:
        id: SHA-256 of the session secret, hexadecimal; the secret itself is only in the cookie.
        account_id: Who is logged in; empty while a flow is pending or after a log-out that kept fields.
        epoch: The account's epoch it was made under.
        created_at: Start of the absolute lifetime.
        authenticated_at: When the last owed proof was given; None while nobody is logged in.
        seen_at: Last use, kept to five minutes.
        proofs: What was proved for it.
        flows: Pending flows as stored by `flow.Flow.to_data`, at most four, oldest first.
        static_key: SHA-256 of the static session key for programs, hexadecimal, or empty.
        fields: What the application keeps in the session.
    """

    id: str
    created_at: datetime
    seen_at: datetime
    account_id: str = ""
    epoch: int = 0
    authenticated_at: datetime | None = None
    proofs: tuple[Proof, ...] = ()
    flows: tuple[Mapping[str, Any], ...] = ()
    static_key: str = field(default="", repr=False)
    fields: Mapping[str, Plain] = field(default_factory=dict, repr=False)
    client: str = ""

    def to_data(self) -> dict[str, Plain]:
        return {
            "created_at": from_instant(self.created_at),
            "seen_at": from_instant(self.seen_at),
            "account_id": self.account_id,
            "epoch": self.epoch,
            "authenticated_at": None if self.authenticated_at is None else from_instant(self.authenticated_at),
            "proofs": [proof.to_data() for proof in self.proofs],
            "flows": [dict(flow) for flow in self.flows],
            "static_key": self.static_key,
            "fields": dict(self.fields),
            "client": self.client,
        }

    @classmethod
    def from_data(cls, session_id: str, data: Mapping[str, Any]) -> Session:
        authenticated_at = data["authenticated_at"]
        return cls(
            id=session_id,
            created_at=to_instant(data["created_at"]),
            seen_at=to_instant(data["seen_at"]),
            account_id=data["account_id"],
            epoch=data["epoch"],
            authenticated_at=None if authenticated_at is None else to_instant(authenticated_at),
            proofs=tuple(Proof.from_data(proof) for proof in data["proofs"]),
            flows=tuple(data["flows"]),
            static_key=data["static_key"],
            fields=MappingProxyType(data["fields"]),
            client=data["client"],
        )


class Purpose(StrEnum):
    """What a ticket may be spent for. A ticket of one purpose is nothing to another."""

    RECOVERY = "recovery"
    VERIFICATION = "verification"
    SETUP = "setup"


@dataclass(frozen=True, slots=True)
class Ticket:
    """A single-use right that was mailed or printed. Its record lies under the SHA-256 of its token.

    Attributes:
        epoch: The account's epoch it was made under; it dies with it.
        address: The address or name it was made for: a verification confirms this one and no other.
    """

    purpose: Purpose
    account_id: str
    epoch: int
    created_at: datetime
    expires_at: datetime
    address: str = ""

    def to_data(self) -> dict[str, Plain]:
        return {
            "purpose": self.purpose.value,
            "account_id": self.account_id,
            "epoch": self.epoch,
            "created_at": from_instant(self.created_at),
            "expires_at": from_instant(self.expires_at),
            "address": self.address,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Ticket:
        return cls(
            purpose=Purpose(data["purpose"]),
            account_id=data["account_id"],
            epoch=data["epoch"],
            created_at=to_instant(data["created_at"]),
            expires_at=to_instant(data["expires_at"]),
            address=data["address"],
        )


@dataclass(frozen=True, slots=True)
class LoginInfo:
    """Login information of an account: the last two logins and their number."""

    count: int = 0
    last_at: datetime | None = None
    previous_at: datetime | None = None
    last_address: str = ""
    previous_address: str = ""

    def to_data(self) -> dict[str, Plain]:
        return {
            "count": self.count,
            "last_at": None if self.last_at is None else from_instant(self.last_at),
            "previous_at": None if self.previous_at is None else from_instant(self.previous_at),
            "last_address": self.last_address,
            "previous_address": self.previous_address,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> LoginInfo:
        last_at, previous_at = data["last_at"], data["previous_at"]
        return cls(
            count=data["count"],
            last_at=None if last_at is None else to_instant(last_at),
            previous_at=None if previous_at is None else to_instant(previous_at),
            last_address=data["last_address"],
            previous_address=data["previous_address"],
        )


@dataclass(frozen=True, slots=True)
class Role:
    """A role and what it may do. Configuration, never a store record."""

    id: str
    label: str
    access: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, for the log and the audit trail. Holds no secret, code, token or typed text.

    Attributes:
        type: A past participle such as `login_completed`.
        account_id: Whom it concerns; empty where no account is known.
        reason: Stable reason code of a refusal, else empty.
        details: Few plain values, each safe to log.
    """

    id: str
    type: str
    at: datetime
    account_id: str = ""
    provider: str = ""
    flow_id: str = ""
    reason: str = ""
    client: str = ""
    details: Mapping[str, Plain] = field(default_factory=dict)

    def to_data(self) -> dict[str, Plain]:
        return {
            "type": self.type,
            "at": from_instant(self.at),
            "account_id": self.account_id or None,
            "provider": self.provider,
            "flow_id": self.flow_id,
            "reason": self.reason,
            "client": self.client,
            "details": dict(self.details),
        }

    @classmethod
    def from_data(cls, event_id: str, data: Mapping[str, Any]) -> Event:
        return cls(
            id=event_id,
            type=data["type"],
            at=to_instant(data["at"]),
            account_id=data["account_id"] or "",
            provider=data["provider"],
            flow_id=data["flow_id"],
            reason=data["reason"],
            client=data["client"],
            details=data["details"],
        )
