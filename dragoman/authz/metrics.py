"""What the companion counts, and how Prometheus sees it. Names of policies are the only labels that users
choose; no token, key or client is in any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

import prometheus_client as prometheus
from prometheus_client import core

from dragoman.telemetry import metrics as telemetry

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds that an issuer takes."""


class Metrics:
    """All counts of one companion. `text` is the exposition; `sizes` gives the tokens remembered, by policy.
    They can be registered with another page too: the control plane's."""

    def __init__(self, sizes: Callable[[], Mapping[str, int]] = dict) -> None:
        self.registry = prometheus.CollectorRegistry()
        prometheus.ProcessCollector(registry=self.registry)
        self.registry.register(self)
        self.sizes = sizes
        self._requests = prometheus.Counter(
            "dragoman_authz_requests",
            "Requests, by policy and what became of them.",
            ("policy", "outcome"),
            registry=None,
        )
        self._calls = prometheus.Histogram(
            "dragoman_authz_introspection_seconds",
            "Questions to issuers, by policy and answer.",
            ("policy", "outcome"),
            buckets=BUCKETS,
            registry=None,
        )
        self._cache = prometheus.Counter(
            "dragoman_authz_cache",
            "Tokens that were remembered (hit), asked for (miss), or being asked for (joined).",
            ("policy", "outcome"),
            registry=None,
        )
        self._errors = prometheus.Counter(
            "dragoman_authz_errors",
            "Requests about which nobody could be asked, by policy and reason.",
            ("policy", "reason"),
            registry=None,
        )

    def request(self, policy: str, outcome: str) -> None:
        self._requests.labels(policy, outcome).inc()

    def asked(self, policy: str, outcome: str, seconds: float) -> None:
        self._calls.labels(policy, outcome).observe(seconds)

    def cache(self, outcome: str, policy: str) -> None:
        self._cache.labels(policy, outcome).inc()

    def error(self, policy: str, reason: str) -> None:
        self._errors.labels(policy, reason).inc()

    def text(self) -> bytes:
        return telemetry.exposition(self.registry)

    # prometheus_client's protocol

    def describe(self) -> Iterable[core.Metric]:
        return ()

    def collect(self) -> Iterable[core.Metric]:
        for each in (self._requests, self._calls, self._cache, self._errors):
            yield from each.collect()
        family = core.GaugeMetricFamily(
            "dragoman_authz_cache_entries", "Tokens that are remembered.", labels=("policy",)
        )
        for policy, size in self.sizes().items():
            family.add_metric([policy], size)
        yield family
