"""Cross-origin requests (Gateway API v1.6, HTTPCORSFilter).

A `*` in an origin stands for any number of labels, and alone for any origin. A preflight that matches no
origin is answered here, without CORS headers: the gateway has been told to decide, so the backend is not
asked.
"""

from __future__ import annotations

import functools

from dragoman.envoy.filters import base
from dragoman.ir import model as ir, origins
from dragoman.proto.envoy.extensions.filters.http.cors import v3 as cors
from dragoman.proto.envoy.type.matcher import v3 as matcher


class Cors:
    """`envoy.filters.http.cors`."""

    name = "envoy.filters.http.cors"
    disabled = True

    def config(self) -> base.Config:
        return base.config(cors.Cors())

    def per_route(self, route: ir.Route) -> base.Config | None:
        return None if route.cors is None else _policy(route.cors)


FILTER = Cors()


@functools.lru_cache(maxsize=1024)
def _policy(spec: ir.Cors) -> base.Config:
    """The policy in Envoy's words. Routes of one team tend to share theirs, hence the cache."""
    policy = cors.CorsPolicy(
        allow_methods=", ".join(spec.allow_methods),
        allow_headers=", ".join(spec.allow_headers),
        expose_headers=", ".join(spec.exposed),
        max_age=str(spec.max_age),
    )
    for origin in spec.allow_origins:
        write_origin(policy.allow_origin_string_match.add(), origin)
    for pattern in spec.patterns:
        policy.allow_origin_string_match.add().safe_regex.regex = pattern
    policy.allow_credentials.value = spec.allow_credentials
    policy.forward_not_matching_preflights.value = False
    return base.config(policy)


def write_origin(target: matcher.StringMatcher, origin: str) -> None:
    """One origin, or host, with `*` for labels. Envoy's CORS takes the exact string `*` for any origin."""
    if "*" in origin and origin != "*":
        target.safe_regex.regex = origins.expression(origin)
    else:
        target.exact = origin
