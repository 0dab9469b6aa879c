"""The per-group half of the graph: ports, listeners, route tables, and what they need.

Keys begin with the group's name. A route's bytes are made once whatever the number of groups; a virtual
host's, a bucket's and a table's are kept and joined, so that one route changed costs its host, its bucket
and a join.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from dragoman import config, resource
from dragoman.envoy import (
    clusters,
    endpoints,
    inner,
    listeners,
    pairs,
    routes as encoder,
    secrets,
    shape,
)
from dragoman.envoy.scoping import Cut
from dragoman.graph.collection import Collection, Context, Graph, Source
from dragoman.graph.pipeline import (
    assembly,
    authz,
    binds,
    compromises,
    discovery,
    extensions,
    limits,
    placing,
    shapes,
)
from dragoman.graph.pipeline.binds import PortKey
from dragoman.graph.pipeline.placing import NO_OBJECT, HostKey, Part, PartKey
from dragoman.ir import client, model as ir
from dragoman.ir.order import LAST, Order
from dragoman.refs import Ref
from dragoman.resource import Resource
from dragoman.translators import base

_PLAIN = ir.DEFAULT_CLIENTS.port


class Groups:
    """Builds the collections; answers what one group has."""

    def __init__(self, graph: Graph, outputs: base.Outputs, settings: config.Gateways) -> None:
        self._active: Source[str, frozenset[str]] = graph.source("groups")
        self._active.put("", frozenset())

        def place(ctx: Context, ref: Ref, gateway: ir.Gateway) -> assembly.Placement | None:
            active = ctx.fetch(self._active, "") or frozenset()
            names = tuple(sorted(name for name in active if assembly.matches(name, gateway.gateway)))
            if not names:
                return None
            addresses = assembly.addresses(settings, gateway.gateway, gateway.addresses)
            return assembly.Placement(gateway, names, addresses)

        placements = graph.map_one("placements", outputs.gateways, place)
        seats = graph.map_many("seats", placements, placing.seats)
        self._binds = binds.Binds(graph, placements)
        encrypted: Collection[ir.ClusterKey, bool] = graph.map_one(
            "encrypted",
            outputs.clusters,
            # One with a certificate of its own shows that to whoever asks.
            # No strangers: hosts that a policy names by URL.
            lambda _, key, item: (
                True
                if item.tls is not None and item.tls.certificate is None and key.ref.kind != ir.HOST
                else None
            ),
        )
        flows = graph.map_many(
            "flows",
            outputs.streams,
            lambda ctx, _, route: placing.flows(ctx, route, seats, self._binds, encrypted),
        )
        self._chains = self._binds.chains(graph, flows)
        self.shapes = shapes.Shapes(graph, settings.scoped_hosts)
        chunks: Collection[binds.NameKey, listeners.ChainChunk] = graph.map_one(
            "filter chains encoded",
            self._chains,
            lambda ctx, key, chain: listeners.encode_chain(
                key.port.bind,
                chain,
                cut=self.shapes.of(ctx, (key.port.group, chain.scope)).cut,
                lazy=settings.lazy_clusters,
                apart=True,
            ),
        )
        self.managers: Collection[tuple[str, str], Resource] = graph.map_many(
            "connection managers", chunks, _managers
        )

        def port_settings(ctx: Context, port: PortKey) -> client.PortSettings:
            return ctx.fetch(self._binds.settings, _tcp(port)) or _PLAIN

        def held(ctx: Context, key: ir.SecretKey) -> ir.Secret | None:
            """A secret; authorities together with the certificates that they revoked."""
            if key.revoked == ir.NOBODY:
                return ctx.fetch(outputs.secrets, key)
            ca = ctx.fetch(outputs.secrets, key._replace(revoked=ir.NOBODY))
            lists = ctx.fetch(outputs.secrets, ir.SecretKey(key.revoked, "crl"))
            return replace(ca, key=key, crl=lists.crl) if ca is not None and lists is not None else None

        self.listeners: Collection[PortKey, Resource] = graph.group_by(
            "whole LDS" if settings.discovered_chains else "LDS",
            chunks,
            lambda key, _: (key.port,),
            lambda ctx, port, found: listeners.join(port.bind, found.values(), port_settings(ctx, port)),
        )
        self.discovery: discovery.Discovery | None = None
        if settings.discovered_chains:
            self.discovery = discovery.Discovery(
                graph,
                self._chains,
                chunks,
                self.listeners,
                self.shapes,
                port_settings,
                held,
                lazy=settings.lazy_clusters,
            )
            self.listeners = self.discovery.listeners

        encoded: Collection[Ref, placing.EncodedSet] = graph.map_one(
            "encoded", outputs.routes, lambda _, ref, item: placing.encode(item, encoded.get(ref))
        )

        def attach(ctx: Context, ref: Ref, item: placing.EncodedSet) -> Iterable[tuple[PartKey, Part]]:
            return placing.parts(ctx, ref, item, seats, self._binds, encrypted)

        placed: Collection[PartKey, Part] = graph.map_many("placed", encoded, attach)
        fallback = graph.map_many("fallback parts", self._binds.fallbacks, placing.fallback)
        unmatched = self._unmatched(graph, outputs.unmatched, placed, fallback)
        parts = self._parts = graph.union("parts", placed, fallback, unmatched)
        self._hosts = graph.sorted_groups(
            "hosts", parts, lambda key, _: key.host, lambda _, part: part.order, _host
        )
        buckets = graph.group_by("buckets", self._hosts, _bucket_of, _bucket)
        self.tables: Collection[tuple[str, ir.Scope], Resource] = graph.group_by(
            "RDS",
            buckets,
            lambda key, _: (key[:2],),
            lambda ctx, key, found: _table(
                key[1], found, ctx.fetch(self._binds.tables, key), self.shapes.of(ctx, key)
            ),
        )
        self.scopes = self.shapes.scopes(graph, buckets, self._binds.tables)

        self.extensions = extensions.Extensions(graph, self._chains, placed, outputs.contents)
        self.limits = limits.Limits(graph, outputs, placed, placements)
        self.authz = authz.Authz(graph, placed)
        self._used: Collection[tuple[str, ir.ClusterKey], bool] = graph.named(
            "used",
            (placed, lambda key, part: [(key.host.group, c) for c in part.clusters]),
            (flows, lambda key, flow: [(key.port.group, c) for c in flow.route.clusters()]),
        )
        eager = (
            graph.named(
                "eager",
                (placed, lambda key, part: [(key.host.group, c) for c in part.eager]),
                (flows, lambda key, flow: [(key.port.group, c) for c in flow.route.clusters()]),
            )
            if settings.lazy_clusters
            else None
        )
        # Tables with cached routes have an inner listener, and a cluster that leads to it.
        caches: Collection[tuple[str, ir.Scope], bool] = graph.named(
            "tables with a cache", (placed, lambda key, part: (key.host[:2],) if part.cached else ())
        )
        self.inner_listeners: Collection[tuple[str, ir.Scope], Resource] = graph.map_one(
            "inner LDS",
            caches,
            lambda ctx, key, __: inner.listener(key[1], cut=self.shapes.of(ctx, key).cut),
        )
        self.inner_clusters: Collection[tuple[str, ir.Scope], Resource] = graph.map_one(
            "inner CDS", caches, lambda _, key, __: inner.cluster(key[1])
        )
        made = graph.map_one("clusters encoded", outputs.clusters, lambda _, key, item: clusters.encode(item))
        filled = graph.map_one(
            "endpoints encoded", outputs.endpoints, lambda _, key, item: endpoints.encode(item)
        )
        sealed = graph.map_one(
            "secrets encoded",
            outputs.secrets,
            # Lists of revoked certificates go with the authorities that issued them.
            lambda _, key, item: secrets.encode(item) if key.use != "crl" else None,
        )

        def cluster(ctx: Context, key: tuple[str, ir.ClusterKey], _: bool) -> Resource | None:
            found = encode(ctx, key)
            if found is None or eager is None or ctx.fetch(eager, key):
                return found
            plain = ctx.fetch(outputs.clusters, key[1]._replace(certificate=ir.NOBODY, reserve=()))
            if plain is not None and plain.piecemeal:
                return found
            return replace(found, lazy=True, version=resource.digest(found.version.encode(), b"lazy"))

        def encode(ctx: Context, key: tuple[str, ir.ClusterKey]) -> Resource | None:
            if key[1].reserve:
                first = ctx.fetch(outputs.clusters, key[1]._replace(certificate=ir.NOBODY, reserve=()))
                return pairs.encode(key[1], first) if first is not None else None
            if key[1].certificate == ir.NOBODY:
                return ctx.fetch(made, key[1])
            plain = ctx.fetch(outputs.clusters, key[1]._replace(certificate=ir.NOBODY))
            return clusters.encode(assembly.certified(plain, key[1])) if plain is not None else None

        self.clusters: Collection[tuple[str, ir.ClusterKey], Resource] = graph.map_one(
            "CDS", self._used, cluster
        )
        self.endpoints: Collection[tuple[str, ir.ClusterKey], Resource] = graph.group_by(
            "EDS",
            self._used,
            lambda key, _: ((key[0], key[1].place),),
            lambda ctx, key, _: ctx.fetch(filled, key[1]),
        )

        def upstream_secrets(
            ctx: Context, key: tuple[str, ir.ClusterKey], item: Resource
        ) -> Iterator[tuple[tuple[str, ir.SecretKey, object], bool]]:
            # Most clusters have no TLS, and need not be looked at again for it.
            if resource.SECRET not in item.refs:
                return
            found = ctx.fetch(outputs.clusters, key[1]._replace(certificate=ir.NOBODY))
            if found is not None and found.tls is not None:
                tls = assembly.certified(found, key[1]).tls or found.tls
                for secret in (tls.ca, tls.certificate):
                    if secret is not None:
                        yield (key[0], secret, key[1]), True

        def seal(ctx: Context, key: tuple[str, ir.SecretKey], _: object) -> Resource | None:
            if key[1].revoked == ir.NOBODY:
                return ctx.fetch(sealed, key[1])
            found = held(ctx, key[1])
            return secrets.encode(found) if found is not None else None

        uses = graph.union(
            "secret uses",
            graph.map_many("downstream secrets", self._chains, _downstream_secrets),
            graph.map_many("upstream secrets", self.clusters, upstream_secrets),
            graph.map_many("secrets of requests", placed, _request_secrets),
        )
        self.secrets: Collection[tuple[str, ir.SecretKey], Resource] = graph.group_by(
            "SDS", uses, lambda key, _: (key[:2],), seal
        )

    def _unmatched(
        self,
        graph: Graph,
        answers: Collection[tuple[Ref, str], ir.Route],
        placed: Collection[PartKey, Part],
        fallback: Collection[PartKey, Part],
    ) -> Collection[PartKey, Part]:
        """The last route of each virtual host whose listener answers what no route matches."""
        encoded = graph.map_one(
            "unmatched encoded", answers, lambda _, __, route: (route, encoder.encode_route(route))
        )
        # Where nobody asks for it, hosts need not be looked at.
        some: Collection[str, bool] = graph.named("any unmatched", (answers, lambda *_: ("",)))
        there: Collection[HostKey, bool] = graph.named(
            "hosts there", *((each, lambda key, _: (key.host,)) for each in (placed, fallback))
        )

        def last(ctx: Context, key: HostKey, _: bool) -> Iterator[tuple[PartKey, Part]]:
            if ctx.fetch(some, "") is None:
                return
            member = self._binds.member(ctx, PortKey(key.group, key.scope.bind), key.scope, key.domain)
            if member is None:
                return
            found = ctx.fetch(encoded, (member.gateway, member.listener.name))
            if found is not None:
                yield PartKey(key, NO_OBJECT, 1), Part(LAST, *found)

        return graph.map_many("unmatched parts", there, last)

    def activate(self, group: str) -> None:
        self._active.put("", (self._active.get("") or frozenset()) | {group})

    def deactivate(self, group: str) -> None:
        self._active.put("", (self._active.get("") or frozenset()) - {group})

    def listeners_of(self, group: str) -> Mapping[ir.Bind, ir.Listener]:
        found: dict[ir.Bind, list[ir.FilterChain]] = {}
        for key, chain in self._chains.items():
            if key.port.group == group:
                found.setdefault(key.port.bind, []).append(chain)
        return {
            bind: ir.Listener(
                bind,
                tuple(sorted(chains, key=lambda chain: chain.hostname)),
                self._binds.settings.get(_tcp(PortKey(group, bind))) or _PLAIN,
            )
            for bind, chains in found.items()
        }

    def losses(self) -> Iterable[binds.Loss]:
        """Listeners that are not served, because another Gateway has their port or host name."""
        return self._binds.losses.values()

    def giving_way(self) -> Iterable[compromises.Compromise]:
        """Listeners that do not have everything as their policies say."""
        return self._binds.compromises.values()

    def giving_way_of(self, group: str) -> tuple[compromises.Compromise, ...]:
        """The same of one group."""
        found = [(key, one) for key, one in self._binds.compromises.items() if key.port.group == group]
        return tuple(one for _, one in sorted(found, key=lambda each: each[0]))

    def hosts_of(self, group: str) -> Mapping[ir.Scope, Mapping[str, ir.VirtualHost]]:
        """Made of the parts: a host whose bytes stay is kept, though its routes' places may have moved."""
        hosts: dict[HostKey, list[tuple[Order, PartKey, Part]]] = {}
        for key, part in self._parts.items():
            if key.host.group == group:
                hosts.setdefault(key.host, []).append((part.order, key, part))
        tables: dict[ir.Scope, dict[str, ir.VirtualHost]] = {}
        for host, found in hosts.items():
            parts = [part for *_, part in sorted(found, key=lambda each: each[:2])]
            routes = tuple(part.route for part in parts if part.route is not None)
            misdirected = not routes and any(part.misdirected for part in parts)
            item = ir.VirtualHost(host.scope, host.domain, routes, misdirected)
            tables.setdefault(host.scope, {})[host.domain] = item
        return tables

    def settle(self, now: float) -> bool:
        """Decides what the last commit leaves to decide: what lingers, how tables are cut. Whether there is
        anything, which is to be followed by a commit before anything is handed on."""
        found = [each.linger(now) for each in (self.extensions, self.limits.asking, self.authz.asking)]
        return any([*found, self.shapes.settle(now)])

    def expire(self, now: float) -> bool:
        """Lets go what has lingered long enough; whether there was anything."""
        kept = (self.extensions, self.limits.asking, self.authz.asking, self.shapes)
        found = [each.expire(now) for each in kept]  # all of them, not until the first
        return any(found)

    def objects_in(self, scope: str) -> frozenset[Ref]:
        """The objects that have routes in a scope (`shape`), in whatever group. Looks at all routes."""
        return frozenset(
            key.ref for key in self._parts if shape.holds(scope, key.host.scope, key.host.domain)
        )

    def used_by(self, group: str) -> frozenset[ir.ClusterKey]:
        return frozenset(cluster for name, cluster in self._used if name == group)


def _host(_: Context, key: HostKey, parts: list[Part]) -> encoder.HostChunk:
    encoded = [part.encoded for part in parts if part.encoded is not None]
    misdirected = not encoded and any(part.misdirected for part in parts)
    return encoder.encode_virtual_host(key.scope, key.domain, encoded, misdirected)


def _bucket_of(key: HostKey, _: encoder.HostChunk) -> Iterable[tuple[str, ir.Scope, int]]:
    return ((key.group, key.scope, shape.bucket(key.domain)),)


def _bucket(_: Context, key: object, found: Mapping[HostKey, encoder.HostChunk]) -> shape.BucketChunk:
    return shape.encode_bucket(found.values())


def _table(
    scope: ir.Scope,
    found: Mapping[tuple[str, ir.Scope, int], shape.BucketChunk],
    settings: ir.TableSettings | None,
    choice: shapes.Choice,
) -> Resource | None:
    if Cut.WHOLE not in choice.kept:
        return None
    chunks = {bucket[2]: chunk for bucket, chunk in found.items()}
    return shape.route_configuration(scope, chunks, settings or ir.TableSettings(), spare=bool(choice.cut))


def _managers(
    _: Context, key: binds.NameKey, chunk: listeners.ChainChunk
) -> Iterator[tuple[tuple[str, str], Resource]]:
    """Those that stand beside their filter chains (ECDS), by group and name."""
    if chunk.manager is not None:
        yield (key.port.group, chunk.manager.name), chunk.manager


def _tcp(port: PortKey) -> PortKey:
    """What a port says holds for its HTTP/3 too."""
    return port._replace(bind=port.bind._replace(udp=False)) if port.bind.udp else port


def _request_secrets(
    _: Context, key: PartKey, part: Part
) -> Iterator[tuple[tuple[str, ir.SecretKey, object], bool]]:
    for secret in part.secrets:
        yield (key.host.group, secret, key), True


def _downstream_secrets(
    _: Context, key: binds.NameKey, chain: ir.FilterChain
) -> Iterator[tuple[tuple[str, ir.SecretKey, object], bool]]:
    for secret in listeners.used_secrets(chain):
        yield (key.port.group, secret, key), True
