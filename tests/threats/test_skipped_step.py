"""Somebody who knows a password tries to get in without the second factor (abuse cases 1 to 6 and 21 to 32)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from authflow.store.protocol import Update
from authflow.testing import ADA, PASSWORD, Page, Person, Site, make_site
from authflow.user import User
from tests.threats.tools import secret_on, who

BOB = "bob@example.org"
BOBS_SECRET = bytes(range(60, 80))
NEW = "another long password"
OTP = "/user/f2_timebasedotp/otp"
PREFIXES = ("", "/json", "/admin", "/vi")


class WithoutFactors(User):
    second_factor_providers = ()
    valid_authentication_methods = (("user_password", None),)


async def answer(person: Person, page: Page, code: str) -> Page:
    return await person.send(page.form("otp"), otptoken=code)


# --- A pending login grants nothing -----------------------------------------------------------------------------------


async def test_a_pending_login_opens_no_page_of_the_account(site: Site) -> None:
    """Abuse case 1: the cookie of a half finished login is taken straight to what it should protect."""
    account = await site.account_with_totp()
    person, _ = await site.pending()

    for prefix in PREFIXES:
        for path in ("/user/view/self", f"/user/view/{account.id}", "/user/edit/self", "/user/logout"):
            page = await person.get(prefix + path)
            assert page.status == (401 if prefix else 303), path
            assert ADA not in page.text


ACTIONS: list[tuple[str, str, dict[str, str]]] = [
    *[("GET", path, {}) for path in (
        "/user/f2_timebasedotp/start", "/user/f2_recoverycode/start", OTP, "/user/f2_recoverycode/otp",
        "/user/login", "/user/login?reauthenticate=1", "/user/select_secondfactor_provider",
        "/user/f2_timebasedotp/otp?state=x", "/user/f2_timebasedotp/add", "/user/logout",
    )],
    *[("POST", path, values) for path, values in (
        (OTP, {}), (OTP, {"otptoken": ""}), (OTP, {"otptoken": "000000", "skip": "1"}), (OTP, {"otptoken": "null"}),
        ("/user/f2_recoverycode/otp", {}), ("/user/f2_recoverycode/otp", {"otptoken": ""}),
        ("/user/select_secondfactor_provider", {"provider": "time_based_otp"}),
        ("/user/select_secondfactor_provider", {"provider": "recovery_codes"}),
        ("/user/select_secondfactor_provider", {"provider": ""}),
        ("/user/select_secondfactor_provider", {"provider": "user_password"}),
        ("/user/auth_userpassword/login", {"name": ADA, "password": PASSWORD}),
        ("/user/auth_userpassword/login", {"name": ADA, "password": PASSWORD, "otptoken": "", "second_factor": "none"}),
        ("/user/auth_userpassword/change", {"current_password": PASSWORD, "password": NEW}),
        ("/user/auth_userpassword/pwrecover", {"name": ADA}),
        ("/user/auth_userpassword/pwrecover", {"password": NEW}),
        ("/user/auth_userpassword/pwrecover", {"recovery_key": "", "password": NEW}),
        ("/user/auth_userpassword/setup", {"setup_key": "", "password": NEW}),
        ("/user/auth_userpassword/verify", {}),
        ("/user/f2_timebasedotp/add", {}), ("/user/f2_timebasedotp/add", {"otptoken": "000000"}),
        ("/user/f2_timebasedotp/remove", {}), ("/user/f2_recoverycode/add", {}),
        ("/user/edit/self", {"firstname": "Eve", "factors": ""}), ("/user/cancel", {}), ("/user/logout", {}),
    )],
]  # fmt: skip


async def act(person: Person, action: tuple[str, str, dict[str, str]], flow: str) -> None:
    method, path, values = action
    if method == "GET":
        await person.get(path)
        return
    with_flow = {"flow": flow} if flow else {}
    await person.post(path, {"skey": await person.skey(), **with_flow, **values})


@pytest.mark.parametrize("with_flow", [False, True])
async def test_no_two_actions_without_the_code_get_anybody_in(site: Site, with_flow: bool) -> None:
    """Abuse cases 2, 3, 4 and 21: other steps, empty answers, restarts and the management of factors, in any order."""
    account = await site.account_with_totp()
    person, page = await site.pending()
    flow = page.form("otp").values["flow"] if with_flow else ""
    rows, cookies = dict(site.kit.memory._rows), dict(person.cookies)

    for first in ACTIONS:
        for second in ACTIONS:
            site.kit.memory._rows, person.cookies = dict(rows), dict(cookies)
            await act(person, first, flow)
            await act(person, second, flow)
            assert await who(person) is None, (first, second)
            after = await site.kit.account_now(account)
            assert (after.factors, after.epoch) == (account.factors, account.epoch), (first, second)


async def test_after_any_action_the_code_is_still_what_is_owed(site: Site) -> None:
    """Abuse case 4: going back, choosing another way or starting again must not make a step fall away."""
    await site.account_with_totp()
    person, _ = await site.pending()

    for path in ("/user/f2_recoverycode/start", "/user/f2_timebasedotp/start", "/user/login"):
        await person.get(path)
    again = await person.follow(await person.log_in())

    assert again.form("otp")
    assert await who(person) is None
    assert (await answer(person, again, site.code())).location == "/user/view/self"


# --- Mixed up people, browsers and tabs -------------------------------------------------------------------------------


@pytest.fixture
async def two(site: Site) -> Site:
    await site.account_with_totp(ADA)
    await site.account_with_totp(BOB, secret=BOBS_SECRET)
    return site


async def test_the_code_of_another_account_proves_nothing(two: Site) -> None:
    """Abuse case 5: an attacker with an app of his own answers for the victim whose password he knows."""
    victim, page = await two.pending(ADA)

    refused = await answer(victim, page, two.code(secret=BOBS_SECRET))

    assert refused.status == 200
    assert await who(victim) is None


async def test_the_flow_of_another_browser_is_nothing_here(two: Site) -> None:
    """Abuse case 5: flow ids are swapped between two pending logins."""
    mine, my_page = await two.pending(BOB)
    theirs, their_page = await two.pending(ADA)
    my_form, their_form = my_page.form("otp"), their_page.form("otp")
    their_flow = their_form.values["flow"]

    for flow in (their_flow, their_flow.rpartition(".")[0] + "." + my_form.values["flow"].rpartition(".")[2]):
        page = await mine.post(
            my_form.action, {**my_form.values, "flow": flow, "otptoken": two.code(secret=BOBS_SECRET)}
        )
        assert page.status == 412
    assert await who(mine) is None
    assert await who(theirs) is None


async def test_a_flow_that_names_another_subject_logs_in_nobody_else(two: Site) -> None:
    """Abuse case 5: the subject that a handle hints at is changed to the victim's."""
    mine, page = await two.pending(BOB)
    victim = await two.app.administration.find(ADA)
    form = page.form("otp")
    flow = form.values["flow"].rpartition(".")[0] + "." + victim.id

    await mine.post(form.action, {**form.values, "flow": flow, "otptoken": two.code(secret=BOBS_SECRET)})

    assert await who(mine) in (None, BOB)


@pytest.mark.parametrize(("code_of", "expected"), [("ada", ADA), ("bob", None)])
async def test_of_two_logins_in_one_browser_each_wants_its_own_code(
    two: Site, code_of: str, expected: str | None
) -> None:
    """Abuse case 6: two tabs; the first is logging Ada in, the second Bob, and then the first is answered."""
    person, first = await two.pending(ADA)
    await person.follow(await person.log_in(BOB))
    code = two.code() if code_of == "ada" else two.code(secret=BOBS_SECRET)

    await answer(person, first, code)

    assert await who(person) == expected


async def test_the_other_tab_ends_when_one_is_through(two: Site) -> None:
    """Abuse case 6: a pending login of before does not live on beside the session that came of another one."""
    person, first = await two.pending(ADA)
    second = await person.follow(await person.log_in(BOB))
    await answer(person, second, two.code(secret=BOBS_SECRET))

    late = await answer(person, first, two.code())

    assert late.status == 412
    assert await who(person) == BOB


# --- Factors ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/user/f2_timebasedotp/remove", "/user/f2_recoverycode/add"])
async def test_a_factor_is_not_touched_by_a_login_of_long_ago(site: Site, path: str) -> None:
    """Abuse case 22: an open session is found by somebody, who takes the second factor away."""
    account = await site.account_with_totp()
    person = await site.logged_in(with_code=True)
    skey = await person.skey()
    site.clock.pass_by(timedelta(minutes=11))

    page = await person.post(path, {"skey": skey})

    assert page.location.startswith("/user/login?reauthenticate=1")
    assert (await site.kit.account_now(account)).factors == ("time_based_otp",)


@pytest.mark.parametrize("path", ["/user/f2_timebasedotp/remove", "/user/f2_recoverycode/add"])
async def test_a_factor_is_not_touched_by_a_session_that_never_proved_one(site: Site, path: str) -> None:
    """Abuse case 22: a session of a password alone, from before the account had a factor."""
    account = await site.account()
    person = await site.logged_in()
    key = next(key for key in site.kit.memory._rows if key.kind == "account")
    record = (await site.kit.memory.get((key,)))[key]
    # As if the epoch had not risen with the factor.
    await site.kit.memory.commit((Update(key, {**record.data, "factors": ["time_based_otp"]}, record.version),))

    page = await person.post(path, {"skey": await person.skey()})

    assert page.location.startswith("/user/login?reauthenticate=1")
    assert (await site.kit.account_now(account)).factors == ("time_based_otp",)


async def test_a_secret_that_the_client_sends_is_not_looked_at(site: Site) -> None:
    """Abuse case 33: whoever enrols brings a secret of his own, or a weak one."""
    await site.account()
    person = await site.logged_in()
    page = await person.send((await person.get("/user/f2_timebasedotp/add")).form())
    own = {"secret": "A" * 32, "otp_secret": "A" * 32, "uri": "otpauth://totp/x?secret=" + "A" * 32}

    refused = await person.send(page.form("add"), otptoken=site.code(secret=bytes(20)), **own)

    assert "recovery codes" not in refused.text
    assert (await site.app.administration.find(ADA)).factors == ()


async def test_an_enrolment_is_confirmed_once(site: Site) -> None:
    """Abuse case 34: the same confirmation is sent again, from this session and from a second one."""
    await site.account()
    person, other = await site.logged_in(), await site.logged_in()
    page = await person.send((await person.get("/user/f2_timebasedotp/add")).form())
    values = {**page.form("add").values, "otptoken": site.code(secret=secret_on(page))}
    await person.post("/user/f2_timebasedotp/add", values)

    again = await person.post("/user/f2_timebasedotp/add", {**values, "skey": await person.skey()})
    elsewhere = await other.post("/user/f2_timebasedotp/add", {**values, "skey": await other.skey()})

    assert again.status == 412
    assert elsewhere.status in (401, 412)


async def test_a_factor_counts_from_the_moment_it_is_there(site: Site) -> None:
    """Abuse case 26: one session enrols, and another logs in before any cache has heard of it."""
    await site.account()
    owner = await site.logged_in()
    page = await owner.send((await owner.get("/user/f2_timebasedotp/add")).form())
    other = site.person()
    form = (await other.get("/user/login")).form("login")
    await owner.send(page.form("add"), otptoken=site.code(secret=secret_on(page)))
    answer = await other.send(form, name=ADA, password=PASSWORD)

    assert answer.location.startswith(OTP)
    assert await who(other) is None


# --- Nothing durable before the end -----------------------------------------------------------------------------------


async def test_nothing_that_lasts_is_handed_out_before_the_code(site: Site) -> None:
    """Abuse case 23: a known device, a static key or a session of the account, for the password alone."""
    await site.account_with_totp()
    jar = site.edge.jar
    person = site.person()

    pages = [await person.get("/user/login")]
    pages.append(await person.log_in())
    pages.append(await person.follow(pages[-1]))
    pages.append(await answer(person, pages[-1], site.wrong_code()))
    program = site.person()
    pages.append(await program.json_post("/json/user/auth_userpassword/login", name=ADA, password=PASSWORD))

    for page in pages:
        assert jar.device_name not in page.set_cookies
        assert not page.header("sec-x-viur-staticskey")
    assert jar.session_name in pages[1].set_cookies, "the pending login itself"


@pytest.mark.parametrize("first", PREFIXES)
@pytest.mark.parametrize("second", PREFIXES)
async def test_no_renderer_lets_in_without_the_code(site: Site, first: str, second: str) -> None:
    """Abuse case 24: the second factor is asked for on pages and forgotten where programs come in."""
    await site.account_with_totp()
    person = site.person()
    values = {"skey": await person.skey(), "name": ADA, "password": PASSWORD}

    await person.post(first + "/user/auth_userpassword/login", values)

    for headers in ({}, {"authorization": "Basic YWRhOnB3"}, {"x-requested-with": "XMLHttpRequest"}):
        page = await person.get(second + "/user/view/self", headers=headers)
        assert page.status in (401, 303)


async def test_a_recovery_logs_nobody_in(site: Site) -> None:
    """Abuse case 25: a mailed link is taken for a login, past the second factor."""
    await site.account_with_totp()
    person = site.person()
    await person.send((await person.get("/user/auth_userpassword/pwrecover")).form(), name=ADA)
    await site.run_tasks()

    done = await person.send((await person.get(site.link())).form(), password=NEW)

    assert done.status == 200
    assert site.edge.jar.session_name not in done.set_cookies
    assert await who(person) is None
    assert (await person.log_in(password=NEW)).location.startswith(OTP)


# --- What changes while a login is pending ----------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_an_account_whose_factor_is_switched_off_is_refused_and_not_let_in(site: Site, prefix: str) -> None:
    """Abuse case 27: the provider leaves the configuration, and with it what accounts rely on."""
    await site.account_with_totp()
    without = await make_site(WithoutFactors(), store=site.kit.memory)
    person = without.person()

    page = await person.post(
        prefix + "/user/auth_userpassword/login", {"skey": await person.skey(), "name": ADA, "password": PASSWORD}
    )

    assert page.status == 406
    assert await who(person) is None


async def test_a_pending_login_dies_with_the_provider_it_waits_for(site: Site) -> None:
    """Abuse case 28: a step of before a restart is answered where its provider is not declared any more."""
    await site.account_with_totp()
    person, page = await site.pending()
    without = await make_site(WithoutFactors(), store=site.kit.memory)
    person.edge = without.edge

    refused = await answer(person, page, site.code())

    assert (refused.status, "definition_changed" in refused.text) == (412, True)
    assert await who(person) is None
    person.edge = site.edge
    assert (await answer(person, page, site.code())).location == "/user/view/self"


@pytest.mark.parametrize("minutes", [10, 11, 60, 60 * 25])
async def test_a_pending_login_does_not_live_for_ever(site: Site, minutes: int) -> None:
    """Abuse case 29: a browser that was left at the second step is found much later."""
    await site.account_with_totp()
    person, page = await site.pending()
    for _ in range(minutes // 5):
        site.clock.pass_by(timedelta(minutes=5))
        await person.get(OTP)
    site.clock.pass_by(timedelta(minutes=minutes % 5))

    refused = await answer(person, page, site.code())

    assert refused.status in (408, 412)
    assert await who(person) is None


async def test_an_account_that_was_shut_out_between_the_steps_stays_out(site: Site) -> None:
    """Abuse case 31: an operator disables the account while its login is pending."""
    await site.account_with_totp()
    person, page = await site.pending()
    await site.app.administration.deactivate(ADA)

    refused = await answer(person, page, site.code())

    assert refused.status == 412
    assert await who(person) is None


async def test_another_account_of_the_same_name_is_another_account(site: Site) -> None:
    """Abuse case 32: the account is deleted and made anew, with the same secret, while its login is pending."""
    await site.account_with_totp()
    person, page = await site.pending()
    await site.app.administration.delete(ADA)
    await site.account_with_totp()

    refused = await answer(person, page, site.code())

    assert refused.status == 412
    assert await who(person) is None


async def test_a_password_that_was_changed_between_the_steps_ends_the_login(site: Site) -> None:
    """The owner notices and changes the password; the intruder's pending login must not survive it."""
    await site.account_with_totp()
    intruder, page = await site.pending()
    await site.app.administration.set_password(ADA, NEW)

    refused = await answer(intruder, page, site.code())

    assert refused.status == 412
    assert await who(intruder) is None
