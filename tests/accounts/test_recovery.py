"""Recovery and set-up."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from authflow import tickets
from authflow.accounts import Invalid, TicketInvalid
from authflow.errors import NotFound, Overloaded, TooManyAttempts
from authflow.model import Account, Credential, Purpose, Status
from authflow.provider import PrimaryProvider
from authflow.records import account_key, credential_key
from authflow.results import LoggedIn, NotProved, StepOwed
from authflow.store.protocol import Delete
from authflow.testing import PASSWORD, START, browser
from authflow.throttle import Limits, SlidingWindow
from providers.user_password import UserPassword
from tests.accounts.desk import NEW_PASSWORD, Desk, fill, from_network, is_refused, make_desk, provider_with

NEW = {"password": NEW_PASSWORD}


@pytest.fixture
async def ada(desk: Desk) -> Account:
    return await desk.kit.account()


async def set_up_token(desk: Desk, account: Account) -> str:
    token, insertion = tickets.for_set_up(desk.kit.engine.services.keyring, account, desk.kit.clock())
    await desk.kit.memory.commit((insertion,))
    return token


# --- The way through --------------------------------------------------------------------------------------------------


async def test_a_mailed_key_sets_a_new_password(desk: Desk, ada: Account) -> None:
    token = await desk.recovery_token()

    assert await desk.accounts.recover(token, NEW, browser()) is None

    assert isinstance(await desk.kit.login(password=NEW_PASSWORD), LoggedIn)
    assert isinstance(await desk.kit.login(password=PASSWORD), NotProved)


async def test_asking_changes_nothing(desk: Desk, ada: Account) -> None:
    await desk.recovery_token()

    assert await desk.kit.account_now(ada) == ada
    assert isinstance(await desk.kit.login(), LoggedIn)


async def test_the_owner_is_told_that_the_password_was_changed(desk: Desk, ada: Account) -> None:
    await desk.accounts.recover(await desk.recovery_token(), NEW, browser())
    await desk.deliver()

    assert desk.box.mails[-1].to == "ada@example.org"
    assert "password was changed" in desk.box.mails[-1].subject


async def test_recovery_ends_every_session_at_once(desk: Desk, ada: Account) -> None:
    logins = [await desk.kit.login(visitor=browser(browser_id=f"browser-{number}")) for number in range(3)]
    await desk.accounts.recover(await desk.recovery_token(), NEW, browser())

    visitors = [browser(login.session, ada.id) for login in logins]
    alive = [await desk.kit.engine.sessions.current(visitor, desk.kit.clock()) for visitor in visitors]

    assert alive == [None, None, None]


async def test_recovery_ends_a_row_of_failures(desk: Desk, ada: Account) -> None:
    for _ in range(10):
        await desk.kit.login(password="wrong")
    with pytest.raises(TooManyAttempts):
        await desk.kit.login(visitor=from_network("198.51.100.7"))

    token = await desk.asked_recovery()
    await desk.accounts.recover(token, NEW, browser())

    assert isinstance(await desk.kit.login(password=NEW_PASSWORD, visitor=from_network("198.51.100.7")), LoggedIn)


async def test_all_other_keys_of_the_account_die(desk: Desk, ada: Account) -> None:
    keys = [await desk.recovery_token()]
    desk.kit.clock.pass_by(timedelta(minutes=14))
    keys += [await set_up_token(desk, ada), await set_up_token(desk, ada)]

    await desk.accounts.set_up(keys[1], NEW, browser())

    assert await is_refused(desk.accounts.recover(keys[0], NEW, browser()))
    assert await is_refused(desk.accounts.set_up(keys[2], NEW, browser()))


async def test_sibling_recovery_keys_die() -> None:
    limits = Limits(recovery_mail_per_name=SlidingWindow(5, timedelta(minutes=15)))
    desk = make_desk(attributes={"limits": limits})
    await desk.kit.account()
    for _ in range(3):
        await desk.accounts.ask_recovery({"name": "ada@example.org"}, browser())
        await desk.deliver()
    first, second, third = desk.tokens()

    assert await desk.accounts.recover(second, NEW, browser()) is None

    assert await is_refused(desk.accounts.recover(first, NEW, browser()))
    assert await is_refused(desk.accounts.recover(third, NEW, browser()))


async def test_the_second_factor_is_still_owed(desk: Desk, ada: Account) -> None:
    await desk.kit.enrolled(ada, Credential(ada.id, "time_based_otp", START, START, {}, b"s" * 20))

    await desk.accounts.recover(await desk.recovery_token(), NEW, browser())

    assert isinstance(await desk.kit.login(password=NEW_PASSWORD), StepOwed)


async def test_an_account_that_never_had_a_password_gets_one_and_a_notice(desk: Desk) -> None:
    await desk.kit.account("g@example.org", password=None)

    await desk.accounts.recover(await desk.recovery_token("g@example.org"), NEW, browser())
    await desk.deliver()

    assert isinstance(await desk.kit.login("g@example.org", NEW_PASSWORD), LoggedIn)
    assert "password was changed" in desk.box.mails[-1].subject


async def test_there_is_no_recovery_where_passwords_open_nothing() -> None:
    class Other(PrimaryProvider):
        name = "other"
        label = "Other"

        def begin(self, context):  # type: ignore[no-untyped-def]
            raise NotImplementedError

        async def answer(self, credential, submission, context):  # type: ignore[no-untyped-def]
            raise NotImplementedError

    desk = make_desk(methods=(("other", None),), attributes={"authentication_providers": (UserPassword, Other)})

    for work in (
        desk.accounts.ask_recovery({"name": "ada@example.org"}, browser()),
        desk.accounts.recover("a." + "A" * 43, NEW, browser()),
        desk.accounts.register({"name": "new@example.org", **NEW}, browser()),
    ):
        with pytest.raises(NotFound):
            await work


# --- Who is written to ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0, 1, 2, 5, 9])
async def test_who_may_not_log_in_is_not_written_to(desk: Desk, status: int) -> None:
    await desk.kit.account(status=status)

    await desk.accounts.ask_recovery({"name": "ada@example.org"}, browser())

    assert await desk.deliver() == 1
    assert desk.box.mails == []


async def test_custom_active_statuses_recover(desk: Desk) -> None:
    account = await desk.kit.account(status=15)

    await desk.accounts.recover(await desk.recovery_token(), NEW, browser())

    assert (await desk.kit.account_now(account)).status == 15


@pytest.mark.parametrize(
    "typed",
    ["\u212aim@example.org", "k\u0131m@example.org", "\uff4bim@example.org", "kim@ex\u0430mple.org", "kim@example.org.",
     "kim@example.org, eve@example.org"],
)  # fmt: skip
async def test_a_look_alike_name_finds_nobody(desk: Desk, typed: str) -> None:
    await desk.kit.account("kim@example.org")

    await desk.accounts.ask_recovery({"name": typed}, browser())
    await desk.deliver()

    assert desk.box.mails == []


async def test_mail_goes_to_the_stored_address_alone(desk: Desk) -> None:
    account = await desk.kit.account("kim@example.org")
    await desk.rewrite(replace(account, email="post@example.net"))

    await desk.accounts.ask_recovery({"name": "KIM@EXAMPLE.ORG", "email": "eve@example.org"}, browser())
    await desk.deliver()

    assert [mail.to for mail in desk.box.mails] == ["post@example.net"]


async def test_an_account_without_an_address_is_not_written_to(desk: Desk, ada: Account) -> None:
    await desk.rewrite(replace(ada, email=None))

    await desk.accounts.ask_recovery({"name": "ada@example.org"}, browser())
    await desk.deliver()

    assert desk.box.mails == []


async def test_the_mail_names_no_text_of_the_sender(desk: Desk, ada: Account) -> None:
    agent = "Mozilla/5.0 (Windows NT 10.0) Firefox/140.0 visit http://evil.example {{ 7*7 }}\r\nBcc: eve@example.org"

    await desk.accounts.ask_recovery({"name": "ada@example.org"}, replace(browser(), agent=agent))
    await desk.deliver()

    [mail] = desk.box.mails
    assert "Firefox, Windows" in mail.text
    assert "evil" not in mail.text + str(mail.html) + mail.subject


@pytest.mark.parametrize("agent", ["", "x" * 16_384, "\x00\ud800"])
async def test_any_user_agent_is_taken(desk: Desk, ada: Account, agent: str) -> None:
    await desk.accounts.ask_recovery({"name": "ada@example.org"}, replace(browser(), agent=agent))
    await desk.deliver()

    assert len(desk.box.mails) == 1


# --- Limits -----------------------------------------------------------------------------------------------------------


async def test_one_mail_in_fifteen_minutes_whoever_asks(desk: Desk, ada: Account) -> None:
    for number in range(100):
        await desk.accounts.ask_recovery({"name": "ada@example.org"}, from_network(f"192.0.2.{number}"))
    while await desk.deliver():
        pass
    assert len(desk.box.mails) == 1

    desk.kit.clock.pass_by(timedelta(minutes=15))
    await desk.accounts.ask_recovery({"name": "ada@example.org"}, browser())
    await desk.deliver()

    assert len(desk.box.mails) == 2


async def test_ten_requests_of_a_client_in_fifteen_minutes(desk: Desk) -> None:
    for number in range(10):
        await desk.accounts.ask_recovery({"name": f"a{number}@example.org"}, browser())

    with pytest.raises(TooManyAttempts) as caught:
        await desk.accounts.ask_recovery({"name": "b@example.org"}, browser())

    assert caught.value.retry_after == timedelta(minutes=15)


async def test_bad_keys_are_counted_on_their_sender(desk: Desk, ada: Account) -> None:
    for _ in range(10):
        with pytest.raises(TicketInvalid):
            await desk.accounts.recover(f"{ada.id}.{'A' * 43}", NEW, browser())

    with pytest.raises(TooManyAttempts):
        await desk.accounts.recover(f"{ada.id}.{'A' * 43}", NEW, browser())


async def test_recovery_takes_two_round_trips(desk: Desk, ada: Account) -> None:
    token = await desk.recovery_token()

    _, asking, _ = await desk.billed(desk.accounts.ask_recovery({"name": "ada@example.org"}, browser()))
    _, finishing, _ = await desk.billed(desk.accounts.recover(token, NEW, browser()))

    assert asking.total("store") == finishing.total("store") == 2


async def test_a_full_hashing_pool_leaves_the_key_good(desk: Desk, ada: Account) -> None:
    token = await desk.recovery_token()
    slots = fill(desk.kit.pool)

    async def recovering() -> None:
        with pytest.raises(Overloaded):
            await desk.accounts.recover(token, NEW, browser())

    _, bill, _ = await desk.billed(recovering())
    for slot in slots:
        slot.release()

    assert bill.total("store") == 0
    assert await desk.accounts.recover(token, NEW, browser()) is None


# --- Keys that are not good -------------------------------------------------------------------------------------------


async def test_a_key_works_once(desk: Desk, ada: Account) -> None:
    token = await desk.recovery_token()
    await desk.accounts.recover(token, NEW, browser())

    assert await is_refused(desk.accounts.recover(token, {"password": "and another phrase"}, browser()))


async def test_one_of_fifty_parallel_uses_is_taken(desk: Desk, ada: Account) -> None:
    token = await desk.recovery_token()
    passwords = [f"phrase number {number}" for number in range(50)]

    refusals = await asyncio.gather(
        *(
            is_refused(desk.accounts.recover(token, {"password": password}, from_network(f"192.0.2.{number}")))
            for number, password in enumerate(passwords)
        )
    )

    assert refusals.count(False) == 1
    winner = passwords[refusals.index(False)]
    assert isinstance(await desk.kit.login(password=winner), LoggedIn)
    assert (await desk.kit.account_now(ada)).epoch == 2


async def test_a_key_works_for_fifteen_minutes(desk: Desk, ada: Account) -> None:
    token = await desk.recovery_token()
    desk.kit.clock.pass_by(timedelta(minutes=15))

    assert await is_refused(desk.accounts.recover(token, NEW, browser()))


async def test_a_set_up_link_works_for_an_hour(desk: Desk) -> None:
    account = await desk.kit.account(password=None)
    early, late = await set_up_token(desk, account), await set_up_token(desk, account)

    desk.kit.clock.pass_by(timedelta(minutes=59))
    assert await desk.accounts.set_up(early, NEW, browser()) is None
    desk.kit.clock.pass_by(timedelta(minutes=1))

    assert await is_refused(desk.accounts.set_up(late, NEW, browser()))
    assert isinstance(await desk.kit.login(password=NEW_PASSWORD), LoggedIn)


@pytest.mark.parametrize("password", ["short", "ada@example.org", "password1", "", "x" * 1025])
async def test_a_refused_password_leaves_the_key_good(desk: Desk, ada: Account, password: str) -> None:
    token = await desk.recovery_token()

    refused = await desk.accounts.recover(token, {"password": password}, browser())

    assert isinstance(refused, Invalid)
    assert [error.name for error in refused.errors] == ["password"]
    assert await desk.accounts.recover(token, NEW, browser()) is None


async def test_no_key_is_good_for_another_purpose() -> None:
    desk = make_desk(provider_with(registration_admin_verification_required=False))
    ada = await desk.kit.account()
    keys = {Purpose.RECOVERY: await desk.recovery_token(), Purpose.SETUP: await set_up_token(desk, ada)}
    keys[Purpose.VERIFICATION] = await desk.registered()
    doors = {
        Purpose.RECOVERY: lambda token, who: desk.accounts.recover(token, NEW, who),
        Purpose.SETUP: lambda token, who: desk.accounts.set_up(token, NEW, who),
        Purpose.VERIFICATION: lambda token, who: desk.accounts.verify(token, who),
    }

    swapped = [
        await is_refused(door(keys[purpose], from_network("192.0.2.77")))
        for purpose in Purpose
        for other, door in doors.items()
        if other is not purpose
    ]
    proper = [
        await is_refused(doors[purpose](keys[purpose], browser())) for purpose in (Purpose.VERIFICATION, Purpose.SETUP)
    ]

    assert swapped == [True] * 6
    assert proper == [False, False]


@pytest.mark.parametrize("status", [0, 1, 2, 5])
async def test_a_key_does_not_open_an_account_that_is_not_active(desk: Desk, ada: Account, status: int) -> None:
    token = await desk.recovery_token()
    await desk.rewrite(replace(ada, status=status))

    assert await is_refused(desk.accounts.recover(token, NEW, browser()))

    assert (await desk.kit.account_now(ada)).status == status


async def test_a_key_dies_with_the_epoch(desk: Desk, ada: Account) -> None:
    token = await desk.recovery_token()
    await desk.rewrite(replace(ada, epoch=2))

    assert await is_refused(desk.accounts.recover(token, NEW, browser()))


async def test_a_key_of_one_account_says_nothing_of_another(desk: Desk, ada: Account) -> None:
    eve = await desk.kit.account("eve@example.org")
    secret = (await desk.recovery_token()).partition(".")[2]

    assert await is_refused(desk.accounts.recover(f"{eve.id}.{secret}", NEW, browser()))


async def test_other_values_of_the_form_choose_no_account(desk: Desk, ada: Account) -> None:
    await desk.kit.account("eve@example.org")
    token = await desk.recovery_token("eve@example.org")
    form = {**NEW, "name": "ada@example.org", "account_id": ada.id, "key": ada.id, "user": ada.id}

    await desk.accounts.recover(token, form, browser())

    assert isinstance(await desk.kit.login(), LoggedIn)
    assert isinstance(await desk.kit.login("eve@example.org", NEW_PASSWORD), LoggedIn)


async def test_the_account_being_deleted_ends_its_keys(desk: Desk, ada: Account) -> None:
    token = await desk.recovery_token()
    await desk.kit.memory.commit((Delete(account_key(ada.id)), Delete(credential_key(ada.id, "user_password"))))

    assert await is_refused(desk.accounts.recover(token, NEW, browser()))
    assert await desk.kit.records("credential") == []


async def test_recovery_leaves_status_and_rights_alone(desk: Desk) -> None:
    account = await desk.kit.account(access=("user-view",), roles=("editor",))

    await desk.accounts.recover(await desk.recovery_token(), NEW, browser())

    recovered = await desk.kit.account_now(account)
    assert recovered == replace(account, epoch=2, identities_since=desk.kit.clock())


async def test_an_account_that_waits_for_an_admin_still_does_afterwards(desk: Desk) -> None:
    account = await desk.kit.account(status=Status.WAITING_FOR_ADMIN_VERIFICATION)
    token = await set_up_token(desk, account)

    assert await is_refused(desk.accounts.set_up(token, NEW, browser()))
    assert await desk.kit.account_now(account) == account
