"""Token bucket: `capacity` tokens at first, `limit` more per window, never more than the capacity.

Promises: within any stretch of length `d` at most `capacity + d * limit / window` hits pass; whoever keeps
below the rate is never denied. A burst of the whole capacity, then the refill rate. Two numbers. GCRA
decides the same. What a request costs is the caller's business: it asks for so many hits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from dragoman.ratelimit.algorithms import base, meter

NAME: Final = "token_bucket"

State = meter.State


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """`limit` tokens per `window` microseconds flow in; `burst` is how many there can be, 0 for `limit`."""

    limit: int
    window: int
    burst: int = 0
    count_denied: bool = False
    capacity: int = field(init=False, default=0)
    gauge: meter.Meter = field(init=False, default=meter.Meter(1, 1, 1, 1))
    name: ClassVar[str] = NAME
    code: ClassVar[bytes] = b"m"

    def __post_init__(self) -> None:
        base.check(self.limit, self.window)
        base.check(self.burst, self.window)
        # A limit of 0 bans, whatever the bucket could hold.
        object.__setattr__(self, "capacity", (self.burst or self.limit) if self.limit else 0)
        object.__setattr__(self, "gauge", meter.Meter.of(self.capacity, self.limit, self.window))

    def fresh(self) -> State:
        return [0, 0, self.gauge.hit]

    def take(self, state: State, now: int, hits: int) -> base.Decision:
        allowed = self.gauge.take(state, now, hits, self.count_denied)
        return self.decision(state[meter.LEVEL], hits, allowed)

    def decision(self, level: int, hits: int, allowed: bool) -> base.Decision:
        """From the level after the hits; also from Redis' level."""
        return self.gauge.decision(level, hits, allowed)

    def expires(self, state: State) -> int:
        return self.gauge.expires(state)
