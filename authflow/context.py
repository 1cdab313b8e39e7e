"""The context a provider is handed: time, keys, hashing, fetching, and nothing global."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from authflow.errors import ContractViolation, FetchFailed
from authflow.flow import Flow, FlowKind
from authflow.guarding import off_the_clock
from authflow.hashing_pool import Slot
from authflow.model import Account, Factor, Plain, Proof
from authflow.password_rules import check_new_password
from authflow.passwords import PasswordHasher, Verification
from authflow.provider import Fetching, Provider, Submission
from authflow.tokens import Keyring, digest


@dataclass(frozen=True, slots=True)
class SlotHashing:
    """The hashing pool with the place that was taken for this submission."""

    hasher: PasswordHasher
    slot: Slot | None
    context_words: tuple[str, ...] = ()

    async def hash(self, password: str) -> str:
        with off_the_clock():
            return await self.hasher.hash(self._place(), password)

    async def verify(self, password: str, stored: str | None) -> Verification:
        with off_the_clock():
            return await self.hasher.verify(self._place(), password, stored)

    def refusal(self, password: str, *, name: str = "") -> str | None:
        return check_new_password(password, name=name, context_words=self.context_words)

    def _place(self) -> Slot:
        if self.slot is None:
            raise ContractViolation("a provider that hashes must say uses_hashing = True")
        return self.slot


class NoFetching:
    """Stands in where no remote party is configured."""

    async def get_json(self, url: str, *, fresh: bool = False) -> Mapping[str, Plain]:
        raise FetchFailed("no fetcher is configured")

    async def post_form(self, url: str, values: Mapping[str, str]) -> Mapping[str, Plain]:
        raise FetchFailed("no fetcher is configured")


@dataclass(slots=True)
class Context:
    """See `provider.ProviderContext`, which this is one of."""

    now: datetime
    flow: Flow
    provider: Provider
    account: Account | None
    hashing: SlotHashing
    fetching: Fetching
    keyring: Keyring = field(repr=False)
    base_url: str = ""
    submission: Submission | None = None

    @property
    def flow_id(self) -> str:
        return self.flow.id

    @property
    def step(self) -> int:
        return self.flow.step

    @property
    def wants_fresh_login(self) -> bool:
        return self.flow.kind is FlowKind.REAUTHENTICATE

    def prove(self, provider: Provider, factor: Factor | None = None) -> Proof:
        if self.account is None or provider.name != self.provider.name:
            raise ContractViolation(f"{provider.name} proves something about nobody, or in another's name")
        return Proof(
            provider=provider.name,
            factor=factor or provider.factor,
            at=self.now,
            flow_id=self.flow.id,
            step=self.flow.step,
            subject=self.account.id,
            submission=submission_digest(self.keyring, self.flow.id, self.submission),
        )

    def challenge(self, label: str = "challenge") -> bytes:
        return self.keyring.mac("challenge", f"{label}:{self.flow.id}:{self.flow.step}:{self.provider.name}".encode())

    def code(self, digits: int = 6) -> str:
        subject = self.account.id if self.account else ""
        return derived_code(self.keyring, self.flow.id, self.flow.step, self.provider.name, subject, digits)

    def mac(self, label: str, message: bytes) -> Sequence[bytes]:
        return self.keyring.macs(f"{self.provider.name}:{label}", message)

    def random_bytes(self, count: int) -> bytes:
        return secrets.token_bytes(count)

    async def id_token(
        self, token: str, *, certs_url: str, issuers: frozenset[str], audience: str, algorithm: str = "RS256"
    ) -> Mapping[str, Plain]:
        # Here, since only some providers read tokens.
        from authflow.id_tokens import read_client_token

        return await read_client_token(
            token, fetching=self.fetching, certs_url=certs_url, issuers=issuers, audience=audience, now=self.now,
            algorithm=algorithm,
        )  # fmt: skip

    def callback_url(self) -> str:
        # Whoever links an identity comes back to the page that links, not to the login.
        action = "add" if self.flow.kind is FlowKind.SETTINGS else self.provider.action
        return f"{self.base_url}/user/{self.provider.path}/{action}"


def derived_code(keyring: Keyring, flow_id: str, step: int, provider: str, subject: str, digits: int) -> str:
    """Return the out-of-band code of a flow's step for one account. The worker makes it anew from the same ids.

    The subject is part of it: a first step travels, and one flow could otherwise be begun in two names.
    """
    number = int.from_bytes(keyring.mac("code", f"{flow_id}:{step}:{provider}:{subject}".encode()), "big")
    return str(number % 10**digits).zfill(digits)


def submission_digest(keyring: Keyring, flow_id: str, submission: Submission | None) -> str:
    """Return a keyed digest of what was submitted: tells two submissions apart and gives nothing of them away."""
    if submission is None:
        return ""
    text = "\n".join(f"{name}={digest(value)}" for name, value in sorted(submission.values.items()))
    return keyring.mac_text("submission", f"{flow_id}\n{text}")[:22]
