"""What a way through a flow costs, measured: it is gone through, by the engine itself, on a store in memory.

Round trips are counted at the seam, hashes at the hasher, deferred tasks where they are dispatched. Nothing of the
deployment is touched, nothing is sent, and the application's hooks are not called.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from authflow.apart import apart
from authflow.context import NoFetching
from authflow.errors import RequestError
from authflow.federated import Assertion, FederatedProvider
from authflow.federation import linking
from authflow.flow import FlowKind
from authflow.hashing_pool import Slot
from authflow.model import Account, Status
from authflow.passwords import PasswordHasher, Verification
from authflow.provider import Provider
from authflow.records import account_key, credential_key, name_key
from authflow.registry import provider_name
from authflow.rehearsal.driving import Person, equip
from authflow.rehearsal.stand_ins import ISSUER, stand_in
from authflow.rehearsal.ways import Cost, Spent, Ways
from authflow.seam import billing
from authflow.services import system_clock
from authflow.settings import Settings
from authflow.store.protocol import Insert, Write
from authflow.tasks.outbox import tasks_among
from authflow.tokens import new_id
from authflow.user import User

if TYPE_CHECKING:
    from authflow.assembly import Application
    from authflow.explained_accounts import Subject


class _CountingHasher(PasswordHasher):
    count = 0

    async def hash(self, slot: Slot, password: str) -> str:
        self.count += 1
        return await super().hash(slot, password)

    async def verify(self, slot: Slot, password: str, stored: str | None) -> Verification:
        self.count += 1
        return await super().verify(slot, password, stored)


@dataclass(slots=True)
class _Clock:
    now: datetime = field(default_factory=system_clock)

    def __call__(self) -> datetime:
        return self.now


class Rehearsal:
    """An application on a store in memory, in which accounts like a given one go through flows."""

    def __init__(self, app: Application, clock: _Clock, stand_ins: frozenset[str]) -> None:
        self._app, self._clock, self.stand_ins = app, clock, stand_ins
        services = app.services
        self._hasher = _CountingHasher(services.pool, services.hasher.rounds)
        app.engine.services = replace(services, hasher=self._hasher)
        self._tasks: list[str] = []
        dispatch = services.tasks.dispatch

        async def recorded(writes: Sequence[Write]) -> None:
            self._tasks += [_task_name(task.data) for task in tasks_among(writes)]
            await dispatch(writes)

        services.tasks.dispatch = recorded  # type: ignore[method-assign]

    @classmethod
    async def of(cls, settings: Settings, user: User) -> Rehearsal:
        """Make one.

        Args:
            user: Of the application; it is not used itself.
        """
        probe = await cls._built(settings, type(user), frozenset())
        try:
            unknown = frozenset([p.name for p in probe._offered() if not await probe._can_answer(p)])
        finally:
            await probe.close()
        return await cls._built(settings, type(user), unknown)

    @classmethod
    async def _built(cls, settings: Settings, user: type[User], unknown: frozenset[str]) -> Rehearsal:
        clock = _Clock()
        app = apart(settings, _quiet(user)(), clock=clock, fetching=NoFetching())
        if unknown:
            declared = app.engine.registry.declared
            made = {name: stand_in(p) if name in unknown else p for name, p in declared.items()}
            app.services.pool.close()
            app = apart(settings, _quiet(user, made)(), clock=clock, fetching=NoFetching())
        await app.open(with_worker=False)
        return cls(app, clock, unknown)

    async def close(self) -> None:
        """Let go of it."""
        await self._app.close()

    async def cost(
        self, subject: Subject, kind: FlowKind, answers: Sequence[str], login: Sequence[str] = ()
    ) -> Cost | None:
        """Go one way through a flow as an account like this one.

        Args:
            answers: Providers, in the order of their proofs.
            login: By which the account is logged in before, where the flow needs that.

        Returns:
            What it cost, or None for a kind of flow that nothing serves, or that needs a login which is not
            open, or has changed what the flow is about.
        """
        run = Ways(self, await self._admitted(subject), [])
        try:
            outcome = await self._gone(run, kind, answers, login)
        except RequestError:
            # What the login before it has changed is in the way, such as a factor that it had to set up.
            return None
        if not run.spent:
            return None
        used = tuple(name for name in dict.fromkeys(answers) if name in self.stand_ins)
        return Cost(tuple(run.spent), used, outcome)

    async def _gone(self, run: Ways, kind: FlowKind, answers: Sequence[str], login: Sequence[str]) -> str:
        match kind:
            case FlowKind.LOGIN:
                return await run.log_in(answers)
            case FlowKind.REAUTHENTICATE:
                return await run.log_in(answers, again=True)
            case FlowKind.ENROL:
                return await run.enrol(answers[-1], login)
            case FlowKind.SETTINGS:
                return await run.settle(answers[-1], login)
            case FlowKind.RECOVER:
                return await run.recover()
            case _:
                return ""

    # --- Accounts -----------------------------------------------------------------------------------------------------

    def _offered(self) -> Sequence[Provider]:
        return tuple(self._app.engine.registry.providers.values())

    async def _can_answer(self, provider: Provider) -> bool:
        person = Person(_like(None, new_id(), self._clock()))
        try:
            return await equip(self._app.engine, person, provider, is_stand_in=False) is not None
        except Exception:
            # A provider of the application's own that cannot be asked like this.
            return False

    async def _admitted(self, subject: Subject) -> Person:
        """Write an account like the one that is explained, and what its owner knows and has."""
        engine, now = self._app.engine, self._clock()
        account = _like(subject.account, new_id(), now)
        person = Person(account)
        writes: list[Write] = [
            Insert(account_key(account.id), account.to_data()),
            Insert(name_key(account.canonical_name), {"account_id": account.id}),
        ]
        for provider in self._offered():
            if provider.name not in subject.present:
                continue
            made = await equip(engine, person, provider, is_stand_in=provider.name in self.stand_ins)
            if made is None:
                continue
            data = engine.vault.credential_data(made)
            if isinstance(provider, FederatedProvider):
                writes += linking(data, Assertion(ISSUER, account.id), now)
            else:
                writes.append(Insert(credential_key(account.id, provider.name), data))
        await self._app.services.store.commit(writes)
        self.pass_by()
        return person

    def pass_by(self) -> None:
        """Let a code's time pass: none is good twice."""
        self._clock.now += timedelta(minutes=2)

    @contextmanager
    def measured(self, what: str, spent: list[Spent]) -> Iterator[None]:
        """Put what happens in this block on the account."""
        hashes, tasks = self._hasher.count, len(self._tasks)
        with billing() as bill:
            try:
                yield
            finally:
                told = tuple(self._tasks[tasks:])
                spent.append(Spent(what, bill.total("store"), self._hasher.count - hashes, told))

    @property
    def app(self) -> Application:
        return self._app


def _like(account: Account | None, account_id: str, now: datetime) -> Account:
    """Return an account like another one, under names that nobody has."""
    name = f"{account_id.lower()}@rehearsal.invalid"
    if account is None:
        return Account(account_id, name, name, now, now, email=name, status=Status.ACTIVE)
    email = name if account.email else None
    return replace(account, id=account_id, name=name, canonical_name=name, email=email, profile={})


def _quiet(user: type[User], providers: Mapping[str, Provider] | None = None) -> type[User]:
    """Return an application's class without what it does besides; perhaps with other providers of the same names."""

    async def nothing(self: User, *what: object) -> None:
        return None

    hooks = ("on_login", "on_logout", "on_added", "on_edited", "on_deleted")
    own: dict[str, object] = {**dict.fromkeys(hooks, nothing), "__module__": user.__module__}
    quiet = type(user.__name__, (user,), own)
    if providers is not None:
        for attribute in ("authentication_providers", "second_factor_providers"):
            specs = getattr(user, attribute)
            setattr(quiet, attribute, tuple(providers[provider_name(spec)] for spec in specs))
    return quiet


def _task_name(data: Mapping[str, Any]) -> str:
    payload = data.get("payload")
    template = payload.get("template") if isinstance(payload, Mapping) else None
    return str(template or data["task"])
