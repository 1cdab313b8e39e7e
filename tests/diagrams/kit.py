"""Applications whose flows are drawn, and what the golden files must hold (`renew` writes them)."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from unittest import mock

from authflow.apart import apart
from authflow.cli.main import run
from authflow.diagrams.mermaid import mermaid
from authflow.diagrams.sheet import Sheet, sheet
from authflow.diagrams.svg import svg
from authflow.diagrams.text import text
from authflow.fields import Field, FieldType
from authflow.flow import FlowKind
from authflow.model import Credential, Factor
from authflow.provider import (
    Ask,
    Delivery,
    Enrolled,
    Enrolment,
    Outcome,
    ProviderContext,
    Rejected,
    SecondFactorProvider,
    Submission,
    Verified,
)
from authflow.settings import from_environment
from authflow.user import User

ROOT = Path(__file__).parent.parent.parent
GOLDEN = Path(__file__).parent / "golden"
PAGE = ROOT / "docs/flows.md"
PICTURES = ROOT / "docs/img"
COMMANDS = {
    "show": "flows show --kind login",
    "explain": "flows explain --factors time_based_otp,recovery_codes --kind login --kind recover",
    "orphan": "flows explain --factors yubikey --kind login",
}
"""Commands whose output the page shows, by the block it stands in."""

RENEW = "a flow has changed. If it was meant to: python -m tests.diagrams.renew"


CODE = Field("otptoken", FieldType.CODE, "Code")


class CodeByMail(SecondFactorProvider):
    """A second factor whose code is mailed."""

    name = "code_by_mail"
    label = "Code by mail"
    factor = Factor.MAILBOX

    def begin(self, context: ProviderContext) -> Ask:
        return Ask((CODE,), delivery=Delivery("code"))

    async def answer(self, credential: Credential | None, submission: Submission, context: ProviderContext) -> Outcome:
        if credential is None or submission.get("otptoken") != context.code():
            return Rejected("code_wrong")
        return Verified(context.prove(self))

    def begin_enrolment(self, context: ProviderContext) -> Ask:
        return self.begin(context)

    async def answer_enrolment(self, submission: Submission, context: ProviderContext) -> Enrolment:
        if submission.get("otptoken") != context.code():
            return Rejected("code_wrong")
        proof = context.prove(self)
        return Enrolled(proof, Credential(proof.subject, self.name, context.now, context.now))


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


def pictures() -> dict[str, str]:
    """Return the pictures of the page, by file name."""
    login = [FlowKind.LOGIN]
    return {
        "flow_login.svg": svg(drawn(kinds=login), with_table=False),
        "flow_demanding.svg": svg(drawn(Demanding(), login), with_table=False),
    }


def said(command: str) -> str:
    """Return what a command prints in a deployment without settings."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("AUTHFLOW_", "GAE_", "GOOGLE_"))}
    with mock.patch.dict(os.environ, bare, clear=True), redirect_stdout(io.StringIO()) as out:
        assert run(command.split()) == 0
    return out.getvalue()


def page_with(blocks: dict[str, str], page: str) -> str:
    """Return the page with its blocks as they must be."""
    for name, content in blocks.items():
        mark = f"<!-- made: {name} -->\n"
        before, found, rest = page.partition(mark)
        assert found, name
        page = before + mark + content + rest[rest.index("\n<!-- end -->") :]
    return page


def blocks() -> dict[str, str]:
    """Return the blocks of the page that are made, by name."""
    return {name: f"```text\n$ authflow {command}\n\n{said(command)}```" for name, command in COMMANDS.items()}


def marks(page: str) -> set[str]:
    """Return the names of the page's blocks."""
    return set(re.findall(r"<!-- made: (\w+) -->", page))
