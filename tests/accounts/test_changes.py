"""What people change of their own account: password, entry, existence."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from authflow.accounts import Accounts, Invalid
from authflow.errors import (
    NotAuthenticated,
    NotFound,
    ReauthenticationRequired,
    StoreConflict,
    TooManyAttempts,
    VersionConflict,
)
from authflow.fields import Field
from authflow.model import Account, Credential
from authflow.provider import Outcome, ProviderContext, Submission
from authflow.records import login_info_key, session_key
from authflow.results import LoggedIn, NotProved
from authflow.sessions import Current, IssuedSession
from authflow.store.protocol import Delete, Put, Write
from authflow.testing import PASSWORD, browser
from authflow.throttle import bucket_key
from providers.user_password import UserPassword
from tests.accounts.desk import NEW_PASSWORD, Desk, is_refused, make_desk

FORM = {"current_password": PASSWORD, "password": NEW_PASSWORD}


async def logged_in(desk: Desk, number: int = 1) -> Current:
    login = await desk.kit.login(visitor=browser(browser_id=f"browser-{number}"))
    assert isinstance(login, LoggedIn)
    return await current_of(desk, login.session)


async def current_of(desk: Desk, issued: IssuedSession) -> Current:
    visitor = browser(issued, issued.session.account_id)
    current = await desk.kit.engine.sessions.current(visitor, desk.kit.clock())
    assert current is not None
    return current


async def is_alive(desk: Desk, current: Current) -> bool:
    key = session_key(current.session.id)
    account = await desk.kit.engine.account_by_id(current.account.id)
    found = await desk.kit.memory.get((key,))
    return key in found and account is not None and found[key].data["epoch"] == account.epoch


# --- The password -----------------------------------------------------------------------------------------------------


async def test_the_password_is_changed_and_the_session_made_anew(desk: Desk) -> None:
    ada = await desk.kit.account()
    current = await logged_in(desk)

    issued = await desk.accounts.change_password(current, FORM, browser())

    assert isinstance(issued, IssuedSession)
    assert issued.session.id != current.session.id
    assert issued.session.authenticated_at == current.session.authenticated_at
    assert (await current_of(desk, issued)).account == replace(ada, epoch=2)
    assert isinstance(await desk.kit.login(password=NEW_PASSWORD), LoggedIn)
    assert isinstance(await desk.kit.login(password=PASSWORD), NotProved)


async def test_every_other_session_ends(desk: Desk) -> None:
    await desk.kit.account()
    current, other = await logged_in(desk, 1), await logged_in(desk, 2)

    await desk.accounts.change_password(current, FORM, browser())

    assert not await is_alive(desk, current)
    assert not await is_alive(desk, other)


async def test_recovery_keys_die_with_the_old_password(desk: Desk) -> None:
    await desk.kit.account()
    token = await desk.recovery_token()

    await desk.accounts.change_password(await logged_in(desk), FORM, browser())

    assert await is_refused(desk.accounts.recover(token, {"password": "and another phrase"}, browser()))


async def test_the_owner_is_told(desk: Desk) -> None:
    await desk.kit.account()

    await desk.accounts.change_password(await logged_in(desk), FORM, browser())
    await desk.deliver()

    [mail] = desk.box.mails
    assert mail.to == "ada@example.org"
    assert "password was changed" in mail.subject
    assert "2026-03-01 12:00 UTC" in mail.text


@pytest.mark.parametrize("wrong", ["wrong", PASSWORD + " ", PASSWORD.upper(), NEW_PASSWORD])
async def test_a_wrong_current_password_changes_nothing(desk: Desk, wrong: str) -> None:
    ada = await desk.kit.account()
    current = await logged_in(desk)

    answer = await desk.accounts.change_password(current, {**FORM, "current_password": wrong}, browser())

    assert isinstance(answer, Invalid)
    assert [(error.name, error.code) for error in answer.errors] == [("current_password", "password_wrong")]
    assert answer.values == {}
    assert await desk.kit.account_now(ada) == ada
    assert await is_alive(desk, current)


async def test_wrong_passwords_count_as_they_do_at_login(desk: Desk) -> None:
    await desk.kit.account()
    current = await logged_in(desk)
    for _ in range(10):
        await desk.accounts.change_password(current, {**FORM, "current_password": "wrong"}, browser())

    with pytest.raises(TooManyAttempts):
        await desk.accounts.change_password(current, FORM, browser())
    with pytest.raises(TooManyAttempts):
        await desk.kit.login()


async def test_a_refused_new_password_does_not_tell_that_the_current_one_is_right(desk: Desk) -> None:
    await desk.kit.account()
    current = await logged_in(desk)

    right = await desk.accounts.change_password(current, {**FORM, "password": "short"}, browser())
    wrong = await desk.accounts.change_password(current, {"current_password": "wrong", "password": "short"}, browser())

    assert right == wrong
    assert isinstance(right, Invalid)
    assert [error.code for error in right.errors] == ["password_too_short"]


async def test_the_right_password_does_not_outrun_the_count_of_another_process() -> None:
    class Outrun(UserPassword):
        """Ten wrong ones are counted elsewhere while the right one is judged."""

        async def answer(
            self, credential: Credential | None, submission: Submission, context: ProviderContext
        ) -> Outcome:
            outcome = await super().answer(credential, submission, context)
            await desk.kit.memory.commit(filling)
            return outcome

    desk = make_desk(Outrun)
    ada = await desk.kit.account()
    filling: tuple[Write, ...] = ()
    current = await logged_in(desk)
    limit = desk.kit.user.limits.password_per_name
    key = bucket_key(desk.kit.engine.services.keyring, "password_per_name", "ada@example.org")
    state: dict[str, Any] = {}
    for _ in range(10):
        state = limit.after_failure(state, desk.kit.clock())
    filling = (Put(key, state),)

    with pytest.raises(TooManyAttempts):
        await desk.accounts.change_password(current, FORM, browser())

    assert await desk.kit.account_now(ada) == ada


async def test_a_login_that_is_not_fresh_must_be_repeated(desk: Desk) -> None:
    await desk.kit.account()
    current = await logged_in(desk)
    desk.kit.clock.pass_by(timedelta(minutes=10))

    with pytest.raises(ReauthenticationRequired):
        await desk.accounts.change_password(current, FORM, browser())


async def test_a_session_that_ended_meanwhile_changes_nothing(desk: Desk) -> None:
    ada = await desk.kit.account()
    current = await logged_in(desk)
    await desk.kit.memory.commit((Delete(current.session_record.key),))

    with pytest.raises(NotAuthenticated):
        await desk.accounts.change_password(current, FORM, browser())

    assert await desk.kit.account_now(ada) == ada


async def test_one_of_two_parallel_changes_wins(desk: Desk) -> None:
    await desk.kit.account()
    current = await logged_in(desk)
    forms = [{**FORM, "password": f"phrase number {number}"} for number in range(8)]

    answers = await asyncio.gather(
        *(desk.accounts.change_password(current, form, browser()) for form in forms), return_exceptions=True
    )

    assert [isinstance(answer, IssuedSession) for answer in answers].count(True) == 1
    assert {type(answer) for answer in answers} <= {IssuedSession, NotAuthenticated}


async def test_changing_takes_two_round_trips(desk: Desk) -> None:
    await desk.kit.account()
    current = await logged_in(desk)

    _, bill, _ = await desk.billed(desk.accounts.change_password(current, FORM, browser()))

    assert bill.total("store") == 2


# --- The entry --------------------------------------------------------------------------------------------------------


async def test_declared_fields_are_changed_and_nothing_else(desk: Desk) -> None:
    ada = await desk.kit.account()
    current = await logged_in(desk)
    desk.kit.clock.pass_by(timedelta(minutes=1))
    form = {"firstname": "Ada", "status": "10", "access": "root", "name": "eve@example.org", "epoch": "9"}

    edited = await desk.accounts.edit(current, form)

    assert edited == replace(ada, profile={"firstname": "Ada"}, version=2, changed_at=desk.kit.clock())
    assert await desk.kit.account_now(ada) == edited
    assert await is_alive(desk, current)


async def test_what_is_not_submitted_stays(desk: Desk) -> None:
    await desk.kit.account()
    current = await logged_in(desk)
    await desk.accounts.edit(current, {"firstname": "Ada", "lastname": "Byron"})

    edited = await desk.accounts.edit(current, {"lastname": "Lovelace"})

    assert isinstance(edited, Account)
    assert edited.profile == {"firstname": "Ada", "lastname": "Lovelace"}


async def test_an_older_version_is_a_conflict(desk: Desk) -> None:
    await desk.kit.account()
    current = await logged_in(desk)
    await desk.accounts.edit(current, {"firstname": "Ada"}, 1)

    with pytest.raises(VersionConflict):
        await desk.accounts.edit(current, {"firstname": "Eve"}, 1)


async def test_of_parallel_edits_of_one_version_one_wins(desk: Desk) -> None:
    ada = await desk.kit.account()
    current = await logged_in(desk)

    answers = await asyncio.gather(
        *(desk.accounts.edit(current, {"firstname": f"Ada {number}"}, 1) for number in range(10)),
        return_exceptions=True,
    )

    assert [isinstance(answer, Account) for answer in answers].count(True) == 1
    assert (await desk.kit.account_now(ada)).version == 2


async def test_a_bad_value_is_told(desk: Desk) -> None:
    ada = await desk.kit.account()

    answer = await desk.accounts.edit(await logged_in(desk), {"firstname": "x" * 101})

    assert isinstance(answer, Invalid)
    assert [(error.name, error.code) for error in answer.errors] == [("firstname", "field_too_long")]
    assert await desk.kit.account_now(ada) == ada


async def test_a_required_field_cannot_be_emptied_or_left_out() -> None:
    desk = make_desk(attributes={"profile_fields": (Field("city"),)})
    await desk.kit.account()
    current = await logged_in(desk)

    for form in ({}, {"city": ""}, {"city": "  "}):
        assert isinstance(await desk.accounts.edit(current, form), Invalid)
    assert isinstance(await desk.accounts.edit(current, {"city": "Lisbon"}), Account)
    assert isinstance(await desk.accounts.edit(current, {}), Account)


async def test_an_ended_session_edits_nothing(desk: Desk) -> None:
    ada = await desk.kit.account()
    current = await logged_in(desk)
    await desk.rewrite(replace(ada, epoch=2))

    with pytest.raises(NotAuthenticated):
        await desk.accounts.edit(current, {"firstname": "Eve"})


# --- The end ----------------------------------------------------------------------------------------------------------


async def test_a_deleted_account_leaves_nothing_but_events(desk: Desk) -> None:
    ada = await desk.kit.account()
    current = await logged_in(desk)

    await desk.accounts.delete(ada.id, "the-root")

    left = {key.kind for key in desk.kit.memory._rows}
    assert left.isdisjoint({"account", "name", "credential"})
    # A mark of one day, or a first login on its way would leave what nobody removes.
    (mark,) = await desk.kit.records(login_info_key(ada.id).kind)
    assert mark.data == {}
    assert mark.expires_at == desk.kit.clock() + timedelta(days=1)
    assert not await is_alive(desk, current)
    assert isinstance(await desk.kit.login(), NotProved)


async def test_deleting_nobody_is_told(desk: Desk) -> None:
    with pytest.raises(NotFound):
        await desk.accounts.delete("nobody", "the-root")


async def test_the_name_of_a_deleted_account_is_free(desk: Desk) -> None:
    ada = await desk.kit.account()
    await desk.accounts.delete(ada.id, "the-root")

    await desk.registered("ada@example.org")

    assert len(await desk.kit.records("account")) == 1


async def test_hooks_hear_of_edits_and_deletions() -> None:
    heard: list[tuple[str, str]] = []

    async def on_edited(self: object, account: Account) -> None:
        heard.append(("edited", account.name))

    async def on_deleted(self: object, account: Account) -> None:
        heard.append(("deleted", account.name))
        raise StoreConflict("a hook that breaks")

    desk = make_desk(attributes={"on_edited": on_edited, "on_deleted": on_deleted})
    ada = await desk.kit.account()

    await desk.accounts.edit(await logged_in(desk), {"firstname": "Ada"})
    await desk.accounts.delete(ada.id, ada.id)

    assert heard == [("edited", "ada@example.org"), ("deleted", "ada@example.org")]


async def test_each_change_leaves_an_event(desk: Desk) -> None:
    ada = await desk.kit.account()
    current = await logged_in(desk)
    accounts: Accounts = desk.accounts
    await accounts.edit(current, {"firstname": "Ada"})
    await accounts.change_password(current, {**FORM, "current_password": "wrong"}, browser())
    await accounts.change_password(current, FORM, browser())
    await accounts.delete(ada.id, "the-root")

    types = {record.data["type"] for record in await desk.kit.records("event")}

    assert types >= {"account_edited", "password_change_refused", "password_changed", "account_deleted"}
