"""The kinds of account that make a difference under a configuration, and what a set of them has in common, in words.

A case is the set of facts that are true of an account. The facts are those that policy judges by (`policy.Standing`):
which second factors are usable, whether one is enrolled that cannot be asked for, whether one is demanded, whether the
account may log in at all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from typing import TypeAlias

from authflow.errors import BadInput
from authflow.flow import Flow, FlowKind, FlowState, Step, StepKind
from authflow.model import Account, Status
from authflow.policy import Rules, Standing
from authflow.user import User

Case: TypeAlias = frozenset[str]

ORPHANED = "(orphaned)"
DEMANDED = "(demanded)"
INACTIVE = "(inactive)"
"""Facts that are no factor's name; no provider can have such a name."""

MOST_FACTS = 12
"""Beyond it the cases would be too many to draw anything that could be read."""

NOW = datetime(2000, 1, 1, tzinfo=UTC)
"""The time in drawings. Nothing that is drawn depends on it."""


@dataclass(frozen=True, slots=True)
class Cases:
    """Every case of a configuration, for one kind of flow.

    Attributes:
        factors: Second factors that a step can ask for, in order.
        substitutes: Those that stand in for them.
        demanders: What makes an account one that must have a second factor, in words; none if nothing does.
    """

    factors: tuple[str, ...]
    substitutes: tuple[str, ...]
    demanders: tuple[str, ...]
    all: tuple[Case, ...]

    def standing(self, case: Case) -> Standing:
        """Return what policy is handed about an account of this case."""
        enrolled = tuple(name for name in self.factors if name in case)
        return Standing(
            is_active=INACTIVE not in case,
            enrolled=(*enrolled, ORPHANED) if ORPHANED in case else enrolled,
            present=frozenset(name for name in (*self.factors, *self.substitutes) if name in case),
            demands_second_factor=DEMANDED in case,
        )

    def condition(self, some: Collection[Case], among: Collection[Case]) -> str:
        """Say in words what tells some cases from the others among which they are; empty where nothing does.

        What holds of accounts that may not log in is said apart, so that "active" need not be said everywhere.
        """
        chosen, rest = set(some), set(among) - set(some)
        if not rest:
            return ""
        disabled = {case for case in among if INACTIVE in case}
        if (disabled and disabled <= chosen and disabled != chosen) or (disabled and disabled <= rest):
            words = self._words(chosen - disabled, rest - disabled)
            return "; or ".join([*words, "not active"]) if disabled <= chosen else "; or ".join(words)
        return "; or ".join(self._words(chosen, rest))

    def _words(self, chosen: set[Case], rest: set[Case]) -> list[str]:
        if not rest:
            return ["active"] if chosen else []
        return [self._phrase(has, lacks) for has, lacks in _cover(chosen, rest, self._facts)]

    @property
    def _facts(self) -> tuple[str, ...]:
        return (*self.factors, *self.substitutes, ORPHANED, DEMANDED, INACTIVE)

    def _phrase(self, has: Case, lacks: Case) -> str:
        parts = ["not active"] if INACTIVE in has else []
        held = [name for name in (*self.factors, *self.substitutes) if name in has]
        if held:
            parts.append(f"has {' and '.join(held)}")
        has_none = bool(self.factors) and set(self.factors) <= lacks
        if has_none and ORPHANED in lacks:
            parts.append("no second factor")
        elif has_none and len(self.factors) > 1:
            parts.append("no usable factor")
        else:
            parts += [f"no {name}" for name in self.factors if name in lacks]
        parts += [f"no {name}" for name in self.substitutes if name in lacks]
        if ORPHANED in has:
            parts.append("an orphaned factor")
        if ORPHANED in lacks and not has_none:
            parts.append("no orphaned factor")
        if DEMANDED in has:
            parts.append(f"demanded ({', '.join(self.demanders)})")
        if DEMANDED in lacks:
            parts.append("none demanded")
        if INACTIVE in lacks:
            parts.append("active")
        return ", ".join(parts)


def cases(user: User, rules: Rules, kind: FlowKind) -> Cases:
    """List the cases of a configuration.

    Raises:
        BadInput: There are more second factors than a drawing could show.
    """
    factors = tuple(name for name in rules.second_factors if name not in rules.substitutes)
    substitutes = tuple(name for name in rules.second_factors if name in rules.substitutes)
    if len(factors) + len(substitutes) > MOST_FACTS - 3:
        raise BadInput(f"{len(rules.second_factors)} second factors are more than can be drawn")
    demanders = demanding(user, kind)
    return Cases(factors, substitutes, demanders, tuple(_all(factors, substitutes, demanders)))


def demanding(user: User, kind: FlowKind) -> tuple[str, ...]:
    """Return what makes `User.demands_second_factor` demand one: roles and rights, or that it does so of everybody."""
    flow = any_flow(kind)
    if user.demands_second_factor(_account(), flow):
        return (EVERYBODY,)
    roles = [role.id for role in user.roles]
    roles += sorted(set(user.second_factor_required_roles) - set(roles))
    by_role = [f"role {role}" for role in roles if user.demands_second_factor(_account(roles=(role,)), flow)]
    rights = [r for r in user.access_rights if user.demands_second_factor(_account(access=(r,)), flow)]
    return (*by_role, *(f"right {right}" for right in rights))


EVERYBODY = "of everybody"


def _all(factors: Sequence[str], substitutes: Sequence[str], demanders: Sequence[str]) -> Iterator[Case]:
    demanded = ((True,) if EVERYBODY in demanders else (False, True)) if demanders else (False,)
    free = (*factors, *substitutes, ORPHANED)
    for is_inactive, is_demanded, *held in product((False, True), demanded, *([(False, True)] * len(free))):
        case = frozenset(fact for fact, is_held in zip(free, held, strict=True) if is_held)
        # What stands in for a factor comes with one and goes with the last one.
        if case.isdisjoint(substitutes) or not case.isdisjoint((*factors, ORPHANED)):
            yield case | ({DEMANDED} if is_demanded else set()) | ({INACTIVE} if is_inactive else set())


def any_flow(kind: FlowKind) -> Flow:
    """Return an open flow of a kind, for hooks that are handed one."""
    step = Step(StepKind.PROVE, ("any",))
    return Flow("drawing", kind, FlowState.ASKING, (step,), NOW, NOW, subject="somebody", epoch=1)


def _account(roles: tuple[str, ...] = (), access: tuple[str, ...] = ()) -> Account:
    return Account(
        id="somebody",
        name="somebody@example.org",
        canonical_name="somebody@example.org",
        created_at=NOW,
        changed_at=NOW,
        status=Status.ACTIVE,
        roles=roles,
        access=access,
    )


def _cover(chosen: set[Case], rest: set[Case], facts: Sequence[str]) -> list[tuple[Case, Case]]:
    """Return few conjunctions, as (facts that hold, facts that do not), which all of `chosen` meet and none of `rest`.

    Prime implicants, taken greedily. The order of facts alone decides between equals, so that drawings are stable.
    """
    primes: dict[tuple[Case, Case], set[Case]] = {}
    for case in chosen:
        held, lacked = [f for f in facts if f in case], [f for f in facts if f not in case]
        for order in ([*lacked, *held], [*held, *lacked]):
            has, lacks = set(held), set(lacked)
            for fact in order:
                left = (has - {fact}, lacks - {fact})
                if not any(left[0] <= other and left[1].isdisjoint(other) for other in rest):
                    has, lacks = left
            met = {other for other in chosen if has <= other and lacks.isdisjoint(other)}
            primes[frozenset(has), frozenset(lacks)] = met

    def rank(prime: tuple[Case, Case]) -> tuple[int, int, list[tuple[int, bool]]]:
        literals = sorted((facts.index(fact), fact in prime[1]) for fact in prime[0] | prime[1])
        return -len(primes[prime] - covered), len(literals), literals

    covered: set[Case] = set()
    found: list[tuple[Case, Case]] = []
    while covered != chosen:
        best = min(primes, key=rank)
        covered |= primes[best]
        found.append(best)
    return found
