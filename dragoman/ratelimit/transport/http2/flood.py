"""How many frames that serve no call a peer may send: the measure against floods.

Rapid reset (CVE-2023-44487), made resets (CVE-2025-8671), and floods of PING, SETTINGS, PRIORITY,
WINDOW_UPDATE, empty or unknown frames (CVE-2019-9512 to 9518) have one thing in common: work for us without a
call that is answered. A connection has so much patience for it; every answered call and every moment give
some back, so what an honest peer needs (a keep-alive PING, a cancelled call now and then) never adds up.

Pure: the clock is a parameter. `connection` asks `charge` for each such frame.
"""

from __future__ import annotations

from typing import Final

_PER_SECOND: Final = 100
_PER_ANSWER: Final = 4


class Patience:
    """A bucket of `limit` frames, refilled by time and by answered calls."""

    __slots__ = ("_answered", "_left", "_limit", "_then")

    def __init__(self, limit: int, now: float) -> None:
        self._limit = float(limit)
        self._left = float(limit)
        self._then = now
        self._answered = 0

    def charge(self, now: float, answered: int) -> bool:
        """Takes one frame out; `answered` is the connection's count of answered calls so far. False when the
        peer has used up its patience."""
        earned = (now - self._then) * _PER_SECOND + (answered - self._answered) * _PER_ANSWER
        self._then = now
        self._answered = answered
        self._left = min(self._limit, self._left + earned) - 1
        return self._left >= 0
