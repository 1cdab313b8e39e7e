"""Registration: a new account, the mail that confirms its address, and another one when it got lost.

With e-mail verification nobody learns whether a name was free: answer, round trips and number of writes are the same,
and what differs is decided by the worker, in a mail to the address in question.

Anybody may type anybody's address, so an account that waits for its address may have been made by a stranger. Each
attempt to register has a link of its own, which activates the password and the profile of that attempt: what a repeated
attempt chose is kept aside, sealed, until its link is followed. The first link that is followed ends all others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from authflow import audit, tickets
from authflow.account_work import (
    AccountWork,
    Invalid,
    PasswordSide,
    Records,
    Registered,
    Stage,
    account_in,
    account_write,
    field_error,
    look_up_name,
    refused,
)
from authflow.agents import describe
from authflow.changes import Change
from authflow.errors import BadInput, NotFound
from authflow.fields import Field, FieldType, read
from authflow.flow import FlowKind
from authflow.guarding import guarded
from authflow.identifiers import canonical_name, mail_address
from authflow.model import Account, Credential, Event, Purpose, Status
from authflow.provider import Rejected, Submission
from authflow.records import account_key, attempt_key, credential_key, name_key, newest_attempt_key
from authflow.sessions import Visitor
from authflow.store.protocol import Delete, Insert, Key, Write
from authflow.throttle import Bucket
from authflow.tickets import Attempt, TicketInvalid
from authflow.tokens import new_id
from authflow.tracing import Moved

DECOY = "decoy"
"""Kind of the records that are written in the place of an account which is not made. Nobody reads them."""

_STAGES: Mapping[int, Stage] = {
    Status.WAITING_FOR_EMAIL_VERIFICATION: "verify",
    Status.WAITING_FOR_ADMIN_VERIFICATION: "wait",
    Status.ACTIVE: "ready",
}


class Registration(AccountWork):
    """Makes accounts for strangers and confirms their addresses."""

    def registration_fields(self) -> tuple[Field, ...]:
        """Declare what registration asks for."""
        return (*self.engine.user.add_skel(), self.password_side().power.password_field)

    def name_fields(self) -> tuple[Field, ...]:
        """Declare what asking for a mail takes: the name alone."""
        return (Field("name", FieldType.EMAIL, "E-mail address", max_length=254, autocomplete="username"),)

    async def register(self, values: Mapping[str, str], visitor: Visitor) -> Registered | Invalid:
        """Make an account, in the status that the provider's switches say.

        Args:
            values: As submitted; what is not declared is ignored.

        Returns:
            What the account waits for, or what is wrong in the form. `name_taken` is told only where addresses are not
            verified by mail.

        Raises:
            NotFound: Registration is switched off, or there is no password provider.
            TooManyAttempts: Too many registrations of this client.
            Overloaded: The hashing pool is full.
        """
        side = self.password_side()
        if not side.power.registration_enabled:
            raise NotFound("registration is switched off")
        fields = self.registration_fields()
        reading = read(fields, values)
        errors = list(reading.errors)
        candidate = None
        if not any(error.name == "name" for error in errors):
            candidate = self._candidate(side, reading.values)
            if candidate is None:
                errors.append(field_error("name", "name_malformed"))
        if candidate is None or errors:
            return refused(fields, reading.values, *errors)
        flow = self.engine.start(FlowKind.REGISTER, subject=candidate.id, epoch=candidate.epoch)
        submission = Submission(values)
        with self.engine.services.pool.reserve() as slot:
            context = self.engine.context(flow, side.provider, slot=slot, submission=submission)
            if not await guarded(side.provider, side.power.check_captcha(submission, context), bool):
                return refused(fields, reading.values, field_error("captcha", "captcha_failed"))
            account = candidate
            hashed: list[tuple[Credential, Moved]] = []

            async def prepare(records: Records, bucket: Bucket) -> Change[Registered | Invalid | Account]:
                # Hashed whether or not the name is free, and once, however many tries it takes.
                if not hashed:
                    password = reading.values[side.power.password_field.name]
                    made = await self.make_credential(side, flow, account, password, slot)
                    if isinstance(made, Rejected):
                        error = field_error(side.power.password_field.name, made.reason, side.provider.messages)
                        return Change((), refused(fields, reading.values, error))
                    moved = self.completed(self.counted(flow, account, self.enrolment_proof(side, flow, account)))
                    hashed.append((made, moved))
                made, moved = hashed[0]
                holder = records.get(name_key(account.canonical_name))
                if holder is None:
                    return replace(self._added(account, made, bucket, visitor), moved=(moved,))
                taken_by = str(holder.data["account_id"])
                if account.status == Status.WAITING_FOR_EMAIL_VERIFICATION:
                    traced = replace(moved, account_id=taken_by)
                    return replace(self._repeated(taken_by, account, made, bucket, visitor), moved=(traced,))
                happened = audit.event(
                    "registration_refused", self.now, account_id=taken_by, reason="name_taken", client=visitor.network
                )
                error = field_error("name", "name_taken")
                return Change((bucket.failed(self.now),), refused(fields, reading.values, error), (happened,))

            limit = self.engine.user.limits.registration_per_client
            keys = (name_key(account.canonical_name),)
            result = await self.within_limit(limit, "registration_per_client", visitor.network, keys, prepare)
        if not isinstance(result, Account):
            return result
        hook = self.engine.run_hook(lambda: self.engine.user.on_added(result))
        if result.status == Status.WAITING_FOR_EMAIL_VERIFICATION:
            # Only a free name has an account to run it for: the answer must not wait for it.
            self.engine.afterwards(hook)
        else:
            await hook
        return Registered(_STAGES[result.status])

    async def verify(self, token: str, visitor: Visitor) -> Stage:
        """Confirm the address that a ticket was mailed to: it moves a waiting account on.

        What the ticket's attempt chose comes into force: its password takes the place of the one that was there, its
        values that of the declared profile fields. Every other link and ticket of the account dies.

        Returns:
            `wait` for an admin, or `ready`.

        Raises:
            TicketInvalid: The ticket is not good, or the account does not wait for it (any more).
            TooManyAttempts: Too many bad tickets of this client.
        """
        side = self.password_side()
        account_id, place = tickets.read(token)
        credential_place = credential_key(account_id, side.provider.name)

        async def prepare(records: Records, bucket: Bucket) -> Change[Account | None]:
            account, record = account_in(records, account_id), records.get(place)
            try:
                tickets.judge(record, account, Purpose.VERIFICATION, self.now)
                if account is None or record is None or account.status != Status.WAITING_FOR_EMAIL_VERIFICATION:
                    raise TicketInvalid("the account does not wait for this")
                attempt, chosen = self.chosen_by(record, account, side)
            except TicketInvalid as refusal:
                return self.refused_ticket(refusal, bucket, visitor, None)
            flow = self.engine.start(FlowKind.VERIFY, subject=account.id, epoch=account.epoch)
            traced = self.completed(self.by_consent(self.by_ticket(flow, account), account))
            declared = {f.name for f in self.engine.user.profile_fields}
            others = {name: value for name, value in account.profile.items() if name not in declared}
            moved = replace(
                account,
                profile=account.profile if chosen is None else {**others, **chosen[1]},
                status=self._status_after_verification(side),
                changed_at=self.now,
                epoch=account.epoch + 1,
                version=account.version + 1,
            )
            writes: list[Write] = [tickets.spend(record), account_write(moved, records)]
            writes.append(Delete(newest_attempt_key(account.id)))
            if chosen is not None:
                writes.append(self.credential_write(chosen[0], records.get(credential_place)))
                writes.append(Delete(attempt_key(attempt)))
            happened = self._event("address_verified", account.id, visitor, moved.status)
            return Change(tuple(writes), moved, (happened,), moved=(traced,))

        keys = (place, account_key(account_id), credential_place)
        moved = await self.within_limit(*self.for_client(visitor), keys, prepare)
        if moved is None:
            raise TicketInvalid("refused")
        await self.engine.run_hook(lambda: self.engine.user.on_edited(moved))
        return _STAGES[moved.status]

    async def resend(self, values: Mapping[str, str], visitor: Visitor) -> None | Invalid:
        """Ask for another verification mail. The worker decides whether there is anybody to send it to.

        Nobody knows who asks, so it is about the newest attempt to register, within the seven days that it lives: the
        mail tells when and from what device that was, and whoever reads it decides by following the link. After that
        one has to register again; an old password of unknown origin is not brought back.

        Returns:
            None whatever the name; an error only for what cannot be a name.

        Raises:
            NotFound: There is no password provider.
            TooManyAttempts: Too many requests of this client.
        """
        self.password_side()
        fields = self.name_fields()
        reading = read(fields, values)
        name = look_up_name(reading.values["name"])
        if reading.errors or name is None:
            return refused(fields, reading.values, *(reading.errors or (field_error("name", "name_malformed"),)))

        async def prepare(records: Records, bucket: Bucket) -> Change[None | Invalid]:
            task = self.engine.services.tasks.write("send_verification", {"name": name}, self.now)
            happened = self._event("verification_requested", "", visitor)
            return Change((bucket.failed(self.now), task), None, (happened,))

        return await self.within_limit(*self.for_client(visitor), (), prepare)

    # --- Parts --------------------------------------------------------------------------------------------------------

    def _candidate(self, side: PasswordSide, values: Mapping[str, str]) -> Account | None:
        """Return the account that would be made, or None when its name is no mail address."""
        try:
            address = mail_address(values["name"])
        except BadInput:
            return None
        waits = side.power.registration_email_verification_required
        return Account(
            id=new_id(),
            name=address,
            canonical_name=canonical_name(address),
            created_at=self.now,
            changed_at=self.now,
            email=address,
            status=Status.WAITING_FOR_EMAIL_VERIFICATION if waits else self._status_after_verification(side),
            profile={f.name: values[f.name] for f in self.engine.user.profile_fields if values.get(f.name)},
        )

    def _status_after_verification(self, side: PasswordSide) -> Status:
        if side.power.registration_admin_verification_required:
            return Status.WAITING_FOR_ADMIN_VERIFICATION
        return Status.ACTIVE

    def _records_of(self, account: Account, made: Credential) -> tuple[Insert, ...]:
        return (
            Insert(name_key(account.canonical_name), {"account_id": account.id}),
            Insert(account_key(account.id), account.to_data()),
            Insert(credential_key(account.id, made.provider), self.engine.vault.credential_data(made)),
        )

    def _mail_task(self, name: str, account_id: str, visitor: Visitor) -> tuple[Insert, Attempt]:
        """Return the task that writes to the owner of an address, and the attempt that it belongs to."""
        device = describe(visitor.agent)
        task = self.engine.services.tasks.write(name, {"account_id": account_id, "agent": device}, self.now)
        return task, Attempt(task.key.name, self.now, device)

    def _added(
        self, account: Account, made: Credential, bucket: Bucket, visitor: Visitor
    ) -> Change[Registered | Invalid | Account]:
        writes: list[Write] = [bucket.failed(self.now), *self._records_of(account, made)]
        is_waiting = account.status == Status.WAITING_FOR_EMAIL_VERIFICATION
        if is_waiting:
            task, attempt = self._mail_task("send_verification", account.id, visitor)
            writes += (replace(attempt, id="").newest(account.id), task)
        happened = self._event("account_registered", account.id, visitor, account.status)
        return Change(tuple(writes), account, (happened,))

    def _repeated(
        self, taken_by: str, account: Account, made: Credential, bucket: Bucket, visitor: Visitor
    ) -> Change[Registered | Invalid | Account]:
        """Return what a registration of a taken name writes: as much as one of a free name.

        Whether the account waits, and so whether the choice can ever be of use, is not known here: reading it would
        take a round trip that a free name does not take. The worker finds out, and removes what is of no use.
        """
        task, attempt = self._mail_task("send_registration_notice", taken_by, visitor)
        chosen = self.engine.vault.seal_choice(attempt.id, replace(made, account_id=taken_by), account.profile)
        kept = replace(attempt, chosen=chosen).kept()
        name, *others = (len(str(write.data)) for write in self._records_of(account, made))
        sizes = (name, max(sum(others) - len(str(kept.data)), 0))
        decoys = (Insert(Key(DECOY, new_id()), {"filler": "." * size}, self.now) for size in sizes)
        happened = self._event("registration_repeated", taken_by, visitor)
        writes = (bucket.failed(self.now), kept, *decoys, attempt.newest(taken_by), task)
        return Change(writes, Registered("verify"), (happened,))

    def _event(self, type_: str, account_id: str, visitor: Visitor, status: int | None = None) -> Event:
        happened = audit.event(type_, self.now, account_id=account_id, client=visitor.network)
        return happened if status is None else replace(happened, details={"status": int(status)})
