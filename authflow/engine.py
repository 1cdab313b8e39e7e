"""The engine: start, submit, choose, cancel. It loads, asks the provider, advances the flow and commits once.

A verdict is told only after the commit that counted it. On a conflict the verdict is kept while the credential it was
made against is unchanged; limits and commit are done again, the hash never is.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TypeVar

from authflow import audit, commits
from authflow.commits import Plan
from authflow.context import Context, SlotHashing
from authflow.errors import (
    AuthflowError,
    BadInput,
    ContractViolation,
    FlowInvalid,
    Overloaded,
    StoreConflict,
    StoreUnavailable,
    TooLate,
)
from authflow.flow import (
    SESSION_KINDS,
    Flow,
    FlowKind,
    NotesTaken,
    ProviderChosen,
    StepKind,
    advance,
    start,
)
from authflow.hashing_pool import Slot
from authflow.identifiers import canonical_name
from authflow.loading import Loaded, Loader
from authflow.model import Account
from authflow.policy import remaining_steps
from authflow.provider import (
    Ask,
    Identification,
    Identifier,
    Outcome,
    PrimaryProvider,
    Provider,
    Redirect,
    Rehashes,
    Subject,
    Submission,
    Verified,
)
from authflow.records import Vault, account_key, spent_key
from authflow.results import Away, ChoiceOwed, EnrolmentOwed, LoggedIn, Result, StepOwed
from authflow.sealing import FlowSealer
from authflow.services import Services
from authflow.sessions import Current, IssuedSession, Sessions, Visitor
from authflow.store.protocol import Delete, Key, Update, Write
from authflow.throttle import Admission
from authflow.user import User

T = TypeVar("T")

MAX_TRIES = 8
"""Commits tried before a conflict that does not end is answered as a fault."""

_log = logging.getLogger("authflow.engine")


class Engine:
    """Runs flows for one application.

    Args:
        user: The application's `User`; bound to this engine.
        services: What it stands on.

    Raises:
        ConfigurationError: A declaration is refused.
    """

    def __init__(self, user: User, services: Services) -> None:
        self.user = user
        self.services = services
        self.registry = user.make_registry(services.settings.provider_environment)
        self.vault = Vault(services.keyring)
        self.sealer = FlowSealer(services.keyring, self.vault)
        self.sessions = Sessions(services.store, user.lifetimes)
        self.loader = Loader(
            services.store, services.keyring, self.vault, user.limits, user.lifetimes, self.registry.declared
        )
        self.admission = Admission()
        self._afterwards: set[asyncio.Task[None]] = set()
        user.engine = self

    # --- Starting and finding flows -----------------------------------------------------------------------------------

    def start(self, kind: FlowKind = FlowKind.LOGIN, *, return_to: str = "", subject: str = "", epoch: int = 0) -> Flow:
        """Make a flow at its first step. No store operation: it travels signed until something is proved."""
        now = self.services.clock()
        return start(
            flow_id=commits.new_id(),
            kind=kind,
            verdict=remaining_steps(kind, (), self.registry.rules, None),
            created_at=now,
            deadline_at=now + timedelta(hours=24),
            return_to=return_to,
            fingerprint=self.registry.fingerprint,
            subject=subject,
            epoch=epoch,
        )

    def reference(self, flow: Flow, visitor: Visitor) -> str:
        """Return what a form sends back to name its flow: sealed while it travels, a handle once it is stored."""
        is_stored = bool(flow.proofs) or flow.kind is FlowKind.ENROL
        return self.sealer.handle(flow) if is_stored else self.sealer.seal(flow, visitor.browser_id)

    def ask(self, flow: Flow, provider: Provider, account: Account | None = None) -> Ask | Redirect:
        """Say what a provider asks at this point of a flow. Pure, no store operation."""
        return provider.begin(self.context(flow, provider, account=account))

    def context(
        self,
        flow: Flow,
        provider: Provider,
        *,
        account: Account | None = None,
        slot: Slot | None = None,
        submission: Submission | None = None,
    ) -> Context:
        """Return the context a provider is handed."""
        services = self.services
        return Context(
            now=services.clock(),
            flow=flow,
            provider=provider,
            account=account,
            hashing=SlotHashing(services.hasher, slot),
            fetching=services.fetching,
            keyring=services.keyring,
            base_url=services.settings.base_url,
            submission=submission,
        )

    # --- Submissions --------------------------------------------------------------------------------------------------

    async def submit(
        self,
        provider: Provider,
        values: Mapping[str, str],
        visitor: Visitor,
        *,
        flow_reference: str = "",
        by_get: bool = False,
        with_static_key: bool = False,
    ) -> Result:
        """Judge a submission and move its flow.

        Args:
            flow_reference: From the form; without one, a new login, or the browser's newest flow that waits for this
                provider.
            by_get: The person comes back from a remote party.
            with_static_key: The caller is a program that wants a static session key.

        Raises:
            RequestError: The submission cannot be judged; nothing was changed.
            Unavailable: A fault; nothing was changed.
        """
        if isinstance(provider, PrimaryProvider):
            return await self._submit_first(provider, values, visitor, flow_reference, by_get, with_static_key)
        return await self._submit_later(provider, values, visitor, flow_reference, by_get, with_static_key)

    async def _submit_first(
        self,
        provider: PrimaryProvider,
        values: Mapping[str, str],
        visitor: Visitor,
        reference: str,
        by_get: bool,
        with_static_key: bool,
    ) -> Result:
        flow = self.travelling(reference, visitor)
        if not flow.accepts(provider.name):
            raise FlowInvalid("the open step is not this provider's")
        with self._place(provider) as slot:
            submission, who = await self._identify(flow, provider, values, by_get)
            loaded, keys = await self.loader.first(provider, who, flow.subject, visitor, self.services.clock())
            with self.admission.enter(*loaded.buckets, now=self.services.clock()):
                outcome = await self._judge(flow, provider, submission, loaded, slot)
                for attempt in range(MAX_TRIES):
                    plan = self._plan_first(flow, provider, loaded, outcome, visitor, with_static_key)
                    try:
                        await self._commit(plan)
                    except StoreConflict:
                        before, loaded = loaded, await self._reread(flow, loaded, keys, visitor, attempt)
                        if self._has_moved(provider, before, loaded):
                            outcome = await self._judge(flow, provider, submission, loaded, slot)
                        continue
                    return await self._told(plan, provider, submission, loaded)
        raise StoreUnavailable("conflicts did not end")

    async def _identify(
        self, flow: Flow, provider: Provider, values: Mapping[str, str], by_get: bool
    ) -> tuple[Submission, Identification]:
        submission = Submission(values, flow.scratch.get(provider.name, {}), by_get)
        context = self.context(flow, provider, submission=submission)
        who = await self._guarded(provider, provider.identify(submission, context))
        match who:
            case Identifier(name):
                who = Identifier(canonical_name(name))
            case Subject(evidence=evidence):
                submission = replace(submission, evidence=evidence)
        return submission, who

    async def _submit_later(
        self,
        provider: Provider,
        values: Mapping[str, str],
        visitor: Visitor,
        reference: str,
        by_get: bool,
        with_static_key: bool,
    ) -> Result:
        flow_id, subject = self.sealer.read_handle(reference)
        if not visitor.session_id:
            raise FlowInvalid("no session")
        with self._place(provider) as slot:
            outcome: Outcome | None = None
            judged: tuple[Flow, Loaded] | None = None
            loaded, flow = await self._pending(provider.name, flow_id, subject, visitor)
            for attempt in range(MAX_TRIES):
                now = self.services.clock()
                self.demand_open(flow, loaded, now)
                for bucket in loaded.buckets:
                    bucket.demand(now)
                step = flow.open_step
                if step is None or not flow.accepts(provider.name) or step.kind is not StepKind.PROVE:
                    raise FlowInvalid("the open step is not this provider's")
                submission = Submission(values, flow.scratch.get(provider.name, {}), by_get)
                with self.admission.enter(*loaded.buckets, now=now):
                    if outcome is None or judged is None or judged[0].step != flow.step or self._has_moved(
                        provider, judged[1], loaded
                    ):  # fmt: skip
                        outcome = await self._judge(flow, provider, submission, loaded, slot)
                        judged = (flow, loaded)
                    plan = self._plan_later(flow, provider, loaded, outcome, visitor, with_static_key)
                    try:
                        await self._commit(plan)
                    except StoreConflict:
                        await self._back_off(attempt)
                        loaded, flow = await self._pending(provider.name, flow.id, flow.subject, visitor)
                        continue
                return await self._told(plan, provider, submission, loaded)
        raise StoreUnavailable("conflicts did not end")

    async def _judge(
        self, flow: Flow, provider: Provider, submission: Submission, loaded: Loaded, slot: Slot | None
    ) -> Outcome:
        context = self.context(flow, provider, account=loaded.account, slot=slot, submission=submission)
        answering = provider.answer(loaded.credentials.get(provider.name), submission, context)
        return await self._guarded(provider, answering)

    async def _guarded(self, provider: Provider, work: Awaitable[T]) -> T:
        try:
            return await work
        except AuthflowError:
            raise
        except Exception as error:
            # A provider that breaks lets nobody in and gives nothing away: 503, the trace in the log.
            _log.exception("provider %s failed", provider.name)
            raise ContractViolation(f"{provider.name} failed: {type(error).__name__}") from error

    # --- Choosing, showing, cancelling --------------------------------------------------------------------------------

    async def choose(self, provider: Provider, visitor: Visitor, *, flow_reference: str = "") -> Result:
        """Open the form of one of the usable factors. ViUR: `select_secondfactor_provider`, `start`.

        Raises:
            FlowInvalid: No flow of this browser waits for this provider.
        """
        flow_id, subject = self.sealer.read_handle(flow_reference)
        for attempt in range(MAX_TRIES):
            loaded, flow = await self._pending(provider.name, flow_id, subject, visitor)
            self.demand_open(flow, loaded, self.services.clock())
            step = flow.open_step
            if step is None or not flow.accepts(provider.name) or step.kind is not StepKind.PROVE:
                raise FlowInvalid("this factor is not asked for")
            if flow.provider == provider.name:
                return StepOwed(flow, provider, self.ask(flow, provider, loaded.account))
            chosen = advance(flow, ProviderChosen(provider.name))
            plan = commits.opened(self, chosen, provider, loaded)
            try:
                await self._commit(plan)
            except StoreConflict:
                await self._back_off(attempt)
                continue
            return plan.result
        raise StoreUnavailable("conflicts did not end")

    async def pending(self, visitor: Visitor, *, flow_reference: str = "", provider: Provider | None = None) -> Result:
        """Show where the browser's newest pending flow stands, without changing it.

        Raises:
            FlowInvalid: There is none.
            TooLate: Its time is over.
        """
        flow_id, subject = self.sealer.read_handle(flow_reference)
        loaded, flow = await self._pending(provider.name if provider else "", flow_id, subject, visitor)
        self.demand_open(flow, loaded, self.services.clock())
        return self.position(flow, loaded.account)

    def position(self, flow: Flow, account: Account | None) -> Result:
        """Say what a pending flow is waiting for."""
        step = flow.open_step
        if step is None:
            raise FlowInvalid("nothing is owed")
        providers = tuple(p for name in step.providers if (p := self.registry.get(name)) is not None)
        if step.kind is StepKind.ENROL:
            return EnrolmentOwed(flow, providers)
        chosen = self.registry.get(flow.provider)
        if chosen is None:
            return ChoiceOwed(flow, providers)
        return StepOwed(flow, chosen, self.ask(flow, chosen, account))

    async def cancel(self, visitor: Visitor) -> None:
        """Drop every pending flow of the browser. A session that is logged in stays."""
        if not visitor.session_id:
            return
        for attempt in range(MAX_TRIES):
            loaded = await self.loader.later(visitor.account_id, visitor)
            if loaded.session is None or not loaded.session.flows:
                return
            plan = commits.cancelled(self, loaded)
            try:
                await self._commit(plan)
            except StoreConflict:
                await self._back_off(attempt)
                continue
            return
        raise StoreUnavailable("conflicts did not end")

    async def log_out(self, current: Current) -> IssuedSession | None:
        """End a session; return the anonymous one that carries what survives, where something does."""
        now = self.services.clock()
        kept = self.user.session_after_logout(current.session, now)
        happened = audit.event("logged_out", now, account_id=current.account.id)
        writes: list[Write] = [self.sessions.end(current), *audit.inserted((happened,))]
        if kept is not None:
            writes.append(kept.write(self.user.lifetimes))
        try:
            await self.services.store.commit(writes)
        except StoreConflict:
            # The session moved meanwhile (its use was noted, or it is gone): a log-out wins over both.
            writes[0] = Delete(current.session_record.key)
            await self.services.store.commit(writes)
        audit.written((happened,))
        await self.run_hook(self.user.on_logout(current.account))
        return kept

    async def account_by_id(self, account_id: str) -> Account | None:
        """Read one account."""
        if not account_id or len(account_id) > 100:
            return None
        key = account_key(account_id)
        record = (await self.services.store.get((key,))).get(key)
        return None if record is None else Account.from_data(record.data)

    # --- Inside -------------------------------------------------------------------------------------------------------

    def travelling(self, reference: str, visitor: Visitor) -> Flow:
        if not reference:
            return self.start()
        flow = self.sealer.open(reference, visitor.browser_id)
        if flow.fingerprint != self.registry.fingerprint:
            raise FlowInvalid("the flow was started under another definition")
        if not flow.is_open or self.services.clock() >= flow.deadline_at:
            raise FlowInvalid("the flow is over")
        return flow

    async def _pending(self, provider: str, flow_id: str, subject: str, visitor: Visitor) -> tuple[Loaded, Flow]:
        """Load a stored flow and its subject's records; in two round trips if the form did not name the subject."""
        loaded = await self.loader.later(subject or visitor.account_id, visitor)
        session = self.loader.alive_session(loaded.session, self.services.clock())
        if session is None:
            raise FlowInvalid("no session")
        flows = [self.vault.flow(data) for data in session.flows]
        fitting = [f for f in flows if f.id == flow_id] if flow_id else [
            f for f in flows if f.kind in SESSION_KINDS and (not provider or f.accepts(provider))
        ]  # fmt: skip
        if not fitting:
            raise FlowInvalid("no such flow in this browser")
        flow = fitting[-1]
        if loaded.account is None or loaded.account.id != flow.subject:
            loaded = await self.loader.later(flow.subject, visitor)
        return loaded, flow

    def demand_open(self, flow: Flow, loaded: Loaded, now: datetime) -> None:
        if not flow.is_open:
            raise FlowInvalid("the flow has ended")
        if now >= flow.deadline_at:
            raise TooLate()
        account = loaded.account
        if account is None or account.epoch != flow.epoch or not self.user.is_active(account):
            raise FlowInvalid("the account has changed since the flow began")
        if flow.fingerprint != self.registry.fingerprint:
            raise FlowInvalid("the flow was started under another definition")

    def _plan_first(
        self, flow: Flow, provider: Provider, loaded: Loaded, outcome: Outcome, visitor: Visitor, with_static_key: bool
    ) -> Plan:
        match outcome:
            case Verified():
                account = loaded.account
                if account is None or (flow.subject and flow.subject != account.id) or not self.user.is_active(account):
                    return commits.rejected_first(self, flow, provider, loaded, "invalid_credentials", visitor)
                return commits.verified(self, flow, provider, loaded, outcome, visitor, with_static_key)
            case Redirect(url):
                moved = commits.sent_away(flow, provider, outcome)
                return Plan((), Away(moved, provider, self.sealer.with_state(url, moved, visitor.browser_id)))
            case Ask():
                moved = advance(flow, NotesTaken(provider.name, outcome.scratch))
                return commits.asked_on(self, moved, provider, loaded, outcome, visitor)
            case _:
                return commits.rejected_first(self, flow, provider, loaded, outcome.reason, visitor, outcome)

    def _plan_later(
        self, flow: Flow, provider: Provider, loaded: Loaded, outcome: Outcome, visitor: Visitor, with_static_key: bool
    ) -> Plan:
        match outcome:
            case Verified():
                return commits.verified(self, flow, provider, loaded, outcome, visitor, with_static_key)
            case Redirect(url):
                moved = commits.sent_away(flow, provider, outcome)
                away = Away(moved, provider, self.sealer.with_state(url, moved, visitor.browser_id))
                return commits.stored(self, moved, loaded, away)
            case Ask():
                moved = advance(flow, NotesTaken(provider.name, outcome.scratch))
                return commits.asked_on(self, moved, provider, loaded, outcome, visitor)
            case _:
                return commits.rejected_later(self, flow, provider, loaded, outcome, visitor)

    def _has_moved(self, provider: Provider, before: Loaded, now: Loaded) -> bool:
        """Whether the verdict must be made again: the credential, or whether there is an account, has changed."""
        old, new = before.credential_record(provider.name), now.credential_record(provider.name)
        same_account = (before.account and before.account.id) == (now.account and now.account.id)
        return not same_account or (old.version if old else None) != (new.version if new else None)

    async def _reread(self, flow: Flow, loaded: Loaded, keys: Sequence[Key], visitor: Visitor, attempt: int) -> Loaded:
        await self._back_off(attempt)
        spent = spent_key(flow.id)
        fresh = await self.loader.again(loaded, (*keys, spent), visitor)
        if fresh.record(spent) is not None:
            raise FlowInvalid("this flow has been started already")
        now = self.services.clock()
        for bucket in fresh.buckets:
            bucket.demand(now)
        return fresh

    async def _back_off(self, attempt: int) -> None:
        await asyncio.sleep(random.uniform(0, 0.01 * (attempt + 1)))  # noqa: S311 - jitter, no secret

    async def _commit(self, plan: Plan) -> None:
        if plan.writes:
            await self.services.store.commit(plan.all_writes())

    async def _told(self, plan: Plan, provider: Provider, submission: Submission, loaded: Loaded) -> Result:
        """Do what follows a commit, and hand out its result."""
        self.after_commit(plan)
        if plan.refusal is not None:
            raise plan.refusal
        if isinstance(plan.result, LoggedIn):
            await self.run_hook(self.user.on_login(plan.result.flow, plan.result.account))
        if plan.needs_rehash:
            self._later(self._rehash(provider, submission, loaded))
        return plan.result

    def after_commit(self, plan: Plan) -> None:
        """Log the events of a committed plan and wake the queue if it deferred something."""
        audit.written(plan.events)
        if plan.has_tasks:
            self.services.tasks.wake()

    async def run_hook(self, hook: Awaitable[None]) -> None:
        """Await an application's hook; what it raises is logged, since the commit before it stands."""
        try:
            await hook
        except Exception:
            _log.exception("a hook failed")

    def _later(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._afterwards.add(task)
        task.add_done_callback(self._afterwards.discard)

    async def settle(self) -> None:
        """Wait for work that goes on after an answer, such as renewed hashes. For shutting down and for tests."""
        while self._afterwards:
            await asyncio.gather(*tuple(self._afterwards), return_exceptions=True)

    async def _rehash(self, provider: Provider, submission: Submission, loaded: Loaded) -> None:
        if not isinstance(provider, Rehashes):
            return
        credential, record = loaded.credentials[provider.name], loaded.credential_record(provider.name)
        try:
            with self.services.pool.reserve() as slot:
                context = self.context(self.start(), provider, account=loaded.account, slot=slot)
                fresh = await provider.rehash(credential, submission, context)
            if record is not None:
                data = self.vault.credential_data(fresh)
                await self.services.store.commit((Update(record.key, data, record.version),))
        except (StoreConflict, StoreUnavailable, Overloaded, BadInput):
            _log.info("a hash was not renewed; the next login tries again")

    @contextmanager
    def _place(self, provider: Provider) -> Iterator[Slot | None]:
        """Take a place in the hashing pool before any store call, where the provider hashes."""
        if not provider.uses_hashing:
            yield None
            return
        with self.services.pool.reserve() as slot:
            yield slot
