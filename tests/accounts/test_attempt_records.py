"""What attempts to register leave in the store: sealed, bound to their attempt, gone when they mean nothing."""

from datetime import timedelta

import pytest

from authflow import tickets
from authflow.accounts import TicketInvalid
from authflow.errors import TooManyAttempts
from authflow.model import Credential
from authflow.records import Vault, attempt_key, newest_attempt_key
from authflow.store.protocol import Key, Record, Update
from authflow.testing import START, browser
from authflow.tickets import Attempt
from authflow.tokens import BadToken, Keyring
from authflow.upkeep import Upkeep
from tests.accounts.attempts import (
    STRANGERS,
    THIRD,
    VICTIMS,
    later_link_of,
    link_of,
    only_account,
    only_task,
    opens,
    ready_desk,
    register,
)
from tests.accounts.desk import Desk, is_refused


@pytest.fixture
def desk() -> Desk:
    return ready_desk()


# --- What is left -----------------------------------------------------------------------------------------------------


async def test_a_followed_link_takes_its_choice_along(desk: Desk) -> None:
    await link_of(desk, STRANGERS)
    own = await link_of(desk, VICTIMS)

    await desk.accounts.verify(own, browser())

    assert await desk.kit.records("attempt") == []
    assert await desk.kit.records("newest_attempt") == []


async def test_what_is_never_followed_is_swept_after_seven_days(desk: Desk) -> None:
    for password in (STRANGERS, VICTIMS, THIRD):
        await later_link_of(desk, password)
    desk.kit.clock.pass_by(timedelta(days=7, seconds=1))

    await Upkeep(desk.kit.engine).clean()

    for kind in ("attempt", "newest_attempt", "ticket", "decoy"):
        assert await desk.kit.records(kind) == []


async def test_a_deleted_account_leaves_no_pointer(desk: Desk) -> None:
    await link_of(desk, STRANGERS)
    await link_of(desk, VICTIMS)

    await desk.accounts.delete((await only_account(desk)).id, by="an-admin")

    assert await desk.kit.records("newest_attempt") == []
    assert await is_refused(desk.accounts.verify(desk.tokens()[-1], browser()))


# --- Secrets ----------------------------------------------------------------------------------------------------------


async def test_nothing_that_was_chosen_can_be_read_from_the_store(desk: Desk) -> None:
    await link_of(desk, STRANGERS)
    token = await link_of(desk, VICTIMS, firstname="Victoria")
    [kept] = await desk.kit.records("attempt")
    [first] = await desk.kit.records("credential")
    stored = desk.everything_stored()

    assert VICTIMS not in stored
    assert "Victoria" not in stored
    assert token not in stored
    assert token.partition(".")[2] not in stored
    # One hash can be seen: that of the credential in place.
    assert stored.count(str(first.data["data"]["hash"])[:7]) == 1  # type: ignore[index,call-overload]
    assert str(kept.data["chosen"]) not in repr(Attempt.from_data(kept.data))


def sealed_for(vault: Vault, account_id: str, attempt_id: str) -> str:
    credential = Credential(account_id, "user_password", START, START, {"hash": "a hash"}, b"a secret")
    return vault.seal_choice(attempt_id, credential, {"firstname": "Ada"})


def test_a_choice_is_read_as_it_was_sealed() -> None:
    vault = Vault(Keyring(("k" * 32,)))

    credential, profile = vault.choice("attempt", "account", sealed_for(vault, "account", "attempt"))

    assert credential == Credential("account", "user_password", START, START, {"hash": "a hash"}, b"a secret")
    assert profile == {"firstname": "Ada"}


@pytest.mark.parametrize(("attempt", "account"), [("other", "account"), ("attempt", "other"), ("", "account")])
def test_a_choice_that_was_moved_is_not_read(attempt: str, account: str) -> None:
    vault = Vault(Keyring(("k" * 32,)))
    sealed = sealed_for(vault, "account", "attempt")

    with pytest.raises(BadToken):
        vault.choice(attempt, account, sealed)


async def rewritten_ticket(desk: Desk, token: str, **changes: str) -> None:
    """Change the attempt in a ticket's record."""
    _, place = tickets.read(token)
    record: Record = (await desk.kit.memory.get((place,)))[place]
    attempt = {**record.data["attempt"], **changes}  # type: ignore[dict-item]
    await desk.kit.memory.commit((Update(place, {**record.data, "attempt": attempt}, record.version),))


@pytest.mark.parametrize("changes", [{"chosen": ""}, {"chosen": "not.sealed"}, {"id": "another"}])
async def test_a_link_whose_choice_cannot_be_read_activates_nothing(desk: Desk, changes: dict[str, str]) -> None:
    await link_of(desk, STRANGERS)
    own = await link_of(desk, VICTIMS)
    waiting = await only_account(desk)
    await rewritten_ticket(desk, own, **changes)

    with pytest.raises(TicketInvalid):
        await desk.accounts.verify(own, browser())

    assert await only_account(desk) == waiting


async def test_unreadable_choices_are_counted_on_their_sender(desk: Desk) -> None:
    await link_of(desk, STRANGERS)
    own = await link_of(desk, VICTIMS)
    await rewritten_ticket(desk, own, chosen="")
    for _ in range(10):
        with pytest.raises(TicketInvalid):
            await desk.accounts.verify(own, browser())

    with pytest.raises(TooManyAttempts):
        await desk.accounts.verify(own, browser())


async def test_a_choice_for_another_provider_is_not_taken(desk: Desk) -> None:
    await link_of(desk, STRANGERS)
    own = await link_of(desk, VICTIMS)
    waiting = await only_account(desk)
    credential = Credential(waiting.id, "other", START, START, {"hash": "a hash"})
    await rewritten_ticket(desk, own, id="an-id", chosen=desk.kit.engine.vault.seal_choice("an-id", credential, {}))

    with pytest.raises(TicketInvalid):
        await desk.accounts.verify(own, browser())

    assert await only_account(desk) == waiting


async def test_a_ticket_of_an_earlier_release_activates_what_is_in_place(desk: Desk) -> None:
    token = await link_of(desk, VICTIMS)
    _, place = tickets.read(token)
    record = (await desk.kit.memory.get((place,)))[place]
    data = {name: value for name, value in record.data.items() if name != "attempt"}
    await desk.kit.memory.commit((Update(place, data, record.version, record.expires_at),))

    assert await desk.accounts.verify(token, browser()) == "ready"
    assert await opens(desk, VICTIMS)


async def test_attempts_lie_under_the_id_of_their_task(desk: Desk) -> None:
    await link_of(desk, STRANGERS)
    await register(desk, VICTIMS)
    task, account = await only_task(desk), await only_account(desk)

    kept = await desk.kit.memory.get((attempt_key(task.id), newest_attempt_key(account.id)))

    assert set(kept) == {Key("attempt", task.id), Key("newest_attempt", account.id)}
    assert {record.expires_at for record in kept.values()} == {desk.kit.clock() + timedelta(days=7)}
    assert dict(task.payload) == {"account_id": account.id, "agent": ""}
