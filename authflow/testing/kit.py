"""An engine on a memory store, with a clock that is turned by hand and accounts that are made as records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypedDict, Unpack

from authflow.engine import Engine
from authflow.hashing_pool import HashingPool
from authflow.identifiers import canonical_name
from authflow.model import Account, Credential, Plain, Status
from authflow.passwords import PasswordHasher
from authflow.provider import Fetching, Provider
from authflow.records import account_key, credential_key, name_key
from authflow.results import Result
from authflow.seam import Observer, Seam
from authflow.services import Services
from authflow.sessions import DeviceClaim, IssuedSession, Visitor
from authflow.settings import Settings
from authflow.store.instrumented import InstrumentedStore
from authflow.store.memory import MemoryStore
from authflow.store.protocol import Insert, Record, Store, Update, Write
from authflow.tasks.local import LocalQueue
from authflow.testing.clock import Clock
from authflow.testing.person import ADA, PASSWORD
from authflow.testing.stores import opened, records_in_memory
from authflow.tokens import Keyring, digest, new_id
from authflow.user import User

KEY = "test master key, long enough to be one"


class Details(TypedDict, total=False):
    """What an account can be made with; see `Account`."""

    access: tuple[str, ...]
    roles: tuple[str, ...]
    factors: tuple[str, ...]
    epoch: int
    version: int
    profile: Mapping[str, Plain]


@dataclass
class Kit:
    """An engine and what it stands on.

    Attributes:
        memory: The bare store, for looking at its records.
    """

    engine: Engine
    clock: Clock
    memory: Store
    pool: HashingPool

    @property
    def user(self) -> User:
        return self.engine.user

    def provider(self, name: str) -> Provider:
        """Return a provider by its name."""
        return self.engine.registry.providers[name]

    async def account(
        self,
        name: str = ADA,
        *,
        password: str | None = PASSWORD,
        status: int = Status.ACTIVE,
        **details: Unpack[Details],
    ) -> Account:
        """Write an account, with a password unless it is None."""
        now = self.clock()
        account = Account(new_id(), name, canonical_name(name), now, now, email=name, status=status, **details)
        writes: list[Write] = [
            Insert(account_key(account.id), account.to_data()),
            Insert(name_key(account.canonical_name), {"account_id": account.id}),
        ]
        if password is not None:
            with self.pool.reserve() as slot:
                stored = await self.engine.services.hasher.hash(slot, password)
            provider = self.engine.registry.password_provider
            credential = Credential(
                account.id, provider.name if provider else "user_password", now, now, {"hash": stored}
            )
            writes.append(self.credential_write(credential))
        await self.memory.commit(writes)
        return account

    def credential_write(self, credential: Credential) -> Insert:
        """Return what writes a credential, its secret sealed."""
        key = credential_key(credential.account_id, credential.provider)
        return Insert(key, self.engine.vault.credential_data(credential))

    async def enrolled(self, account: Account, credential: Credential, *, is_substitute: bool = False) -> Account:
        """Give an account a second factor."""
        key = account_key(account.id)
        record = (await self.memory.get((key,)))[key]
        changed = account if is_substitute else replace(account, factors=(*account.factors, credential.provider))
        await self.memory.commit((Update(key, changed.to_data(), record.version), self.credential_write(credential)))
        return changed

    async def account_now(self, account: Account) -> Account:
        """Return an account as it is now.

        Raises:
            LookupError: It is gone.
        """
        found = await self.engine.account_by_id(account.id)
        if found is None:
            raise LookupError(f"the account {account.id} is gone")
        return found

    async def records(self, kind: str) -> list[Record]:
        """Return every record of a kind in the memory store."""
        keys = [key for key in records_in_memory(self.memory) if key.kind == kind]
        return list((await self.memory.get(keys)).values())

    async def login(
        self,
        name: str = ADA,
        password: str = PASSWORD,
        visitor: Visitor | None = None,
        *,
        flow_reference: str = "",
        with_static_key: bool = False,
    ) -> Result:
        """Submit name and password; see `Engine.submit`."""
        return await self.engine.submit(
            self.provider("user_password"),
            {"name": name, "password": password},
            visitor or browser(),
            flow_reference=flow_reference,
            with_static_key=with_static_key,
        )


def browser(
    issued: IssuedSession | None = None,
    account_id: str = "",
    *,
    browser_id: str = "browser-1",
    devices: tuple[DeviceClaim, ...] = (),
    network: str = "192.0.2.1",
) -> Visitor:
    """A visitor as the edge would describe it, with the session that was issued to it."""
    session_id = digest(issued.secret) if issued else ""
    return Visitor(browser_id, session_id, account_id if issued else "", devices, network, "test agent")


def make_kit(
    user: User | None = None,
    *,
    store: Store | None = None,
    observers: tuple[Observer, ...] = (),
    fetching: Fetching | None = None,
    rounds: int = 4,
    clock: Clock | None = None,
) -> Kit:
    """Make an engine. Close `kit.pool` when done, or leave it to the process's end.

    Args:
        store: Instead of one in memory.
        observers: Told of every call to the outside.
        rounds: bcrypt's cost.
    """
    now = clock or Clock()
    memory = opened(store or MemoryStore())
    seam = Seam(observers)
    seen = InstrumentedStore(memory, seam)
    pool = HashingPool(2, queue_per_thread=200)
    settings = Settings(store="memory:", secret_keys=(KEY,), bcrypt_rounds=rounds)
    services = Services(
        settings=settings,
        store=seen,
        tasks=LocalQueue(seen, clock=now, seam=seam),
        keyring=Keyring(settings.secret_keys),
        pool=pool,
        hasher=PasswordHasher(pool, rounds),
        seam=seam,
        clock=now,
    )
    if fetching is not None:
        services = replace(services, fetching=fetching)
    return Kit(Engine(user or User(), services), now, memory, pool)
