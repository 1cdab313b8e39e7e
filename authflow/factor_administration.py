"""What operators do with the second factors of an account: list them, take one away, hand a token out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from authflow import parts
from authflow.account_work import Records, account_write
from authflow.by_name import ByName
from authflow.changes import Change
from authflow.errors import AlreadyEnrolled, NotFound
from authflow.factor_plans import substitutes
from authflow.model import Account, to_instant
from authflow.powers import AcceptsTokens
from authflow.provider import SecondFactorProvider
from authflow.records import credential_key
from authflow.store.protocol import Delete, Write
from authflow.tokens import BadToken


@dataclass(frozen=True, slots=True)
class HeldFactor:
    """A second factor as an account has it.

    Attributes:
        method: The name that admin tools know it by; empty where its provider is gone.
        is_usable: Whether it can be asked for. An enrolled factor that cannot be keeps its owner out.
        remaining: Uses left, or None where it does not wear out.
    """

    name: str
    method: str
    is_usable: bool
    enrolled_at: datetime | None
    remaining: int | None


class FactorAdministration(ByName):
    """Second factors of any account, by its name."""

    async def factors(self, name: str) -> list[HeldFactor]:
        """List what an account has, factors whose provider is gone included.

        Raises:
            NotFound: There is no such account.
        """
        records, account = await self.read(name)
        standing_in = [f for f in substitutes(self.engine) if credential_key(account.id, f) in records]
        return [self.held(records, account, factor) for factor in dict.fromkeys((*account.factors, *standing_in))]

    async def remove_factor(self, name: str, factor: str) -> Account:
        """Take a factor away, also one whose provider is gone: the way out for somebody who is locked out.

        With the last one go the codes that stand in for it. Every session of the account ends.

        Args:
            factor: The provider's name, its path or the method name that tools show.

        Raises:
            NotFound: There is no such account, or it does not have this factor.
        """
        declared = self.engine.registry.declared.values()
        wanted = next((p.name for p in declared if factor in (p.path, p.method_name)), factor)

        def judge(records: Records, account: Account) -> Change[Account]:
            standing_in = substitutes(self.engine)
            is_held = wanted in standing_in and credential_key(account.id, wanted) in records
            if wanted not in account.factors and not is_held:
                raise NotFound(f"{account.name!r} has no factor {factor!r}")
            left = tuple(held for held in account.factors if held != wanted)
            gone = [wanted] if any(held not in standing_in for held in left) else [wanted, *standing_in]
            changed = replace(self.raised(account), factors=left)
            writes: list[Write] = [account_write(changed, records)]
            for held in dict.fromkeys(gone):
                record = records.get(credential_key(account.id, held))
                if record is not None:
                    writes.append(Delete(record.key, record.version))
            writes.append(self.forgiven("second_factor_per_account", account.id))
            provider = self.engine.registry.declared.get(wanted)
            label = provider.label if provider else wanted
            notice = parts.notice_write(self.engine, changed, "factor_removed", label=label)
            return Change((*writes, *notice), changed, (self.happened("factor_removed", account, wanted),))

        return await self.change(name, judge)

    async def add_token(
        self, name: str, serial: str, secret_hex: str, interval: int = 60, digits: int = 6, algorithm: str = "SHA1"
    ) -> Account:
        """Hand out a hardware token. Every session of the account ends.

        Raises:
            NotFound: There is no such account, or no provider takes tokens.
            AlreadyEnrolled: The account has a factor of this kind.
            BadInput: The token's data are not those of a supported device.
        """
        provider = next((p for p in self.engine.registry.second_factors if isinstance(p, AcceptsTokens)), None)
        if provider is None:
            raise NotFound("no second-factor provider takes hardware tokens")
        power: AcceptsTokens = provider

        def judge(records: Records, account: Account) -> Change[Account]:
            if provider.name in account.factors:
                raise AlreadyEnrolled(f"{account.name!r} has the factor {provider.name} already; remove it first")
            credential = power.new_hardware_token(
                account.id, serial=serial, secret_hex=secret_hex, now=self.now, interval=interval, digits=digits,
                algorithm=algorithm,
            )  # fmt: skip
            changed = replace(self.raised(account), factors=(*account.factors, provider.name))
            record = records.get(credential_key(account.id, provider.name))
            writes = [account_write(changed, records), self.credential_write(credential, record)]
            notice = parts.notice_write(self.engine, changed, "factor_added", label=provider.label)
            happened = self.happened("factor_enrolled", account, provider.name)
            return Change((*writes, *notice), changed, (happened,))

        return await self.change(name, judge)

    def held(self, records: Records, account: Account, factor: str) -> HeldFactor:
        """Say how an account stands to one of its factors.

        Args:
            records: With the factor's credential, if it has one.
        """
        record, provider = records.get(credential_key(account.id, factor)), self.engine.registry.get(factor)
        is_usable, remaining = False, None
        if record is not None and isinstance(provider, SecondFactorProvider):
            try:
                credential = self.engine.vault.credential(record.data)
            except BadToken:
                pass  # Its key is gone, so no code can be judged by it.
            else:
                is_usable, remaining = provider.can_handle(credential), provider.remaining(credential)
        return HeldFactor(
            name=factor,
            method=provider.method_name if provider else "",
            is_usable=is_usable,
            enrolled_at=to_instant(record.data["created_at"]) if record else None,
            remaining=remaining,
        )
