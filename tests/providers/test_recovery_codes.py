"""Recovery codes: one use each, nothing readable in the store."""

import json
import re
from collections.abc import Sequence

import pytest

from authflow.errors import ContractViolation
from authflow.fields import read
from authflow.model import Credential
from authflow.powers import IssuedCodes, IssuesCodes
from authflow.provider import Ask, Charge, Outcome, Rejected, Submission, Verified
from providers.recovery_codes import RecoveryCodes
from tests.providers.context import Context, account_named

PROVIDER = RecoveryCodes()


async def answer(credential: Credential | None, typed: str, context: Context | None = None) -> Outcome:
    return await PROVIDER.answer(credential, Submission({"otptoken": typed}), context or Context())


async def spend(credential: Credential, typed: str, context: Context | None = None) -> Credential:
    """Submit a right code and return the credential as it is stored from then on."""
    outcome = await answer(credential, typed, context)
    assert isinstance(outcome, Verified)
    assert outcome.credential is not None
    return outcome.credential


@pytest.fixture
def issued() -> IssuedCodes:
    return PROVIDER.issue(Context())


def test_it_is_declared_as_a_substitute_that_issues_codes() -> None:
    assert isinstance(PROVIDER, IssuesCodes)
    assert PROVIDER.is_substitute
    assert (PROVIDER.name, PROVIDER.path, PROVIDER.action) == ("recovery_codes", "f2_recoverycode", "otp")
    assert PROVIDER.method_name == "X-VIUR-2FACTOR-RecoveryCode"
    assert PROVIDER.template == "recovery_codes/otp.html"


def test_it_asks_for_one_code() -> None:
    ask = PROVIDER.begin(Context())

    assert isinstance(ask, Ask)
    assert [declared.name for declared in ask.fields] == ["otptoken"]
    assert ask.fields[0].is_secret


def test_ten_distinct_codes_of_80_bits_are_issued(issued: IssuedCodes) -> None:
    assert len(set(issued.codes)) == 10
    assert all(re.fullmatch("[0-9a-hjkmnp-tv-z]{4}(-[0-9a-hjkmnp-tv-z]{4}){3}", code) for code in issued.codes)


def test_two_issues_share_no_code(issued: IssuedCodes) -> None:
    assert not set(issued.codes) & set(PROVIDER.issue(Context()).codes)


def test_codes_are_issued_to_somebody_only() -> None:
    with pytest.raises(ContractViolation):
        PROVIDER.issue(Context(account=None))


async def test_each_code_is_good_once(issued: IssuedCodes) -> None:
    credential = issued.credential

    for used, code in enumerate(issued.codes, start=1):
        credential = await spend(credential, code)

        assert credential.data["used"] == used
        assert await answer(credential, code) == Rejected("code_wrong", Charge.ACCOUNT)
    assert credential.data["digests"] == []


async def test_a_proof_is_of_this_account_and_flow(issued: IssuedCodes) -> None:
    outcome = await answer(issued.credential, issued.codes[3])

    assert isinstance(outcome, Verified)
    assert (outcome.proof.provider, outcome.proof.subject) == ("recovery_codes", "an-account")
    assert (outcome.proof.flow_id, outcome.proof.step) == ("a-flow", 1)


async def test_spending_a_code_leaves_the_others(issued: IssuedCodes) -> None:
    before = issued.credential.data["digests"]
    credential = await spend(issued.credential, issued.codes[4])

    assert isinstance(before, list)
    assert credential.data["digests"] == before[:4] + before[5:]


@pytest.mark.parametrize(
    "respell",
    [
        lambda code: code.upper(),
        lambda code: code.replace("-", ""),
        lambda code: code.replace("-", " "),
        lambda code: f"  {code} ",
        lambda code: code.replace("0", "o").replace("1", "l"),
        lambda code: code.replace("0", "O").replace("1", "I"),
    ],
)
async def test_a_code_may_be_spelled_as_people_do(issued: IssuedCodes, respell) -> None:  # type: ignore[no-untyped-def]
    for code in issued.codes:
        assert isinstance(await answer(issued.credential, respell(code)), Verified)


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "    ",
        "----",
        "123456",
        "0000-0000-0000-000",
        "0000-0000-0000-00000",
        "0000-0000-0000-000u",
        "0000-0000-0000-000\n",
        "0000\t0000\t0000\t0000",
        "0000_0000_0000_0000",
        "0000-0000-0000-000\N{KELVIN SIGN}",
        "0000-0000-0000-000\N{FULLWIDTH DIGIT ZERO}",
        "0000-0000-0000-000\N{ARABIC-INDIC DIGIT ZERO}",
        "0000\N{EN DASH}0000\N{EN DASH}0000\N{EN DASH}0000",
        "0000-0000-0000-000\ud800",
        "0000-0000-0000-000\x00",
        "+000-0000-0000-0000=",
        "0" * 100_000,
    ],
)
async def test_what_is_no_code_is_not_judged(issued: IssuedCodes, typed: str) -> None:
    assert await answer(issued.credential, typed) == Rejected("code_malformed", Charge.NOTHING)
    assert await answer(None, typed) == Rejected("code_malformed", Charge.NOTHING)


async def test_a_missing_value_is_not_judged(issued: IssuedCodes) -> None:
    outcome = await PROVIDER.answer(issued.credential, Submission({}), Context())

    assert outcome == Rejected("code_malformed", Charge.NOTHING)


async def test_a_wrong_code_reads_like_one_for_nobody(issued: IssuedCodes) -> None:
    assert await answer(issued.credential, "0000-0000-0000-0000") == Rejected("code_wrong", Charge.ACCOUNT)
    assert await answer(None, "0000-0000-0000-0000") == Rejected("code_wrong", Charge.ACCOUNT)


@pytest.mark.parametrize("digests", [None, "text", 5, [None, 7], {}, ["\N{BULLET}" * 64]])
async def test_a_broken_record_lets_nobody_in(issued: IssuedCodes, digests: object) -> None:
    broken = Credential("an-account", "recovery_codes", Context().now, Context().now, data={"digests": digests})  # type: ignore[dict-item]

    assert await answer(broken, issued.codes[0]) == Rejected("code_wrong", Charge.ACCOUNT)


async def test_a_code_is_worth_nothing_to_another_account(issued: IssuedCodes) -> None:
    other = Context(account=account_named("eve@example.org", "another-account"))
    credential = PROVIDER.issue(other).credential
    mixed = Credential("another-account", "recovery_codes", other.now, other.now, data=issued.credential.data)

    assert await answer(credential, issued.codes[0], other) == Rejected("code_wrong", Charge.ACCOUNT)
    assert await answer(mixed, issued.codes[0], other) == Rejected("code_wrong", Charge.ACCOUNT)


@pytest.mark.parametrize(
    ("keys", "is_good"),
    [((b"new", b"the key of these tests"), True), ((b"new", b"other"), False)],
)
async def test_codes_live_as_long_as_the_key_they_were_made_under(
    issued: IssuedCodes, keys: Sequence[bytes], is_good: bool
) -> None:
    outcome = await answer(issued.credential, issued.codes[0], Context(keys=tuple(keys)))

    assert isinstance(outcome, Verified) is is_good


async def test_the_stored_record_and_every_repr_hold_no_code(issued: IssuedCodes) -> None:
    outcome = await answer(issued.credential, issued.codes[0])
    dump = json.dumps(dict(issued.credential.data)) + issued.credential.secret.hex()
    shown = repr(issued) + repr(issued.credential) + repr(outcome) + repr(Submission({"otptoken": issued.codes[0]}))

    for code in issued.codes:
        bare = code.replace("-", "")
        assert all(text not in dump + shown for text in (code, bare, bare.upper()))


def test_the_declared_field_lets_every_spelling_through(issued: IssuedCodes) -> None:
    typed = " ".join(issued.codes[0])

    assert read((RecoveryCodes.code_field,), {"otptoken": typed}).errors == ()
