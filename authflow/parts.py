"""Writes that more than one plan needs: the session with its flows, login information, messages, a risen epoch."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from authflow import sessions
from authflow.changes import Change
from authflow.errors import FlowInvalid
from authflow.flow import Flow
from authflow.loading import Loaded
from authflow.model import Account, Event, LoginInfo, Plain, Session
from authflow.provider import Ask, Provider, Redirect
from authflow.records import login_info_key, spent_keys
from authflow.results import Changed
from authflow.sessions import Visitor
from authflow.store.protocol import Delete, Insert, Update, Write

if TYPE_CHECKING:
    from authflow.engine import Engine

MAX_FLOWS = 4
"""Pending flows of one browser; the oldest is dropped."""


def session_with(engine: Engine, loaded: Loaded, flow: Flow) -> Write:
    """Return the session's write with this flow in it, in its old place or as the newest; an ended one falls out."""
    session, record = loaded.session, loaded.session_record
    if session is None or record is None:
        raise FlowInvalid("no session")
    written = engine.vault.flow_data(flow)
    kept = [written if data["id"] == flow.id else data for data in session.flows]
    if all(data["id"] != flow.id for data in session.flows):
        kept.append(written)
    flows = kept if flow.is_open else [data for data in kept if data["id"] != flow.id]
    return sessions.update(replace(session, flows=tuple(flows[-MAX_FLOWS:])), record, engine.user.lifetimes)


def spending(flow: Flow, provider: Provider, evidence: str, now: datetime) -> list[Insert]:
    """Return the writes by which a flow, and evidence that no nonce binds to it, are good once.

    Evidence is marked for a day, which is as long as any of it may live (`id_tokens`), however old the flow is.
    """
    until = (flow.deadline_at, now + timedelta(days=1))
    marks = spent_keys(flow.id, provider.name, evidence)
    return [Insert(mark, {}, expires_at) for mark, expires_at in zip(marks, until, strict=False)]


def end_of(loaded: Loaded) -> list[Write]:
    record = loaded.session_record
    return [] if record is None else [Delete(record.key, record.version)]


def login_info_write(loaded: Loaded, account: Account, engine: Engine, visitor: Visitor) -> Write:
    info, now, key = loaded.login_info, engine.services.clock(), login_info_key(account.id)
    fresh = LoginInfo(info.count + 1, now, info.last_at, visitor.network, info.last_address).to_data()
    record = loaded.record(key)
    return Insert(key, fresh) if record is None else Update(key, fresh, record.version)


def delivery_write(
    engine: Engine, flow: Flow, provider: Provider, ask: Ask | Redirect, loaded: Loaded | None = None
) -> Write | None:
    if not isinstance(ask, Ask) or ask.delivery is None:
        return None
    account_id = flow.subject or (loaded.account.id if loaded and loaded.account else "")
    payload: dict[str, Plain] = {
        "account_id": account_id,
        "flow_id": flow.id,
        "step": flow.step,
        "provider": provider.name,
        "template": ask.delivery.template,
        "digits": ask.delivery.digits,
    }
    return engine.services.tasks.write("deliver_message", payload, engine.services.clock())


def notice_write(engine: Engine, account: Account, template: str, **values: str | int) -> list[Write]:
    """Return the write that defers a mail telling the owner what happened; nothing where no address is known."""
    if not account.email:
        return []
    payload: dict[str, Plain] = {"template": template, "account_id": account.id, **values}
    return [engine.services.tasks.write("send_notice", payload, engine.services.clock())]


def account_write(loaded: Loaded, account: Account) -> Write:
    """Return the guarded write of a changed account."""
    record = loaded.account_record
    if record is None:
        raise FlowInvalid("the subject is gone")
    return Update(record.key, account.to_data(), record.version, record.expires_at)


def reissued(
    engine: Engine,
    loaded: Loaded,
    session: Session,
    account: Account,
    writes: list[Write],
    happened: Event,
    codes: tuple[str, ...] = (),
) -> Change[Changed]:
    """Return the change of what protects an account: all that was issued before ends, the acting session is made anew.

    Args:
        account: As it is to be, its epoch raised.
        writes: What else belongs to the change.
    """
    place = loaded.session_record
    if place is None:
        raise FlowInvalid("no session")
    issued = sessions.reissue(session, account, engine.services.clock())
    everything = (
        *writes,
        account_write(loaded, account),
        Delete(place.key, place.version),
        issued.write(engine.user.lifetimes),
    )
    return Change(everything, Changed(issued, account, codes), (happened,))
