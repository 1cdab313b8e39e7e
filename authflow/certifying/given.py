"""The context as a provider under test gets it: the engine's own, with its uses counted and not watched itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from authflow.certifying.watching import Watch
from authflow.context import Context, NoFetching
from authflow.errors import ContractViolation
from authflow.model import Account, Factor, Plain, Proof
from authflow.provider import Fetching, HashVerdict, Provider


@dataclass
class Uses:
    """What was used of a context, how often; and which proofs were minted by it."""

    counts: Counter[str] = field(default_factory=Counter)
    proofs: list[Proof] = field(default_factory=list)
    random_bytes: int = 0


class Party:
    """Passes requests on to whoever answers for the moment.

    Attributes:
        real: Makes real requests.
        stand_in: A kit's remote party, which answers instead.
    """

    def __init__(self) -> None:
        self.real: Fetching = NoFetching()
        self.stand_in: Fetching | None = None

    async def get_json(self, url: str, *, fresh: bool = False) -> Mapping[str, Plain]:
        return await (self.stand_in or self.real).get_json(url, fresh=fresh)

    async def post_form(self, url: str, values: Mapping[str, str]) -> Mapping[str, Plain]:
        return await (self.stand_in or self.real).post_form(url, values)


@dataclass
class _Hashing:
    _given: Given

    async def hash(self, password: str) -> str:
        return str(await self._given.counted("hash", lambda hashing: hashing.hash(password)))

    async def verify(self, password: str, stored: str | None) -> HashVerdict:
        verdict: HashVerdict = await self._given.counted("verify", lambda hashing: hashing.verify(password, stored))
        return verdict

    def refusal(self, password: str, *, name: str = "") -> str | None:
        with self._given.watch.paused():
            return self._given.inner.hashing.refusal(password, name=name)


@dataclass
class _Fetching:
    _given: Given
    _party: Fetching

    async def get_json(self, url: str, *, fresh: bool = False) -> Mapping[str, Plain]:
        self._given.uses.counts["fetch"] += 1
        with self._given.watch.paused():
            return await self._party.get_json(url, fresh=fresh)

    async def post_form(self, url: str, values: Mapping[str, str]) -> Mapping[str, Plain]:
        self._given.uses.counts["fetch"] += 1
        with self._given.watch.paused():
            return await self._party.post_form(url, values)


class Given:
    """See `provider.ProviderContext`, which this is one of."""

    def __init__(self, inner: Context, fetching: Fetching, uses: Uses, watch: Watch, slot: Any) -> None:
        inner.fetching = _Fetching(self, fetching)
        self.inner, self.uses, self.watch = inner, uses, watch
        self._slot = slot
        self.hashing = _Hashing(self)
        self.fetching: Fetching = inner.fetching

    async def counted(self, name: str, work: Any) -> Any:
        """Do one slow hash in the place that was taken for it."""
        self.uses.counts[name] += 1
        if self._slot is None:
            raise ContractViolation("a provider that hashes must say uses_hashing = True")
        self.inner.hashing = type(self.inner.hashing)(self.inner.hashing.hasher, self._slot)
        with self.watch.paused():
            return await work(self.inner.hashing)

    @property
    def now(self) -> datetime:
        return self.inner.now

    @property
    def account(self) -> Account | None:
        return self.inner.account

    @property
    def flow_id(self) -> str:
        return self.inner.flow_id

    @property
    def step(self) -> int:
        return self.inner.step

    @property
    def wants_fresh_login(self) -> bool:
        return self.inner.wants_fresh_login

    def prove(self, provider: Provider, factor: Factor | None = None) -> Proof:
        self.uses.counts["prove"] += 1
        with self.watch.paused():
            proof = self.inner.prove(provider, factor)
        self.uses.proofs.append(proof)
        return proof

    def challenge(self, label: str = "challenge") -> bytes:
        self.uses.counts["challenge"] += 1
        with self.watch.paused():
            return self.inner.challenge(label)

    def code(self, digits: int = 6) -> str:
        self.uses.counts["code"] += 1
        with self.watch.paused():
            return self.inner.code(digits)

    def mac(self, label: str, message: bytes) -> Sequence[bytes]:
        self.uses.counts["mac"] += 1
        with self.watch.paused():
            return self.inner.mac(label, message)

    def random_bytes(self, count: int) -> bytes:
        self.uses.counts["random_bytes"] += 1
        self.uses.random_bytes += count
        with self.watch.paused():
            return self.inner.random_bytes(count)

    async def id_token(self, token: str, **more: Any) -> Mapping[str, Plain]:
        self.uses.counts["id_token"] += 1
        with self.watch.paused():
            return await self.inner.id_token(token, **more)

    def callback_url(self) -> str:
        with self.watch.paused():
            return self.inner.callback_url()
