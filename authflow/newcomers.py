"""Strangers with an identity of elsewhere: told why they cannot come in, or given an account in the very login.

Only an address that the issuer is the authority for names an account. Where somebody has registered with it before and
never confirmed it, the first owner who proves it takes the account over, and what was chosen without proof goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from authflow import audit, commits
from authflow.account_work import account_in
from authflow.changes import Change, carry_out
from authflow.commits import Plan
from authflow.errors import AuthflowError, BadInput, ContractViolation, FlowInvalid
from authflow.federated import IDENTITY_UNKNOWN, Assertion, FederatedProvider
from authflow.federation import accepted_profile, linking
from authflow.flow import Flow
from authflow.guarding import guarded
from authflow.identifiers import canonical_name, mail_address
from authflow.loading import Loaded
from authflow.model import Account, Status
from authflow.provider import Charge, Rejected, Subject, Submission, Verified
from authflow.records import (
    account_key,
    identity_key,
    login_info_key,
    lookup_keys,
    name_key,
    newest_attempt_key,
    spent_keys,
)
from authflow.results import LoggedIn, Result
from authflow.sessions import Visitor
from authflow.store.protocol import Delete, Insert, Key, Record, Update, Write
from authflow.throttle import Bucket, bucket_key
from authflow.tokens import new_id

if TYPE_CHECKING:
    from authflow.engine import Engine


@dataclass(frozen=True, slots=True)
class Arrival:
    """A first submission whose identity belongs to no account, as it was when it was judged."""

    flow: Flow
    provider: FederatedProvider
    submission: Submission
    who: Subject
    visitor: Visitor
    with_static_key: bool


class Newcomers:
    """Judges arrivals.

    Args:
        engine: Whose accounts they may come to.
    """

    arrival = Arrival

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def arrive(self, arrival: Arrival, loaded: Loaded) -> Result:
        """Refuse a stranger, or make the account and go on with the flow as for anybody else, in one commit.

        Args:
            loaded: What was read for the submission: no account.

        Raises:
            FlowInvalid: The flow or the evidence was used, or the identity has come to an account meanwhile.
            TooManyAttempts: Too many registrations of this client.
        """
        engine, provider, who = self._engine, arrival.provider, arrival.who
        context = engine.context(arrival.flow, provider, submission=arrival.submission)
        found = await guarded(provider, provider.assertion(arrival.submission, context), Assertion, Rejected)
        if isinstance(found, Assertion) and (found.issuer, found.subject) != (who.issuer, who.subject):
            raise ContractViolation(f"{provider.name} identifies one subject and asserts another")
        unused, made, refusals = [loaded], list[Account](), list[AuthflowError]()
        with ExitStack() as places:

            async def prepare() -> Change[Result]:
                made.clear()
                before = unused.pop() if unused else await self._read_again(arrival)
                plan = await self._judged(arrival, found, before, made, places)
                refusals[:] = [plan.refusal] if plan.refusal else []
                return Change(tuple(plan.writes), plan.result, plan.events, plan.refusal, plan.moved)

            try:
                result = await carry_out(engine, prepare)
            except AuthflowError as error:
                # A refusal of the flow comes after the commit: the account is there, and its hook must hear of it.
                if error not in refusals:
                    raise
                await self._told(made)
                raise
        await self._told(made)
        if isinstance(result, LoggedIn):
            await engine.run_hook(lambda: engine.user.on_login(result.flow, result.account))
        return result

    async def _read_again(self, arrival: Arrival) -> Loaded:
        now = self._engine.services.clock()
        loaded, _ = await self._engine.loader.first(arrival.provider, arrival.who, "", arrival.visitor, now)
        if loaded.account is not None:
            raise FlowInvalid("the identity has come to an account meanwhile")
        return loaded

    async def _told(self, made: list[Account]) -> None:
        for account in made:
            await self._engine.run_hook(lambda account=account: self._engine.user.on_added(account))  # type: ignore[misc]

    async def _judged(
        self, arrival: Arrival, found: Assertion | Rejected, loaded: Loaded, made: list[Account], places: ExitStack
    ) -> Plan:
        engine, flow, provider, visitor = self._engine, arrival.flow, arrival.provider, arrival.visitor
        if isinstance(found, Rejected):
            return commits.rejected_first(engine, flow, provider, loaded, found.reason, visitor, found)
        is_known = loaded.record(identity_key(found.issuer, found.subject)) is not None
        address = "" if is_known else _usable(found.address)
        if not address or not provider.admits(found, arrival.submission):
            return self._stranger(arrival, loaded, IDENTITY_UNKNOWN)
        now, name = engine.services.clock(), name_key(canonical_name(address))
        place = bucket_key(engine.services.keyring, "registration_per_client", visitor.network)
        marks = spent_keys(flow.id, provider.name, found.single_use)
        records = await engine.services.store.get((name, place, *marks))
        if any(mark in records for mark in marks):
            raise FlowInvalid("this flow, or what proves its step, has been used already")
        limit = engine.user.limits.registration_per_client
        bucket = Bucket(place, limit, records.get(place), is_exact=False)
        bucket.demand(now)
        places.pop_all().close()
        places.enter_context(engine.admission.enter(bucket, now=now))
        if name not in records:
            account, writes = self._registered(found, address)
        else:
            taken = await self._taken_over(str(records[name].data["account_id"]), found, address)
            if taken is None:
                return self._stranger(arrival, loaded, "identity_address_taken")
            account, writes, own = taken
            loaded = replace(loaded, records={**loaded.records, **own})
        made.append(account)
        context = engine.context(flow, provider, account=account, submission=arrival.submission)
        credential = found.to_credential(account, provider.name, context)
        writes += [bucket.failed(now), *linking(engine.vault.credential_data(credential), found, now)]
        joined = replace(loaded, account=account, credentials={provider.name: credential})
        outcome = Verified(context.prove(provider), single_use=found.single_use)
        plan = commits.verified(engine, flow, provider, joined, outcome, visitor, arrival.with_static_key)
        happened = audit.event(
            "account_taken_over" if name in records else "account_registered",
            now,
            account_id=account.id,
            provider=provider.name,
            flow_id=flow.id,
            client=visitor.network,
        )
        return replace(plan, writes=(*writes, *plan.writes), events=(happened, *plan.events))

    def _stranger(self, arrival: Arrival, loaded: Loaded, reason: str) -> Plan:
        outcome = Rejected(reason, Charge.FLOW)
        return commits.rejected_first(
            self._engine, arrival.flow, arrival.provider, loaded, reason, arrival.visitor, outcome
        )

    def _registered(self, found: Assertion, address: str) -> tuple[Account, list[Write]]:
        now, name = self._engine.services.clock(), canonical_name(address)
        account = Account(
            id=new_id(),
            name=address,
            canonical_name=name,
            created_at=now,
            changed_at=now,
            email=address,
            status=Status.ACTIVE,
            profile=accepted_profile(self._engine, found.profile),
        )
        named = Insert(name_key(name), {"account_id": account.id})
        return account, [named, Insert(account_key(account.id), account.to_data())]

    async def _taken_over(
        self, account_id: str, found: Assertion, address: str
    ) -> tuple[Account, list[Write], Mapping[Key, Record]] | None:
        """Return what gives a never confirmed account to the owner of its address; None where it is anybody's."""
        engine = self._engine
        records = await engine.services.store.get(engine.loader.account_keys(account_id))
        account = account_in(records, account_id)
        if account is None or account.status != Status.WAITING_FOR_EMAIL_VERIFICATION:
            return None
        # Also what providers keep that are not declared here, but are in another version of the application.
        kept = await engine.services.store.find("credential", "account_id", equals=account_id, limit=100)
        records = {**records, **{record.key: record for record in kept.records}}
        # Whoever has logged in, or was given something, has been somebody: then it is no stranger's registration.
        has_identity = any(key.kind == "credential" and lookup_keys(found.data) for key, found in records.items())
        is_somebodys = has_identity or login_info_key(account_id) in records
        if is_somebodys or account.factors or account.roles or account.access:
            return None
        changed = replace(
            account,
            name=address,
            email=address,
            status=Status.ACTIVE,
            factors=(),
            profile=accepted_profile(engine, found.profile),
            changed_at=engine.services.clock(),
            epoch=account.epoch + 1,
            version=account.version + 1,
        )
        own = records[account_key(account_id)]
        writes: list[Write] = [Update(own.key, changed.to_data(), own.version, own.expires_at)]
        for key, record in records.items():
            if key.kind == "credential":
                writes.append(Delete(key, record.version))
        writes.append(Delete(newest_attempt_key(account_id)))
        return changed, writes, {key: r for key, r in records.items() if key.kind != "credential"}


def _usable(address: str) -> str:
    """Return an address as an account is named by it; the empty text where it is none."""
    try:
        return mail_address(address) if address else ""
    except BadInput:
        return ""
