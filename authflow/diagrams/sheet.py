"""Everything that `authflow flows show` draws of one application: its providers, its flows, and its table of states."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass

from authflow.account_work import AccountWork
from authflow.diagrams.exploring import draw
from authflow.diagrams.graph import Drawing
from authflow.engine import Engine
from authflow.errors import NotFound
from authflow.flow import FINAL_STATES, TRANSITIONS, FlowKind, FlowState
from authflow.model import Plain
from authflow.policy import CONSENT, TICKET
from authflow.provider import Provider, SecondFactorProvider
from authflow.user import User

GOALS: dict[FlowKind, str] = {
    FlowKind.LOGIN: "log in",
    FlowKind.REAUTHENTICATE: "log in once more, to the same account",
    FlowKind.STEP_UP: "prove a second factor once more (no page begins it in this release)",
    FlowKind.RECOVER: "set a new password by a mailed ticket",
    FlowKind.REGISTER: "make an account",
    FlowKind.VERIFY: "confirm a mail address by a mailed ticket",
    FlowKind.ENROL: "add a second factor, freshly logged in",
    FlowKind.SETTINGS: "change the password or connect an identity, freshly logged in",
    FlowKind.SETUP: "choose the first password by a ticket that an operator printed",
}

_NO_PROVIDERS = {TICKET: "a mailed or printed link", CONSENT: "the agreement of who holds the link"}
_BY_PASSWORD = frozenset({FlowKind.RECOVER, FlowKind.REGISTER, FlowKind.VERIFY, FlowKind.SETUP})


@dataclass(frozen=True, slots=True)
class ProviderLine:
    """A provider as drawings speak of it.

    Attributes:
        role: `first step`, `second factor` or `substitute`.
        factor: The kind of evidence.
    """

    name: str
    label: str
    role: str
    factor: str


@dataclass(frozen=True, slots=True)
class FlowSheet:
    """One kind of flow.

    Attributes:
        closed: Why no such flow can begin; empty where it can.
        drawing: None where none can begin.
    """

    kind: FlowKind
    goal: str
    closed: str
    drawing: Drawing | None


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is drawn.

    Attributes:
        user: The application's class, as `package.module:Class`.
        pairs: `valid_authentication_methods` in force, by name.
        transitions: State, event and the states it may lead to, of the table by which flows move.
    """

    user: str
    providers: tuple[ProviderLine, ...]
    pairs: tuple[tuple[str, str | None], ...]
    flows: tuple[FlowSheet, ...]
    transitions: tuple[tuple[str, str, tuple[str, ...]], ...]

    def to_data(self) -> dict[str, Plain]:
        """Return it for programs."""
        data: dict[str, Plain] = asdict(self)
        return data

    def label(self, name: str) -> str:
        """Return what people read for a provider, or what stands for one; empty for anything else."""
        return next((line.label for line in self.providers if line.name == name), _NO_PROVIDERS.get(name, ""))


def sheet(engine: Engine, kinds: Collection[FlowKind] = tuple(FlowKind)) -> Sheet:
    """Draw the flows of an application.

    Args:
        engine: Of a built application; nothing of it is changed, and its store is not asked.
        kinds: Which ones.

    Raises:
        BadInput: There are more second factors than a drawing could show.
    """
    user, registry = engine.user, engine.registry
    return Sheet(
        user=f"{type(user).__module__}:{type(user).__qualname__}",
        providers=tuple(_line(p) for p in registry.providers.values()),
        pairs=registry.rules.pairs,
        flows=tuple(_flow_sheet(engine, kind) for kind in FlowKind if kind in kinds),
        transitions=transitions(user),
    )


def transitions(user: User) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """Return the table by which the flows of an application move."""
    table = TRANSITIONS if user.transitions is None else user.transitions
    return tuple(
        (state.value, event.__name__, tuple(target.value for target in FlowState if target in targets))
        for state, edges in table.items()
        if edges or state not in FINAL_STATES
        for event, targets in edges.items()
    )


def closed(engine: Engine, kind: FlowKind) -> str:
    """Say why no flow of a kind can begin; the empty text where it can."""
    if kind not in _BY_PASSWORD:
        return ""
    try:
        side = AccountWork(engine).password_side()
    except NotFound as refusal:
        return refusal.detail
    if kind is FlowKind.REGISTER and not side.power.registration_enabled:
        return f"registration_enabled of {side.provider.name} is off"
    return ""


def _flow_sheet(engine: Engine, kind: FlowKind) -> FlowSheet:
    reason = closed(engine, kind)
    return FlowSheet(kind, GOALS[kind], reason, None if reason else draw(engine.user, kind))


def _line(provider: Provider) -> ProviderLine:
    role = "first step"
    if isinstance(provider, SecondFactorProvider):
        role = "substitute" if provider.is_substitute else "second factor"
    return ProviderLine(provider.name, provider.label, role, provider.factor.value)
