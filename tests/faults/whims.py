"""Providers that break their word: what each of their methods may do instead of what its contract says."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any, TypeAlias

from authflow.errors import AuthflowError
from authflow.model import Credential
from authflow.provider import Enrolled, Provider, Verified
from tests.faults.chaos import MARK
from tests.faults.matrix import (
    PATIENCE,
    Findings,
    Undisturbed,
    answered,
    is_inside,
    leaks,
    listening,
    undisturbed,
)
from tests.faults.operations import Operation
from tests.faults.scene import Act, Log, Stage, contents, difference, make_stage
from tests.faults.virtual_time import elapsed

METHODS = (
    "begin",
    "identify",
    "answer",
    "assertion",
    "admits",
    "can_handle",
    "remaining",
    "begin_enrolment",
    "answer_enrolment",
    "show_enrolment",
    "issue",
    "rehash",
    "new_credential",
    "check_captcha",
)
"""Everything that a provider is asked while it serves."""

YES_OR_NO = {"admits", "can_handle", "check_captcha"}
"""What anything may be returned of: it is taken as yes or no."""


class Whim(StrEnum):
    """What a method does."""

    RAISES = "raises"
    RAISES_OURS = "raises an error of ours"
    NOTHING = "returns None"
    NONSENSE = "returns something else"
    FOREIGN = "returns what is somebody else's"
    CANCELLED = "is cancelled inside"
    HANGS = "hangs"


class Nonsense:
    """Is none of the outcomes, and true."""


class Whims:
    """Sees each call of every provider of a site, and has one of them go wrong.

    Attributes:
        calls: Provider and method of each call since `arm`, and whether it is a coroutine's.
    """

    def __init__(self, providers: Iterable[Provider]) -> None:
        self.calls: list[tuple[str, str, bool]] = []
        self.disarm()
        for provider in providers:
            for name in METHODS:
                if callable(method := getattr(provider, name, None)):
                    setattr(provider, name, self._seen(provider, name, method))

    def arm(self, at: int, whim: Whim) -> None:
        self.calls, self._at, self._whim = [], at, whim

    def disarm(self) -> None:
        self.arm(-1, Whim.RAISES)

    def _seen(self, provider: Provider, name: str, method: Callable[..., Any]) -> Callable[..., Any]:
        def due(is_async: bool) -> Whim | None:
            number = len(self.calls)
            self.calls.append((provider.name, name, is_async))
            return self._whim if number == self._at else None

        if inspect.iscoroutinefunction(method):

            async def answer(*given: Any) -> Any:
                whim = due(True)
                if whim is Whim.HANGS:
                    await asyncio.sleep(3600)
                if whim is Whim.CANCELLED:
                    raise asyncio.CancelledError
                return _taken(whim, None if _is_early(whim) else await method(*given))

            return answer

        def say(*given: Any) -> Any:
            whim = due(False)
            return _taken(whim, None if _is_early(whim) else method(*given))

        return say


def whims_of(is_async: bool) -> tuple[Whim, ...]:
    """Return what a method can do."""
    return tuple(w for w in Whim if is_async or w not in (Whim.HANGS, Whim.CANCELLED))


def _is_early(whim: Whim | None) -> bool:
    return whim in (Whim.RAISES, Whim.RAISES_OURS)


def _taken(whim: Whim | None, true: Any) -> Any:
    match whim:
        case Whim.RAISES:
            raise RuntimeError(MARK)
        case Whim.RAISES_OURS:
            raise AuthflowError(MARK)
        case Whim.NOTHING:
            return None
        case Whim.NONSENSE:
            return Nonsense()
        case Whim.FOREIGN:
            return foreign(true)
        case _:
            return true


def foreign(true: Any) -> Any:
    """Return an outcome as it would be of another person."""
    match true:
        case Verified(proof=proof):
            return replace(true, proof=replace(proof, subject="somebody else"))
        case Enrolled(credential=credential):
            return replace(true, credential=replace(credential, account_id="somebody else"))
        case Credential():
            return replace(true, account_id="somebody else")
        case _:
            return Nonsense()


Called: TypeAlias = tuple[str, str, bool]
"""Provider and method, and whether the method is a coroutine's."""


def cells_of(calls: Sequence[Called]) -> list[tuple[int, Whim]]:
    """Return every whim of every call."""
    return [(at, whim) for at, (_, _, is_async) in enumerate(calls) for whim in whims_of(is_async)]


async def asked(operation: Operation) -> list[Called]:
    """Return what the providers are asked when nothing goes wrong."""
    stage = await make_stage(operation.user(), has_cloud_tasks=operation.has_cloud_tasks)
    act = await operation.set_up(stage)
    whims = Whims(stage.site.app.engine.registry.declared.values())
    await answered(act)
    return list(whims.calls)


async def try_whims(operation: Operation) -> Findings:
    """Carry out an operation undisturbed, and then once for each call of a provider and each whim."""
    stage = await make_stage(operation.user(), has_cloud_tasks=operation.has_cloud_tasks)
    act = await operation.set_up(stage)
    clean = await undisturbed(stage, act)
    stage.restore(clean.before)
    whims = Whims(stage.site.app.engine.registry.declared.values())
    await answered(act)
    calls, findings = list(whims.calls), Findings()
    for at, whim in cells_of(calls):
        findings.cells += 1
        provider, name, _ = calls[at]
        where = f"{operation.name}: call {at} of {provider}.{name} {whim}"
        found = trial(stage, operation, act, clean, whims, at, whim)
        findings.wrong += [f"{where}: {what}" async for what in found]
    return findings


async def trial(
    stage: Stage, operation: Operation, act: Act, clean: Undisturbed, whims: Whims, at: int, whim: Whim
) -> AsyncIterator[str]:
    """Carry an operation out with one whim; yield what is wrong."""
    stage.restore(clean.before)
    began, log = elapsed(), Log()
    whims.arm(at, whim)
    with listening(log):
        answer = await answered(act)
    seconds, name = elapsed() - began, whims.calls[at][1]
    whims.disarm()
    held = contents(stage.store._rows, clean.before.rows)
    untouched = stage.store._rows == clean.before.rows

    if answer.problem:
        yield answer.problem
    if seconds > PATIENCE:
        yield f"took {seconds:.1f} s"
    if not stage.is_idle():
        yield "something is still taken"
    for what in leaks(stage, log):
        yield what
    if await is_inside(stage) and not clean.was_inside and not (operation.lets_in and answer == clean.answer):
        yield "somebody was let in"
    if answer.is_fault:
        if not answer.retry_after:
            yield "503 without Retry-After"
        if held not in clean.prefixes:
            yield "half done:\n" + difference(clean.after, held)
    elif answer == clean.answer and name != "remaining":
        if held != clean.after:
            yield "answered as done, but it is not:\n" + difference(clean.after, held)
    elif name == "begin" and held == clean.after:
        pass  # The verdict stands and was told, over a form that has nothing to fill in.
    elif name == "remaining":
        pass  # How many codes are left is left out of a notice.
    elif name not in YES_OR_NO:
        yield f"answered {answer.status} {answer.text[:300]}"
    if untouched:
        again = await answered(act)
        if again != clean.answer:
            yield f"not done by repeating: {again.status} {again.text[:300]}"
