"""Tickets: what is handed out, and when it is taken."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from authflow import tickets
from authflow.model import Account, Purpose
from authflow.store.protocol import Record
from authflow.tickets import TicketInvalid
from authflow.tokens import Keyring

NOON = datetime(2026, 1, 15, 12, 0, tzinfo=UTC)
ADA = Account("ada-id", "ada@example.org", "ada@example.org", NOON, NOON, email="ada@example.org", epoch=3)


@pytest.fixture
def keyring() -> Keyring:
    return Keyring(("test master key, long enough to be one",))


def record_of(token: str, purpose: Purpose = Purpose.RECOVERY, account: Account = ADA) -> Record:
    written = tickets.insertion(token, tickets.make(purpose, account, NOON))
    return Record(written.key, written.data, 1, written.expires_at)


def test_a_repeat_mints_the_same_token(keyring: Keyring) -> None:
    first = tickets.mint(keyring, Purpose.RECOVERY, "a-task", ADA.id)

    assert tickets.mint(keyring, Purpose.RECOVERY, "a-task", ADA.id) == first


def test_purpose_seed_and_account_make_other_tokens(keyring: Keyring) -> None:
    tokens = {
        tickets.mint(keyring, purpose, seed, account)
        for purpose in Purpose
        for seed in ("one", "two")
        for account in ("a", "b")
    }

    assert len(tokens) == 12


def test_two_set_up_links_are_never_the_same(keyring: Keyring) -> None:
    assert tickets.for_set_up(keyring, ADA, NOON)[0] != tickets.for_set_up(keyring, ADA, NOON)[0]


def test_a_token_tells_its_account_and_place(keyring: Keyring) -> None:
    token = tickets.mint(keyring, Purpose.RECOVERY, "a-task", ADA.id)

    account_id, key = tickets.read(f" {token} ")

    assert account_id == ADA.id
    assert key == tickets.insertion(token, tickets.make(Purpose.RECOVERY, ADA, NOON)).key
    assert token not in key.name


@pytest.mark.parametrize(
    "text",
    ["", " ", "null", "0", ".", "a." + "A" * 42, "." + "A" * 43, "a.b." + "A" * 43, "a/b." + "A" * 43,
     "a." + "A" * 43 + "\n", "\u0660." + "A" * 43, "a" * 65 + "." + "A" * 43, "x" * 100_000, "\ud800." + "A" * 43],
)  # fmt: skip
def test_what_has_not_the_form_of_a_token_is_refused(text: str) -> None:
    with pytest.raises(TicketInvalid) as caught:
        tickets.read(text)

    assert (caught.value.status, caught.value.code) == (412, "ticket_invalid")


@pytest.mark.parametrize("purpose", list(Purpose))
def test_a_good_ticket_is_taken(keyring: Keyring, purpose: Purpose) -> None:
    record = record_of(tickets.mint(keyring, purpose, "a-task", ADA.id), purpose)

    assert tickets.judge(record, ADA, purpose, NOON).purpose is purpose


@pytest.mark.parametrize(("made_for", "used_for"), list(permutations(Purpose, 2)))
def test_purposes_do_not_mix(keyring: Keyring, made_for: Purpose, used_for: Purpose) -> None:
    record = record_of(tickets.mint(keyring, made_for, "a-task", ADA.id), made_for)

    with pytest.raises(TicketInvalid):
        tickets.judge(record, ADA, used_for, NOON)


@pytest.mark.parametrize("purpose", list(Purpose))
def test_a_ticket_ends_at_the_instant_it_says(keyring: Keyring, purpose: Purpose) -> None:
    record, end = record_of("token", purpose), NOON + tickets.LIFETIMES[purpose]

    tickets.judge(record, ADA, purpose, end - timedelta(microseconds=1))
    with pytest.raises(TicketInvalid):
        tickets.judge(record, ADA, purpose, end)


@pytest.mark.parametrize(
    "account",
    [
        None,
        replace(ADA, epoch=4),
        replace(ADA, epoch=2),
        replace(ADA, id="somebody-else"),
        replace(ADA, email="other@example.org"),
        replace(ADA, email=None),
    ],
)
def test_a_ticket_dies_with_what_it_was_made_for(account: Account | None) -> None:
    with pytest.raises(TicketInvalid):
        tickets.judge(record_of("token"), account, Purpose.RECOVERY, NOON)


def test_an_unknown_token_is_refused() -> None:
    with pytest.raises(TicketInvalid):
        tickets.judge(None, ADA, Purpose.RECOVERY, NOON)
