"""Password hashes: the forms we read and the one form we write.

This is the one door to bcrypt. A verification costs the same for an unknown name, an account without a password, a
damaged hash and a wrong password, so that time does not tell which of them it was (ASVS 6.3.8). That holds for hashes
that were brought along too (`foreign_hashes`), as long as judging them costs no more than one of ours.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar

import bcrypt

from authflow.equal_work import SAMPLES, fillers, ratio
from authflow.errors import BadInput, ConfigurationError
from authflow.hashing_pool import HashingPool, Slot

if TYPE_CHECKING:
    from authflow.foreign_hashes import Pbkdf2

P = ParamSpec("P")
T = TypeVar("T")

MAX_PASSWORD_BYTES: Final = 1024
"""No longer password is hashed: the work for one request stays bounded (ASVS 6.2.9 asks for at least 64 characters)."""

MIN_ROUNDS: Final = 4
MAX_ROUNDS: Final = 16
"""Some four seconds each. A stored hash that claims more is not computed: bcrypt's 31 would hold a thread for days."""

_SAMPLE_ROUNDS: Final = 5
_SAMPLE_ITERATIONS: Final = 8000
"""Some two milliseconds each."""


# --- The hasher -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verification:
    """What a verification found. As a truth it is `is_valid`, so that nobody is let in by the object being there.

    Args:
        is_valid: Whether the password is the one that was stored.
        needs_rehash: Whether it is, and should be stored anew: the form or the cost is not what is configured.
    """

    is_valid: bool
    needs_rehash: bool

    def __bool__(self) -> bool:
        return self.is_valid


class PasswordHasher:
    """Make and judge password hashes.

    New hashes are passlib's `bcrypt_sha256`, version 2: bcrypt over an HMAC-SHA256 of the password, since bcrypt alone
    reads 72 bytes at most and a truncated password would accept others (ASVS 6.2.8). `FORMATS` lists what is verified.

    Args:
        pool: Where the work is done.
        rounds: bcrypt's cost for new hashes: 2 to the power of so many.
        timer: Seconds since some moment; what a round of bcrypt takes beside other work is measured by it.

    Raises:
        ConfigurationError: bcrypt does not have this cost, or it is beyond what a login can wait for.
    """

    def __init__(self, pool: HashingPool, rounds: int = 12, timer: Callable[[], float] = time.perf_counter) -> None:
        if not MIN_ROUNDS <= rounds <= MAX_ROUNDS:
            raise ConfigurationError(f"bcrypt rounds must be between {MIN_ROUNDS} and {MAX_ROUNDS}")
        self.rounds = rounds
        self._pool = pool
        self._timer = timer
        self._iterations_per_unit = 0.0
        self._salt = bcrypt.gensalt(rounds)[-22:]
        self._dummy = _dummy(self._salt, rounds)
        self._unknown = f"$bcrypt-sha256$v=2,t=2b,r={rounds}${self._salt.decode()}${self._dummy.digest.decode()}"

    async def hash(self, slot: Slot, password: str) -> str:
        """Return the hash to store for a new password.

        Raises:
            BadInput: The password is over 1,024 bytes or holds a lone surrogate. `check_new_password` says so before.
        """
        secret = _to_bytes(password)
        if secret is None:
            raise BadInput("the password cannot be hashed")
        return await self._pool.run(slot, _hash, secret, self.rounds)

    async def take_over(self, slot: Slot, found: Pbkdf2) -> str:
        """Return the hash to store for one that was made elsewhere, without knowing the password.

        A slow one stays as it is. A fast one goes into bcrypt, one round below new hashes: so that what it takes
        itself has room within the time that an unknown name takes. Both are made anew at the next login.
        """
        if found.is_slow:
            return found.to_text()
        return await self._pool.run(slot, _wrap, found, max(MIN_ROUNDS, self.rounds - 1))

    async def verify(self, slot: Slot, password: str, stored: str | None) -> Verification:
        """Judge a password against what is stored.

        Args:
            slot: A place in the pool.
            password: As it was typed: no trimming, no normalisation.
            stored: The stored hash; None for an unknown account or one without a password. None, and whatever cannot
                be read, is false after the same work.
        """
        return await self._pool.run(slot, self._judge, password, stored)

    def _judge(self, password: str, stored: str | None) -> Verification:
        secret = _to_bytes(password)
        # Where nothing is stored, something is read all the same: taking a hash apart takes time too.
        record = _read(self._unknown if stored is None else stored)
        if stored is None or record is None or secret is None or not record.accepts(secret):
            record, secret = self._dummy, b""
        is_valid = hmac.compare_digest(record.compute(secret), record.digest) and record is not self._dummy
        if not is_valid:
            self._fill_up(record)
        return Verification(is_valid, is_valid and not (record.is_current and record.rounds == self.rounds))

    def _fill_up(self, record: StoredHash) -> None:
        """Compute as much as is missing to what an unknown name costs.

        A hash from before the cost was raised, or of another kind, must not answer faster. (A dearer one cannot be
        hidden; it is replaced at the next login.)
        """
        if not record.iterations:
            # 2^r + 2^r + 2^(r+1) + ... + 2^(R-1) = 2^R.
            for rounds in range(record.rounds, self.rounds):
                _bcrypt_digest(b"", self._salt, rounds)
            return
        missing = 2**self.rounds - 2**record.rounds if record.rounds else 2**self.rounds
        if not self._iterations_per_unit:
            # Found out where the time is due anyway, and counted.
            self._iterations_per_unit = self._measured()
            missing -= SAMPLES * (2**_SAMPLE_ROUNDS + _SAMPLE_ITERATIONS / self._iterations_per_unit)
        missing -= record.iterations / self._iterations_per_unit
        for rounds in fillers(missing, least=MIN_ROUNDS, most=self.rounds):
            _bcrypt_digest(b"", self._salt, rounds)

    def _measured(self) -> float:
        """Return how many iterations of PBKDF2 this machine does in the time of bcrypt's unit, 2^0."""
        from authflow.foreign_hashes import Pbkdf2

        sample = Pbkdf2(_SAMPLE_ITERATIONS, 32, b"sample")
        times = ratio(lambda: _bcrypt_digest(b"", self._salt, _SAMPLE_ROUNDS), lambda: sample.derive(b""), self._timer)
        return times * _SAMPLE_ITERATIONS / 2**_SAMPLE_ROUNDS


# --- The forms of stored hashes ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredHash:
    """A stored hash, taken apart.

    Args:
        rounds: The cost of judging it, in bcrypt's measure; 0 where no bcrypt is in it.
        digest: What `compute` gives for the right password.
        compute: Does the work. Called with a password that `accepts` admits.
        accepts: Whether this form can hold the password.
        is_current: Whether new hashes have this form too.
        iterations: Of PBKDF2, which come to the cost.
    """

    rounds: int
    digest: bytes = field(repr=False)
    compute: Callable[[bytes], bytes] = field(repr=False)
    accepts: Callable[[bytes], bool] = field(repr=False)
    is_current: bool = False
    iterations: int = 0


# bcrypt's base64 leaves bits over in the last character of the salt; libraries disagree about any but zeros.
_SALT_AND_DIGEST: Final = r"(?P<salt>[./A-Za-z0-9]{21}[.Oeu])%s(?P<digest>[./A-Za-z0-9]{31})"

_PASSLIB_2: Final = re.compile(r"\$bcrypt-sha256\$v=2,t=2b,r=(?P<rounds>[1-9][0-9]?)\$" + _SALT_AND_DIGEST % r"\$")
_PASSLIB_1: Final = re.compile(r"\$bcrypt-sha256\$2[ab],(?P<rounds>[1-9][0-9]?)\$" + _SALT_AND_DIGEST % r"\$")
_BCRYPT: Final = re.compile(r"\$2[aby]\$(?P<rounds>[0-9]{2})\$" + _SALT_AND_DIGEST % "")


def _read_passlib(stored: str) -> StoredHash | None:
    """Read passlib's `bcrypt_sha256`: version 2 as we write it, and version 1, which hashed without the salt as key."""
    if match := _PASSLIB_2.fullmatch(stored):
        return _from_bcrypt(match, _keyed, _accepts_all, is_current=True)
    if match := _PASSLIB_1.fullmatch(stored):
        return _from_bcrypt(match, _unkeyed, _accepts_all)
    return None


def _read_bcrypt(stored: str) -> StoredHash | None:
    """Read plain bcrypt as PHP, Rails, Flask-Bcrypt and others store it.

    Passwords over 72 bytes are refused. Older libraries cut them there: to let such an account in, every password with
    the same beginning would have to do (it recovers instead). A NUL is refused, as bcrypt takes `a` for `a\\0a`.
    """
    if match := _BCRYPT.fullmatch(stored):
        return _from_bcrypt(match, _plain, _fits_bcrypt)
    return None


_WRAPPED: Final = re.compile(
    r"\$authflow-wrapped\$v=1,t=2b,r=(?P<rounds>[1-9][0-9]?)\$" + _SALT_AND_DIGEST % r"\$" + r"(?P<inner>\$.*)"
)


def _read_pbkdf2(stored: str) -> StoredHash | None:
    """Read PBKDF2 as ViUR computes it (see `foreign_hashes`)."""
    from authflow.foreign_hashes import read_pbkdf2

    found = read_pbkdf2(stored)
    if found is None:
        return None
    return StoredHash(0, found.digest, found.derive, found.accepts, iterations=found.iterations)


def _read_wrapped(stored: str) -> StoredHash | None:
    """Read bcrypt over a fast hash: its parameters and salt stand at the end, its digest nowhere."""
    from authflow.foreign_hashes import read_pbkdf2

    match = _WRAPPED.fullmatch(stored)
    inner = read_pbkdf2(match["inner"], with_digest=False) if match else None
    if match is None or inner is None:
        return None
    salt, rounds = match["salt"].encode(), int(match["rounds"])

    def compute(secret: bytes) -> bytes:
        return _bcrypt_digest(_keyed(salt, inner.derive(secret)), salt, rounds)

    return StoredHash(rounds, match["digest"].encode(), compute, inner.accepts, iterations=inner.iterations)


FORMATS: Final[Mapping[str, Callable[[str], StoredHash | None]]] = {
    "$bcrypt-sha256$": _read_passlib,
    "$2b$": _read_bcrypt,
    "$2a$": _read_bcrypt,
    "$2y$": _read_bcrypt,
    "$viur-pbkdf2-sha256$": _read_pbkdf2,
    "$authflow-wrapped$": _read_wrapped,
}
"""How a stored hash begins, and what reads it. The one place to add a form that accounts are brought along in."""


# --- Helpers ----------------------------------------------------------------------------------------------------------

_BCRYPT_BASE64: Final = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def _to_bytes(password: str) -> bytes | None:
    """Return what is hashed, or None for what never can have been."""
    # The codec's error carries the whole password and would travel as the cause or context of ours: it ends here.
    try:
        secret = password.encode()
    except UnicodeEncodeError:
        return None
    return secret if len(secret) <= MAX_PASSWORD_BYTES else None


def _hash(secret: bytes, rounds: int) -> str:
    salt = bcrypt.gensalt(rounds)[-22:]
    digest = _bcrypt_digest(_keyed(salt, secret), salt, rounds)
    return f"$bcrypt-sha256$v=2,t=2b,r={rounds}${salt.decode()}${digest.decode()}"


def _wrap(found: Pbkdf2, rounds: int) -> str:
    salt = bcrypt.gensalt(rounds)[-22:]
    digest = _bcrypt_digest(_keyed(salt, found.digest), salt, rounds)
    inner = found.to_text(with_digest=False)
    return f"$authflow-wrapped$v=1,t=2b,r={rounds}${salt.decode()}${digest.decode()}{inner}"


def _read(stored: str | None) -> StoredHash | None:
    if not isinstance(stored, str):
        return None
    for prefix, read in FORMATS.items():
        if stored.startswith(prefix):
            record = read(stored)
            is_bounded = record is not None and (record.rounds == 0 or MIN_ROUNDS <= record.rounds <= MAX_ROUNDS)
            return record if is_bounded else None
    return None


def _from_bcrypt(
    match: re.Match[str],
    prepare: Callable[[bytes, bytes], bytes],
    accepts: Callable[[bytes], bool],
    *,
    is_current: bool = False,
) -> StoredHash:
    salt, rounds = match["salt"].encode(), int(match["rounds"])

    def compute(secret: bytes) -> bytes:
        return _bcrypt_digest(prepare(salt, secret), salt, rounds)

    return StoredHash(rounds, match["digest"].encode(), compute, accepts, is_current)


def _dummy(salt: bytes, rounds: int) -> StoredHash:
    """Make what costs like a stored hash and no password has. The digest is drawn, not computed: that takes no time."""
    digest = "".join(secrets.choice(_BCRYPT_BASE64) for _ in range(31)).encode()
    return StoredHash(rounds, digest, lambda secret: _bcrypt_digest(_keyed(salt, secret), salt, rounds), _accepts_all)


def _bcrypt_digest(secret: bytes, salt: bytes, rounds: int) -> bytes:
    # 2a, 2b and 2y differ in the defects of old implementations only, none of which ours has.
    return bcrypt.hashpw(secret, b"$2b$%02d$%s" % (rounds, salt))[-31:]


def _keyed(salt: bytes, secret: bytes) -> bytes:
    # The salt as key keeps a leaked list of bare SHA-256 digests from being tried against the hash. Base64, since
    # bcrypt implementations stop at a zero byte.
    return base64.b64encode(hmac.digest(salt, secret, "sha256"))


def _unkeyed(salt: bytes, secret: bytes) -> bytes:
    return base64.b64encode(hashlib.sha256(secret).digest())


def _plain(salt: bytes, secret: bytes) -> bytes:
    return secret


def _fits_bcrypt(secret: bytes) -> bool:
    return len(secret) <= 72 and b"\0" not in secret


def _accepts_all(secret: bytes) -> bool:
    return True
