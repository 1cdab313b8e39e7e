"""Checks of what goes through remote parties: requests that fail, going away and coming back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

from authflow.certifying.attempts import Attempt, Person
from authflow.certifying.bench import Bench
from authflow.certifying.check import check
from authflow.certifying.forging import Tampering
from authflow.certifying.judging import demand_refused
from authflow.certifying.proving import secrets_of
from authflow.certifying.report import DoesNotApply, Failed
from authflow.errors import FetchFailed
from authflow.model import Plain
from authflow.provider import Redirect, Rejected, Submission
from authflow.settings import is_loopback

_GARBAGE: tuple[Mapping[str, Plain], ...] = (
    {},
    {"error": "server_error"},
    {"keys": [], "id_token": "", "access_token": None, "sub": None},
    {"keys": "none", "id_token": 5, "sub": ["a"], "access_token": {"a": 1}, "active": "true"},
    {"id_token": "a.b.c", "access_token": "x" * 10_000, "sub": "1", "active": True, "token_type": "bearer"},
)


class _Failing:
    """A remote party that cannot be reached."""

    async def get_json(self, url: str, *, fresh: bool = False) -> Mapping[str, Plain]:
        raise FetchFailed("nobody answers")

    async def post_form(self, url: str, values: Mapping[str, str]) -> Mapping[str, Plain]:
        raise FetchFailed("nobody answers")


class _Babbling:
    """A remote party that answers with what it should not."""

    def __init__(self, answer: Mapping[str, Plain]) -> None:
        self._answer = answer

    async def get_json(self, url: str, *, fresh: bool = False) -> Mapping[str, Plain]:
        return self._answer

    async def post_form(self, url: str, values: Mapping[str, str]) -> Mapping[str, Plain]:
        return self._answer


async def _fetching_attempt(bench: Bench) -> tuple[Person, Attempt]:
    person = await bench.person()
    attempt = await bench.attempt(person)
    judged = await bench.judge(attempt, person.account, person.credential)
    if not judged.uses.counts["fetch"]:
        raise DoesNotApply("it asks no remote party")
    return person, await bench.attempt(person)


@check(
    "when a remote party cannot be asked, the person is told of a fault and nobody is let in",
    mend="let FetchFailed pass: the engine answers 503. It is no wrong answer of the person",
    needs_kit=True,
)
async def fetch_fails_closed(bench: Bench) -> None:
    person, attempt = await _fetching_attempt(bench)
    judged = await bench.judge(attempt, person.account, person.credential, fetching=_Failing())
    if judged.is_verified:
        raise Failed("with the remote party out of reach the answer is taken for a proof")
    if isinstance(judged.outcome, Rejected):
        raise Failed(f"with the remote party out of reach the person is told: {judged.outcome.reason}")
    if not isinstance(judged.error, FetchFailed):
        raise Failed(f"with the remote party out of reach it comes to {judged.said()}")


@check(
    "what a remote party babbles proves nothing",
    mend="check the type and value of each thing you take from an answer; raise FetchFailed or return Rejected",
    needs_kit=True,
)
async def garbage_proves_nothing(bench: Bench) -> None:
    person, attempt = await _fetching_attempt(bench)
    for answer in _GARBAGE:
        judged = await bench.judge(attempt, person.account, person.credential, fetching=_Babbling(answer))
        demand_refused(judged, f"the remote answer {str(answer)[:60]}")


@check(
    "tokens in what a remote party answers are read, signature and all",
    mend="read ID tokens by context.id_token, and compare their nonce",
    needs_kit=True,
)
async def forged_tokens_prove_nothing(bench: Bench) -> None:
    person, attempt = await _fetching_attempt(bench)
    for which in range(20):
        attempt = await bench.attempt(person)
        party = Tampering(attempt.party or bench.party, which)
        judged = await bench.judge(attempt, person.account, person.credential, fetching=party)
        if not party.changed:
            break
        demand_refused(judged, party.changed)
    if which == 0:
        raise DoesNotApply("no token comes from a remote party")


@check(
    "it sends people away by https, back to its own address, with nothing secret in the address",
    mend="go to an https address with context.callback_url(); the engine adds state; secrets go by fetching.post_form",
)
async def address_is_safe(bench: Bench) -> None:
    flow = bench.flow()
    away = bench.begin(flow)
    if not isinstance(away, Redirect):
        raise DoesNotApply("it sends nobody elsewhere")
    parts = urlsplit(away.url)
    query = parse_qs(parts.query, keep_blank_values=True)
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(away.url)):
        raise Failed(f"the address begins with {parts.scheme}://")
    if parts.username or parts.password or parts.fragment:
        raise Failed("the address holds a user, a password or a fragment")
    if "state" in query:
        raise Failed("the address has a state of its own; the engine adds the one it checks")
    for name in ("redirect_uri", "callback", "return_to"):
        if name in query and query[name] != [bench.context(flow).callback_url()]:
            raise Failed(f"{name} is {query[name][0]}, not context.callback_url()")
    person = None if bench.kit is None else await bench.person()
    if person is not None:
        for what, text in secrets_of(bench, person, away, {}):
            if text in away.url:
                raise Failed(f"{what} stands in the address")
    for name, value in away.scratch.items():
        if isinstance(value, str) and len(value) >= 8 and value in away.url and "nonce" not in name:
            raise Failed(f"the private note {name} stands in the address")


@check(
    "whoever comes back with an error, or with nothing, is refused without a fault",
    mend="read error, code and the like by submission.get; answer Nobody, then Rejected",
)
async def errors_of_the_party_are_refused(bench: Bench) -> None:
    flow = bench.flow()
    away = bench.begin(flow)
    if not isinstance(away, Redirect):
        raise DoesNotApply("it sends nobody elsewhere")
    tries: list[Mapping[str, str]] = [
        {},
        {"error": "access_denied", "error_description": "<b>no</b>"},
        {"error": "temporarily_unavailable"},
        {"code": ""},
        {"code": "x" * 5000},
        {"code": "wrong", "iss": "https://elsewhere.example"},
    ]
    for values in tries:
        attempt = Attempt(flow, away, Submission(values, away.scratch, True))
        demand_refused(await bench.judge(attempt, None, None), f"coming back with {str(dict(values))[:60]}")


@check(
    "what comes back is worth nothing without the notes of the flow that was sent away",
    mend="compare the nonce with context.challenge('nonce') and send the code verifier from submission.notes",
    needs_kit=True,
)
async def notes_are_demanded(bench: Bench) -> None:
    person = await bench.person()
    flow = bench.flow(person)
    away = bench.begin(flow, bench.known_to(person))
    if not isinstance(away, Redirect):
        raise DoesNotApply("it sends nobody elsewhere")
    attempt = await bench.answered(person, flow, away)
    other = bench.flow(person)
    elsewhere = replace(attempt, flow=other, submission=Submission(attempt.values, bench.begin(other).scratch, True))
    demand_refused(await bench.judge(elsewhere, person.account, person.credential), "what came back for another flow")


CHECKS = (
    fetch_fails_closed, garbage_proves_nothing, forged_tokens_prove_nothing, address_is_safe,
    errors_of_the_party_are_refused, notes_are_demanded,
)  # fmt: skip
