"""The meter behind token bucket and leaky bucket: a level that rises with hits and leaks at a steady rate.

The level is a whole number of units, chosen so that a hit and what leaks in a tick are both whole: nothing
is ever rounded, and nothing drifts. It is the mirror image of tokens (level = capacity - tokens) and of
GCRA's arrival time, but unlike an absolute time it stays small, which Redis' doubles need.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from dragoman.ratelimit.algorithms import base

State = list[int]
"""[level in units, moment (full ticks), units per hit]. The last tells when the limit has changed since."""

LEVEL: Final = 0
MOMENT: Final = 1
UNIT: Final = 2


class Meter(NamedTuple):
    """`hit`: units per hit; `leak`: units per tick; `full`: the capacity in units; `tick`: microseconds."""

    hit: int
    leak: int
    full: int
    tick: int

    @classmethod
    def of(cls, capacity: int, limit: int, window: int) -> Meter:
        """`capacity` hits at once, then `limit` per `window` microseconds."""
        tick = base.tick_for(max(capacity, limit), window)
        span = base.ceiling(window, tick)
        common = math.gcd(limit, span)
        return cls(span // common, limit // common, capacity * (span // common), tick)

    def settle(self, state: State, now: int) -> None:
        """Lets the level leak until `now` (microseconds)."""
        now -= now % self.tick
        if state[UNIT] != self.hit:
            # The limit has changed: what counted before counts on, in the new units.
            state[LEVEL] = base.ceiling(state[LEVEL] * self.hit, state[UNIT])
            state[UNIT] = self.hit
        if now > state[MOMENT]:
            leaked = (now // self.tick - state[MOMENT] // self.tick) * self.leak
            state[LEVEL], state[MOMENT] = max(state[LEVEL] - leaked, 0), now

    def take(self, state: State, now: int, hits: int, count_denied: bool) -> bool:
        """Raises the level by `hits` where they fit, and says whether they did. See `base` for 0, negative
        hits and `count_denied`.
        """
        self.settle(state, now)
        level = state[LEVEL]
        after = level + hits * self.hit
        if hits < 0:
            state[LEVEL] = max(after, 0)
            return True
        allowed = level + max(hits, 1) * self.hit <= self.full
        if hits and (allowed or count_denied):
            state[LEVEL] = min(after, max(2 * self.full, level))
        return allowed

    def decision(self, level: int, hits: int, allowed: bool) -> base.Decision:
        """From the level after the hits; also from Redis' level."""
        hit = self.hit
        retry = 0
        if not allowed:
            short = level + max(hits, 1) * hit - self.full
            retry = base.NEVER if max(hits, 1) * hit > self.full else self.until(short)
        reset = -(-level // self.leak) * self.tick if self.leak else self.until(level)
        return base.Decision(allowed, max(self.full - level, 0) // hit, reset, retry, 0, -(-level // hit))

    def until(self, units: int) -> int:
        """Microseconds until so many units have leaked; `NEVER` where nothing leaks."""
        if units <= 0:
            return 0
        return base.ceiling(units, self.leak) * self.tick if self.leak else base.NEVER

    def expires(self, state: State) -> int:
        """See `base`; the moment is rounded up to a tick."""
        wait = base.ceiling(state[LEVEL], self.leak) if self.leak else 0
        return state[MOMENT] + (wait + 1) * self.tick
