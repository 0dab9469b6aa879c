"""Clusters: one per Service port or Backend, shared by every rule that uses it. Called by the pipeline.

What differs from Envoy's defaults, and why: an unhealthy or draining endpoint gets nothing, even when all
are (Envoy's "panic" would send to all of them; a 503 is what the specification asks for); endpoint changes
count at once instead of once per second, so a draining endpoint gets no new request; the circuit
breakers are as good as off (Envoy's 1024 connections are a surprise in production, not a protection).
"""

from __future__ import annotations

import functools
from typing import Final, assert_never

from dragoman import proto, resource
from dragoman.envoy import durations, endpoints, naming, sources, upstream_tls
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.cluster import v3 as cluster_proto
from dragoman.proto.envoy.extensions.clusters.common.dns import v3 as dns_common
from dragoman.proto.envoy.extensions.clusters.dns import v3 as dns
from dragoman.proto.envoy.extensions.upstreams.http import v3 as http_options

BUFFER_LIMIT: Final = 32 * 1024
"""Bytes buffered per connection before the other side is told to slow down."""

_UNLIMITED: Final = 2**32 - 1
_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def encode(cluster: ir.Cluster) -> resource.Resource:
    """One CDS resource. It refers to its endpoints (EDS, under the name of their place) and its
    certificates.
    """
    name = naming.cluster(cluster.key)
    message = cluster_proto.Cluster(name=name)
    refs: dict[str, set[str]] = {}
    match cluster.discovery:
        case ir.Discovery.EDS:
            message.type = cluster_proto.Cluster.EDS
            sources.write_ads(message.eds_cluster_config.eds_config)
            place = naming.cluster(cluster.key.place)
            if place != name:
                message.eds_cluster_config.service_name = place
            refs[resource.ENDPOINT] = {place}
        case ir.Discovery.STATIC:
            message.type = cluster_proto.Cluster.STATIC
            endpoints.write(message.load_assignment, name, cluster.endpoints)
        case ir.Discovery.DNS:
            message.cluster_type.name = "envoy.cluster.dns"
            kind = message.cluster_type.typed_config
            kind.type_url, kind.value = proto.type_url(dns.DnsCluster), _dns()
            endpoints.write(message.load_assignment, name, cluster.endpoints)
        case _:
            assert_never(cluster.discovery)
    durations.assign(message.connect_timeout, cluster.connect_timeout)
    if cluster.protocol in (ir.AppProtocol.HTTP2, ir.AppProtocol.AUTO):
        entry = message.typed_extension_protocol_options[_HTTP_OPTIONS]
        entry.type_url, entry.value = proto.type_url(_HTTP_OPTIONS), _protocol(cluster.protocol)
    if cluster.tls is not None:
        refs[resource.SECRET] = upstream_tls.write(message.transport_socket, cluster.tls, cluster.protocol)
    if cluster.shared:
        message.common_lb_config.locality_weighted_lb_config.SetInParent()
    payload = proto.serialize(message) + _same_for_all()
    return resource.make(resource.CLUSTER, name, payload, refs)


@functools.cache
def _same_for_all() -> bytes:
    """The fields that every cluster has, serialised once."""
    common = cluster_proto.Cluster(
        lb_policy=cluster_proto.Cluster.LEAST_REQUEST, ignore_health_on_host_removal=True
    )
    common.per_connection_buffer_limit_bytes.value = BUFFER_LIMIT
    common.common_lb_config.healthy_panic_threshold.SetInParent()
    common.common_lb_config.update_merge_window.SetInParent()
    limits = common.circuit_breakers.thresholds.add()
    for limit in (
        limits.max_connections,
        limits.max_pending_requests,
        limits.max_requests,
        limits.max_retries,
    ):
        limit.value = _UNLIMITED
    return proto.serialize(common)


@functools.cache
def _dns() -> bytes:
    """Every address of a name is an endpoint, for as long as its record lives.

    Version 4 is preferred: many networks resolve addresses of version 6 that they don't route.
    """
    return proto.serialize(dns.DnsCluster(respect_dns_ttl=True, dns_lookup_family=dns_common.V4_PREFERRED))


@functools.cache
def _protocol(protocol: ir.AppProtocol) -> bytes:
    """What is spoken to the endpoints; HTTP/1 needs no words."""
    options = http_options.HttpProtocolOptions()
    if protocol is ir.AppProtocol.HTTP2:
        options.explicit_http_config.http2_protocol_options.SetInParent()
    else:
        options.auto_config.http_protocol_options.SetInParent()
        options.auto_config.http2_protocol_options.SetInParent()
    return proto.serialize(options)
