"""The HTTP filters in their order, and the two places where they enter a configuration.

`listeners.py` asks for the connection manager's list, `routes.py` for what each route enables. To add a
filter: write its module, put it here (docs/add-a-filter.md).
"""

from __future__ import annotations

from typing import Final

from dragoman.envoy.filters import base, cors, router, stateful_session
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.route import v3 as route_proto
from dragoman.proto.envoy.extensions.filters.network.http_connection_manager import v3 as hcm

FILTERS: Final[tuple[base.Filter, ...]] = (
    cors.FILTER,  # before anything that may refuse: a preflight carries no credentials
    stateful_session.FILTER,
    router.FILTER,
)

_OPTIONAL: Final = tuple((each.name, each.per_route) for each in FILTERS if each.disabled)


def write_filters(target: hcm.HttpConnectionManager) -> None:
    """Adds every filter to a connection manager."""
    for each in FILTERS:
        entry = target.http_filters.add()
        entry.name = each.name
        entry.disabled = each.disabled
        entry.typed_config.type_url, entry.typed_config.value = each.config()


def write_route(target: route_proto.Route, route: ir.Route) -> None:
    """Enables on `target` the filters that `route` asks for."""
    for name, per_route in _OPTIONAL:
        config = per_route(route)
        if config is not None:
            entry = target.typed_per_filter_config[name]
            entry.type_url, entry.value = config
