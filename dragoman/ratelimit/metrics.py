"""What the rate-limit service counts, and how Prometheus sees it.

A call touches plain integers only; a scrape reads them. Counts belong to the name that a limit has for
metrics, so they outlive a change of the configuration. Names that carry values from requests
(`detailed_metric`) are as many as clients want: beyond `MOST` they count together as `other`.
"""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import prometheus_client as prometheus
from prometheus_client import core

from dragoman.telemetry import metrics as telemetry

MOST: Final = 10_000
OTHER: Final = "other"

NEAR: Final = (8, 10)
"""A hit is near the limit beyond this part of the capacity (as a fraction, to stay with whole numbers)."""

BUCKETS: Final = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0)
"""Seconds that a decision takes; a delay that is the answer is not among them."""


class Counts:
    """Hits of one limit. Every hit is `within` or `over`; `shadow` are those `over` that were let pass,
    `near` those `within` that came near the limit, `unknown` those that nothing could count, `refunded`
    those given back.
    """

    __slots__ = ("near", "over", "refunded", "shadow", "unknown", "within")

    def __init__(self) -> None:
        self.within = self.over = self.shadow = self.near = self.unknown = self.refunded = 0

    def count(self, hits: int, used: int, capacity: int, allowed: bool, forgiven: bool) -> None:
        """One decision. `used`: what counts after it; `forgiven`: over the limit, but passed."""
        if hits <= 0:
            self.refunded -= hits
        elif allowed:
            self.within += hits
            near = used - capacity * NEAR[0] // NEAR[1]
            if near > 0:
                self.near += min(near, hits)
        else:
            self.over += hits
            if forgiven:
                self.shadow += hits


class Metrics:
    """All counts of one service. `text` is the exposition."""

    def __init__(self) -> None:
        self.registry = prometheus.CollectorRegistry()
        self.registry.register(self)
        prometheus.ProcessCollector(registry=self.registry)
        self.limits: dict[str, Counts] = {}
        self.decisions: Counter[tuple[str, str]] = Counter()
        """(domain, outcome): `ok`, `over_limit`, `error`. Domains that no configuration has are `other`."""
        self.loads: Counter[str] = Counter()
        """Configurations taken (`taken`) and turned away (`refused`)."""
        self._mirrors: list[tuple[str, str, str, Callable[[], Mapping[str, float]]]] = []
        self._latency = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0

    def of(self, name: str) -> Counts:
        """The counts of a limit, made at the first use."""
        found = self.limits.get(name)
        if found is None:
            if len(self.limits) >= MOST:
                name = OTHER
            found = self.limits.setdefault(name, Counts())
        return found

    def took(self, seconds: float) -> None:
        """A decision was made in so many seconds."""
        self._latency[bisect.bisect_left(BUCKETS, seconds)] += 1
        self._seconds += seconds

    def mirror(self, name: str, text: str, label: str, read: Callable[[], Mapping[str, float]]) -> None:
        """Adds a counter `dragoman_ratelimit_<name>` whose values `read` gives at scrape time."""
        self._mirrors.append((name, text, label, read))

    def text(self) -> bytes:
        return telemetry.exposition(self.registry)

    # prometheus_client's protocol

    def describe(self) -> Iterable[core.Metric]:
        return ()

    def collect(self) -> Iterable[core.Metric]:
        hits = _counter("hits", "Hits, by limit and what became of them.", "limit", "outcome")
        near = _counter("near_limit_hits", "Hits beyond 80 % of the limit, not over it.", "limit")
        for name, counts in list(self.limits.items()):
            outcomes = ("within", counts.within), ("over", counts.over - counts.shadow)
            more = ("shadow", counts.shadow), ("unknown", counts.unknown), ("refunded", counts.refunded)
            for outcome, number in (*outcomes, *more):
                hits.add_metric([name, outcome], number)
            near.add_metric([name], counts.near)
        yield hits
        yield near
        decisions = _counter("decisions", "Calls, by domain and answer.", "domain", "outcome")
        for (domain, outcome), number in list(self.decisions.items()):
            decisions.add_metric([domain, outcome], number)
        yield decisions
        loads = _counter("config_loads", "Configurations, taken or refused.", "outcome")
        for outcome in ("taken", "refused"):
            loads.add_metric([outcome], self.loads[outcome])
        yield loads
        for each, text, label, read in self._mirrors:
            family = _counter(each, text, label)
            for value, amount in read().items():
                family.add_metric([value], amount)
            yield family
        yield self._histogram()

    def _histogram(self) -> core.Metric:
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip([*map(str, BUCKETS), "+Inf"], self._latency, strict=True):
            total += count
            buckets.append((bound, float(total)))
        family = core.HistogramMetricFamily(
            "dragoman_ratelimit_decision_seconds",
            "From the request to the decision, the store's time included.",
        )
        family.add_metric([], buckets, self._seconds)
        return family


def _counter(name: str, text: str, *labels: str) -> core.CounterMetricFamily:
    return core.CounterMetricFamily(f"dragoman_ratelimit_{name}", text, labels=labels)
