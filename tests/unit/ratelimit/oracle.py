"""Brute-force models of the algorithms: what was promised, in exact fractions, with no thought for speed.

An oracle keeps every hit that counts and looks at all of them. Rates are fractions, so that nothing is
rounded; where an implementation rounds (time in ticks), the tests choose limits whose tick is 1.
"""

from __future__ import annotations

from fractions import Fraction

from dragoman.ratelimit.algorithms import (
    Algorithm,
    FixedWindow,
    LeakyBucket,
    SlidingCounter,
    SlidingLog,
    TokenBucket,
)


class Oracle:
    """`take` says whether the hits pass, and `remaining` how many more would."""

    def __init__(self, algorithm: Algorithm) -> None:
        self.algorithm = algorithm
        self.hits: list[tuple[int, int]] = []
        """(moment, hits) of everything that counts."""
        self.level = Fraction(0)
        self.moment = 0

    def used(self, now: int) -> Fraction:
        """What counts at `now`, in hits."""
        a = self.algorithm
        match a:
            case FixedWindow():
                return Fraction(sum(n for at, n in self.hits if at // a.window == now // a.window))
            case SlidingCounter():
                window, elapsed = divmod(now, a.window)
                here = sum(n for at, n in self.hits if at // a.window == window)
                before = sum(n for at, n in self.hits if at // a.window == window - 1)
                return here + before * (1 - Fraction(elapsed, a.window))
            case SlidingLog():
                return Fraction(sum(n for at, n in self.hits if now - a.window < at <= now))
            case TokenBucket() | LeakyBucket():
                level = self.level - (now - self.moment) * Fraction(a.limit, a.window)
                return max(level, Fraction(0))

    def capacity(self) -> int:
        a = self.algorithm
        if isinstance(a, TokenBucket):
            return a.burst or a.limit
        return a.burst + 1 if isinstance(a, LeakyBucket) else a.limit

    def take(self, now: int, hits: int) -> bool:
        used = self.used(now)
        allowed = used + max(hits, 1) <= self.capacity()
        if allowed and hits:
            self.hits.append((now, hits))
            self.level, self.moment = used + hits, now
        return allowed

    def delay(self) -> Fraction:
        """How late the hits just taken have to be, in microseconds."""
        a = self.algorithm
        if not isinstance(a, LeakyBucket) or a.nodelay:
            return Fraction(0)
        return max(self.level - 1 - a.delay, Fraction(0)) * Fraction(a.window, a.limit)
