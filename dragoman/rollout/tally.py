"""What Envoy reported of a canary's requests since the last verdict: counts, and a histogram of latencies.

The histogram's buckets grow by two percent, so a percentile is right within that and the memory is bounded
whatever the traffic. Pure; the controller has one per check.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from dragoman.ir.rollouts import Check
from dragoman.rollout.machine import Measurement

_GROWTH: Final = math.log(1.02)
_LEAST: Final = 1e-6


@dataclass(slots=True)
class Tally:
    """`add` requests, `judge` them. Seconds."""

    good: int = 0
    bad: int = 0
    _latencies: Counter[int] = field(default_factory=Counter)

    @property
    def requests(self) -> int:
        return self.good + self.bad

    def add(self, *, good: bool, seconds: float) -> None:
        """One finished request."""
        if good:
            self.good += 1
        else:
            self.bad += 1
        self._latencies[math.ceil(math.log(max(seconds, _LEAST)) / _GROWTH)] += 1

    def percentile(self, percent: float) -> float:
        """Seconds that `percent` of the requests took at most. There must be one."""
        wanted = math.ceil(self.requests * percent / 100)
        for bucket in sorted(self._latencies):
            wanted -= self._latencies[bucket]
            if wanted <= 0:
                return math.exp(bucket * _GROWTH)
        raise ValueError("no requests")

    def judge(self, check: Check) -> Measurement:
        """Whether they are good enough, once there are enough of them."""
        if self.requests < check.requests:
            return Measurement(None, f"{self.requests} of {check.requests} requests")
        good = True
        words: list[str] = []
        if check.success is not None:
            rate = 100 * self.good / self.requests
            good = good and rate >= check.success
            words.append(f"{rate:.2f}% success")
        if check.latency is not None:
            took = self.percentile(check.percentile)
            good = good and took <= check.latency
            words.append(f"p{check.percentile:g} {1000 * took:.3g}ms")
        return Measurement(good, f"{', '.join(words)} of {self.requests} requests")
