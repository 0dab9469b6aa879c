"""Sliding window counter: two fixed windows, the last one fading as the present one grows.

Promises: `limit` hits per window where hits come evenly. It takes the last window's hits as spread evenly
over that window, so that in the worst case `limit * (1 + d / window)` pass within a stretch of length
`d <= window`: less than twice the limit, against the fixed window's twice. Two numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Final

from dragoman.ratelimit.algorithms import base

NAME: Final = "sliding_counter"

State = list[int]
"""[begin of the window, hits in it, hits in the window before]"""


@dataclass(frozen=True, slots=True)
class SlidingCounter:
    """`limit` hits per `window` microseconds, by estimate."""

    limit: int
    window: int
    count_denied: bool = False
    tick: int = field(init=False, default=1)
    span: int = field(init=False, default=1)
    """The window in ticks."""
    name: ClassVar[str] = NAME
    code: ClassVar[bytes] = b"c"

    def __post_init__(self) -> None:
        base.check(self.limit, self.window)
        object.__setattr__(self, "tick", base.tick_for(self.limit, self.window))
        object.__setattr__(self, "span", base.ceiling(self.window, self.tick))

    @property
    def capacity(self) -> int:
        return self.limit

    def fresh(self) -> State:
        return [0, 0, 0]

    def take(self, state: State, now: int, hits: int) -> base.Decision:
        span, limit = self.span, self.limit
        ticks = now // self.tick
        begin = (ticks - ticks % span) * self.tick
        if begin > state[0]:
            state[2] = state[1] if begin - state[0] <= span * self.tick else 0
            state[0], state[1] = begin, 0
        elapsed = max(ticks - state[0] // self.tick, 0)
        count, before = state[1], state[2]
        fading = before * (span - elapsed)
        wanted = max(hits, 1)
        allowed = hits < 0 or (wanted <= limit and fading + (count + wanted) * span <= limit * span)
        if hits < 0:
            # What is not in this window was in the last one; the rest was never counted.
            state[1] = max(count + hits, 0)
            state[2] = max(before + min(count + hits, 0), 0)
        elif allowed or self.count_denied:
            state[1] = min(count + hits, max(2 * limit, count))
        return self.decision(elapsed, state[1], state[2], hits, allowed)

    def decision(self, elapsed: int, count: int, before: int, hits: int, allowed: bool) -> base.Decision:
        """From what was counted after the hits, `elapsed` ticks into the window; also what Redis counted."""
        span = self.span
        used = before * (span - elapsed) + count * span
        remaining = max((self.limit * span - used) // span, 0)
        if count:
            forgotten = 2 * span - elapsed
        else:
            forgotten = span - elapsed if before else 0
        retry = 0 if allowed else self._wait(elapsed, count, before, max(hits, 1))
        return base.Decision(allowed, remaining, forgotten * self.tick, retry, 0, base.ceiling(used, span))

    def _wait(self, elapsed: int, count: int, before: int, hits: int) -> int:
        """Microseconds until `hits` pass if nobody else comes."""
        if hits > self.limit:
            return base.NEVER
        # At e ticks into the window: before * (span - e) + (count + hits) * span <= limit * span
        room = (self.limit - count - hits) * self.span
        if room >= 0:
            at = self.span - room // before if before else 0
        else:
            # Not in this window; in the next one this window's count is the one that fades.
            at = 2 * self.span - (self.limit - hits) * self.span // count
        return max(at - elapsed, 1) * self.tick

    def expires(self, state: State) -> int:
        return state[0] + 2 * self.span * self.tick
