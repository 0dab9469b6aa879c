"""Routes that answer without a backend, and whose requests the rate-limit service counts.

Envoy's filter asks the service only where a request is on its way to a cluster. So such a route leads to
the service's own cluster at first, where it never goes: when no filter has denied the request,
`filters/counted.py` notes the route's name on the stream and has Envoy choose again. Then the answer stands
before all other routes. It looks at the path and at that name alone: headers may have changed by now, and
clients cannot write such notes. Called by `routes.py`.
"""

from __future__ import annotations

from dragoman.envoy import matches, ratelimits
from dragoman.envoy.filters import counted
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.route import v3 as route_proto


def split(message: route_proto.Route, path: ir.PathMatch) -> route_proto.Route:
    """Makes `message`, a finished route, the one that is counted; the one that answers."""
    answer = route_proto.Route()
    answer.CopyFrom(message)
    answer.ClearField("match")
    matches.write(answer.match, ir.RouteMatch(path))
    note = answer.match.filter_state.add(key=counted.NOTE)
    note.string_match.exact = message.name
    for field in ("response_headers_to_add", "response_headers_to_remove"):
        message.ClearField(field)
    message.route.cluster = ratelimits.CLUSTER
    # Over scopes Envoy chooses from the newest table: should that not have the answer, it is an error.
    message.route.regex_rewrite.pattern.regex = ".*"
    message.route.regex_rewrite.substitution = "/"
    return answer
