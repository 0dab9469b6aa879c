"""Sliding window log: every hit is remembered until it is one window old.

Promises: never more than `limit` hits within any stretch of one window, and never a denial that this does
not ask for. It pays with memory, an entry per request up to the limit, hence `LARGEST`. A refund takes the
oldest hits: what is left then stays as long as it can, and the promise holds whichever hits were meant.
Where denied hits count, the newest `limit` hits are remembered; older ones can make no difference.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import ClassVar, Final

from dragoman.ratelimit.algorithms import base

NAME: Final = "sliding_log"

LARGEST: Final = 100_000
"""Hits that one key may have to remember."""


class State:
    """`entries`: [moment, hits], oldest first; `total`: the hits of all."""

    __slots__ = ("entries", "total")

    def __init__(self) -> None:
        self.entries: deque[list[int]] = deque()
        self.total = 0


@dataclass(frozen=True, slots=True)
class SlidingLog:
    """`limit` hits within any `window` microseconds."""

    limit: int
    window: int
    count_denied: bool = False
    name: ClassVar[str] = NAME
    code: ClassVar[bytes] = b"l"

    def __post_init__(self) -> None:
        base.check(self.limit, self.window)
        if self.limit > LARGEST:
            raise ValueError(f"a log remembers at most {LARGEST} hits, not {self.limit}")

    @property
    def capacity(self) -> int:
        return self.limit

    def fresh(self) -> State:
        return State()

    def take(self, state: State, now: int, hits: int) -> base.Decision:
        entries = state.entries
        if entries:
            now = max(now, entries[-1][0])
        while entries and entries[0][0] <= now - self.window:
            state.total -= entries.popleft()[1]
        if hits < 0:
            self._shed(state, min(-hits, state.total))
            return self._decision(state, now, hits, True)
        allowed = state.total + max(hits, 1) <= self.limit
        if hits and (allowed or self.count_denied):
            counted = min(hits, max(self.limit, 1))
            if entries and entries[-1][0] == now:
                entries[-1][1] += counted
            else:
                entries.append([now, counted])
            state.total += counted
            self._shed(state, max(state.total - max(self.limit, 1), 0))
        return self._decision(state, now, hits, allowed)

    def _shed(self, state: State, hits: int) -> None:
        """Forgets the oldest hits."""
        entries = state.entries
        state.total -= hits
        while hits:
            if entries[0][1] > hits:
                entries[0][1] -= hits
                return
            hits -= entries.popleft()[1]

    def _decision(self, state: State, now: int, hits: int, allowed: bool) -> base.Decision:
        newest = state.entries[-1][0] if state.entries else now - self.window
        leaving = 0
        if not allowed and max(hits, 1) <= self.limit:
            excess = state.total + max(hits, 1) - self.limit
            for moment, count in state.entries:
                excess -= count
                if excess <= 0:
                    leaving = moment
                    break
        return self.decision(state.total, newest, leaving, now, hits, allowed)

    def decision(
        self, total: int, newest: int, leaving: int, now: int, hits: int, allowed: bool
    ) -> base.Decision:
        """From what was counted after the hits; also what Redis counted. `leaving` is the moment of the hit
        that has to be forgotten before these would pass.
        """
        retry = 0
        if not allowed:
            retry = leaving + self.window - now if max(hits, 1) <= self.limit else base.NEVER
        reset = max(newest + self.window - now, 0)
        return base.Decision(allowed, max(self.limit - total, 0), reset, retry, 0, total)

    def expires(self, state: State) -> int:
        return state.entries[-1][0] + self.window if state.entries else 0
