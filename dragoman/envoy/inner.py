"""The inner listener of a route table that has cached routes, and the cluster that leads to it.

It is no socket: bytes go from the cache (`filters/cache.py`) to it within Envoy. Its connection manager
has the same route table by the same name, so that routes exist once, and of the filters those that stand
after the cache. Both resources are there while some route of the table is cached; the table refers to
them, and `xds.planner` sends them before it and takes them away after it.
"""

from __future__ import annotations

import functools
from typing import Final

from dragoman import proto, resource
from dragoman.envoy import clusters, durations, forwarding, limits, naming, scoping, sources
from dragoman.envoy.filters import cache, chain
from dragoman.envoy.scoping import Cut
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.cluster import v3 as cluster_proto
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.config.listener import v3 as listener_proto
from dragoman.proto.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from dragoman.proto.envoy.extensions.http.original_ip_detection.custom_header import v3 as custom_header
from dragoman.proto.envoy.extensions.upstreams.http import v3 as http_options

_HEADERS: Final = 10_000
_HEADERS_KB: Final = 8192
_HTTP_OPTIONS: Final = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def listener(scope: ir.Scope, *, cut: Cut = Cut.WHOLE) -> resource.Resource:
    """The LDS resource. It does not say that it refers to the table: the outer listener holds that, and
    each would wait for the other to go first. `cut`: how the table is."""
    name = naming.inner(scope)
    message = listener_proto.Listener(name=name)
    message.internal_listener.SetInParent()
    message.per_connection_buffer_limit_bytes.value = clusters.BUFFER_LIMIT
    network = message.filter_chains.add(name=name).filters.add()
    network.name = "envoy.filters.network.http_connection_manager"
    network.typed_config.type_url = proto.type_url(hcm.HttpConnectionManager)
    network.typed_config.value = _same_for_all() + _manager(name, naming.route_config(scope), cut)
    return resource.make(resource.LISTENER, name, proto.serialize(message))


def cluster(scope: ir.Scope) -> resource.Resource:
    """The CDS resource."""
    name = naming.inner(scope)
    message = cluster_proto.Cluster(name=name, type=cluster_proto.Cluster.STATIC)
    message.load_assignment.cluster_name = name
    host = message.load_assignment.endpoints.add().lb_endpoints.add()
    host.endpoint.address.envoy_internal_address.server_listener_name = name
    message.per_connection_buffer_limit_bytes.value = clusters.BUFFER_LIMIT
    limits.write(message.circuit_breakers, None)
    entry = message.typed_extension_protocol_options[_HTTP_OPTIONS]
    entry.type_url, entry.value = proto.type_url(_HTTP_OPTIONS), _protocol()
    return resource.make(resource.CLUSTER, name, proto.serialize(message))


@functools.cache
def _protocol() -> bytes:
    options = http_options.HttpProtocolOptions()
    options.explicit_http_config.http_protocol_options.SetInParent()
    _widen(options.common_http_protocol_options)
    options.common_http_protocol_options.max_response_headers_kb.value = _HEADERS_KB
    return proto.serialize(options)


def _widen(options: core.HttpProtocolOptions) -> None:
    """What passed outside passes here, with the few headers that are put aside."""
    options.max_headers_count.value = _HEADERS
    options.idle_timeout.SetInParent()  # without end: neither side closes what the other is about to use


def _manager(name: str, table: str, cut: Cut) -> bytes:
    own = hcm.HttpConnectionManager(stat_prefix=name)
    if cut:
        scoping.write(own, table, cut)
    else:
        own.rds.route_config_name = table
        sources.write_ads(own.rds.config_source)
    return proto.serialize(own)


@functools.cache
def _same_for_all() -> bytes:
    """Everything about the client was decided outside; here it is taken as it is."""
    manager = hcm.HttpConnectionManager(
        skip_xff_append=True,
        preserve_external_request_id=True,
        always_set_request_id_in_response=False,
        server_header_transformation=hcm.HttpConnectionManager.PASS_THROUGH,
        forward_client_cert_details=hcm.HttpConnectionManager.ALWAYS_FORWARD_ONLY,
    )
    manager.use_remote_address.value = False
    manager.max_request_headers_kb.value = _HEADERS_KB
    _widen(manager.common_http_protocol_options)
    durations.assign(manager.stream_idle_timeout, forwarding.STREAM_IDLE)
    detection = manager.original_ip_detection_extensions.add()
    detection.name = "envoy.http.original_ip_detection.custom_header"
    detection.typed_config.CopyFrom(
        proto.pack_any(
            custom_header.CustomHeaderConfig(
                header_name=cache.CLIENT, allow_extension_to_set_address_as_trusted=True
            )
        )
    )
    chain.write_inner(manager)
    return proto.serialize(manager)
