"""Policies whose credentials are looked up, on their way out of the graph: to the companion that does so, and
its cluster to the Envoys.

The companion is told of all policies, whether or not a route is under them; a group has its cluster while one
of its routes asks, and a little longer. Where it listens is known only when it does: until then the port is
the settings'.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dragoman.envoy import authz, ratelimit_service as services
from dragoman.graph.collection import Collection, Context, Graph, Source
from dragoman.graph.pipeline import lingering
from dragoman.resource import Resource


class Authz:
    """`clusters`: (group, name) -> CDS; `secrets`: (group, name) -> SDS."""

    def __init__(self, graph: Graph, placed: Collection[Any, Any]) -> None:
        self._service: Source[str, services.Place] = graph.source("authz service")
        asking: Collection[tuple[str, str], bool] = graph.named(
            "groups with lookups",
            (
                placed,
                lambda key, part: (
                    [(key.host.group, authz.CLUSTER)]
                    if part.encoded is not None and authz.CLUSTER in part.encoded.clusters
                    else ()
                ),
            ),
        )

        self.asking = lingering.Lingering(graph, "groups that look up", asking)

        def cluster(ctx: Context, _: tuple[str, str], __: bool) -> Resource | None:
            place = ctx.fetch(self._service, "")
            return authz.cluster(place) if place is not None else None

        def secrets(
            ctx: Context, key: tuple[str, str], _: bool
        ) -> Iterator[tuple[tuple[str, str], Resource]]:
            place = ctx.fetch(self._service, "")
            for found in authz.secrets(place) if place is not None else ():
                yield (key[0], found.name), found

        self.clusters: Collection[tuple[str, str], Resource] = graph.map_one(
            "CDS of the authz service", self.asking.keys, cluster
        )

        self.secrets: Collection[tuple[str, str], Resource] = graph.map_many(
            "SDS of the authz service", self.asking.keys, secrets
        )

    def at(self, place: services.Place) -> None:
        """Says where Envoys find the service."""
        self._service.put("", place)
