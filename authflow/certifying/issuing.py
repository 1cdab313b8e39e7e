"""Checks of making credentials for somebody: issuing codes, setting passwords, renewing hashes."""

from __future__ import annotations

import json

from authflow.certifying import hostile
from authflow.certifying.bench import Bench
from authflow.certifying.check import check
from authflow.certifying.given import Uses
from authflow.certifying.judging import fields_of
from authflow.certifying.proving import demand_storable
from authflow.certifying.report import DoesNotApply, Failed
from authflow.model import Credential
from authflow.powers import IssuesCodes, Rehashes, SetsPassword
from authflow.provider import Rejected, Verified

LEAST_CODE_BITS = 20
"""Of a look-up secret (NIST SP 800-63B-4, section 3.1.2.1)."""


@check(
    "codes that are issued are fresh, long enough, from the context's randomness, and not stored as they are",
    mend="draw them from context.random_bytes and keep context.mac digests with the account's id in them",
)
async def issued_codes(bench: Bench) -> None:
    provider = bench.fresh()
    if not isinstance(provider, IssuesCodes):
        raise DoesNotApply("it issues no codes (IssuesCodes)")
    account = bench.account("ada@example.org")
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
    account = bench.account("ada@example.org")
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


CHECKS = (issued_codes, passwords_are_hashed, rehash_keeps_the_rest)
