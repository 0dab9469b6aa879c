"""TrafficPolicy (dragoman.dev/v1alpha1): how requests and backends are dealt with.

What concerns requests (`traffic_requests`, `traffic_failures`) becomes part of routes, what concerns backends
(`traffic_backends`) part of clusters.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dragoman.translators.gateway.models import (
    meta,
    policy,
    traffic_backends,
    traffic_balancing,
    traffic_failures,
    traffic_health,
    traffic_requests,
    traffic_tls,
)


@meta.shape
class TrafficPolicy(policy.Policy):
    """TrafficPolicySpec."""

    timeouts: Annotated[
        traffic_requests.Timeouts | None, Field(description="How long everything may take.")
    ] = None
    retries: Annotated[
        traffic_requests.Retries | None, Field(description="Which requests are tried again, and how.")
    ] = None
    fallback: Annotated[
        traffic_failures.Fallback | None,
        Field(description="What is done when the backend cannot be reached."),
    ] = None
    faults: Annotated[traffic_failures.Faults | None, Field(description="Failures on purpose.")] = None
    circuit_breaker: Annotated[
        traffic_backends.CircuitBreaker | None,
        Field(description="How much may be under way to a backend at once."),
    ] = None
    outlier_detection: Annotated[
        traffic_backends.OutlierDetection | None,
        Field(description="Which endpoints are left alone for a while."),
    ] = None
    load_balancing: Annotated[
        traffic_balancing.LoadBalancing | None, Field(description="How one of several endpoints is chosen.")
    ] = None
    failover: Annotated[
        traffic_backends.Failover | None, Field(description="What happens when few endpoints are left.")
    ] = None
    health_check: Annotated[
        traffic_health.HealthCheck | None, Field(description="How endpoints are asked for their health.")
    ] = None
    connection: Annotated[
        traffic_backends.Connection | None, Field(description="How connections are made and kept.")
    ] = None
    tls: Annotated[traffic_tls.Tls | None, Field(description="TLS to backends.")] = None
