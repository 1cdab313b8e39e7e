"""Two people, two browsers, an operator, any order: the product beside a small model that says the same in other words.

The rules are the same whichever way the product is reached: a subclass says by which driver.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import count
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from authflow.errors import NotFound
from authflow.model import Session
from authflow.testing import PASSWORD
from providers import time_based_otp
from providers.time_based_otp import MAX_DRIFT, generate_otps
from tests.stateful.drivers import EngineDriver, HttpDriver
from tests.stateful.model import MINUTE, UNKNOWN, App, Claim, Key, Pending, Person, Place

ADA, BOB = PEOPLE = ("ada@example.org", "bob@example.org")
BROWSERS = ("desk", "phone")
APPS = ("time_based_otp", "spare_app")
FACTORS = (*APPS, "recovery_codes")
PASSWORDS = (PASSWORD, "seven green bottles", "nine red balloons up", "eleven blue doors open")
SPANS = [timedelta(seconds=1), timedelta(seconds=30), *(timedelta(minutes=m) for m in (1, 2, 6, 11, 16, 61, 24 * 60))]
FRESH = 10 * MINUTE
ADAS_SECRET = b"12345678901234567890"

people, browsers = st.sampled_from(PEOPLE), st.sampled_from(BROWSERS)
apps, factors = st.sampled_from(APPS), st.sampled_from(FACTORS)
mostly = st.sampled_from((True, True, True, False))

steps: Counter[str] = Counter()
"""How many rules were carried out in this process, by machine."""

if "AUTHFLOW_PROGRESS" in os.environ:
    atexit.register(lambda: print("steps:", dict(steps)))


@lru_cache(maxsize=64)
def codes_near(secret: bytes, counter: int) -> frozenset[str]:
    """Return the codes that a device can have whose clock is as wrong as one may be, and then some."""
    near = range(counter - MAX_DRIFT - 5, counter + MAX_DRIFT + 6)
    return frozenset(generate_otps(secret, near, digits=6, algorithm="SHA1"))


class Machine(RuleBasedStateMachine):
    """People do what people do; the product must answer as the model says."""

    make: ClassVar[Callable[[asyncio.Runner], EngineDriver | HttpDriver]]

    def __init__(self) -> None:
        super().__init__()
        self._drawn, time_based_otp._qr_code = time_based_otp._qr_code, lambda text: ""  # It takes as long as all else.
        self.runner = asyncio.Runner()
        self.driver = type(self).make(self.runner)
        self.people: dict[str, Person] = {}
        self.places: dict[str, Place | None] = dict.fromkeys(BROWSERS)
        self.claims: dict[str, dict[str, Claim]] = {name: {} for name in BROWSERS}
        self.client_failures: dict[str, list[datetime]] = {name: [] for name in BROWSERS}
        self.asked: dict[str, list[datetime]] = {name: [] for name in BROWSERS}
        self.keys: list[Key] = []
        self.secrets: set[bytes] = {ADAS_SECRET}
        self.spent: list[str] = []
        self.devices = count(UNKNOWN + 1)
        for name, secret in ((ADA, ADAS_SECRET), (BOB, None)):
            account = self.run(self.driver.account(name, secret))
            self.people[name] = Person(name, account.id, PASSWORD)
            if secret:
                self.people[name].apps["time_based_otp"] = App(secret)

    def teardown(self) -> None:
        time_based_otp._qr_code = self._drawn
        self.run(self.driver.site.close())
        self.runner.close()

    # --- Logging in ---------------------------------------------------------------------------------------------------

    @rule(where=browsers, who=people, is_right=mostly)
    def log_in(self, where: str, who: str, is_right: bool) -> None:
        now, person = self.now, self.people[who]
        claim = self.claims[where].get(who)
        is_known = claim is not None and claim.epoch == person.epoch
        closed = (claim is not None and person.has_guessed_out(claim.device, now)) or (
            not is_known and person.has_guessed_out(UNKNOWN, now)
        )
        closed |= sum(at > now - 15 * MINUTE for at in self.client_failures[where]) >= 30

        told = self.run(self.driver.log_in(where, who, person.password if is_right else "wrong"))

        if closed:
            assert told == "too_many_attempts"
        elif not (is_right and person.is_active):
            assert told == "wrong invalid_credentials"
            person.typed_a_wrong_password(claim.device if claim and is_known else UNKNOWN, now)
            self.client_failures[where].append(now)
        elif not person.apps:
            assert told == "in"
            self._enter(where, who)
        else:
            assert told == ("choice" if len(person.apps) > 1 else f"owed {next(iter(person.apps))}")
            place = self.places[where]
            if place is None or not place.is_alive(now):
                self.places[where] = place = Place(now, now, who)
            place.flows.append(Pending(who, person.epoch, now + 10 * MINUTE, person.factors))
            del place.flows[:-4]

    @rule(where=browsers, who=people, factor=factors)
    def log_in_and_type_a_code(self, where: str, who: str, factor: str) -> None:
        self.log_in(where, who, True)
        self.type_a_code(where, factor, True)

    @rule(where=browsers, who=people, factor=factors, is_right=mostly)
    def be_asked_and_type_a_code(self, where: str, who: str, factor: str, is_right: bool) -> None:
        self._get_asked(where, who, factor)
        self.type_a_code(where, factor, is_right)

    @rule(where=browsers, factor=factors, is_right=mostly)
    def type_a_code(self, where: str, factor: str, is_right: bool) -> None:
        place, now = self.places[where], self.now
        flow = self._waiting(place, factor, is_login=True)
        text = self._text(flow.who if flow else ADA, factor) if is_right else self.wrong(factor)

        told = self.run(self.driver.type_code(where, factor, text))

        problem = self._problem(flow)
        if problem or flow is None or place is None:
            assert told == problem
            return
        person = self.people[flow.who]
        if person.is_locked(now):
            assert told == "too_many_attempts"
        elif reason := self._rejected(person, factor, text):
            flow.rejections += 1
            if reason == "code_wrong":
                person.typed_a_wrong_code(now)
            assert told == ("flow_invalid" if flow.rejections == 10 else f"wrong {reason}")
            if flow.rejections == 10:
                place.flows.remove(flow)
        else:
            assert told == "in"
            if factor == "recovery_codes":
                assert person.codes is not None
                person.codes.discard(text)
                self.spent.append(text)
            else:
                person.apps[factor].last_counter = self.counter
            person.typed_a_right_code()
            self._enter(where, flow.who)

    @rule(where=browsers, who=people, factor=factors, span=st.sampled_from(SPANS))
    def dawdle(self, where: str, who: str, factor: str, span: timedelta) -> None:
        self._get_asked(where, who, factor)
        self._pass(span)
        self.type_a_code(where, factor, True)

    @rule(where=browsers, who=people, factor=factors, times=st.integers(2, 11))
    def guess_codes(self, where: str, who: str, factor: str, times: int) -> None:
        self._get_asked(where, who, factor)
        for _ in range(times):
            self.type_a_code(where, factor, False)
        self.type_a_code(where, factor, True)

    @rule(where=browsers, who=people, times=st.integers(5, 16))
    def guess_passwords(self, where: str, who: str, times: int) -> None:
        for _ in range(times):
            self.log_in(where, who, False)
        self.log_in(where, who, True)

    @rule(where=browsers, who=people, factor=apps, times=st.integers(8, 11))
    def mistype_while_adding_an_app(self, where: str, who: str, factor: str, times: int) -> None:
        self._get_in(where, who)
        self.begin_to_add_an_app(where, factor)
        for _ in range(times):
            self.confirm_an_app(where, factor, False)

    @rule(where=browsers, who=people, factor=factors, ready=mostly)
    def choose(self, where: str, who: str, factor: str, ready: bool) -> None:
        if ready:
            self._get_asked(where, who, factor)
        told = self.run(self.driver.choose(where, factor))

        problem = self._problem(self._waiting(self.places[where], factor, is_login=True))
        assert told == (problem or f"owed {factor}")

    @rule(where=browsers)
    def cancel(self, where: str) -> None:
        assert self.run(self.driver.cancel(where)) == "done"
        place = self.places[where]
        if place is not None:
            place.flows.clear()
            if not self.is_in(where):
                self.places[where] = None

    @rule(where=browsers, who=people, ready=mostly)
    def log_out(self, where: str, who: str, ready: bool) -> None:
        if ready:
            self._get_in(where, who)
        assert self.run(self.driver.log_out(where)) == ("done" if self.is_in(where) else "not_authenticated")
        if self.is_in(where):
            self.places[where] = None

    # --- What one changes of oneself ----------------------------------------------------------------------------------

    @rule(where=browsers, is_right=mostly, new=st.sampled_from(PASSWORDS), who=people, ready=mostly)
    def change_password(self, where: str, is_right: bool, new: str, who: str, ready: bool) -> None:
        if ready:
            self._get_in(where, who)
        person = self._who(where)
        old = person.password if is_right and person else "wrong"

        told = self.run(self.driver.change_password(where, old, new))

        if problem := self._not_fresh(where):
            assert told == problem
        elif person is None or person.has_guessed_out(UNKNOWN, self.now):
            assert told == "too_many_attempts"
        elif not is_right:
            assert told == "wrong password_wrong"
            person.typed_a_wrong_password(UNKNOWN, self.now)
        else:
            assert told == "done"
            person.password = new
            self._go_on(where, person)

    @rule(where=browsers, factor=apps)
    def begin_to_add_an_app(self, where: str, factor: str) -> None:
        person, place, now = self._who(where), self.places[where], self.now

        told, secret = self.run(self.driver.begin_app(where, factor))

        if person is None or place is None or place.authenticated is None:
            assert told == "not_authenticated"
        elif now - place.authenticated > FRESH:
            assert told == "reauthentication_required"
        elif factor in person.apps:
            assert told == "already_enrolled"
        else:
            assert told == "done"
            self.secrets.add(secret)
            flow = Pending(person.name, person.epoch, now + 10 * MINUTE, frozenset({factor}), secret)
            place.flows.append(flow)
            del place.flows[:-4]

    @rule(where=browsers, factor=apps, is_right=mostly)
    def confirm_an_app(self, where: str, factor: str, is_right: bool) -> None:
        place = self.places[where]
        flow = self._waiting(place, factor, is_login=False)
        text = self.code(flow.secret if flow else ADAS_SECRET) if is_right else self.wrong(factor)
        is_right = is_right and flow is not None

        told, codes = self.run(self.driver.confirm_app(where, factor, text))

        problem = self._problem(flow)
        if problem or flow is None or place is None:
            assert told == problem
        elif not self.is_in(where):
            assert told == "flow_invalid"
        elif not is_right:
            flow.rejections += 1
            assert told == ("flow_invalid" if flow.rejections == 10 else "wrong code_wrong")
            if flow.rejections == 10:
                place.flows.remove(flow)
        else:
            assert told == "done"
            person = self.people[flow.who]
            person.apps[factor] = App(flow.secret, self.counter)
            assert len(codes) == (10 if person.codes is None else 0)
            person.codes = set(codes) if person.codes is None else person.codes
            self._go_on(where, person)

    @rule(where=browsers, who=people, factor=apps, is_right=mostly)
    def add_an_app(self, where: str, who: str, factor: str, is_right: bool) -> None:
        self._get_in(where, who)
        self.begin_to_add_an_app(where, factor)
        self.confirm_an_app(where, factor, is_right)

    @rule(where=browsers, factor=apps, who=people, ready=mostly)
    def remove_an_app(self, where: str, factor: str, who: str, ready: bool) -> None:
        if ready:
            self._get_in(where, who)
        person = self._who(where)

        told = self.run(self.driver.remove_app(where, factor))

        if problem := self._not_fresh(where):
            assert told == problem
        elif person is None or factor not in person.apps:
            assert told == "not_found"
        else:
            assert told == "done"
            self._without(person, factor)
            self._go_on(where, person)

    @rule(where=browsers, who=people, ready=mostly)
    def renew_the_codes(self, where: str, who: str, ready: bool) -> None:
        if ready:
            self._get_in(where, who)
        person = self._who(where)

        told, codes = self.run(self.driver.renew_codes(where))

        if problem := self._not_fresh(where):
            assert told == problem
        elif person is None or not person.apps:
            assert told == "factor_missing"
        else:
            assert told == "done"
            self.spent += sorted(person.codes or ())
            person.codes = set(codes)
            assert len(person.codes) == 10
            self._go_on(where, person)

    # --- By mail ------------------------------------------------------------------------------------------------------

    @rule(where=browsers, who=people)
    def ask_for_a_recovery_mail(self, where: str, who: str) -> None:
        now, person = self.now, self.people[who]
        told = self.run(self.driver.ask_recovery(where, who))
        if self._has_asked_enough(where):
            assert told == "too_many_attempts"
            return
        assert told == "done"
        self.asked[where].append(now)

        token = self.run(self.driver.mailed_key(who))

        is_due = person.mailed_at is None or now - person.mailed_at >= 15 * MINUTE
        assert bool(token) == (person.is_active and is_due)
        if token:
            person.mailed_at = now
            self.keys.append(Key(token, who, person.epoch, now + 15 * MINUTE))
            del self.keys[:-4]

    @rule(where=browsers, which=st.integers(0, 3), new=st.sampled_from(PASSWORDS))
    def recover(self, where: str, which: int, new: str) -> None:
        if not self.keys:
            return
        key, now = self.keys[which % len(self.keys)], self.now
        person = self.people[key.who]

        told = self.run(self.driver.recover(where, key.token, new))

        if self._has_asked_enough(where):
            assert told == "too_many_attempts"
        elif key.is_spent or now >= key.until or key.epoch != person.epoch or not person.is_active:
            assert told == "ticket_invalid"
            self.asked[where].append(now)
        else:
            assert told == "done"
            key.is_spent = True
            person.password = new
            person.epoch += 1
            person.wrong_passwords.pop(UNKNOWN, None)

    @rule(where=browsers, who=people, new=st.sampled_from(PASSWORDS))
    def forget_the_password(self, where: str, who: str, new: str) -> None:
        self.ask_for_a_recovery_mail(where, who)
        self.recover(where, len(self.keys) - 1, new)

    # --- By the operator ----------------------------------------------------------------------------------------------

    @rule(who=people)
    def turn_off_or_on(self, who: str) -> None:
        person = self.people[who]
        person.is_active = not person.is_active
        person.epoch += 1
        work = self.driver.operator.activate if person.is_active else self.driver.operator.deactivate
        assert self.run(work(who)).epoch == person.epoch

    @rule(who=people)
    def log_out_everywhere(self, who: str) -> None:
        self.people[who].epoch += 1
        assert self.run(self.driver.operator.log_out(who)).epoch == self.people[who].epoch

    @rule(who=people, new=st.sampled_from(PASSWORDS))
    def set_password(self, who: str, new: str) -> None:
        person = self.people[who]
        person.password, person.epoch = new, person.epoch + 1
        person.wrong_passwords.pop(UNKNOWN, None)
        assert self.run(self.driver.operator.set_password(who, new)).epoch == person.epoch

    @rule(who=people, factor=factors)
    def take_a_factor_away(self, who: str, factor: str) -> None:
        person = self.people[who]
        is_held = factor in person.apps or (factor == "recovery_codes" and person.codes is not None)
        try:
            changed = self.run(self.driver.operator.remove_factor(who, factor))
        except NotFound:
            assert not is_held
            return
        assert is_held
        self._without(person, factor)
        person.epoch += 1
        person.wrong_codes.clear()
        person.typed_a_right_code()
        assert (changed.epoch, set(changed.factors)) == (person.epoch, set(person.apps))

    @rule(span=st.sampled_from(SPANS))
    def time_passes(self, span: timedelta) -> None:
        self.driver.site.clock.pass_by(span)

    def _pass(self, span: timedelta) -> None:
        self.time_passes(span)
        # A look at a page notes the use of a session, so the model must look too.
        self.who_is_in_is_who_the_model_says()

    # --- On the way there ---------------------------------------------------------------------------------------------

    def _get_in(self, where: str, who: str) -> None:
        """Have somebody log in afresh, as far as that goes: else most of what needs a login would only be refused."""
        person, place = self.people[who], self.places[where]
        is_fresh = place is not None and place.authenticated is not None and self.now - place.authenticated < FRESH
        if self.is_in(where) and is_fresh:
            return
        if not person.is_active:
            self.turn_off_or_on(who)
        self.log_in(where, who, True)
        if person.apps:
            factor = sorted(person.apps)[-1]
            if self.counter <= person.apps[factor].last_counter:
                self._pass(timedelta(seconds=30))
            self.type_a_code(where, factor, True)

    def _get_asked(self, where: str, who: str, factor: str) -> None:
        """Have somebody asked for a code, who has more than one app if that can be."""
        if self._problem(self._waiting(self.places[where], factor, is_login=True)):
            person = self.people[who]
            missing = sorted(set(APPS) - set(person.apps))
            if factor in missing or (factor == "recovery_codes" and not person.codes and missing):
                self._get_in(where, who)
                self.begin_to_add_an_app(where, missing[0])
                self.confirm_an_app(where, missing[0], True)
            if not person.is_active:
                self.turn_off_or_on(who)
            self.log_in(where, who, True)

    # --- What must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def who_is_in_is_who_the_model_says(self) -> None:
        for where in BROWSERS:
            place = self.places[where]
            expected = place.who if place is not None and self.is_in(where) else ""
            assert self.run(self.driver.who(where)) == expected
            if place is not None and expected and self.now - place.seen >= 5 * MINUTE:
                place.seen = self.now

    @invariant()
    def whoever_is_in_has_proved_what_the_account_demands(self) -> None:
        names = {person.account_id: person for person in self.people.values()}
        for record in self.run(self.driver.site.kit.records("session")):
            session = Session.from_data(record.key.name, record.data)
            assert len(session.flows) <= 4
            if not session.account_id:
                assert (session.authenticated_at, session.proofs) == (None, ())
                continue
            person, proofs = names[session.account_id], [proof.provider for proof in session.proofs]
            assert proofs[0] == "user_password"
            assert {proof.subject for proof in session.proofs} == {session.account_id}
            if session.epoch == person.epoch and person.apps:
                assert len(proofs) > 1

    @invariant()
    def no_more_verdicts_were_told_than_the_limits_allow(self) -> None:
        self._count()
        for person in self.people.values():
            for failures in person.wrong_passwords.values():
                assert sum(at > self.now - 15 * MINUTE for at in failures) <= 10
            assert sum(at > self.now - timedelta(days=1) for at in person.wrong_codes) <= 20

    def _count(self) -> None:
        name = type(self).__name__
        steps[name] += 1
        if "AUTHFLOW_PROGRESS" in os.environ and steps[name] % 5000 == 0:
            print(f"{name}: {steps[name]} steps", file=sys.stderr, flush=True)

    # --- The model ----------------------------------------------------------------------------------------------------

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(work)

    @property
    def now(self) -> datetime:
        return self.driver.site.clock()

    @property
    def counter(self) -> int:
        return int(self.now.timestamp()) // 30

    def code(self, secret: bytes) -> str:
        return generate_otps(secret, [self.counter], digits=6, algorithm="SHA1")[0]

    def wrong(self, factor: str) -> str:
        """Return what is no code of anybody's, anywhere near now."""
        if factor == "recovery_codes":
            return self.spent[-1] if self.spent else "0000-0000-0000-0000"
        known = {text for secret in self.secrets for text in codes_near(secret, self.counter)}
        return next(text for number in count() if (text := f"{number:06}") not in known)

    def _text(self, who: str, factor: str) -> str:
        """Return what somebody types who has the factor, or had it."""
        person = self.people[who]
        if factor == "recovery_codes":
            return min(person.codes) if person.codes else self.wrong(factor)
        return self.code(person.apps[factor].secret) if factor in person.apps else self.wrong(factor)

    def _rejected(self, person: Person, factor: str, text: str) -> str:
        if factor == "recovery_codes":
            return "" if text in (person.codes or ()) else "code_wrong"
        app = person.apps[factor]
        if text != self.code(app.secret):
            return "code_wrong"
        return "code_replayed" if self.counter <= app.last_counter else ""

    def _waiting(self, place: Place | None, factor: str, *, is_login: bool) -> Pending | None:
        """Return the newest flow of a browser that waits for this factor."""
        if place is None or not place.is_alive(self.now):
            return None
        fitting = [flow for flow in place.flows if flow.is_login == is_login and factor in flow.accepts]
        return fitting[-1] if fitting else None

    def _problem(self, flow: Pending | None) -> str:
        """Say why a flow cannot be answered."""
        if flow is None:
            return "flow_invalid"
        if self.now >= flow.deadline:
            return "too_late"
        person = self.people[flow.who]
        return "" if person.is_active and person.epoch == flow.epoch else "flow_invalid"

    def is_in(self, where: str) -> bool:
        place = self.places[where]
        if place is None or not place.who or not place.is_alive(self.now) or place.cookie_of != place.who:
            return False
        person = self.people[place.who]
        return person.is_active and person.epoch == place.epoch

    def _who(self, where: str) -> Person | None:
        place = self.places[where]
        return self.people[place.who] if place is not None and self.is_in(where) else None

    def _not_fresh(self, where: str) -> str:
        place = self.places[where]
        if place is None or place.authenticated is None or not self.is_in(where):
            return "not_authenticated"
        return "reauthentication_required" if self.now - place.authenticated >= FRESH else ""

    def _has_asked_enough(self, where: str) -> bool:
        return sum(at > self.now - 15 * MINUTE for at in self.asked[where]) >= 10

    def _enter(self, where: str, who: str) -> None:
        """Somebody is logged in: a new session, and a device that is known from now on."""
        now, epoch = self.now, self.people[who].epoch
        self.places[where] = Place(now, now, who, who, epoch, now)
        claim = self.claims[where].get(who)
        self.claims[where][who] = Claim(claim.device if claim else next(self.devices), epoch)

    def _go_on(self, where: str, person: Person) -> None:
        """What protects the account was changed: all ends but this session, which is made anew."""
        place = self.places[where]
        assert place is not None
        claim = self.claims[where].get(person.name)
        if claim is not None and claim.epoch == person.epoch:
            claim.epoch += 1
        person.epoch += 1
        self.places[where] = Place(place.created, self.now, place.who, place.who, person.epoch, place.authenticated)

    def _without(self, person: Person, factor: str) -> None:
        person.apps.pop(factor, None)
        if not person.apps or factor == "recovery_codes":
            person.codes = None


def scaled(examples: int, length: int) -> settings:
    """Return how long to go on: as given, or as the environment asks for."""
    return settings(
        max_examples=int(os.environ.get("AUTHFLOW_STATEFUL_EXAMPLES", examples)),
        stateful_step_count=int(os.environ.get("AUTHFLOW_STATEFUL_STEPS", length)),
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
