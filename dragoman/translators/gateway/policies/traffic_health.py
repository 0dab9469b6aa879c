"""A TrafficPolicy's `healthCheck` -> how a cluster's endpoints are asked for their health, and which are left
alone until they are asked again."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from dragoman.diagnostics import Diagnostic
from dragoman.ir import model as ir, upstream
from dragoman.translators.gateway.models import policy, traffic_health as model
from dragoman.translators.gateway.policies import losses

_FAILURES: Final = 3
"""One may be a slow request, or a stream that the endpoint itself gave up."""


def apply(cluster: ir.Cluster, merged: losses.Merged) -> tuple[ir.Cluster, tuple[Diagnostic, ...]]:
    """The cluster with its check. Comes after whatever settles the protocol and TLS, and outliers."""
    given = policy.on(merged.spec.health_check)
    if given is None:
        return cluster, ()
    if cluster.key.transport == ir.Transport.DATAGRAMS.value:
        return cluster, tuple(losses.of(cluster, merged, ("healthCheck",)))
    kind = "http" if given.http is not None else "grpc" if given.grpc is not None else "tcp"
    why = ""
    if cluster.protocol is ir.AppProtocol.NONE and kind != "tcp":
        why = f"which is spoken to {losses.spoken(cluster)}: its endpoints are not checked"
    elif cluster.protocol is ir.AppProtocol.HTTP1 and kind == "grpc":
        why = "which speaks HTTP/1.1: its endpoints are not checked"
    if why:
        return cluster, tuple(losses.of(cluster, merged, ("healthCheck", kind), why=why))
    checked = replace(cluster, health_check=_check(given, _name(cluster)))
    if merged.spec.outlier_detection is None:
        checked = replace(checked, outliers=_outliers(given))
    return checked, ()


def _outliers(given: model.HealthCheck) -> upstream.Outliers | None:
    """Checks find a dead endpoint after seconds, requests at once; the next good check brings it back."""
    failures = _FAILURES if given.connection_failures is None else given.connection_failures
    if not failures:
        return None
    made = upstream.Outliers(local_errors=failures, split=True)
    return replace(made, longest=made.base)


def _check(given: model.HealthCheck, name: str) -> upstream.HealthCheck:
    default = upstream.HealthCheck(upstream.TcpProbe())
    return upstream.HealthCheck(
        _probe(given, name),
        given.interval or default.interval,
        given.timeout or default.timeout,
        given.unhealthy_threshold or default.unhealthy,
        given.healthy_threshold or default.healthy,
        default.jitter if given.jitter_percent is None else given.jitter_percent,
        given.unhealthy_interval,
        given.unhealthy_edge_interval,
        given.healthy_edge_interval,
        given.no_traffic_interval,
    )


def _probe(given: model.HealthCheck, name: str) -> upstream.Probe:
    if given.http is not None:
        http = given.http
        statuses = tuple((one.start, one.end) for one in http.expected_statuses or ())
        return upstream.HttpProbe(
            http.path, http.host or name, http.method or "GET", statuses, http.expected_body or ""
        )
    if given.grpc is not None:
        return upstream.GrpcProbe(given.grpc.service or "", given.grpc.authority or name)
    tcp = given.tcp or model.TcpCheck()
    return upstream.TcpProbe(tcp.send or "", tcp.receive or "")


def _name(cluster: ir.Cluster) -> str:
    """The Host header of checks: the name that certificates are checked against, the one host name of the
    endpoints, else the backend's own name."""
    if cluster.tls is not None and cluster.tls.sni:
        return cluster.tls.sni
    hosts = {one.hostname for one in cluster.endpoints}
    return (hosts.pop() if len(hosts) == 1 else "") or f"{cluster.key.ref.name}.{cluster.key.ref.namespace}"
