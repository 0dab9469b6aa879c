"""Requests that other sites make a browser send (cross-site request forgery).

A POST, PUT, PATCH or DELETE passes if its Origin (else its Referer) is a page of the host that is asked, or
of one that the route names. Envoy compares hosts with ports and looks at no scheme. One that says neither is
refused: browsers always say one of them with such requests.
"""

from __future__ import annotations

import functools
from typing import Final

from dragoman.envoy.filters import base, cors
from dragoman.ir import model as ir
from dragoman.proto.envoy.extensions.filters.http.csrf import v3 as csrf
from dragoman.proto.envoy.type import v3 as envoy_type

_ALL: Final = 100


class Csrf:
    """`envoy.filters.http.csrf`."""

    name = "envoy.filters.http.csrf"
    disabled = True

    def config(self) -> base.Config:
        return base.config(_enabled())

    def per_route(self, route: ir.Route) -> base.Config | None:
        return None if route.csrf is None else _policy(route.csrf)


FILTER = Csrf()


@functools.lru_cache(maxsize=1024)
def _policy(spec: ir.Csrf) -> base.Config:
    policy = _enabled()
    for host in spec.hosts:
        cors.write_origin(policy.additional_origins.add(), host)
    for pattern in spec.patterns:
        policy.additional_origins.add().safe_regex.regex = pattern
    return base.config(policy)


def _enabled() -> csrf.CsrfPolicy:
    """Envoy refuses a policy that does not say how many requests it is for."""
    policy = csrf.CsrfPolicy()
    policy.filter_enabled.default_value.numerator = _ALL
    policy.filter_enabled.default_value.denominator = envoy_type.FractionalPercent.HUNDRED
    return policy
