"""What ought to be, in other words than the product's: people, their browsers, and what waits in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

MINUTE = timedelta(minutes=1)
UNKNOWN = 0
"""Number of all devices that are not known."""


@dataclass
class App:
    """An authenticator app, with the step whose code was accepted last."""

    secret: bytes
    last_counter: int = -1


@dataclass
class Person:
    """What the model knows of an account."""

    name: str
    account_id: str
    password: str
    is_active: bool = True
    epoch: int = 1
    apps: dict[str, App] = field(default_factory=dict)
    codes: set[str] | None = None
    wrong_passwords: dict[int, list[datetime]] = field(default_factory=dict)
    wrong_codes: list[datetime] = field(default_factory=list)
    in_a_row: int = 0
    locks: int = 0
    locked_until: datetime | None = None
    mailed_at: datetime | None = None

    def has_guessed_out(self, device: int, now: datetime) -> bool:
        return sum(at > now - 15 * MINUTE for at in self.wrong_passwords.get(device, ())) >= 10

    def typed_a_wrong_password(self, device: int, now: datetime) -> None:
        self.wrong_passwords.setdefault(device, []).append(now)

    def is_locked(self, now: datetime) -> bool:
        today = [at for at in self.wrong_codes if at > now - timedelta(days=1)]
        return len(today) >= 20 or (self.locked_until is not None and now < self.locked_until)

    def typed_a_wrong_code(self, now: datetime) -> None:
        self.wrong_codes.append(now)
        self.in_a_row += 1
        if self.in_a_row == 5:
            self.locked_until, self.in_a_row = now + 15 * MINUTE * 2**self.locks, 0
            self.locks += 1

    def typed_a_right_code(self) -> None:
        self.in_a_row, self.locks, self.locked_until = 0, 0, None

    @property
    def factors(self) -> frozenset[str]:
        """What an open step of a login takes."""
        return frozenset({*self.apps, *(("recovery_codes",) if self.codes else ())})


@dataclass
class Pending:
    """A flow that waits: a login for a code, or an app for its first code."""

    who: str
    epoch: int
    deadline: datetime
    accepts: frozenset[str]
    secret: bytes = b""
    rejections: int = 0

    @property
    def is_login(self) -> bool:
        return not self.secret


@dataclass
class Place:
    """A session: in whose name, from when, and what waits in it."""

    created: datetime
    seen: datetime
    cookie_of: str
    who: str = ""
    epoch: int = 0
    authenticated: datetime | None = None
    flows: list[Pending] = field(default_factory=list)

    def is_alive(self, now: datetime) -> bool:
        return now - self.created < timedelta(hours=24) and now - self.seen < timedelta(hours=1)


@dataclass
class Claim:
    """What a browser can show: somebody has logged in from it before."""

    device: int
    epoch: int


@dataclass
class Key:
    """A recovery key that was mailed."""

    token: str
    who: str
    epoch: int
    until: datetime
    is_spent: bool = False
