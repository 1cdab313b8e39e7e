"""The invariants as judgements of one transition."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from authflow import flow as table
from authflow.flow import Flow, FlowKind, FlowState, StepKind
from authflow.proving.asking import Asking
from authflow.proving.befalling import Befalling
from authflow.proving.carrying import Carrying
from authflow.proving.expectations import (
    Closed,
    Given,
    asked,
    evidence,
    missing,
)
from authflow.proving.ground import OPEN
from authflow.proving.moves import CANARY, Move, Sort
from authflow.proving.scenes import BEGAN, Scene
from authflow.proving.served import LOGS_IN, REFUSALS
from authflow.proving.states import States

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


class Judge(Asking, States, Carrying, Befalling):
    """Judges the flows of one kind in one scene: their transitions here, the rest in its bases."""

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
        elif after.trace == before.trace and len(after.trace) < table.MAX_TRACE:
            self.violated("trace", "it does not tell of it", path)
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


def _is_flow(value: object) -> bool:
    return isinstance(value, Flow)
