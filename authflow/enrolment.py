"""Adding, removing and renewing second factors. Each change is one commit that ends every other session of the account.

Who may: a fresh login that includes a second factor once the account has one, or a pending login whose last owed step
is to enrol a factor. A pending login that still owes a proof gets nowhere here.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import datetime
from typing import NamedTuple

from authflow import factor_plans
from authflow.changes import Change, carry_out
from authflow.commits import new_id
from authflow.enrolment_access import EnrolmentAccess
from authflow.errors import (
    AlreadyEnrolled,
    Forbidden,
    NotAuthenticated,
    NotFound,
)
from authflow.factor_plans import Confirmation
from authflow.flow import SESSION_KINDS, Flow, FlowKind, FlowState, NotesTaken, ProviderChosen, start
from authflow.guarding import guarded
from authflow.loading import Loaded
from authflow.model import to_instant
from authflow.powers import Enrols, IssuesCodes
from authflow.provider import Ask, Enrolled, Provider, Rejected, SecondFactorProvider, Submission
from authflow.provider import Enrolment as Outcome
from authflow.records import credential_key
from authflow.results import Changed, LoggedIn, StepOwed
from authflow.sessions import Current, Visitor
from authflow.store.protocol import Key
from authflow.tokens import BadToken

_log = logging.getLogger("authflow.enrolment")


class FactorDetail(NamedTuple):
    """What a profile page may say of an enrolled factor: since when, and how many uses are left (None: unlimited)."""

    enrolled_at: datetime
    remaining: int | None


class FactorStatus(NamedTuple):
    """One line of the profile page."""

    provider: SecondFactorProvider
    is_enrolled: bool
    detail: FactorDetail | None


class Enrolment(EnrolmentAccess):
    """Second factors of one application's accounts. Stateless; safe to share."""

    # --- Adding -------------------------------------------------------------------------------------------------------

    async def begin(
        self, provider: Provider, visitor: Visitor, current: Current | None, *, flow_reference: str = ""
    ) -> StepOwed:
        """Make a new secret and show it. It is stored with the flow, encrypted, until it is confirmed.

        Args:
            current: Who is logged in. Without anybody, or where the login is not fresh, a pending login of this browser
                whose open step is to enrol.
            flow_reference: From the form that shows an owed enrolment; without one the newest such flow.

        Raises:
            NotFound: People cannot enrol this factor by themselves, or it belongs to no valid method.
            NotAuthenticated: Nobody is logged in, and no login waits for this.
            ReauthenticationRequired: The login is too old, or lacks the second factor that the account has.
            AlreadyEnrolled: The account has this factor.
        """
        factor = _enrolling(provider)
        flow_id, subject = self._engine.sealer.read_handle(flow_reference)

        async def prepare() -> Change[StepOwed]:
            hint = subject or (current.account.id if current else visitor.account_id)
            loaded = await self._engine.loader.later(hint, visitor)
            owing = await self._owing(provider, flow_id, loaded, visitor, current)
            if owing is None:
                loaded = await self._live(visitor, current)
                account, _ = self._acting(loaded)
                flow = self._started(loaded)
            else:
                loaded, flow, account = owing
            if provider.name in account.factors:
                raise AlreadyEnrolled()
            if not flow.accepts(provider.name):
                raise NotFound("this factor is not among those that can be enrolled")
            if flow.state is FlowState.CHOOSING:
                flow = self._engine.user.advance(flow, ProviderChosen(provider.name))
            ask = factor.begin_enrolment(self._engine.context(flow, provider, account=account))
            noted = self._engine.user.advance(flow, NotesTaken(provider.name, ask.scratch))
            return factor_plans.asked(self._engine, noted, provider, loaded, ask)

        return await carry_out(self._engine, prepare)

    async def confirm(
        self,
        provider: Provider,
        values: Mapping[str, str],
        visitor: Visitor,
        flow_reference: str = "",
        *,
        with_static_key: bool = False,
    ) -> Confirmation:
        """Judge the confirming submission. The secret it confirms is burnt by that, whoever asks next.

        Raises:
            FlowInvalid: No enrolment of this browser is open, or too many submissions were wrong.
            TooLate: The time for it is over.
            ReauthenticationRequired: It was begun under another definition, by a login that this one deems too weak.
        """
        factor = _enrolling(provider)
        flow_id, subject = self._engine.sealer.read_handle(flow_reference)
        judged: tuple[Flow, Outcome] | None = None

        async def prepare() -> Change[Confirmation]:
            nonlocal judged
            loaded, flow = await self._open(provider, flow_id, subject, visitor)
            if judged is None or (judged[0].id, judged[0].scratch) != (flow.id, flow.scratch):
                judged = flow, await self._judge(flow, provider, factor, values, loaded)
            match judged[1]:
                case Enrolled() as outcome:
                    if flow.kind in SESSION_KINDS:
                        return factor_plans.logged_in(
                            self._engine, flow, provider, loaded, outcome, visitor, with_static_key
                        )
                    return factor_plans.enrolled(self._engine, flow, provider, loaded, outcome, visitor)
                case Rejected() as outcome:
                    return factor_plans.rejected(self._engine, flow, provider, loaded, outcome, visitor)
                case Ask() as ask:
                    noted = self._engine.user.advance(flow, NotesTaken(provider.name, ask.scratch))
                    return factor_plans.asked_on(self._engine, noted, provider, loaded, ask)

        result = await carry_out(self._engine, prepare)
        if isinstance(result, LoggedIn):
            await self._engine.run_hook(lambda: self._engine.user.on_login(result.flow, result.account))
        return result

    # --- Removing, renewing, showing ----------------------------------------------------------------------------------

    async def remove(self, provider: Provider, visitor: Visitor, current: Current | None) -> Changed:
        """Remove a factor; with the last one go the codes that stand in for it.

        Raises:
            NotAuthenticated: Nobody is logged in.
            ReauthenticationRequired: The login is too old, or lacks the second factor.
            NotFound: The account does not have this factor.
        """

        async def prepare() -> Change[Changed]:
            loaded = await self._live(visitor, current)
            account, session = self._acting(loaded)
            if provider.name not in account.factors:
                raise NotFound("this factor is not enrolled")
            return factor_plans.removed(self._engine, provider, loaded, session, visitor)

        return await carry_out(self._engine, prepare)

    async def renew_codes(self, provider: Provider, visitor: Visitor, current: Current | None) -> Changed:
        """Issue fresh codes in place of the old ones.

        Raises:
            NotAuthenticated: Nobody is logged in.
            ReauthenticationRequired: The login is too old, or lacks the second factor.
            NotFound: The provider issues no codes.
            Forbidden: The account has no factor that they could stand in for (`factor_missing`).
        """
        if not isinstance(provider, IssuesCodes):
            raise NotFound("this factor issues no codes")
        issuing: IssuesCodes = provider

        async def prepare() -> Change[Changed]:
            loaded = await self._live(visitor, current)
            account, session = self._acting(loaded)
            if not factor_plans.real_factors(self._engine, account):
                raise Forbidden("codes without a factor", code="factor_missing")
            issued = issuing.issue(self._engine.context(self._started(loaded), provider, account=account))
            return factor_plans.renewed(self._engine, provider, loaded, session, issued, visitor)

        return await carry_out(self._engine, prepare)

    def status_keys(self, account_id: str) -> tuple[Key, ...]:
        """Return what `status` looks at, to be read together with the session."""
        return tuple(credential_key(account_id, p.name) for p in self._engine.registry.second_factors)

    def status(self, current: Current) -> list[FactorStatus]:
        """List the offered second factors and how the account stands to each.

        Args:
            current: Read with `status_keys`.
        """
        account, offered = current.account, self._engine.registry.second_factors
        lines = []
        for provider in offered:
            record = current.others.get(credential_key(account.id, provider.name))
            is_enrolled = record is not None and (provider.is_substitute or provider.name in account.factors)
            detail = None
            if record is not None and is_enrolled:
                try:
                    remaining = provider.remaining(self._engine.vault.credential(record.data))
                except BadToken:
                    remaining = None  # Its key is gone. Shown all the same, or nobody could see what is in the way.
                detail = FactorDetail(to_instant(record.data["created_at"]), remaining)
            lines.append(FactorStatus(provider, is_enrolled, detail))
        return lines

    # --- Parts --------------------------------------------------------------------------------------------------------

    def _started(self, loaded: Loaded) -> Flow:
        engine, now, account = self._engine, self._engine.services.clock(), loaded.account
        if account is None:
            raise NotAuthenticated()
        standing = loaded.standing(
            engine.registry.providers, is_active=engine.user.is_active(account), demands_second_factor=False
        )
        return start(
            flow_id=new_id(),
            kind=FlowKind.ENROL,
            verdict=engine.user.remaining_steps(FlowKind.ENROL, (), standing),
            created_at=now,
            deadline_at=now + engine.user.second_factor_time_window,
            fingerprint=engine.fingerprint,
            subject=account.id,
            epoch=account.epoch,
        )

    async def _judge(
        self, flow: Flow, provider: Provider, factor: Enrols, values: Mapping[str, str], loaded: Loaded
    ) -> Outcome:
        submission = Submission(values, flow.scratch.get(provider.name, {}))
        pool = self._engine.services.pool
        with pool.reserve() if provider.uses_hashing else nullcontext() as slot:
            context = self._engine.context(flow, provider, account=loaded.account, slot=slot, submission=submission)
            return await guarded(provider, factor.answer_enrolment(submission, context), Ask, Enrolled, Rejected)


def _enrolling(provider: Provider) -> Enrols:
    if not isinstance(provider, SecondFactorProvider) or not isinstance(provider, Enrols):
        raise NotFound("people cannot enrol this factor by themselves")
    return provider
