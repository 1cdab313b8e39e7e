"""What more than one plan writes of identities of elsewhere: the binding, and the profile that comes with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from authflow.federated import Assertion, FederatedProvider
from authflow.fields import read
from authflow.flow import Flow
from authflow.model import Account, Credential, Identity, Plain
from authflow.records import credential_key, identity_key
from authflow.store.protocol import Data, Insert

if TYPE_CHECKING:
    from authflow.engine import Engine


def linking(credential: Data, found: Assertion, now: datetime) -> tuple[Insert, Insert]:
    """Return the writes that bind an identity to an account: who finds it, and what is kept of it.

    Args:
        credential: As `Vault.credential_data` writes it.
    """
    account_id, provider = str(credential["account_id"]), str(credential["provider"])
    identity = Identity(found.issuer, found.subject, account_id, now)
    return (
        Insert(identity_key(found.issuer, found.subject), identity.to_data()),
        Insert(credential_key(account_id, provider), credential),
    )


def accepted_profile(engine: Engine, values: Mapping[str, Plain]) -> dict[str, Plain]:
    """Return those values of an issuer that are declared profile fields and would be accepted from a person."""
    accepted: dict[str, Plain] = {}
    for declared in engine.user.profile_fields:
        value = values.get(declared.name)
        if isinstance(value, str) and value and not read((declared,), {declared.name: value}).errors:
            accepted[declared.name] = value
    return accepted


def synced(
    engine: Engine, flow: Flow, account: Account, credentials: Mapping[str, Credential]
) -> tuple[Account, tuple[Credential, ...]]:
    """Return an account, and credentials, with the profile values that have changed at their issuers.

    What the owner has changed here since then stays until it changes there. Name, address and rights are never touched.

    Args:
        flow: Completed: before that nothing of the account moves.
        credentials: By provider, as they are after the last proof.
    """
    moved: list[Credential] = []
    for proof in flow.proofs:
        provider, credential = engine.registry.get(proof.provider), credentials.get(proof.provider)
        if credential is None or not isinstance(provider, FederatedProvider) or not provider.has_profile_sync:
            continue
        before, after = _values(credential, "synced"), _values(credential, "profile")
        if before == after:
            continue
        moved.append(replace(credential, data={**credential.data, "synced": dict(after)}))
        values = accepted_profile(engine, {name: value for name, value in after.items() if before.get(name) != value})
        if any(account.profile.get(name) != value for name, value in values.items()):
            account = replace(
                account,
                profile={**account.profile, **values},
                version=account.version + 1,
                changed_at=engine.services.clock(),
            )
    return account, tuple(moved)


def _values(credential: Credential, name: str) -> Mapping[str, Plain]:
    found = credential.data.get(name)
    return found if isinstance(found, Mapping) else {}
