"""Changes of query parameters, by a few lines of Lua (`query.lua`).

Envoy's own mutations of the query decode the whole of it and put it back as it then is: a client's `%20` or
`%0D%0A` would stand in the request line to the backend as it is. The script touches nothing but what it is
told to, and escapes what it adds. Values are made by `header_mutation`, just before: each comes in a header
of its own, which clients cannot send (it is dropped there first) and backends do not see.
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import Final

from dragoman.envoy.filters import base
from dragoman.ir import model as ir, treatment
from dragoman.proto.envoy.extensions.filters.http.lua import v3 as lua

PREFIX: Final = "x-dragoman-query-"


class QueryParameters:
    """An `envoy.filters.http.lua`."""

    name = "dragoman.http.query_parameters"
    disabled = True

    def config(self) -> base.Config:
        made = lua.Lua()
        made.default_source_code.inline_string = _script()
        made.clear_route_cache.value = False  # the route was chosen by the query as it came
        # One machine per worker, instead of one for each connection manager (140 KB each).
        made.shared_vm_id = self.name
        return base.config(made)

    def per_route(self, route: ir.Route) -> base.Config | None:
        return _per_route(route.treatment.query) if route.treatment.query else None


FILTER = QueryParameters()


def values(changes: treatment.QueryChanges) -> ir.Pairs:
    """The headers in which the values come: (name, template), in the order of the changes."""
    return tuple((f"{PREFIX}{at}", value) for at, (_, value) in enumerate((*changes.set, *changes.add)))


@functools.lru_cache(maxsize=1024)
def _per_route(changes: treatment.QueryChanges) -> base.Config:
    made = lua.LuaPerRoute()
    context = made.filter_context
    gone = dict.fromkeys((*changes.remove, *(name for name, _ in changes.set)))
    context.get_or_create_list("gone").extend(gone)
    added = context.get_or_create_list("added")
    names = [name for name, _ in (*changes.set, *changes.add)]
    for at, ((header, _), name) in enumerate(zip(values(changes), names, strict=True)):
        entry = added.add_struct()
        entry["header"] = header
        entry["name"] = name
        entry["replaces"] = at < len(changes.set) and name not in changes.remove
    return base.config(made)


@functools.cache
def _script() -> str:
    return resources.files(__package__).joinpath("query.lua").read_text()
