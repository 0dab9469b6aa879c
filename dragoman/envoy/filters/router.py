"""The router: the last filter of every chain, which sends the request on.

`x-envoy-*` headers about upstream times and retries are not added: they tell clients about the inside.
"""

from __future__ import annotations

from dragoman.envoy.filters import base
from dragoman.ir import model as ir
from dragoman.proto.envoy.extensions.filters.http.router import v3 as router


class Router:
    """`envoy.filters.http.router`."""

    name = "envoy.filters.http.router"
    disabled = False

    def config(self) -> base.Config:
        return base.config(router.Router(suppress_envoy_headers=True))

    def per_route(self, route: ir.Route) -> None:
        del route  # all that it needs stands in the route's action


FILTER = Router()
