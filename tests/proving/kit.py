"""Proofs of applications that are written down in a test."""

from __future__ import annotations

from authflow.flow import FlowKind
from authflow.proving.proof import prove
from authflow.proving.report import Report
from authflow.settings import Settings
from authflow.user import User

GOOGLE = {"google_client_id": "client.apps.googleusercontent.com"}


def proof_of(
    user: User | None = None,
    *,
    kinds: tuple[FlowKind, ...] = tuple(FlowKind),
    google: bool = False,
    with_rehearsal: bool = False,
) -> Report:
    """Prove an application, or the stock one."""
    settings = Settings(provider_environment=GOOGLE if google else {})
    return prove(settings, user or User(), kinds=kinds, with_rehearsal=with_rehearsal)


def told(report: Report) -> str:
    """Return what was found, for the message of an assertion."""
    return "\n".join(
        f"{found.invariant}: {found.detail}\n  {found.about}\n    " + "\n    ".join(found.path)
        for found in report.violations
    )
