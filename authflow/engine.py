"""The engine: one application's flows, from the page that starts one to the session that ends it.

It starts flows, takes submissions (`submissions`), keeps the flows that wait (`waiting`) and hands providers their
context. What is written is planned in `commits`; what is owed is decided in `policy`; how a flow moves, in `flow`.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from authflow import audit, commits, gates, tracing
from authflow.changes import MAX_TRIES, back_off
from authflow.commits import Plan
from authflow.context import Context, SlotHashing
from authflow.errors import (
    StoreConflict,
    StoreUnavailable,
)
from authflow.flow import (
    Flow,
    FlowKind,
    start,
)
from authflow.hashing_pool import Slot
from authflow.loading import Loader
from authflow.model import Account
from authflow.provider import (
    Ask,
    PrimaryProvider,
    Provider,
    Redirect,
    Submission,
)
from authflow.records import Vault, account_key
from authflow.results import Result
from authflow.sealing import FlowSealer
from authflow.services import Services
from authflow.sessions import Current, IssuedSession, Sessions, Visitor
from authflow.store.protocol import Delete, Write
from authflow.submissions import Submissions
from authflow.throttle import Admission
from authflow.tracing import metered
from authflow.user import User
from authflow.waiting import WaitingFlows

if TYPE_CHECKING:
    from authflow.newcomers import Newcomers

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
        self.sessions = Sessions(services.store, user.lifetimes, user.is_active)
        self.loader = Loader(
            services.store, services.keyring, self.vault, user.limits, user.lifetimes, self.registry.declared
        )
        self.admission = Admission()
        self.waiting = WaitingFlows(self)
        self.submissions = Submissions(self)
        user.engine = self

    @cached_property
    def fingerprint(self) -> str:
        """Short name of the definition of flows in force. See `fingerprints.of`."""
        from authflow.fingerprints import of

        return of(self.user)

    @cached_property
    def newcomers(self) -> Newcomers:
        """What judges strangers with an identity of elsewhere. Made when the first one comes."""
        from authflow.newcomers import Newcomers

        return Newcomers(self)

    # --- Starting and finding flows -----------------------------------------------------------------------------------

    def start(self, kind: FlowKind = FlowKind.LOGIN, *, return_to: str = "", subject: str = "", epoch: int = 0) -> Flow:
        """Make a flow at its first step. No store operation: it travels signed until something is proved."""
        now = self.services.clock()
        return start(
            flow_id=commits.new_id(),
            kind=kind,
            verdict=self.user.remaining_steps(kind, (), None),
            created_at=now,
            deadline_at=now + timedelta(hours=24),
            return_to=return_to,
            fingerprint=self.fingerprint,
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
            hashing=SlotHashing(services.hasher, slot, (self.user.site_name,)),
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
        judge = self.submissions.first if isinstance(provider, PrimaryProvider) else self.submissions.later
        with metered():
            return await judge(provider, values, visitor, flow_reference, by_get, with_static_key)

    async def log_out(self, current: Current, *, client: str = "") -> IssuedSession | None:
        """End a session; return the anonymous one that carries what survives, where something does."""
        now = self.services.clock()
        kept = self.user.session_after_logout(current.session, now)
        happened = audit.event("logged_out", now, account_id=current.account.id, client=client)
        # Unguarded: a log-out wins over whatever has happened to the session, such as that its use was just noted.
        writes: list[Write] = [Delete(current.session_record.key), *audit.inserted((happened,))]
        if kept is not None:
            writes.append(kept.write(self.user.lifetimes))
        for attempt in range(MAX_TRIES):
            try:
                await self.services.store.commit(writes)
            except StoreConflict:
                await back_off(attempt)
                continue
            audit.written((happened,))
            await self.run_hook(lambda: self.user.on_logout(current.account))
            return kept
        raise StoreUnavailable("conflicts did not end")

    async def account_by_id(self, account_id: str) -> Account | None:
        """Read one account."""
        if not account_id or len(account_id) > 100:
            return None
        key = account_key(account_id)
        record = (await self.services.store.get((key,))).get(key)
        return None if record is None else Account.from_data(record.data)

    # --- Inside -------------------------------------------------------------------------------------------------------

    def travelling(self, reference: str, visitor: Visitor, provider: str = "") -> Flow:
        """Open the flow that a form carries; without a reference start a new login.

        Args:
            provider: Whom the form is sent to.

        Raises:
            FlowInvalid: It is not of this browser, or is over. `DefinitionChanged`: the definition in force cannot go
                on with it.
            NoMethodLeft: The definition in force sees no way on.
        """
        if not reference:
            return self.start()
        flow = self.sealer.open(reference, visitor.browser_id)
        definition = None if flow.fingerprint == self.fingerprint else self.user.definition(flow)
        return gates.demand_travelling(
            flow, now=self.services.clock(), fingerprint=self.fingerprint, definition=definition, provider=provider
        )

    async def commit(self, plan: Plan) -> None:
        """Carry out a plan's writes, log its events and dispatch its tasks; a plan without writes costs nothing.

        Raises:
            StoreConflict: What it was made from has changed; nothing was written.
        """
        if not plan.writes:
            return
        written = plan.all_writes()
        await self.services.store.commit([*written, *tracing.writes(self, plan.moved, written)])
        audit.written(plan.events)
        await self.services.tasks.dispatch(plan.writes)

    async def run_hook(self, hook: Callable[[], Awaitable[None]]) -> None:
        """Call an application's hook; what it raises is logged, since the commit before it stands."""
        try:
            await hook()
        except Exception:
            _log.exception("a hook failed")

    def afterwards(self, work: Coroutine[None, None, None]) -> None:
        """Let work go on after the answer has gone out; `settle` waits for it."""
        self.submissions.afterwards(work)

    async def settle(self) -> None:
        """Wait for work that goes on after an answer, such as renewed hashes. For shutting down and for tests."""
        await self.submissions.settle()
