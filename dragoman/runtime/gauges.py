"""Feeds the metrics: what the ledger counts as it happens, and what is read off the state when somebody
scrapes.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable

from dragoman.diagnostics import Severity
from dragoman.graph.pipeline import Pipeline
from dragoman.resource import SHORT, TYPES
from dragoman.rollout.controller import Controller
from dragoman.runtime.chronicle import Chronicle
from dragoman.runtime.groups import Groups
from dragoman.telemetry.metrics import Metrics, Sample
from dragoman.xds.throttle import Throttle


class Counts:
    """`xds.ledger.Observer` over the metrics. Which counter it is takes longer to look up than to count, and
    a change is counted for each of a thousand streams: what was looked up is kept."""

    def __init__(self, metrics: Metrics) -> None:
        self._streams = functools.cache(metrics.streams.labels)
        self._pushes = functools.cache(metrics.pushes.labels)
        self._pushed_bytes = functools.cache(metrics.pushed_bytes.labels)
        self._acks = functools.cache(metrics.acks.labels)
        self._nacks = functools.cache(metrics.nacks.labels)
        self._change_to_ack = functools.cache(metrics.change_to_ack.labels)
        self._of_groups = (
            (metrics.streams, self._streams),
            (metrics.pushes, self._pushes),
            (metrics.pushed_bytes, self._pushed_bytes),
            (metrics.acks, self._acks),
            (metrics.nacks, self._nacks),
        )

    def forget(self, group: str) -> None:
        """The group is dropped, and its series with it: nodes name groups, and some name a new one with each
        release. Should it come back, they begin anew."""
        for metric, looked_up in self._of_groups:
            looked_up.cache_clear()
            for kind in SHORT.values():
                with contextlib.suppress(KeyError):
                    metric.remove(kind, group)

    def streams(self, kind: str, group: str, change: int) -> None:
        self._streams(kind, group).inc(change)

    def pushed(self, kind: str, group: str, size: int) -> None:
        self._pushes(kind, group).inc()
        self._pushed_bytes(kind, group).inc(size)

    def ack(self, kind: str, group: str) -> None:
        self._acks(kind, group).inc()

    def nack(self, kind: str, group: str) -> None:
        self._nacks(kind, group).inc()

    def converged(self, kind: str, group: str, seconds: float) -> None:
        self._change_to_ack(kind).observe(seconds)


def mirror(
    metrics: Metrics, pipeline: Pipeline, groups: Groups, chronicle: Chronicle, not_ready: Callable[[], str]
) -> None:
    """Gauges that cost nothing until they are read."""

    def resources() -> Iterable[Sample]:
        for group, view in pipeline.groups.items():
            for type_url in TYPES:
                yield (SHORT[type_url], group), len(view.resources(type_url))

    def diagnostics() -> Iterable[Sample]:
        found = chronicle.severities()
        return [((severity.label,), found.get(severity, 0)) for severity in Severity]

    metrics.mirror("ready", "1 while proxies are served.", (), lambda: [((), 0.0 if not_ready() else 1.0)])
    metrics.mirror("resources", "Resources of a node group.", ("type", "group"), resources)
    metrics.mirror("diagnostics", "Findings that stand.", ("severity",), diagnostics)
    metrics.mirror("objects", "Objects by kind.", ("kind",), lambda: _kinds(pipeline))
    metrics.mirror("groups", "Node groups that have streams.", (), lambda: [((), float(len(groups.uses)))])


def mirror_throttle(metrics: Metrics, throttle: Throttle) -> None:
    """How many come at once."""
    metrics.mirror(
        "xds_streams_waiting",
        "New streams that wait for their turn, or for the first configuration.",
        (),
        lambda: [((), throttle.waiting)],
    )
    metrics.mirror(
        "xds_streams_refused",
        "New streams turned away because too many came at once, since the start.",
        (),
        lambda: [((), throttle.refused)],
    )


def mirror_rollouts(metrics: Metrics, rollouts: Controller) -> None:
    """What canaries get."""
    metrics.mirror(
        "rollout_weight",
        "Percent that the canary of a Rollout gets.",
        ("rollout",),
        lambda: [((name,), float(weight)) for name, weight in rollouts.weights.items()],
    )


def _kinds(pipeline: Pipeline) -> Iterable[Sample]:
    counts: dict[str, int] = {}
    for ref in pipeline.objects:
        counts[ref.kind] = counts.get(ref.kind, 0) + 1
    return [((kind,), number) for kind, number in sorted(counts.items())]
