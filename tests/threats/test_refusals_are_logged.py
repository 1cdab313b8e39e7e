"""Who was refused leaves a line in the log that says who, where and why, and nothing that was typed."""

from __future__ import annotations

import json
import logging

import pytest

from authflow.testing import ADA, Person, Site, make_site

BOB = "bob@example.org"


@pytest.fixture
async def site() -> Site:
    return await make_site()


def refusals(caplog: pytest.LogCaptureFixture) -> list[dict]:
    lines = [json.loads(r.getMessage()) for r in caplog.records if r.name == "authflow.audit"]
    return [line for line in lines if line["type"] == "request_refused"]


async def test_a_right_that_is_missing_is_logged_with_who_and_where(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    bob, ada = await site.account(BOB), await site.account()
    person = await site.logged_in()
    caplog.set_level(logging.INFO, "authflow.audit")

    page = await person.get(f"/json/user/view/{bob.id}")

    assert page.status == 404
    (line,) = refusals(caplog)
    assert (line["account_id"], line["reason"], line["details"]["route"]) == (ada.id, "withheld", "/json/user/view/")
    assert bob.id not in str(line)


async def test_what_is_not_there_is_no_refusal(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    await site.account()
    person = await site.logged_in()
    caplog.set_level(logging.INFO, "authflow.audit")

    assert (await person.get("/json/user/view/nobody")).status == 404
    assert (await person.get("/there/is/nothing")).status == 404

    assert refusals(caplog) == []


@pytest.mark.parametrize("prefix", ["", "/json", "/vi"])
async def test_a_forged_request_is_logged(site: Site, caplog: pytest.LogCaptureFixture, prefix: str) -> None:
    await site.account()
    person = await site.logged_in()
    caplog.set_level(logging.INFO, "authflow.audit")

    page = await person.post(f"{prefix}/user/logout", {"skey": "canary-of-a-forged-key"})

    assert page.status == 412
    (line,) = refusals(caplog)
    assert (line["reason"], line["details"]["method"]) == ("skey_invalid", "POST")
    assert "canary" not in caplog.text


async def test_a_step_that_nobody_opened_and_a_limit_are_logged(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    await site.account()
    person = Person(site.edge)
    caplog.set_level(logging.INFO, "authflow.audit")

    await person.json_post("/json/user/f2_timebasedotp/otp", otptoken="123456")
    for _ in range(11):
        await person.json_post("/json/user/auth_userpassword/login", name=ADA, password="canary of a wrong one")

    assert [line["reason"] for line in refusals(caplog)] == ["flow_invalid", "too_many_attempts"]
    assert "canary" not in caplog.text
