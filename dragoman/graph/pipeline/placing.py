"""What routes become where they attach: routes of virtual hosts, or flows of connections.

A listener may finish a route: a redirect depends on its port, clusters and limits on its Gateway. The bytes
of routes that it leaves as they are were made once for all. Called by `groups`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from dragoman import frozen
from dragoman.envoy import caching, routes as encoder
from dragoman.envoy.filters import chain as filter_chain
from dragoman.graph.collection import Collection, Context
from dragoman.graph.pipeline import assembly, binds
from dragoman.ir import model as ir
from dragoman.ir.order import LAST, Order
from dragoman.refs import Ref

NO_OBJECT = Ref("", "", "", "")
"""Behind parts that no object has."""


class HostKey(NamedTuple):
    group: str
    scope: ir.Scope
    domain: str


class PartKey(NamedTuple):
    """One route on one virtual host. `host` is hashed often; the engine keys by this tuple."""

    host: HostKey
    ref: Ref
    position: int


@frozen.statically
@dataclass(frozen=True, slots=True)
class EncodedSet:
    """A route object with the bytes of each of its routes, stand by stand."""

    stands: tuple[ir.Stand, ...]
    encoded: tuple[tuple[encoder.EncodedRoute, ...], ...]


@frozen.statically
@dataclass(frozen=True, slots=True)
class Part:
    """One route as one virtual host has it; None: the host's mere existence."""

    order: Order
    route: ir.Route | None = None
    encoded: encoder.EncodedRoute | None = None
    clusters: tuple[ir.ClusterKey, ...] = ()
    misdirected: bool = False
    cached: bool = False

    @property
    def secrets(self) -> tuple[ir.SecretKey, ...]:
        """What it needs of secrets itself."""
        return self.route.secrets() if self.route is not None else ()

    @property
    def eager(self) -> frozenset[ir.ClusterKey]:
        """Those of its clusters that Envoy must have before the first request: whatever it does not send the
        request itself to."""
        action = self.route.action if self.route is not None else None
        if not isinstance(action, ir.Forward) or self.route is None:
            return frozenset(self.clusters)
        if self.cached or action.fallback is not None:
            return frozenset(self.clusters)
        asked = {mirror.cluster for mirror in action.mirrors}
        if self.route.auth is not None:
            others = (self.route.auth.external, self.route.auth.login)
            asked.update(one.cluster for one in others if one is not None)
        sent = {one.cluster for one in action.backends} - asked
        return frozenset(key for key in self.clusters if key not in sent)

    @property
    def demands(self) -> frozenset[filter_chain.Demand]:
        """What it names of shared filter configurations."""
        return self.encoded.demands if self.encoded is not None else frozenset()


def seats(
    _: Context, ref: Ref, placement: assembly.Placement
) -> Iterator[tuple[tuple[Ref, str], assembly.Seat]]:
    for listener in placement.gateway.listeners:
        yield (ref, listener.name), assembly.seat(placement, listener)


def encode(item: ir.RouteSet, before: EncodedSet | None) -> EncodedSet:
    """`before`: the object's last form. Most of its routes are the same as a rule, and so are their bytes."""
    known = _known(before) if before is not None else {}
    return EncodedSet(
        item.stands, tuple(tuple(_encoded(route, known) for route in stand.routes) for stand in item.stands)
    )


def _known(before: EncodedSet) -> dict[str, list[tuple[ir.Route, encoder.EncodedRoute]]]:
    found: dict[str, list[tuple[ir.Route, encoder.EncodedRoute]]] = {}
    for stand, encoded in zip(before.stands, before.encoded, strict=True):
        for route, one in zip(stand.routes, encoded, strict=True):
            found.setdefault(route.name, []).append((route, one))
    return found


def _encoded(
    route: ir.Route, known: Mapping[str, list[tuple[ir.Route, encoder.EncodedRoute]]]
) -> encoder.EncodedRoute:
    for other, encoded in known.get(route.name, ()):
        if other == route:
            return encoded
    return encoder.encode_route(route)


def parts(
    ctx: Context,
    ref: Ref,
    item: EncodedSet,
    seats: Collection[tuple[Ref, str], assembly.Seat],
    places: binds.Binds,
    encrypted: Collection[ir.ClusterKey, bool],
) -> Iterator[tuple[PartKey, Part]]:
    start = 0
    for stand, encoded in zip(item.stands, item.encoded, strict=True):
        used = _shared(map(_clusters, stand.routes))
        for attachment in stand.attachments:
            seat = ctx.fetch(seats, attachment.place)
            if seat is None:
                continue
            own = _certified(ctx, used, seat, encrypted)
            finished = [_finish(r, e, seat, own) for r, e in zip(stand.routes, encoded, strict=True)]
            reached = _shared(_clusters(route) for route, _ in finished) if own else used
            cached = [caching.cached(route) is not None for route, _ in finished]
            for host in _hosts(ctx, attachment, seat, places):
                for index, (route, plain) in enumerate(finished):
                    kept = cached[index]
                    chunk = encoder.encode_route(route, host.scope) if kept else plain
                    key = PartKey(host, ref, start + index)
                    yield key, Part(route.order, route, chunk, reached[index], cached=kept)
        start += len(stand.routes)


def _shared(given: Iterable[tuple[ir.ClusterKey, ...]]) -> list[tuple[ir.ClusterKey, ...]]:
    """One object for what is equal in a row: the rules of a route as a rule have the same backends."""
    made: list[tuple[ir.ClusterKey, ...]] = []
    for one in given:
        made.append(made[-1] if made and made[-1] == one else one)
    return made


def _hosts(
    ctx: Context, attachment: ir.Attachment, seat: assembly.Seat, places: binds.Binds
) -> Iterator[HostKey]:
    """The virtual hosts that an attachment puts its routes on."""
    for group, bind in itertools.product(seat.groups, seat.binds):
        port = binds.port_key(group, bind)
        if ctx.fetch(places.kept, binds.MemberKey(port, attachment.parent, attachment.listener)) is None:
            continue
        scope = assembly.scope(bind, ir.FAMILIES[seat.protocol], seat.hostname)
        for domain in attachment.hostnames:
            if places.owner(ctx, port, domain) == seat.hostname:
                yield HostKey(group, scope, domain)


def flows(
    ctx: Context,
    route: ir.StreamRoute,
    seats: Collection[tuple[Ref, str], assembly.Seat],
    places: binds.Binds,
    encrypted: Collection[ir.ClusterKey, bool],
) -> Iterator[tuple[binds.FlowKey, binds.Flow]]:
    for attachment in route.attachments:
        listener = attachment.place
        seat = ctx.fetch(seats, listener)
        if seat is None:
            continue
        finished = assembly.stream_with_certificate(
            route, _certified(ctx, (tuple(route.clusters()),), seat, encrypted)
        )
        for group, bind in itertools.product(seat.groups, seat.binds):
            port = binds.port_key(group, bind)
            if ctx.fetch(places.kept, binds.MemberKey(port, *listener)) is None:
                continue
            for domain in attachment.hostnames:
                if places.owner(ctx, port, domain) == seat.hostname:
                    key = binds.FlowKey(port, route.age, route.ref, listener, domain)
                    yield key, binds.Flow(finished, listener)


def _certified(
    ctx: Context,
    used: Iterable[tuple[ir.ClusterKey, ...]],
    seat: assembly.Seat,
    encrypted: Collection[ir.ClusterKey, bool],
) -> dict[ir.ClusterKey, ir.ClusterKey]:
    """The clusters that get the Gateway's certificate, and their keys with it."""
    if seat.certificate is None:
        return {}
    keys = dict.fromkeys(key for some in used for key in some)
    return {key: key._replace(certificate=seat.certificate.ref) for key in keys if ctx.fetch(encrypted, key)}


def _finish(
    route: ir.Route,
    encoded: encoder.EncodedRoute,
    seat: assembly.Seat,
    certified: Mapping[ir.ClusterKey, ir.ClusterKey],
) -> tuple[ir.Route, encoder.EncodedRoute]:
    """The route as this listener has it: redirects may depend on its port, clusters and limits on its
    Gateway."""
    finished = assembly.with_certificate(assembly.with_port(route, seat), certified)
    finished = assembly.with_gateway(finished, seat.gateway)
    return (route, encoded) if finished is route else (finished, encoder.encode_route(finished))


def _clusters(route: ir.Route) -> tuple[ir.ClusterKey, ...]:
    pairs = route.action.pairs() if isinstance(route.action, ir.Forward) else ()
    return route.clusters() + pairs


def fallback(
    _: Context, key: tuple[binds.PortKey, ir.Scope, str], misdirected: bool
) -> Iterator[tuple[PartKey, Part]]:
    port, scope, domain = key
    yield PartKey(HostKey(port.group, scope, domain), NO_OBJECT, 0), Part(LAST, misdirected=misdirected)
