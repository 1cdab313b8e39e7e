"""The proof: every kind of flow, every scene, the configuration in force and one that leaves nothing out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from authflow.apart import apart
from authflow.assembly import Application
from authflow.engine import Engine
from authflow.flow import FlowKind
from authflow.proving.equipment import equip, flow_for
from authflow.proving.exploring import Exploration
from authflow.proving.facts import Facts, facts_of
from authflow.proving.judging import Ground
from authflow.proving.moves import Moves
from authflow.proving.report import Report
from authflow.proving.scenes import BOB, Rigging, Scene, Scenery
from authflow.proving.served import Served
from authflow.settings import Settings
from authflow.user import User

Told = Callable[[str], None]


def prove(
    settings: Settings,
    user: User | None = None,
    *,
    kinds: Sequence[FlowKind] = tuple(FlowKind),
    told: Told = lambda text: None,
) -> Report:
    """Explore the flows of an application, apart from what it is deployed on.

    Args:
        settings: The deployment's.
        user: Instead of the class that `AUTHFLOW_USER` names.
        kinds: Those to be explored.
        told: Called with what is looked at now.

    Raises:
        ConfigurationError: A declaration is refused.
    """
    began = time.perf_counter()
    report = Report(kinds=tuple(kinds))
    app = apart(settings, user)
    try:
        explore(app, report, kinds, "", told)
    finally:
        app.services.pool.close()
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
    ways: set[tuple[FlowKind, tuple[str, ...]]] = set()
    for kind in kinds:
        if not is_served(kind, facts):
            continue
        told(f"{configuration or 'the configuration in force'}: {kind}")
        for scene in scenes_of(scenery, ground, kind):
            report.scenarios += 1
            rigging = Rigging(scene.told, *scene.parts)
            other = scenery.scene(flow_for("", kind=kind), rigging, account_id=BOB)
            exploration = Exploration(ground, scenery, kind, scene, other)
            exploration.run()
            ways |= {(kind, way) for way in exploration.completed_by}


def scenes_of(scenery: Scenery, ground: Ground, kind: FlowKind) -> Iterator[Scene]:
    """Make the scenes that matter for a kind of flow."""
    flow = flow_for("", kind=kind)
    if kind in (FlowKind.LOGIN, FlowKind.REAUTHENTICATE, FlowKind.STEP_UP, FlowKind.ENROL):
        hooks = ("remaining_steps", "continue_authentication_flow", "second_factor_succeeded", "authenticate_user")
        tells = any(overrides(ground.user, hook) for hook in hooks)
        yield from scenery.all_of(flow, tells_accounts_apart=tells)
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
