"""What registration, recovery and the other changes of accounts share: results, fields, limits, proofs, one commit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from authflow import audit, tickets
from authflow.changes import Change, carry_out
from authflow.errors import BadInput, ContractViolation, IllegalTransition, NotFound
from authflow.fields import Field, FieldError
from authflow.flow import Flow, FlowState, StepCompleted
from authflow.guarding import guarded
from authflow.hashing_pool import Slot
from authflow.identifiers import canonical_name
from authflow.messages import sentence
from authflow.model import Account, Credential, Factor, Plain, Proof, to_instant
from authflow.policy import CONSENT, TICKET
from authflow.powers import SetsPassword
from authflow.provider import PrimaryProvider, Rejected, Submission
from authflow.records import account_key, credential_key
from authflow.sessions import Visitor
from authflow.store.protocol import Insert, Key, Record, Update, Write
from authflow.throttle import Bucket, Limit, bucket_key
from authflow.tickets import TicketInvalid
from authflow.tokens import BadToken
from authflow.tracing import Moved, metered

if TYPE_CHECKING:
    from authflow.engine import Engine

T = TypeVar("T")
Records: TypeAlias = Mapping[Key, Record]
Stage: TypeAlias = Literal["verify", "wait", "ready"]
"""What a new account waits for: its owner's confirmation, an admin's, or nothing."""


@dataclass(frozen=True, slots=True)
class Registered:
    """The registration was accepted. With e-mail verification this says nothing of whether the name was free."""

    stage: Stage


@dataclass(frozen=True, slots=True)
class Invalid:
    """Something in the form is not accepted; nothing but a limit was changed.

    Attributes:
        values: What was typed, to be shown again. Secrets are left out.
    """

    errors: tuple[FieldError, ...]
    values: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class PasswordSide:
    """The provider that makes passwords, by both its sides."""

    provider: PrimaryProvider
    power: SetsPassword


class AccountWork:
    """Base of what changes accounts. Stateless: one instance serves all requests.

    Args:
        engine: Whose user module, services and rules are used.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine

    @property
    def now(self) -> datetime:
        return self.engine.services.clock()

    def password_side(self) -> PasswordSide:
        """Return the password provider.

        Raises:
            NotFound: There is none, or no pair of `valid_authentication_methods` names it: a password made with it
                would open nothing.
        """
        provider = self.engine.registry.password_provider
        power: object = provider
        if (
            provider is not None
            and isinstance(power, SetsPassword)
            and provider.name in self.engine.registry.rules.primaries
        ):
            return PasswordSide(provider, power)
        raise NotFound("passwords are not a way to log in here")

    # --- Judging and committing ---------------------------------------------------------------------------------------

    async def within_limit(
        self,
        limit: Limit,
        name: str,
        who: str,
        keys: Sequence[Key],
        prepare: Callable[[Records, Bucket], Awaitable[Change[T]]],
        *,
        is_exact: bool = False,
    ) -> T:
        """Read, refuse at the limit, judge, commit; on a conflict all of it again.

        Args:
            name: Of the limit.
            who: Whom it counts.
            keys: What `prepare` judges by, read together with the limit's bucket.
            prepare: Judges what was read and says what to write. Called anew for each try.
            is_exact: See `throttle.Bucket`.

        Raises:
            TooManyAttempts: At the limit; one round trip was made and nothing written.
        """
        services = self.engine.services
        place = bucket_key(services.keyring, name, who)

        async def read() -> tuple[Records, Bucket]:
            records = await services.store.get((*keys, place))
            bucket = Bucket(place, limit, records.get(place), is_exact)
            bucket.demand(self.now)
            return records, bucket

        with metered():
            first = await read()
            unused = [first]

            async def try_once() -> Change[T]:
                return await prepare(*(unused.pop() if unused else await read()))

            with self.engine.admission.enter(first[1], now=self.now):
                return await carry_out(self.engine, try_once)

    def for_client(self, visitor: Visitor) -> tuple[Limit, str, str]:
        """Return the limit that a client's requests for mails, and its bad tickets, count on."""
        return self.engine.user.limits.recovery_per_client, "recovery_per_client", visitor.network

    def refused_ticket(self, refusal: TicketInvalid, bucket: Bucket, visitor: Visitor, result: T) -> Change[T]:
        """Return the change that counts a bad ticket against its sender, and then raises."""
        happened = audit.event("ticket_refused", self.now, reason=refusal.code, client=visitor.network)
        return Change((bucket.failed(self.now),), result, (happened,), refusal=refusal)

    # --- The flow's table governs here too ----------------------------------------------------------------------------

    def by_ticket(self, flow: Flow, account: Account) -> Flow:
        """Count the proof that a good ticket is."""
        return self.counted(flow, account, self._own_proof(TICKET, Factor.MAILBOX, flow, account))

    def by_consent(self, flow: Flow, account: Account) -> Flow:
        """Count the agreement of whoever holds the ticket."""
        return self.counted(flow, account, self._own_proof(CONSENT, Factor.MAILBOX, flow, account))

    def counted(self, flow: Flow, account: Account, proof: Proof) -> Flow:
        """Count a proof and work out what is still owed.

        Raises:
            IllegalTransition: The proof is not of this flow, subject or step.
        """
        verdict = self.engine.user.remaining_steps(flow.kind, (*flow.proofs, proof), None)
        return self.engine.user.advance(flow, StepCompleted(proof, account.epoch, verdict))

    def completed(self, flow: Flow) -> Moved:
        """Refuse to go on while a step is owed; return what the flow leaves for its trace.

        Raises:
            IllegalTransition: A step is owed.
        """
        if flow.state is not FlowState.COMPLETED or flow.owed:
            raise IllegalTransition(f"a {flow.kind} flow that is {flow.state} changes nothing")
        return Moved(flow, tuple(f"completed:{proof.provider}" for proof in flow.proofs))

    def _own_proof(self, name: str, factor: Factor, flow: Flow, account: Account) -> Proof:
        return Proof(name, factor, self.now, flow.id, flow.step, account.id)

    # --- Passwords ----------------------------------------------------------------------------------------------------

    async def make_credential(
        self, side: PasswordSide, flow: Flow, account: Account, password: str, slot: Slot
    ) -> Credential | Rejected:
        """Make a credential of a new password, or say why it is not accepted."""
        context = self.engine.context(
            flow, side.provider, account=account, slot=slot, submission=Submission({"password": password})
        )
        made = await guarded(side.provider, side.power.new_credential(password, context), Credential, Rejected)
        if isinstance(made, Rejected):
            return made
        if made.account_id != account.id or made.provider != side.provider.name:
            raise ContractViolation(f"{side.provider.name}: the new credential is not the account's or not its own")
        return made

    def enrolment_proof(self, side: PasswordSide, flow: Flow, account: Account) -> Proof:
        """Return the proof that the flow's owed password has been made."""
        return self._own_proof(side.provider.name, side.provider.factor, flow, account)

    def chosen_by(
        self, ticket: Record, account: Account, side: PasswordSide
    ) -> tuple[str, tuple[Credential, Mapping[str, Plain]] | None]:
        """Return the attempt to register that a ticket belongs to, and what it chose; None when that is in place.

        Raises:
            TicketInvalid: The choice cannot be read any more, or was made for another provider.
        """
        attempt = tickets.attempt_of(ticket.data)
        if attempt is None or not attempt.id:
            return "", None
        try:
            chosen = self.engine.vault.choice(attempt.id, account.id, attempt.chosen)
        except BadToken as error:
            raise TicketInvalid("the choice cannot be read") from error
        if chosen[0].provider != side.provider.name:
            raise TicketInvalid("chosen for another provider")
        return attempt.id, chosen

    def credential_write(self, credential: Credential, record: Record | None) -> Write:
        """Return the guarded write of a credential where one may have been before."""
        key = credential_key(credential.account_id, credential.provider)
        if record is None:
            return Insert(key, self.engine.vault.credential_data(credential))
        kept = replace(credential, created_at=to_instant(record.data["created_at"]))
        return Update(key, self.engine.vault.credential_data(kept), record.version)


def account_in(records: Records, account_id: str) -> Account | None:
    """Return the account among what was read."""
    record = records.get(account_key(account_id))
    return None if record is None else Account.from_data(record.data)


def account_write(account: Account, records: Records) -> Update:
    """Return the guarded write of a changed account."""
    record = records[account_key(account.id)]
    return Update(record.key, account.to_data(), record.version, record.expires_at)


def field_error(name: str, code: str, own: Mapping[str, str] | None = None) -> FieldError:
    """Return a field's error with the sentence of its reason code."""
    return FieldError(name, code, sentence(code, own))


def refused(fields: Sequence[Field], values: Mapping[str, str], *errors: FieldError) -> Invalid:
    """Return the refusal of a form, with what may be shown again of what was typed."""
    shown = {f.name: values[f.name] for f in fields if f.name in values and not f.is_secret}
    return Invalid(errors, shown)


def look_up_name(typed: str) -> str | None:
    """Return the key that a typed name is looked up by, or None for what cannot be a name."""
    try:
        return canonical_name(typed)
    except BadInput:
        return None
