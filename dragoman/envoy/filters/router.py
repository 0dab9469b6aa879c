"""The router: the last filter of every chain, which sends the request on. It has a chain of its own, which
every try passes (`tries.py`).

`x-envoy-*` headers about upstream times and retries are not added: they tell clients about the inside.
"""

from __future__ import annotations

from dragoman.envoy.filters import base, tries
from dragoman.ir import model as ir
from dragoman.proto.envoy.extensions.filters.http.router import v3 as router
from dragoman.proto.envoy.extensions.filters.http.upstream_codec import v3 as upstream_codec


class Router:
    """`envoy.filters.http.router`."""

    name = "envoy.filters.http.router"
    disabled = False

    def config(self) -> base.Config:
        message = router.Router(suppress_envoy_headers=True)
        entry = message.upstream_http_filters.add(name=tries.FILTER.name, disabled=tries.FILTER.disabled)
        entry.typed_config.type_url, entry.typed_config.value = tries.FILTER.config()
        codec = base.config(upstream_codec.UpstreamCodec())  # must be the last one
        entry = message.upstream_http_filters.add(name="envoy.filters.http.upstream_codec")
        entry.typed_config.type_url, entry.typed_config.value = codec
        return base.config(message)

    def per_route(self, route: ir.Route) -> None:
        del route  # all that it needs stands in the route's action


FILTER = Router()
