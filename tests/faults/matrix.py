"""Every call of an operation times everything that can befall it, and what must hold whatever does.

The operation is carried out once undisturbed; its calls are then struck one by one, each from the very same moment.
"""

from __future__ import annotations

import difflib
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from authflow.errors import AuthflowError
from tests.faults.chaos import MARK, Endless, Fault, Rows, faults_of
from tests.faults.operations import Operation
from tests.faults.scene import Act, Log, Moment, Stage, contents, difference, kinds_changed, make_stage, masked
from tests.faults.virtual_time import elapsed
from tests.web_kit import Page

PATIENCE = 3.0
"""Seconds within which a request is answered, whatever befalls it."""
LEASE = 35.0
"""Seconds within which deferred work comes to an end: a lease, and what it takes to find out."""

COUNTING = {"bucket", "event", "decoy", "trace"}
"""What a refusal may write."""
DEAD = {"session", "login_info", "spent"}
"""What a login may write that was judged by an account of before: its session is of an epoch of before."""
HANDED_OVER = (("tasks", "run"), Fault.DONE_UNANSWERED)
"""A mail is sent, and its task has failed all the same."""
UNTRUE = (Fault.STALE, Fault.ABSENT)


@dataclass(frozen=True)
class Answer:
    """What came of an operation.

    Attributes:
        text: What was answered, with all that chance has made blotted out.
        problem: What must stand in no answer, and does in this one.
    """

    status: int
    text: str
    retry_after: str = ""
    cookies: frozenset[str] = frozenset()
    problem: str = ""

    @property
    def is_fault(self) -> bool:
        return self.status == 503


@dataclass
class Undisturbed:
    """An operation as it goes when nothing befalls it.

    Attributes:
        calls: Kind and operation of each.
        seen: The same, as the product's own seam has seen it; what is fetched goes past it in these tests.
        prefixes: What the store held before, and after each commit.
    """

    before: Moment
    calls: list[tuple[str, str]]
    seen: list[tuple[str, str]]
    answer: Answer
    rows: Rows
    prefixes: list[Counter[str]]
    was_inside: bool
    is_inside: bool
    mails: list[str]

    @property
    def after(self) -> Counter[str]:
        return self.prefixes[-1]


@dataclass
class Findings:
    """What was found: cells that were tried, and what was wrong in which."""

    cells: int = 0
    wrong: list[str] = field(default_factory=list)


def cells_of(calls: list[tuple[str, str]]) -> list[tuple[int, Fault]]:
    return [(at, fault) for at, (kind, what) in enumerate(calls) for fault in faults_of(kind, what)]


async def try_all(operation: Operation, plant: Callable[[Stage], None] | None = None) -> Findings:
    """Carry out an operation undisturbed, and then once for each of its calls and each fault.

    Args:
        plant: Puts a mistake into the product before, to see it found.
    """
    stage = await make_stage(operation.user(), has_cloud_tasks=operation.has_cloud_tasks)
    act = await operation.set_up(stage)
    if plant is not None:
        plant(stage)
    clean = await undisturbed(stage, act)
    findings = Findings()
    commits = clean.calls.count(("store", "commit"))
    if operation.is_request and commits > operation.commits:
        findings.wrong.append(f"{operation.name}: is written by {commits} commits, and so may be half done")
    for at, fault in cells_of(clean.calls):
        findings.cells += 1
        where = f"{operation.name}: call {at} ({'.'.join(clean.calls[at])}) {fault}"
        findings.wrong += [f"{where}: {what}" async for what in trial(stage, operation, act, clean, at, fault)]
    return findings


async def undisturbed(stage: Stage, act: Act) -> Undisturbed:
    before = stage.moment()
    was_inside = await is_inside(stage)
    stage.restore(before)
    answer = await answered(act)
    assert not answer.problem, answer.problem
    assert not answer.is_fault, answer.text
    calls, seen = list(stage.wire.calls), list(stage.seen.calls)
    prefixes = [contents(rows, before.rows) for rows in (before.rows, *stage.store.history)]
    rows, mails = dict(stage.store._rows), [mail.message_id for mail in stage.mail.mails]
    inside = await is_inside(stage)
    return Undisturbed(before, calls, seen, answer, rows, prefixes, was_inside, inside, mails)


async def trial(stage: Stage, operation: Operation, act: Act, clean: Undisturbed, at: int, fault: Fault) -> Any:
    """Carry an operation out with one fault; yield what is wrong."""
    stage.restore(clean.before)
    began, log = elapsed(), Log()
    stage.wire.arm(at, fault)
    with listening(log):
        answer = await answered(act)
    seconds, has_struck = elapsed() - began, stage.wire.struck
    stage.wire.disarm()
    rows = dict(stage.store._rows)
    held = contents(rows, clean.before.rows)
    untouched = rows == clean.before.rows

    if not has_struck:
        yield "the call was never made"
    if answer.problem:
        yield answer.problem
    if seconds > (PATIENCE if operation.is_request else LEASE):
        yield f"took {seconds:.1f} s"
    if not stage.is_idle():
        yield "something is still taken"
    for what in leaks(stage, log):
        yield what

    inside = await is_inside(stage)
    if inside and not clean.was_inside and not (operation.lets_in and answer == clean.answer):
        yield "somebody was let in"
    if clean.was_inside and not inside and untouched and clean.is_inside:
        yield "somebody was shut out"

    if operation.is_request:
        for what in judged(clean, answer, held, untouched, fault, rows, operation):
            yield what
    async for what in recovered(stage, operation, act, clean, at, fault, answer, untouched):
        yield what


def judged(
    clean: Undisturbed,
    answer: Answer,
    held: Counter[str],
    untouched: bool,
    fault: Fault,
    rows: Rows,
    operation: Operation,
) -> Iterator[str]:
    """Compare what was answered with what was written."""
    changed = kinds_changed(clean.before.rows, rows)
    if answer == clean.answer and fault in UNTRUE:
        # What it was told is not so. It may have counted that, and forgotten what it was told is not there.
        if not changed <= COUNTING | DEAD and held != clean.after:
            yield "answered as done, of what is not there:\n" + difference(clean.after, held)
        if counted(clean.after) - counted(held) and not operation.counts_roughly:
            yield "a failure was told and not counted"
    elif answer == clean.answer:
        is_dropped = operation.may_drop and untouched and fault in (Fault.CONFLICT, Fault.CONFLICTS)
        if held != clean.after and not is_dropped:
            yield "answered as done, but it is not:\n" + difference(clean.after, held)
    elif answer.is_fault:
        if not answer.retry_after:
            yield "503 without Retry-After"
        if held not in clean.prefixes:
            yield "half done:\n" + difference(clean.after, held)
        if fault is not Fault.DONE_UNANSWERED and held == clean.after != clean.prefixes[0]:
            yield "done, and answered as a fault"
    elif fault in UNTRUE:
        if not changed <= COUNTING | DEAD and held not in clean.prefixes:
            yield f"answered {answer.status}, but changed {sorted(changed)}"
    else:
        yield f"answered {answer.status} {answer.text[:300]}"


async def recovered(
    stage: Stage,
    operation: Operation,
    act: Act,
    clean: Undisturbed,
    at: int,
    fault: Fault,
    first: Answer,
    untouched: bool,
) -> Any:
    """Do the same once more, now that everything works again."""
    if not operation.is_request:
        async for what in caught_up(stage, act, clean, at, fault):
            yield what
        return
    if not first.is_fault and (fault not in UNTRUE or first == clean.answer or not untouched):
        return
    again = await answered(act)
    held = contents(stage.store._rows, clean.before.rows)
    if untouched:
        if again != clean.answer:
            yield f"not done by repeating: {again.status}\n{apart(clean.answer.text, again.text)}"
        elif held != clean.after:
            yield "repeating does something else:\n" + difference(clean.after, held)
    elif again != clean.answer and again.status not in operation.repeated:
        yield f"was done unseen, and repeating says {again.status}\n{apart(clean.answer.text, again.text)}"


async def caught_up(stage: Stage, act: Act, clean: Undisturbed, at: int, fault: Fault) -> Any:
    """Do what is left once every lease has ended, and compare what came of it in the end."""
    for _ in range(3):
        stage.site.clock.pass_by(timedelta(minutes=1))
        again = await answered(act)
        if again.is_fault:
            yield f"still at fault: {again.text}"
    before = clean.before.rows
    held = contents(stage.store._rows, before, without_times=True)
    wanted = contents(clean.rows, before, without_times=True)
    sent = Counter(mail.message_id for mail in stage.mail.mails)
    if fault is Fault.REFUSED:
        if set(sent):
            yield "refused for good, but sent"
        return
    if fault in UNTRUE:
        # Whose account is not there gets no mail.
        if set(sent) - set(clean.mails):
            yield "a mail that nobody should have"
        return
    if held != wanted:
        yield "in the end it is not as it should be:\n" + difference(wanted, held)
    if len(sent) != len(clean.mails):
        yield f"{len(sent)} mails instead of {len(clean.mails)}"
    # From the mail server's yes to the mark, and only there, a mail may come twice.
    is_sent = ("mail", "send") in clean.calls[: at + 1] or (clean.calls[at], fault) == HANDED_OVER
    if any(count > (2 if is_sent else 1) for count in sent.values()):
        yield f"a mail came {max(sent.values())} times"


def counted(held: Counter[str]) -> Counter[str]:
    """Return what stands in the buckets of the limits."""
    return Counter({line: count for line, count in held.items() if line.startswith("bucket ")})


def apart(one: str, other: str) -> str:
    """Say in which lines two answers differ."""
    lines = difflib.unified_diff(one.splitlines(), other.splitlines(), lineterm="", n=0)
    return "\n".join(list(lines)[2:12])


# --- Looking ----------------------------------------------------------------------------------------------------------


async def answered(act: Act) -> Answer:
    """Do it, and say what came of it."""
    try:
        result = await act()
    except Endless as error:
        return Answer(500, str(error), problem="goes on for ever")
    except AuthflowError as error:
        return Answer(error.status if error.status != 500 else 503, f"{error.code}", "2")
    except Exception as error:
        return Answer(500, f"{type(error).__name__}: {error}", problem=f"raised {type(error).__name__}: {error}")
    if not isinstance(result, Page):
        return Answer(200, repr(result))
    text, problem = masked(f"{result.location}\n{result.text}"), ""
    for trace in (MARK, "Traceback", ".py", "Error("):
        if trace in text:
            problem = f"the answer holds {trace!r}"
    if result.status >= 500 and result.status != 503:
        problem = f"answered {result.status}"
    cookies = frozenset(
        f"{name} {'ended' if 'Max-Age=0' in set_ else 'set'}" for name, set_ in result.set_cookies.items()
    )
    return Answer(result.status, text, result.header("retry-after"), cookies, problem)


async def is_inside(stage: Stage) -> bool:
    """Whether the browser is logged in. Leaves no trace."""
    rows, cookies = dict(stage.store._rows), dict(stage.person.cookies)
    page = await stage.person.get("/json/user/view/self")
    stage.store._rows, stage.person.cookies = rows, cookies
    assert page.status in (200, 401), page.text
    return page.status == 200


@contextmanager
def listening(log: Log) -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    root.addHandler(log)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.removeHandler(log)
        root.setLevel(level)


def leaks(stage: Stage, log: Log) -> Iterator[str]:
    """Find secrets in the log: what was typed, what the cookies hold, and what belongs to nobody's eyes."""
    text = "\n".join(log.lines)
    session = stage.person.cookies.get("authflow_session", "")
    for secret in {*stage.secrets, session, session.split(".")[0]}:
        if len(secret) > 5 and secret in text:
            line = next(line for line in log.lines if secret in line)
            yield f"a secret is in the log: {line[:200]}"
