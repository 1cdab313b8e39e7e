"""Stored hashes: the forms, equal work whatever is stored, and the bounds of the pool."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from passlib.handlers.bcrypt import bcrypt as passlib_bcrypt
from passlib.handlers.bcrypt import bcrypt_sha256 as passlib_bcrypt_sha256

from authflow import passwords
from authflow.errors import BadInput, ConfigurationError, ContractViolation, Overloaded
from authflow.hashing_pool import HashingPool, Slot, threads_for
from authflow.passwords import PasswordHasher, Verification

VALID = Verification(is_valid=True, needs_rehash=False)
OUTDATED = Verification(is_valid=True, needs_rehash=True)
INVALID = Verification(is_valid=False, needs_rehash=False)

SALT = "5Hg1DKFqPE8C2aflZ5vVoe"
DIGEST = "wOK1VFFtS8IGTrGa7.h5fs0u84qyPbS"


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
    return PasswordHasher(pool, rounds=4)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every bcrypt computation's rounds, in order. What a judgement costs shows nowhere else without a stop-watch."""
    done: list[int] = []
    compute = passwords._bcrypt_digest

    def counted(secret: bytes, salt: bytes, rounds: int) -> bytes:
        done.append(rounds)
        return compute(secret, salt, rounds)

    monkeypatch.setattr(passwords, "_bcrypt_digest", counted)
    return done


@pytest.fixture
def passlib(monkeypatch: pytest.MonkeyPatch) -> type[passlib_bcrypt_sha256]:
    """passlib with its own bcrypt in pure Python: its probe of the C library fails with bcrypt 5."""
    monkeypatch.setenv("PASSLIB_BUILTIN_BCRYPT", "enabled")
    passlib_bcrypt.set_backend("builtin")
    return passlib_bcrypt_sha256.using(rounds=4)


# --- Published vectors ------------------------------------------------------------------------------------------------

PASSLIB_VECTORS = [
    ("", "$bcrypt-sha256$v=2,t=2b,r=5$E/e/2AOhqM5W/KJTFQzLce$WFPIZKtDDTriqWwlmRFfHiOTeheAZWe"),
    ("password", f"$bcrypt-sha256$v=2,t=2b,r=5${SALT}${DIGEST}"),
    ("abc123" * 12, "$bcrypt-sha256$v=2,t=2b,r=5$X1g1nh3g0v4h6970O68cxe$zu1cloESVFIOsUIo7fCEgkdHaI9SSue"),
    ("abc123" * 12 + "qwr", "$bcrypt-sha256$v=2,t=2b,r=5$X1g1nh3g0v4h6970O68cxe$CBF9csfEdW68xv3DwE6xSULXMtqEFP."),
    ("abc123" * 12 + "xyz", "$bcrypt-sha256$v=2,t=2b,r=5$X1g1nh3g0v4h6970O68cxe$zC/1UDUG2ofEXB6Onr2vvyFzfhEOS3S"),
    ("", "$bcrypt-sha256$2a,5$E/e/2AOhqM5W/KJTFQzLce$F6dYSxOdAEoJZO2eoHUZWZljW/e0TXO"),
    ("password", "$bcrypt-sha256$2b,5$5Hg1DKFqPE8C2aflZ5vVoe$12BjNE0p7axMg55.Y/mHsYiVuFBDQyu"),
    ("abc123" * 12 + "xyz", "$bcrypt-sha256$2b,5$X1g1nh3g0v4h6970O68cxe$7.1kgpHduMGEjvM3fX6e/QCvfn6OKja"),
]

BCRYPT_VECTORS = [
    # crypt_blowfish's own tests
    ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    ("U*U*", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"),
    ("U*U*U", "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"),
    (
        "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
        "$2a$05$abcdefghijklmnopqrstuu5s2v8.iXieOjg/.AySBTTZIIVFJeBui",
    ),
    # jBCrypt's
    ("", "$2a$06$DCq7YPn5Rq63x1Lad4cll.TV4S6ytwfsfvkgY8jIucDrjc8deX1s."),
    ("a", "$2a$06$m0CrhHm10qJ3lXRY.5zDGO3rS2KdeeWLuGmsfGlMfOxih58VYVfxe"),
    ("abc", "$2a$06$If6bvum7DFjUnE9p2uDeDu0YHzrHM6tf.iqN8.yx.jNN1ILEf7h0i"),
]


@pytest.mark.parametrize(("password", "stored"), [*PASSLIB_VECTORS, *BCRYPT_VECTORS])
async def test_a_published_vector_is_verified(hasher: PasswordHasher, slot: Slot, password: str, stored: str) -> None:
    assert await hasher.verify(slot, password, stored) == OUTDATED
    assert await hasher.verify(slot, password + "x", stored) == INVALID


async def test_the_vector_of_passlibs_documentation_is_current_at_twelve_rounds(pool: HashingPool, slot: Slot) -> None:
    stored = "$bcrypt-sha256$v=2,t=2b,r=12$n79VH.0Q2TMWmt3Oqt9uku$Kq4Noyk3094Y2QlB8NdRT8SvGiI4ft2"

    assert await PasswordHasher(pool).verify(slot, "password", stored) == VALID


# --- Agreement with passlib -------------------------------------------------------------------------------------------

PASSWORDS = ["password", "пароль-🔑", " spaced out ", "long " * 100, "with\0zero"]


@pytest.mark.parametrize("password", PASSWORDS)
async def test_passlib_verifies_our_hashes(
    hasher: PasswordHasher, slot: Slot, passlib: type[passlib_bcrypt_sha256], password: str
) -> None:
    stored = await hasher.hash(slot, password)

    assert passlib.verify(password, stored)
    assert not passlib.needs_update(stored)


@pytest.mark.parametrize("password", PASSWORDS)
async def test_we_verify_passlibs_hashes(
    hasher: PasswordHasher, slot: Slot, passlib: type[passlib_bcrypt_sha256], password: str
) -> None:
    assert await hasher.verify(slot, password, passlib.hash(password)) == VALID
    assert await hasher.verify(slot, password, passlib.using(version=1).hash(password)) == OUTDATED


# --- What is accepted -------------------------------------------------------------------------------------------------


async def test_a_hash_has_the_form_and_an_own_salt(hasher: PasswordHasher, slot: Slot) -> None:
    first, second = await hasher.hash(slot, "password"), await hasher.hash(slot, "password")

    assert re.fullmatch(r"\$bcrypt-sha256\$v=2,t=2b,r=4\$[./A-Za-z0-9]{22}\$[./A-Za-z0-9]{31}", first)
    assert first != second


async def test_a_password_is_verified_exactly_as_it_was_typed(hasher: PasswordHasher, slot: Slot) -> None:
    stored = await hasher.hash(slot, "Pässword")

    assert await hasher.verify(slot, "Pässword", stored) == VALID
    for other in ("pässword", "Pa\u0308ssword", "Pässword ", "Pässword\0", "", "\ud800"):
        assert await hasher.verify(slot, other, stored) == INVALID


async def test_no_byte_of_a_long_password_is_ignored(hasher: PasswordHasher, slot: Slot) -> None:
    stored = await hasher.hash(slot, "k" * 1024)

    assert await hasher.verify(slot, "k" * 1024, stored) == VALID
    assert await hasher.verify(slot, "k" * 1023, stored) == INVALID
    assert await hasher.verify(slot, "k" * 1025, stored) == INVALID


@pytest.mark.parametrize("password", ["k" * 1025, "é" * 513, "half a pair \ud83d"])
async def test_what_cannot_be_hashed_is_bad_input(hasher: PasswordHasher, slot: Slot, password: str) -> None:
    with pytest.raises(BadInput) as caught:
        await hasher.hash(slot, password)

    error: BaseException | None = caught.value
    assert password not in str(error)
    # A UnicodeEncodeError in the chain would hold the whole password.
    assert error is not None
    assert error.__cause__ is None
    assert error.__context__ is None


async def test_plain_bcrypt_refuses_what_it_would_cut_off(hasher: PasswordHasher, slot: Slot) -> None:
    password, stored = BCRYPT_VECTORS[3]

    assert await hasher.verify(slot, password + "chars after 72 are ignored", stored) == INVALID
    # bcrypt repeats the password and its closing zero until 72 bytes are full: to it, these two are one.
    assert await hasher.verify(slot, "U*U\0U*U", BCRYPT_VECTORS[0][1]) == INVALID


@pytest.mark.parametrize("variant", ["2a", "2b", "2y"])
async def test_the_variants_of_bcrypt_are_one(hasher: PasswordHasher, slot: Slot, variant: str) -> None:
    assert await hasher.verify(slot, "U*U", BCRYPT_VECTORS[0][1].replace("2a", variant)) == OUTDATED


async def test_a_hash_of_another_cost_is_to_be_made_anew(pool: HashingPool, hasher: PasswordHasher, slot: Slot) -> None:
    stored = await hasher.hash(slot, "password")

    assert await PasswordHasher(pool, rounds=5).verify(slot, "password", stored) == OUTDATED
    assert await PasswordHasher(pool, rounds=5).verify(slot, "passwort", stored) == INVALID


@pytest.mark.parametrize("rounds", [0, 3, 17, 31])
def test_an_unfit_cost_is_refused_at_the_start(pool: HashingPool, rounds: int) -> None:
    with pytest.raises(ConfigurationError):
        PasswordHasher(pool, rounds=rounds)


# --- Damaged hashes and equal work ------------------------------------------------------------------------------------

CURRENT = f"$bcrypt-sha256$v=2,t=2b,r=5${SALT}${DIGEST}"

MALFORMED = [
    "",
    " ",
    "password",
    "$",
    "$2b$",
    "$2b$04$",
    "$bcrypt-sha256$",
    "\0",
    "\ud800",
    "🔑" * 60,
    CURRENT + "\n",
    CURRENT + "$",
    " " + CURRENT,
    CURRENT[:-1],
    CURRENT + ".",
    CURRENT.replace("DKF", "DK!"),
    CURRENT.replace("v=2", "v=1"),
    CURRENT.replace("v=2", "v=3"),
    CURRENT.replace("t=2b", "t=2a"),
    CURRENT.replace("t=2b", "t=2x"),
    CURRENT.replace("r=5", "r=05"),
    CURRENT.replace("r=5", "r=\u0665"),
    CURRENT.replace("r=5", "r=3"),
    CURRENT.replace("r=5", "r=31"),
    CURRENT.replace("r=5", "r=99"),
    CURRENT.replace(SALT, SALT[:-1] + "f"),
    CURRENT.replace(SALT, ""),
    CURRENT.replace("$" + DIGEST, ""),
    CURRENT.upper(),
    "$bcrypt-sha256$2c,5$5Hg1DKFqPE8C2aflZ5vVoe$12BjNE0p7axMg55.Y/mHsYiVuFBDQyu",
    "$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    "$2b$5$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    "$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
    "$2b$05$CCCCCCCCCCCCCCCCCCCCC.",
    "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHQ$RdescudvJCsgt3ub+b/1Wg",
]


@pytest.mark.parametrize("stored", MALFORMED)
async def test_a_damaged_hash_is_false_after_the_same_work(
    hasher: PasswordHasher, slot: Slot, work: list[int], stored: str
) -> None:
    assert await hasher.verify(slot, "password", stored) == INVALID
    assert work == [4]


@pytest.mark.parametrize("stored", [b"$2b$04$", 4, [], False])
async def test_a_hash_of_the_wrong_type_is_false_after_the_same_work(
    hasher: PasswordHasher, slot: Slot, work: list[int], stored: object
) -> None:
    assert await hasher.verify(slot, "password", stored) == INVALID  # type: ignore[arg-type]
    assert work == [4]


@settings(deadline=None)
@given(
    stored=st.none()
    | st.text()
    | st.from_regex(r"\$(bcrypt-sha256|2[abxy])\$[a-z0-9=,$./]*", fullmatch=True)
    | st.builds(lambda at, new: CURRENT[:at] + new + CURRENT[at + 1 :], st.integers(0, 80), st.characters()),
    password=st.text(st.characters(exclude_categories=())),
)
def test_whatever_is_stored_nothing_is_raised(stored: str | None, password: str) -> None:
    async def judge() -> Verification:
        pool = HashingPool(1)
        with pool.reserve() as slot:
            verification = await PasswordHasher(pool, rounds=4).verify(slot, password, stored)
        pool.close()
        return verification

    assert asyncio.run(judge()) == INVALID or stored == CURRENT


@pytest.mark.parametrize("password", ["passwort", "", "k" * 1025, "\ud800", "k" * 1_000_000])
async def test_known_and_unknown_accounts_cost_the_same(
    hasher: PasswordHasher, slot: Slot, work: list[int], password: str
) -> None:
    plain = "$2b$04$n79VH.0Q2TMWmt3Oqt9ukuDvMNmOvF/ldB1eYWLh.z72A5ZAhyFNS"
    stored = await hasher.hash(slot, "password")
    work.clear()

    for candidate in (stored, plain, None, ""):
        assert await hasher.verify(slot, password, candidate) == INVALID

    assert work == [4, 4, 4, 4]


async def test_no_password_matches_the_dummy(hasher: PasswordHasher, slot: Slot) -> None:
    # Even one that gives its digest, were it ever found.
    hasher._dummy = await _as_dummy(hasher, slot, b"")

    assert await hasher.verify(slot, "", None) == INVALID


async def _as_dummy(hasher: PasswordHasher, slot: Slot, secret: bytes) -> passwords.StoredHash:
    stored = passwords._read(await hasher.hash(slot, secret.decode()))
    assert stored is not None
    return stored


async def test_a_wrong_password_for_a_cheap_hash_costs_as_much_as_an_unknown_name(
    pool: HashingPool, hasher: PasswordHasher, slot: Slot, work: list[int]
) -> None:
    dearer = PasswordHasher(pool, rounds=7)
    stored = await hasher.hash(slot, "password")
    work.clear()

    await dearer.verify(slot, "passwort", stored)

    assert sum(2**rounds for rounds in work) == 2**7


# --- The pool ---------------------------------------------------------------------------------------------------------


def free_slots(pool: HashingPool) -> int:
    """Take every slot there is, give them back, and tell how many there were."""
    taken: list[Slot] = []
    try:
        while True:
            taken.append(pool.reserve())
    except Overloaded:
        return len(taken)
    finally:
        for slot in taken:
            slot.release()


def test_a_full_pool_refuses_at_once() -> None:
    pool = HashingPool(2, queue_per_thread=3)
    slots = [pool.reserve() for _ in range(8)]

    with pytest.raises(Overloaded):
        pool.reserve()

    slots[0].release()
    with pool.reserve(), pytest.raises(Overloaded):
        pool.reserve()


def test_a_slot_is_given_back_once() -> None:
    pool = HashingPool(1, queue_per_thread=1)

    with pool.reserve() as slot:
        slot.release()
        slot.release()

    assert free_slots(pool) == 2


async def test_a_slot_is_given_back_when_the_job_fails(pool: HashingPool) -> None:
    with pytest.raises(ZeroDivisionError), pool.reserve() as slot:
        await pool.run(slot, divmod, 1, 0)

    assert free_slots(pool) == 17


async def test_the_slot_of_a_cancelled_request_is_given_back_when_its_job_ends() -> None:
    pool = HashingPool(1, queue_per_thread=0)
    has_started, may_end = threading.Event(), threading.Event()

    def job() -> None:
        has_started.set()
        may_end.wait(5)

    async def request() -> None:
        with pool.reserve() as slot:
            await pool.run(slot, job)

    task = asyncio.create_task(request())
    await asyncio.to_thread(has_started.wait, 5)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    # The thread still computes: a flood of cancelled requests must not pile up behind it.
    assert free_slots(pool) == 0
    may_end.set()
    await asyncio.to_thread(pool._executor.shutdown)
    assert free_slots(pool) == 1


async def test_a_request_cancelled_in_the_queue_does_no_work() -> None:
    pool = HashingPool(1, queue_per_thread=1)
    has_started, may_end = threading.Event(), threading.Event()
    done: list[str] = []

    def block() -> None:
        has_started.set()
        may_end.wait(5)

    first, second = pool.reserve(), pool.reserve()
    with first, second:
        blocking = asyncio.create_task(pool.run(first, block))
        await asyncio.to_thread(has_started.wait, 5)
        waiting = asyncio.create_task(pool.run(second, done.append, "hashed"))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        second.release()
        assert free_slots(pool) == 1
        may_end.set()
        await blocking

    await asyncio.to_thread(pool._executor.shutdown)
    assert done == []
    assert free_slots(pool) == 2


async def test_a_closed_pool_is_overloaded() -> None:
    pool = HashingPool(1)
    has_started, may_end = threading.Event(), threading.Event()

    def block() -> None:
        has_started.set()
        may_end.wait(5)

    with pool.reserve() as first, pool.reserve() as second, pool.reserve() as third:
        running = asyncio.create_task(pool.run(first, block))
        await asyncio.to_thread(has_started.wait, 5)
        waiting = asyncio.create_task(pool.run(second, int))
        await asyncio.sleep(0)
        pool.close()
        may_end.set()

        await running
        with pytest.raises(Overloaded):
            await waiting
        with pytest.raises(Overloaded):
            await pool.run(third, int)

    assert free_slots(pool) == 17


async def test_a_slot_serves_one_job_at_a_time_in_its_own_pool(pool: HashingPool, slot: Slot) -> None:
    with pool.reserve() as released:
        pass
    other = HashingPool(1)

    assert await pool.run(slot, int) == 0
    assert await pool.run(slot, int) == 0
    for wrong_pool, wrong_slot in ((pool, released), (other, slot)):
        with pytest.raises(ContractViolation):
            await wrong_pool.run(wrong_slot, int)
    results = await asyncio.gather(pool.run(slot, int), pool.run(slot, int), return_exceptions=True)
    assert results[0] == 0
    assert isinstance(results[1], ContractViolation)


@pytest.mark.skipif(sys.platform != "linux", reason="niceness is per thread on Linux alone")
async def test_hashing_yields_the_core_to_other_threads(pool: HashingPool, slot: Slot) -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)

    inside = await pool.run(slot, lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    assert inside == max(10, before)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before


@pytest.mark.parametrize(("threads", "queue"), [(0, 16), (-1, 16), (1, -1)])
def test_an_unfit_pool_is_refused_at_the_start(threads: int, queue: int) -> None:
    with pytest.raises(ConfigurationError):
        HashingPool(threads, queue)


@pytest.mark.parametrize(
    ("workers", "cores", "threads"), [(1, 8, 8), (3, 8, 2), (8, 8, 1), (16, 8, 1), (0, 2, 2), (1, 1, 1)]
)
def test_the_workers_share_the_cores(workers: int, cores: int, threads: int) -> None:
    assert threads_for(workers, cores=cores) == threads


# --- Secrets ----------------------------------------------------------------------------------------------------------


async def test_no_repr_holds_a_secret(pool: HashingPool, hasher: PasswordHasher, slot: Slot) -> None:
    stored = await hasher.hash(slot, "correct horse")
    record = passwords._read(stored)
    assert record is not None

    shown = " ".join(map(repr, (pool, slot, hasher, record, hasher._dummy, await hasher.verify(slot, "x", stored))))

    assert "correct horse" not in shown
    for secret in (stored[-31:], stored[-54:-32], hasher._dummy.digest.decode(), hasher._salt.decode()):
        assert secret not in shown


@pytest.mark.parametrize(("verdict", "is_true"), [(VALID, True), (OUTDATED, True), (INVALID, False)])
def test_a_verdict_is_as_true_as_what_it_found(verdict: Verification, is_true: bool) -> None:
    assert bool(verdict) is is_true
