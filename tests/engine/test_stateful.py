"""Two people, two browsers, any order: the engine beside a small model that says the same in other words.

`AUTHFLOW_STATEFUL_EXAMPLES` and `AUTHFLOW_STATEFUL_STEPS` ask for more than the few seconds of the default.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from authflow.errors import AuthflowError, FlowInvalid, TooLate, TooManyAttempts
from authflow.model import Account, Credential, Session, Status
from authflow.records import account_key
from authflow.results import LoggedIn, NotProved, StepOwed
from authflow.sessions import IssuedSession, Visitor
from authflow.store.protocol import Update
from authflow.tokens import digest
from providers.time_based_otp import generate_otps
from tests.engine_kit import PASSWORD, Kit, browser, make_kit

PEOPLE = ("ada@example.org", "bob@example.org")
SECRETS = dict(zip(PEOPLE, (b"12345678901234567890", b"abcdefghijabcdefghij"), strict=True))
BROWSERS = ("desk", "phone")
SPANS = [timedelta(seconds=1), timedelta(seconds=30), *(timedelta(minutes=m) for m in (1, 6, 11, 16, 61, 24 * 60))]
MINUTE = timedelta(minutes=1)


@dataclass
class Person:
    """What the model knows of an account."""

    account: Account
    is_active: bool = True
    epoch: int = 1
    wrong_passwords: list[datetime] = field(default_factory=list)
    wrong_codes: list[datetime] = field(default_factory=list)
    in_a_row: int = 0
    locks: int = 0
    locked_until: datetime | None = None
    last_counter: int = -1

    def is_locked(self, now: datetime) -> bool:
        today = [at for at in self.wrong_codes if at > now - timedelta(days=1)]
        return len(today) >= 20 or (self.locked_until is not None and now < self.locked_until)

    def typed_a_wrong_code(self, now: datetime) -> None:
        self.wrong_codes.append(now)
        self.in_a_row += 1
        if self.in_a_row == 5:
            self.locked_until, self.in_a_row = now + 15 * MINUTE * 2**self.locks, 0
            self.locks += 1


@dataclass
class Pending:
    """A flow that waits for its code."""

    who: str
    epoch: int
    deadline: datetime
    replays: int = 0


@dataclass
class Place:
    """What the model knows of a session: in whose name, from when, and what waits in it."""

    issued: IssuedSession
    created: datetime
    seen: datetime
    cookie_of: str
    who: str = ""
    epoch: int = 0
    flows: list[Pending] = field(default_factory=list)

    def is_alive(self, now: datetime) -> bool:
        return now - self.created < timedelta(hours=24) and now - self.seen < timedelta(hours=1)


class Engine(RuleBasedStateMachine):
    """People do what people do; the engine must answer as the model says."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.kit: Kit = make_kit()
        self.people: dict[str, Person] = {}
        self.places: dict[str, Place | None] = dict.fromkeys(BROWSERS)
        self.client_failures: dict[str, list[datetime]] = {name: [] for name in BROWSERS}

    def teardown(self) -> None:
        self.runner.close()
        self.kit.pool.close()

    @initialize()
    def two_people(self) -> None:
        for name in PEOPLE:
            self.people[name] = Person(self.runner.run(self._account(name)))

    async def _account(self, name: str) -> Account:
        account, now = await self.kit.account(name), self.kit.clock()
        data = {"interval": 30, "digits": 6, "algorithm": "SHA1", "drift": 0.0, "last_counter": -1, "candidate": None,
                "serial": ""}  # fmt: skip
        return await self.kit.enrolled(account, Credential(account.id, "time_based_otp", now, now, data, SECRETS[name]))

    # --- What people do -----------------------------------------------------------------------------------------------

    @rule(where=st.sampled_from(BROWSERS), who=st.sampled_from(PEOPLE), is_right=st.booleans())
    def log_in(self, where: str, who: str, is_right: bool) -> None:
        now, person = self.now, self.people[who]
        closed = (
            sum(at > now - 15 * MINUTE for at in person.wrong_passwords) >= 10
            or sum(at > now - 15 * MINUTE for at in self.client_failures[where]) >= 30
        )

        result = self.run(self.kit.login(who, PASSWORD if is_right else "wrong", self.visitor(where)))

        if closed:
            assert isinstance(result, TooManyAttempts)
        elif is_right and person.is_active:
            assert isinstance(result, StepOwed), result
            self._wait_for_code(where, who, result)
        else:
            assert isinstance(result, NotProved)
            assert result.reason == "invalid_credentials"
            person.wrong_passwords.append(now)
            self.client_failures[where].append(now)

    @rule(where=st.sampled_from(BROWSERS), who=st.sampled_from(PEOPLE))
    def log_in_and_type_the_code(self, where: str, who: str) -> None:
        self.log_in(where, who, True)
        self.type_a_code(where, who)

    @rule(where=st.sampled_from(BROWSERS), whose=st.sampled_from((*PEOPLE, *PEOPLE, "nobody")))
    def type_a_code(self, where: str, whose: str) -> None:
        """Type the right code of somebody, not always of the one who is asked, or one that is nobody's."""
        text = self.wrong_code() if whose == "nobody" else self.code(whose)

        result = self.run(
            self.kit.engine.submit(self.kit.provider("time_based_otp"), {"otptoken": text}, self.visitor(where))
        )

        place = self.places[where]
        problem = self._problem(place)
        if problem is not None:
            assert isinstance(result, problem), result
            return
        flow = place.flows[-1]
        person = self.people[flow.who]
        if person.is_locked(self.now):
            assert isinstance(result, TooManyAttempts)
        elif whose != flow.who:
            assert isinstance(result, NotProved), result
            person.typed_a_wrong_code(self.now)
        elif self.counter <= person.last_counter:
            flow.replays += 1
            if flow.replays == 10:
                assert isinstance(result, FlowInvalid)
                place.flows.pop()
            else:
                assert isinstance(result, NotProved)
                assert result.reason == "code_replayed"
        else:
            assert isinstance(result, LoggedIn), result
            assert result.account.name == flow.who
            person.last_counter, person.in_a_row, person.locks, person.locked_until = self.counter, 0, 0, None
            self.places[where] = Place(result.session, self.now, self.now, flow.who, flow.who, person.epoch)

    @rule(where=st.sampled_from(BROWSERS))
    def choose(self, where: str) -> None:
        result = self.run(self.kit.engine.waiting.choose(self.kit.provider("time_based_otp"), self.visitor(where)))

        problem = self._problem(self.places[where])
        assert isinstance(result, problem or StepOwed), result

    @rule(where=st.sampled_from(BROWSERS))
    def cancel(self, where: str) -> None:
        result = self.run(self.kit.engine.waiting.cancel(self.visitor(where)))

        assert result is None
        place = self.places[where]
        if place is not None and place.flows:
            place.flows.clear()
            if not place.who:
                self.places[where] = None

    @rule(where=st.sampled_from(BROWSERS))
    def log_out(self, where: str) -> None:
        current = self.run(self.kit.engine.sessions.current(self.visitor(where), self.now))
        assert (current is not None) == self.is_in(where)

        if current is not None:
            assert self.run(self.kit.engine.log_out(current)) is None
            self.places[where] = None

    @rule(who=st.sampled_from(PEOPLE))
    def turn_off_or_on(self, who: str) -> None:
        person = self.people[who]
        person.is_active = not person.is_active
        self._write(person)

    @rule(who=st.sampled_from(PEOPLE))
    def log_out_everywhere(self, who: str) -> None:
        self._write(self.people[who])

    def _write(self, person: Person) -> None:
        person.epoch += 1
        status = Status.ACTIVE if person.is_active else Status.DISABLED
        self.runner.run(self._rewrite(replace(person.account, status=status, epoch=person.epoch)))

    async def _rewrite(self, account: Account) -> None:
        key = account_key(account.id)
        record = (await self.kit.memory.get((key,)))[key]
        await self.kit.memory.commit((Update(key, account.to_data(), record.version),))

    @rule(span=st.sampled_from(SPANS))
    def time_passes(self, span: timedelta) -> None:
        self.kit.clock.pass_by(span)

    # --- What must hold -----------------------------------------------------------------------------------------------

    @invariant()
    def who_is_in_is_who_the_model_says(self) -> None:
        for where in BROWSERS:
            current = self.run(self.kit.engine.sessions.current(self.visitor(where), self.now))
            assert (current is not None) == self.is_in(where)
            place = self.places[where]
            if current is not None:
                assert current.account.name == place.who
                assert {proof.provider for proof in current.session.proofs} == {"user_password", "time_based_otp"}
                if self.now - place.seen >= 5 * MINUTE:
                    place.seen = self.now

    @invariant()
    def every_session_in_a_name_was_proved_twice_and_no_browser_waits_for_more_than_four(self) -> None:
        for record in self.runner.run(self.kit.records("session")):
            session = Session.from_data(record.key.name, record.data)
            assert len(session.flows) <= 4
            if session.account_id:
                assert [proof.provider for proof in session.proofs] == ["user_password", "time_based_otp"]
                assert {proof.subject for proof in session.proofs} == {session.account_id}
                assert len({proof.flow_id for proof in session.proofs}) == 1
            else:
                assert session.authenticated_at is None
                assert session.proofs == ()

    @invariant()
    def no_more_verdicts_were_told_than_the_limits_allow(self) -> None:
        for person in self.people.values():
            for first in person.wrong_passwords:
                assert sum(first <= at < first + 15 * MINUTE for at in person.wrong_passwords) <= 10
            for first in person.wrong_codes:
                assert sum(first <= at < first + timedelta(days=1) for at in person.wrong_codes) <= 20

    # --- The model ----------------------------------------------------------------------------------------------------

    @property
    def now(self) -> datetime:
        return self.kit.clock()

    @property
    def counter(self) -> int:
        return int(self.now.timestamp()) // 30

    def code(self, who: str) -> str:
        return generate_otps(SECRETS[who], [self.counter], digits=6, algorithm="SHA1")[0]

    def wrong_code(self) -> str:
        near = range(self.counter - 40, self.counter + 41)
        known = {
            text for secret in SECRETS.values() for text in generate_otps(secret, near, digits=6, algorithm="SHA1")
        }
        return next(text for number in count() if (text := f"{number:06}") not in known)

    def visitor(self, where: str) -> Visitor:
        place = self.places[where]
        owner = self.people[place.cookie_of].account.id if place else ""
        visitor = browser(place.issued if place else None, owner, browser_id=where, network=where)
        assert not place or visitor.session_id == digest(place.issued.secret)
        return visitor

    def run(self, work: Any) -> Any:
        async def answered() -> Any:
            try:
                return await work
            except AuthflowError as error:
                return error

        answer = self.runner.run(answered())
        assert not isinstance(answer, AuthflowError) or answer.status < 500, answer
        return answer

    def is_in(self, where: str) -> bool:
        place = self.places[where]
        if place is None or not place.who or not place.is_alive(self.now) or place.cookie_of != place.who:
            return False
        person = self.people[place.who]
        return person.is_active and person.epoch == place.epoch

    def _problem(self, place: Place | None) -> type[AuthflowError] | None:
        """Why the newest flow of a browser cannot be answered."""
        if place is None or not place.is_alive(self.now) or not place.flows:
            return FlowInvalid
        flow = place.flows[-1]
        if self.now >= flow.deadline:
            return TooLate
        person = self.people[flow.who]
        return None if person.is_active and person.epoch == flow.epoch else FlowInvalid

    def _wait_for_code(self, where: str, who: str, result: StepOwed) -> None:
        place = self.places[where]
        if place is None or not place.is_alive(self.now):
            assert result.session is not None
            self.places[where] = place = Place(result.session, self.now, self.now, who)
        else:
            assert result.session is None
        place.flows.append(Pending(who, self.people[who].epoch, self.now + 10 * MINUTE))
        del place.flows[:-4]


TestEngine = Engine.TestCase
TestEngine.settings = settings(
    max_examples=int(os.environ.get("AUTHFLOW_STATEFUL_EXAMPLES", "25")),
    stateful_step_count=int(os.environ.get("AUTHFLOW_STATEFUL_STEPS", "40")),
    deadline=None,
)
