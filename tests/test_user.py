"""`User`: what an application subclasses, and the one gate that every login passes."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from authflow.errors import FlowInvalid, Forbidden, IllegalTransition, NotAuthenticated, NotFound, TooLate
from authflow.flow import SESSION_KINDS, Flow, FlowKind, FlowState, Step, StepKind
from authflow.loading import Loaded
from authflow.model import Account, Credential, Factor, Proof, Role, Session, Status
from authflow.results import EnrolmentOwed, LoggedIn, StepOwed
from authflow.sessions import Lifetimes, issue
from authflow.testing import Kit, browser, make_kit
from authflow.throttle import Limits, SlidingWindow
from authflow.user import User, with_rights
from providers.recovery_codes import RecoveryCodes
from providers.time_based_otp import TimeBasedOTP
from providers.user_password import UserPassword

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ADA = Account("ada", "ada@example.org", "ada@example.org", NOW, NOW)
PROOF = Proof("user_password", Factor.KNOWLEDGE, NOW, "f", 0, "ada")
DONE = Flow("f", FlowKind.LOGIN, FlowState.COMPLETED, (), NOW, NOW, proofs=(PROOF,), subject="ada", epoch=1, step=1)
STEP = Step(StepKind.PROVE, ("time_based_otp",))
WAITING = replace(DONE, state=FlowState.ASKING, owed=(STEP,), deadline_at=NOW + timedelta(minutes=10))


@pytest.fixture
def kit() -> Kit:
    return make_kit()


# --- Methods ----------------------------------------------------------------------------------------------------------


def test_tools_are_told_the_open_methods_by_name(kit: Kit) -> None:
    assert kit.user.get_auth_methods() == [
        ("X-VIUR-AUTH-User-Password", "X-VIUR-2FACTOR-TimeBasedOTP"),
        ("X-VIUR-AUTH-User-Password", None),
    ]


def test_a_second_factor_is_found_by_its_class(kit: Kit) -> None:
    class Mine(TimeBasedOTP):
        pass

    assert kit.user.second_factor_provider_by_class(RecoveryCodes).name == "recovery_codes"
    for other in (UserPassword, Mine):
        with pytest.raises(NotFound):
            kit.user.second_factor_provider_by_class(other)


# --- The gate ---------------------------------------------------------------------------------------------------------


def test_a_completed_flow_makes_a_session_with_its_proofs() -> None:
    issued = User().authenticate_user(DONE, ADA, NOW, client="an agent")

    session = issued.session
    assert (session.account_id, session.epoch, session.authenticated_at) == ("ada", 1, NOW)
    assert (session.proofs, session.client, session.static_key) == ((PROOF,), "an agent", "")


@pytest.mark.parametrize("state", sorted(set(FlowState) - {FlowState.COMPLETED}))
def test_no_session_is_made_while_a_flow_is_anything_but_completed(state: FlowState) -> None:
    with pytest.raises(IllegalTransition):
        User().authenticate_user(replace(DONE, state=state), ADA, NOW)


@pytest.mark.parametrize(
    "flow", [WAITING, replace(DONE, owed=(STEP,)), replace(DONE, proofs=())], ids=["waiting", "owing", "unproved"]
)
def test_no_session_is_made_while_a_step_is_owed_or_nothing_proved(flow: Flow) -> None:
    with pytest.raises(IllegalTransition):
        User().authenticate_user(flow, ADA, NOW)


@pytest.mark.parametrize("kind", FlowKind)
def test_only_a_login_of_some_kind_makes_a_session(kind: FlowKind) -> None:
    flow = replace(DONE, kind=kind)

    if kind in SESSION_KINDS:
        assert User().authenticate_user(flow, ADA, NOW).session.account_id == "ada"
    else:
        with pytest.raises(IllegalTransition):
            User().authenticate_user(flow, ADA, NOW)


@pytest.mark.parametrize(
    "account",
    [
        replace(ADA, id="bob"),
        replace(ADA, epoch=0),
        *(replace(ADA, status=status) for status in (Status.DISABLED, Status.WAITING_FOR_EMAIL_VERIFICATION, 9, 0)),
    ],
)
def test_no_session_is_made_for_somebody_else_or_somebody_inactive(account: Account) -> None:
    with pytest.raises(FlowInvalid):
        User().authenticate_user(DONE, account, NOW)


def loaded(account: Account | None, *credentials: str) -> Loaded:
    made = {name: Credential(account.id, name, NOW, NOW) for name in credentials} if account else {}
    return Loaded({}, account, made, None, ())


def test_a_second_factor_counts_for_its_own_account_in_its_time(kit: Kit) -> None:
    ada = replace(ADA, factors=("time_based_otp",))
    proof = Proof("time_based_otp", Factor.POSSESSION, NOW, "f", 1, "ada")
    live = loaded(ada, "user_password", "time_based_otp")

    assert kit.user.second_factor_succeeded(WAITING, proof, live, NOW).state is FlowState.COMPLETED
    with pytest.raises(TooLate):
        kit.user.second_factor_succeeded(WAITING, proof, live, WAITING.deadline_at)
    with pytest.raises(Forbidden):
        kit.user.second_factor_succeeded(WAITING, replace(proof, subject="bob"), live, NOW)


def test_a_proof_about_nobody_counts_for_nothing(kit: Kit) -> None:
    with pytest.raises(IllegalTransition):
        kit.user.continue_authentication_flow(WAITING, PROOF, loaded(None))


def test_a_proof_about_another_account_than_was_read_counts_for_nothing(kit: Kit) -> None:
    begun = kit.engine.start()
    about_bob = replace(PROOF, flow_id=begun.id, subject="bob")

    with pytest.raises(IllegalTransition):
        kit.user.continue_authentication_flow(begun, about_bob, loaded(ADA, "user_password"))


def test_what_is_owed_is_worked_out_from_live_records(kit: Kit) -> None:
    begun = kit.engine.start()
    first = replace(PROOF, flow_id=begun.id)

    without = kit.user.continue_authentication_flow(begun, first, loaded(ADA, "user_password"))
    enrolled = replace(ADA, factors=("time_based_otp",))
    owing = kit.user.continue_authentication_flow(begun, first, loaded(enrolled, "user_password", "time_based_otp"))
    orphan = kit.user.continue_authentication_flow(begun, first, loaded(enrolled, "user_password"))

    assert without.state is FlowState.COMPLETED
    assert (owing.state, owing.owed) == (FlowState.ASKING, (STEP,))
    assert orphan.state is FlowState.REFUSED


# --- What survives ----------------------------------------------------------------------------------------------------


async def test_only_persistent_fields_survive_a_login_and_a_logout() -> None:
    class Shop(User):
        session_persistent_fields_on_login = ("language", "cart")
        session_persistent_fields_on_logout = ("language",)

    kit = make_kit(Shop())
    account = await kit.account()
    before = issue(kit.clock(), fields={"language": "de", "cart": [1], "secret": "x"})
    await kit.memory.commit((before.write(Lifetimes()),))

    result = await kit.login(visitor=browser(before, "nobody"))
    current = await kit.engine.sessions.current(browser(result.session, account.id), kit.clock())
    after = await kit.engine.log_out(current)

    assert result.session.session.fields == {"language": "de", "cart": [1]}
    assert after.session.fields == {"language": "de"}
    assert (after.session.account_id, after.session.proofs, after.session.authenticated_at) == ("", (), None)
    assert [record.key.name for record in await kit.records("session")] == [after.session.id]


async def test_nothing_survives_a_session_that_has_run_out(kit: Kit) -> None:
    await kit.account()
    before = issue(kit.clock(), fields={"language": "de"})
    await kit.memory.commit((before.write(Lifetimes()),))
    kit.clock.pass_by(timedelta(hours=2))

    result = await kit.login(visitor=browser(before, "nobody"))

    assert result.session.session.fields == {}


def test_a_logout_that_keeps_nothing_leaves_no_session() -> None:
    bare = Session("id", NOW, NOW, account_id="ada", fields={"cart": 1})

    assert User().session_after_logout(bare, NOW) is None


# --- Hooks ------------------------------------------------------------------------------------------------------------


class Noting(User):
    def __init__(self) -> None:
        self.heard: list[tuple] = []

    async def on_login(self, flow, account) -> None:
        self.heard.append(("login", flow.state, account.name))

    async def on_logout(self, account) -> None:
        self.heard.append(("logout", account.name))


class Failing(User):
    async def on_login(self, flow, account) -> None:
        raise RuntimeError("the newsletter is down")

    async def on_logout(self, account) -> None:
        raise RuntimeError("the newsletter is down")


async def log_in_and_out(kit: Kit):
    account = await kit.account()
    result = await kit.login()
    visitor = browser(result.session, account.id)
    current = await kit.engine.sessions.current(visitor, kit.clock())
    await kit.engine.log_out(current)
    return current, await kit.engine.sessions.current(visitor, kit.clock())


async def test_hooks_hear_of_a_login_and_a_logout_once_they_are_done() -> None:
    kit = make_kit(Noting())

    await kit.account("bob@example.org")
    await kit.login("bob@example.org", "wrong")
    await log_in_and_out(kit)

    name = "ada@example.org"
    assert kit.user.heard == [("login", FlowState.COMPLETED, name), ("logout", name)]


async def test_a_failing_hook_undoes_nothing_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    kit = make_kit(Failing())

    with caplog.at_level(logging.ERROR):
        during, after = await log_in_and_out(kit)

    assert during is not None
    assert after is None
    assert caplog.messages == ["a hook failed"] * 2
    assert "the newsletter is down" in caplog.text


# --- Rights -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "active"), [(0, False), (1, False), (2, False), (5, False), (9, False), (10, True),
                                                (11, True)])  # fmt: skip
def test_ten_and_above_is_active(status: int, active: bool) -> None:
    assert User().is_active(replace(ADA, status=status)) is active


def test_access_is_an_accounts_own_flags_and_those_of_its_roles() -> None:
    user = User()

    assert user.access_of(ADA) == frozenset()
    assert user.access_of(replace(ADA, access=("x",))) == {"x"}
    assert user.access_of(replace(ADA, access=("x",), roles=("viewer", "custom"))) == {"x", "admin", "user-view"}
    assert user.access_of(replace(ADA, access=("x",), roles=("viewer",))) == {"admin", "user-view"}
    assert user.access_of(replace(ADA, roles=("no-such-role",))) == frozenset()
    assert user.is_admin(replace(ADA, access=("root",)))
    assert not user.is_admin(replace(ADA, roles=("admin",)))


@pytest.mark.parametrize(
    ("access", "sees", "edits"),
    [
        ((), False, False),
        (("admin",), False, False),
        (("user-view",), True, False),
        (("user-edit",), False, True),
        (("root",), True, True),
    ],
)
def test_others_are_seen_and_edited_by_right(access: tuple[str, ...], sees: bool, edits: bool) -> None:
    bob = replace(ADA, id="bob", access=access)

    assert User().can_view(bob, ADA) is sees
    assert User().can_edit(bob, ADA) is edits
    assert User().can_view(bob, bob)
    assert not User().can_view(None, ADA)
    assert not User().can_edit(None, ADA)


async def test_an_entry_that_may_not_be_seen_looks_like_one_that_is_not_there(kit: Kit) -> None:
    ada, bob = await kit.account(), await kit.account("bob@example.org")

    assert await kit.user.view(ada, "self") == ada
    assert await kit.user.view(ada, ada.id) == ada
    for key in (bob.id, "no-such-id", "", "x" * 500):
        with pytest.raises(NotFound):
            await kit.user.view(ada, key)
    with pytest.raises(NotAuthenticated):
        await kit.user.view(None, ada.id)
    assert await kit.user.view(replace(ada, roles=("viewer",)), bob.id) == bob


def test_changed_rights_raise_epoch_and_version() -> None:
    changed = with_rights(ADA, status=Status.DISABLED, access=["root"])

    assert (changed.status, changed.access) == (Status.DISABLED, ("root",))
    assert (changed.epoch, changed.version) == (ADA.epoch + 1, ADA.version + 1)


def test_flags_are_offered_with_labels() -> None:
    assert ("user-view", "user view") in User().extend_access_rights()


# --- Subclassing ------------------------------------------------------------------------------------------------------


async def test_a_subclass_is_configured_by_class_attributes() -> None:
    class Bank(User):
        second_factor_required_roles = frozenset({"teller"})
        roles = (*User.roles, Role("teller", "Teller", ("till",)))
        limits = Limits(password_per_name=SlidingWindow(1, timedelta(minutes=1)))
        lifetimes = Lifetimes(idle=timedelta(minutes=1))
        second_factor_time_window = timedelta(minutes=1)

        def is_active(self, account: Account) -> bool:
            return super().is_active(account) and account.profile.get("blocked") is not True

    kit = make_kit(Bank())
    await kit.account("teller@example.org", roles=("teller",))
    await kit.account("blocked@example.org", profile={"blocked": True})
    client = await kit.account("client@example.org")

    owed = await kit.login("teller@example.org")
    refused = await kit.login("blocked@example.org")
    result = await kit.login("client@example.org")

    assert isinstance(owed, EnrolmentOwed)
    assert owed.flow.deadline_at == kit.clock() + timedelta(minutes=1)
    assert refused.reason == "invalid_credentials"
    assert isinstance(result, LoggedIn)
    kit.clock.pass_by(timedelta(minutes=1))
    assert await kit.engine.sessions.current(browser(result.session, client.id), kit.clock()) is None


async def test_policy_may_demand_a_factor_by_account() -> None:
    class Careful(User):
        def demands_second_factor(self, account, flow) -> bool:
            return "root" in self.access_of(account)

    kit = make_kit(Careful())
    await kit.account("root@example.org", access=("root",))
    await kit.account("ada@example.org")

    assert isinstance(await kit.login("root@example.org"), EnrolmentOwed)
    assert isinstance(await kit.login("ada@example.org"), LoggedIn)


async def test_a_factor_that_was_enrolled_a_moment_ago_is_owed_at_once(kit: Kit) -> None:
    account = await kit.account()
    assert isinstance(await kit.login(), LoggedIn)
    data = {"interval": 30, "digits": 6, "algorithm": "SHA1", "drift": 0.0, "last_counter": -1, "candidate": None,
            "serial": ""}  # fmt: skip
    await kit.enrolled(account, Credential(account.id, "time_based_otp", NOW, NOW, data, b"1" * 20))

    assert isinstance(await kit.login(), StepOwed)
