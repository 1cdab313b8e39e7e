"""What a commit writes of the flows it moves: their traces, in words that were declared beforehand.

Imported when the first flow that leaves a trace is written. See `traces` for what stands in one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from authflow.flow import Flow
from authflow.messages import SENTENCES
from authflow.partly_known import asked_for, flow_of
from authflow.store.protocol import Insert, Key, Write
from authflow.tasks.outbox import tasks_among
from authflow.tokens import new_id
from authflow.traces import KIND, OTHER, Facts, Trace, refusal_kept

if TYPE_CHECKING:
    from authflow.engine import Engine
    from authflow.loading import Loaded
    from authflow.registry import Registry
    from authflow.tracing import Meter, Moved
    from authflow.user import User


def inserted(engine: Engine, moved: Sequence[Moved], others: Sequence[Write], meter: Meter | None) -> list[Insert]:
    """Return the records of what one commit means to these flows.

    Args:
        others: What else it writes; deferred work is counted from it.
        meter: What the work has cost so far.
    """
    now = engine.services.clock()
    until = now + engine.user.trace_retention
    counts = meter.bill.counts if meter else {}
    cost = {f"{kind}.{operation}": count for (kind, operation), count in sorted(counts.items())}
    cost["hashes"] = meter.bill.hashes if meter else 0
    cost["store.commit"] = cost.get("store.commit", 0) + 1
    cost["tasks.deferred"] = len(tasks_among(others))
    seconds = round(meter.seconds, 5) if meter else 0.0
    return [
        Insert(Key(KIND, f"{one.flow.id}.{new_id()}"), _made(engine, one, now, cost, seconds).to_data(), until)
        for one in moved
    ]


def _made(engine: Engine, moved: Moved, now: datetime, cost: Mapping[str, int], seconds: float) -> Trace:
    flow, loaded = moved.flow, moved.loaded
    events = tuple(_reduced(event, engine.registry) for event in moved.events)
    refusals = [event.partition(":")[2] for event in events if event.startswith("refused:")]
    return Trace(
        flow_id=flow.id,
        account_id=_whom(moved),
        at=now,
        started_at=flow.created_at,
        kind=flow.kind,
        definition=engine.fingerprint,
        flow_definition=flow.fingerprint,
        state=flow.state,
        step=flow.step,
        place=len(flow.trace),
        events=events,
        owed=flow.owed,
        refusal=refusals[-1] if refusals else "",
        proofs=tuple((proof.provider, proof.factor.value) for proof in flow.proofs),
        facts=_facts(engine.user, flow, loaded, now),
        cost=cost,
        seconds=seconds,
        rejections=flow.rejections,
    )


def _whom(moved: Moved) -> str:
    """Return an account that was there when the commit was planned: the traces of one that is gone are erased."""
    if moved.account_id is not None:
        return moved.account_id
    if moved.loaded is None:
        return moved.flow.subject
    return moved.loaded.account.id if moved.loaded.account is not None else ""


def _facts(user: User, flow: Flow, loaded: Loaded | None, now: datetime) -> Facts | None:
    standing = user.standing(flow, loaded) if loaded is not None else None
    if loaded is None or loaded.account is None or standing is None:
        return None
    account = loaded.account
    told = Facts(
        standing.is_active, standing.enrolled, tuple(sorted(standing.present)), standing.demands_second_factor,
        account.status, account.roles, account.access, declared=tuple(sorted(user.registry.declared)),
    )  # fmt: skip
    return replace(told, is_described=_is_described(user, flow, told, now))


def _is_described(user: User, flow: Flow, facts: Facts, now: datetime) -> bool:
    account, known = facts.account(now), flow_of(flow)
    try:
        found = user.is_active(account), user.demands_second_factor(account, known)
    except Exception:  # An application's rule that wants to know more.
        return False
    return not asked_for(account, known) and found == (facts.is_active, facts.demands_second_factor)


def _reduced(event: str, registry: Registry) -> str:
    """Return an event without any word that was not declared beforehand."""
    what, _, rest = event.partition(":")
    name, _, reason = rest.partition(":")
    if what == "refused":
        return f"refused:{refusal_kept(rest)}"
    if not reason:
        return event
    provider = registry.declared.get(name)
    is_declared = reason in SENTENCES or (provider is not None and reason in provider.messages)
    return f"{what}:{name}:{reason if is_declared else OTHER}"
