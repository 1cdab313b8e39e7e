"""Traces: what happened to a flow, why, how long it took and what it cost. Written with the flow, read by operators.

A record for each commit of a traced flow. It holds names that the configuration knows (providers, kinds, roles, reason
codes), numbers and instants: nothing that was typed, no name, no address, no client. The account's id is there so that
its traces can be found and erased.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from authflow.flow import FlowKind, FlowState, Step, StepKind
from authflow.model import Plain, from_instant, to_instant
from authflow.partly_known import KnownAccount, account_of
from authflow.store.protocol import MAX_WRITES, Delete, Record, Store

KIND = "trace"
OTHER = "other"
"""Stands for a reason code that was not declared: a provider has seen what was typed, so its words are not kept."""

FORM = 1
"""Of the records. It rises when replay must read an older one differently."""

_CODE = re.compile(r"[a-z][a-z0-9_]{0,59}")


class LaterForm(ValueError):
    """A trace that a later version of this package has written."""


@dataclass(frozen=True, slots=True)
class Trace:
    """What one commit meant to a flow.

    Attributes:
        at, started_at: When it was committed; when the flow was begun.
        definition: Fingerprint of the definition that judged.
        flow_definition: That of the flow, or `several`.
        step, place: Steps done, and how many events the flow remembers: the order of what happened in one instant.
        events: In the words of `Flow.trace`, reason codes reduced to declared ones.
        owed, refusal: What came of it.
        proofs: Provider and kind of evidence of all proofs so far.
        facts: What policy was told of the subject; None where nothing was.
        cost: Calls by kind and operation, this commit included, and what it deferred (`tasks.deferred`).
        seconds: Spent inside, until the commit.
        rejections: Of the flow since its last proof.
    """

    flow_id: str
    account_id: str
    at: datetime
    started_at: datetime
    kind: FlowKind
    definition: str
    flow_definition: str
    state: FlowState
    step: int
    place: int
    events: tuple[str, ...]
    owed: tuple[Step, ...]
    refusal: str
    proofs: tuple[tuple[str, str], ...]
    facts: Facts | None
    cost: Mapping[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    rejections: int = 0

    def to_data(self) -> dict[str, Plain]:
        return {
            "form": FORM,
            "flow_id": self.flow_id,
            "account_id": self.account_id or None,
            "at": from_instant(self.at),
            "started_at": from_instant(self.started_at),
            "kind": self.kind.value,
            "definition": self.definition,
            "flow_definition": self.flow_definition,
            "state": self.state.value,
            "step": self.step,
            "place": self.place,
            "events": list(self.events),
            "owed": [[step.kind.value, list(step.providers), list(step.substitutes)] for step in self.owed],
            "refusal": self.refusal,
            "proofs": [list(proof) for proof in self.proofs],
            "facts": None if self.facts is None else self.facts.to_data(),
            "cost": dict(self.cost),
            "seconds": self.seconds,
            "rejections": self.rejections,
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Trace:
        """Read a trace.

        Raises:
            LaterForm: It is of a later form.
            ValueError, KeyError, TypeError: It is none.
        """
        if isinstance(data["form"], int) and data["form"] > FORM:
            raise LaterForm(f"a trace of form {data['form']}, which a later version has written")
        if data["form"] != FORM:
            raise ValueError(f"a trace of form {data['form']}")
        return cls(
            flow_id=_text(data["flow_id"]),
            account_id=_text(data["account_id"] or ""),
            at=to_instant(data["at"]),
            started_at=to_instant(data["started_at"]),
            kind=FlowKind(data["kind"]),
            definition=_text(data["definition"]),
            flow_definition=_text(data["flow_definition"]),
            state=FlowState(data["state"]),
            step=int(data["step"]),
            place=int(data["place"]),
            events=_texts(data["events"]),
            owed=tuple(Step(StepKind(kind), _texts(names), _texts(others)) for kind, names, others in data["owed"]),
            refusal=_text(data["refusal"]),
            proofs=tuple((_text(provider), _text(factor)) for provider, factor in data["proofs"]),
            facts=None if data["facts"] is None else Facts.from_data(data["facts"]),
            cost={_text(name): int(count) for name, count in data["cost"].items()},
            seconds=float(data["seconds"]),
            rejections=int(data.get("rejections", 0)),
        )


@dataclass(frozen=True, slots=True)
class Facts:
    """What policy was told of a subject.

    Attributes:
        is_described: Whether status, roles, rights and factors alone said who is active and of whom a second factor is
            demanded.
        declared: The providers whose credentials were looked for; None where it was not written down.
    """

    is_active: bool
    enrolled: tuple[str, ...]
    present: tuple[str, ...]
    demands_second_factor: bool
    status: int = 0
    roles: tuple[str, ...] = ()
    access: tuple[str, ...] = ()
    is_described: bool = False
    declared: tuple[str, ...] | None = None

    def to_data(self) -> dict[str, Plain]:
        return {
            "is_active": self.is_active,
            "enrolled": list(self.enrolled),
            "present": list(self.present),
            "demands_second_factor": self.demands_second_factor,
            "status": self.status,
            "roles": list(self.roles),
            "access": list(self.access),
            "is_described": self.is_described,
            "declared": None if self.declared is None else list(self.declared),
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Facts:
        return cls(
            is_active=data["is_active"] is True,
            enrolled=_texts(data["enrolled"]),
            present=_texts(data["present"]),
            demands_second_factor=data["demands_second_factor"] is True,
            status=int(data["status"]),
            roles=_texts(data["roles"]),
            access=_texts(data["access"]),
            is_described=data["is_described"] is True,
            declared=None if data.get("declared") is None else _texts(data["declared"]),
        )

    def account(self, at: datetime) -> KnownAccount:
        """Return an account of nobody in particular that these facts are true of, and of which no more is known."""
        return account_of(self.status, self.roles, self.access, self.enrolled, at)


# --- Reading and erasing ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TracePage:
    """One page of traces, the oldest first. `cursor` is None on the last one.

    Attributes:
        skipped: How many stood on it that a later version has written: they cannot be read here.
    """

    traces: tuple[Trace, ...]
    cursor: str | None = None
    skipped: int = 0


async def listed(
    store: Store,
    now: datetime,
    *,
    account_id: str = "",
    flow_id: str = "",
    since: datetime | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> TracePage:
    """List traces by their time, or those of one account or one flow. What has expired is left out.

    Raises:
        BadInput: The cursor is not of this listing.
    """
    if flow_id or account_id:
        name, value = ("flow_id", flow_id) if flow_id else ("account_id", account_id)
        page = await store.find(KIND, name, equals=value, limit=limit, cursor=cursor)
    else:
        least = None if since is None else from_instant(since)
        page = await store.find(KIND, "at", at_least=least, limit=limit, cursor=cursor)
    found: list[Trace] = []
    skipped = 0
    for record in page.records:
        if _is_alive(record, now):
            try:
                found.append(Trace.from_data(record.data))
            except LaterForm:
                skipped += 1
    if flow_id and account_id:
        found = [trace for trace in found if trace.account_id == account_id]
    if since is not None:
        found = [trace for trace in found if trace.at >= since]
    return TracePage(tuple(sorted(found, key=order_of)), page.cursor, skipped)


async def erase(store: Store, account_id: str) -> int:
    """Delete every trace of an account; return how many there were."""
    gone = 0
    while records := (await store.find(KIND, "account_id", equals=account_id, limit=MAX_WRITES)).records:
        await store.commit([Delete(record.key) for record in records])
        gone += len(records)
    return gone


def order_of(trace: Trace) -> tuple[datetime, int, int]:
    """Return what traces are sorted by: the order in which things happened."""
    return trace.at, trace.step, trace.place


def refusal_kept(code: str) -> str:
    """Return a policy's reason for a refusal as traces hold it. It has seen nothing typed, but may be any text."""
    return code if _CODE.fullmatch(code) else OTHER


def outcome_of(trace: Trace) -> str:
    """Say in few words what came of it."""
    return told(trace.state, trace.owed, trace.refusal)


def told(state: FlowState, owed: Sequence[Step], refusal: str) -> str:
    """Say in few words where a flow stands."""
    match state:
        case FlowState.REFUSED:
            return f"refused: {refusal or 'without a reason'}"
        case FlowState.COMPLETED | FlowState.CANCELLED | FlowState.EXPIRED:
            return state.value
        case _:
            return "owes " + ", then ".join(map(_told_step, owed))


def _told_step(step: Step) -> str:
    what = {StepKind.PROVE: "", StepKind.ENROL: "to set up ", StepKind.ACCEPT: "to accept "}[step.kind]
    stood_in = f" (or {' or '.join(step.substitutes)})" if step.substitutes else ""
    return what + " or ".join(step.providers) + stood_in


def _is_alive(record: Record, now: datetime) -> bool:
    return record.expires_at is None or record.expires_at > now


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(map(_text, values))
