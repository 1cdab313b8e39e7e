"""The proof: every kind of flow, every scene, the configuration in force and one that leaves nothing out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from authflow.apart import apart
from authflow.assembly import Application
from authflow.declarations import other_problems
from authflow.engine import Engine
from authflow.flow import FlowKind
from authflow.proving.equipment import equip, flow_for
from authflow.proving.exploring import Exploration
from authflow.proving.facts import Facts, facts_of
from authflow.proving.ground import Ground
from authflow.proving.moves import Moves
from authflow.proving.probes import Counting, Probes
from authflow.proving.rehearsal import rehearsal
from authflow.proving.report import Report
from authflow.proving.scenes import BEGAN, BOB, Rigging, Scene, Scenery
from authflow.proving.served import LOGS_IN, Served
from authflow.proving.sweeps import sweep_bounds, sweep_levels, sweep_sequences, sweep_starts, sweep_tables
from authflow.settings import Settings
from authflow.user import User

Told = Callable[[str], None]
_SWEPT = 24
"""Scenes in which every sequence of proofs is asked about."""


def prove(
    settings: Settings,
    user: User | None = None,
    *,
    kinds: Sequence[FlowKind] = tuple(FlowKind),
    with_rehearsal: bool = True,
    told: Told = lambda text: None,
) -> Report:
    """Explore the flows of an application, apart from what it is deployed on.

    Args:
        settings: The deployment's.
        user: Instead of the class that `AUTHFLOW_USER` names.
        kinds: Those to be explored.
        with_rehearsal: Whether the stock rules are explored under a wider configuration, too (see `rehearsal`).
        told: Called with what is looked at now.

    Raises:
        ConfigurationError: A declaration is refused.
    """
    began = time.perf_counter()
    report = Report(kinds=tuple(kinds))
    heard = Counting()
    # At a fixed time, or a senseless code might be right one day.
    app = apart(settings, user, observers=(heard,), clock=lambda: BEGAN, checks_declarations=False)
    try:
        for problem in other_problems(app.engine.user, app.engine.registry):
            report.violated("declared", problem, "the declarations")
        explore(app, report, kinds, "", told)
        told("the providers")
        Probes(app, report, heard).run()
    finally:
        app.services.pool.close()
    if with_rehearsal:
        wide = apart(settings, rehearsal(app.engine.user.transitions), checks_declarations=False)
        try:
            explore(wide, report, kinds, "in a rehearsal with more ways and factors", told)
        finally:
            wide.services.pool.close()
    report.seconds = time.perf_counter() - began
    return report


def explore(app: Application, report: Report, kinds: Sequence[FlowKind], configuration: str, told: Told) -> None:
    """Explore one configuration."""
    engine = app.engine
    user, facts = engine.user, facts_of(engine.registry)
    served = Served(user)
    factors = {name: provider.factor for name, provider in engine.registry.declared.items()}
    ground = Ground(
        user=user,
        served=served,
        facts=facts,
        moves=Moves(served, facts, factors),
        report=report,
        configuration=configuration,
        is_stock_policy=not overrides(user, "remaining_steps"),
        is_stock_table=not overrides(user, "advance") and user.transitions is None,
    )
    scenery = Scenery(user, facts, *equip(engine))
    sweep_tables(ground)
    sweep_bounds(ground)
    sweep_levels(ground)
    sweep_starts(ground)
    ways: set[tuple[FlowKind, tuple[str, ...]]] = set()
    for kind in kinds:
        if not is_served(kind, facts):
            continue
        told(f"{configuration or 'the configuration in force'}: {kind}")
        scenes = tuple(scenes_of(scenery, ground, kind))
        sweep_sequences(ground, kind, scenes[:_SWEPT])
        for scene in scenes:
            report.scenarios += 1
            rigging = Rigging(scene.told, *scene.parts)
            other = scenery.scene(flow_for("", kind=kind), rigging, account_id=BOB)
            exploration = Exploration(ground, scenery, kind, scene, other)
            exploration.run()
            ways |= {(kind, way) for way in exploration.completed_by}
    for hook, error in scenery.broken_hooks.items():
        report.violated("answered", f"{hook} raises {error}", configuration or "the configuration in force")
    check_ways(ground, kinds, ways)


def check_ways(ground: Ground, kinds: Sequence[FlowKind], ways: set[tuple[FlowKind, tuple[str, ...]]]) -> None:
    """Look at who got in at all: no offered way, and no factor, may be one that nobody ever gets in by."""
    facts, report = ground.facts, ground.report
    about = ground.configuration or "the configuration in force"
    for kind in kinds:
        if not is_served(kind, facts):
            report.note(f"{kind} is not served in {about}, and was not explored")
        elif not any(of_kind is kind for of_kind, _ in ways):
            report.violated("way-in", f"nobody ever completes a {kind}", about)
    if FlowKind.LOGIN not in kinds:
        return
    logins = [way for of_kind, way in ways if of_kind is FlowKind.LOGIN]
    paired = {second for _, second in facts.pairs}
    for name in (*facts.primaries, *(name for name in facts.factors if name in paired)):
        if not any(name in way for way in logins):
            report.violated("way-in", f"nobody ever gets in by {name}", about)
    for first, second in facts.pairs:
        if second in facts.substitutes and not ground.configuration:
            report.note(f"the pair ({first}, {second}) says nothing: {second} only stands in for other factors")
    for name in facts.factors:
        without = [primary for primary in facts.primaries if name not in facts.seconds(primary)]
        without = [primary for primary in without if (primary, None) in facts.pairs]
        if without and not ground.configuration:
            report.note(f"whoever has {name} comes in by {' or '.join(without)} without it: no pair joins them")


def scenes_of(scenery: Scenery, ground: Ground, kind: FlowKind) -> Iterator[Scene]:
    """Make the scenes that matter for a kind of flow."""
    flow = flow_for("", kind=kind)
    if kind in (*LOGS_IN, FlowKind.ENROL):
        hooks = (
            "remaining_steps",
            "continue_authentication_flow",
            "second_factor_succeeded",
            "authenticate_user",
            "standing",
            "owed_after",
        )
        tells = any(overrides(ground.user, hook) for hook in hooks)
        for scene in scenery.all_of(flow, tells_accounts_apart=tells):
            # What a login and a fresh login have in common was looked at with the login.
            is_new = kind is FlowKind.LOGIN or not scene.parts[1] or not ground.configuration
            if is_new or (scene.is_plain and len(scene.parts[1]) != 1):
                yield replace(
                    scene, is_plain=scene.is_plain and (kind is not FlowKind.REAUTHENTICATE or not scene.parts[1])
                )
        return
    yield replace(scenery.scene(flow, next(scenery.riggings())), is_plain=True)


def is_served(kind: FlowKind, facts: Facts) -> bool:
    """Whether an application of this configuration ever starts such a flow."""
    match kind:
        case FlowKind.RECOVER | FlowKind.SETUP | FlowKind.REGISTER | FlowKind.VERIFY:
            return bool(facts.password)
        case FlowKind.ENROL:
            return bool(facts.enrollable)
        case FlowKind.STEP_UP:
            return bool(facts.factors)
        case _:
            return True


def overrides(user: User, hook: str) -> bool:
    """Whether an application has a method of its own."""
    return getattr(type(user), hook) is not getattr(User, hook) or hook in vars(user)


__all__ = ["Engine", "explore", "prove"]
