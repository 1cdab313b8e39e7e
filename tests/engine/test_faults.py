"""The store fails at each call of each operation: 503 or the right answer, nothing half done, and it works again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from authflow.errors import AuthflowError, StoreConflict, StoreUnavailable, Unavailable
from authflow.model import Account
from authflow.results import ChoiceOwed, LoggedIn, NotProved, StepOwed
from authflow.seam import Call
from authflow.sessions import IssuedSession, Visitor
from authflow.user import User
from providers.time_based_otp import TimeBasedOTP
from tests.engine.test_login import account_with_totp, code
from tests.engine_kit import Kit, browser, make_kit


class Token(TimeBasedOTP):
    name, path, method_name, label = "token", "f2_token", "X-VIUR-2FACTOR-Token", "Token"


class TwoFactors(User):
    # Each flow, so that what one writes more than another is not a matter of which are traced.
    trace_share = 1.0
    second_factor_providers = ("providers.time_based_otp:TimeBasedOTP", Token)
    valid_authentication_methods = (
        ("user_password", "time_based_otp"),
        ("user_password", "token"),
        ("user_password", None),
    )


class Faults:
    """An observer that breaks the store's calls, counted from when it was armed.

    Args:
        at: Number of the call that breaks.
        error: What it raises.
        for_ever: Whether every later call of the same operation breaks too.
        is_late: Whether the store does its work first, so that only the answer is lost.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.disarm()

    def arm(self, at: int, error: type[AuthflowError], *, for_ever: bool = False, is_late: bool = False) -> None:
        self.calls, self._at, self._error = [], at, error
        self._for_ever, self._is_late = for_ever, is_late

    def disarm(self) -> None:
        self.arm(-1, StoreUnavailable)

    async def before(self, call: Call) -> None:
        self.calls.append(call.operation)
        if not self._is_late:
            self._break(call)

    def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
        if self._is_late and error is None:
            self._break(call)

    def _break(self, call: Call) -> None:
        number = len(self.calls) - 1
        is_due = number == self._at or (self._for_ever and 0 <= self._at <= number)
        if is_due and (self._error is not StoreConflict or call.operation == "commit"):
            raise self._error("injected")


@dataclass
class Scene:
    """One operation that is about to be carried out."""

    kit: Kit
    account: Account
    run: Callable[[], Awaitable[Any]]
    may_log_in: bool = False


async def scene(name: str, faults: Faults) -> Scene:
    kit = make_kit(TwoFactors(), observers=(faults,))
    account = await (kit.account() if name in ("login right", "login wrong", "logout") else account_with_totp(kit))
    pending = None
    if name == "choose":
        credential = kit.engine.vault.credential((await kit.records("credential"))[-1].data)
        account = await kit.enrolled(account, replace(credential, provider="token"))
    if name in ("otp right", "otp wrong", "choose", "cancel", "logout"):
        pending = await kit.login()
    visitor = browser(pending.session, account.id) if pending else browser()
    made = Scene(kit, account, operation(name, kit, visitor), may_log_in=name in ("login right", "otp right"))
    faults.disarm()
    return made


def operation(name: str, kit: Kit, visitor: Visitor) -> Callable[[], Awaitable[Any]]:
    otp = kit.provider("time_based_otp")

    async def log_out() -> object:
        current = await kit.engine.sessions.current(visitor, kit.clock())
        return await kit.engine.log_out(current) if current else None

    return {
        "login right": kit.login,
        "login wrong": lambda: kit.login(password="wrong"),
        "login with a factor": kit.login,
        "otp right": lambda: kit.engine.submit(otp, {"otptoken": code(kit)}, visitor),
        "otp wrong": lambda: kit.engine.submit(otp, {"otptoken": "000000"}, visitor),
        "choose": lambda: kit.engine.waiting.choose(kit.provider("token"), visitor),
        "cancel": lambda: kit.engine.waiting.cancel(visitor),
        "logout": log_out,
    }[name]


OUTCOMES = {
    "login right": LoggedIn,
    "login wrong": NotProved,
    "login with a factor": StepOwed,
    "otp right": LoggedIn,
    "otp wrong": NotProved,
    "choose": StepOwed,
    "cancel": type(None),
    "logout": type(None),
}


async def contents(kit: Kit) -> Counter[str]:
    """Count the records by kind, and the changes that leave the count as it is."""
    kinds = Counter(key.kind for key in kit.memory._rows)
    for record in await kit.records("bucket"):
        kinds["failures"] += len(record.data.get("failures", ())) if "row" in record.data else record.data["failures"]
    for record in await kit.records("session"):
        kinds["logged in"] += bool(record.data["account_id"])
        kinds["flows"] += len(record.data["flows"])
        kinds["chosen"] += sum(bool(flow["provider"]) for flow in record.data["flows"])
    for record in await kit.records("credential"):
        kinds["spent"] += record.data["data"].get("last_counter", -1) >= 0
    return +kinds


async def clean_run(name: str) -> tuple[list[str], Counter[str]]:
    faults = Faults()
    made = await scene(name, faults)
    result = await made.run()
    assert isinstance(result, OUTCOMES[name])
    return list(faults.calls), await contents(made.kit)


async def demand_that_the_owner_gets_in(made: Scene) -> None:
    made.kit.clock.pass_by(timedelta(minutes=1))
    result = await made.kit.login()
    if isinstance(result, StepOwed | ChoiceOwed):
        visitor = browser(result.session, made.account.id)
        otp = made.kit.provider("time_based_otp")
        result = await made.kit.engine.submit(otp, {"otptoken": code(made.kit)}, visitor)
    assert isinstance(result, LoggedIn)


@pytest.mark.parametrize("name", OUTCOMES)
async def test_a_store_that_does_not_answer_changes_nothing_and_the_same_again_works(name: str) -> None:
    calls, _ = await clean_run(name)

    for at in range(len(calls)):
        faults = Faults()
        made = await scene(name, faults)
        before = await contents(made.kit)
        faults.arm(at, StoreUnavailable)
        with pytest.raises(Unavailable) as refusal:
            await made.run()
        faults.disarm()

        assert refusal.value.status == 503
        assert await contents(made.kit) == before
        assert isinstance(await made.run(), OUTCOMES[name])
        await demand_that_the_owner_gets_in(made)


@pytest.mark.parametrize("name", OUTCOMES)
async def test_an_answer_that_is_lost_after_the_commit_is_503_and_all_of_the_change_or_none(name: str) -> None:
    calls, after = await clean_run(name)

    for at, operation_ in enumerate(calls):
        faults = Faults()
        made = await scene(name, faults)
        before = await contents(made.kit)
        faults.arm(at, StoreUnavailable, is_late=True)
        with pytest.raises(Unavailable):
            await made.run()
        faults.disarm()

        assert await contents(made.kit) == (after if operation_ == "commit" else before)
        await demand_that_the_owner_gets_in(made)


@pytest.mark.parametrize("name", OUTCOMES)
async def test_one_conflict_changes_nothing_about_the_answer(name: str) -> None:
    calls, after = await clean_run(name)

    for at in (number for number, call in enumerate(calls) if call == "commit"):
        faults = Faults()
        made = await scene(name, faults)
        faults.arm(at, StoreConflict)
        result = await made.run()
        faults.disarm()

        assert isinstance(result, OUTCOMES[name])
        assert await contents(made.kit) == after
        await demand_that_the_owner_gets_in(made)


@pytest.mark.parametrize("name", OUTCOMES)
async def test_conflicts_that_do_not_end_are_503_after_eight_tries(name: str) -> None:
    faults = Faults()
    made = await scene(name, faults)
    before = await contents(made.kit)

    faults.arm(0, StoreConflict, for_ever=True)
    with pytest.raises(Unavailable):
        await made.run()
    tries = faults.calls.count("commit")
    faults.disarm()

    assert tries == 8
    assert await contents(made.kit) == before
    await demand_that_the_owner_gets_in(made)


async def test_a_wrong_code_that_was_counted_though_its_answer_was_lost_still_counts() -> None:
    faults = Faults()
    made = await scene("otp wrong", faults)

    for _ in range(5):
        faults.arm(1, StoreUnavailable, is_late=True)
        with pytest.raises(Unavailable):
            await made.run()
    faults.disarm()

    with pytest.raises(AuthflowError) as refusal:
        await made.run()
    assert refusal.value.code == "too_many_attempts"


async def test_a_session_whose_answer_was_lost_is_nobodys() -> None:
    faults = Faults()
    made = await scene("login right", faults)
    faults.arm(2, StoreUnavailable, is_late=True)
    with pytest.raises(Unavailable):
        await made.run()
    faults.disarm()

    result = await made.run()

    assert isinstance(result.session, IssuedSession)
    others = [r for r in await made.kit.records("session") if r.key.name != result.session.session.id]
    assert len(others) == 1, "it runs out by itself: its secret was never told to anybody"
