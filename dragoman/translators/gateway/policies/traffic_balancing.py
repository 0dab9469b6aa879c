"""A TrafficPolicy's `loadBalancing` and `failover` -> how one of a cluster's endpoints is chosen."""

from __future__ import annotations

from dataclasses import replace

from dragoman.diagnostics import Diagnostic
from dragoman.ir import model as ir, upstream
from dragoman.translators.gateway.models import policy, traffic_balancing as model
from dragoman.translators.gateway.policies import losses


def apply(cluster: ir.Cluster, merged: losses.Merged) -> tuple[ir.Cluster, tuple[Diagnostic, ...]]:
    """The cluster with its choice of endpoints."""
    cluster, lost = _few(cluster, merged)
    given = policy.on(merged.spec.load_balancing)
    if given is None:
        return cluster, lost
    made = balancing(given)
    if cluster.protocol is not ir.AppProtocol.NONE or not isinstance(
        made, upstream.RingHash | upstream.Maglev
    ):
        return replace(cluster, balancing=made), lost
    sources = tuple(one for one in made.sources if isinstance(one, upstream.HashAddress))
    if sources == made.sources:
        return replace(cluster, balancing=made), lost
    why = f"which is spoken to {losses.spoken(cluster)}: there is only the client's address to hash on"
    lost += tuple(losses.of(cluster, merged, ("loadBalancing", "hashOn"), why=why))
    return (replace(cluster, balancing=replace(made, sources=sources)) if sources else cluster), lost


def _few(cluster: ir.Cluster, merged: losses.Merged) -> tuple[ir.Cluster, tuple[Diagnostic, ...]]:
    """What happens when few endpoints are left. A breaker that asks those that are left alone would be
    none."""
    given, outliers = policy.on(merged.spec.failover), policy.on(merged.spec.outlier_detection)
    if given is None:
        return cluster, ()
    panic = given.panic_threshold or 0
    lost: tuple[Diagnostic, ...] = ()
    if panic and outliers is not None and outliers.breaker:
        panic = 0
        lost = tuple(losses.of(cluster, merged, ("failover", "panicThreshold"), why="which has a breaker"))
    return replace(cluster, panic=panic, overprovision=given.overprovisioning_percent or 140), lost


def balancing(given: model.LoadBalancing) -> upstream.Balancing:
    """The section as a value. Its rules hold: whatever is said fits the type."""
    local = (given.minimum_local_endpoints or 1) if given.prefer_local_zone else 0
    slow = given.slow_start
    start = (
        upstream.SlowStart(slow.window, slow.aggression or 1.0, slow.minimum_percent or 10) if slow else None
    )
    sources = tuple(map(_source, given.hash_on or ()))
    match given.type:
        case None | "LeastRequest":
            bias = 1.0 if given.active_request_bias is None else given.active_request_bias
            return upstream.LeastRequest(given.choices or 2, bias, start, local)
        case "RoundRobin":
            return upstream.RoundRobin(start, local)
        case "Random":
            return upstream.Random(local)
        case "RingHash":
            most = given.maximum_ring_size or model.RING_LIMIT
            least = given.minimum_ring_size or min(1024, most)
            return upstream.RingHash(sources, least, most, given.balance_factor or 0)
        case "Maglev":
            return upstream.Maglev(sources, given.table_size or 65537, given.balance_factor or 0)


def _source(given: model.HashSource) -> upstream.HashSource:
    if given.header is not None:
        return upstream.HashHeader(given.header.lower())
    if given.cookie is not None:
        return upstream.HashCookie(given.cookie.name, given.cookie.ttl, given.cookie.path or "/")
    if given.query_parameter is not None:
        return upstream.HashQuery(given.query_parameter)
    return upstream.HashAddress()
