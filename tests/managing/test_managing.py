"""What an account with rights does to others, below the edge: conflicts, races, faults, and who is told."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from authflow.account_work import Invalid
from authflow.errors import Forbidden, NotAuthenticated, NotFound, StoreConflict, StoreUnavailable
from authflow.managing import Managing
from authflow.model import Account
from authflow.records import account_key, session_key
from authflow.seam import Call
from authflow.sessions import Current
from authflow.store.protocol import Update
from authflow.testing import Kit, browser, make_kit

ADA, BOB, ROOT = "ada@example.org", "bob@example.org", "root@example.org"


class Interruption:
    """Does something right before the next commit, or fails it."""

    def __init__(self) -> None:
        self.deeds: list = []

    async def before(self, call: Call) -> None:
        if self.deeds and (call.kind, call.operation) == ("store", "commit"):
            deed = self.deeds.pop()
            await deed()

    def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
        pass


@pytest.fixture
def interruption() -> Interruption:
    return Interruption()


@pytest.fixture
def kit(interruption: Interruption) -> Kit:
    return make_kit(observers=(interruption,))


async def acting(kit: Kit, name: str = ROOT, **more) -> Current:
    """Make somebody with rights, logged in."""
    account = await kit.account(name, **(more or {"access": ("root",)}))
    issued = (await kit.login(name)).session
    current = await kit.engine.sessions.current(browser(issued, account.id), kit.clock())
    assert current is not None
    return current


async def written(kit: Kit, account: Account, **values) -> Account:
    """Change an account's record behind everybody's back."""
    key = account_key(account.id)
    record = (await kit.memory.get((key,)))[key]
    changed = replace(Account.from_data(record.data), **values)
    await kit.memory.commit((Update(key, changed.to_data(), record.version),))
    return changed


async def tasks(kit: Kit) -> list[dict]:
    return [dict(record.data["payload"]) for record in await kit.records("outbox")]


async def test_an_edit_that_meets_another_keeps_both(kit: Kit, interruption: Interruption) -> None:
    root, ada = await acting(kit), await kit.account(ADA)
    interruption.deeds.append(lambda: written(kit, ada, profile={"lastname": "Lovelace"}))

    edited = await Managing(kit.engine).edit(root, ada.id, {"firstname": "Ada"})

    assert isinstance(edited, Account)
    assert (await kit.account_now(ada)).profile == {"firstname": "Ada", "lastname": "Lovelace"}


async def test_rights_that_go_between_judgement_and_commit_stop_it(kit: Kit, interruption: Interruption) -> None:
    root, ada = await acting(kit), await kit.account(ADA)
    managing = Managing(kit.engine)

    for deed in (
        lambda: managing.edit(root, ada.id, {"access": "root"}),
        lambda: managing.kick(root, ada.id),
        lambda: managing.delete(root, ada.id),
        lambda: managing.add(root, {"name": BOB}),
    ):
        await written(kit, root.account, access=("root",))
        interruption.deeds.append(lambda: written(kit, root.account, access=()))
        with pytest.raises((NotFound, Forbidden)):
            await deed()

    assert await kit.account_now(ada) == ada
    assert len(await kit.records("account")) == 2


async def test_who_is_logged_out_meanwhile_changes_nothing(kit: Kit, interruption: Interruption) -> None:
    root, ada = await acting(kit), await kit.account(ADA)
    interruption.deeds.append(lambda: written(kit, root.account, epoch=root.account.epoch + 1))

    with pytest.raises(NotAuthenticated):
        await Managing(kit.engine).edit(root, ada.id, {"firstname": "Ada"})

    assert await kit.account_now(ada) == ada


async def test_an_entry_that_goes_meanwhile_is_not_found(kit: Kit, interruption: Interruption) -> None:
    root, ada = await acting(kit), await kit.account(ADA)
    interruption.deeds.append(lambda: Managing(kit.engine).delete(root, ada.id))

    with pytest.raises(NotFound):
        await Managing(kit.engine).edit(root, ada.id, {"firstname": "Ada"})


@pytest.mark.parametrize("deed", ["rename", "add"])
async def test_of_many_who_want_a_name_at_once_one_gets_it(kit: Kit, deed: str) -> None:
    root = await acting(kit)
    others = [await kit.account(f"p{number}@example.org", password=None) for number in range(5)]
    managing = Managing(kit.engine)

    def one(other: Account):
        return managing.add(root, {"name": BOB}) if deed == "add" else managing.edit(root, other.id, {"name": BOB})

    results = await asyncio.gather(*map(one, others), return_exceptions=True)

    made = [result for result in results if isinstance(result, Account)]
    refused = [result for result in results if isinstance(result, Invalid)]
    assert (len(made), len(refused)) == (1, 4)
    assert {result.errors[0].code for result in refused} == {"name_taken"}
    names = [record for record in await kit.records("name") if record.key.name == BOB]
    assert [record.data["account_id"] for record in names] == [made[0].id]
    assert len(await kit.records("name")) == len(await kit.records("account"))


async def test_of_two_edits_of_one_version_one_is_told_that_it_is_late(kit: Kit) -> None:
    root, ada = await acting(kit), await kit.account(ADA)
    managing = Managing(kit.engine)

    results = await asyncio.gather(
        *(managing.edit(root, ada.id, {"firstname": name}, ada.version) for name in ("A", "B")), return_exceptions=True
    )

    assert sorted(type(result).__name__ for result in results) == ["Account", "VersionConflict"]


@pytest.mark.parametrize("deed", ["edit", "add", "kick", "delete"])
async def test_a_fault_changes_nothing(kit: Kit, interruption: Interruption, deed: str) -> None:
    root, ada = await acting(kit), await kit.account(ADA)
    managing = Managing(kit.engine)
    before = dict(kit.memory._rows)

    async def fail() -> None:
        raise StoreUnavailable("down")

    interruption.deeds.append(fail)
    work = {
        "edit": lambda: managing.edit(root, ada.id, {"name": BOB, "password": "another long password", "roles": ""}),
        "add": lambda: managing.add(root, {"name": BOB, "password": "another long password"}),
        "kick": lambda: managing.kick(root, ada.id),
        "delete": lambda: managing.delete(root, ada.id),
    }
    with pytest.raises(StoreUnavailable):
        await work[deed]()

    assert kit.memory._rows == before


async def test_conflicts_that_do_not_end_are_a_fault(kit: Kit, interruption: Interruption) -> None:
    root, ada = await acting(kit), await kit.account(ADA)

    async def conflict() -> None:
        raise StoreConflict("again")

    interruption.deeds += [conflict] * 20

    with pytest.raises(StoreUnavailable):
        await Managing(kit.engine).kick(root, ada.id)


async def test_both_addresses_hear_of_a_new_name_and_no_payload_holds_a_secret(kit: Kit) -> None:
    root, ada = await acting(kit), await kit.account(ADA)

    await Managing(kit.engine).edit(root, ada.id, {"name": BOB, "password": "another long password"})

    sent = await tasks(kit)
    assert {task.get("to") for task in sent if task["template"] == "name_changed"} == {None, ADA}
    assert {task["template"] for task in sent} == {"name_changed", "password_changed"}
    assert "another long password" not in str(sent)


async def test_the_session_of_who_acts_goes_on(kit: Kit) -> None:
    root, ada = await acting(kit), await kit.account(ADA)
    before = (await kit.memory.get((session_key(root.session.id),)))[session_key(root.session.id)]

    await Managing(kit.engine).edit(root, ada.id, {"status": "5"})

    after = (await kit.memory.get((session_key(root.session.id),)))[session_key(root.session.id)]
    assert after == before
    assert await kit.account_now(root.account) == root.account


async def test_the_own_entry_is_not_changed_here(kit: Kit) -> None:
    root = await acting(kit)

    with pytest.raises(NotFound):
        await Managing(kit.engine).edit(root, root.account.id, {"access": ""})

    assert await kit.account_now(root.account) == root.account
