"""Waiting for a provider: for a bounded time, and only for what its contract lets it answer.

A provider that raises, hangs or answers nonsense lets nobody in and gives nothing away: 503, the trace in the log.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TypeVar

from authflow.errors import AuthflowError, ContractViolation, Unavailable
from authflow.provider import Provider

T = TypeVar("T")

PATIENCE = 2.5
"""Seconds that a provider may take, beside what is `off_the_clock`: an answer is due within three."""

_log = logging.getLogger("authflow.engine")
_limit: ContextVar[asyncio.Timeout | None] = ContextVar("authflow_provider_limit", default=None)


async def guarded(provider: Provider, work: Awaitable[T], *answers: type) -> T:
    """Wait for what a provider does.

    Args:
        answers: Of which types its answer may be.

    Raises:
        ContractViolation: It failed, or answered what its contract forbids.
        Unavailable: It did not answer in time, and was cancelled.
        AuthflowError: It raised one of ours, which means what it says.
    """
    try:
        async with asyncio.timeout(PATIENCE) as limit:
            token = _limit.set(limit)
            try:
                answer = await work
            finally:
                _limit.reset(token)
    except AuthflowError:
        raise
    except (Exception, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and _is_being_cancelled():
            raise
        if isinstance(error, TimeoutError) and limit.expired():
            raise Unavailable(f"{provider.name} did not answer within {PATIENCE:g} s") from None
        _log.exception("provider %s failed", provider.name)
        raise ContractViolation(f"{provider.name} failed: {type(error).__name__}") from error
    if not isinstance(answer, answers):
        raise ContractViolation(f"{provider.name} answered with {type(answer).__name__}, which its contract forbids")
    return answer


@contextmanager
def off_the_clock() -> Iterator[None]:
    """Do not count this block: waiting for a hash, or for a library to be imported, is no provider's fault."""
    limit = _limit.get()
    until = limit.when() if limit is not None else None
    if limit is None or until is None or limit.expired():
        yield
        return
    now = asyncio.get_running_loop().time
    began = now()
    limit.reschedule(None)
    try:
        yield
    finally:
        # Unless the provider went on without waiting for this.
        with suppress(RuntimeError):
            limit.reschedule(until + now() - began)


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is None or bool(task.cancelling())
