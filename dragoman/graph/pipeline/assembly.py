"""Pure pieces of assembly: from what each Gateway and route says to what one Envoy listens on and routes.

A *bind* is an address and port of one node group. All plain-HTTP listeners on a bind share one route
table; each TLS listener host name has a filter chain and a table of its own. Listener isolation (Gateway
API, HTTPListenerIsolation): a host name belongs to the most specific listener that covers it, and to no
other.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from dragoman import config
from dragoman.ir import hosts
from dragoman.ir import model as ir
from dragoman.refs import Ref

MISDIRECTED_LIMIT = 64
"""Up to so many TLS listeners on one bind, each table answers 421 for the hosts of all others; above, only
for those that its own host name covers (the table's size would grow with the square)."""


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
    age: tuple[str, str]
    listener: ir.GatewayListener


@dataclass(frozen=True, slots=True)
class Seat:
    """The part of a Gateway listener that decides where routes stand; certificates are not in it."""

    groups: tuple[str, ...]
    addresses: tuple[str, ...]
    port: int
    tls: bool
    hostname: str


@dataclass(frozen=True, slots=True)
class Layout:
    """The part of a bind that routes look at: who listens there, under which host names."""

    bind: ir.Bind
    tls: bool
    hostnames: frozenset[str]
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
        return ir.Scope(self.bind, (hostname or hosts.ANY) if self.tls else "")


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


def seat(placement: Placement, listener: ir.GatewayListener) -> Seat:
    """What routes see of one listener."""
    return Seat(
        placement.groups,
        placement.addresses,
        listener.port,
        listener.tls is not None,
        listener.hostname or hosts.ANY,
    )


def port(bind: ir.Bind, members: Iterable[Member]) -> Port:
    """Resolves what meets on one bind. The oldest Gateway's protocol wins; the rest is told so."""
    ordered = sorted(members, key=lambda m: (m.age, m.listener.name))
    tls = ordered[0].listener.tls is not None
    kept = tuple(m for m in ordered if (m.listener.tls is not None) is tls)
    layout = Layout(
        bind,
        tls,
        frozenset(m.listener.hostname or hosts.ANY for m in kept),
        frozenset((m.gateway, m.listener.name) for m in kept),
    )
    return Port(layout, kept, tuple(m for m in ordered if m not in kept))


def listener(port: Port) -> ir.Listener:
    """The Envoy listener of a bind. TLS chains of the same host name in several Gateways put their
    certificates together."""
    layout = port.layout
    if not layout.tls:
        origins = tuple(m.listener.origin for m in port.members)
        return ir.Listener(layout.bind, (ir.FilterChain("", None, layout.scope(""), origins),))
    chains: dict[str, ir.FilterChain] = {}
    for member in port.members:
        terms = member.listener.tls
        assert terms is not None
        name = member.listener.hostname
        known = chains.get(name)
        if known is None or known.tls is None:
            chains[name] = ir.FilterChain(name, terms, layout.scope(name), (member.listener.origin,))
        else:
            more = tuple(c for c in terms.certificates if c not in known.tls.certificates)
            chains[name] = replace(
                known,
                tls=replace(known.tls, certificates=known.tls.certificates + more),
                origins=(*known.origins, member.listener.origin),
            )
    return ir.Listener(layout.bind, tuple(chains[name] for name in sorted(chains)))


def fallbacks(layout: Layout) -> Iterator[tuple[ir.Scope, str, bool]]:
    """(table, domain, misdirected) of the virtual hosts that stand there whatever routes there are.

    Every listener answers 404 for its own host name. A TLS connection made for one listener that asks for
    a host of another gets 421 (GEP-3567, RFC 9110 section 15.5.20).
    """
    everyone = len(layout.hostnames) <= MISDIRECTED_LIMIT
    for own in sorted(layout.hostnames):
        yield layout.scope(own), own, False
        if not layout.tls:
            continue
        for other in sorted(layout.hostnames - {own}):
            if everyone or other == hosts.ANY or hosts.covers(own, other):
                yield layout.scope(own), other, True


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
    own = "https" if seat.tls else "http"
    port = action.port
    if port is None:
        if not action.scheme and not action.hostname:
            return route
        port = known[action.scheme] if action.scheme else seat.port
    if port == known[action.scheme or own] and (action.hostname or seat.port == known[own]):
        port = 0
    return route if port == action.port else replace(route, action=replace(action, port=port))
