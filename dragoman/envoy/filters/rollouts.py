"""The name of a Rollout in a request's dynamic metadata, where the access log that reports requests
(`envoy.reports`) looks for it: that look costs next to nothing, one at the route's own metadata 3 us for each
request.
"""

from __future__ import annotations

from typing import Final

from dragoman.envoy.filters import base
from dragoman.ir import model as ir
from dragoman.proto.envoy.extensions.filters.http.header_to_metadata import v3 as header_to_metadata

NAMESPACE: Final = "dragoman.rollout"
KEY: Final = "name"


class Rollouts:
    """`envoy.filters.http.header_to_metadata`, under a name of its own."""

    name = "dragoman.rollout"
    disabled = True

    def config(self) -> base.Config:
        return base.config(header_to_metadata.Config())

    def per_route(self, route: ir.Route) -> base.Config | None:
        if not route.rollout:
            return None
        message = header_to_metadata.Config()
        rule = message.request_rules.add(header=":method")  # which every request has
        rule.on_header_present.metadata_namespace = NAMESPACE
        rule.on_header_present.key = KEY
        rule.on_header_present.value = route.rollout
        return base.config(message)


FILTER: Final = Rollouts()
