"""IR routes and virtual hosts into bytes: each route is serialised once, and joined ever after.

Called by the pipeline: `encode_route` when a route changes, `encode_virtual_host` when a host's list does.
One IR route always becomes one Envoy route. What happens to requests that can't be forwarded: no valid backend, or only ones of
weight 0, answer 500 at once; an invalid share of several answers 500 by way of a cluster that doesn't exist.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, assert_never

from dragoman import proto, resource
from dragoman.envoy import forwarding, framing, headers, matches, naming, rewrites
from dragoman.envoy.filters import chain
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.route import v3 as route_proto

METADATA: Final = "dragoman"
"""The namespace of route metadata: `%METADATA(ROUTE:dragoman:name)%` in an access log names the object."""

_INVALID_BACKEND: Final = 500
_MISDIRECTED: Final = 421
_WELL_KNOWN: Final = {"http": 80, "https": 443}
_NO_CLUSTERS: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class EncodedRoute:
    """One route as a `routes` entry of a VirtualHost, and the clusters it may send to."""

    chunk: bytes = field(repr=False)
    clusters: frozenset[str]


@dataclass(frozen=True, slots=True)
class HostChunk:
    """One virtual host as a `virtual_hosts` entry of a RouteConfiguration. Compares by `digest`, which covers the rest."""

    domain: str
    chunk: bytes = field(repr=False, compare=False)
    digest: str
    clusters: frozenset[str] = field(compare=False)


def needs_scope(route: ir.Route) -> bool:
    """Whether the bytes of `route` depend on the table it stands in.

    Only of a redirect to another host that keeps the listener's scheme and port, since Envoy's Location would lose the port.
    """
    action = route.action
    return (
        isinstance(action, ir.Redirect)
        and action.port is None
        and not action.scheme
        and bool(action.hostname)
    )


def encode_route(route: ir.Route, scope: ir.Scope | None = None) -> EncodedRoute:
    """`route` in bytes. `scope` matters where `needs_scope` says so; without it the Location has no port there."""
    message = route_proto.Route(name=route.name)
    matches.write(message.match, route.match)
    action = route.action
    match action:
        case ir.Forward():
            clusters = _forward(message, action, route.match.path)
        case ir.Redirect():
            clusters = _NO_CLUSTERS
            _redirect(message.redirect, action, route.match.path, scope)
        case ir.Respond(status, body):
            clusters = _NO_CLUSTERS
            _respond(message, status, body)
        case _:
            assert_never(action)
    headers.write(message, route.request_headers, route.response_headers)
    chain.write_route(message, route)
    _metadata(message, route)
    return EncodedRoute(framing.frame(_route_tag(), message.SerializeToString(deterministic=True)), clusters)


def encode_virtual_host(
    scope: ir.Scope, domain: str, routes: Sequence[EncodedRoute], misdirected: bool
) -> HostChunk:
    """The host `domain` (`*`: any) with `routes` in order of precedence. Without any: 404, or 421 if `misdirected`."""
    head = route_proto.VirtualHost(name=naming.virtual_host(scope, domain), domains=(domain,))
    parts = [head.SerializeToString()]
    if misdirected and not routes:
        parts.append(_misdirected())
    parts.extend(route.chunk for route in routes)
    chunk = framing.frame(_host_tag(), b"".join(parts))
    return HostChunk(domain, chunk, resource.digest(chunk), _union(route.clusters for route in routes))


def _forward(message: route_proto.Route, forward: ir.Forward, path: ir.PathMatch) -> frozenset[str]:
    shares = [backend for backend in forward.backends if backend.weight > 0]
    if all(share.cluster is None for share in shares):
        _respond(message, _INVALID_BACKEND)
        return _NO_CLUSTERS
    target = message.route
    clusters = _destination(target, shares)
    if forward.rewrite is not None:
        rewrites.write(target, forward.rewrite, path)
    if forward.hostname:
        target.host_rewrite_literal = forward.hostname
    forwarding.write(target, forward)
    if not forward.websocket:
        upgrade = target.upgrade_configs.add()
        upgrade.upgrade_type = "websocket"
        upgrade.enabled.value = False
    if forward.mirrors:
        clusters |= {mirror.cluster for mirror in target.request_mirror_policies}
    return clusters


def _destination(target: route_proto.RouteAction, shares: Sequence[ir.WeightedBackend]) -> frozenset[str]:
    """The clusters of a route; `shares` hold at least one valid backend and no weight of 0."""
    first = shares[0]
    if (
        len(shares) == 1
        and first.cluster is not None
        and not (first.request_headers or first.response_headers)
    ):
        target.cluster = name = naming.cluster(first.cluster)
        return frozenset((name,))
    names: set[str] = set()
    for share in shares:
        entry = target.weighted_clusters.clusters.add()
        entry.weight.value = share.weight
        if share.cluster is None:
            entry.name = naming.INVALID_CLUSTER
            target.cluster_not_found_response_code = route_proto.RouteAction.INTERNAL_SERVER_ERROR
            continue
        entry.name = naming.cluster(share.cluster)
        names.add(entry.name)
        headers.write(entry, share.request_headers, share.response_headers)
    return frozenset(names)


def _redirect(
    target: route_proto.RedirectAction, redirect: ir.Redirect, path: ir.PathMatch, scope: ir.Scope | None
) -> None:
    target.response_code = _redirect_codes()[redirect.status]
    if redirect.scheme:
        target.scheme_redirect = redirect.scheme
    if redirect.hostname:
        target.host_redirect = redirect.hostname
    if redirect.port:
        target.port_redirect = redirect.port
    elif redirect.port is None and redirect.hostname and not redirect.scheme and scope is not None:
        port = scope.bind.port
        if port != _WELL_KNOWN["https" if scope.hostname else "http"]:
            target.port_redirect = port
    if redirect.path is not None:
        rewrites.write(target, redirect.path, path)


def _respond(message: route_proto.Route, status: int, body: str = "") -> None:
    message.direct_response.status = status
    if body:
        message.direct_response.body.inline_string = body


def _metadata(message: route_proto.Route, route: ir.Route) -> None:
    """Names the object and rule behind the route, for access logs and error bodies."""
    kind, _, rest = route.name.partition("/")
    namespace, _, rest = rest.partition("/")
    name, _, rest = rest.partition("/")
    fields = message.metadata.filter_metadata[METADATA].fields
    fields["kind"].string_value = kind
    fields["namespace"].string_value = namespace
    fields["name"].string_value = name
    fields["rule"].string_value = rest.rpartition("/")[0]


def _union(sets: Iterable[frozenset[str]]) -> frozenset[str]:
    return _NO_CLUSTERS.union(*sets)


@functools.cache
def _redirect_codes() -> dict[int, route_proto.RedirectAction.RedirectResponseCode]:
    codes = route_proto.RedirectAction
    return {
        301: codes.MOVED_PERMANENTLY,
        302: codes.FOUND,
        303: codes.SEE_OTHER,
        307: codes.TEMPORARY_REDIRECT,
        308: codes.PERMANENT_REDIRECT,
    }


@functools.cache
def _route_tag() -> bytes:
    return framing.tag("envoy.config.route.v3.VirtualHost", "routes")


@functools.cache
def _host_tag() -> bytes:
    return framing.tag("envoy.config.route.v3.RouteConfiguration", "virtual_hosts")


@functools.cache
def _misdirected() -> bytes:
    """A route that tells the client to open another connection for this host (RFC 9110, 15.5.20)."""
    message = route_proto.Route(name="misdirected")
    message.match.prefix = "/"
    _respond(message, _MISDIRECTED)
    return framing.frame(_route_tag(), proto.serialize(message))
