"""Metrics: what Prometheus reads at /metrics. Names, meanings and buckets stand here and nowhere else.

One `Metrics` per process part (the runtime owns one; tests make their own), with a registry of its own.
Counters and histograms are fed when something happens; gauges that only mirror state are read when somebody
scrapes, through `mirror`, so that no work is done per change for a scrape that may never come."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable
from typing import Final

import prometheus_client as prometheus
from prometheus_client import core

import dragoman

CONTENT_TYPE: Final = prometheus.CONTENT_TYPE_LATEST

_FAST: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds: from a small change's build to a warming that takes its time."""

# When a counter was made says nothing that `process_start_time_seconds` does not.
prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]

Sample = tuple[tuple[str, ...], float]
"""Label values, value."""


class Metrics:
    """All of Dragoman's own metrics. `type` labels are CDS, EDS, ECDS, LDS, RDS, SDS; `group` is the node
    group."""

    def __init__(self) -> None:
        self.registry = prometheus.CollectorRegistry()
        self._mirror = _Mirror()
        self.registry.register(self._mirror)
        prometheus.ProcessCollector(registry=self.registry)
        info = prometheus.Info("dragoman", "Versions.", registry=self.registry)
        info.info({"version": dragoman.__version__, "python": platform.python_version()})
        self.streams = prometheus.Gauge(
            "dragoman_xds_streams", "Streams that ask for a type.", ("type", "group"), registry=self.registry
        )
        self.acks = self._counter("xds_acks", "Responses that proxies accepted.", "type", "group")
        self.nacks = self._counter("xds_nacks", "Responses that proxies rejected.", "type", "group")
        self.pushes = self._counter("xds_responses", "Responses sent.", "type", "group")
        self.pushed_bytes = self._counter("xds_sent_bytes", "Bytes of resources sent.", "type", "group")
        self.change_to_ack = self._histogram(
            "xds_change_to_ack_seconds", "From a change applied to the proxy's ACK of it.", "type"
        )
        self.build = self._histogram(
            "build_seconds", "From documents in hand to finished resources, per batch."
        )
        self.batches = self._counter("batches", "Batches of changes applied.")
        self.verdicts = self._counter(
            "rollout_verdicts", "What the checks of Rollouts found.", "rollout", "verdict"
        )
        self.changes = self._counter(
            "object_changes", "Objects added, changed or removed, as sources reported them.", "kind"
        )

    def mirror(
        self, name: str, text: str, labels: tuple[str, ...], read: Callable[[], Iterable[Sample]]
    ) -> None:
        """Adds a gauge `dragoman_<name>` whose samples `read` gives at scrape time."""
        self._mirror.add(f"dragoman_{name}", text, labels, read)

    def text(self) -> bytes:
        """The exposition for `CONTENT_TYPE`."""
        return exposition(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> prometheus.Counter:
        return prometheus.Counter(f"dragoman_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, *labels: str) -> prometheus.Histogram:
        return prometheus.Histogram(f"dragoman_{name}", text, labels, buckets=_FAST, registry=self.registry)


def exposition(registry: prometheus.CollectorRegistry) -> bytes:
    """What a registry has, for `CONTENT_TYPE`."""
    return prometheus.generate_latest(registry)


class _Mirror:
    """The collector behind `Metrics.mirror`."""

    def __init__(self) -> None:
        self._gauges: list[tuple[str, str, tuple[str, ...], Callable[[], Iterable[Sample]]]] = []

    def add(
        self, name: str, text: str, labels: tuple[str, ...], read: Callable[[], Iterable[Sample]]
    ) -> None:
        self._gauges.append((name, text, labels, read))

    def describe(self) -> Iterable[core.Metric]:
        return ()

    def collect(self) -> Iterable[core.Metric]:
        for name, text, labels, read in self._gauges:
            family = core.GaugeMetricFamily(name, text, labels=labels)
            for values, value in read():
                family.add_metric(values, value)
            yield family
