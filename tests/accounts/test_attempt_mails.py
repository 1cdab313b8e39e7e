"""Mails about attempts to register: which attempt they are about, and what a repeat sends."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from authflow.mail import MailUnavailable
from authflow.notices import MailOffice
from authflow.render import MailText, Renderer
from authflow.store.protocol import Delete
from authflow.testing import browser
from authflow.upkeep import Upkeep
from tests.accounts.attempts import (
    NAME,
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
    resent,
)
from tests.accounts.desk import Desk


@pytest.fixture
def desk() -> Desk:
    return ready_desk()


FIREFOX = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0"


# --- Another mail -----------------------------------------------------------------------------------------------------


async def test_another_mail_is_about_the_newest_attempt(desk: Desk) -> None:
    await link_of(desk, STRANGERS)
    own = await link_of(desk, VICTIMS)

    [link] = await resent(desk)

    assert link != own
    assert await desk.accounts.verify(link, browser()) == "ready"
    assert await opens(desk, VICTIMS)
    assert not await opens(desk, STRANGERS)


async def test_another_mail_brings_the_attempt_whose_own_mail_was_held_back(desk: Desk) -> None:
    for _ in range(5):
        await link_of(desk, STRANGERS)
    await register(desk, VICTIMS)
    await desk.deliver()
    assert len(desk.tokens()) == 5

    *_, link = await resent(desk)
    await desk.accounts.verify(link, browser())

    assert await opens(desk, VICTIMS)
    assert not await opens(desk, STRANGERS)


async def test_a_mail_that_was_held_back_is_sent_when_its_turn_has_come(desk: Desk) -> None:
    for _ in range(5):
        await link_of(desk, STRANGERS)
    await register(desk, VICTIMS)
    await desk.deliver()
    assert len(desk.tokens()) == 5

    desk.kit.clock.pass_by(timedelta(minutes=16))
    await desk.deliver()
    await desk.accounts.verify(desk.tokens()[-1], browser())

    assert await opens(desk, VICTIMS)
    assert not await opens(desk, STRANGERS)


async def test_another_mail_of_the_only_attempt_activates_what_is_in_place(desk: Desk) -> None:
    await link_of(desk, VICTIMS, firstname="Victoria")

    [link] = await resent(desk)
    await desk.accounts.verify(link, browser())

    assert await opens(desk, VICTIMS)
    assert (await only_account(desk)).profile == {"firstname": "Victoria"}


async def test_no_mail_brings_an_old_attempt_back(desk: Desk) -> None:
    await link_of(desk, STRANGERS)
    desk.kit.clock.pass_by(timedelta(days=1))
    await link_of(desk, VICTIMS)
    desk.kit.clock.pass_by(timedelta(days=7))

    assert await resent(desk) == []
    assert await later_link_of(desk, VICTIMS)


async def test_the_first_attempt_is_no_substitute_for_a_later_one_that_is_gone(desk: Desk) -> None:
    await link_of(desk, STRANGERS)
    await link_of(desk, VICTIMS)
    [kept] = await desk.kit.records("attempt")
    await desk.kit.memory.commit((Delete(kept.key),))

    assert await resent(desk) == []


async def test_an_attempt_without_its_choice_gets_no_mail(desk: Desk) -> None:
    await link_of(desk, STRANGERS)
    await register(desk, VICTIMS)
    [kept] = await desk.kit.records("attempt")
    await desk.kit.memory.commit((Delete(kept.key),))

    await desk.deliver()

    assert len(desk.tokens()) == 1


async def test_a_link_that_was_sent_late_works_for_seven_days(desk: Desk) -> None:
    await link_of(desk, STRANGERS)
    await link_of(desk, VICTIMS)
    desk.kit.clock.pass_by(timedelta(days=6))
    [link] = await resent(desk)
    desk.kit.clock.pass_by(timedelta(days=6))
    await Upkeep(desk.kit.engine).clean()

    assert await desk.accounts.verify(link, browser()) == "ready"
    assert await opens(desk, VICTIMS)


@dataclass
class Seen(Renderer):
    """Remembers what the mails are told."""

    told: list[Mapping[str, object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def mail(self, name: str, context: Mapping[str, object]) -> MailText:
        self.told.append(context)
        return super().mail(name, context)


async def test_each_mail_tells_when_and_from_what_device_its_attempt_was_made(desk: Desk) -> None:
    seen = Seen()
    office = MailOffice(desk.kit.engine, seen, desk.box)
    desk.handlers = {name: getattr(office, name) for name in ("send_verification", "send_registration_notice")}

    await register(desk, STRANGERS)
    desk.kit.clock.pass_by(timedelta(minutes=30))
    await register(desk, VICTIMS, replace(browser(), agent=FIREFOX))
    await desk.deliver()
    await resent(desk)

    told = [(context["at"], context["device"]) for context in seen.told]
    own = ("2026-03-01 12:30 UTC", "Firefox, Windows")
    assert sorted(told) == [("2026-03-01 12:00 UTC", ""), own, own]


# --- Repeats ----------------------------------------------------------------------------------------------------------


async def test_a_repeat_sends_the_same_link_for_the_same_password(desk: Desk) -> None:
    await link_of(desk, STRANGERS)
    await register(desk, VICTIMS)
    again = await only_task(desk)

    await desk.handlers[again.name](again)
    desk.kit.clock.pass_by(timedelta(hours=1))
    await desk.handlers[again.name](again)

    assert desk.box.mails[1] == desk.box.mails[2]
    assert len(await desk.kit.records("ticket")) == 2
    await desk.accounts.verify(desk.tokens()[-1], browser())
    assert await opens(desk, VICTIMS)


async def test_a_link_keeps_its_meaning_when_somebody_registers_before_the_repeat(desk: Desk) -> None:
    await link_of(desk, STRANGERS)
    await link_of(desk, VICTIMS)
    desk.kit.clock.pass_by(timedelta(minutes=16))
    await desk.accounts.resend({"name": NAME}, browser())
    again = await only_task(desk)
    await desk.handlers[again.name](again)
    await register(desk, THIRD)

    await desk.handlers[again.name](again)

    first, second = desk.tokens()[-2:]
    assert first == second
    await desk.accounts.verify(second, browser())
    assert await opens(desk, VICTIMS)
    assert not await opens(desk, THIRD)


async def test_a_mail_server_that_is_away_changes_nothing(desk: Desk) -> None:
    await link_of(desk, STRANGERS)
    desk.box.fault = MailUnavailable("away")
    await register(desk, VICTIMS)
    await desk.deliver()
    desk.box.fault = None
    desk.kit.clock.pass_by(timedelta(minutes=5))

    await desk.accounts.verify(await desk.mailed_token(), browser())

    assert await opens(desk, VICTIMS)


async def test_a_repeat_after_the_link_was_followed_brings_nothing_back(desk: Desk) -> None:
    await link_of(desk, STRANGERS)
    await register(desk, VICTIMS)
    again = await only_task(desk)
    await desk.deliver()
    await desk.accounts.verify(desk.tokens()[-1], browser())

    await desk.handlers[again.name](again)

    assert len(desk.tokens()) == 2
    assert await desk.kit.records("ticket") == [
        record for record in await desk.kit.records("ticket") if record.data["epoch"] == 1
    ]
