"""The note that the rate-limit service has let a request pass, on routes without a backend (`envoy.counted`).

Behind the filters that ask it. Envoy 1.40 takes `clear_route_cache` only from the filter's own
configuration.
"""

from __future__ import annotations

from typing import Final

from dragoman.envoy.filters import base
from dragoman.ir import model as ir
from dragoman.proto.envoy.extensions.filters.http.set_filter_state import v3 as set_filter_state

NOTE: Final = "dragoman.counted"


class Counted:
    """An `envoy.filters.http.set_filter_state`."""

    name = "dragoman.counted"
    disabled = True

    def config(self) -> base.Config:
        made = set_filter_state.Config(clear_route_cache=True)
        note = made.on_request_headers.add(object_key=NOTE, factory_key="envoy.string")
        note.format_string.text_format_source.inline_string = "%ROUTE_NAME%"
        return base.config(made)

    def per_route(self, route: ir.Route) -> base.Config | None:
        if not answers(route):
            return None
        return base.WAKE


FILTER: Final = Counted()


def answers(route: ir.Route) -> bool:
    """Whether the service counts a route that answers by itself."""
    return not isinstance(route.action, ir.Forward) and any(limit.asked for limit in route.limits)
