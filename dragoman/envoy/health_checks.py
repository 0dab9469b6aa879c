"""Active health checks. Called by `clusters.py`.

They are made over the cluster's own transport, TLS and PROXY header included; what differs is what is
negotiated in the TLS handshake, since a check speaks one protocol whatever the traffic may choose.
"""

from __future__ import annotations

from typing import Final, assert_never

from dragoman.envoy import durations
from dragoman.ir import model as ir, upstream
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.type import v3 as type_proto

_METHODS: Final = {
    "GET": core.GET,
    "HEAD": core.HEAD,
    "POST": core.POST,
    "PUT": core.PUT,
    "DELETE": core.DELETE,
    "OPTIONS": core.OPTIONS,
    "PATCH": core.PATCH,
}


def write(target: core.HealthCheck, given: upstream.HealthCheck, cluster: ir.Cluster) -> None:
    """The one check of `cluster`."""
    durations.assign(target.interval, given.interval)
    durations.assign(target.timeout, given.timeout)
    # Not all Envoys, and not all clusters of one, at the same moment.
    durations.assign(target.initial_jitter, min(1.0, given.interval))
    target.interval_jitter_percent = given.jitter
    target.unhealthy_threshold.value = given.unhealthy
    target.healthy_threshold.value = given.healthy
    for field, seconds in (
        (target.unhealthy_interval, given.unhealthy_interval),
        (target.unhealthy_edge_interval, given.unhealthy_edge),
        (target.healthy_edge_interval, given.healthy_edge),
        # Envoy asks once a minute before the first request; a fallback would be noticed late.
        (target.no_traffic_interval, given.no_traffic or given.interval),
    ):
        if seconds is not None:
            durations.assign(field, seconds)
    two = _probe(target, given.probe, cluster.protocol)
    if cluster.tls is not None:
        target.tls_options.alpn_protocols.append("h2" if two else "http/1.1")


def _probe(target: core.HealthCheck, probe: upstream.Probe, protocol: ir.AppProtocol) -> bool:
    """Writes it; whether it speaks HTTP/2."""
    match probe:
        case upstream.HttpProbe():
            _http(target.http_health_check, probe)
            two = protocol is ir.AppProtocol.HTTP2
            if two:
                target.http_health_check.codec_client_type = type_proto.HTTP2
            return two
        case upstream.TcpProbe(send, receive):
            check = target.tcp_health_check
            check.SetInParent()
            if send:
                check.send.text = send.encode().hex()
            if receive:
                check.receive.add().text = receive.encode().hex()
            return False
        case upstream.GrpcProbe(service, authority):
            target.grpc_health_check.service_name = service
            target.grpc_health_check.authority = authority
            return True
        case _:
            assert_never(probe)


def _http(check: core.HealthCheck.HttpHealthCheck, probe: upstream.HttpProbe) -> None:
    check.path, check.host = probe.path, probe.host
    if probe.method != "GET":
        check.method = _METHODS[probe.method]
    for start, end in probe.statuses:
        given = check.expected_statuses.add()
        given.start, given.end = start, end + 1
    if probe.body:
        check.receive.add().text = probe.body.encode().hex()
