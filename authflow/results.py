"""What the engine tells the edge: a closed set, the same for every renderer."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from authflow.flow import Flow
from authflow.model import Account
from authflow.provider import Ask, Charge, Provider, Redirect
from authflow.sessions import DeviceClaim, IssuedSession


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """Nothing is owed any more: here is the session.

    Attributes:
        device: What the browser may say of itself at the next login.
        codes: Fresh codes to be shown once, when the last owed step enrolled a factor.
    """

    flow: Flow
    account: Account
    session: IssuedSession
    device: DeviceClaim
    codes: tuple[str, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class StepOwed:
    """A step is open and a provider asks.

    Attributes:
        session: New when the flow was stored just now in a session of its own.
    """

    flow: Flow
    provider: Provider
    ask: Ask | Redirect
    session: IssuedSession | None = None


@dataclass(frozen=True, slots=True)
class ChoiceOwed:
    """Several factors are usable: the person chooses."""

    flow: Flow
    providers: tuple[Provider, ...]
    session: IssuedSession | None = None


@dataclass(frozen=True, slots=True)
class EnrolmentOwed:
    """Policy demands a factor that the account lacks: enrolling one is the last owed step."""

    flow: Flow
    providers: tuple[Provider, ...]
    session: IssuedSession | None = None


@dataclass(frozen=True, slots=True)
class NotProved:
    """The submission was refused; the same form again, unless the flow has ended."""

    flow: Flow
    provider: Provider
    ask: Ask
    reason: str
    charge: Charge = Charge.ACCOUNT


@dataclass(frozen=True, slots=True)
class Away:
    """Send the browser to a remote party."""

    flow: Flow
    provider: Provider
    url: str


@dataclass(frozen=True, slots=True)
class Changed:
    """What protects the account was changed: every other session has ended, the acting one was made anew.

    Attributes:
        account: As it is now.
        codes: Fresh codes to be shown once.
    """

    session: IssuedSession
    account: Account
    codes: tuple[str, ...] = field(default=(), repr=False)


Result: TypeAlias = LoggedIn | StepOwed | ChoiceOwed | EnrolmentOwed | NotProved | Away
