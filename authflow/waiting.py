"""Flows that wait for their next step in a browser's session: shown, chosen from, cancelled."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from authflow import commits, gates
from authflow.changes import MAX_TRIES, back_off
from authflow.errors import FlowInvalid, StoreConflict, StoreUnavailable
from authflow.flow import SESSION_KINDS, Flow, ProviderChosen, StepKind
from authflow.loading import Loaded
from authflow.model import Account
from authflow.provider import Provider
from authflow.results import ChoiceOwed, EnrolmentOwed, Result, StepOwed
from authflow.sessions import Visitor
from authflow.tracing import metered

if TYPE_CHECKING:
    from authflow.engine import Engine


class WaitingFlows:
    """Finds and moves the stored flows of a browser, apart from submissions."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def choose(self, provider: Provider, visitor: Visitor, *, flow_reference: str = "") -> Result:
        """Open the form of one of the usable factors. ViUR: `select_secondfactor_provider`, `start`.

        Raises:
            FlowInvalid: No flow of this browser waits for this provider.
        """
        flow_id, subject = self._engine.sealer.read_handle(flow_reference)
        with metered():
            return await self._choose(provider, visitor, flow_id, subject)

    async def _choose(self, provider: Provider, visitor: Visitor, flow_id: str, subject: str) -> Result:
        for attempt in range(MAX_TRIES):
            loaded, flow = await self.load(provider.name, flow_id, subject, visitor)
            flow = self.demand_open(flow, loaded, self._engine.services.clock(), provider.name)
            step = flow.open_step
            if step is None or not flow.accepts(provider.name) or step.kind is not StepKind.PROVE:
                raise FlowInvalid("this factor is not asked for")
            if flow.provider == provider.name:
                return StepOwed(flow, provider, self._engine.ask(flow, provider, loaded.account))
            chosen = self._engine.user.advance(flow, ProviderChosen(provider.name))
            plan = commits.opened(self._engine, chosen, provider, loaded)
            try:
                await self._engine.commit(plan)
            except StoreConflict:
                await back_off(attempt)
                continue
            return plan.result
        raise StoreUnavailable("conflicts did not end")

    async def show(self, visitor: Visitor, *, flow_reference: str = "", provider: Provider | None = None) -> Result:
        """Show where the browser's newest pending flow stands, without changing it.

        Raises:
            FlowInvalid: There is none.
            TooLate: Its time is over.
        """
        flow_id, subject = self._engine.sealer.read_handle(flow_reference)
        loaded, flow = await self.load(provider.name if provider else "", flow_id, subject, visitor)
        flow = self.demand_open(flow, loaded, self._engine.services.clock())
        return self.position(flow, loaded.account)

    def position(self, flow: Flow, account: Account | None) -> Result:
        """Say what a pending flow is waiting for."""
        step = flow.open_step
        if step is None:
            raise FlowInvalid("nothing is owed")
        providers = tuple(p for name in step.providers if (p := self._engine.registry.get(name)) is not None)
        if step.kind is StepKind.ENROL:
            return EnrolmentOwed(flow, providers)
        chosen = self._engine.registry.get(flow.provider)
        if chosen is None:
            return ChoiceOwed(flow, providers)
        return StepOwed(flow, chosen, self._engine.ask(flow, chosen, account))

    async def cancel(self, visitor: Visitor) -> None:
        """Drop every pending flow of the browser. A session that is logged in stays."""
        if not visitor.session_id:
            return
        with metered():
            await self._cancel(visitor)

    async def _cancel(self, visitor: Visitor) -> None:
        for attempt in range(MAX_TRIES):
            loaded = await self._engine.loader.later(visitor.account_id, visitor)
            if loaded.session is None or not loaded.session.flows:
                return
            plan = commits.cancelled(self._engine, loaded)
            try:
                await self._engine.commit(plan)
            except StoreConflict:
                await back_off(attempt)
                continue
            return
        raise StoreUnavailable("conflicts did not end")

    async def load(self, provider: str, flow_id: str, subject: str, visitor: Visitor) -> tuple[Loaded, Flow]:
        """Load a stored flow and its subject's records; in two round trips if the form did not name the subject."""
        loaded = await self._engine.loader.later(subject or visitor.account_id, visitor)
        session = self._engine.loader.alive_session(loaded.session, self._engine.services.clock())
        if session is None:
            raise FlowInvalid("no session")
        flows = [self._engine.vault.flow(data) for data in session.flows]
        fitting = [f for f in flows if f.id == flow_id] if flow_id else [
            f for f in flows if f.kind in SESSION_KINDS and (not provider or f.accepts(provider))
        ]  # fmt: skip
        if not fitting:
            raise FlowInvalid("no such flow in this browser")
        flow = fitting[-1]
        if loaded.account is None or loaded.account.id != flow.subject:
            loaded = await self._engine.loader.later(flow.subject, visitor)
        return loaded, flow

    def demand_open(self, flow: Flow, loaded: Loaded, now: datetime, provider: str = "") -> Flow:
        """Let a stored flow pass, and return it as it goes on here. See `gates.demand_stored`."""
        account, user = loaded.account, self._engine.user
        definition = None
        if account is not None and flow.fingerprint != self._engine.fingerprint:
            definition = user.definition(flow, user.standing(flow, loaded))
        return gates.demand_stored(
            flow,
            now=now,
            epoch=account.epoch if account else None,
            is_active=account is not None and user.is_active(account),
            fingerprint=self._engine.fingerprint,
            definition=definition,
            provider=provider,
        )
