"""A limit as something that can be divided: whole units, of which every proxy gets some.

Envoy 1.40 reads a token bucket in its own way, and the form of an assignment follows from it:

- The rate is `tokens_per_fill` by the *whole seconds* of `fill_interval`; less than one second is none, and
  the rate infinite. So an interval is a power of ten of seconds, long enough for many units.
- Whether an assignment is another one it sees by `max_tokens`, `tokens_per_fill` and the *nanoseconds* of
  `fill_interval` alone. So the nanoseconds, which count for nothing else, tell which power it is.
- Another assignment begins with a full bucket. So a bucket holds no more than a second lets through, and
  `books` changes assignments seldom.

All arithmetic is in whole numbers: shares add up to the limit, never to more. Used by `books`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

from dragoman.ratelimit import rules
from dragoman.ratelimit.algorithms import base as algorithms

GRAIN: Final = 100_000
"""Units that a limit is divided into, at least."""

_LONGEST: Final = 10**11
"""Seconds; a protobuf Duration holds three times as many."""

_MOST: Final = (1 << 32) - 1
"""`tokens_per_fill` is a uint32."""


class Pot(NamedTuple):
    """What all proxies have together: `units` in `seconds`, and `burst` at once. No units: all is denied."""

    units: int
    seconds: int
    burst: int


class Grant(NamedTuple):
    """What one proxy has: `units` in `seconds`, never more than `burst` at once. No units: all is denied."""

    units: int
    seconds: int
    burst: int

    @property
    def mark(self) -> int:
        """The nanoseconds that tell this interval from others."""
        return len(str(self.seconds))


def pot(limits: Iterable[rules.Limit], instances: int = 1) -> Pot | None:
    """The strictest of the limits, divided among `instances` services; None where none of them denies."""
    rate: Fraction | None = None
    burst = _MOST
    for limit in limits:
        algorithm = limit.algorithm
        if algorithm is None or limit.shadow:
            continue
        cost = max(limit.cost, 1)
        one = Fraction(algorithm.limit * algorithms.SECOND, algorithm.window * cost * instances)
        rate = one if rate is None else min(rate, one)
        burst = min(burst, algorithm.capacity // cost)
    if rate is None:
        return None
    if not rate or not burst:
        return Pot(0, 1, 0)
    seconds = 1
    while rate * seconds < GRAIN and seconds < _LONGEST:
        seconds *= 10
    units = min(int(rate * seconds), _MOST)
    return Pot(units, seconds, max(min(burst // instances, -(-units // seconds)), 1))


def split(units: int, weights: Sequence[int]) -> list[int]:
    """Units by weight; they add up to `units` exactly. At least one weight is above 0."""
    total = sum(weights)
    edges = [units * part // total for part in accumulate(weights, initial=0)]
    return [upper - lower for lower, upper in pairwise(edges)]


def grant(of: Pot, units: int) -> Grant:
    """So many of the pot's units. Bursts add up to the pot's, and to one request for each proxy beyond."""
    return Grant(units, of.seconds, max(of.burst * units // of.units, 1) if units else 0)
