"""Rate limits on their way out of the graph: to the service that counts them, and its cluster to the Envoys.

The service is told of limits, Gateway by Gateway, whether or not an Envoy is there; a group has the service's
cluster while one of its routes asks it. Where the service listens is known only when it does: until then the
port is the settings'.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from dragoman.envoy import ratelimits
from dragoman.graph.collection import Collection, Context, Graph, Source
from dragoman.ir import model as ir
from dragoman.refs import Ref
from dragoman.resource import Resource
from dragoman.translators import base

_CLUSTERS: Final = (ratelimits.CLUSTER, ratelimits.STREAMS)
ANY: Final = "*"
"""In place of a route or rule: each counts apart, and all by one rule of the service."""


class Limits:
    """`counted`: every limit of the service. `clusters`: (group, name) -> CDS."""

    def __init__(self, graph: Graph, outputs: base.Outputs, placed: Collection[Any, Any]) -> None:
        self._service: Source[str, tuple[str, int]] = graph.source("rate-limit service")

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

        self.counted: Collection[ir.RateLimit, bool] = graph.group_by(
            "limits counted",
            graph.map_many("limits of routes", outputs.routes, said),
            lambda key, _: (key[1],),
            lambda *_: True,
        )
        asking: Collection[tuple[str, str], bool] = graph.group_by(
            "groups with limits",
            placed,
            lambda key, part: (
                [(key.host.group, name) for name in _CLUSTERS if name in part.encoded.clusters]
                if part.encoded is not None
                else ()
            ),
            lambda *_: True,
        )

        def cluster(ctx: Context, key: tuple[str, str], _: bool) -> Resource | None:
            place = ctx.fetch(self._service, key[1])
            return ratelimits.cluster(key[1], *place) if place is not None else None

        self.clusters: Collection[tuple[str, str], Resource] = graph.map_one(
            "CDS of the rate-limit service", asking, cluster
        )

    def at(self, address: str, port: int, streams: int) -> None:
        """Says where Envoys find the service: the port where they ask, and that of streams."""
        self._service.put(ratelimits.CLUSTER, (address, port))
        self._service.put(ratelimits.STREAMS, (address, streams))
