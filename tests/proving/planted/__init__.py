"""Faults that once were real ones elsewhere, each planted into an application in a few lines.

The explorer knows none of them. The docstring of each says which abuse case of docs/threats.md it is, and who fell.
"""

from __future__ import annotations

from collections.abc import Iterator

from authflow.user import User
from tests.proving.planted import policies, providers, sessions, steps, tables

Planted = tuple[type[User], str]


def all_of_them() -> Iterator[tuple[type[User], str]]:
    """Return each fault with the invariant that it breaks."""
    for module in (policies, steps, sessions, tables, providers):
        yield from module.PLANTED.items()
