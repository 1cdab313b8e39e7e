"""Reading the public keys that an issuer publishes as a JSON Web Key Set (RFC 7517, RFC 7518 section 6).

The door to cryptography's public-key half, imported with the first key that is read. A key is used for the one
algorithm it was looked for, and only if it is of the kind and strength that this algorithm demands: what a key says of
itself can rule it out, and never let it in.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from authflow.errors import FetchFailed
from authflow.model import Plain

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

KEY_TYPES: Mapping[str, str] = {"RS256": "RSA", "ES256": "EC"}
"""The algorithms that are known, and the type of key each takes (RFC 7518, sections 3.3 and 3.4)."""

LEAST_BITS, MOST_BITS = 2048, 8192
"""Of an RSA modulus. RFC 7518 (3.3) demands the least; beyond the most a check takes longer than an answer may."""

_BASE64URL = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)
# RFC 7518, sections 6.2.2, 6.3.2 and 6.4: what belongs to private keys and shared secrets.
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_LEAST_EXPONENT, _MOST_EXPONENT = 65537, 2**64
_COORDINATE = 32  # octets of P-256


class Verifier(Protocol):
    """A public key with the algorithm it is used for."""

    def verify(self, message: bytes, signature: bytes) -> bool: ...


def is_key_set(published: Mapping[str, Plain]) -> bool:
    """Whether what an issuer publishes is a key set that holds something, whatever its keys are."""
    return bool(_entries(published))


def find_key(published: Mapping[str, Plain], kid: str, algorithm: str) -> Mapping[str, Plain] | None:
    """Return the key of an id that is for signatures of an algorithm, or None.

    Keys of other types, uses and algorithms are passed over, as RFC 7517 (5) says: also where they have the same id.

    Raises:
        FetchFailed: Several fit, so that nothing says which one is meant.
    """
    found = [key for key in _entries(published) or () if key.get("kid") == kid and _is_for(key, algorithm)]
    if len(found) > 1:
        raise FetchFailed("the issuer publishes two keys of one id")
    return found[0] if found else None


def read_key(key: Mapping[str, Plain], algorithm: str) -> Verifier:
    """Take a key apart. Called in a thread: the first call imports the library.

    Raises:
        ValueError: It cannot be read, is too weak for the algorithm, or holds what must be kept secret.
    """
    if not _PRIVATE.isdisjoint(key):
        # Whoever reads the key set could sign with it.
        raise ValueError("a published key that is not public")
    return _read_rsa(key) if algorithm == "RS256" else _read_p256(key)


# --- Key sets ---------------------------------------------------------------------------------------------------------


def _entries(published: Mapping[str, Plain]) -> Sequence[Mapping[str, Plain]]:
    keys = published.get("keys")
    if not isinstance(keys, list):
        return ()
    entries = [key for key in keys if isinstance(key, Mapping)]
    return entries if len(entries) == len(keys) else ()


def _is_for(key: Mapping[str, Plain], algorithm: str) -> bool:
    operations = key.get("key_ops", ["verify"])
    return (
        key.get("kty") == KEY_TYPES[algorithm]
        and key.get("use", "sig") == "sig"
        and key.get("alg", algorithm) == algorithm
        and isinstance(operations, list)
        and "verify" in operations
    )


def _octets(key: Mapping[str, Plain], name: str) -> bytes:
    text = key.get(name)
    if not isinstance(text, str) or len(text) > MOST_BITS // 4 or not _BASE64URL.fullmatch(text):
        raise ValueError(f"{name} is not base64url")
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        raise ValueError(f"{name} is not base64url")
    return raw


# --- Keys -------------------------------------------------------------------------------------------------------------


class _Rsa:
    def __init__(self, key: RSAPublicKey) -> None:
        self._key = key

    def verify(self, message: bytes, signature: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding

        try:
            self._key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        except InvalidSignature:
            return False
        return True


class _P256:
    def __init__(self, key: EllipticCurvePublicKey) -> None:
        self._key = key

    def verify(self, message: bytes, signature: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

        # RFC 7518, section 3.4: two numbers of full length one behind the other, not ASN.1.
        if len(signature) != 2 * _COORDINATE:
            return False
        r, s = (int.from_bytes(part, "big") for part in (signature[:_COORDINATE], signature[_COORDINATE:]))
        try:
            self._key.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


def _read_rsa(key: Mapping[str, Plain]) -> Verifier:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

    modulus, exponent = (int.from_bytes(_octets(key, name), "big") for name in ("n", "e"))
    if not LEAST_BITS <= modulus.bit_length() <= MOST_BITS or modulus % 2 == 0:
        raise ValueError("a modulus of the wrong size")
    # A small exponent forgives mistakes in the padding; NIST SP 800-56B, section 6.2, demands this least one.
    if not _LEAST_EXPONENT <= exponent < _MOST_EXPONENT or exponent % 2 == 0:
        raise ValueError("an exponent of the wrong size")
    return _Rsa(RSAPublicNumbers(exponent, modulus).public_key())


def _read_p256(key: Mapping[str, Plain]) -> Verifier:
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicNumbers

    x, y = _octets(key, "x"), _octets(key, "y")
    # RFC 7518, section 6.2.1.2: in full length.
    if key.get("crv") != "P-256" or len(x) != _COORDINATE or len(y) != _COORDINATE:
        raise ValueError("not a point of P-256")
    numbers = EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), SECP256R1())
    return _P256(numbers.public_key())  # refuses what is not on the curve
