"""Removing a factor, renewing codes, and what the profile page says."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from authflow.errors import Forbidden, NotAuthenticated, NotFound, ReauthenticationRequired
from authflow.records import account_key
from authflow.results import Changed, LoggedIn
from authflow.store.protocol import Put
from tests.enrolment.scene import Person


async def fresh(person: Person) -> Person:
    """Log in with both factors."""
    await person.logs_in()
    await person.gives(person.totp, person.code())
    return person


async def test_a_removed_factor_is_not_asked_for_any_more(ada_with_app: Person) -> None:
    ada = await fresh(ada_with_app)

    changed = await ada.enrolment.remove(ada.totp, ada.visitor, await ada.current())

    assert changed.account.factors == ()
    assert isinstance(await ada.logs_in(), LoggedIn)


async def test_with_the_last_factor_go_the_codes_that_stand_in_for_it(ada_with_app: Person) -> None:
    ada = await fresh(ada_with_app)

    await ada.enrolment.remove(ada.totp, ada.visitor, await ada.current())

    assert {record.data["provider"] for record in await ada.kit.records("credential")} == {"user_password"}


async def test_removing_ends_other_sessions_and_tells_the_owner(ada_with_app: Person) -> None:
    ada = await fresh(ada_with_app)
    elsewhere = Person(ada.kit, ada.account, "browser-2")
    elsewhere.secret = ada.secret
    ada.kit.clock.pass_by(timedelta(minutes=1))
    await fresh(elsewhere)

    changed = await ada.enrolment.remove(ada.totp, ada.visitor, await ada.current())

    templates = [record.data["payload"]["template"] for record in await ada.kit.records("outbox")]
    assert "factor_removed" in templates
    assert await elsewhere.current() is None
    ada.has_session(changed.session)
    assert await ada.current() is not None


async def test_a_session_that_is_not_fresh_removes_nothing(ada_with_app: Person) -> None:
    with pytest.raises(ReauthenticationRequired):
        await ada_with_app.enrolment.remove(ada_with_app.totp, ada_with_app.visitor, await ada_with_app.current())


async def test_a_session_without_a_second_factor_removes_nothing(ada: Person) -> None:
    # The factor was handed out by an operator while this session, of the same epoch by accident, went on.
    await ada.logs_in()
    current = await ada.current()
    assert current is not None
    has_factor = replace(current.account, factors=("time_based_otp",))
    await ada.kit.memory.commit((Put(account_key(has_factor.id), has_factor.to_data()),))

    with pytest.raises(ReauthenticationRequired):
        await ada.enrolment.remove(ada.totp, ada.visitor, await ada.current())


async def test_a_recovery_code_is_a_second_factor_when_the_app_is_lost(ada: Person) -> None:
    codes = (await ada.enrols()).codes
    await ada.logs_in()
    await ada.gives(ada.codes, codes[0])

    changed = await ada.enrolment.remove(ada.totp, ada.visitor, await ada.current())

    assert changed.account.factors == ()


async def test_a_factor_that_is_not_there_cannot_be_removed(ada: Person) -> None:
    await ada.logs_in()

    with pytest.raises(NotFound):
        await ada.enrolment.remove(ada.totp, ada.visitor, await ada.current())


async def test_nobody_removes_nothing(ada: Person) -> None:
    with pytest.raises(NotAuthenticated):
        await ada.enrolment.remove(ada.totp, ada.visitor, None)


async def test_of_many_removals_at_once_one_wins(ada_with_app: Person) -> None:
    ada = await fresh(ada_with_app)
    current = await ada.current()

    removals = (ada.enrolment.remove(ada.totp, ada.visitor, current) for _ in range(10))
    results = await asyncio.gather(*removals, return_exceptions=True)

    assert sum(isinstance(result, Changed) for result in results) == 1
    assert all(isinstance(result, Changed | NotAuthenticated) for result in results)


# --- Codes ------------------------------------------------------------------------------------------------------------


async def test_renewed_codes_take_the_place_of_the_old_ones(ada: Person) -> None:
    old = (await ada.enrols()).codes

    changed = await ada.enrolment.renew_codes(ada.codes, ada.visitor, await ada.current())

    assert len(changed.codes) == 10
    assert not set(old) & set(changed.codes)
    await ada.logs_in()
    assert isinstance(await ada.gives(ada.codes, changed.codes[0]), LoggedIn)


async def test_codes_without_a_factor_are_refused(ada: Person) -> None:
    await ada.logs_in()

    with pytest.raises(Forbidden) as refused:
        await ada.enrolment.renew_codes(ada.codes, ada.visitor, await ada.current())

    assert refused.value.code == "factor_missing"


async def test_codes_are_renewed_by_a_fresh_login_alone(ada_with_app: Person) -> None:
    with pytest.raises(ReauthenticationRequired):
        await ada_with_app.enrolment.renew_codes(ada_with_app.codes, ada_with_app.visitor, await ada_with_app.current())


async def test_a_used_code_is_told_to_its_owner(ada: Person) -> None:
    codes = (await ada.enrols()).codes
    await ada.logs_in()

    await ada.gives(ada.codes, codes[3])

    notices = [record.data["payload"] for record in await ada.kit.records("outbox")]
    used = [notice for notice in notices if notice["template"] == "recovery_code_used"]
    assert used == [{"template": "recovery_code_used", "account_id": ada.account.id, "remaining": 9}]


# --- The profile page -------------------------------------------------------------------------------------------------


async def test_the_profile_says_what_is_enrolled_and_how_many_codes_are_left(ada: Person) -> None:
    await ada.enrols()
    current = await ada.current()
    assert current is not None

    lines = {line.provider.name: line for line in ada.enrolment.status(current)}

    assert lines["time_based_otp"].is_enrolled
    assert lines["time_based_otp"].detail is not None
    assert lines["time_based_otp"].detail.enrolled_at == ada.kit.clock()
    assert lines["recovery_codes"].detail is not None
    assert lines["recovery_codes"].detail.remaining == 10


async def test_the_profile_says_what_is_not_enrolled(ada: Person) -> None:
    await ada.logs_in()
    current = await ada.current()
    assert current is not None

    lines = ada.enrolment.status(current)

    assert [(line.provider.name, line.is_enrolled, line.detail) for line in lines] == [
        ("time_based_otp", False, None),
        ("recovery_codes", False, None),
    ]
