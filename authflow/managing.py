"""What an account with rights does to the accounts of others: list, make, edit, delete them, end their sessions.

Each change is one commit, and it holds the acting account as well, guarded: rights that are taken away meanwhile do
nothing any more, and of two who take `root` from each other one keeps it. The own account is changed by
`Accounts.edit`, and never here: its name, status and rights are the affair of others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from authflow import audit
from authflow.account_work import Invalid, Records, account_in, account_write, field_error, refused
from authflow.accounts import Accounts
from authflow.changes import Change, carry_out
from authflow.errors import Forbidden, NameTaken, NotFound, VersionConflict, Withheld
from authflow.fields import Field, FieldType, read
from authflow.identifiers import is_mail_address
from authflow.listing import Listing, list_accounts
from authflow.managing_rules import MAX_KEY, ManagingRules, governed
from authflow.model import Account, Credential, Plain, Status
from authflow.records import name_key
from authflow.sessions import Current
from authflow.store.protocol import Write


class Managing(ManagingRules):
    """Runs what is done by access right. Stateless: one instance serves all requests."""

    async def listing(
        self, current: Current, *, search: str = "", cursor: str | None = None, amount: int = 30
    ) -> Listing:
        """List accounts by name, a page at a time.

        Args:
            search: How the names begin.

        Raises:
            Forbidden: The viewer may not.
            BadInput: The cursor is not of this list.
        """
        if not self.engine.user.can_list(current.account):
            raise Forbidden("may not list accounts")
        return await list_accounts(self.engine.services.store, search=search, cursor=cursor, limit=amount)

    # --- Making -------------------------------------------------------------------------------------------------------

    def add_fields(self, editor: Account) -> tuple[Field, ...]:
        """Declare what making an account asks for.

        Raises:
            Forbidden: The editor may not.
        """
        if not self.engine.user.can_add(editor):
            raise Forbidden("may not make accounts")
        fields = self.engine.user.entry_skel(editor)
        if not self.engine.user.is_admin(editor):
            # What others make waits for an admin, who would bring a password into force that is not the owner's.
            return fields
        return self.with_password(fields, "Without one, the owner of an active account is mailed a link to choose one.")

    async def add(
        self, current: Current, values: Mapping[str, str], *, client: str = "", is_check: bool = False
    ) -> Account | Invalid:
        """Make an account for somebody else.

        Without a password its owner gets a link by mail to choose one. What is made by somebody who is no admin waits
        for one.

        Args:
            is_check: Say what would be wrong, and make nothing: the answer is an `Invalid`, perhaps without errors.

        Raises:
            Forbidden: The editor may not, or gives rights that he does not have.
            NotAuthenticated: The session has ended meanwhile.
            Overloaded: The hashing pool is full.
        """
        fields = self.add_fields(current.account)
        is_admin = self.engine.user.is_admin(current.account)
        reading = read(fields, {"status": str(int(Status.ACTIVE)), **values})
        errors = [*reading.errors, *self.name_errors(fields, reading.values, "")]
        if errors:
            return refused(fields, reading.values, *errors)
        wanted = self.wanted(fields, reading.values)
        account = self.draft(
            self.blank(
                reading.values["name"],
                status=Status.ACTIVE if is_admin else Status.WAITING_FOR_ADMIN_VERIFICATION,
                profile=dict(wanted.profile),
            ),
            wanted,
        )

        async def work(credential: Credential | None) -> Account | Invalid:
            async def prepare() -> Change[Account | Invalid]:
                place = name_key(account.canonical_name)
                records = await self.read(current, place)
                editor = self.acting(records, current)
                self.add_fields(editor)
                self.demand_no_more_than_own(editor, frozenset(), account)
                if place in records:
                    return Change((), refused(fields, reading.values, field_error("name", "name_taken")))
                if is_check:
                    return Change((), refused(fields, reading.values))
                writes: list[Write] = [self.still(records, editor), *self.insertions(account)]
                if credential is not None:
                    writes.append(self.credential_write(credential, None))
                if account.email and self.engine.user.is_active(account):
                    task: dict[str, Plain] = {"account_id": account.id, "with_link": credential is None}
                    writes.append(self.engine.services.tasks.write("send_welcome", task, self.now))
                happened = audit.event("account_added", self.now, account_id=account.id, client=client, by=editor.id)
                return Change(tuple(writes), account, (happened,))

            return await carry_out(self.engine, prepare)

        result = await self.with_new_password(fields, reading.values, account, work, is_check=is_check)
        if isinstance(result, Account):
            await self.engine.run_hook(lambda: self.engine.user.on_added(result))
        return result

    # --- Editing ------------------------------------------------------------------------------------------------------

    def edit_fields(self, editor: Account, account: Account) -> tuple[Field, ...]:
        """Declare what an editor may change of somebody else's entry; what he may only see is read-only.

        Raises:
            NotFound: He may not edit it: that looks the same as no such entry.
        """
        user = self.engine.user
        if editor.id == account.id or not user.can_edit(editor, account):
            raise Withheld("may not edit this entry")
        fields = user.edit_skel(editor, account)
        if not (user.is_admin(editor) and user.is_over(editor, account)):
            return fields
        if not is_mail_address(account.name):
            # Made by an operator, under a name that is no address. It may stay.
            fields = tuple(replace(f, type=FieldType.TEXT) if f.name == "name" else f for f in fields)
        return self.with_password(fields, "Leave this empty to keep the one that is set.")

    async def to_edit(self, editor: Account, key: str) -> tuple[Account, tuple[Field, ...]]:
        """Return an entry that somebody may edit, and what of it.

        Raises:
            NotFound: There is none, or he may not.
        """
        account = await self.engine.account_by_id(key)
        if account is None:
            raise NotFound("no such entry")
        return account, self.edit_fields(editor, account)

    async def edit(
        self,
        current: Current,
        key: str,
        values: Mapping[str, str],
        expected_version: int | None = None,
        *,
        client: str = "",
        is_check: bool = False,
    ) -> Account | Invalid:
        """Change somebody else's entry as far as `User.edit_skel` lets the editor.

        Args:
            values: As submitted. What is not declared, or read-only, is ignored; what is not submitted stays.
            expected_version: The version that the form was made from, to notice that somebody else was faster.
            is_check: Say what would be wrong, and change nothing: the answer is an `Invalid`, perhaps without errors.

        Raises:
            NotFound: There is no such entry, or the editor may not edit it.
            Forbidden: It would give rights that the editor does not have.
            VersionConflict: The entry has another version by now.
            NotAuthenticated: The session has ended meanwhile.
            Overloaded: The hashing pool is full.
        """
        # What is read at first says what there is to hash, and of whom; a try that meets a conflict reads anew.
        also = self.also_read(key, values)
        first = await self.read_both(current, key, *also)
        account = account_in(first, key)
        if account is None:
            raise NotFound("no such entry")
        declared = self.edit_fields(self.acting(first, current), account)
        fields = tuple(f for f in declared if not f.is_readonly and f.name in values)
        reading = read(fields, values)
        errors = [*reading.errors, *self.name_errors(fields, reading.values, account.name)]
        if errors:
            return refused(fields, reading.values, *errors)
        wanted = self.wanted(fields, reading.values)

        async def work(credential: Credential | None) -> Account | Invalid:
            revision = replace(wanted, password=credential)

            async def judge(records: Records, editor: Account, account: Account) -> Change[Account | Invalid]:
                if {f.name for f in fields} - {f.name for f in self.edit_fields(editor, account) if not f.is_readonly}:
                    raise Withheld("may not edit this any more")
                if expected_version is not None and expected_version != account.version:
                    raise VersionConflict(f"expected {expected_version}, found {account.version}")
                before, drafted = self.engine.user.access_of(account), self.draft(account, revision)
                if revision.password is not None or governed(drafted) != governed(account):
                    # Whatever a form of the application's own lets through.
                    self.demand_over(editor, account)
                self.demand_no_more_than_own(editor, before, drafted)
                try:
                    change = self.revised(records, account, revision, by=editor.id, client=client)
                except NameTaken:
                    return Change((), refused(fields, reading.values, field_error("name", "name_taken")))
                if is_check:
                    return Change((), refused(fields, reading.values))
                return Change(change.writes, change.result, change.events)

            return await self.change(current, key, judge, *also, first=first)

        drafted = self.draft(account, wanted)
        result = await self.with_new_password(fields, reading.values, drafted, work, is_check=is_check)
        if isinstance(result, Account) and result.version != account.version:
            await self.engine.run_hook(lambda: self.engine.user.on_edited(result))
        return result

    # --- Ending -------------------------------------------------------------------------------------------------------

    async def delete(self, current: Current, key: str, *, client: str = "") -> None:
        """Remove somebody's account with all that is its own.

        Raises:
            NotFound: There is no such entry, or the editor may not delete any.
            Forbidden: It is the editor's own, or may do what he may not.
            NotAuthenticated: The session has ended meanwhile.
        """
        user = self.engine.user

        if not user.can_delete(current.account, current.account):
            raise Withheld("may delete no entries")

        async def allow(account: Account) -> list[Write]:
            records = await self.read(current)
            editor = self.acting(records, current)
            if not user.can_delete(editor, account):
                raise Withheld("may not delete this entry")
            self.demand_over(editor, account)
            return [self.still(records, editor)]

        if not 0 < len(key) <= MAX_KEY:
            raise NotFound("no such entry")
        await Accounts(self.engine).delete(key, current.account.id, allow=allow, client=client)

    async def kick(self, current: Current, key: str, *, client: str = "") -> Account:
        """End every session of somebody, and what else was issued to them. ViUR: `trigger/kick`.

        Raises:
            NotFound: There is no such entry, or the editor may not do this to any.
            Forbidden: It may do what the editor may not.
            NotAuthenticated: The session has ended meanwhile.
        """

        async def judge(records: Records, editor: Account, account: Account) -> Change[Account]:
            if not self.engine.user.can_kick(editor, account):
                raise Withheld("may not kick this one")
            if editor.id != account.id:
                self.demand_over(editor, account)
            changed = replace(account, epoch=account.epoch + 1, changed_at=self.now)
            happened = audit.event(
                "logged_out_everywhere", self.now, account_id=account.id, client=client, by=editor.id
            )
            return Change((account_write(changed, records),), changed, (happened,))

        return await self.change(current, key, judge)
