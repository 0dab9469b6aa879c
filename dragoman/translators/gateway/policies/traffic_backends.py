"""A TrafficPolicy's part about backends -> clusters: a module for each section, called in turn.

Called by `backends.cluster` for each cluster that policies reach. What does not fit a cluster (HTTP settings
on one that gets plain bytes) is left out and said, never sent to Envoy, which would refuse all of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from dragoman.diagnostics import Diagnostic
from dragoman.ir import model as ir
from dragoman.refs import FieldPath
from dragoman.translators.gateway.models import policy, trafficpolicy
from dragoman.translators.gateway.policies import (
    merge,
    traffic_balancing,
    traffic_connection,
    traffic_health,
    traffic_limits,
    traffic_outliers,
    traffic_tls,
)

FIELDS: Final[tuple[FieldPath, ...]] = (
    ("timeouts", "connect"),
    ("timeouts", "idle"),
    ("retries", "budget"),
    ("circuitBreaker",),
    ("outlierDetection",),
    ("loadBalancing",),
    ("failover",),
    ("healthCheck",),
    ("connection",),
    ("tls",),
)
"""The fields that concern backends: policies of routes that say any of them get clusters of their own."""

Merged = merge.Merged[trafficpolicy.TrafficPolicy]

_PARTS: Final = (
    traffic_connection.apply,
    traffic_limits.apply,
    traffic_outliers.apply,
    traffic_balancing.apply,
    traffic_health.apply,
)


def apply(cluster: ir.Cluster, merged: Merged, *, firm: bool) -> tuple[ir.Cluster, tuple[Diagnostic, ...]]:
    """The cluster as the policies want it, and what of them has no effect on it. `firm`: the backend says
    itself whom to trust."""
    said = tuple(one for one in merged.said if _below(one.origin.path[1:], FIELDS))
    if not said:
        return cluster, ()
    times = policy.on(merged.spec.timeouts)
    if times is not None and times.connect is not None:
        cluster = replace(cluster, connect_timeout=times.connect)
    cluster, findings = traffic_tls.apply(cluster, merged, firm=firm)
    for part in _PARTS:
        cluster, more = part(cluster, merged)
        findings += more
    return replace(cluster, said=said), tuple(dict.fromkeys(findings))


def _below(path: FieldPath, fields: Iterable[FieldPath]) -> bool:
    return any(path[: len(field)] == field for field in fields)
