"""Tickets: single-use rights that are mailed or printed. What is handed out, what the store knows, how one is judged.

A token is derived, not drawn: whoever repeats a deferred task mints the same one, so no payload and no record has to
hold it. The store knows its SHA-256. Spending a ticket deletes its record, guarded, in the commit it pays for.

A verification ticket belongs to one attempt to register: who follows the link agrees to what that attempt chose, and to
nothing that somebody else chose for the same address before or after.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from authflow.errors import RequestError
from authflow.messages import SENTENCES
from authflow.model import Account, Plain, Purpose, Ticket, from_instant, to_instant
from authflow.records import attempt_key, newest_attempt_key, ticket_key
from authflow.store.protocol import Delete, Insert, Key, Put, Record
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


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to register a name, as far as its mail and its ticket have to know it.

    Attributes:
        id: Of the task that mails its link. Empty for the attempt that made the account: its choice is in place.
        at: When it was made. The mail tells this and the device, for the owner of the address to know it by.
        chosen: Its password and profile, sealed by `records.Vault`; empty where `id` is.
    """

    id: str
    at: datetime
    device: str = ""
    chosen: str = field(default="", repr=False)

    @property
    def expires_at(self) -> datetime:
        """When no mail brings it back any more: from then on one has to register again."""
        return self.at + LIFETIMES[Purpose.VERIFICATION]

    def to_data(self) -> dict[str, Plain]:
        return {"id": self.id, "at": from_instant(self.at), "device": self.device, "chosen": self.chosen}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Attempt:
        return cls(data["id"], to_instant(data["at"]), data["device"], data["chosen"])

    def kept(self) -> Insert:
        """Return the write that keeps its choice until its mail is sent, or sent again."""
        return Insert(attempt_key(self.id), self.to_data(), self.expires_at)

    def newest(self, account_id: str) -> Put:
        """Return the write that makes it the one which another mail is about. Unguarded: the last one wins."""
        return Put(newest_attempt_key(account_id), replace(self, chosen="").to_data(), self.expires_at)


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


def insertion(token: str, ticket: Ticket, attempt: Attempt | None = None) -> Insert:
    """Return the write that makes a ticket good. A conflict with the same token says that it is there already.

    Args:
        attempt: Whose choice it activates. The choice travels in the ticket: it is spent and expires with it.
    """
    data = ticket.to_data()
    if attempt is not None:
        data["attempt"] = attempt.to_data()
    return Insert(ticket_key(digest(token)), data, ticket.expires_at)


def attempt_of(data: Mapping[str, Any]) -> Attempt | None:
    """Return the attempt that a ticket's record belongs to."""
    held = data.get("attempt")
    return None if held is None else Attempt.from_data(held)


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
