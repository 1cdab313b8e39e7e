"""What must hold before a flow may move at all, whatever the event. Pure: facts in, an exception out or nothing.

The table says how a flow moves, policy what it owes; a gate says that this flow is still a flow: open, in time, about
the account that it was begun for, under the definition that it was begun under.
"""

from __future__ import annotations

from datetime import datetime

from authflow.errors import FlowInvalid, TooLate
from authflow.flow import Flow


def demand_travelling(flow: Flow, *, now: datetime, fingerprint: str) -> None:
    """Let a flow pass that a form carried, since nothing of it is stored.

    Args:
        fingerprint: Of the definition in force.

    Raises:
        FlowInvalid: It is over, or was started under another definition.
    """
    if flow.fingerprint != fingerprint:
        raise FlowInvalid("the flow was started under another definition")
    if not flow.is_open or now >= flow.deadline_at:
        raise FlowInvalid("the flow is over")


def demand_stored(flow: Flow, *, now: datetime, epoch: int | None, is_active: bool, fingerprint: str) -> None:
    """Let a flow pass that lay in the session.

    Args:
        epoch: Of its subject as it is now; None where there is no such account any more.
        is_active: Whether the subject may log in.
        fingerprint: Of the definition in force.

    Raises:
        FlowInvalid: It has ended, its subject has changed or may not log in, or the definition is another.
        TooLate: Its time is over.
    """
    if not flow.is_open:
        raise FlowInvalid("the flow has ended")
    if now >= flow.deadline_at:
        raise TooLate()
    if epoch is None or epoch != flow.epoch or not is_active:
        raise FlowInvalid("the account has changed since the flow began")
    if flow.fingerprint != fingerprint:
        raise FlowInvalid("the flow was started under another definition")
