"""The pages, as a person with a browser meets them."""

from __future__ import annotations

import re
from base64 import b32decode
from datetime import timedelta

import pytest

from authflow.model import Status
from authflow.testing import ADA, PASSWORD, Page, Person, Site, make_site
from authflow.user import User
from providers.time_based_otp import TimeBasedOTP
from providers.user_password import UserPassword

NEW = "another long password"
BOB = "bob@example.org"


def registering(*, mail: bool = True, admin: bool = True) -> User:
    """Return a `User` that lets strangers register, with the other two switches as given."""

    class Registering(UserPassword):
        registration_enabled = True
        registration_email_verification_required = mail
        registration_admin_verification_required = admin

    class Open(User):
        authentication_providers = (Registering,)

    return Open()


class HardwareOTP(TimeBasedOTP):
    name = "hardware_otp"
    path = "f2_hardwareotp"
    method_name = "X-Test-Hardware-OTP"
    label = "Hardware token"


class TwoFactors(User):
    second_factor_providers = (TimeBasedOTP, HardwareOTP, "providers.recovery_codes:RecoveryCodes")
    valid_authentication_methods = (
        ("user_password", "time_based_otp"),
        ("user_password", "hardware_otp"),
        ("user_password", None),
    )


class Strict(User):
    second_factor_required_roles = frozenset({"admin"})


@pytest.fixture
async def site() -> Site:
    return await make_site()


async def enrol(site: Site, person: Person) -> tuple[bytes, Page]:
    """Set up an authenticator app; return its secret and the page with the recovery codes."""
    page = await person.send((await person.get("/user/f2_timebasedotp/add")).form())
    secret = secret_on(page)
    return secret, await person.send(page.form("add"), otptoken=site.code(secret=secret))


def secret_on(page: Page) -> bytes:
    found = re.search(r'<code class="secret">([^<]+)</code>', page.text)
    assert found is not None
    return b32decode(found[1].replace(" ", ""))


def codes_on(page: Page) -> list[str]:
    found = re.search(r'<ol class="codes".*?</ol>', page.text, re.S)
    assert found is not None
    return re.findall(r"<li>([^<]+)</li>", found[0])


async def is_logged_in(person: Person) -> bool:
    return (await person.get("/user/view/self")).status == 200


# --- Logging in -------------------------------------------------------------------------------------------------------


async def test_a_person_logs_in_with_a_password_and_sees_the_account(site: Site) -> None:
    await site.account()
    person = site.person()

    answer = await person.log_in()
    page = await person.follow(answer)

    assert (answer.status, answer.location) == (303, "/user/view/self")
    assert page.status == 200
    assert ADA in page.text


async def test_the_way_home_leads_to_the_login_and_afterwards_to_the_account(site: Site) -> None:
    await site.account()
    person = site.person()

    before = await person.get("/")
    await person.log_in()
    after = await person.get("/")

    assert (before.status, before.location) == (303, "/user/login")
    assert (after.status, after.location) == (303, "/user/view/self")


async def test_a_wrong_password_shows_the_form_again_with_the_name_and_without_the_password(site: Site) -> None:
    await site.account()
    person = site.person()

    page = await person.log_in(password="wrong and secret")

    assert page.status == 200
    assert "That did not match" in page.text
    assert page.form("login").values["name"] == ADA
    assert page.form("login").values["password"] == ""
    assert "wrong and secret" not in page.text


async def test_a_form_that_was_refused_can_be_sent_again(site: Site) -> None:
    await site.account()
    person = site.person()
    refused = await person.log_in(password="wrong")

    answer = await person.send(refused.form("login"), password=PASSWORD)

    assert answer.location == "/user/view/self"


async def test_what_was_typed_comes_back_escaped(site: Site) -> None:
    person = site.person()

    page = await person.log_in(name='"><script>alert(1)</script>', password="x")

    assert "<script>" not in page.text
    assert page.form("login").values["name"] == '"><script>alert(1)</script>'


async def test_the_login_takes_a_person_on_to_the_second_step_and_then_to_the_account(site: Site) -> None:
    await site.account_with_totp()
    person = site.person()

    answer = await person.log_in()
    page = await person.follow(answer)
    done = await person.send(page.form("otp"), otptoken=site.code())

    assert answer.location.startswith("/user/f2_timebasedotp/otp?flow=")
    assert "One more step" in page.text or "otptoken" in page.text
    assert done.location == "/user/view/self"
    assert await is_logged_in(person)


async def test_a_wrong_code_is_told_and_the_next_one_may_be_right(site: Site) -> None:
    await site.account_with_totp()
    person, page = await site.pending()

    wrong = await person.send(page.form("otp"), otptoken=site.wrong_code())
    right = await person.send(wrong.form("otp"), otptoken=site.code())

    assert wrong.status == 200
    assert "That code is not right" in wrong.text
    assert site.wrong_code() not in wrong.text
    assert right.location == "/user/view/self"


async def test_a_code_may_be_typed_with_a_blank_in_the_middle_of_its_digits_or_around_them(site: Site) -> None:
    await site.account_with_totp()
    person, page = await site.pending()

    answer = await person.send(page.form("otp"), otptoken=f" {site.code()} ")

    assert answer.location == "/user/view/self"


async def test_the_second_step_can_be_reloaded(site: Site) -> None:
    await site.account_with_totp()
    person, _ = await site.pending()

    first = await person.get("/user/f2_timebasedotp/otp")
    second = await person.get("/user/f2_timebasedotp/otp")
    answer = await person.send(second.form("otp"), otptoken=site.code())

    assert first.status == second.status == 200
    assert answer.location == "/user/view/self"


async def test_the_second_step_sent_twice_says_that_it_is_over(site: Site) -> None:
    await site.account_with_totp()
    person, page = await site.pending()
    await person.send(page.form("otp"), otptoken=site.code())

    again = await person.send(page.form("otp"), otptoken=site.code())

    assert again.status == 412
    assert await is_logged_in(person)


async def test_a_login_form_of_before_can_be_reached_by_going_back_and_sent_once_more(site: Site) -> None:
    await site.account()
    person = site.person()
    page = await person.get("/user/login")
    await person.send(page.form("login"), name=ADA, password=PASSWORD)

    # The page still lies in the browser's history; its skey belongs to the browser cookie of before the login.
    again = await person.send(page.form("login"), name=ADA, password=PASSWORD)

    assert again.status == 412
    assert "too old" in again.text
    assert await is_logged_in(person)


async def test_cancelling_gives_up_the_pending_login(site: Site) -> None:
    await site.account_with_totp()
    person, page = await site.pending()

    answer = await person.send(page.form("cancel"))
    late = await person.get("/user/f2_timebasedotp/otp")

    assert (answer.status, answer.location) == (303, "/user/login")
    assert late.status == 412
    assert site.edge.jar.session_name not in person.cookies


async def test_a_second_step_that_took_too_long_must_begin_anew(site: Site) -> None:
    await site.account_with_totp()
    person, page = await site.pending()

    site.clock.pass_by(timedelta(minutes=11))
    answer = await person.send(page.form("otp"), otptoken=site.code())

    assert answer.status == 408
    assert "start again" in answer.text
    assert not await is_logged_in(person)


async def test_too_many_passwords_are_answered_with_the_time_to_wait(site: Site) -> None:
    await site.account()
    person = site.person()
    page = await person.log_in(password="wrong")
    for _ in range(9):
        page = await person.send(page.form("login"), password="wrong")

    refused = await person.send(page.form("login"), password=PASSWORD)

    assert refused.status == 429
    assert 0 < int(refused.header("retry-after")) <= 900
    assert "minutes" in refused.text


# --- Where to go afterwards -------------------------------------------------------------------------------------------


async def test_a_page_that_wants_a_login_is_reached_after_it(site: Site) -> None:
    await site.account()
    person = site.person()

    asked = await person.get("/user/edit/self")
    login = await person.get(asked.location)
    answer = await person.send(login.form("login"), name=ADA, password=PASSWORD)

    assert asked.location == "/user/login?next=/user/edit/self"
    assert answer.location == "/user/edit/self"


async def test_where_to_go_outlives_a_wrong_password_and_the_second_step(site: Site) -> None:
    await site.account_with_totp()
    person = site.person()

    refused = await person.log_in(password="wrong", path="/user/login?next=/user/edit/self")
    step = await person.follow(await person.send(refused.form("login"), password=PASSWORD))
    answer = await person.send(step.form("otp"), otptoken=site.code())

    assert answer.location == "/user/edit/self"


async def test_where_to_go_outlives_an_skey_that_is_too_old(site: Site) -> None:
    await site.account()
    person = site.person()
    form = (await person.get("/user/login?next=/user/edit/self")).form("login")
    page = await person.send(form, skey="old", name=ADA, password=PASSWORD)

    answer = await person.send(page.form("login"), password=PASSWORD)

    assert page.status == 412
    assert answer.location == "/user/edit/self"


async def test_where_to_go_is_fixed_at_the_start(site: Site) -> None:
    await site.account()
    person = site.person()
    form = (await person.get("/user/login?next=/user/edit/self")).form("login")

    answer = await person.post(form.action, {**form.values, "name": ADA, "password": PASSWORD, "next": "/skey"})

    assert answer.location == "/user/edit/self"


@pytest.mark.parametrize(
    "target", ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"]
)
async def test_a_foreign_target_is_passed_over(site: Site, target: str) -> None:
    await site.account()
    person = site.person()

    answer = await person.log_in(path="/user/login?next=" + target.replace("\\", "%5C"))

    assert answer.location == "/user/view/self"


async def test_nobody_is_sent_to_the_page_of_a_form_that_was_posted_without_a_login(site: Site) -> None:
    person = site.person()
    skey = await person.skey()

    page = await person.post("/user/edit/self", {"skey": skey, "firstname": "Ada"})

    assert page.status == 401
    assert "Please log in first" in page.text


# --- Forms that are too old -------------------------------------------------------------------------------------------


async def test_a_form_that_is_too_old_comes_back_with_what_was_typed_but_not_the_password(site: Site) -> None:
    await site.account()
    person = site.person()
    form = (await person.get("/user/login")).form("login")
    site.clock.pass_by(timedelta(hours=25))

    page = await person.send(form, name=ADA, password=PASSWORD)

    assert page.status == 412
    assert page.form("login").values["name"] == ADA
    assert PASSWORD not in page.text
    assert "too old" in page.text


async def test_the_form_that_came_back_can_be_sent(site: Site) -> None:
    await site.account()
    person = site.person()
    form = (await person.get("/user/login")).form("login")
    site.clock.pass_by(timedelta(hours=25))
    page = await person.send(form, name=ADA, password=PASSWORD)

    answer = await person.send(page.form("login"), password=PASSWORD)

    assert answer.location == "/user/view/self"


async def test_a_code_sent_with_an_old_skey_is_asked_for_again(site: Site) -> None:
    await site.account_with_totp()
    person, page = await site.pending()

    stale = await person.post(page.form("otp").action, {**page.form("otp").values, "skey": "x", "otptoken": "123456"})
    answer = await person.send(stale.form("otp"), otptoken=site.code())

    assert stale.status == 412
    assert "123456" not in stale.text
    assert answer.location == "/user/view/self"


async def test_details_sent_with_an_old_skey_are_shown_again_and_not_saved(site: Site) -> None:
    await site.account()
    person = await site.logged_in()
    form = (await person.get("/user/edit/self")).form()

    page = await person.send(form, skey="old", firstname="Augusta")
    saved = await person.get("/user/view/self")

    assert page.status == 412
    assert page.form().values["firstname"] == "Augusta"
    assert "Augusta" not in saved.text


async def test_a_recovery_code_from_the_mail_survives_an_old_skey(site: Site) -> None:
    await site.account()
    person = site.person()
    await person.send((await person.get("/user/auth_userpassword/pwrecover")).form(), name=ADA)
    await site.run_tasks()
    form = (await person.get(site.link())).form()

    stale = await person.send(form, skey="old", password=NEW)
    done = await person.send(stale.form(), password=NEW)

    assert stale.status == 412
    assert NEW not in stale.text
    assert done.status == 200


# --- The account ------------------------------------------------------------------------------------------------------


async def test_details_can_be_edited(site: Site) -> None:
    await site.account()
    person = await site.logged_in()

    answer = await person.send((await person.get("/user/edit/self")).form(), firstname="Ada", lastname="Lovelace")
    page = await person.follow(answer)

    assert answer.location == "/user/view/self"
    assert "Lovelace" in page.text


async def test_an_edit_by_somebody_who_was_faster_is_not_overwritten(site: Site) -> None:
    await site.account()
    person = await site.logged_in()
    slow = (await person.get("/user/edit/self")).form()
    await person.send((await person.get("/user/edit/self")).form(), firstname="First")

    page = await person.send(slow, firstname="Second")

    assert page.status == 409
    assert "changed in the meantime" in page.text


async def test_a_password_is_changed_and_other_browsers_are_logged_out(site: Site) -> None:
    await site.account()
    person, elsewhere = await site.logged_in(), await site.logged_in()
    form = (await person.get("/user/auth_userpassword/change")).form()

    answer = await person.send(form, current_password=PASSWORD, password=NEW)

    assert answer.location == "/user/view/self"
    assert await is_logged_in(person)
    assert not await is_logged_in(elsewhere)
    assert (await site.person().log_in(password=PASSWORD)).status == 200
    assert (await site.person().log_in(password=NEW)).status == 303


async def test_a_wrong_current_password_is_told_at_its_field(site: Site) -> None:
    await site.account()
    person = await site.logged_in()
    form = (await person.get("/user/auth_userpassword/change")).form()

    page = await person.send(form, current_password="wrong", password=NEW)

    assert page.status == 400
    assert "Your current password is not right" in page.text
    assert NEW not in page.text


@pytest.mark.parametrize(
    ("password", "sentence"), [("short", "at least 8"), ("password", "lists"), (ADA, "name or address")]
)
async def test_a_password_that_is_easy_to_guess_is_refused(site: Site, password: str, sentence: str) -> None:
    await site.account()
    person = await site.logged_in()
    form = (await person.get("/user/auth_userpassword/change")).form()

    page = await person.send(form, current_password=PASSWORD, password=password)

    assert page.status == 400
    assert sentence in page.text
    assert (await site.person().log_in()).status == 303


async def test_logging_out_asks_first_and_then_ends_the_session(site: Site) -> None:
    await site.account()
    person = await site.logged_in()
    cookies = dict(person.cookies)

    asked = await person.get("/user/logout")
    still = await is_logged_in(person)
    page = await person.send(asked.form("logout"))
    person.cookies.update(cookies)

    assert still
    assert page.status == 200
    assert page.header("clear-site-data")
    assert not await is_logged_in(person)


async def test_another_persons_entry_is_not_there_for_those_without_the_right(site: Site) -> None:
    await site.account()
    bob = await site.account(BOB)
    person = await site.logged_in()

    theirs = await person.get(f"/user/view/{bob.id}")
    nobodys = await person.get("/user/view/nobody")

    assert theirs.status == nobodys.status == 404
    assert BOB not in theirs.text


async def test_an_entry_is_shown_to_those_with_the_right(site: Site) -> None:
    await site.account(access=("user-view",))
    bob = await site.account(BOB)
    person = await site.logged_in()

    page = await person.get(f"/user/view/{bob.id}")

    assert page.status == 200
    assert BOB in page.text


# --- Second factors ---------------------------------------------------------------------------------------------------


async def test_an_app_is_set_up_and_asked_for_at_the_next_login(site: Site) -> None:
    await site.account()
    person = await site.logged_in()

    secret, shown = await enrol(site, person)
    profile = await person.get("/user/view/self")
    later = site.person()
    site.clock.pass_by(timedelta(seconds=30))
    step = await later.follow(await later.log_in())
    done = await later.send(step.form("otp"), otptoken=site.code(secret=secret))

    assert len(codes_on(shown)) == 10
    assert "Set up" in profile.text
    assert done.location == "/user/view/self"


async def test_the_secret_is_shown_as_a_picture_of_our_own_and_as_text(site: Site) -> None:
    await site.account()
    person = await site.logged_in()

    page = await person.send((await person.get("/user/f2_timebasedotp/add")).form())

    assert 'src="data:image/png;base64,' in page.text
    assert len(secret_on(page)) == 20
    assert page.header("cache-control") == "no-store"


async def test_a_wrong_confirming_code_shows_the_same_secret_again(site: Site) -> None:
    await site.account()
    person = await site.logged_in()
    page = await person.send((await person.get("/user/f2_timebasedotp/add")).form())

    wrong = await person.send(page.form("add"), otptoken=site.wrong_code())
    secret = secret_on(wrong)
    code = site.code(secret=secret)
    done = await person.send(wrong.form("add"), otptoken=code)

    assert secret == secret_on(page)
    assert "That code is not right" in wrong.text
    assert codes_on(done)


async def test_setting_up_what_is_set_up_already_is_refused(site: Site) -> None:
    await site.account()
    person = await site.logged_in()
    form = (await person.get("/user/f2_timebasedotp/add")).form()
    await enrol(site, person)

    shown = await person.get("/user/f2_timebasedotp/add")
    sent = await person.post(form.action, {"skey": await person.skey()})

    assert [page.status for page in (shown, sent)] == [409, 409]
    assert "set up already" in shown.text


async def test_a_recovery_code_takes_the_place_of_the_app_once(site: Site) -> None:
    await site.account()
    owner = await site.logged_in()
    _, shown = await enrol(site, owner)
    code = codes_on(shown)[0]
    person, page = await site.pending()
    assert "Recovery code" in page.text

    other = await person.follow(await person.get("/user/f2_recoverycode/start"))
    done = await person.send(other.form("otp"), otptoken=code)
    again, _ = await site.pending()
    second = await again.follow(await again.get("/user/f2_recoverycode/start"))
    refused = await again.send(second.form("otp"), otptoken=code)

    assert done.location == "/user/view/self"
    assert refused.status == 200
    assert not await is_logged_in(again)


async def test_the_other_ways_are_links_on_the_page_of_the_step(site: Site) -> None:
    await site.account()
    await enrol(site, await site.logged_in())
    person, page = await site.pending()

    link = re.search(r'href="(/user/f2_recoverycode/start[^"]*)"', page.text)
    assert link is not None
    there = await person.follow(await person.get(link[1]))
    back = re.search(r'href="(/user/f2_timebasedotp/start[^"]*)"', there.text)

    assert there.form("f2_recoverycode/otp")
    assert back is not None


async def test_new_recovery_codes_take_the_place_of_the_old_ones(site: Site) -> None:
    await site.account()
    owner = await site.logged_in()
    _, shown = await enrol(site, owner)
    old = codes_on(shown)

    new = codes_on(await owner.send((await owner.get("/user/f2_recoverycode/add")).form()))
    person, _ = await site.pending()
    step = await person.follow(await person.get("/user/f2_recoverycode/start"))
    with_old = await person.send(step.form("otp"), otptoken=old[0])
    with_new = await person.send(with_old.form("otp"), otptoken=new[0])

    assert not set(old) & set(new)
    assert with_old.status == 200
    assert with_new.location == "/user/view/self"


async def test_an_app_is_removed_and_not_asked_for_any_more(site: Site) -> None:
    await site.account()
    person = await site.logged_in()
    await enrol(site, person)

    answer = await person.send((await person.get("/user/f2_timebasedotp/remove")).form())

    assert answer.location == "/user/view/self"
    assert (await site.person().log_in()).location == "/user/view/self"


async def test_owners_are_told_by_mail_of_every_change_of_their_factors(site: Site) -> None:
    await site.account()
    person = await site.logged_in()

    await enrol(site, person)
    await person.send((await person.get("/user/f2_recoverycode/add")).form())
    await person.send((await person.get("/user/f2_timebasedotp/remove")).form())
    await site.run_tasks()

    assert len(site.outbox.mails) == 3
    assert {mail.to for mail in site.outbox.mails} == {ADA}


async def test_several_factors_are_offered_to_choose_from() -> None:
    site = await make_site(TwoFactors())
    account = await site.account_with_totp()
    other = HardwareOTP().new_hardware_token(
        account.id, serial="2", secret_hex="ab" * 20, now=site.clock(), interval=30
    )
    await site.kit.enrolled(account, other)
    person = site.person()

    choice = await person.follow(await person.log_in())
    form = choice.form("select")
    step = await person.follow(await person.send(form, provider="hardware_otp"))
    done = await person.send(step.form("otp"), otptoken=site.code(secret=bytes.fromhex("ab" * 20)))

    assert "Hardware token" in choice.text
    assert "Authenticator app" in choice.text
    assert step.form("f2_hardwareotp/otp")
    assert done.location == "/user/view/self"


async def test_whoever_chose_one_factor_may_go_over_to_the_other() -> None:
    site = await make_site(TwoFactors())
    account = await site.account_with_totp()
    other = HardwareOTP().new_hardware_token(
        account.id, serial="2", secret_hex="ab" * 20, now=site.clock(), interval=30
    )
    await site.kit.enrolled(account, other)
    person = site.person()
    choice = await person.follow(await person.log_in())
    await person.send(choice.form("select"), provider="hardware_otp")

    step = await person.follow(await person.get("/user/f2_timebasedotp/start"))
    done = await person.send(step.form("otp"), otptoken=site.code())

    assert done.location == "/user/view/self"


async def test_an_enrolment_that_is_owed_is_the_last_step_of_the_login() -> None:
    site = await make_site(Strict())
    await site.account(roles=("admin",))
    person = site.person()

    page = await person.follow(await person.log_in())
    before = await is_logged_in(person)
    asked = await person.send(page.form("add"))
    done = await person.send(asked.form("add"), otptoken=site.code(secret=secret_on(asked)))

    assert not before
    assert codes_on(done)
    assert await is_logged_in(person)


async def test_an_enrolment_that_is_owed_says_so_and_can_be_given_up() -> None:
    site = await make_site(Strict())
    await site.account(roles=("admin",))
    person = site.person()

    page = await person.follow(await person.log_in())
    asked = await person.send(page.form("add"))
    wrong = await person.send(asked.form("add"), otptoken=site.wrong_code())
    gone = await person.send(wrong.form("cancel"))

    assert "Your account needs a second step" in page.text
    assert all("Not now" not in seen.text for seen in (page, asked, wrong))
    assert gone.location == "/user/login"
    assert not await is_logged_in(person)


async def test_an_enrolment_by_choice_can_be_left(site: Site) -> None:
    await site.account()
    person = await site.logged_in()

    page = await person.get("/user/f2_timebasedotp/add")

    assert "Not now" in page.text
    assert "needs a second step" not in page.text


# --- A fresh login ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/user/f2_timebasedotp/add", "/user/f2_timebasedotp/remove", "/user/auth_userpassword/change"]
)
async def test_a_login_of_long_ago_is_made_fresh_on_the_way_to_what_needs_it(site: Site, path: str) -> None:
    await site.account()
    person = await site.logged_in()
    site.clock.pass_by(timedelta(minutes=11))

    sent = await person.get(path)
    login = await person.get(sent.location)
    answer = await person.send(login.form("login"), password=PASSWORD)
    back = await person.get(answer.location)

    assert sent.location == f"/user/login?reauthenticate=1&next={path}"
    assert "Log in again" in login.text
    assert login.form("login").values["name"] == ADA
    assert answer.location == path
    assert back.status == 200


async def test_logging_in_again_asks_for_the_second_factor_too(site: Site) -> None:
    await site.account_with_totp()
    person = await site.logged_in(with_code=True)
    site.clock.pass_by(timedelta(minutes=11))

    sent = await person.get("/user/f2_timebasedotp/remove")
    login = await person.get(sent.location)
    step = await person.follow(await person.send(login.form("login"), password=PASSWORD))
    answer = await person.send(step.form("otp"), otptoken=site.code())

    assert step.form("otp")
    assert answer.location == "/user/f2_timebasedotp/remove"


async def test_nobody_else_can_log_in_again_in_the_owners_place(site: Site) -> None:
    await site.account()
    await site.account(BOB)
    person = await site.logged_in()
    site.clock.pass_by(timedelta(minutes=11))
    login = await person.get("/user/login?reauthenticate=1")

    page = await person.send(login.form("login"), name=BOB, password=PASSWORD)
    profile = await person.get("/user/view/self")

    assert page.status == 200
    assert "That did not match" in page.text
    assert ADA in profile.text


class Unpaired(User):
    """Declares an app, and lets no method ask for it."""

    valid_authentication_methods = (("user_password", None),)


async def test_a_factor_that_belongs_to_no_method_has_no_page_to_add_it() -> None:
    site = await make_site(Unpaired())
    await site.account()
    person = await site.logged_in()

    page = await person.get("/user/f2_timebasedotp/add")
    sent = await person.post("/user/f2_timebasedotp/add", {"skey": await person.skey()})

    assert (page.status, sent.status) == (404, 404)


@pytest.mark.parametrize("password", [NEW, "wrong " + NEW], ids=["right", "wrong"])
async def test_a_form_for_logging_in_again_ends_when_the_account_changes_elsewhere(site: Site, password: str) -> None:
    await site.account()
    person = await site.logged_in()
    login = await person.get("/user/login?reauthenticate=1&next=/wanted")
    await site.app.administration.set_password(ADA, NEW)

    told = await person.send(login.form("login"), name=ADA, password=password)
    again = await person.get(f"/user/login?flow={login.form('login').values['flow']}")

    assert told.status == 412, "and neither right nor wrong is told"
    assert "flow_invalid" in told.text
    answer = await person.send(again.form("login"), name=ADA, password=password)
    assert (answer.status, answer.location) == ((303, "/wanted") if password == NEW else (200, ""))


async def test_a_form_for_logging_in_again_that_is_shown_once_more_is_for_the_account_as_it_is(site: Site) -> None:
    await site.account()
    person = await site.logged_in()
    login = await person.get("/user/login?reauthenticate=1&next=/wanted")
    flow = login.form("login").values["flow"]
    unchanged = await person.get(f"/user/login?flow={flow}")
    await enrol(site, person)

    again = await person.get(f"/user/login?flow={flow}")

    assert unchanged.form("login").values["flow"].split(".")[1] == flow.split(".")[1]
    assert again.form("login").values["name"] == ADA
    assert (await person.send(again.form("login"), password=PASSWORD)).location.startswith("/user/f2_timebasedotp/")


async def test_a_change_posted_after_the_window_leads_to_the_login_and_changes_nothing(site: Site) -> None:
    await site.account()
    person = await site.logged_in()
    form = (await person.get("/user/auth_userpassword/change")).form()
    site.clock.pass_by(timedelta(minutes=11))

    answer = await person.send(form, current_password=PASSWORD, password=NEW)

    assert answer.location.startswith("/user/login?reauthenticate=1")
    assert (await site.person().log_in(password=PASSWORD)).status == 303


# --- Recovery ---------------------------------------------------------------------------------------------------------


async def test_a_forgotten_password_is_replaced_by_way_of_the_mail(site: Site) -> None:
    await site.account()
    stranger = await site.logged_in()
    person = site.person()
    asked = await person.send((await person.get("/user/auth_userpassword/pwrecover")).form(), name=ADA)
    told = await person.follow(asked)
    await site.run_tasks()

    form = await person.get(site.link())
    done = await person.send(form.form(), password=NEW)

    assert asked.location == "/user/auth_userpassword/pwrecover?step=key"
    assert "a mail with a code is on its way" in told.text
    assert form.header("referrer-policy") == "no-referrer"
    assert done.status == 200
    assert not await is_logged_in(person), "a recovery logs nobody in"
    assert not await is_logged_in(stranger)
    assert (await person.log_in(password=NEW)).location == "/user/view/self"


async def test_the_code_of_the_mail_may_be_typed_in(site: Site) -> None:
    await site.account()
    person = site.person()
    asked = await person.send((await person.get("/user/auth_userpassword/pwrecover")).form(), name=ADA)
    page = await person.follow(asked)
    await site.run_tasks()
    code = site.link().partition("recovery_key=")[2]

    step = await person.send(page.form(), recovery_key=f" {code[:20]} {code[20:]}\t")
    done = await person.send(step.form(), password=NEW)

    assert done.status == 200
    assert (await person.log_in(password=NEW)).status == 303


async def test_a_new_password_that_is_refused_leaves_the_link_good(site: Site) -> None:
    await site.account()
    person = site.person()
    await person.send((await person.get("/user/auth_userpassword/pwrecover")).form(), name=ADA)
    await site.run_tasks()

    refused = await person.send((await person.get(site.link())).form(), password="short")
    done = await person.send(refused.form(), password=NEW)

    assert refused.status == 400
    assert "at least 8" in refused.text
    assert done.status == 200


async def test_a_recovery_of_an_account_with_an_app_still_owes_the_code(site: Site) -> None:
    await site.account_with_totp()
    person = site.person()
    await person.send((await person.get("/user/auth_userpassword/pwrecover")).form(), name=ADA)
    await site.run_tasks()
    await person.send((await person.get(site.link())).form(), password=NEW)

    answer = await person.log_in(password=NEW)

    assert answer.location.startswith("/user/f2_timebasedotp/otp")


async def test_what_is_no_address_is_told_at_once(site: Site) -> None:
    person = site.person()

    page = await person.send((await person.get("/user/auth_userpassword/pwrecover")).form(), name="no\u200baddress")

    assert page.status == 400
    assert "valid e-mail address" in page.text or "characters that are not accepted" in page.text


# --- Registration -----------------------------------------------------------------------------------------------------


async def register(site: Site, person: Person, name: str = BOB, password: str = NEW) -> Page:
    page = await person.get("/user/auth_userpassword/add")
    return await person.send(page.form(), name=name, password=password, firstname="Bob")


async def test_registration_is_not_there_unless_it_is_switched_on(site: Site) -> None:
    person = site.person()

    assert (await person.get("/user/auth_userpassword/add")).status == 404
    assert (await person.post("/user/auth_userpassword/add", {"skey": await person.skey()})).status == 404
    assert "Create an account" not in (await person.get("/user/login")).text


async def test_a_new_account_without_checks_can_log_in_at_once() -> None:
    site = await make_site(registering(mail=False, admin=False))
    person = site.person()

    page = await register(site, person)

    assert "You can log in now" in page.text
    assert (await person.log_in(BOB, NEW)).location == "/user/view/self"


async def test_a_new_account_that_is_looked_at_waits_for_an_administrator() -> None:
    site = await make_site(registering(mail=False, admin=True))
    person = site.person()

    page = await register(site, person)
    refused = await person.log_in(BOB, NEW)
    await site.app.administration.activate(BOB)
    accepted = await person.log_in(BOB, NEW)

    assert "look at every new account" in page.text
    assert refused.status == 200
    assert accepted.status == 303


async def test_a_new_account_confirms_its_address_by_a_button_behind_the_mailed_link() -> None:
    site = await make_site(registering(mail=True, admin=False))
    person = site.person()
    page = await register(site, person)
    await site.run_tasks()

    link = await person.get(site.link())
    early = await person.log_in(BOB, NEW)
    done = await person.send(link.form())
    late = await person.log_in(BOB, NEW)

    assert "A mail is on its way" in page.text
    assert early.status == 200, "looking at the link confirms nothing"
    assert done.status == 200
    assert late.status == 303


async def test_with_both_switches_the_administrator_comes_after_the_mail() -> None:
    site = await make_site(registering(mail=True, admin=True))
    person = site.person()
    await register(site, person)
    await site.run_tasks()

    done = await person.send((await person.get(site.link())).form())
    waiting = await person.log_in(BOB, NEW)

    assert "mail" in done.text or "look at" in done.text
    assert waiting.status == 200
    assert (await site.app.administration.find(BOB)).status == Status.WAITING_FOR_ADMIN_VERIFICATION


async def test_a_link_confirms_once() -> None:
    site = await make_site(registering(mail=True, admin=False))
    person = site.person()
    await register(site, person)
    await site.run_tasks()
    form = (await person.get(site.link())).form()
    await person.send(form)

    again = await person.send(form)

    assert again.status == 412
    assert "This link does not work any more" in again.text
    assert "/user/auth_userpassword/resend" in again.text


async def test_a_lost_mail_can_be_asked_for_again() -> None:
    site = await make_site(registering(mail=True, admin=False))
    person = site.person()
    await register(site, person)
    await site.run_tasks()
    site.clock.pass_by(timedelta(hours=1))

    page = await person.send((await person.get("/user/auth_userpassword/resend")).form(), name=BOB)
    await site.run_tasks()
    done = await person.send((await person.get(site.link())).form())

    assert page.status == 200
    assert len(site.outbox.mails) == 2
    assert done.status == 200


async def test_a_taken_name_is_told_only_where_no_mail_could_tell_it() -> None:
    told = await make_site(registering(mail=False, admin=False))
    silent = await make_site(registering(mail=True, admin=False))
    for site in (told, silent):
        await site.account(BOB)

    loud = await register(told, told.person())
    quiet = await register(silent, silent.person())

    assert loud.status == 409
    assert "This name is taken" in loud.text
    assert quiet.status == 200
    assert "A mail is on its way" in quiet.text


async def test_a_form_with_a_mistake_comes_back_with_what_was_typed() -> None:
    site = await make_site(registering())
    person = site.person()

    page = await register(site, person, password="short")

    assert page.status == 400
    assert page.form().values["name"] == BOB
    assert page.form().values["firstname"] == "Bob"
    assert page.form().values["password"] == ""


async def test_an_account_is_set_up_by_the_link_of_an_operator(site: Site) -> None:
    await site.account(password=None)
    link = await site.app.administration.setup_link(ADA)
    person = site.person()

    page = await person.get(link)
    done = await person.send(page.form(), password=NEW)

    assert done.status == 200
    assert (await person.log_in(password=NEW)).status == 303


# --- Every page -------------------------------------------------------------------------------------------------------


async def pages(site: Site) -> dict[str, Page]:
    """Return every page that shows something, as somebody who is logged in with an app, or not at all."""
    await site.account()
    owner = await site.logged_in()
    found = {path: await owner.get(path) for path in ("/user/f2_timebasedotp/add", "/user/f2_timebasedotp/remove")}
    _, found["codes"] = await enrol(site, owner)
    for path in (
        "/user/view/self",
        "/user/edit/self",
        "/user/logout",
        "/user/auth_userpassword/change",
        "/user/f2_recoverycode/add",
        "/user/login?reauthenticate=1",
        "/user/view/nobody",
    ):
        found[path + " (logged in)"] = await owner.get(path)
    person, found["step"] = await site.pending()
    found["other step"] = await person.follow(await person.get("/user/f2_recoverycode/start"))
    found["wrong code"] = await person.send(found["step"].form("otp"), otptoken=site.wrong_code())
    stranger = site.person()
    for path in (
        "/user/login",
        "/user/auth_userpassword/login",
        "/user/auth_userpassword/pwrecover",
        "/user/auth_userpassword/pwrecover?step=key",
        "/user/auth_userpassword/pwrecover?recovery_key=a.b",
        "/user/auth_userpassword/verify?skey=a.b",
        "/user/auth_userpassword/setup?setup_key=a.b",
        "/user/auth_userpassword/resend",
        "/user/auth_userpassword/add",
        "/nothing",
        "/user/f2_timebasedotp/otp",
    ):
        found[path] = await stranger.get(path)
    found["wrong password"] = await stranger.log_in(password="wrong")
    found["wrong skey"] = await stranger.post("/user/auth_userpassword/login", {"name": ADA})
    found["out"] = await owner.send((await owner.get("/user/logout")).form("logout"))
    return found


async def test_every_page_has_a_title_one_heading_a_language_and_labels_for_its_inputs() -> None:
    for name, page in (await pages(await make_site(registering()))).items():
        text = page.text
        assert re.search(r"<title>\s*\S[^<]*</title>", text), name
        assert text.count("<h1") == 1, name
        assert re.search(r"<h1>\s*\S[^<]*</h1>", text), name
        assert '<html lang="en">' in text, name
        labelled = set(re.findall(r'<label for="([^"]+)"', text))
        inputs = re.findall(r"<(?:input|select)\b[^>]*>", text)
        shown = {found[1] for tag in inputs if (found := re.search(r'\bid="([^"]+)"', tag))}
        without = [tag for tag in inputs if 'type="hidden"' not in tag and ' id="' not in tag]
        assert shown <= labelled, name
        assert not without, name
        ids = re.findall(r'\bid="([^"]+)"', text)
        assert len(ids) == len(set(ids)), name


async def test_no_page_needs_a_script_or_anything_from_elsewhere() -> None:
    for name, page in (await pages(await make_site(registering()))).items():
        assert "<script" not in page.text, name
        assert not re.search(r"\son\w+=|\sstyle=|<style|javascript:", page.text), name
        for address in re.findall(r'(?:src|href|action)="([^"]*)"', page.text):
            # Of ours, of the page itself, no icon, the picture of a secret, or the app on the same device.
            assert address.startswith(("/user/", "#", "data:,", "data:image/png;", "otpauth://")), (name, address)


async def test_every_form_is_posted_with_an_skey() -> None:
    for name, page in (await pages(await make_site(registering()))).items():
        assert page.text.count("<form") == len(re.findall(r'<form[^>]*method="post"', page.text)), name
        assert all(form.values.get("skey") for form in page.forms), name


async def test_password_managers_are_told_which_field_is_which() -> None:
    site = await make_site(registering())
    person = site.person()

    login = (await person.get("/user/login")).text
    register_page = (await person.get("/user/auth_userpassword/add")).text

    assert 'autocomplete="username"' in login
    assert 'autocomplete="current-password"' in login
    assert 'autocomplete="new-password"' in register_page
    assert 'type="password"' in login


async def test_the_pages_of_a_second_step_ask_for_a_one_time_code(site: Site) -> None:
    await site.account_with_totp()

    _, page = await site.pending()

    assert 'autocomplete="one-time-code"' in page.text
    assert 'inputmode="numeric"' in page.text


@pytest.mark.parametrize("path", ["/user/login", "/user/view/self", "/nothing", "/user/auth_userpassword/pwrecover"])
async def test_head_answers_like_get_without_a_body(site: Site, path: str) -> None:
    await site.account()
    person = await site.logged_in()

    shown, head = await person.get(path), await person.request("HEAD", path)

    assert head.status == shown.status
    assert head.body == b""
    assert abs(int(head.header("content-length")) - len(shown.body)) < 40, "skeys differ in few characters"
    assert {name for name, _ in head.headers} == {name for name, _ in shown.headers}
