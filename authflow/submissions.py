"""Submissions: load, ask the provider, plan, commit once; on a conflict limits and commit again, never the hash.

A verdict is told only after the commit that counted it, and kept while the credential it was made against is unchanged.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from authflow import commits
from authflow.changes import MAX_TRIES, back_off
from authflow.commits import Plan
from authflow.errors import (
    BadInput,
    ContractViolation,
    FlowInvalid,
    StoreConflict,
    StoreUnavailable,
    Unavailable,
)
from authflow.federated import FederatedProvider
from authflow.flow import SESSION_KINDS, Flow, FlowKind, FlowState, NotesTaken, ProviderChosen, StepKind
from authflow.guarding import guarded
from authflow.hashing_pool import Slot
from authflow.identifiers import canonical_name
from authflow.loading import Loaded
from authflow.model import Credential
from authflow.powers import Rehashes
from authflow.provider import (
    Ask,
    CredentialId,
    Identification,
    Identifier,
    Nobody,
    Outcome,
    Provider,
    Redirect,
    Rejected,
    Subject,
    Submission,
    Verified,
)
from authflow.records import spent_keys
from authflow.results import Away, LoggedIn, Result
from authflow.sessions import Visitor
from authflow.store.protocol import Key, Update

if TYPE_CHECKING:
    from authflow.engine import Engine

_log = logging.getLogger("authflow.engine")


class Submissions:
    """Judges what people submit to the providers of one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._running: set[asyncio.Task[None]] = set()

    async def first(
        self,
        provider: Provider,
        values: Mapping[str, str],
        visitor: Visitor,
        reference: str,
        by_get: bool,
        with_static_key: bool,
    ) -> Result:
        flow = self._engine.travelling(reference, visitor, provider.name)
        if flow.kind not in SESSION_KINDS or not flow.accepts(provider.name):
            raise FlowInvalid("the open step is not this provider's")
        demand_return(flow, provider, by_get=by_get)
        with self._place(provider) as slot:
            submission, who = await self.identify(flow, provider, values, by_get)
            loaded, keys = await self._engine.loader.first(
                provider, who, flow.subject, visitor, self._engine.services.clock()
            )
            with self._engine.admission.enter(*loaded.buckets, now=self._engine.services.clock()):
                is_stranger = loaded.account is None and flow.kind is FlowKind.LOGIN
                if is_stranger and isinstance(provider, FederatedProvider) and isinstance(who, Subject):
                    newcomers = self._engine.newcomers
                    arrival = newcomers.arrival(flow, provider, submission, who, visitor, with_static_key)
                    return await newcomers.arrive(arrival, loaded)
                _demand_unchanged(flow, loaded)
                outcome = await self._judge(flow, provider, submission, loaded, slot)
                for attempt in range(MAX_TRIES):
                    plan = self._plan_first(flow, provider, loaded, outcome, visitor, with_static_key)
                    try:
                        await self._engine.commit(plan)
                    except StoreConflict:
                        before = loaded
                        loaded = await self._reread(flow, outcome, provider, loaded, keys, visitor, attempt)
                        if self._has_moved(provider, before, loaded):
                            outcome = await self._judge(flow, provider, submission, loaded, slot)
                        continue
                    return await self._told(plan, provider, submission, loaded)
        raise StoreUnavailable("conflicts did not end")

    async def identify(
        self, flow: Flow, provider: Provider, values: Mapping[str, str], by_get: bool
    ) -> tuple[Submission, Identification]:
        submission = Submission(values, flow.scratch.get(provider.name, {}), by_get)
        context = self._engine.context(flow, provider, submission=submission)
        naming = provider.identify(submission, context)
        who = await guarded(provider, naming, Identifier, Subject, CredentialId, Nobody)
        match who:
            case Identifier(name):
                who = Identifier(canonical_name(name))
            case Subject(issuer, subject, evidence):
                _demand_subject(issuer, subject)
                submission = replace(submission, evidence=evidence)
            case Nobody(evidence):
                submission = replace(submission, evidence=evidence)
        return submission, who

    async def later(
        self,
        provider: Provider,
        values: Mapping[str, str],
        visitor: Visitor,
        reference: str,
        by_get: bool,
        with_static_key: bool,
    ) -> Result:
        flow_id, subject = self._engine.sealer.read_handle(reference)
        if not visitor.session_id:
            raise FlowInvalid("no session")
        with self._place(provider) as slot:
            outcome: Outcome | None = None
            judged: tuple[Flow, Loaded] | None = None
            loaded, flow = await self._engine.waiting.load(provider.name, flow_id, subject, visitor)
            for attempt in range(MAX_TRIES):
                now = self._engine.services.clock()
                flow = self._engine.waiting.demand_open(flow, loaded, now, provider.name)
                for bucket in loaded.buckets:
                    bucket.demand(now)
                step = flow.open_step
                if step is None or not flow.accepts(provider.name) or step.kind is not StepKind.PROVE:
                    raise FlowInvalid("the open step is not this provider's")
                demand_return(flow, provider, by_get=by_get)
                if flow.provider != provider.name:
                    # Answering is choosing: programs and people with two tabs need not say it first.
                    flow = self._engine.user.advance(flow, ProviderChosen(provider.name))
                submission = Submission(values, flow.scratch.get(provider.name, {}), by_get)
                with self._engine.admission.enter(*loaded.buckets, now=now):
                    if outcome is None or judged is None or _is_elsewhere(flow, judged[0], provider) or self._has_moved(
                        provider, judged[1], loaded
                    ):  # fmt: skip
                        outcome = await self._judge(flow, provider, submission, loaded, slot)
                        judged = (flow, loaded)
                    plan = self._plan_later(flow, provider, loaded, outcome, visitor, with_static_key)
                    try:
                        await self._engine.commit(plan)
                    except StoreConflict:
                        await back_off(attempt)
                        loaded, flow = await self._engine.waiting.load(provider.name, flow.id, flow.subject, visitor)
                        continue
                return await self._told(plan, provider, submission, loaded)
        raise StoreUnavailable("conflicts did not end")

    async def _judge(
        self, flow: Flow, provider: Provider, submission: Submission, loaded: Loaded, slot: Slot | None
    ) -> Outcome:
        context = self._engine.context(flow, provider, account=loaded.account, slot=slot, submission=submission)
        answering = provider.answer(loaded.credential_for(provider), submission, context)
        return await guarded(provider, answering, Ask, Verified, Rejected, Redirect)

    def _plan_first(
        self, flow: Flow, provider: Provider, loaded: Loaded, outcome: Outcome, visitor: Visitor, with_static_key: bool
    ) -> Plan:
        match outcome:
            case Verified():
                account = loaded.account
                if (
                    account is None
                    or (flow.subject and flow.subject != account.id)
                    or not self._engine.user.is_active(account)
                ):
                    return commits.rejected_first(self._engine, flow, provider, loaded, "invalid_credentials", visitor)
                return commits.verified(self._engine, flow, provider, loaded, outcome, visitor, with_static_key)
            case Redirect(url):
                moved = commits.sent_away(self._engine, flow, provider, outcome)
                return Plan((), Away(moved, provider, self._engine.sealer.with_state(url, moved, visitor.browser_id)))
            case Ask():
                moved = self._engine.user.advance(flow, NotesTaken(provider.name, outcome.scratch))
                return commits.asked_on(self._engine, moved, provider, loaded, outcome, visitor)
            case _:
                return commits.rejected_first(self._engine, flow, provider, loaded, outcome.reason, visitor, outcome)

    def _plan_later(
        self, flow: Flow, provider: Provider, loaded: Loaded, outcome: Outcome, visitor: Visitor, with_static_key: bool
    ) -> Plan:
        match outcome:
            case Verified():
                return commits.verified(self._engine, flow, provider, loaded, outcome, visitor, with_static_key)
            case Redirect(url):
                moved = commits.sent_away(self._engine, flow, provider, outcome)
                away = Away(moved, provider, self._engine.sealer.with_state(url, moved, visitor.browser_id))
                return commits.away(self._engine, moved, loaded, away)
            case Ask():
                moved = self._engine.user.advance(flow, NotesTaken(provider.name, outcome.scratch))
                return commits.asked_on(self._engine, moved, provider, loaded, outcome, visitor)
            case _:
                return commits.rejected_later(self._engine, flow, provider, loaded, outcome, visitor)

    def _has_moved(self, provider: Provider, before: Loaded, now: Loaded) -> bool:
        """Whether the verdict must be made again: the credential, or whether there is an account, has changed."""
        old, new = before.credential_record(provider.name), now.credential_record(provider.name)
        same_account = (before.account and before.account.id) == (now.account and now.account.id)
        return not same_account or (old.version if old else None) != (new.version if new else None)

    async def _reread(
        self,
        flow: Flow,
        outcome: Outcome,
        provider: Provider,
        loaded: Loaded,
        keys: Sequence[Key],
        visitor: Visitor,
        attempt: int,
    ) -> Loaded:
        await back_off(attempt)
        evidence = outcome.single_use if isinstance(outcome, Verified) else ""
        spent = spent_keys(flow.id, provider.name, evidence)
        fresh = await self._engine.loader.again(loaded, (*keys, *spent), visitor)
        if any(fresh.record(mark) is not None for mark in spent):
            raise FlowInvalid("this flow, or what proves its step, has been used already")
        now = self._engine.services.clock()
        for bucket in fresh.buckets:
            bucket.demand(now)
        _demand_unchanged(flow, fresh)
        return fresh

    async def _told(self, plan: Plan, provider: Provider, submission: Submission, loaded: Loaded) -> Result:
        """Do what follows a commit, and hand out its result."""
        if plan.refusal is not None:
            raise plan.refusal
        if isinstance(plan.result, LoggedIn):
            done = plan.result
            await self._engine.run_hook(lambda: self._engine.user.on_login(done.flow, done.account))
        if plan.needs_rehash:
            self.afterwards(self._rehash(provider, submission, loaded))
        return plan.result

    def afterwards(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _rehash(self, provider: Provider, submission: Submission, loaded: Loaded) -> None:
        if not isinstance(provider, Rehashes):
            return
        credential, record = loaded.credentials[provider.name], loaded.credential_record(provider.name)
        try:
            with self._engine.services.pool.reserve() as slot:
                context = self._engine.context(self._engine.start(), provider, account=loaded.account, slot=slot)
                fresh = await guarded(provider, provider.rehash(credential, submission, context), Credential)
            if (fresh.account_id, fresh.provider) != (credential.account_id, credential.provider):
                raise ContractViolation(f"{provider.name}: the renewed hash is not of the credential it was handed")
            if record is not None:
                data = self._engine.vault.credential_data(fresh)
                await self._engine.services.store.commit((Update(record.key, data, record.version),))
        except (StoreConflict, Unavailable, BadInput):
            _log.info("a hash was not renewed; the next login tries again")
        except ContractViolation as error:
            _log.error("a hash was not renewed: %s", error.detail)

    @contextmanager
    def _place(self, provider: Provider) -> Iterator[Slot | None]:
        """Take a place in the hashing pool before any store call, where the provider hashes."""
        if not provider.uses_hashing:
            yield None
            return
        with self._engine.services.pool.reserve() as slot:
            yield slot

    async def settle(self) -> None:
        """Wait for work that goes on after an answer, such as renewed hashes."""
        while self._running:
            await asyncio.gather(*tuple(self._running), return_exceptions=True)


def demand_return(flow: Flow, provider: Provider, *, by_get: bool) -> None:
    """Take a GET as an answer only from somebody who was sent away by this provider in this very flow."""
    if by_get and (flow.state is not FlowState.AWAY or flow.provider != provider.name):
        raise FlowInvalid("nobody was sent away")


def _demand_unchanged(flow: Flow, loaded: Loaded) -> None:
    """End a flow that was begun for an account as it no longer is; whether what was submitted is right is not told."""
    account = loaded.account
    if account is not None and account.id == flow.subject and flow.epoch != account.epoch:
        raise FlowInvalid("the account has changed since the flow began")


def _demand_subject(issuer: str, subject: str) -> None:
    """Refuse a pair that names no record: it was chosen elsewhere.

    OpenID Connect Core 1.0, section 2: a subject has at most 255 ASCII characters; an issuer is an address, and so has
    no space in it.
    """
    is_issuer = 0 < len(issuer) <= 255 and issuer.isascii() and issuer.isprintable() and " " not in issuer
    if not (is_issuer and 0 < len(subject) <= 255 and subject.isascii() and subject.isprintable()):
        raise BadInput("an issuer and a subject that no issuer may use")


def _is_elsewhere(flow: Flow, judged: Flow, provider: Provider) -> bool:
    """Whether a flow has moved since a verdict: its step is done, or the provider's notes are others."""
    return judged.step != flow.step or judged.scratch.get(provider.name) != flow.scratch.get(provider.name)
