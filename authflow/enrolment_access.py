"""Who may change second factors, and which flow a confirmation belongs to. Reads; never writes."""

from __future__ import annotations

from authflow.engine import Engine
from authflow.errors import FlowInvalid, NotAuthenticated, ReauthenticationRequired
from authflow.flow import SESSION_KINDS, Flow, FlowKind, StepKind
from authflow.loading import Loaded
from authflow.model import Account, Session
from authflow.provider import Provider
from authflow.sessions import Current, Visitor, belongs_to


class EnrolmentAccess:
    """Base of `enrolment.Enrolment`. Stateless.

    Args:
        engine: Whose accounts and rules are used.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def _live(self, visitor: Visitor, current: Current | None) -> Loaded:
        """Read the acting session and its account as they are in the moment of the change."""
        if current is None or not visitor.session_id:
            raise NotAuthenticated()
        loaded = await self._engine.loader.later(current.account.id, visitor)
        session = self._engine.loader.alive_session(loaded.session, self._engine.services.clock())
        account = loaded.account
        if account is None or session is None or not belongs_to(session, account):
            raise NotAuthenticated()
        if not self._engine.user.is_active(account):
            raise NotAuthenticated()
        return loaded

    def _acting(self, loaded: Loaded) -> tuple[Account, Session]:
        """Demand a fresh login, with a second factor if the account has one (NIST SP 800-63B-4, section 4.2.2)."""
        account, session = loaded.account, loaded.session
        if account is None or session is None or not self._is_fresh(loaded):
            raise ReauthenticationRequired()
        return account, session

    def _is_fresh(self, loaded: Loaded) -> bool:
        account, session = loaded.account, loaded.session
        if account is None or session is None or session.authenticated_at is None:
            return False
        if self._engine.services.clock() - session.authenticated_at >= self._engine.user.fresh_login_window:
            return False
        return self._has_second_factor(account, session)

    def _has_second_factor(self, account: Account, session: Session) -> bool:
        """Whether a login was made with a second factor of this definition, if the account has one."""
        second = set(self._engine.registry.rules.second_factors)
        return not account.factors or any(proof.provider in second for proof in session.proofs)

    async def _owing(
        self, provider: Provider, flow_id: str, loaded: Loaded, visitor: Visitor, current: Current | None
    ) -> tuple[Loaded, Flow, Account] | None:
        """Find a pending login that owes the enrolment of a factor. A fresh login comes first where none is named."""
        session = self._engine.loader.alive_session(loaded.session, self._engine.services.clock())
        if session is None:
            return None
        if current is not None and not flow_id and self._is_fresh(loaded):
            return None
        flows = [
            flow
            for flow in map(self._engine.vault.flow, session.flows)
            if flow.kind in SESSION_KINDS and _owes_enrolment(flow, provider)
        ]
        if flow_id:
            flows = [flow for flow in flows if flow.id == flow_id]
        elif current is not None:
            flows = [flow for flow in flows if flow.subject == current.account.id]
        if not flows:
            return None
        return await self._with_subject(provider, flows[-1], loaded, visitor)

    async def _open(self, provider: Provider, flow_id: str, subject: str, visitor: Visitor) -> tuple[Loaded, Flow]:
        """Find the flow whose secret is to be confirmed."""
        if not visitor.session_id:
            raise FlowInvalid("no session")
        loaded = await self._engine.loader.later(subject or visitor.account_id, visitor)
        session = self._engine.loader.alive_session(loaded.session, self._engine.services.clock())
        if session is None:
            raise FlowInvalid("no session")
        flows = [
            flow
            for flow in map(self._engine.vault.flow, session.flows)
            if _owes_enrolment(flow, provider) and provider.name in flow.scratch and flow_id in ("", flow.id)
        ]
        if not flows:
            raise FlowInvalid("no enrolment is open in this browser")
        begun_under = flows[-1].fingerprint
        loaded, flow, account = await self._with_subject(provider, flows[-1], loaded, visitor)
        if flow.kind is FlowKind.ENROL and not belongs_to(session, account):
            raise FlowInvalid("the login that began this has ended")
        # Another definition, under which it was begun, may have been content with less than this one demands.
        is_carried = begun_under != self._engine.fingerprint
        if flow.kind is FlowKind.ENROL and is_carried and not self._has_second_factor(account, session):
            raise ReauthenticationRequired()
        return loaded, flow

    async def _with_subject(
        self, provider: Provider, flow: Flow, loaded: Loaded, visitor: Visitor
    ) -> tuple[Loaded, Flow, Account]:
        if loaded.account is None or loaded.account.id != flow.subject:
            loaded = await self._engine.loader.later(flow.subject, visitor)
        flow = self._engine.waiting.demand_open(flow, loaded, self._engine.services.clock(), provider.name)
        if loaded.account is None:
            raise FlowInvalid("the subject is gone")
        return loaded, flow, loaded.account


def _owes_enrolment(flow: Flow, provider: Provider) -> bool:
    step = flow.open_step
    return step is not None and step.kind is StepKind.ENROL and flow.accepts(provider.name)
