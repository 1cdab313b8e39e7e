"""What a flow must rest on and what it may ask for, said by the account and by what was handed in. Not by policy.

These are bounds, not a second machine: nothing here moves a flow. `evidence` bounds a completed flow from below;
`asked` says what the stock rules ask for next, which binds applications that have not changed them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from authflow.flow import FlowKind, StepKind
from authflow.policy import CONSENT, TICKET
from authflow.proving.facts import Facts
from authflow.proving.scenes import Scene


@dataclass(frozen=True, slots=True)
class Given:
    """Something that was handed in honestly and taken: by which provider, and in answer to which kind of step."""

    kind: StepKind
    provider: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """One piece of evidence: any of these providers, in answer to a step of this kind."""

    kind: StepKind
    providers: frozenset[str]
    invariant: str = "evidence"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the stock rules ask for next; no providers where they ask for nothing more."""

    kind: StepKind = StepKind.PROVE
    providers: tuple[str, ...] = ()
    substitutes: tuple[str, ...] = ()


NOTHING_MORE = Asked()


@dataclass(frozen=True, slots=True)
class Closed:
    """There is no way on, and the invariant that would be broken by one."""

    invariant: str


def evidence(facts: Facts, kind: FlowKind, scene: Scene, given: Sequence[Given]) -> tuple[Wanted, ...] | Closed:
    """Say what a completed flow of this kind must rest on, in order, at the least."""
    ticket = Wanted(StepKind.PROVE, frozenset({TICKET}), "own-steps")
    password = Wanted(StepKind.ENROL, frozenset({facts.password}))
    match kind:
        case FlowKind.RECOVER | FlowKind.SETUP:
            return ticket, password
        case FlowKind.VERIFY:
            return ticket, Wanted(StepKind.ACCEPT, frozenset({CONSENT}), "own-steps")
        case FlowKind.REGISTER:
            return (password,)
        case FlowKind.SETTINGS:
            return (Wanted(StepKind.PROVE, frozenset(facts.primaries)),)
        case FlowKind.ENROL:
            if not scene.is_active:
                return Closed("disabled")
            return (Wanted(StepKind.ENROL, frozenset(facts.enrollable), "enrolment"),)
        case FlowKind.STEP_UP:
            if not scene.is_active:
                return Closed("disabled")
            return (Wanted(StepKind.PROVE, scene.usable, "demanded"),)
        case FlowKind.LOGIN | FlowKind.REAUTHENTICATE:
            return _of_login(facts, scene, given)


def _of_login(facts: Facts, scene: Scene, given: Sequence[Given]) -> tuple[Wanted, ...] | Closed:
    opening = Wanted(StepKind.PROVE, frozenset(facts.primaries))
    if not scene.is_active:
        return Closed("disabled")
    primary = next((one.provider for one in given if one.provider in facts.primaries), None)
    if primary is None:
        return (opening,)
    paired = scene.usable.intersection(facts.seconds(primary))
    if paired:
        return opening, Wanted(StepKind.PROVE, paired | scene.substitutes, "demanded")
    if scene.is_orphaned:
        return Closed("orphan")
    if scene.is_demanded:
        new = frozenset(facts.enrollable).intersection(facts.seconds(primary))
        return opening, Wanted(StepKind.ENROL, new, "demanded")
    return (opening,) if (primary, None) in facts.pairs else Closed("evidence")


def missing(wanted: Sequence[Wanted], given: Sequence[Given]) -> Wanted | None:
    """Return the first piece of evidence that was not handed in, looking for them in order."""
    rest = iter(given)
    for want in wanted:
        if not any(one.kind is want.kind and one.provider in want.providers for one in rest):
            return want
    return None


def asked(facts: Facts, kind: FlowKind, scene: Scene | None, given: Sequence[Given]) -> Asked | Closed:
    """Say what the stock rules ask for after this.

    Args:
        scene: None while nobody is known.
    """
    names = [one.provider for one in given]
    if kind in (FlowKind.LOGIN, FlowKind.REAUTHENTICATE):
        return _asked_of_login(facts, scene, names)
    if kind is FlowKind.STEP_UP:
        if scene is None or not scene.is_active:
            return Closed("disabled")
        if scene.usable.intersection(names):
            return NOTHING_MORE
        usable = tuple(name for name in facts.factors if name in scene.usable)
        return Asked(StepKind.PROVE, usable) if usable else Closed("orphan")
    if kind is FlowKind.ENROL:
        if scene is None or not scene.is_active:
            return Closed("disabled")
        if set(facts.enrollable).intersection(names):
            return NOTHING_MORE
        return Asked(StepKind.ENROL, facts.enrollable) if facts.enrollable else Closed("enrolment")
    steps = {
        FlowKind.RECOVER: (Asked(StepKind.PROVE, (TICKET,)), Asked(StepKind.ENROL, (facts.password,))),
        FlowKind.SETUP: (Asked(StepKind.PROVE, (TICKET,)), Asked(StepKind.ENROL, (facts.password,))),
        FlowKind.VERIFY: (Asked(StepKind.PROVE, (TICKET,)), Asked(StepKind.ACCEPT, (CONSENT,))),
        FlowKind.REGISTER: (Asked(StepKind.ENROL, (facts.password,)),),
        FlowKind.SETTINGS: (Asked(StepKind.PROVE, facts.primaries),),
    }[kind]
    done = 0
    for name in names:
        if done < len(steps) and name in steps[done].providers:
            done += 1
    return steps[done] if done < len(steps) else NOTHING_MORE


def _asked_of_login(facts: Facts, scene: Scene | None, names: Sequence[str]) -> Asked | Closed:
    primary = next((name for name in names if name in facts.primaries), None)
    if primary is None:
        return Asked(StepKind.PROVE, facts.primaries)
    if scene is None or not scene.is_active:
        return Closed("disabled")
    paired = facts.seconds(primary)
    usable = tuple(name for name in paired if name in scene.usable)
    if usable:
        if scene.usable.intersection(names, usable) or scene.substitutes.intersection(names):
            return NOTHING_MORE
        return Asked(StepKind.PROVE, usable, tuple(name for name in facts.substitutes if name in scene.substitutes))
    if scene.is_orphaned:
        return Closed("orphan")
    if scene.is_demanded:
        new = tuple(name for name in paired if name in facts.enrollable)
        if set(new).intersection(names):
            return NOTHING_MORE
        return Asked(StepKind.ENROL, new) if new else Closed("evidence")
    return NOTHING_MORE if (primary, None) in facts.pairs else Closed("evidence")
