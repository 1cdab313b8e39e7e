"""Midnight, the turn of the year, and clocks that go wrong (abuse cases 111 and 112)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from authflow.testing import Site, make_site
from tests.threats.tools import Open, enrol, recovery_link, who

EDGES = [
    datetime(2026, 3, 1, 23, 59, tzinfo=UTC),
    datetime(2026, 12, 31, 23, 59, tzinfo=UTC),
    datetime(2028, 2, 28, 23, 59, tzinfo=UTC),
    datetime(2028, 2, 29, 23, 59, tzinfo=UTC),
    datetime(2026, 3, 29, 0, 59, tzinfo=UTC),
    datetime(2026, 10, 25, 0, 59, tzinfo=UTC),
    datetime(2038, 1, 19, 3, 13, 30, tzinfo=UTC),
]
AT_EDGES = pytest.mark.parametrize("now", EDGES, ids=str)


async def fail(site: Site, count: int, start: int = 0) -> list[int]:
    return [
        (await site.person(address=f"198.51.100.{start + n}").log_in(password="wrong")).status for n in range(count)
    ]


@AT_EDGES
async def test_the_limit_of_passwords_holds_over_the_edge_of_a_day(site: Site, now: datetime) -> None:
    """Abuse case 111: the window begins anew when the date changes."""
    site.clock.now = now
    await site.account()

    before = await fail(site, 6)
    site.clock.pass_by(timedelta(minutes=2))
    after = await fail(site, 8, 50)

    assert before + after == [200] * 10 + [429] * 4


@AT_EDGES
async def test_the_limit_of_codes_holds_over_the_edge_of_a_day(site: Site, now: datetime) -> None:
    """Abuse case 111: the same, of the second factor."""
    site.clock.now = now
    await site.account_with_totp()
    statuses = []

    for n in range(8):
        person, page = await site.pending(address=f"198.51.100.{n}")
        statuses.append((await person.send(page.form("otp"), otptoken=site.wrong_code())).status)
        site.clock.pass_by(timedelta(seconds=20))

    assert statuses == [200] * 5 + [429] * 3


@AT_EDGES
async def test_an_owner_gets_in_at_the_edge_of_a_day(site: Site, now: datetime) -> None:
    """Abuse case 111, the other way round: nobody is kept out."""
    site.clock.now = now
    await site.account_with_totp()
    first = await site.logged_in(with_code=True)
    site.clock.pass_by(timedelta(minutes=2))
    second = await site.logged_in(with_code=True)

    assert await who(first)
    assert await who(second)


@pytest.mark.parametrize("back", [timedelta(seconds=1), timedelta(minutes=20), timedelta(hours=1), timedelta(days=2)])
async def test_a_clock_that_goes_back_gives_no_new_guesses(site: Site, back: timedelta) -> None:
    """Abuse case 112: what was counted lies in the future now, and is passed over."""
    await site.account()
    await fail(site, 10)

    site.clock.pass_by(-back)

    assert await fail(site, 3, 50) == [429] * 3


@pytest.mark.parametrize("back", [timedelta(seconds=31), timedelta(hours=1)])
async def test_a_clock_that_goes_back_opens_no_lock_of_codes(site: Site, back: timedelta) -> None:
    """Abuse case 112: the same, of the second factor."""
    await site.account_with_totp()
    person, page = await site.pending()
    for _ in range(5):
        await person.send(page.form("otp"), otptoken=site.wrong_code())
    site.clock.pass_by(-back)
    other, page = await site.pending()

    assert (await other.send(page.form("otp"), otptoken=site.code())).status == 429


@pytest.mark.parametrize("skew", [-90, 90])
async def test_what_one_process_spent_is_spent_for_another_with_a_wrong_clock(skew: int) -> None:
    """Abuse case 112: two processes share a store and differ by a minute and a half."""
    here = await make_site(Open())
    await here.account_with_totp()
    there = await make_site(Open(), store=here.kit.memory)
    there.clock.now = here.clock.now + timedelta(seconds=skew)
    codes = [here.code(step) for step in (-1, 0)]
    await here.logged_in(with_code=True)

    for code in codes:
        thief, page = await there.pending()
        await thief.send(page.form("otp"), otptoken=code)
        assert await who(thief) is None


async def test_limits_are_shared_by_processes_with_different_clocks() -> None:
    """Abuse case 112: guesses are spread over processes whose clocks differ."""
    here = await make_site(Open())
    await here.account()
    there = await make_site(Open(), store=here.kit.memory)
    there.clock.now = here.clock.now + timedelta(seconds=90)

    statuses = []
    for n in range(14):
        site = (here, there)[n % 2]
        statuses.append((await site.person(address=f"198.51.100.{n}").log_in(password="wrong")).status)

    assert statuses == [200] * 10 + [429] * 4


@pytest.mark.parametrize("span", [timedelta(hours=-1), timedelta(days=-2)])
async def test_a_clock_that_goes_back_brings_nothing_back_to_life(site: Site, span: timedelta) -> None:
    """Abuse case 112: a used key, a spent recovery code and an ended session stay what they are."""
    await site.account()
    owner = await site.logged_in()
    _, codes = await enrol(site, owner)
    person, _ = await site.pending()
    page = await person.follow(await person.get("/user/f2_recoverycode/start"))
    await person.send(page.form("otp"), otptoken=codes[0])
    link = await recovery_link(site)
    fresh = site.person()
    await fresh.send((await fresh.get(link)).form(), password="another long password")
    cookies = dict(person.cookies)

    site.clock.pass_by(span)

    person.cookies = cookies
    assert await who(person) is None
    again = site.person()
    assert (await again.send((await again.get(link)).form(), password="a third long password")).status == 412
    thief = site.person()
    step = await thief.follow(await thief.log_in(password="another long password"))
    step = await thief.follow(await thief.get("/user/f2_recoverycode/start"))
    await thief.send(step.form("otp"), otptoken=codes[0])
    assert await who(thief) is None


async def test_a_step_forward_ends_what_is_old_and_breaks_nothing(site: Site) -> None:
    """Abuse case 112: a clock that jumps by ten years."""
    await site.account()
    person = await site.logged_in()
    site.clock.pass_by(timedelta(days=3650))

    gone = await who(person)
    await person.log_in()

    assert gone is None
    assert await who(person)
