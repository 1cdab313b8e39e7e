"""An engine on a memory store, with a clock that is turned by hand and accounts that are made as records."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from authflow.engine import Engine
from authflow.hashing_pool import HashingPool
from authflow.identifiers import canonical_name
from authflow.model import Account, Credential, Status
from authflow.passwords import PasswordHasher
from authflow.provider import Fetching
from authflow.records import account_key, credential_key, name_key
from authflow.seam import Observer, Seam
from authflow.services import Services
from authflow.sessions import DeviceClaim, Visitor
from authflow.settings import Settings
from authflow.store.instrumented import InstrumentedStore
from authflow.store.memory import MemoryStore
from authflow.store.protocol import Insert, Store
from authflow.tasks.local import LocalQueue
from authflow.tokens import Keyring, digest, new_id
from authflow.user import User

KEY = "test master key, long enough to be one"
PASSWORD = "correct horse battery"
START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@dataclass
class Clock:
    """Time that moves only when it is told to."""

    now: datetime = START

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, span: timedelta) -> None:
        self.now += span


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
    passwords: dict[str, str] = field(default_factory=dict)

    @property
    def user(self) -> User:
        return self.engine.user

    def provider(self, name: str):
        return self.engine.registry.providers[name]

    async def account(
        self, name: str = "ada@example.org", *, password: str | None = PASSWORD, status: int = Status.ACTIVE, **more
    ) -> Account:
        """Write an account, with a password unless it is None."""
        now = self.clock()
        account = Account(new_id(), name, canonical_name(name), now, now, email=name, status=status, **more)
        writes = [
            Insert(account_key(account.id), account.to_data()),
            Insert(name_key(account.canonical_name), {"account_id": account.id}),
        ]
        if password is not None:
            with self.pool.reserve() as slot:
                stored = await self.engine.services.hasher.hash(slot, password)
            credential = Credential(account.id, "user_password", now, now, {"hash": stored})
            writes.append(self.credential_write(credential))
        await self.memory.commit(writes)
        return account

    def credential_write(self, credential: Credential) -> Insert:
        key = credential_key(credential.account_id, credential.provider)
        return Insert(key, self.engine.vault.credential_data(credential))

    async def enrolled(self, account: Account, credential: Credential, *, is_substitute: bool = False) -> Account:
        """Give an account a second factor."""
        key = account_key(account.id)
        record = (await self.memory.get((key,)))[key]
        from authflow.store.protocol import Update

        changed = account if is_substitute else replace(account, factors=(*account.factors, credential.provider))
        await self.memory.commit((Update(key, changed.to_data(), record.version), self.credential_write(credential)))
        return changed

    async def account_now(self, account: Account) -> Account:
        found = await self.engine.account_by_id(account.id)
        assert found is not None
        return found

    async def records(self, kind: str) -> list:
        """Return every record of a kind in the memory store."""
        keys = [key for key in self.memory._rows if key.kind == kind]
        return list((await self.memory.get(keys)).values())

    async def login(
        self, name: str = "ada@example.org", password: str = PASSWORD, visitor: Visitor | None = None, **more
    ):
        values = {"name": name, "password": password}
        return await self.engine.submit(self.provider("user_password"), values, visitor or browser(), **more)


def browser(issued=None, account_id: str = "", *, browser_id: str = "browser-1", devices: tuple[DeviceClaim, ...] = (),
            network: str = "192.0.2.1") -> Visitor:  # fmt: skip
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
) -> Kit:
    """Make an engine. Close `kit.pool` when done, or leave it to the process's end."""
    clock = Clock()
    memory = store or MemoryStore()
    if isinstance(memory, MemoryStore):
        memory._is_open = True  # Opening it does no more, and would make every maker of a kit async.
    seam = Seam(observers)
    seen = InstrumentedStore(memory, seam)
    pool = HashingPool(2, queue_per_thread=200)
    settings = Settings(store="memory:", secret_keys=(KEY,), bcrypt_rounds=rounds)
    services = Services(
        settings=settings,
        store=seen,
        tasks=LocalQueue(seen, clock=clock, seam=seam),
        keyring=Keyring(settings.secret_keys),
        pool=pool,
        hasher=PasswordHasher(pool, rounds),
        seam=seam,
        clock=clock,
        **({"fetching": fetching} if fetching else {}),
    )
    return Kit(Engine(user or User(), services), clock, memory, pool)
