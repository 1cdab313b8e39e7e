"""Checks of `begin`, `identify` and `can_handle`: pure, closed, believing nothing."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

from authflow.certifying import hostile
from authflow.certifying.attempts import Attempt
from authflow.certifying.bench import Bench
from authflow.certifying.check import check
from authflow.certifying.judging import texts_in
from authflow.certifying.report import DoesNotApply, Failed
from authflow.errors import AuthflowError, FetchFailed
from authflow.federated import FederatedProvider
from authflow.flow import FlowKind
from authflow.model import Account, Credential
from authflow.provider import (
    Ask,
    CredentialId,
    Identifier,
    Nobody,
    PrimaryProvider,
    Redirect,
    Subject,
    Submission,
)

_PURE = "begin is asked again for every page that is shown: keep to what the context says of flow and step"


@check("begin gives the same for the same flow and step, at any time and in any process", mend=_PURE)
async def begin_is_pure(bench: Bench) -> None:
    flow = bench.flow()
    first = bench.begin(flow)
    if bench.begin(flow) != first:
        raise Failed("asked twice for one flow and step, begin gave two answers")
    now = bench.clock.now
    try:
        bench.clock.pass_by(timedelta(minutes=3))
        if bench.begin(flow) != first:
            raise Failed("three minutes later begin gave another answer for the same flow and step")
    finally:
        bench.clock.now = now
    provider = bench.fresh()
    context = bench.context(flow)
    for _ in range(2):
        bench.watch.call("begin", lambda: provider.begin(context))
    _ask_in_every_kind(bench)
    for name in ("hash", "verify", "fetch", "id_token", "random_bytes", "prove"):
        if context.uses.counts[name]:
            raise Failed(f"begin uses context.{name}, which is for answer alone")


def _ask_in_every_kind(bench: Bench) -> None:
    """A first step is asked for of people who are logged in, too: once more, or to connect an account of elsewhere."""
    kinds = [FlowKind.LOGIN]
    if isinstance(bench.provider, PrimaryProvider):
        kinds.append(FlowKind.REAUTHENTICATE)
    if isinstance(bench.provider, FederatedProvider):
        kinds.append(FlowKind.SETTINGS)
    now = bench.clock()
    account = Account("somebody", "ada@example.org", "ada@example.org", now, now)
    for kind in kinds:
        for told in (None, account):
            bench.begin(bench.app.engine.start(kind, subject=account.id, epoch=account.epoch), told)


@check(
    "a challenge belongs to its flow and step",
    mend="take it from context.challenge(), which is unpredictable and the same for one flow and step alone",
)
async def challenge_is_of_the_flow(bench: Bench) -> None:
    flow = bench.flow()
    first, other = bench.begin(flow), bench.begin(bench.flow())
    later = bench.begin(replace(flow, step=flow.step + 1))
    found = challenges(first)
    if not found:
        raise DoesNotApply("it asks for no challenge or nonce")
    for name, value in found.items():
        if len(value) < 22:
            raise Failed(f"{name} is shorter than 128 bits")
        if challenges(other).get(name) == value:
            raise Failed(f"{name} is the same in two flows")
        if challenges(later).get(name) == value:
            raise Failed(f"{name} is the same in two steps of a flow")


def challenges(asked: Ask | Redirect) -> dict[str, str]:
    """Find what is called a challenge or a nonce in what is asked, or in the address somebody is sent to."""
    if isinstance(asked, Ask):
        texts = texts_in("", dict(asked.params))
    else:
        texts = [(name, values[0]) for name, values in parse_qs(urlsplit(asked.url).query).items()]
    return {
        name: value
        for name, value in texts
        if name.rpartition(".")[2].lower() in ("challenge", "nonce", "code_challenge")
    }


@check(
    "identify names somebody or nobody, whatever is sent, and never raises",
    mend="return Identifier, Subject, CredentialId or Nobody; what cannot be read is Nobody(evidence)",
)
async def identify_is_closed(bench: Bench) -> None:
    if not isinstance(bench.provider, PrimaryProvider):
        raise DoesNotApply("a second factor identifies nobody: the account is known")
    flow = bench.flow()
    ask = bench.begin(flow)
    declared = ask.fields if isinstance(ask, Ask) else ()
    for what, values in [("nothing", {}), *hostile.submissions(declared)]:
        submission = Submission(values, ask.scratch, isinstance(ask, Redirect))
        context = bench.context(flow, None, submission)
        try:
            who = await bench.watch.await_("identify", bench.fresh().identify(submission, context))
        except FetchFailed:
            continue
        except Exception as error:
            raise Failed(f"identify raised {type(error).__name__} for {what}: {error}") from error
        match who:
            case Identifier(text) | CredentialId(text):
                parts: tuple[object, ...] = (text,)
            case Subject(issuer, subject):
                parts = (issuer, subject)
            case Nobody():
                parts = ()
            case _:
                raise Failed(f"identify answered with {type(who).__name__} for {what}")
        if not all(isinstance(part, str) for part in parts):
            raise Failed(f"identify named somebody by something else than text for {what}")


@check(
    "can_handle says True or False of any credential, and what it takes can be answered without a fault",
    mend="look at the data you need, by type; say False where a code could not be judged by it",
)
async def can_handle_is_pure(bench: Bench) -> None:
    now, provider = bench.clock(), bench.provider
    blank = Credential("somebody", provider.name, now, now)
    odd = [
        blank,
        replace(blank, data={"hash": None, "interval": "x", "digests": 5, "last_counter": "1", "key": []}),
        replace(blank, data={str(n): [n] for n in range(50)}, secret=b"\x00"),
        replace(blank, secret=b"x" * 4096),
    ]
    flow = bench.flow()
    ask = bench.begin(flow)
    names = [declared.name for declared in ask.fields] if isinstance(ask, Ask) else ["code"]
    for credential in odd:
        for _ in range(2):
            try:
                said = bench.watch.call("can_handle", lambda c=credential: bench.fresh().can_handle(c))  # type: ignore[misc]
            except Exception as error:
                raise Failed(f"can_handle raised {type(error).__name__} for a damaged credential: {error}") from error
            if not isinstance(said, bool):
                raise Failed(f"can_handle answered with {type(said).__name__}")
        if said:
            attempt = Attempt(flow, ask, Submission(dict.fromkeys(names, "123456"), ask.scratch))
            judged = await bench.judge(attempt, None, credential)
            if judged.error is not None and not isinstance(judged.error, AuthflowError):
                raise Failed(f"a damaged credential that can_handle takes makes answer raise: {judged.said()}")
            if judged.is_verified:
                raise Failed("a damaged credential is good for any answer")


@check(
    "can_handle takes the credentials that people have",
    mend="say True of a credential that your own enrolment or operator tool makes",
    needs_kit=True,
)
async def can_handle_takes_its_own(bench: Bench) -> None:
    person = await bench.person()
    if person.credential is None:
        raise DoesNotApply("nothing is stored for the account")
    if not bench.fresh().can_handle(person.credential):
        raise Failed("can_handle refuses the credential that the kit makes")


@check(
    "the kit's honest answer is accepted",
    mend="mend the kit or the provider: nothing else can be shown before that",
    needs_kit=True,
)
async def right_answer(bench: Bench) -> None:
    person = await bench.person()
    attempt = await bench.attempt(person)
    judged = await bench.judge(attempt, person.account, person.credential)
    if judged.error is not None:
        raise Failed(f"the right answer made it raise {judged.said()}")
    if not judged.is_verified:
        raise Failed(f"the right answer came to {judged.said()}")


CHECKS = (
    begin_is_pure, challenge_is_of_the_flow, identify_is_closed, can_handle_is_pure, right_answer,
    can_handle_takes_its_own,
)  # fmt: skip
