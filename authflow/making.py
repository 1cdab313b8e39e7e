"""What making and changing accounts of others shares: a blank account, its records, its password."""

from __future__ import annotations

from collections.abc import Sequence

from authflow.account_work import AccountWork
from authflow.errors import BadInput
from authflow.flow import FlowKind
from authflow.hashing_pool import Slot
from authflow.identifiers import canonical_name, is_mail_address, mail_address
from authflow.model import Account, Credential, Plain
from authflow.provider import Rejected
from authflow.records import account_key, name_key
from authflow.store.protocol import Delete, Insert, Write
from authflow.throttle import bucket_key
from authflow.tokens import new_id


class Making(AccountWork):
    """Base of what operators, and accounts with rights, do with accounts."""

    def blank(
        self,
        name: str,
        *,
        status: int,
        email: str | None = None,
        access: Sequence[str] = (),
        roles: Sequence[str] = (),
        profile: dict[str, Plain] | None = None,
    ) -> Account:
        """Return a new account, written nowhere.

        Args:
            email: Where its mail goes; without one, the name if that is an address.

        Raises:
            BadInput: It cannot be a name or an address, or there is no such role.
        """
        unknown = set(roles) - {role.id for role in self.engine.user.roles}
        if unknown:
            raise BadInput(f"there is no role {', '.join(sorted(unknown))}")
        return Account(
            id=new_id(),
            name=name.strip(" "),
            canonical_name=canonical_name(name),
            created_at=self.now,
            changed_at=self.now,
            email=mail_address(email) if email is not None else address_of(name),
            status=status,
            access=tuple(access),
            roles=tuple(roles),
            profile=profile or {},
        )

    def insertions(self, account: Account) -> tuple[Write, ...]:
        """Return the writes that make an account; of two with one name only one can be made."""
        return (
            Insert(name_key(account.canonical_name), {"account_id": account.id}),
            Insert(account_key(account.id), account.to_data()),
        )

    async def password_for(self, account: Account, password: str, slot: Slot) -> Credential | Rejected:
        """Make a credential of a password that somebody else chose for an account, or say why it is not accepted."""
        flow = self.engine.start(FlowKind.SETUP, subject=account.id, epoch=account.epoch)
        return await self.make_credential(self.password_side(), flow, account, password, slot)

    def forgiven(self, limit: str, who: str) -> Delete:
        """Return the write that clears a limit: who guessed at what is gone must not keep the owner from what comes."""
        return Delete(bucket_key(self.engine.services.keyring, limit, who))


def address_of(name: str) -> str | None:
    """Return the address that mail of an account of this name goes to, if the name is one."""
    return mail_address(name) if is_mail_address(name) else None
