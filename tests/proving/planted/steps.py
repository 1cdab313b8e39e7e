"""How flows move: proofs that were minted elsewhere, steps that pass by themselves, counts that start anew."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from authflow.errors import IllegalTransition
from authflow.flow import (
    FlowKind,
    FlowState,
    NotesTaken,
    ProviderChosen,
    SentAway,
    StepCompleted,
    SubmissionRejected,
)
from authflow.user import User


class EmptyPostAdvances(User):
    """AB 03, authentik CVE-2026-49443: asking on counts as an answer."""

    def advance(self, flow, event):
        moved = super().advance(flow, event)
        if isinstance(event, NotesTaken) and len(flow.proofs) == 1:
            return replace(moved, state=FlowState.COMPLETED, owed=(), provider="", scratch={})
        return moved


class ChoosingClearsTheRest(User):
    """AB 04, Keycloak CVE-2026-94218: whoever tries another way owes that way alone."""

    def advance(self, flow, event):
        moved = super().advance(flow, event)
        if isinstance(event, ProviderChosen) and moved.owed:
            return replace(moved, owed=(replace(moved.owed[0], providers=(event.provider,), substitutes=()),))
        return moved


class FactorOfAnotherUser(User):
    """AB 05, Pterodactyl GHSA-5vfx-8w6m-h3v4: whose code it is does not matter."""

    def second_factor_succeeded(self, flow, proof, loaded, now):
        return self.continue_authentication_flow(flow, replace(proof, subject=flow.subject), loaded)


class ProofOfAnotherTab(User):
    """AB 06: the proof of the flow in the other tab completes this one."""

    def advance(self, flow, event):
        if isinstance(event, StepCompleted):
            event = replace(event, proof=replace(event.proof, flow_id=flow.id))
        return super().advance(flow, event)


class ProofsAreKept(User):
    """AB 13, devise-two-factor CVE-2015-7225: what was proved once is proved for ever."""

    def advance(self, flow, event):
        if isinstance(event, StepCompleted):
            event = replace(event, proof=replace(event.proof, step=flow.step))
        return super().advance(flow, event)


class AnyProviderWillDo(User):
    """AB 21, Grav CVE-2026-62232: while a proof is owed, enrolling something passes for one."""

    def continue_authentication_flow(self, flow, proof, loaded):
        if not flow.accepts(proof.provider) and flow.owed and flow.is_open:
            step = replace(flow.owed[0], substitutes=(*flow.owed[0].substitutes, proof.provider))
            flow = replace(flow, owed=(step, *flow.owed[1:]))
        return super().continue_authentication_flow(flow, proof, loaded)


class LateIsFine(User):
    """AB 29: a pending login lives for ever."""

    def second_factor_succeeded(self, flow, proof, loaded, now):
        return super().second_factor_succeeded(flow, proof, loaded, flow.created_at)


class EveryStepBuysTime(User):
    """AB 29: the deadline moves with whatever is done."""

    def advance(self, flow, event):
        moved = super().advance(flow, event)
        return replace(moved, deadline_at=moved.deadline_at + timedelta(minutes=10)) if moved.is_open else moved


class NameIsEnough(User):
    """AB 32: an account that was deleted and registered anew goes on with the old flow."""

    def continue_authentication_flow(self, flow, proof, loaded):
        if flow.epoch and loaded.account is not None:
            flow = replace(flow, epoch=loaded.account.epoch)
        return super().continue_authentication_flow(flow, proof, loaded)


class CountStartsAnew(User):
    """AB 07: whoever opens the form again has all tries again."""

    def advance(self, flow, event):
        moved = super().advance(flow, event)
        return replace(moved, rejections=0) if isinstance(event, ProviderChosen) else moved


class NeverTooMany(User):
    """AB 10, Keycloak GHSA-85v8-vx4w-q684: nobody counts here."""

    def advance(self, flow, event):
        moved = super().advance(flow, event)
        if isinstance(event, SubmissionRejected):
            return replace(moved, rejections=0, state=FlowState.ASKING, scratch=flow.scratch)
        return moved


class AwayIsProof(User):
    """AB 28: whoever comes back from the remote party is taken for verified by it."""

    def advance(self, flow, event):
        moved = super().advance(flow, event)
        if isinstance(event, SentAway) and not flow.proofs and flow.rejections:
            return replace(moved, owed=moved.owed[1:])
        return moved


class NotesStay(User):
    """AB 30, django-two-factor-auth CVE-2020-15105: what was typed stays in the session."""

    def advance(self, flow, event):
        moved = super().advance(flow, event)
        return replace(moved, scratch=flow.scratch) if isinstance(event, StepCompleted) else moved


class NotesInTheTrace(User):
    """AB 106: the trace tells what was noted."""

    def advance(self, flow, event):
        moved = super().advance(flow, event)
        if isinstance(event, NotesTaken) and event.scratch:
            return replace(moved, trace=(*moved.trace[-10:], f"noted:{dict(event.scratch)}"))
        return moved


class GoesElsewhere(User):
    """AB 84, Devise CVE-2026-40295: where to go afterwards changes on the way."""

    def advance(self, flow, event):
        moved = super().advance(flow, event)
        return replace(moved, return_to="//elsewhere.example") if isinstance(event, SubmissionRejected) else moved


class LoginBecomesSettings(User):
    """A flow that changes its goal on the way escapes what the goal demands."""

    def advance(self, flow, event):
        moved = super().advance(flow, event)
        return replace(moved, kind=FlowKind.SETTINGS) if isinstance(event, SentAway) else moved


class NoWayOut(User):
    """A step that cannot be left: cancelling is forgotten."""

    def advance(self, flow, event):
        if type(event).__name__ == "FlowCancelled" and flow.proofs:
            raise IllegalTransition("not now")
        return super().advance(flow, event)


class Resurrection(User):
    """AB 73: a flow that has ended is brought back by a good proof."""

    def advance(self, flow, event):
        if flow.state is FlowState.CANCELLED and isinstance(event, ProviderChosen):
            return replace(flow, state=FlowState.ASKING)
        return super().advance(flow, event)


class SilentlyStuck(User):
    """Whatever goes wrong is swallowed: the second proof does nothing."""

    def second_factor_succeeded(self, flow, proof, loaded, now):
        return flow


class FirstOfSeveral(User):
    """Of several factors the first is asked for, which may be the one that was lost."""

    def advance(self, flow, event):
        moved = super().advance(flow, event)
        if moved.state is FlowState.CHOOSING:
            return replace(moved, state=FlowState.ASKING, provider=moved.owed[0].providers[0])
        return moved

    second_factor_providers = (
        "providers.time_based_otp:TimeBasedOTP",
        "tests.proving.planted.more_providers:Another",
        "providers.recovery_codes:RecoveryCodes",
    )
    valid_authentication_methods = (
        ("user_password", "time_based_otp"),
        ("user_password", "another_factor"),
        ("user_password", None),
    )


PLANTED = {
    EmptyPostAdvances: "evidence",
    ChoosingClearsTheRest: "only-proofs",
    FactorOfAnotherUser: "binding",
    ProofOfAnotherTab: "binding",
    ProofsAreKept: "binding",
    AnyProviderWillDo: "acceptance",
    LateIsFine: "late",
    EveryStepBuysTime: "deadline",
    NameIsEnough: "epoch",
    CountStartsAnew: "rejections",
    NeverTooMany: "rejections",
    AwayIsProof: "only-proofs",
    NotesStay: "notes",
    NotesInTheTrace: "notes",
    GoesElsewhere: "identity",
    LoginBecomesSettings: "identity",
    NoWayOut: "endings",
    Resurrection: "final",
    SilentlyStuck: "way-in",
    FirstOfSeveral: "choice",
}
