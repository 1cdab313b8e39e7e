"""What all judgements stand on: the application, the configuration, whom a flow is about, where findings go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from authflow.flow import FlowKind, FlowState
from authflow.proving.facts import Facts
from authflow.proving.moves import Moves
from authflow.proving.report import Report
from authflow.proving.scenes import Scene
from authflow.proving.served import Served
from authflow.user import User

OPEN = (FlowState.ASKING, FlowState.CHOOSING, FlowState.AWAY)
"""Said here once more on purpose, as `served.LOGS_IN` is."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What all judgements of one exploration stand on.

    Attributes:
        is_stock_policy, is_stock_table: Whether the application has left what is owed, and how flows move, as it is.
            Else it may demand more, and forbid more, than the stock rules do.
    """

    user: User
    served: Served
    facts: Facts
    moves: Moves
    report: Report
    configuration: str
    is_stock_policy: bool
    is_stock_table: bool


class Scrutiny:
    """Base of what judges the flows of one kind in one scene.

    Args:
        ground: See there.
        scene: Whom they are about.
    """

    def __init__(self, ground: Ground, kind: FlowKind, scene: Scene) -> None:
        self.ground, self.kind, self.scene = ground, kind, scene
        self.about = f"{kind} of an account that {scene.told}" if not scene.told.startswith("no ") else (
            f"{kind} of an account with {scene.told}")  # fmt: skip
        if ground.configuration:
            self.about += f" ({ground.configuration})"

    def violated(self, invariant: str, detail: str, path: Sequence[str]) -> None:
        self.ground.report.violated(invariant, detail, self.about, tuple(path))
