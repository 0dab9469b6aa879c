"""Limits that the rate-limit service counts, with a status or a time limit of their own.

Envoy's filter has one of each for all that it asks, and routes cannot say others. So a route with such limits
brings along filters of its own, complete, in a `filter_chain`: one for all limits that want the same. They
keep no state, so an update of the route table loses none.
"""

from __future__ import annotations

import functools
from typing import Final, NamedTuple

from dragoman import proto
from dragoman.envoy import ratelimits
from dragoman.envoy.filters import base, ratelimit as customary
from dragoman.ir import model as ir, ratelimit
from dragoman.proto.envoy.extensions.filters.http.filter_chain import v3 as filter_chain


class _Wish(NamedTuple):
    """What a filter is made for."""

    closed: bool
    queues: bool
    timeout: float
    status: int


class Own:
    """An `envoy.filters.http.filter_chain`."""

    name = "dragoman.ratelimit.own"
    disabled = True

    def config(self) -> base.Config:
        return base.config(filter_chain.FilterChainConfig())

    def per_route(self, route: ir.Route) -> base.Config | None:
        limits = tuple(limit for limit in route.limits if limit.asked and limit.own)
        return _per_route(limits) if limits else None


FILTER: Final = Own()


@functools.lru_cache(maxsize=1024)
def _per_route(limits: tuple[ir.RateLimit, ...]) -> base.Config:
    wishes: dict[_Wish, list[ir.RateLimit]] = {}
    for limit in limits:
        closed = limit.failure is ratelimit.Failure.CLOSED
        wish = _Wish(closed, limit.queues, limit.timeout, limit.status)
        wishes.setdefault(wish, []).append(limit)
    made = filter_chain.FilterChainConfigPerRoute()
    for number, (wish, those) in enumerate(wishes.items()):
        message = customary.message(closed=wish.closed, queues=wish.queues, timeout=wish.timeout)
        message.domain = those[0].gateway or "none"
        if wish.status:
            message.rate_limited_status.code = wish.status  # type: ignore[assignment]
        for limit in those:
            message.rate_limits.extend(ratelimits.asked(limit))
        entry = made.filter_chain.filters.add(name=f"ratelimit.{number}")
        entry.typed_config.CopyFrom(proto.pack_any(message))
    return base.config(made)
