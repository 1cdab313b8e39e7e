"""Keys and what is made with them: signed texts, keyed digests, encrypted notes. The one door to itsdangerous.

One list of master keys, newest first. For each purpose a key is derived (HKDF, RFC 5869), so that nothing signed for
one purpose is good for another. Signing and encrypting use the newest key; verifying and decrypting try all of them.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Sequence
from functools import cached_property, lru_cache
from hashlib import sha256

from itsdangerous import BadSignature, Signer
from itsdangerous.signer import SigningAlgorithm

from authflow.errors import ConfigurationError, RequestError

SECRET_BYTES = 32
"""Bytes of every session secret, ticket and token secret: 256 bits."""


class BadToken(RequestError):
    """A token is forged, cut, of another purpose or made with keys we no longer have."""

    code = "token_invalid"
    status = 412


def new_secret() -> str:
    """Return 256 random bits as URL-safe text (43 characters)."""
    return secrets.token_urlsafe(SECRET_BYTES)


def new_id() -> str:
    """Return 128 random bits as URL-safe text (22 characters): ids of accounts, flows, events."""
    return secrets.token_urlsafe(16)


def digest(secret: str) -> str:
    """Return the SHA-256 of a secret as hexadecimal text: what the store knows of it."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def hkdf_sha256(master: bytes, *, info: bytes, length: int = 32, salt: bytes = b"") -> bytes:
    """Derive a key by HKDF-SHA-256 (RFC 5869, extract and expand)."""
    key = hmac.digest(salt or bytes(32), master, "sha256")
    block, output = b"", b""
    for counter in range(1, -(-length // 32) + 1):
        block = hmac.digest(key, block + info + bytes([counter]), "sha256")
        output += block
    return output[:length]


class Keyring:
    """Purpose keys of the master keys.

    Args:
        masters: Newest first, each at least 32 characters of high-entropy text.

    Raises:
        ConfigurationError: There is no key, or one is too short.
    """

    def __init__(self, masters: Sequence[str]) -> None:
        if not masters or any(len(master) < 32 for master in masters):
            raise ConfigurationError("AUTHFLOW_SECRET_KEYS: at least one key of at least 32 characters is needed")
        self._masters = tuple(master.encode() for master in masters)
        self.keys = lru_cache(maxsize=64)(self._derive)

    def __repr__(self) -> str:
        return f"Keyring({len(self._masters)} keys)"

    def _derive(self, purpose: str) -> tuple[bytes, ...]:
        return tuple(hkdf_sha256(master, info=b"authflow:" + purpose.encode()) for master in self._masters)

    def mac(self, purpose: str, message: bytes) -> bytes:
        """Return the keyed digest (HMAC-SHA-256) of a message, made with the newest key."""
        return hmac.digest(self.keys(purpose)[0], message, "sha256")

    def macs(self, purpose: str, message: bytes) -> tuple[bytes, ...]:
        """Return the keyed digest made with each key, the newest first."""
        return tuple(hmac.digest(key, message, "sha256") for key in self.keys(purpose))

    def mac_text(self, purpose: str, message: str) -> str:
        """Return the keyed digest as URL-safe text, for keys of records and for derived tokens."""
        return encode(self.mac(purpose, message.encode("utf-8", "surrogatepass")))

    def signer(self, purpose: str) -> SignedText:
        """Return the signer of a purpose; make it once and keep it."""
        return SignedText(self.keys(purpose))

    # --- Encryption (AES-256-GCM, NIST SP 800-38D) --------------------------------------------------------------------

    def encrypt(self, purpose: str, plain: bytes, *, context: str) -> str:
        """Encrypt with the newest key.

        Args:
            plain: What must stay secret.
            context: Where it belongs, such as the record's name; needed again to decrypt.

        Returns:
            Text of key id, nonce and ciphertext.
        """
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        key = self.keys(purpose)[0]
        nonce = secrets.token_bytes(12)
        return key_id(key) + "." + encode(nonce + AESGCM(key).encrypt(nonce, plain, context.encode()))

    def decrypt(self, purpose: str, text: str, *, context: str) -> bytes:
        """Decrypt what `encrypt` made.

        Raises:
            BadToken: It was changed, belongs elsewhere, or its key is gone.
        """
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        name, _, rest = text.partition(".")
        for key in self.keys(purpose):
            if key_id(key) == name:
                try:
                    raw = decode(rest)
                    return AESGCM(key).decrypt(raw[:12], raw[12:], context.encode())
                except (InvalidTag, ValueError) as error:
                    raise BadToken("ciphertext does not verify") from error
        raise BadToken("no key for this ciphertext")

    def is_newest(self, purpose: str, text: str) -> bool:
        """Whether a ciphertext was made with the newest key."""
        return text.partition(".")[0] == key_id(self.keys(purpose)[0])

    @cached_property
    def key_count(self) -> int:
        return len(self._masters)


class _HmacSha256(SigningAlgorithm):
    """HMAC-SHA-256 in one call of the C library, which costs a third of what an `hmac` object does."""

    def get_signature(self, key: bytes, value: bytes) -> bytes:
        return hmac.digest(key, value, "sha256")


class SignedText:
    """Short texts with a signature (HMAC-SHA-256 by itsdangerous). Carries no age: that lives in the record or text."""

    def __init__(self, keys: Sequence[bytes]) -> None:
        # itsdangerous takes the newest key last.
        # The keys are derived already, each for one purpose: once more at every call would add nothing.
        self._signer = Signer(list(reversed(keys)), key_derivation="none", algorithm=_HmacSha256())

    def sign(self, text: str) -> str:
        return self._signer.sign(text).decode()

    def unsign(self, signed: str) -> str | None:
        """Return the text, or None for anything that we did not sign."""
        try:
            return self._signer.unsign(signed).decode()
        except (BadSignature, UnicodeError):
            return None


def key_id(key: bytes) -> str:
    """Return the short public name of a purpose key."""
    return sha256(b"authflow key id:" + key).hexdigest()[:8]


def encode(raw: bytes) -> str:
    """Return URL-safe base64 without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Read URL-safe base64 without padding.

    Raises:
        ValueError: The text is no base64.
    """
    return base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
