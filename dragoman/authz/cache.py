"""What was found out about tokens, for a while: bounded, least recently used first out, and never beyond a
token's end.

Tokens that are good and tokens that are not are kept apart, so that nobody drives the good ones out by
guessing. Keys are keyed hashes: the token itself is not here. Pure; the clocks are given.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from dragoman.authz.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Clock:
    """`wall`: seconds since 1970, which a token's end is in; `steady` never goes back."""

    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic


class _Entry(NamedTuple):
    verdict: Verdict
    until: float
    """Of the steady clock."""
    end: float
    """Of the other one; infinity for none."""


class Cache:
    """`most` good tokens, and as many that are not."""

    def __init__(self, most: int, clock: Clock) -> None:
        self._most = most
        self._clock = clock
        self._good: OrderedDict[bytes, _Entry] = OrderedDict()
        self._bad: OrderedDict[bytes, _Entry] = OrderedDict()
        self._key = os.urandom(32)

    def __len__(self) -> int:
        return len(self._good) + len(self._bad)

    def key(self, token: str) -> bytes:
        """What stands for the token, here and nowhere else."""
        return hashlib.blake2b(token.encode(errors="replace"), digest_size=16, key=self._key).digest()

    def get(self, key: bytes) -> Verdict | None:
        for entries in (self._good, self._bad):
            entry = entries.get(key)
            if entry is None:
                continue
            if entry.until <= self._clock.steady() or entry.end <= self._clock.wall():
                del entries[key]
                return None
            entries.move_to_end(key)
            return entry.verdict
        return None

    def put(self, key: bytes, verdict: Verdict, *, good: bool, ttl: float, end: float) -> None:
        """Kept for `ttl` seconds, and never at or beyond `end`."""
        ttl = min(ttl, end - self._clock.wall())
        if ttl <= 0:
            return
        entries, other = (self._good, self._bad) if good else (self._bad, self._good)
        other.pop(key, None)
        entries[key] = _Entry(verdict, self._clock.steady() + ttl, end)
        entries.move_to_end(key)
        while len(entries) > self._most:
            entries.popitem(last=False)
