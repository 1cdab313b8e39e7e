"""Attempt budgets: windows without edges, locks that grow, buckets that guard, and clocks that lie."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authflow.errors import TooManyAttempts
from authflow.store.protocol import Insert, Key, Put, Record, Update
from authflow.throttle import Admission, Bucket, Escalating, Limit, Limits, SlidingWindow, bucket_key
from authflow.tokens import Keyring

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
WINDOW = SlidingWindow(10, 15 * MINUTE, in_a_row=100)
OTP = Escalating(5, 15 * MINUTE, per_day=20)
KEY = Key("bucket", "k")


def failed(limit: Limit, *moments: datetime, state: Mapping = {}) -> Mapping:
    for moment in moments:
        state = limit.after_failure(state, moment)
    return state


def every(step: timedelta, count: int, since: datetime = NOW) -> list[datetime]:
    return [since + step * n for n in range(count)]


# --- Sliding window ---------------------------------------------------------------------------------------------------


def test_the_tenth_failure_closes_the_window_until_the_first_is_old() -> None:
    state = failed(WINDOW, *every(MINUTE, 9))
    assert WINDOW.wait(state, NOW + 9 * MINUTE) is None
    state = failed(WINDOW, NOW + 9 * MINUTE, state=state)

    assert WINDOW.wait(state, NOW + 10 * MINUTE) == 5 * MINUTE
    assert WINDOW.wait(state, NOW + 15 * MINUTE) is None


@pytest.mark.parametrize(
    "edge",
    [
        datetime(2026, 3, 2, 0, 0, tzinfo=UTC),
        datetime(2027, 1, 1, 0, 0, tzinfo=UTC),
        datetime(2028, 2, 29, 0, 0, tzinfo=UTC),
        datetime(1970, 1, 1, 0, 0, tzinfo=UTC),
        datetime(2026, 3, 29, 3, 0, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2026, 10, 25, 2, 0, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2026, 10, 25, 2, 0, tzinfo=ZoneInfo("Europe/Berlin"), fold=1),
    ],
    ids=str,
)
@pytest.mark.parametrize(("limit", "count"), [(WINDOW, 10), (OTP, 5)])
def test_no_edge_of_the_calendar_gives_an_attempt_away(edge: datetime, limit: Limit, count: int) -> None:
    before = edge.astimezone(UTC) - MINUTE
    state = failed(limit, *[before.astimezone(edge.tzinfo)] * count)

    for seconds in (0, 59, 60, 61, 600):
        assert limit.wait(state, (before + timedelta(seconds=seconds)).astimezone(edge.tzinfo)) is not None
    assert limit.wait(state, (before + 15 * MINUTE).astimezone(edge.tzinfo)) is None


@pytest.mark.parametrize(("limit", "count"), [(WINDOW, 10), (OTP, 5)])
def test_a_clock_that_steps_back_widens_nothing(limit: Limit, count: int) -> None:
    state = failed(limit, *[NOW] * count)

    assert limit.wait(state, NOW - timedelta(hours=1)) == 75 * MINUTE
    assert limit.room(failed(limit, NOW, NOW), NOW - timedelta(hours=1)) == count - 2


def test_a_success_ends_the_row_and_leaves_the_window_as_it_was() -> None:
    state = WINDOW.after_success(failed(WINDOW, *[NOW] * 9), NOW)

    assert state["row"] == 0
    assert WINDOW.room(state, NOW) == 1


def test_a_hundred_in_a_row_stay_closed_and_the_last_places_count() -> None:
    state = failed(WINDOW, *every(timedelta(hours=1), 99))
    later = NOW + timedelta(hours=200)

    assert WINDOW.wait(state, later) is None
    assert WINDOW.room(state, later) == 1, "not ten at once when one more is the last"
    assert WINDOW.wait(failed(WINDOW, later, state=state), later + timedelta(days=300)) is not None


# --- Locks that grow --------------------------------------------------------------------------------------------------


def test_each_lock_is_twice_as_long_and_waiting_it_out_gives_no_fresh_start() -> None:
    state, now, locks = {}, NOW, []
    for _ in range(4):
        state = failed(OTP, *[now] * 5, state=state)
        locks.append(timedelta(microseconds=state["locked_until"]) - (now - datetime(1970, 1, 1, tzinfo=UTC)))
        now += timedelta(days=2)

    assert locks == [15 * MINUTE, 30 * MINUTE, 60 * MINUTE, 120 * MINUTE]


def test_the_lock_stops_growing_after_ten_days() -> None:
    state, now = {}, NOW
    for _ in range(30):
        state = failed(OTP, *[now] * 5, state=state)
        wait = OTP.wait(state, now)
        now += wait + timedelta(days=1)

    assert wait == 15 * MINUTE * 1024
    assert wait < OTP.lifetime, "the record outlives its lock"


def test_twenty_failures_are_all_of_a_day() -> None:
    limit = Escalating(100, MINUTE, per_day=20)
    state = failed(limit, *every(MINUTE, 20))

    assert limit.wait(state, NOW + 20 * MINUTE) == timedelta(days=1) - 20 * MINUTE
    assert limit.room(state, NOW + 20 * MINUTE) == 0
    assert limit.wait(state, NOW + timedelta(days=1)) is None
    assert limit.room(state, NOW + timedelta(days=1)) == 1


def test_a_success_lifts_the_lock_but_not_what_the_day_has_seen() -> None:
    state = OTP.after_success(failed(OTP, *[NOW] * 5), NOW)

    assert (state["failures"], state["stage"], OTP.wait(state, NOW)) == (0, 0, None)
    for _ in range(3):
        state = OTP.after_success(failed(OTP, *[NOW] * 5, state=state), NOW)
    assert OTP.wait(state, NOW) == timedelta(days=1)


# --- By simulation ----------------------------------------------------------------------------------------------------

gaps = st.lists(st.integers(0, 1200), min_size=1, max_size=80)


@given(gaps, st.lists(st.integers(0, 3600), min_size=80, max_size=80))
def test_no_window_ever_holds_more_failures_than_the_limit(gaps: list[int], steps: list[int]) -> None:
    limit, state, real, lag, judged = SlidingWindow(4, 15 * MINUTE), {}, NOW, timedelta(0), []
    for gap, step in zip(gaps, steps, strict=False):
        real += timedelta(seconds=gap)
        lag += timedelta(seconds=step) if step % 5 == 0 else timedelta(0)
        if limit.wait(state, real - lag) is None:
            judged.append(real)
            state = limit.after_failure(state, real - lag)

    for first in judged:
        assert sum(first <= moment < first + limit.window for moment in judged) <= limit.count


@given(gaps, st.lists(st.booleans(), min_size=80, max_size=80))
def test_no_day_ever_holds_more_codes_than_its_limit(gaps: list[int], rights: list[bool]) -> None:
    limit, state, now, judged = Escalating(3, 5 * MINUTE, per_day=7), {}, NOW, []
    for gap, is_right in zip(gaps, rights, strict=False):
        now += timedelta(seconds=gap * 10)
        if limit.wait(state, now) is not None:
            continue
        if is_right and gap % 3 == 0:
            state = limit.after_success(state, now)
        else:
            judged.append(now)
            state = limit.after_failure(state, now)

    for first in judged:
        assert sum(first <= moment < first + timedelta(days=1) for moment in judged) <= limit.per_day


@given(gaps)
def test_a_wait_that_was_announced_is_long_enough(gaps: list[int]) -> None:
    for limit in (SlidingWindow(3, 15 * MINUTE), Escalating(3, 5 * MINUTE, per_day=7)):
        state, now = {}, NOW
        for gap in gaps:
            now += timedelta(seconds=gap)
            wait = limit.wait(state, now)
            if wait is not None:
                assert wait > timedelta(0)
                assert limit.room(state, now) == 0 or isinstance(limit, Escalating)
                assert limit.wait(state, now + wait) is None
                now += wait
            state = limit.after_failure(state, now)


# --- Buckets ----------------------------------------------------------------------------------------------------------


def bucket(data: dict | None = None, *, is_exact: bool = True, expires_at: datetime | None = None) -> Bucket:
    record = None if data is None else Record(KEY, data, 7, expires_at)
    return Bucket(KEY, WINDOW, record, is_exact)


def test_an_exact_bucket_is_written_guarded_by_right_and_wrong_alike() -> None:
    assert isinstance(bucket().failed(NOW), Insert)
    assert [type(write) for write in bucket().succeeded(NOW)] == [Insert]
    there = bucket({"failures": [], "row": 3})
    written = [there.failed(NOW), *there.succeeded(NOW)]
    assert [(type(write), write.version) for write in written] == [(Update, 7), (Update, 7)]


def test_an_approximate_bucket_is_raised_unguarded_and_left_alone_by_a_success() -> None:
    neighbours = bucket({"failures": []}, is_exact=False)

    assert isinstance(neighbours.failed(NOW), Put)
    assert neighbours.succeeded(NOW) == ()


def test_a_bucket_at_its_limit_refuses_and_says_how_long() -> None:
    with pytest.raises(TooManyAttempts) as refusal:
        bucket(dict(failed(WINDOW, *[NOW] * 10))).demand(NOW + MINUTE)

    assert refusal.value.retry_after == 14 * MINUTE


def test_what_has_expired_means_nothing_even_if_it_was_never_swept() -> None:
    full = dict(failed(WINDOW, *every(timedelta(hours=1), 100)))
    write = bucket(full).failed(NOW)

    bucket(full, expires_at=NOW).demand(NOW)
    with pytest.raises(TooManyAttempts):
        bucket(full, expires_at=NOW + MINUTE).demand(NOW)
    assert write.expires_at == NOW + WINDOW.lifetime
    assert bucket(full, expires_at=NOW).failed(NOW).data["row"] == 1


def test_a_buckets_name_gives_nothing_away() -> None:
    keyring = Keyring(("k" * 32,))
    one, other = (bucket_key(keyring, "password_per_name", name) for name in ("ada@example.org", "bob@example.org"))

    assert one != other
    assert one != bucket_key(keyring, "second_factor_per_account", "ada@example.org")
    assert "ada" not in one.name


def test_the_stock_limits_are_the_documented_ones() -> None:
    limits = Limits()

    assert limits.password_per_name == SlidingWindow(10, 15 * MINUTE, in_a_row=100)
    assert limits.password_per_client == SlidingWindow(30, 15 * MINUTE)
    assert limits.second_factor_per_account == Escalating(5, 15 * MINUTE, per_day=20)
    assert limits.recovery_per_client == SlidingWindow(10, 15 * MINUTE)
    assert limits.recovery_mail_per_name == SlidingWindow(1, 15 * MINUTE)
    assert limits.registration_per_client == SlidingWindow(10, timedelta(hours=1))


# --- In flight --------------------------------------------------------------------------------------------------------


def test_no_more_verifications_run_than_could_still_be_counted() -> None:
    admission, nearly = Admission(), bucket(dict(failed(WINDOW, *[NOW] * 8)))

    with admission.enter(nearly, now=NOW), admission.enter(nearly, now=NOW):  # noqa: SIM117
        with pytest.raises(TooManyAttempts), admission.enter(nearly, now=NOW):
            pytest.fail("a third one ran")
    with admission.enter(nearly, now=NOW):
        pass


def test_a_place_is_given_back_whatever_happens() -> None:
    admission, last = Admission(), bucket(dict(failed(WINDOW, *[NOW] * 9)))

    with pytest.raises(RuntimeError), admission.enter(last, now=NOW):
        raise RuntimeError

    assert admission._running == {}


def test_who_is_turned_away_at_one_bucket_takes_no_place_in_another() -> None:
    admission, free = Admission(), Bucket(Key("bucket", "free"), WINDOW, None)
    full = bucket(dict(failed(WINDOW, *[NOW] * 10)))

    with pytest.raises(TooManyAttempts), admission.enter(free, full, now=NOW):
        pytest.fail("it ran")

    assert admission._running == {}
