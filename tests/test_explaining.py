"""What is open to an account, why, and what it costs: told by the functions that serve, measured by the engine."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from authflow.apart import apart
from authflow.engine import Engine
from authflow.errors import BadInput
from authflow.explained_accounts import Subject, described, subject_of
from authflow.explaining import EXPLAINED, Explained, explain
from authflow.flow import FlowKind, Owing, Step, StepKind, Verdict
from authflow.model import Account, Proof, Status
from authflow.policy import Standing
from authflow.records import credential_key
from authflow.rehearsal.rehearsing import Rehearsal
from authflow.rehearsal.ways import Cost
from authflow.settings import Settings, from_environment
from authflow.testing import ADA, PASSWORD, Authenticator, make_site
from authflow.user import User
from providers.user_password import UserPassword
from tests.diagrams.kit import Demanding

ROOT = Path(__file__).parent.parent
CODES = ("time_based_otp", "recovery_codes")
LOCAL = ("user_password", *CODES)


def settings() -> Settings:
    return from_environment({"AUTHFLOW_GOOGLE_CLIENT_ID": "client.apps.googleusercontent.com"})


def engine_of(user: User | None = None) -> Engine:
    app = apart(settings(), user or User())
    app.services.pool.close()
    return app.engine


def told(engine: Engine, kind: FlowKind, **described_as) -> Explained:
    [flow] = explain(engine, described(engine, **described_as), [kind]).flows
    return flow


def ways(flow: Explained) -> dict[tuple[str, ...], tuple[str, str, str]]:
    """Return outcome, level and the reason of the last answer, by the answers."""
    return {path.answers: (path.outcome, path.level, path.reasons[-1]) for path in flow.paths}


# --- Ways and reasons -------------------------------------------------------------------------------------------------


def test_without_a_factor_the_password_is_enough_since_its_pair_is_open() -> None:
    assert ways(told(engine_of(), FlowKind.LOGIN, factors=["user_password"])) == {
        ("user_password",): (
            "logged in",
            "AAL1",
            "the pair (user_password, None) is open: time_based_otp is not enrolled",
        )
    }


def test_a_usable_factor_makes_the_pair_without_one_fall_away() -> None:
    login = told(engine_of(), FlowKind.LOGIN, factors=LOCAL)

    fallen = "the pair (user_password, None) falls away, since time_based_otp is enrolled and usable"
    assert [path.reasons[0] for path in login.paths] == [fallen, fallen]
    assert ways(login) == {
        ("user_password", "time_based_otp"): (
            "logged in", "AAL2", "the pair (user_password, time_based_otp) is proved",
        ),
        ("user_password", "recovery_codes"): ("logged in", "AAL2", "recovery_codes stands in for time_based_otp"),
    }  # fmt: skip
    assert login.shut == ("google_account: nothing of it is connected with the account",)


def test_a_role_that_demands_a_factor_is_named() -> None:
    login = told(engine_of(Demanding()), FlowKind.LOGIN, factors=["user_password"], roles=["admin"])

    assert set(ways(login)) == {("user_password", "time_based_otp"), ("user_password", "code_by_mail")}
    assert login.paths[0].reasons[0] == (
        "role admin demands a second factor, and the account has none that is paired with user_password: "
        "setting one up is the last step"
    )
    assert [path.level for path in login.paths] == ["AAL2", "AAL1"]


def test_a_factor_whose_provider_is_gone_refuses_and_the_way_out_is_told() -> None:
    engine = engine_of()
    found = explain(engine, described(engine, factors=["yubikey"]))

    assert found.orphans == (
        ("yubikey", "its provider is not declared any more", "authflow users factors NAME --remove yubikey"),
    )
    assert {path.outcome for path in found.flows[0].paths} == {"refused: factor_unavailable"}
    needs_a_login = {FlowKind.REAUTHENTICATE, FlowKind.STEP_UP, FlowKind.SETTINGS, FlowKind.ENROL}
    assert {flow.kind for flow in found.flows if not flow.paths} == needs_a_login


def test_an_account_that_is_not_active_completes_nothing() -> None:
    engine = engine_of()
    found = explain(engine, described(engine, status=Status.DISABLED))

    assert not any(path.is_open for flow in found.flows for path in flow.paths)
    assert "status 5, disabled" in found.flows[0].paths[0].reasons[0]
    assert found.facts[0] == ("status", "5, disabled (may not log in)")


def test_what_is_enrolled_cannot_be_enrolled_again() -> None:
    enrol = told(engine_of(Demanding()), FlowKind.ENROL, factors=LOCAL)

    assert set(ways(enrol)) == {("code_by_mail",)}
    assert enrol.shut == ("time_based_otp: it is enrolled; one of a kind",)


def test_recovery_needs_an_address_and_logs_nobody_in() -> None:
    engine = engine_of()
    whole = described(engine)
    without = Subject(Account(**{**_fields(whole.account), "email": None}), whole.present, {}, is_described=True)

    assert {path.outcome for path in explain(engine, whole, [FlowKind.RECOVER]).flows[0].paths} == {
        "done; logs nobody in"
    }
    assert "no address" in explain(engine, without, [FlowKind.RECOVER]).flows[0].shut[0]


def _fields(account: Account) -> dict:
    return {name: getattr(account, name) for name in account.__dataclass_fields__}


class Twice(User):
    """Wants the password of everybody, also after Google."""

    def remaining_steps(self, kind: FlowKind, proofs: Sequence[Proof], standing: Standing | None) -> Verdict:
        verdict = super().remaining_steps(kind, proofs, standing)
        if kind is FlowKind.LOGIN and [proof.provider for proof in proofs] == ["google_account"]:
            return Owing((Step(StepKind.PROVE, ("user_password",)),))
        return verdict


def test_a_policy_of_the_applications_own_is_said_to_be_that() -> None:
    login = told(engine_of(Twice()), FlowKind.LOGIN)

    by_google = next(path for path in login.paths if path.answers[0] == "google_account")
    assert by_google.answers == ("google_account", "user_password")
    assert by_google.reasons[0] == (
        "Twice.remaining_steps of this application says so; the stock rules would say that nothing more is owed"
    )


async def test_why_a_factor_of_a_stored_account_cannot_be_asked_for_is_told() -> None:
    site = await make_site(User())
    await site.account_with_totp(ADA)
    records, account = await site.app.administration.read(ADA)
    place = credential_key(account.id, "time_based_otp")
    without = {key: record for key, record in records.items() if key != place}

    whole = subject_of(site.app.engine, records, account)
    by_other_keys = subject_of(engine_of(), records, account)
    lost = subject_of(site.app.engine, without, account)

    assert (dict(whole.broken), "time_based_otp" in whole.present) == ({}, True)
    assert by_other_keys.broken == {"time_based_otp": "its credential cannot be decrypted: the master key is gone"}
    assert lost.broken == {"time_based_otp": "its credential is gone"}


def test_codes_alone_cannot_be_described() -> None:
    with pytest.raises(BadInput, match="stands in"):
        described(engine_of(), factors=["recovery_codes"])


# --- Costs ------------------------------------------------------------------------------------------------------------


@pytest.fixture(params=[User, Demanding], ids=["stock", "demanding"])
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Engine, Rehearsal]]:
    rehearsal = await Rehearsal.of(settings(), request.param())
    yield engine_of(request.param()), rehearsal
    await rehearsal.close()


@pytest.fixture
async def rehearsal() -> AsyncIterator[Rehearsal]:
    made = await Rehearsal.of(settings(), User())
    yield made
    await made.close()


@pytest.mark.parametrize(
    "kind_of_account",
    [{}, {"factors": LOCAL}, {"factors": CODES}, {"factors": ["yubikey"]}, {"roles": ["admin"]}],
    ids=lambda told: "-".join(map(str, *told.values())) if told else "bare",
)
async def test_the_engine_ends_where_the_explanation_says(
    stage: tuple[Engine, Rehearsal], kind_of_account: dict
) -> None:
    engine, rehearsal = stage
    subject = described(engine, **kind_of_account)
    login = explain(engine, subject, [FlowKind.LOGIN]).flows[0]

    assert login.paths
    for path in login.paths:
        cost = await rehearsal.cost(subject, FlowKind.LOGIN, path.answers)
        assert cost is not None
        assert cost.outcome == path.outcome


async def test_logging_in_once_more_ends_in_a_login_by_a_fresh_code(rehearsal: Rehearsal) -> None:
    subject = described(engine_of(), factors=LOCAL)

    for second in CODES:
        cost = await rehearsal.cost(subject, FlowKind.REAUTHENTICATE, ["user_password", second])
        assert cost is not None
        assert cost.outcome == "logged in"


async def test_a_disabled_account_is_refused_at_the_cost_of_a_wrong_password(rehearsal: Rehearsal) -> None:
    engine = engine_of()
    active, disabled = described(engine), described(engine, status=Status.DISABLED)

    right = await rehearsal.cost(active, FlowKind.LOGIN, ["user_password"])
    refused = await rehearsal.cost(disabled, FlowKind.LOGIN, ["user_password"])

    assert right is not None
    assert refused is not None
    assert (right.outcome, refused.outcome) == ("logged in", "refused")
    assert (right.round_trips, right.hashes) == (refused.round_trips, refused.hashes)


def architecture() -> dict[str, str]:
    """Return the page's table of round trips."""
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    section = page.partition("\n## Round trips\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| (.*?) \| (.*?) \|$", section, re.M))


async def test_what_is_measured_agrees_with_the_table_of_the_architecture(rehearsal: Rehearsal) -> None:
    engine, table = engine_of(), architecture()
    whole = described(engine, factors=LOCAL)
    by_google = described(engine, factors=["google_account"])

    async def trips(subject: Subject, kind: FlowKind, *answers: str, login: Sequence[str] = ()) -> list[int]:
        cost = await rehearsal.cost(subject, kind, answers, login)
        assert cost is not None
        return [spent.round_trips for spent in cost.requests]

    password, code = int(table["password, right or wrong, known or not"]), int(table["code, right or wrong"][0])
    google = int(table["Google account, right or wrong"][0])
    both = table["ask for recovery; recover; register; verify; log out"]
    connect = int(table["connect or disconnect a Google account"][0])
    assert await trips(whole, FlowKind.LOGIN, "user_password", "time_based_otp") == [password, code]
    assert await trips(by_google, FlowKind.LOGIN, "google_account") == [google]
    assert both == "2 each"
    assert await trips(whole, FlowKind.RECOVER, "ticket", "user_password") == [2, 2]
    first = ("user_password", "time_based_otp")
    assert (await trips(whole, FlowKind.SETTINGS, "google_account", login=first))[1] == connect


async def test_what_is_measured_is_what_the_requests_of_a_person_cost(rehearsal: Rehearsal) -> None:
    engine = engine_of()
    bare = described(engine, factors=["user_password"])
    site = await make_site(User())
    await site.account(ADA)
    ada = await site.logged_in(ADA)

    shown = await ada.send((await ada.get("/user/f2_timebasedotp/add")).form("add"))
    app = Authenticator.scanned(html.unescape(re.findall('otpauth://[^"]+', shown.text)[0]), site.clock)
    confirmed = await ada.send(shown.form("add"), otptoken=app.code())
    page = await ada.get("/user/auth_userpassword/change")
    changed = await ada.send(page.form(), current_password=PASSWORD, password="another long password")
    enrolling = await rehearsal.cost(bare, FlowKind.ENROL, ["time_based_otp"], ["user_password"])
    changing = await rehearsal.cost(bare, FlowKind.SETTINGS, ["user_password"], ["user_password"])

    assert (confirmed.status, changed.status) == (200, 303)
    assert enrolling is not None
    assert changing is not None
    assert [spent.round_trips for spent in enrolling.requests] == [shown.cost, confirmed.cost]
    assert changing.round_trips == changed.cost


async def test_hashes_and_mails_are_counted(rehearsal: Rehearsal) -> None:
    engine = engine_of()
    whole, by_google = described(engine, factors=LOCAL), described(engine, factors=["google_account"])

    async def cost(subject: Subject, kind: FlowKind, *answers: str, login: Sequence[str] = ()) -> Cost:
        found = await rehearsal.cost(subject, kind, answers, login)
        assert found is not None
        return found

    login = await cost(whole, FlowKind.LOGIN, "user_password", "time_based_otp")
    by_code = await cost(whole, FlowKind.LOGIN, "user_password", "recovery_codes")
    federated = await cost(by_google, FlowKind.LOGIN, "google_account")
    changing = await cost(whole, FlowKind.SETTINGS, "user_password", login=("user_password", "time_based_otp"))
    recovering = await cost(whole, FlowKind.RECOVER, "ticket", "user_password")
    assert (login.hashes, login.mails, login.stand_ins) == (1, (), ())
    assert (by_code.hashes, by_code.mails) == (1, ("recovery_code_used",))
    assert (federated.hashes, federated.stand_ins) == (0, ("google_account",))
    assert (changing.hashes, changing.mails) == (2, ("password_changed",))
    assert (recovering.hashes, recovering.mails) == (1, ("send_user_password_recovery_code", "password_changed"))


async def test_a_stand_in_costs_what_the_provider_costs_that_it_stands_in_for() -> None:
    engine = engine_of()
    subject = described(engine, factors=LOCAL)
    everybody = frozenset(engine.registry.providers)
    real = await Rehearsal.of(settings(), User())
    scripted = await Rehearsal._built(settings(), User, everybody)
    try:
        for answers in (("user_password", "time_based_otp"), ("user_password", "recovery_codes")):
            one = await real.cost(subject, FlowKind.LOGIN, answers)
            other = await scripted.cost(subject, FlowKind.LOGIN, answers)
            assert one is not None
            assert other is not None
            assert (one.requests, one.stand_ins) == (other.requests, ())
            assert other.stand_ins == answers
    finally:
        await real.close()
        await scripted.close()


# --- Nothing is sent --------------------------------------------------------------------------------------------------

heard: list[str] = []


class Telling(UserPassword):
    """Would bring a recovery key to somebody."""

    async def deliver_recovery(self, account: Account, recovery_key: str, link: str, device: str) -> None:
        heard.append("delivered")


class Hooked(User):
    authentication_providers = (Telling,)

    async def on_login(self, flow, account) -> None:  # type: ignore[no-untyped-def]
        heard.append("on_login")

    async def on_edited(self, account) -> None:  # type: ignore[no-untyped-def]
        heard.append("on_edited")


async def test_neither_hooks_nor_messengers_of_the_application_are_called(capsys: pytest.CaptureFixture[str]) -> None:
    heard.clear()
    engine = engine_of(Hooked())
    subject = described(engine, factors=LOCAL)
    rehearsal = await Rehearsal.of(settings(), Hooked())
    login = ("user_password", "time_based_otp")

    for kind in EXPLAINED:
        for path in explain(engine, subject, [kind]).flows[0].paths:
            await rehearsal.cost(subject, kind, path.answers, login)
    await rehearsal.close()

    assert heard == []
    assert capsys.readouterr() == ("", "")
