"""What is open to one account, and why: every way through each kind of flow, by the functions that serve.

Reads an account, or takes a described one; writes nothing and sends nothing. What a way costs is measured elsewhere
(`rehearsal`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from authflow.diagrams.exploring import MOST_STEPS
from authflow.diagrams.sheet import GOALS, closed
from authflow.diagrams.walking import Walk
from authflow.engine import Engine
from authflow.errors import AuthflowError
from authflow.explained_accounts import Subject, standing_of
from authflow.federated import FederatedProvider
from authflow.flow import SESSION_KINDS, Flow, FlowKind, FlowState, Owing, Refusal, Verdict
from authflow.policy import Standing, reached_level
from authflow.powers import SetsPassword
from authflow.provider import Provider, SecondFactorProvider
from authflow.reasons import Reasons, status_words

EXPLAINED = (
    FlowKind.LOGIN,
    FlowKind.REAUTHENTICATE,
    FlowKind.STEP_UP,
    FlowKind.RECOVER,
    FlowKind.SETTINGS,
    FlowKind.ENROL,
)
"""Kinds that concern an account that is there."""


NEED_A_LOGIN = frozenset({FlowKind.REAUTHENTICATE, FlowKind.STEP_UP, FlowKind.SETTINGS, FlowKind.ENROL})
"""Kinds that only somebody who is logged in begins."""


@dataclass(frozen=True, slots=True)
class Path:
    """One way through a flow.

    Attributes:
        answers: Providers in the order of their proofs.
        reasons: After each of them, why there is more to do, or nothing more, or no way on.
        outcome: How it ends, in words.
        level: The assurance level of a login, or empty.
    """

    answers: tuple[str, ...]
    reasons: tuple[str, ...]
    outcome: str
    level: str = ""

    @property
    def is_open(self) -> bool:
        """Whether the goal is reached by it."""
        return not self.outcome.startswith(("refused", "fault"))


@dataclass(frozen=True, slots=True)
class Explained:
    """A kind of flow for one account.

    Attributes:
        begins: Why it begins with what it begins with.
        shut: Ways that are not open to this account, and why.
    """

    kind: FlowKind
    goal: str
    begins: str
    paths: tuple[Path, ...]
    shut: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    """Everything about one account.

    Attributes:
        facts: What it was explained by: name and value, in words.
        orphans: Enrolled factors that cannot be asked for: the factor, why, and the operator's way out.
    """

    name: str
    facts: tuple[tuple[str, str], ...]
    orphans: tuple[tuple[str, str, str], ...]
    flows: tuple[Explained, ...]


def explain(engine: Engine, subject: Subject, kinds: Sequence[FlowKind] = EXPLAINED) -> Explanation:
    """Say what is open to an account, and why. Reads nothing, writes nothing."""
    account = subject.account
    remove = "NAME" if subject.is_described else account.name
    login = _explained(engine, subject, FlowKind.LOGIN)
    is_open = any(path.is_open for path in login.paths)
    return Explanation(
        name="the described account" if subject.is_described else account.name,
        facts=tuple(_facts(engine, subject)),
        orphans=tuple(
            (factor, cause, f"authflow users factors {remove} --remove {factor}")
            for factor, cause in subject.broken.items()
        ),
        flows=tuple(
            login
            if kind is FlowKind.LOGIN
            else Explained(kind, GOALS[kind], "", (), ("nobody can log in to the account: see login",))
            if kind in NEED_A_LOGIN and not is_open
            else _explained(engine, subject, kind)
            for kind in kinds
        ),
    )


# --- Ways -------------------------------------------------------------------------------------------------------------


def _explained(engine: Engine, subject: Subject, kind: FlowKind) -> Explained:
    reason = closed(engine, kind)
    if reason:
        return Explained(kind, GOALS[kind], "", (), (reason,))
    shut: list[str] = []
    walk, standing = Walk(engine.user, kind), standing_of(engine, subject, kind)
    reasons = Reasons(engine.user, kind, subject.account, walk.seen(standing))
    try:
        flow = walk.begin(standing)
    except AuthflowError as error:
        return Explained(kind, GOALS[kind], "", (), (f"fault: {error.detail or error.code}",))
    begins = reasons.why((), Owing(flow.owed) if flow.is_open else Refusal(_code(flow)))
    if not flow.is_open:
        return Explained(kind, GOALS[kind], "", (), (f"{begins} ({_outcome(flow)})",))
    shut += _shut_by_accounts(engine, subject, kind)
    paths: list[Path] = []
    if not shut:
        paths = list(_ways(engine, subject, walk, reasons, standing, flow, (), (), shut))
    return Explained(kind, GOALS[kind], begins, tuple(paths), tuple(dict.fromkeys(shut)))


def _ways(
    engine: Engine, subject: Subject, walk: Walk, reasons: Reasons, standing: Standing, flow: Flow,
    answers: tuple[str, ...], told: tuple[str, ...], shut: list[str],
) -> Iterator[Path]:  # fmt: skip
    step = flow.open_step
    if step is None or len(answers) >= MOST_STEPS:
        level = reached_level(flow.proofs).name if flow.kind in SESSION_KINDS and not flow.is_open else ""
        yield Path(answers, told, _outcome(flow), level if flow.state is FlowState.COMPLETED else "")
        return
    for name in step.accepted:
        without = _without(engine, subject, flow, name)
        if without:
            shut.append(without)
            continue
        try:
            moved = walk.answer(flow, name, standing)
        except AuthflowError as error:
            yield Path((*answers, name), told, f"fault: {error.detail or error.code}")
            continue
        why = reasons.why(moved.proofs, _verdict(moved))
        yield from _ways(engine, subject, walk, reasons, standing, moved, (*answers, name), (*told, why), shut)


def _verdict(flow: Flow) -> Verdict:
    return Refusal(_code(flow)) if flow.state is FlowState.REFUSED else Owing(flow.owed)


def _code(flow: Flow) -> str:
    return flow.trace[-1].partition(":")[2]


def _outcome(flow: Flow) -> str:
    if flow.state is FlowState.COMPLETED:
        return "logged in" if flow.kind in SESSION_KINDS else "done; logs nobody in"
    return f"refused: {_code(flow)}" if flow.state is FlowState.REFUSED else f"{flow.state.value}, without end"


def _shut_by_accounts(engine: Engine, subject: Subject, kind: FlowKind) -> list[str]:
    """Return what the table does not know: what has to be so before a flow of this kind can reach its goal."""
    account = subject.account
    is_active = engine.user.is_active(account)
    if kind is FlowKind.RECOVER and not is_active:
        return [f"the answer is the same as ever, but no mail is sent: not active ({status_words(account)})"]
    if kind is FlowKind.RECOVER and not account.email:
        return ["the answer is the same as ever, but there is no address to send a mail to"]
    return []


def _without(engine: Engine, subject: Subject, flow: Flow, name: str) -> str:
    """Say why an account cannot answer a step by a provider; empty where it can."""
    provider = engine.registry.get(name)
    if provider is None or flow.kind in (FlowKind.RECOVER, FlowKind.SETUP):
        return ""
    if flow.kind is FlowKind.SETTINGS and isinstance(provider, FederatedProvider):
        # This flow connects it.
        return f"{name}: one of it is connected already" if name in subject.present else ""
    step = flow.open_step
    if step is not None and step.kind.value == "enrol":
        return f"{name}: it is enrolled; one of a kind" if name in subject.account.factors else ""
    if name in subject.present:
        return ""
    return f"{name}: {_missing(provider)}"


def _missing(provider: Provider) -> str:
    if isinstance(provider, SetsPassword):
        return "the account has no password; recovery or a set-up link makes one"
    if isinstance(provider, SecondFactorProvider):
        return "the account does not have it"
    return "nothing of it is connected with the account"


def _facts(engine: Engine, subject: Subject) -> Iterator[tuple[str, str]]:
    account, registry = subject.account, engine.registry
    yield (
        "status",
        status_words(account).removeprefix("status ") + ("" if engine.user.is_active(account) else " (may not log in)"),
    )
    yield "first steps", ", ".join(p.name for p in registry.primaries if p.name in subject.present) or "none"
    held = [name for name in account.factors if name not in subject.broken]
    held += [p.name for p in registry.second_factors if p.is_substitute and p.name in subject.present]
    yield "second factors", ", ".join(held) or "none"
    yield "roles", ", ".join(account.roles) or "none"
