"""A set of resources as one static bootstrap: route tables, endpoints and secrets put where they are
referred to.

Envoy's `--mode validate` looks at static configuration only, and a test needs no xDS server with it. What
comes out behaves like the same resources over xDS; it is made for checking and testing, not for
production.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from dragoman import proto, resource
from dragoman.envoy import bootstrap as production, shape
from dragoman.envoy.admin import Admin
from dragoman.envoy.filters import chain as filter_chain, on_demand, sharding
from dragoman.envoy.scoping import Cut
from dragoman.proto.envoy.config.bootstrap import v3 as bootstrap_proto
from dragoman.proto.envoy.config.cluster import v3 as cluster_proto
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.config.listener import v3 as listener_proto
from dragoman.proto.envoy.config.route import v3 as route_proto
from dragoman.proto.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from dragoman.proto.envoy.extensions.transport_sockets.proxy_protocol import v3 as proxy_protocol
from dragoman.proto.envoy.extensions.transport_sockets.quic import v3 as quic
from dragoman.proto.envoy.extensions.transport_sockets.tls import v3 as tls

Filters = Mapping[str, core.TypedExtensionConfig]
Tables = Mapping[str, route_proto.RouteConfiguration]


def bootstrap(
    resources: Iterable[resource.Resource], admin: Admin | None = None
) -> bootstrap_proto.Bootstrap:
    """`resources` of all types, as a Bootstrap message. A table or endpoints that are missing are empty."""
    payloads: dict[str, dict[str, bytes]] = {kind: {} for kind in (*resource.TYPES, resource.WHOLE)}
    for each in resources:
        payloads[each.type_url][each.name] = each.payload
    message = bootstrap_proto.Bootstrap()
    message.node.id = message.node.cluster = "static"
    if admin is not None:
        write_admin(message.admin.address, admin)
    static = message.static_resources
    tables = {
        name: route_proto.RouteConfiguration.FromString(payload)
        for name, payload in payloads[resource.ROUTE].items()
    }
    for payload in payloads[resource.SECRET].values():
        static.secrets.add().MergeFromString(payload)
    for payload in payloads[resource.CLUSTER].values():
        _cluster(static.clusters.add(), payload, payloads[resource.ENDPOINT])
    found = filters(payloads[resource.EXTENSION])
    for payload in {**payloads[resource.LISTENER], **payloads[resource.WHOLE]}.values():
        _listener(static.listeners.add(), payload, tables, payloads[resource.SCOPE], found)
    if any(listener.HasField("internal_listener") for listener in static.listeners):
        proto.merge_dict(message, production.caching())
    return message


def filters(payloads: Mapping[str, bytes]) -> Filters:
    """The configurations of discovered filters, by name."""
    return {name: core.TypedExtensionConfig.FromString(payload) for name, payload in payloads.items()}


def write_admin(target: core.Address, admin: Admin) -> None:
    """The address of the admin interface."""
    if admin.path:
        target.pipe.path = admin.path
    else:
        target.socket_address.address = admin.address
        target.socket_address.port_value = admin.port


def _cluster(target: cluster_proto.Cluster, payload: bytes, endpoints: Mapping[str, bytes]) -> None:
    target.MergeFromString(payload)
    if target.type == cluster_proto.Cluster.EDS:
        place = target.eds_cluster_config.service_name or target.name
        target.type = cluster_proto.Cluster.STATIC
        target.ClearField("eds_cluster_config")
        target.load_assignment.cluster_name = target.name
        target.load_assignment.MergeFromString(endpoints.get(place, b""))
        target.load_assignment.cluster_name = target.name
    if target.HasField("transport_socket"):
        _upstream(target.transport_socket)


def _upstream(socket: core.TransportSocket) -> None:
    """TLS, plain bytes, or either of them behind a PROXY header."""
    if socket.typed_config.type_url == proto.type_url(tls.UpstreamTlsContext):
        _socket(socket, tls.UpstreamTlsContext)
    elif socket.typed_config.type_url == proto.type_url(proxy_protocol.ProxyProtocolUpstreamTransport):
        around = proxy_protocol.ProxyProtocolUpstreamTransport.FromString(socket.typed_config.value)
        _upstream(around.transport_socket)
        socket.typed_config.value = proto.serialize(around)


def _listener(
    target: listener_proto.Listener,
    payload: bytes,
    tables: Tables,
    scopes: Mapping[str, bytes],
    known: Filters,
) -> None:
    target.MergeFromString(payload)
    for chain in target.filter_chains:
        for network in chain.filters:
            if network.HasField("config_discovery") and network.name in known:
                network.typed_config.CopyFrom(known[network.name].typed_config)
            if network.typed_config.type_url == proto.type_url(hcm.HttpConnectionManager):
                manager = hcm.HttpConnectionManager.FromString(network.typed_config.value)
                if manager.HasField("scoped_routes"):
                    _scopes(manager.scoped_routes, scopes)
                else:
                    _table(manager, tables)
                resolve(manager, known)
                network.typed_config.value = proto.serialize(manager)
        if chain.HasField("transport_socket"):
            _socket(chain.transport_socket, tls.DownstreamTlsContext)


def _table(manager: hcm.HttpConnectionManager, tables: Tables) -> None:
    name = manager.rds.route_config_name
    manager.route_config.CopyFrom(tables.get(name) or route_proto.RouteConfiguration(name=name))
    # As over xDS, where a route may be there before its cluster.
    manager.route_config.validate_clusters.value = False


def _scopes(target: hcm.ScopedRoutes, scopes: Mapping[str, bytes]) -> None:
    found = target.scoped_route_configurations_list.scoped_route_configurations
    every = frozenset().union(*(shape.scopes(target.name, cut) for cut in Cut))
    for name in sorted(every.intersection(scopes)):
        found.add().MergeFromString(scopes[name])


def tables(manager: hcm.HttpConnectionManager) -> list[route_proto.RouteConfiguration]:
    """The route tables of a connection manager of such a bootstrap: one, or one for each scope."""
    if not manager.HasField("scoped_routes"):
        return [manager.route_config]
    found = manager.scoped_routes.scoped_route_configurations_list.scoped_route_configurations
    return [scope.route_configuration for scope in found]


def resolve(manager: hcm.HttpConnectionManager, known: Filters) -> None:
    """Filters that would be discovered get their configuration, or what they have without any."""

    def found(name: str) -> core.TypedExtensionConfig:
        empty = filter_chain.encode_shared(name, ()).payload
        return known.get(name) or core.TypedExtensionConfig.FromString(empty)

    for one in manager.http_filters:
        if one.name == on_demand.FILTER.name:
            one.typed_config.value = b""  # everything is there
        elif one.HasField("config_discovery"):
            one.typed_config.CopyFrom(found(one.name).typed_config)
        elif one.name in filter_chain.SHARDED:
            one.typed_config.CopyFrom(proto.pack_any(sharding.resolve(one.typed_config.value, found)))


def _socket(socket: core.TransportSocket, kind: Any) -> None:
    """Secrets by name: without a source, Envoy looks among the static ones."""
    if socket.typed_config.type_url == proto.type_url(quic.QuicDownstreamTransport):
        transport = quic.QuicDownstreamTransport.FromString(socket.typed_config.value)
        _sources(transport.downstream_tls_context)
        socket.typed_config.value = proto.serialize(transport)
        return
    context = kind.FromString(socket.typed_config.value)
    _sources(context)
    socket.typed_config.value = proto.serialize(context)


def _sources(context: Any) -> None:
    common = context.common_tls_context
    configs = [*common.tls_certificate_sds_secret_configs]
    if common.HasField("combined_validation_context"):
        configs.append(common.combined_validation_context.validation_context_sds_secret_config)
    if common.HasField("validation_context_sds_secret_config"):
        configs.append(common.validation_context_sds_secret_config)
    for config in configs:
        config.ClearField("sds_config")
