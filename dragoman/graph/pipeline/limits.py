"""Rate limits on their way out of the graph: to the service that counts them, and its cluster to the Envoys.

The service is told of limits, Gateway by Gateway, whether or not an Envoy is there; a group has the service's
cluster while one of its routes asks it, and a little longer (`asking`). Where the service listens is known
only when it does: until then the port is the settings'.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from dragoman import resource
from dragoman.envoy import ratelimit_service, ratelimits
from dragoman.graph.collection import Collection, Context, Graph, Source
from dragoman.graph.pipeline import assembly, lingering
from dragoman.ir import model as ir
from dragoman.refs import Ref
from dragoman.resource import Resource
from dragoman.translators import base

Told = tuple[str, str]
"""Type and Gateway."""
_CLUSTERS: Final = (ratelimits.CLUSTER, ratelimits.STREAMS)
ANY: Final = "*"
"""In place of a route or rule: each counts apart, and all by one rule of the service."""


class Limits:
    """`counted`: every limit of the service. `clusters`: (group, name) -> CDS, `secrets`: -> SDS.
    `published`: (group, type, Gateway) -> what services that run elsewhere are told."""

    def __init__(
        self,
        graph: Graph,
        outputs: base.Outputs,
        placed: Collection[Any, Any],
        placements: Collection[Ref, assembly.Placement],
    ) -> None:
        self._service: Source[str, ratelimit_service.Place] = graph.source("rate-limit service")
        self._told: Source[Told, Resource] = graph.source("limits published")

        def said(
            ctx: Context, _: Ref, routes: ir.RouteSet
        ) -> Iterator[tuple[tuple[Ref, ir.RateLimit], bool]]:
            for stand in routes.stands:
                asked = [one for route in stand.routes for one in route.limits if not one.local]
                if not asked:
                    continue
                for parent in {one.parent for one in stand.attachments}:
                    gateway = ctx.fetch(outputs.gateways, parent)
                    if gateway is not None:
                        for one in asked:
                            place = ANY if one.place else ""
                            limit = replace(one, gateway=gateway.gateway.id, place=place)
                            yield (routes.ref, limit), True

        self.counted: Collection[ir.RateLimit, bool] = graph.named(
            "limits counted",
            (graph.map_many("limits of routes", outputs.routes, said), lambda key, _: (key[1],)),
        )
        asking: Collection[tuple[str, str], bool] = graph.named(
            "groups with limits",
            (
                placed,
                lambda key, part: (
                    [(key.host.group, name) for name in _CLUSTERS if name in part.encoded.clusters]
                    if part.encoded is not None
                    else ()
                ),
            ),
        )

        self.asking = lingering.Lingering(graph, "groups that ask for limits", asking)

        def cluster(ctx: Context, key: tuple[str, str], _: bool) -> Resource | None:
            place = ctx.fetch(self._service, key[1])
            return ratelimit_service.cluster(key[1], place) if place is not None else None

        def secrets(
            ctx: Context, key: tuple[str, str], _: bool
        ) -> Iterator[tuple[tuple[str, str], Resource]]:
            place = ctx.fetch(self._service, key[1])
            for found in ratelimit_service.secrets(key[1], place) if place is not None else ():
                yield (key[0], found.name), found

        def told(
            ctx: Context, _: Ref, placement: assembly.Placement
        ) -> Iterator[tuple[tuple[str, str, str], Resource]]:
            for type_url in (resource.LIMITS, resource.GO_LIMITS):
                found = ctx.fetch(self._told, (type_url, placement.gateway.gateway.id))
                if found is not None:
                    for group in placement.groups:
                        yield (group, type_url, found.name), found

        self.clusters: Collection[tuple[str, str], Resource] = graph.map_one(
            "CDS of the rate-limit service", self.asking.keys, cluster
        )
        self.secrets: Collection[tuple[str, str], Resource] = graph.map_many(
            "SDS of the rate-limit service", self.asking.keys, secrets
        )
        self.published: Collection[tuple[str, str, str], Resource] = graph.map_many(
            "limits for services", placements, told
        )

    def at(self, asked: ratelimit_service.Place, streams: ratelimit_service.Place) -> None:
        """Says where Envoys find the service: where they ask, and where it takes streams."""
        self._service.put(ratelimits.CLUSTER, asked)
        self._service.put(ratelimits.STREAMS, streams)

    def publish(self, told: Mapping[Told, Resource]) -> bool:
        """Says what services that run elsewhere are told, all of it; whether it is something new."""
        gone = [key for key, _ in self._told.items() if key not in told]
        new = {key: one for key, one in told.items() if self._told.get(key) != one}
        for key in gone:
            self._told.remove(key)
        for key, one in new.items():
            self._told.put(key, one)
        return bool(gone or new)
