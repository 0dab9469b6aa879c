"""TrafficPolicy (dragoman.dev/v1alpha1): how requests and backends are dealt with.

What concerns requests (`traffic_requests`) becomes part of routes, what concerns backends
(`traffic_backends`) part of clusters.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dragoman.translators.gateway.models import meta, policy, traffic_backends, traffic_requests


@meta.shape
class TrafficPolicy(policy.Policy):
    """TrafficPolicySpec."""

    timeouts: Annotated[
        traffic_requests.Timeouts | None, Field(description="How long everything may take.")
    ] = None
    circuit_breaker: Annotated[
        traffic_backends.CircuitBreaker | None,
        Field(description="How much may be under way to a backend at once."),
    ] = None
