"""A provider's context for tests: real randomness and keyed digests, the time handed in."""

import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

from authflow.errors import ContractViolation
from authflow.id_tokens import read_client_token
from authflow.model import Account, Factor, Plain, Proof
from authflow.provider import Fetching, Hashing, Provider

NOON = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)


class Unused:
    """The slow hashes or the network, for providers that must use neither."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"this provider must not use {name!r}")


def account_named(name: str, account_id: str = "an-account") -> Account:
    return Account(account_id, name, name.lower(), created_at=NOON, changed_at=NOON)


@dataclass
class Context:
    """One step of one flow. `keys` are the master keys, newest first."""

    now: datetime = NOON
    account: Account | None = field(default_factory=lambda: account_named("ada@example.org"))
    flow_id: str = "a-flow"
    step: int = 1
    wants_fresh_login: bool = False
    keys: tuple[bytes, ...] = (b"the key of these tests",)
    hashing: Hashing = field(default_factory=lambda: cast(Hashing, Unused()))
    fetching: Fetching = field(default_factory=lambda: cast(Fetching, Unused()))

    def prove(self, provider: Provider, factor: Factor | None = None) -> Proof:
        if self.account is None:
            raise ContractViolation("nobody is known")
        return Proof(provider.name, factor or provider.factor, self.now, self.flow_id, self.step, self.account.id)

    def challenge(self, label: str = "challenge") -> bytes:
        return self.mac(label, f"{self.flow_id}.{self.step}".encode())[0]

    def code(self, digits: int = 6) -> str:
        return str(int.from_bytes(self.challenge("code"), "big") % 10**digits).zfill(digits)

    def mac(self, label: str, message: bytes) -> Sequence[bytes]:
        return [hmac.digest(key, label.encode() + b"." + message, "sha256") for key in self.keys]

    def random_bytes(self, count: int) -> bytes:
        return secrets.token_bytes(count)

    async def id_token(
        self, token: str, *, certs_url: str, issuers: frozenset[str], audience: str, algorithm: str = "RS256"
    ) -> Mapping[str, Plain]:
        return await read_client_token(
            token, fetching=self.fetching, certs_url=certs_url, issuers=issuers, audience=audience, now=self.now,
            algorithm=algorithm,
        )  # fmt: skip

    def callback_url(self) -> str:
        return "https://login.example.org/user/f2_timebasedotp/otp"
