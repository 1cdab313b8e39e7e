"""While a new version is rolled out, a login meets both: it ends under what both demand, or is told to start again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from authflow.flow import FlowKind, Owing, Step, StepKind
from authflow.sealing import is_reference
from authflow.user import User
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
    return Rollout(first, await make_site(new, store=kit.memory))


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


def test_what_names_a_flow_is_told_by_its_look() -> None:
    assert is_reference("t.anything")
    assert is_reference("s.flow.subject")
    assert not is_reference("s.flow")
    assert not is_reference("")
