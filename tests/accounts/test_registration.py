"""Registration, verification and another mail."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from authflow.accounts import Invalid, Registered, TicketInvalid
from authflow.errors import NotFound, Overloaded, TooManyAttempts
from authflow.model import Account, Status
from authflow.provider import ProviderContext, Submission
from authflow.results import LoggedIn, NotProved
from authflow.testing import browser
from providers.user_password import UserPassword
from tests.accounts.desk import NEW_PASSWORD, Desk, fill, from_network, is_refused, make_desk, provider_with

FORM = {"name": "new@example.org", "password": NEW_PASSWORD}
WAITING = Status.WAITING_FOR_EMAIL_VERIFICATION


async def only_account(desk: Desk) -> Account:
    [record] = await desk.kit.records("account")
    return Account.from_data(record.data)


# --- The switches -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by_mail", "by_admin", "status", "stage"),
    [
        (True, True, WAITING, "verify"),
        (True, False, WAITING, "verify"),
        (False, True, Status.WAITING_FOR_ADMIN_VERIFICATION, "wait"),
        (False, False, Status.ACTIVE, "ready"),
    ],
)
async def test_the_switches_decide_where_an_account_begins(
    by_mail: bool, by_admin: bool, status: Status, stage: str
) -> None:
    desk = make_desk(
        provider_with(
            registration_email_verification_required=by_mail, registration_admin_verification_required=by_admin
        )
    )

    answer = await desk.accounts.register(FORM, browser())

    assert answer == Registered(stage)  # type: ignore[arg-type]
    assert (await only_account(desk)).status == status
    assert await desk.deliver() == (1 if by_mail else 0)


@pytest.mark.parametrize(
    ("by_admin", "stage", "status"),
    [(True, "wait", Status.WAITING_FOR_ADMIN_VERIFICATION), (False, "ready", Status.ACTIVE)],
)
async def test_verification_moves_a_waiting_account_on(by_admin: bool, stage: str, status: Status) -> None:
    desk = make_desk(provider_with(registration_admin_verification_required=by_admin))
    token = await desk.registered()

    assert await desk.accounts.verify(token, browser()) == stage

    account = await only_account(desk)
    assert (account.status, account.epoch) == (status, 2)


async def test_registration_is_off_unless_switched_on() -> None:
    desk = make_desk(UserPassword)

    with pytest.raises(NotFound):
        await desk.accounts.register(FORM, browser())


async def test_an_account_that_is_ready_can_log_in() -> None:
    desk = make_desk(provider_with(registration_admin_verification_required=False))
    token = await desk.registered()

    before = await desk.kit.login(FORM["name"], NEW_PASSWORD)
    await desk.accounts.verify(token, browser())
    after = await desk.kit.login(FORM["name"], NEW_PASSWORD)

    assert isinstance(before, NotProved)
    assert isinstance(after, LoggedIn)


# --- The form ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "field", "code"),
    [
        ({"password": NEW_PASSWORD}, "name", "field_empty"),
        ({"name": "new@example.org"}, "password", "field_empty"),
        ({"name": "no address", "password": NEW_PASSWORD}, "name", "name_malformed"),
        ({"name": "new@example.org", "password": "short"}, "password", "password_too_short"),
        ({"name": "new@example.org", "password": "new@example.org1"}, "password", "password_is_name"),
        ({"name": "new@example.org", "password": NEW_PASSWORD, "firstname": "x" * 101}, "firstname", "field_too_long"),
    ],
)
async def test_a_bad_form_names_its_field_and_makes_nothing(
    desk: Desk, form: dict[str, str], field: str, code: str
) -> None:
    answer = await desk.accounts.register(form, browser())

    assert isinstance(answer, Invalid)
    assert [(error.name, error.code) for error in answer.errors] == [(field, code)]
    assert "password" not in answer.values
    assert not await desk.kit.records("account")
    assert not await desk.kit.records("bucket")


async def test_what_is_not_declared_does_not_get_in(desk: Desk) -> None:
    form = {**FORM, "status": "10", "access": "root", "id": "mine", "firstname": "Ada", "email": "other@example.org"}

    await desk.accounts.register(form, browser())

    account = await only_account(desk)
    assert (account.status, account.access, account.profile) == (WAITING, (), {"firstname": "Ada"})
    assert account.email == "new@example.org"
    assert account.id != "mine"


async def test_the_password_is_stored_as_a_hash_alone(desk: Desk) -> None:
    answer = await desk.accounts.register(FORM, browser())

    assert NEW_PASSWORD not in desk.everything_stored() + repr(answer)


async def test_an_unsolved_captcha_makes_nothing() -> None:
    class Guarded(UserPassword):
        registration_enabled = True

        async def check_captcha(self, submission: Submission, context: ProviderContext) -> bool:
            return submission.get("captcha") == "solved"

    desk = make_desk(Guarded)

    refused = await desk.accounts.register(FORM, browser())
    taken = await desk.accounts.register({**FORM, "captcha": "solved"}, browser())

    assert isinstance(refused, Invalid)
    assert [error.code for error in refused.errors] == ["captcha_failed"]
    assert taken == Registered("verify")


# --- A name that is taken ---------------------------------------------------------------------------------------------


async def test_without_verification_a_taken_name_is_told() -> None:
    desk = make_desk(provider_with(registration_email_verification_required=False))
    await desk.kit.account("new@example.org")

    answer = await desk.accounts.register({**FORM, "name": "NEW@Example.org"}, browser())

    assert isinstance(answer, Invalid)
    assert [(error.name, error.code) for error in answer.errors] == [("name", "name_taken")]
    assert len(await desk.kit.records("account")) == 1


@pytest.mark.parametrize("status", [Status.ACTIVE, Status.DISABLED, Status.WAITING_FOR_ADMIN_VERIFICATION])
async def test_the_owner_of_a_taken_name_is_told_by_mail(desk: Desk, status: Status) -> None:
    account = await desk.kit.account("new@example.org", status=status)

    answer = await desk.accounts.register({**FORM, "name": "New@example.org"}, browser())
    await desk.deliver()

    assert answer == Registered("verify")
    assert [mail.to for mail in desk.box.mails] == ["new@example.org"]
    assert "already have an account" in desk.box.mails[0].subject
    assert desk.tokens() == []
    assert await desk.kit.account_now(account) == account
    assert len(await desk.kit.records("account")) == 1


async def test_who_registers_again_before_verifying_gets_another_verification_mail(desk: Desk) -> None:
    first = await desk.registered()

    second = await desk.registered()

    assert first != second
    assert await desk.accounts.verify(second, browser()) == "wait"
    assert await is_refused(desk.accounts.verify(first, browser()))


async def test_a_look_alike_name_is_another_account(desk: Desk) -> None:
    await desk.kit.account("kelvin@example.org")

    await desk.accounts.register({**FORM, "name": "\u212aelvin@example.org"}, browser())
    await desk.deliver()

    assert [mail.to for mail in desk.box.mails] == ["\u212aelvin@example.org"]
    assert len(await desk.kit.records("account")) == 2


async def test_one_of_many_parallel_registrations_makes_the_account(desk: Desk) -> None:
    forms = [{**FORM, "password": f"{NEW_PASSWORD} {number}"} for number in range(20)]
    clients = [from_network(f"192.0.2.{number}") for number in range(20)]

    answers = await asyncio.gather(*(desk.accounts.register(f, c) for f, c in zip(forms, clients, strict=True)))

    assert set(answers) == {Registered("verify")}
    assert len(await desk.kit.records("account")) == 1
    assert len(await desk.kit.records("credential")) == 1


# --- Verification -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [0, 2, 5, 10, 15])
async def test_verification_changes_no_account_that_does_not_wait_for_it(desk: Desk, status: int) -> None:
    token = await desk.registered()
    account = await only_account(desk)
    await desk.rewrite(replace(account, status=status))

    with pytest.raises(TicketInvalid):
        await desk.accounts.verify(token, browser())

    assert await only_account(desk) == replace(account, status=status)


async def test_verifying_twice_does_not_skip_the_admin(desk: Desk) -> None:
    token = await desk.registered()
    await desk.accounts.verify(token, browser())

    with pytest.raises(TicketInvalid):
        await desk.accounts.verify(token, browser())

    assert (await only_account(desk)).status == Status.WAITING_FOR_ADMIN_VERIFICATION


async def test_a_second_mail_does_not_skip_the_admin(desk: Desk) -> None:
    first = await desk.registered()
    await desk.accounts.resend({"name": FORM["name"]}, browser())
    second = await desk.mailed_token()

    await desk.accounts.verify(first, browser())

    assert first != second
    assert await is_refused(desk.accounts.verify(second, browser()))
    assert (await only_account(desk)).status == Status.WAITING_FOR_ADMIN_VERIFICATION


async def test_a_verification_link_works_for_seven_days(desk: Desk) -> None:
    token = await desk.registered()
    desk.kit.clock.pass_by(timedelta(days=7))

    assert await is_refused(desk.accounts.verify(token, browser()))


async def test_one_of_fifty_parallel_verifications_is_taken(desk: Desk) -> None:
    token = await desk.registered()
    tries = [is_refused(desk.accounts.verify(token, from_network(f"192.0.2.{number}"))) for number in range(50)]

    refusals = await asyncio.gather(*tries)

    assert refusals.count(False) == 1
    assert (await only_account(desk)).epoch == 2


async def test_a_link_does_not_confirm_another_address(desk: Desk) -> None:
    token = await desk.registered()
    account = await only_account(desk)
    await desk.rewrite(replace(account, email="other@example.org"))

    assert await is_refused(desk.accounts.verify(token, browser()))


async def test_bad_links_are_counted_on_their_sender(desk: Desk) -> None:
    forged = f"{'a' * 22}.{'A' * 43}"
    for _ in range(10):
        with pytest.raises(TicketInvalid):
            await desk.accounts.verify(forged, browser())

    with pytest.raises(TooManyAttempts):
        await desk.accounts.verify(forged, browser())


# --- Another mail -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status.ACTIVE, Status.DISABLED, Status.WAITING_FOR_ADMIN_VERIFICATION])
async def test_another_mail_goes_only_to_who_waits_for_it(desk: Desk, status: Status) -> None:
    await desk.kit.account(FORM["name"], status=status)

    await desk.accounts.resend({"name": FORM["name"]}, browser())
    await desk.deliver()

    assert desk.box.mails == []


async def test_in_fifteen_minutes_one_more_mail_is_asked_for_and_four_attempts_get_theirs(desk: Desk) -> None:
    await desk.registered()

    for _ in range(4):
        await desk.accounts.resend({"name": "NEW@example.org"}, browser())
        await desk.accounts.register(FORM, browser())
        await desk.deliver()
    assert len(desk.box.mails) == 1 + 1 + 4
    desk.kit.clock.pass_by(timedelta(minutes=15))
    await desk.accounts.resend({"name": FORM["name"]}, browser())
    await desk.deliver()

    assert len(desk.box.mails) == 7


async def test_a_malformed_name_is_told(desk: Desk) -> None:
    answer = await desk.accounts.resend({"name": "@"}, browser())

    assert isinstance(answer, Invalid)
    assert [error.code for error in answer.errors] == ["name_malformed"]


# --- Limits, order, hooks ---------------------------------------------------------------------------------------------


async def test_ten_registrations_of_a_client_in_an_hour(desk: Desk) -> None:
    for number in range(10):
        await desk.accounts.register({**FORM, "name": f"new{number}@example.org"}, browser())

    with pytest.raises(TooManyAttempts):
        await desk.accounts.register({**FORM, "name": "one-more@example.org"}, browser())
    other = await desk.accounts.register({**FORM, "name": "one-more@example.org"}, from_network("192.0.2.2"))
    desk.kit.clock.pass_by(timedelta(hours=1))
    later = await desk.accounts.register({**FORM, "name": "later@example.org"}, browser())

    assert other == later == Registered("verify")


async def test_at_the_limit_nothing_is_written(desk: Desk) -> None:
    for number in range(10):
        await desk.accounts.register({**FORM, "name": f"new{number}@example.org"}, browser())
    before = desk.everything_stored()

    with pytest.raises(TooManyAttempts):
        await desk.accounts.register(FORM, browser())

    assert desk.everything_stored() == before


async def test_a_full_hashing_pool_refuses_before_the_store_is_asked(desk: Desk) -> None:
    slots = fill(desk.kit.pool)

    async def registering() -> None:
        with pytest.raises(Overloaded):
            await desk.accounts.register(FORM, browser())

    _, bill, _ = await desk.billed(registering())

    assert slots
    assert bill.total("store") == 0


async def test_the_hook_runs_after_the_commit_and_cannot_undo_it() -> None:
    added: list[str] = []

    async def on_added(self: object, account: Account) -> None:
        added.append(account.name)
        raise RuntimeError("a hook that breaks")

    desk = make_desk(attributes={"on_added": on_added})

    answer = await desk.accounts.register(FORM, browser())
    await desk.accounts.register(FORM, browser())
    await desk.kit.engine.settle()

    assert answer == Registered("verify")
    assert added == ["new@example.org"]
