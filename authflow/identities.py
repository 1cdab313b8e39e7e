"""Identities of elsewhere on an account: linking one, taking it away, listing them.

An identity is linked only by somebody who is freshly logged in to the account and proves the identity in the same flow.
That an address is the same on both sides links nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from authflow import audit, parts
from authflow.changes import Change, carry_out
from authflow.enrolment_access import EnrolmentAccess
from authflow.errors import AlreadyEnrolled, ContractViolation, FlowInvalid, LastMethod, NotAuthenticated, NotFound
from authflow.federated import Assertion, FederatedProvider
from authflow.federation import linking
from authflow.flow import Flow, FlowKind, FlowState, StepCompleted
from authflow.guarding import guarded
from authflow.loading import Loaded
from authflow.model import Account, Event, to_instant
from authflow.provider import Ask, Charge, PrimaryProvider, Redirect, Rejected, Subject
from authflow.records import credential_key, identity_key, lookup_keys, spent_keys
from authflow.results import Changed, NotProved, StepOwed
from authflow.sessions import Current, Visitor
from authflow.store.protocol import Delete, Key, Write
from authflow.submissions import demand_return
from authflow.throttle import Bucket, bucket_key
from authflow.tracing import Moved, metered


@dataclass(frozen=True, slots=True)
class LinkedIdentity:
    """How an account stands to one primary provider.

    Attributes:
        is_linked: Whether the account can be logged in to by it.
        shown_as: What its owner knows the identity by; empty for a password.
        linked_at: When it came to the account.
        is_only_way: Whether nothing else would be left to log in by.
    """

    provider: PrimaryProvider
    is_linked: bool
    shown_as: str = ""
    linked_at: datetime | None = None
    is_only_way: bool = False


class Identities(EnrolmentAccess):
    """Identities of one application's accounts. Stateless; safe to share."""

    # --- Linking ------------------------------------------------------------------------------------------------------

    async def begin(self, provider: FederatedProvider, visitor: Visitor, current: Current | None) -> StepOwed:
        """Start the flow by which somebody who is logged in proves an identity to be linked.

        Raises:
            NotAuthenticated: Nobody is logged in.
            ReauthenticationRequired: The login is too old, or lacks the second factor that the account has.
            AlreadyEnrolled: An identity of this provider is linked.
            NotFound: The provider belongs to no valid method: nobody could log in with it.
        """
        loaded = await self._live(visitor, current)
        account, _ = self._acting(loaded)
        if loaded.credential_record(provider.name) is not None:
            raise AlreadyEnrolled()
        flow = self._engine.start(FlowKind.SETTINGS, subject=account.id, epoch=account.epoch)
        if not flow.accepts(provider.name):
            raise NotFound("this way to log in belongs to no valid method")
        return StepOwed(flow, provider, self._engine.ask(flow, provider, account))

    async def link(
        self,
        provider: FederatedProvider,
        values: Mapping[str, str],
        visitor: Visitor,
        current: Current | None,
        *,
        flow_reference: str,
        by_get: bool = False,
    ) -> Changed | NotProved:
        """Judge the proof of an identity and link it. Every other session of the account ends.

        Args:
            flow_reference: From the form, or the `state` that a remote party sent back.
            by_get: The person comes back from a remote party.

        Raises:
            FlowInvalid: The flow is not of this browser, this account and this provider, or was used.
            AlreadyEnrolled: An identity of this provider is linked.
            TooManyAttempts: Too many refusals of this client.
        """
        if current is None:
            raise NotAuthenticated()
        with metered():
            return await self._link(provider, values, visitor, current, flow_reference, by_get)

    async def _link(
        self,
        provider: FederatedProvider,
        values: Mapping[str, str],
        visitor: Visitor,
        current: Current,
        flow_reference: str,
        by_get: bool,
    ) -> Changed | NotProved:
        engine = self._engine
        account, flow = current.account, engine.travelling(flow_reference, visitor, provider.name)
        if flow.kind is not FlowKind.SETTINGS or flow.subject != account.id or not flow.accepts(provider.name):
            raise FlowInvalid("not the flow of this account and provider")
        demand_return(flow, provider, by_get=by_get)
        submission, who = await engine.submissions.identify(flow, provider, values, by_get)
        context = engine.context(flow, provider, account=account, submission=submission)
        found = await guarded(provider, provider.assertion(submission, context), Assertion, Rejected)
        client = bucket_key(engine.services.keyring, "password_per_client", visitor.network)
        evidence = found.single_use if isinstance(found, Assertion) else ""
        marks = spent_keys(flow.id, provider.name, evidence)
        named = (who.issuer, who.subject) if isinstance(who, Subject) else None
        if isinstance(found, Assertion) and (found.issuer, found.subject) != named:
            raise ContractViolation(f"{provider.name} identifies one subject and asserts another")

        async def prepare() -> Change[Changed | NotProved]:
            loaded = await self._live(visitor, current)
            acting, session = self._acting(loaded)
            places = [client, *marks]
            if isinstance(found, Assertion):
                places.append(identity_key(found.issuer, found.subject))
            records = await engine.services.store.get(places)
            limit = engine.user.limits.password_per_client
            bucket = Bucket(client, limit, records.get(client), is_exact=False)
            bucket.demand(engine.services.clock())
            if any(mark in records for mark in marks) or flow.epoch != acting.epoch:
                raise FlowInvalid("this flow or its proof was used, or the account has changed since")
            if loaded.credential_record(provider.name) is not None:
                raise AlreadyEnrolled()
            if isinstance(found, Rejected):
                return self._refused(flow, provider, acting, visitor, found.reason, bucket)
            if identity_key(found.issuer, found.subject) in records:
                return self._refused(flow, provider, acting, visitor, "identity_taken", bucket)
            proof = context.prove(provider)
            verdict = engine.user.owed_after(flow, proof, None)
            moved = engine.user.advance(flow, StepCompleted(proof, acting.epoch, verdict))
            if moved.state is not FlowState.COMPLETED or moved.owed:
                raise FlowInvalid(f"after the proof the flow is {moved.state}")
            now = engine.services.clock()
            changed = replace(acting, epoch=acting.epoch + 1, changed_at=now)
            writes: list[Write] = [
                *parts.spending(flow, provider, evidence, now),
                *linking(engine.vault.credential_data(found.to_credential(acting, provider.name, context)), found, now),
                *parts.notice_write(engine, changed, "identity_linked", label=provider.label),
            ]
            proved = replace(session, proofs=(*session.proofs, proof))
            happened = self._event("identity_linked", acting, provider, visitor, flow.id)
            change = parts.reissued(engine, loaded, proved, changed, writes, happened)
            traced = Moved(moved, (f"completed:{provider.name}",))
            return Change(change.writes, change.result, change.events, moved=(traced,))

        return await carry_out(engine, prepare)

    # --- Taking away, listing -----------------------------------------------------------------------------------------

    async def unlink(self, provider: FederatedProvider, visitor: Visitor, current: Current | None) -> Changed:
        """Take an identity away. Every other session of the account ends.

        Raises:
            NotAuthenticated: Nobody is logged in.
            ReauthenticationRequired: The login is too old, or lacks the second factor.
            NotFound: None of this provider is linked.
            LastMethod: It is the only way to log in.
        """
        engine = self._engine

        async def prepare() -> Change[Changed]:
            loaded = await self._live(visitor, current)
            account, session = self._acting(loaded)
            record = loaded.credential_record(provider.name)
            if record is None:
                raise NotFound("this identity is not linked")
            if not self._other_ways(loaded, provider):
                raise LastMethod()
            changed = replace(account, epoch=account.epoch + 1, changed_at=engine.services.clock())
            writes: list[Write] = [Delete(record.key, record.version), *map(Delete, lookup_keys(record.data))]
            writes += parts.notice_write(engine, changed, "identity_unlinked", label=provider.label)
            happened = self._event("identity_unlinked", account, provider, visitor)
            return parts.reissued(engine, loaded, session, changed, writes, happened)

        return await carry_out(engine, prepare)

    def status_keys(self, account_id: str) -> tuple[Key, ...]:
        """Return what `status` looks at, to be read together with the session."""
        return tuple(credential_key(account_id, p.name) for p in self._engine.registry.primaries)

    def status(self, current: Current) -> list[LinkedIdentity]:
        """List the offered primary providers and how the account stands to each.

        Args:
            current: Read with `status_keys`.
        """
        primaries = self._engine.registry.primaries
        records = {p.name: current.others.get(credential_key(current.account.id, p.name)) for p in primaries}
        ways = sum(record is not None for record in records.values())
        lines = []
        for provider in primaries:
            record = records[provider.name]
            if record is None:
                lines.append(LinkedIdentity(provider, False))
                continue
            data = record.data["data"]
            shown_as = str(data.get("shown_as", "")) if isinstance(data, dict) else ""
            since = record.data["created_at"]
            lines.append(LinkedIdentity(provider, True, shown_as, to_instant(since), ways == 1))
        return lines

    # --- Parts --------------------------------------------------------------------------------------------------------

    def _other_ways(self, loaded: Loaded, provider: PrimaryProvider) -> list[str]:
        """Return the other primary providers that the account can log in by."""
        primaries = self._engine.registry.rules.primaries
        return [name for name in primaries if name != provider.name and name in loaded.credentials]

    def _refused(
        self, flow: Flow, provider: FederatedProvider, account: Account, visitor: Visitor, reason: str, bucket: Bucket
    ) -> Change[Changed | NotProved]:
        asking = self._engine.ask(flow, provider, account)
        ask = Ask(()) if isinstance(asking, Redirect) else asking
        happened = self._event("identity_refused", account, provider, visitor, flow.id, reason)
        counted = bucket.failed(self._engine.services.clock())
        traced = Moved(flow, (f"rejected:{provider.name}:{reason}",))
        return Change((counted,), NotProved(flow, provider, ask, reason, Charge.FLOW), (happened,), moved=(traced,))

    def _event(
        self,
        type_: str,
        account: Account,
        provider: FederatedProvider,
        visitor: Visitor,
        flow_id: str = "",
        reason: str = "",
    ) -> Event:
        return audit.event(
            type_,
            self._engine.services.clock(),
            account_id=account.id,
            provider=provider.name,
            flow_id=flow_id,
            reason=reason,
            client=visitor.network,
        )
