"""Strangers with an identity of elsewhere: told why they cannot come in, or given an account in the very login.

Only an address that the issuer is the authority for names an account. Where somebody has registered with it before and
never confirmed it, the first owner who proves it takes the account over, and what was chosen without proof goes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from authflow import audit, commits
from authflow.account_work import account_in
from authflow.changes import Change, carry_out
from authflow.commits import Plan
from authflow.errors import BadInput, FlowInvalid
from authflow.federated import IDENTITY_UNKNOWN, Assertion, FederatedProvider
from authflow.federation import accepted_profile, linking
from authflow.flow import Flow
from authflow.identifiers import canonical_name, mail_address
from authflow.loading import Loaded
from authflow.model import Account, Status
from authflow.provider import Charge, Rejected, Subject, Submission, Verified
from authflow.records import account_key, identity_key, name_key, newest_attempt_key, spent_key
from authflow.results import LoggedIn, Result
from authflow.sessions import Visitor
from authflow.store.protocol import Delete, Insert, Key, Record, Update, Write
from authflow.throttle import Bucket, bucket_key
from authflow.tokens import new_id

if TYPE_CHECKING:
    from authflow.engine import Engine


class Newcomers:
    """Judges first submissions whose identity belongs to no account.

    Args:
        engine: Whose accounts they may come to.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def arrive(
        self,
        flow: Flow,
        provider: FederatedProvider,
        submission: Submission,
        who: Subject,
        loaded: Loaded,
        visitor: Visitor,
        *,
        with_static_key: bool,
    ) -> Result:
        """Refuse a stranger, or make the account and go on with the flow as for anybody else, in one commit.

        Args:
            loaded: What was read for the submission: no account.

        Raises:
            FlowInvalid: The flow was used, or the identity has come to an account meanwhile.
            TooManyAttempts: Too many registrations of this client.
        """
        engine = self._engine
        context = engine.context(flow, provider, submission=submission)
        found = await engine.submissions.guarded(provider, provider.assertion(submission, context))
        unused, made = [loaded], list[Account]()

        async def prepare() -> Change[Result]:
            made.clear()
            now = engine.services.clock()
            before = unused.pop() if unused else (await engine.loader.first(provider, who, "", visitor, now))[0]
            if before.account is not None:
                raise FlowInvalid("the identity has come to an account meanwhile")
            plan = await self._judged(flow, provider, submission, found, before, visitor, with_static_key, made)
            return Change(tuple(plan.writes), plan.result, plan.events, plan.refusal)

        result = await carry_out(engine, prepare)
        for account in made:
            await engine.run_hook(lambda account=account: engine.user.on_added(account))  # type: ignore[misc]
        if isinstance(result, LoggedIn):
            await engine.run_hook(lambda: engine.user.on_login(result.flow, result.account))
        return result

    async def _judged(
        self,
        flow: Flow,
        provider: FederatedProvider,
        submission: Submission,
        found: Assertion | Rejected,
        loaded: Loaded,
        visitor: Visitor,
        with_static_key: bool,
        made: list[Account],
    ) -> Plan:
        engine = self._engine
        if isinstance(found, Rejected):
            return commits.rejected_first(engine, flow, provider, loaded, found.reason, visitor, found)
        is_known = loaded.record(identity_key(found.issuer, found.subject)) is not None
        address = "" if is_known else _usable(found.address)
        if not address or not provider.admits(found, submission):
            return self._stranger(flow, provider, loaded, visitor, IDENTITY_UNKNOWN)
        name = canonical_name(address)
        now, limit = engine.services.clock(), engine.user.limits.registration_per_client
        place = bucket_key(engine.services.keyring, "registration_per_client", visitor.network)
        records = await engine.services.store.get((name_key(name), spent_key(flow.id), place))
        if spent_key(flow.id) in records:
            raise FlowInvalid("this flow has been started already")
        bucket = Bucket(place, limit, records.get(place), is_exact=False)
        bucket.demand(now)
        holder = records.get(name_key(name))
        if holder is None:
            account, writes = self._registered(found, address)
        else:
            taken = await self._taken_over(str(holder.data["account_id"]), found)
            if taken is None:
                return self._stranger(flow, provider, loaded, visitor, "identity_address_taken")
            account, writes, own = taken
            loaded = replace(loaded, records={**loaded.records, **own})
        made.append(account)
        context = engine.context(flow, provider, account=account, submission=submission)
        credential = found.to_credential(account, provider.name, context)
        writes += [bucket.failed(now), *linking(engine.vault.credential_data(credential), found, now)]
        joined = replace(loaded, account=account, credentials={provider.name: credential})
        outcome = Verified(context.prove(provider), single_use=found.single_use)
        plan = commits.verified(engine, flow, provider, joined, outcome, visitor, with_static_key)
        happened = audit.event(
            "account_registered" if holder is None else "account_taken_over",
            now,
            account_id=account.id,
            provider=provider.name,
            flow_id=flow.id,
            client=visitor.network,
        )
        return replace(plan, writes=(*writes, *plan.writes), events=(happened, *plan.events))

    def _stranger(self, flow: Flow, provider: FederatedProvider, loaded: Loaded, visitor: Visitor, reason: str) -> Plan:
        outcome = Rejected(reason, Charge.FLOW)
        return commits.rejected_first(self._engine, flow, provider, loaded, reason, visitor, outcome)

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
        self, account_id: str, found: Assertion
    ) -> tuple[Account, list[Write], Mapping[Key, Record]] | None:
        """Return what gives a never confirmed account to the owner of its address; None where it is anybody's."""
        engine = self._engine
        records = await engine.services.store.get(engine.loader.account_keys(account_id))
        account = account_in(records, account_id)
        if account is None or account.status != Status.WAITING_FOR_EMAIL_VERIFICATION:
            return None
        changed = replace(
            account,
            status=Status.ACTIVE,
            factors=(),
            profile=accepted_profile(engine, found.profile),
            changed_at=engine.services.clock(),
            epoch=account.epoch + 1,
            version=account.version + 1,
        )
        own = records[account_key(account_id)]
        writes: list[Write] = [Update(own.key, changed.to_data(), own.version, own.expires_at)]
        writes += [Delete(key, record.version) for key, record in records.items() if key.kind == "credential"]
        writes.append(Delete(newest_attempt_key(account_id)))
        return changed, writes, {key: r for key, r in records.items() if key.kind != "credential"}


def _usable(address: str) -> str:
    """Return an address as an account is named by it; the empty text where it is none."""
    try:
        return mail_address(address) if address else ""
    except BadInput:
        return ""
