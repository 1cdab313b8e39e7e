"""A code is seen over a shoulder or in a log, and used again (abuse cases 13, 14 and 19)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from authflow.testing import Site
from tests.threats.tools import enrol, who


async def test_a_code_is_refused_the_second_time_in_another_session(site: Site) -> None:
    """Abuse case 13: the same code within its half minute."""
    await site.account_with_totp()
    await site.logged_in(with_code=True)
    thief, page = await site.pending()

    refused = await thief.send(page.form("otp"), otptoken=site.code())

    assert refused.status == 200
    assert await who(thief) is None


@pytest.mark.parametrize("seconds", [0, 15, 30, 31, 45, 59])
@pytest.mark.parametrize("accepted", [-1, 0, 1])
async def test_no_code_of_an_accepted_step_or_before_it_is_good_again(site: Site, seconds: int, accepted: int) -> None:
    """Abuse cases 13 and 14: the code and the one before it, after the clock went on to the next step."""
    await site.account_with_totp()
    owner, page = await site.pending()
    codes = {step: site.code(step) for step in range(-2, accepted + 1)}
    await owner.send(page.form("otp"), otptoken=codes[accepted])
    assert await who(owner)
    site.clock.pass_by(timedelta(seconds=seconds))
    thief, page = await site.pending()

    for code in codes.values():
        await thief.send(page.form("otp"), otptoken=code)
        assert await who(thief) is None


async def test_the_next_code_is_good(site: Site) -> None:
    """The other side of abuse case 13: an owner who logs in twice in a minute is not kept out."""
    await site.account_with_totp()
    await site.logged_in(with_code=True)
    site.clock.pass_by(timedelta(seconds=30))

    again = await site.logged_in(with_code=True)

    assert await who(again)


async def test_a_code_sent_twice_by_its_owner_locks_nobody_out(site: Site) -> None:
    """A double click: replays count against their own session and not against the account."""
    await site.account_with_totp()
    await site.logged_in(with_code=True)
    for _ in range(3):
        other, page = await site.pending()
        for _ in range(4):
            await other.send(page.form("otp"), otptoken=site.code())
    site.clock.pass_by(timedelta(seconds=30))

    assert await who(await site.logged_in(with_code=True))


async def test_the_code_that_confirmed_an_app_does_not_log_in(site: Site) -> None:
    """Abuse case 13: whoever looked on while the app was set up has the code of that moment."""
    await site.account()
    secret, _ = await enrol(site, await site.logged_in())
    thief, page = await site.pending()

    refused = await thief.send(page.form("otp"), otptoken=site.code(secret=secret))

    assert refused.status == 200
    assert await who(thief) is None


async def test_a_recovery_code_is_good_once(site: Site) -> None:
    """Abuse case 13, of the printed codes."""
    await site.account()
    _, codes = await enrol(site, await site.logged_in())
    names = []

    for _ in range(2):
        person, _ = await site.pending()
        page = await person.follow(await person.get("/user/f2_recoverycode/start"))
        await person.send(page.form("otp"), otptoken=codes[0])
        names.append(await who(person))

    assert names == ["ada@example.org", None]


@pytest.mark.parametrize("step", [-9, 9])
async def test_one_far_code_does_not_move_the_window(site: Site, step: int) -> None:
    """Abuse case 19: a single code from far off is taken for a device whose clock is wrong."""
    await site.account_with_totp()
    person, page = await site.pending()

    await person.send(page.form("otp"), otptoken=site.code(step))

    assert await who(person) is None


async def test_a_clock_that_is_set_back_brings_no_code_back(site: Site) -> None:
    """Abuse case 112: the server's clock goes back by an hour; what was spent stays spent."""
    await site.account_with_totp()
    code = site.code()
    await site.logged_in(with_code=True)
    site.clock.pass_by(timedelta(hours=-1))
    earlier = site.code()

    for tried in (code, earlier):
        thief, page = await site.pending()
        await thief.send(page.form("otp"), otptoken=tried)
        assert await who(thief) is None
