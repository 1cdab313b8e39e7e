"""Checks of `answer`: what is not right is refused, whatever it is, and nothing right is worth anything elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from authflow.certifying import forging, hostile, reading
from authflow.certifying.attempts import Attempt, Judged, Person
from authflow.certifying.bench import Bench
from authflow.certifying.check import check
from authflow.certifying.report import DoesNotApply, Failed, NotShown
from authflow.errors import FetchFailed
from authflow.federated import FederatedProvider
from authflow.fields import Field
from authflow.flow import Flow
from authflow.model import Account, Credential, Plain
from authflow.provider import Ask, Charge, Redirect, Rejected, Submission

_GUESSABLE = 20
"""Characters below which a proof can be guessed, given enough tries."""

_REFUSE = "answer what is not right with Rejected, by comparing all of it (hmac.compare_digest) before anything else"


def fields_of(ask: Ask | Redirect) -> tuple[Field, ...]:
    return ask.fields if isinstance(ask, Ask) else ()


def demand_refused(judged: Judged, what: str) -> None:
    """Fail unless a submission was refused, or answered with a further question, without a fault."""
    if judged.is_verified:
        raise Failed(f"it takes {what} for a proof")
    if judged.error is not None and not isinstance(judged.error, FetchFailed):
        raise Failed(f"{what} made it raise {judged.said()}")


async def _last_step(bench: Bench, person: Person | None) -> Attempt:
    """Return an attempt at the last step; without a kit, at the first one and with nothing in it."""
    if person is not None:
        return await bench.attempt(person)
    flow = bench.flow()
    ask = bench.begin(flow)
    return Attempt(flow, ask, Submission({}, ask.scratch, isinstance(ask, Redirect)))


async def _person(bench: Bench) -> Person | None:
    return None if bench.kit is None else await bench.person()


@check("nothing at all proves nothing, nor does a form with a field left out or empty", mend=_REFUSE)
async def empty_is_refused(bench: Bench) -> None:
    person = await _person(bench)
    attempt = await _last_step(bench, person)
    tries: list[tuple[str, Mapping[str, str]]] = [
        ("an empty submission", {}),
        ("fields that are all empty", {declared.name: "" for declared in fields_of(attempt.ask)}),
        ("fields that are all spaces", {declared.name: "  " for declared in fields_of(attempt.ask)}),
    ]
    proving = hostile.proving(fields_of(attempt.ask), attempt.values)
    for name in proving:
        tries.append((f"a submission without {name}", {k: v for k, v in attempt.values.items() if k != name}))
        tries.append((f"a submission with {name} empty", {**attempt.values, name: ""}))
    for what, values in tries:
        if values == attempt.values and person is not None:
            continue
        for account, credential in _who(person):
            demand_refused(await bench.judge(attempt.of(values), account, credential), what)
            # Nothing was noted either: a flow may be answered that was never asked about.
            bare = replace(attempt, submission=Submission(values, {}, not attempt.submission.by_get))
            demand_refused(await bench.judge(bare, account, credential), f"{what}, without notes,")


@check("hostile texts prove nothing and break nothing", mend=_REFUSE)
async def hostile_is_refused(bench: Bench) -> None:
    person = await _person(bench)
    attempt = await _last_step(bench, person)
    proving = hostile.proving(fields_of(attempt.ask), attempt.values)
    for what, values in hostile.submissions(fields_of(attempt.ask)):
        for account, credential in _who(person):
            demand_refused(await bench.judge(attempt.of(values), account, credential), what)
            if person is not None and set(proving) <= set(values):
                # The rest as the person would have it, such as the name of a login form.
                mixed = {**attempt.values, **values}
                demand_refused(await bench.judge(attempt.of(mixed), account, credential), what)
    if person is not None:
        declared = {field.name for field in fields_of(attempt.ask)} | set(attempt.values)
        for name in sorted({*hostile.UNDECLARED, *reading.names_read(type(bench.provider))} - declared):
            slip = hostile.wrong(attempt.values, proving)
            judged = await bench.judge(attempt.of({**slip, name: "1"}), person.account, person.credential)
            demand_refused(judged, f"a wrong answer with the undeclared name {name}")


def _who(person: Person | None) -> list[tuple[Account | None, Credential | None]]:
    """Name for whom a submission is judged: nobody; and somebody, if there is one, without and with a credential."""
    if person is None:
        return [(None, None)]
    return [(None, None), (person.account, None), (person.account, person.credential)]


@check(
    "what the page, the address or the store say is no answer",
    mend="never compare with something that was shown, and store hashes, keys or counters instead of the answer",
)
async def shown_is_no_answer(bench: Bench) -> None:
    person = await _person(bench)
    attempt = await _last_step(bench, person)
    ask = attempt.ask
    known: dict[str, str] = {"the flow's id": attempt.flow.id, "the provider's name": bench.provider.name}
    if isinstance(ask, Ask):
        for name, value in texts_in("", {**ask.params, **ask.values}):
            known[f"what the page shows as {name}"] = value
        for declared in ask.fields:
            known[f"the label of {declared.name}"] = declared.label
            for value, _ in declared.options:
                known[f"an option of {declared.name}"] = value
    if person is not None:
        known |= {"the account's id": person.account.id, "the account's name": person.account.name}
        if person.credential is not None:
            for name, value in texts_in("", person.credential.data):
                known[f"what is stored unencrypted as {name}"] = value
    for text in reading.texts(type(bench.provider)):
        known[f"the text {ascii(text)[:40]} in its source"] = text
    proving = hostile.proving(fields_of(ask), attempt.values) or [f.name for f in fields_of(ask)] or ["code"]
    for what, value in known.items():
        if any(attempt.values.get(name) == value for name in proving):
            continue  # What is typed there is a name, and no proof at all.
        values = {**attempt.values, **dict.fromkeys(proving, value)}
        for account, credential in _who(person):
            demand_refused(await bench.judge(attempt.of(values), account, credential), what)


def texts_in(path: str, value: object) -> list[tuple[str, str]]:
    """Find every text in plain values, with where it stands."""
    if isinstance(value, str):
        return [(path, value)] if value else []
    if isinstance(value, Mapping):
        return [found for key, item in value.items() for found in texts_in(f"{path}.{key}".strip("."), item)]
    if isinstance(value, list | tuple):
        return [found for at, item in enumerate(value) for found in texts_in(f"{path}[{at}]", item)]
    return [(path, str(value))] if isinstance(value, int | float) and not isinstance(value, bool) else []


@check(
    "a credential that was damaged is good for nothing",
    mend="let can_handle look at all that answer needs, by type and length; refuse what is empty",
    needs_kit=True,
)
async def damaged_is_refused(bench: Bench) -> None:
    person = await bench.person()
    held = person.credential
    if held is None:
        raise DoesNotApply("nothing is stored for the account")
    attempt = await bench.attempt(person)
    proving = hostile.proving(fields_of(attempt.ask), attempt.values)
    damaged = [("without its secret", replace(held, secret=b""))] if held.secret else []
    for name in held.data:
        damaged.append((f"without {name}", replace(held, data={k: v for k, v in held.data.items() if k != name})))
        odd: tuple[Plain, ...] = (None, "", 0, [], {}, "x")
        for value in odd:
            damaged.append((f"whose {name} is {value!r}", replace(held, data={**held.data, name: value})))
    for what, credential in damaged:
        if not bench.fresh().can_handle(credential):
            continue  # The engine takes it for none.
        for text in ("", "0", "x", "000000"):
            values = {**attempt.values, **dict.fromkeys(proving, text)}
            judged = await bench.judge(attempt.of(values), person.account, credential)
            demand_refused(judged, f"{text!r}, for a credential {what},")


@check("a right answer with a slip in it is refused, each time", mend=_REFUSE, needs_kit=True)
async def wrong_is_refused(bench: Bench) -> None:
    person = await bench.person()
    credential, flow = person.credential, bench.flow(person)
    attempt = await bench.attempt(person, flow)
    proving = hostile.proving(fields_of(attempt.ask), attempt.values)
    for names in [proving, *([[name] for name in proving] if len(proving) > 1 else [])]:
        for _ in range(3):
            # Anew each time: what is exchanged for something elsewhere may be good for one try.
            attempt = await bench.attempt(person, flow)
            slip = attempt.of(hostile.wrong(attempt.values, names))
            judged = await bench.judge(slip, person.account, credential)
            demand_refused(judged, f"a wrong {' and '.join(names)}")
            if isinstance(judged.outcome, Rejected) and judged.outcome.credential is not None:
                credential = judged.outcome.credential
    for name in proving:
        for what, form in (("the beginning of", 0), ("more than", 1), ("twice", 2)):
            attempt = await bench.attempt(person, flow)
            value = attempt.values[name]
            other = {**attempt.values, name: (value[:-1], value + "0", value * 2)[form]}
            judged = await bench.judge(attempt.of(other), person.account, person.credential)
            demand_refused(judged, f"{what} the right {name}")
        await _refuses_other_scripts(bench, person, await bench.attempt(person, flow), name)
        for what, forged in forging.tokens(attempt.values[name]):
            attempt = await bench.attempt(person, flow)
            forgeries = dict(forging.tokens(attempt.values[name]))
            judged = await bench.judge(
                attempt.of({**attempt.values, name: forgeries.get(what, forged)}), person.account, person.credential
            )
            demand_refused(judged, f"the right {name} {what}")


_DIGITS = str.maketrans("0123456789", "\uff10\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19")


async def _refuses_other_scripts(bench: Bench, person: Person, attempt: Attempt, name: str) -> None:
    """A code in digits of another script is none: one code would have many spellings, and none of them is spent."""
    value = attempt.values[name]
    if value.isascii() and value.isdigit():
        for what, other in (
            ("in other digits", value.translate(_DIGITS)),
            ("with a mark in it", value + "\u200b"),
        ):
            judged = await bench.judge(attempt.of({**attempt.values, name: other}), person.account, person.credential)
            demand_refused(judged, f"the right {name} {what}")


async def wrong_attempt(bench: Bench, person: Person, flow: Flow) -> Attempt:
    """Return a wrong answer of the right form: the kit's own, or a slip in the right one."""
    attempt = await bench.attempt(person, flow)
    own = await person.kit.wrong(attempt.ask, bench.context(flow, person.account))
    if own is not None:
        return attempt.of(dict(own))
    return attempt.of(hostile.wrong(attempt.values, hostile.proving(fields_of(attempt.ask), attempt.values)))


@check(
    "a wrong answer does its owner no harm: the right one is accepted afterwards",
    mend="keep secret and counters as they are in what Rejected.credential brings; to lock is the engine's",
    needs_kit=True,
)
async def wrong_does_no_harm(bench: Bench) -> None:
    person = await bench.person()
    for _ in range(3):
        judged = await bench.judge(
            await wrong_attempt(bench, person, bench.flow(person)), person.account, person.credential
        )
        if isinstance(judged.outcome, Rejected) and judged.outcome.credential is not None:
            person.credential = judged.outcome.credential
    judged = await bench.judge(await bench.attempt(person), person.account, person.credential)
    if not judged.is_verified:
        raise Failed(f"after three wrong answers the right one comes to {judged.said()}")


@check(
    "a wrong answer that can be guessed counts against the account, and no wrong one is free",
    mend="Rejected(...) charges the account unless told otherwise; NOTHING is for what was not judged at all",
    needs_kit=True,
)
async def wrong_is_charged(bench: Bench) -> None:
    person = await bench.person()
    attempt = await wrong_attempt(bench, person, bench.flow(person))
    judged = await bench.judge(attempt, person.account, person.credential)
    if not isinstance(judged.outcome, Rejected):
        raise DoesNotApply("a wrong answer is not rejected, but leads on")
    charge = judged.outcome.charge
    proving = hostile.proving(fields_of(attempt.ask), attempt.values)
    longest = max((len(attempt.values[name]) for name in proving), default=0)
    if charge is Charge.NOTHING:
        is_typed = any(declared.is_secret for declared in fields_of(attempt.ask))
        context = bench.context(attempt.flow, person.account)
        if not is_typed and longest >= _GUESSABLE and await person.kit.wrong(attempt.ask, context) is None:
            raise NotShown("a slip breaks the form of the answer: say by the kit's wrong() what a wrong one looks like")
        raise Failed("a wrong answer of the right form costs nothing: it can be tried without end")
    if charge is Charge.FLOW and longest < _GUESSABLE and not isinstance(bench.provider, FederatedProvider):
        raise Failed("a wrong answer counts against its flow alone, and a new flow is free: short codes can be guessed")


CHECKS = (
    empty_is_refused, hostile_is_refused, shown_is_no_answer, damaged_is_refused, wrong_is_refused,
    wrong_does_no_harm, wrong_is_charged,
)  # fmt: skip
