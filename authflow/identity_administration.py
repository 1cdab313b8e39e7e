"""What operators do with the identities of elsewhere that are linked to an account: list them, take one away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from authflow import parts
from authflow.account_work import account_write
from authflow.by_name import ByName
from authflow.changes import Change, carry_out
from authflow.errors import NotFound
from authflow.model import Account, to_instant
from authflow.records import lookup_keys
from authflow.store.protocol import Delete, Record, Write


@dataclass(frozen=True, slots=True)
class HeldIdentity:
    """An identity as an account has it.

    Attributes:
        provider: Name of the provider.
        shown_as: What its owner knows it by.
        is_offered: Whether one can log in by it at present.
    """

    provider: str
    issuer: str
    subject: str
    shown_as: str
    linked_at: datetime
    is_offered: bool


class IdentityAdministration(ByName):
    """Identities of any account, by its name."""

    async def identities(self, name: str) -> list[HeldIdentity]:
        """List the identities of an account, those of providers that are gone included.

        Raises:
            NotFound: There is no such account.
        """
        account = await self.find(name)
        return [self._held(record) for record in await self._linked(account)]

    async def remove_identity(self, name: str, provider: str) -> Account:
        """Take the identity of one provider away. Every session of the account ends.

        Args:
            provider: The provider's name, its path or the method name that tools show.

        Raises:
            NotFound: There is no such account, or it has no identity of this provider.
        """
        declared = self.engine.registry.declared
        wanted = next((p.name for p in declared.values() if provider in (p.path, p.method_name)), provider)
        label = declared[wanted].label if wanted in declared else wanted

        async def prepare() -> Change[Account]:
            records, account = await self.read(name)
            # Read with the account: by now it may be another identity than the one that was listed.
            held = await self._linked(account)
            record = next((record for record in held if record.data["provider"] == wanted), None)
            if record is None:
                raise NotFound(f"{name!r} has no identity of {provider!r}")
            changed = self.raised(account)
            writes: list[Write] = [account_write(changed, records), Delete(record.key, record.version)]
            writes += map(Delete, lookup_keys(record.data))
            writes += parts.notice_write(self.engine, changed, "identity_unlinked", label=label)
            return Change(tuple(writes), changed, (self.happened("identity_unlinked", account, wanted),))

        account = await carry_out(self.engine, prepare)
        await self.engine.run_hook(lambda: self.engine.user.on_edited(account))
        return account

    async def _linked(self, account: Account) -> Sequence[Record]:
        page = await self.engine.services.store.find("credential", "account_id", equals=account.id, limit=100)
        return [record for record in page.records if lookup_keys(record.data)]

    def _held(self, record: Record) -> HeldIdentity:
        kept, provider = record.data["data"], str(record.data["provider"])
        values = kept if isinstance(kept, dict) else {}
        return HeldIdentity(
            provider=provider,
            issuer=str(values.get("issuer", "")),
            subject=str(values.get("subject", "")),
            shown_as=str(values.get("shown_as", "")),
            linked_at=to_instant(record.data["created_at"]),
            is_offered=provider in self.engine.registry.rules.primaries,
        )
