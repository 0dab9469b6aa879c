"""Clusters: one per Service port or Backend, shared by every rule that uses it. Called by the pipeline.

What differs from Envoy's defaults, and why: an unhealthy or draining endpoint gets nothing, even when all
are (Envoy's "panic" would send to all of them; a 503 is what the specification asks for; a policy may say
otherwise); endpoint changes count at once instead of once per second, so a draining endpoint gets no new
request, and one that was left alone comes back when its time is over; nothing is limited (`limits.py`).

What policies set has a module for each: `limits`, `outliers`, `balancing`, `health_checks`,
`upstream_connections`, `upstream_tls`.
"""

from __future__ import annotations

import functools
from typing import Final, assert_never

from dragoman import proto, resource
from dragoman.envoy import (
    balancing,
    durations,
    endpoints,
    health_checks,
    limits,
    naming,
    outliers,
    sources,
    upstream_connections,
    upstream_tls,
)
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.cluster import v3 as cluster_proto
from dragoman.proto.envoy.extensions.clusters.common.dns import v3 as dns_common
from dragoman.proto.envoy.extensions.clusters.dns import v3 as dns

BUFFER_LIMIT: Final = 32 * 1024
"""Bytes buffered per connection before the other side is told to slow down."""

_OVERPROVISION: Final = 140
"""Envoy's own."""


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
    if cluster.tls is not None:
        refs[resource.SECRET] = upstream_tls.write(message.transport_socket, cluster.tls, cluster.protocol)
    upstream_connections.write(message, cluster)
    if cluster.shared:
        message.common_lb_config.locality_weighted_lb_config.SetInParent()
    if cluster.limits is not None:
        limits.write(message.circuit_breakers, cluster.limits)
    _health(message, cluster)
    # Fields of the message win over those of all clusters: they come later.
    head = _same_for_all(limited=cluster.limits is not None)
    return resource.make(resource.CLUSTER, name, head + proto.serialize(message), refs)


def _health(message: cluster_proto.Cluster, cluster: ir.Cluster) -> None:
    """Which endpoints get requests, and how many."""
    if cluster.balancing is not None:
        balancing.write(message.load_balancing_policy, cluster.balancing)
    if cluster.outliers is not None:
        outliers.write(message.outlier_detection, cluster.outliers)
    if cluster.health_check is not None:
        health_checks.write(message.health_checks.add(), cluster.health_check, cluster)
    if cluster.panic:
        message.common_lb_config.healthy_panic_threshold.value = cluster.panic
    if cluster.overprovision != _OVERPROVISION and cluster.discovery is not ir.Discovery.EDS:
        message.load_assignment.policy.overprovisioning_factor.value = cluster.overprovision


@functools.cache
def _same_for_all(*, limited: bool) -> bytes:
    """The fields that every cluster has, serialised once. `limited`: it has limits of its own."""
    common = cluster_proto.Cluster(
        lb_policy=cluster_proto.Cluster.LEAST_REQUEST, ignore_health_on_host_removal=True
    )
    common.per_connection_buffer_limit_bytes.value = BUFFER_LIMIT
    common.common_lb_config.healthy_panic_threshold.SetInParent()
    common.common_lb_config.update_merge_window.SetInParent()
    if not limited:
        limits.write(common.circuit_breakers, None)
    return proto.serialize(common)


@functools.cache
def _dns() -> bytes:
    """Every address of a name is an endpoint, for as long as its record lives.

    Version 4 is preferred: many networks resolve addresses of version 6 that they don't route.
    """
    return proto.serialize(dns.DnsCluster(respect_dns_ttl=True, dns_lookup_family=dns_common.V4_PREFERRED))
