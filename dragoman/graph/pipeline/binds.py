"""What listens on one address and port of a node group: who shares it, who has which host name, and the
filter chains that come of it.

Everything is kept by listener or by host name, so that one listener among thousands costs itself: the
listeners of a bind are never gone through as a whole. Routes look up host names one by one (`Binds.owner`).
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, assert_never

from dragoman.graph.collection import Collection, Context, Graph
from dragoman.graph.pipeline import assembly, compromises
from dragoman.ir import hosts, model as ir
from dragoman.refs import Ref

MISDIRECTED_LIMIT: Final = 64
"""Up to so many TLS listeners on one bind, each table answers 421 for the hosts of all others; above, only
for those that its own host name covers (the table's size would grow with the square)."""

_REQUESTS: Final = (ir.Protocol.HTTP, ir.Protocol.HTTPS)
_NOWHERE: Final = ir.Stream("", ())
_CLOSED: Final = ir.Stream("", (), passthrough=True)


class PortKey(NamedTuple):
    group: str
    bind: ir.Bind


@functools.lru_cache(maxsize=1024)
def port_key(group: str, bind: ir.Bind) -> PortKey:
    """Kept, because it is part of the key of every host name."""
    return PortKey(group, bind)


class NameKey(NamedTuple):
    """A host name (`*`: any) on a bind."""

    port: PortKey
    hostname: str


class MemberKey(NamedTuple):
    """One listener on a bind."""

    port: PortKey
    ref: Ref
    name: str


class FlowKey(NamedTuple):
    """One route of connections on one bind. Sorts by age."""

    port: PortKey
    age: tuple[str, str]
    ref: Ref
    listener: tuple[Ref, str]
    domain: str


@dataclass(frozen=True, slots=True)
class Member:
    """One Gateway listener on one bind."""

    gateway: Ref
    age: tuple[str, ...]
    listener: ir.GatewayListener

    @property
    def family(self) -> ir.Family:
        return ir.FAMILIES[self.listener.protocol]

    @property
    def hostname(self) -> str:
        return self.listener.hostname or hosts.ANY

    @property
    def shares(self) -> tuple[object, ...]:
        """What it has in common with all whose filter chain it shares: not its certificates."""
        client, tls = self.listener.client, self.listener.tls
        return (
            replace(client, port=ir.DEFAULT_CLIENTS.port),
            None if tls is None else replace(tls, certificates=()),
        )

    @property
    def flavour(self) -> tuple[ir.Protocol, bool]:
        """What listeners of one host name must have in common."""
        return self.listener.protocol, self.listener.tls is None


@dataclass(frozen=True, slots=True)
class Loss:
    """A listener that is not served, and the one that has its place."""

    place: ir.Bind
    loser: Member
    winner: Member


@dataclass(frozen=True, slots=True)
class Name:
    """A host name that somebody listens for. `table`: requests for it are looked into."""

    family: ir.Family
    table: bool


@dataclass(frozen=True, slots=True)
class Flow:
    """One route of connections as one bind has it, under one server name (`*`: any)."""

    route: ir.StreamRoute
    listener: tuple[Ref, str]


class Binds:
    """Builds the collections, from the bottom up; `flow_chains` when the flows are there."""

    def __init__(self, graph: Graph, placements: Collection[Ref, assembly.Placement]) -> None:
        members = graph.map_many("members", placements, _members)
        # The oldest Gateway's family wins the port, and within the family the oldest has the host name.
        first = graph.sorted_groups(
            "ports",
            members,
            lambda key, _: key.port,
            lambda key, member: (member.age, key.name),
            lambda _, __, found: found[0],
        )
        named = graph.sorted_groups(
            "names by family",
            members,
            lambda key, member: (NameKey(key.port, member.hostname), member.family),
            lambda key, member: (member.age, key.name),
            lambda _, __, found: found[0],
        )

        def rival(ctx: Context, key: MemberKey, member: Member) -> Member | None:
            winner = ctx.fetch(first, key.port)
            if winner is not None and winner.family is not member.family:
                return winner
            if member.family is ir.Family.HTTP:
                return None
            winner = ctx.fetch(named, (NameKey(key.port, member.hostname), member.family))
            return winner if winner is not None and winner.flavour != member.flavour else None

        rivals = graph.map_one("listeners in the way", members, rival)
        self.losses: Collection[MemberKey, Loss] = graph.map_one(
            "listeners not served",
            members,
            lambda ctx, key, member: _loss(key, member, ctx.fetch(rivals, key)),
        )
        self.kept: Collection[MemberKey, Member] = graph.map_one(
            "listeners served",
            members,
            lambda ctx, key, member: member if ctx.fetch(rivals, key) is None else None,
        )
        self.names: Collection[NameKey, Name] = graph.group_by(
            "names", self.kept, lambda key, member: (NameKey(key.port, member.hostname),), _name
        )
        self._oldest: Collection[NameKey, Member] = graph.sorted_groups(
            "listeners by name",
            self.kept,
            lambda key, member: NameKey(key.port, member.hostname),
            lambda key, member: (member.age, key.name),
            lambda _, __, found: found[0],
        )
        few: Collection[PortKey, frozenset[str]] = graph.group_by(
            "names of small ports", self.names, lambda key, _: (key.port,), _few
        )
        self.settings: Collection[PortKey, ir.PortSettings] = graph.map_one(
            "settings of ports", first, lambda _, __, leader: _settings(leader)
        )
        heads = graph.sorted_groups(
            "heads of filter chains",
            self.kept,
            _chain_key,
            lambda key, member: (member.age, key.name),
            lambda _, __, found: found[0],
        )
        self.compromises: Collection[MemberKey, compromises.Compromise] = graph.map_one(
            "listeners that give way",
            self.kept,
            lambda ctx, key, member: compromises.between(
                member,
                ctx.fetch(heads, _chain_key(key, member)),
                ctx.fetch(first, key.port),
                ctx.fetch(first, _udp(key.port)) if member.listener.client.http3 is not None else None,
                key.port.bind,
            ),
        )
        self._first = first
        self.fallbacks = graph.map_many(
            "fallbacks", self.names, lambda ctx, key, name: self._fallbacks(ctx, few, key, name)
        )

    def owner(self, ctx: Context, port: PortKey, domain: str) -> str | None:
        """The host name of the most specific listener that covers `domain`. Costs its labels, not the
        listeners."""
        for key in _covering(port, domain):
            if ctx.fetch(self.names, key) is not None:
                return key.hostname
        return None

    def member(self, ctx: Context, port: PortKey, scope: ir.Scope, domain: str) -> Member | None:
        """The (oldest) listener whose requests for `domain` are looked up in the table `scope`."""
        name = self.owner(ctx, port, domain)
        found = ctx.fetch(self._oldest, NameKey(port, name)) if name is not None else None
        if found is None or assembly.scope(port.bind, found.family, found.hostname) != scope:
            return None
        return found

    def chains(self, graph: Graph, flows: Collection[FlowKey, Flow]) -> Collection[NameKey, ir.FilterChain]:
        """Every filter chain, by the server name that it is for."""
        oldest = graph.group_by(
            "flows by name",
            flows,
            lambda key, _: (NameKey(key.port, key.domain),),
            lambda _, __, found: found[min(found)],
        )

        def streamed(ctx: Context, key: NameKey, flow: Flow) -> ir.FilterChain | None:
            owner = ctx.fetch(self.kept, MemberKey(key.port, *flow.listener))
            if owner is None or owner.family is not ir.Family.TLS:
                return None
            stream = ir.Stream(str(flow.route.ref), flow.route.backends, owner.listener.tls is None)
            origins = (owner.listener.origin, flow.route.origin)
            table = ir.Scope(key.port.bind, key.hostname)
            name, client = _server_name(key.hostname), owner.listener.client
            if client.closed:
                return ir.FilterChain(name, None, table, origins, _CLOSED, client)
            return ir.FilterChain(name, owner.listener.tls, table, origins, stream, client)

        def own(ctx: Context, key: NameKey, members: list[Member]) -> ir.FilterChain:
            flow = ctx.fetch(oldest, key) if members[0].family in (ir.Family.TCP, ir.Family.UDP) else None
            return _chain(key, members, flow)

        connected = graph.union(
            "filter chains of connections",
            graph.map_one("filter chains of routes", oldest, streamed),
            graph.sorted_groups(
                "filter chains of listeners",
                self.kept,
                _chain_key,
                lambda key, member: (member.age, key.name),
                own,
            ),
        )

        def quic(
            ctx: Context, key: NameKey, chain: ir.FilterChain
        ) -> Iterator[tuple[NameKey, ir.FilterChain]]:
            # QUIC asks no client for a certificate: where one is wanted, there is no HTTP/3.
            if chain.client.http3 is None or chain.tls is None or chain.tls.clients or chain.stream:
                return
            port = _udp(key.port)
            if ctx.fetch(self._first, port) is None:
                yield NameKey(port, key.hostname), replace(chain, quic=True)

        quick = graph.map_many("filter chains of HTTP/3", connected, quic)
        whole = graph.union("filter chains", connected, quick)
        self.tables: Collection[tuple[str, ir.Scope], ir.TableSettings] = graph.group_by(
            "settings of tables",
            whole,
            lambda key, chain: ((key.port.group, chain.scope),) if chain.stream is None else (),
            _table,
        )
        return whole

    def _fallbacks(
        self, ctx: Context, few: Collection[PortKey, frozenset[str]], key: NameKey, name: Name
    ) -> Iterator[tuple[tuple[PortKey, ir.Scope, str], bool]]:
        """(port, table, domain) -> misdirected, of the virtual hosts that are there without any route.

        Every listener answers 404 for its own host name. A TLS connection made for one listener that asks
        for a host of another gets 421 (GEP-3567, RFC 9110 section 15.5.20).
        """
        port, own = key
        if name.table:
            yield (port, assembly.scope(port.bind, name.family, own), own), False
        if name.family is not ir.Family.TLS:
            return
        small = ctx.fetch(few, port)
        covering = (each.hostname for each in _covering(port, own))
        for other in sorted(small) if small is not None else covering:
            known = ctx.fetch(self.names, NameKey(port, other)) if other != own else None
            if known is not None and known.table:
                yield (port, assembly.scope(port.bind, known.family, other), own), True


def _members(_: Context, ref: Ref, placement: assembly.Placement) -> Iterator[tuple[MemberKey, Member]]:
    for group in placement.groups:
        for listener in placement.gateway.listeners:
            for bind in assembly.binds(placement, listener):
                key = MemberKey(PortKey(group, bind), ref, listener.name)
                yield key, Member(ref, placement.gateway.age, listener)


def _loss(key: MemberKey, loser: Member, winner: Member | None) -> Loss | None:
    return Loss(key.port.bind, loser, winner) if winner is not None else None


def _name(_: Context, __: NameKey, found: Mapping[MemberKey, Member]) -> Name:
    some = next(iter(found.values()))  # they are of one flavour
    return Name(some.family, some.listener.protocol in _REQUESTS)


def _few(_: Context, __: PortKey, found: Mapping[NameKey, Name]) -> frozenset[str] | None:
    return frozenset(key.hostname for key in found) if len(found) <= MISDIRECTED_LIMIT else None


def _covering(port: PortKey, domain: str) -> Iterator[NameKey]:
    """The host names that cover `domain`, the most specific first."""
    yield NameKey(port, domain)
    if domain != hosts.ANY:
        at = domain.find(".", 2 if domain.startswith("*.") else 0)
        yield from _wider(port, domain[at:] if at >= 0 else "")


@functools.lru_cache(maxsize=1024)
def _wider(port: PortKey, suffix: str) -> tuple[NameKey, ...]:
    """Those with a wildcard: what follows the first label is the same for many, and is kept once."""
    found: list[NameKey] = []
    at = 0 if suffix else -1
    while at >= 0:
        found.append(NameKey(port, f"*{suffix[at:]}"))
        at = suffix.find(".", at + 1)
    return (*found, NameKey(port, hosts.ANY))


def _server_name(hostname: str) -> str:
    return "" if hostname == hosts.ANY else hostname


def _settings(leader: Member) -> ir.PortSettings | None:
    """What the oldest listener of a port says of it; None: the default."""
    own = leader.listener.client.port
    return own if own != ir.DEFAULT_CLIENTS.port else None


def _udp(port: PortKey) -> PortKey:
    return port._replace(bind=port.bind._replace(udp=True))


def _table(
    _: Context, __: tuple[str, ir.Scope], found: Mapping[NameKey, ir.FilterChain]
) -> ir.TableSettings | None:
    """What the chains of a table (one, and maybe its HTTP/3) put on its requests; None: nothing."""
    some = next(iter(found.values()))
    wanted = some.client.http3 if any(chain.quic for chain in found.values()) else None
    http3 = replace(wanted, port=wanted.port or some.scope.bind.port) if wanted is not None else None
    made = ir.TableSettings(http3, some.client.http.detects)
    return made if made != ir.TableSettings() else None


def _chain_key(key: MemberKey, member: Member) -> NameKey:
    """Only server names tell connections apart."""
    return NameKey(key.port, member.hostname if member.family is ir.Family.TLS else hosts.ANY)


def _chain(key: NameKey, members: list[Member], flow: Flow | None) -> ir.FilterChain:
    """The chain of the listeners of one server name, the oldest first. TLS listeners have one although no
    route wants it: it closes its connections, and Envoy wants one chain at least."""
    first = members[0].listener
    name, table = _server_name(key.hostname), assembly.scope(key.port.bind, members[0].family, key.hostname)
    origins = tuple(member.listener.origin for member in members)
    client = first.client
    match first.protocol:
        case ir.Protocol.HTTP:
            return ir.FilterChain(name, None, table, origins, None, client)
        case ir.Protocol.HTTPS if not client.closed:
            return ir.FilterChain(name, _terminations(members), table, origins, None, client)
        case ir.Protocol.TLS | ir.Protocol.HTTPS:
            return ir.FilterChain(name, None, table, origins, _CLOSED, client)
        case ir.Protocol.TCP | ir.Protocol.UDP:
            stream = ir.Stream(str(flow.route.ref), flow.route.backends) if flow is not None else _NOWHERE
            return ir.FilterChain(name, None, table, origins, stream, client)
        case _:
            assert_never(first.protocol)


def _terminations(members: list[Member]) -> ir.TlsTermination | None:
    """Several Gateways' listeners of one host name put their certificates together; the oldest decides what
    is asked of clients."""
    terms = [member.listener.tls for member in members if member.listener.tls is not None]
    certificates = dict.fromkeys(key for each in terms for key in each.certificates)
    return replace(terms[0], certificates=tuple(certificates)) if terms else None
