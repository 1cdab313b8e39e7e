"""The ways through a flow, gone by one rehearsed person: request by request, by the engine's own methods."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from authflow.errors import NotAuthenticated, RequestError
from authflow.federated import FederatedProvider
from authflow.flow import Flow, FlowKind
from authflow.model import Purpose
from authflow.provider import Ask, Provider
from authflow.rehearsal.driving import Person, enrolling, scripted, values
from authflow.results import ChoiceOwed, EnrolmentOwed, LoggedIn, StepOwed
from authflow.sessions import Current, IssuedSession, Visitor
from authflow.tickets import insertion, make, mint
from authflow.tokens import digest, new_id, new_secret

if TYPE_CHECKING:
    from authflow.assembly import Application


@dataclass(frozen=True, slots=True)
class Spent:
    """What one request has cost.

    Attributes:
        what: The provider that was answered, or what else was done.
        mails: Deferred mails, by their templates, or by the task that sends one.
    """

    what: str
    round_trips: int
    hashes: int
    mails: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cost:
    """What a way has cost, without contention; pages that are only shown are not in it.

    Attributes:
        stand_ins: Providers that a stand-in answered for.
        outcome: How it ended, as `explaining.Path` says it.
    """

    requests: tuple[Spent, ...]
    stand_ins: tuple[str, ...]
    outcome: str

    @property
    def round_trips(self) -> int:
        return sum(spent.round_trips for spent in self.requests)

    @property
    def hashes(self) -> int:
        return sum(spent.hashes for spent in self.requests)

    @property
    def mails(self) -> tuple[str, ...]:
        return tuple(mail for spent in self.requests for mail in spent.mails)


class Stage(Protocol):
    """Where it happens."""

    @property
    def app(self) -> Application: ...

    @property
    def stand_ins(self) -> frozenset[str]: ...

    def pass_by(self) -> None: ...

    def measured(self, what: str, spent: list[Spent]) -> AbstractContextManager[None]: ...


@dataclass(slots=True)
class Ways:
    """The ways of one person, request by request.

    Attributes:
        spent: What they cost so far.
    """

    stage: Stage
    person: Person
    spent: list[Spent]
    visitor: Visitor = field(default_factory=lambda: Visitor("rehearsal", network="192.0.2.1"))

    # --- Logging in ---------------------------------------------------------------------------------------------------

    async def log_in(self, answers: Sequence[str], *, again: bool = False) -> str:
        engine = self.stage.app.engine
        if again:
            outcome = await self.log_in(answers)
            self.spent.clear()
            if outcome != "logged in":
                return outcome
            self.stage.pass_by()
            account = await engine.account_by_id(self.person.account.id)
            epoch = account.epoch if account else 0
            flow = engine.start(FlowKind.REAUTHENTICATE, subject=self.person.account.id, epoch=epoch)
        else:
            flow = engine.start(FlowKind.LOGIN)
        result: Any = None
        try:
            result = await self._proved(flow, answers[0], engine.reference(flow, self.visitor))
            for name in answers[1:]:
                result = await self._next(result, name)
        except RequestError as error:
            return f"refused: {error.code}"
        return "logged in" if isinstance(result, LoggedIn) else "refused"

    async def _next(self, result: Any, name: str) -> Any:
        engine, flow = self.stage.app.engine, result.flow
        provider, reference = engine.registry.providers[name], engine.reference(flow, self.visitor)
        match result:
            case EnrolmentOwed():
                return await self._enrolled(provider, None, reference)
            case ChoiceOwed():
                with self.stage.measured(f"choosing {name}", self.spent):
                    chosen = await engine.waiting.choose(provider, self.visitor, flow_reference=reference)
                return await self._proved(chosen.flow, name, reference)
            case StepOwed() if result.provider.name != name:
                with self.stage.measured(f"choosing {name}", self.spent):
                    chosen = await engine.waiting.choose(provider, self.visitor, flow_reference=reference)
                return await self._proved(chosen.flow, name, reference)
        return await self._proved(flow, name, reference)

    async def _proved(self, flow: Flow, name: str, reference: str) -> Any:
        engine = self.stage.app.engine
        provider, typed = engine.registry.providers[name], self._typed(flow, name)
        with self.stage.measured(name, self.spent):
            result = await engine.submit(provider, typed, self.visitor, flow_reference=reference)
        self._take(getattr(result, "session", None), is_logged_in=isinstance(result, LoggedIn))
        return result

    async def _enrolled(self, provider: Provider, current: Current | None, reference: str = "") -> Any:
        app = self.stage.app
        with self.stage.measured(f"{provider.name}: its secret", self.spent):
            if current is not None:
                current = await self._current()
            begun = await app.enrolment.begin(provider, self.visitor, current, flow_reference=reference)
        ask, reference = begun.ask, app.engine.reference(begun.flow, self.visitor)
        typed = None
        if isinstance(ask, Ask) and provider.name not in self.stage.stand_ins:
            typed = enrolling(app.engine, begun.flow, provider, self.person, ask)
        with self.stage.measured(f"{provider.name}: confirmed", self.spent):
            result = await app.enrolment.confirm(provider, typed or {"stand_in": "1"}, self.visitor, reference)
        self._take(getattr(result, "session", None), is_logged_in=True)
        return result

    # --- Other goals --------------------------------------------------------------------------------------------------

    async def enrol(self, name: str, login: Sequence[str]) -> str:
        provider = self.stage.app.engine.registry.providers[name]
        await self._logged_in(login)
        await self._enrolled(provider, await self._current())
        return "done; logs nobody in"

    async def settle(self, name: str, login: Sequence[str]) -> str:
        """Change the password, or connect an identity."""
        app = self.stage.app
        provider = app.engine.registry.providers[name]
        await self._logged_in(login)
        if isinstance(provider, FederatedProvider):
            with self.stage.measured(f"{name}: its page", self.spent):
                begun = await app.identities.begin(provider, self.visitor, await self._current())
            reference = app.engine.reference(begun.flow, self.visitor)
            typed = self._typed(begun.flow, name)
            with self.stage.measured(f"{name}: connected", self.spent):
                current = await self._current()
                await app.identities.link(provider, typed, self.visitor, current, flow_reference=reference)
            return "done; logs nobody in"
        new = app.accounts.password_side().power.password_field.name
        typed = {"current_password": self.person.password, new: new_secret()}
        with self.stage.measured("changing the password", self.spent):
            await app.accounts.change_password(await self._current(), typed, self.visitor)
        return "done; logs nobody in"

    async def recover(self) -> str:
        app, account = self.stage.app, self.person.account
        with self.stage.measured("asking", self.spent):
            await app.accounts.ask_recovery({"name": account.name}, self.visitor)
        token = mint(app.services.keyring, Purpose.RECOVERY, new_id(), account.id)
        ticket = make(Purpose.RECOVERY, account, app.engine.services.clock())
        await app.services.store.commit((insertion(token, ticket),))
        new = app.accounts.password_side().power.password_field.name
        with self.stage.measured("recovering", self.spent):
            await app.accounts.recover(token, {new: new_secret()}, self.visitor)
        return "done; logs nobody in"

    async def _logged_in(self, login: Sequence[str]) -> None:
        if await self.log_in(login) != "logged in":
            raise NotAuthenticated("the account cannot be logged in to")
        self.spent.clear()
        self.stage.pass_by()

    async def _current(self) -> Current:
        engine = self.stage.app.engine
        current = await engine.sessions.current(self.visitor, engine.services.clock())
        if current is None:
            raise NotAuthenticated()
        return current

    def _typed(self, flow: Flow, name: str) -> Mapping[str, str]:
        engine = self.stage.app.engine
        if name in self.stage.stand_ins:
            return scripted(self.person)
        return values(engine, flow, engine.registry.providers[name], self.person) or {}

    def _take(self, issued: IssuedSession | None, *, is_logged_in: bool) -> None:
        if issued is not None:
            owner = self.person.account.id if is_logged_in else ""
            self.visitor = replace(self.visitor, session_id=digest(issued.secret), account_id=owner)
