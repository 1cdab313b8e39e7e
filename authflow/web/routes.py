"""One table of routes, made once from what the providers declare. Looked up by path in a dictionary, never walked.

Each route says the assurance it needs; one that does not say it cannot be made.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from authflow.errors import ConfigurationError
from authflow.web.exchange import Exchange
from authflow.web.views import View

Handler: TypeAlias = Callable[[Exchange], Awaitable[View]]


class Assurance(StrEnum):
    """Who may call a route. The handler asks for it; the table states it, for readers, documents and tests."""

    ANYBODY = "anybody"
    PENDING = "pending"
    """A flow of this browser that waits for this step."""
    SESSION = "session"
    FRESH = "fresh"
    """A session whose login is recent."""
    TICKET = "ticket"
    """A mailed or printed token."""


@dataclass(frozen=True, slots=True)
class Route:
    """One path below a renderer's prefix.

    Attributes:
        get, post: What answers these methods; None is 405. HEAD is answered as GET.
        needs_skey: Whether a POST must carry an skey. False only where the request carries a proof of its own.
        takes_key: The path goes on with an entry's key.
        is_form: `get` shows the fields that `post` takes, so that tools may ask for them by a POST that brings none.
            ViUR: `skey(allow_empty=True)`.
    """

    path: str
    needs: Assurance
    get: Handler | None = None
    post: Handler | None = None
    needs_skey: bool = True
    takes_key: bool = False
    is_form: bool = False

    @property
    def methods(self) -> tuple[str, ...]:
        return (*(("GET", "HEAD") if self.get else ()), *(("POST",) if self.post else ()))


def table(routes: Iterable[Route]) -> Mapping[str, Route]:
    """Make the table; keys are paths, those that take an entry's key end in `/*`.

    Raises:
        ConfigurationError: Two routes have one path, or one answers nothing.
    """
    found: dict[str, Route] = {}
    for route in routes:
        key = route.path + "/*" if route.takes_key else route.path
        if key in found or not route.methods:
            raise ConfigurationError(f"route {route.path} is declared twice, or answers no method")
        found[key] = route
    return found
