"""Whether the time of an answer tells what an account is like: interleaved samples in process, and their statistics.

No network and no other process: what is measured is the application alone, by the processor time that all of its
threads used (which other work on the machine hardly changes) or by the clock on the wall (as an attacker would).
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import combinations
from typing import ClassVar

from authflow.model import Status
from authflow.testing import PASSWORD, Page, Person, Site, make_site
from authflow.throttle import Limits, SlidingWindow
from authflow.user import User
from providers.user_password import UserPassword

KINDS = ("known", "unknown", "disabled", "unverified", "password-less")
ENDPOINTS = ("login", "recover", "resend")

Clock = Callable[[], float]


class MeasuredUser(User):
    """The stock user module, but that a row of a hundred failures locks nobody: thousands are taken here."""

    limits: ClassVar[Limits] = Limits(password_per_name=SlidingWindow(10, timedelta(minutes=15)))


class HastyPassword(UserPassword):
    """What must be caught: it answers at once when there is nothing to verify against."""

    async def answer(self, credential, submission, context):  # type: ignore[no-untyped-def]
        if credential is None:
            from authflow.provider import Rejected

            return Rejected("invalid_credentials")
        return await super().answer(credential, submission, context)


class HastyUser(MeasuredUser):
    authentication_providers = (HastyPassword,)


@dataclass(frozen=True)
class Difference:
    """How two classes of samples differ.

    Attributes:
        gap: Of the medians, in seconds; with the bounds of its 95 % bootstrap interval.
        share: The gap as a part of the smaller median.
        auc: The chance that a random pair of samples is told apart rightly: 0.5 is none, 1 is always.
    """

    one: str
    other: str
    gap: float
    low: float
    high: float
    share: float
    auc: float

    def __str__(self) -> str:
        interval = f"[{self.low * 1e3:+.3f}, {self.high * 1e3:+.3f}]"
        gap = f"gap {self.gap * 1e3:+.3f} ms {interval} ({self.share:.1%})"
        return f"{self.one} / {self.other}: {gap}, AUC {self.auc:.3f}"

    @property
    def tells_at_a_glance(self) -> bool:
        """Whether a few dozen samples give it away: what a forgotten hash does, and no noise."""
        return self.share > 0.15 and abs(self.gap) > 0.0002 and self.auc > 0.8

    def tells(self, allowed_gap: float, allowed_auc: float = 0.53) -> bool:
        """Whether thousands of samples do. A gap whose interval reaches zero tells nothing."""
        is_real = self.low > 0 or self.high < 0
        is_wide = abs(self.gap) > allowed_gap or max(abs(self.low), abs(self.high)) > 0.005
        return is_real and (is_wide or self.auc > allowed_auc)


async def sample(
    endpoint: str,
    *,
    count: int,
    rounds: int,
    user: User | None = None,
    clock: Clock = time.process_time,
    told: Callable[[int], None] = lambda number: None,
) -> dict[str, list[float]]:
    """Take samples of one endpoint, in rounds of one of each kind in an order drawn anew.

    Args:
        count: Of each kind.
        rounds: bcrypt's cost.
        told: Called with the number of each finished round.

    Returns:
        Seconds by kind.
    """
    site = await make_site(user or MeasuredUser(), rounds=rounds)
    try:
        names = await _names(site)
        samples: dict[str, list[float]] = {kind: [] for kind in KINDS}
        kinds = list(KINDS)
        addresses = _addresses()
        warm_up = min(3, max(1, count // 8))
        for number in range(count + warm_up):
            # So that no limit is ever reached.
            site.clock.pass_by(timedelta(minutes=16))
            random.shuffle(kinds)
            for kind in kinds:
                person = site.person(address=next(addresses))
                send = await _prepared(endpoint, person, names[kind])
                began = clock()
                page = await send()
                seconds = clock() - began
                _demand_uniform(endpoint, kind, page)
                if number >= warm_up:
                    samples[kind].append(seconds)
            told(number + 1 - warm_up)
        return samples
    finally:
        await site.app.close()


def differences(samples: dict[str, list[float]], *, resamples: int = 1000) -> list[Difference]:
    """Compare every pair of kinds."""
    found = []
    chance = random.Random(1)
    for one, other in combinations(samples, 2):
        a, b = samples[one], samples[other]
        gap = statistics.median(a) - statistics.median(b)
        gaps = sorted(
            statistics.median(chance.choices(a, k=len(a))) - statistics.median(chance.choices(b, k=len(b)))
            for _ in range(resamples)
        )
        low, high = gaps[int(resamples * 0.025)], gaps[int(resamples * 0.975) - 1]
        smaller = min(statistics.median(a), statistics.median(b))
        found.append(Difference(one, other, gap, low, high, abs(gap) / smaller, auc(a, b)))
    return found


def auc(one: Sequence[float], other: Sequence[float]) -> float:
    """Return how well the two are told apart by their size: Mann and Whitney's U as a share, at least one half."""
    ranked = sorted([(value, 0) for value in one] + [(value, 1) for value in other])
    rank_sum, position = 0.0, 0
    while position < len(ranked):
        end = position
        while end < len(ranked) and ranked[end][0] == ranked[position][0]:
            end += 1
        rank = (position + end + 1) / 2  # of all that are equal
        rank_sum += rank * sum(1 for _, side in ranked[position:end] if side == 0)
        position = end
    u = rank_sum - len(one) * (len(one) + 1) / 2
    share = u / (len(one) * len(other))
    return max(share, 1 - share)


async def _names(site: Site) -> dict[str, str]:
    await site.account("known@example.org")
    await site.account("disabled@example.org", status=Status.DISABLED)
    await site.account("unverified@example.org", status=Status.WAITING_FOR_EMAIL_VERIFICATION)
    await site.account("wordless@example.org", password=None)
    names = {kind: f"{kind}@example.org" for kind in KINDS}
    return names | {"password-less": "wordless@example.org", "unknown": "nobody77@example.org"}


async def _prepared(endpoint: str, person: Person, name: str) -> Callable[[], Awaitable[Page]]:
    """Open the page, fill in its form, and return what sends it."""
    base = "/user/auth_userpassword"
    match endpoint:
        case "login":
            form, typed = (await person.get("/user/login")).form("login"), {"password": PASSWORD[::-1]}
        case "recover":
            form, typed = (await person.get(f"{base}/pwrecover")).form("pwrecover"), {}
        case _:
            form, typed = (await person.get(f"{base}/resend")).form("resend"), {}

    async def send() -> Page:
        return await person.send(form, name=name, **typed)

    return send


def _demand_uniform(endpoint: str, kind: str, page: Page) -> None:
    expected = 303 if endpoint == "recover" else 200
    if page.status != expected:
        raise AssertionError(f"{endpoint}, {kind}: {page.status} {page.text[:500]}")


def _addresses() -> Iterator[str]:
    number = 0
    while True:
        number += 1
        yield f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
