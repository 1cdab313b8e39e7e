"""Rules that hold for whatever an account with rights does to the accounts of others; see `managing`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TypeAlias, TypeVar

from authflow import sessions
from authflow.access import ROOT
from authflow.account_work import Invalid, Records, account_in, field_error, refused
from authflow.changes import Change, carry_out
from authflow.errors import BadInput, Forbidden, NotAuthenticated, NotFound
from authflow.fields import Field, FieldError, FieldType, items
from authflow.identifiers import canonical_name, is_mail_address
from authflow.model import Account, Credential
from authflow.provider import Rejected
from authflow.records import account_key
from authflow.revising import Revising, Revision
from authflow.sessions import Current
from authflow.store.protocol import Key, Update

T = TypeVar("T")
Judge: TypeAlias = Callable[[Records, Account, Account], Awaitable[Change[T]]]
"""Says what to write, of what was read, of who does it and whom it is about."""

MAX_KEY = 100
PASSWORD = "password"


class ManagingRules(Revising):
    """Base of `managing.Managing`."""

    async def read(self, current: Current, *also: Key) -> Records:
        return await self.engine.services.store.get((account_key(current.account.id), *also))

    def acting(self, records: Records, current: Current) -> Account:
        """Return the acting account as it is now."""
        editor = account_in(records, current.account.id)
        if editor is None or not sessions.belongs_to(current.session, editor) or not self.engine.user.is_active(editor):
            raise NotAuthenticated()
        return editor

    def still(self, records: Records, editor: Account) -> Update:
        """Return the write that lets a commit hold only if the acting account has not changed since it was judged."""
        record = records[account_key(editor.id)]
        return Update(record.key, record.data, record.version, record.expires_at)

    async def change(self, current: Current, key: str, judge: Judge[T], *also: Key) -> T:
        if not 0 < len(key) <= MAX_KEY:
            raise NotFound("no such entry")

        async def prepare() -> Change[T]:
            records = await self.read(current, account_key(key), *also)
            editor, account = self.acting(records, current), account_in(records, key)
            if account is None:
                raise NotFound("no such entry")
            change = await judge(records, editor, account)
            if not change.writes or editor.id == account.id:
                return change
            return replace(change, writes=(self.still(records, editor), *change.writes))

        return await carry_out(self.engine, prepare)

    def demand_over(self, editor: Account, account: Account) -> None:
        if editor.id == account.id:
            raise Forbidden("not one's own account")
        if not self.engine.user.is_over(editor, account):
            raise Forbidden("the account may do what the editor may not")

    def demand_no_more_than_own(self, editor: Account, before: frozenset[str], after: Account) -> None:
        """Refuse to give what the editor does not have; somebody with `root` has everything."""
        gained = self.engine.user.access_of(after) - before
        own = self.engine.user.access_of(editor)
        if ROOT not in own and not gained <= own:
            raise Forbidden("rights that the editor does not have")

    # --- Values -------------------------------------------------------------------------------------------------------

    def with_password(self, fields: tuple[Field, ...], help_text: str) -> tuple[Field, ...]:
        try:
            declared = self.password_side().power.password_field
        except NotFound:
            return fields
        return (*fields, replace(declared, required=False, help=help_text, label="Password"))

    def name_errors(self, fields: tuple[Field, ...], values: Mapping[str, str], present: str) -> list[FieldError]:
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
        password = values.get(PASSWORD, "") if any(f.name == PASSWORD for f in fields) else ""
        if not password or is_check:
            return await work(None)
        with self.engine.services.pool.reserve() as slot:
            made = await self.password_for(account, password, slot)
            if isinstance(made, Rejected):
                messages = self.password_side().provider.messages
                return refused(fields, values, field_error(PASSWORD, made.reason, messages))
            return await work(made)
