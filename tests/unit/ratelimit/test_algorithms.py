"""What each algorithm promises, against brute force, and the numbers that people know from elsewhere."""

from __future__ import annotations

import copy
from fractions import Fraction

import pytest
from hypothesis import given, settings, strategies as st

from dragoman.ratelimit.algorithms import (
    NEVER,
    Algorithm,
    FixedWindow,
    LeakyBucket,
    SlidingCounter,
    SlidingLog,
    TokenBucket,
)
from dragoman.ratelimit.algorithms.base import EXACT, tick_for
from tests.unit.ratelimit import strategies
from tests.unit.ratelimit.oracle import Oracle

SECOND = 1_000_000
START = strategies.START
ALL = [
    FixedWindow(10, SECOND),
    SlidingCounter(10, SECOND),
    SlidingLog(10, SECOND),
    TokenBucket(10, SECOND),
    LeakyBucket(10, SECOND, 9),
]
"""10 at once each, and then 10 a second."""
each = pytest.mark.parametrize("algorithm", ALL, ids=lambda each: each.name)


def burst(algorithm: Algorithm, number: int, now: int = START) -> list[bool]:
    state = algorithm.fresh()
    return [algorithm.take(state, now, 1).allowed for _ in range(number)]  # type: ignore[arg-type]


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_it_decides_as_brute_force_does(data: st.DataObject) -> None:
    algorithm = data.draw(strategies.algorithms())
    oracle, state = Oracle(algorithm), algorithm.fresh()
    hits = st.one_of(strategies.several, st.just(0))
    for now, wanted in data.draw(strategies.streams(algorithm.window, hits=hits)):
        decision = algorithm.take(state, now, wanted)  # type: ignore[arg-type]
        assert decision.allowed == oracle.take(now, wanted)
        used = oracle.used(now)
        assert decision.remaining == max(int(oracle.capacity() - used), 0)
        assert decision.used == -(-used // 1)
        assert decision.delay == (-(-oracle.delay() // 1) if decision.allowed and wanted else 0)


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_no_stretch_of_time_sees_more_than_is_promised(data: st.DataObject) -> None:
    algorithm = data.draw(strategies.algorithms())
    state = algorithm.fresh()
    admitted: list[tuple[int, int]] = []
    for now, hits in data.draw(strategies.streams(algorithm.window, hits=strategies.several)):
        if algorithm.take(state, now, hits).allowed:  # type: ignore[arg-type]
            admitted.append((now, hits))
    limit, window = algorithm.limit, algorithm.window
    for first, (begin, _) in enumerate(admitted):
        total = 0
        for moment, hits in admitted[first:]:
            total += hits
            length = moment - begin
            match algorithm:
                case FixedWindow():
                    aligned = moment // window == begin // window
                    bound = Fraction(limit if aligned else limit * (length // window + 2))
                case SlidingCounter():
                    bound = limit * (1 + Fraction(length, window)) if length <= window else None
                case SlidingLog():
                    bound = Fraction(limit) if length < window else None
                case _:
                    bound = algorithm.capacity + Fraction(length * limit, window)
            assert bound is None or total <= bound


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_what_is_denied_passes_when_it_was_told_to_come_back_and_not_before(data: st.DataObject) -> None:
    algorithm = data.draw(strategies.algorithms())
    state = algorithm.fresh()
    for now, hits in data.draw(strategies.streams(algorithm.window, hits=strategies.several)):
        decision = algorithm.take(state, now, hits)  # type: ignore[arg-type]
        if decision.allowed:
            assert decision.retry == 0
            continue
        if hits > algorithm.capacity:
            assert decision.retry == NEVER
            continue
        assert decision.retry > 0
        assert not algorithm.take(copy.deepcopy(state), now + decision.retry - 1, hits).allowed  # type: ignore[arg-type]
        assert algorithm.take(copy.deepcopy(state), now + decision.retry, hits).allowed  # type: ignore[arg-type]


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_a_state_that_has_expired_is_as_good_as_none(data: st.DataObject) -> None:
    algorithm = data.draw(strategies.algorithms())
    state, now = algorithm.fresh(), START
    for now, hits in data.draw(strategies.streams(algorithm.window, hits=strategies.anything)):
        decision = algorithm.take(state, now, hits)  # type: ignore[arg-type]
        if not isinstance(algorithm, FixedWindow):
            # All that counts is forgotten at `reset`, and not before.
            later = algorithm.take(copy.deepcopy(state), now + decision.reset, 0)  # type: ignore[arg-type]
            assert later.used == 0
            if decision.reset > 1:
                sooner = algorithm.take(copy.deepcopy(state), now + decision.reset - 1, 0)  # type: ignore[arg-type]
                assert sooner.used > 0
    at, fresh = max(algorithm.expires(state), now), algorithm.fresh()  # type: ignore[arg-type]
    for hits in (1, 3, 0, 1, 20):
        assert algorithm.take(state, at, hits) == algorithm.take(fresh, at, hits)  # type: ignore[arg-type]


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_looking_changes_nothing_and_refunds_stay_within_bounds(data: st.DataObject) -> None:
    algorithm = data.draw(strategies.algorithms())
    state, other = algorithm.fresh(), algorithm.fresh()
    for now, hits in data.draw(strategies.streams(algorithm.window, hits=strategies.anything)):
        for _ in range(data.draw(st.integers(0, 2))):
            look = algorithm.take(state, now, 0)  # type: ignore[arg-type]
            assert look.allowed == (look.remaining > 0)
            assert look.delay == 0
        decision = algorithm.take(state, now, hits)  # type: ignore[arg-type]
        assert decision == algorithm.take(other, now, hits)  # type: ignore[arg-type]
        assert 0 <= decision.remaining <= algorithm.capacity
        assert decision.used >= 0
        assert decision.allowed or hits >= 0


@each
def test_a_burst_passes_to_the_last_hit_and_not_beyond(algorithm: Algorithm) -> None:
    state = algorithm.fresh()
    for left in range(9, -1, -1):
        decision = algorithm.take(state, START, 1)  # type: ignore[arg-type]
        assert (decision.allowed, decision.remaining) == (True, left)
    assert not algorithm.take(state, START, 1).allowed  # type: ignore[arg-type]


@each
def test_denied_hits_leave_no_trace(algorithm: Algorithm) -> None:
    state = algorithm.fresh()
    algorithm.take(state, START, 8)  # type: ignore[arg-type]
    before = copy.deepcopy(state)
    for _ in range(5):
        decision = algorithm.take(state, START, 3)  # type: ignore[arg-type]
        assert (decision.allowed, decision.remaining, decision.used) == (False, 2, 8)
    assert algorithm.take(state, START, 2).allowed  # type: ignore[arg-type]
    assert algorithm.take(before, START, 2).allowed  # type: ignore[arg-type]


@each
def test_denied_hits_count_where_they_are_to(algorithm: Algorithm) -> None:
    strict = type(algorithm)(  # type: ignore[call-arg]
        *[getattr(algorithm, name) for name in ("limit", "window", "burst") if hasattr(algorithm, name)],
        count_denied=True,
    )
    state = strict.fresh()
    assert strict.take(state, START, 8).allowed
    assert not strict.take(state, START, 3).allowed
    decision = strict.take(state, START, 1)
    assert (decision.allowed, decision.remaining) == (False, 0)
    # What is owed is bounded: a refund of twice the capacity settles it, whatever was asked for.
    strict.take(state, START, 1_000_000_000)
    assert strict.take(state, START, -20).remaining == 10


@each
def test_a_refund_gives_back_what_it_says_and_never_more_than_there_was(algorithm: Algorithm) -> None:
    state = algorithm.fresh()
    algorithm.take(state, START, 10)  # type: ignore[arg-type]
    back = algorithm.take(state, START, -4)  # type: ignore[arg-type]
    assert (back.allowed, back.remaining, back.used) == (True, 4, 6)
    assert burst(algorithm, 11) == [True] * 10 + [False]
    assert algorithm.take(state, START, -1_000_000).remaining == 10  # type: ignore[arg-type]
    assert algorithm.take(state, START, 11).retry == NEVER  # type: ignore[arg-type]


@each
def test_a_clock_that_goes_back_stands_still(algorithm: Algorithm) -> None:
    state = algorithm.fresh()
    for _ in range(10):
        algorithm.take(state, START + 500_000, 1)  # type: ignore[arg-type]
    assert not algorithm.take(state, START - 10 * SECOND, 1).allowed  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "algorithm",
    [
        FixedWindow(0, SECOND),
        SlidingCounter(0, SECOND),
        SlidingLog(0, SECOND),
        TokenBucket(0, SECOND, 5),
        LeakyBucket(0, SECOND, 5),
    ],
    ids=lambda each: each.name,
)
def test_a_limit_of_nothing_bans(algorithm: Algorithm) -> None:
    state = algorithm.fresh()
    for hits in (1, 0, 1):
        decision = algorithm.take(state, START, hits)  # type: ignore[arg-type]
        assert (decision.allowed, decision.remaining, decision.retry) == (False, 0, NEVER)


def test_fixed_windows_are_aligned() -> None:
    minute = FixedWindow(2, 60 * SECOND)
    state, begin = minute.fresh(), START - START % (60 * SECOND)
    assert minute.take(state, begin + 59 * SECOND, 2).reset == SECOND
    assert not minute.take(state, begin + 60 * SECOND - 1, 1).allowed
    assert minute.take(state, begin + 60 * SECOND, 1).remaining == 1


def test_the_log_is_exact_where_fixed_windows_admit_twice_the_limit() -> None:
    edge = START - START % SECOND + SECOND
    fixed, log = FixedWindow(10, SECOND), SlidingLog(10, SECOND)
    passed = {}
    for algorithm in (fixed, log):
        state = algorithm.fresh()
        moments = [edge - 1] * 10 + [edge] * 10
        passed[algorithm.name] = sum(algorithm.take(state, now, 1).allowed for now in moments)  # type: ignore[arg-type]
    assert passed == {"fixed_window": 20, "sliding_log": 10}


def test_a_token_bucket_is_its_burst_and_then_the_refill() -> None:
    bucket = TokenBucket(10, SECOND, 25)
    state = bucket.fresh()
    assert sum(bucket.take(state, START, 1).allowed for _ in range(100)) == 25
    # Asked a thousand times a second for ten seconds, ten a second pass.
    moments = range(START, START + 10 * SECOND + 1, 1000)
    assert sum(bucket.take(state, now, 1).allowed for now in moments) == 100


def test_nothing_drifts_however_often_it_is_asked() -> None:
    bucket = TokenBucket(7, SECOND, 1)  # a hit every 142857.14... us
    state = bucket.fresh()
    passed = sum(bucket.take(state, START + 13 * step, 1).allowed for step in range(1_000_000))
    assert passed == 1 + 13 * 999_999 * 7 // SECOND


@pytest.mark.parametrize(
    ("bucket", "delays"),
    [
        (LeakyBucket(10, SECOND, 5, nodelay=True), [0, 0, 0, 0, 0, 0]),
        (LeakyBucket(10, SECOND, 5), [0, 100, 200, 300, 400, 500]),
        (LeakyBucket(10, SECOND, 5, delay=2), [0, 0, 0, 100, 200, 300]),
        (LeakyBucket(10, SECOND), [0]),
    ],
    ids=["nodelay", "delay", "two-stage", "no-burst"],
)
def test_of_twelve_at_once_those_pass_that_nginx_lets_pass(bucket: LeakyBucket, delays: list[int]) -> None:
    state = bucket.fresh()
    decisions = [bucket.take(state, START, 1) for _ in range(12)]
    assert [each.delay // 1000 for each in decisions if each.allowed] == delays
    assert [each.allowed for each in decisions] == [True] * len(delays) + [False] * (12 - len(delays))


def test_a_changed_limit_keeps_what_was_counted() -> None:
    for kind in (FixedWindow, SlidingCounter, SlidingLog, TokenBucket):
        before, after = kind(10, 60 * SECOND), kind(13, 60 * SECOND)
        state = before.fresh()
        before.take(state, START, 10)
        assert after.take(state, START, 0).used == 10, kind
        assert [after.take(state, START, 1).allowed for _ in range(5)] == [True] * 3 + [False] * 2, kind


@given(st.integers(1, (1 << 32) - 1), st.sampled_from([1, 60, 3600, 86400, 604800, 2592000, 31536000]))
@settings(max_examples=200, deadline=None)
def test_all_numbers_stay_where_doubles_are_exact(limit: int, seconds: int) -> None:
    window = seconds * SECOND
    tick = tick_for(limit, window)
    assert 4 * limit * -(-window // tick) < EXACT
    bucket = TokenBucket(limit, window)
    assert 4 * bucket.gauge.full < EXACT
    state = bucket.fresh()
    assert bucket.take(state, START, limit).remaining == 0
    assert bucket.take(state, START, 1).retry <= window // limit + 2 * tick
    assert bucket.take(state, START + window + tick, limit).allowed
