"""Circuit breakers in Envoy's sense: how much may be under way to a cluster at once. Called by `clusters.py`.

What is not limited is as good as off: Envoy's 1024 connections are a surprise in production, not a
protection. Where something is limited, gauges say how much of it is left (`remaining_cx` ...).
"""

from __future__ import annotations

from typing import Final

from dragoman.ir import upstream
from dragoman.proto.envoy.config.cluster import v3 as cluster_proto

_UNLIMITED: Final = 2**32 - 1


def write(target: cluster_proto.CircuitBreakers, limits: upstream.Limits | None) -> None:
    """All of a cluster's limits; None: none."""
    given = limits or upstream.Limits()
    thresholds = target.thresholds.add()
    thresholds.max_connections.value = _number(given.connections)
    thresholds.max_pending_requests.value = _number(given.pending)
    thresholds.max_requests.value = _number(given.requests)
    thresholds.max_retries.value = _number(given.retries)
    thresholds.track_remaining = limits is not None
    if given.budget is not None:
        thresholds.retry_budget.budget_percent.value = given.budget.percent
        thresholds.retry_budget.min_retry_concurrency.value = given.budget.at_least
    if given.endpoint_connections is not None:
        target.per_host_thresholds.add().max_connections.value = given.endpoint_connections


def _number(limit: int | None) -> int:
    return _UNLIMITED if limit is None else limit
