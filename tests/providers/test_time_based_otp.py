"""Time-based one-time passwords against the published vectors and against a reference of their own."""

import base64
import hmac
import json
import re
import struct
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authflow.errors import BadInput, ConfigurationError
from authflow.fields import FieldType, read
from authflow.model import Credential, Plain
from authflow.powers import Enrols
from authflow.provider import Ask, Charge, Enrolled, Outcome, Rejected, Submission, Verified
from providers.time_based_otp import TimeBasedOTP, generate_otps, new_hardware_token
from tests.providers.context import NOON, Context, account_named

SECRET = b"12345678901234567890"
PROVIDER = TimeBasedOTP()
WRONG = Rejected("code_wrong", Charge.ACCOUNT)
MALFORMED = Rejected("code_malformed", Charge.NOTHING)


class Window2(TimeBasedOTP):
    window_size = 2


class Window3(TimeBasedOTP):
    window_size = 3


class Window4(TimeBasedOTP):
    window_size = 4


class Window5(TimeBasedOTP):
    window_size = 5


WINDOWS: Mapping[int, TimeBasedOTP] = {1: PROVIDER, 2: Window2(), 3: Window3(), 4: Window4(), 5: Window5()}


# --- A reference, written from RFC 4226, section 5.3, and RFC 6238, section 4 -----------------------------------------


def rfc_code(secret: bytes, counter: int, digits: int = 6, algorithm: str = "sha1") -> str:
    digest = hmac.new(secret, struct.pack(">Q", counter), algorithm).digest()
    start = digest[-1] & 0x0F
    (number,) = struct.unpack(">I", digest[start : start + 4])
    return f"{(number & 0x7FFFFFFF) % 10**digits:0{digits}d}"


def rfc_counter(at: datetime, interval: int = 30) -> int:
    return int(at.timestamp()) // interval


PRESENT = rfc_counter(NOON)


def expected_judgement(
    *, offset: int, drift: float, last: int, window: int
) -> tuple[str, float | None, int | None, int | None]:
    """Return reason, drift, last counter and candidate after one code `offset` steps from now; None for no change."""
    counter = PRESENT + offset
    distance = offset - int(Decimal(repr(drift)).quantize(Decimal(1), ROUND_HALF_EVEN))
    is_in_window = -window <= distance <= window
    if not is_in_window and not -10 - window <= offset <= 10 + window:
        return ("code_wrong", None, None, None)
    if counter <= last:
        return ("code_replayed", None, None, None)
    if not is_in_window:
        return ("code_wrong", drift, last, counter)
    if window < 3 or distance < -2 or distance > 2:
        drift += min(max(distance * 0.1, -0.3), 0.3)
    return ("", min(max(drift, -10.0), 10.0), counter, None)


# --- Arranging --------------------------------------------------------------------------------------------------------


def credential_with(
    *,
    secret: bytes = SECRET,
    interval: int = 30,
    digits: int = 6,
    algorithm: str = "SHA1",
    drift: float = 0.0,
    last_counter: int = -1,
    candidate: int | None = None,
) -> Credential:
    data: dict[str, Plain] = {
        "interval": interval,
        "digits": digits,
        "algorithm": algorithm,
        "drift": drift,
        "last_counter": last_counter,
        "serial": "",
        "candidate": candidate,
    }
    return Credential("an-account", "time_based_otp", NOON, NOON, data=data, secret=secret)


async def submit(
    credential: Credential | None, code: str, *, now: datetime = NOON, provider: TimeBasedOTP = PROVIDER
) -> Outcome:
    return await provider.answer(credential, Submission({"otptoken": code}), Context(now=now))


async def submit_in_turn(
    credential: Credential, *offsets: int, now: datetime = NOON, provider: TimeBasedOTP = PROVIDER
) -> tuple[list[str], Credential]:
    """Submit codes of counters relative to now, storing what each answer says; return the reasons and the record."""
    reasons = []
    for offset in offsets:
        outcome = await submit(credential, rfc_code(SECRET, rfc_counter(now) + offset), now=now, provider=provider)
        assert isinstance(outcome, Verified | Rejected)
        reasons.append("" if isinstance(outcome, Verified) else outcome.reason)
        credential = outcome.credential or credential
    return reasons, credential


# --- Published vectors ------------------------------------------------------------------------------------------------

RFC_4226_APPENDIX_D = [
    "755224",
    "287082",
    "359152",
    "969429",
    "338314",
    "254676",
    "287922",
    "162583",
    "399871",
    "520489",
]

SEEDS = {
    "SHA1": b"12345678901234567890",
    "SHA256": b"12345678901234567890123456789012",
    "SHA512": b"1234567890123456789012345678901234567890123456789012345678901234",
}

RFC_6238_APPENDIX_B = [
    (59, "SHA1", "94287082"),
    (59, "SHA256", "46119246"),
    (59, "SHA512", "90693936"),
    (1111111109, "SHA1", "07081804"),
    (1111111109, "SHA256", "68084774"),
    (1111111109, "SHA512", "25091201"),
    (1111111111, "SHA1", "14050471"),
    (1111111111, "SHA256", "67062674"),
    (1111111111, "SHA512", "99943326"),
    (1234567890, "SHA1", "89005924"),
    (1234567890, "SHA256", "91819424"),
    (1234567890, "SHA512", "93441116"),
    (2000000000, "SHA1", "69279037"),
    (2000000000, "SHA256", "90698825"),
    (2000000000, "SHA512", "38618901"),
    (20000000000, "SHA1", "65353130"),
    (20000000000, "SHA256", "77737706"),
    (20000000000, "SHA512", "47863826"),
]


def test_codes_agree_with_rfc_4226_appendix_d() -> None:
    assert generate_otps(SECRET, range(10), digits=6, algorithm="SHA1") == RFC_4226_APPENDIX_D


@pytest.mark.parametrize(("seconds", "algorithm", "code"), RFC_6238_APPENDIX_B)
async def test_codes_of_rfc_6238_appendix_b_are_accepted(seconds: int, algorithm: str, code: str) -> None:
    now = datetime.fromtimestamp(seconds, UTC)
    credential = credential_with(secret=SEEDS[algorithm], digits=8, algorithm=algorithm)

    outcome = await submit(credential, code, now=now)

    assert isinstance(outcome, Verified)
    assert outcome.credential is not None
    assert outcome.credential.data["last_counter"] == seconds // 30


@given(
    st.binary(min_size=16, max_size=64),
    st.integers(0, 2**40),
    st.sampled_from([6, 7, 8]),
    st.sampled_from(["SHA1", "SHA256", "SHA512"]),
)
def test_codes_agree_with_the_reference(secret: bytes, counter: int, digits: int, algorithm: str) -> None:
    codes = generate_otps(secret, [counter], digits=digits, algorithm=algorithm)

    assert codes == [rfc_code(secret, counter, digits, algorithm.lower())]


# --- Window, drift and spent counters ---------------------------------------------------------------------------------


def test_the_secret_of_these_tests_makes_no_code_twice_here() -> None:
    codes = [rfc_code(SECRET, PRESENT + offset) for offset in range(-60, 61)]

    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize("window", WINDOWS)
async def test_every_judgement_agrees_with_the_reference(window: int) -> None:
    differences = []
    for offset in range(-20, 21):
        code = rfc_code(SECRET, PRESENT + offset)
        for drift in range(-10, 11):
            for last in (-1, PRESENT + offset - 1, PRESENT + offset, PRESENT + offset + 1):
                credential = credential_with(drift=float(drift), last_counter=last)

                outcome = await submit(credential, code, provider=WINDOWS[window])

                expected = expected_judgement(offset=offset, drift=float(drift), last=last, window=window)
                if not agrees(outcome, expected):
                    differences.append((offset, drift, last - PRESENT, outcome))
    assert differences == []


@given(st.integers(-20, 20), st.integers(-100, 100), st.integers(-25, 25), st.sampled_from([1, 2, 3, 4, 5]))
async def test_judgements_at_broken_drifts_agree_with_the_reference(
    offset: int, tenths: int, last_offset: int, window: int
) -> None:
    drift, last = tenths / 10, PRESENT + last_offset
    credential = credential_with(drift=drift, last_counter=last)

    outcome = await submit(credential, rfc_code(SECRET, PRESENT + offset), provider=WINDOWS[window])

    assert agrees(outcome, expected_judgement(offset=offset, drift=drift, last=last, window=window))


def agrees(outcome: Outcome, expected: tuple[str, float | None, int | None, int | None]) -> bool:
    reason, drift, last, candidate = expected
    match outcome:
        case Verified():
            given_reason = ""
        case Rejected():
            given_reason = outcome.reason
            if outcome.charge is not (Charge.FLOW if reason == "code_replayed" else Charge.ACCOUNT):
                return False
        case _:
            return False
    if outcome.credential is None:
        return given_reason == reason and drift is None
    data = outcome.credential.data
    return (
        given_reason == reason
        and data["drift"] == pytest.approx(drift, abs=1e-9)
        and (data["last_counter"], data["candidate"]) == (last, candidate)
    )


@pytest.mark.parametrize("window", WINDOWS)
async def test_as_many_codes_are_valid_as_the_window_says(window: int) -> None:
    outcomes = [
        await submit(credential_with(), rfc_code(SECRET, PRESENT + offset), provider=WINDOWS[window])
        for offset in range(-40, 41)
    ]

    assert sum(isinstance(outcome, Verified) for outcome in outcomes) == 2 * window + 1


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("distance", [-5, -1, 0, 1, 5])
def test_late_codes_never_walk_the_drift_out_of_bounds(window: int, distance: int) -> None:
    drift = 0.0
    for _ in range(200):
        moved = WINDOWS[window].update_time_drift(drift, distance)

        assert abs(moved - drift) <= 0.3 + 1e-9
        assert abs(moved) <= 10
        drift = moved


@given(st.lists(st.integers(-5, 5), max_size=80), st.sampled_from([1, 2, 3, 4, 5]))
def test_no_success_moves_the_drift_by_more_than_three_tenths(distances: list[int], window: int) -> None:
    drift = 0.0
    for distance in distances:
        moved = WINDOWS[window].update_time_drift(drift, distance)

        assert abs(moved - drift) <= 0.3 + 1e-9
        assert abs(moved) <= 10
        drift = moved


@pytest.mark.parametrize(
    ("window", "distance", "move"),
    [(1, 1, 0.1), (2, -2, -0.2), (3, 2, 0.0), (3, 3, 0.3), (5, -2, 0.0), (5, -4, -0.3), (5, 5, 0.3), (1, 0, 0.0)],
)
def test_the_drift_moves_as_in_viur(window: int, distance: int, move: float) -> None:
    assert WINDOWS[window].update_time_drift(1.0, distance) == pytest.approx(1.0 + move)


async def test_a_clock_that_runs_slow_is_followed_until_ten_steps() -> None:
    credential = credential_with(interval=60)
    late = 0
    for login in range(260):
        now = NOON + timedelta(hours=8 * login)
        late = login // 20
        outcome = await submit(credential, rfc_code(SECRET, rfc_counter(now, 60) - late), now=now)
        if not isinstance(outcome, Verified):
            break
        credential = outcome.credential or credential

    assert late == 12
    assert credential.data["drift"] == pytest.approx(-10, abs=0.6)


async def test_a_code_is_refused_the_second_time() -> None:
    reasons, _ = await submit_in_turn(credential_with(), 0, 0, 0)

    assert reasons == ["", "code_replayed", "code_replayed"]


async def test_a_replay_is_charged_to_the_flow_and_changes_nothing() -> None:
    _, credential = await submit_in_turn(credential_with(), 0)

    outcome = await submit(credential, rfc_code(SECRET, PRESENT))

    assert outcome == Rejected("code_replayed", Charge.FLOW)


@pytest.mark.parametrize("step", [0, 1, 2, 3])
async def test_no_code_up_to_the_accepted_one_works_in_a_trailing_interval(step: int) -> None:
    _, credential = await submit_in_turn(credential_with(), 0)
    later = NOON + timedelta(seconds=30 * step)

    for counter in (PRESENT - 2, PRESENT - 1, PRESENT):
        outcome = await submit(credential, rfc_code(SECRET, counter), now=later)

        assert outcome == Rejected("code_replayed", Charge.FLOW)


async def test_an_earlier_code_still_works_before_a_later_one_was_accepted() -> None:
    reasons, _ = await submit_in_turn(credential_with(), -1, 0, 1)

    assert reasons == ["", "", ""]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 90), st.integers(-12, 12)), max_size=40), st.sampled_from([1, 3, 5]))
async def test_accepted_counters_rise_and_no_code_works_twice(moves: list[tuple[int, int]], window: int) -> None:
    credential, now, accepted = credential_with(), NOON, list[str]()
    for seconds, offset in moves:
        now += timedelta(seconds=seconds)
        before = credential.data["last_counter"]
        code = rfc_code(SECRET, rfc_counter(now) + offset)

        outcome = await submit(credential, code, now=now, provider=WINDOWS[window])

        assert isinstance(outcome, Verified | Rejected)
        credential = outcome.credential or credential
        last = credential.data["last_counter"]
        assert isinstance(last, int)
        assert isinstance(before, int)
        assert (last > before) is isinstance(outcome, Verified)
        if isinstance(outcome, Verified):
            accepted.append(code)
    assert len(set(accepted)) == len(accepted)


async def test_a_success_changes_counters_and_nothing_else() -> None:
    before = replace(credential_with(), data={**credential_with().data, "serial": "T-1", "note": "kept"})
    now = NOON + timedelta(seconds=1)

    outcome = await submit(before, rfc_code(SECRET, PRESENT + 1), now=now)

    assert isinstance(outcome, Verified)
    changes: dict[str, Plain] = {"drift": 0.1, "last_counter": PRESENT + 1}
    assert outcome.credential == replace(before, data={**before.data, **changes}, changed_at=now)
    assert (outcome.proof.provider, outcome.proof.subject) == ("time_based_otp", "an-account")


# --- Resynchronisation (RFC 4226, section 7.4) ------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [-10, -6, -2, 2, 7, 9])
async def test_two_consecutive_codes_set_the_drift(offset: int) -> None:
    reasons, credential = await submit_in_turn(credential_with(), offset, offset + 1)

    assert reasons == ["code_wrong", ""]
    assert credential.data["drift"] == (0.1 * (offset + 1) if abs(offset + 1) <= 1 else offset + 1)
    assert credential.data["last_counter"] == PRESENT + offset + 1
    assert credential.data["candidate"] is None


async def test_after_resynchronisation_the_next_code_alone_is_enough() -> None:
    _, credential = await submit_in_turn(credential_with(), 7, now=NOON)
    _, credential = await submit_in_turn(credential, 7, now=NOON + timedelta(seconds=30))

    reasons, credential = await submit_in_turn(credential, 7, now=NOON + timedelta(seconds=60))

    assert reasons == [""]
    assert credential.data["drift"] == 7.0


async def test_the_first_of_two_codes_reads_and_costs_as_a_wrong_one() -> None:
    far = await submit(credential_with(), rfc_code(SECRET, PRESENT + 7))
    wrong = await submit(credential_with(), rfc_code(SECRET, PRESENT + 40))

    assert isinstance(far, Rejected)
    assert wrong == WRONG
    assert (far.reason, far.charge) == ("code_wrong", Charge.ACCOUNT)


@pytest.mark.parametrize(
    "offsets",
    [(7, 7, 7), (8, 7), (7, 9), (7, 30, 8), (5, 8), (-5, -3), (7, 6, 5), (-6, -7), (14, 15), (-15, -14, -13)],
    ids=str,
)
async def test_nothing_but_two_consecutive_codes_in_a_row_resynchronises(offsets: tuple[int, ...]) -> None:
    reasons, credential = await submit_in_turn(credential_with(), *offsets)

    assert reasons == ["code_wrong"] * len(offsets)
    assert (credential.data["drift"], credential.data["last_counter"]) == (0.0, -1)


async def test_a_success_or_a_replay_in_between_ends_resynchronisation() -> None:
    after_success, _ = await submit_in_turn(credential_with(), 7, 0, 8)
    after_replay, _ = await submit_in_turn(credential_with(last_counter=PRESENT), 7, 0, 8)

    assert after_success == ["code_wrong", "", "code_wrong"]
    assert after_replay == ["code_wrong", "code_replayed", "code_wrong"]


async def test_what_was_not_judged_does_not_end_resynchronisation() -> None:
    _, credential = await submit_in_turn(credential_with(), 7)
    assert await submit(credential, "12345") == MALFORMED

    reasons, _ = await submit_in_turn(credential, 8)

    assert reasons == [""]


async def test_spent_codes_do_not_resynchronise() -> None:
    reasons, _ = await submit_in_turn(credential_with(last_counter=PRESENT + 8), 7, 8)

    assert reasons == ["code_replayed", "code_replayed"]


async def test_one_far_code_is_never_enough_anywhere() -> None:
    for offset in [*range(-40, -1), *range(2, 41)]:
        reasons, credential = await submit_in_turn(credential_with(), offset, offset)

        assert reasons == ["code_wrong", "code_wrong"]
        assert credential.data["last_counter"] == -1


@pytest.mark.parametrize("drift", range(-10, 11))
async def test_resynchronisation_reaches_what_the_drift_may_hold_and_no_further(drift: int) -> None:
    for offset in range(-25, 25):
        reasons, credential = await submit_in_turn(credential_with(drift=float(drift)), offset, offset + 1)

        after = credential.data["drift"]
        assert isinstance(after, float)
        assert abs(after) <= 10
        if -10 <= offset < 10:
            assert "" in reasons
        if abs(offset) > 12:
            assert "" not in reasons


# --- What is typed ----------------------------------------------------------------------------------------------------


def in_script(zero: str, code: str) -> str:
    return "".join(chr(ord(zero) + int(digit)) for digit in code)


CODE = rfc_code(SECRET, PRESENT)


@pytest.mark.parametrize(
    "typed",
    [
        "",
        " ",
        "      ",
        CODE[:5],
        CODE + "0",
        "0" + CODE,
        f"{CODE[:3]} {CODE[3:]}",
        f"{CODE[:3]}-{CODE[3:]}",
        f"{CODE}\n",
        f"\t{CODE}",
        f"{CODE}\x00",
        f"\N{NO-BREAK SPACE}{CODE}",
        f"\N{ZERO WIDTH SPACE}{CODE}",
        f"+{CODE}",
        f"+{CODE[1:]}",
        f"-{CODE[1:]}",
        f"{CODE}.0",
        f"{CODE}e0",
        "1e5",
        "1_0000",
        "0x1234",
        "12345a",
        "twelve",
        in_script("\N{FULLWIDTH DIGIT ZERO}", CODE),
        in_script("\N{ARABIC-INDIC DIGIT ZERO}", CODE),
        in_script("\N{MATHEMATICAL BOLD DIGIT ZERO}", CODE),
        CODE[:5] + in_script("\N{FULLWIDTH DIGIT ZERO}", CODE[5:]),
        CODE[:5] + "\N{SUPERSCRIPT TWO}",
        CODE[:5] + "\ud800",
        "\ud800\udfff" * 3,
        "9" * 100_000,
    ],
)
async def test_what_is_no_code_is_refused_unverified(typed: str) -> None:
    assert await submit(credential_with(), typed) == MALFORMED
    assert await submit(None, typed) == MALFORMED


async def test_surrounding_spaces_are_trimmed() -> None:
    assert isinstance(await submit(credential_with(), f"  {CODE} "), Verified)


async def test_a_missing_value_is_refused_unverified() -> None:
    assert await PROVIDER.answer(credential_with(), Submission({}), Context()) == MALFORMED


@given(st.text(st.characters(categories=None), max_size=12))
async def test_no_text_upsets_the_judgement(typed: str) -> None:
    outcome = await submit(credential_with(), typed)

    is_code = re.fullmatch(" *[0-9]{6} *", typed) is not None
    assert (outcome == MALFORMED) is not is_code


@pytest.mark.parametrize("digits", [6, 7, 8])
async def test_the_code_is_as_long_as_the_credential_says(digits: int) -> None:
    credential = credential_with(digits=digits)

    assert isinstance(await submit(credential, rfc_code(SECRET, PRESENT, digits)), Verified)
    for other in {5, 6, 7, 8, 9} - {digits}:
        assert await submit(credential, rfc_code(SECRET, PRESENT, other)) == MALFORMED


async def test_nobodys_code_is_wrong_whatever_it_is() -> None:
    assert await submit(None, "123456") == WRONG
    assert await submit(None, rfc_code(bytes(20), PRESENT)) == WRONG


@pytest.mark.parametrize(
    "broken",
    [
        {"digits": 5},
        {"digits": "6"},
        {"interval": 0},
        {"interval": None},
        {"algorithm": "MD5"},
        {"algorithm": None},
        {"last_counter": None},
    ],
    ids=str,
)
async def test_a_record_that_cannot_be_judged_lets_nobody_in(broken: dict[str, Plain]) -> None:
    credential = replace(credential_with(), data={**credential_with().data, **broken})

    assert await submit(credential, CODE) == Rejected("factor_unavailable", Charge.NOTHING)


async def test_a_record_with_a_short_secret_lets_nobody_in() -> None:
    credential = credential_with(secret=b"short")

    assert await submit(credential, CODE) == Rejected("factor_unavailable", Charge.NOTHING)


@pytest.mark.parametrize("drift", [None, "0.3", float("nan"), float("inf"), 0, 1])
async def test_a_broken_drift_is_taken_for_none(drift: Plain) -> None:
    credential = replace(credential_with(), data={**credential_with().data, "drift": drift})

    assert isinstance(await submit(credential, CODE), Verified)


async def test_a_stored_drift_beyond_the_cap_is_held_at_it() -> None:
    assert isinstance(await submit(credential_with(drift=900.0), rfc_code(SECRET, PRESENT + 11)), Verified)


async def test_the_first_minute_of_1970_has_no_negative_counter() -> None:
    now = datetime.fromtimestamp(5, UTC)

    assert isinstance(await submit(credential_with(), RFC_4226_APPENDIX_D[0], now=now), Verified)


async def test_a_lost_fraction_of_a_second_does_not_shift_the_step() -> None:
    now = NOON + timedelta(seconds=29, microseconds=999_999)

    outcome = await submit(credential_with(), CODE, now=now)

    assert isinstance(outcome, Verified)
    assert outcome.credential is not None
    assert outcome.credential.data["drift"] == 0.0


# --- Hardware tokens --------------------------------------------------------------------------------------------------


async def test_a_hardware_token_of_60_seconds_is_accepted() -> None:
    credential = new_hardware_token("an-account", serial="2600-012345", secret_hex=SECRET.hex().upper(), now=NOON)
    now = NOON + timedelta(seconds=59)

    outcome = await submit(credential, rfc_code(SECRET, rfc_counter(now, 60)), now=now)

    assert isinstance(outcome, Verified)
    assert outcome.credential is not None
    assert credential.secret == SECRET
    assert outcome.credential.data == {
        "interval": 60,
        "digits": 6,
        "algorithm": "SHA1",
        "drift": 0.0,
        "last_counter": rfc_counter(NOON, 60),
        "candidate": None,
        "serial": "2600-012345",
    }


async def test_the_drift_of_a_hardware_token_is_in_its_own_steps() -> None:
    credential = new_hardware_token("an-account", serial="1", secret_hex=SECRET.hex(), now=NOON)

    outcome = await submit(credential, rfc_code(SECRET, rfc_counter(NOON, 60) - 1))

    assert isinstance(outcome, Verified)
    assert outcome.credential is not None
    assert outcome.credential.data["drift"] == pytest.approx(-0.1)


@pytest.mark.parametrize(
    "values",
    [
        {"secret_hex": SECRET.hex()[:-1]},
        {"secret_hex": SECRET.hex()[:30]},
        {"secret_hex": ""},
        {"secret_hex": "zz" * 20},
        {"secret_hex": "12 " * 20},
        {"secret_hex": "\N{FULLWIDTH DIGIT ONE}" * 40},
        {"secret_hex": SECRET.hex() + "\n"},
        {"secret_hex": "00" * 129},
        {"serial": ""},
        {"serial": " 1"},
        {"serial": "1\n"},
        {"serial": "<b>"},
        {"serial": "1" * 65},
    ],
    ids=str,
)
def test_malformed_token_data_is_refused_without_showing_the_secret(values: dict[str, str]) -> None:
    data = {"serial": "2600-012345", "secret_hex": SECRET.hex(), **values}

    with pytest.raises(BadInput) as caught:
        new_hardware_token("an-account", serial=data["serial"], secret_hex=data["secret_hex"], now=NOON)

    assert not data["secret_hex"] or data["secret_hex"] not in str(caught.value)


@pytest.mark.parametrize(
    ("interval", "digits", "algorithm"), [(0, 6, "SHA1"), (121, 6, "SHA1"), (60, 9, "SHA1"), (60, 6, "MD5")]
)
def test_token_kinds_that_are_not_supported_are_refused(interval: int, digits: int, algorithm: str) -> None:
    with pytest.raises(BadInput):
        new_hardware_token(
            "an-account",
            serial="1",
            secret_hex=SECRET.hex(),
            now=NOON,
            interval=interval,
            digits=digits,
            algorithm=algorithm,
        )


# --- Enrolling --------------------------------------------------------------------------------------------------------


async def confirm(
    ask: Ask, code: str, *, now: datetime = NOON, provider: TimeBasedOTP = PROVIDER, **sent: str
) -> Enrolled | Rejected:
    submission = Submission({"otptoken": code, **sent}, notes=ask.scratch)
    outcome = await provider.answer_enrolment(submission, Context(now=now))
    assert isinstance(outcome, Enrolled | Rejected)
    return outcome


def secret_of(ask: Ask) -> bytes:
    return base64.b32decode(str(ask.scratch["secret"]))


def test_people_can_enrol_by_themselves() -> None:
    assert isinstance(PROVIDER, Enrols)


def test_enrolment_shows_a_fresh_secret_of_160_bits_in_three_ways() -> None:
    ask = PROVIDER.begin_enrolment(Context())
    other = PROVIDER.begin_enrolment(Context())

    assert ask.template == "time_based_otp/add.html"
    assert len(secret_of(ask)) == 20
    assert secret_of(ask) != secret_of(other)
    assert re.fullmatch("[A-Z2-7]{4}( [A-Z2-7]{4}){7}", str(ask.params["secret"]))
    assert str(ask.params["secret"]).replace(" ", "") == ask.scratch["secret"]
    header, _, image = str(ask.params["qr"]).partition(",")
    assert header == "data:image/png;base64"
    assert base64.b64decode(image).startswith(b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize(
    "name",
    ["ada@example.org", "a/b:c?d=e&f#g@example.org", "käthe+1@bücher.example", "50% off", "\N{PILE OF POO}" * 254],
)
def test_the_key_uri_is_read_by_others_as_it_was_meant(name: str) -> None:
    context = Context(account=account_named(name))

    uri = str(PROVIDER.begin_enrolment(context).params["uri"])

    totp = pyotp.parse_uri(uri)
    assert isinstance(totp, pyotp.TOTP)
    assert (totp.issuer, totp.name) == ("login.example.org", name[:100])
    assert (totp.interval, totp.digits, totp.digest().name) == (30, 6, "sha1")
    assert uri.isascii()
    assert urlsplit(uri).path.count("/") == 1
    assert set(parse_qs(urlsplit(uri).query)) == {"secret", "issuer", "algorithm", "digits", "period"}


def test_the_issuer_can_be_named() -> None:
    class Named(TimeBasedOTP):
        issuer = "Ada & Co"

    uri = str(Named().begin_enrolment(Context()).params["uri"])

    assert uri.startswith("otpauth://totp/Ada%20%26%20Co:ada%40example.org?")
    assert pyotp.parse_uri(uri).issuer == "Ada & Co"


@pytest.mark.parametrize("offset", [-1, 0, 1])
async def test_one_code_confirms_an_enrolment_and_is_spent_by_it(offset: int) -> None:
    ask = PROVIDER.begin_enrolment(Context())
    code = rfc_code(secret_of(ask), PRESENT + offset)

    outcome = await confirm(ask, f" {code} ")

    assert isinstance(outcome, Enrolled)
    assert outcome.credential.secret == secret_of(ask)
    assert (outcome.credential.account_id, outcome.credential.provider) == ("an-account", "time_based_otp")
    assert (outcome.credential.data["last_counter"], outcome.credential.data["drift"]) == (PRESENT + offset, 0.0)
    assert outcome.proof.subject == "an-account"
    assert await submit(outcome.credential, code) == Rejected("code_replayed", Charge.FLOW)


@pytest.mark.parametrize("offset", [-3, -2, 2, 3])
async def test_a_code_outside_the_window_confirms_nothing(offset: int) -> None:
    ask = PROVIDER.begin_enrolment(Context())

    assert await confirm(ask, rfc_code(secret_of(ask), PRESENT + offset)) == Rejected("code_wrong", Charge.FLOW)


async def test_a_malformed_code_confirms_nothing_and_costs_nothing() -> None:
    assert await confirm(PROVIDER.begin_enrolment(Context()), "12345") == MALFORMED


async def test_a_secret_chosen_by_the_client_is_not_looked_at() -> None:
    ask = PROVIDER.begin_enrolment(Context())
    own = base64.b32encode(SECRET).decode()

    assert await confirm(ask, CODE, secret=own) == Rejected("code_wrong", Charge.FLOW)
    outcome = await confirm(ask, rfc_code(secret_of(ask), PRESENT), secret=own)

    assert isinstance(outcome, Enrolled)
    assert outcome.credential.secret == secret_of(ask)


@pytest.mark.parametrize(
    "notes",
    [{}, {"secret": None}, {"secret": ""}, {"secret": "A"}, {"secret": "MFRGGZDF"}, {"secret": "\N{BULLET}"}],
    ids=str,
)
async def test_an_enrolment_that_was_not_begun_cannot_be_confirmed(notes: dict[str, Plain]) -> None:
    submission = Submission({"otptoken": CODE}, notes=notes)

    assert await PROVIDER.answer_enrolment(submission, Context()) == Rejected("ticket_invalid", Charge.NOTHING)


async def test_an_app_is_enrolled_as_the_class_says() -> None:
    class Long(TimeBasedOTP):
        interval, digits, algorithm = 60, 8, "SHA256"

    ask = Long().begin_enrolment(Context())
    code = rfc_code(secret_of(ask), rfc_counter(NOON, 60), 8, "sha256")

    outcome = await confirm(ask, code, provider=Long())

    assert isinstance(outcome, Enrolled)
    kind = [outcome.credential.data[name] for name in ("interval", "digits", "algorithm")]
    assert kind == [60, 8, "SHA256"]
    assert pyotp.parse_uri(str(ask.params["uri"])).at(NOON) == code  # type: ignore[attr-defined]


# --- Declaration ------------------------------------------------------------------------------------------------------


def test_it_is_declared_with_the_names_of_viur() -> None:
    assert (PROVIDER.name, PROVIDER.path, PROVIDER.action) == ("time_based_otp", "f2_timebasedotp", "otp")
    assert PROVIDER.method_name == "X-VIUR-2FACTOR-TimeBasedOTP"
    assert PROVIDER.template == "time_based_otp/otp.html"
    assert PROVIDER.configure({})


def test_it_asks_for_one_code() -> None:
    ask = PROVIDER.begin(Context())

    assert isinstance(ask, Ask)
    (declared,) = ask.fields
    assert (declared.name, declared.type) == ("otptoken", FieldType.CODE)
    assert (declared.autocomplete, declared.inputmode) == ("one-time-code", "numeric")
    assert read(ask.fields, {"otptoken": "  123456  "}).errors == ()


@pytest.mark.parametrize(
    "setting",
    [
        {"window_size": 0},
        {"window_size": 6},
        {"issuer": "a:b"},
        {"issuer": "a" * 51},
        {"interval": 0},
        {"digits": 5},
        {"algorithm": "MD5"},
    ],
    ids=str,
)
def test_bad_class_attributes_are_refused_when_the_app_is_built(setting: dict[str, object]) -> None:
    provider = type("Bad", (TimeBasedOTP,), setting)()

    with pytest.raises(ConfigurationError):
        provider.configure({})


async def test_no_repr_and_no_plain_data_hold_the_secret() -> None:
    ask = PROVIDER.begin_enrolment(Context())
    code = rfc_code(secret_of(ask), PRESENT)
    enrolled = await confirm(ask, code)
    assert isinstance(enrolled, Enrolled)
    verified = await submit(enrolled.credential, rfc_code(secret_of(ask), PRESENT + 1))
    submission = Submission({"otptoken": code}, notes=ask.scratch)

    shown = f"{ask!r} {enrolled!r} {verified!r} {submission!r} {json.dumps(dict(enrolled.credential.data))}"

    for text in (
        secret_of(ask).hex(),
        repr(secret_of(ask)),
        str(ask.scratch["secret"]),
        str(ask.params["secret"]),
        code,
    ):
        assert text not in shown
