"""A TrafficPolicy's `circuitBreaker` and `retries.budget` -> a cluster's limits."""

from __future__ import annotations

from dataclasses import replace

from dragoman.diagnostics import Diagnostic
from dragoman.ir import model as ir, upstream
from dragoman.translators.gateway.models import policy
from dragoman.translators.gateway.policies import losses


def apply(cluster: ir.Cluster, merged: losses.Merged) -> tuple[ir.Cluster, tuple[Diagnostic, ...]]:
    """The cluster with its limits. Connections that are not looked into count as connections alone."""
    given = policy.on(merged.spec.circuit_breaker)
    budget = _budget(merged)
    if given is None and budget is None:
        return cluster, ()
    if cluster.key.transport == ir.Transport.DATAGRAMS.value:
        return cluster, tuple(losses.of(cluster, merged, ("circuitBreaker",)))
    made = upstream.Limits(budget=budget)
    if given is not None:
        made = upstream.Limits(
            given.max_connections,
            given.max_pending_requests,
            given.max_requests,
            given.max_retries,
            given.max_connections_per_endpoint,
            budget,
        )
    lost: tuple[Diagnostic, ...] = ()
    if cluster.protocol is ir.AppProtocol.NONE:
        lost = tuple(
            losses.of(cluster, merged, ("circuitBreaker", "maxRequests"), ("circuitBreaker", "maxRetries"))
        )
        made = replace(made, requests=None, retries=None, budget=None)
    return (cluster if made == upstream.Limits() else replace(cluster, limits=made)), lost


def _budget(merged: losses.Merged) -> upstream.RetryBudget | None:
    """Retries are a matter of requests, but their budget is kept by the cluster."""
    retries = policy.on(merged.spec.retries)
    given = retries.budget if retries is not None else None
    if given is None:
        return None
    default = upstream.RetryBudget()
    return upstream.RetryBudget(
        default.percent if given.percent is None else given.percent,
        default.at_least if given.min_concurrent is None else given.min_concurrent,
    )
