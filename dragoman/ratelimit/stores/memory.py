"""Counts in this process: exact, bounded, gone with the process. For one service on one machine.

A key's state is dropped when it is as good as none, to the microsecond for whoever asks (the algorithms see
to that) and within a second or so for the memory: keys hang in slots of a second by when they expire, and
each call clears away a few that are due. A slot's key that has been hit since is hung further on, at most
once a second, so that a call costs the same however many keys there are. Beyond `most` keys, the one that
would expire first makes room.

Time is the wall clock as of the start plus what has passed since: windows begin at full minutes, and
nobody's setting of the clock forgives or takes anything.
"""

from __future__ import annotations

import heapq
import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from dragoman.ratelimit.algorithms import Decision, base as algorithms
from dragoman.ratelimit.stores import base

log = logging.getLogger(__name__)

MOST: Final = 1_000_000
"""Keys; some 300 bytes each."""

_SWEEP: Final = 8
"""Keys that a call looks at to clear away what is due. More than a call can add."""


def wall_clock() -> Callable[[], int]:
    """A clock in microseconds since the epoch that never goes back."""
    offset = time.time_ns() - time.monotonic_ns()

    def now() -> int:
        return (time.monotonic_ns() + offset) // 1000

    return now


class Memory:
    """Implements `base.Store`. `evicted` counts keys that had to make room before their time."""

    def __init__(self, most: int = MOST, clock: Callable[[], int] | None = None) -> None:
        self.evicted = 0
        self._most = most
        self._now = wall_clock() if clock is None else clock
        self._states: dict[bytes, tuple[Any, Any]] = {}
        """Key -> the algorithm last used on it, and its state."""
        self._slots: dict[int, deque[bytes]] = {}
        """Second -> keys that may expire by its end. Every key is in one slot."""
        self._order: list[int] = []
        """A heap of the seconds in `_slots`."""

    def __len__(self) -> int:
        return len(self._states)

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        return None

    def healthy(self) -> bool:
        return True

    def take(self, asks: Sequence[base.Ask], done: base.Done) -> None:
        now = self._now()
        if self._order and self._order[0] * algorithms.SECOND <= now:
            self._sweep(now, _SWEEP * len(asks))
        done([self._take(ask, now) for ask in asks])

    def _take(self, ask: base.Ask, now: int) -> Decision:
        algorithm, key = ask.algorithm, ask.key
        known = self._states.get(key)
        if known is None:
            state = algorithm.fresh()
            decision = algorithm.take(state, now, ask.hits)  # type: ignore[arg-type]  # its own state
            if decision.used:
                if len(self._states) >= self._most:
                    self._evict()
                self._states[key] = algorithm, state
                self._hang(key, algorithm.expires(state))  # type: ignore[arg-type]
            return decision
        if known[0] is not algorithm:
            self._states[key] = algorithm, known[1]
        return algorithm.take(known[1], now, ask.hits)

    def _hang(self, key: bytes, moment: int) -> None:
        second = moment // algorithms.SECOND + 1
        slot = self._slots.get(second)
        if slot is None:
            slot = self._slots[second] = deque()
            heapq.heappush(self._order, second)
        slot.append(key)

    def _sweep(self, now: int, budget: int) -> None:
        """Looks at up to `budget` keys that are due."""
        while budget and self._order and self._order[0] * algorithms.SECOND <= now:
            self._first(now)
            budget -= 1

    def _first(self, now: int) -> bool:
        """Takes a key out of the first slot: drops it where it has expired by `now`, else hangs it further
        on. Whether it was dropped.
        """
        second = self._order[0]
        slot = self._slots[second]
        key = slot.popleft()
        if not slot:
            heapq.heappop(self._order)
            del self._slots[second]
        algorithm, state = self._states[key]
        expires = algorithm.expires(state)
        if expires <= now:
            del self._states[key]
            return True
        self._hang(key, expires)
        return False

    def _evict(self) -> None:
        """Makes room. Keys that have been hit since they were hung are hung further on, which is why the
        first slot in order holds whoever expires first.
        """
        if not self.evicted:
            log.warning("more keys than the store may hold: counts are being dropped early")
        self.evicted += 1
        while not self._first((self._order[0]) * algorithms.SECOND):
            continue
