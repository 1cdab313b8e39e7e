"""Which flows leave a trace, and what stands in it."""

from __future__ import annotations

from datetime import timedelta
from zlib import crc32

import pytest

from authflow.errors import ConfigurationError, StoreUnavailable
from authflow.flow import FlowKind, FlowState
from authflow.model import Credential, Role
from authflow.provider import Ask, Delivery, Field, Rejected
from authflow.seam import Call
from authflow.store.protocol import Insert, Update
from authflow.testing import ADA, PASSWORD, Site, make_kit, make_site
from authflow.tokens import Keyring
from authflow.traces import KIND, Trace, erase, listed, outcome_of
from authflow.tracing import ERASED_AGAIN_AFTER, is_traced
from authflow.user import User
from providers.user_password import UserPassword
from tests.threats.tools import Registering
from tests.traces.conftest import Traced, traces_of


def told(traces: list[Trace]) -> list[tuple[str, str]]:
    return [(", ".join(trace.events), outcome_of(trace)) for trace in traces]


# --- Which flows ------------------------------------------------------------------------------------------------------


IDS = [f"flow-{number}" for number in range(4000)]
NEW, OLD = "the newer master key, long enough", "the older master key, long enough"


def few_of(*masters: str) -> set[str]:
    return {one for one in IDS if is_traced(Keyring(masters), one, 0.1)}


def test_a_flow_is_traced_by_its_id_alone_and_about_the_share_that_is_wanted() -> None:
    keyring = Keyring([OLD])

    assert not any(is_traced(keyring, one, 0.0) for one in IDS)
    assert all(is_traced(keyring, one, 1.0) for one in IDS)
    few = few_of(OLD)
    assert 300 < len(few) < 500
    assert few <= {one for one in IDS if is_traced(keyring, one, 0.5)}


def test_whoever_knows_an_id_but_no_key_cannot_tell_whether_it_is_traced() -> None:
    by_another_key = few_of(OLD) & few_of(NEW)
    by_a_public_sum = few_of(OLD) & {one for one in IDS if crc32(one.encode()) < 0.1 * 2**32}

    # Of 400 about 40 by chance.
    assert 15 < len(by_another_key) < 70
    assert 15 < len(by_a_public_sum) < 70


def test_a_new_master_key_does_not_change_which_flows_are_traced() -> None:
    assert few_of(NEW, OLD) == few_of(OLD)


@pytest.mark.parametrize(
    "wrong", [{"trace_share": -0.1}, {"trace_share": 1.1}, {"trace_retention": timedelta(0)}], ids=str
)
def test_a_share_or_a_retention_that_makes_no_sense_refuses_to_start(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError, match="trace_share"):
        make_kit(type("Mine", (User,), wrong)())


async def test_a_flow_is_traced_as_a_whole_or_not_at_all() -> None:
    site = await make_site(type("Half", (User,), {"trace_share": 0.5})())
    await site.account_with_totp()

    for _ in range(12):
        site.clock.pass_by(timedelta(minutes=1))
        await site.logged_in(with_code=True)

    flows: dict[str, int] = {}
    for trace in await traces_of(site):
        flows[trace.flow_id] = flows.get(trace.flow_id, 0) + 1
    begun = {event.data["flow_id"] for event in await site.kit.records("event")}
    assert set(flows.values()) <= {2}
    assert len(begun) == 12
    assert set(flows) == {flow_id for flow_id in begun if is_traced(site.app.services.keyring, flow_id, 0.5)}
    await site.close()


async def test_what_no_flow_leaves_is_no_record_more() -> None:
    site = await make_site(type("Silent", (User,), {"trace_share": 0.0})())
    await site.account()

    await site.logged_in()

    assert not [key for key in site.memory._rows if key.kind == KIND]
    await site.close()


@pytest.mark.parametrize("share", [0.0, 1.0])
async def test_a_trace_costs_no_round_trip(share: float) -> None:
    site = await make_site(type("Mine", (User,), {"trace_share": share})())
    await site.account_with_totp()
    person = site.person()
    first = await person.log_in()

    second = await person.type_code()

    assert (first.cost, second.cost) == (3, 2)
    await site.close()


# --- What stands in it ------------------------------------------------------------------------------------------------


async def test_a_login_with_two_steps_is_told_step_by_step(site: Site) -> None:
    account = await site.account_with_totp(roles=("editor",))
    person = site.person()
    await person.log_in(password="wrong")
    await person.log_in()
    site.clock.pass_by(timedelta(seconds=20))
    page = await person.get("/user/f2_timebasedotp/otp")
    page = await person.send(page.form("otp"), otptoken=site.wrong_code())
    await person.send(page.form("otp"), otptoken=site.code())

    lost, first, wrong, last = await traces_of(site)

    assert told([lost, first, wrong, last]) == [
        ("rejected:user_password:invalid_credentials", "owes user_password"),
        ("completed:user_password", "owes time_based_otp"),
        ("rejected:time_based_otp:code_wrong", "owes time_based_otp"),
        ("completed:time_based_otp", "completed"),
    ]
    assert lost.flow_id != first.flow_id == wrong.flow_id == last.flow_id
    assert {trace.account_id for trace in (lost, first, wrong, last)} == {account.id}
    assert last.proofs == (("user_password", "knowledge"), ("time_based_otp", "possession"))
    assert (last.at - first.at, last.kind, last.state) == (timedelta(seconds=20), FlowKind.LOGIN, FlowState.COMPLETED)
    assert first.definition == first.flow_definition == site.app.engine.fingerprint
    facts = first.facts
    assert facts is not None
    assert (facts.is_active, facts.enrolled, facts.roles) == (True, ("time_based_otp",), ("editor",))
    assert facts.present == ("time_based_otp", "user_password")
    assert facts.is_described


async def test_what_a_step_cost_is_told_with_its_own_commit(site: Site) -> None:
    await site.account_with_totp()
    person = site.person()
    await person.log_in()
    await person.type_code()

    first, last = await traces_of(site)

    assert dict(first.cost) == {"hashes": 1, "store.get": 2, "store.commit": 1, "tasks.deferred": 0}
    assert dict(last.cost) == {"hashes": 0, "store.get": 1, "store.commit": 1, "tasks.deferred": 0}
    assert 0 < last.seconds < first.seconds < 5


async def test_an_unknown_name_leaves_a_trace_of_nobody(site: Site) -> None:
    await site.person().log_in("nobody@example.org")

    (trace,) = await traces_of(site)

    assert (trace.account_id, trace.facts, trace.events) == ("", None, ("rejected:user_password:invalid_credentials",))


async def test_a_wrong_password_asks_the_same_of_a_known_and_of_an_unknown_name() -> None:
    asked: list[str] = []

    class Curious(Traced):
        def is_active(self, account):
            asked.append(f"is_active {account.name}")
            return super().is_active(account)

        def demands_second_factor(self, account, flow):
            asked.append(f"demands_second_factor {account.name}")
            return super().demands_second_factor(account, flow)

    site = await make_site(Curious())
    await site.account_with_totp()
    for name in (ADA, "nobody@example.org"):
        await site.person().log_in(name, "wrong")
        site.clock.pass_by(timedelta(seconds=1))

    known, unknown = ({**trace.to_data(), "seconds": 0} for trace in await traces_of(site))

    assert asked == []
    assert {name for name in known if known[name] != unknown[name]} == {"account_id", "at", "flow_id", "started_at"}
    await site.close()


async def test_a_first_step_that_asks_on_asks_no_rule_about_a_known_name() -> None:
    class Mailing(UserPassword):
        async def answer(self, credential, submission, context):
            return Ask((Field("code"),), scratch={"seen": 1}, delivery=Delivery("code"))

    class Strict(Traced):
        authentication_providers = (Mailing,)

        def demands_second_factor(self, account, flow):
            raise AssertionError("asked before anything is proved")

    site = await make_site(Strict())
    account = await site.account_with_totp()
    for name in (ADA, "nobody@example.org"):
        await site.person().log_in(name)
        site.clock.pass_by(timedelta(seconds=1))

    known, unknown = await traces_of(site)

    assert (known.events, known.facts) == (unknown.events, unknown.facts) == (("asked:user_password",), None)
    assert (known.account_id, unknown.account_id) == (account.id, "")
    await site.close()


async def test_choosing_and_cancelling_are_told(site: Site) -> None:
    account = await site.account_with_totp()
    codes = Credential(account.id, "recovery_codes", site.clock(), site.clock(), {"digests": ["one"], "used": 9})
    await site.kit.enrolled(account, codes, is_substitute=True)
    person, _ = await site.pending()
    await person.get("/user/f2_recoverycode/start")
    page = await person.get("/user/f2_recoverycode/otp")
    await person.send(page.form("cancel"))

    assert told(await traces_of(site))[1:] == [
        ("chosen:recovery_codes", "owes time_based_otp (or recovery_codes)"),
        ("cancelled", "cancelled"),
    ]


async def test_too_many_wrong_codes_and_a_way_that_is_shut_are_told_with_their_reason(site: Site) -> None:
    await site.account(ADA, factors=("gone",))
    await site.person().log_in()

    (trace,) = await traces_of(site)

    assert told([trace]) == [("completed:user_password, refused:factor_unavailable", "refused: factor_unavailable")]


async def test_enrolling_a_factor_is_told(site: Site) -> None:
    await site.account()
    person = await site.logged_in()
    site.clock.pass_by(timedelta(seconds=1))
    page = await person.send((await person.get("/user/f2_timebasedotp/add")).form())
    await person.send(page.form("add"), otptoken="000000")

    asked, wrong = (await traces_of(site))[1:]

    assert (asked.kind, asked.events, asked.facts is not None) == (FlowKind.ENROL, ("asked:time_based_otp",), True)
    assert wrong.events[0].startswith("rejected:time_based_otp:code_")
    assert outcome_of(wrong) == "owes to set up time_based_otp"


async def test_accounts_leave_traces_of_what_is_done_about_passwords() -> None:
    class Open(Traced):
        authentication_providers = (Registering,)

    site = await make_site(Open())
    person = site.person()
    await person.send((await person.get("/user/auth_userpassword/add")).form(), name=ADA, password=PASSWORD)
    await person.send((await person.get(await site.mailed_link())).form())
    site.clock.pass_by(timedelta(seconds=1))
    await person.send((await person.get("/user/auth_userpassword/pwrecover")).form(), name=ADA)
    site.clock.pass_by(timedelta(seconds=1))
    await person.send((await person.get(await site.mailed_link())).form(), password=PASSWORD + " new")
    site.clock.pass_by(timedelta(seconds=1))
    await person.log_in(password=PASSWORD + " new")
    form = (await person.get("/user/auth_userpassword/change")).form()
    await person.send(form, current_password=PASSWORD, password=PASSWORD)
    await person.send(form, current_password=PASSWORD + " new", password=PASSWORD)

    found = await traces_of(site)
    assert sorted((trace.kind.value, ", ".join(trace.events)) for trace in found) == [
        ("login", "completed:user_password"),
        ("recover", "completed:ticket, completed:user_password"),
        ("register", "completed:user_password"),
        ("settings", "completed:user_password"),
        ("settings", "rejected:user_password:password_wrong"),
        ("verify", "completed:ticket, completed:consent"),
    ]
    assert {trace.account_id for trace in found} == {(await site.app.administration.find(ADA)).id}
    await site.close()


async def test_a_registration_leaves_the_same_trace_for_a_free_and_for_a_taken_name() -> None:
    class Open(Traced):
        authentication_providers = (Registering,)

    site = await make_site(Open())
    await site.account("taken@example.org")
    for name in ("free@example.org", "taken@example.org"):
        person = site.person()
        form = (await person.get("/user/auth_userpassword/add")).form()
        await person.send(form, name=name, password="a good long password")

    free, taken = ({**trace.to_data(), "seconds": 0} for trace in await traces_of(site))

    assert {name for name in free if free[name] != taken[name]} == {"account_id", "flow_id"}
    await site.close()


async def test_a_reason_that_no_provider_declares_is_not_kept() -> None:
    class Telling(UserPassword):
        async def answer(self, credential, submission, context):
            return Rejected(f"what_was_typed_{submission.get('password')}")

    site = await make_site(type("Mine", (Traced,), {"authentication_providers": (Telling,)})())
    await site.account()
    await site.person().log_in()

    (trace,) = await traces_of(site)

    assert trace.events == ("rejected:user_password:other",)
    await site.close()


async def test_rules_that_want_to_know_more_of_an_account_are_marked() -> None:
    class ByName(Traced):
        roles = (*User.roles, Role("boss", "Boss"))

        def demands_second_factor(self, account, flow):
            return {ADA: False}[account.name]

    site = await make_site(ByName())
    await site.account()
    await site.person().log_in()

    (trace,) = await traces_of(site)

    assert trace.facts is not None
    assert not trace.facts.is_described
    await site.close()


def test_a_trace_is_read_as_it_was_written() -> None:
    data = {
        "form": 1, "flow_id": "f", "account_id": None, "at": 2_000_000, "started_at": 1_000_000, "kind": "login",
        "definition": "d", "flow_definition": "several", "state": "asking", "step": 1, "place": 2,
        "events": ["completed:word"], "owed": [["prove", ["amber"], ["paper"]]], "refusal": "",
        "proofs": [["word", "knowledge"]], "facts": None, "cost": {"store.get": 2}, "seconds": 0.5, "rejections": 3,
    }  # fmt: skip

    assert Trace.from_data(data).to_data() == data
    with pytest.raises(ValueError, match="form 2"):
        Trace.from_data({**data, "form": 2})


# --- Faults, and the end ----------------------------------------------------------------------------------------------


async def test_where_the_commit_fails_there_is_no_trace_of_it() -> None:
    class Down:
        is_down = False

        async def before(self, call: Call) -> None:
            if self.is_down and call.operation == "commit":
                raise StoreUnavailable("down")

        def after(self, call: Call, seconds: float, error: BaseException | None) -> None:
            pass

    down = Down()
    site = await make_site(Traced(), observers=(down,))
    await site.account()
    down.is_down = True

    assert (await site.person().log_in()).status == 503
    down.is_down = False
    assert await traces_of(site) == []
    await site.close()


async def test_traces_end_with_their_retention(site: Site) -> None:
    await site.account()
    await site.logged_in()
    assert len(await traces_of(site)) == 1
    site.clock.pass_by(User.trace_retention)

    assert await traces_of(site) == []
    site.clock.pass_by(timedelta(seconds=1))
    assert (await site.app.administration.clean())[KIND] == 1


async def test_traces_are_erased_with_their_account_and_those_of_others_stay(site: Site) -> None:
    ada = await site.account()
    bob = await site.account("bob@example.org")
    for name in (ADA, "bob@example.org"):
        await site.person().log_in(name, "wrong")
        await site.logged_in(name)

    await site.app.administration.delete(ADA)

    assert {trace.account_id for trace in await traces_of(site)} == {bob.id}
    assert not [row for key, row in site.memory._rows.items() if key.kind == KIND and ada.id in row.body]


async def test_who_is_deleted_over_http_is_forgotten_by_the_worker(site: Site) -> None:
    await site.account("root@example.org", access=("root",))
    ada = await site.account()
    await site.logged_in()
    root = await site.logged_in("root@example.org")

    done = await root.json_post("/json/user/delete", key=ada.id)
    await site.run_tasks()

    assert done.status == 200
    assert ada.id not in {trace.account_id for trace in await traces_of(site)}


async def test_who_is_gone_leaves_no_trace_by_a_form_that_was_open_before(site: Site) -> None:
    ada = await site.account_with_totp()
    person, page = await site.pending()
    bob = await site.account("bob@example.org")
    other = await site.logged_in("bob@example.org")
    again = await other.get("/user/login?reauthenticate=1")
    for name in (ADA, "bob@example.org"):
        await site.app.administration.delete(name)
    await site.run_tasks()
    assert await traces_of(site) == []

    await person.send(page.form("cancel"))
    await other.send(again.form("login"), name="bob@example.org", password="wrong")

    left = await traces_of(site)
    assert {ada.id, bob.id}.isdisjoint({trace.account_id for trace in left})
    assert [trace.events for trace in left] == [("rejected:user_password:invalid_credentials",)]


async def test_what_was_on_its_way_when_its_account_went_is_erased_an_hour_later(site: Site) -> None:
    ada = await site.account()
    await site.person().log_in(password="wrong")
    (late,) = (await site.memory.find(KIND, "account_id", equals=ada.id)).records
    await site.app.administration.delete(ADA)
    await site.run_tasks()
    await site.memory.commit((Insert(late.key, late.data, late.expires_at),))
    assert len(await traces_of(site)) == 1

    site.clock.pass_by(ERASED_AGAIN_AFTER)
    await site.run_tasks()

    assert await traces_of(site) == []
    site.clock.pass_by(ERASED_AGAIN_AFTER)
    await site.run_tasks()
    assert not await site.kit.records("outbox")


async def test_more_traces_than_one_commit_holds_are_erased(site: Site) -> None:
    ada = await site.account()
    for _ in range(22):
        site.clock.pass_by(timedelta(minutes=16))
        for _ in range(4):
            await site.person().log_in(password="wrong")
        await site.logged_in()
    assert len(await traces_of(site)) == 110

    assert await erase(site.memory, ada.id) == 110
    assert await erase(site.memory, ada.id) == 0


async def test_a_listing_has_pages(site: Site) -> None:
    await site.account()
    for _ in range(5):
        site.clock.pass_by(timedelta(minutes=1))
        await site.person().log_in(password="wrong")

    first = await listed(site.memory, site.clock(), limit=3)
    second = await listed(site.memory, site.clock(), limit=3, cursor=first.cursor)

    assert [len(first.traces), len(second.traces), second.cursor] == [3, 2, None]
    late = await listed(site.memory, site.clock(), since=second.traces[0].at)
    assert late.traces == second.traces


async def test_a_trace_of_a_later_version_is_left_out_of_a_listing_and_counted(site: Site) -> None:
    await site.account()
    for _ in range(3):
        site.clock.pass_by(timedelta(minutes=1))
        await site.person().log_in(password="wrong")
    one = (await site.memory.find(KIND, "at", limit=3)).records[1]
    await site.memory.commit((Update(one.key, {**one.data, "form": 2, "state": "dreaming"}, one.version),))

    page = await listed(site.memory, site.clock())

    assert (len(page.traces), page.skipped) == (2, 1)
    assert one.data["flow_id"] not in {trace.flow_id for trace in page.traces}
