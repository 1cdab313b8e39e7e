"""Credentials of made-up people: from the providers themselves where they can make one without a person's help."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from authflow.engine import Engine
from authflow.errors import AuthflowError
from authflow.flow import Flow, FlowKind, FlowState, Step, StepKind
from authflow.model import Account, Credential
from authflow.powers import AcceptsTokens, IssuesCodes
from authflow.provider import Provider
from authflow.proving.scenes import ADA, BEGAN
from authflow.proving.served import TRAVELS_FOR

SECRET_HEX = "3132333435363738393031323334353637383930"
"""The secret of RFC 6238's test vectors. Nobody is protected by it."""


@dataclass(frozen=True, slots=True)
class Made:
    """A credential that a provider made for somebody, with what its owner knows.

    Attributes:
        answers: What can be submitted for it, each once; none where only its owner could know.
    """

    credential: Credential
    codes: tuple[str, ...] = field(default=(), repr=False)


def person(engine: Engine) -> Account:
    """Return whom credentials are made for."""
    return Account(ADA, "ada@example.org", "ada@example.org", BEGAN, BEGAN, email="ada@example.org")


def flow_for(provider: str, *, kind: FlowKind = FlowKind.LOGIN, step: int = 0, asks: StepKind = StepKind.PROVE) -> Flow:
    """Return a flow whose form of this provider is open."""
    return Flow(
        id="a-flow-to-look-at",
        kind=kind,
        state=FlowState.ASKING,
        owed=(Step(asks, (provider,)),),
        created_at=BEGAN,
        deadline_at=BEGAN + TRAVELS_FOR,
        provider=provider,
        subject=ADA if step else "",
        epoch=1 if step else 0,
        step=step,
    )


def made_by(engine: Engine, provider: Provider) -> Made | None:
    """Let a provider make a credential, or return None where it takes a person.

    Raises:
        Exception: What the provider raises.
    """
    account = person(engine)
    power: object = provider
    if isinstance(power, IssuesCodes):
        issued = power.issue(engine.context(flow_for(provider.name, step=1), provider, account=account))
        return Made(issued.credential, issued.codes)
    if isinstance(power, AcceptsTokens):
        try:
            token = power.new_hardware_token(
                account.id, serial="made-up", secret_hex=SECRET_HEX, now=BEGAN, interval=30, digits=6, algorithm="SHA1"
            )
        except AuthflowError:
            return None
        return Made(token)
    return None


def blank(provider: str) -> Credential:
    """Return a credential that holds nothing."""
    return Credential(ADA, provider, BEGAN, BEGAN)


def equip(engine: Engine) -> tuple[Mapping[str, Credential], Mapping[str, Credential], frozenset[str]]:
    """Return credentials of all providers: those that are good, those that are none, and names of pretended ones."""
    made: dict[str, Credential] = {}
    broken: dict[str, Credential] = {}
    pretended: set[str] = set()
    for name, provider in engine.registry.declared.items():
        empty = blank(name)
        try:
            own = made_by(engine, provider)
        except Exception:
            own = None  # The probes report it.
        try:
            takes_empty = provider.can_handle(empty)
        except Exception:
            takes_empty = False
        if not takes_empty:
            broken[name] = empty
        made[name] = own.credential if own is not None else empty
        if own is None and not takes_empty:
            pretended.add(name)
    return made, broken, frozenset(pretended & set(engine.registry.providers))
