"""Accounts in the order of their names, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass

from authflow.errors import BadInput
from authflow.identifiers import MAX_NAME_BYTES
from authflow.model import Account
from authflow.store.protocol import Store

_LAST = "\U0010ffff"
"""Sorts behind every name that goes on: names hold no character that is assigned to nobody."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of accounts, by name. `cursor` is None on the last page."""

    accounts: tuple[Account, ...]
    cursor: str | None


async def list_accounts(store: Store, *, search: str = "", cursor: str | None = None, limit: int = 50) -> Listing:
    """List accounts by name, in one round trip.

    Args:
        search: How the names begin, in either case of ASCII letters.
        cursor: Of the page before, for the same search.
        limit: 1 to 500.

    Raises:
        BadInput: The cursor is not one of ours, or the limit not 1 to 500.
    """
    if not 1 <= limit <= 500:
        raise BadInput("limit: 1 to 500")
    # As names are canonical: nothing but ASCII letters is folded (see `identifiers`).
    start = "".join(char.lower() if char.isascii() else char for char in search.strip(" "))
    if len(start.encode()) > MAX_NAME_BYTES:
        return Listing((), None)
    bounds = {"at_least": start, "at_most": start + _LAST} if start else {}
    page = await store.find("account", "canonical_name", limit=limit, cursor=cursor, **bounds)
    return Listing(tuple(Account.from_data(record.data) for record in page.records), page.cursor)
