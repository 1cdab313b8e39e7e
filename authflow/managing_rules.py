"""Rules that hold for whatever an account with rights does to the accounts of others; see `managing`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import TypeAlias, TypeVar

from authflow import sessions
from authflow.access import ROOT
from authflow.account_work import Invalid, Records, account_in, field_error, refused
from authflow.changes import Change, carry_out
from authflow.errors import BadInput, Forbidden, NotAuthenticated, NotFound
from authflow.fields import Field, FieldError, FieldType, items
from authflow.identifiers import canonical_name, is_mail_address
from authflow.model import Account, Credential, Session
from authflow.provider import Rejected
from authflow.records import account_key, credential_key, name_key, session_key
from authflow.revising import Revising, Revision
from authflow.sessions import Current
from authflow.store.protocol import Key, Update

T = TypeVar("T")
Judge: TypeAlias = Callable[[Records, Account, Account], Awaitable[Change[T]]]
"""Says what to write, of what was read, of who does it and whom it is about."""

MAX_KEY = 100


class ManagingRules(Revising):
    """Base of `managing.Managing`."""

    async def read(self, current: Current, *also: Key) -> Records:
        """Read the acting account, and what else is wanted, in one round trip."""
        own = (account_key(current.account.id), session_key(current.session.id))
        return await self.engine.services.store.get((*own, *also))

    def acting(self, records: Records, current: Current) -> Account:
        """Return the acting account as it is now."""
        editor, record = account_in(records, current.account.id), records.get(session_key(current.session.id))
        session = None if record is None else Session.from_data(current.session.id, record.data)
        alive = self.engine.loader.alive_session(session, self.now)
        if editor is None or alive is None or not sessions.belongs_to(alive, editor):
            raise NotAuthenticated()
        if not self.engine.user.is_active(editor):
            raise NotAuthenticated()
        return editor

    def still(self, records: Records, editor: Account) -> Update:
        """Return the write that lets a commit hold only if the acting account has not changed since it was judged."""
        record = records[account_key(editor.id)]
        return Update(record.key, record.data, record.version, record.expires_at)

    async def read_both(self, current: Current, key: str, *also: Key) -> Records:
        """Read who acts and whom it is about.

        Raises:
            NotFound: No entry can have this key.
        """
        if not 0 < len(key) <= MAX_KEY:
            raise NotFound("no such entry")
        return await self.read(current, account_key(key), *also)

    async def change(self, current: Current, key: str, judge: Judge[T], *also: Key, first: Records | None = None) -> T:
        """Change an account in one commit that holds the acting one too, and again from live records on a conflict.

        Args:
            also: What is read besides.
            first: What was read already, for the first try.
        """
        unused = [] if first is None else [first]

        async def prepare() -> Change[T]:
            records = unused.pop() if unused else await self.read_both(current, key, *also)
            editor, account = self.acting(records, current), account_in(records, key)
            if account is None:
                raise NotFound("no such entry")
            change = await judge(records, editor, account)
            if not change.writes or editor.id == account.id:
                return change
            return replace(change, writes=(self.still(records, editor), *change.writes))

        return await carry_out(self.engine, prepare)

    def demand_over(self, editor: Account, account: Account) -> None:
        """Refuse what is dangerous to an account that may do more than the editor, or is the editor's own.

        Raises:
            Forbidden: It is such a one.
        """
        if editor.id == account.id:
            raise Forbidden("not one's own account")
        if not self.engine.user.is_over(editor, account):
            raise Forbidden("the account may do what the editor may not")

    def demand_no_more_than_own(self, editor: Account, before: frozenset[str], after: Account) -> None:
        """Refuse to give what the editor does not have; somebody with `root` has everything."""
        user = self.engine.user
        gained, own = user.access_of(after) - before, user.access_of(editor)
        if ROOT in own:
            return
        if not gained <= own:
            raise Forbidden("rights that the editor does not have")
        bound = user.second_factor_required_roles
        free = user.access_of(replace(editor, roles=tuple(role for role in editor.roles if role not in bound)))
        if bound.isdisjoint(after.roles) and not gained <= free and not bound.isdisjoint(editor.roles):
            # Else whoever must have a second factor could go on as somebody who need not.
            raise Forbidden("rights that the editor has by a role that demands a second factor")

    # --- Values -------------------------------------------------------------------------------------------------------

    def also_read(self, key: str, values: Mapping[str, str]) -> list[Key]:
        """Return what a change of these values is judged by: who has the new name, and the password that was there."""
        found = []
        if name := values.get("name", ""):
            with suppress(BadInput):
                found.append(name_key(canonical_name(name)))
        with suppress(NotFound):
            side = self.password_side()
            if values.get(side.power.password_field.name):
                found.append(credential_key(key, side.provider.name))
        return found

    def with_password(self, fields: tuple[Field, ...], help_text: str) -> tuple[Field, ...]:
        """Add an optional password to a form, where passwords are a way to log in."""
        try:
            declared = self.password_side().power.password_field
        except NotFound:
            return fields
        return (*fields, replace(declared, required=False, help=help_text, label="Password"))

    def name_errors(self, fields: tuple[Field, ...], values: Mapping[str, str], present: str) -> list[FieldError]:
        """Say what is wrong with a name; the present one may stay, whatever it looks like."""
        declared = next((f for f in fields if f.name == "name"), None)
        name = values.get("name", "")
        if declared is None or not name or name == present:
            return []
        if declared.type is FieldType.EMAIL:
            return [] if is_mail_address(name) else [field_error("name", "name_malformed")]
        try:
            canonical_name(name)
        except BadInput:
            return [field_error("name", "name_malformed")]
        return []

    def wanted(self, fields: tuple[Field, ...], values: Mapping[str, str]) -> Revision:
        """Return what a checked form wants of an account, the password apart."""
        asked = {f.name for f in fields}
        own = {f.name for f in self.engine.user.profile_fields}
        return Revision(
            name=values["name"] if "name" in asked else None,
            status=int(values["status"]) if "status" in asked else None,
            roles=items(values["roles"]) if "roles" in asked else None,
            access=items(values["access"]) if "access" in asked else None,
            profile={name: values[name] for name in values if name in own and name in asked},
        )

    async def with_new_password(
        self,
        fields: tuple[Field, ...],
        values: Mapping[str, str],
        account: Account,
        work: Callable[[Credential | None], Awaitable[Account | Invalid]],
        *,
        is_check: bool,
    ) -> Account | Invalid:
        """Hash the password that was typed, if one was, and go on; a check does not spend a hash."""
        field = next((f for f in fields if f.type is FieldType.PASSWORD), None)
        password = "" if field is None else values.get(field.name, "")
        if field is None or not password or is_check:
            return await work(None)
        with self.engine.services.pool.reserve() as slot:
            made = await self.password_for(account, password, slot)
            if isinstance(made, Rejected):
                messages = self.password_side().provider.messages
                return refused(fields, values, field_error(field.name, made.reason, messages))
            return await work(made)


def governed(account: Account) -> tuple[object, ...]:
    """Return what of an account is dangerous to change: who it is, where its mail goes, and what it may do."""
    return account.canonical_name, account.email, account.status, account.roles, account.access
