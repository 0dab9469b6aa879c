"""Clusters that are fetched when the first request for them comes (`gateways.lazy_clusters`).

The filter stands behind all others, just before the router: who is refused fetches nothing, and by then the
route is known. It is in connection managers only where clusters are lazy; a share that no cluster stands
behind says so (`unknown`), or each of its requests would wait for one. Called by `chain` and `routes`.
"""

from __future__ import annotations

import functools
from typing import Final

from dragoman.envoy import durations, sources
from dragoman.envoy.filters import base
from dragoman.ir import model as ir
from dragoman.proto.envoy.extensions.filters.http.on_demand import v3 as on_demand

TIMEOUT: Final = 5.0
"""Seconds for a cluster to come, endpoints included; then 503. Envoy's own."""


class OnDemand:
    """`envoy.filters.http.on_demand`."""

    name = "envoy.filters.http.on_demand"
    disabled = False

    def config(self) -> base.Config:
        message = on_demand.OnDemand()
        sources.write_ads(message.odcds.source)
        durations.assign(message.odcds.timeout, TIMEOUT)
        return base.config(message)

    def per_route(self, route: ir.Route) -> None:
        del route  # it holds for all of them


@functools.cache
def unknown() -> base.Config:
    """For what no cluster will come for: nothing is asked for."""
    return base.config(on_demand.PerRouteConfig())


FILTER = OnDemand()
