"""A control plane for wire tests: a `Server` on a free port over views that the test holds, a raw gRPC
client, and real Envoy resources made by hand through `dragoman.proto`.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any

import grpc
import grpc.aio

from dragoman import config, proto, resource
from dragoman.proto.envoy.config.cluster import v3 as clusters
from dragoman.proto.envoy.config.endpoint import v3 as endpoint
from dragoman.proto.envoy.config.listener import v3 as listeners
from dragoman.proto.envoy.config.route import v3 as routes
from dragoman.proto.envoy.service.discovery import v3 as discovery
from dragoman.resource import CLUSTER, ENDPOINT, LISTENER, ROUTE, SCOPE, Resource
from dragoman.xds.ledger import Ledger
from dragoman.xds.server import Server
from dragoman.xds.snapshot import View
from dragoman.xds.wire import Form

ADS = {"ads": {}, "resource_api_version": "V3"}
HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = {
    "name": "envoy.filters.http.router",
    "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"},
}


class Views:
    """A `types.Provider` with one view per group; counts its users."""

    def __init__(self, **groups: View) -> None:
        self.groups = dict(groups)
        self.uses: dict[str, int] = {}
        self.ready = asyncio.Event()
        self.ready.set()

    def acquire(self, group: str) -> View:
        self.uses[group] = self.uses.get(group, 0) + 1
        return self.groups.setdefault(group, View())

    def release(self, group: str) -> None:
        self.uses[group] -= 1


class Plane:
    """A running server. `view` is the one of the group `shop/edge`."""

    def __init__(self, settings: config.Xds) -> None:
        self.view = View()
        self.views = Views()
        self.views.groups["shop/edge"] = self.view
        self.ledger = Ledger()
        self.server = Server(settings, self.views, self.ledger)
        self.port = 0


@contextlib.asynccontextmanager
async def plane(*resources: Resource, port: int = 0, **settings: Any) -> AsyncIterator[Plane]:
    running = Plane(config.Xds(port=port, **settings))
    put(running.view, *resources)
    running.port = await running.server.start()
    try:
        yield running
    finally:
        await running.server.stop(0)


def put(view: View, *resources: Resource, gone: Iterable[tuple[str, str]] = ()) -> None:
    """One change."""
    changes: dict[str, dict[str, Resource | None]] = {}
    for item in resources:
        changes.setdefault(item.type_url, {})[item.name] = item
    for type_url, name in gone:
        changes.setdefault(type_url, {})[name] = None
    view.apply(changes)


# A raw client


class Stream:
    """One discovery stream, message by message."""

    def __init__(self, channel: Any, method: str, form: Form, node: Mapping[str, Any] | None) -> None:
        self.form = form
        self.call = channel.stream_stream(method)()
        self._node = node

    async def send(self, type_url: str = "", **fields: Any) -> None:
        cls = discovery.DeltaDiscoveryRequest if self.form is Form.DELTA else discovery.DiscoveryRequest
        request: Any = cls(type_url=type_url, **fields)
        if self._node is not None:
            proto.merge_dict(request.node, self._node)
            self._node = None
        await self.call.write(request.SerializeToString())

    async def read(self) -> Any:
        data = await asyncio.wait_for(self.call.read(), 20)
        if data is grpc.aio.EOF:
            return None
        cls = discovery.DeltaDiscoveryResponse if self.form is Form.DELTA else discovery.DiscoveryResponse
        return cls.FromString(data)

    async def ask(self, type_url: str, *names: str) -> Any:
        await self.send(type_url, **self.names(*names))
        return await self.read()

    async def ack(self, response: Any, *names: str) -> None:
        more: dict[str, Any] = {}
        if self.form is Form.SOTW:
            more = {"resource_names": names, "version_info": response.version_info}
        await self.send(response.type_url, response_nonce=response.nonce, **more)

    def names(self, *names: str) -> dict[str, Any]:
        return {"resource_names_subscribe" if self.form is Form.DELTA else "resource_names": names}

    async def end(self) -> tuple[str, str]:
        """The status with which the server ends the stream."""
        try:
            while await self.read() is not None:
                pass
        except grpc.aio.AioRpcError:
            pass
        code = await asyncio.wait_for(self.call.code(), 20)
        return code.name, await self.call.details()


NODE = {"id": "proxy-1", "cluster": "shop/edge"}


@contextlib.asynccontextmanager
async def connect(
    port: int,
    form: Form = Form.DELTA,
    service: str = "discovery.v3.AggregatedDiscoveryService",
    noun: str = "AggregatedResources",
    node: Mapping[str, Any] | None = NODE,
    credentials: Any = None,
) -> AsyncIterator[Stream]:
    target = f"localhost:{port}" if credentials else f"127.0.0.1:{port}"
    options = [("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
    opened = (
        grpc.aio.secure_channel(target, credentials, options)
        if credentials
        else grpc.aio.insecure_channel(target, options)
    )
    async with opened as channel:
        prefix = "Delta" if form is Form.DELTA else "Stream"
        yield Stream(channel, f"/envoy.service.{service}/{prefix}{noun}", form, node)


def payloads(response: Any) -> dict[str, bytes]:
    """name -> payload of a delta response."""
    return {item.name: item.resource.value for item in response.resources}


# Real resources


def cluster(name: str, *, timeout: str = "1s", dns: tuple[str, int] | None = None) -> Resource:
    body: dict[str, Any] = {"name": name, "connect_timeout": timeout}
    if dns is None:
        body |= {"type": "EDS", "eds_cluster_config": {"eds_config": ADS}}
    else:
        body |= {
            "type": "STRICT_DNS",
            "dns_lookup_family": "V4_ONLY",
            "load_assignment": assignment(name, *dns),
        }
    payload = proto.serialize(proto.from_dict(clusters.Cluster, body))
    return resource.make(CLUSTER, name, payload, {ENDPOINT: [name]} if dns is None else {})


def assignment(name: str, host: str = "", port: int = 0) -> dict[str, Any]:
    address = {"socket_address": {"address": host, "port_value": port}}
    localities = [
        {
            "locality": {"region": "here"},
            "load_balancing_weight": 1,
            "lb_endpoints": [{"endpoint": {"address": address}, "health_status": "HEALTHY"}],
        }
    ]
    return {"cluster_name": name, "endpoints": localities if host else []}


def endpoints(name: str, port: int = 0) -> Resource:
    body = assignment(name, "127.0.0.1" if port else "", port)
    return resource.make(
        ENDPOINT, name, proto.serialize(proto.from_dict(endpoint.ClusterLoadAssignment, body))
    )


def route(name: str, cluster: str, **action: Any) -> Resource:
    body = {
        "name": name,
        "virtual_hosts": [
            {
                "name": "all",
                "domains": ["*"],
                "routes": [{"match": {"prefix": ""}, "route": {"cluster": cluster, **action}}],
            }
        ],
    }
    payload = proto.serialize(proto.from_dict(routes.RouteConfiguration, body))
    return resource.make(ROUTE, name, payload, {CLUSTER: [cluster]})


def manager(route_name: str) -> dict[str, Any]:
    return {
        "@type": HCM,
        "stat_prefix": "web",
        "rds": {"route_config_name": route_name, "config_source": ADS},
        "http_filters": [ROUTER],
    }


def listener(name: str, port: int, route_name: str) -> Resource:
    body = {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager(route_name)}]}],
    }
    payload = proto.serialize(proto.from_dict(listeners.Listener, body))
    return resource.make(LISTENER, name, payload, {ROUTE: [route_name]})


def scope(name: str, cluster: str, *, regex: str = ".*") -> Resource:
    """A scope whose key is its name."""
    table = {
        "name": name,
        "virtual_hosts": [
            {
                "name": "all",
                "domains": ["*"],
                "routes": [{"match": {"safe_regex": {"regex": regex}}, "route": {"cluster": cluster}}],
            }
        ],
        "validate_clusters": False,
    }
    body = {"name": name, "key": {"fragments": [{"string_key": name}]}, "route_configuration": table}
    payload = proto.serialize(proto.from_dict(routes.ScopedRouteConfiguration, body))
    more = {"route_configuration": {"request_headers_to_remove": ["scope"]}}
    again = proto.serialize(proto.from_dict(routes.ScopedRouteConfiguration, more))
    return dataclasses.replace(resource.make(SCOPE, name, payload, {CLUSTER: [cluster]}), again=again)


def scoped_listener(name: str, port: int, *scopes: str) -> Resource:
    """The header `scope` says which scope."""
    looks = {
        "name": name,
        "scope_key_builder": {"fragments": [{"header_value_extractor": {"name": "scope", "index": 0}}]},
        "rds_config_source": ADS,
        "scoped_rds": {"scoped_rds_config_source": ADS},
    }
    config = {"@type": HCM, "stat_prefix": "web", "scoped_routes": looks, "http_filters": [ROUTER]}
    body = {
        "name": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": config}]}],
    }
    payload = proto.serialize(proto.from_dict(listeners.Listener, body))
    return resource.make(LISTENER, name, payload, {SCOPE: scopes})


def api_listener(name: str, route_name: str) -> Resource:
    """What gRPC's own client asks for."""
    body = {"name": name, "api_listener": {"api_listener": manager(route_name)}}
    payload = proto.serialize(proto.from_dict(listeners.Listener, body))
    return resource.make(LISTENER, name, payload, {ROUTE: [route_name]})
