"""Applications whose flows are drawn, and what the golden files must hold (`renew` writes them)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from authflow.apart import apart
from authflow.diagrams.mermaid import mermaid
from authflow.diagrams.sheet import Sheet, sheet
from authflow.diagrams.text import text
from authflow.flow import FlowKind
from authflow.settings import from_environment
from authflow.user import User
from examples.code_by_mail import CodeByMail

GOLDEN = Path(__file__).parent / "golden"
RENEW = "a flow has changed. If it was meant to: python -m tests.diagrams.renew"


class Demanding(User):
    """Administrators must have a second factor; there are two, and Google is paired with one of them."""

    second_factor_required_roles = frozenset({"admin"})
    second_factor_providers = (*User.second_factor_providers, CodeByMail)
    valid_authentication_methods = (*User.valid_authentication_methods, ("user_password", CodeByMail))


def drawn(user: User | None = None, kinds: Sequence[FlowKind] = tuple(FlowKind)) -> Sheet:
    """Draw an application that Google accounts may log in to."""
    settings = from_environment({"AUTHFLOW_GOOGLE_CLIENT_ID": "client.apps.googleusercontent.com"})
    app = apart(settings, user or User())
    try:
        return sheet(app.engine, kinds)
    finally:
        app.services.pool.close()


def made() -> dict[str, str]:
    """Return what the golden files must hold, by name."""
    stock, demanding = drawn(), drawn(Demanding())
    return {"stock.txt": text(stock), "stock.mmd": mermaid(stock), "demanding.txt": text(demanding)}
