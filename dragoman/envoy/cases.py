"""Routes with cases (`ir.Case`): copies of the route for the requests that a case is for. Called by `routes`.

A copy has everything of the route but its backends, and is found by what `filters.cases` writes into the
metadata of requests that came by the route itself. So it need not ask again for what the route matches: by
then headers may be others. Only the path stays, for what rewrites make of it, and for trees. Copies stand
before all other routes of their host: whatever filters did to a request's headers, no other route takes it.
"""

from __future__ import annotations

from dragoman.envoy import matches
from dragoman.envoy.filters import cases
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.route import v3 as route_proto


def copy(message: route_proto.Route, route: ir.Route, number: int) -> route_proto.Route:
    """The copy of `message`, a route that has no action yet, for the case of that number (from 0)."""
    made = route_proto.Route()
    made.CopyFrom(message)
    made.match.Clear()
    matches.write(made.match, ir.RouteMatch(route.match.path))
    rule = cases.rule(route)
    wanted = made.match.dynamic_metadata.add()
    wanted.filter = cases.NAME
    wanted.path.add().key = cases.CASE
    wanted.value.string_match.exact = f"{rule}/{number + 1}"
    made.metadata.filter_metadata[cases.NAME].fields[cases.RULE].string_value = rule
    return made
