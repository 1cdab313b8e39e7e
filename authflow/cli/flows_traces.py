"""`authflow flows traces` and `replay`: what has happened to flows, and what would happen to them now."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authflow.cli.common import AsJson, entries, hint, say, say_json, table, with_application

if TYPE_CHECKING:
    from authflow.assembly import Application
    from authflow.replaying import Replayed
    from authflow.traces import Trace, TracePage

_CURSOR = "trace_cursor"
_PROGRESS = 1000
"""Flows after which somebody at a terminal is told how far it is."""


def traces(
    account: Annotated[str | None, typer.Option(metavar="NAME", help="Of this account.", show_default=False)] = None,
    flow: Annotated[str | None, typer.Option(metavar="ID", help="Of this flow, in full.", show_default=False)] = None,
    since: Annotated[datetime | None, typer.Option(help="From then on, in UTC.", show_default=False)] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many at a time.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Of the page before.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """List what has happened to flows, the oldest first, a page at a time; or show one flow.

    A trace tells which step was answered by what, why it was refused, what was owed then, how long it took and what it
    cost. It holds nothing that was typed, no name and no address. User.trace_share says how many flows leave one,
    User.trace_retention for how long.

    With --json a line for each trace, fit for `authflow flows replay`; where there are more, the last line holds the
    cursor of the next page.

    Examples:

    authflow flows traces --since 2026-03-01

    authflow flows traces --account ada@example.org

    authflow flows traces --flow 3q2Zk9b1x0SxDkq1n2b7Vw

    authflow flows traces --limit 500 --json > traces.jsonl
    """
    page, share = with_application(lambda app: _page(app, account, flow, since, limit, cursor))
    if page.skipped:
        hint(f"Of {page.skipped} more a later version of authflow can tell; this one cannot read them.")
    if as_json:
        for trace in page.traces:
            # Whose flow it was is left out: what leaves the store cannot be erased with the account.
            say(json.dumps({**trace.to_data(), "account_id": None}, separators=(",", ":")))
        if page.cursor is not None:
            say(json.dumps({"cursor": page.cursor}))
        return
    if not page.traces:
        if not page.skipped:
            hint(f"No traces. {share:.0%} of all flows leave one (User.trace_share).")
    elif flow is not None:
        _show(page.traces)
    else:
        _list(page.traces)
    if page.cursor is not None:
        hint(f"There are more: --cursor {page.cursor}")


def replay(
    files: Annotated[list[Path], typer.Argument(help="What `flows traces --json` printed; - is standard input.")],
    user: Annotated[
        str | None,
        typer.Option(metavar="PACKAGE.MODULE:CLASS", help="Instead of the one of AUTHFLOW_USER.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run traces against the present definition, and list every flow that would go another way.

    Exits with 1 if there is one, or one of which nobody can tell from its traces. The store is not asked, and nothing
    is sent.

    Examples:

    authflow flows replay traces.jsonl

    authflow flows replay traces.jsonl --user myapp.user:Stricter

    authflow flows traces --limit 500 --json | authflow flows replay -
    """
    from authflow.apart import apart
    from authflow.cli.flows_show import settings_with
    from authflow.replaying import by_flow
    from authflow.replaying import replay as replayed

    flows = by_flow(_read(files))
    app = apart(settings_with(user))
    changed = []
    try:
        for done, result in enumerate(replayed(app.engine.user, flows), start=1):
            if result.has_changed or result.is_unknown:
                changed.append(result)
            if done % _PROGRESS == 0 and sys.stderr.isatty():
                hint(f"{done} of {len(flows)} flows")
    finally:
        app.services.pool.close()
    _tell(changed, len(flows), as_json=as_json)
    if changed:
        raise typer.Exit(1)


# --- Traces -----------------------------------------------------------------------------------------------------------


async def _page(
    app: Application, name: str | None, flow: str | None, since: datetime | None, limit: int, cursor: str | None
) -> tuple[TracePage, float]:
    from authflow.errors import BadInput
    from authflow.tokens import BadToken
    from authflow.traces import listed

    keyring, is_of_account = app.services.keyring, name is not None and flow is None
    account_id = (await app.administration.find(name)).id if name is not None else ""
    if cursor is not None and is_of_account:
        try:
            cursor = keyring.decrypt(_CURSOR, cursor, context=account_id).decode()
        except (BadToken, UnicodeError) as error:
            raise BadInput("not a cursor of this listing") from error
    page = await listed(
        app.services.store,
        app.services.clock(),
        account_id=account_id,
        flow_id=flow or "",
        since=since.replace(tzinfo=since.tzinfo or UTC) if since else None,
        limit=limit,
        cursor=cursor,
    )
    if page.cursor is not None and is_of_account:
        # It names where the listing ended, and with it the account.
        page = replace(page, cursor=keyring.encrypt(_CURSOR, page.cursor.encode(), context=account_id))
    return page, app.engine.user.trace_share


def _list(found: tuple[Trace, ...]) -> None:
    from authflow.traces import outcome_of

    rows = [
        (_at(trace.at), trace.flow_id, trace.kind.value, ", ".join(trace.events), outcome_of(trace), _spent(trace))
        for trace in found
    ]
    table(("AT", "FLOW", "KIND", "EVENTS", "OUTCOME", "SPENT"), rows)


def _show(found: tuple[Trace, ...]) -> None:
    from authflow.traces import outcome_of

    first = found[0]
    entries(
        {
            "flow": first.flow_id,
            "kind": first.kind.value,
            "begun": _at(first.started_at),
            "definition": ", ".join(dict.fromkeys(trace.definition for trace in found)),
        }
    )
    say("")
    rows = []
    for trace in found:
        facts = trace.facts
        known = "-"
        if facts is not None:
            words = ["active" if facts.is_active else "not active", f"enrolled: {' '.join(facts.enrolled) or 'none'}"]
            if facts.demands_second_factor:
                words.append("a second factor is demanded")
            known = "; ".join(words)
        calls = ", ".join(f"{name} {count}" for name, count in sorted(trace.cost.items()) if count)
        after = f"+{(trace.at - first.started_at).total_seconds():.1f} s"
        rows.append((after, ", ".join(trace.events), outcome_of(trace), known, f"{_spent(trace)}: {calls}"))
    table(("AFTER", "EVENTS", "OUTCOME", "JUDGED BY", "COST"), rows)


def _at(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def _spent(trace: Trace) -> str:
    return f"{trace.seconds * 1000:.1f} ms"


# --- Replay -----------------------------------------------------------------------------------------------------------


def _read(files: list[Path]) -> Iterator[Trace]:
    from authflow.errors import BadInput
    from authflow.traces import Trace

    seen: set[str] = set()
    for path in files:
        before = len(seen)
        for number, line in enumerate(_lines(path), start=1):
            text = line.strip()
            # A page may have been printed twice.
            if not text or text in seen:
                continue
            try:
                data = json.loads(text)
                if isinstance(data, dict) and data.keys() == {"cursor"}:
                    continue
                trace = Trace.from_data(data)
            except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
                raise BadInput(f"{path}, line {number}: not a trace ({type(error).__name__}: {error})") from error
            seen.add(text)
            yield trace
        if len(seen) == before:
            hint(f"{path}: no traces in it, or none that were not in the files before")
    if not seen:
        raise BadInput("there is nothing to replay")


def _lines(path: Path) -> Iterator[str]:
    if str(path) == "-":
        yield from sys.stdin
        return
    with path.open(encoding="utf-8") as file:
        yield from file


def _tell(changed: list[Replayed], flows: int, *, as_json: bool) -> None:
    if as_json:
        told = [
            {
                "flow_id": one.flow_id,
                "kind": one.kind.value,
                "after": list(one.after),
                "was": one.was,
                "now": one.now,
                "definition": one.at_definition,
                "is_mixed": one.is_mixed,
                "is_unknown": one.is_unknown,
            }
            for one in changed
        ]
        say_json({"flows": flows, "changed": told})
        return
    for one in changed:
        say(str(one))
    unknown = sum(one.is_unknown for one in changed)
    said = f", of {unknown} nobody can tell" if unknown else ""
    say(f"{flows} flows, {len(changed) - unknown} would go another way{said}")
