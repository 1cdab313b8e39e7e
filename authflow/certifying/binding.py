"""Checks of what an answer is bound to: a credential, one use, a person, a flow, a time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from authflow.certifying import hostile
from authflow.certifying.asking import challenges
from authflow.certifying.attempts import Judged, is_one_time
from authflow.certifying.bench import Bench
from authflow.certifying.check import check
from authflow.certifying.judging import demand_refused, fields_of, wrong_attempt
from authflow.certifying.report import DoesNotApply, Failed, NotShown
from authflow.federated import FederatedProvider
from authflow.model import Account, Credential
from authflow.provider import Ask, Redirect, Verified

_TELLING = 0.003
"""Seconds of work that tell one answer from another over a network."""


@check(
    "without a credential everything is answered as a wrong answer is, by the same work",
    mend="judge against a dummy where credential is None (hashing.verify takes None), and give the same reason",
    needs_kit=True,
)
async def nobody_is_like_wrong(bench: Bench) -> None:
    person = await bench.person()
    if person.credential is None:
        raise DoesNotApply("nothing is stored for the account")
    flow = bench.flow(person)

    async def tried(account: Account | None, credential: Credential | None) -> Judged:
        if isinstance(bench.provider, FederatedProvider):
            # Whose identity it is decides there, not what was typed.
            return await bench.judge(await bench.attempt(person, flow), account, credential)
        return await bench.judge(await wrong_attempt(bench, person, flow), account, credential)

    held = person.credential
    if isinstance(bench.provider, FederatedProvider):
        held = replace(held, data={"issuer": "", "subject": ""})
    wrong = await tried(person.account, held)
    for account in (None, person.account):
        nobody = await tried(account, None)
        said, expected = nobody.said(), wrong.said()
        if said != expected:
            raise Failed(f"a wrong answer comes to {expected}, and one for nobody to {said}")
        quick, slow = sorted((nobody.seconds, wrong.seconds))
        if slow - quick > _TELLING and slow > 3 * quick:
            # Once more, since the machine may have been busy with something else.
            ours = [(await tried(account, None)).seconds for _ in range(3)]
            theirs = [(await tried(person.account, held)).seconds for _ in range(3)]
            quick, slow = sorted((min(ours), min(theirs)))
            if slow - quick > _TELLING and slow > 3 * quick:
                raise Failed(f"a wrong answer and one for nobody take {slow * 1000:.0f} ms and {quick * 1000:.0f} ms")
        for use in ("hash", "verify", "fetch", "id_token"):
            if nobody.uses.counts[use] != wrong.uses.counts[use]:
                raise Failed(
                    f"a wrong answer uses context.{use} {wrong.uses.counts[use]} times, one for nobody "
                    f"{nobody.uses.counts[use]} times: the time tells who has an account"
                )


@check(
    "nobody is proved without a credential, whatever is sent",
    mend="return Rejected where credential is None, after the same work",
    needs_kit=True,
)
async def nobody_is_never_proved(bench: Bench) -> None:
    person = await bench.person()
    flow = bench.flow(person)
    if person.credential is None:
        judged = await bench.judge(await bench.attempt(person, flow), None, None)
        demand_refused(judged, "the right answer for nobody's account")
        return
    for account in (None, person.account):
        judged = await bench.judge(await bench.attempt(person, flow), account, None)
        demand_refused(judged, "the right answer of somebody without a credential")


@check(
    "what was proved by cannot be used again",
    mend="spend it in Verified.credential, or name it in single_use; or bind it to flow and step by a challenge",
    needs_kit=True,
    by_chance=True,
)
async def replay_is_refused(bench: Bench) -> None:
    if not is_one_time(bench.provider):
        raise DoesNotApply("what is known may be said again (Factor.KNOWLEDGE)")
    person = await bench.person()
    attempt, proved = await bench.right(person)
    after = proved.credential or person.credential
    elsewhere = [
        ("in another flow", bench.flow(person)),
        ("in the next step", replace(attempt.flow, step=attempt.flow.step + 1)),
    ]
    if proved.credential is not None:
        elsewhere.append(("in the same flow", attempt.flow))
    for where, flow in elsewhere:
        judged = await bench.judge(replace(attempt, flow=flow), person.account, after)
        if isinstance(judged.outcome, Verified):
            if judged.outcome.single_use and judged.outcome.single_use == proved.single_use:
                continue  # The engine takes it once.
            raise Failed(f"an answer that was used is taken again {where}")
        demand_refused(judged, f"an answer that was used, {where},")
    # A moment later, when windows have moved.
    now = bench.clock.now
    try:
        bench.clock.pass_by(timedelta(seconds=20))
        judged = await bench.judge(replace(attempt, flow=bench.flow(person)), person.account, after)
        if isinstance(judged.outcome, Verified) and not judged.outcome.single_use:
            raise Failed("an answer that was used is taken again 20 seconds later")
    finally:
        bench.clock.now = now


@check(
    "the right answer of one person is nothing for another",
    mend="judge by the credential you are given; let keys and codes depend on the account",
    needs_kit=True,
    by_chance=True,
)
async def other_account_is_refused(bench: Bench) -> None:
    person, other = await bench.person(), await bench.person("eve@example.org")
    if person.account.name == other.account.name:
        raise NotShown("the kit names everybody's account alike; let each person have a name of their own")
    attempt = await bench.attempt(person)
    hers = await bench.attempt(other)
    proving = hostile.proving(fields_of(attempt.ask), attempt.values)
    if not is_one_time(bench.provider) and all(attempt.values.get(n) == hers.values.get(n) for n in proving):
        raise NotShown("the kit gives everybody the same secret; let each person have one of their own")
    judged = await bench.judge(attempt, other.account, other.credential)
    demand_refused(judged, "the right answer of one person, for the account of another,")


@check(
    "an answer that was never used is worth nothing when its time is over",
    mend="compare with context.now what you keep of when an answer was made",
    needs_kit=True,
)
async def answers_age(bench: Bench) -> None:
    person = await bench.person()
    lives = person.kit.answers_live
    if lives is None:
        raise DoesNotApply("the kit's answers do not age (answers_live)")
    attempt = await bench.attempt(person)
    now = bench.clock.now
    try:
        bench.clock.pass_by(lives + timedelta(seconds=1))
        judged = await bench.judge(replace(attempt, flow=bench.flow(person)), person.account, person.credential)
    finally:
        bench.clock.now = now
    demand_refused(judged, f"an answer of {lives} ago")


@check(
    "what was asked for in one flow and step is no answer in another",
    mend="compare with context.challenge() or context.code(), never with a challenge that was sent along",
    needs_kit=True,
    by_chance=True,
)
async def answer_is_of_its_flow(bench: Bench) -> None:
    person = await bench.person()
    attempt = await bench.attempt(person)
    ask = attempt.ask
    if isinstance(ask, Redirect) or not (challenges(ask) or (isinstance(ask, Ask) and ask.delivery)):
        raise DoesNotApply("what it asks for is not bound to a flow: no challenge, no nonce, no message")
    for what, flow in (("flow", bench.flow(person)), ("step", replace(attempt.flow, step=attempt.flow.step + 1))):
        judged = await bench.judge(replace(attempt, flow=flow), person.account, person.credential)
        demand_refused(judged, f"what was asked for in another {what}")


CHECKS = (
    nobody_is_like_wrong, nobody_is_never_proved, replay_is_refused, other_account_is_refused, answer_is_of_its_flow,
    answers_age,
)  # fmt: skip
