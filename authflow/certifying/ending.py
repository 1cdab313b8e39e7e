"""Checks of all that the others have seen: made last."""

from __future__ import annotations

import time
from collections.abc import Coroutine, Generator, Mapping
from contextlib import nullcontext
from typing import Any

from authflow.certifying import hostile
from authflow.certifying.bench import Bench
from authflow.certifying.check import check
from authflow.certifying.judging import fields_of
from authflow.certifying.report import Failed
from authflow.flow import Flow
from authflow.model import Account, Credential
from authflow.provider import Ask, Redirect, Rejected, Submission, Verified

LONGEST = 0.05
"""Seconds that one step may keep the event loop, and so everybody else's request."""


@check(
    "its outcomes are Ask, Verified, Rejected and Redirect, and nothing else",
    mend="return one of the four from every branch; None is what a function without return gives",
)
async def outcomes_are_closed(bench: Bench) -> None:
    for outcome in bench.seen.outcomes:
        if not isinstance(outcome, Ask | Verified | Rejected | Redirect):
            raise Failed(f"answer came to {type(outcome).__name__}")
        if isinstance(outcome, Rejected) and not outcome.reason:
            raise Failed("answer came to a rejection without a reason")


@check(
    "nothing that is sent makes it raise",
    mend="what a person may get wrong is Rejected; only faults may raise, by a class of authflow.errors",
)
async def raises_nothing(bench: Bench) -> None:
    if bench.seen.errors:
        method, error = bench.seen.errors[0]
        raise Failed(f"{method} raised {error}")


@check(
    "it reaches for nothing but its context: no clock, chance, environment, file, socket or thread",
    mend="context.now, .random_bytes, .hashing, .fetching; settings in configure; read files when the module loads",
)
async def nothing_global(bench: Bench) -> None:
    if bench.watch.reached:
        found = sorted({f"{what} in {method}" for what, method in bench.watch.reached})
        raise Failed(f"it reaches for {', '.join(found)}")


@check(
    "no step keeps the event loop for longer than 50 ms",
    mend="slow hashes belong to context.hashing (uses_hashing = True), requests to context.fetching",
)
async def blocks_nobody(bench: Bench) -> None:
    person = None
    if bench.kit is not None:
        person = await bench.person()
        attempt = await bench.attempt(person)
        flow, ask, values = attempt.flow, attempt.ask, dict(attempt.values)
    else:
        flow = bench.flow()
        ask = bench.begin(flow)
        values = {}
    account, credential = (person.account, person.credential) if person else (None, None)
    texts = [values, {**values, **dict.fromkeys([f.name for f in fields_of(ask)] or ["code"], "x" * hostile.HUGE)}]
    for submitted in texts:
        quickest = min([await _longest_step(bench, flow, ask, submitted, account, credential) for _ in range(3)])
        if quickest > LONGEST:
            raise Failed(f"it keeps the event loop for {quickest * 1000:.0f} ms in one step")


async def _longest_step(
    bench: Bench,
    flow: Flow,
    ask: Ask | Redirect,
    values: Mapping[str, str],
    account: Account | None,
    credential: Credential | None,
) -> float:
    """Judge once without the watch, and return the longest time between two of its awaits, in CPU seconds."""
    provider = bench.fresh()
    submission = Submission(values, ask.scratch, isinstance(ask, Redirect))
    with bench.app.services.pool.reserve() if provider.uses_hashing else nullcontext() as slot:
        began = time.thread_time()
        provider.begin(bench.context(flow))
        took = time.thread_time() - began
        timed = _Timed(provider.answer(credential, submission, bench.context(flow, account, submission, slot=slot)))
        try:
            await timed
        except Exception:
            return took  # What raises is found by another check.
    return max(took, timed.longest)


class _Timed:
    """Awaits a coroutine and keeps the longest of its steps."""

    def __init__(self, work: Coroutine[Any, Any, object]) -> None:
        self._work = work
        self.longest = 0.0

    def __await__(self) -> Generator[Any, Any, None]:
        value: Any = None
        while True:
            began = time.thread_time()
            try:
                waits_for = self._work.send(value)
            except StopIteration:
                return
            finally:
                self.longest = max(self.longest, time.thread_time() - began)
            value = yield waits_for


CHECKS = (outcomes_are_closed, raises_nothing, nothing_global, blocks_nobody)
