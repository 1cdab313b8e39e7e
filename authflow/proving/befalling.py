"""What befalls a flow that is waiting: its account changes, its time runs out, everything is wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from authflow import flow as table
from authflow.flow import Flow, FlowKind, FlowState, NotesTaken, ProviderChosen, StepKind, SubmissionRejected
from authflow.proving.expectations import Given
from authflow.proving.ground import OPEN, Scrutiny
from authflow.proving.scenes import Scene
from authflow.proving.served import LOGS_IN, REFUSALS

_MOST_REJECTIONS = 100
"""NIST SP 800-63B, 5.2.2: no more consecutive failures than these, whatever the table says."""


@dataclass(slots=True, eq=False)
class Place:
    """A state that was reached, and how.

    Attributes:
        scene: The account as it is now.
        given: What was handed in honestly and taken.
        changes: What has befallen the account on the way.
    """

    flow: Flow
    scene: Scene
    given: tuple[Given, ...]
    came_from: Place | None
    told: str
    changes: int = 0

    @property
    def path(self) -> tuple[str, ...]:
        steps: list[str] = []
        place: Place | None = self
        while place is not None:
            steps.append(f"{place.told} -> {place.flow.state}{asked_for(place.flow)}")
            place = place.came_from
        return tuple(reversed(steps))


class Befalling(Scrutiny):
    """Judges what comes of it."""

    def check_changes(self, place: Place) -> None:
        """Let the account be disabled, deleted or changed under a flow: whatever is proved then must lead nowhere."""
        scene, moves, served = place.scene, self.ground.moves, self.ground.served
        if self.kind not in (*LOGS_IN, FlowKind.ENROL):
            return
        account, loaded = scene.account, scene.loaded
        disabled = replace(account, status=5)
        later = replace(account, epoch=account.epoch + 1)
        for told, invariant, records in (
            ("the account is disabled", "disabled", replace(loaded, account=disabled)),
            ("the account is deleted", "disabled", replace(loaded, account=None)),
            ("the account is changed", "epoch", replace(loaded, account=later)),
        ):
            if invariant == "epoch" and not place.flow.epoch:
                continue
            for move in moves.honest(place.flow, scene):
                self.ground.report.transitions += 1
                path = (*place.path, told, move.told)
                assert move.proof is not None  # noqa: S101 - honest moves have one
                try:
                    after = served.prove(place.flow, move.proof, records, moves.now(place.flow))
                except REFUSALS:
                    continue
                except Exception as error:
                    self.violated("answered", f"{type(error).__name__}: {error}", path)
                    continue
                if after.state is not FlowState.REFUSED and after != place.flow:
                    self.violated(invariant, f"{after.state} after it", path)

    def check_late(self, place: Place) -> None:
        """Let the time run out: whoever answers then is too late, even where no gate stands."""
        flow, served = place.flow, self.ground.served
        step = flow.open_step
        if not flow.proofs or self.kind not in LOGS_IN or step is None or step.kind is not StepKind.PROVE:
            return
        for late in (timedelta(0), timedelta(minutes=1)):
            now = flow.deadline_at + late
            for name in step.accepted:
                proof = self.ground.moves.proof(flow, name, place.scene.account.id, now)
                self.ground.report.transitions += 1
                try:
                    after = served.prove(flow, proof, place.scene.loaded, now)
                except REFUSALS:
                    continue
                except Exception as error:
                    self.violated("answered", f"{type(error).__name__}: {error}", place.path)
                    continue
                if after != flow:
                    self.violated("late", f"{after.state} by {name}", (*place.path, "the deadline passes"))

    def check_rejections(self, place: Place) -> None:
        """Let everything be wrong: the flow ends, whatever is chosen and asked in between."""
        flow, served = place.flow, self.ground.served
        step = flow.open_step
        if step is None or flow.state is FlowState.CHOOSING or flow.rejections:
            return
        count, name = 0, step.accepted[0] if step.accepted else ""
        while flow.state in OPEN and count <= _MOST_REJECTIONS:
            self.ground.report.transitions += 1
            try:
                flow = served.move(flow, SubmissionRejected(name, "wrong"))
            except REFUSALS as error:
                if count:
                    told = (f"{count} submissions to {name} are rejected",)
                    self.violated("rejections", f"the next is neither counted nor the last: {error}",
                                         (*place.path, *told))  # fmt: skip
                return
            except Exception as error:
                self.violated("answered", f"{type(error).__name__}: {error}", place.path)
                return
            count += 1
            if flow.state in OPEN and count >= table.MAX_REJECTIONS:
                told = (f"{count} submissions to {name} are rejected",)
                self.violated("rejections", "the flow is still open", (*place.path, *told))
                return
            if flow.state in OPEN:
                for event in (ProviderChosen(name), NotesTaken(name, {})):
                    try:
                        flow = served.move(flow, event)
                    except REFUSALS:
                        continue
        if flow.state not in OPEN and flow.scratch:
            self.violated("notes", "they outlive a flow that was rejected to its end", place.path)
        if flow.rejections != count:
            told = (f"{count} submissions to {name} are rejected",)
            self.violated("rejections", f"{flow.rejections} are counted", (*place.path, *told))
        if flow.state in OPEN:
            told = (f"{_MOST_REJECTIONS} submissions to {name} are rejected",)
            self.violated("rejections", "the flow is still open", (*place.path, *told))
        if len(flow.trace) > _MOST_REJECTIONS:
            self.violated("trace", f"{len(flow.trace)} entries", place.path)


def asked_for(flow: object) -> str:
    """Say what a flow asks for."""
    step = getattr(flow, "open_step", None)
    return f" ({step.kind} {' | '.join(step.accepted)})" if step is not None else ""
