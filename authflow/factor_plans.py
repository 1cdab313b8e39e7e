"""What each change of an account's second factors writes. Builds; never commits, never reads.

Adding, removing and renewing raise the account's epoch, which ends every session, ticket and pending flow of it. The
acting session is made anew in the same commit, and its old record is deleted guarded: of two at once, one wins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeAlias

from authflow import audit, commits, parts
from authflow.changes import Change
from authflow.engine import Engine
from authflow.errors import ContractViolation, FlowInvalid, IllegalTransition
from authflow.flow import Flow, FlowState, SubmissionRejected
from authflow.loading import Loaded
from authflow.model import Account, Credential, Event, Session
from authflow.powers import Enrols, IssuedCodes, IssuesCodes, ShowsEnrolment
from authflow.provider import Ask, Charge, Enrolled, Provider, Rejected, SecondFactorProvider
from authflow.records import credential_key
from authflow.results import Changed, LoggedIn, NotProved, StepOwed
from authflow.sessions import Visitor
from authflow.store.protocol import Delete, Insert, Update, Write
from authflow.tracing import Moved

Confirmation: TypeAlias = Changed | LoggedIn | NotProved | StepOwed
"""What comes of a confirming submission; `StepOwed` where the provider wants to know more."""


def asked(engine: Engine, flow: Flow, provider: Provider, loaded: Loaded, ask: Ask) -> Change[StepOwed]:
    """A secret was made: it waits, encrypted, in the session's flow."""
    writes = [parts.session_with(engine, loaded, flow)]
    delivery = parts.delivery_write(engine, flow, provider, ask)
    if delivery is not None:
        writes.append(delivery)
    traced = Moved(flow, (f"asked:{provider.name}",), loaded)
    return Change(tuple(writes), StepOwed(flow, provider, ask), moved=(traced,))


def asked_on(engine: Engine, flow: Flow, provider: Provider, loaded: Loaded, ask: Ask) -> Change[Confirmation]:
    """The provider wants to know more before it confirms."""
    change = asked(engine, flow, provider, loaded, ask)
    return Change(change.writes, change.result, moved=change.moved)


def rejected(
    engine: Engine, flow: Flow, provider: Provider, loaded: Loaded, outcome: Rejected, visitor: Visitor
) -> Change[Confirmation]:
    """The confirmation was wrong. Whoever mistypes harms nobody but this flow, so it alone counts."""
    if outcome.charge is Charge.NOTHING:
        ask = _shown_again(engine, flow, provider, loaded)
        return Change((), NotProved(flow, provider, ask, outcome.reason, Charge.NOTHING))
    moved = engine.user.advance(flow, SubmissionRejected(provider.name, outcome.reason))
    happened = _event(engine, "enrolment_refused", flow.subject, provider, visitor, flow.id, outcome.reason)
    writes = (parts.session_with(engine, loaded, moved),)
    if not moved.is_open:
        result = NotProved(moved, provider, Ask(()), "too_many_rejections", Charge.FLOW)
        ended = Moved(moved, (f"rejected:{provider.name}:{outcome.reason}", "refused:too_many_rejections"), loaded)
        refusal = FlowInvalid("too many rejections in one flow")
        return Change(writes, result, (happened,), refusal, (ended,))
    ask = _shown_again(engine, moved, provider, loaded)
    traced = Moved(moved, (f"rejected:{provider.name}:{outcome.reason}",), loaded)
    return Change(writes, NotProved(moved, provider, ask, outcome.reason, Charge.FLOW), (happened,), moved=(traced,))


def enrolled(
    engine: Engine, flow: Flow, provider: Provider, loaded: Loaded, outcome: Enrolled, visitor: Visitor
) -> Change[Confirmation]:
    """A logged-in person has confirmed a new factor."""
    moved = _completed(engine, flow, provider, loaded, outcome)
    account, writes, codes = _with_factor(engine, moved, provider, loaded, outcome)
    session = loaded.session
    if session is None:
        raise FlowInvalid("no session")
    # The person has just proved the factor, so this session may go on to what wants one.
    proved = replace(session, proofs=(*session.proofs, outcome.proof))
    happened = _event(engine, "factor_enrolled", account.id, provider, visitor, flow.id)
    change = parts.reissued(engine, loaded, proved, account, writes, happened, codes)
    traced = Moved(moved, (f"completed:{provider.name}",), loaded)
    return Change(change.writes, change.result, change.events, moved=(traced,))


def logged_in(
    engine: Engine,
    flow: Flow,
    provider: Provider,
    loaded: Loaded,
    outcome: Enrolled,
    visitor: Visitor,
    with_static_key: bool,
) -> Change[Confirmation]:
    """The factor that a pending login owed is there, and with it the login is complete."""
    moved = _completed(engine, flow, provider, loaded, outcome)
    account, writes, codes = _with_factor(engine, moved, provider, loaded, outcome)
    writes.append(parts.account_write(loaded, account))
    happened = _event(engine, "factor_enrolled", account.id, provider, visitor, flow.id)
    plan = commits.completed(
        engine, moved, provider, loaded, visitor, writes, with_static_key,
        account=account, codes=codes, events=(happened,),
    )  # fmt: skip
    if not isinstance(plan.result, LoggedIn):
        raise ContractViolation("a completed login without a session")
    return Change(plan.writes, plan.result, plan.events, moved=plan.moved)


def removed(engine: Engine, provider: Provider, loaded: Loaded, session: Session, visitor: Visitor) -> Change[Changed]:
    """A factor goes; with the last one go its substitutes, which would be asked for by nobody."""
    account = _changed_account(engine, loaded, [name for name in _of(loaded).factors if name != provider.name])
    gone = [provider.name]
    if not real_factors(engine, account):
        gone += substitutes(engine)
    writes: list[Write] = [
        Delete(record.key, record.version) for name in gone if (record := loaded.credential_record(name)) is not None
    ]
    writes += parts.notice_write(engine, account, "factor_removed", label=provider.label)
    happened = _event(engine, "factor_removed", account.id, provider, visitor)
    return parts.reissued(engine, loaded, session, account, writes, happened)


def renewed(
    engine: Engine, provider: Provider, loaded: Loaded, session: Session, issued: IssuedCodes, visitor: Visitor
) -> Change[Changed]:
    """Fresh codes take the place of the old ones."""
    account = _changed_account(engine, loaded, _of(loaded).factors)
    writes = [credential_write(engine, loaded, issued.credential)]
    writes += parts.notice_write(engine, account, "recovery_codes_renewed", label=provider.label)
    happened = _event(engine, "recovery_codes_renewed", account.id, provider, visitor)
    return parts.reissued(engine, loaded, session, account, writes, happened, issued.codes)


# --- Parts of plans ---------------------------------------------------------------------------------------------------


def substitutes(engine: Engine) -> list[str]:
    """Return the names of the declared factors that only stand in for others."""
    declared = engine.registry.declared.values()
    return [p.name for p in declared if isinstance(p, SecondFactorProvider) and p.is_substitute]


def real_factors(engine: Engine, account: Account) -> list[str]:
    """Return the enrolled factors that are no substitutes."""
    standing_in = substitutes(engine)
    return [name for name in account.factors if name not in standing_in]


def credential_write(engine: Engine, loaded: Loaded, credential: Credential) -> Write:
    """Return the guarded write of a new credential."""
    key = credential_key(credential.account_id, credential.provider)
    record, data = loaded.credential_record(credential.provider), engine.vault.credential_data(credential)
    return Insert(key, data) if record is None else Update(key, data, record.version)


def _of(loaded: Loaded) -> Account:
    if loaded.account is None:
        raise FlowInvalid("the subject is gone")
    return loaded.account


def _completed(engine: Engine, flow: Flow, provider: Provider, loaded: Loaded, outcome: Enrolled) -> Flow:
    """Count the enrolment's proof; nothing may be owed after it."""
    account, credential = _of(loaded), outcome.credential
    if outcome.proof.provider != provider.name or credential.provider != provider.name:
        raise ContractViolation(f"{provider.name}: enrolled in another's name")
    if outcome.proof.subject != account.id or credential.account_id != account.id:
        raise ContractViolation(f"{provider.name}: enrolled for somebody else")
    try:
        moved = engine.user.continue_authentication_flow(flow, outcome.proof, loaded)
    except IllegalTransition as error:
        raise ContractViolation(f"{provider.name}: {error}") from error
    if moved.state is not FlowState.COMPLETED:
        raise FlowInvalid(f"after the enrolment the flow is {moved.state}")
    return moved


def _with_factor(
    engine: Engine, flow: Flow, provider: Provider, loaded: Loaded, outcome: Enrolled
) -> tuple[Account, list[Write], tuple[str, ...]]:
    """Return the account with the factor, what is written beside account and session, and first codes to be shown."""
    account = _changed_account(engine, loaded, [*_of(loaded).factors, provider.name])
    # Codes that have outlived the last factor stood in for another one: they were removed where nobody knew of them.
    is_first = not real_factors(engine, _of(loaded))
    writes = [credential_write(engine, loaded, outcome.credential)]
    codes: tuple[str, ...] = ()
    for issuing in engine.registry.second_factors:
        if (
            isinstance(issuing, IssuesCodes)
            and issuing.name != provider.name
            and (is_first or issuing.name not in loaded.credentials)
        ):
            issued = issuing.issue(engine.context(flow, issuing, account=account))
            writes.append(credential_write(engine, loaded, issued.credential))
            codes += issued.codes
    writes += parts.notice_write(engine, account, "factor_added", label=provider.label)
    return account, writes, codes


def _changed_account(engine: Engine, loaded: Loaded, factors: Sequence[str]) -> Account:
    account = _of(loaded)
    return replace(account, factors=tuple(factors), epoch=account.epoch + 1, changed_at=engine.services.clock())


def _shown_again(engine: Engine, flow: Flow, provider: Provider, loaded: Loaded) -> Ask:
    """Show the same secret once more. Where the provider cannot, only its fields: a new secret would mislead."""
    context, notes = engine.context(flow, provider, account=loaded.account), flow.scratch.get(provider.name, {})
    if isinstance(provider, ShowsEnrolment):
        return provider.show_enrolment(notes, context)
    if isinstance(provider, Enrols):
        return replace(provider.begin_enrolment(context), params={}, scratch={}, delivery=None)
    return Ask(())


def _event(
    engine: Engine,
    type_: str,
    account_id: str,
    provider: Provider,
    visitor: Visitor,
    flow_id: str = "",
    reason: str = "",
) -> Event:
    return audit.event(
        type_,
        engine.services.clock(),
        account_id=account_id,
        provider=provider.name,
        flow_id=flow_id,
        reason=reason,
        client=visitor.network,
    )
