"""Accounts: registration, verification, recovery, set-up, and what people change of their own account.

One instance per engine, without state. Each change is one commit with its event and its mails; hooks run after it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from authflow import audit, parts, sessions
from authflow.account_work import (
    Invalid,
    Records,
    Registered,
    Stage,
    account_in,
    account_write,
    field_error,
    refused,
)
from authflow.changes import Change, carry_out
from authflow.errors import NotAuthenticated, NotFound, ReauthenticationRequired, VersionConflict
from authflow.fields import Field, FieldType, read
from authflow.flow import Flow, FlowKind
from authflow.guarding import guarded
from authflow.hashing_pool import Slot
from authflow.model import Account, Credential, Event, Session
from authflow.provider import Outcome, Rejected, Submission, Verified
from authflow.records import (
    account_key,
    credential_key,
    login_info_key,
    lookup_keys,
    name_key,
    newest_attempt_key,
    session_key,
)
from authflow.recovery import Recovery
from authflow.registration import Registration
from authflow.sessions import Current, IssuedSession, Visitor
from authflow.store.protocol import Delete, Key, Put, Record, Write
from authflow.throttle import Bucket
from authflow.tickets import TicketInvalid
from authflow.tracing import ERASING_TASK, Moved

__all__ = ["Accounts", "Invalid", "Registered", "Stage", "TicketInvalid"]

CURRENT_PASSWORD = "current_password"
_MARKED = timedelta(days=1)


class Accounts(Registration, Recovery):
    """Runs everything about accounts that is no login."""

    # --- The own password ---------------------------------------------------------------------------------------------

    def change_password_fields(self) -> tuple[Field, ...]:
        """Declare what changing the password asks for."""
        current = Field(
            CURRENT_PASSWORD, FieldType.PASSWORD, "Current password", autocomplete="current-password", max_length=1024
        )
        return (current, self.password_side().power.password_field)

    def demand_fresh_login(self, session: Session) -> None:
        """Refuse what a session that was left open must not do.

        Raises:
            ReauthenticationRequired: The last login is longer ago than `User.fresh_login_window`.
        """
        at = session.authenticated_at
        if at is None or self.now - at >= self.engine.user.fresh_login_window:
            raise ReauthenticationRequired()

    async def change_password(
        self, current: Current, values: Mapping[str, str], visitor: Visitor
    ) -> IssuedSession | Invalid:
        """Set another password. Every other session, ticket and device ends; the acting session is made anew.

        Returns:
            The session to go on with, or what is wrong in the form. A wrong current password counts like one at login.

        Raises:
            ReauthenticationRequired: The login is not fresh.
            NotAuthenticated: The session has ended meanwhile.
            TooManyAttempts: Too many wrong passwords for this name.
            Overloaded: The hashing pool is full.
        """
        side = self.password_side()
        self.demand_fresh_login(current.session)
        fields = self.change_password_fields()
        reading = read(fields, values)
        if reading.errors:
            return refused(fields, reading.values, *reading.errors)
        account_id, session_place = current.account.id, session_key(current.session.id)
        credential_place = credential_key(account_id, side.provider.name)
        new_name = side.power.password_field.name
        submission = Submission({"name": current.account.name, "password": reading.values[CURRENT_PASSWORD]})

        with self.engine.services.pool.reserve() as slot:
            made: list[Credential] = []
            judged: list[tuple[Flow, int | None, Outcome]] = []

            async def prepare(records: Records, bucket: Bucket) -> Change[IssuedSession | Invalid]:
                account, session = account_in(records, account_id), self._live_session(records, session_place)
                if account is None or session is None or not sessions.belongs_to(session, account):
                    raise NotAuthenticated()
                # The new one first: what is wrong with it must not tell that the current one was right.
                flow = self.engine.start(FlowKind.SETTINGS, subject=account.id, epoch=account.epoch)
                if not made:
                    answer = await self.make_credential(side, flow, account, reading.values[new_name], slot)
                    if isinstance(answer, Rejected):
                        error = field_error(new_name, answer.reason, side.provider.messages)
                        return Change((), refused(fields, reading.values, error))
                    made.append(answer)
                record = records.get(credential_place)
                version = record.version if record else None
                if not judged or judged[0][1] != version:
                    judged[:] = [(flow, version, await self._judge(flow, account, record, submission, slot))]
                flow, _, outcome = judged[0]
                if not isinstance(outcome, Verified) or record is None:
                    happened = self._password_event("password_change_refused", account, visitor, "password_wrong")
                    error = field_error(CURRENT_PASSWORD, "password_wrong")
                    traced = Moved(flow, (f"rejected:{side.provider.name}:password_wrong",))
                    return Change(
                        (bucket.failed(self.now),), refused(fields, reading.values, error), (happened,), moved=(traced,)
                    )
                traced = self.completed(self.counted(flow, account, outcome.proof))
                raised = replace(account, epoch=account.epoch + 1)
                issued = sessions.reissue(session, raised, self.now)
                writes: list[Write] = [
                    *bucket.succeeded(self.now),
                    account_write(raised, records),
                    self.credential_write(made[0], record),
                    Delete(session_place, records[session_place].version),
                    issued.write(self.engine.user.lifetimes),
                    *parts.notice_write(self.engine, account, "password_changed"),
                ]
                happened = self._password_event("password_changed", account, visitor)
                return Change(tuple(writes), issued, (happened,), moved=(traced,))

            return await self.within_limit(
                self.engine.user.limits.password_per_name,
                "password_per_name",
                current.account.canonical_name,
                (session_place, account_key(account_id), credential_place),
                prepare,
                is_exact=True,
            )

    async def _judge(
        self, flow: Flow, account: Account, record: Record | None, submission: Submission, slot: Slot
    ) -> Outcome:
        provider = self.password_side().provider
        context = self.engine.context(flow, provider, account=account, slot=slot, submission=submission)
        credential = None if record is None else self.engine.vault.credential(record.data)
        return await guarded(provider, provider.answer(credential, submission, context), Verified, Rejected)

    def _live_session(self, records: Records, place: Key) -> Session | None:
        record = records.get(place)
        session = None if record is None else Session.from_data(place.name, record.data)
        return self.engine.loader.alive_session(session, self.now)

    def _password_event(self, type_: str, account: Account, visitor: Visitor, reason: str = "") -> Event:
        name = self.password_side().provider.name
        return audit.event(type_, self.now, account_id=account.id, provider=name, reason=reason, client=visitor.network)

    # --- The own entry ------------------------------------------------------------------------------------------------

    async def edit(
        self, current: Current, values: Mapping[str, str], expected_version: int | None = None, *, client: str = ""
    ) -> Account | Invalid:
        """Change the own entry as far as `User.edit_skel` lets one. Sessions go on.

        Args:
            values: As submitted. What is not declared is ignored; what is declared and not submitted stays.
            expected_version: The version that the form was made from, to notice that somebody else was faster.

        Raises:
            VersionConflict: The entry has another version by now.
            NotAuthenticated: The session's account has changed or gone meanwhile.
        """
        place = account_key(current.account.id)

        async def prepare() -> Change[Account | Invalid]:
            records = await self.engine.services.store.get((place,))
            account = account_in(records, current.account.id)
            if account is None or not sessions.belongs_to(current.session, account):
                raise NotAuthenticated()
            if expected_version is not None and expected_version != account.version:
                raise VersionConflict(f"expected {expected_version}, found {account.version}")
            invalid = self.checked(account, values)
            if invalid.errors:
                return Change((), invalid)
            reading = read(self._asked(account, values), values)
            edited = replace(
                account,
                profile={**account.profile, **reading.values},
                version=account.version + 1,
                changed_at=self.now,
            )
            happened = audit.event("account_edited", self.now, account_id=account.id, client=client, by=account.id)
            return Change((account_write(edited, records),), edited, (happened,))

        result = await carry_out(self.engine, prepare)
        if isinstance(result, Account):
            await self.engine.run_hook(lambda: self.engine.user.on_edited(result))
        return result

    def checked(self, account: Account, values: Mapping[str, str]) -> Invalid:
        """Say what would be wrong with a change of the own entry, perhaps nothing. ViUR: `bounce`."""
        asked = self._asked(account, values)
        reading = read(asked, values)
        return refused(asked, reading.values, *reading.errors)

    def _asked(self, account: Account, values: Mapping[str, str]) -> list[Field]:
        editable = [f for f in self.engine.user.edit_skel(account, account) if not f.is_readonly]
        return [f for f in editable if f.name in values or (f.required and not account.profile.get(f.name))]

    async def delete(
        self,
        account_id: str,
        by: str,
        *,
        allow: Callable[[Account], Awaitable[Sequence[Write]]] | None = None,
        client: str = "",
    ) -> None:
        """Remove an account with all that is its own. Its sessions and tickets end with it.

        Args:
            by: Account id of who does it.
            allow: Asked about the live account before each try. It raises where this may not be done, and says what
                to write besides: what the permission hangs on.

        Raises:
            NotFound: There is no such account.
        """
        own = self.engine.loader.account_keys(account_id)

        async def prepare() -> Change[Account]:
            store = self.engine.services.store
            records = await store.get(own)
            account = account_in(records, account_id)
            if account is None:
                raise NotFound("no such account")
            allowed = () if allow is None else await allow(account)
            # Also those of providers that are declared no more; and what finds the account by them.
            credentials = (await store.find("credential", "account_id", equals=account_id, limit=100)).records
            found_by = {key for record in credentials for key in lookup_keys(record.data)}
            used = login_info_key(account_id)
            gone = {*own, *found_by, *(record.key for record in credentials)} - {account_key(account_id), used}
            # The name is the account's alone as long as the account is: its record needs no guard of its own.
            writes: list[Write] = [*allowed, *(Delete(key) for key in sorted(gone))]
            writes.append(Delete(account_key(account_id), records[account_key(account_id)].version))
            writes.append(Delete(name_key(account.canonical_name)))
            writes.append(Delete(newest_attempt_key(account_id)))
            # An empty mark in its place: a first login that is on its way would insert what nobody would ever remove.
            writes.append(Put(used, {}, self.now + _MARKED))
            # As many as there may be, they are erased by a task of this commit.
            writes.append(self.engine.services.tasks.write(ERASING_TASK, {"account_id": account_id}, self.now))
            happened = audit.event("account_deleted", self.now, account_id=account_id, client=client, by=by)
            return Change(tuple(writes), account, (happened,))

        deleted = await carry_out(self.engine, prepare)
        await self.engine.run_hook(lambda: self.engine.user.on_deleted(deleted))
