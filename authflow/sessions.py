"""Sessions: made new at every completion, checked at every request, dead with the account's epoch. Never extended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Protocol

from authflow.errors import StoreConflict
from authflow.kept import Kept
from authflow.model import Account, Plain, Proof, Session, Status
from authflow.records import account_key, session_key
from authflow.store.protocol import Insert, Key, Record, Store, Update
from authflow.tokens import digest, new_secret


@dataclass(frozen=True, slots=True)
class DeviceClaim:
    """What a browser's device cookie says: an account has logged in from it before."""

    device_id: str
    account_id: str
    epoch: int


class SessionClaim(Protocol):
    """Which session a request says it belongs to: what the session cookie holds, or a whole visitor."""

    @property
    def session_id(self) -> str: ...

    @property
    def account_id(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Visitor:
    """What the edge knows of the sender of a request before the store is asked. All of it was signed by us or measured.

    Attributes:
        browser_id: From the pre-login browser cookie; flows that travel are valid with it alone.
        session_id, account_id: From the session cookie; empty without one.
        devices: Valid claims of the device cookie.
        network: The client's address as throttling sees it (IPv4, IPv6 /64).
        agent: User agent, shortened.
    """

    browser_id: str = ""
    session_id: str = field(default="", repr=False)
    account_id: str = ""
    devices: tuple[DeviceClaim, ...] = ()
    network: str = "unknown"
    agent: str = ""


@dataclass(frozen=True, slots=True)
class Lifetimes:
    """How long a session lives (NIST SP 800-63B, section 4.2.3; DESIGN defaults).

    Attributes:
        idle: Without a request.
        absolute: In all.
        seen_interval: `seen_at` is written at most this often.
    """

    idle: timedelta = timedelta(hours=1)
    absolute: timedelta = timedelta(hours=24)
    seen_interval: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class IssuedSession:
    """A new session and what only its owner gets.

    Attributes:
        secret: For the cookie; the store knows its SHA-256.
        static_key: For programs that cannot fetch a key per request; empty unless asked for.
    """

    secret: str = field(repr=False)
    session: Session
    static_key: str = field(default="", repr=False)

    def write(self, lifetimes: Lifetimes) -> Insert:
        return insert(self.session, lifetimes)


@dataclass(frozen=True, slots=True)
class Current:
    """A valid session with its account, as read for one request.

    Attributes:
        others: Further records of the account that were read in the same look-up.
    """

    session: Session
    account: Account
    session_record: Record
    account_record: Record
    others: Mapping[Key, Record] = field(default_factory=dict, repr=False)


def issue(
    now: datetime,
    *,
    account: Account | None = None,
    proofs: tuple[Proof, ...] = (),
    fields: Mapping[str, Plain] | None = None,
    flows: tuple[Mapping[str, Plain], ...] = (),
    client: str = "",
    with_static_key: bool = False,
) -> IssuedSession:
    """Make a session under a fresh secret.

    Args:
        account: Who is logged in; None while a flow is pending or nobody is.
        fields: What is carried over from the session before.
    """
    secret, static_key = new_secret(), new_secret()[:22] if with_static_key else ""
    session = Session(
        id=digest(secret),
        created_at=now,
        seen_at=now,
        account_id=account.id if account else "",
        epoch=account.epoch if account else 0,
        authenticated_at=now if account else None,
        proofs=proofs,
        flows=flows,
        static_key=digest(static_key) if static_key else "",
        fields=dict(fields or {}),
        client=client,
    )
    return IssuedSession(secret, session, static_key)


def reissue(session: Session, account: Account, now: datetime) -> IssuedSession:
    """Make the acting session anew under the account's raised epoch; its age and proofs stay, its secret does not."""
    secret = new_secret()
    fresh = replace(session, id=digest(secret), epoch=account.epoch, seen_at=now, flows=(), static_key="")
    return IssuedSession(secret, fresh)


def insert(session: Session, lifetimes: Lifetimes) -> Insert:
    return Insert(session_key(session.id), session.to_data(), session.created_at + lifetimes.absolute)


def update(session: Session, record: Record, lifetimes: Lifetimes) -> Update:
    return Update(record.key, session.to_data(), record.version, session.created_at + lifetimes.absolute)


def is_alive(session: Session, now: datetime, lifetimes: Lifetimes) -> bool:
    """Whether neither lifetime has passed."""
    return now - session.created_at < lifetimes.absolute and now - session.seen_at < lifetimes.idle


def belongs_to(session: Session, account: Account) -> bool:
    """Whether a session was made for this account and under its present epoch."""
    return bool(session.account_id) and session.account_id == account.id and session.epoch == account.epoch


def _has_status(account: Account) -> bool:
    return account.status >= Status.ACTIVE


_NONE: Mapping[Key, Record] = {}


class Sessions:
    """Reads the current session of a request.

    Args:
        is_active: `User.is_active`; asked at every request, so that a rule of the application's own ends sessions too.
    """

    def __init__(self, store: Store, lifetimes: Lifetimes, is_active: Callable[[Account], bool] = _has_status) -> None:
        self._store = store
        self._is_active = is_active
        self.lifetimes = lifetimes
        self._decoded_sessions = Kept(Session.from_data)
        self._decoded_accounts = Kept(lambda name, data: Account.from_data(data))

    async def current(self, claim: SessionClaim, now: datetime, *, also: Sequence[Key] = ()) -> Current | None:
        """Read session and account in one lookup; None where nobody is logged in.

        The use is noted at most every five minutes, guarded: a session that was deleted meanwhile stays deleted.

        Args:
            also: Keys that the page wants too, without a round trip of their own.

        Raises:
            StoreUnavailable: The store did not answer.
        """
        session_id, account_id = claim.session_id, claim.account_id
        if not session_id or not account_id:
            return None
        place = session_key(session_id)
        owner = account_key(account_id)
        records = await self._store.get((place, owner, *also))
        session_record, account_record = records.get(place), records.get(owner)
        if session_record is None or account_record is None:
            return None
        session = self._decoded_sessions.of(session_record)
        account = self._decoded_accounts.of(account_record)
        if not (is_alive(session, now, self.lifetimes) and belongs_to(session, account) and self._is_active(account)):
            return None
        if now - session.seen_at >= self.lifetimes.seen_interval:
            seen = replace(session, seen_at=now)
            try:
                await self._store.commit((update(seen, session_record, self.lifetimes),), durable=False)
            except StoreConflict:
                pass  # Somebody else wrote it, or it is gone; this request was valid when it came.
            else:
                session = seen
        others = {key: records[key] for key in also if key in records} if also else _NONE
        return Current(session, account, session_record, account_record, others)
