"""Attempt budgets. A limit is a pure rule over a small bag of plain values; a bucket is that bag in the store.

Keys of buckets are keyed digests, so that a copy of the store names nobody, and unknown names use the same keys as
known ones. Exact buckets are written, guarded, by every submission that they could have refused, right or wrong; only
failures raise them. At the limit a submission is refused from the read and writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeAlias

from authflow.errors import TooManyAttempts
from authflow.model import Plain, from_instant, to_instant
from authflow.store.protocol import Insert, Key, Put, Record, Update, Write
from authflow.tokens import Keyring

KIND = "bucket"

State: TypeAlias = Mapping[str, Any]


class Limit(Protocol):
    """A rule that says when the next attempt is allowed."""

    @property
    def lifetime(self) -> timedelta: ...

    def wait(self, state: State, now: datetime) -> timedelta | None:
        """Return how long the next attempt must wait, or None if it may be judged now."""

    def room(self, state: State, now: datetime) -> int:
        """Return how many attempts may be judged before the limit is reached."""

    def after_failure(self, state: State, now: datetime) -> dict[str, Plain]: ...

    def after_success(self, state: State, now: datetime) -> dict[str, Plain]: ...


@dataclass(frozen=True, slots=True)
class SlidingWindow:
    """At most `count` failures in any `window`, and at most `in_a_row` without a success between them.

    The exact instants are kept, so no boundary (midnight, a slot's edge) gives an attempt away.
    """

    count: int
    window: timedelta
    in_a_row: int | None = None

    @property
    def lifetime(self) -> timedelta:
        # A row of failures ends by a success or by the owner, not by waiting a window (NIST SP 800-63B, 5.2.2).
        return self.window if self.in_a_row is None else timedelta(days=30)

    def wait(self, state: State, now: datetime) -> timedelta | None:
        if self.in_a_row is not None and state.get("row", 0) >= self.in_a_row:
            return timedelta(days=1)
        recent = self._recent(state, now)
        if len(recent) < self.count:
            return None
        return max(to_instant(recent[-self.count]) + self.window - now, timedelta(seconds=1))

    def room(self, state: State, now: datetime) -> int:
        room = self.count - len(self._recent(state, now))
        if self.in_a_row is not None:
            room = min(room, self.in_a_row - state.get("row", 0))
        return max(room, 0)

    def after_failure(self, state: State, now: datetime) -> dict[str, Plain]:
        failures: list[Plain] = [*self._recent(state, now), from_instant(now)]
        return {"failures": failures[-self.count :], "row": state.get("row", 0) + 1}

    def after_success(self, state: State, now: datetime) -> dict[str, Plain]:
        return {"failures": list(self._recent(state, now)), "row": 0}

    def _recent(self, state: State, now: datetime) -> list[int]:
        # A failure that seems to lie in the future (clocks differ) counts: a step back must not widen the limit.
        since = _earlier(now, self.window)
        return [at for at in state.get("failures", ()) if at > since]


@dataclass(frozen=True, slots=True)
class Escalating:
    """`count` failures, then a lock of `first_lock` that doubles each time, and never more than `per_day` in a day."""

    count: int
    first_lock: timedelta
    per_day: int

    @property
    def lifetime(self) -> timedelta:
        return timedelta(days=30)

    def wait(self, state: State, now: datetime) -> timedelta | None:
        until = state.get("locked_until", 0)
        waits = [to_instant(until) - now] if until else []
        today = self._today(state, now)
        if len(today) >= self.per_day:
            waits.append(to_instant(today[-self.per_day]) + timedelta(days=1) - now)
        longest = max(waits, default=timedelta(0))
        return longest if longest > timedelta(0) else None

    def room(self, state: State, now: datetime) -> int:
        failures: int = state.get("failures", 0)
        return max(min(self.count - failures, self.per_day - len(self._today(state, now))), 0)

    def after_failure(self, state: State, now: datetime) -> dict[str, Plain]:
        failures, stage = state.get("failures", 0) + 1, state.get("stage", 0)
        locked_until = state.get("locked_until", 0)
        if failures >= self.count:
            # The stage outlives the lock: waiting it out gives no fresh start, only a success does.
            locked_until = _earlier(now, -self.first_lock * 2 ** min(stage, 10))
            failures, stage = 0, stage + 1
        today: list[Plain] = [*self._today(state, now), from_instant(now)]
        return {"failures": failures, "stage": stage, "locked_until": locked_until, "today": today[-self.per_day :]}

    def after_success(self, state: State, now: datetime) -> dict[str, Plain]:
        # The day's failures stay: the owner's logins must not hand an attacker fresh guesses.
        return {"failures": 0, "stage": 0, "locked_until": 0, "today": list(self._today(state, now))}

    def _today(self, state: State, now: datetime) -> list[int]:
        since = _earlier(now, timedelta(days=1))
        return [at for at in state.get("today", ()) if at > since]


def _earlier(now: datetime, span: timedelta) -> int:
    # Reckoned in microseconds: with a local time, `datetime` reckons by the wall clock and jumps an hour twice a year.
    return from_instant(now) - span // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits in force. An application replaces them by `User.limits = Limits(...)`."""

    password_per_name: Limit = SlidingWindow(10, timedelta(minutes=15), in_a_row=100)
    password_per_client: Limit = SlidingWindow(30, timedelta(minutes=15))
    second_factor_per_account: Limit = Escalating(5, timedelta(minutes=15), per_day=20)
    recovery_per_client: Limit = SlidingWindow(10, timedelta(minutes=15))
    recovery_mail_per_name: Limit = SlidingWindow(1, timedelta(minutes=15))
    registration_mail_per_name: Limit = SlidingWindow(4, timedelta(minutes=15))
    message_per_account: Limit = SlidingWindow(10, timedelta(minutes=15))
    registration_per_client: Limit = SlidingWindow(10, timedelta(hours=1))


def bucket_key(keyring: Keyring, limit: str, who: str) -> Key:
    """Return where the bucket of a limit lies for one name, account, client or device."""
    return Key(KIND, keyring.mac_text("bucket", f"{limit}:{who}"))


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket as it was read.

    Attributes:
        is_exact: Written guarded by every submission. Otherwise it is approximate: failures raise it unguarded, so
            that neighbours behind one address do not wait for each other, and successes leave it alone.
    """

    key: Key
    limit: Limit
    record: Record | None
    is_exact: bool = True

    @property
    def state(self) -> State:
        return {} if self.record is None else self.record.data

    def demand(self, now: datetime) -> None:
        """Refuse when the limit is reached.

        Raises:
            TooManyAttempts: With the time to wait.
        """
        wait = self.limit.wait(self._state(now), now)
        if wait is not None:
            raise TooManyAttempts(wait)

    def room(self, now: datetime) -> int:
        return self.limit.room(self._state(now), now)

    def failed(self, now: datetime) -> Write:
        return self._write(self.limit.after_failure(self._state(now), now), now)

    def succeeded(self, now: datetime) -> tuple[Write, ...]:
        return (self._write(self.limit.after_success(self._state(now), now), now),) if self.is_exact else ()

    def _state(self, now: datetime) -> State:
        # What has expired means nothing, swept or not: the longest lock ends even where no sweep ever runs.
        has_expired = self.record is not None and self.record.expires_at is not None and self.record.expires_at <= now
        return {} if has_expired else self.state

    def _write(self, state: dict[str, Plain], now: datetime) -> Write:
        expires_at = now + self.limit.lifetime
        if not self.is_exact:
            return Put(self.key, state, expires_at)
        if self.record is None:
            return Insert(self.key, state, expires_at)
        return Update(self.key, state, self.record.version, expires_at)


@dataclass(slots=True)
class Admission:
    """How many verifications run in this process per bucket: never more at once than could still be counted."""

    _running: dict[Key, int] = field(default_factory=dict)

    @contextmanager
    def enter(self, *buckets: Bucket, now: datetime) -> Iterator[None]:
        """Take a place in each bucket for as long as the verification runs.

        Raises:
            TooManyAttempts: As many run already as the limit leaves room for.
        """
        for bucket in buckets:
            if self._running.get(bucket.key, 0) >= bucket.room(now):
                raise TooManyAttempts(timedelta(seconds=1), "too many verifications of one bucket in flight")
        for bucket in buckets:
            self._running[bucket.key] = self._running.get(bucket.key, 0) + 1
        try:
            yield
        finally:
            for bucket in buckets:
                left = self._running[bucket.key] - 1
                if left:
                    self._running[bucket.key] = left
                else:
                    del self._running[bucket.key]
