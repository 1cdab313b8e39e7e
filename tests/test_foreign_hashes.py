"""Hashes that accounts are brought along with: what they verify, what becomes of them, and that no time tells them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authflow import passwords
from authflow.errors import BadInput
from authflow.foreign_hashes import MAX_ITERATIONS, PREFIX, SLOW_ITERATIONS, Pbkdf2, from_viur, read_pbkdf2
from authflow.hashing_pool import HashingPool, Slot
from authflow.passwords import PasswordHasher, Verification

OUTDATED = Verification(is_valid=True, needs_rehash=True)
VALID = Verification(is_valid=True, needs_rehash=False)
INVALID = Verification(is_valid=False, needs_rehash=False)


@pytest.fixture
def pool() -> Iterator[HashingPool]:
    pool = HashingPool(1)
    yield pool
    pool.close()


@pytest.fixture
def slot(pool: HashingPool) -> Iterator[Slot]:
    with pool.reserve() as slot:
        yield slot


@pytest.fixture
def hasher(pool: HashingPool) -> PasswordHasher:
    return PasswordHasher(pool, rounds=5)


# --- Published vectors ------------------------------------------------------------------------------------------------

VECTORS = [
    # RFC 7914, section 11
    ("passwd", b"salt", 1, "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc"),
    ("Password", b"NaCl", 80000, "4ddcd8f60b98be21830cee5ef22701f9641a4418d04c0414aeff08876b34ab56"),
    # RFC 6070's inputs with SHA-256
    ("password", b"salt", 1, "120fb6cffcf8b32c43e7225256c4f837a86548c92ccc35480805987cb70be17b"),
    ("password", b"salt", 2, "ae4d0c95af6b46d32d0adff928f06dd02a303f8ef3c251dfd6e2d85a95474c43"),
    ("password", b"salt", 4096, "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a"),
    (
        "passwordPASSWORDpassword",
        b"saltSALTsaltSALTsaltSALTsaltSALTsalt",
        4096,
        "348c89dbcbd32b2f32d814b8116e84cf2b17347ebc1800181c4e2a1fb8dd53e1",
    ),
]


@pytest.mark.parametrize(("password", "salt", "iterations", "digest"), VECTORS)
async def test_a_published_vector_is_verified(
    hasher: PasswordHasher, slot: Slot, password: str, salt: bytes, iterations: int, digest: str
) -> None:
    stored = Pbkdf2(iterations, 32, salt, bytes.fromhex(digest)).to_text()

    assert await hasher.verify(slot, password, stored) == OUTDATED
    assert await hasher.verify(slot, password + "x", stored) == INVALID


# What viur-core itself computed: 3.3.5 (no number of iterations is stored), and 3.8.42 and 3.9.3, which agree.
VIUR_FIRST = [
    (
        "Passwort-1",
        "a1B2c3D4e5F6g",
        "fcfbd65a6d45126a43a1b3a84bd2f488b171d1c1184b74ca75f9feb285413f752f769a8aa007ac130dc8",
    ),
    (
        "Grüße, Ω 🔑 Jahr 2021",
        "ZyXwVuTsRqPoN",
        "836a7b62b07a730ee7b45fce80ed9555e84cdfd60059b782808f68861d2fd84dfc45a10a7d0ffd11f5ae",
    ),
    (
        "x" * 512,
        "0123456789abc",
        "36fd811c7706eb2bfe3704b50b45ce2c10879157314c04ee25f0ad346cda7f33a09ecd3d371a16369386",
    ),
]
VIUR_LATER = [
    (
        "Passwort-1",
        "a1B2c3D4e5F6g",
        "c52e150b2bad7c5e1a119015a046477ffadf87120ef3aed2f27041a12f60eb8bc1469ad76b04c6ea68da",
    ),
    (
        "Grüße, Ω 🔑 Jahr 2021",
        "ZyXwVuTsRqPoN",
        "3dbfc40cfefb4a8ec7625b2ef0c225d68a3b90bac4c009409f3578548052b7c064e8a2a14ddd5be1d9f9",
    ),
]


@pytest.mark.parametrize(("password", "salt", "pwhash"), VIUR_FIRST)
async def test_a_hash_of_viurs_first_era_is_wrapped_and_verified(
    hasher: PasswordHasher, slot: Slot, password: str, salt: str, pwhash: str
) -> None:
    stored = await hasher.take_over(slot, from_viur({"pwhash": pwhash, "salt": salt}))

    assert stored.startswith("$authflow-wrapped$v=1,t=2b,r=4$")
    assert await hasher.verify(slot, password, stored) == OUTDATED
    assert await hasher.verify(slot, password[:-1], stored) == INVALID


@pytest.mark.parametrize(("password", "salt", "pwhash"), VIUR_LATER)
async def test_a_hash_of_viurs_later_era_is_kept_and_verified(
    hasher: PasswordHasher, slot: Slot, password: str, salt: str, pwhash: str
) -> None:
    found = from_viur({"pwhash": pwhash, "salt": salt, "iterations": 600000, "dklen": 42})

    stored = await hasher.take_over(slot, found)

    assert stored.startswith(f"{PREFIX}i=600000,l=32$")
    assert await hasher.verify(slot, password, stored) == OUTDATED
    assert await hasher.verify(slot, password[:-1], stored) == INVALID


async def test_a_fast_hash_that_is_stored_bare_is_verified_too(hasher: PasswordHasher, slot: Slot) -> None:
    password, salt, pwhash = VIUR_FIRST[0]

    stored = from_viur({"pwhash": pwhash, "salt": salt, "iterations": 1001}).to_text()

    assert await hasher.verify(slot, password, stored) == OUTDATED


# --- Agreement with hashlib -------------------------------------------------------------------------------------------

TYPED = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=40)
SALTS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)


@settings(deadline=None)
@given(password=TYPED, salt=SALTS, iterations=st.integers(1, 50), dklen=st.integers(16, 64), other=TYPED)
def test_whatever_viur_stored_is_judged_as_hashlib_would(
    password: str, salt: str, iterations: int, dklen: int, other: str
) -> None:
    pwhash = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), iterations, dklen)
    exported = {"pwhash": pwhash.hex(), "salt": salt, "iterations": iterations, "dklen": dklen}

    found = from_viur(exported)

    assert found.derive(password.encode()) == found.digest == pwhash[:32]
    assert (found.derive(other.encode()) == found.digest) == (other == password)
    assert read_pbkdf2(found.to_text()) == found


@settings(deadline=None, max_examples=30)
@given(password=TYPED, other=TYPED, salt=SALTS)
def test_a_wrapped_hash_accepts_its_password_and_no_other(password: str, other: str, salt: str) -> None:
    inner = Pbkdf2(3, 32, salt.encode(), hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), 3, 32))

    record = passwords._read(passwords._wrap(inner, 4))

    assert record is not None
    assert record.compute(password.encode()) == record.digest
    assert (record.compute(other.encode()) == record.digest) == (other == password)


# --- What is stored ---------------------------------------------------------------------------------------------------


async def test_a_wrapped_hash_does_not_hold_the_fast_one(hasher: PasswordHasher, slot: Slot) -> None:
    _, salt, pwhash = VIUR_FIRST[0]
    digest = bytes.fromhex(pwhash)

    stored = await hasher.take_over(slot, from_viur({"pwhash": pwhash, "salt": salt}))

    for secret in (pwhash, pwhash[:64], *(base64.b64encode(digest[:n]).decode().rstrip("=") for n in (32, 42))):
        assert secret[:16] not in stored


async def test_two_accounts_with_one_fast_hash_are_not_stored_alike(hasher: PasswordHasher, slot: Slot) -> None:
    _, salt, pwhash = VIUR_FIRST[0]
    found = from_viur({"pwhash": pwhash, "salt": salt})

    first, second = await hasher.take_over(slot, found), await hasher.take_over(slot, found)

    assert first.split("$")[4] != second.split("$")[4]


@pytest.mark.parametrize(("iterations", "is_wrapped"), [(SLOW_ITERATIONS - 1, True), (SLOW_ITERATIONS, False)])
async def test_what_is_below_the_recommended_cost_is_wrapped(
    hasher: PasswordHasher, slot: Slot, iterations: int, is_wrapped: bool
) -> None:
    stored = await hasher.take_over(slot, Pbkdf2(iterations, 32, b"salt", b"d" * 32))

    assert stored.startswith("$authflow-wrapped$") is is_wrapped


async def test_a_wrapped_hash_stays_readable(hasher: PasswordHasher, slot: Slot) -> None:
    assert await hasher.verify(slot, "Passwort-1", WRAPPED) == OUTDATED
    assert await hasher.verify(slot, "Passwort-2", WRAPPED) == INVALID


async def test_the_hash_that_replaces_it_is_the_common_one(hasher: PasswordHasher, slot: Slot) -> None:
    password, salt, pwhash = VIUR_FIRST[0]
    stored = await hasher.take_over(slot, from_viur({"pwhash": pwhash, "salt": salt}))
    assert (await hasher.verify(slot, password, stored)).needs_rehash

    renewed = await hasher.hash(slot, password)

    assert await hasher.verify(slot, password, renewed) == VALID


# --- What would have to accept others ---------------------------------------------------------------------------------


async def test_a_password_that_viur_would_have_cut_is_refused(hasher: PasswordHasher, slot: Slot) -> None:
    password, salt, pwhash = VIUR_FIRST[2]
    stored = await hasher.take_over(slot, from_viur({"pwhash": pwhash, "salt": salt}))

    assert await hasher.verify(slot, password, stored) == OUTDATED
    assert await hasher.verify(slot, password + "x", stored) == INVALID


async def test_a_nul_at_the_end_is_not_taken_for_nothing(hasher: PasswordHasher, slot: Slot) -> None:
    found = Pbkdf2(1, 32, b"salt", hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 1))
    # HMAC fills its key up with zeros: the function itself cannot tell the two apart.
    assert found.derive(b"password\0") == found.digest

    for stored in (found.to_text(), await hasher.take_over(slot, found)):
        assert await hasher.verify(slot, "password", stored) == OUTDATED
        assert await hasher.verify(slot, "password\0", stored) == INVALID


# --- What is refused --------------------------------------------------------------------------------------------------

GOOD = {"pwhash": "ab" * 42, "salt": "a1B2c3D4e5F6g", "iterations": 1001, "dklen": 42}


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"pwhash": None}, "pwhash"),
        ({"pwhash": 5}, "pwhash"),
        ({"pwhash": ""}, "pwhash"),
        ({"pwhash": "abc"}, "pwhash"),
        ({"pwhash": "zz" * 42}, "pwhash"),
        ({"pwhash": "ab" * 15, "dklen": 15}, "pwhash"),
        ({"pwhash": "ab" * 257, "dklen": 257}, "pwhash"),
        ({"pwhash": "ab" * 41}, "dklen"),
        ({"dklen": "42"}, "dklen"),
        ({"salt": None}, "salt"),
        ({"salt": ""}, "salt"),
        ({"salt": "s" * 129}, "salt"),
        ({"salt": "\ud800"}, "salt"),
        ({"salt": ["a"]}, "salt"),
        ({"iterations": 0}, "iterations"),
        ({"iterations": -1}, "iterations"),
        ({"iterations": True}, "iterations"),
        ({"iterations": 1001.0}, "iterations"),
        ({"iterations": "1001"}, "iterations"),
        ({"iterations": MAX_ITERATIONS + 1}, "iterations"),
    ],
)
def test_what_is_no_hash_of_viurs_is_bad_input_that_quotes_nothing(changes: dict, says: str) -> None:
    assert from_viur(GOOD).digest == b"\xab" * 32

    with pytest.raises(BadInput) as caught:
        from_viur({**GOOD, **changes})

    assert says in caught.value.detail
    assert "ab" * 15 not in str(caught.value)
    assert "a1B2c3" not in str(caught.value)


KEPT = Pbkdf2(600_000, 32, b"a1B2c3D4e5F6g", b"d" * 32).to_text()
WRAPPED = (
    "$authflow-wrapped$v=1,t=2b,r=4$T6xMBf1iRwc8C6J./MaDMO$hCP/XYaf3tiQYBlIEZAyLe9MdBxH5Wa"
    "$viur-pbkdf2-sha256$i=1001,l=32$YTFCMmMzRDRlNUY2Zw"
)


@pytest.mark.parametrize(
    "stored",
    [
        PREFIX,
        KEPT + "\n",
        KEPT + "$",
        KEPT[:-1],
        KEPT.replace("i=600000", "i=0"),
        KEPT.replace("i=600000", "i=0600000"),
        KEPT.replace("i=600000", "i=٦"),
        KEPT.replace("i=600000", f"i={MAX_ITERATIONS + 1}"),
        KEPT.replace("i=600000", "i=999999999"),
        KEPT.replace("l=32", "l=31"),
        KEPT.replace("l=32", "l=33"),
        KEPT.replace("l=32", "l=15"),
        KEPT[:-1] + "R",  # bits over in the last character
        KEPT.replace("sha256", "sha512"),
        KEPT.rpartition("$")[0],
        "$authflow-wrapped$",
        WRAPPED + "\n",
        WRAPPED.replace("v=1", "v=2"),
        WRAPPED.replace("t=2b", "t=2a"),
        WRAPPED.replace("r=4", "r=3"),
        WRAPPED.replace("r=4", "r=31"),
        WRAPPED.replace("i=1001", f"i={MAX_ITERATIONS + 1}"),
        WRAPPED.replace("l=32", "l=99"),
        WRAPPED.rpartition(PREFIX)[0],
        WRAPPED.rpartition(PREFIX)[0] + KEPT,
        WRAPPED.rpartition(PREFIX)[0] + WRAPPED,
    ],
)
async def test_a_damaged_hash_is_read_as_none(hasher: PasswordHasher, slot: Slot, stored: str) -> None:
    assert passwords._read(KEPT) is not None
    assert passwords._read(WRAPPED) is not None

    assert passwords._read(stored) is None
    assert await hasher.verify(slot, "password", stored) == INVALID


@settings(deadline=None, max_examples=200)
@given(whole=st.sampled_from([KEPT, WRAPPED]), at=st.integers(0, 150), new=st.text(max_size=2))
def test_whatever_is_stored_reading_raises_nothing(whole: str, at: int, new: str) -> None:
    stored = whole[:at] + new + whole[at + 1 :]

    record = passwords._read(stored)

    assert record is None or record.iterations


# --- Equal work -------------------------------------------------------------------------------------------------------


class Work:
    """What has been computed, in bcrypt's measure, and a clock that stands still beside that."""

    def __init__(self, iterations_per_unit: float) -> None:
        self.units = 0.0
        self.iterations_per_unit = iterations_per_unit

    def __call__(self) -> float:
        return self.units * 50e-6


@pytest.fixture(params=[160, 270, 600])
def work(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Work:
    """Machines differ in how many iterations of PBKDF2 they do in the time of a round of bcrypt."""
    work = Work(request.param)
    compute, derive = passwords._bcrypt_digest, Pbkdf2.derive

    def counted(secret: bytes, salt: bytes, rounds: int) -> bytes:
        work.units += 2**rounds
        return compute(secret, salt, 4)

    def derived(found: Pbkdf2, secret: bytes) -> bytes:
        work.units += found.iterations / work.iterations_per_unit
        return derive(Pbkdf2(1, found.length, found.salt), secret)

    monkeypatch.setattr(passwords, "_bcrypt_digest", counted)
    monkeypatch.setattr(Pbkdf2, "derive", derived)
    return work


@pytest.mark.parametrize("iterations", [1, 1001, 10_000, 100_000])
@pytest.mark.parametrize("password", ["wrong", "", "k" * 513, "with\0nul", "\ud800"])
async def test_a_wrong_password_for_a_wrapped_hash_costs_as_much_as_an_unknown_name(
    pool: HashingPool, slot: Slot, work: Work, iterations: int, password: str
) -> None:
    hasher = PasswordHasher(pool, rounds=12, timer=work)
    stored = await hasher.take_over(slot, Pbkdf2(iterations, 32, b"salt", b"d" * 32))

    before = work.units
    assert await hasher.verify(slot, password, stored) == INVALID
    known = work.units - before
    before = work.units
    assert await hasher.verify(slot, password, None) == INVALID

    assert known == pytest.approx(work.units - before, abs=2**passwords.MIN_ROUNDS)


@pytest.mark.parametrize("iterations", [600_000, 300_000, 1001])
async def test_a_wrong_password_for_a_kept_hash_costs_as_much_as_an_unknown_name(
    pool: HashingPool, slot: Slot, work: Work, iterations: int
) -> None:
    hasher = PasswordHasher(pool, rounds=12, timer=work)
    stored = Pbkdf2(iterations, 32, b"salt", b"d" * 32).to_text()
    await hasher.verify(slot, "wrong", WRAPPED)  # The machine's speed is measured once.

    before = work.units
    assert await hasher.verify(slot, "wrong", stored) == INVALID

    assert work.units - before == pytest.approx(2**12, abs=2**passwords.MIN_ROUNDS)


@pytest.mark.parametrize("stored", [KEPT, WRAPPED])
async def test_the_judgement_that_measures_the_machine_costs_no_more(
    pool: HashingPool, slot: Slot, work: Work, stored: str
) -> None:
    work.iterations_per_unit = 270
    hasher = PasswordHasher(pool, rounds=12, timer=work)

    before = work.units
    await hasher.verify(slot, "wrong", stored)

    assert work.units - before == pytest.approx(2**12, abs=2**passwords.MIN_ROUNDS)


async def test_a_measurement_that_was_held_up_is_no_measure(pool: HashingPool, slot: Slot, work: Work) -> None:
    # Other processes take the core for a while, in most of the samples.
    held_up = iter([0.0, 0.1, 0.0, 0.3, 0.0, 0.0, 0.2, 0.5] * 100)
    lost = 0.0

    def timer() -> float:
        nonlocal lost
        lost += next(held_up)
        return work() + lost

    hasher = PasswordHasher(pool, rounds=12, timer=timer)
    await hasher.verify(slot, "wrong", WRAPPED)

    before = work.units
    await hasher.verify(slot, "wrong", Pbkdf2(300_000, 32, b"salt", b"d" * 32).to_text())

    assert work.units - before == pytest.approx(2**12, abs=2**passwords.MIN_ROUNDS)


async def test_a_hash_that_costs_more_than_an_unknown_name_is_judged_with_little_beside(
    pool: HashingPool, slot: Slot
) -> None:
    hasher = PasswordHasher(pool, rounds=4)
    password, salt, pwhash = VIUR_LATER[0]
    stored = from_viur({"pwhash": pwhash, "salt": salt, "iterations": 600_000}).to_text()

    assert await hasher.verify(slot, password, stored) == OUTDATED
    assert await hasher.verify(slot, "wrong", stored) == INVALID


async def test_a_clock_that_does_not_move_harms_nothing(pool: HashingPool, slot: Slot) -> None:
    hasher = PasswordHasher(pool, rounds=5, timer=lambda: 0.0)

    assert await hasher.verify(slot, "wrong", WRAPPED) == INVALID


# --- Secrets ----------------------------------------------------------------------------------------------------------


def test_no_repr_holds_a_secret() -> None:
    found = from_viur({"pwhash": "ab" * 42, "salt": "a1B2c3D4e5F6g"})
    record = passwords._read(WRAPPED)

    shown = repr(found) + repr(record)

    for secret in ("abab", "xab", "a1B2c3", WRAPPED.split("$")[3]):
        assert secret not in shown
