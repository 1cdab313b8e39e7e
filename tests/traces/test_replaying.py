"""Traces run against a definition: the same one changes nothing, another one is told by what it changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from authflow.flow import FlowKind, Owing, Refusal, Step, StepKind
from authflow.model import Credential, Status
from authflow.replaying import by_flow, replay
from authflow.testing import ADA, make_kit, make_site
from authflow.traces import Trace, order_of
from authflow.user import User
from providers.time_based_otp import TimeBasedOTP
from tests.threats.tools import Registering, secret_on
from tests.traces.conftest import Traced, traces_of
from tests.two_definitions import STONES


def changes(user: User, traces: list[Trace]) -> list[str]:
    kit = make_kit(user)
    try:
        return [str(result) for result in replay(kit.user, by_flow(traces)) if result.has_changed]
    finally:
        kit.pool.close()


def unknown(user: User, traces: list[Trace]) -> list[str]:
    kit = make_kit(user)
    try:
        return [result.now for result in replay(kit.user, by_flow(traces)) if result.is_unknown]
    finally:
        kit.pool.close()


def variant(**attributes: Any) -> User:
    return type("Variant", (User,), attributes)()


WITHOUT_APPS = {
    "second_factor_providers": (),
    "valid_authentication_methods": (("user_password", None),),
}


@pytest.fixture
async def traces() -> list[Trace]:
    """Logins with and without a factor, right and wrong, of people in several roles; an enrolment, a cancellation."""
    site = await make_site(Traced())
    await site.account_with_totp()
    await site.account("bob@example.org", roles=("editor",))
    await site.account("off@example.org", status=Status.DISABLED)

    async def later() -> None:
        site.clock.pass_by(timedelta(minutes=1))

    await site.person().log_in(password="wrong")
    await site.person().log_in("off@example.org")
    await later()
    await site.logged_in(with_code=True)
    await later()
    person, page = await site.pending()
    await person.send(page.form("otp"), otptoken=site.wrong_code())
    await person.send((await person.get("/user/f2_timebasedotp/otp")).form("cancel"))
    await later()
    bob = await site.logged_in("bob@example.org")
    page = await bob.send((await bob.get("/user/f2_timebasedotp/add")).form())
    await bob.send(page.form("add"), otptoken=site.code(secret=secret_on(page)))
    found = await traces_of(site)
    await site.close()
    assert len(found) == 10
    return found


async def test_under_the_same_definition_nothing_changes(traces: list[Trace]) -> None:
    assert changes(User(), traces) == []


async def test_under_the_same_definition_what_accounts_do_with_passwords_does_not_change() -> None:
    class Open(Traced):
        authentication_providers = (Registering,)

    site = await make_site(Open())
    person = site.person()
    await person.send((await person.get("/user/auth_userpassword/add")).form(), name=ADA, password="a good password")
    await person.send((await person.get(await site.mailed_link())).form())
    site.clock.pass_by(timedelta(seconds=1))
    await person.send((await person.get("/user/auth_userpassword/pwrecover")).form(), name=ADA)
    await person.send((await person.get(await site.mailed_link())).form(), password="another good one")
    found = await traces_of(site)

    assert [trace.kind for trace in found] == [FlowKind.REGISTER, FlowKind.VERIFY, FlowKind.RECOVER]
    assert changes(Open(), found) == []
    await site.close()


async def test_every_rejection_that_ended_a_flow_is_replayed(traces: list[Trace]) -> None:
    site = await make_site(Traced())
    await site.account_with_totp()
    person, page = await site.pending()
    for minute in range(4):
        site.clock.pass_by(timedelta(minutes=minute))
        for _ in range(3):
            page = await person.send(page.form("otp"), otptoken=site.wrong_code()) if page.forms else page
    found = await traces_of(site)

    assert changes(User(), found) == []
    await site.close()


async def test_a_factor_that_is_demanded_of_a_role_is_told(traces: list[Trace]) -> None:
    (login,) = changes(variant(second_factor_required_roles=frozenset({"editor"})), traces)

    assert login.startswith("login ")
    assert login.endswith(": after completed:user_password was completed, now owes to set up time_based_otp")


async def test_a_demand_that_is_dropped_is_told() -> None:
    site = await make_site(type("Strict", (Traced,), {"second_factor_required_roles": frozenset({"editor"})})())
    await site.account(roles=("editor",))
    await site.person().log_in()

    (login,) = changes(User(), await traces_of(site))

    assert login.endswith("was owes to set up time_based_otp, now completed")
    await site.close()


async def test_a_provider_that_is_gone_is_told_once_for_each_flow(traces: list[Trace]) -> None:
    found = changes(variant(**WITHOUT_APPS), traces)

    assert [line.partition(": ")[2] for line in found] == [
        "after completed:user_password was owes time_based_otp, now refused: factor_unavailable",
        "after completed:user_password was owes time_based_otp, now refused: factor_unavailable",
        "after the start was owes to set up time_based_otp, now refused: no_method_left",
    ]


async def test_who_is_active_is_asked_anew(traces: list[Trace]) -> None:
    found = changes(variant(is_active=lambda self, account: False), traces)

    assert len(found) == 4
    assert all("now refused: account_inactive" in line for line in found)


async def test_a_step_more_and_another_table_are_told(traces: list[Trace]) -> None:
    class Twice(User):
        def remaining_steps(self, kind, proofs, standing):
            verdict = super().remaining_steps(kind, proofs, standing)
            if kind is FlowKind.LOGIN and len(proofs) == 1 and verdict == Owing():
                return Owing((Step(StepKind.PROVE, ("recovery_codes",)),))
            return verdict

    assert [line.partition(": ")[2] for line in changes(Twice(), traces)] == [
        "after completed:user_password was completed, now owes recovery_codes"
    ]


async def test_choices_and_answers_without_one_are_replayed() -> None:
    class Choosing(Traced):
        second_factor_providers = (STONES["amber"], STONES["beryl"])
        valid_authentication_methods = (("user_password", "amber"), ("user_password", "beryl"), ("user_password", None))

    class Fewer(Choosing):
        second_factor_providers = (STONES["amber"],)
        valid_authentication_methods = (("user_password", "amber"), ("user_password", None))

    site = await make_site(Choosing())
    account = await site.account()
    for name in ("amber", "beryl"):
        account = await site.kit.enrolled(account, Credential(account.id, name, site.clock(), site.clock(), {}))
    for chosen in (True, False):
        site.clock.pass_by(timedelta(minutes=1))
        person = site.person()
        await person.json_post("/json/user/auth_userpassword/login", name=ADA, password=person.password)
        if chosen:
            await person.get("/json/user/f2_beryl/start")
        done = await person.json_post("/json/user/f2_beryl/otp", word="open")
        assert done.json == "OKAY"
    found = await traces_of(site)

    assert sum("chosen:beryl" in trace.events for trace in found) == 1
    assert changes(Choosing(), found) == []
    narrowed = changes(Fewer(), found)
    assert len(narrowed) == 2
    assert all("was owes amber or beryl, now owes amber" in line for line in narrowed)
    await site.close()


async def test_a_flow_whose_beginning_is_missing_begins_where_it_is_known(traces: list[Trace]) -> None:
    late = [trace for trace in traces if trace.step != 1 or "completed:user_password" not in trace.events]

    assert len(late) < len(traces)
    assert changes(User(), late) == []


async def test_the_order_in_which_traces_come_does_not_matter(traces: list[Trace]) -> None:
    strict = variant(second_factor_required_roles=frozenset({"editor"}))

    assert changes(strict, traces[::-1]) == changes(strict, traces)
    assert changes(User(), traces[::-1]) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda trace: {"events": ["flown:user_password"]},
        lambda trace: {"proofs": [["user_password", "telepathy"]], "events": ["completed:user_password"]},
    ],
    ids=["event", "evidence"],
)
async def test_what_no_version_writes_is_told_and_breaks_nothing(
    traces: list[Trace], spoil: Callable[[Trace], dict[str, Any]]
) -> None:
    odd = Trace.from_data({**traces[2].to_data(), **spoil(traces[2]), "flow_id": "odd"})

    (told,) = changes(User(), [odd, *traces])

    assert told.startswith("login odd: ")
    assert "impossible" in told


async def test_a_flow_of_several_definitions_is_marked(traces: list[Trace]) -> None:
    mixed = Trace.from_data({**traces[2].to_data(), "definition": "elsewhere"})

    (told,) = changes(variant(is_active=lambda self, account: account.status == Status.DISABLED), [mixed])

    assert told.endswith("(several definitions moved it then)")


# --- What a trace does not tell ---------------------------------------------------------------------------------------


class ByDomain(Traced):
    def demands_second_factor(self, account, flow):
        return account.canonical_name.endswith("@example.org")


class Forgiving(Traced):
    def demands_second_factor(self, account, flow):
        try:
            return account.canonical_name.endswith("@example.org")
        except Exception:
            return False


class ByPlace(Traced):
    def demands_second_factor(self, account, flow):
        return flow.return_to.startswith("/admin")


@pytest.mark.parametrize("stricter", [ByDomain, Forgiving])
async def test_a_new_rule_on_what_no_trace_holds_is_not_taken_for_no_change(stricter: type[User]) -> None:
    site = await make_site(Traced())
    await site.account()
    await site.logged_in()
    found = await traces_of(site)

    assert unknown(stricter(), found) == ["cannot tell: it hangs on account.canonical_name, which no trace holds"]
    assert changes(stricter(), found) == []
    await site.close()


async def test_a_rule_that_makes_no_difference_to_a_flow_may_look_at_anything() -> None:
    site = await make_site(Traced())
    await site.account_with_totp()
    await site.logged_in(with_code=True)
    found = await traces_of(site)

    assert unknown(ByDomain(), found) == changes(ByDomain(), found) == []
    await site.close()


async def test_under_the_same_definition_a_rule_on_where_a_flow_leads_changes_nothing() -> None:
    site = await make_site(ByPlace())
    await site.account()
    await site.person().log_in(path="/user/login?next=/admin/x")
    found = await traces_of(site)

    assert found[-1].facts is not None
    assert not found[-1].facts.is_described
    assert changes(ByPlace(), found) == unknown(ByPlace(), found) == []
    assert unknown(type("Other", (ByPlace,), {"second_factor_required_roles": frozenset({"editor"})})(), found) == [
        "cannot tell: it hangs on flow.return_to, which no trace holds"
    ]
    await site.close()


async def test_a_provider_that_was_not_declared_then_was_not_looked_for() -> None:
    class NoApps(Traced):
        second_factor_providers = ()
        valid_authentication_methods = (("user_password", None),)

    with_apps = await make_site(Traced())
    await with_apps.account_with_totp()
    without = await make_site(NoApps(), store=with_apps.memory, clock=with_apps.clock)
    await without.person().log_in()
    found = await traces_of(without)

    assert changes(NoApps(), found) == unknown(NoApps(), found) == []
    assert unknown(Traced(), found) == [
        "cannot tell: it hangs on the credential of recovery_codes and the credential of time_based_otp, "
        "which no trace holds"
    ]
    await without.close()
    await with_apps.close()


async def test_codes_that_stand_in_and_were_not_declared_then_were_not_looked_for() -> None:
    class NoCodes(Traced):
        second_factor_providers = (TimeBasedOTP,)

    site = await make_site(NoCodes())
    await site.account_with_totp()
    await site.person().log_in()
    found = await traces_of(site)

    assert changes(NoCodes(), found) == unknown(NoCodes(), found) == []
    assert unknown(Traced(), found) == [
        "cannot tell: it hangs on the credential of recovery_codes, which no trace holds"
    ]
    await site.close()


# --- Time, reasons and files that are cut -----------------------------------------------------------------------------


@pytest.mark.parametrize(("minutes", "is_late"), [(1, True), (5, True), (6, False)])
async def test_an_answer_that_a_shorter_window_would_not_have_waited_for_is_told(minutes: int, is_late: bool) -> None:
    site = await make_site(Traced())
    await site.account_with_totp()
    person, page = await site.pending()
    site.clock.pass_by(timedelta(minutes=5))
    await person.send(page.form("otp"), otptoken=site.code())
    found = await traces_of(site)

    told = changes(variant(second_factor_time_window=timedelta(minutes=minutes)), found)

    assert [line.partition(": ")[2] for line in told] == [
        "after completed:user_password, completed:time_based_otp was completed, now too late"
    ] * is_late
    await site.close()


async def test_an_enrolment_that_a_shorter_window_would_not_have_waited_for_is_told() -> None:
    site = await make_site(Traced())
    await site.account()
    person = await site.logged_in()
    page = await person.send((await person.get("/user/f2_timebasedotp/add")).form())
    site.clock.pass_by(timedelta(minutes=5))
    await person.send(page.form("add"), otptoken=site.code(secret=secret_on(page)))
    found = await traces_of(site)

    (told,) = changes(variant(second_factor_time_window=timedelta(minutes=5)), found)

    assert told.endswith("was completed, now too late")
    assert changes(variant(second_factor_time_window=timedelta(minutes=6)), found) == []
    await site.close()


async def test_a_reason_in_other_words_than_ours_is_no_change() -> None:
    class Odd(Traced):
        def remaining_steps(self, kind, proofs, standing):
            return Refusal("closed-today") if proofs else super().remaining_steps(kind, proofs, standing)

    site = await make_site(Odd())
    await site.account()
    await site.person().log_in()
    found = await traces_of(site)

    assert found[-1].refusal == "other"
    assert changes(Odd(), found) == []
    await site.close()


@pytest.mark.parametrize("cut", range(10))
async def test_a_file_that_is_cut_in_a_flow_which_too_many_rejections_ended_is_no_change(cut: int) -> None:
    site = await make_site(Traced())
    await site.account()
    person = await site.logged_in()
    page = await person.send((await person.get("/user/f2_timebasedotp/add")).form())
    for _ in range(10):
        site.clock.pass_by(timedelta(seconds=1))
        page = await person.send(page.form("add"), otptoken="000000")
    found = sorted(await traces_of(site), key=order_of)[1:]

    assert found[-1].events[-1] == "refused:too_many_rejections"
    assert changes(User(), found[cut:]) == []
    await site.close()
