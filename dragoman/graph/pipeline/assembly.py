"""Pure pieces of assembly: from what each Gateway and route says to what one Envoy listens on and routes.

A *bind* is an address and port of one node group. All plain-HTTP listeners on a bind share one route
table; each HTTPS listener host name has a filter chain and a table of its own; connections that are not
looked into have a chain per server name, or one for all. Listener isolation (Gateway API,
HTTPListenerIsolation): a host name belongs to the most specific listener that covers it, and to no other.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, assert_never

from dragoman import config
from dragoman.ir import hosts, model as ir
from dragoman.refs import Ref

MISDIRECTED_LIMIT = 64
"""Up to so many TLS listeners on one bind, each table answers 421 for the hosts of all others; above, only
for those that its own host name covers (the table's size would grow with the square)."""

_REQUESTS: Final = (ir.Protocol.HTTP, ir.Protocol.HTTPS)
_NOWHERE: Final = ir.Stream("", ())


@dataclass(frozen=True, slots=True)
class Placement:
    """A Gateway, the active groups that it belongs to, and the addresses it is bound to."""

    gateway: ir.Gateway
    groups: tuple[str, ...]
    addresses: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """One Gateway listener on one bind."""

    gateway: Ref
    age: tuple[str, ...]
    listener: ir.GatewayListener


@dataclass(frozen=True, slots=True)
class Seat:
    """The part of a Gateway listener that decides where routes stand; certificates are not in it."""

    groups: tuple[str, ...]
    binds: tuple[ir.Bind, ...]
    protocol: ir.Protocol
    hostname: str
    certificate: ir.SecretKey | None = None

    @property
    def port(self) -> int:
        return self.binds[0].port


@dataclass(frozen=True, slots=True)
class Layout:
    """The part of a bind that routes look at: who listens there, under which host names. `tables`: those
    of them whose requests are looked into."""

    bind: ir.Bind
    family: ir.Family
    hostnames: frozenset[str]
    tables: frozenset[str]
    seats: frozenset[tuple[Ref, str]]

    def owner(self, domain: str) -> str | None:
        """The host name of the most specific listener that covers `domain`. Costs its labels, not the
        listeners."""
        if domain in self.hostnames:
            return domain
        at = domain.find(".", 2 if domain.startswith("*.") else 0)
        while at >= 0:
            wildcard = "*" + domain[at:]
            if wildcard in self.hostnames:
                return wildcard
            at = domain.find(".", at + 1)
        return hosts.ANY if hosts.ANY in self.hostnames else None

    def scope(self, hostname: str) -> ir.Scope:
        """The route table in which a listener host name's routes stand."""
        return ir.Scope(self.bind, (hostname or hosts.ANY) if self.family is ir.Family.TLS else "")


@dataclass(frozen=True, slots=True)
class Flow:
    """One route of connections as one bind has it, under one server name (`*`: any)."""

    domain: str
    route: ir.StreamRoute
    listener: tuple[Ref, str]


@dataclass(frozen=True, slots=True)
class Port:
    """What shares a bind: the listeners of the winning protocol, oldest Gateway first, and those that lost
    to it."""

    layout: Layout
    members: tuple[Member, ...]
    losers: tuple[Member, ...] = ()


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


def seat(placement: Placement, listener: ir.GatewayListener) -> Seat:
    """What routes see of one listener."""
    return Seat(
        placement.groups,
        binds(placement, listener),
        listener.protocol,
        listener.hostname or hosts.ANY,
        placement.gateway.certificate,
    )


def port(bind: ir.Bind, members: Iterable[Member]) -> Port:
    """Resolves what meets on one bind. The oldest Gateway's protocol wins, and where connections are told
    apart by server name, the oldest for each name; the rest is told so."""
    ordered = sorted(members, key=lambda m: (m.age, m.listener.name))
    family = ir.FAMILIES[ordered[0].listener.protocol]
    first: dict[str, ir.GatewayListener] = {}
    kept: list[Member] = []
    losers: list[Member] = []
    for member in ordered:
        one = member.listener
        known = first.setdefault(one.hostname or hosts.ANY, one)
        alike = known.protocol is one.protocol and (known.tls is None) is (one.tls is None)
        fits = ir.FAMILIES[one.protocol] is family and (family is ir.Family.HTTP or alike)
        (kept if fits else losers).append(member)
    layout = Layout(
        bind,
        family,
        frozenset(m.listener.hostname or hosts.ANY for m in kept),
        frozenset(m.listener.hostname or hosts.ANY for m in kept if m.listener.protocol in _REQUESTS),
        frozenset((m.gateway, m.listener.name) for m in kept),
    )
    return Port(layout, tuple(kept), tuple(losers))


def listener(port: Port, flows: Sequence[Flow]) -> ir.Listener:
    """The Envoy listener of a bind. TLS chains of the same host name in several Gateways put their
    certificates together."""
    layout = port.layout
    match layout.family:
        case ir.Family.HTTP:
            origins = tuple(m.listener.origin for m in port.members)
            return ir.Listener(layout.bind, (ir.FilterChain("", None, layout.scope(""), origins),))
        case ir.Family.TLS:
            chains = {**_stream_chains(port, flows), **_table_chains(port)} or {"": _closed(port)}
            return ir.Listener(layout.bind, tuple(chains[name] for name in sorted(chains)))
        case ir.Family.TCP | ir.Family.UDP:
            origins = tuple(m.listener.origin for m in port.members)
            stream = _stream(flows[0].route, passthrough=False) if flows else _NOWHERE
            return ir.Listener(layout.bind, (ir.FilterChain("", None, layout.scope(""), origins, stream),))
        case _:
            assert_never(layout.family)


def _table_chains(port: Port) -> dict[str, ir.FilterChain]:
    """The chains of HTTPS listeners, by host name."""
    chains: dict[str, ir.FilterChain] = {}
    for member in port.members:
        terms = member.listener.tls
        if member.listener.protocol is not ir.Protocol.HTTPS or terms is None:
            continue
        name = member.listener.hostname
        known = chains.get(name)
        if known is None or known.tls is None:
            scope = port.layout.scope(name)
            chains[name] = ir.FilterChain(name, terms, scope, (member.listener.origin,))
        else:
            more = tuple(c for c in terms.certificates if c not in known.tls.certificates)
            chains[name] = replace(
                known,
                tls=replace(known.tls, certificates=known.tls.certificates + more),
                origins=(*known.origins, member.listener.origin),
            )
    return chains


def _stream_chains(port: Port, flows: Sequence[Flow]) -> dict[str, ir.FilterChain]:
    """The chains of TLS listeners, by server name. `flows` come oldest first, and the first has it all. A
    server name that no route wants has no chain: Envoy closes its connections."""
    listeners = {(m.gateway, m.listener.name): m.listener for m in port.members}
    chains: dict[str, ir.FilterChain] = {}
    for flow in flows:
        name = "" if flow.domain == hosts.ANY else flow.domain
        owner = listeners.get(flow.listener)
        if owner is None or name in chains:
            continue
        chains[name] = ir.FilterChain(
            name,
            owner.tls,
            ir.Scope(port.layout.bind, flow.domain),
            (owner.origin, flow.route.origin),
            _stream(flow.route, passthrough=owner.tls is None),
        )
    return chains


def _stream(route: ir.StreamRoute, *, passthrough: bool) -> ir.Stream:
    return ir.Stream(str(route.ref), route.backends, passthrough)


def _closed(port: Port) -> ir.FilterChain:
    """Envoy wants one chain at least: this one closes every connection."""
    origins = tuple(m.listener.origin for m in port.members)
    return ir.FilterChain("", None, port.layout.scope(""), origins, _NOWHERE)


def fallbacks(layout: Layout) -> Iterator[tuple[ir.Scope, str, bool]]:
    """(table, domain, misdirected) of the virtual hosts that stand there whatever routes there are.

    Every listener answers 404 for its own host name. A TLS connection made for one listener that asks for
    a host of another gets 421 (GEP-3567, RFC 9110 section 15.5.20).
    """
    everyone = len(layout.hostnames) <= MISDIRECTED_LIMIT
    for own in sorted(layout.tables):
        yield layout.scope(own), own, False
        if layout.family is not ir.Family.TLS:
            continue
        for other in sorted(layout.hostnames - {own}):
            if everyone or other == hosts.ANY or hosts.covers(own, other):
                yield layout.scope(own), other, True


def certified(cluster: ir.Cluster, key: ir.ClusterKey) -> ir.Cluster:
    """The cluster as `key` wants it: with a Gateway's certificate, unless it has one of its own."""
    if key.certificate == ir.NOBODY or cluster.tls is None:
        return cluster
    own = cluster.tls.certificate or ir.SecretKey(key.certificate)
    return replace(cluster, key=key, tls=replace(cluster.tls, certificate=own))


def with_certificate(route: ir.Route, clusters: Mapping[ir.ClusterKey, ir.ClusterKey]) -> ir.Route:
    """The route with some of its clusters replaced by those that get a client certificate."""
    action = route.action
    if not clusters or not isinstance(action, ir.Forward):
        return route
    backends = _with_certificate(action.backends, clusters)
    mirrors = tuple(replace(m, cluster=clusters.get(m.cluster, m.cluster)) for m in action.mirrors)
    return replace(route, action=replace(action, backends=backends, mirrors=mirrors))


def stream_with_certificate(
    route: ir.StreamRoute, clusters: Mapping[ir.ClusterKey, ir.ClusterKey]
) -> ir.StreamRoute:
    """The same for connections that are not looked into."""
    return replace(route, backends=_with_certificate(route.backends, clusters)) if clusters else route


def _with_certificate(
    backends: tuple[ir.WeightedBackend, ...], clusters: Mapping[ir.ClusterKey, ir.ClusterKey]
) -> tuple[ir.WeightedBackend, ...]:
    return tuple(
        replace(b, cluster=clusters.get(b.cluster, b.cluster)) if b.cluster is not None else b
        for b in backends
    )


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
