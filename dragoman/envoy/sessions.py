"""Sessions over several backends: a client stays with the backend that it was dealt first (GEP-1619).

The session filter pins an endpoint, but the deal between backends comes before it and knows no sessions.
So a route with a cookie session and several backends becomes several Envoy routes: one per backend, for
clients whose second cookie (`<name>-backend`) names it, and after them the deal, which sets that cookie.
A backend whose weight becomes 0 loses its clients, as the specification says of weight 0. A header
session has no such place to remember: with several backends it holds within each, and the weights decide
anew on every request.
"""

from __future__ import annotations

from typing import Final

from dragoman import resource
from dragoman.envoy import naming
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.route import v3 as route_proto

_SUFFIX: Final = "-backend"


def pins(message: route_proto.Route, forward: ir.Forward) -> list[route_proto.Route]:
    """The routes to put before `message`, a finished route that deals; it learns to set the cookie."""
    session = forward.session
    if session is None or session.kind is not ir.SessionKind.COOKIE:
        return []
    routes = []
    for share in message.route.weighted_clusters.clusters:
        if share.name == naming.INVALID_CLUSTER:
            continue
        mark = _mark(share.name)
        pinned = route_proto.Route()
        pinned.CopyFrom(message)
        cookie = pinned.match.cookies.add()
        cookie.name = session.name + _SUFFIX
        cookie.string_match.exact = mark
        only = pinned.route.weighted_clusters
        del only.clusters[:]
        only.clusters.add().CopyFrom(share)
        routes.append(pinned)
    if len(routes) < 2:
        return []
    for share in message.route.weighted_clusters.clusters:
        if share.name != naming.INVALID_CLUSTER:
            option = share.response_headers_to_add.add()
            option.header.key = "set-cookie"
            option.header.value = _cookie(session, _mark(share.name)).replace("%", "%%")
    return routes


def _mark(cluster: str) -> str:
    """What a client is given instead of the cluster's name."""
    return resource.digest(cluster.encode())[:8]


def _cookie(session: ir.SessionPersistence, mark: str) -> str:
    age = f"; Max-Age={int(session.ttl)}" if session.ttl else ""
    return f"{session.name}{_SUFFIX}={mark}{age}; Path={session.path}; HttpOnly"
