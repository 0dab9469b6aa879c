"""What attached routes and served Gateways use: the collections of clusters, endpoints and secrets. A part
of `wiring`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from dragoman.graph.collection import Collection, Context, Graph
from dragoman.ir import model as ir
from dragoman.refs import Ref
from dragoman.translators import base
from dragoman.translators.gateway import (
    backends,
    endpoints,
    keypairs,
    rules_gateway,
    secrets,
    streams,
)
from dragoman.translators.gateway.models import meta
from dragoman.translators.gateway.wiring_parents import Parents
from dragoman.translators.gateway.wiring_routes import Findings, Streams


class Backends:
    """What attached routes and served Gateways use: clusters, endpoints, secrets."""

    def __init__(
        self,
        graph: Graph,
        objects: base.Objects,
        vault: secrets.Vault,
        parents: Parents,
        sources: backends.Sources,
        routes: Collection[Ref, ir.RouteSet],
        stream_routes: Collection[tuple[Ref, str], ir.StreamRoute],
        flows: Iterable[Streams],
        logins: Collection[ir.SecretKey, ir.Secret],
    ) -> None:
        mixtures: Collection[ir.ClusterKey, streams.Mixed] = graph.union(
            "mixtures", *(one.mixtures for one in flows)
        )
        uses: Collection[ir.ClusterKey, bool] = graph.named(
            "cluster uses", *((each, lambda _, item: item.clusters()) for each in (routes, stream_routes))
        )

        def cluster(ctx: Context, key: ir.ClusterKey, _: bool) -> backends.Made | None:
            if key.ref.kind == "UDPRoute":
                return backends.Made(streams.mixture(key)) if ctx.fetch(mixtures, key) else None
            return backends.cluster(ctx, sources, key)

        made = graph.map_one("clusters and policies", uses, cluster)
        self.clusters: Collection[ir.ClusterKey, ir.Cluster] = graph.map_one(
            "clusters", made, lambda _, __, one: one.cluster
        )
        losses = graph.map_one("policies without effect", made, lambda _, __, one: one.findings or None)
        self.lost: Collection[Ref, Findings] = graph.group_by(
            "policies' findings of clusters",
            losses,
            lambda _, found: {one.ref for one in found if one.ref is not None},
            lambda _, ref, found: tuple(
                sorted(
                    {each for one in found.values() for each in one if each.ref == ref},
                    key=lambda each: each.sort_key,
                )
            ),
        )
        slice_objects = objects[meta.DISCOVERY_GROUP, "EndpointSlice"]
        slices = endpoints.group(graph, slice_objects)

        def endpoint_set(ctx: Context, key: ir.ClusterKey) -> ir.EndpointSet | None:
            if key.ref.kind == "Service":
                return endpoints.endpoint_set(ctx, sources.services, slices, key)
            found = backends.cluster(ctx, sources, key)
            if found is None:
                return None
            return ir.EndpointSet(
                key, tuple(e for e in found.cluster.endpoints if rules_gateway.is_ip(e.address))
            )

        def filled(ctx: Context, key: ir.ClusterKey, _: object) -> ir.EndpointSet | None:
            if key.ref.kind == "Service":
                return endpoints.endpoint_set(ctx, sources.services, slices, key)
            parts = ctx.fetch(mixtures, key)
            if parts is None:
                return None
            known = (part for part, _ in parts if part is not None)
            sets = {part: found for part in known if (found := endpoint_set(ctx, part)) is not None}
            return streams.blend(key, parts, sets)

        self.endpoints: Collection[ir.ClusterKey, ir.EndpointSet] = graph.group_by(
            "endpoints", uses, lambda key, _: (key.place,), filled
        )
        self.secrets = graph.map_one(
            "secrets",
            graph.named(
                "secret uses",
                (parents.served, _certificates),
                (self.clusters, _cluster_secrets),
                (routes, lambda _, item: item.secrets()),
            ),
            lambda ctx, key, _: ctx.fetch(logins, key) or _usable(ctx.fetch(vault.credentials, key)),
        )

        def undescribed(ctx: Context, key: ir.ClusterKey, found: ir.EndpointSet) -> bool | None:
            if found.endpoints or key.ref.kind != "Service":
                return None
            return None if ctx.fetch(slices, key.ref) else True

        def faulty(ctx: Context, ref: Ref, _: base.AnyObject) -> Findings | None:
            return backends.findings(ctx, sources, ref)

        self.findings: Collection[Ref, Findings] = graph.union(
            "backend findings",
            graph.group_by(
                "Service findings",
                graph.map_one("undescribed", self.endpoints, undescribed),
                lambda key, _: (key.ref,),
                lambda _, ref, __: (endpoints.undescribed(ref),),
            ),
            graph.map_one("EndpointSlice findings", slice_objects, endpoints.findings),
            graph.map_one("Backend findings", objects[meta.DRAGOMAN_GROUP, "Backend"], faulty),
        )


def _certificates(_: Ref, gateway: ir.Gateway) -> Iterable[ir.SecretKey]:
    found = set() if gateway.certificate is None else {gateway.certificate}
    for one in gateway.listeners:
        if one.tls is not None:
            found.update(one.tls.certificates)
            if one.tls.clients is not None:
                found.add(one.tls.clients.ca._replace(revoked=ir.NOBODY))
                if one.tls.clients.ca.revoked != ir.NOBODY:
                    found.add(ir.SecretKey(one.tls.clients.ca.revoked, "crl"))
    return found


def _cluster_secrets(_: ir.ClusterKey, cluster: ir.Cluster) -> Iterator[ir.SecretKey]:
    if cluster.tls is not None:
        yield from {key for key in (cluster.tls.ca, cluster.tls.certificate) if key is not None}


def _usable(found: Any) -> ir.Secret | None:
    return None if isinstance(found, keypairs.Flaw) else found
