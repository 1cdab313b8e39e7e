"""What each judgement writes: plans of one conditional commit. Builds; never commits, never reads.

Every plan writes the bucket that could have refused the submission, guarded, whether it was right or wrong: without
that, the right guess among many parallel ones outruns the count.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from authflow import audit, parts, sessions
from authflow.errors import (
    AuthflowError,
    ContractViolation,
    DefinitionChanged,
    FlowInvalid,
    IllegalTransition,
    NoMethodLeft,
)
from authflow.federation import synced
from authflow.flow import (
    Flow,
    FlowCancelled,
    FlowKind,
    FlowState,
    NotesTaken,
    SentAway,
    StepKind,
    SubmissionRejected,
)
from authflow.loading import Loaded
from authflow.model import Account, Credential, Event
from authflow.provider import Ask, Charge, Provider, Redirect, Rejected, SecondFactorProvider, Verified
from authflow.records import credential_key
from authflow.results import ChoiceOwed, EnrolmentOwed, LoggedIn, NotProved, Result, StepOwed
from authflow.sessions import DeviceClaim, IssuedSession, Visitor
from authflow.store.protocol import Delete, Update, Write
from authflow.tokens import new_id
from authflow.tracing import Moved

if TYPE_CHECKING:
    from authflow.engine import Engine

__all__ = ["Plan", "new_id"]


@dataclass(frozen=True, slots=True)
class Plan:
    """One commit and what it means.

    Attributes:
        writes: All or none. Empty when nothing is to be counted or stored.
        result: What the edge is told once the commit is done.
        events: Inserted with the writes and logged after them.
        refusal: Raised after the commit instead of the result.
        moved: What it means to flows, for their traces.
    """

    writes: tuple[Write, ...]
    result: Result
    events: tuple[Event, ...] = ()
    refusal: AuthflowError | None = None
    needs_rehash: bool = False
    moved: tuple[Moved, ...] = ()

    def all_writes(self) -> list[Write]:
        return [*self.writes, *audit.inserted(self.events)]


def rejected_first(
    engine: Engine,
    flow: Flow,
    provider: Provider,
    loaded: Loaded,
    reason: str,
    visitor: Visitor,
    outcome: Rejected | None = None,
) -> Plan:
    """A first step went wrong: its buckets are raised. The flow still travels, so nothing of it is stored."""
    charge = outcome.charge if outcome else Charge.ACCOUNT
    ask = _form(engine, flow, provider, loaded.account if flow.subject else None)
    result = NotProved(flow, provider, ask, reason, charge)
    if charge is Charge.NOTHING:
        return Plan((), result)
    now = engine.services.clock()
    # What is charged to the flow names no account: only the client's count rises.
    buckets = [bucket for bucket in loaded.buckets if charge is Charge.ACCOUNT or not bucket.is_exact]
    writes: list[Write] = [bucket.failed(now) for bucket in buckets]
    writes += _credential_writes(engine, provider, loaded, outcome.credential if outcome else None)
    happened = audit.event(
        "login_refused",
        now,
        account_id=loaded.account.id if loaded.account else "",
        provider=provider.name,
        flow_id=flow.id,
        reason=reason,
        client=visitor.network,
    )
    traced = _of_first(flow, (f"rejected:{provider.name}:{reason}",), loaded)
    return Plan(tuple(writes), result, (happened,), moved=(traced,))


def rejected_later(
    engine: Engine, flow: Flow, provider: Provider, loaded: Loaded, outcome: Rejected, visitor: Visitor
) -> Plan:
    """A later step went wrong: counted on the account, or on this flow alone, or not at all."""
    account = loaded.account
    if outcome.charge is Charge.NOTHING:
        return Plan(
            (), NotProved(flow, provider, _form(engine, flow, provider, account), outcome.reason, outcome.charge)
        )
    now = engine.services.clock()
    moved = engine.user.advance(flow, SubmissionRejected(provider.name, outcome.reason))
    buckets = loaded.buckets if outcome.charge is Charge.ACCOUNT else ()
    writes: list[Write] = [bucket.failed(now) for bucket in buckets]
    writes += _credential_writes(engine, provider, loaded, outcome.credential)
    writes.append(parts.session_with(engine, loaded, moved))
    happened = audit.event(
        "second_factor_refused",
        now,
        account_id=flow.subject,
        provider=provider.name,
        flow_id=flow.id,
        reason=outcome.reason,
        client=visitor.network,
    )
    ask = _form(engine, moved, provider, account)
    reason = outcome.reason if moved.is_open else "too_many_rejections"
    refusal = None if moved.is_open else FlowInvalid("too many rejections in one flow")
    happening = (f"rejected:{provider.name}:{outcome.reason}", *(() if moved.is_open else (f"refused:{reason}",)))
    return Plan(
        tuple(writes),
        NotProved(moved, provider, ask, reason, outcome.charge),
        (happened,),
        refusal,
        moved=(Moved(moved, happening, loaded),),
    )


def verified(
    engine: Engine,
    flow: Flow,
    provider: Provider,
    loaded: Loaded,
    outcome: Verified,
    visitor: Visitor,
    with_static_key: bool,
) -> Plan:
    """A step was proved: count the proof, and complete the flow or open its next step."""
    now = engine.services.clock()
    is_first = not flow.proofs
    _demand_own_proof(provider, outcome, loaded)
    try:
        if is_first:
            moved = engine.user.continue_authentication_flow(flow, outcome.proof, loaded)
            moved = replace(moved, deadline_at=now + engine.user.second_factor_time_window)
        else:
            moved = engine.user.second_factor_succeeded(flow, outcome.proof, loaded, now)
    except IllegalTransition as error:
        raise ContractViolation(f"{provider.name}: {error}") from error
    writes: list[Write] = [write for bucket in loaded.buckets for write in bucket.succeeded(now)]
    written = {provider.name: outcome.credential} if outcome.credential else {}
    if moved.state is FlowState.COMPLETED and loaded.account is not None:
        account, credentials = synced(engine, moved, loaded.account, {**loaded.credentials, **written})
        written |= {credential.provider: credential for credential in credentials}
        if account is not loaded.account:
            writes.append(parts.account_write(loaded, account))
            loaded = replace(loaded, account=account)
    for name, credential in written.items():
        writes += _credential_writes(engine, engine.registry.providers[name], loaded, credential)
    if is_first:
        # The same travelling flow cannot be started twice, in this browser or in a copy of it.
        writes += parts.spending(flow, provider, outcome.single_use, now)
    writes += _use_notice(engine, provider, loaded, outcome.credential)
    if moved.state is FlowState.COMPLETED:
        return completed(engine, moved, provider, loaded, visitor, writes, with_static_key, outcome.needs_rehash)
    if moved.state is FlowState.REFUSED:
        reason = moved.trace[-1].partition(":")[2]
        happened = _login_event(engine, "login_refused", moved, provider, visitor, reason=reason)
        result = NotProved(moved, provider, Ask(()), reason)
        is_elsewhere = reason == DefinitionChanged.code
        changed = DefinitionChanged(reason, return_to=flow.return_to)
        refusal = changed if is_elsewhere else NoMethodLeft(reason, code=reason)
        if not is_first:
            writes.append(parts.session_with(engine, loaded, moved))
        traced = Moved(moved, (f"completed:{provider.name}", f"refused:{reason}"), loaded)
        return Plan(tuple(writes), result, (happened,), refusal, moved=(traced,))
    return _next_step(engine, moved, provider, loaded, visitor, writes, outcome.needs_rehash)


def completed(
    engine: Engine,
    flow: Flow,
    provider: Provider,
    loaded: Loaded,
    visitor: Visitor,
    writes: list[Write],
    with_static_key: bool,
    needs_rehash: bool = False,
    *,
    account: Account | None = None,
    codes: tuple[str, ...] = (),
    events: tuple[Event, ...] = (),
) -> Plan:
    """The last owed step is done: a new session, and the old one ends.

    Args:
        account: As this very commit writes it, where it does (an enrolment raises the epoch).
    """
    subject = account or loaded.account
    if subject is None:
        raise ContractViolation("a completed flow without a subject")
    now = engine.services.clock()
    before = engine.loader.alive_session(loaded.session, now)
    issued = engine.user.authenticate_user(
        flow, subject, now, before=before, client=visitor.agent, with_static_key=with_static_key
    )
    writes.append(issued.write(engine.user.lifetimes))
    writes += parts.end_of(loaded)
    writes.append(parts.login_info_write(loaded, subject, engine, visitor))
    device = next((d for d in visitor.devices if d.account_id == subject.id), None)
    claim = DeviceClaim(device.device_id if device else new_id(), subject.id, subject.epoch)
    kind = "reauthenticated" if flow.kind is FlowKind.REAUTHENTICATE else "login_completed"
    happened = _login_event(engine, kind, flow, provider, visitor)
    result = LoggedIn(flow, subject, issued, claim, codes)
    traced = Moved(flow, (f"completed:{provider.name}",), loaded)
    return Plan(tuple(writes), result, (*events, happened), needs_rehash=needs_rehash, moved=(traced,))


def opened(engine: Engine, flow: Flow, provider: Provider, loaded: Loaded) -> Plan:
    """A factor was chosen: its form is open, and a message goes out where it wants one."""
    asking, ask, messages = _asking(engine, flow, provider, loaded)
    writes = (parts.session_with(engine, loaded, asking), *messages)
    return Plan(writes, StepOwed(asking, provider, ask), moved=(Moved(asking, (f"chosen:{provider.name}",), loaded),))


def asked_on(engine: Engine, flow: Flow, provider: Provider, loaded: Loaded, ask: Ask, visitor: Visitor) -> Plan:
    """A provider wants to know more. A message that it sends counts like a failed attempt, or it could be flooded."""
    now = engine.services.clock()
    writes: list[Write] = []
    delivery = parts.delivery_write(engine, flow, provider, ask, loaded)
    if delivery is not None:
        writes += [delivery, *(bucket.failed(now) for bucket in loaded.buckets)]
        # A code that was sent is good for as long as the message says, also while the flow still travels.
        flow = replace(flow, deadline_at=min(flow.deadline_at, now + engine.user.second_factor_time_window))
    if flow.proofs:
        writes.append(parts.session_with(engine, loaded, flow))
    happening = (f"asked:{provider.name}",)
    # At a first step no facts, as where one goes wrong: an unknown name has none.
    traced = Moved(flow, happening, loaded) if flow.proofs else _of_first(flow, happening, loaded)
    return Plan(tuple(writes), StepOwed(flow, provider, ask), moved=(traced,))


def away(engine: Engine, flow: Flow, loaded: Loaded, result: Result) -> Plan:
    """A stored flow waits for somebody to come back from a remote party."""
    traced = Moved(flow, (f"away:{flow.provider}",), loaded)
    return Plan((parts.session_with(engine, loaded, flow),), result, moved=(traced,))


def sent_away(engine: Engine, flow: Flow, provider: Provider, outcome: Redirect) -> Flow:
    """Return the flow as it waits for the person to come back, with the provider's notes."""
    noted = engine.user.advance(flow, NotesTaken(provider.name, outcome.scratch))
    return engine.user.advance(noted, SentAway(provider.name))


def cancelled(engine: Engine, loaded: Loaded) -> Plan:
    """Every pending flow of the browser ends; a session that was made for them alone goes with them."""
    session, record = loaded.session, loaded.session_record
    if session is None or record is None:
        raise FlowInvalid("no session")
    flows = [
        engine.user.advance(flow, FlowCancelled()) for flow in map(engine.vault.flow, session.flows) if flow.is_open
    ]
    now = engine.services.clock()
    events = tuple(audit.event("flow_cancelled", now, account_id=flow.subject, flow_id=flow.id) for flow in flows)
    write: Write
    if session.account_id or session.fields:
        write = sessions.update(replace(session, flows=()), record, engine.user.lifetimes)
    else:
        write = Delete(record.key, record.version)
    result = NotProved(flows[-1], next(iter(engine.registry.providers.values())), Ask(()), "cancelled")
    # Of whom nothing was read may be gone, and what they have left erased: nothing is left of them once more.
    alive = loaded.account.id if loaded.account is not None else None
    traced = tuple(Moved(flow, ("cancelled",), account_id=alive) for flow in flows if flow.subject == alive)
    return Plan((write,), result, events, moved=traced)


# --- Parts of plans ---------------------------------------------------------------------------------------------------


def _next_step(
    engine: Engine,
    flow: Flow,
    provider: Provider,
    loaded: Loaded,
    visitor: Visitor,
    writes: list[Write],
    needs_rehash: bool,
) -> Plan:
    step = flow.open_step
    if step is None:
        raise ContractViolation("an open flow without an open step")
    issued: IssuedSession | None = None
    now = engine.services.clock()
    asking = engine.registry.get(flow.provider) if step.kind is StepKind.PROVE else None
    ask: Ask | Redirect = Ask(())
    messages: tuple[Write, ...] = ()
    if asking is not None:
        flow, ask, messages = _asking(engine, flow, asking, loaded)
    if engine.loader.alive_session(loaded.session, now) is None:
        # Nobody is logged in by this: the session holds the pending flow and nothing else.
        issued = sessions.issue(now, flows=(engine.vault.flow_data(flow),), client=visitor.agent)
        writes.append(issued.write(engine.user.lifetimes))
        writes += parts.end_of(loaded)
    else:
        writes.append(parts.session_with(engine, loaded, flow))
    happened = _login_event(engine, "first_factor_verified", flow, provider, visitor)
    offered = tuple(p for name in step.providers if (p := engine.registry.get(name)) is not None)
    result: Result
    if step.kind is StepKind.ENROL:
        result = EnrolmentOwed(flow, offered, issued)
    elif asking is None:
        result = ChoiceOwed(flow, offered, issued)
    else:
        result = StepOwed(flow, asking, ask, issued)
    everything = (*writes, *messages)
    traced = Moved(flow, (f"completed:{provider.name}",), loaded)
    return Plan(everything, result, (happened,), needs_rehash=needs_rehash, moved=(traced,))


def _of_first(flow: Flow, happening: tuple[str, ...], loaded: Loaded) -> Moved:
    """Return what a first step leaves that proved nothing. Without facts: a name that is known would take longer."""
    return Moved(flow, happening, account_id=loaded.account.id if loaded.account else "")


def _asking(
    engine: Engine, flow: Flow, provider: Provider, loaded: Loaded
) -> tuple[Flow, Ask | Redirect, tuple[Write, ...]]:
    """Open a provider's form: keep the notes it begins with, and send its message, once for each step."""
    ask = engine.ask(flow, provider, loaded.account)
    if not isinstance(ask, Ask):
        return flow, ask, ()
    if ask.scratch:
        flow = engine.user.advance(flow, NotesTaken(provider.name, ask.scratch))
    # The code is the same as long as the step is: opening the form again must not fill a mailbox.
    message = None if provider.name in flow.messaged else parts.delivery_write(engine, flow, provider, ask)
    if message is None:
        return flow, ask, ()
    return replace(flow, messaged=(*flow.messaged, provider.name)), ask, (message,)


def _demand_own_proof(provider: Provider, outcome: Verified, loaded: Loaded) -> None:
    account, changed = loaded.account, outcome.credential
    if account is None or outcome.proof.provider != provider.name or outcome.proof.subject != account.id:
        raise ContractViolation(f"{provider.name}: the proof is not its own, or about somebody else")
    if changed is not None and (changed.account_id != account.id or changed.provider != provider.name):
        raise ContractViolation(f"{provider.name}: the changed credential is not the one it was handed")


def _credential_writes(engine: Engine, provider: Provider, loaded: Loaded, changed: Credential | None) -> list[Write]:
    record = loaded.credential_record(provider.name)
    if changed is None:
        return []
    if loaded.account is None or record is None:
        raise ContractViolation(f"{provider.name}: a changed credential where there was none")
    if changed.account_id != loaded.account.id or changed.provider != provider.name:
        raise ContractViolation(f"{provider.name}: the changed credential is not the one it was handed")
    key = credential_key(changed.account_id, changed.provider)
    return [Update(key, engine.vault.credential_data(changed), record.version)]


def _use_notice(engine: Engine, provider: Provider, loaded: Loaded, changed: Credential | None) -> list[Write]:
    account = loaded.account
    if account is None or not isinstance(provider, SecondFactorProvider) or not provider.notice_when_used:
        return []
    credential = changed or loaded.credentials.get(provider.name)
    remaining = provider.remaining(credential) if credential else None
    values = {} if remaining is None else {"remaining": remaining}
    return parts.notice_write(engine, account, provider.notice_when_used, **values)


def _form(engine: Engine, flow: Flow, provider: Provider, account: Account | None) -> Ask:
    if not flow.is_open:
        return Ask(())
    ask = engine.ask(flow, provider, account)
    return ask if isinstance(ask, Ask) else Ask(())


def _login_event(
    engine: Engine, type_: str, flow: Flow, provider: Provider, visitor: Visitor, *, reason: str = ""
) -> Event:
    return audit.event(
        type_,
        engine.services.clock(),
        account_id=flow.subject,
        provider=provider.name,
        flow_id=flow.id,
        reason=reason,
        client=visitor.network,
        factors=[proof.provider for proof in flow.proofs],
    )
