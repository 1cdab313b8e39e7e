"""A code out of band: in the mail and nowhere else, for one person, one step and ten minutes.

What the README tells of it is tried in `tests/test_readme.py`.
"""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from authflow.model import Credential
from authflow.provider import Rejected, Submission, Verified
from examples.code_by_mail import CodeByMail, MyUser
from tests.providers.context import NOON, Context, account_named
from tests.web_kit import Page, Person, Site, make_site

TEMPLATES = str(Path(__file__).parents[2] / "examples" / "templates")
PROVIDER = CodeByMail()
KEPT = Credential("an-account", "code_by_mail", NOON, NOON)


@pytest.fixture
async def site() -> Site:
    return await make_site(MyUser(), templates=TEMPLATES)


async def newest_code(site: Site) -> str:
    await site.run_tasks()
    codes = [found[1] for mail in site.outbox.mails if (found := re.search(r"^\s+(\d{6})$", mail.text, re.M))]
    return codes[-1]


async def with_factor(site: Site, name: str = "ada@example.org") -> None:
    await site.account(name)
    person = await site.logged_in(name)
    page = await person.send((await person.get("/user/f2_codebymail/add")).form("add"))
    assert "so that we know that it arrives" in page.text
    done = await person.send(page.form("add"), otptoken=await newest_code(site))
    assert "recovery codes" in done.text


async def asked(site: Site, name: str = "ada@example.org") -> tuple[Person, Page]:
    person = site.person()
    page = await person.follow(await person.log_in(name))
    assert "We have just sent a code" in page.text
    return person, page


@pytest.mark.parametrize(
    "typed",
    ["", " ", "0", "000000 0", "None", "[]", "\x00", "１２３４５６", "9" * 100_000, "' OR 1=1 --"],
    ids=lambda text: ascii(text[:12]),
)
async def test_nothing_and_nonsense_prove_nothing(typed) -> None:
    assert await PROVIDER.answer(KEPT, Submission({"otptoken": typed}), Context()) == Rejected("code_wrong")


async def test_the_code_of_another_step_flow_or_house_proves_nothing() -> None:
    code = Context().code()
    assert isinstance(await PROVIDER.answer(KEPT, Submission({"otptoken": code}), Context()), Verified)

    for other in (Context(step=2), Context(flow_id="another"), Context(keys=(b"another key",))):
        assert await PROVIDER.answer(KEPT, Submission({"otptoken": code}), other) == Rejected("code_wrong")


async def test_without_the_factor_the_right_code_is_wrong_like_a_wrong_one() -> None:
    context = Context(account=account_named("ada@example.org"))

    assert await PROVIDER.answer(None, Submission({"otptoken": context.code()}), context) == Rejected("code_wrong")


async def test_a_code_is_good_for_ten_minutes(site) -> None:
    await with_factor(site)
    person, page = await asked(site)
    code = await newest_code(site)
    site.clock.pass_by(timedelta(minutes=10))

    late = await person.send(page.form("f2_codebymail"), otptoken=code)

    assert late.status == 408
    assert (await person.get("/user/view/self")).status == 303


async def test_what_was_mailed_to_one_person_is_nothing_for_another(site) -> None:
    await with_factor(site)
    await with_factor(site, "eve@example.org")
    await asked(site, "eve@example.org")
    code = await newest_code(site)
    ada, page = await asked(site)

    refused = await ada.send(page.form("f2_codebymail"), otptoken=code)

    assert "not the code from our last mail" in refused.text


async def test_the_code_is_in_the_mail_and_nowhere_else(site, caplog) -> None:
    caplog.set_level("DEBUG")
    await with_factor(site)
    _, page = await asked(site)
    waiting = [
        record.data for kind in ("session", "outbox", "event", "credential") for record in await site.kit.records(kind)
    ]
    code = await newest_code(site)

    assert any(code in mail.text for mail in site.outbox.mails)
    assert code not in json.dumps(waiting, default=str)
    assert code not in page.text
    assert code not in caplog.text
