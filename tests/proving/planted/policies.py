"""What is owed: requirements that are forgotten, dropped or never asked for."""

from __future__ import annotations

from authflow.flow import FlowKind, Owing, Refusal, Step, StepKind
from authflow.policy import CONSENT, TICKET
from authflow.user import User


class NoFactorForWhoeverIsTrusted(User):
    """AB 24, django-mfa3 CVE-2022-24857: one way in does not ask for the second factor."""

    def remaining_steps(self, kind, proofs, standing):
        if kind is FlowKind.REAUTHENTICATE and proofs:
            return Owing(())
        return super().remaining_steps(kind, proofs, standing)


class LostFactorIsSkipped(User):
    """AB 27: the list of factors is filtered to those that can be handled, and what is left of it is asked for."""

    def remaining_steps(self, kind, proofs, standing):
        verdict = super().remaining_steps(kind, proofs, standing)
        return Owing(()) if verdict == Refusal("factor_unavailable") else verdict


class FactorsFromACache(User):
    """AB 26, Kratos GHSA-wc43-73w7-x2f5: which factors there are was read before they were added."""

    def remaining_steps(self, kind, proofs, standing):
        if standing is not None and len(standing.enrolled) > 1:
            return Owing(())
        return super().remaining_steps(kind, proofs, standing)


class EveryFactorTwiceIsEnough(User):
    """AB 05: the number of proofs is counted, and not what they prove."""

    def remaining_steps(self, kind, proofs, standing):
        return Owing(()) if len(proofs) >= 1 and kind is FlowKind.LOGIN else super().remaining_steps(
            kind, proofs, standing)  # fmt: skip


class DisabledMayComplete(User):
    """AB 31: whether the account is active is looked at before the second step, and not in it."""

    def remaining_steps(self, kind, proofs, standing):
        verdict = super().remaining_steps(kind, proofs, standing)
        return Owing(()) if verdict == Refusal("account_inactive") and proofs else verdict


class DisabledIsActive(User):
    """AB 76: who was disabled keeps coming in."""

    def is_active(self, account):
        return account.status >= 1


class RoleIsForgotten(User):
    """ASVS 6.3.3: a role demands a factor, and the hook says otherwise."""

    second_factor_required_roles = frozenset({"admin"})

    def demands_second_factor(self, account, flow):
        return "admin" in account.roles and "user" in account.roles


class DemandIsDropped(User):
    """AB 04, Keycloak CVE-2026-94218: on a second look the requirement is gone."""

    second_factor_required_roles = frozenset({"admin"})

    def remaining_steps(self, kind, proofs, standing):
        verdict = super().remaining_steps(kind, proofs, standing)
        if isinstance(verdict, Owing) and verdict.steps and verdict.steps[0].kind is StepKind.ENROL and kind == "login":
            return Owing(())
        return verdict


class RecoveryWithoutItsMail(User):
    """AB 02, Keycloak CVE-2026-18963: the new password is asked for although no link has come."""

    def remaining_steps(self, kind, proofs, standing):
        if kind is FlowKind.RECOVER:
            return Owing(()) if proofs else Owing((Step(StepKind.ENROL, self.registry.rules.passwords),))
        return super().remaining_steps(kind, proofs, standing)


class VerifiedByALookAtTheLink(User):
    """AB 50: whoever opens the link has agreed: the scanner of a mail server has."""

    def remaining_steps(self, kind, proofs, standing):
        return Owing(()) if kind is FlowKind.VERIFY and proofs else super().remaining_steps(kind, proofs, standing)


class ConsentStandsForTheTicket(User):
    """AB 42, django-rest-registration CVE-2019-13177: a right of one purpose is good for another."""

    def remaining_steps(self, kind, proofs, standing):
        verdict = super().remaining_steps(kind, proofs, standing)
        if kind is FlowKind.VERIFY and isinstance(verdict, Owing) and verdict.steps:
            return Owing(tuple(Step(step.kind, (CONSENT, TICKET)) for step in verdict.steps))
        return verdict


class SubstituteIsAFactor(User):
    """Recovery codes are offered beside the app, and soon used instead of it."""

    def remaining_steps(self, kind, proofs, standing):
        verdict = super().remaining_steps(kind, proofs, standing)
        if isinstance(verdict, Owing) and verdict.steps and verdict.steps[0].substitutes:
            step = verdict.steps[0]
            return Owing((Step(step.kind, step.accepted),))
        return verdict


class CodesForNobody(User):
    """Recovery codes are taken where the account has none: nobody can answer, or anybody."""

    def remaining_steps(self, kind, proofs, standing):
        verdict = super().remaining_steps(kind, proofs, standing)
        if isinstance(verdict, Owing) and verdict.steps and verdict.steps[0].kind is StepKind.PROVE and proofs:
            return Owing((Step(StepKind.PROVE, verdict.steps[0].providers, ("recovery_codes",)),))
        return verdict


class NobodyToAsk(User):
    """AB 28, Keycloak CVE-2026-3009: what is not offered any more is still asked for."""

    def remaining_steps(self, kind, proofs, standing):
        verdict = super().remaining_steps(kind, proofs, standing)
        if kind is FlowKind.LOGIN and isinstance(verdict, Owing) and proofs and verdict.steps:
            return Owing((Step(StepKind.PROVE, ("push_message",)),))
        return verdict


class PolicyRaises(User):
    """A policy that breaks for some accounts: whoever catches it may skip the step."""

    def remaining_steps(self, kind, proofs, standing):
        if standing is not None and standing.enrolled:
            raise KeyError("no rule for this factor")
        return super().remaining_steps(kind, proofs, standing)


class DemandRaises(User):
    """A hook that breaks for some roles."""

    def demands_second_factor(self, account, flow):
        return {"admin": True, "user": False}[account.roles[0]] if account.roles else False


class Moody(User):
    """A policy that has a memory: every seventh time it lets through."""

    asked = 0

    def remaining_steps(self, kind, proofs, standing):
        type(self).asked += 1
        verdict = super().remaining_steps(kind, proofs, standing)
        return Owing(()) if proofs and type(self).asked % 7 == 0 else verdict


class LoginOwesNothing(User):
    """AB 01, Really Simple Security CVE-2026-8293: a login that asks for nothing is complete at once."""

    def continue_authentication_flow(self, flow, proof, loaded):
        return self.advance(flow, self._done(proof, loaded))

    def _done(self, proof, loaded):
        from authflow.flow import StepCompleted

        return StepCompleted(proof, loaded.account.epoch, Owing(()))


class StepUpByThePassword(User):
    """A step up is content with what was proved before it."""

    def remaining_steps(self, kind, proofs, standing):
        verdict = super().remaining_steps(kind, proofs, standing)
        if kind is FlowKind.STEP_UP and isinstance(verdict, Owing) and verdict.steps:
            steps = (Step(StepKind.PROVE, ("user_password", *verdict.steps[0].providers)),)
            return Owing(() if proofs else steps)
        return verdict


PLANTED = {
    NoFactorForWhoeverIsTrusted: "demanded",
    LostFactorIsSkipped: "orphan",
    FactorsFromACache: "demanded",
    EveryFactorTwiceIsEnough: "demanded",
    DisabledMayComplete: "disabled",
    DisabledIsActive: "disabled",
    RoleIsForgotten: "demanded",
    DemandIsDropped: "demanded",
    RecoveryWithoutItsMail: "own-steps",
    VerifiedByALookAtTheLink: "own-steps",
    ConsentStandsForTheTicket: "own-steps",
    SubstituteIsAFactor: "substitute",
    CodesForNobody: "answerable",
    NobodyToAsk: "answerable",
    PolicyRaises: "answered",
    DemandRaises: "answered",
    Moody: "pure",
    LoginOwesNothing: "demanded",
    StepUpByThePassword: "demanded",
}
