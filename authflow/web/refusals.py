"""Requests refused for want of a right, a proof or patience, as lines of the log (ASVS 5.0.0: 16.3.2, 16.3.3).

In the log alone: what anybody can cause must not cost a write. What was refused in judging a proof is an event already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from authflow import audit
from authflow.errors import AuthflowError, FlowInvalid, Forbidden, SkeyInvalid, TooManyAttempts, Withheld

if TYPE_CHECKING:
    from authflow.web.exchange import Exchange

_NOTED = (Forbidden, Withheld, SkeyInvalid, FlowInvalid, TooManyAttempts)


def note(x: Exchange, error: AuthflowError) -> None:
    """Log a refusal: who, from where, at which route and why; nothing that was typed and no key of an address."""
    if not isinstance(error, _NOTED):
        return
    account = x.known_account
    refused = audit.event(
        "request_refused",
        x.now,
        account_id=account.id if account else "",
        reason="withheld" if isinstance(error, Withheld) else error.code,
        client=x.visitor.network,
        method=x.method,
        route=x.path.removesuffix(x.key) if x.key else x.path,
    )
    audit.written((refused,))
