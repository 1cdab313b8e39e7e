"""One flow of one account, begun and answered as the engine does it: by the functions that serve, without a store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from authflow.diagrams.cases import NOW
from authflow.flow import SESSION_KINDS, Flow, FlowKind, FlowState, ProviderChosen, StepCompleted, StepKind, start
from authflow.model import Factor, Proof
from authflow.policy import CONSENT, TICKET, Standing
from authflow.user import User

WITH_STANDING = SESSION_KINDS | {FlowKind.ENROL}
"""Kinds whose steps are worked out from the subject's live records; the others ask for the same of everybody."""

KNOWN_FROM_THE_START = frozenset({FlowKind.STEP_UP, FlowKind.ENROL})
"""Kinds that begin with these records at hand."""

SUBJECT = "somebody"


@dataclass(frozen=True, slots=True)
class Walk:
    """Flows of one kind in one application."""

    user: User
    kind: FlowKind

    def begin(self, standing: Standing) -> Flow:
        """Start a flow of an account.

        Raises:
            IllegalTransition: Nothing is owed at the start.
        """
        is_known = self.kind in KNOWN_FROM_THE_START
        # As the engine begins: before a first proof nobody is known, and nobody's records are read.
        verdict = self.user.remaining_steps(self.kind, (), self.seen(standing) if is_known else None)
        return start(
            flow_id="drawing",
            kind=self.kind,
            verdict=verdict,
            created_at=NOW,
            deadline_at=NOW + timedelta(hours=24),
            subject=SUBJECT if is_known else "",
            epoch=1 if is_known else 0,
        )

    def answer(self, flow: Flow, provider: str, standing: Standing) -> Flow:
        """Complete the open step by a proof of this provider.

        Raises:
            IllegalTransition: The table has no such edge.
        """
        step = flow.open_step
        is_chosen = flow.state is FlowState.CHOOSING or (flow.proofs and step and step.kind is StepKind.PROVE)
        if is_chosen and flow.provider != provider:
            flow = self.user.advance(flow, ProviderChosen(provider))
        proof = Proof(provider, self._factor(provider), NOW, flow.id, flow.step, SUBJECT)
        verdict = self.user.remaining_steps(self.kind, (*flow.proofs, proof), self.seen(standing))
        return self.user.advance(flow, StepCompleted(proof, 1, verdict))

    def seen(self, standing: Standing) -> Standing | None:
        """Return what policy is handed about the account in flows of this kind."""
        if self.kind not in WITH_STANDING:
            return None
        return replace(standing, demands_second_factor=False) if self.kind is FlowKind.ENROL else standing

    def _factor(self, provider: str) -> Factor:
        declared = self.user.registry.declared.get(provider)
        if declared is not None:
            return declared.factor
        return Factor.MAILBOX if provider in (TICKET, CONSENT) else Factor.KNOWLEDGE
