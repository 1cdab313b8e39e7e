"""The mailbox keeps mails, finds what is in them, and fails when it is told to."""

from __future__ import annotations

import pytest

from authflow.mail import Mail, MailRefused, MailUnavailable
from authflow.testing import Mailbox, Site, make_site
from authflow.user import User
from providers.user_password import UserPassword

ORIGIN = "https://login.example.org"


class Registering(UserPassword):
    registration_enabled = True


class Open(User):
    authentication_providers = (Registering,)


def mail(text: str, to: str = "ada@example.org") -> Mail:
    return Mail(to, "subject", text, None, "<1@example.org>")


async def filled(*mails: Mail) -> Mailbox:
    box = Mailbox()
    for one in mails:
        await box.send(one)
    return box


async def test_the_newest_link_and_code_are_found() -> None:
    box = await filled(
        mail(f"see {ORIGIN}/a?key=old or\n\n  111111\n"),
        mail(f"see {ORIGIN}/b?key=new or\n\n  222222\n"),
        mail(f"write to {ORIGIN}/help, call 333333 now"),
    )

    assert (box.link(ORIGIN), box.code()) == ("/b?key=new", "222222")


async def test_only_mails_to_one_person_are_looked_through() -> None:
    box = await filled(mail("  111111\n", "bob@example.org"), mail("  222222\n"))

    assert box.code(to="bob@example.org") == "111111"
    assert [one.to for one in box.to("bob@example.org")] == ["bob@example.org"]


async def test_what_is_not_there_is_said_with_what_is() -> None:
    box = await filled(mail("nothing"))

    for look in (box.code, lambda: box.link(ORIGIN)):
        with pytest.raises(LookupError, match="subject"):
            look()
    with pytest.raises(LookupError, match="no mail has come"):
        Mailbox().last()


async def test_it_fails_as_often_as_it_is_told_to() -> None:
    box = Mailbox()
    box.fail(times=2)
    box.fail(MailRefused("bad"), is_late=True)

    for error, kept in ((MailUnavailable, 0), (MailUnavailable, 0), (MailRefused, 1)):
        with pytest.raises(error):
            await box.send(mail("x"))
        assert len(box.mails) == kept
    await box.send(mail("x"))

    assert len(box.mails) == 2


@pytest.fixture
async def site() -> Site:
    return await make_site(Open())


async def test_a_failing_mail_server_delays_a_mail_and_loses_none(site: Site) -> None:
    await site.account()
    ada = site.person()
    site.outbox.fail()
    await ada.open("/user/auth_userpassword/pwrecover")
    await ada.send(ada.here.form("pwrecover"), name="ada@example.org")

    await site.run_tasks()
    assert not site.outbox.mails
    for _ in range(60):
        site.clock.pass_by(site.app.engine.user.second_factor_time_window / 10)
        await site.run_tasks()

    assert len(site.outbox.to("ada@example.org")) == 1


async def test_a_mailed_link_leads_on(site: Site) -> None:
    await site.account()
    ada = site.person()
    await ada.open("/user/auth_userpassword/pwrecover")
    await ada.send(ada.here.form("pwrecover"), name="ada@example.org")

    page = await ada.open(await site.mailed_link(to="ada@example.org"))

    assert page.status == 200
    assert page.form("pwrecover").values["recovery_key"]
