"""Registration: a new account, the mail that confirms its address, and another one when it got lost.

With e-mail verification nobody learns whether a name was free: answer, round trips and number of writes are the same,
and what differs is decided by the worker, in a mail to the address in question.
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
from authflow.changes import Change
from authflow.errors import BadInput, NotFound
from authflow.fields import Field, FieldType, read
from authflow.flow import FlowKind
from authflow.identifiers import canonical_name, mail_address
from authflow.model import Account, Event, Purpose, Status
from authflow.provider import Rejected, Submission
from authflow.records import account_key, credential_key, name_key
from authflow.sessions import Visitor
from authflow.store.protocol import Insert, Key, Write
from authflow.throttle import Bucket
from authflow.tickets import TicketInvalid
from authflow.tokens import new_id

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
            if not await side.power.check_captcha(submission, context):
                return refused(fields, reading.values, field_error("captcha", "captcha_failed"))
            account = candidate
            writes: list[Insert] = []

            async def prepare(records: Records, bucket: Bucket) -> Change[Registered | Invalid | Account]:
                # Hashed whether or not the name is free, and once, however many tries it takes.
                if not writes:
                    password = reading.values[side.power.password_field.name]
                    made = await self.make_credential(side, flow, account, password, slot)
                    if isinstance(made, Rejected):
                        error = field_error(side.power.password_field.name, made.reason, side.provider.messages)
                        return Change((), refused(fields, reading.values, error))
                    self.demand_completed(self.counted(flow, account, self.enrolment_proof(side, flow, account)))
                    writes.extend(
                        (
                            Insert(name_key(account.canonical_name), {"account_id": account.id}),
                            Insert(account_key(account.id), account.to_data()),
                            Insert(
                                credential_key(account.id, side.provider.name),
                                self.engine.vault.credential_data(made),
                            ),
                        )
                    )
                holder = records.get(name_key(account.canonical_name))
                if holder is None:
                    return self._added(account, writes, bucket, visitor)
                taken_by = str(holder.data["account_id"])
                if account.status == Status.WAITING_FOR_EMAIL_VERIFICATION:
                    return self._repeated(taken_by, writes, bucket, visitor)
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
        hook = self.engine.run_hook(self.engine.user.on_added(result))
        if result.status == Status.WAITING_FOR_EMAIL_VERIFICATION:
            # Only a free name has an account to run it for: the answer must not wait for it.
            self.engine.afterwards(hook)
        else:
            await hook
        return Registered(_STAGES[result.status])

    async def verify(self, token: str, visitor: Visitor) -> Stage:
        """Confirm the address that a ticket was mailed to. It moves a waiting account on, and does nothing else.

        Returns:
            `wait` for an admin, or `ready`.

        Raises:
            TicketInvalid: The ticket is not good, or the account does not wait for it (any more).
            TooManyAttempts: Too many bad tickets of this client.
        """
        side = self.password_side()
        account_id, place = tickets.read(token)

        async def prepare(records: Records, bucket: Bucket) -> Change[Account | None]:
            account, record = account_in(records, account_id), records.get(place)
            try:
                tickets.judge(record, account, Purpose.VERIFICATION, self.now)
                if account is None or record is None or account.status != Status.WAITING_FOR_EMAIL_VERIFICATION:
                    raise TicketInvalid("the account does not wait for this")
            except TicketInvalid as refusal:
                return self.refused_ticket(refusal, bucket, visitor, None)
            flow = self.engine.start(FlowKind.VERIFY, subject=account.id, epoch=account.epoch)
            self.demand_completed(self.by_consent(self.by_ticket(flow, account), account))
            moved = replace(
                account,
                status=self._status_after_verification(side),
                changed_at=self.now,
                epoch=account.epoch + 1,
                version=account.version + 1,
            )
            happened = self._event("address_verified", account.id, visitor, moved.status)
            return Change((tickets.spend(record), account_write(moved, records)), moved, (happened,))

        moved = await self.within_limit(*self.for_client(visitor), (place, account_key(account_id)), prepare)
        if moved is None:
            raise TicketInvalid("refused")
        await self.engine.run_hook(self.engine.user.on_edited(moved))
        return _STAGES[moved.status]

    async def resend(self, values: Mapping[str, str], visitor: Visitor) -> None | Invalid:
        """Ask for another verification mail. The worker decides whether there is anybody to send it to.

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
            return Change((bucket.failed(self.now), task), None, (happened,), has_tasks=True)

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

    def _added(
        self, account: Account, made: list[Insert], bucket: Bucket, visitor: Visitor
    ) -> Change[Registered | Invalid | Account]:
        writes: list[Write] = [bucket.failed(self.now), *made]
        is_waiting = account.status == Status.WAITING_FOR_EMAIL_VERIFICATION
        if is_waiting:
            payload = {"account_id": account.id}
            writes.append(self.engine.services.tasks.write("send_verification", payload, self.now))
        happened = self._event("account_registered", account.id, visitor, account.status)
        return Change(tuple(writes), account, (happened,), has_tasks=is_waiting)

    def _repeated(
        self, taken_by: str, unmade: list[Insert], bucket: Bucket, visitor: Visitor
    ) -> Change[Registered | Invalid | Account]:
        """Return what a registration of a taken name writes: as much as one of a free name."""
        task = self.engine.services.tasks.write("send_registration_notice", {"account_id": taken_by}, self.now)
        decoys = (Insert(Key(DECOY, new_id()), {"filler": "." * len(str(write.data))}, self.now) for write in unmade)
        happened = self._event("registration_repeated", taken_by, visitor)
        return Change((bucket.failed(self.now), *decoys, task), Registered("verify"), (happened,), has_tasks=True)

    def _event(self, type_: str, account_id: str, visitor: Visitor, status: int | None = None) -> Event:
        happened = audit.event(type_, self.now, account_id=account_id, client=visitor.network)
        return happened if status is None else replace(happened, details={"status": int(status)})
