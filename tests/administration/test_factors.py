"""What operators do with second factors: the way out for people who are locked out, and hardware tokens."""

from __future__ import annotations

import pytest

from authflow.administration import Administration
from authflow.errors import AlreadyEnrolled, BadInput, NoMethodLeft, NotFound
from authflow.model import Account, Credential
from authflow.results import LoggedIn, StepOwed
from authflow.testing import Kit, browser
from providers.recovery_codes import CODES
from providers.time_based_otp import generate_otps

NAME = "ada@example.org"
SECRET = "3132333435363738393031323334353637383930"


async def account_with_token(kit: Kit, desk: Administration) -> Account:
    await kit.account(NAME)
    return await desk.add_token(NAME, "GA-0815", SECRET)


async def account_with_a_lost_factor(kit: Kit) -> Account:
    """An account whose factor's provider is gone."""
    now = kit.clock()
    account = await kit.account(NAME)
    return await kit.enrolled(account, Credential(account.id, "old_provider", now, now))


async def test_a_token_that_was_handed_out_is_asked_for(kit: Kit, desk: Administration) -> None:
    account = await account_with_token(kit, desk)
    owed = await kit.login(NAME)
    assert isinstance(owed, StepOwed)

    code = generate_otps(bytes.fromhex(SECRET), [int(kit.clock().timestamp()) // 60], digits=6, algorithm="SHA1")[0]
    visitor = browser(owed.session, account.id)
    result = await kit.engine.submit(kit.provider("time_based_otp"), {"otptoken": code}, visitor)

    assert isinstance(result, LoggedIn)


async def test_handing_out_a_token_ends_sessions_and_tells_the_owner(kit: Kit, desk: Administration) -> None:
    account = await kit.account(NAME)
    visitor = browser((await kit.login(NAME)).session, account.id)

    await desk.add_token(NAME, "GA-0815", SECRET)

    assert await kit.engine.sessions.current(visitor, kit.clock()) is None
    assert [r.data["payload"]["template"] for r in await kit.records("outbox")] == ["factor_added"]


async def test_a_second_token_of_one_kind_is_refused(kit: Kit, desk: Administration) -> None:
    await account_with_token(kit, desk)

    with pytest.raises(AlreadyEnrolled):
        await desk.add_token(NAME, "GA-0816", SECRET)


@pytest.mark.parametrize("secret", ["", "not hexadecimal", "31323334"])
async def test_a_bad_secret_is_refused(kit: Kit, desk: Administration, secret: str) -> None:
    account = await kit.account(NAME)

    with pytest.raises(BadInput) as refused:
        await desk.add_token(NAME, "GA-0815", secret)

    assert secret == "" or secret not in refused.value.detail
    assert (await kit.account_now(account)).factors == ()


async def test_factors_are_listed_with_how_they_stand(kit: Kit, desk: Administration) -> None:
    account = await account_with_token(kit, desk)
    now = kit.clock()
    codes = Credential(account.id, "recovery_codes", now, now, {"digests": ["a"] * 3, "used": CODES - 3})
    await kit.enrolled(account, codes, is_substitute=True)

    held = {factor.name: factor for factor in await desk.factors(NAME)}

    assert held["time_based_otp"].is_usable
    assert held["time_based_otp"].enrolled_at == now
    assert held["recovery_codes"].remaining == 3


async def test_a_factor_whose_provider_is_gone_is_listed_as_unusable(kit: Kit, desk: Administration) -> None:
    await account_with_a_lost_factor(kit)

    (held,) = await desk.factors(NAME)

    assert (held.name, held.method, held.is_usable) == ("old_provider", "", False)


async def test_removing_a_lost_factor_lets_its_owner_in_again(kit: Kit, desk: Administration) -> None:
    await account_with_a_lost_factor(kit)
    with pytest.raises(NoMethodLeft):
        await kit.login(NAME)

    await desk.remove_factor(NAME, "old_provider")

    assert isinstance(await kit.login(NAME), LoggedIn)
    assert {record.data["provider"] for record in await kit.records("credential")} == {"user_password"}


@pytest.mark.parametrize("factor", ["time_based_otp", "f2_timebasedotp", "X-VIUR-2FACTOR-TimeBasedOTP"])
async def test_a_factor_is_named_by_provider_path_or_method(kit: Kit, desk: Administration, factor: str) -> None:
    await account_with_token(kit, desk)

    assert (await desk.remove_factor(NAME, factor)).factors == ()


async def test_with_the_last_factor_go_its_substitutes(kit: Kit, desk: Administration) -> None:
    account = await account_with_token(kit, desk)
    now = kit.clock()
    codes = Credential(account.id, "recovery_codes", now, now, {"digests": [], "used": 0})
    await kit.enrolled(account, codes, is_substitute=True)

    await desk.remove_factor(NAME, "time_based_otp")

    assert await desk.factors(NAME) == []


async def test_codes_alone_can_be_taken_away(kit: Kit, desk: Administration) -> None:
    account = await account_with_token(kit, desk)
    now = kit.clock()
    codes = Credential(account.id, "recovery_codes", now, now, {"digests": [], "used": 0})
    await kit.enrolled(account, codes, is_substitute=True)

    await desk.remove_factor(NAME, "recovery_codes")

    assert [factor.name for factor in await desk.factors(NAME)] == ["time_based_otp"]


@pytest.mark.parametrize("factor", ["time_based_otp", "user_password", "nonsense"])
async def test_a_factor_that_the_account_lacks_is_not_found(kit: Kit, desk: Administration, factor: str) -> None:
    await kit.account(NAME)

    with pytest.raises(NotFound):
        await desk.remove_factor(NAME, factor)

    assert isinstance(await kit.login(NAME), LoggedIn)
