"""Checks of making credentials: enrolling, issuing codes, setting passwords."""

from __future__ import annotations

import json
from dataclasses import dataclass

from authflow.certifying import hostile, reading
from authflow.certifying.attempts import Attempt, Person, is_one_time
from authflow.certifying.bench import Bench
from authflow.certifying.check import check
from authflow.certifying.given import Uses
from authflow.certifying.judging import fields_of
from authflow.certifying.kit import CannotBeShown, Kit
from authflow.certifying.proving import demand_storable
from authflow.certifying.report import DoesNotApply, Failed, NotShown
from authflow.flow import Flow
from authflow.identifiers import canonical_name
from authflow.model import Account, Credential
from authflow.powers import Enrols, IssuesCodes, Rehashes, SetsPassword
from authflow.provider import Ask, Enrolled, Rejected, Submission, Verified
from authflow.tokens import new_id

LEAST_SECRET = 16
"""Bytes of a secret that a device shares with us (RFC 4226, R6)."""

LEAST_CODE_BITS = 20
"""Of a look-up secret (NIST SP 800-63B-4, section 3.1.2.1)."""


@dataclass
class _Enrolling:
    """An open enrolment of somebody new."""

    bench: Bench
    kit: Kit
    account: Account
    flow: Flow
    ask: Ask

    async def values(self) -> dict[str, str]:
        try:
            context = self.bench.context(self.flow, self.account)
            return dict(await self.kit.confirm(self.ask, context))
        except CannotBeShown as error:
            raise NotShown(str(error)) from error

    async def answer(self, values: dict[str, str], notes: object = None, uses: Uses | None = None) -> object:
        """Confirm; what is raised is returned."""
        bench, provider = self.bench, self.bench.fresh()
        submission = Submission(values, self.ask.scratch if notes is None else {})
        with bench.app.services.pool.reserve() as slot:
            context = bench.context(
                self.flow, self.account, submission, slot=slot if provider.uses_hashing else None, uses=uses
            )
            try:
                work = provider.answer_enrolment(submission, context)  # type: ignore[attr-defined]
                return await bench.watch.await_("answer_enrolment", work)
            except Exception as error:
                return error


async def _begin(bench: Bench, uses: Uses | None = None) -> _Enrolling:
    if not isinstance(bench.provider, Enrols):
        raise DoesNotApply("people cannot add it by themselves (Enrols)")
    now = bench.clock()
    account = Account(new_id(), "ada@example.org", canonical_name("ada@example.org"), now, now, email="ada@example.org")
    flow = bench.app.engine.start(subject=account.id, epoch=account.epoch)
    provider, context = bench.fresh(), bench.context(flow, account, uses=uses)
    if not isinstance(provider, Enrols):
        raise DoesNotApply("people cannot add it by themselves (Enrols)")
    try:
        ask = bench.watch.call("begin_enrolment", lambda: provider.begin_enrolment(context))
    except Exception as error:
        raise Failed(f"begin_enrolment raised {type(error).__name__}: {error}") from error
    if not isinstance(ask, Ask):
        raise Failed(f"begin_enrolment answered with {type(ask).__name__}, not with Ask")
    kit = (bench.kit or Kit)(bench.fresh())
    return _Enrolling(bench, kit, account, flow, ask)


def _demand_not_enrolled(outcome: object, what: str) -> None:
    if isinstance(outcome, Enrolled):
        raise Failed(f"{what} enrols the factor")
    if isinstance(outcome, BaseException):
        raise Failed(f"{what} made answer_enrolment raise {type(outcome).__name__}: {outcome}")
    if not isinstance(outcome, Ask | Rejected):
        raise Failed(f"{what} came to {type(outcome).__name__}")


@check(
    "enrolling is not confirmed by nothing, by hostile texts, or by what it shows",
    mend="judge the confirming submission against submission.notes, and refuse by Rejected what does not fit",
)
async def enrolling_needs_confirmation(bench: Bench) -> None:
    enrolling = await _begin(bench)
    fields = enrolling.ask.fields
    _demand_not_enrolled(await enrolling.answer({}), "an empty submission")
    _demand_not_enrolled(await enrolling.answer({f.name: "" for f in fields}), "a submission of empty fields")
    for what, values in hostile.submissions(fields):
        _demand_not_enrolled(await enrolling.answer(values), what)
    for name, value in (*enrolling.ask.params.items(), *enrolling.ask.scratch.items()):
        if isinstance(value, str):
            values = dict.fromkeys([f.name for f in fields] or ["code"], value)
            _demand_not_enrolled(await enrolling.answer(values), f"{name}, sent back as it was shown or noted,")


@check(
    "a slip in the confirming code is refused, and the right one still enrols afterwards",
    mend="answer Rejected(..., Charge.FLOW); the notes stay as they are until the right code comes",
    needs_kit=True,
    by_chance=True,
)
async def enrolling_forgives_a_slip(bench: Bench) -> None:
    enrolling = await _begin(bench)
    right = await enrolling.values()
    slip = hostile.wrong(right, hostile.proving(enrolling.ask.fields, right))
    _demand_not_enrolled(await enrolling.answer(slip), "a wrong code")
    outcome = await enrolling.answer(right)
    if not isinstance(outcome, Enrolled | Ask):
        raise Failed(f"the right code after a wrong one came to {type(outcome).__name__}: {outcome}")


@check(
    "what is confirmed is what we made: nothing the client sends becomes the secret",
    mend="take the secret from submission.notes alone",
    needs_kit=True,
)
async def secret_is_ours(bench: Bench) -> None:
    enrolling = await _begin(bench)
    right = await enrolling.values()
    honest = await enrolling.answer(right)
    if not isinstance(honest, Enrolled):
        raise DoesNotApply("E3")
    if not honest.credential.secret:
        raise DoesNotApply("E4")
    read = reading.names_read(type(bench.provider))
    names = {*enrolling.ask.scratch, *enrolling.ask.params, *read, "secret", "key", "seed"} - set(right)
    theirs = {**dict.fromkeys(names, "ORSXG5BAORSXG5BAORSXG5BAORSXG5BA"), **right}
    outcome = await enrolling.answer(theirs)
    if isinstance(outcome, Enrolled) and outcome.credential.secret != honest.credential.secret:
        raise Failed("a secret that the client sends along is taken")
    if enrolling.ask.scratch and isinstance(await enrolling.answer(theirs, notes=False), Enrolled):
        raise Failed("without the notes of the open enrolment the client's secret is taken")


@check(
    "each enrolment makes a secret of its own, of 128 bits or more from context.random_bytes",
    mend="begin_enrolment draws at least 16 bytes from context.random_bytes and keeps them in Ask.scratch",
    needs_kit=True,
)
async def secret_is_fresh(bench: Bench) -> None:
    uses = Uses()
    one, other = await _begin(bench, uses), await _begin(bench)
    first, second = await one.answer(await one.values()), await other.answer(await other.values())
    if not (isinstance(first, Enrolled) and isinstance(second, Enrolled)) or not first.credential.secret:
        raise DoesNotApply("E5")
    if first.credential.secret == second.credential.secret:
        raise Failed("two people get the same secret")
    if len(first.credential.secret) < LEAST_SECRET:
        raise Failed(f"the secret has {len(first.credential.secret) * 8} bits; 128 is the least")
    if uses.random_bytes < LEAST_SECRET:
        raise Failed("the secret is not drawn from context.random_bytes, or by fewer than 16 bytes")


@check(
    "an enrolled credential is this account's, is dated, is fit to be stored, and can be used",
    mend="Enrolled(context.prove(self), Credential(context.account.id, self.name, context.now, context.now, ...))",
    needs_kit=True,
    by_chance=True,
)
async def enrolled_is_usable(bench: Bench) -> None:
    enrolling = await _begin(bench)
    uses = Uses()
    right = await enrolling.values()
    outcome = await enrolling.answer(right, uses=uses)
    if isinstance(outcome, Ask):
        raise DoesNotApply("E6")
    if not isinstance(outcome, Enrolled):
        raise Failed(f"the kit's confirmation came to {getattr(outcome, 'reason', outcome)!r}")
    credential = outcome.credential
    if not any(outcome.proof is minted for minted in uses.proofs):
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


@check(
    "codes that are issued are fresh, long enough, from the context's randomness, and not stored as they are",
    mend="draw them from context.random_bytes and keep context.mac digests with the account's id in them",
)
async def issued_codes(bench: Bench) -> None:
    provider = bench.fresh()
    if not isinstance(provider, IssuesCodes):
        raise DoesNotApply("it issues no codes (IssuesCodes)")
    now = bench.clock()
    account = Account(new_id(), "ada@example.org", "ada@example.org", now, now, email="ada@example.org")
    flow = bench.app.engine.start(subject=account.id, epoch=account.epoch)
    uses = Uses()
    issued = bench.watch.call("issue", lambda: provider.issue(bench.context(flow, account, uses=uses)))
    again = bench.watch.call("issue", lambda: provider.issue(bench.context(flow, account)))
    if len(set(issued.codes)) != len(issued.codes) or set(issued.codes) & set(again.codes):
        raise Failed("a code was issued twice")
    for code in issued.codes:
        letters = [letter for letter in code if letter.isalnum()]
        if len(letters) * (3.3 if all(letter.isdigit() for letter in letters) else 5) < LEAST_CODE_BITS:
            raise Failed(f"a code has fewer than {LEAST_CODE_BITS} bits")
    if uses.random_bytes * 8 < LEAST_CODE_BITS * len(issued.codes):
        raise Failed("the codes are not drawn from context.random_bytes")
    stored = json.dumps([dict(c.credential.data) for c in (issued, again)], default=str).lower()
    for code in issued.codes:
        if code.lower() in stored or code.lower().replace("-", "") in stored:
            raise Failed("a code stands in the credential's data as it is")
    demand_storable(issued.credential, "the issued credential")
    if any(code in repr(issued) for code in issued.codes):
        raise Failed("repr shows the codes")


@check(
    "weak passwords are refused, and of good ones only a salted hash is kept",
    mend="ask context.hashing.refusal(password, name=...) first, and store what context.hashing.hash returns",
)
async def passwords_are_hashed(bench: Bench) -> None:
    provider = bench.fresh()
    if not isinstance(provider, SetsPassword):
        raise DoesNotApply("it sets no passwords (SetsPassword)")
    now = bench.clock()
    account = Account(new_id(), "ada@example.org", "ada@example.org", now, now, email="ada@example.org")
    flow = bench.app.engine.start(subject=account.id, epoch=account.epoch)

    async def made(password: str) -> Credential | Rejected:
        with bench.app.services.pool.reserve() as slot:
            context = bench.context(flow, account, slot=slot)
            return await bench.watch.await_("new_credential", provider.new_credential(password, context))

    for weak in ("", "short", "12345678", "password", "ada@example.org", "ada"):
        if not isinstance(await made(weak), Rejected):
            raise Failed(f"the password {weak!r} is accepted")
    good = "Lantern over 7 bridges"
    one, other = await made(good), await made(good)
    if not isinstance(one, Credential) or not isinstance(other, Credential):
        raise Failed(f"the password {good!r} is refused")
    if good in json.dumps(dict(one.data), default=str) or good.encode() in one.secret:
        raise Failed("the password is stored as it is")
    if (one.data, one.secret) == (other.data, other.secret):
        raise Failed("the same password gives the same hash twice: there is no salt")
    demand_storable(one, "the new credential")


@check(
    "a renewed hash is the same person's and takes the same password",
    mend="rehash returns dataclasses.replace(credential, data=...) with what context.hashing.hash returns",
    needs_kit=True,
)
async def rehash_keeps_the_rest(bench: Bench) -> None:
    provider = bench.fresh()
    if not isinstance(provider, Rehashes):
        raise DoesNotApply("it renews nothing (Rehashes)")
    person = await bench.person()
    attempt = await bench.attempt(person)
    if person.credential is None:
        raise DoesNotApply("nothing is stored for the account")
    with bench.app.services.pool.reserve() as slot:
        context = bench.context(attempt.flow, person.account, attempt.submission, slot=slot)
        fresh = await bench.watch.await_("rehash", provider.rehash(person.credential, attempt.submission, context))
    before = person.credential
    if (fresh.account_id, fresh.provider, fresh.created_at) != (before.account_id, before.provider, before.created_at):
        raise Failed("the renewed credential is another account's, another provider's or dated anew")
    judged = await bench.judge(attempt, person.account, fresh)
    if not isinstance(judged.outcome, Verified):
        raise Failed("the renewed hash does not take the password")
    wrong = attempt.of(hostile.wrong(attempt.values, hostile.proving(fields_of(attempt.ask), attempt.values)))
    if (await bench.judge(wrong, person.account, fresh)).is_verified:
        raise Failed("the renewed hash takes a wrong password")


CHECKS = (
    enrolling_needs_confirmation, enrolling_forgives_a_slip, secret_is_ours, secret_is_fresh, enrolled_is_usable,
    issued_codes, passwords_are_hashed, rehash_keeps_the_rest,
)  # fmt: skip
