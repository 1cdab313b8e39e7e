"""What a flow asks for: whether it is what is owed, and whether anybody can answer."""

from __future__ import annotations

from collections.abc import Sequence

from authflow.flow import Flow, FlowKind, FlowState, StepKind
from authflow.policy import CONSENT, TICKET
from authflow.proving.expectations import NOTHING_MORE, Asked, Closed
from authflow.proving.ground import Scrutiny
from authflow.proving.scenes import Scene
from authflow.proving.served import LOGS_IN


class Asking(Scrutiny):
    """Judges open steps."""

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
