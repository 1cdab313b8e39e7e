"""How an account is changed by somebody else: what is written, what ends by it, and who is told.

Name, status, rights and password end every session, ticket and pending login of the account, by its epoch. A change of
rights does so too: a role may demand a second factor, and a session that was opened without one must not outlive that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from authflow import audit, parts
from authflow.access import kept_flags
from authflow.account_work import Records, account_write
from authflow.changes import Change
from authflow.errors import BadInput, NameTaken
from authflow.identifiers import canonical_name
from authflow.making import Making, address_of
from authflow.model import Account, Credential, Event, Plain, Status
from authflow.records import credential_key, name_key
from authflow.store.protocol import Delete, Insert, Write

_CLOSING = frozenset({"name", "email", "status", "roles", "access", "password"})


@dataclass(frozen=True, slots=True)
class Revision:
    """What is to become of an account. None stays as it is.

    Attributes:
        name: As it is to be typed. Mail goes there from then on, if it is an address and `email` says nothing else.
        email: Where mail goes; empty for nowhere.
        profile: The fields that change.
        password: A new credential, made already.
    """

    name: str | None = None
    email: str | None = None
    status: int | None = None
    roles: Sequence[str] | None = None
    access: Sequence[str] | None = None
    profile: Mapping[str, Plain] = field(default_factory=dict)
    password: Credential | None = None


class Revising(Making):
    """Base of what changes the accounts of others."""

    def draft(self, account: Account, wanted: Revision) -> Account:
        """Return an account as it is to be, the counters apart.

        Raises:
            BadInput: The name cannot be one, or the status is no way on.
        """
        if wanted.status == Status.WAITING_FOR_EMAIL_VERIFICATION != account.status:
            # Whoever proves the address gets such an account: that is for registrations, not for who is somebody.
            raise BadInput("nobody is made to wait for a confirmation of the address again")
        name = account.name if wanted.name is None else wanted.name.strip(" ")
        email = account.email
        if wanted.email is not None:
            email = wanted.email or None
        elif name != account.name:
            email = address_of(name) or email
        roles = account.roles if wanted.roles is None else tuple(wanted.roles)
        access = account.access if wanted.access is None else tuple(wanted.access)
        if wanted.roles is not None or wanted.access is not None:
            access = kept_flags(roles, access)
        return replace(
            account,
            name=name,
            canonical_name=canonical_name(name),
            email=email,
            status=account.status if wanted.status is None else wanted.status,
            roles=roles,
            access=access,
            # An empty field and one that was never filled in are the same to whoever sends a form back.
            profile={
                **account.profile,
                **{name: to for name, to in wanted.profile.items() if to != (account.profile.get(name) or "")},
            },
        )

    def revised(
        self, records: Records, account: Account, wanted: Revision, *, by: str, client: str = ""
    ) -> Change[Account]:
        """Return the change that makes an account what is wanted; one without writes where that is what it is.

        Args:
            records: The account's, the password's credential, and what lies at the key of a new name.
            by: Who does it.

        Raises:
            NameTaken: Another account has the name.
        """
        changed = self.draft(account, wanted)
        what = [name for name in ("name", "email", "status", "roles", "access", "profile")
                if getattr(changed, name) != getattr(account, name)]  # fmt: skip
        if wanted.password is not None:
            what.append("password")
        if not what:
            return Change((), account)
        is_closing = not _CLOSING.isdisjoint(what)
        changed = replace(
            changed,
            epoch=account.epoch + (1 if is_closing else 0),
            version=account.version + 1,
            changed_at=self.now,
        )
        writes: list[Write] = [account_write(changed, records)]
        if changed.canonical_name != account.canonical_name:
            place = name_key(changed.canonical_name)
            if place in records:
                raise NameTaken(f"an account named {changed.name!r} exists already")
            writes += [Insert(place, {"account_id": account.id}), Delete(name_key(account.canonical_name))]
        if wanted.password is not None:
            record = records.get(credential_key(account.id, wanted.password.provider))
            writes.append(self.credential_write(wanted.password, record))
            writes.append(self.forgiven("password_per_name", changed.canonical_name))
        writes += self._notices(account, changed, has_new_password=wanted.password is not None)
        return Change(tuple(writes), changed, (self._edited(account, what, by, client),))

    def _notices(self, before: Account, after: Account, *, has_new_password: bool) -> list[Write]:
        """Tell the owner. Where the address changes, the old one hears of it too: it may be its owner's last word."""
        writes: list[Write] = []
        if (before.name, before.email) != (after.name, after.email):
            writes += parts.notice_write(self.engine, after, "name_changed")
            if before.email and before.email != after.email:
                writes += parts.notice_write(self.engine, before, "name_changed", to=before.email)
        if has_new_password:
            writes += parts.notice_write(self.engine, after, "password_changed")
        has_waited = before.status in (Status.WAITING_FOR_EMAIL_VERIFICATION, Status.WAITING_FOR_ADMIN_VERIFICATION)
        if has_waited and self.engine.user.is_active(after):
            writes += parts.notice_write(self.engine, after, "account_activated")
        return writes

    def _edited(self, account: Account, what: Sequence[str], by: str, client: str) -> Event:
        changed: list[Plain] = list(what)
        return audit.event("account_edited", self.now, account_id=account.id, client=client, by=by, changed=changed)
