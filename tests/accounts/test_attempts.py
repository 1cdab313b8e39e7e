"""Whose password a link activates, when several people register one address.

Anybody may register anybody's address before its owner does. The owner's link must not open the door for the other.
"""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from authflow.model import Status
from authflow.testing import browser
from tests.accounts.attempts import (
    NAME,
    STRANGERS,
    THIRD,
    VICTIMS,
    later_link_of,
    link_of,
    only_account,
    opens,
    ready_desk,
    register,
    resent,
)
from tests.accounts.desk import Desk, is_refused, make_desk


@pytest.fixture
def desk() -> Desk:
    return ready_desk()


# --- The attack -------------------------------------------------------------------------------------------------------


async def test_the_owners_link_does_not_activate_the_password_of_who_came_first(desk: Desk) -> None:
    await link_of(desk, STRANGERS, firstname="Mallory", lastname="Stranger")
    own = await link_of(desk, VICTIMS, firstname="Victoria")

    stage = await desk.accounts.verify(own, browser())

    assert stage == "ready"
    assert await opens(desk, VICTIMS)
    assert not await opens(desk, STRANGERS)
    assert (await only_account(desk)).profile == {"firstname": "Victoria"}


async def test_what_the_stranger_had_dies_with_the_owners_link(desk: Desk) -> None:
    strangers = await link_of(desk, STRANGERS)
    waiting = await only_account(desk)
    own = await link_of(desk, VICTIMS)

    await desk.accounts.verify(own, browser())

    assert await is_refused(desk.accounts.verify(strangers, browser()))
    assert await is_refused(desk.accounts.verify(own, browser()))
    # Sessions and tickets hold the epoch that they were made under.
    assert (await only_account(desk)).epoch == waiting.epoch + 1
    assert await opens(desk, VICTIMS)


async def test_the_owner_who_came_first_is_not_hijacked_either(desk: Desk) -> None:
    own = await link_of(desk, VICTIMS, firstname="Victoria")
    strangers = await link_of(desk, STRANGERS, firstname="Mallory")

    await desk.accounts.verify(own, browser())

    assert await is_refused(desk.accounts.verify(strangers, browser()))
    assert await opens(desk, VICTIMS)
    assert not await opens(desk, STRANGERS)
    assert (await only_account(desk)).profile == {"firstname": "Victoria"}


@pytest.mark.parametrize("followed", [0, 1, 2])
async def test_the_link_that_is_followed_first_decides(desk: Desk, followed: int) -> None:
    passwords = [STRANGERS, VICTIMS, THIRD]
    links = [await later_link_of(desk, password, firstname=password[:9]) for password in passwords]

    await desk.accounts.verify(links.pop(followed), browser())

    assert [await is_refused(desk.accounts.verify(link, browser())) for link in links] == [True, True]
    assert [await opens(desk, password) for password in passwords] == [n == followed for n in range(3)]
    assert (await only_account(desk)).profile == {"firstname": passwords[followed][:9]}


async def test_a_link_is_of_its_own_attempt_though_others_came_before_it_was_sent(desk: Desk) -> None:
    await link_of(desk, STRANGERS)
    await register(desk, VICTIMS)
    desk.kit.clock.pass_by(timedelta(seconds=1))
    await register(desk, THIRD)

    await desk.deliver()
    of_the_third = desk.tokens()[-1]
    await desk.accounts.verify(of_the_third, browser())

    assert len(desk.tokens()) == 3
    assert [await opens(desk, password) for password in (STRANGERS, VICTIMS, THIRD)] == [False, False, True]


async def test_one_of_many_parallel_links_is_taken_with_its_own_password(desk: Desk) -> None:
    passwords = [STRANGERS, VICTIMS]
    links = [await link_of(desk, password) for password in passwords]
    tries = [
        is_refused(desk.accounts.verify(link, browser(network=f"192.0.2.{number}")))
        for number in range(20)
        for link in links
    ]

    refusals = await asyncio.gather(*tries)

    assert refusals.count(False) == 1
    assert [await opens(desk, password) for password in passwords] == [n == refusals.index(False) % 2 for n in range(2)]
    assert (await only_account(desk)).epoch == 2


@pytest.mark.parametrize("is_reversed", [False, True])
async def test_of_two_links_at_once_exactly_one_wins(desk: Desk, is_reversed: bool) -> None:
    links = {password: await link_of(desk, password) for password in (STRANGERS, VICTIMS)}
    order = sorted(links, reverse=is_reversed)

    refusals = await asyncio.gather(*(is_refused(desk.accounts.verify(links[p], browser())) for p in order))

    assert sorted(refusals) == [False, True]
    [winner] = [password for password, refused in zip(order, refusals, strict=True) if not refused]
    assert [await opens(desk, password) for password in order] == [password == winner for password in order]


async def test_registering_again_does_not_skip_the_admin() -> None:
    desk = make_desk()
    await link_of(desk, STRANGERS)

    stage = await desk.accounts.verify(await link_of(desk, VICTIMS), browser())

    assert stage == "wait"
    assert (await only_account(desk)).status == Status.WAITING_FOR_ADMIN_VERIFICATION
    assert not await opens(desk, VICTIMS)


async def test_what_an_attempt_does_not_declare_stays(desk: Desk) -> None:
    await link_of(desk, STRANGERS, firstname="Mallory")
    account = await only_account(desk)
    await desk.rewrite(replace(account, profile={**account.profile, "note": "by an admin"}))

    await desk.accounts.verify(await link_of(desk, VICTIMS), browser())

    assert (await only_account(desk)).profile == {"note": "by an admin"}


async def test_verifying_takes_two_round_trips(desk: Desk) -> None:
    await link_of(desk, STRANGERS)
    own = await link_of(desk, VICTIMS)

    _, bill, _ = await desk.billed(desk.accounts.verify(own, browser()))

    assert bill.total("store") == 2


# --- Accounts that do not wait ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0, Status.WAITING_FOR_ADMIN_VERIFICATION, Status.DISABLED, Status.ACTIVE])
async def test_the_choice_for_an_account_that_does_not_wait_is_forgotten(desk: Desk, status: int) -> None:
    account = await desk.kit.account(NAME, status=status)
    await register(desk, STRANGERS)

    await desk.deliver()

    assert desk.tokens() == []
    assert await desk.kit.records("attempt") == []
    assert await desk.kit.records("newest_attempt") == []
    assert await desk.kit.account_now(account) == account


@pytest.mark.parametrize("status", [Status.WAITING_FOR_ADMIN_VERIFICATION, Status.DISABLED, Status.ACTIVE])
async def test_a_link_changes_no_account_that_does_not_wait_any_more(desk: Desk, status: Status) -> None:
    await link_of(desk, VICTIMS)
    strangers = await link_of(desk, STRANGERS)
    account = replace(await only_account(desk), status=status)
    await desk.rewrite(account)
    [credential] = await desk.kit.records("credential")

    assert await is_refused(desk.accounts.verify(strangers, browser()))

    assert await only_account(desk) == account
    assert await desk.kit.records("credential") == [credential]


async def test_the_password_of_an_account_that_was_in_use_is_not_replaced(desk: Desk) -> None:
    await desk.accounts.verify(await link_of(desk, VICTIMS), browser())
    assert await opens(desk, VICTIMS)
    await desk.rewrite(replace(await only_account(desk), status=Status.WAITING_FOR_EMAIL_VERIFICATION))

    await desk.accounts.verify(await later_link_of(desk, STRANGERS, firstname="Mallory"), browser())

    assert await opens(desk, VICTIMS)
    assert not await opens(desk, STRANGERS)
    assert (await only_account(desk)).profile == {}


async def test_an_account_that_was_in_use_may_have_another_mail_at_any_age(desk: Desk) -> None:
    await desk.accounts.verify(await link_of(desk, VICTIMS), browser())
    assert await opens(desk, VICTIMS)
    desk.kit.clock.pass_by(timedelta(days=400))
    await desk.rewrite(replace(await only_account(desk), status=Status.WAITING_FOR_EMAIL_VERIFICATION))

    [link] = await resent(desk)

    assert await desk.accounts.verify(link, browser()) == "ready"
    assert await opens(desk, VICTIMS)
