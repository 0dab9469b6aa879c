"""IR routes and virtual hosts into bytes: each route is serialised once, and joined ever after.

Called by the pipeline: `encode_route` when a route changes, `encode_virtual_host` when a host's list
does. One IR route becomes one Envoy route (but for `sessions`, `caching`, `cases`, `counted`). Requests that
can't be forwarded: no valid backend, or only ones of weight 0, are answered at once (500, or what the route
says); an invalid share of several answers the same by way of a cluster that doesn't exist.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final, assert_never

from dragoman import frozen, proto, resource
from dragoman.envoy import (
    authz,
    caching,
    cases,
    counted,
    forwarding,
    framing,
    headers,
    matches,
    naming,
    ratelimits,
    replies,
    rewrites,
    sessions,
    templates,
    trees,
)
from dragoman.envoy.filters import chain, counted as counting, local_denials, local_ratelimit, on_demand
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.route import v3 as route_proto

_MISDIRECTED: Final = 421
_NOT_FOUND: Final = {
    500: route_proto.RouteAction.INTERNAL_SERVER_ERROR,
    503: route_proto.RouteAction.SERVICE_UNAVAILABLE,
}
_NO_CLUSTERS: Final[frozenset[str]] = frozenset()


@frozen.statically
@dataclass(frozen=True, slots=True)
class EncodedRoute:
    """One route as a `routes` entry of a VirtualHost, the clusters it may send to, and the parts of shared
    filter configurations that it names. Each cluster is named once, in order. `sensitive`: it holds something
    that nobody should see. `stem`: what the paths that it matches begin with. `first`: entries that come
    before those of all other routes."""

    chunk: bytes = field(repr=False)
    clusters: tuple[str, ...]
    demands: frozenset[chain.Demand] = frozenset()
    sensitive: bool = False
    stem: trees.Stem | None = None
    first: bytes = field(default=b"", repr=False)


@frozen.statically
@dataclass(frozen=True, slots=True)
class HostChunk:
    """One virtual host as a `virtual_hosts` entry of a RouteConfiguration. `digest` covers all of it."""

    domain: str
    chunk: bytes = field(repr=False, compare=False)
    digest: str
    clusters: tuple[str, ...] = field(compare=False)
    sensitive: bool = field(default=False, compare=False)


def encode_route(route: ir.Route, scope: ir.Scope | None = None) -> EncodedRoute:
    """`route` in bytes. `scope`: the table that it is for, which only cached routes depend on; without
    one they are not cached."""
    message = route_proto.Route(name=route.name)
    matches.write(message.match, route.match)
    chain.write_route(message, route)
    if route.auth is not None:
        replies.mark(message, route.auth)
    if route.limits:
        local_ratelimit.mark(message, route)
        local_denials.mark(message, route)
    clusters = _NO_CLUSTERS
    chunk = first = b""
    action = route.action
    match action:
        case ir.Forward():
            for number, case in enumerate(action.cases):
                copy = cases.copy(message, route, number)
                pins, reached = _forwarded(copy, replace(action, backends=case.backends), route)
                first += b"".join(map(_framed, (*pins, copy)))
                clusters |= reached
            pins, reached = _forwarded(message, action, route)
            clusters |= reached
            spec = caching.cached(route) if scope is not None else None
            if spec is not None and scope is not None:
                chunk = _framed(caching.split(message, pins, spec, scope))
                clusters |= {naming.inner(scope)}
            chunk += b"".join(map(_framed, pins))
        case ir.Redirect():
            _redirect(message.redirect, action, route.match.path)
            _headers(message, route)
        case ir.Respond():
            _answer(message, action)
            _headers(message, route)
        case _:
            assert_never(action)
    if counting.answers(route):
        first = _framed(counted.split(message, route.match.path))
        clusters |= {ratelimits.CLUSTER}
    if any(limit.quota for limit in route.limits):
        clusters |= {ratelimits.STREAMS}
    if route.auth is not None:
        asked = (one for one in (route.auth.external, route.auth.login) if one is not None)
        clusters |= {naming.cluster(one.cluster) for one in asked}
    if route.auth is not None and (route.auth.introspection or route.auth.redis_keys):
        clusters |= {authz.CLUSTER}
    sensitive = route.auth is not None and route.auth.basic is not None  # hashes of passwords
    stem = trees.stem(route.match.path)
    chunk += _framed(message)
    return EncodedRoute(chunk, _ordered(clusters), chain.demands(route), sensitive, stem, first)


def encode_virtual_host(
    scope: ir.Scope, domain: str, routes: Sequence[EncodedRoute], misdirected: bool
) -> HostChunk:
    """The host `domain` (`*`: any), `routes` in order of precedence. None: 404, or 421 if `misdirected`."""
    head = route_proto.VirtualHost(name=naming.virtual_host(scope, domain), domains=(domain,))
    parts = [head.SerializeToString()]
    if misdirected and not routes:
        parts.append(_misdirected())
    entries = [(route.stem, route.first) for route in routes if route.first]
    entries += [(route.stem, route.chunk) for route in routes]
    tree = trees.encode(entries) if len(routes) >= trees.LEAST else None
    parts += [tree] if tree is not None else [entry for _, entry in entries]
    chunk = framing.frame(_host_tag(), b"".join(parts))
    clusters = _union([route.clusters for route in routes])
    return HostChunk(domain, chunk, resource.digest(chunk), clusters, any(one.sensitive for one in routes))


def _framed(message: route_proto.Route) -> bytes:
    return framing.frame(_route_tag(), message.SerializeToString(deterministic=True))


def _forwarded(
    message: route_proto.Route, forward: ir.Forward, route: ir.Route
) -> tuple[Sequence[route_proto.Route], frozenset[str]]:
    """Finishes `message`; the routes to put before it, and the clusters that it may send to."""
    clusters = _forward(message, forward, route)
    if message.HasField("route") and any(limit.asked for limit in route.limits):
        clusters |= {ratelimits.CLUSTER}
    return sessions.pins(message, forward) if forward.session is not None else (), clusters


def _headers(message: route_proto.Route, route: ir.Route) -> None:
    if route.request_headers:
        headers.write_request(message, route.request_headers)
    if route.response_headers:
        headers.write_response(message, route.response_headers)


def _forward(message: route_proto.Route, forward: ir.Forward, route: ir.Route) -> frozenset[str]:
    shares = [backend for backend in forward.backends if backend.weight > 0]
    if all(share.cluster is None for share in shares):
        _respond(message, forward.failure)
        _headers(message, route)
        return _NO_CLUSTERS
    target = message.route
    if len(shares) == 1:
        clusters = _alone(message, shares[0], route, forward)
    else:
        clusters = _dealt(message, shares, route, forward)
    if forward.rewrite is not None:
        rewrites.write(target, forward.rewrite, route.match.path)
    if forward.hostname:
        target.host_rewrite_literal = forward.hostname
    elif forward.host is not None:
        rewrites.write_host(target, forward.host)
    forwarding.write(message, forward)
    if not forward.websocket:
        upgrade = target.upgrade_configs.add()
        upgrade.upgrade_type = "websocket"
        upgrade.enabled.value = False
    if forward.mirrors:
        clusters |= {mirror.cluster for mirror in target.request_mirror_policies}
    if forward.fallback is not None and forward.fallback.cluster is not None:
        clusters |= frozenset(map(naming.cluster, forward.clusters()))  # those in pairs as well
    return clusters


def _alone(
    message: route_proto.Route, share: ir.WeightedBackend, route: ir.Route, forward: ir.Forward
) -> frozenset[str]:
    """One valid backend: its header changes come after the rule's, in the same place."""
    assert share.cluster is not None
    message.route.cluster = name = naming.cluster(forward.reached(share.cluster))
    if share.request_headers or share.response_headers:
        headers.write_request(message, route.request_headers, share.request_headers)
        headers.write_response(message, route.response_headers, share.response_headers)
    else:
        _headers(message, route)
    return _only(name)


def _dealt(
    message: route_proto.Route, shares: Sequence[ir.WeightedBackend], route: ir.Route, forward: ir.Forward
) -> frozenset[str]:
    """Several backends, one at least valid. If some change headers, the rule's changes go into each
    share."""
    target = message.route
    own_request = any(share.request_headers for share in shares)
    own_response = any(share.response_headers for share in shares)
    names: set[str] = set()
    for share in shares:
        entry = target.weighted_clusters.clusters.add()
        entry.weight.value = share.weight
        if share.cluster is None:
            entry.name = naming.INVALID_CLUSTER
            target.cluster_not_found_response_code = _NOT_FOUND[forward.failure]
            asks = entry.typed_per_filter_config[on_demand.FILTER.name]
            asks.type_url, asks.value = on_demand.unknown()
        else:
            entry.name = naming.cluster(forward.reached(share.cluster))
            names.add(entry.name)
        if own_request:
            headers.write_request(entry, route.request_headers, share.request_headers)
        if own_response:
            headers.write_response(entry, route.response_headers, share.response_headers)
    if route.request_headers and not own_request:
        headers.write_request(message, route.request_headers)
    if route.response_headers and not own_response:
        headers.write_response(message, route.response_headers)
    return frozenset(names)


def _redirect(target: route_proto.RedirectAction, redirect: ir.Redirect, path: ir.PathMatch) -> None:
    """Without a port Envoy keeps the Host header's, and writes none where the host is another."""
    target.response_code = _redirect_codes()[redirect.status]
    if redirect.scheme:
        target.scheme_redirect = redirect.scheme
    if redirect.hostname:
        target.host_redirect = redirect.hostname
    if redirect.port:
        target.port_redirect = redirect.port
    if redirect.path is not None:
        rewrites.write(target, redirect.path, path)


def _answer(message: route_proto.Route, answer: ir.Respond) -> None:
    """Its headers come before what the route says of responses."""
    _respond(message, answer.status, answer.body)
    if answer.content is not None and (answer.content.text or answer.content.json):
        templates.write(message.direct_response.body_format, answer.content)
    message.response_headers_to_add.extend(templates.pairs(answer.headers))


def _respond(message: route_proto.Route, status: int, body: str = "") -> None:
    message.direct_response.status = status
    if body:
        message.direct_response.body.inline_string = body


@functools.lru_cache(maxsize=256)
def _only(name: str) -> frozenset[str]:
    """A set of one name. The routes of an object come together, and as a rule have one backend."""
    return frozenset((name,))


@functools.lru_cache(maxsize=256)
def _ordered(names: frozenset[str]) -> tuple[str, ...]:
    """The same as what is kept: a set of one takes four times as much."""
    return tuple(sorted(names))


def _union(given: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """All of them; the first one itself where the others have no more, so that it is there once."""
    first, *others = given or ((),)
    if all(one == first for one in others):
        return first
    return tuple(sorted({name for names in given for name in names}))


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
