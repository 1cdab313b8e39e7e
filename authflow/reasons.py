"""Why a step is owed, or nothing more, or no way on: the rule that policy follows, in words.

Policy decides; here its verdict is only told. Where an application's own `remaining_steps` says something else than the
stock policy, that is what is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from authflow import policy
from authflow.diagrams.cases import demanding
from authflow.diagrams.words import any_of
from authflow.flow import FlowKind, Owing, Refusal, StepKind, Verdict
from authflow.model import Account, Proof, Status
from authflow.policy import Rules, Standing
from authflow.user import User

_DO = {StepKind.PROVE: "to prove", StepKind.ENROL: "to set up", StepKind.ACCEPT: "to accept"}


@dataclass(frozen=True, slots=True)
class Reasons:
    """Tells why, about one account in flows of one kind.

    Attributes:
        standing: As policy is handed it; None for kinds that ask for the same of everybody.
    """

    user: User
    kind: FlowKind
    account: Account
    standing: Standing | None

    def why(self, proofs: Sequence[Proof], verdict: Verdict) -> str:
        """Return why this verdict came after these proofs."""
        rules, standing = self.user.registry.rules, self.standing
        stock = policy.remaining_steps(self.kind, proofs, rules, standing)
        if verdict != stock:
            own = f"{type(self.user).__name__}.remaining_steps of this application says so"
            return f"{own}; the stock rules would say {_said(stock)}"
        if standing is None:
            return _in_order(verdict, proofs)
        if not standing.is_active and (proofs or isinstance(verdict, Refusal)):
            said = f"the account is not active ({status_words(self.account)})"
            return f"{said}; the answer is that of a wrong submission" if proofs else said
        match self.kind:
            case FlowKind.LOGIN | FlowKind.REAUTHENTICATE:
                return self._login(proofs, rules, standing)
            case FlowKind.STEP_UP:
                return self._step_up(proofs, rules, standing)
            case _:
                return _in_order(verdict, proofs)

    def _login(self, proofs: Sequence[Proof], rules: Rules, standing: Standing) -> str:
        primary = next((proof.provider for proof in proofs if proof.provider in rules.primaries), "")
        if not primary:
            return "a login begins with a first step"
        usable = policy.usable_factors(primary, rules, standing)
        proved = [proof.provider for proof in proofs if proof.provider != primary]
        alone = (primary, None) in rules.pairs
        if usable and proved:
            if proved[-1] in usable:
                return f"the pair ({primary}, {proved[-1]}) is proved"
            return f"{proved[-1]} stands in for {any_of(usable)}"
        if usable:
            fallen = f"the pair ({primary}, None) falls away, since" if alone else f"{primary} is never enough, and"
            return f"{fallen} {any_of(usable)} {'is' if len(usable) == 1 else 'are'} enrolled and usable"
        orphans = policy.orphaned_factors(rules, standing)
        if orphans:
            return f"{any_of(orphans)} is enrolled and cannot be asked for: it refuses, and is not skipped"
        seconds = rules.seconds_of(primary)
        if standing.demands_second_factor:
            by = any_of(self._demanders())
            if proved:
                return f"{proved[-1]} is set up, as {by} demands"
            offered = [name for name in seconds if name in rules.enrollable]
            last = "setting one up is the last step" if offered else "and none is paired that people can set up"
            return f"{by} demands a second factor, and the account has none that is paired with {primary}: {last}"
        if alone:
            rest = f": {any_of(seconds)} is not enrolled" if seconds else ""
            return f"the pair ({primary}, None) is open{rest}"
        return f"{primary} is only paired with {any_of(seconds)}, which the account has not"

    def _step_up(self, proofs: Sequence[Proof], rules: Rules, standing: Standing) -> str:
        usable = [name for name in rules.second_factors if name in standing.present and name in standing.enrolled]
        if proofs:
            return f"{proofs[-1].provider} is proved"
        if not usable:
            return "no enrolled second factor can be asked for"
        return (
            f"{any_of(usable)} {'is' if len(usable) == 1 else 'are'} enrolled and usable; nothing stands in for it here"
        )

    def _demanders(self) -> list[str]:
        told = demanding(self.user, self.kind)
        held = {*(f"role {role}" for role in self.account.roles), *(f"right {right}" for right in self.account.access)}
        return [name for name in told if name in held] or ["User.demands_second_factor"]


def status_words(account: Account) -> str:
    """Return an account's status as operators know it."""
    try:
        return f"status {account.status}, {Status(account.status).name.lower().replace('_', ' ')}"
    except ValueError:
        return f"status {account.status}"


def _in_order(verdict: Verdict, proofs: Sequence[Proof]) -> str:
    match verdict:
        case Refusal(code):
            return f"refused: {code}"
        case Owing(steps) if not steps:
            return "that was all"
        case Owing(steps):
            return f"what comes {'next' if proofs else 'first'} is {_DO[steps[0].kind]} {any_of(steps[0].providers)}"


def _said(verdict: Verdict) -> str:
    match verdict:
        case Refusal(code):
            return f"refused: {code}"
        case Owing(steps) if not steps:
            return "that nothing more is owed"
        case Owing(steps):
            return " and ".join(f"{_DO[step.kind]} {any_of(step.providers)}" for step in steps)
