"""Where a provider is tried: an application apart with this provider alone, people who use it, calls that are watched.

Every call goes to an instance of its own, as it would in a site of many processes: what one remembers, another does not
know. What comes back is kept, so that checks may look at all of it at the end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, TypeVar

from authflow.apart import apart
from authflow.assembly import Application
from authflow.certifying.attempts import Attempt, Clock, Judged, Person, Seen
from authflow.certifying.given import Given, Party, Uses
from authflow.certifying.kit import CannotBeShown, Kit
from authflow.certifying.opener import make_user
from authflow.certifying.report import Failed, NotShown
from authflow.certifying.watching import Watch
from authflow.errors import AuthflowError, FetchFailed
from authflow.flow import Flow
from authflow.identifiers import canonical_name
from authflow.model import Account, Credential, Identity
from authflow.provider import (
    Ask,
    CredentialId,
    Fetching,
    Identification,
    Nobody,
    PrimaryProvider,
    Provider,
    Redirect,
    Subject,
    Submission,
    Verified,
)
from authflow.records import account_key, credential_id_key, credential_key, identity_key, name_key
from authflow.settings import Settings
from authflow.store.protocol import Insert, Write
from authflow.tokens import new_id

T = TypeVar("T")

PATIENCE = 2.0
"""Seconds after which a call that waits for something is given up."""

_MOST_STEPS = 5


class Bench:
    """An application with one provider, and people who use it.

    Args:
        make: Makes an instance of the provider.
        kit: Who gives right answers, if anybody can.
        settings: The deployment's settings, with what the provider reads in `configure`.
    """

    def __init__(self, make: Callable[[], Provider], kit: type[Kit] | None, settings: Settings) -> None:
        self.make, self.kit, self.settings = make, kit, settings
        self.clock = Clock()
        self.watch = Watch()
        self.seen = Seen()
        self._last_step: int | None = None
        self.environment = settings.provider_environment
        self.provider = self.fresh()
        self.user = make_user(make)
        self.party = Party()
        self.app: Application = self.new_app()
        self.party.real = self.app.fetcher

    # --- The application and its people -------------------------------------------------------------------------------

    def new_app(self) -> Application:
        """Build an application apart on an empty store, at the bench's time."""
        return apart(self.settings, self.user(), clock=self.clock, fetching=self.party)

    def fresh(self) -> Provider:
        """Return a configured instance of its own."""
        provider = self.make()
        provider.configure(self.environment)
        return provider

    def account(self, name: str) -> Account:
        """Return a new account of this name."""
        now, address = self.clock(), name if "@" in name else "ada@example.org"
        return Account(new_id(), name, canonical_name(name), now, now, email=address, profile={"firstname": "Ada"})

    async def person(self, name: str = "ada@example.org", *, app: Application | None = None) -> Person:
        """Make an account and equip it; a while later it is there. In no store: see `stored`.

        Args:
            name: Of the account, unless the kit names it.
            app: By whose keys, if not the bench's own.

        Raises:
            NotShown: Nobody knows how.
        """
        if self.kit is None:
            raise NotShown("it needs a kit")
        kit = self.kit(self.fresh())
        account = self.account(kit.name or name)
        app = app or self.app
        flow = app.engine.start(subject=account.id, epoch=account.epoch)
        with app.services.pool.reserve() as slot:
            context = app.engine.context(flow, self.provider, account=account, slot=slot)
            try:
                credential = await kit.equip(context)
            except CannotBeShown as error:
                raise NotShown(str(error)) from error
        self.clock.pass_by(kit.wait)
        return Person(kit, account, credential)

    async def stored(self, person: Person, app: Application) -> Person:
        """Put somebody into an application's store, as if they had come there by themselves."""
        account, credential, provider = person.account, person.credential, self.provider
        factors = [*self.user.further_factors]
        if credential is not None and not isinstance(provider, PrimaryProvider) and not self.user.is_substitute:
            factors.append(provider.name)
        person.account = account = replace(account, factors=tuple(factors))
        writes: list[Write] = [
            Insert(account_key(account.id), account.to_data()),
            Insert(name_key(account.canonical_name), {"account_id": account.id}),
        ]
        owned = [Credential(account.id, name, self.clock(), self.clock()) for name in self.user.further_factors]
        for one in (*owned, *([credential] if credential else [])):
            writes.append(Insert(credential_key(account.id, one.provider), app.engine.vault.credential_data(one)))
        match person.kit.found_by():
            case Subject(issuer, subject):
                identity = Identity(issuer, subject, account.id, self.clock())
                writes.append(Insert(identity_key(issuer, subject), identity.to_data()))
            case CredentialId(public_id):
                writes.append(Insert(credential_id_key(provider.name, public_id), {"account_id": account.id}))
        await app.services.store.commit(writes)
        return person

    # --- Calls --------------------------------------------------------------------------------------------------------

    def flow(self, person: Person | None = None) -> Flow:
        """Start a flow; for a second factor, as it is after the first step."""
        if person is None or isinstance(self.provider, PrimaryProvider):
            return self.app.engine.start()
        flow = self.app.engine.start(subject=person.account.id, epoch=person.account.epoch)
        return replace(flow, step=1)

    def context(
        self, flow: Flow, account: Account | None = None, submission: Submission | None = None, *, slot: object = None,
        fetching: Fetching | None = None, uses: Uses | None = None,
    ) -> Given:  # fmt: skip
        """Return the context of one call, which counts what is used of it."""
        uses = uses or Uses()
        inner = self.app.engine.context(flow, self.provider, account=account, submission=submission)
        return Given(inner, fetching or self.party, uses, self.watch, slot)

    def begin(self, flow: Flow, account: Account | None = None) -> Ask | Redirect:
        """Ask what is asked.

        Raises:
            Failed: It raised, or answered with something else.
        """
        provider = self.fresh()
        try:
            asked = self.watch.call("begin", lambda: provider.begin(self.context(flow, account)))
        except Exception as error:
            raise Failed(f"begin raised {type(error).__name__}: {error}") from error
        if isinstance(asked, Coroutine):
            asked.close()
        if not isinstance(asked, Ask | Redirect):
            raise Failed(f"begin answered with {type(asked).__name__}, neither Ask nor Redirect")
        return asked

    def known_to(self, person: Person | None) -> Account | None:
        """Return whom `begin` is told of: a second factor knows the account, a first step does not."""
        return None if person is None or isinstance(self.provider, PrimaryProvider) else person.account

    async def attempt(self, person: Person, flow: Flow | None = None) -> Attempt:
        """Come to the last step of an honest answer, and give it without having it judged.

        Raises:
            NotShown: The kit has none.
        """
        flow = flow or self.flow(person)
        asked: Ask | Redirect = self.begin(flow, self.known_to(person))
        for step in range(_MOST_STEPS):
            attempt = await self.answered(person, flow, asked)
            # Judged for what it asks next, and not where nothing will be asked: some answers can be judged only once.
            if step == self._last_step:
                return attempt
            judged = await self.judge(attempt, person.account, person.credential)
            if not isinstance(judged.outcome, Ask | Redirect):
                self._last_step = step
                return await self.answered(person, flow, asked)
            asked = judged.outcome
        raise Failed(f"after {_MOST_STEPS} answers it still asks for more")

    async def answered(self, person: Person, flow: Flow, asked: Ask | Redirect) -> Attempt:
        """Have the kit answer once."""
        try:
            context = self.context(flow, person.account)
            values = await person.kit.answer(asked, context)
        except CannotBeShown as error:
            raise NotShown(str(error)) from error
        return Attempt(
            flow, asked, Submission(dict(values), asked.scratch, isinstance(asked, Redirect)), person.kit.fetching
        )

    async def judge(
        self, attempt: Attempt, account: Account | None, credential: Credential | None, *,
        fetching: Fetching | None = None, provider: Provider | None = None,
    ) -> Judged:  # fmt: skip
        """Have a submission identified and judged, as the engine does it."""
        provider, uses = provider or self.fresh(), Uses()
        began = time.thread_time()
        fetching = fetching or attempt.party
        submission = attempt.submission
        who: Identification | None = None
        needs_slot = provider.uses_hashing
        with self.app.services.pool.reserve() if needs_slot else nullcontext() as slot:
            try:
                if isinstance(provider, PrimaryProvider):
                    context = self.context(attempt.flow, None, submission, fetching=fetching, uses=uses)
                    who = await self._timed("identify", provider.identify(submission, context))
                    if isinstance(who, Subject | Nobody):
                        submission = replace(submission, evidence=who.evidence)
                context = self.context(attempt.flow, account, submission, slot=slot, fetching=fetching, uses=uses)
                outcome = await self._timed("answer", provider.answer(credential, submission, context))
            except AuthflowError as error:
                if not isinstance(error, FetchFailed):
                    self.seen.errors.append(("identify or answer", f"{type(error).__name__}: {error}"))
                return Judged(None, error, uses, who)
            except Exception as error:
                self.seen.errors.append(("identify or answer", f"{type(error).__name__}: {error}"))
                return Judged(None, error, uses, who)
        self.seen.outcomes.append(outcome)
        return Judged(outcome, None, uses, who, time.thread_time() - began)

    async def right(self, person: Person, flow: Flow | None = None) -> tuple[Attempt, Verified]:
        """Give an honest answer and have it judged.

        Raises:
            NotShown: The kit has none, or what it has is not accepted.
        """
        attempt = await self.attempt(person, flow)
        judged = await self.judge(attempt, person.account, person.credential)
        if not isinstance(judged.outcome, Verified):
            raise NotShown(f"the kit's answer is not accepted: {judged.said()}")
        return attempt, judged.outcome

    async def _timed(self, method: str, work: Coroutine[Any, Any, T]) -> T:
        async with asyncio.timeout(PATIENCE):
            return await self.watch.await_(method, work)

    async def close(self) -> None:
        await self.app.close()
        await asyncio.sleep(0)
