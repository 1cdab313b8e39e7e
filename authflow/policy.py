"""What is still owed, and the level reached. Pure: facts in, verdict out.

The rules are ViUR's: pairs of (primary, second or None) in order; `None` falls away as soon as the account has a
usable factor paired with that primary. Beyond ViUR, an enrolled factor whose provider is gone refuses instead of being
skipped, and a policy may demand a factor of an account that has none: enrolling one is then the last owed step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from authflow.flow import FlowKind, Owing, Refusal, Step, StepKind, Verdict
from authflow.model import Factor, Proof

TICKET = "ticket"
"""The name that stands for a mailed or printed ticket where a flow's step is proved by one."""

CONSENT = "consent"
"""The name that stands for a person's agreement where a step is an acceptance."""


class AuthenticationLevel(IntEnum):
    """Authentication assurance level reached (NIST SP 800-63B): 1 for one factor, 2 for two different ones."""

    NONE = 0
    AAL1 = 1
    AAL2 = 2


@dataclass(frozen=True, slots=True)
class Rules:
    """What the configuration says.

    Attributes:
        pairs: `User.valid_authentication_methods` by provider name, in order.
        second_factors: Names of the registered second-factor providers.
        substitutes: Those of them that stand in for another one and are never demanded or offered first.
        enrollable: Those of them that a person can enrol without help.
        passwords: Primaries whose secret a person chooses: what registration, recovery and set-up make.
    """

    pairs: tuple[tuple[str, str | None], ...]
    second_factors: tuple[str, ...] = ()
    substitutes: frozenset[str] = frozenset()
    enrollable: frozenset[str] = frozenset()
    passwords: tuple[str, ...] = ()

    @property
    def primaries(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(primary for primary, _ in self.pairs))

    def seconds_of(self, primary: str) -> tuple[str, ...]:
        """Second factors paired with this primary, in order."""
        return tuple(dict.fromkeys(s for p, s in self.pairs if p == primary and s is not None))


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of the subject at the moment of judgement.

    Attributes:
        is_active: Whether the account may log in at all.
        enrolled: Second factors the account record names.
        present: Providers for which a credential record was read.
        demands_second_factor: Whether role, account or action demand a second factor.
    """

    is_active: bool
    enrolled: tuple[str, ...] = ()
    present: frozenset[str] = frozenset()
    demands_second_factor: bool = False


def remaining_steps(kind: FlowKind, proofs: Sequence[Proof], rules: Rules, standing: Standing | None) -> Verdict:
    """Say which steps a flow still owes.

    Args:
        kind: The goal.
        proofs: What has been proved in this flow, in order.
        rules: The configuration.
        standing: Facts of the subject, or None while it is unknown.

    Returns:
        The owed steps in order, or a refusal. Proving more never makes more owed than the pairs say, and nothing that a
        person does removes a step.
    """
    match kind:
        case FlowKind.LOGIN | FlowKind.REAUTHENTICATE:
            return _login(proofs, rules, standing)
        case FlowKind.STEP_UP:
            return _step_up(proofs, rules, standing)
        case FlowKind.RECOVER | FlowKind.SETUP:
            return _in_order(proofs, (_step(StepKind.PROVE, (TICKET,)), _step(StepKind.ENROL, rules.passwords)))
        case FlowKind.VERIFY:
            return _in_order(proofs, (_step(StepKind.PROVE, (TICKET,)), _step(StepKind.ACCEPT, (CONSENT,))))
        case FlowKind.REGISTER:
            return _in_order(proofs, (_step(StepKind.ENROL, rules.passwords),))
        case FlowKind.ENROL:
            return _enrolment(proofs, rules, standing)
        case FlowKind.SETTINGS:
            return _in_order(proofs, (_step(StepKind.PROVE, rules.primaries),))


def reached_level(proofs: Sequence[Proof]) -> AuthenticationLevel:
    """Say which level these proofs reach: two are worth more than one only if of different kinds of evidence."""
    counting = {proof.factor for proof in proofs} - {Factor.MAILBOX}
    if not counting:
        return AuthenticationLevel.NONE
    has_own_factor = Factor.POSSESSION in counting or Factor.INHERENCE in counting
    return AuthenticationLevel.AAL2 if len(counting) > 1 and has_own_factor else AuthenticationLevel.AAL1


def usable_factors(primary: str, rules: Rules, standing: Standing) -> tuple[str, ...]:
    """List enrolled, registered and present second factors that are paired with this primary, substitutes apart."""
    return tuple(name for name in rules.seconds_of(primary) if _is_demandable(name, rules, standing))


def orphaned_factors(rules: Rules, standing: Standing) -> tuple[str, ...]:
    """List enrolled factors that cannot be asked for: their provider is gone, or their credential is."""
    return tuple(name for name in standing.enrolled if not _is_usable(name, rules, standing))


def _is_usable(name: str, rules: Rules, standing: Standing) -> bool:
    return name in standing.enrolled and name in rules.second_factors and name in standing.present


def _is_demandable(name: str, rules: Rules, standing: Standing) -> bool:
    # A pair or an account record may name a substitute; that makes no factor of it that could be asked for.
    return name not in rules.substitutes and _is_usable(name, rules, standing)


def _can_be_added(name: str, rules: Rules) -> bool:
    return name in rules.enrollable and name not in rules.substitutes


def _login(proofs: Sequence[Proof], rules: Rules, standing: Standing | None) -> Verdict:
    primary = next((proof.provider for proof in proofs if proof.provider in rules.primaries), None)
    if primary is None:
        return Owing((_step(StepKind.PROVE, rules.primaries),)) if rules.primaries else Refusal("no_method_left")
    if standing is None or not standing.is_active:
        return Refusal("account_inactive")
    return _second_factor(primary, proofs, rules, standing)


def _second_factor(primary: str, proofs: Sequence[Proof], rules: Rules, standing: Standing) -> Verdict:
    usable = usable_factors(primary, rules, standing)
    substitutes = tuple(name for name in rules.second_factors if name in rules.substitutes and name in standing.present)
    proved = {proof.provider for proof in proofs}
    if usable:
        if proved.intersection(usable + substitutes):
            return Owing()
        return Owing((Step(StepKind.PROVE, usable, substitutes),))
    if orphaned_factors(rules, standing):
        return Refusal("factor_unavailable")
    if standing.demands_second_factor:
        # Judged again when a factor has just been enrolled: it is then in `proved`, though not yet in the store.
        offered = tuple(s for s in rules.seconds_of(primary) if _can_be_added(s, rules))
        if proved.intersection(offered):
            return Owing()
        return Owing((_step(StepKind.ENROL, offered),)) if offered else Refusal("no_method_left")
    if (primary, None) in rules.pairs:
        return Owing()
    return Refusal("no_method_left")


def _step_up(proofs: Sequence[Proof], rules: Rules, standing: Standing | None) -> Verdict:
    if standing is None or not standing.is_active:
        return Refusal("account_inactive")
    usable = tuple(name for name in rules.second_factors if _is_demandable(name, rules, standing))
    if not usable:
        return Refusal("no_method_left")
    if {proof.provider for proof in proofs}.intersection(usable):
        return Owing()
    return Owing((_step(StepKind.PROVE, usable),))


def _enrolment(proofs: Sequence[Proof], rules: Rules, standing: Standing | None) -> Verdict:
    if standing is None or not standing.is_active:
        return Refusal("account_inactive")
    offered = tuple(name for name in rules.second_factors if _can_be_added(name, rules))
    if {proof.provider for proof in proofs}.intersection(offered):
        return Owing()
    return Owing((_step(StepKind.ENROL, offered),)) if offered else Refusal("no_method_left")


def _in_order(proofs: Sequence[Proof], steps: tuple[Step, ...]) -> Verdict:
    done = 0
    for proof in proofs:
        if done < len(steps) and proof.provider in steps[done].providers:
            done += 1
    return Owing(steps[done:])


def _step(kind: StepKind, providers: tuple[str, ...]) -> Step:
    return Step(kind, providers)
