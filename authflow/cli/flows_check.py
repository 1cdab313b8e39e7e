"""`authflow flows check`: whether anything lets in who must not come in, or keeps out who may."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from authflow.cli.common import AsJson, hint, say, say_json

if TYPE_CHECKING:
    from authflow.flow import FlowKind
    from authflow.proving.report import Report

_KINDS = "login, reauthenticate, step_up, recover, register, verify, enrol, settings, setup"


def check(
    user: Annotated[
        str | None,
        typer.Option(metavar="PACKAGE.MODULE:USER", help="Instead of AUTHFLOW_USER.", show_default=False),
    ] = None,
    kinds: Annotated[str | None, typer.Option(help=f"Only these, by commas: {_KINDS}.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Explore every state that a flow can reach, and check what must hold in each.

    The functions that are served are explored: the User with its hooks, the table, the policy, the gates and the
    providers of this configuration. All kinds of flow, all accounts that the configuration tells apart, honest and
    dishonest proofs, two people and two browsers, whatever befalls an account midway. Nothing is stored or sent.

    Exits with 1 when an invariant does not hold, and shows the shortest sequence of events that leads there.

    Examples:

    authflow flows check

    authflow flows check --user myapp.user:User --kinds login,recover --json
    """
    from authflow.proving.proof import prove
    from authflow.settings import from_environment

    settings = from_environment()
    if user is not None:
        settings = replace(settings, user=user)
    is_watched = sys.stderr.isatty()
    report = prove(settings, kinds=_chosen(kinds), told=hint if is_watched else _nobody)
    if as_json:
        say_json(report.to_data())
    else:
        _print(report)
    if report.shortest:
        raise typer.Exit(1)


def _print(report: Report) -> None:
    from authflow.proving.invariants import INVARIANTS

    for found in report.violations:
        say(f"{found.invariant}: {found.sentence}")
        say(f"  does not hold for {found.about}: {found.detail}")
        for number, event in enumerate(found.path, 1):
            say(f"  {number}. {event}")
        times = report.seen[found.invariant]
        if times > 1:
            say(f"  and in {times - 1} more places")
        say("")
    for note in report.notes:
        say(f"note: {note}")
    say(
        f"{report.scenarios} scenarios, {report.states} states, {report.transitions} transitions, "
        f"{report.checks} further questions, {len(INVARIANTS)} invariants, {report.seconds:.2f} s"
    )
    count = len(report.shortest)
    say("every invariant holds" if not count else f"{count} invariant{'s do' if count > 1 else ' does'} not hold")


def _chosen(kinds: str | None) -> tuple[FlowKind, ...]:
    from authflow.errors import BadInput
    from authflow.flow import FlowKind

    if kinds is None:
        return tuple(FlowKind)
    names = [name.strip() for name in kinds.split(",")]
    for name in names:
        if name not in set(FlowKind):
            raise BadInput(f"--kinds: there is no kind {name!r}; there are {_KINDS}")
    return tuple(map(FlowKind, names))


def _nobody(text: str) -> None:
    """Tell nobody."""
