"""`authflow tasks`, `clean` and `keys`: what a clock or an operator lets run now and then."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import typer

from authflow.cli.common import AsJson, groups, hint, say, say_json, with_application

tasks = groups("Deferred work, such as mails.")
keys = groups("The keys that secrets are encrypted with.")


@tasks.callback()
def _tasks() -> None:
    """Deferred work, such as mails."""


@keys.callback()
def _keys() -> None:
    """The keys that secrets are encrypted with."""


@tasks.command("run")
def run_tasks(
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 1000, as_json: AsJson = False
) -> None:
    """Carry out what is due now, and end. A running server does this by itself.

    Example: authflow tasks run
    """
    done = with_application(lambda app: app.services.tasks.run_due(app.handlers, limit=limit))
    if as_json:
        say_json({"done": done})
    else:
        say(f"{done} done")


def clean(as_json: AsJson = False) -> None:
    """Delete what has expired: sessions, links, limits, old events. Meant for cron, once a day.

    Example: authflow clean
    """
    counts = with_application(lambda app: app.administration.clean(progress=_progress("deleted")))
    if as_json:
        say_json(counts)
    else:
        say(", ".join(f"{count} {kind}" for kind, count in counts.items()) or "nothing had expired")


@keys.command()
def rotate(as_json: AsJson = False) -> None:
    """Encrypt every stored secret anew that is not under the newest key (the first of AUTHFLOW_SECRET_KEYS).

    Put a new key in front, restart, rotate; `authflow check-config` says when an old one is unused.

    Example: authflow keys rotate
    """
    found = with_application(lambda app: app.administration.rotate_keys(progress=_progress("looked at")))
    if as_json:
        say_json(asdict(found))
    else:
        say(f"{found.checked} looked at, {found.rotated} encrypted anew, {found.unreadable} cannot be read")
        if found.keyed:
            hint(f"{found.keyed} accounts have recovery codes. Those made under an older key need it until renewed.")
    if found.unreadable:
        raise typer.Exit(1)


def _progress(what: str) -> Callable[[int], None] | None:
    """Return what tells somebody at a terminal how far it is; a log is not filled with it."""
    if not sys.stderr.isatty():
        return None
    return lambda count: hint(f"{count} {what}")
