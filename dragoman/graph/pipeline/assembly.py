"""Pure pieces of assembly: where Gateways are bound, and routes as their listeners have them.

A *bind* is an address and port of one node group. All plain-HTTP listeners on a bind share one route
table; each HTTPS listener host name has a filter chain and a table of its own; connections that are not
looked into have a chain per server name, or one for all. Listener isolation (Gateway API,
HTTPListenerIsolation): a host name belongs to the most specific listener that covers it, and to no other.
`binds` has the collections.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from dragoman import config
from dragoman.ir import hosts, model as ir
from dragoman.refs import Ref


@dataclass(frozen=True, slots=True)
class Placement:
    """A Gateway, the active groups that it belongs to, and the addresses it is bound to."""

    gateway: ir.Gateway
    groups: tuple[str, ...]
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Seat:
    """The part of a Gateway listener that decides where routes stand; certificates are not in it."""

    groups: tuple[str, ...]
    binds: tuple[ir.Bind, ...]
    protocol: ir.Protocol
    hostname: str
    gateway: Ref
    certificate: ir.SecretKey | None = None

    @property
    def port(self) -> int:
        return self.binds[0].port


def matches(patterns: str, gateway: Ref) -> bool:
    """Whether a node group (`*`, `ns/*`, `ns/name`, comma-separated) takes in this Gateway."""
    return any(pattern in ("*", gateway.id, f"{gateway.namespace}/*") for pattern in patterns.split(","))


def addresses(settings: config.Gateways, ref: Ref, asked: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Where a Gateway is bound: what it asked for, else what the settings say."""
    if asked:
        return asked
    if settings.addresses == "per-gateway":
        number = zlib.crc32(ref.id.encode())
        return (f"127.{1 + number % 250}.{number // 250 % 250}.{1 + number // 62500 % 250}",)
    return (settings.address,)


def binds(placement: Placement, listener: ir.GatewayListener) -> tuple[ir.Bind, ...]:
    """Where a listener is bound."""
    udp = listener.protocol is ir.Protocol.UDP
    return tuple(ir.Bind(address, listener.port, udp) for address in placement.addresses)


@functools.lru_cache(maxsize=1024)
def scope(bind: ir.Bind, family: ir.Family, hostname: str) -> ir.Scope:
    """The route table in which a listener host name's routes stand. Kept: it is part of the key of every
    host name."""
    return ir.Scope(bind, hostname if family is ir.Family.TLS else "")


def seat(placement: Placement, listener: ir.GatewayListener) -> Seat:
    """What routes see of one listener."""
    return Seat(
        placement.groups,
        binds(placement, listener),
        listener.protocol,
        listener.hostname or hosts.ANY,
        placement.gateway.gateway,
        placement.gateway.certificate,
    )


def certified(cluster: ir.Cluster, key: ir.ClusterKey) -> ir.Cluster:
    """The cluster as `key` wants it: with a Gateway's certificate, unless it has one of its own."""
    if key.certificate == ir.NOBODY or cluster.tls is None:
        return cluster
    own = cluster.tls.certificate or ir.SecretKey(key.certificate)
    return replace(cluster, key=key, tls=replace(cluster.tls, certificate=own))


def with_certificate(route: ir.Route, clusters: Mapping[ir.ClusterKey, ir.ClusterKey]) -> ir.Route:
    """The route with some of its clusters replaced by those that get a client certificate."""
    action = route.action
    if not clusters:
        return route
    if route.auth is not None and route.auth.external is not None:
        external = route.auth.external
        asked = replace(external, cluster=clusters.get(external.cluster, external.cluster))
        route = replace(route, auth=replace(route.auth, external=asked))
    if route.auth is not None and route.auth.login is not None:
        login = route.auth.login
        reached = replace(login, cluster=clusters.get(login.cluster, login.cluster))
        route = replace(route, auth=replace(route.auth, login=reached))
    if not isinstance(action, ir.Forward):
        return route
    mirrors = tuple(replace(m, cluster=clusters.get(m.cluster, m.cluster)) for m in action.mirrors)
    action = replace(action.changed(lambda one: _with_certificate(one, clusters)), mirrors=mirrors)
    fallback = action.fallback
    if fallback is not None and fallback.cluster is not None:
        reserve = clusters.get(fallback.cluster, fallback.cluster)
        action = replace(action, fallback=replace(fallback, cluster=reserve))
    return replace(route, action=action)


def stream_with_certificate(
    route: ir.StreamRoute, clusters: Mapping[ir.ClusterKey, ir.ClusterKey]
) -> ir.StreamRoute:
    """The same for connections that are not looked into."""
    if not clusters:
        return route
    return replace(route, backends=tuple(_with_certificate(one, clusters) for one in route.backends))


def _with_certificate(
    backend: ir.WeightedBackend, clusters: Mapping[ir.ClusterKey, ir.ClusterKey]
) -> ir.WeightedBackend:
    if backend.cluster is None:
        return backend
    return replace(backend, cluster=clusters.get(backend.cluster, backend.cluster))


def with_gateway(route: ir.Route, gateway: Ref) -> ir.Route:
    """The route whose limits count for one Gateway."""
    if not route.limits:
        return route
    return replace(route, limits=tuple(replace(limit, gateway=gateway.id) for limit in route.limits))


def with_port(route: ir.Route, seat: Seat) -> ir.Route:
    """Settles the port of a redirect (Gateway API, HTTPRequestRedirectFilter.port).

    Left open, it is the new scheme's well-known port, else the listener's; the scheme's well-known port is
    left out of the Location header (port 0). A redirect that keeps scheme and host keeps what the client
    asked for (None): behind a port mapping that is the port by which it came.
    """
    action = route.action
    if not isinstance(action, ir.Redirect):
        return route
    known = {"http": 80, "https": 443}
    own = "https" if seat.protocol is ir.Protocol.HTTPS else "http"
    port = action.port
    if port is None:
        if not action.scheme and not action.hostname:
            return route
        port = known[action.scheme] if action.scheme else seat.port
    if port == known[action.scheme or own] and (action.hostname or seat.port == known[own]):
        port = 0
    return route if port == action.port else replace(route, action=replace(action, port=port))
