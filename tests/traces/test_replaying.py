"""Traces run against a definition: the same one changes nothing, another one is told by what it changes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from authflow.flow import FlowKind, Owing, Step, StepKind
from authflow.model import Credential, Status
from authflow.replaying import by_flow, replay
from authflow.testing import ADA, make_kit, make_site
from authflow.traces import Trace
from authflow.user import User
from tests.threats.tools import Registering, secret_on
from tests.traces.conftest import Traced, traces_of
from tests.two_definitions import STONES


def changes(user: User, traces: list[Trace]) -> list[str]:
    kit = make_kit(user)
    try:
        return [str(result) for result in replay(kit.user, by_flow(traces)) if result.has_changed]
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
