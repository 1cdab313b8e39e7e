"""Where each record lies, and how the ones with secrets are written.

Keys derive from what is known, so that no request has to query.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from authflow.flow import Flow
from authflow.model import Credential, Plain, from_instant, to_instant
from authflow.store.protocol import Data, Key
from authflow.tokens import Keyring, digest


def account_key(account_id: str) -> Key:
    return Key("account", account_id)


def name_key(canonical_name: str) -> Key:
    """The entity that makes a name unique; it holds the account id."""
    return Key("name", canonical_name)


def identity_key(issuer: str, subject: str) -> Key:
    return Key("identity", f"{issuer} {subject}")


def credential_key(account_id: str, provider: str) -> Key:
    return Key("credential", f"{account_id}.{provider}")


def credential_id_key(provider: str, credential_id: str) -> Key:
    """The entity that finds an account by a credential's public id (a passkey without a name)."""
    return Key("credential_id", f"{provider}.{credential_id}")


def session_key(session_id: str) -> Key:
    return Key("session", session_id)


def login_info_key(account_id: str) -> Key:
    return Key("login_info", account_id)


def ticket_key(ticket_digest: str) -> Key:
    return Key("ticket", ticket_digest)


def attempt_key(attempt_id: str) -> Key:
    """What a repeated registration chose, until its link is followed; under the id of the task that mails the link."""
    return Key("attempt", attempt_id)


def newest_attempt_key(account_id: str) -> Key:
    """Which registration of an account's name was the last one."""
    return Key("newest_attempt", account_id)


def spent_key(flow_id: str) -> Key:
    """The mark that a flow has been started; inserted once."""
    return Key("spent", flow_id)


def spent_keys(flow_id: str, provider: str, evidence: str) -> tuple[Key, ...]:
    """Return the marks of what a first proof uses up: its flow, and evidence that no nonce binds to it, if any."""
    own = (spent_key(flow_id),)
    return (*own, Key("spent", f"{provider}.{digest(evidence)}")) if evidence else own


def lookup_keys(credential: Data | Mapping[str, Any]) -> tuple[Key, ...]:
    """Return the records that find an account by this credential, and go when it goes.

    Args:
        credential: The data of a credential's record.
    """
    kept = credential["data"]
    if isinstance(kept, Mapping) and isinstance(kept.get("issuer"), str) and isinstance(kept.get("subject"), str):
        return (identity_key(str(kept["issuer"]), str(kept["subject"])),)
    return ()


class Vault:
    """Writes and reads what holds secrets: credentials, choices of registrations, the scratch areas of flows."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring

    def credential_data(self, credential: Credential) -> dict[str, Plain]:
        place = credential_key(credential.account_id, credential.provider).name
        return {
            "account_id": credential.account_id,
            "provider": credential.provider,
            "created_at": from_instant(credential.created_at),
            "changed_at": from_instant(credential.changed_at),
            "data": dict(credential.data),
            "secret": self._keyring.encrypt("credential", credential.secret, context=place)
            if credential.secret
            else "",
        }

    def credential(self, data: Data | Mapping[str, Any]) -> Credential:
        """Read a credential.

        Raises:
            BadToken: Its secret cannot be decrypted: changed, moved, or the key is gone.
        """
        raw: Mapping[str, Any] = data
        place = credential_key(raw["account_id"], raw["provider"]).name
        return Credential(
            account_id=raw["account_id"],
            provider=raw["provider"],
            created_at=to_instant(raw["created_at"]),
            changed_at=to_instant(raw["changed_at"]),
            data=raw["data"],
            secret=self._keyring.decrypt("credential", raw["secret"], context=place) if raw["secret"] else b"",
        )

    def seal_choice(self, attempt_id: str, credential: Credential, profile: Mapping[str, Plain]) -> str:
        """Encrypt what a registration chose, for its account and this attempt alone."""
        plain = _dump({"credential": self.credential_data(credential), "profile": dict(profile)})
        return self._keyring.encrypt("choice", plain, context=f"{credential.account_id}.{attempt_id}")

    def choice(self, attempt_id: str, account_id: str, sealed: str) -> tuple[Credential, Mapping[str, Plain]]:
        """Read the credential and the profile that a registration chose.

        Raises:
            BadToken: It cannot be decrypted: changed, of another account or attempt, or the key is gone.
        """
        raw = _load(self._keyring.decrypt("choice", sealed, context=f"{account_id}.{attempt_id}"))
        return self.credential(raw["credential"]), raw["profile"]

    def flow_data(self, flow: Flow) -> dict[str, Plain]:
        """Write a flow with its scratch area encrypted for this flow alone."""
        data = flow.to_data()
        if flow.scratch:
            data["scratch"] = self._keyring.encrypt("scratch", _dump(flow.scratch), context=flow.id)
        return data

    def flow(self, data: Mapping[str, Any]) -> Flow:
        """Read a flow.

        Raises:
            BadToken: Its scratch area cannot be decrypted.
        """
        sealed = data.get("scratch")
        if not sealed:
            return Flow.from_data(data)
        return Flow.from_data(data, _load(self._keyring.decrypt("scratch", sealed, context=data["id"])))


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _load(raw: bytes) -> Any:
    return json.loads(raw)
