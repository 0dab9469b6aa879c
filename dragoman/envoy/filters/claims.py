"""Claims that are lists, as headers with commas, by a few lines of Lua (`claims.lua`).

Envoy's own `claim_to_headers` writes a list as JSON in base64. An entry must not look like two: commas,
percent signs and what is not visible ASCII are escaped as in URLs. It comes after `jwt_authn`, which has
checked the token; clients cannot bring such headers along (`identity`).
"""

from __future__ import annotations

import functools
from importlib import resources

from dragoman.envoy.filters import base
from dragoman.ir import model as ir
from dragoman.proto.envoy.extensions.filters.http.lua import v3 as lua


class Claims:
    """An `envoy.filters.http.lua`."""

    name = "dragoman.claims"
    disabled = True

    def config(self) -> base.Config:
        made = lua.Lua()
        made.default_source_code.inline_string = (
            resources.files(__package__).joinpath("claims.lua").read_text()
        )
        made.clear_route_cache.value = False  # a route is chosen once
        made.shared_vm_id = self.name
        return base.config(made)

    def per_route(self, route: ir.Route) -> base.Config | None:
        if route.auth is None or route.auth.jwt is None:
            return None
        lists = [(one.issuer, one.lists) for one in route.auth.jwt.providers if one.lists]
        return _per_route(tuple(lists)) if lists else None


FILTER = Claims()


@functools.lru_cache(maxsize=1024)
def _per_route(lists: tuple[tuple[str, ir.Pairs], ...]) -> base.Config:
    made = lua.LuaPerRoute()
    target = made.filter_context.get_or_create_list("lists")
    for issuer, pairs in lists:
        for header, claim in pairs:
            entry = target.add_struct()
            entry["issuer"], entry["header"] = issuer, header
            entry.get_or_create_list("path").extend(claim.split("."))
    return base.config(made)
