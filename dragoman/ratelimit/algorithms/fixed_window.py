"""Fixed window: a counter that begins anew at every full minute, hour or whatever the window is.

Promises: at most `limit` hits inside one window, windows being aligned to the epoch (as in
envoyproxy/ratelimit; a day begins at midnight UTC). Over a boundary twice the limit may pass within any
stretch of time. Cheapest of all: one number.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from dragoman.ratelimit.algorithms import base

NAME: Final = "fixed_window"

State = list[int]
"""[begin of the window, hits counted in it]"""


@dataclass(frozen=True, slots=True)
class FixedWindow:
    """`limit` hits per aligned window of `window` microseconds."""

    limit: int
    window: int
    count_denied: bool = False
    name: ClassVar[str] = NAME
    code: ClassVar[bytes] = b"f"

    def __post_init__(self) -> None:
        base.check(self.limit, self.window)

    @property
    def capacity(self) -> int:
        return self.limit

    def fresh(self) -> State:
        return [0, 0]

    def take(self, state: State, now: int, hits: int) -> base.Decision:
        begin = now - now % self.window
        if begin > state[0]:
            state[0], state[1] = begin, 0
        now = max(now, state[0])
        count, after = state[1], state[1] + hits
        allowed = after <= self.limit if hits > 0 else hits < 0 or count < self.limit
        if hits < 0:
            count = max(after, 0)
        elif allowed or self.count_denied:
            count = min(after, max(2 * self.limit, count))
        state[1] = count
        return self.decision(count, now, hits, allowed)

    def decision(self, count: int, now: int, hits: int, allowed: bool) -> base.Decision:
        """From what was counted after the hits; also what Redis counted."""
        left = self.window - now % self.window
        retry = 0 if allowed else left if max(hits, 1) <= self.limit else base.NEVER
        return base.Decision(allowed, max(self.limit - count, 0), left, retry, 0, count)

    def expires(self, state: State) -> int:
        return state[0] + self.window
