"""The worker's mails: what they hold, where they go, and what a crash leaves."""

import logging
from dataclasses import replace
from datetime import timedelta

import pytest

from authflow.context import derived_code
from authflow.mail import MailRefused, MailUnavailable
from authflow.model import Account
from authflow.notices import MailOffice
from authflow.render import Renderer
from authflow.tasks.protocol import Task, TaskFailed
from authflow.testing import browser
from providers.user_password import UserPassword
from tests.accounts.desk import NEW_PASSWORD, Desk, is_refused, make_desk


def office(desk: Desk) -> MailOffice:
    return MailOffice(desk.kit.engine, Renderer(), desk.box)


def task(desk: Desk, name: str, **payload: str | int) -> Task:
    return Task("a-task-id", name, payload, desk.kit.clock())


# --- What a mail holds ------------------------------------------------------------------------------------------------


async def test_links_come_from_the_settings_alone(desk: Desk) -> None:
    await desk.kit.account()
    recovery = await desk.recovery_token()
    verification = await desk.registered()

    assert f"http://127.0.0.1:8000/user/auth_userpassword/pwrecover?recovery_key={recovery}" in desk.box.mails[0].text
    assert f"http://127.0.0.1:8000/user/auth_userpassword/verify?skey={verification}" in desk.box.mails[1].text


async def test_names_are_escaped(desk: Desk) -> None:
    canary = '<script>alert(1)</script>"{{7*7}}@example.org'
    account = await desk.kit.account(canary)
    stored = replace(account, email="post@example.org")

    await desk.kit.memory.commit((desk.kit.engine.services.tasks.write(
        "send_notice", {"template": "password_changed", "account_id": account.id}, desk.kit.clock()),))  # fmt: skip
    await desk.rewrite(stored)
    await desk.deliver()

    [mail] = desk.box.mails
    assert "<script>" not in str(mail.html)
    assert "49" not in mail.text


async def test_a_notice_tells_its_plain_values(desk: Desk) -> None:
    account = await desk.kit.account()

    await office(desk).send_notice(
        task(desk, "send_notice", template="recovery_code_used", account_id=account.id, remaining=3)
    )
    await office(desk).send_notice(
        task(desk, "send_notice", template="factor_added", account_id=account.id, provider="time_based_otp")
    )
    await office(desk).send_notice(task(desk, "send_notice", template="account_activated", account_id=account.id))

    assert "3 codes left" in desk.box.mails[0].text
    assert desk.kit.provider("time_based_otp").label in desk.box.mails[1].text
    assert "/user/login" in desk.box.mails[2].text


async def test_a_notice_for_nobody_is_dropped(desk: Desk) -> None:
    await office(desk).send_notice(task(desk, "send_notice", template="password_changed", account_id="nobody"))

    assert desk.box.mails == []


async def test_a_code_is_made_anew_from_its_step(desk: Desk) -> None:
    account = await desk.kit.account()
    payload = {
        "account_id": account.id,
        "flow_id": "a-flow",
        "step": 1,
        "provider": "mailed",
        "template": "code",
        "digits": 6,
    }

    await office(desk).deliver_message(task(desk, "deliver_message", **payload))

    [mail] = desk.box.mails
    assert derived_code(desk.kit.engine.services.keyring, "a-flow", 1, "mailed", account.id, 6) in mail.text


async def test_a_code_is_not_sent_when_its_time_is_over(desk: Desk) -> None:
    account = await desk.kit.account()
    payload = {
        "account_id": account.id,
        "flow_id": "a-flow",
        "step": 1,
        "provider": "mailed",
        "template": "code",
        "digits": 6,
    }
    late = task(desk, "deliver_message", **payload)
    desk.kit.clock.pass_by(timedelta(minutes=10))

    await office(desk).deliver_message(late)

    assert desk.box.mails == []


async def test_a_provider_may_deliver_by_other_means() -> None:
    sent: list[tuple[str, str, str, str]] = []

    class ByText(UserPassword):
        async def deliver_recovery(self, account: Account, recovery_key: str, link: str, device: str) -> None:
            sent.append((account.name, recovery_key, link, device))

    desk = make_desk(ByText)
    await desk.kit.account()
    await desk.accounts.ask_recovery({"name": "ada@example.org"}, browser())
    await desk.deliver()

    [(name, key, link, device)] = sent
    assert desk.box.mails == []
    assert (name, device) == ("ada@example.org", "")
    assert link.endswith(key)
    assert await desk.accounts.recover(key, {"password": NEW_PASSWORD}, browser()) is None


# --- Faults and repeats -----------------------------------------------------------------------------------------------


async def test_a_passing_fault_is_tried_again_with_the_same_mail(desk: Desk) -> None:
    await desk.kit.account()
    await desk.accounts.ask_recovery({"name": "ada@example.org"}, browser())
    desk.box.fault = MailUnavailable("away")
    assert await desk.deliver() == 0

    desk.box.fault = None
    desk.kit.clock.pass_by(timedelta(seconds=10))
    token = await desk.mailed_token()

    assert len(await desk.kit.records("ticket")) == 1
    assert await desk.accounts.recover(token, {"password": NEW_PASSWORD}, browser()) is None


@pytest.mark.parametrize("kind", ["recovery", "verification", "registration"])
async def test_a_repeat_after_a_crash_sends_the_same_mail(desk: Desk, kind: str) -> None:
    if kind != "verification":
        await desk.kit.account()
    form = {"name": "ada@example.org", "password": NEW_PASSWORD}
    await (desk.accounts.ask_recovery if kind == "recovery" else desk.accounts.register)(form, browser())
    [record] = await desk.kit.records("outbox")
    again = Task(record.key.name, str(record.data["task"]), record.data["payload"], desk.kit.clock())  # type: ignore[arg-type]

    await desk.handlers[again.name](again)
    await desk.handlers[again.name](again)

    first, second = desk.box.mails
    assert first == second
    assert first.message_id == f"<{again.id}@127.0.0.1>"


async def test_a_mail_that_was_late_holds_a_key_that_still_works(desk: Desk) -> None:
    await desk.kit.account()
    await desk.accounts.ask_recovery({"name": "ada@example.org"}, browser())
    desk.box.fault = MailUnavailable("away")
    await desk.deliver()
    desk.box.fault = None
    desk.kit.clock.pass_by(timedelta(hours=2))

    token = await desk.mailed_token()
    desk.kit.clock.pass_by(timedelta(minutes=14))

    assert await desk.accounts.recover(token, {"password": NEW_PASSWORD}, browser()) is None


async def test_a_repeat_does_not_bring_a_used_key_back(desk: Desk) -> None:
    await desk.kit.account()
    await desk.accounts.ask_recovery({"name": "ada@example.org"}, browser())
    [record] = await desk.kit.records("outbox")
    again = Task(record.key.name, str(record.data["task"]), record.data["payload"], desk.kit.clock())  # type: ignore[arg-type]
    token = await desk.mailed_token()
    await desk.accounts.recover(token, {"password": NEW_PASSWORD}, browser())

    desk.kit.clock.pass_by(timedelta(minutes=20))
    await desk.handlers[again.name](again)

    assert await is_refused(desk.accounts.recover(token, {"password": NEW_PASSWORD}, browser()))


async def test_a_refused_mail_is_given_up(desk: Desk) -> None:
    account = await desk.kit.account()
    desk.box.fault = MailRefused("550")

    with pytest.raises(TaskFailed) as caught:
        await office(desk).send_notice(task(desk, "send_notice", template="password_changed", account_id=account.id))

    assert caught.value.code == "mail_refused"


# --- Secrets ----------------------------------------------------------------------------------------------------------


async def test_no_token_is_stored_logged_or_shown(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    account = await desk.kit.account()
    seen = ""
    await desk.accounts.ask_recovery({"name": "ada@example.org"}, browser())
    seen += desk.everything_stored()
    recovery = await desk.mailed_token()
    seen += desk.everything_stored()
    verification = await desk.registered()
    seen += desk.everything_stored() + repr(desk.box.mails)
    await desk.accounts.recover(recovery, {"password": NEW_PASSWORD}, browser())
    await desk.accounts.verify(verification, browser())
    for spent in (recovery, verification):
        await is_refused(desk.accounts.recover(spent, {"password": NEW_PASSWORD}, browser()))
    seen += desk.everything_stored() + caplog.text

    for token in (recovery, verification):
        assert token not in seen
        assert token.partition(".")[2] not in seen
    assert NEW_PASSWORD not in seen
    assert account.id in seen


async def test_payloads_hold_ids_and_names_alone(desk: Desk) -> None:
    await desk.kit.account()
    await desk.accounts.ask_recovery({"name": "ada@example.org"}, browser())
    await desk.accounts.register({"name": "ada@example.org", "password": NEW_PASSWORD}, browser())
    await desk.accounts.register({"name": "new@example.org", "password": NEW_PASSWORD}, browser())

    payloads = [record.data["payload"] for record in await desk.kit.records("outbox")]

    assert sorted(tuple(sorted(payload)) for payload in payloads) == [
        ("account_id", "agent"),
        ("account_id", "agent"),
        ("agent", "name"),
    ]  # type: ignore[arg-type]
