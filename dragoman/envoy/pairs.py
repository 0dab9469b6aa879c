"""A backend and the one that takes over from it, as one cluster of Envoy's (an aggregate cluster).

A request goes to the first cluster while that has a healthy endpoint; where it has none (ejected, failed
health checks, no endpoint at all) to the second, and back when the first is there again. Connections that
are refused before anything has been ejected are the retry policy's matter (`retries.py`): the last try goes
to the next priority, which is the second cluster. Called by the pipeline for each pair that routes name.
"""

from __future__ import annotations

import functools

from dragoman import proto, resource
from dragoman.envoy import durations, limits, naming
from dragoman.ir import model as ir, upstream
from dragoman.proto.envoy.config.cluster import v3 as cluster_proto
from dragoman.proto.envoy.extensions.clusters.aggregate import v3 as aggregate


def encode(key: ir.ClusterKey, first: ir.Cluster) -> resource.Resource:
    """One CDS resource. `first` is the cluster that has the precedence: limits of retries are its own."""
    name = naming.cluster(key)
    message = cluster_proto.Cluster(name=name, lb_policy=cluster_proto.Cluster.CLUSTER_PROVIDED)
    message.cluster_type.name = "envoy.clusters.aggregate"
    members = [naming.cluster(one) for one in (key._replace(reserve=()), *key.reserve)]
    kind = message.cluster_type.typed_config
    kind.type_url = _kind()
    kind.value = proto.serialize(aggregate.ClusterConfig(clusters=members))
    durations.assign(message.connect_timeout, first.connect_timeout)
    message.common_lb_config.healthy_panic_threshold.SetInParent()
    limits.write(
        message.circuit_breakers, upstream.Limits(budget=first.limits.budget) if first.limits else None
    )
    return resource.make(resource.CLUSTER, name, proto.serialize(message), {})


@functools.cache
def _kind() -> str:
    return proto.type_url(aggregate.ClusterConfig)
