"""Leaky bucket as nginx's `limit_req` has it: a steady rate, and a queue of `burst` for what comes too early.

Promises: requests go on their way at `limit` per window; what comes faster waits, at most `burst` hits of
it, and what does not fit is denied at once. `delay` hits of the queue may go on without waiting; with
`nodelay` all of them. Of 12 at once at 10 per second with a burst of 5: 6 pass at once with `nodelay`; 6
pass 100 ms apart without; with `delay` 2, 3 pass at once and 3 are 100, 200 and 300 ms late.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from dragoman.ratelimit.algorithms import base, meter

NAME: Final = "leaky_bucket"

State = meter.State


@dataclass(frozen=True, slots=True)
class LeakyBucket:
    """`limit` hits per `window` microseconds leave; `burst` may wait, all but the first `delay` of them."""

    limit: int
    window: int
    burst: int = 0
    delay: int = 0
    nodelay: bool = False
    count_denied: bool = False
    capacity: int = field(init=False, default=0)
    gauge: meter.Meter = field(init=False, default=meter.Meter(1, 1, 1, 1))
    name: ClassVar[str] = NAME
    code: ClassVar[bytes] = b"m"

    def __post_init__(self) -> None:
        base.check(self.limit, self.window)
        base.check(self.burst, self.window)
        base.check(self.delay, self.window)
        # One in the pipe, and the queue behind it.
        object.__setattr__(self, "capacity", self.burst + 1 if self.limit else 0)
        object.__setattr__(self, "gauge", meter.Meter.of(self.capacity, self.limit, self.window))

    def fresh(self) -> State:
        return [0, 0, self.gauge.hit]

    def take(self, state: State, now: int, hits: int) -> base.Decision:
        allowed = self.gauge.take(state, now, hits, self.count_denied)
        return self.decision(state[meter.LEVEL], hits, allowed)

    def decision(self, level: int, hits: int, allowed: bool) -> base.Decision:
        """From the level after the hits; also from Redis' level."""
        found = self.gauge.decision(level, hits, allowed)
        if self.nodelay or not allowed or hits <= 0:
            return found
        early = level - (1 + self.delay) * self.gauge.hit
        return found._replace(delay=self.gauge.until(early)) if early > 0 else found

    def expires(self, state: State) -> int:
        return self.gauge.expires(state)
