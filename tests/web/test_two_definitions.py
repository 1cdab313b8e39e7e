"""While a new version is rolled out, a login meets both: it ends under what both demand, or is told to start again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from authflow.flow import FlowKind, Owing, Step, StepKind
from authflow.sealing import is_reference
from authflow.user import User
from providers.time_based_otp import TimeBasedOTP
from providers.user_password import UserPassword
from tests.engine_kit import PASSWORD, Kit
from tests.two_definitions import Word
from tests.web_kit import ADA, Page, Person, Site, make_site

SENTENCE = "This site was updated while you were logging in. Please start again."


class Unchanged(User):
    pass


class Patient(User):
    """The same steps; another definition all the same."""

    floors = ("first", "second")


class WithoutApps(User):
    second_factor_providers = ()
    valid_authentication_methods = (("user_password", None),)


class WithWord(User):
    """Asks for the word too, in the same breath as the password."""

    authentication_providers = (UserPassword, Word)
    valid_authentication_methods = (("user_password", "time_based_otp"), ("user_password", None), ("word", None))

    def remaining_steps(self, kind, proofs, standing):
        if kind is FlowKind.LOGIN and not proofs:
            return Owing((Step(StepKind.PROVE, ("user_password",)), Step(StepKind.PROVE, ("word",))))
        return super().remaining_steps(kind, proofs, standing)


@dataclass
class Rollout:
    """Two versions of a site on one store."""

    old: Site
    new: Site

    def close(self) -> None:
        for site in (self.old, self.new):
            site.app.services.pool.close()


async def rollout(old: User, new: User) -> Rollout:
    first = await make_site(old)
    kit: Kit = first.kit
    return Rollout(first, await make_site(new, store=kit.memory, clock=first.clock))


@pytest.fixture
async def alike() -> AsyncIterator[Rollout]:
    made = await rollout(Unchanged(), Patient())
    yield made
    made.close()


@pytest.fixture
async def without_apps() -> AsyncIterator[Rollout]:
    made = await rollout(Unchanged(), WithoutApps())
    yield made
    made.close()


@pytest.fixture
async def with_word() -> AsyncIterator[Rollout]:
    made = await rollout(WithWord(), Unchanged())
    yield made
    made.close()


def went_over(person: Person, site: Site) -> Person:
    person.edge = site.edge
    return person


def says_start_again(page: Page) -> bool:
    return page.status == 412 and SENTENCE in page.text and "definition_changed" in page.text


async def test_a_login_goes_on_under_a_definition_that_demands_the_same(alike: Rollout) -> None:
    await alike.old.account_with_totp()
    person, page = await alike.old.pending()

    done = await went_over(person, alike.new).send(page.form("otp"), otptoken=alike.new.code())

    assert done.location == "/user/view/self"
    assert (await went_over(person, alike.old).get("/user/view/self")).status == 200


async def test_a_login_page_of_one_version_is_good_at_the_other_and_leads_where_it_should(alike: Rollout) -> None:
    await alike.old.account()
    person = alike.old.person()
    page = await person.get("/user/login?next=/wanted")

    done = await went_over(person, alike.new).send(page.form("login"), name=ADA, password=PASSWORD)

    assert done.location == "/wanted"


async def test_each_version_may_serve_any_request_of_a_login(alike: Rollout) -> None:
    await alike.old.account_with_totp()
    person = alike.old.person()
    page = await person.get("/user/login")
    page = await went_over(person, alike.new).send(page.form("login"), name=ADA, password=PASSWORD)
    page = await went_over(person, alike.old).get(page.location)
    page = await went_over(person, alike.new).send(page.form("otp"), otptoken=alike.new.wrong_code())
    assert page.status == 200

    done = await went_over(person, alike.old).send(page.form("otp"), otptoken=alike.old.code())

    assert done.location == "/user/view/self"


async def test_a_step_that_the_other_version_does_not_know_ends_with_a_clear_page(without_apps: Rollout) -> None:
    await without_apps.old.account_with_totp()
    person, page = await without_apps.old.pending()

    told = await went_over(person, without_apps.new).send(page.form("otp"), otptoken=without_apps.old.code())

    assert says_start_again(told)
    assert "Start again" in told.text
    assert 'href="/user/login"' in told.text


async def test_what_the_other_version_sees_no_way_on_for_is_said_once(without_apps: Rollout) -> None:
    await without_apps.old.account_with_totp()
    person, _ = await without_apps.old.pending()

    told = await went_over(person, without_apps.new).get("/user/select_secondfactor_provider")

    assert told.status == 406
    assert "factor_unavailable" in told.text


@pytest.mark.parametrize("prefix", ["/json", "/vi", "/admin"])
async def test_programs_are_told_a_code(without_apps: Rollout, prefix: str) -> None:
    await without_apps.old.account_with_totp()
    person = without_apps.old.person()
    await person.json_post("/json/user/auth_userpassword/login", name=ADA, password=PASSWORD)
    pending = await person.get("/json/user/f2_timebasedotp/otp")
    went_over(person, without_apps.new)

    told = await person.post(
        f"{prefix}/user/f2_timebasedotp/otp",
        {"skey": await person.skey(), "otptoken": "123456", "flow": pending.json["params"]["flow"]},
    )

    assert told.status == 412
    assert (told.json["code"], told.json["descr"]) == ("definition_changed", SENTENCE)


async def test_what_is_not_there_stays_not_found_for_who_names_no_flow(without_apps: Rollout) -> None:
    person = without_apps.new.person()

    for path in ("/user/f2_timebasedotp/otp", "/json/user/f2_timebasedotp/otp", "/elsewhere?flow=s.a.b"):
        assert (await person.get(path)).status == 404
    assert (await person.get("/user/f2_timebasedotp/otp?flow=nothing")).status == 404


async def test_a_first_form_that_cannot_go_on_comes_back_with_the_name_and_without_the_password(
    with_word: Rollout,
) -> None:
    await with_word.old.account()
    person = with_word.old.person()
    page = await person.get("/user/login?next=/wanted")

    told = await went_over(person, with_word.new).send(page.form("userpassword"), name=ADA, password=PASSWORD)

    assert told.status == 412
    assert SENTENCE in told.text
    assert (told.form("userpassword").values["name"], PASSWORD in told.text) == (ADA, False)
    done = await person.send(told.form("userpassword"), name=ADA, password=PASSWORD)
    assert done.location == "/wanted"


# --- A factor that is owed, and which one -----------------------------------------------------------------------------


class SecondApp(TimeBasedOTP):
    name, label, path, method_name = "second_app", "Second app", "f2_secondapp", "X-SECOND"


def requiring(*apps: str, offered: tuple[type[TimeBasedOTP], ...] = (TimeBasedOTP, SecondApp)) -> User:
    """Return a definition by which an editor must have one of these apps."""

    class Requiring(User):
        authentication_providers = (UserPassword,)
        second_factor_providers = offered
        second_factor_required_roles = frozenset({"editor"})
        valid_authentication_methods = (*(("user_password", app) for app in apps), ("user_password", None))

    return Requiring()


async def test_a_page_of_an_owed_factor_says_why_the_other_version_cannot_go_on() -> None:
    made = await rollout(requiring("time_based_otp"), requiring("second_app"))
    await made.old.account(roles=("editor",))
    person = made.old.person()
    sent = await person.log_in(path="/user/login?next=/wanted")

    told = await went_over(person, made.new).get(sent.location)
    as_program = await person.get("/json" + sent.location)

    assert says_start_again(told)
    assert 'href="/user/login?next=/wanted"' in told.text
    assert (as_program.status, as_program.json["code"]) == (412, "definition_changed")
    assert (await went_over(person, made.old).get(sent.location)).status == 200
    made.close()


async def test_a_page_of_an_owed_factor_says_that_it_comes_too_late() -> None:
    made = await rollout(requiring("time_based_otp"), requiring("second_app"))
    await made.old.account(roles=("editor",))
    person = made.old.person()
    sent = await person.log_in()
    made.old.clock.pass_by(made.old.app.engine.user.second_factor_time_window)

    told = await person.get(sent.location)

    assert told.status == 408
    assert "too_late" in told.text
    made.close()


async def test_who_is_logged_in_sets_a_factor_up_whatever_became_of_a_login_that_owed_it() -> None:
    made = await rollout(requiring("time_based_otp"), requiring("second_app"))
    await made.old.account()
    owing = await made.old.account("bob@example.org", roles=("editor",))
    person = made.old.person()
    sent = await person.send((await person.get("/user/login")).form("login"), name=owing.name, password=PASSWORD)
    await person.log_in()

    page = await person.get(sent.location)

    assert page.status == 200
    assert page.form("add")
    made.close()


async def test_a_choice_of_what_only_the_other_version_offers_is_asked_for_anew() -> None:
    old, new = requiring("time_based_otp", "second_app"), requiring("time_based_otp", offered=(TimeBasedOTP,))
    made = await rollout(old, new)
    await made.old.account(roles=("editor",))
    person = made.old.person()
    page = await person.follow(await person.log_in())
    went_over(person, made.new)

    shown = await person.send(page.form("select"), provider="second_app")
    nothing = await person.post("/user/select_secondfactor_provider", {"skey": await person.skey(), "provider": "x"})

    assert shown.location.startswith("/user/f2_timebasedotp/add?flow=s.")
    assert (await person.follow(shown)).form("add")
    assert nothing.status == 404
    made.close()


@pytest.mark.parametrize("offered", [(TimeBasedOTP,), (TimeBasedOTP, SecondApp)], ids=["unknown", "in no method"])
async def test_a_choice_that_cannot_go_on_at_the_other_version_says_so(offered: tuple[type[TimeBasedOTP], ...]) -> None:
    class Elsewhere(TimeBasedOTP):
        name, label, path, method_name = "third_app", "Third app", "f2_thirdapp", "X-THIRD"

    old = requiring("second_app", "third_app", offered=(SecondApp, Elsewhere))
    made = await rollout(old, requiring("time_based_otp", offered=offered))
    await made.old.account(roles=("editor",))
    person = made.old.person()
    page = await person.follow(await person.log_in())

    told = await went_over(person, made.new).send(page.form("select"), provider="second_app")

    assert says_start_again(told)
    made.close()


async def test_a_choice_of_what_nobody_offers_is_not_found() -> None:
    made = await rollout(requiring("time_based_otp", "second_app"), Unchanged())
    await made.old.account(roles=("editor",))
    person = made.old.person()
    page = await person.follow(await person.log_in())

    assert (await person.send(page.form("select"), provider="elsewhere")).status == 404
    made.close()


def test_what_names_a_flow_is_told_by_its_look() -> None:
    assert is_reference("t.anything")
    assert is_reference("s.flow.subject")
    assert not is_reference("s.flow")
    assert not is_reference("")
