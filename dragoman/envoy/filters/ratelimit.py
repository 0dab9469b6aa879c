"""Limits that the rate-limit service counts.

What happens when the service does not answer, and how long it may take, can be told to Envoy's filter alone,
not by route. So the filter stands in the connection manager several times, asleep: for limits that let pass
or deny then, and for those that make requests wait for their turn. A route wakes those that it has limits
for.
"""

from __future__ import annotations

from typing import Final

from dragoman.envoy import durations, ratelimits
from dragoman.envoy.filters import base
from dragoman.ir import model as ir, ratelimit
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.extensions.filters.http.ratelimit import v3 as proto_ratelimit
from dragoman.proto.envoy.type import v3 as type_proto

_PATIENCE: Final = 0.5
"""Seconds that an answer may take: ten times what the service gives Redis."""
_METADATA: Final = "envoy.filters.http.ratelimit"
"""Where the access log finds what is behind a 429, whichever filter it was."""
_QUEUE: Final = ratelimit.LONGEST_QUEUE + 1.0


class RateLimit:
    """`envoy.filters.http.ratelimit`, as some limits need it."""

    disabled = True

    def __init__(self, *, closed: bool, queues: bool) -> None:
        self._closed = closed
        self._queues = queues
        self.name = f"dragoman.ratelimit.{'closed' if closed else 'open'}{'.queue' if queues else ''}"

    def config(self) -> base.Config:
        return base.config(message(closed=self._closed, queues=self._queues))

    def per_route(self, route: ir.Route) -> base.Config | None:
        limits = [limit for limit in route.limits if self._takes(limit)]
        if not limits:
            return None
        made = proto_ratelimit.RateLimitPerRoute(domain=limits[0].gateway or "none")
        for limit in limits:
            made.rate_limits.extend(ratelimits.asked(limit))
        return base.config(made)

    def _takes(self, limit: ir.RateLimit) -> bool:
        closed = limit.failure is ratelimit.Failure.CLOSED
        return limit.asked and not limit.own and closed == self._closed and limit.queues == self._queues


def message(*, closed: bool, queues: bool, timeout: float = 0.0) -> proto_ratelimit.RateLimit:
    """The filter, without limits. `timeout` in seconds; 0: what is customary."""
    made = proto_ratelimit.RateLimit(
        domain="none",  # routes say theirs
        failure_mode_deny=closed,
        disable_x_envoy_ratelimited_header=True,
        metadata_namespace=_METADATA,
    )
    durations.assign(made.timeout, timeout or (_QUEUE if queues else _PATIENCE))
    made.status_on_error.code = type_proto.ServiceUnavailable
    service = made.rate_limit_service
    service.transport_api_version = core.V3
    service.grpc_service.envoy_grpc.cluster_name = ratelimits.CLUSTER
    return made


FILTERS: Final = tuple(
    RateLimit(closed=closed, queues=queues) for queues in (False, True) for closed in (False, True)
)
