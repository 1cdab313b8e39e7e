"""Tickets: single-use rights that are mailed or printed. What is handed out, what the store knows, how one is judged.

A token is derived, not drawn: whoever repeats a deferred task mints the same one, so no payload and no record has to
hold it. The store knows its SHA-256. Spending a ticket deletes its record, guarded, in the commit it pays for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from authflow.errors import RequestError
from authflow.messages import SENTENCES
from authflow.model import Account, Purpose, Ticket
from authflow.records import ticket_key
from authflow.store.protocol import Delete, Insert, Key, Record
from authflow.tokens import Keyring, digest, new_id

LIFETIMES: Mapping[Purpose, timedelta] = {
    Purpose.RECOVERY: timedelta(minutes=15),
    Purpose.VERIFICATION: timedelta(days=7),
    Purpose.SETUP: timedelta(hours=1),
}
"""How long a ticket lives. The mails say the same times."""

_TOKEN = re.compile(r"([A-Za-z0-9_-]{1,64})\.[A-Za-z0-9_-]{43}", re.ASCII)


class TicketInvalid(RequestError):
    """The ticket is malformed, unknown, spent, expired, of another purpose or outlived by a change of its account."""

    code = "ticket_invalid"
    status = 412
    sentence = SENTENCES["ticket_invalid"]


def mint(keyring: Keyring, purpose: Purpose, seed: str, account_id: str) -> str:
    """Return the token text of a ticket.

    Args:
        seed: What makes this ticket another than the next: the id of the task that sends it, or a random id. It is no
            secret; without our keys nothing follows from it.
        account_id: Part of the token, so that ticket and account come in one lookup.
    """
    return f"{account_id}.{keyring.mac_text(f'ticket:{purpose}', seed)}"


def make(purpose: Purpose, account: Account, now: datetime) -> Ticket:
    """Make a ticket for an account as it is now: good for its present epoch and address."""
    return Ticket(purpose, account.id, account.epoch, now, now + LIFETIMES[purpose], account.email or "")


def insertion(token: str, ticket: Ticket) -> Insert:
    """Return the write that makes a ticket good. A conflict with the same token says that it is there already."""
    return Insert(ticket_key(digest(token)), ticket.to_data(), ticket.expires_at)


def for_set_up(keyring: Keyring, account: Account, now: datetime) -> tuple[str, Insert]:
    """Return the token of a fresh set-up link, for the operator's eyes alone, and the write that makes it good."""
    token = mint(keyring, Purpose.SETUP, new_id(), account.id)
    return token, insertion(token, make(Purpose.SETUP, account, now))


def read(token: str) -> tuple[str, Key]:
    """Return whom a token speaks of, and where its record lies. Neither is believed yet.

    Raises:
        TicketInvalid: It has not the form of a token.
    """
    # People copy a space along with it.
    token = token.strip(" ")
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise TicketInvalid("malformed")
    return found[1], ticket_key(digest(token))


def judge(record: Record | None, account: Account | None, purpose: Purpose, now: datetime) -> Ticket:
    """Say whether a ticket is good for this, now.

    Args:
        record: What lies under the token's key.
        account: Whom the token speaks of.

    Raises:
        TicketInvalid: There is none, or it is of another purpose, account, epoch or address, or too old.
    """
    if record is None or account is None:
        raise TicketInvalid("unknown or spent")
    ticket = Ticket.from_data(record.data)
    if ticket.purpose is not purpose:
        raise TicketInvalid("of another purpose")
    if ticket.account_id != account.id or ticket.epoch != account.epoch:
        raise TicketInvalid("of another account, or outlived by a change of it")
    if ticket.address != (account.email or ""):
        raise TicketInvalid("of another address")
    if now >= ticket.expires_at:
        raise TicketInvalid("expired")
    return ticket


def spend(record: Record) -> Delete:
    """Return the write that spends a ticket: of many that try at once, one succeeds."""
    return Delete(record.key, record.version)
