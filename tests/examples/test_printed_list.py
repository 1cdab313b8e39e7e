"""The printed list: codes in their order, each once, a list that is made and lost and used up."""

from __future__ import annotations

import hmac
import re
from dataclasses import replace
from pathlib import Path

import pytest

from authflow.model import Credential
from authflow.provider import Charge, Enrolled, Rejected, Submission, Verified
from authflow.records import credential_key
from examples.printed_list import AHEAD, CODES, MyUser, PrintedList
from tests.providers.context import NOON, Context
from tests.web_kit import Page, Person, Site, make_site

TEMPLATES = str(Path(__file__).parents[2] / "examples" / "templates")
SECRET = bytes(range(20))
PROVIDER = PrintedList()
LIST = [str(code) for code in PROVIDER.show_enrolment({"secret": SECRET.hex()}, Context()).params["codes"]]


def credential(used: int = 1) -> Credential:
    return Credential("an-account", "printed_list", NOON, NOON, {"used": used}, SECRET)


async def answer(code: str, kept: Credential | None):
    return await PROVIDER.answer(kept, Submission({"otptoken": code}), Context())


# --- The judgement ----------------------------------------------------------------------------------------------------


async def test_the_next_code_is_right_and_voids_itself_and_those_above_it() -> None:
    first = await answer(LIST[3], credential(used=1))

    assert isinstance(first, Verified)
    assert first.credential.data["used"] == 4
    for code in LIST[:4]:
        assert isinstance(await answer(code, first.credential), Rejected)
    assert isinstance(await answer(LIST[4], first.credential), Verified)


async def test_codes_far_down_the_list_are_not_yet_right() -> None:
    assert isinstance(await answer(LIST[AHEAD], credential(used=1)), Verified)
    assert await answer(LIST[AHEAD + 1], credential(used=1)) == Rejected("code_wrong")


async def test_the_code_that_was_just_used_counts_against_the_flow_alone() -> None:
    assert await answer(LIST[0], credential(used=1)) == Rejected("code_replayed", Charge.FLOW)


async def test_without_a_list_every_code_is_wrong_like_a_wrong_one() -> None:
    codes = PROVIDER.show_enrolment({"secret": bytes(20).hex()}, Context()).params["codes"]

    for code in (LIST[0], str(codes[0]), "000000"):
        assert await answer(code, None) == Rejected("code_wrong")


async def test_a_list_that_is_used_up_says_so() -> None:
    assert PROVIDER.remaining(credential(used=CODES)) == 0
    assert await answer(LIST[-1], credential(used=CODES)) == Rejected("list_used_up", Charge.FLOW)
    assert isinstance(await answer(LIST[-1], credential(used=CODES - 1)), Verified)


async def test_no_code_follows_the_last_one() -> None:
    digest = hmac.digest(SECRET, CODES.to_bytes(8, "big"), "sha256")
    beyond = str(int.from_bytes(digest, "big") % 10**6).zfill(6)

    assert await answer(beyond, credential(used=CODES - 1)) == Rejected("code_wrong")


@pytest.mark.parametrize(
    "typed",
    ["", " ", "12345", "1234567", "12a456", "１２３４５６", "١٢٣٤٥٦", "\ud80012345", "-12345", "1e3456", "0x1234",
     "123456\n", "\x00123456", "9" * 100_000],
)  # fmt: skip
async def test_what_is_no_code_is_not_judged(typed) -> None:
    assert await answer(typed, credential()) == Rejected("code_malformed", Charge.NOTHING)


async def test_a_code_may_be_typed_as_it_is_printed() -> None:
    assert isinstance(await answer(f" {LIST[1][:3]} {LIST[1][3:]} ", credential()), Verified)


async def test_every_list_is_another() -> None:
    lists = [PROVIDER.begin_enrolment(Context()).params["codes"] for _ in range(3)]

    assert all(len(codes) == CODES for codes in lists)
    assert len({tuple(codes) for codes in lists}) == 3


async def confirm(code: str, secret: bytes = SECRET):
    return await PROVIDER.answer_enrolment(Submission({"otptoken": code}, {"secret": secret.hex()}), Context())


async def test_the_first_code_confirms_the_list_and_is_spent_by_that() -> None:
    enrolled = await confirm(LIST[0])

    assert isinstance(enrolled, Enrolled)
    assert isinstance(await answer(LIST[0], enrolled.credential), Rejected)
    assert isinstance(await answer(LIST[1], enrolled.credential), Verified)


async def test_another_code_than_the_first_confirms_nothing() -> None:
    for code in LIST[1:]:
        assert await confirm(code) == Rejected("code_wrong", Charge.FLOW)


async def test_a_secret_of_another_length_is_none_of_ours() -> None:
    short = bytes(range(8))
    codes = PROVIDER.show_enrolment({"secret": short.hex()}, Context()).params["codes"]

    assert isinstance(await confirm(str(codes[0]), short), Rejected)


@pytest.mark.parametrize("notes", [{}, {"secret": "zz"}, {"secret": ""}, {"secret": "00"}, {"secret": None}])
async def test_a_confirmation_without_a_list_enrols_nothing(notes) -> None:
    found = await PROVIDER.answer_enrolment(Submission({"otptoken": LIST[0]}, notes), Context())

    assert isinstance(found, Rejected)


async def test_a_damaged_credential_is_none() -> None:
    assert PROVIDER.can_handle(credential())
    assert not PROVIDER.can_handle(replace(credential(), secret=b""))
    assert not PROVIDER.can_handle(replace(credential(), data={}))


# --- By the pages -----------------------------------------------------------------------------------------------------


@pytest.fixture
async def site() -> Site:
    return await make_site(MyUser(), templates=TEMPLATES)


def printed(page: Page) -> list[str]:
    return [a + b for a, b in re.findall(r"<li>\d\d\. (\d{3}) (\d{3})</li>", page.text)]


async def add(person: Person) -> tuple[Page, list[str]]:
    page = await person.send((await person.get("/user/f2_printedlist/add")).form("add"))
    return page, printed(page)


async def with_list(site: Site) -> list[str]:
    person = await site.logged_in()
    page, codes = await add(person)
    page = await person.send(page.form("add"), otptoken=codes[0])
    assert "recovery codes" in page.text
    return codes


async def log_in(site: Site, code: str) -> Page:
    person = site.person()
    page = await person.follow(await person.log_in())
    assert "Take your printed list" in page.text
    return await person.send(page.form("f2_printedlist"), otptoken=code)


async def test_somebody_prints_a_list_and_logs_in_by_it(site) -> None:
    account = await site.account()
    codes = await with_list(site)

    assert (await site.kit.account_now(account)).factors == ("printed_list",)
    assert (await log_in(site, codes[1])).location == "/user/view/self"
    assert (await log_in(site, codes[2])).location == "/user/view/self"
    assert "not the next code" in (await log_in(site, codes[1])).text


async def test_a_mistyped_code_shows_the_same_list_again(site) -> None:
    await site.account()
    person = await site.logged_in()
    page, codes = await add(person)

    again = await person.send(page.form("add"), otptoken="000000" if codes[0] != "000000" else "111111")

    assert "not the next code" in again.text
    assert printed(again) == codes
    assert "recovery codes" in (await person.send(again.form("add"), otptoken=codes[0])).text


async def test_nothing_that_is_stored_tells_the_codes(site) -> None:
    account = await site.account()
    codes = await with_list(site)
    key = credential_key(account.id, "printed_list")

    kept = repr((await site.kit.memory.get((key,)))[key].data)

    assert not any(code in kept for code in codes)


async def test_the_pages_name_no_code_but_while_the_list_is_made(site) -> None:
    await site.account()
    codes = await with_list(site)
    person = site.person()

    page = await person.follow(await person.log_in())

    assert not any(code in page.text for code in codes)
    assert printed(page) == []
