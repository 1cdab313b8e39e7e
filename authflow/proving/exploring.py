"""The exploration: every state that the flows of one kind can reach in one scene, breadth first, each judged."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from authflow.flow import Flow, FlowKind, FlowState, StepKind
from authflow.proving.befalling import Place, asked_for
from authflow.proving.expectations import NOTHING_MORE, Given, asked
from authflow.proving.ground import OPEN, Ground
from authflow.proving.judging import Judge
from authflow.proving.moves import OWN, Move, Sort
from authflow.proving.scenes import EPOCH, Scene, Scenery
from authflow.proving.served import FINGERPRINT, REFUSALS, RETURN_TO

_MOST_STATES = 5_000
_MOST_STEPS = 6
_LONGEST_PATH = 30
"""Of one scene, and of one flow. More means that something grows without end."""


class Exploration:
    """Explores the flows of one kind in one scene.

    Args:
        other: The same scene with somebody else's account.
    """

    def __init__(self, ground: Ground, scenery: Scenery, kind: FlowKind, scene: Scene, other: Scene) -> None:
        self._ground, self._scenery, self._kind = ground, scenery, kind
        self._scene, self._other = scene, other
        self._judge = Judge(ground, kind, scene)
        self._places: dict[object, Place] = {}
        self._leads: dict[int, list[Place]] = {}
        self.completed_by: set[tuple[str, ...]] = set()

    def run(self) -> None:
        """Explore. What does not hold is in the report."""
        start = self._start()
        if start is None:
            return
        waiting = deque([self._placed(start)])
        while waiting:
            place = waiting.popleft()
            for following in self._visit(place):
                if following is not None:
                    waiting.append(following)
            if len(self._places) > _MOST_STATES or len(place.given) > _MOST_STEPS or len(place.path) > _LONGEST_PATH:
                self._judge.violated("no-dead-end", "the flow grows without end", place.path)
                break
        self._ground.report.states += len(self._places)
        self._check_ends()

    def _start(self) -> Place | None:
        ground, kind, judge = self._ground, self._kind, self._judge
        path = ("the flow is started",)
        try:
            verdict = ground.served.starting(kind, self._scene)
            flow = ground.served.start(kind, self._scene, OWN)
            again = ground.served.start(kind, self._scene, OWN)
        except REFUSALS as error:
            judge.violated("goal", f"it cannot be started: {error}", path)
            return None
        except Exception as error:
            judge.violated("answered", f"{type(error).__name__}: {error}", path)
            return None
        if flow != again:
            judge.violated("pure", "starting anew gives another flow", path)
        if not flow.trace:
            judge.violated("trace", "it does not tell of the start", path)
        steps = getattr(verdict, "steps", ())
        subject = "" if kind is FlowKind.LOGIN else self._scene.account.id
        is_right = (
            (flow.id, flow.kind, flow.subject, flow.return_to, flow.fingerprint)
            == (OWN, kind, subject, RETURN_TO, FINGERPRINT)
            and (flow.proofs, flow.step, flow.rejections, dict(flow.scratch)) == ((), 0, 0, {})
            and flow.epoch == (EPOCH if subject else 0)
        )
        if not is_right:
            judge.violated("identity", "a fresh flow is not as it was put", path)
        if flow.state is FlowState.COMPLETED or (flow.state in OPEN and flow.owed != steps):
            judge.violated("goal", f"{flow.state} at the start", path)
        if steps and flow.state is not FlowState.ASKING:
            judge.violated("goal", f"{flow.state} at the start, with {len(steps)} steps owed", path)
        if flow.state is FlowState.ASKING:
            first = flow.owed[0].providers if flow.owed else ()
            if flow.provider != (first[0] if len(first) == 1 else ""):
                judge.violated("goal", f"the form of {flow.provider or 'nobody'} is open at the start", path)
        if ground.is_stock_policy:
            self._check_goal(flow, path)
        return Place(flow, self._scene, (), None, "the flow is started")

    def _check_goal(self, flow: Flow, path: tuple[str, ...]) -> None:
        want = asked(self._ground.facts, self._kind, self._scene if self._kind not in (FlowKind.LOGIN,) else None, ())
        if self._kind is FlowKind.LOGIN or self._kind is FlowKind.REAUTHENTICATE:
            want = asked(self._ground.facts, self._kind, None, ())
        if want == NOTHING_MORE:
            return
        self._judge.check_asked(flow, want, None, path)
        if self._kind in (FlowKind.RECOVER, FlowKind.SETUP, FlowKind.VERIFY) and len(flow.owed) != 2:
            self._judge.violated("goal", f"{len(flow.owed)} steps are owed at the start instead of 2", path)

    # --- One state ----------------------------------------------------------------------------------------------------

    def _visit(self, place: Place) -> list[Place]:
        judge, flow, report = self._judge, place.flow, self._ground.report
        path = place.path
        judge.check_form(flow, path)
        has_enrolled = any(one.kind is StepKind.ENROL for one in place.given)
        judge.check_sign_in(flow, place.scene, self._other, path, has_enrolled=has_enrolled)
        judge.check_gates(flow, place.scene, path)
        twin = replace(flow, scratch={name: dict(notes) for name, notes in flow.scratch.items()})
        if flow.state in OPEN:
            judge.check_open(flow, place.scene, path, is_as_asked=place.changes == 0)
            judge.check_late(place)
            judge.check_changes(place)
            if self._scene.is_plain:
                judge.check_rejections(place)
                if place.changes == 0:
                    judge.check_carried(flow, place.scene, path)
                    judge.check_counts(flow, place.scene, path)
        found: list[Place] = []
        moves = self._ground.moves
        is_plain = self._scene.is_plain and place.changes == 0
        is_short = bool(flow.rejections or flow.scratch) or flow.state is FlowState.AWAY or not self._scene.is_plain
        for move in (
            *moves.honest(flow, place.scene),
            *(moves.plain(flow) if is_plain else moves.choices(flow)),
            *moves.dishonest(flow, place.scene, self._other, is_short=is_short),
            *self._unchosen(place),
        ):
            report.transitions += 1
            after = self._make(place, move, (*path, move.told))
            if after is not None:
                found.append(after)
        if flow.state in OPEN and place.changes == 0 and flow.proofs and not (flow.scratch or flow.rejections):
            found += self._changed(place)
        if flow != twin or dict(flow.scratch) != dict(twin.scratch):
            judge.violated("pure", "the flow that was handed in has been changed", path)
        return found

    def _make(self, place: Place, move: Move, path: tuple[str, ...]) -> Place | None:
        judge, flow = self._judge, place.flow
        try:
            after = move.make()
        except Exception as error:
            judge.raised(flow, move, error, place.scene, path)
            return None
        if move.sort is Sort.HONEST:
            self._check_same(move, after, path)
        shown = (*path[:-1], f"{move.told} -> {getattr(after, 'state', after)}{asked_for(after)}")
        if not judge.moved(flow, move, after, place.scene, place.given, shown):
            return None
        given = place.given
        step = flow.open_step
        if move.sort is Sort.HONEST and step is not None:
            given = (*given, Given(step.kind, move.provider))
            if after.state in OPEN:
                judge.check_opened(after, shown)
            elif after.state is FlowState.COMPLETED:
                self.completed_by.add(tuple(one.provider for one in given))
        following = Place(after, place.scene, given, place, move.told, place.changes)
        return self._reached(place, following, is_honest=move.sort in (Sort.HONEST, Sort.CHOICE))

    def _check_same(self, move: Move, after: Flow, path: tuple[str, ...]) -> None:
        try:
            again = move.make()
        except Exception as error:
            self._judge.violated("pure", f"the second time it is refused: {error}", path)
            return
        if again != after:
            self._judge.violated("pure", "the second time it leads elsewhere", path)

    def _reached(self, place: Place, following: Place, *, is_honest: bool) -> Place | None:
        key = _key(following)
        known = self._places.get(key)
        if known is None:
            self._placed(following)
        if is_honest:
            self._leads.setdefault(id(known or following), []).append(place)
        return following if known is None else None

    def _placed(self, place: Place) -> Place:
        self._places[_key(place)] = place
        return place

    def _unchosen(self, place: Place) -> list[Move]:
        """Return the proofs that nobody may give before a choice."""
        flow, moves, served = place.flow, self._ground.moves, self._ground.served
        step = flow.open_step
        if flow.state is not FlowState.CHOOSING or step is None:
            return []
        now = moves.now(flow)
        proofs = [moves.proof(flow, name, place.scene.account.id, now) for name in step.accepted]
        return [
            Move(Sort.DISHONEST, f"{proof.provider} is proved before it was chosen",
                 lambda proof=proof: served.prove(flow, proof, place.scene.loaded, now),  # type: ignore[misc]
                 proof.provider, proof, "choice")
            for proof in proofs
        ]  # fmt: skip

    # --- What befalls it ----------------------------------------------------------------------------------------------

    def _changed(self, place: Place) -> list[Place]:
        """Let the account change without a trace in its epoch, and go on from there."""
        found = []
        for told, scene in self._scenery.changed(place.scene, place.flow):
            following = Place(place.flow, scene, place.given, place, told, place.changes + 1)
            reached = self._reached(place, following, is_honest=False)
            if reached is not None:
                found.append(reached)
        return found

    # --- Ends ---------------------------------------------------------------------------------------------------------

    def _check_ends(self) -> None:
        """Follow the honest moves back from where flows end: whoever is not met on the way is stuck."""
        if self._kind is FlowKind.ENROL and set(self._ground.facts.enrollable) <= set(self._scene.account.factors):
            return  # Nobody gets there: who has every factor is told so before a flow begins.
        ends = [place for place in self._places.values() if place.flow.state in (FlowState.COMPLETED, FlowState.REFUSED)
                and (place.came_from is None or place.given != place.came_from.given)]  # fmt: skip
        met = {id(place) for place in ends}
        waiting = deque(ends)
        while waiting:
            for before in self._leads.get(id(waiting.popleft()), ()):
                if id(before) not in met:
                    met.add(id(before))
                    waiting.append(before)
        for place in self._places.values():
            if place.flow.state in OPEN and place.changes == 0 and id(place) not in met:
                self._judge.violated("no-dead-end", "no honest answer leads to an end from here", place.path)


def _key(place: Place) -> object:
    flow, scene = place.flow, place.scene
    return (
        flow.state,
        flow.provider,
        flow.owed,
        flow.step,
        place.given,
        flow.subject,
        flow.epoch,
        flow.rejections > 0,
        bool(flow.scratch),
        flow.deadline_at,
        scene.parts,
        scene.is_demanded,
        place.changes,
    )
