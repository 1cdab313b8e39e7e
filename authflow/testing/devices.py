"""Authenticator apps and hardware tokens, with clocks that go wrong.

Codes by the letter of RFC 4226 and RFC 6238, without a line of what is tested.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Self
from urllib.parse import parse_qs, urlsplit

_DAY = timedelta(days=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def hotp(secret: bytes, counter: int, *, digits: int = 6, algorithm: str = "SHA1") -> str:
    """Return the code of a counter (RFC 4226, section 5.3)."""
    mac = hmac.new(secret, struct.pack(">Q", counter), getattr(hashlib, algorithm.lower())).digest()
    offset = mac[-1] & 0x0F
    (number,) = struct.unpack(">I", mac[offset : offset + 4])
    return f"{(number & 0x7FFFFFFF) % 10**digits:0{digits}}"


def totp(secret: bytes, at: float | None = None, *, step: int = 0) -> str:
    """Return the six digits that an ordinary authenticator app shows.

    Args:
        at: Seconds since 1970; now unless given.
        step: So many times half a minute later.
    """
    return hotp(secret, int(time.time() if at is None else at) // 30 + step)


def typed_secret(shown: str) -> bytes:
    """Read the key that an enrolment page shows for typing."""
    text = "".join(shown.split()).upper()
    return base64.b32decode(text + "=" * (-len(text) % 8))


def wrong_code(secret: bytes, at: float | None = None) -> str:
    """Return six digits that no step near now has."""
    near = {totp(secret, at, step=step) for step in range(-15, 16)}
    return next(code for code in (f"{n:06}" for n in range(111111, 999999, 7919)) if code not in near)


def _system_clock() -> datetime:
    return datetime.now(UTC)


@dataclass
class Authenticator:
    """An authenticator app, or a token with a display, that has a clock of its own.

    Attributes:
        clock: The true time; the system's unless given.
        interval, digits, algorithm: What its code is made by.
        is_fast_by: How far its clock is ahead; negative where it is behind.
        drift_per_day: How much further it goes wrong each day that passes.
    """

    secret: bytes = field(repr=False)
    clock: Callable[[], datetime] = _system_clock
    interval: int = 30
    digits: int = 6
    algorithm: str = "SHA1"
    is_fast_by: timedelta = timedelta(0)
    drift_per_day: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        self._set_at = self.clock()

    @classmethod
    def scanned(cls, uri: str, clock: Callable[[], datetime] = _system_clock) -> Self:
        """Scan a QR code: read the `otpauth://totp/` address in it.

        Raises:
            ValueError: It is not such an address.
        """
        parts = urlsplit(uri)
        if (parts.scheme, parts.netloc) != ("otpauth", "totp"):
            raise ValueError("not an otpauth://totp/ address")
        values = {name: found[0] for name, found in parse_qs(parts.query).items()}
        return cls(
            typed_secret(values["secret"]),
            clock,
            interval=int(values.get("period", 30)),
            digits=int(values.get("digits", 6)),
            algorithm=values.get("algorithm", "SHA1"),
        )

    @classmethod
    def typed(cls, shown: str, clock: Callable[[], datetime] = _system_clock) -> Self:
        """Type in the key that a page shows."""
        return cls(typed_secret(shown), clock)

    @property
    def now(self) -> datetime:
        """What its own clock says."""
        true = self.clock()
        return true + self.is_fast_by + self.drift_per_day * ((true - self._set_at) / _DAY)

    @property
    def counter(self) -> int:
        """The number of its present time step."""
        return math.floor((self.now - _EPOCH) / timedelta(seconds=self.interval))

    def code(self, step: int = 0) -> str:
        """Return what it shows now, or so many of its steps later."""
        return hotp(self.secret, self.counter + step, digits=self.digits, algorithm=self.algorithm)

    def wrong_code(self) -> str:
        """Return a code that it shows at no time near now."""
        near = {self.code(step) for step in range(-25, 26)}
        candidates = (f"{number:0{self.digits}}" for number in range(1, 10**self.digits, 7919))
        return next(code for code in candidates if code not in near)

    def resync(self) -> None:
        """Set its clock, as a phone does when it finds its network; it goes wrong anew from now on."""
        self._set_at, self.is_fast_by = self.clock(), timedelta(0)


@dataclass
class ButtonToken:
    """A token that counts how often its button was pressed (RFC 4226). Presses that nobody typed put it ahead."""

    secret: bytes = field(repr=False)
    counter: int = 0
    digits: int = 6

    def press(self, times: int = 1) -> str:
        """Press the button, perhaps several times; return the last code shown."""
        self.counter += times
        return hotp(self.secret, self.counter - 1, digits=self.digits)
