"""Accounts as operators speak of them: found by name, changed in one commit, without a session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from authflow import audit
from authflow.account_work import Records, account_in
from authflow.changes import Change, carry_out
from authflow.errors import NotFound
from authflow.identifiers import canonical_name
from authflow.model import Account, Event
from authflow.records import credential_key, name_key
from authflow.revising import Revising

OPERATOR = "operator"
"""Who did it, in events of what was done at the command line."""


class ByName(Revising):
    """Base of what operators do with one account."""

    async def find(self, name: str) -> Account:
        """Find an account by its name.

        Raises:
            NotFound: There is none.
            BadInput: It cannot be a name.
        """
        _, account = await self.read(name)
        return account

    async def read(self, name: str) -> tuple[Records, Account]:
        """Read an account with its credentials, those of providers that are gone included.

        Raises:
            NotFound: There is none.
            BadInput: It cannot be a name.
        """
        store, place = self.engine.services.store, name_key(canonical_name(name))
        record = (await store.get((place,))).get(place)
        account_id = "" if record is None else str(record.data["account_id"])
        records = dict(await store.get(self.engine.loader.account_keys(account_id))) if account_id else {}
        account = account_in(records, account_id)
        if account is None:
            raise NotFound(f"there is no account named {name!r}")
        orphans = [credential_key(account_id, f) for f in account.factors if f not in self.engine.registry.declared]
        if orphans:
            records.update(await store.get(orphans))
        return records, account

    async def change(self, name: str, judge: Callable[[Records, Account], Change[Account]]) -> Account:
        """Change an account in one commit, and again from live records on a conflict.

        Args:
            judge: Says what to write. Without writes nothing has changed, and no hook runs.
        """
        is_changed = False

        async def prepare() -> Change[Account]:
            nonlocal is_changed
            change = judge(*await self.read(name))
            is_changed = bool(change.writes)
            return change

        account = await carry_out(self.engine, prepare)
        if is_changed:
            await self.engine.run_hook(lambda: self.engine.user.on_edited(account))
        return account

    def raised(self, account: Account) -> Account:
        """Return the account with a risen epoch: what was issued before ends with the commit."""
        return replace(account, epoch=account.epoch + 1, changed_at=self.now)

    def happened(self, type_: str, account: Account, provider: str = "") -> Event:
        return audit.event(type_, self.now, account_id=account.id, provider=provider, by=OPERATOR)
