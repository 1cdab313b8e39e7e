"""Recovery and set-up: a new password by a ticket that was mailed or printed.

Asking costs the same and answers the same for every name; the worker finds out whether there is somebody to write to.
Recovering ends every session, sibling ticket and device of the account, disconnects its identities of elsewhere where
it replaces a password, and logs nobody in. It never touches the account's status, nor its second factors: those are
asked for at the next login.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from authflow import audit, parts, tickets
from authflow.account_work import (
    AccountWork,
    Invalid,
    Records,
    account_in,
    account_write,
    field_error,
    look_up_name,
    refused,
)
from authflow.agents import describe
from authflow.changes import Change
from authflow.federated import FederatedProvider
from authflow.fields import Field, FieldType, read
from authflow.flow import FlowKind
from authflow.guarding import guarded
from authflow.model import Account, Credential, Purpose
from authflow.provider import Rejected, Submission
from authflow.records import account_key, credential_key, lookup_keys
from authflow.sessions import Visitor
from authflow.store.protocol import Delete, Put, Record, Write
from authflow.throttle import Bucket, bucket_key
from authflow.tickets import TicketInvalid

RECOVERY_TASK = "send_user_password_recovery_code"


class Recovery(AccountWork):
    """Gives people back what they have forgotten."""

    def recovery_name_fields(self) -> tuple[Field, ...]:
        """Declare the first step of recovery."""
        return (Field("name", FieldType.EMAIL, "E-mail address", max_length=254, autocomplete="username"),)

    def recovery_key_fields(self) -> tuple[Field, ...]:
        """Declare the second step: what the mail brought."""
        key = Field("recovery_key", FieldType.CODE, "Code from the mail", max_length=200, autocomplete="one-time-code")
        return (key,)

    def new_password_fields(self) -> tuple[Field, ...]:
        """Declare the last step of recovery, and set-up."""
        return (self.password_side().power.password_field,)

    async def ask_recovery(self, values: Mapping[str, str], visitor: Visitor) -> None | Invalid:
        """Ask for a recovery mail. ViUR: the first step of `pwrecover`.

        Returns:
            None whatever the name; an error only for what cannot be a name, or for an unsolved captcha.

        Raises:
            NotFound: There is no password provider.
            TooManyAttempts: Too many requests of this client.
        """
        side = self.password_side()
        fields = self.recovery_name_fields()
        reading = read(fields, values)
        name = look_up_name(reading.values["name"])
        if reading.errors or name is None:
            return refused(fields, reading.values, *(reading.errors or (field_error("name", "name_malformed"),)))
        submission = Submission(values)
        context = self.engine.context(self.engine.start(FlowKind.RECOVER), side.provider, submission=submission)
        if not await guarded(side.provider, side.power.check_captcha(submission, context), bool):
            return refused(fields, reading.values, field_error("captcha", "captcha_failed"))

        async def prepare(records: Records, bucket: Bucket) -> Change[None | Invalid]:
            payload = {"name": name, "agent": describe(visitor.agent)}
            task = self.engine.services.tasks.write(RECOVERY_TASK, payload, self.now)
            happened = audit.event("recovery_requested", self.now, client=visitor.network)
            return Change((bucket.failed(self.now), task), None, (happened,))

        return await self.within_limit(*self.for_client(visitor), (), prepare)

    async def recover(self, token: str, values: Mapping[str, str], visitor: Visitor) -> None | Invalid:
        """Set a new password by a recovery ticket. ViUR: the last step of `pwrecover`.

        An account that never had a password (it logs in with Google) gets one: whoever reads its mail may have one, and
        its owner is told by mail.

        Returns:
            None when it is done; an error for a password that is not accepted, which leaves the ticket good.

        Raises:
            TicketInvalid: The ticket is not good, or the account is not active.
            TooManyAttempts: Too many bad tickets of this client.
            Overloaded: The hashing pool is full.
        """
        return await self._set_password(
            FlowKind.RECOVER, Purpose.RECOVERY, "password_recovered", token, values, visitor
        )

    async def set_up(self, token: str, values: Mapping[str, str], visitor: Visitor) -> None | Invalid:
        """Set the first password of an account by the link that an operator printed. See `recover`."""
        return await self._set_password(FlowKind.SETUP, Purpose.SETUP, "password_set_up", token, values, visitor)

    async def _set_password(
        self, kind: FlowKind, purpose: Purpose, event: str, token: str, values: Mapping[str, str], visitor: Visitor
    ) -> None | Invalid:
        side = self.password_side()
        fields = (side.power.password_field,)
        reading = read(fields, values)
        account_id, place = tickets.read(token)
        if reading.errors:
            return refused(fields, reading.values, *reading.errors)
        credential_place = credential_key(account_id, side.provider.name)
        declared = self.engine.registry.declared.values()
        identities = [credential_key(account_id, p.name) for p in declared if isinstance(p, FederatedProvider)]
        keyring = self.engine.services.keyring

        with self.engine.services.pool.reserve() as slot:
            made: list[Credential] = []

            async def prepare(records: Records, bucket: Bucket) -> Change[None | Invalid]:
                account, record = account_in(records, account_id), records.get(place)
                try:
                    tickets.judge(record, account, purpose, self.now)
                    if account is None or record is None or not self.engine.user.is_active(account):
                        raise TicketInvalid("the account is not active")
                except TicketInvalid as refusal:
                    return self.refused_ticket(refusal, bucket, visitor, None)
                flow = self.by_ticket(self.engine.start(kind, subject=account.id, epoch=account.epoch), account)
                if not made:
                    password = reading.values[side.power.password_field.name]
                    answer = await self.make_credential(side, flow, account, password, slot)
                    if isinstance(answer, Rejected):
                        error = field_error(side.power.password_field.name, answer.reason, side.provider.messages)
                        return Change((), refused(fields, reading.values, error))
                    made.append(answer)
                moved = self.completed(self.counted(flow, account, self.enrolment_proof(side, flow, account)))
                # Whoever had the password could have connected an account of elsewhere, and would still come in by it.
                had_password = credential_place in records
                linked = [records[key] for key in identities if key in records] if had_password else []
                writes: list[Write] = [
                    tickets.spend(record),
                    *(gone for lost in linked for gone in _unlinked(lost)),
                    account_write(_recovered(account, self.now if had_password else None), records),
                    self.credential_write(made[0], records.get(credential_place)),
                    # The owner proved himself: a row of a hundred failures ends here (NIST SP 800-63B, 5.2.2).
                    Put(bucket_key(keyring, "password_per_name", account.canonical_name), {}, self.now),
                    *parts.notice_write(self.engine, account, "password_changed"),
                    *(
                        notice
                        for lost in linked
                        for notice in parts.notice_write(
                            self.engine, account, "identity_unlinked", label=self._label(lost)
                        )
                    ),
                ]
                happened = audit.event(
                    event, self.now, account_id=account.id, provider=side.provider.name, client=visitor.network
                )
                return Change(tuple(writes), None, (happened,), moved=(moved,))

            keys = (place, account_key(account_id), credential_place, *identities)
            return await self.within_limit(*self.for_client(visitor), keys, prepare)

    def _label(self, identity: Record) -> str:
        name = str(identity.data["provider"])
        provider = self.engine.registry.declared.get(name)
        return provider.label if provider else name


def _recovered(account: Account, at: datetime | None) -> Account:
    """Return the account with a risen epoch, and without identities of before: others than those found may be there."""
    return replace(account, epoch=account.epoch + 1, identities_since=at or account.identities_since)


def _unlinked(identity: Record) -> list[Delete]:
    return [Delete(identity.key, identity.version), *map(Delete, lookup_keys(identity.data))]
