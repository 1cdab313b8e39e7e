"""What the commands share: how they are declared, how they reach the application, how they answer."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, TypeAlias, TypeVar

import typer

if TYPE_CHECKING:
    from authflow.assembly import Application

T = TypeVar("T")

_CONTROLS = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")

REFUSED = 2
"""Exit code of what cannot be carried out as put."""

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Name: TypeAlias = Annotated[
    str, typer.Argument(metavar="NAME", help="What the person logs in with.", show_default=False)
]


def groups(help_text: str) -> typer.Typer:
    """Return a group of commands in the house's manner: plain help, no traceback machinery, which is slow to import."""
    return typer.Typer(
        help=help_text,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def with_application(work: Callable[[Application], Awaitable[T]], *, makes_store: bool = False) -> T:
    """Build the application from the environment, run some work on it, and close it.

    Args:
        makes_store: Whether a SQLite file that is not there is made. Else a command that is run in the wrong folder,
            by cron say, would work on a new and empty store and report success.

    Raises:
        ConfigurationError: A setting is refused, or there is no such store.
    """
    from pathlib import Path

    from authflow.assembly import build
    from authflow.errors import ConfigurationError
    from authflow.settings import from_environment

    settings = from_environment()
    scheme, _, path = settings.store.partition(":")
    if scheme == "sqlite" and not makes_store and not Path(path).exists():
        raise ConfigurationError(f"AUTHFLOW_STORE: there is no store at {path}; `authflow serve` makes one")

    async def run() -> T:
        app = build(settings)
        try:
            await app.open(with_worker=False)
            return await work(app)
        finally:
            await app.close()

    return asyncio.run(run())


def say(text: str) -> None:
    """Print one line of the answer."""
    print(text)


def say_json(value: object) -> None:
    """Print the answer for programs."""
    # Letters as they are, but nothing that a terminal would obey.
    print(_CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False, indent=2)))


def hint(text: str) -> None:
    """Print what is not the answer."""
    print(text, file=sys.stderr)


def fail(text: str, code: int) -> int:
    """Say in one line why it did not work."""
    line = " ".join(text.split())
    print(f"authflow: {line}", file=sys.stderr)
    return code


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under their heads. Columns are as wide as they must be."""
    widths = [max(len(row[i]) for row in (heads, *rows)) for i in range(len(heads))]
    for row in (heads, *rows):
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def entries(values: Mapping[str, str]) -> None:
    """Print names and values, one a line."""
    width = max(len(name) for name in values)
    for name, value in values.items():
        say(f"{name.ljust(width)}  {value}")
