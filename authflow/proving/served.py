"""The one door to what is explored: the functions that the engine serves flows by, called as the engine calls them.

Always through the user object and through the attributes of the modules, never through a copy: what is in force is what
is asked, whatever has been overridden or changed.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from authflow import flow as table
from authflow import gates
from authflow.errors import ContractViolation, IllegalTransition, RequestError
from authflow.flow import Flow, FlowEvent, FlowKind, StepCompleted, StepKind, Verdict
from authflow.loading import Loaded
from authflow.model import Account, Proof
from authflow.proving.scenes import BEGAN, EPOCH, Scene
from authflow.sessions import IssuedSession
from authflow.user import User

REFUSALS = (IllegalTransition, RequestError, ContractViolation)
"""What says that nothing was changed. Anything else that is raised is a fault."""

LOGS_IN = (FlowKind.LOGIN, FlowKind.REAUTHENTICATE, FlowKind.STEP_UP)
"""Said here once more on purpose: the list that the engine has is part of what is explored."""

FROM_RECORDS = (FlowKind.STEP_UP, FlowKind.ENROL)
"""Kinds that are started with the facts of their account at hand."""

TRAVELS_FOR = timedelta(hours=24)
FINGERPRINT = "the definition in force"
ELSEWHERE_DEFINED = "another definition"
RETURN_TO = "/where/it/began"


class Served:
    """Flows of one application, as they are started, moved and ended.

    Args:
        user: The application's, bound to its engine.
    """

    def __init__(self, user: User) -> None:
        self.user = user

    def starting(self, kind: FlowKind, scene: Scene | None) -> Verdict:
        """Return what such a flow owes at its start."""
        standing = None
        if scene is not None and kind in FROM_RECORDS:
            standing = scene.loaded.standing(
                self.user.registry.providers, is_active=scene.is_active, demands_second_factor=scene.is_demanded
            )
        return self.user.remaining_steps(kind, (), standing)

    def start(self, kind: FlowKind, scene: Scene, flow_id: str) -> Flow:
        """Start a flow of this kind for this account. A login knows nobody yet; all others know whom they are about."""
        is_anybodys = kind is FlowKind.LOGIN
        lives_for = self.user.second_factor_time_window if kind is FlowKind.ENROL else TRAVELS_FOR
        return table.start(
            flow_id=flow_id,
            kind=kind,
            verdict=self.starting(kind, scene),
            created_at=BEGAN,
            deadline_at=BEGAN + lives_for,
            return_to=RETURN_TO,
            fingerprint=FINGERPRINT,
            subject="" if is_anybodys else scene.account.id,
            epoch=0 if is_anybodys else EPOCH,
        )

    def prove(self, flow: Flow, proof: Proof, loaded: Loaded, now: datetime) -> Flow:
        """Count a proof, by the way that such a flow is served at this point."""
        account = loaded.account
        if flow.kind in LOGS_IN or flow.kind is FlowKind.ENROL:
            step = flow.open_step
            if not flow.proofs:
                moved = self.user.continue_authentication_flow(flow, proof, loaded)
                if flow.kind is FlowKind.ENROL:
                    return moved
                # The engine sets it in the commit that first stores the flow.
                return replace(moved, deadline_at=now + self.user.second_factor_time_window)
            if step is not None and step.kind is StepKind.ENROL:
                return self.user.continue_authentication_flow(flow, proof, loaded)
            return self.user.second_factor_succeeded(flow, proof, loaded, now)
        if account is None:
            raise IllegalTransition("a proof about nobody")
        verdict = self.user.owed_after(flow, proof, None)
        return self.user.advance(flow, StepCompleted(proof, account.epoch, verdict))

    def move(self, flow: Flow, event: FlowEvent) -> Flow:
        return self.user.advance(flow, event)

    def gate(self, flow: Flow, *, now: datetime, epoch: int | None, is_active: bool, fingerprint: str) -> None:
        """Let a flow pass that lies in the session, as `waiting` does before every move."""
        gates.demand_stored(flow, now=now, epoch=epoch, is_active=is_active, fingerprint=fingerprint)

    def gate_travelling(self, flow: Flow, *, now: datetime, fingerprint: str) -> None:
        """Let a flow pass that a form carried."""
        gates.demand_travelling(flow, now=now, fingerprint=fingerprint)

    def carried(
        self, flow: Flow, scene: Scene, now: datetime, definition: gates.Definition, provider: str = ""
    ) -> Flow:
        """Let a flow pass under another definition than the one that it was begun under."""
        if flow.proofs or flow.kind is FlowKind.ENROL:
            return gates.demand_stored(
                flow,
                now=now,
                epoch=flow.epoch,
                is_active=True,
                fingerprint=ELSEWHERE_DEFINED,
                definition=definition,
                provider=provider,
            )
        return gates.demand_travelling(flow, now=now, fingerprint=ELSEWHERE_DEFINED, definition=definition,
                                        provider=provider)  # fmt: skip

    def sign_in(self, flow: Flow, account: Account, now: datetime) -> IssuedSession:
        return self.user.authenticate_user(flow, account, now)
