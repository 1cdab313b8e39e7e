"""Sessions that are planted, kept, brought back or read off (abuse cases 71 to 76, 79 and 86 to 89)."""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta

import pytest

from authflow.seam import Call
from authflow.store.protocol import Update
from authflow.testing import ADA, PASSWORD, Person, Site, make_site
from authflow.web.cookies import SessionToken
from tests.threats.tools import Open, enrol, recovery_link, who

BOB = "bob@example.org"
NEW = "another long password"


def copy_of(person: Person) -> Person:
    """Return somebody who has got hold of all cookies of a browser."""
    thief = Person(person.edge, address="203.0.113.66")
    thief.cookies = dict(person.cookies)
    return thief


def session_of(site: Site, person: Person) -> str | None:
    return person.cookies.get(site.edge.jar.session_name)


# --- Planted ----------------------------------------------------------------------------------------------------------


async def test_an_unknown_session_is_never_adopted(site: Site) -> None:
    """Abuse case 71: the victim's browser is given a session id of the attacker's choice before the login."""
    account = await site.account()
    victim = site.person()
    planted = site.edge.jar.session_cookie(SessionToken("A" * 43, account.id)).partition("=")[2].partition(";")[0]
    victim.cookies[site.edge.jar.session_name] = planted

    await victim.log_in()

    assert await who(victim) == ADA
    assert session_of(site, victim) != planted
    thief = site.person()
    thief.cookies[site.edge.jar.session_name] = planted
    assert await who(thief) is None


async def test_a_session_of_the_attacker_does_not_become_the_victims(site: Site) -> None:
    """Abuse case 71: a real session, of the attacker's own login, is planted instead."""
    await site.account()
    await site.account(BOB)
    attacker = await site.logged_in(BOB)
    victim = copy_of(attacker)

    await victim.log_in(ADA)

    assert await who(victim) == ADA
    assert await who(attacker) != ADA


async def test_a_pending_login_of_the_attacker_does_not_become_the_victims(site: Site) -> None:
    """Abuse case 71: a half finished login is planted, to be finished by the victim."""
    await site.account_with_totp()
    attacker, _ = await site.pending()
    victim = copy_of(attacker)

    page = await victim.follow(await victim.log_in())
    await victim.send(page.form("otp"), otptoken=site.code())

    assert await who(victim) == ADA
    assert await who(attacker) is None


async def test_every_step_up_makes_a_new_session_and_ends_the_old_one(site: Site) -> None:
    """Abuse case 71: the id of before a step is good after it."""
    await site.account_with_totp()
    person, page = await site.pending()
    stages = {"pending": copy_of(person)}

    await person.send(page.form("otp"), otptoken=site.code())
    assert await who(stages["pending"]) is None
    stages["login"] = copy_of(person)
    site.clock.pass_by(timedelta(minutes=11))
    again = await person.get("/user/login?reauthenticate=1")
    step = await person.follow(await person.send(again.form("login"), password=PASSWORD))
    await person.send(step.form("otp"), otptoken=site.code())
    assert await who(stages["login"]) is None
    stages["second login"] = copy_of(person)
    form = (await person.get("/user/auth_userpassword/change")).form()
    await person.send(form, current_password=PASSWORD, password=NEW)

    sessions = {name: session_of(site, thief) for name, thief in stages.items()}
    assert len({*sessions.values(), session_of(site, person)}) == 4
    assert await who(person) == ADA
    for name, thief in stages.items():
        assert await who(thief) is None, name
    assert len(await site.kit.records("session")) == 1


async def test_a_login_beside_a_login_ends_the_one_of_before(site: Site) -> None:
    """Abuse case 71: the browser is logged in already; its old session lives on beside the new one."""
    await site.account()
    person = await site.logged_in()
    thief = copy_of(person)

    await person.log_in()

    assert await who(person) == ADA
    assert await who(thief) is None


@pytest.mark.parametrize("prefix", ["", "/json", "/admin"])
async def test_no_address_plants_a_session(site: Site, prefix: str) -> None:
    """Abuse case 72: a link that brings a session along."""
    await site.account()
    cookie = session_of(site, await site.logged_in())
    victim = site.person()
    name = site.edge.jar.session_name

    for path in ("/user/login", "/user/apply_login_cookie", "/user/view/self", "/user/get_cookie_for_app"):
        await victim.get(f"{prefix}{path}?cookie={name}={cookie}&{name}={cookie}&session={cookie}&viur_cookie={cookie}")
        await victim.get(f"{prefix}{path};{name}={cookie}")

    assert session_of(site, victim) is None
    assert await who(victim) is None


# --- Brought back -----------------------------------------------------------------------------------------------------


async def test_a_copied_cookie_dies_with_the_log_out(site: Site) -> None:
    """Abuse case 75: the log-out takes the cookie away and leaves the session alive."""
    await site.account()
    person = await site.logged_in()
    thief = copy_of(person)

    await person.send((await person.get("/user/logout")).form("logout"))

    assert await who(thief) is None


async def test_a_slow_request_does_not_bring_an_ended_session_back() -> None:
    """Abuse case 73: a request that notes the use of the session is under way while its owner logs out."""
    held, go_on = asyncio.Event(), asyncio.Event()

    class Slow:
        is_on = False

        async def before(self, call: Call) -> None:
            if self.is_on and call.operation == "commit" and call.detail == ("session",):
                self.is_on = False
                held.set()
                await go_on.wait()

        def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
            pass

    slow = Slow()
    site = await make_site(Open(), observers=(slow,))
    await site.account()
    person = await site.logged_in()
    form = (await person.get("/user/logout")).form("logout")
    thief = copy_of(person)
    site.clock.pass_by(timedelta(minutes=6))

    slow.is_on = True
    late = asyncio.create_task(thief.get("/user/view/self"))
    await held.wait()
    await person.send(form)
    go_on.set()
    await late

    assert await who(thief) is None
    assert not await site.kit.records("session")


async def test_of_many_parallel_log_outs_and_requests_nothing_survives(site: Site) -> None:
    """Abuse case 73: the same, with many at once."""
    await site.account()
    for _ in range(5):
        person = await site.logged_in()
        form = (await person.get("/user/logout")).form("logout")
        site.clock.pass_by(timedelta(minutes=6))
        thieves = [copy_of(person) for _ in range(10)]
        requests = [thief.get("/user/view/self") for thief in thieves]
        await asyncio.gather(*requests[:5], copy_of(person).send(form), *requests[5:])

        assert [await who(thief) for thief in thieves] == [None] * 10


async def test_a_session_ends_after_an_hour_without_use_whatever_the_cookie_says(site: Site) -> None:
    """Abuse case 75: the age lies in the cookie, where its holder can change it."""
    await site.account()
    person = await site.logged_in()

    site.clock.pass_by(timedelta(hours=1))

    assert await who(person) is None


async def test_a_session_ends_after_a_day_however_much_it_is_used(site: Site) -> None:
    """Abuse case 75: a session that is kept alive for ever."""
    await site.account()
    person = await site.logged_in()
    alive = 0

    for _ in range(60):
        site.clock.pass_by(timedelta(minutes=30))
        alive += await who(person) is not None

    assert alive == 47


async def test_a_cookie_has_no_age_of_its_own(site: Site) -> None:
    """Abuse case 75: the session cookie ends with the browser; the record decides before."""
    await site.account()

    cookie = (await site.person().log_in()).set_cookies[site.edge.jar.session_name]

    assert "max-age" not in cookie.lower()
    assert "expires" not in cookie.lower()


@pytest.mark.parametrize("end", ["disabled", "deleted", "password", "everywhere", "recovered", "factor"])
async def test_what_ends_sessions_does_so_at_once_with_no_task_run(site: Site, end: str) -> None:
    """Abuse cases 40 and 76: access goes on until a task has gone through all sessions."""
    await site.account()
    people = [await site.logged_in() for _ in range(3)]
    owner = await site.logged_in()
    match end:
        case "disabled":
            await site.app.administration.deactivate(ADA)
        case "deleted":
            await site.app.administration.delete(ADA)
        case "password":
            await site.app.administration.set_password(ADA, NEW)
        case "everywhere":
            await site.app.administration.log_out(ADA)
        case "recovered":
            stranger = site.person()
            page = await stranger.get(await recovery_link(site, ADA, stranger))
            await stranger.send(page.form(), password=NEW)
        case "factor":
            await enrol(site, owner)

    assert [await who(person) for person in people] == [None] * 3


async def test_a_session_does_not_come_back_with_the_account(site: Site) -> None:
    """Abuse case 76: an account is shut out and let in again; what was open before stays closed."""
    await site.account()
    person = await site.logged_in()
    await site.app.administration.deactivate(ADA)
    await site.app.administration.activate(ADA)

    assert await who(person) is None


# --- Tokens of forms --------------------------------------------------------------------------------------------------


async def test_a_form_token_of_before_the_login_is_nothing_after_it(site: Site) -> None:
    """Abuse case 79: the attacker plants a browser cookie and knows a token that goes with it."""
    await site.account()
    attacker = site.person()
    planted = await attacker.skey()
    victim = copy_of(attacker)
    await victim.log_in()

    page = await victim.post("/json/user/edit/self", {"skey": planted, "firstname": "Mallory"})

    assert page.status == 412


async def test_a_form_token_of_one_session_is_nothing_in_the_next(site: Site) -> None:
    """Abuse case 79: tokens outlive the session they were made in."""
    await site.account()
    person = await site.logged_in()
    old = await person.skey()
    await person.send((await person.get("/user/logout")).form("logout"))
    await person.log_in()

    page = await person.post("/json/user/edit/self", {"skey": old, "firstname": "Mallory"})

    assert page.status == 412


# --- Read off ---------------------------------------------------------------------------------------------------------


async def test_the_secret_of_a_session_is_in_its_cookie_and_nowhere_else(site: Site) -> None:
    """Abuse cases 82, 86 and 119: the id of the session stands in a page, an answer to a program or an address."""
    await site.account()
    person = await site.logged_in()
    secret = session_of(site, person)
    assert secret is not None
    parts = [part for part in re.split(r"\.", secret)[:1] if len(part) > 20]
    assert parts

    for prefix in ("", "/json", "/admin"):
        for path, route in site.edge.routes.items():
            if route.get is not None:
                page = await person.get(prefix + path.replace("/*", "/self"))
                for part in parts:
                    assert part not in page.text, path
                    assert part not in page.location, path


@pytest.mark.parametrize(
    "value",
    [
        "", "x", ".", "..", "a.b.c", "A" * 5000, "%00", "\x00", "é", '"quoted"', "a b", "=", ";", "\\x22", "🎂",
        "A" * 43 + ".x." + "B" * 43,
    ],
)  # fmt: skip
@pytest.mark.parametrize("which", ["session", "browser", "device"])
async def test_a_malformed_cookie_is_as_good_as_none(site: Site, which: str, value: str) -> None:
    """Abuse case 87: cookies that are empty, huge, quoted, not text, or not ours."""
    await site.account()
    person = site.person()
    name = getattr(site.edge.jar, f"{which}_name")
    person.cookies[name] = value

    login = await person.get("/user/login")
    profile = await person.get("/json/user/view/self")

    assert login.status == 200
    assert profile.status == 401


async def test_doubled_cookies_are_as_good_as_none(site: Site) -> None:
    """Abuse case 87: a planted cookie stands beside the real one."""
    await site.account()
    person = await site.logged_in()
    name, value = site.edge.jar.session_name, session_of(site, person)
    cookie = f"{name}={value}; {name}={value}"
    stranger = site.person(headers={"cookie": cookie})

    assert await who(stranger) is None


async def test_a_signed_cookie_with_another_account_opens_nothing(site: Site) -> None:
    """Abuse case 87: the account that a cookie names is changed; the record decides whose the session is."""
    await site.account()
    bob = await site.account(BOB)
    person = await site.logged_in()
    secret = (session_of(site, person) or "").partition(".")[0]
    forged = site.edge.jar.session_cookie(SessionToken(secret, bob.id))
    person.cookies[site.edge.jar.session_name] = forged.partition("=")[2].partition(";")[0]

    assert await who(person) is None


@pytest.mark.parametrize("body", [{}, {"account_id": 5}, {"created_at": "x"}, {"__class__": "os.system"}])
async def test_a_corrupt_session_record_lets_nobody_in(site: Site, body: dict) -> None:
    """Abuse case 88: the row is not what we wrote; nothing of it is ever run."""
    await site.account()
    person = await site.logged_in()
    key = next(key for key in site.kit.memory._rows if key.kind == "session")
    record = (await site.kit.memory.get((key,)))[key]
    await site.kit.memory.commit((Update(key, body, record.version),))

    page = await person.get("/json/user/view/self")

    assert page.status in (401, 503)
    assert (await person.get("/user/login")).status == 200


async def test_each_browser_is_a_known_device_by_itself(site: Site) -> None:
    """Abuse case 89: one durable token is handed to all browsers, so that none can be taken away."""
    await site.account()
    first, second = await site.logged_in(), await site.logged_in()
    name = site.edge.jar.device_name

    assert first.cookies[name].partition(".")[0] != second.cookies[name].partition(".")[0]


async def test_a_known_device_is_no_login(site: Site) -> None:
    """Abuse case 89: the durable token is taken for a session."""
    await site.account()
    person = await site.logged_in()
    thief = site.person()
    name = site.edge.jar.device_name
    thief.cookies[name] = person.cookies[name]
    thief.cookies[site.edge.jar.session_name] = person.cookies[name]

    assert await who(thief) is None


async def test_a_cookie_of_one_purpose_is_nothing_for_another(site: Site) -> None:
    """Abuse case 42, of cookies: what we signed for one of them is put into the others."""
    await site.account()
    person = await site.logged_in()
    jar = site.edge.jar
    names = (jar.session_name, jar.browser_name, jar.device_name)
    values = {name: person.cookies[name] for name in names if name in person.cookies}

    for source in values.values():
        thief = site.person()
        for name in names:
            if values.get(name) != source:
                thief.cookies[name] = source
        assert await who(thief) is None
