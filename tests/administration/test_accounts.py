"""What operators do with accounts: each change is one commit that ends what was issued before."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from authflow.accounts import Accounts
from authflow.administration import Administration
from authflow.errors import BadInput, NameTaken, NotFound, TooManyAttempts
from authflow.model import Account, Status
from authflow.results import LoggedIn, NotProved
from authflow.testing import PASSWORD, Kit, browser, make_kit
from authflow.tickets import TicketInvalid
from authflow.user import User

NAME = "ada@example.org"


async def test_a_made_account_logs_in_with_its_password(kit: Kit, desk: Administration) -> None:
    await desk.create(NAME, password=PASSWORD, is_active=True)

    assert isinstance(await kit.login(NAME), LoggedIn)


async def test_a_made_account_is_not_active_unless_asked(kit: Kit, desk: Administration) -> None:
    account = await desk.create(NAME, password=PASSWORD)

    assert account.status == Status.WAITING_FOR_ADMIN_VERIFICATION
    assert isinstance(await kit.login(NAME), NotProved)


async def test_an_admin_has_every_right(kit: Kit, desk: Administration) -> None:
    account = await desk.create(NAME, is_active=True, is_admin=True)

    assert kit.user.is_admin(account)


async def test_a_name_is_given_once_whatever_its_spelling(desk: Administration) -> None:
    await desk.create(NAME)

    with pytest.raises(NameTaken):
        await desk.create("ADA@Example.org")


async def test_of_many_makers_of_one_name_one_wins(kit: Kit, desk: Administration) -> None:
    results = await asyncio.gather(*(desk.create(NAME) for _ in range(20)), return_exceptions=True)

    assert sum(isinstance(result, Account) for result in results) == 1
    assert all(isinstance(result, Account | NameTaken) for result in results)
    assert len(await kit.records("account")) == 1


@pytest.mark.parametrize("password", ["short", "password1", "ada@example.org1", "x" * 2000])
async def test_a_password_that_people_may_not_choose_is_refused(kit: Kit, desk: Administration, password: str) -> None:
    with pytest.raises(BadInput) as refused:
        await desk.create(NAME, password=password)

    assert refused.value.code.startswith("password_")
    assert not await kit.records("account")


@pytest.mark.parametrize("name", ["", "two\nlines@example.org", "@example.org", "a" * 300])
async def test_what_cannot_be_a_name_is_refused(desk: Administration, name: str) -> None:
    with pytest.raises(BadInput):
        await desk.create(name)


async def test_a_role_that_nobody_declared_is_refused(desk: Administration) -> None:
    with pytest.raises(BadInput):
        await desk.create(NAME, roles=("emperor",))


async def test_a_name_that_is_no_address_gets_its_mail_elsewhere(desk: Administration) -> None:
    account = await desk.create("ada", email="ada@example.org")

    assert (account.name, account.email) == ("ada", "ada@example.org")


async def test_the_hook_hears_of_a_made_account() -> None:
    heard = []

    class Listening(User):
        async def on_added(self, account: Account) -> None:
            heard.append(account.name)

    await Administration(make_kit(Listening()).engine).create(NAME)

    assert heard == [NAME]


async def test_accounts_are_listed_page_by_page_by_name(desk: Administration) -> None:
    for name in ("carol", "ada", "bob"):
        await desk.create(name)

    first = await desk.list(limit=2)
    second = await desk.list(first.cursor, limit=2)

    assert [account.name for account in first.accounts] == ["ada", "bob"]
    assert [account.name for account in second.accounts] == ["carol"]
    assert second.cursor is None


@pytest.mark.parametrize("limit", [0, 501])
async def test_a_page_has_bounds(desk: Administration, limit: int) -> None:
    with pytest.raises(BadInput):
        await desk.list(limit=limit)


async def test_an_unknown_name_is_not_found(desk: Administration) -> None:
    with pytest.raises(NotFound):
        await desk.find("nobody@example.org")


async def test_an_account_that_is_shut_out_loses_its_session_at_once(kit: Kit, desk: Administration) -> None:
    account = await kit.account(NAME)
    visitor = browser((await kit.login(NAME)).session, account.id)

    changed = await desk.deactivate(NAME)

    assert changed.status == Status.DISABLED
    assert await kit.engine.sessions.current(visitor, kit.clock()) is None
    assert isinstance(await kit.login(NAME), NotProved)


async def test_an_account_that_is_let_in_again_gets_no_old_session_back(kit: Kit, desk: Administration) -> None:
    account = await kit.account(NAME)
    visitor = browser((await kit.login(NAME)).session, account.id)
    await desk.deactivate(NAME)

    await desk.activate(NAME)

    assert await kit.engine.sessions.current(visitor, kit.clock()) is None
    assert isinstance(await kit.login(NAME), LoggedIn)


async def test_who_has_waited_for_an_admin_gets_a_mail(kit: Kit, desk: Administration) -> None:
    await kit.account(NAME, status=Status.WAITING_FOR_ADMIN_VERIFICATION)

    await desk.activate(NAME)

    assert [r.data["payload"]["template"] for r in await kit.records("outbox")] == ["account_activated"]


async def test_activating_an_active_account_changes_nothing(kit: Kit, desk: Administration) -> None:
    account = await kit.account(NAME)

    assert await desk.activate(NAME) == account
    assert not await kit.records("event")


async def test_a_set_password_replaces_the_old_one_and_ends_sessions(kit: Kit, desk: Administration) -> None:
    account = await kit.account(NAME)
    visitor = browser((await kit.login(NAME)).session, account.id)

    await desk.set_password(NAME, "another good passphrase")

    assert await kit.engine.sessions.current(visitor, kit.clock()) is None
    assert isinstance(await kit.login(NAME), NotProved)
    assert isinstance(await kit.login(NAME, "another good passphrase"), LoggedIn)


async def test_a_set_password_lifts_the_lock_after_wrong_ones(kit: Kit, desk: Administration) -> None:
    await kit.account(NAME)
    for _ in range(10):
        await kit.login(NAME, "a wrong password")
    with pytest.raises(TooManyAttempts):
        await kit.login(NAME)

    await desk.set_password(NAME, "another good passphrase")

    assert isinstance(await kit.login(NAME, "another good passphrase"), LoggedIn)


async def test_logging_out_ends_every_session(kit: Kit, desk: Administration) -> None:
    account = await kit.account(NAME)
    visitors = [browser((await kit.login(NAME)).session, account.id) for _ in range(3)]

    await desk.log_out(NAME)

    assert [await kit.engine.sessions.current(visitor, kit.clock()) for visitor in visitors] == [None] * 3


async def test_a_deleted_account_leaves_nothing_of_its_own(kit: Kit, desk: Administration) -> None:
    await kit.account(NAME)

    await desk.delete(NAME)

    for kind in ("account", "name", "credential"):
        assert not await kit.records(kind)
    assert [record.data for record in await kit.records("login_info")] == [{}]
    with pytest.raises(NotFound):
        await desk.find(NAME)


async def test_changes_at_once_are_all_carried_out(kit: Kit, desk: Administration) -> None:
    account = await kit.account(NAME)

    await asyncio.gather(*(desk.log_out(NAME) for _ in range(4)))

    assert (await kit.account_now(account)).epoch == account.epoch + 4


async def test_each_change_says_that_an_operator_did_it(kit: Kit, desk: Administration) -> None:
    await desk.create(NAME)
    await desk.activate(NAME)
    await desk.log_out(NAME)

    events = [record.data for record in await kit.records("event")]
    assert {event["type"] for event in events} == {"account_added", "account_activated", "logged_out_everywhere"}
    assert all(event["details"]["by"] == "operator" for event in events)


# --- Links, and the first administrator -------------------------------------------------------------------------------


def token_of(link: str) -> str:
    return link.rpartition("setup_key=")[2]


async def test_a_set_up_link_lets_the_owner_choose_a_password_once(kit: Kit, desk: Administration) -> None:
    await desk.create(NAME, is_active=True)
    link = await desk.setup_link(NAME)
    accounts, values = Accounts(kit.engine), {"password": "another good passphrase"}

    await accounts.set_up(token_of(link), values, browser())

    assert link.startswith("http://127.0.0.1:8000/user/auth_userpassword/setup?setup_key=")
    assert isinstance(await kit.login(NAME, "another good passphrase"), LoggedIn)
    with pytest.raises(TicketInvalid):
        await accounts.set_up(token_of(link), values, browser())


async def test_a_set_up_link_is_good_for_an_hour(kit: Kit, desk: Administration) -> None:
    await desk.create(NAME, is_active=True)
    link = await desk.setup_link(NAME)
    kit.clock.pass_by(timedelta(hours=1))

    with pytest.raises(TicketInvalid):
        await Accounts(kit.engine).set_up(token_of(link), {"password": "another good passphrase"}, browser())


async def test_an_empty_store_gets_one_administrator_without_a_password(kit: Kit, desk: Administration) -> None:
    link = await desk.create_new_user_if_not_exists()

    account = await desk.find("admin@localhost")
    assert link is not None
    assert kit.user.is_admin(account)
    assert kit.user.is_active(account)
    assert not await kit.records("credential")


async def test_of_processes_that_start_together_one_gets_the_link(kit: Kit) -> None:
    starts = (Administration(kit.engine).create_new_user_if_not_exists() for _ in range(10))

    links = await asyncio.gather(*starts)

    assert sum(link is not None for link in links) == 1
    assert len(await kit.records("account")) == 1
    assert len(await kit.records("ticket")) == 1


async def test_a_store_with_accounts_gets_no_administrator(kit: Kit, desk: Administration) -> None:
    await kit.account(NAME)

    assert await desk.create_new_user_if_not_exists() is None


async def test_a_store_that_was_emptied_gets_no_administrator(desk: Administration) -> None:
    await desk.create(NAME)
    await desk.delete(NAME)

    assert await desk.create_new_user_if_not_exists() is None
