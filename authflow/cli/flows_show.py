"""`authflow flows show`: draw the flows in force."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from authflow.cli.common import AsJson, say, say_json
from authflow.flow import FlowKind

if TYPE_CHECKING:
    from authflow.diagrams.sheet import Sheet
    from authflow.settings import Settings


class Format(StrEnum):
    """How a drawing is written."""

    TEXT = "text"
    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"


def show(
    format_: Annotated[Format, typer.Option("--format", help="How to write it.")] = Format.TEXT,
    kinds: Annotated[
        list[FlowKind] | None, typer.Option("--kind", help="Only this kind of flow; may be given again.")
    ] = None,
    user: Annotated[
        str | None,
        typer.Option(metavar="PACKAGE.MODULE:CLASS", help="Instead of the one of AUTHFLOW_USER.", show_default=False),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write it to this file.", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Draw what can happen in the flows of this configuration, by the very functions that serve.

    Steps, who answers them, choices, refusals and ends; on each way which accounts take it. The same configuration
    gives the same text: keep it in a file, and a changed flow shows in review. With --kind the table of states is left
    out. The store is not asked.

    Examples:

    authflow flows show

    authflow flows show --kind login --format svg --output login.svg

    authflow flows show --user myapp.user:User > flows.txt
    """
    drawn = _drawn(user, tuple(kinds or FlowKind))
    if as_json:
        say_json(drawn.to_data())
        return
    written = _written(drawn, format_, with_table=not kinds)
    if output is None:
        say(written.removesuffix("\n"))
    else:
        output.write_text(written, encoding="utf-8")


def settings_with(user: str | None) -> Settings:
    """Return the deployment's settings, with another class of the application where one is named.

    Raises:
        ConfigurationError: A setting is refused, or the class is not there.
    """
    from dataclasses import replace

    from authflow.assembly import make_user
    from authflow.errors import ConfigurationError
    from authflow.settings import from_environment

    settings = from_environment()
    if user is None:
        return settings
    chosen = replace(settings, user=user)
    try:
        make_user(chosen)
    except ConfigurationError as error:
        raise ConfigurationError(error.detail.replace("AUTHFLOW_USER", "--user", 1)) from error
    return chosen


def _drawn(user: str | None, kinds: tuple[FlowKind, ...]) -> Sheet:
    from authflow.apart import apart
    from authflow.diagrams.sheet import sheet

    app = apart(settings_with(user))
    try:
        return sheet(app.engine, kinds)
    finally:
        app.services.pool.close()


def _written(drawn: Sheet, format_: Format, *, with_table: bool) -> str:
    match format_:
        case Format.TEXT:
            from authflow.diagrams.text import text

            return text(drawn, with_table=with_table)
        case Format.MERMAID:
            from authflow.diagrams.mermaid import mermaid

            return mermaid(drawn, with_table=with_table)
        case Format.DOT:
            from authflow.diagrams.dot import dot

            return dot(drawn, with_table=with_table)
        case Format.SVG:
            from authflow.diagrams.svg import svg

            return svg(drawn, with_table=with_table)
