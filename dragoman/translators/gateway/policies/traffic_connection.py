"""A TrafficPolicy's `connection` and `timeouts.idle` -> how a cluster's connections are kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from dragoman.diagnostics import Diagnostic
from dragoman.ir import model as ir, upstream
from dragoman.refs import FieldPath
from dragoman.translators.gateway.models import policy, traffic_backends as model
from dragoman.translators.gateway.policies import losses

_HTTP: Final[tuple[FieldPath, ...]] = (
    ("timeouts", "idle"),
    ("connection", "protocol"),
    ("connection", "maxRequests"),
    ("connection", "maxDuration"),
    ("connection", "http2"),
)
_TCP: Final[tuple[FieldPath, ...]] = (
    ("connection", "bufferLimit"),
    ("connection", "tcpKeepalive"),
    ("connection", "proxyProtocol"),
)
_SPOKEN: Final = {
    "HTTP1": ir.AppProtocol.HTTP1,
    "HTTP2": ir.AppProtocol.HTTP2,
    "Auto": ir.AppProtocol.AUTO,
}
_PROXY: Final = {"V1": upstream.ProxyHeader.V1, "V2": upstream.ProxyHeader.V2}


def apply(cluster: ir.Cluster, merged: losses.Merged) -> tuple[ir.Cluster, tuple[Diagnostic, ...]]:
    """The cluster with its connections kept as the policies want it. Comes after TLS."""
    given = policy.on(merged.spec.connection)
    times = policy.on(merged.spec.timeouts)
    idle = times.idle if times is not None else None
    if given is None and idle is None:
        return cluster, ()
    http = cluster.protocol is not ir.AppProtocol.NONE
    datagrams = cluster.key.transport == ir.Transport.DATAGRAMS.value
    lost = tuple(losses.of(cluster, merged, *(() if http else _HTTP), *(_TCP if datagrams else ())))
    if datagrams:
        return cluster, lost
    if http and given is not None and given.protocol is not None:
        cluster, more = _protocol(cluster, _SPOKEN[given.protocol], merged)
        lost += more
    made = _connection(given or model.Connection(), idle)
    if not http:
        made = replace(made, idle=None, requests=0, age=0.0, http2=None)
    return (cluster if made == upstream.Connection() else replace(cluster, connection=made)), lost


def _protocol(
    cluster: ir.Cluster, wanted: ir.AppProtocol, merged: losses.Merged
) -> tuple[ir.Cluster, tuple[Diagnostic, ...]]:
    why = ""
    if wanted is ir.AppProtocol.AUTO and cluster.tls is None:
        why = "where there is no TLS handshake to settle it in"
    elif wanted is ir.AppProtocol.HTTP1 and cluster.key.transport == ir.Transport.GRPC.value:
        why = "which gets gRPC: that needs HTTP/2"
    if why:
        return cluster, tuple(losses.of(cluster, merged, ("connection", "protocol"), why=why))
    return replace(cluster, protocol=wanted), ()


def _connection(given: model.Connection, idle: float | None) -> upstream.Connection:
    keepalive, http2 = policy.on(given.tcp_keepalive), policy.on(given.http2)
    return upstream.Connection(
        idle,
        given.max_requests or 0,
        given.max_duration or 0.0,
        given.buffer_limit or 0,
        upstream.Keepalive(int(keepalive.idle or 0), int(keepalive.interval or 0), keepalive.probes or 0)
        if keepalive is not None
        else None,
        _http2(http2) if http2 is not None else None,
        _PROXY[given.proxy_protocol] if given.proxy_protocol is not None else None,
    )


def _http2(given: model.Http2) -> upstream.Http2:
    return upstream.Http2(
        given.max_concurrent_streams,
        given.initial_stream_window,
        given.initial_connection_window,
        given.ping_interval or 0.0,
        10.0 if given.ping_timeout is None else given.ping_timeout,
    )
