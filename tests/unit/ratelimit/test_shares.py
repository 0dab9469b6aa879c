"""A limit that is divided: the pot, the parts, and the form in which Envoy reads them right."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given, strategies as st

from dragoman.ratelimit import rules
from dragoman.ratelimit.algorithms import FixedWindow, TokenBucket
from dragoman.ratelimit.rlqs import shares

SECOND = 1_000_000
DAY = 86_400 * SECOND


def limit(number: int, window: int = SECOND, *, shadow: bool = False, cost: int = 1) -> rules.Limit:
    return rules.Limit(FixedWindow(number, window), shadow=shadow, cost=cost)


@given(st.integers(1, (1 << 32) - 1), st.sampled_from([1, 60, 3600, 86_400, 365 * 86_400]), st.integers(1, 9))
def test_a_pot_is_the_limit_and_never_more(number: int, seconds: int, instances: int) -> None:
    pot = shares.pot([limit(number, seconds * SECOND)], instances)
    assert pot is not None
    true = Fraction(number, seconds * instances)
    assert Fraction(pot.units, pot.seconds) <= true
    # As near as whole units let it come; of a limit that is less than a request in 1000 years, less near.
    assert Fraction(pot.units, pot.seconds) >= true * Fraction(999, 1000) - Fraction(1, 10**11)
    assert 0 < pot.units < 1 << 32
    assert 1 <= pot.burst <= max(-(-number // (seconds * instances)), 1)


def test_the_strictest_limit_counts() -> None:
    many = [limit(100), limit(60_000, DAY), limit(1, DAY, shadow=True), rules.Limit(None)]
    pot = shares.pot(many)
    assert pot is not None
    assert Fraction(pot.units, pot.seconds) == Fraction(60_000, 86_400).limit_denominator(10**7) or (
        abs(pot.units / pot.seconds - 60_000 / 86_400) < 1e-5
    )
    assert shares.pot([limit(1, shadow=True), rules.Limit(None)]) is None
    assert shares.pot([]) is None
    assert shares.pot([limit(0), limit(5)]) == shares.Pot(0, 1, 0)


def test_a_cost_makes_the_pot_smaller_and_a_burst_is_kept_to_a_second() -> None:
    assert shares.pot([limit(1000, cost=10)]) == shares.Pot(100_000, 1000, 100)
    assert shares.pot([rules.Limit(TokenBucket(10, SECOND, 500))]) == shares.Pot(100_000, 10_000, 10)
    assert shares.pot([rules.Limit(TokenBucket(1000, SECOND, 5))]) == shares.Pot(100_000, 100, 5)
    assert shares.pot([limit(5, cost=10)]) == shares.Pot(0, 1, 0)  # not even one request


@given(
    st.integers(0, (1 << 32) - 1),
    st.lists(st.integers(0, 10**9), min_size=1, max_size=50).filter(lambda weights: sum(weights) > 0),
)
def test_parts_add_up_and_follow_the_weights(units: int, weights: list[int]) -> None:
    parts = shares.split(units, weights)
    assert sum(parts) == units
    for part, weight in zip(parts, weights, strict=True):
        assert abs(part - Fraction(units * weight, sum(weights))) < 1


@given(st.lists(st.integers(1, 1000), min_size=1, max_size=30), st.integers(1, 10_000))
def test_bursts_add_up_to_the_pots_and_one_for_each_proxy(weights: list[int], number: int) -> None:
    pot = shares.pot([limit(number)])
    assert pot is not None
    grants = [shares.grant(pot, units) for units in shares.split(pot.units, weights)]
    assert sum(each.burst for each in grants) <= pot.burst + len(grants)
    assert all(each.burst >= 1 for each in grants if each.units)


def test_another_interval_can_be_told_by_the_nanoseconds() -> None:
    """Envoy 1.40 does not see that the seconds differ."""
    marks = [shares.Grant(1, 10**power, 1).mark for power in range(12)]
    assert len(set(marks)) == len(marks)
    assert all(0 < mark < 1000 for mark in marks)
