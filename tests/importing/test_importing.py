"""Accounts that were brought along: their owners log in as before, and each came whole or not at all."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from authflow.administration import Administration
from authflow.errors import BadInput, StoreUnavailable
from authflow.importing import Arrival, Importing, LinkedElsewhere, Outcome
from authflow.model import Account, LoginInfo, Status
from authflow.records import credential_key, identity_key, login_info_key
from authflow.results import LoggedIn, NotProved, StepOwed
from authflow.revising import Revision
from authflow.seam import Call
from authflow.testing import Kit, browser, make_kit, make_site
from authflow.user import User
from authflow.viur_entries import read_entry
from providers.google_account import ISSUER
from providers.time_based_otp import generate_otps
from tests.federation.elsewhere import ISSUER as ELSEWHERE
from tests.federation.elsewhere import Federated, come
from tests.importing.kit import (
    ADA,
    GOOGLE_SUBJECT,
    LATER,
    OTP_APP,
    OTP_KEY,
    PASSWORD,
    SEED,
    bring,
    contents,
    entity,
)


async def account_of(kit: Kit, name: str = ADA) -> Account:
    return await Administration(kit.engine).find(name)


async def stored_hash(kit: Kit, account: Account) -> str:
    key = credential_key(account.id, "user_password")
    return str((await kit.memory.get((key,)))[key].data["data"]["hash"])


# --- Logging in as before ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("era", "form"), [(SEED, "$authflow-wrapped$"), (LATER, "$viur-pbkdf2-sha256$")])
async def test_a_password_of_either_era_logs_in_and_is_hashed_anew(kit: Kit, era: dict, form: str) -> None:
    await bring(kit, entity(era, otp_serial=None, otp_secret=None))
    account = await account_of(kit)
    assert (await stored_hash(kit, account)).startswith(form)

    wrong = await kit.login(ADA, "Passwort-2")
    result = await kit.login(ADA, PASSWORD)
    await kit.engine.settle()

    assert isinstance(wrong, NotProved)
    assert isinstance(result, LoggedIn)
    assert (await stored_hash(kit, account)).startswith("$bcrypt-sha256$v=2,")
    assert isinstance(await kit.login(ADA, PASSWORD), LoggedIn)


async def test_a_hardware_token_is_asked_for_where_its_clock_is(kit: Kit) -> None:
    await bring(kit, entity(LATER, otp_timedrift=4.0))
    account = await account_of(kit)
    owed = await kit.login(ADA, PASSWORD)
    assert isinstance(owed, StepOwed)

    counter = int(kit.clock().timestamp()) // 60 + 4
    code = generate_otps(bytes.fromhex(OTP_KEY), [counter], digits=6, algorithm="SHA1")[0]
    result = await kit.engine.submit(
        kit.provider("time_based_otp"), {"otptoken": code}, browser(owed.session, account.id)
    )

    assert isinstance(result, LoggedIn)


@pytest.mark.parametrize(
    "fields", [{"otpid": "GA-1", "otpkey": OTP_KEY, "otptimedrift": -1.2}, {"otp_app_secret": OTP_APP}]
)
async def test_a_factor_of_either_era_and_an_app_are_owed(kit: Kit, fields: dict) -> None:
    await bring(kit, entity(SEED, **fields))
    account, interval = await account_of(kit), 30 if "otp_app_secret" in fields else 60

    owed = await kit.login(ADA, PASSWORD)
    assert isinstance(owed, StepOwed)
    drift = round(fields.get("otptimedrift", 0))
    counter = int(kit.clock().timestamp()) // interval + drift
    code = generate_otps(bytes.fromhex(OTP_KEY), [counter], digits=6, algorithm="SHA1")[0]
    result = await kit.engine.submit(
        kit.provider("time_based_otp"), {"otptoken": code}, browser(owed.session, account.id)
    )

    assert account.factors == ("time_based_otp",)
    assert isinstance(result, LoggedIn)


async def test_an_identity_logs_in() -> None:
    site = await make_site(Federated())
    arrival = Arrival("elsewhere", ADA, 10, identity=LinkedElsewhere("elsewhere", ELSEWHERE, "ada-there"))
    await Importing(site.app.engine).take_in(arrival)

    page = await come(site.person())

    assert page.status == 303
    assert page.location == "/user/view/self"


async def test_the_subject_that_viur_kept_becomes_the_identity_that_google_asserts(kit: Kit) -> None:
    await bring(kit, LATER)
    account = await account_of(kit)

    key = identity_key(ISSUER, GOOGLE_SUBJECT)
    held = await Administration(kit.engine).identities(ADA)

    assert (await kit.memory.get((key,)))[key].data["account_id"] == account.id
    assert [(i.provider, i.issuer, i.subject) for i in held] == [("google_account", ISSUER, GOOGLE_SUBJECT)]


async def test_what_else_an_account_was_it_is_again(kit: Kit) -> None:
    await bring(kit, entity(LATER, creationdate="2023-04-05T06:07:08"))

    account = await account_of(kit)
    key = login_info_key(account.id)
    info = LoginInfo.from_data((await kit.memory.get((key,)))[key].data)

    assert (account.name, account.email, account.status) == (ADA, ADA, Status.ACTIVE)
    assert account.profile == {"firstname": "Ada", "lastname": "Lovelace"}
    assert account.created_at == datetime(2023, 4, 5, 6, 7, 8, tzinfo=UTC)
    assert info == LoginInfo(last_at=datetime(2026, 2, 20, 7, tzinfo=UTC))


async def test_the_first_login_here_goes_on_from_the_last_one_there(kit: Kit) -> None:
    await bring(kit, SEED)
    account = await account_of(kit)

    await kit.login(ADA, PASSWORD)

    key = login_info_key(account.id)
    info = LoginInfo.from_data((await kit.memory.get((key,)))[key].data)
    assert info.count == 1
    assert info.previous_at == datetime(2024, 5, 1, 10, 0, 0, 250000, tzinfo=UTC)


@pytest.mark.parametrize("status", [0, 2, 5, 9])
async def test_who_could_not_log_in_there_cannot_here(kit: Kit, status: int) -> None:
    await bring(kit, entity(status=status))

    assert (await account_of(kit)).status == status
    assert isinstance(await kit.login(ADA, PASSWORD), NotProved)


async def test_an_account_without_a_password_has_none_here(kit: Kit) -> None:
    await bring(kit, entity(password=None))

    assert isinstance(await kit.login(ADA, PASSWORD), NotProved)
    assert isinstance(await kit.login(ADA, ""), NotProved)


async def test_nobody_is_written_to_and_no_hook_runs() -> None:
    class Counting(User):
        added: list[Account] = []  # noqa: RUF012

        async def on_added(self, account: Account) -> None:
            self.added.append(account)

    kit = make_kit(Counting())

    await bring(kit, LATER)

    assert await kit.records("outbox") == []
    assert Counting.added == []


# --- Rights -----------------------------------------------------------------------------------------------------------


async def test_flags_count_where_no_roles_are(kit: Kit) -> None:
    await bring(kit, entity(access=["user-view", "user-edit"]))

    account = await account_of(kit)

    assert kit.user.access_of(account) == {"user-view", "user-edit"}


async def test_beside_roles_only_what_they_may_counts_unless_custom_is_among_them(kit: Kit) -> None:
    await bring(
        kit,
        entity(name="viewer@example.org", roles=["viewer"], access=["root"]),
        entity(name="custom@example.org", roles=["viewer", "custom"], access=["root"]),
    )

    assert "root" not in kit.user.access_of(await account_of(kit, "viewer@example.org"))
    assert "root" in kit.user.access_of(await account_of(kit, "custom@example.org"))


@pytest.mark.parametrize("fields", [{"access": ["root", "news-edit"]}, {"roles": ["emperor"]}])
async def test_rights_that_mean_nothing_here_refuse_the_account(kit: Kit, fields: dict) -> None:
    report = await bring(kit, entity(**fields))

    assert report.taken_in == 0
    assert "there is no right or role" in report.refused[0].reason


async def test_rights_that_mean_nothing_here_may_be_left_out(kit: Kit) -> None:
    report = await bring(kit, entity(access=["user-view", "news-edit"]), drops_unknown_rights=True)

    assert (await account_of(kit)).access == ("user-view",)
    assert report.dropped == {"news-edit": 1}


async def test_a_role_that_is_left_out_brings_no_flag_back(kit: Kit) -> None:
    await bring(kit, entity(roles=["emperor"], access=["root"]), drops_unknown_rights=True)

    account = await account_of(kit)

    assert (account.roles, account.access) == ((), ())


# --- Whole or not at all ----------------------------------------------------------------------------------------------

NOT_WHOLE = {
    "a factor without a serial": {"otpid": "", "otpkey": OTP_KEY},
    "a factor without a secret": {"otpid": "GA-1"},
    "a secret too short": {"otpid": "GA-1", "otpkey": "31323334"},
    "a secret that is none": {"otpid": "GA-1", "otpkey": OTP_KEY[:-1]},
    "a device lost in time": {"otpid": "GA-1", "otpkey": OTP_KEY, "otptimedrift": 11},
    "two factors of one kind": {"otpid": "GA-1", "otpkey": OTP_KEY, "otp_app_secret": OTP_APP},
    "an unconfirmed account with a factor": {"status": 1, "otpid": "GA-1", "otpkey": OTP_KEY},
    "an unconfirmed account with an identity": {"status": 1, "uid": GOOGLE_SUBJECT},
    "a password that is none": {"password": {"pwhash": "zz", "salt": SEED["password"]["salt"]}},
    "a name that is none": {"name": "@"},
    "a profile value too long": {"firstname": "a" * 101},
}


@pytest.mark.parametrize("fields", NOT_WHOLE.values(), ids=NOT_WHOLE)
async def test_an_account_that_cannot_come_whole_does_not_come(kit: Kit, fields: dict) -> None:
    before = await contents(kit)

    report = await bring(kit, entity(**fields))

    assert (report.taken_in, len(report.refused)) == (0, 1)
    assert await contents(kit) == before


class NoTokens(User):
    second_factor_providers = ()
    valid_authentication_methods = (("user_password", None),)
    authentication_providers = ("providers.user_password:UserPassword",)


@pytest.mark.parametrize("fields", [{"otpid": "GA-1", "otpkey": OTP_KEY}, {"uid": GOOGLE_SUBJECT}])
async def test_what_no_provider_here_takes_refuses_the_account(fields: dict) -> None:
    kit = make_kit(NoTokens())

    report = await bring(kit, entity(**fields))

    assert [refusal.code for refusal in report.refused] == ["bad_input"]
    assert await contents(kit) == {}


async def test_an_account_costs_one_look_up_and_one_commit() -> None:
    calls: list[str] = []

    class Counting:
        async def before(self, call: Call) -> None:
            calls.append(f"{call.kind} {call.operation}")

        def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
            pass

    kit = make_kit(observers=(Counting(),))

    await bring(kit, LATER)

    assert calls == ["store get", "store commit"]


@pytest.mark.parametrize("operation", ["get", "commit"])
async def test_a_store_that_fails_ends_the_run_and_leaves_nothing_half_done(operation: str) -> None:
    class Failing:
        left = 3

        async def before(self, call: Call) -> None:
            if call.operation == operation:
                Failing.left -= 1
                if Failing.left < 0:
                    raise StoreUnavailable("not now")

        def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
            pass

    kit = make_kit(observers=(Failing(),))
    everybody = [entity(LATER, name=f"p{n}@example.org", uid=f"1{n}") for n in range(12)]

    with pytest.raises(StoreUnavailable):
        await bring(kit, *everybody)
    names, accounts = await kit.records("name"), await kit.records("account")
    assert 0 < len(names) == len(accounts) < 12
    assert len(await kit.records("credential")) == 3 * len(names)
    assert len(await kit.records("identity")) == len(names)

    Failing.left = 1000
    report = await bring(kit, *everybody)
    assert (report.taken_in, report.already_here, report.refused) == (12 - len(names), len(names), [])


# --- What is here already ---------------------------------------------------------------------------------------------


async def test_a_second_run_changes_nothing(kit: Kit) -> None:
    await bring(kit, LATER)
    before = await contents(kit)

    report = await bring(kit, entity(LATER, status=5, access=[]))

    assert (report.taken_in, report.already_here, report.refused) == (0, 1, [])
    assert await contents(kit) == before


async def test_an_account_that_was_deleted_here_since_is_not_brought_back(kit: Kit) -> None:
    await bring(kit, SEED)
    await Administration(kit.engine).delete(ADA)
    before = await contents(kit)

    assert (await bring(kit, SEED)).already_here == 1
    assert await contents(kit) == before


async def test_an_account_that_was_renamed_here_since_is_not_brought_back(kit: Kit) -> None:
    await bring(kit, SEED)
    await Administration(kit.engine).edit(ADA, Revision(name="countess@example.org", access=()))
    before = await contents(kit)

    assert (await bring(kit, SEED)).already_here == 1
    assert await contents(kit) == before


async def test_an_account_of_that_name_that_was_not_brought_along_is_not_touched(kit: Kit) -> None:
    await kit.account(ADA)
    before = await contents(kit)

    report = await bring(kit, LATER)

    assert [refusal.code for refusal in report.refused] == ["name_taken"]
    assert await contents(kit) == before


async def test_an_identity_of_another_account_is_not_taken_from_it(kit: Kit) -> None:
    await bring(kit, LATER)
    before = await contents(kit)

    report = await bring(kit, entity(LATER, name="bob@example.org"))

    assert "connected to another account" in report.refused[0].reason
    assert await contents(kit) == before


async def test_of_two_runs_at_once_one_takes_each_account_in(kit: Kit) -> None:
    everybody = [entity(LATER, name=f"p{n}@example.org", uid=f"1{n}") for n in range(20)]

    first, second = await asyncio.gather(bring(kit, *everybody), bring(kit, *everybody))

    assert first.taken_in + second.taken_in == 20
    assert first.already_here + second.already_here == 20
    assert first.refused == second.refused == []
    assert len(await kit.records("account")) == 20


async def test_an_account_that_is_brought_along_while_it_registers_comes_once(kit: Kit) -> None:
    importing, profile = Importing(kit.engine), ("firstname", "lastname")
    arrival = read_entry(SEED, profile)

    results = await asyncio.gather(
        importing.take_in(arrival), Administration(kit.engine).create(ADA), return_exceptions=True
    )

    assert len([result for result in results if isinstance(result, Exception)]) == 1
    assert len(await kit.records("account")) == 1


# --- Unconfirmed accounts ---------------------------------------------------------------------------------------------


async def test_an_unconfirmed_account_is_its_owners_by_registering_once_more() -> None:
    class Registering(User):
        pass

    site = await make_site(Registering())
    site.kit.provider("user_password").registration_enabled = True
    await bring(site.kit, entity(status=1))
    site.clock.pass_by(timedelta(hours=1))

    person = site.person()
    page = await person.get("/user/auth_userpassword/add")
    await person.send(page.form("add"), name=ADA, password="another good password")
    await site.run_tasks()
    landing = await person.get(site.link())
    await person.send(landing.form("verify"))

    account = await account_of(site.kit)
    assert account.status == Status.WAITING_FOR_ADMIN_VERIFICATION
    await Administration(site.app.engine).activate(ADA)
    assert isinstance(await site.kit.login(ADA, "another good password"), LoggedIn)
    assert isinstance(await site.kit.login(ADA, PASSWORD), NotProved)


# --- A rehearsal ------------------------------------------------------------------------------------------------------


async def test_a_rehearsal_writes_nothing_and_says_what_a_run_would_say(kit: Kit) -> None:
    await kit.account("bob@example.org")
    await bring(kit, entity(name="carol@example.org"))
    before = await contents(kit)
    file = [SEED, entity(name="bob@example.org"), entity(name="carol@example.org"), entity(name="d", status="x")]

    rehearsal = await bring(kit, *file, is_rehearsal=True)

    assert await contents(kit) == before
    assert replace(await bring(kit, *file)) == rehearsal
    assert (rehearsal.taken_in, rehearsal.already_here, len(rehearsal.refused)) == (1, 1, 2)


async def test_one_arrival_can_be_taken_in_by_itself(kit: Kit) -> None:
    importing = Importing(kit.engine)

    assert await importing.take_in(Arrival("test", ADA, 10)) is Outcome.TAKEN_IN
    assert await importing.take_in(Arrival("test", ADA, 10)) is Outcome.ALREADY_HERE
    with pytest.raises(BadInput):
        await importing.take_in(Arrival("test", "bob", 10, access=("nonsense",)))
