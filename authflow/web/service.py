"""The small paths that programs and platforms ask for: skeys, health, warm-up, the stylesheet, the way home."""

from __future__ import annotations

from authflow.errors import BadInput
from authflow.web.exchange import Exchange
from authflow.web.routes import Assurance, Route
from authflow.web.views import Meaning, View

MAX_SKEYS = 100
"""ViUR's limit of `amount`."""


def routes() -> list[Route]:
    return [
        Route("/skey", Assurance.ANYBODY, get=skey),
        Route("/", Assurance.ANYBODY, get=home),
        Route("/user", Assurance.ANYBODY, get=home),
    ]


async def skey(x: Exchange) -> View:
    """Return a fresh skey as JSON, or with `amount` over 1 a list of them. No store operation, any amount."""
    amount = x.get("amount") or "1"
    if not (amount.isascii() and amount.isdigit() and 1 <= int(amount[:4]) <= MAX_SKEYS) or len(amount) > 3:
        raise BadInput("amount must be a number from 1 to 100")
    count = int(amount)
    return View(Meaning.DATA, data=x.skey() if count == 1 else [x.skey() for _ in range(count)])


async def home(x: Exchange) -> View:
    """Send people on: whoever has a session cookie to the account, others to the login."""
    return View(Meaning.GO, next_path="/user/view/self" if x.cookies.session else "/user/login")
