"""Checks of what a success brings: the proof, and the credential as it is stored from then on."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from contextlib import suppress
from itertools import pairwise

from authflow.certifying import hostile
from authflow.certifying.attempts import Person
from authflow.certifying.bench import Bench
from authflow.certifying.check import check
from authflow.certifying.judging import demand_refused, fields_of
from authflow.certifying.report import DoesNotApply, Failed, NotShown
from authflow.model import Credential
from authflow.provider import Ask, Redirect, Rejected, Verified

LARGEST = 32 * 1024
"""Bytes of a credential; a record of a store has a megabyte at most, and it is read at each login."""

_ROUNDS = 6
_OF_PARTIES = frozenset({"code", "token", "id_token", "access_token", "assertion", "SAMLResponse"})
"""What is secret of that which remote parties send back."""

_KEEP = "change a credential by dataclasses.replace: its account, provider and date stay; data holds plain values"


@check(
    "a success carries the proof that the context minted for this very submission",
    mend="return Verified(context.prove(self), ...) in the call that judged, and nothing you made or kept yourself",
    needs_kit=True,
)
async def proof_is_minted(bench: Bench) -> None:
    person = await bench.person()
    attempt = await bench.attempt(person)
    judged = await bench.judge(attempt, person.account, person.credential)
    if not isinstance(judged.outcome, Verified):
        raise NotShown(f"the kit's answer is not accepted: {judged.said()}")
    proof = judged.outcome.proof
    if not any(proof is minted for minted in judged.uses.proofs):
        raise Failed("the proof is not one that context.prove gave out in this call")
    if proof.provider != bench.provider.name or proof.subject != person.account.id:
        raise Failed("the proof speaks of another provider or another account")
    if proof.factor is not bench.provider.factor:
        raise Failed(f"the proof is one of {proof.factor.value}, the provider declares {bench.provider.factor.value}")


@check(
    "each instance judges alike: nothing is remembered between calls",
    mend="keep what must last in the credential or in scratch: the next request may be answered by another process",
    needs_kit=True,
)
async def keeps_nothing(bench: Bench) -> None:
    person = await bench.person()
    one = bench.fresh()
    before = _state(one)
    flow = bench.flow(person)
    asked = one.begin(bench.context(flow, bench.known_to(person)))
    attempt = await bench.answered(person, flow, asked)
    wrong = attempt.of(hostile.wrong(attempt.values, list(attempt.values)))
    await bench.judge(wrong, person.account, person.credential, provider=one)
    await bench.judge(attempt, person.account, person.credential, provider=one)
    changed = sorted(name for name, value in _state(one).items() if before.get(name) != value)
    if changed:
        raise Failed(f"the instance has changed by being asked: {', '.join(changed)}")


def _state(provider: object) -> dict[str, str]:
    """Return what an instance, its classes and their modules hold, as text."""
    state: dict[str, str] = {}
    for owner in (*reversed(type(provider).__mro__), None):
        if owner is object or (owner is not None and owner.__module__.startswith("authflow.")):
            continue
        held = vars(provider) if owner is None else vars(owner)
        for name, value in held.items():
            if isinstance(value, str | bytes | int | float | list | dict | set | tuple | frozenset | None):
                state[name] = repr(value)
        if owner is not None:
            for name, value in vars(sys.modules.get(owner.__module__, object)).items():
                if isinstance(value, list | dict | set) and not name.startswith("__"):
                    state[f"{owner.__module__}.{name}"] = repr(value)
    return state


@check(
    "a changed credential is the same person's, of the same provider, and fit to be stored", mend=_KEEP, needs_kit=True
)
async def changed_credential(bench: Bench) -> None:
    person = await bench.person()
    if person.credential is None:
        raise DoesNotApply("nothing is stored for the account")
    demand_storable(person.credential, "the credential it begins with")
    attempt = await bench.attempt(person)
    slip = attempt.of(hostile.wrong(attempt.values, hostile.proving(fields_of(attempt.ask), attempt.values)))
    for one, what in ((slip, "a wrong answer"), (attempt, "the right answer")):
        judged = await bench.judge(one, person.account, person.credential)
        if isinstance(judged.outcome, Verified | Rejected) and judged.outcome.credential is not None:
            _demand_kept(bench, person.credential, judged.outcome.credential, what)


def _demand_kept(bench: Bench, before: Credential, after: Credential, what: str) -> None:
    if not isinstance(after, Credential):
        raise Failed(f"{what} changes the credential into a {type(after).__name__}")
    for name in ("account_id", "provider", "created_at"):
        if getattr(before, name) != getattr(after, name):
            raise Failed(f"{what} changes {name} of the credential")
    if len(after.secret) < len(before.secret):
        raise Failed(f"{what} leaves a shorter secret in the credential")
    if not before.created_at <= after.changed_at <= bench.clock():
        raise Failed(f"{what} leaves changed_at at {after.changed_at}, which is not what context.now says")
    demand_storable(after, f"the credential after {what}")


def demand_storable(credential: Credential, what: str) -> None:
    if not isinstance(credential.secret, bytes):
        raise Failed(f"{what} has a secret that is no bytes")
    data = dict(credential.data)
    try:
        text = json.dumps(data, allow_nan=False)
        is_plain = json.loads(text) == data and not any(isinstance(value, tuple) for value in data.values())
    except (TypeError, ValueError):
        text, is_plain = "", False
    if not is_plain:
        raise Failed(f"{what} holds data that are not plain (texts, numbers, truths, lists and dicts of them)")
    if len(text) + len(credential.secret) > LARGEST:
        raise Failed(f"{what} has {len(text) + len(credential.secret)} bytes, more than {LARGEST}")


@check(
    "a credential does not grow with its use",
    mend="keep a counter or the last instant instead of a list of all that was used",
    needs_kit=True,
)
async def credential_stays_small(bench: Bench) -> None:
    person = await bench.person()
    now = bench.clock.now
    sizes = []
    try:
        for _ in range(_ROUNDS):
            try:
                _, proved = await bench.right(person)
            except NotShown:
                break
            if proved.credential is None:
                raise DoesNotApply("a success changes nothing that is stored")
            person.credential = proved.credential
            sizes.append(len(json.dumps(dict(proved.credential.data))) + len(proved.credential.secret))
            bench.clock.pass_by(person.kit.wait)
    finally:
        bench.clock.now = now
    steps = [b - a for a, b in pairwise(sizes)]
    if len(steps) >= _ROUNDS - 1 and min(steps[1:]) > 2:
        raise Failed(f"each login makes the credential {min(steps[1:])} bytes larger or more, without an end")


@check(
    "what is stored unencrypted does not hold the answer or a plain digest of it",
    mend="hash by context.hashing or context.mac; what must be read again belongs in Credential.secret",
    needs_kit=True,
)
async def stored_is_not_the_secret(bench: Bench) -> None:
    person = await bench.person()
    if person.credential is None:
        raise DoesNotApply("nothing is stored for the account")
    attempt, proved = await bench.right(person)
    stored = json.dumps([dict(c.data) for c in (person.credential, proved.credential) if c is not None], default=str)
    for what, text in secrets_of(bench, person, attempt.ask, attempt.values):
        if text in stored:
            raise Failed(f"{what} stands in the credential's data as it is")
        for digest in (hashlib.md5, hashlib.sha1, hashlib.sha256):
            made = digest(text.encode())
            if made.hexdigest() in stored or base64.b64encode(made.digest()).decode() in stored:
                raise Failed(f"an unsalted, fast digest of {what} stands in the credential's data")


def secrets_of(bench: Bench, person: Person, ask: Ask | Redirect, values: object) -> list[tuple[str, str]]:
    """Name what must show up nowhere: what proves, what the kit says, the credential's secret in usual spellings."""
    found: list[tuple[str, str]] = []
    given = dict(values) if isinstance(values, dict) else {}
    proving = [name for name in given if name in _OF_PARTIES] if isinstance(ask, Redirect) else None
    for name in hostile.proving(fields_of(ask), given) if proving is None else proving:
        if given[name] != person.account.name:
            found.append((f"the submitted {name}", given[name]))
    for text in person.kit.secrets():
        found.append(("a secret that the kit names", text))
        found += [("a secret that the kit names", other) for raw in _decoded(text) for other in _spellings(raw)]
    if person.credential is not None and person.credential.secret:
        found += [("the credential's secret", text) for text in _spellings(person.credential.secret)]
    for name, value in bench.environment.items():
        if any(word in name for word in ("secret", "password", "private")) and len(value) >= 8:
            found.append((f"the setting {name}", value))
    return [(what, text) for what, text in found if len(text) >= 6]


def _spellings(secret: bytes) -> list[str]:
    """Return what a secret is usually written as."""
    spellings = {
        secret.hex(), secret.hex().upper(), base64.b64encode(secret).decode().rstrip("="),
        base64.urlsafe_b64encode(secret).decode().rstrip("="), base64.b32encode(secret).decode().rstrip("="),
    }  # fmt: skip
    if secret.isascii() and secret.decode().isprintable():
        spellings.add(secret.decode())
    return sorted(spellings)


def _decoded(text: str) -> list[bytes]:
    """Return what a text may stand for, if it is long enough to be a key."""
    found = []
    if len(text) >= 20:
        with suppress(ValueError):
            found.append(bytes.fromhex(text))
        with suppress(ValueError):
            found.append(base64.b32decode(text + "=" * (-len(text) % 8)))
    return found


@check(
    "the answer is not in what is asked",
    mend="send it out of band by Ask.delivery, or keep it in scratch, which is encrypted; params go to the page",
    needs_kit=True,
)
async def question_is_not_the_answer(bench: Bench) -> None:
    person = await bench.person()
    attempt = await bench.attempt(person)
    if isinstance(attempt.ask, Redirect):
        raise DoesNotApply("it sends people elsewhere: see address_is_safe")  # Its address is looked at by itself.
    shown = repr((dict(attempt.ask.params), dict(attempt.ask.values), attempt.ask.fields, attempt.ask.template))
    named = {person.account.name, person.account.id}
    for name in hostile.proving(fields_of(attempt.ask), attempt.values):
        value = attempt.values[name]
        if value not in named and len(value) >= 4 and value in shown:
            raise Failed(f"the right {name} stands in what is asked")


@check(
    "a password counts in its full length",
    mend="hash by context.hashing, which takes every character; bcrypt alone stops at 72 bytes",
    needs_kit=True,
)
async def whole_answer_counts(bench: Bench) -> None:
    from authflow.powers import SetsPassword

    provider = bench.fresh()
    if not isinstance(provider, SetsPassword):
        raise DoesNotApply("it sets no passwords (SetsPassword)")
    person = await bench.person()
    attempt = await bench.attempt(person)
    name = next(iter(hostile.proving(fields_of(attempt.ask), attempt.values)))
    long = "Grünes from a very long sentence that goes on and on, well beyond 72 bytes, up to its end: A"
    with bench.app.services.pool.reserve() as slot:
        made = await provider.new_credential(long, bench.context(attempt.flow, person.account, slot=slot))
    if not isinstance(made, Credential):
        raise Failed(f"a long password is refused: {made.reason}")
    judged = await bench.judge(attempt.of({**attempt.values, name: long}), person.account, made)
    if not judged.is_verified:
        raise Failed("a long password is not accepted after it was set")
    for what, other in (("its last character", long[:-1] + "B"), ("upper and lower case", long.swapcase())):
        judged = await bench.judge(attempt.of({**attempt.values, name: other}), person.account, made)
        demand_refused(judged, f"a password that differs in {what}")


CHECKS = (
    proof_is_minted, keeps_nothing, changed_credential, credential_stays_small, stored_is_not_the_secret,
    question_is_not_the_answer, whole_answer_counts,
)  # fmt: skip
