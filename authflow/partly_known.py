"""An account and a flow of which only a part is known, for rules of an application that are asked about a trace.

A trace holds no name, no address and no path. A rule that wants one gets no answer, rather than an empty text that it
would take for one: what it asked for is noted, also where the rule catches what is raised.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from datetime import datetime
from typing import Any

from authflow.flow import Flow
from authflow.model import Account

_OF_ACCOUNT = frozenset({"status", "roles", "access", "factors"})
_OF_FLOW = frozenset({"id", "kind", "state", "owed", "provider", "proofs", "step", "created_at"})
_HIDDEN_ACCOUNT = frozenset(field.name for field in fields(Account)) - _OF_ACCOUNT
_HIDDEN_FLOW = frozenset(field.name for field in fields(Flow)) - _OF_FLOW


class NotKnown(Exception):
    """A rule asks for what no trace holds."""


class KnownAccount(Account):
    """An account of nobody in particular: status, roles, rights and factors are true, everything else is not known.

    Attributes:
        asked_for: What was wanted all the same.
    """

    asked_for: list[str]

    def __getattribute__(self, name: str) -> Any:
        if name in _HIDDEN_ACCOUNT:
            _refuse(self.asked_for, f"account.{name}")
        return super().__getattribute__(name)


class KnownFlow(Flow):
    """A flow of nobody in particular: where it stands is true; whose it is and where it leads is not known.

    Attributes:
        asked_for: What was wanted all the same.
    """

    asked_for: list[str]

    def __getattribute__(self, name: str) -> Any:
        if name in _HIDDEN_FLOW:
            _refuse(self.asked_for, f"flow.{name}")
        return super().__getattribute__(name)


def account_of(
    status: int, roles: tuple[str, ...], access: tuple[str, ...], factors: tuple[str, ...], at: datetime
) -> KnownAccount:
    """Return an account of which this alone is known."""
    account = KnownAccount("nobody", "", "", at, at, status=status, roles=roles, access=access, factors=factors)
    object.__setattr__(account, "asked_for", [])
    return account


def flow_of(flow: Flow) -> KnownFlow:
    """Return a flow of which no more is known than a trace of it tells."""
    known = KnownFlow(
        id=flow.id, kind=flow.kind, state=flow.state, owed=flow.owed, created_at=flow.created_at,
        deadline_at=flow.created_at, provider=flow.provider, proofs=flow.proofs, step=flow.step,
    )  # fmt: skip
    object.__setattr__(known, "asked_for", [])
    return known


def asked_for(*views: KnownAccount | KnownFlow) -> Collection[str]:
    """Return what rules wanted of these that is not known."""
    return {name for view in views for name in view.asked_for}


def _refuse(asked: list[str], name: str) -> None:
    asked.append(name)
    raise NotKnown(name)
