"""Logging in with a password, and with a second factor: what a submission leads to and what it costs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from authflow.errors import FlowInvalid, NoMethodLeft, TooLate, TooManyAttempts
from authflow.model import Account, Credential, Status
from authflow.results import ChoiceOwed, LoggedIn, NotProved, StepOwed
from authflow.seam import billing
from authflow.sessions import DeviceClaim
from authflow.testing import PASSWORD, Kit, browser, make_kit
from authflow.user import User
from providers.time_based_otp import generate_otps

SECRET = b"12345678901234567890"


@pytest.fixture
def kit() -> Kit:
    return make_kit()


async def account_with_totp(kit: Kit, name: str = "ada@example.org") -> Account:
    account = await kit.account(name)
    now = kit.clock()
    data = {
        "interval": 30,
        "digits": 6,
        "algorithm": "SHA1",
        "drift": 0.0,
        "last_counter": -1,
        "candidate": None,
        "serial": "",
    }
    return await kit.enrolled(account, Credential(account.id, "time_based_otp", now, now, data, SECRET))


def code(kit: Kit, offset: int = 0) -> str:
    counter = int(kit.clock().timestamp()) // 30 + offset
    return generate_otps(SECRET, [counter], digits=6, algorithm="SHA1")[0]


async def otp(kit: Kit, result: StepOwed, account: Account, text: str):
    visitor = browser(result.session, account.id)
    return await kit.engine.submit(kit.provider("time_based_otp"), {"otptoken": text}, visitor)


async def test_the_right_password_logs_in_when_nothing_else_is_owed(kit: Kit) -> None:
    account = await kit.account()

    result = await kit.login()

    assert isinstance(result, LoggedIn)
    assert result.session.session.account_id == account.id
    assert await kit.engine.sessions.current(browser(result.session, account.id), kit.clock()) is not None


@pytest.mark.parametrize("status", [0, 1, 2, 5])
async def test_every_hopeless_attempt_gets_the_same_answer(kit: Kit, status: int) -> None:
    await kit.account("off@example.org", status=status)
    await kit.account("bare@example.org", password=None)
    await kit.account("real@example.org")

    attempts = [
        ("off@example.org", PASSWORD),
        ("bare@example.org", ""),
        ("real@example.org", "wrong"),
        ("no@x.org", "x"),
    ]
    bills, results = [], []
    for name, password in attempts:
        with billing() as bill:
            results.append(await kit.login(name, password))
        bills.append(dict(bill.counts))

    assert {(type(r), r.reason, r.charge) for r in results} == {(NotProved, "invalid_credentials", "account")}
    assert all(bill == bills[0] for bill in bills)
    assert sum(bills[0].values()) == 3


async def test_a_password_alone_opens_the_second_step_and_nothing_else(kit: Kit) -> None:
    account = await account_with_totp(kit)

    result = await kit.login()

    assert isinstance(result, StepOwed)
    assert result.provider.name == "time_based_otp"
    assert await kit.engine.sessions.current(browser(result.session, account.id), kit.clock()) is None


async def test_a_code_completes_the_login_in_two_round_trips(kit: Kit) -> None:
    account = await account_with_totp(kit)
    pending = await kit.login()

    with billing() as bill:
        result = await otp(kit, pending, account, code(kit))

    assert isinstance(result, LoggedIn)
    assert bill.total("store") == 2
    assert [proof.provider for proof in result.flow.proofs] == ["user_password", "time_based_otp"]


async def test_a_code_is_refused_the_second_time_and_does_not_lock_its_owner(kit: Kit) -> None:
    account = await account_with_totp(kit)
    spent = code(kit)
    assert isinstance(await otp(kit, await kit.login(), account, spent), LoggedIn)

    pending = await kit.login()
    for _ in range(6):
        again = await otp(kit, pending, account, spent)
        assert (again.reason, again.charge) == ("code_replayed", "flow")

    kit.clock.pass_by(timedelta(seconds=30))
    assert isinstance(await otp(kit, await kit.login(), account, code(kit)), LoggedIn)


async def test_fifty_parallel_submissions_of_one_code_have_one_winner(kit: Kit) -> None:
    account = await account_with_totp(kit)
    logins = [await kit.login() for _ in range(50)]

    results = await asyncio.gather(*(otp(kit, p, account, code(kit)) for p in logins), return_exceptions=True)

    assert sum(isinstance(result, LoggedIn) for result in results) == 1


async def test_no_more_than_five_codes_are_judged_however_many_run_in_parallel(kit: Kit) -> None:
    account = await account_with_totp(kit)
    logins = [await kit.login() for _ in range(60)]
    guesses = ["000000"] * 40 + [code(kit)] + ["000000"] * 19

    results = []
    for start in (0, 20, 40):
        batch = zip(logins[start : start + 20], guesses[start : start + 20], strict=True)
        results += await asyncio.gather(*(otp(kit, p, account, g) for p, g in batch), return_exceptions=True)

    told = [r for r in results if isinstance(r, NotProved)]
    assert len(told) <= 5
    assert not any(isinstance(r, LoggedIn) for r in results)


async def test_the_lock_outlives_new_logins_and_grows(kit: Kit) -> None:
    account = await account_with_totp(kit)
    for _ in range(5):
        await otp(kit, await kit.login(), account, "000000")

    pending = await kit.login()
    with pytest.raises(TooManyAttempts) as first:
        await otp(kit, pending, account, code(kit))
    kit.clock.pass_by(timedelta(minutes=15))
    for _ in range(5):
        await otp(kit, await kit.login(), account, "000000")
    with pytest.raises(TooManyAttempts) as second:
        await otp(kit, await kit.login(), account, code(kit))

    assert first.value.retry_after == timedelta(minutes=15)
    assert second.value.retry_after == timedelta(minutes=30)


async def test_a_pending_login_ends_after_its_window(kit: Kit) -> None:
    account = await account_with_totp(kit)
    pending = await kit.login()

    kit.clock.pass_by(timedelta(minutes=10))

    with pytest.raises(TooLate):
        await otp(kit, pending, account, code(kit))


async def test_an_account_that_was_disabled_meanwhile_completes_nothing(kit: Kit) -> None:
    account = await account_with_totp(kit)
    pending = await kit.login()
    await _rewrite(kit, account, status=Status.DISABLED, epoch=account.epoch + 1)

    with pytest.raises(FlowInvalid):
        await otp(kit, pending, account, code(kit))


async def test_a_code_of_another_account_proves_nothing(kit: Kit) -> None:
    await account_with_totp(kit, "ada@example.org")
    bob = await kit.account("bob@example.org")
    pending = await kit.login("ada@example.org")

    handle = f"s.{pending.flow.id}.{bob.id}"
    visitor = browser(pending.session, bob.id)
    result = await kit.engine.submit(
        kit.provider("time_based_otp"), {"otptoken": code(kit)}, visitor, flow_reference=handle
    )

    assert isinstance(result, LoggedIn)
    assert result.account.name == "ada@example.org", "the hint of a handle is never believed"


async def test_a_second_factor_cannot_be_answered_without_a_first(kit: Kit) -> None:
    account = await account_with_totp(kit)
    logged_in = await otp(kit, await kit.login(), account, code(kit))

    with pytest.raises(FlowInvalid):
        await kit.engine.submit(kit.provider("time_based_otp"), {"otptoken": code(kit)}, browser())
    visitor = browser(logged_in.session, account.id)
    with pytest.raises(FlowInvalid):
        await kit.engine.submit(kit.provider("time_based_otp"), {"otptoken": code(kit)}, visitor)


async def test_an_enrolled_factor_whose_provider_is_gone_refuses(kit: Kit) -> None:
    class Without(User):
        second_factor_providers = ()
        valid_authentication_methods = (("user_password", None),)

    account = await account_with_totp(kit)
    bare = make_kit(Without(), store=kit.memory)

    with pytest.raises(NoMethodLeft) as refusal:
        await bare.login(account.name)

    assert refusal.value.code == "factor_unavailable"


async def test_ten_wrong_passwords_close_the_name_but_not_the_known_device(kit: Kit) -> None:
    account = await kit.account()
    mine = await kit.login()
    for _ in range(10):
        await kit.login(password="wrong", visitor=browser(network="198.51.100.7"))

    with billing() as bill, pytest.raises(TooManyAttempts):
        await kit.login(visitor=browser(network="198.51.100.8"))
    known = browser(devices=(mine.device,), network="203.0.113.9")
    forged = browser(devices=(DeviceClaim("x", account.id, account.epoch + 1),), network="203.0.113.9")

    assert bill.total("store") == 1
    assert isinstance(await kit.login(visitor=known), LoggedIn)
    with pytest.raises(TooManyAttempts):
        await kit.login(visitor=forged)


async def test_a_hundred_failures_in_a_row_stay_closed_however_slowly_they_come(kit: Kit) -> None:
    await kit.account()
    for _ in range(10):
        for _ in range(10):
            await kit.login(password="wrong", visitor=browser(network=str(kit.clock())))
        kit.clock.pass_by(timedelta(minutes=16))

    with pytest.raises(TooManyAttempts):
        await kit.login()


async def test_no_more_than_ten_passwords_are_judged_however_many_run_in_parallel(kit: Kit) -> None:
    await kit.account()
    attempts = [kit.login(password="wrong", visitor=browser(network=f"10.0.0.{n}")) for n in range(30)]
    attempts.append(kit.login())
    attempts += [kit.login(password="wrong", visitor=browser(network=f"10.0.1.{n}")) for n in range(30)]

    results = await asyncio.gather(*attempts, return_exceptions=True)

    assert sum(isinstance(r, NotProved) for r in results) <= 10
    assert not any(isinstance(r, LoggedIn) for r in results)


async def test_a_travelling_flow_starts_once(kit: Kit) -> None:
    await kit.account()
    flow = kit.engine.reference(kit.engine.start(return_to="/there"), browser())

    first = await kit.login(flow_reference=flow)

    assert first.flow.return_to == "/there"
    with pytest.raises(FlowInvalid):
        await kit.login(flow_reference=flow)


async def test_a_travelling_flow_is_good_in_its_own_browser_alone(kit: Kit) -> None:
    await kit.account()
    flow = kit.engine.reference(kit.engine.start(), browser(browser_id="mine"))

    with pytest.raises(FlowInvalid):
        await kit.login(flow_reference=flow, visitor=browser(browser_id="theirs"))


async def test_completing_one_flow_voids_the_others_of_that_browser(kit: Kit) -> None:
    account = await account_with_totp(kit)
    first = await kit.login()
    visitor = browser(first.session, account.id)
    second = await kit.login(visitor=visitor)
    assert second.session is None, "the second flow lies in the same session"

    done = await kit.engine.submit(kit.provider("time_based_otp"), {"otptoken": code(kit)}, visitor)

    assert isinstance(done, LoggedIn)
    kit.clock.pass_by(timedelta(seconds=30))
    older = kit.engine.sealer.handle(first.flow)
    with pytest.raises(FlowInvalid):
        await kit.engine.submit(kit.provider("time_based_otp"), {"otptoken": code(kit)}, visitor, flow_reference=older)


async def test_an_old_hash_is_renewed_after_the_answer(kit: Kit) -> None:
    account = await kit.account()
    dearer = make_kit(store=kit.memory, rounds=5)

    assert isinstance(await dearer.login(), LoggedIn)
    await dearer.engine.settle()

    record = (await kit.records("credential"))[0]
    assert "r=5" in record.data["data"]["hash"]
    assert (await kit.account_now(account)).epoch == account.epoch


async def test_a_person_with_two_factors_chooses_one() -> None:
    from providers.time_based_otp import TimeBasedOTP

    class Token(TimeBasedOTP):
        name, path, method_name, label = "token", "f2_token", "X-VIUR-2FACTOR-Token", "Token"

    class Two(User):
        second_factor_providers = ("providers.time_based_otp:TimeBasedOTP", Token)
        valid_authentication_methods = (("user_password", "time_based_otp"), ("user_password", "token"))

    kit = make_kit(Two())
    account = await account_with_totp(kit)
    credential = kit.engine.vault.credential((await kit.records("credential"))[-1].data)
    account = await kit.enrolled(account, replace(credential, provider="token"))

    pending = await kit.login()
    assert isinstance(pending, ChoiceOwed)
    visitor = browser(pending.session, account.id)
    chosen = await kit.engine.waiting.choose(kit.provider("token"), visitor)

    assert isinstance(chosen, StepOwed)
    assert isinstance(await kit.engine.submit(kit.provider("token"), {"otptoken": code(kit)}, visitor), LoggedIn)


async def _rewrite(kit: Kit, account: Account, **changes) -> None:
    from authflow.records import account_key
    from authflow.store.protocol import Update

    key = account_key(account.id)
    record = (await kit.memory.get((key,)))[key]
    await kit.memory.commit((Update(key, replace(account, **changes).to_data(), record.version),))
