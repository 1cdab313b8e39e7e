"""The invariants as judgements: of one transition, and of what a state is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from authflow import flow as table
from authflow.flow import Flow, FlowKind, FlowState, StepKind
from authflow.model import Status
from authflow.policy import CONSENT, TICKET
from authflow.proving.expectations import (
    NOTHING_MORE,
    Asked,
    Closed,
    Given,
    asked,
    evidence,
    missing,
)
from authflow.proving.facts import Facts
from authflow.proving.moves import CANARY, Move, Moves, Sort
from authflow.proving.report import Report
from authflow.proving.scenes import BEGAN, Scene
from authflow.proving.served import FINGERPRINT, LOGS_IN, REFUSALS, Served
from authflow.user import User

OPEN = (FlowState.ASKING, FlowState.CHOOSING, FlowState.AWAY)
_KEPT = ("id", "kind", "created_at", "return_to", "fingerprint")
_PROVED = ("proofs", "owed", "step", "subject", "epoch")
_LEADS_TO = {
    Sort.CHOICE: (FlowState.ASKING,),
    Sort.REJECTION: (FlowState.ASKING, FlowState.REFUSED),
    Sort.AWAY: (FlowState.AWAY,),
    Sort.NOTES: (FlowState.ASKING,),
    Sort.REFUSAL: (FlowState.REFUSED,),
    Sort.CANCEL: (FlowState.CANCELLED,),
    Sort.DEADLINE: (FlowState.EXPIRED,),
}
_ENDS = (Sort.REFUSAL, Sort.CANCEL, Sort.DEADLINE)


@dataclass(frozen=True, slots=True)
class Ground:
    """What all judgements of one exploration stand on.

    Attributes:
        is_stock_policy, is_stock_table: Whether the application has left what is owed, and how flows move, as it is.
            Else it may demand more, and forbid more, than the stock rules do.
    """

    user: User
    served: Served
    facts: Facts
    moves: Moves
    report: Report
    configuration: str
    is_stock_policy: bool
    is_stock_table: bool


class Judge:
    """Judges the flows of one kind in one scene.

    Args:
        ground: See there.
        scene: Whom they are about.
    """

    def __init__(self, ground: Ground, kind: FlowKind, scene: Scene) -> None:
        self.ground, self.kind, self.scene = ground, kind, scene
        self.about = f"{kind} of an account that {scene.told}" if not scene.told.startswith("no ") else (
            f"{kind} of an account with {scene.told}")  # fmt: skip
        if ground.configuration:
            self.about += f" ({ground.configuration})"

    def violated(self, invariant: str, detail: str, path: Sequence[str]) -> None:
        self.ground.report.violated(invariant, detail, self.about, tuple(path))

    # --- Transitions --------------------------------------------------------------------------------------------------

    def raised(self, before: Flow, move: Move, error: BaseException, scene: Scene, path: Sequence[str]) -> None:
        """Judge a move that was not made."""
        told = f"{type(error).__name__}: {error}"
        if not isinstance(error, REFUSALS):
            self.violated("answered", f"{told} was raised", path)
        if before.state not in OPEN:
            return
        step = before.open_step
        is_accepted = step is not None and move.provider in step.accepted
        if move.sort is Sort.HONEST:
            self.violated("way-in", f"an honest proof is refused: {told}", path)
        elif move.sort in _ENDS:
            self.violated("endings", told, path)
        elif move.sort is Sort.CHOICE and is_accepted and self.ground.is_stock_table:
            self.violated("moves", f"a choice that is offered is refused: {told}", path)
        elif move.sort is Sort.CHOICE and is_accepted and before.state is FlowState.CHOOSING:
            self.violated("no-dead-end", f"nothing can be chosen: {told}", path)
        elif is_accepted and self.ground.is_stock_table and before.state is not FlowState.CHOOSING and (
            move.sort in (Sort.REJECTION, Sort.AWAY, Sort.NOTES)
        ):  # fmt: skip
            self.violated("moves", f"what the open step's provider does is refused: {told}", path)

    def moved(self, before: Flow, move: Move, after: Flow, scene: Scene, given: Sequence[Given],
              path: Sequence[str]) -> bool:  # fmt: skip
        """Judge a move that was made.

        Args:
            given: What was handed in before it.

        Returns:
            Whether the flow after it is worth going on with.
        """
        if not _is_flow(after):
            self.violated("answered", f"{type(after).__name__} came instead of a flow", path)
            return False
        if after == before:
            # Nothing was changed: as good as a refusal, but for who was to get on.
            if move.sort is Sort.HONEST or (move.sort in _ENDS and before.state in OPEN):
                self.violated("way-in" if move.sort is Sort.HONEST else "endings", "nothing happens", path)
            return False
        if before.state not in OPEN:
            self.violated("final", f"{before.state} became {after.state}", path)
            return False
        for name in _KEPT:
            if getattr(after, name) != getattr(before, name):
                self.violated("identity", f"{name} has changed", path)
        self._check_notes(before, move, after, path)
        if len(after.trace) > table.MAX_TRACE or not set(map(type, after.trace)) <= {str}:
            self.violated("trace", f"{len(after.trace)} entries", path)
        if move.sort is Sort.DISHONEST:
            self.violated(move.breaks, f"{after.state} after it", path)
            return False
        if move.sort is Sort.HONEST:
            self._check_proved(before, move, after, scene, given, path)
            return True
        self._check_plain(before, move, after, path)
        return after.deadline_at == before.deadline_at and after.kind is before.kind

    def _check_plain(self, before: Flow, move: Move, after: Flow, path: Sequence[str]) -> None:
        for name in _PROVED:
            if getattr(after, name) != getattr(before, name):
                self.violated("only-proofs", f"{name} has changed", path)
        if after.deadline_at != before.deadline_at:
            later = after.deadline_at is None or after.deadline_at > before.deadline_at
            if later or self.ground.is_stock_table:
                self.violated("deadline", "it was moved", path)
        is_accepted = before.accepts(move.provider) or move.sort in _ENDS
        if not is_accepted:
            self.violated("acceptance", f"{move.provider} is not asked for, and the flow is {after.state}", path)
        allowed = _LEADS_TO[move.sort]
        if after.state is FlowState.COMPLETED:
            self.violated("evidence", "completed without a proof", path)
        elif after.state not in allowed and (self.ground.is_stock_table or move.sort in _ENDS):
            self.violated("endings" if move.sort in _ENDS else "moves", f"{after.state} after it", path)
        elif before.state is FlowState.CHOOSING and move.sort not in (*_ENDS, Sort.CHOICE):
            self.violated("choice", f"nothing was chosen, and {move.told}", path)
        if move.sort in (Sort.CHOICE, Sort.AWAY, Sort.NOTES) and after.provider != move.provider:
            self.violated("moves", f"the form of {after.provider or 'nobody'} is open", path)
        if move.sort is Sort.REJECTION:
            if after.rejections != before.rejections + 1:
                self.violated("rejections", f"{before.rejections} became {after.rejections}", path)
            if after.provider != before.provider and self.ground.is_stock_table:
                self.violated("moves", "another form is open after a rejection", path)
            is_over = after.rejections >= table.MAX_REJECTIONS
            if is_over != (after.state is FlowState.REFUSED):
                self.violated("rejections", f"{after.state} after {after.rejections} rejections", path)
        elif after.rejections < before.rejections:
            self.violated("rejections", f"{before.rejections} became {after.rejections}", path)
        elif after.rejections != before.rejections:
            self.violated("rejections", "counted without a rejection", path)
        if set(before.messaged) - set(after.messaged) and after.state in OPEN:
            self.violated("moves", "a message that was sent is forgotten", path)

    def _check_notes(self, before: Flow, move: Move, after: Flow, path: Sequence[str]) -> None:
        if after.state not in OPEN:
            if after.scratch:
                self.violated("notes", f"they outlive the flow, which is {after.state}", path)
            return
        want = {name: dict(notes) for name, notes in before.scratch.items()}
        if move.sort is Sort.NOTES:
            want[move.provider] = {"note": CANARY}
        elif move.sort is Sort.HONEST:
            want.pop(move.provider, None)
        if {name: dict(notes) for name, notes in after.scratch.items()} != want:
            self.violated("notes", f"of {sorted(after.scratch)} instead of {sorted(want)}", path)

    def _check_proved(self, before: Flow, move: Move, after: Flow, scene: Scene, given: Sequence[Given],
                      path: Sequence[str]) -> None:  # fmt: skip
        step = before.open_step
        kind = step.kind if step is not None else StepKind.PROVE
        now_given = (*given, Given(kind, move.provider))
        if after.proofs != (*before.proofs, move.proof):
            self.violated("growth", f"{len(before.proofs)} proofs became {len(after.proofs)}", path)
        for name, want in (("step", before.step + 1), ("subject", scene.account.id), ("epoch", scene.account.epoch),
                           ("rejections", 0), ("messaged", ())):  # fmt: skip
            if getattr(after, name) != want:
                self.violated("growth", f"{name} is {getattr(after, name)!r} instead of {want!r}", path)
        self._check_deadline(before, after, path)
        if not scene.is_active and after.state is not FlowState.REFUSED and self.kind in (*LOGS_IN, FlowKind.ENROL):
            self.violated("disabled", f"the flow is {after.state}", path)
        if after.state is FlowState.COMPLETED:
            self._check_completed(after, scene, now_given, path)
        elif after.state is FlowState.REFUSED:
            if after.owed:
                self.violated("final", "a refused flow owes steps", path)
        elif after.state not in (FlowState.ASKING, FlowState.CHOOSING):
            self.violated("moves", f"{after.state} after a proof", path)
        if self.ground.is_stock_policy:
            self.check_asked(after, asked(self.ground.facts, self.kind, scene, now_given), scene, path)

    def _check_completed(self, after: Flow, scene: Scene, given: Sequence[Given], path: Sequence[str]) -> None:
        if after.owed:
            self.violated("evidence", "completed while steps are owed", path)
        if after.provider:
            self.violated("final", "a form is open although the flow is completed", path)
        wanted = evidence(self.ground.facts, self.kind, scene, given)
        if isinstance(wanted, Closed):
            self.violated(wanted.invariant, "completed although there is no way to", path)
            return
        lacking = missing(wanted, given)
        if lacking is not None:
            names = " or ".join(sorted(lacking.providers)) or "a second factor"
            self.violated(lacking.invariant, f"completed without {names}", path)

    def _check_deadline(self, before: Flow, after: Flow, path: Sequence[str]) -> None:
        window = self.ground.user.second_factor_time_window
        last = before.deadline_at
        if not before.proofs and self.kind in LOGS_IN:
            last = BEGAN + timedelta(minutes=1) + window
        if after.deadline_at > last or window > self.ground.user.lifetimes.absolute:
            self.violated("deadline", "a pending flow lives longer than it may", path)

    # --- What is asked for --------------------------------------------------------------------------------------------

    def check_asked(self, flow: Flow, want: Asked | Closed, scene: Scene | None, path: Sequence[str]) -> None:
        """Judge by the stock rules what a flow asks for."""
        if isinstance(want, Closed):
            if flow.state is not FlowState.REFUSED:
                self.violated(want.invariant, f"{flow.state} where there is no way on", path)
            return
        if want == NOTHING_MORE:
            if flow.state is not FlowState.COMPLETED:
                self.violated(
                    "way-in", f"{flow.state}{self._owing(flow)} although all that is demanded was given", path
                )
            return
        step = flow.open_step
        if step is None:
            is_through = flow.state is FlowState.COMPLETED
            invariant = "demanded" if is_through else "way-in"
            self.violated(invariant, f"{flow.state} although {' or '.join(want.providers)} is to be given", path)
            return
        if step.kind is not want.kind or step.providers != want.providers:
            asked_for, due = ", ".join(step.providers), ", ".join(want.providers)
            self.violated("demanded", f"{step.kind} {asked_for} is asked for instead of {want.kind} {due}", path)
        if step.substitutes != want.substitutes:
            self.violated("substitute", f"{step.substitutes} are taken instead of {want.substitutes}", path)
        if len(flow.owed) != 1 and self.kind in LOGS_IN:
            self.violated("demanded", f"{len(flow.owed)} steps are owed at once", path)

    def check_open(self, flow: Flow, scene: Scene, path: Sequence[str], *, is_as_asked: bool) -> None:
        """Judge whether an open flow can be answered at all.

        Args:
            is_as_asked: Whether nothing has befallen the account since it was asked.
        """
        facts, step = self.ground.facts, flow.open_step
        if step is None or not step.providers:
            self.violated("answerable", f"{flow.state}, and nobody is there to answer", path)
            return
        if step.kind is StepKind.PROVE and set(step.providers) & set(facts.substitutes):
            self.violated("substitute", f"{', '.join(step.providers)} is offered first", path)
        for name in step.accepted:
            if name in (TICKET, CONSENT):
                alone = step.kind is (StepKind.PROVE if name == TICKET else StepKind.ACCEPT) and len(step.accepted) == 1
                if not alone:
                    self.violated("own-steps", f"{name} is one of several ways to {step.kind}", path)
                if self.kind not in (FlowKind.RECOVER, FlowKind.SETUP, FlowKind.VERIFY):
                    self.violated("own-steps", f"{name} is asked for in a {self.kind}", path)
            elif name not in facts.providers and name not in self.ground.user.registry.providers:
                self.violated("answerable", f"{name} is asked for, which is not offered", path)
            elif flow.proofs and is_as_asked and not self.ground.moves.can_prove(flow, scene, name):
                invariant = "enrolment" if step.kind is StepKind.ENROL else "answerable"
                if step.kind is not StepKind.ENROL or not self._can_enrol_another(flow, scene):
                    self.violated(invariant, f"{name} is asked for, and the account cannot", path)
        is_only = len(step.providers) == 1
        if not flow.proofs:
            return
        if flow.state is FlowState.CHOOSING and (is_only or flow.provider):
            self.violated("choice", "a choice of one", path)
        if flow.state is FlowState.ASKING and flow.provider not in step.accepted:
            self.violated("choice", f"the form of {flow.provider or 'nobody'} is open", path)

    def check_opened(self, flow: Flow, path: Sequence[str]) -> None:
        """Judge how a step begins: with a choice where there is one."""
        step = flow.open_step
        if step is None or not flow.proofs:
            return
        if len(step.providers) > 1 and flow.state is not FlowState.CHOOSING:
            self.violated("choice", f"{flow.provider} is asked for, and {len(step.providers)} could be", path)
        if len(step.providers) == 1 and (flow.state, flow.provider) != (FlowState.ASKING, step.providers[0]):
            self.violated("choice", f"the form of {flow.provider or 'nobody'} is open", path)

    def _can_enrol_another(self, flow: Flow, scene: Scene) -> bool:
        step = flow.open_step
        return step is not None and any(self.ground.moves.can_prove(flow, scene, name) for name in step.providers)

    def _owing(self, flow: Flow) -> str:
        step = flow.open_step
        return f" for {', '.join(step.providers)}" if step else ""

    # --- What a state is ----------------------------------------------------------------------------------------------

    def check_form(self, flow: Flow, path: Sequence[str]) -> None:
        """Judge how a flow is written, and that its notes are in nothing of it."""
        try:
            data = flow.to_data()
            text = json.dumps(data)
            again = type(flow).from_data(json.loads(text), flow.scratch)
        except Exception as error:
            self.violated("written", f"{type(error).__name__}: {error}", path)
            return
        if again != flow:
            self.violated("written", "it is another one afterwards", path)
        if CANARY in text or CANARY in repr(flow):
            self.violated("notes", "they can be read", path)
        if flow.state not in OPEN and flow.state is not FlowState.COMPLETED and flow.open_step is not None:
            self.violated("final", "a step is open", path)

    def check_sign_in(self, flow: Flow, scene: Scene, other: Scene, path: Sequence[str]) -> None:
        """Judge who gets a session of this flow: its subject, once it is completed, and nobody else."""
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
            self._check_session(flow, scene, path)

    def _check_session(self, flow: Flow, scene: Scene, path: Sequence[str]) -> None:
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

    def check_gates(self, flow: Flow, scene: Scene, path: Sequence[str]) -> None:
        """Judge what is let pass before anything is asked."""
        moves, served = self.ground.moves, self.ground.served
        is_stored = bool(flow.proofs) or self.kind is FlowKind.ENROL
        fine = Pass(moves.now(flow), flow.epoch, True, FINGERPRINT)
        bad = [
            ("late", replace(fine, now=flow.deadline_at)),
            ("late", replace(fine, now=flow.deadline_at + timedelta(days=1))),
            ("definition", replace(fine, fingerprint="another definition")),
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


@dataclass(frozen=True, slots=True)
class Pass:
    """What a gate judges by."""

    now: datetime
    epoch: int | None
    is_active: bool
    fingerprint: str


def _is_flow(value: object) -> bool:
    return isinstance(value, Flow)
