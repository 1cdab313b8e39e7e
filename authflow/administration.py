"""What operators do: make, find, list, open and close accounts, and let the first administrator in.

Each is one conditional commit with its event. Nothing here asks who is calling: whoever can reach the store may.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from authflow import audit, parts, tickets
from authflow.access import CUSTOM
from authflow.account_work import Records, account_write
from authflow.by_name import OPERATOR
from authflow.changes import Change, carry_out
from authflow.errors import BadInput, NameTaken
from authflow.factor_administration import FactorAdministration, HeldFactor
from authflow.fields import read
from authflow.identifiers import canonical_name, mail_address
from authflow.identity_administration import HeldIdentity, IdentityAdministration
from authflow.listing import Listing, list_accounts
from authflow.messages import sentence
from authflow.model import Account, Credential, Status
from authflow.provider import Rejected
from authflow.records import credential_key, name_key
from authflow.revising import Revision
from authflow.store.protocol import Insert, Key, Put, Write
from authflow.upkeep import Rotation, Upkeep

__all__ = ["Administration", "HeldFactor", "HeldIdentity", "Listing", "Rotation"]

FIRST_ADMIN = Key("marker", "first_admin")
"""Says for ever that the store has had an account: nobody is made administrator by an empty listing alone."""

ROOT = ("root",)


class Administration(FactorAdministration, IdentityAdministration, Upkeep):
    """An operator's hands. Stateless: one instance per engine."""

    async def create(
        self,
        name: str,
        *,
        email: str | None = None,
        password: str | None = None,
        is_active: bool = False,
        is_admin: bool = False,
        roles: Sequence[str] = (),
    ) -> Account:
        """Make an account.

        Args:
            email: Where its mail goes; without one, the name if that is an address.
            password: Without one a set-up link lets its owner choose (see `setup_link`).
            is_admin: Whether it may do everything.

        Raises:
            NameTaken: Another account has the name.
            BadInput: A value is not accepted; `code` says why the password is not.
        """
        account = self.blank(
            name,
            status=Status.ACTIVE if is_active else Status.WAITING_FOR_ADMIN_VERIFICATION,
            email=email,
            access=ROOT if is_admin else (),
            # Beside other roles a flag counts with `custom` alone.
            roles=tuple(dict.fromkeys((*roles, CUSTOM))) if is_admin and roles else roles,
        )
        credential = None if password is None else await self._credential(account, password)

        async def prepare() -> Change[Account]:
            place = name_key(account.canonical_name)
            if place in await self.engine.services.store.get((place,)):
                raise NameTaken(f"an account named {name!r} exists already")
            writes = self.insertions(account)
            if credential is not None:
                writes = (*writes, self.credential_write(credential, None))
            happened = audit.event("account_added", self.now, account_id=account.id, by=OPERATOR, is_admin=is_admin)
            return Change(writes, account, (happened,))

        made = await carry_out(self.engine, prepare)
        await self.engine.run_hook(lambda: self.engine.user.on_added(made))
        return made

    async def list(self, cursor: str | None = None, limit: int = 50, search: str = "") -> Listing:
        """List accounts by name, a page at a time.

        Args:
            search: How the names begin.

        Raises:
            BadInput: The cursor is not one of ours, or the limit not 1 to 500.
        """
        return await list_accounts(self.engine.services.store, search=search, cursor=cursor, limit=limit)

    async def edit(self, name: str, wanted: Revision) -> Account:
        """Change an account. A new name, address, status, role or flag ends its sessions; its owner is told of a name.

        Unlike over HTTP, this may take `root` from its last holder.

        Raises:
            NotFound: There is no such account.
            NameTaken: Another account has the new name.
            BadInput: A value is not accepted.
        """
        wanted = self._checked(wanted)
        taken = () if wanted.name is None else (name_key(canonical_name(wanted.name)),)
        is_changed = False

        async def prepare() -> Change[Account]:
            nonlocal is_changed
            records, account = await self.read(name)
            records = {**records, **(await self.engine.services.store.get(taken) if taken else {})}
            change = self.revised(records, account, wanted, by=OPERATOR)
            is_changed = bool(change.writes)
            return change

        account = await carry_out(self.engine, prepare)
        if is_changed:
            await self.engine.run_hook(lambda: self.engine.user.on_edited(account))
        return account

    async def activate(self, name: str) -> Account:
        """Let an account log in; who has waited for it gets a mail.

        Raises:
            NotFound: There is no such account.
        """

        def judge(records: Records, account: Account) -> Change[Account]:
            if self.engine.user.is_active(account):
                return Change((), account)
            changed = replace(self.raised(account), status=Status.ACTIVE, version=account.version + 1)
            has_waited = account.status == Status.WAITING_FOR_ADMIN_VERIFICATION
            notice = parts.notice_write(self.engine, changed, "account_activated") if has_waited else []
            happened = self.happened("account_activated", account)
            return Change((account_write(changed, records), *notice), changed, (happened,))

        return await self.change(name, judge)

    async def deactivate(self, name: str) -> Account:
        """Shut an account out at once: its sessions, pending logins and links end.

        Raises:
            NotFound: There is no such account.
        """

        def judge(records: Records, account: Account) -> Change[Account]:
            if account.status == Status.DISABLED:
                return Change((), account)
            changed = replace(self.raised(account), status=Status.DISABLED, version=account.version + 1)
            return Change((account_write(changed, records),), changed, (self.happened("account_deactivated", account),))

        return await self.change(name, judge)

    async def delete(self, name: str) -> Account:
        """Remove an account with all that is its own.

        Raises:
            NotFound: There is no such account.
        """
        from authflow.accounts import Accounts
        from authflow.traces import erase

        account = await self.find(name)
        # Before the last one may go: an emptied store must not get a new administrator at the next start.
        await self.engine.services.store.commit((Put(FIRST_ADMIN, {}),))
        await Accounts(self.engine).delete(account.id, OPERATOR)
        # The task of that commit would do it too, once a server runs; whoever deletes here sees it done.
        await erase(self.engine.services.store, account.id)
        return account

    async def set_password(self, name: str, password: str) -> Account:
        """Give an account another password. Its sessions end; a lock after wrong ones is lifted.

        Raises:
            NotFound: There is no such account.
            BadInput: The password is not accepted; `code` says why.
        """
        credential = await self._credential(await self.find(name), password)

        def judge(records: Records, account: Account) -> Change[Account]:
            made = replace(credential, account_id=account.id)
            changed, record = self.raised(account), records.get(credential_key(account.id, made.provider))
            writes: list[Write] = [account_write(changed, records), self.credential_write(made, record)]
            writes.append(self.forgiven("password_per_name", account.canonical_name))
            notice = parts.notice_write(self.engine, changed, "password_changed")
            happened = self.happened("password_set", account, made.provider)
            return Change((*writes, *notice), changed, (happened,))

        return await self.change(name, judge)

    async def log_out(self, name: str) -> Account:
        """End every session of an account, and what else was issued to it.

        Raises:
            NotFound: There is no such account.
        """

        def judge(records: Records, account: Account) -> Change[Account]:
            changed = self.raised(account)
            return Change(
                (account_write(changed, records),), changed, (self.happened("logged_out_everywhere", account),)
            )

        return await self.change(name, judge)

    async def setup_link(self, name: str) -> str:
        """Make a link by which the owner chooses a password: valid for an hour, good once.

        Raises:
            NotFound: There is no such account, or passwords are no way to log in here.
        """

        async def prepare() -> Change[str]:
            _, account = await self.read(name)
            token, insertion = tickets.for_set_up(self.engine.services.keyring, account, self.now)
            return Change((insertion,), self._link(token), (self.happened("setup_link_made", account),))

        return await carry_out(self.engine, prepare)

    async def create_new_user_if_not_exists(self) -> str | None:
        """Make the first administrator of a store that never had an account. ViUR: `createNewUserIfNotExists`.

        It has no password: whoever reads the operator's terminal chooses one by the link, within an hour and once. Of
        processes that start together one makes it. Never on App Engine or Cloud Run, whose logs many may read.

        Returns:
            The set-up link, for the one that made the account; else None.
        """
        settings = self.engine.services.settings
        if settings.is_hosted:
            return None
        account = self.blank(settings.admin, status=Status.ACTIVE, access=ROOT)

        async def prepare() -> Change[str | None]:
            if FIRST_ADMIN in await self.engine.services.store.get((FIRST_ADMIN,)):
                return Change((), None)
            if (await self.list(limit=1)).accounts:
                return Change((Insert(FIRST_ADMIN, {}),), None)
            token, insertion = tickets.for_set_up(self.engine.services.keyring, account, self.now)
            writes = (Insert(FIRST_ADMIN, {}), insertion, *self.insertions(account))
            return Change(writes, self._link(token), (self.happened("first_admin_added", account),))

        return await carry_out(self.engine, prepare)

    # --- Parts --------------------------------------------------------------------------------------------------------

    def _checked(self, wanted: Revision) -> Revision:
        user = self.engine.user
        for what, given, known in (
            ("role", wanted.roles or (), {role.id for role in user.roles}),
            ("right", wanted.access or (), set(user.access.flags)),
            ("field", wanted.profile, {field.name for field in user.profile_fields}),
        ):
            if unknown := set(given) - known:
                raise BadInput(f"there is no {what} {', '.join(sorted(unknown))}")
        asked = [field for field in user.profile_fields if field.name in wanted.profile]
        for error in read(asked, {name: str(value) for name, value in wanted.profile.items()}).errors:
            raise BadInput(f"{error.name}: {error.message}", code=error.code)
        return replace(wanted, email=mail_address(wanted.email) if wanted.email else wanted.email)

    async def _credential(self, account: Account, password: str) -> Credential:
        with self.engine.services.pool.reserve() as slot:
            made = await self.password_for(account, password, slot)
        if isinstance(made, Rejected):
            raise BadInput(sentence(made.reason, self.password_side().provider.messages), code=made.reason)
        return made

    def _link(self, token: str) -> str:
        path = self.password_side().provider.path
        return f"{self.engine.services.settings.base_url}/user/{path}/setup?setup_key={token}"
