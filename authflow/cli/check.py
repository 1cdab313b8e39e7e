"""`authflow check-config`: what is dangerous about this deployment."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import typer

from authflow.cli.common import AsJson, say, say_json

if TYPE_CHECKING:
    from authflow.findings import Finding


def check_config(as_json: AsJson = False) -> None:
    """List what is dangerous: settings for a developer's machine, broken templates, people locked out, unused keys.

    Exits with 1 when it found something. A setting that authflow refuses to start with is a finding too.

    Example: authflow check-config --json
    """
    found = asyncio.run(_found())
    if as_json:
        findings = [{"code": finding.code, "message": finding.message} for finding in found]
        say_json({"ok": not found, "findings": findings})
    else:
        for finding in found:
            say(f"{finding.code}: {finding.message}")
        if not found:
            say("nothing found")
    if found:
        raise typer.Exit(1)


async def _found() -> list[Finding]:
    from authflow.assembly import build
    from authflow.errors import ConfigurationError, StoreUnavailable
    from authflow.findings import Finding, findings
    from authflow.settings import from_environment

    try:
        app = build(from_environment())
    except ConfigurationError as error:
        return [Finding("refused", error.detail)]
    try:
        with contextlib.suppress(StoreUnavailable):
            await app.open(with_worker=False)
        return [finding async for finding in findings(app)]
    finally:
        await app.close()
