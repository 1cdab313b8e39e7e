"""What one submission is judged by: a set of records read together, and what they say. Reads; never writes."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from authflow.model import Account, Credential, LoginInfo, Session, to_instant
from authflow.policy import Standing
from authflow.provider import CredentialId, Identification, Identifier, Nobody, Provider, Subject
from authflow.records import (
    Vault,
    account_key,
    credential_id_key,
    credential_key,
    identity_key,
    login_info_key,
    lookup_keys,
    name_key,
    session_key,
)
from authflow.sessions import Lifetimes, Visitor, is_alive
from authflow.store.protocol import Key, Record, Store
from authflow.throttle import Bucket, Limit, Limits, bucket_key
from authflow.tokens import BadToken, Keyring

_log = logging.getLogger("authflow.engine")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Records of one judgement.

    Attributes:
        account: Whom it is about; None for an unknown name, which is judged all the same.
        credentials: By provider name, those that are there.
        session: The browser's present session, alive or not asked for.
        buckets: What could refuse the submission; the first is the exact one.
        of_strangers: The exact bucket of browsers that are not known, at a first step.
    """

    records: Mapping[Key, Record]
    account: Account | None
    credentials: Mapping[str, Credential] = field(repr=False)
    session: Session | None
    buckets: tuple[Bucket, ...]
    of_strangers: Key | None = None

    def record(self, key: Key) -> Record | None:
        return self.records.get(key)

    @property
    def account_record(self) -> Record | None:
        return self.records.get(account_key(self.account.id)) if self.account else None

    @property
    def session_record(self) -> Record | None:
        return self.records.get(session_key(self.session.id)) if self.session else None

    def credential_for(self, provider: Provider) -> Credential | None:
        """Return what a provider is handed to judge by: its own credential, unless it cannot handle that one."""
        credential = self.credentials.get(provider.name)
        return credential if credential is not None and provider.can_handle(credential) else None

    def credential_record(self, provider: str) -> Record | None:
        return self.records.get(credential_key(self.account.id, provider)) if self.account else None

    @property
    def login_info(self) -> LoginInfo:
        record = self.records.get(login_info_key(self.account.id)) if self.account else None
        return LoginInfo() if record is None else LoginInfo.from_data(record.data)

    def standing(self, providers: Mapping[str, Provider], *, is_active: bool, demands_second_factor: bool) -> Standing:
        """Return the facts that policy judges by; a credential that its provider cannot handle is as good as none."""
        account = self.account
        usable = (
            name for name, found in self.credentials.items() if (p := providers.get(name)) and p.can_handle(found)
        )
        return Standing(
            is_active=is_active,
            enrolled=account.factors if account else (),
            present=frozenset(usable),
            demands_second_factor=demands_second_factor,
        )


class Loader:
    """Reads what a submission needs in one or two round trips.

    Args:
        providers: Names of all declared providers: their credentials are read together, so that what is owed is
            computed from live data in the deciding commit.
    """

    def __init__(
        self,
        store: Store,
        keyring: Keyring,
        vault: Vault,
        limits: Limits,
        lifetimes: Lifetimes,
        providers: Iterable[str],
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._vault = vault
        self._limits = limits
        self._lifetimes = lifetimes
        self._providers = tuple(providers)

    async def first(
        self, provider: Provider, who: Identification, subject: str, visitor: Visitor, now: datetime
    ) -> tuple[Loaded, tuple[Key, ...]]:
        """Read for the first step of a flow, where the account is found from the submission.

        Args:
            subject: Account id that the flow is fixed to, or empty.

        Returns:
            What was read, and the keys of all of it: a retry reads them in one round trip.

        Raises:
            TooManyAttempts: A limit is reached; only one round trip was made.
        """
        finding = self._finding_key(provider, who)
        name = who.name if isinstance(who, Identifier) else self._naming(who, subject)
        claims = {claim.device_id: claim for claim in visitor.devices}
        limit_name, of_devices = _limits_of(who)
        if isinstance(who, Nobody) and not subject:
            # Nobody at all is nobody's bucket: those of one client must not keep out those of another.
            name = f"client:{visitor.network}"
        unknown = bucket_key(self._keyring, limit_name, name)
        devices = {d: bucket_key(self._keyring, of_devices, f"{d}:{name}") for d in claims}
        client = bucket_key(self._keyring, "password_per_client", visitor.network)
        opening = [unknown, client, *devices.values()]
        if finding is not None:
            opening.append(finding)
        if visitor.session_id:
            opening.append(session_key(visitor.session_id))
        records = dict(await self._store.get(opening))

        account_id = self._account_id(records.get(finding) if finding else None, name)
        if finding is None and subject:
            account_id = subject
        device = next((d for d, claim in claims.items() if claim.account_id == account_id), None)
        limit = self._limits.password_per_name
        exact = self._bucket(devices[device] if device else unknown, limit, records)
        neighbours = Bucket(client, self._limits.password_per_client, records.get(client), is_exact=False)
        exact.demand(now)
        neighbours.demand(now)

        second = self.account_keys(account_id)
        records.update(await self._store.get(second))
        account = self._account(records, account_id)
        if device and (account is None or claims[device].epoch != account.epoch):
            # The claim is from before a reset: this browser is as unknown as any other.
            exact = self._bucket(unknown, limit, records)
            exact.demand(now)
        loaded = self._loaded(records, account, visitor.session_id, (exact, neighbours))
        return replace(loaded, of_strangers=unknown), (*opening, *second)

    async def later(self, account_id: str, visitor: Visitor) -> Loaded:
        """Read for a later step, in one round trip: session, account, credentials and the second factor's bucket.

        Args:
            account_id: The flow's subject as the form or the session cookie says; the caller compares it.
        """
        bucket = bucket_key(self._keyring, "second_factor_per_account", account_id)
        keys = [*self.account_keys(account_id), bucket] if account_id else [bucket]
        if visitor.session_id:
            keys.append(session_key(visitor.session_id))
        records = await self._store.get(keys)
        account = self._account(records, account_id)
        exact = self._bucket(bucket, self._limits.second_factor_per_account, records)
        return self._loaded(records, account, visitor.session_id, (exact,))

    async def again(self, loaded: Loaded, keys: Sequence[Key], visitor: Visitor) -> Loaded:
        """Read the same records once more after a conflict, in one round trip."""
        records = await self._store.get(keys)
        account = self._account(records, loaded.account.id) if loaded.account else None
        was, now = loaded.account and loaded.account.epoch, account and account.epoch
        # A browser that was known is none any more when the epoch has risen: it counts as any other from here on.
        exact = None if was == now else loaded.of_strangers
        keys_of = [(exact if exact and b.is_exact else b.key, b) for b in loaded.buckets]
        buckets = tuple(Bucket(key, b.limit, records.get(key), b.is_exact) for key, b in keys_of)
        return replace(self._loaded(records, account, visitor.session_id, buckets), of_strangers=loaded.of_strangers)

    def account_keys(self, account_id: str) -> tuple[Key, ...]:
        """Return all keys of an account's own records."""
        credentials = (credential_key(account_id, provider) for provider in self._providers)
        return account_key(account_id), login_info_key(account_id), *credentials

    def alive_session(self, session: Session | None, now: datetime) -> Session | None:
        return session if session is not None and is_alive(session, now, self._lifetimes) else None

    def _loaded(
        self, records: Mapping[Key, Record], account: Account | None, session_id: str, buckets: tuple[Bucket, ...]
    ) -> Loaded:
        credentials: dict[str, Credential] = {}
        if account is not None:
            for provider in self._providers:
                record = records.get(credential_key(account.id, provider))
                if record is not None and not _is_outlived(record, account):
                    try:
                        credentials[provider] = self._vault.credential(record.data)
                    except BadToken:
                        # Its key is gone. A factor counts as orphaned then, and refuses; it is not skipped.
                        _log.error("the credential of %s for account %s cannot be decrypted", provider, account.id)
        place = records.get(session_key(session_id)) if session_id else None
        session = Session.from_data(session_id, place.data) if place is not None else None
        return Loaded(records, account, credentials, session, buckets)

    def _account(self, records: Mapping[Key, Record], account_id: str) -> Account | None:
        record = records.get(account_key(account_id))
        return None if record is None else Account.from_data(record.data)

    def _bucket(self, key: Key, limit: Limit, records: Mapping[Key, Record]) -> Bucket:
        return Bucket(key, limit, records.get(key))

    def _finding_key(self, provider: Provider, who: Identification) -> Key | None:
        match who:
            case Identifier(name):
                return name_key(name)
            case Subject(issuer, subject):
                return identity_key(issuer, subject)
            case CredentialId(credential_id):
                return credential_id_key(provider.name, credential_id)
            case Nobody():
                return None

    def _naming(self, who: Identification, subject: str) -> str:
        match who:
            case Subject(issuer, remote):
                return f"subject:{issuer} {remote}"
            case CredentialId(credential_id):
                return f"credential:{credential_id}"
            case _:
                return f"account:{subject}"

    def _account_id(self, found: Record | None, name: str) -> str:
        if found is not None:
            account_id = found.data["account_id"]
            if isinstance(account_id, str):
                return account_id
        # An unknown name is looked up further under an id that nobody has: the same reads, the same work.
        return self._keyring.mac_text("nobody", name)[:22]


def _is_outlived(record: Record, account: Account) -> bool:
    """Whether it is an identity of elsewhere that a recovery has ended without knowing of it."""
    since = account.identities_since
    return since is not None and to_instant(record.data["created_at"]) <= since and bool(lookup_keys(record.data))


def _limits_of(who: Identification) -> tuple[str, str]:
    """Return the names of the limits, of unknown and of known browsers, that count for such an identification.

    Each kind has its own: a name can be typed that looks like what another kind is counted by.
    """
    match who:
        case Identifier():
            return "password_per_name", "password_per_device"
        case Subject():
            return "identity", "identity_per_device"
        case CredentialId():
            return "credential_id", "credential_id_per_device"
        case Nobody():
            return "subject", "subject_per_device"
