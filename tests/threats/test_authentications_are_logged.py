"""Every authentication, done or refused, is in the log and in the store, with its factors (ASVS 5.0.0: 16.3.1)."""

from __future__ import annotations

import json
import logging

import pytest

from authflow.testing import ADA, Person, Site, make_site


@pytest.fixture
async def site() -> Site:
    return await make_site()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.INFO, "authflow.audit")

    def read(*types: str) -> list[dict]:
        found = [json.loads(r.getMessage()) for r in caplog.records if r.name == "authflow.audit"]
        return [line for line in found if line["type"] in types]

    return read


async def test_a_login_tells_who_from_where_and_by_which_factors(site: Site, lines) -> None:
    ada = await site.account()

    await site.logged_in()

    (line,) = lines("login_completed")
    assert line["account_id"] == ada.id
    assert line["details"]["factors"] == ["user_password"]
    assert line["client"]
    assert line["at"]


async def test_a_login_with_a_second_factor_tells_both(site: Site, lines) -> None:
    await site.account_with_totp()

    await site.logged_in(with_code=True)

    (first,), (done,) = lines("first_factor_verified"), lines("login_completed")
    assert first["details"]["factors"] == ["user_password"]
    assert done["details"]["factors"] == ["user_password", "time_based_otp"]


async def test_a_wrong_password_and_a_wrong_code_are_told_and_not_what_was_typed(
    site: Site, lines, caplog: pytest.LogCaptureFixture
) -> None:
    ada = await site.account_with_totp()
    stranger = Person(site.edge)
    await stranger.log_in(ADA, "canary of a wrong password")
    person, _ = await site.pending()
    wrong = site.wrong_code()
    await person.json_post("/json/user/f2_timebasedotp/otp", otptoken=wrong)

    (password,), (code,) = lines("login_refused"), lines("second_factor_refused")

    assert (password["account_id"], password["provider"]) == (ada.id, "user_password")
    assert (code["account_id"], code["provider"]) == (ada.id, "time_based_otp")
    assert "canary" not in caplog.text
    assert f'"{wrong}"' not in caplog.text


async def test_what_is_logged_is_in_the_store(site: Site, lines) -> None:
    await site.account()
    await site.logged_in()

    (line,) = lines("login_completed")

    stored = [record.data for record in await site.kit.records("event") if record.data["type"] == "login_completed"]
    assert [data["at"] for data in stored] == [line["at"]]
