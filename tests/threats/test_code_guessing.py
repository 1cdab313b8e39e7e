"""Somebody who knows a password guesses at the code (abuse cases 7 to 12, 15, 16 and 20)."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from authflow.seam import Call
from authflow.testing import ADA, PASSWORD, Page, Person, Site, make_site
from tests.threats.tools import enrol, who

BOB = "bob@example.org"


async def guess(site: Site, person: Person, code: str) -> Page:
    """Answer whatever second step is open in a browser."""
    page = await person.get("/user/f2_timebasedotp/otp")
    if page.status != 200:
        return page
    return await person.send(page.form("otp"), otptoken=code)


async def guesser(site: Site, n: int = 0) -> Person:
    person, _ = await site.pending(address=f"198.51.100.{n}")
    return person


@pytest.mark.parametrize("restart", ["start", "login", "cancel", "recovery codes"])
async def test_starting_again_gives_no_new_guesses(site: Site, restart: str) -> None:
    """Abuse case 7: the counter lies in what a restart makes anew."""
    await site.account_with_totp()
    person = await guesser(site)
    verdicts = []

    for _ in range(8):
        verdicts.append((await guess(site, person, site.wrong_code())).status)
        match restart:
            case "start":
                await person.get("/user/f2_timebasedotp/start")
            case "login":
                await person.follow(await person.log_in())
            case "cancel":
                skey = await person.skey()
                await person.post("/user/cancel", {"skey": skey})
                await person.follow(await person.log_in())
            case "recovery codes":
                await person.get("/user/f2_recoverycode/start")
                await person.get("/user/f2_timebasedotp/start")

    assert verdicts == [200] * 5 + [429] * 3
    assert (await guess(site, person, site.code())).status == 429


async def test_new_browsers_and_addresses_give_no_new_guesses(site: Site) -> None:
    """Abuse case 8: every guess comes in a session of its own, from an address of its own."""
    await site.account_with_totp()
    verdicts = [(await guess(site, await guesser(site, n), site.wrong_code())).status for n in range(12)]

    right = await guess(site, await guesser(site, 99), site.code())

    assert verdicts == [200] * 5 + [429] * 7
    assert right.status == 429


@pytest.mark.parametrize("position", [0, 15, 29])
async def test_parallel_guesses_get_no_more_verdicts_than_the_limit(site: Site, position: int) -> None:
    """Abuse case 9: thirty guesses are on their way before the first is counted; one of them is right."""
    await site.account_with_totp()
    people = [await site.pending(address=f"198.51.100.{n}") for n in range(30)]
    codes = [site.wrong_code()] * 30
    codes[position] = site.code()

    pages = await asyncio.gather(
        *(person.send(page.form("otp"), otptoken=code) for (person, page), code in zip(people, codes, strict=True))
    )

    told = [page.status for page in pages if page.status in (200, 303)]
    assert len(told) <= 5
    assert all(page.status in (200, 303, 429) for page in pages)
    inside = [name for person, _ in people if (name := await who(person))]
    assert len(inside) <= (1 if pages[position].status == 303 else 0)


class Held:
    """Holds the next commit of a site back until it is let go."""

    def __init__(self) -> None:
        self.is_on = False
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def before(self, call: Call) -> None:
        if self.is_on and call.operation == "commit":
            self.is_on = False
            self.reached.set()
            await self.go_on.wait()

    def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
        pass


@pytest.mark.parametrize("step", ["code", "password"])
async def test_the_right_guess_does_not_outrun_the_count_of_another_process(step: str) -> None:
    """Abuse case 9: it was judged before the limit was reached elsewhere, and is committed after."""
    held = Held()
    here = await make_site(observers=(held,))
    await (here.account_with_totp() if step == "code" else here.account())
    there = await make_site(store=here.kit.memory)
    person = here.person()
    if step == "code":
        person, page = await here.pending()
        form, typed = page.form("otp"), {"otptoken": here.code()}
    else:
        form, typed = (await person.get("/user/login")).form("login"), {"name": ADA, "password": PASSWORD}

    held.is_on = True
    late = asyncio.create_task(person.send(form, **typed))
    await held.reached.wait()
    for n in range(5 if step == "code" else 10):
        if step == "code":
            assert (await guess(there, await guesser(there, n), there.wrong_code())).status == 200
        else:
            assert (await there.person(address=f"198.51.100.{n}").log_in(password="wrong")).status == 200
    held.go_on.set()
    page = await late

    assert page.status == 429
    assert await who(person) is None


async def test_one_code_sent_many_times_at_once_gets_one_in(site: Site) -> None:
    """Abuse case 15: the same right code, in several sessions, at the same moment."""
    await site.account_with_totp()
    people = [await site.pending(address=f"198.51.100.{n}") for n in range(20)]

    pages = await asyncio.gather(*(person.send(page.form("otp"), otptoken=site.code()) for person, page in people))

    assert [page.status for page in pages].count(303) == 1
    assert sum([bool(await who(person)) for person, _ in people]) == 1


async def test_codes_have_a_budget_of_their_own_that_the_right_password_does_not_refill(site: Site) -> None:
    """Abuse cases 10 and 12: a login with the right password between the guesses clears what was counted."""
    await site.account_with_totp()
    verdicts = []

    for n in range(8):
        person = await guesser(site, n)
        await person.log_in(password="wrong")
        verdicts.append((await guess(site, person, site.wrong_code())).status)

    assert verdicts == [200] * 5 + [429] * 3


async def test_the_lock_grows_each_time_and_waiting_gives_no_fresh_start(site: Site) -> None:
    """Abuse case 11: whoever waits the lock out guesses on as if nothing had been."""
    await site.account_with_totp()
    waits = []

    for _ in range(3):
        person = await guesser(site)
        for _ in range(5):
            await guess(site, person, site.wrong_code())
        refused = await guess(site, person, site.code())
        waits.append(int(refused.header("retry-after")) // 60)
        site.clock.pass_by(timedelta(seconds=int(refused.header("retry-after"))))

    assert waits == [15, 30, 60]


async def test_no_more_than_twenty_codes_are_judged_in_a_day(site: Site) -> None:
    """Abuse case 11: blind guessing at the pace that the locks allow."""
    await site.account_with_totp()
    judged = 0

    for _ in range(23 * 2):
        person = await guesser(site)
        while (page := await guess(site, person, site.wrong_code())).status == 200:
            judged += 1
        site.clock.pass_by(timedelta(minutes=30))

    assert judged <= 20
    assert page.status == 429


async def test_recovery_codes_and_app_share_the_budget(site: Site) -> None:
    """Abuse case 8: going from one factor to the other doubles the guesses."""
    await site.account()
    await enrol(site, await site.logged_in())
    person, _ = await site.pending()
    statuses = []

    for n in range(8):
        path = "f2_recoverycode" if n % 2 else "f2_timebasedotp"
        page = await person.follow(await person.get(f"/user/{path}/start"))
        answer = await person.send(page.form("otp"), otptoken="nxea-dyk3-e7p1-rwha" if n % 2 else site.wrong_code())
        statuses.append(answer.status)

    assert statuses == [200] * 5 + [429] * 3


async def test_the_own_success_does_not_refill_the_budget_of_a_client(site: Site) -> None:
    """Abuse case 12: between the guesses at others the attacker logs in to an account of his own."""
    await site.account(BOB)
    attacker = {"address": "203.0.113.66"}
    statuses = []

    for n in range(40):
        page = await site.person(**attacker).log_in(f"victim{n}@example.org", "guess")
        statuses.append(page.status)
        if n % 5 == 0:
            await site.person(**attacker).log_in(BOB, PASSWORD)

    assert statuses.count(200) == 30
    assert statuses[30:] == [429] * 10


async def test_a_success_of_the_owner_gives_an_attacker_no_more_than_the_days_guesses(site: Site) -> None:
    """Abuse case 12: the owner's own logins clear the count again and again."""
    await site.account_with_totp()
    judged = 0

    for n in range(12):
        person = await guesser(site, n)
        for _ in range(4):
            judged += (await guess(site, person, site.wrong_code())).status == 200
        site.clock.pass_by(timedelta(minutes=1))
        await guess(site, await guesser(site, 200), site.code())

    assert judged <= 20


async def test_three_codes_are_good_at_any_time_and_no_others(site: Site) -> None:
    """Abuse case 16: a window so wide that many codes are good at once."""
    good = []

    for step in range(-20, 21):
        await site.account_with_totp(f"user{step}@example.org")
        person, page = await site.pending(f"user{step}@example.org")
        if (await person.send(page.form("otp"), otptoken=site.code(step))).status == 303:
            good.append(step)

    assert good == [-1, 0, 1]


@pytest.mark.parametrize(
    "spelling",
    [
        lambda code: code.translate({ord(str(n)): chr(0xFF10 + n) for n in range(10)}),
        lambda code: code.translate({ord(str(n)): chr(0x0660 + n) for n in range(10)}),
        lambda code: "+" + code,
        lambda code: "-" + code,
        lambda code: "0" + code,
        lambda code: code + ".0",
        lambda code: code + "e0",
        lambda code: "0x" + code,
        lambda code: code[:3] + "_" + code[3:],
        lambda code: code + "\x00",
        lambda code: code + "\n",
        lambda code: code + "," + code,
        lambda code: f"[{code}]",
        lambda code: code[:5],
    ],
)
async def test_only_ascii_digits_are_a_code(site: Site, spelling) -> None:
    """Abuse case 20: full-width and Arabic digits, signs, exponents and lists, all of the right code."""
    await site.account_with_totp()
    person, page = await site.pending()

    refused = await person.send(page.form("otp"), otptoken=spelling(site.code()))

    assert refused.status == 400
    assert await who(person) is None
    assert (await person.send(page.form("otp"), otptoken=site.code())).status == 303


async def test_the_password_is_guessed_no_more_than_ten_times_from_anywhere(site: Site) -> None:
    """Abuse case 8, of passwords: every guess from an address and a browser of its own."""
    await site.account()
    statuses = []
    for n in range(14):
        statuses.append((await site.person(address=f"198.51.100.{n}").log_in(password=f"guess {n}")).status)

    right = await site.person(address="203.0.113.1").log_in()

    assert statuses == [200] * 10 + [429] * 4
    assert right.status == 429


@pytest.mark.parametrize("spelling", ["ADA@example.org", " ada@example.org ", "ada@EXAMPLE.ORG"])
async def test_another_spelling_of_a_name_is_counted_as_the_same(site: Site, spelling: str) -> None:
    """Abuse case 8: each spelling of the name has guesses of its own."""
    await site.account()
    for n in range(10):
        await site.person(address=f"198.51.100.{n}").log_in(ADA if n % 2 else spelling, "wrong")

    assert (await site.person(address="203.0.113.1").log_in(spelling)).status == 429


async def test_garbage_for_an_address_gives_no_new_guesses(site: Site) -> None:
    """Abuse cases 95 and 96: the forwarded address is made up, anew for each guess, or is no address at all."""
    statuses = []
    for n in range(35):
        headers = {"x-forwarded-for": f"10.0.0.{n}", "forwarded": f"for=10.0.0.{n}", "x-real-ip": "\x00'; --"}
        person = site.person(address="203.0.113.66", headers=headers)
        statuses.append((await person.log_in(f"victim{n}@example.org", "guess")).status)

    assert statuses == [200] * 30 + [429] * 5


async def test_an_owner_on_a_known_device_gets_in_during_the_attack(site: Site) -> None:
    """Abuse case 105: guessing is used to lock the owner out."""
    await site.account()
    owner = await site.logged_in()
    await owner.send((await owner.get("/user/logout")).form("logout"))
    for n in range(15):
        await site.person(address=f"198.51.100.{n}").log_in(password="wrong")

    answer = await owner.log_in()

    assert answer.location == "/user/view/self"
