"""Nobody learns by waiting whether a name is known, disabled, unverified or without a password.

Robust thresholds on few samples: they catch a hash that is not computed or a record that is not read, on any machine.
`scripts/explore timing` takes thousands of samples and demands what the threat model does.
"""

from __future__ import annotations

import random
import re
import time

import pytest

from authflow.testing import make_site
from tests.served.timing import (
    ENDPOINTS,
    KINDS,
    Difference,
    HastyUser,
    _names,
    _prepared,
    auc,
    differences,
    sample,
)


async def glance(endpoint: str, **more) -> list[Difference]:  # type: ignore[no-untyped-def]
    """Return what differs at a glance; a first finding must be confirmed by fresh samples."""
    for _ in range(3):
        samples = await sample(endpoint, **more)
        found = [difference for difference in differences(samples, resamples=100) if difference.tells_at_a_glance]
        if not found:
            return []
    return found


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_the_work_of_an_answer_is_the_same_for_every_kind_of_account(endpoint: str) -> None:
    found = await glance(endpoint, count=150, rounds=4)

    assert not found, "\n".join(map(str, found))


@pytest.mark.slow
async def test_a_login_takes_the_same_work_at_the_cost_of_production() -> None:
    found = await glance("login", count=8, rounds=12)

    assert not found, "\n".join(map(str, found))


@pytest.mark.parametrize(("rounds", "count"), [(4, 100), (10, 8)])
async def test_an_answer_without_a_hash_is_noticed(rounds: int, count: int) -> None:
    samples = await sample("login", count=count, rounds=rounds, user=HastyUser())

    found = [difference for difference in differences(samples, resamples=100) if difference.tells_at_a_glance]
    pairs = {frozenset((difference.one, difference.other)) for difference in found}
    assert {frozenset(("known", "unknown")), frozenset(("known", "password-less"))} <= pairs
    assert frozenset(("unknown", "password-less")) not in pairs


def test_a_millisecond_is_noticed() -> None:
    chance = random.Random(3)
    calm = [chance.gauss(0.002, 0.0003) for _ in range(300)]
    slower = [value + 0.001 for value in calm]

    (difference,) = differences({"known": slower, "unknown": calm})

    assert difference.tells_at_a_glance
    assert difference.tells(0.0005)


def test_equal_samples_tell_nothing() -> None:
    chance = random.Random(2)
    one, other = ([chance.gauss(0.2, 0.01) for _ in range(2000)] for _ in range(2))

    (difference,) = differences({"known": one, "unknown": other}, resamples=200)

    assert not difference.tells_at_a_glance
    assert not difference.tells(0.002)


def test_the_share_of_pairs_told_apart_is_counted_rightly() -> None:
    assert auc([1, 2, 3], [4, 5, 6]) == 1.0
    assert auc([1, 2], [1, 2]) == 0.5
    assert auc([1, 3], [2, 4]) == 0.75


@pytest.mark.parametrize("endpoint", ENDPOINTS)
async def test_the_answer_reads_the_same_for_every_kind_of_account(endpoint: str) -> None:
    site = await make_site()
    names = await _names(site)
    answers = {}
    for kind in KINDS:
        person = site.person()
        page = await (await _prepared(endpoint, person, names[kind]))()
        headers = [(name, masked(value)) for name, value in page.headers if name != "content-length"]
        answers[kind] = (page.status, headers, masked(page.text.replace(names[kind], "NAME")))
    await site.app.close()

    assert len({repr(answer) for answer in answers.values()}) == 1


def masked(text: str) -> str:
    """Blank out what is random in every answer: skeys, references of flows, cookies."""
    text = re.sub(r'(name="(?:skey|flow)" value=")[^"]*', r"\1", text)
    return re.sub(r"(authflow_\w+=)[^;]+", r"\1", text)


def test_this_machine_counts_the_time_of_threads() -> None:
    before = time.process_time()
    sum(range(300_000))

    assert time.process_time() > before
