"""The certifier's own parts: watching, the quick tier, the fixture, what kits are known."""

from __future__ import annotations

import asyncio
import logging
import os
import random
import secrets
import subprocess
import sys
import threading
import time
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from authflow.assembly import build
from authflow.certifying import hostile, people, quick
from authflow.certifying.bench import Bench
from authflow.certifying.chance import drawn_from
from authflow.certifying.check import Check
from authflow.certifying.report import Failed, State
from authflow.certifying.run import _result, certify
from authflow.certifying.watching import Watch
from authflow.fields import Field, FieldType
from authflow.settings import Settings
from authflow.user import User
from providers.google_account import GoogleAccount
from providers.recovery_codes import RecoveryCodes
from tests.certifying.planted import AsksByChance, EmptyAdvances, IdentifyRaises, LooksAtTheClock, SecretAsText
from tests.certifying.sound import BadgeNumber, NumberedPerson
from tests.certifying.words import TwoSteps, WordOwner

ROOT = Path(__file__).parent.parent.parent


# --- Watching ---------------------------------------------------------------------------------------------------------

REACHES = {
    "time.time": time.time,
    "datetime.now": lambda: datetime.now(UTC),
    "date.today": lambda: date.today(),  # noqa: DTZ011
    "random": random.random,
    "os.urandom": lambda: os.urandom(1),
    "os.environ": lambda: os.environ.get("X"),
    "open": lambda: open(os.devnull).close(),
    "time.sleep": lambda: time.sleep(0),
}


@pytest.mark.parametrize("what", REACHES)
def test_what_is_reached_for_is_seen(what: str) -> None:
    watch = Watch()

    watch.call("answer", lambda: REACHES[what]())

    assert {name for name, _ in watch.reached} == {what}


def test_steps_of_a_coroutine_are_seen_and_what_runs_between_them_is_not() -> None:
    watch = Watch()

    async def steps() -> int:
        time.time()
        await asyncio.get_running_loop().run_in_executor(None, time.time_ns)
        return 5

    async def beside() -> None:
        datetime.now(UTC)

    async def both() -> int:
        other = asyncio.create_task(beside())
        result = await watch.await_("answer", steps())
        await other
        return result

    assert asyncio.run(both()) == 5
    assert watch.reached["time.time", "answer"] == 1
    assert ("datetime.now", "answer") not in watch.reached


def test_a_log_may_date_its_lines_and_a_module_may_be_imported() -> None:
    watch = Watch()

    def work() -> None:
        logging.getLogger("authflow.x").warning("noted")
        sys.modules.pop("colorsys", None)
        import colorsys  # noqa: F401

    watch.call("answer", work)

    assert not watch.reached


def test_what_a_coroutine_raises_comes_through() -> None:
    async def breaks() -> None:
        await asyncio.sleep(0)
        raise KeyError("x")

    with pytest.raises(KeyError):
        asyncio.run(Watch().await_("answer", breaks()))


# --- Wrong answers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["123456", "a", "A-b_c=", "zzzz", "999999", "Grüße", "====", "x" * 300])
def test_a_slip_is_another_text_of_the_same_form(value: str) -> None:
    slip = hostile.wrong({"a": value, "b": "kept"}, ["a"])

    assert slip["a"] != value
    assert slip["b"] == "kept"
    assert value == "====" or len(slip["a"]) == len(value)
    assert slip["a"].isdigit() == value.isdigit()


@pytest.mark.parametrize("value", ["t5k9-0s3t-tttt-vw17", "deadbeef01", "AZ09", "ttss"])
def test_a_slip_keeps_to_the_letters_that_the_text_has(value: str) -> None:
    slip = hostile.wrong({"a": value}, ["a"])["a"]

    assert slip != value
    assert set(slip) <= set(value)


def test_what_proves_is_told_from_what_names() -> None:
    name, password = Field("name"), Field("password", FieldType.PASSWORD)
    token, more = Field("token", FieldType.HIDDEN), Field("more", FieldType.BOOLEAN)

    assert hostile.proving((name, password), {"name": "a", "password": "b"}) == ["password"]
    assert hostile.proving((token, more), {"token": "a", "more": "1"}) == ["token"]
    assert hostile.proving((name,), {"name": "a"}) == ["name"]
    assert hostile.proving((), {"code": "a", "iss": "b"}) == ["code", "iss"]


# --- Chance -----------------------------------------------------------------------------------------------------------


def test_a_seed_draws_the_same_once_more_in_this_thread_alone() -> None:
    def drawn() -> tuple[str, int]:
        return secrets.token_urlsafe(16), secrets.randbelow(10**9)

    elsewhere: list[tuple[str, int]] = []
    with drawn_from(5):
        first = drawn()
        thread = threading.Thread(target=lambda: elsewhere.append(drawn()))
        thread.start()
        thread.join()
    with drawn_from(5):
        again = drawn()

    assert first == again
    assert elsewhere[0] != first
    assert random._urandom is os.urandom
    assert drawn() != first


def _failing(times: int, *, by_chance: bool) -> tuple[Check, list[int]]:
    tried: list[int] = []

    async def work(bench: Bench) -> None:
        tried.append(1)
        if len(tried) <= times:
            raise Failed("right elsewhere")

    return Check("one", "it shows", "mend it", work, by_chance=by_chance), tried


@pytest.mark.parametrize(
    ("provider", "times", "by_chance", "state", "tries"),
    [
        (TwoSteps, 2, True, State.OK, 3),
        (TwoSteps, 3, True, State.FAILED, 3),
        (TwoSteps, 2, False, State.FAILED, 1),
        (RecoveryCodes, 2, True, State.FAILED, 1),
    ],
)
async def test_what_may_be_right_by_chance_is_tried_in_other_flows(provider, times, by_chance, state, tries) -> None:
    bench = Bench(provider, None, Settings(store="memory:"))
    check, tried = _failing(times, by_chance=by_chance)
    try:
        result = await _result(check, bench)
    finally:
        await bench.close()

    assert (result.state, len(tried)) == (state, tries)


def test_with_the_same_seed_the_same_is_drawn() -> None:
    drawn: list[str] = []

    class Noting(WordOwner):
        def __init__(self, provider):
            super().__init__(provider)
            drawn.append(self.chosen)

    for seed in (5, 5, 6):
        assert certify(TwoSteps, kit=Noting, only=("other_account_is_refused", "login_works"), seed=seed).seed == seed

    one = len(drawn) // 3
    assert len(set(drawn[:one])) == one >= 3
    assert drawn[:one] == drawn[one : 2 * one]
    assert set(drawn[:one]).isdisjoint(drawn[2 * one :])


# --- Kits -------------------------------------------------------------------------------------------------------------


def test_a_kit_says_what_a_wrong_confirmation_is() -> None:
    given: list[dict[str, str]] = []

    class Own(WordOwner):
        async def wrong_confirmation(self, ask, context):
            given.append({field.name: "zzz" for field in ask.fields})
            return given[-1]

    assert certify(TwoSteps, kit=Own, only=("enrolling_forgives_a_slip", "enrolling_pages")).is_whole
    assert {tuple(one) for one in given} == {("word",), ("first", "second", "third")}


def test_a_kit_that_does_not_say_what_was_chosen_leaves_it_unshown() -> None:
    class Silent(WordOwner):
        def __init__(self, provider):
            super().__init__(provider)
            self.word, self.chosen = self.chosen, ""

        async def answer(self, ask, context):
            self.chosen, before = self.word, self.chosen
            try:
                return await super().answer(ask, context)
            finally:
                self.chosen = before

    [result] = certify(TwoSteps, kit=Silent, only=("weak_choices_are_refused",)).results

    assert result.state is State.NOT_SHOWN
    assert "keep it in `chosen`" in result.why


def test_a_kit_that_answers_from_elsewhere_leaves_it_unshown() -> None:
    class Elsewhere(WordOwner):
        def __init__(self, provider):
            super().__init__(provider)
            self.word = self.chosen
            self.chosen = "lighthouse"

        async def answer(self, ask, context):
            before, self.chosen = self.chosen, self.word
            try:
                return await super().answer(ask, context)
            finally:
                self.chosen = before

    [result] = certify(TwoSteps, kit=Elsewhere, only=("weak_choices_are_refused",)).results

    assert result.state is State.NOT_SHOWN
    assert "nothing that the kit confirms" in result.why


def test_a_kit_names_its_account() -> None:
    class Seven(NumberedPerson):
        def __init__(self, provider):
            super().__init__(provider)
            self.name = "1234567"

    assert certify(BadgeNumber, only=("right_answer", "login_works")).is_whole
    # The provider knows nobody by seven digits: had the name not been taken, this would be as whole.
    assert {one.name for one in certify(BadgeNumber, kit=Seven, only=("login_works",)).failed} == {"login_works"}


def test_a_kit_that_names_everybody_alike_is_told_so() -> None:
    class Same(NumberedPerson):
        def __init__(self, provider):
            super().__init__(provider)
            self.name = "471108"

    [result] = certify(BadgeNumber, kit=Same, only=("other_account_is_refused",)).results

    assert (result.state, "alike" in result.why) == (State.NOT_SHOWN, True)


# --- The quick tier ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "code"),
    [
        (EmptyAdvances, None),
        (SecretAsText, "provider_fields"),
        (IdentifyRaises, "provider_identify_is_closed"),
        (LooksAtTheClock, "provider_nothing_global"),
    ],
)
def test_the_quick_tier_finds_what_needs_nobodys_answer(provider, code) -> None:
    class Own(User):
        authentication_providers = (provider,)
        second_factor_providers = ()
        valid_authentication_methods = (("user_password", None),)

    app = build(Settings(store="memory:"), user=Own())

    found = quick(app, app.engine.registry.primaries[0])

    assert (code in {finding.code for finding in found}) if code else found == []


def test_the_quick_tier_is_content_with_the_stock_providers() -> None:
    app = build(Settings(store="memory:", provider_environment={"google_client_id": "1.apps.example"}))

    assert GoogleAccount.name in app.engine.registry.providers
    assert [finding for one in app.engine.registry.providers.values() for finding in quick(app, one)] == []


# --- Use --------------------------------------------------------------------------------------------------------------


async def test_a_certificate_can_be_made_where_an_event_loop_runs() -> None:
    assert certify(RecoveryCodes, only=("begin_is_pure",)).is_whole


def test_certifying_leaves_no_profiler_and_no_log_handler_behind() -> None:
    before = [*logging.getLogger().handlers], [*logging.getLogger("authflow").handlers], sys.getprofile()

    certify(RecoveryCodes)

    assert ([*logging.getLogger().handlers], [*logging.getLogger("authflow").handlers], sys.getprofile()) == before


def test_the_fixture_fails_a_test_as_the_command_would(certify_provider) -> None:
    with pytest.raises(pytest.fail.Exception, match=r"(?s)begin_is_pure.*drawn from seed=4711$"):
        certify_provider(AsksByChance, seed=4711)


def test_the_fixture_wants_a_whole_certificate_unless_told_otherwise(certify_provider) -> None:
    with pytest.raises(pytest.fail.Exception, match="nobody can give a right answer"):
        certify_provider("tests.certifying.bare:Badge")

    assert certify_provider("tests.certifying.bare:Badge", partial=True).not_shown


def test_the_plugin_imports_nothing_of_weight() -> None:
    program = (
        "import sys, authflow.certifying.plugin; "
        "print([name for name in sys.modules if name.split('.')[0] in ('starlette', 'jinja2', 'cryptography', 'bcrypt')"
        " or name.startswith('authflow.') and name not in ('authflow.certifying', 'authflow.certifying.plugin')])"
    )

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)

    assert said.stdout.strip() == "[]"


def test_the_plugin_is_an_entry_point_of_pytest() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")

    assert '[project.entry-points.pytest11]\nauthflow_certifying = "authflow.certifying.plugin"\n' in text


def test_codes_of_the_known_app_are_those_of_rfc_6238() -> None:
    key = people._Key(b"12345678901234567890", 8, 30, "SHA1")

    assert [people._totp(key, at) for at in (59, 1111111109, 20000000000)] == ["94287082", "07081804", "65353130"]
