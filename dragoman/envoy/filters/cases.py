"""Routing by claims: a request whose checked token meets a case of its route goes on by the route's copy for
that case, by a few lines of Lua (`cases.lua`).

A route is chosen before anything is checked, and filters are woken for that one. So it may be exchanged only
for one that asks the same of requests: a copy that differs in its backends alone (`envoy.cases`). The copies
match nothing but metadata that this filter writes and that names the route, so no request finds one by
itself; and when Envoy has chosen again, the filter looks whether it is one of the route's own. Over scopes
Envoy chooses from the newest table, which may have another answer by then: such a request gets 503.

It comes behind everything that finds out who a client is and whether it may pass.
"""

from __future__ import annotations

import functools
from importlib import resources
from typing import Final

from dragoman import resource
from dragoman.envoy.filters import base
from dragoman.ir import model as ir
from dragoman.proto.envoy.extensions.filters.http.lua import v3 as lua

NAME: Final = "dragoman.cases"
"""The filter's name, of the metadata that it writes, and of that by which it knows a copy."""

RULE: Final = "rule"
CASE: Final = "case"
"""Keys in them."""


class Cases:
    """An `envoy.filters.http.lua`."""

    name = NAME
    disabled = True

    def config(self) -> base.Config:
        made = lua.Lua()
        made.default_source_code.inline_string = (
            resources.files(__package__).joinpath("cases.lua").read_text()
        )
        made.clear_route_cache.value = False  # of itself: only where a case holds
        made.shared_vm_id = self.name
        return base.config(made)

    def per_route(self, route: ir.Route) -> base.Config | None:
        if not isinstance(route.action, ir.Forward) or not route.action.cases:
            return None
        return _per_route(rule(route), tuple(case.claims for case in route.action.cases))


FILTER: Final = Cases()


def rule(route: ir.Route) -> str:
    """What names a route and all that is asked on it: copies of another one have another name, and so have
    its own of before a change of what is asked. Where backends alone change, it stays."""
    assert isinstance(route.action, ir.Forward)
    claims = [case.claims for case in route.action.cases]
    return resource.digest(repr((route.name, route.auth, claims)).encode())


@functools.lru_cache(maxsize=1024)
def _per_route(rule: str, cases: tuple[tuple[ir.Claim, ...], ...]) -> base.Config:
    made = lua.LuaPerRoute()
    made.filter_context[RULE] = rule
    target = made.filter_context.get_or_create_list("cases")
    for claims in cases:
        listed = target.add_struct().get_or_create_list("claims")
        for claim in claims:
            entry = listed.add_struct()
            entry.get_or_create_list("path").extend(claim.path)
            entry.get_or_create_list("values").extend(claim.values)
    return base.config(made)
