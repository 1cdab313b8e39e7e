"""How a flow goes on that was begun under another definition, while two versions serve the same people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from authflow import flow as table
from authflow import gates
from authflow.flow import SESSION_KINDS, Flow, FlowKind, FlowState, StepKind
from authflow.policy import CONSENT, TICKET
from authflow.proving.ground import Scrutiny
from authflow.proving.scenes import Scene
from authflow.proving.served import ELSEWHERE_DEFINED, FINGERPRINT, REFUSALS

_CARRIED = (
    "id", "kind", "created_at", "return_to", "proofs", "step", "subject", "epoch", "rejections", "scratch",
)  # fmt: skip
MORE = table.Step(StepKind.PROVE, ("asked_for_elsewhere",))
NEW = table.Step(StepKind.ENROL, ("enrolled_elsewhere",))
"""Steps that another definition demands."""


@dataclass(frozen=True, slots=True)
class Case:
    """Another definition, and what a flow must owe under it.

    Attributes:
        wanted: None where no flow may go on.
        provider: Who is to answer.
    """

    told: str
    wanted: tuple[table.Step, ...] | None
    definition: gates.Definition
    provider: str = ""


class Carrying(Scrutiny):
    """Judges what is carried over."""

    def check_carried(self, flow: Flow, scene: Scene, path: Sequence[str]) -> None:
        """Judge how a flow goes on that was begun under another definition: with all that either of them demands."""
        user, owed, step = self.ground.user, flow.owed, flow.open_step
        try:
            own = user.definition(flow, user.standing(flow, scene.loaded))
            nobody = user.standing(flow, replace(scene.loaded, account=None))
        except Exception as error:
            self.violated("answered", f"{type(error).__name__}: {error}", path)
            return
        if nobody is not None:
            self.violated("disabled", "there are facts about an account that is gone", path)
        if step is None:
            return  # Told by `check_open`.
        everybody = (*own.offered, TICKET, CONSENT, *MORE.providers)
        rest = tuple(set(everybody) - set(step.substitutes))
        bare = (replace(step, substitutes=()), *owed[1:])
        # An enrolment ends its flow: where more is demanded, none goes on that owes one already.
        both = None if any(one.kind is StepKind.ENROL for one in owed) else (*owed, MORE)
        nothing = replace(own, verdict=table.Owing(()), offered=everybody)
        enrolled = replace(bare[0], kind=StepKind.ENROL)
        can_enrol = (*own.enrollable, *step.providers)
        also = replace(own, verdict=table.Owing((enrolled,)), offered=everybody, enrollable=can_enrol)
        without = replace(own, verdict=table.Owing(owed), offered=rest)
        for case in (
            Case("the same definition", owed, own),
            Case("one that demands more", both, replace(own, verdict=table.Owing((*owed, MORE)), offered=everybody)),
            Case("one that demands an enrolment", None if both is None else (*owed, NEW),
                 replace(own, verdict=table.Owing((*owed, NEW)), offered=everybody,
                         enrollable=(*own.enrollable, *NEW.providers))),
            *((Case("one that wants it enrolled", (*owed, enrolled), also),) if both is not None else ()),
            Case("one that demands another step", both, replace(own, verdict=table.Owing((MORE,)), offered=everybody)),
            Case("one that demands what it cannot ask", None, replace(own, verdict=table.Owing((*owed, MORE)))),
            Case("one that gives less time", owed, replace(own, window=timedelta(seconds=90))),
            Case("one that demands nothing", owed if flow.proofs else None, nothing),
            Case("one without the substitutes", bare, without),
            *(Case(f"one without {name}, which is to answer", None, without, name) for name in step.substitutes),
            *(Case(f"one without substitutes, and {name} is to answer", bare, without, name)
              for name in step.providers[:1]),
            *((Case("one under which nothing can be enrolled", None, replace(own, enrollable=())),)
              if step.kind is StepKind.ENROL else ()),
            *self._elsewhere(flow, step, own),
            Case("one that offers nothing", None, replace(own, offered=(), enrollable=())),
            Case("one that refuses", None, replace(own, verdict=table.Refusal("shown_the_door"))),
        ):  # fmt: skip
            self._check_case(case, flow, scene, own, path)

    def _elsewhere(self, flow: Flow, step: table.Step, own: gates.Definition) -> Sequence[Case]:
        """Return a definition that does not offer the provider whose form is open, where there are others."""
        others = tuple(name for name in step.providers if name != flow.provider)
        if not flow.provider or not others or len(flow.owed) > 1:
            return ()
        wanted = (
            replace(step, providers=others, substitutes=tuple(n for n in step.substitutes if n != flow.provider)),
        )
        offered = tuple(name for name in own.offered if name != flow.provider)
        enrollable = tuple(name for name in own.enrollable if name != flow.provider)
        definition = replace(own, verdict=table.Owing(wanted), offered=offered, enrollable=enrollable)
        return (Case(f"one without {flow.provider}", wanted, definition),)

    def _check_case(self, case: Case, flow: Flow, scene: Scene, own: gates.Definition, path: Sequence[str]) -> None:
        moves, served, told = self.ground.moves, self.ground.served, f"under {case.told}"
        self.ground.report.checks += 1
        try:
            after = served.carried(flow, scene, moves.now(flow), case.definition, case.provider)
        except REFUSALS as error:
            is_login = self.kind is FlowKind.LOGIN and self.ground.is_stock_policy and scene.is_plain
            if is_login and case.wanted is not None and (flow.proofs or _demanded(case.definition)):
                self.violated("definition", f"no login goes on {told}", path)
            if getattr(error, "return_to", flow.return_to) != flow.return_to:
                self.violated("identity", f"the way back is forgotten {told}", path)
            return
        except Exception as error:
            self.violated("answered", f"{type(error).__name__}: {error} {told}", path)
            return
        if case.wanted is None:
            self.violated("definition", f"it goes on {told}", path)
            return
        if after.owed != case.wanted or any(getattr(after, name) != getattr(flow, name) for name in _CARRIED):
            self.violated("definition", f"it is another flow {told}", path)
        if after.deadline_at != _ends(flow, case.definition):
            self.violated("definition", f"it ends at another time than both give it {told}", path)
        is_asked = not flow.provider or flow.provider in case.wanted[0].accepted
        elsewhere = FlowState.CHOOSING if flow.proofs or self.kind is FlowKind.ENROL else FlowState.ASKING
        stands = (flow.provider, flow.state) if is_asked else ("", elsewhere)
        if (after.provider, after.state) != stands:
            self.violated("definition", f"the form of {after.provider or 'nobody'} is open {told}", path)
        is_ours = after.owed == _demanded(case.definition)
        if after.fingerprint == FINGERPRINT or (not is_ours and after.fingerprint == ELSEWHERE_DEFINED):
            self.violated("definition", f"nobody sees that it was moved {told}", path)
        is_first = not flow.proofs and len(flow.owed) == 1
        if is_first and case.definition is own and after.fingerprint != ELSEWHERE_DEFINED:
            self.violated("definition", f"nothing is proved yet, and it is not begun anew {told}", path)
        if case.wanted[-1] in (MORE, NEW) and after.owed == case.wanted:
            self._check_goes_on(after, case.wanted[-1], scene, told, path)

    def _check_goes_on(self, flow: Flow, more: table.Step, scene: Scene, told: str, path: Sequence[str]) -> None:
        """Judge that what the other definition demands is still owed when the open step is done."""
        for move in self.ground.moves.honest(flow, scene):
            self.ground.report.transitions += 1
            try:
                after = move.make()
            except REFUSALS:
                continue  # A table of one's own may not lead there.
            except Exception as error:
                self.violated("answered", f"{type(error).__name__}: {error} {told}", path)
                continue
            is_torn = after.trace[-1:] == ("refused:definition_changed",)
            is_torn = is_torn and more is MORE  # After an enrolment nothing can be asked for any more.
            is_owed = more in after.owed and flow.owed[0] not in after.owed
            if is_torn or not (is_owed or after.state is FlowState.REFUSED):
                self.violated("definition", f"{after.state} {told}", (*path, move.told))


def _ends(flow: Flow, definition: gates.Definition) -> datetime:
    """Return when a flow ends that two definitions give a time from its first proof, or from an enrolment's start."""
    if flow.kind is FlowKind.ENROL:
        return min(flow.deadline_at, flow.created_at + definition.window)
    if flow.kind not in SESSION_KINDS or not flow.proofs:
        return flow.deadline_at
    return min(flow.deadline_at, flow.proofs[0].at + definition.window)


def _demanded(definition: object) -> object:
    """Return what a definition demands."""
    return getattr(getattr(definition, "verdict", None), "steps", ())
