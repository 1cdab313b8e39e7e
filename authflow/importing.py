"""Accounts from elsewhere are taken in: each with all that is its own, in one commit, or not at all.

What an account was in the other system stands in an `Arrival`; a module for each source makes them (`viur_entries`).
Nothing is taken in weaker than it was: a second factor or a right that cannot be kept refuses the account.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Final

from authflow import audit
from authflow.access import kept_flags
from authflow.account_work import PasswordSide
from authflow.by_name import OPERATOR, ByName
from authflow.changes import Change, carry_out
from authflow.context import SlotHashing
from authflow.errors import BadInput, NameTaken
from authflow.federated import Assertion, FederatedProvider
from authflow.federation import linking
from authflow.fields import read
from authflow.flow import FlowKind
from authflow.foreign_hashes import Pbkdf2
from authflow.identifiers import canonical_name, is_mail_address, mail_address
from authflow.model import Account, Credential, LoginInfo, Status
from authflow.powers import AcceptsTokens
from authflow.provider import Rejected
from authflow.records import account_key, identity_key, login_info_key, name_key
from authflow.store.protocol import Insert, Key, Write
from authflow.tokens import digest, new_id

IMPORTED: Final = "account_imported"
"""Type of the event that says so. By it an account is known again when the same file is read once more."""


@dataclass(frozen=True, slots=True)
class LinkedElsewhere:
    """An identity that logs in to the account."""

    provider: str
    issuer: str
    subject: str


@dataclass(frozen=True, slots=True)
class Token:
    """A device or an app that shows one-time codes.

    Attributes:
        serial: As printed on it; empty for an app.
        drift: Steps that its clock is off.
    """

    serial: str
    secret_hex: str = field(repr=False)
    interval: int
    drift: float = 0.0


@dataclass(frozen=True, slots=True)
class Arrival:
    """An account as another system had it.

    Attributes:
        source: Which system.
        status: With ViUR's numbers, see `model.Status`.
        profile: Values of `User.profile_fields`.
        ignored: Names of fields that are not taken.
    """

    source: str
    name: str
    status: int
    access: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    profile: Mapping[str, str] = field(default_factory=dict, repr=False)
    password: Pbkdf2 | None = None
    identity: LinkedElsewhere | None = None
    token: Token | None = None
    created_at: datetime | None = None
    last_login_at: datetime | None = None
    ignored: tuple[str, ...] = ()


class Outcome(StrEnum):
    """What became of an arrival."""

    TAKEN_IN = "taken_in"
    ALREADY_HERE = "already_here"


class Importing(ByName):
    """Takes accounts in. Stateless: one instance per engine."""

    def unknown_rights(self, arrival: Arrival) -> tuple[str, ...]:
        """Return the flags and roles of an arrival that mean nothing here."""
        user = self.engine.user
        known_roles = {role.id for role in user.roles}
        flags = [flag for flag in arrival.access if flag not in user.access.flags]
        return (*flags, *(role for role in arrival.roles if role not in known_roles))

    async def take_in(self, arrival: Arrival, *, is_rehearsal: bool = False) -> Outcome:
        """Make an account of an arrival, with password, factor, identity and login information, in one commit.

        No mail is sent and no hook runs: nothing has happened to its owner.

        Args:
            is_rehearsal: Judge it as far as that is possible without writing.

        Returns:
            Whether it was taken in, or an earlier import had done so. What is here already is never changed.

        Raises:
            NameTaken: An account that was not imported has the name.
            BadInput: It cannot be taken in as it is. The message quotes no secret.
        """
        account = self._account(arrival)
        found = [self._token(account, arrival.token)] if arrival.token else []
        identity = self._identity(account, arrival.identity) if arrival.identity else None
        is_unconfirmed = account.status == Status.WAITING_FOR_EMAIL_VERIFICATION
        if is_unconfirmed and (found or identity):
            # Whoever proves the address gets such an account, and nothing that a stranger has left in it.
            raise BadInput("status: nobody has confirmed this address, so it cannot come with a factor or an identity")
        side = self.password_side() if arrival.password else None
        account = replace(account, factors=tuple(credential.provider for credential in found))
        hashed: list[Credential] = []

        async def prepare() -> Change[Outcome]:
            if await self._is_here(account, arrival):
                return Change((), Outcome.ALREADY_HERE)
            if is_rehearsal:
                return Change((), Outcome.TAKEN_IN)
            if side is not None and arrival.password is not None and not hashed:
                hashed.append(await self._password(side, account, arrival.password))
            writes: list[Write] = [
                Insert(name_key(account.canonical_name), {"account_id": account.id}),
                Insert(account_key(account.id), account.to_data()),
                # For good: who was deleted or renamed here is not brought back by the next run.
                Insert(_marker(arrival), {"account_id": account.id}),
            ]
            for credential in (*hashed, *found):
                writes.append(self.credential_write(credential, None))
            if identity is not None:
                assertion, credential = identity
                writes += linking(self.engine.vault.credential_data(credential), assertion, self.now)
            # Where somebody has logged in, a registration does not replace the password (`notices`).
            if arrival.last_login_at is not None and not is_unconfirmed:
                info = LoginInfo(last_at=arrival.last_login_at)
                writes.append(Insert(login_info_key(account.id), info.to_data()))
            happened = audit.event(IMPORTED, self.now, account_id=account.id, by=OPERATOR, source=arrival.source)
            return Change(tuple(writes), Outcome.TAKEN_IN, (happened,))

        return await carry_out(self.engine, prepare)

    # --- Parts --------------------------------------------------------------------------------------------------------

    def _account(self, arrival: Arrival) -> Account:
        if unknown := self.unknown_rights(arrival):
            raise BadInput(f"access: there is no right or role {', '.join(map(repr, unknown))} here")
        given = [declared for declared in self.engine.user.profile_fields if declared.name in arrival.profile]
        reading = read(given, arrival.profile)
        if reading.errors:
            raise BadInput(f"{reading.errors[0].name}: {reading.errors[0].message}")
        now = self.now
        return Account(
            id=new_id(),
            name=arrival.name.strip(" "),
            canonical_name=canonical_name(arrival.name),
            created_at=arrival.created_at or now,
            changed_at=now,
            email=mail_address(arrival.name) if is_mail_address(arrival.name) else None,
            status=arrival.status,
            access=kept_flags(arrival.roles, arrival.access),
            roles=arrival.roles,
            profile={name: value for name, value in reading.values.items() if value},
        )

    def _token(self, account: Account, token: Token) -> Credential:
        provider = next((p for p in self.engine.registry.second_factors if isinstance(p, AcceptsTokens)), None)
        if provider is None:
            raise BadInput("second factor: no provider here takes one-time codes of devices")
        power: AcceptsTokens = provider
        try:
            made = power.new_hardware_token(
                account.id, serial=token.serial or "app", secret_hex=token.secret_hex, now=self.now,
                interval=token.interval, digits=6, algorithm="SHA1",
            )  # fmt: skip
        except BadInput as error:
            raise BadInput(f"second factor: {error.detail}") from error
        return replace(made, data={**made.data, "serial": token.serial, "drift": token.drift})

    def _identity(self, account: Account, identity: LinkedElsewhere) -> tuple[Assertion, Credential]:
        provider = self.engine.registry.declared.get(identity.provider)
        if not isinstance(provider, FederatedProvider):
            raise BadInput(f"identity: there is no provider {identity.provider} here")
        assertion = Assertion(identity.issuer, identity.subject, shown_as=account.name)
        return assertion, Credential(account.id, provider.name, self.now, self.now, assertion.to_data())

    async def _is_here(self, account: Account, arrival: Arrival) -> bool:
        """Tell whether an earlier import has made this account, whatever has become of it since.

        Raises:
            NameTaken, BadInput: Name or identity are somebody else's.
        """
        place, identity = name_key(account.canonical_name), arrival.identity
        keys: list[Key] = [place, _marker(arrival)]
        if identity is not None:
            keys.append(identity_key(identity.issuer, identity.subject))
        records = await self.engine.services.store.get(keys)
        if _marker(arrival) in records:
            return True
        if place in records:
            raise NameTaken("name: an account of this name exists already")
        if records:
            raise BadInput("identity: it is connected to another account already")
        return False

    async def _password(self, side: PasswordSide, account: Account, found: Pbkdf2) -> Credential:
        """Have the provider make its credential of a hash: it asks for one of the new password, and gets this."""
        services = self.engine.services
        with services.pool.reserve() as slot:
            stored = await services.hasher.take_over(slot, found)
        flow = self.engine.start(FlowKind.SETUP, subject=account.id, epoch=account.epoch)
        context = self.engine.context(flow, side.provider, account=account)
        made = await side.power.new_credential("", replace(context, hashing=_Given(services.hasher, None, (), stored)))
        if isinstance(made, Rejected):
            raise BadInput(f"password: refused by {side.provider.name}, {made.reason}")
        return made


@dataclass(frozen=True, slots=True)
class _Given(SlotHashing):
    """Hashing whose result is there already."""

    stored: str = field(default="", repr=False)

    async def hash(self, password: str) -> str:
        return self.stored

    def refusal(self, password: str, *, name: str = "") -> str | None:
        return None


def without(arrival: Arrival, rights: Sequence[str]) -> Arrival:
    """Return an arrival without these flags and roles. It never gains by that: flags that did not count do not now."""
    gone = frozenset(rights)
    return replace(
        arrival,
        access=tuple(flag for flag in kept_flags(arrival.roles, arrival.access) if flag not in gone),
        roles=tuple(role for role in arrival.roles if role not in gone),
    )


def _marker(arrival: Arrival) -> Key:
    """Return where it is noted that an account of a source was taken in, by the name that it has there."""
    return Key("marker", f"imported.{arrival.source}.{digest(canonical_name(arrival.name))}")
