"""Short ways to IR values, and from bytes back to messages."""

from __future__ import annotations

from typing import Any

from dragoman import proto
from dragoman.envoy import routes
from dragoman.ir import model as ir
from dragoman.ir.order import Order
from dragoman.proto.envoy.config.route import v3 as route_proto
from dragoman.refs import Ref

BIND = ir.Bind("127.0.0.1", 8080)
PLAIN = ir.Scope(BIND)
ROOT = ir.SegmentPrefix("/")


def cluster(name: str = "v1") -> ir.ClusterKey:
    """The cluster of a Service in `shop`."""
    return ir.ClusterKey(Ref("", "Service", "shop", name), 8080)


def secret(name: str, use: str = "tls") -> ir.SecretKey:
    """A Secret in `shop`."""
    return ir.SecretKey(Ref("", "Secret", "shop", name), use)


def forward(*names: str, **more: Any) -> ir.Forward:
    """To these Services, equal shares."""
    shares = tuple(ir.WeightedBackend(cluster(name)) for name in names or ("v1",))
    return ir.Forward(shares, **more)


def route(
    action: ir.Action,
    path: ir.PathMatch = ROOT,
    *,
    match: ir.RouteMatch | None = None,
    name: str = "HTTPRoute/shop/cart/#0/0",
    **more: Any,
) -> ir.Route:
    """One route."""
    return ir.Route(name, match or ir.RouteMatch(path), action, Order(), **more)


def envoy_routes(item: ir.Route) -> list[route_proto.Route]:
    """The Envoy routes of an IR route, decoded out of a virtual host that holds them."""
    return list(route_proto.VirtualHost.FromString(routes.encode_route(item).chunk).routes)


def envoy_route(item: ir.Route) -> dict[str, Any]:
    """The one Envoy route of an IR route, as JSON data."""
    (found,) = envoy_routes(item)
    return proto.to_dict(found)
