"""`authflow users import`: accounts of another system are brought along."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from authflow.cli.common import AsJson, hint, say, say_json, with_application
from authflow.cli.editing import app

__all__ = ["app"]

if TYPE_CHECKING:
    from authflow.assembly import Application
    from authflow.import_files import Refusal, Report
    from authflow.importing import Arrival
    from authflow.model import Plain

_LEAST_ROUNDS = 12
"""Below, judging a password by PBKDF2 with 600,000 iterations takes longer than by a hash of ours."""


@app.command("import")
def import_accounts(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            show_default=False,
            help="Entities of ViUR's kind `user`, one JSON object a line; - for standard input.",
        ),
    ],
    is_rehearsal: Annotated[bool, typer.Option("--dry-run", help="Judge every line, write nothing.")] = False,
    drops_unknown: Annotated[
        bool, typer.Option("--drop-unknown-rights", help="Leave out rights and roles that do not exist here.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring accounts along from ViUR, with passwords, second factors and Google identities.

    Each is taken in whole or not at all. Those that are here from an earlier run are passed over, so a run that was
    stopped can be repeated. Exits with 1 when a line was refused.

    Examples:

    authflow users import users.jsonl --dry-run

    authflow users import users.jsonl
    """  # fmt: skip
    opened = _opened(file)

    async def work(app: Application) -> tuple[Report, int]:
        from authflow.import_files import import_lines
        from authflow.importing import Importing
        from authflow.viur_entries import read_entry

        profile = [field.name for field in app.engine.user.profile_fields]

        def reader(entry: Mapping[str, Plain]) -> Arrival:
            return read_entry(entry, profile)

        with opened as lines:
            report = await import_lines(
                Importing(app.engine),
                lines,
                reader,
                is_rehearsal=is_rehearsal,
                drops_unknown_rights=drops_unknown,
                refused=None if as_json else _tell,
                progress=_progress,
            )
        return report, app.settings.bcrypt_rounds

    report, rounds = with_application(work, makes_store=not is_rehearsal)
    if as_json:
        say_json(_data(report, is_rehearsal))
    else:
        _sum_up(report, is_rehearsal)
        if report.kept and rounds < _LEAST_ROUNDS:
            hint(f"{report.kept} hashes stay as they are until their owners log in. Set AUTHFLOW_BCRYPT_ROUNDS to"
                 f" {_LEAST_ROUNDS}: below, wrong passwords take longer for them than for unknown names.")  # fmt: skip
    if report.refused:
        raise typer.Exit(1)


# --- Parts ------------------------------------------------------------------------------------------------------------


def _opened(file: Path) -> BinaryIO:
    if str(file) == "-":
        return sys.stdin.buffer
    try:
        return file.open("rb")
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}") from error


def _tell(refusal: Refusal) -> None:
    who = f" ({refusal.name})" if refusal.name else ""
    hint(f"line {refusal.line}{who}: {refusal.reason}")


def _progress(count: int) -> None:
    if sys.stderr.isatty():
        hint(f"{count} lines done")


def _sum_up(report: Report, is_rehearsal: bool) -> None:
    done = "would be taken in" if is_rehearsal else "taken in"
    say(f"{report.taken_in} {done}, {report.already_here} here already, {len(report.refused)} refused")
    for what, counts in (("not taken along", report.ignored), ("rights left out", report.dropped)):
        if counts:
            hint(f"{what}: {', '.join(f'{name!r} ({count})' for name, count in sorted(counts.items()))}")


def _data(report: Report, is_rehearsal: bool) -> dict[str, object]:
    return {
        "dry_run": is_rehearsal,
        "taken_in": report.taken_in,
        "already_here": report.already_here,
        "refused": [
            {"line": refusal.line, "name": refusal.name, "code": refusal.code, "reason": refusal.reason}
            for refusal in report.refused
        ],
        "kept_hashes": report.kept,
        "not_taken_along": dict(sorted(report.ignored.items())),
        "rights_left_out": dict(sorted(report.dropped.items())),
    }
