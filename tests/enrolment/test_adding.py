"""Adding a second factor: who may, what it changes, and that a secret is confirmed once."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta

import pytest

from authflow.administration import Administration
from authflow.enrolment import Enrolment
from authflow.errors import (
    AlreadyEnrolled,
    FlowInvalid,
    NotAuthenticated,
    NotFound,
    ReauthenticationRequired,
    TooLate,
)
from authflow.flow import MAX_REJECTIONS
from authflow.model import Credential
from authflow.provider import Charge
from authflow.results import Changed, LoggedIn, NotProved, StepOwed
from authflow.seam import billing
from authflow.testing import Kit, browser, make_kit
from authflow.user import User
from providers.time_based_otp import TimeBasedOTP
from tests.enrolment.scene import Person, secret_of


async def test_a_confirmed_factor_is_asked_for_at_the_next_login(ada: Person) -> None:
    await ada.enrols()

    ada.kit.clock.pass_by(timedelta(minutes=5))
    owed = await ada.logs_in()

    assert isinstance(owed, StepOwed)
    assert owed.provider.name == "time_based_otp"
    assert isinstance(await ada.gives(ada.totp, ada.code()), LoggedIn)


async def test_the_first_factor_brings_ten_recovery_codes(ada: Person) -> None:
    changed = await ada.enrols()

    assert len(set(changed.codes)) == 10
    assert changed.account.factors == ("time_based_otp",)


async def test_the_acting_session_goes_on_under_a_new_secret(ada: Person) -> None:
    await ada.logs_in()
    before = ada.visitor

    changed = await ada.confirms(await ada.begins())

    assert isinstance(changed, Changed)
    assert await ada.kit.engine.sessions.current(before, ada.kit.clock()) is None
    ada.has_session(changed.session)
    current = await ada.current()
    assert current is not None
    assert current.account.epoch == 2


async def test_every_other_session_of_the_account_ends(ada: Person) -> None:
    elsewhere = Person(ada.kit, ada.account, "browser-2")
    await elsewhere.logs_in()

    await ada.enrols()

    assert await elsewhere.current() is None


async def test_the_owner_gets_a_mail_and_the_log_an_event(ada: Person) -> None:
    await ada.enrols()

    tasks = [record.data for record in await ada.kit.records("outbox")]
    events = {record.data["type"] for record in await ada.kit.records("event")}
    assert [task["payload"]["template"] for task in tasks] == ["factor_added"]
    assert "factor_enrolled" in events


async def test_nothing_is_enrolled_before_it_is_confirmed(ada: Person) -> None:
    await ada.logs_in()

    await ada.begins()

    assert (await ada.account_now()).factors == ()
    assert not [r for r in await ada.kit.records("credential") if r.data["provider"] == "time_based_otp"]


async def test_the_secret_is_not_readable_in_the_store(ada: Person) -> None:
    await ada.logs_in()
    owed = await ada.begins()
    text = owed.flow.scratch["time_based_otp"]["secret"]

    sessions = json.dumps([record.data for record in await ada.kit.records("session")])
    await ada.confirms(owed)
    credentials = json.dumps([record.data for record in await ada.kit.records("credential")])

    assert text not in sessions
    assert text not in credentials


async def test_a_secret_sent_by_the_client_is_not_looked_at(ada: Person) -> None:
    await ada.logs_in()
    owed = await ada.begins()
    own = b"a secret of the sender's own"

    values = {"otptoken": ada.code(secret=own), "secret": "MFRGGZDFMZTWQ2LKMFRGGZDFMZTWQ2LK"}
    result = await ada.enrolment.confirm(ada.totp, values, ada.visitor, ada.handle(owed))

    assert isinstance(result, NotProved)


# --- Who may ----------------------------------------------------------------------------------------------------------


async def test_nobody_adds_a_factor_to_nobody(kit: Kit) -> None:
    with pytest.raises(NotAuthenticated):
        await Enrolment(kit.engine).begin(kit.provider("time_based_otp"), browser(), None)


async def test_a_login_that_is_not_fresh_must_be_repeated(ada: Person) -> None:
    await ada.logs_in()
    ada.kit.clock.pass_by(timedelta(minutes=11))

    with pytest.raises(ReauthenticationRequired):
        await ada.begins()


async def test_a_login_that_owes_a_second_factor_adds_none(ada_with_app: Person) -> None:
    assert isinstance(await ada_with_app.logs_in(), StepOwed)

    with pytest.raises(NotAuthenticated):
        await ada_with_app.begins()


async def test_a_pending_login_cannot_confirm_what_another_session_began(ada: Person) -> None:
    await ada.logs_in()
    owed = await ada.begins()
    elsewhere = Person(ada.kit, ada.account, "browser-2")
    await elsewhere.logs_in()

    with pytest.raises(FlowInvalid):
        await ada.enrolment.confirm(ada.totp, {"otptoken": ada.code()}, elsewhere.visitor, ada.handle(owed))


async def test_a_factor_is_added_once(ada: Person) -> None:
    await ada.enrols()

    with pytest.raises(AlreadyEnrolled):
        await ada.begins()


async def test_a_factor_that_people_cannot_add_is_not_found(ada: Person) -> None:
    await ada.logs_in()

    with pytest.raises(NotFound):
        await ada.enrolment.begin(ada.codes, ada.visitor, await ada.current())


class Unpaired(User):
    """Declares an app, and lets no method ask for it."""

    valid_authentication_methods = (("user_password", None),)


async def test_a_factor_that_belongs_to_no_method_is_not_found() -> None:
    kit = make_kit(Unpaired())
    ada = Person(kit, await kit.account())
    await ada.logs_in()

    with pytest.raises(NotFound):
        await ada.begins()

    assert (await ada.account_now()).factors == ()


async def test_an_account_that_was_changed_meanwhile_gets_no_factor(ada: Person) -> None:
    await ada.logs_in()
    owed = await ada.begins()
    await Administration(ada.kit.engine).log_out(ada.account.name)

    with pytest.raises(FlowInvalid):
        await ada.confirms(owed)


# --- The confirmation -------------------------------------------------------------------------------------------------


async def test_a_wrong_code_shows_the_same_secret_again(ada: Person) -> None:
    await ada.logs_in()
    owed = await ada.begins()

    result = await ada.confirms(owed, ada.wrong_code())

    assert isinstance(result, NotProved)
    assert result.charge is Charge.FLOW
    assert secret_of(result) == ada.secret
    assert result.ask.params["qr"] == owed.ask.params["qr"]


async def test_a_mistyped_code_can_be_corrected(ada: Person) -> None:
    await ada.logs_in()
    owed = await ada.begins()
    await ada.confirms(owed, ada.wrong_code())

    assert isinstance(await ada.confirms(owed), Changed)


async def test_wrong_codes_end_the_enrolment_and_lock_nobody_out(ada: Person) -> None:
    await ada.logs_in()
    owed = await ada.begins()
    for _ in range(MAX_REJECTIONS - 1):
        await ada.confirms(owed, ada.wrong_code())

    with pytest.raises(FlowInvalid):
        await ada.confirms(owed, ada.wrong_code())

    with pytest.raises(FlowInvalid):
        await ada.confirms(owed)
    assert isinstance(await ada.confirms(await ada.begins()), Changed)


async def test_malformed_codes_cost_nothing(ada: Person) -> None:
    await ada.logs_in()
    owed = await ada.begins()

    with billing() as bill:
        result = await ada.confirms(owed, "12 34")

    assert isinstance(result, NotProved)
    assert result.charge is Charge.NOTHING
    assert bill.total("store", "commit") == 0


async def test_the_time_for_confirming_ends(ada: Person) -> None:
    await ada.logs_in()
    owed = await ada.begins()
    ada.kit.clock.pass_by(timedelta(minutes=10))

    with pytest.raises(TooLate):
        await ada.confirms(owed)


async def test_a_confirmed_secret_is_burnt(ada: Person) -> None:
    await ada.logs_in()
    owed = await ada.begins()
    changed = await ada.confirms(owed)
    assert isinstance(changed, Changed)
    ada.has_session(changed.session)

    with pytest.raises(FlowInvalid):
        await ada.confirms(owed)


async def test_of_many_confirmations_at_once_one_wins(ada: Person) -> None:
    await ada.logs_in()
    owed = await ada.begins()

    results = await asyncio.gather(*(ada.confirms(owed) for _ in range(20)), return_exceptions=True)

    assert sum(isinstance(result, Changed) for result in results) == 1
    assert all(isinstance(result, Changed | FlowInvalid) for result in results)
    account = await ada.account_now()
    assert (account.factors, account.epoch) == (("time_based_otp",), 2)
    assert len(await ada.kit.records("session")) == 1


async def test_of_two_enrolments_in_two_sessions_one_wins(ada: Person) -> None:
    elsewhere = Person(ada.kit, ada.account, "browser-2")
    await ada.logs_in()
    await elsewhere.logs_in()
    mine, theirs = await ada.begins(), await elsewhere.begins()

    results = await asyncio.gather(ada.confirms(mine), elsewhere.confirms(theirs), return_exceptions=True)

    assert sorted(type(result).__name__ for result in results) == ["Changed", "FlowInvalid"]


async def test_a_confirmation_costs_one_look_up_and_one_commit(ada: Person) -> None:
    await ada.logs_in()
    owed = await ada.begins()

    with billing() as bill:
        await ada.confirms(owed)

    assert (bill.total("store", "get"), bill.total("store", "commit")) == (1, 1)


# --- A login that owes it ---------------------------------------------------------------------------------------------


class Strict(User):
    """Editors must have a second factor."""

    second_factor_required_roles = frozenset({"editor"})


@pytest.fixture
async def editor() -> Person:
    kit = make_kit(Strict())
    return Person(kit, await kit.account(roles=("editor",)))


async def test_a_login_that_owes_a_factor_is_completed_by_enrolling_it(editor: Person) -> None:
    pending = await editor.logs_in()
    owed = await editor.begins(flow_reference=editor.kit.engine.reference(pending.flow, editor.visitor))

    result = await editor.confirms(owed)

    assert isinstance(result, LoggedIn)
    assert len(result.codes) == 10
    assert result.account.factors == ("time_based_otp",)
    editor.has_session(result.session)
    assert await editor.current() is not None


async def test_a_login_that_owes_a_factor_finds_its_flow_by_itself(editor: Person) -> None:
    await editor.logs_in()
    await editor.begins()

    result = await editor.enrolment.confirm(editor.totp, {"otptoken": editor.code()}, editor.visitor, "")

    assert isinstance(result, LoggedIn)


async def test_the_login_form_does_not_complete_an_owed_enrolment(editor: Person) -> None:
    await editor.logs_in()
    await editor.begins()

    with pytest.raises(FlowInvalid):
        await editor.kit.engine.submit(editor.totp, {"otptoken": editor.code()}, editor.visitor)


async def test_of_many_owed_confirmations_at_once_one_logs_in(editor: Person) -> None:
    await editor.logs_in()
    owed = await editor.begins()

    results = await asyncio.gather(*(editor.confirms(owed) for _ in range(20)), return_exceptions=True)

    assert sum(isinstance(result, LoggedIn) for result in results) == 1
    assert all(isinstance(result, LoggedIn | FlowInvalid) for result in results)
    assert len(await editor.kit.records("session")) == 1


# --- Begun under another definition -----------------------------------------------------------------------------------


class SecondApp(TimeBasedOTP):
    name, label, path, method_name = "second_app", "Second app", "f2_secondapp", "X-SECOND"


class ThirdApp(TimeBasedOTP):
    name, label, path, method_name = "third_app", "Third app", "f2_thirdapp", "X-THIRD"


class ThreeApps(User):
    second_factor_providers = (TimeBasedOTP, SecondApp, ThirdApp, "providers.recovery_codes:RecoveryCodes")
    valid_authentication_methods = (
        ("user_password", "time_based_otp"),
        ("user_password", "second_app"),
        ("user_password", "third_app"),
        ("user_password", None),
    )


class TwoApps(User):
    second_factor_providers = (TimeBasedOTP, SecondApp, "providers.recovery_codes:RecoveryCodes")
    valid_authentication_methods = (
        ("user_password", "time_based_otp"),
        ("user_password", "second_app"),
        ("user_password", None),
    )


@pytest.mark.parametrize("known_to_both", [True, False])
async def test_what_another_definition_began_is_confirmed_by_a_login_that_this_one_would_have_taken(
    known_to_both: bool,
) -> None:
    there = make_kit(ThreeApps())
    here = make_kit(TwoApps(), store=there.memory, clock=there.clock)
    account, now = await there.account(), there.clock()
    data = {"interval": 30, "digits": 6, "algorithm": "SHA1", "drift": 0.0, "last_counter": -1, "candidate": None,
            "serial": ""}  # fmt: skip
    for name in ("time_based_otp", "third_app"):
        account = await there.enrolled(account, Credential(account.id, name, now, now, data, b"1" * 20))
    ada = Person(there, account)
    await ada.logs_in()
    used = there.provider("time_based_otp" if known_to_both else "third_app")
    await ada.gives(used, ada.code(secret=b"1" * 20))
    owed = await ada.enrolment.begin(there.provider("second_app"), ada.visitor, await ada.current())
    code = {"otptoken": ada.code(secret=secret_of(owed))}

    confirmed = Enrolment(here.engine).confirm(here.provider("second_app"), code, ada.visitor, ada.handle(owed))

    if known_to_both:
        assert "second_app" in (await confirmed).account.factors
        return
    with pytest.raises(ReauthenticationRequired):
        await confirmed
    assert (await ada.account_now()).factors == account.factors
