"""How many streams are let in at once: what keeps a thousand proxies that come back together from being a
thousand first configurations in memory, and everybody else's changes from waiting behind them (rule 92).

A stream waits until it is its turn by the rate of new streams, and until fewer than `building` others are
getting their first configuration; one that would wait for longer than `wait` is turned away, and its proxy
backs off. Before there is a first configuration all wait for that. All this before any state is made for
them. Streams that have their configuration count no more: there is no limit on how many there are. The server
asks.
"""

from __future__ import annotations

import asyncio
from typing import Final

from dragoman import config


class Place:
    """A stream's place among those that get their first configuration. It ends by itself after `patience`
    seconds: who does not answer keeps nobody out. `leave` may be called again."""

    __slots__ = ("_free", "_late")

    def __init__(self, free: asyncio.Semaphore, patience: float) -> None:
        self._free: asyncio.Semaphore | None = free
        self._late = asyncio.get_running_loop().call_later(patience, self.leave)

    def leave(self) -> None:
        if self._free is not None:
            self._late.cancel()
            self._free.release()
            self._free = None


class Throttle:
    """One per server. `waiting` and `refused` are for the metrics."""

    def __init__(self, settings: config.Throttle) -> None:
        self._wait: Final = settings.wait
        self._patience: Final = settings.patience
        self._interval: Final = 1.0 / settings.rate if settings.rate else 0.0
        self._burst: Final = settings.burst * self._interval
        self._free: Final = asyncio.Semaphore(settings.building)
        self._next = 0.0
        self._early: set[asyncio.Timeout] = set()
        self.waiting = 0
        self.refused = 0

    async def until(self, ready: asyncio.Event) -> bool:
        """Waits for the first configuration, as long as for a place at most; whether it is there."""
        if not ready.is_set():
            patience = asyncio.timeout(self._wait)
            self._early.add(patience)
            self.waiting += 1
            try:
                async with patience:
                    await ready.wait()
            except TimeoutError:
                pass
            finally:
                self.waiting -= 1
                self._early.discard(patience)
        return ready.is_set()

    def turn_away(self) -> None:
        """Ends the waiting for a first configuration: there will be none."""
        now = asyncio.get_running_loop().time()
        for patience in self._early:
            patience.reschedule(now)

    async def enter(self) -> Place | None:
        """Waits for a place; None where that would take too long."""
        loop = asyncio.get_running_loop()
        delay = self._reserve(loop.time())
        if delay > self._wait:
            self.refused += 1
            return None
        self.waiting += 1
        try:
            async with asyncio.timeout(self._wait):
                if delay > 0:
                    await asyncio.sleep(delay)
                await self._free.acquire()
        except TimeoutError:
            self.refused += 1
            return None
        finally:
            self.waiting -= 1
        return Place(self._free, self._patience)

    def _reserve(self, now: float) -> float:
        """Seconds until the rate allows one more, which is then counted unless that is too long."""
        turn = max(self._next, now - self._burst)
        if turn - now <= self._wait:
            self._next = turn + self._interval
        return max(0.0, turn - now)
