"""Whom an explanation is about: an account as it lies in the store, or one that is only described. Writes nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from authflow.account_work import Records
from authflow.diagrams.cases import NOW, any_flow
from authflow.engine import Engine
from authflow.errors import BadInput
from authflow.flow import FlowKind
from authflow.loading import Loaded
from authflow.model import Account, Credential, Status
from authflow.policy import Standing, orphaned_factors
from authflow.records import credential_key
from authflow.tokens import BadToken


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom an explanation is about.

    Attributes:
        account: As it is, or as it was described.
        present: Providers that can judge a credential of it, substitutes included.
        broken: Enrolled factors that cannot be asked for, and why.
        is_described: Whether there is no such account; what it can log in by is then taken for granted.
    """

    account: Account
    present: frozenset[str]
    broken: Mapping[str, str]
    is_described: bool = False


def subject_of(engine: Engine, records: Records, account: Account) -> Subject:
    """Return an account as it lies in the store.

    Args:
        records: It and its credentials, as `ByName.read` has read them.
    """
    credentials: dict[str, Credential] = {}
    unreadable = set()
    for name in engine.registry.declared:
        record = records.get(credential_key(account.id, name))
        if record is not None:
            try:
                credentials[name] = engine.vault.credential(record.data)
            except BadToken:
                unreadable.add(name)
    standing = Loaded(records, account, credentials, None, ()).standing(
        engine.registry.providers, is_active=True, demands_second_factor=False
    )
    broken = {
        name: _cause(engine, name, name in unreadable, name in credentials)
        for name in orphaned_factors(engine.registry.rules, standing)
    }
    return Subject(account, standing.present, broken)


def described(
    engine: Engine, *, factors: Sequence[str] = (), roles: Sequence[str] = (), status: int = Status.ACTIVE
) -> Subject:
    """Return an account that is only described. Every factor that is offered counts as usable.

    Args:
        factors: What it has: second factors and what stands in for them. First steps may be among them; if none is, it
            can be logged in to by all of them. A name that no provider has is a factor whose provider is gone.
    """
    registry = engine.registry
    first = [p.name for p in registry.primaries]
    named = [name for name in factors if name in first]
    standing_in = [p.name for p in registry.second_factors if p.is_substitute]
    enrolled = tuple(dict.fromkeys(name for name in factors if name not in (*first, *standing_in)))
    if any(name in standing_in for name in factors) and not enrolled:
        raise BadInput(f"{' or '.join(standing_in)} only stands in for another factor: name that one too")
    account = Account(
        id="described",
        name="somebody@example.org",
        canonical_name="somebody@example.org",
        created_at=NOW,
        changed_at=NOW,
        email="somebody@example.org",
        status=status,
        roles=tuple(roles),
        factors=enrolled,
    )
    present = {name for name in factors if name in registry.providers} | set(named or first)
    broken = {name: _cause(engine, name, False, True) for name in enrolled if name not in registry.providers}
    return Subject(account, frozenset(present), broken, is_described=True)


def standing_of(engine: Engine, subject: Subject, kind: FlowKind) -> Standing:
    """Return what policy is handed about an account in a flow of this kind."""
    user, account = engine.user, subject.account
    return Standing(
        is_active=user.is_active(account),
        enrolled=account.factors,
        present=subject.present,
        demands_second_factor=user.demands_second_factor(account, any_flow(kind)),
    )


def _cause(engine: Engine, name: str, is_unreadable: bool, is_there: bool) -> str:
    if name not in engine.registry.declared:
        return "its provider is not declared any more"
    if name not in engine.registry.providers:
        return "its provider is not offered, since its settings are missing"
    if is_unreadable:
        return "its credential cannot be decrypted: the master key is gone"
    return "its provider cannot handle the credential" if is_there else "its credential is gone"
