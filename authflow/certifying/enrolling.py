"""Checks of enrolling: what confirms, whose secret it is, and what becomes of it."""

from __future__ import annotations

from authflow.certifying import hostile, reading
from authflow.certifying.attempts import Attempt, Person, is_one_time
from authflow.certifying.bench import Bench
from authflow.certifying.check import check
from authflow.certifying.enrolments import Enrolling, begin, is_chosen, said_of
from authflow.certifying.proving import demand_storable
from authflow.certifying.report import DoesNotApply, Failed, NotShown
from authflow.model import Factor
from authflow.provider import Ask, Enrolled, Rejected, Submission

LEAST_SECRET = 16
"""Bytes of a secret that a device shares with us (RFC 4226, R6)."""

_CHOSEN = "people choose it (chosen_by_person): see weak_choices_are_refused"


def _demand_not_enrolled(outcome: object, what: str, *, is_choice: bool = False) -> None:
    if isinstance(outcome, Enrolled) and not is_choice:
        raise Failed(f"{what} enrols the factor")
    if isinstance(outcome, BaseException):
        raise Failed(f"{what} made answer_enrolment raise {type(outcome).__name__}: {outcome}")
    if not isinstance(outcome, Ask | Rejected | Enrolled):
        raise Failed(f"{what} came to {type(outcome).__name__}")


@check(
    "enrolling is not confirmed by nothing, by hostile texts, or by what it shows",
    mend="judge the confirming submission against submission.notes, and refuse by Rejected what does not fit",
)
async def enrolling_needs_confirmation(bench: Bench) -> None:
    enrolling = await begin(bench)
    while True:
        values = await enrolling.values() if bench.kit is not None else None
        await _demand_confirmation(enrolling, values)
        outcome = None if values is None else await enrolling.answer(values)
        if values is None or not isinstance(outcome, Ask) or len(enrolling.trail) > 3:
            return
        enrolling.move(values, outcome)


async def _demand_confirmation(enrolling: Enrolling, right: dict[str, str] | None) -> None:
    fields = enrolling.ask.fields
    # A text that is chosen may be any; that it is not a weak one is looked at by itself.
    is_choice = is_chosen(enrolling.bench.provider) and (right is None or enrolling.kit.chosen in right.values())
    _demand_not_enrolled(await enrolling.answer({}), "an empty submission")
    _demand_not_enrolled(await enrolling.answer({f.name: "" for f in fields}), "a submission of empty fields")
    for what, values in hostile.submissions(fields):
        _demand_not_enrolled(await enrolling.answer(values), what, is_choice=is_choice)
    for name, value in (*enrolling.ask.params.items(), *enrolling.ask.scratch.items()):
        if isinstance(value, str):
            values = dict.fromkeys([f.name for f in fields] or ["code"], value)
            what = f"{name}, sent back as it was shown or noted,"
            _demand_not_enrolled(await enrolling.answer(values), what, is_choice=is_choice)


@check(
    "a slip in the confirming code is refused, and the right one still enrols afterwards",
    mend="answer Rejected(..., Charge.FLOW); the notes stay as they are until the right code comes",
    needs_kit=True,
    by_chance=True,
)
async def enrolling_forgives_a_slip(bench: Bench) -> None:
    enrolling = await begin(bench)
    while True:
        right = await enrolling.values()
        slip = await enrolling.slip(right)
        if slip is not None:
            _demand_not_enrolled(await enrolling.answer(slip), "a wrong code")
        outcome = await enrolling.answer(right)
        if isinstance(outcome, Enrolled):
            return
        if not isinstance(outcome, Ask) or len(enrolling.trail) > 3:
            raise Failed(f"the right code after a wrong one came to {said_of(outcome)}")
        enrolling.move(right, outcome)


@check(
    "what is confirmed is what we made: nothing the client sends becomes the secret",
    mend="take the secret from submission.notes alone",
    needs_kit=True,
)
async def secret_is_ours(bench: Bench) -> None:
    if is_chosen(bench.provider):
        raise DoesNotApply(_CHOSEN)
    enrolling = await begin(bench)
    right, honest = await enrolling.finished()
    if not honest.credential.secret:
        raise DoesNotApply("it keeps no secret (Credential.secret)")
    steps = [*enrolling.trail, (enrolling.ask, right)]
    named = {name for ask, values in steps for name in (*ask.scratch, *ask.params)}
    typed = {name for _, values in steps for name in values}
    names = {*named, *reading.names_read(type(bench.provider)), "secret", "key", "seed"} - typed
    theirs = dict.fromkeys(names, "ORSXG5BAORSXG5BAORSXG5BAORSXG5BA")
    ask, outcome = steps[0][0], None
    for _, values in steps:
        outcome = await enrolling.answer({**theirs, **values}, ask=ask)
        if not isinstance(outcome, Ask):
            break
        ask = outcome
    if isinstance(outcome, Enrolled) and outcome.credential.secret != honest.credential.secret:
        raise Failed("a secret that the client sends along is taken")
    if enrolling.ask.scratch and isinstance(await enrolling.answer({**theirs, **right}, has_notes=False), Enrolled):
        raise Failed("without the notes of the open enrolment the client's secret is taken")


@check(
    "each enrolment makes a secret of its own, of 128 bits or more from context.random_bytes",
    mend="begin_enrolment draws at least 16 bytes from context.random_bytes and keeps them in Ask.scratch; "
    "a secret that people choose is declared by chosen_by_person = True",
    needs_kit=True,
)
async def secret_is_fresh(bench: Bench) -> None:
    if is_chosen(bench.provider):
        raise DoesNotApply(_CHOSEN)
    one, other = await begin(bench), await begin(bench)
    _, first = await one.finished()
    _, second = await other.finished()
    if not first.credential.secret:
        raise DoesNotApply("it keeps no secret (Credential.secret)")
    if first.credential.secret == second.credential.secret:
        raise Failed("two people get the same secret")
    if len(first.credential.secret) < LEAST_SECRET:
        raise Failed(f"the secret has {len(first.credential.secret) * 8} bits; 128 is the least")
    if one.uses.random_bytes < LEAST_SECRET:
        raise Failed("the secret is not drawn from context.random_bytes, or by fewer than 16 bytes")


@check(
    "a secret that people choose is called one, and a weak choice is refused",
    mend="refuse short ones, one character over and over and the account's name; the kit keeps its choice in `chosen`",
    needs_kit=True,
)
async def weak_choices_are_refused(bench: Bench) -> None:
    if not is_chosen(bench.provider):
        raise DoesNotApply("nobody chooses what it keeps (chosen_by_person)")
    if bench.provider.factor is not Factor.KNOWLEDGE:
        raise Failed(f"factor is {bench.provider.factor.value}, and what people choose is knowledge")
    enrolling = await begin(bench)
    right = enrolling.kit.chosen
    if not right:
        raise NotShown("the kit does not say what its person chose: keep it in `chosen`, and answer from that")
    await enrolling.finished()
    for what, weak in _weak(right, enrolling.account.name):
        if isinstance(await _chosen(bench, weak), Enrolled):
            raise Failed(f"{what} may be chosen")


def _weak(right: str, name: str) -> list[tuple[str, str]]:
    # The long one first: by it is seen whether the kit answers from its choice at all.
    found = [("one character over and over", right[0] * len(right)), ("one character", right[0])]
    found.append(("the account's name", name))
    if right.isdigit():
        found.append(("digits in a row", ("1234567890" * len(right))[: len(right)]))
    else:
        found.append(("the word password", "password"))
    return found


async def _chosen(bench: Bench, choice: str) -> object:
    """Enrol somebody who chooses this, and return what it came to."""
    enrolling = await begin(bench)
    before, was_sent, outcome = enrolling.kit.chosen, False, None
    for _ in range(5):
        enrolling.kit.chosen = choice
        try:
            values = await enrolling.values()
        except (IndexError, KeyError, ValueError):
            enrolling.kit.chosen = before  # The kit can say nothing of a choice like that but the choice itself.
            values = await enrolling.values()
        values = {name: choice if value == before else value for name, value in values.items()}
        was_sent = was_sent or choice in values.values()
        outcome = await enrolling.answer(values)
        _demand_not_enrolled(outcome, f"the choice {choice!r}", is_choice=True)
        if not isinstance(outcome, Ask):
            break
        enrolling.move(values, outcome)
    if not was_sent:
        raise NotShown("nothing that the kit confirms is what it keeps in `chosen`")
    return outcome


@check(
    "an enrolled credential is this account's, is dated, is fit to be stored, and can be used",
    mend="Enrolled(context.prove(self), Credential(context.account.id, self.name, context.now, context.now, ...))",
    needs_kit=True,
    by_chance=True,
)
async def enrolled_is_usable(bench: Bench) -> None:
    enrolling = await begin(bench)
    right, outcome = await enrolling.finished()
    credential = outcome.credential
    if not any(outcome.proof is minted for minted in enrolling.uses.proofs):
        raise Failed("the proof is not one that context.prove gave out in this call")
    if (credential.account_id, credential.provider) != (enrolling.account.id, bench.provider.name):
        raise Failed("the credential is of another account or another provider")
    if credential.created_at != bench.clock() or credential.changed_at != bench.clock():
        raise Failed("the credential is not dated by context.now")
    demand_storable(credential, "the enrolled credential")
    if not bench.fresh().can_handle(credential):
        raise Failed("can_handle refuses what was just enrolled")
    if is_one_time(bench.provider) and credential.secret:
        person = Person(enrolling.kit, enrolling.account, credential)
        flow = bench.flow(person)
        attempt = Attempt(flow, bench.begin(flow, enrolling.account), Submission(right))
        if (await bench.judge(attempt, enrolling.account, credential)).is_verified:
            raise Failed("the confirming code is good for a login, too")


CHECKS = (
    enrolling_needs_confirmation, enrolling_forgives_a_slip, secret_is_ours, secret_is_fresh,
    weak_choices_are_refused, enrolled_is_usable,
)  # fmt: skip
