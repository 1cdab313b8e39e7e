"""What a state is: how it is written, who gets a session of it, what gates let pass."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from authflow import flow as table
from authflow.flow import Flow, FlowKind, FlowState, StepKind
from authflow.model import Account, Plain, Session, Status
from authflow.proving.ground import OPEN, Scrutiny
from authflow.proving.moves import CANARY
from authflow.proving.scenes import Scene
from authflow.proving.served import ELSEWHERE_DEFINED, FINGERPRINT, LOGS_IN, REFUSALS


class States(Scrutiny):
    """Judges states."""

    def check_form(self, flow: Flow, path: Sequence[str]) -> None:
        """Judge how a flow is written, and that its notes are in nothing of it."""
        flow = replace(flow, messaged=("somebody",))  # As the engine notes whom it has sent a message.
        try:
            data = flow.to_data()
            text = json.dumps(data)
            again = type(flow).from_data(json.loads(text), flow.scratch)
        except Exception as error:
            self.violated("written", f"{type(error).__name__}: {error}", path)
            return
        try:
            bare = type(flow).from_data(json.loads(text))
            takes = flow.accepts(flow.provider or "nobody")
        except Exception as error:
            self.violated("answered", f"{type(error).__name__}: {error}", path)
            return
        if bare.scratch != {}:
            self.violated("written", "without notes it is read with some", path)
        if takes and flow.state not in OPEN:
            self.violated("final", f"it takes a submission to {flow.provider}", path)
        if again != flow:
            self.violated("written", "it is another one afterwards", path)
        if CANARY in text or CANARY in repr(flow):
            self.violated("notes", "they can be read", path)
        if flow.state not in OPEN and flow.state is not FlowState.COMPLETED and flow.open_step is not None:
            self.violated("final", "a step is open", path)

    def check_sign_in(self, flow: Flow, scene: Scene, other: Scene, path: Sequence[str], *, has_enrolled: bool) -> None:
        """Judge who gets a session of this flow: its subject, once it is completed, and nobody else.

        Args:
            has_enrolled: Whether a factor was enrolled in it, which raises the epoch of its subject.
        """
        served, now, account = self.ground.served, self.ground.moves.now(flow), scene.account
        may = flow.state is FlowState.COMPLETED and self.kind in LOGS_IN and scene.is_active
        never = "never-signs-in" if self.kind not in LOGS_IN else "sign-in"
        attempts = [
            ("another account", other.account, flow, "session"),
            ("an account that was disabled", replace(account, status=Status.DISABLED), flow, "disabled"),
            ("an account that waits", replace(account, status=Status.WAITING_FOR_EMAIL_VERIFICATION), flow, "disabled"),
            ("a later epoch", replace(account, epoch=account.epoch + 2), flow, "epoch"),
            ("an earlier epoch", replace(account, epoch=account.epoch - 1), flow, "epoch"),
        ]
        if not may:
            attempts = [("its account", account, flow, never if scene.is_active else "disabled")]
            if flow.state in OPEN:
                attempts.append(("what is made out to be completed", account,
                                 replace(flow, state=FlowState.COMPLETED, subject=account.id, epoch=account.epoch),
                                 never))  # fmt: skip
        else:
            attempts += [
                ("a flow without proofs", account, replace(flow, proofs=()), "sign-in"),
                ("a flow that owes", account, replace(flow, owed=(table.Step(StepKind.PROVE, ("x",)),)), "sign-in"),
                *((f"a flow that is {state}", account, replace(flow, state=state), "sign-in") for state in FlowState
                  if state is not FlowState.COMPLETED),
                *((f"a flow of the kind {kind}", account, replace(flow, kind=kind), "never-signs-in")
                  for kind in FlowKind if kind not in LOGS_IN),
            ]  # fmt: skip
        for told, whom, which, invariant in attempts:
            self.ground.report.checks += 1
            try:
                served.sign_in(which, whom, now)
            except REFUSALS:
                continue
            except Exception as error:
                self.violated("answered", f"{type(error).__name__}: {error} for {told}", path)
                continue
            self.violated(invariant, f"there is a session for {told}", path)
        if may:
            self._check_session(flow, scene, path, has_enrolled=has_enrolled)

    def _check_session(self, flow: Flow, scene: Scene, path: Sequence[str], *, has_enrolled: bool) -> None:
        served, now, account = self.ground.served, self.ground.moves.now(flow), scene.account
        try:
            issued, again = served.sign_in(flow, account, now), served.sign_in(flow, account, now)
        except Exception as error:
            self.violated("way-in", f"completed, and there is no session: {type(error).__name__}: {error}", path)
            return
        session = issued.session
        wrong = [
            name
            for name, is_right in (
                ("its account", session.account_id == account.id),
                ("its epoch", session.epoch == account.epoch),
                ("its proofs", session.proofs == flow.proofs),
                ("its time", session.authenticated_at == now == session.created_at),
                ("its pending flows", session.flows == ()),
                ("its fields", not session.fields),
                ("its secret", bool(issued.secret) and issued.secret != again.secret),
                ("its key", session.id != again.session.id and issued.secret not in session.id),
            )
            if not is_right
        ]
        if wrong:
            self.violated("session", f"{', '.join(wrong)} is not as it should be", path)
        self._check_carried_over(flow, account, now, path)
        if has_enrolled:
            # The commit that enrols the last owed factor raises the epoch.
            try:
                served.sign_in(flow, replace(account, epoch=account.epoch + 1), now)
            except Exception as error:
                self.violated("way-in", f"a factor was enrolled, and there is no session: {error}", path)

    def _check_carried_over(self, flow: Flow, account: Account, now: datetime, path: Sequence[str]) -> None:
        """Judge what a session takes over from the one before it, and what it is given."""
        user = self.ground.user
        fields: dict[str, Plain] = dict.fromkeys((*user.session_persistent_fields_on_login, "another"), "kept")
        before = Session("session-before", now, now, account_id=account.id, fields=fields, flows=({"id": "pending"},))
        try:
            issued = user.authenticate_user(flow, account, now, before=before, client="an agent", with_static_key=True)
        except Exception as error:
            self.violated("way-in", f"completed, and there is no session: {type(error).__name__}: {error}", path)
            return
        session = issued.session
        if set(session.fields) != set(user.session_persistent_fields_on_login) or session.flows:
            self.violated("session", f"it takes over {sorted(session.fields)}", path)
        if not issued.static_key or not session.static_key or session.static_key == issued.static_key:
            self.violated("session", "a program gets no key that is kept as a digest", path)
        if session.client != "an agent" or session.id == before.id:
            self.violated("session", "it is not the session of this browser", path)

    def check_gates(self, flow: Flow, scene: Scene, path: Sequence[str]) -> None:
        """Judge what is let pass before anything is asked."""
        moves, served = self.ground.moves, self.ground.served
        is_stored = bool(flow.proofs) or self.kind is FlowKind.ENROL
        fine = Pass(moves.now(flow), flow.epoch, True, FINGERPRINT)
        bad = [
            ("late", replace(fine, now=flow.deadline_at)),
            ("late", replace(fine, now=flow.deadline_at + timedelta(days=1))),
            ("definition", replace(fine, fingerprint=ELSEWHERE_DEFINED)),
        ]
        if is_stored:
            bad += [
                ("epoch", replace(fine, epoch=flow.epoch + 1)),
                ("epoch", replace(fine, epoch=flow.epoch - 1)),
                ("disabled", replace(fine, epoch=None)),
                ("disabled", replace(fine, is_active=False)),
            ]
        for invariant, held in [("", fine), *bad]:
            self.ground.report.checks += 1
            try:
                if is_stored:
                    served.gate(flow, now=held.now, epoch=held.epoch, is_active=held.is_active,
                                fingerprint=held.fingerprint)  # fmt: skip
                else:
                    served.gate_travelling(flow, now=held.now, fingerprint=held.fingerprint)
            except REFUSALS as error:
                if flow.state in OPEN and held is fine:
                    self.violated("way-in", f"a flow in time is stopped: {error}", path)
                continue
            except Exception as error:
                self.violated("answered", f"{type(error).__name__}: {error}", path)
                continue
            if flow.state not in OPEN:
                self.violated("final", f"a flow that is {flow.state} is let pass", path)
            elif held is not fine:
                self.violated(invariant, "a gate lets it pass", path)

    def check_counts(self, flow: Flow, scene: Scene, path: Sequence[str]) -> None:
        """Judge that a completed step forgets what was counted for it."""
        counted = replace(flow, rejections=2, messaged=("somebody",))
        for move in self.ground.moves.honest(counted, scene):
            self.ground.report.transitions += 1
            try:
                after = move.make()
            except REFUSALS:
                continue  # Told where the same is done without counts.
            except Exception as error:
                self.violated("answered", f"{type(error).__name__}: {error}", path)
                continue
            if (after.rejections, after.messaged) != (0, ()):
                self.violated("growth", "what was counted for a step outlives it", (*path, move.told))


@dataclass(frozen=True, slots=True)
class Pass:
    """What a gate judges by."""

    now: datetime
    epoch: int | None
    is_active: bool
    fingerprint: str
