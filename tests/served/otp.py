"""One-time codes by the letter of RFC 6238 and RFC 4226, without a line of what is tested."""

from __future__ import annotations

import base64
import hmac
import struct
import time


def totp(secret: bytes, at: float | None = None, *, step: int = 0) -> str:
    """Return the six digits that an authenticator app shows.

    Args:
        at: Seconds since 1970; now unless given.
        step: So many times half a minute later.
    """
    counter = int(time.time() if at is None else at) // 30 + step
    mac = hmac.new(secret, struct.pack(">Q", counter), "sha1").digest()
    offset = mac[-1] & 0x0F
    (number,) = struct.unpack(">I", mac[offset : offset + 4])
    return f"{(number & 0x7FFFFFFF) % 1_000_000:06}"


def typed_secret(shown: str) -> bytes:
    """Read the key that an enrolment page shows for typing."""
    text = "".join(shown.split()).upper()
    return base64.b32decode(text + "=" * (-len(text) % 8))


def wrong_code(secret: bytes) -> str:
    """Return six digits that no step near now has."""
    near = {totp(secret, step=step) for step in range(-15, 16)}
    return next(code for code in (f"{n:06}" for n in range(111111, 999999, 7919)) if code not in near)
