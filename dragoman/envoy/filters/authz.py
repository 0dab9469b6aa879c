"""Credentials that are looked up: the companion is asked (`ext_authz` over gRPC), once for all of a route's.

Instances of their own beside those for services of users (`ext_authz`), so that a route may have both. As
there, a route wakes the one that fails as it wants. The companion bounds its own time by what the policy
says; here is only the bound of that bound.
"""

from __future__ import annotations

import functools
from typing import Final

from dragoman.envoy import authz, durations
from dragoman.envoy.filters import base, ext_authz as services, spared
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.extensions.filters.http.ext_authz import v3 as ext_authz

AWAY: Final = "x-envoy-auth-failure-mode-allowed"
"""What Envoy adds to requests that pass because the companion is away. No client can bring it along where
that counts (`identity`)."""

_PATIENCE: Final = 11.0
"""Seconds: a little more than a policy may say."""


class Lookups:
    """`envoy.filters.http.ext_authz`, under names of its own."""

    disabled = True

    def __init__(self, name: str, fail_open: bool) -> None:
        self.name = name
        self._fail_open = fail_open

    def config(self) -> base.Config:
        message = ext_authz.ExtAuthz(
            transport_api_version=core.V3,
            failure_mode_allow=self._fail_open,
            failure_mode_allow_header_add=self._fail_open,
            stat_prefix="authz",
        )
        message.grpc_service.envoy_grpc.cluster_name = authz.CLUSTER
        durations.assign(message.grpc_service.timeout, _PATIENCE)
        message.status_on_error.code = services.DOWN  # type: ignore[assignment]
        spared.write_unless(message.filter_enabled_metadata)
        return base.config(message)

    def per_route(self, route: ir.Route) -> base.Config | None:
        if route.auth is None or not (route.auth.introspection or route.auth.redis_keys):
            return None
        if opens(route.auth) != self._fail_open:
            return None
        return _per_route(route.auth.introspection, route.auth.redis_keys)


FILTER = Lookups("dragoman.lookups", False)
OPEN = Lookups("dragoman.lookups_open", True)


def opens(auth: ir.Auth) -> bool:
    """Whether requests pass while the companion is away: only if every policy says so. Envoy tells it in the
    header `AWAY`."""
    asked = [one for one in (auth.introspection, auth.redis_keys) if one is not None]
    return bool(asked) and all(one.fail_open for one in asked)


@functools.lru_cache(maxsize=4096)
def _per_route(introspection: ir.Introspection | None, keys: ir.RedisKeys | None) -> base.Config:
    message = ext_authz.ExtAuthzPerRoute()
    context = message.check_settings.context_extensions
    if introspection is not None:
        context[authz.INTROSPECTION] = introspection.policy
    if keys is not None:
        context[authz.KEYS] = keys.policy
    may_miss = ((authz.INTROSPECTION, introspection), (authz.KEYS, keys))
    if optional := ",".join(kind for kind, one in may_miss if one is not None and one.optional):
        context[authz.OPTIONAL] = optional
    message.check_settings.disable_request_body_buffering = True
    return base.config(message)
