"""Password hashes of other systems, taken apart: what an export says of one, and what it makes of a password.

ViUR hashes by PBKDF2 with HMAC-SHA-256 (RFC 8018, section 5.2): up to 3.3 with 1,001 iterations, later with 600,000,
always 42 bytes. The first 32 are a block of their own, and all that is kept here: the second one adds nothing that an
attacker would have to compute, and doubles the work of the one who judges.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from authflow.errors import BadInput
from authflow.model import Plain

PREFIX: Final = "$viur-pbkdf2-sha256$"

SLOW_ITERATIONS: Final = 600_000
"""From here on a hash is fit to be kept until its owner logs in (OWASP, "Password Storage Cheat Sheet", PBKDF2)."""

MAX_ITERATIONS: Final = 1_000_000
"""A hash that claims more is not computed: judging it would take longer than an unknown name, and tell it from one."""

VIUR_MAX_PASSWORD: Final = 512
"""In characters; ViUR cuts what is longer (`maxPasswordLength`)."""

_BLOCK: Final = 32
_LEAST_DIGEST: Final = 16
_LONGEST_DIGEST: Final = 256
_LONGEST_SALT: Final = 128
_FIRST_ITERATIONS: Final = 1001

_TEXT: Final = re.compile(
    re.escape(PREFIX)
    + r"i=(?P<iterations>[1-9][0-9]{0,7}),l=(?P<length>[1-9][0-9])\$(?P<salt>[A-Za-z0-9+/]{2,172})"
    + r"(?:\$(?P<digest>[A-Za-z0-9+/]{22,43}))?"
)


@dataclass(frozen=True, slots=True)
class Pbkdf2:
    """PBKDF2 with HMAC-SHA-256, its parameters and perhaps its result.

    Attributes:
        length: Bytes of the result that are kept, at most one block.
        digest: What the right password gives; empty inside a wrapped hash, which does not hold it.
    """

    iterations: int
    length: int
    salt: bytes = field(repr=False)
    digest: bytes = field(default=b"", repr=False)

    @property
    def is_slow(self) -> bool:
        """Whether it may be stored as it is. A fast one is only stored within a slow one."""
        return self.iterations >= SLOW_ITERATIONS

    def accepts(self, secret: bytes) -> bool:
        """Tell whether a password is judged by this hash at all.

        One that ViUR would have cut is not: every password with the same beginning would have to do. Nor one with a
        NUL, as HMAC fills up its key with zeros and takes `a` for `a\\0`.
        """
        return b"\0" not in secret and len(secret.decode()) <= VIUR_MAX_PASSWORD

    def derive(self, secret: bytes) -> bytes:
        """Do the work."""
        return hashlib.pbkdf2_hmac("sha256", secret, self.salt, self.iterations, self.length)

    def to_text(self, *, with_digest: bool = True) -> str:
        """Return what is stored: parameters, salt and, unless it is inside a wrapped hash, the digest."""
        text = f"{PREFIX}i={self.iterations},l={self.length}${_encode(self.salt)}"
        return f"{text}${_encode(self.digest)}" if with_digest else text


def read_pbkdf2(text: str, *, with_digest: bool = True) -> Pbkdf2 | None:
    """Read what `Pbkdf2.to_text` wrote, or return None for anything else."""
    match = _TEXT.fullmatch(text)
    if match is None or (match["digest"] is not None) is not with_digest:
        return None
    salt, digest = _decode(match["salt"]), _decode(match["digest"] or "")
    iterations, length = int(match["iterations"]), int(match["length"])
    if salt is None or digest is None or iterations > MAX_ITERATIONS or not _LEAST_DIGEST <= length <= _BLOCK:
        return None
    if with_digest and len(digest) != length:
        return None
    return Pbkdf2(iterations, length, salt, digest)


def from_viur(stored: Mapping[str, Plain]) -> Pbkdf2:
    """Read the value of ViUR's `password` bone.

    Args:
        stored: `pwhash` in hexadecimal, `salt`, and since 3.4 `iterations` and `dklen`.

    Raises:
        BadInput: It is no such value, or its parameters are beyond what is computed. Nothing of it is in the message.
    """
    pwhash, salt = stored.get("pwhash"), stored.get("salt")
    if not isinstance(pwhash, str) or re.fullmatch(r"(?:[0-9A-Fa-f]{2})+", pwhash) is None:
        raise BadInput("password: pwhash is no text of hexadecimal digits")
    digest = bytes.fromhex(pwhash)
    if not _LEAST_DIGEST <= len(digest) <= _LONGEST_DIGEST:
        raise BadInput(f"password: pwhash holds fewer than {_LEAST_DIGEST} bytes, or more than {_LONGEST_DIGEST}")
    if not isinstance(salt, str) or not salt.isprintable() or not 1 <= len(salt.encode()) <= _LONGEST_SALT:
        raise BadInput(f"password: salt is no printable text of 1 to {_LONGEST_SALT} bytes")
    # Hashes from before 3.4 came without the number.
    iterations = _whole(stored, "iterations", _FIRST_ITERATIONS)
    if not 1 <= iterations <= MAX_ITERATIONS:
        raise BadInput(f"password: iterations must be 1 to {MAX_ITERATIONS}")
    if _whole(stored, "dklen", len(digest)) != len(digest):
        raise BadInput("password: pwhash has another length than dklen says")
    digest = digest[:_BLOCK]
    return Pbkdf2(iterations, len(digest), salt.encode(), digest)


def _whole(stored: Mapping[str, Plain], name: str, default: int) -> int:
    value = stored.get(name)
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise BadInput(f"password: {name} is no whole number")
    return value


def _encode(raw: bytes) -> str:
    return base64.b64encode(raw).rstrip(b"=").decode()


def _decode(text: str) -> bytes | None:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        return None
    # One value, one spelling: bits over in the last character must be zero.
    return raw if _encode(raw) == text else None
