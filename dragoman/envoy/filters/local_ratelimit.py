"""Limits that Envoy counts by itself, in token buckets.

The buckets stand in the filter's shared configuration, where a changed route does not touch them; routes say
by their actions which of them a request takes from. Whatever changes that configuration (a bucket more,
other numbers) fills all buckets anew, so it holds nothing that can be elsewhere: a key's values, and the
routes that count apart, are wildcards of one bucket.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, cast

from dragoman import proto
from dragoman.envoy import durations
from dragoman.envoy.filters import base
from dragoman.ir import model as ir, ratelimit
from dragoman.proto.envoy.config.route import v3 as route_proto
from dragoman.proto.envoy.extensions.filters.http.local_ratelimit import v3 as local_ratelimit

MOST: Final = 10_000
"""Values of a key that one bucket is kept for; of more, those used longest ago begin anew."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """One kind of descriptor ("" stands for any value), and its numbers. Of two with the same entries only
    one can be told to Envoy."""

    entries: tuple[tuple[str, str], ...]
    capacity: int
    refill: int
    window: float
    shadow: bool


class LocalRateLimit:
    """`envoy.filters.http.local_ratelimit`."""

    name = "envoy.filters.http.local_ratelimit"
    disabled = True
    sensitive = False
    type_url = proto.type_url("envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit")

    def per_route(self, route: ir.Route) -> base.Config | None:
        if not any(limit.local for limit in route.limits):
            return None
        # An empty one wakes the filter as it is; a LocalRateLimit here would have buckets of its own.
        wake = route_proto.FilterConfig()
        wake.config.SetInParent()
        return base.config(wake)

    def demands(self, route: ir.Route) -> Iterable[Bucket]:
        for limit in route.limits:
            if limit.local:
                for shape in ratelimit.shapes(limit):
                    yield from _buckets(limit, shape)

    def slot(self, part: Hashable) -> Hashable:
        return cast(Bucket, part).entries

    def shared(self, demands: Collection[Hashable]) -> base.Config:
        message = local_ratelimit.LocalRateLimit(stat_prefix="local", enable_retry_after_header=True)
        for share in (message.filter_enabled, message.filter_enforced):
            share.default_value.numerator = 100
        message.always_consume_default_token_bucket.value = False
        message.max_dynamic_descriptors.value = MOST
        buckets = {bucket.entries: bucket for bucket in cast(Collection[Bucket], demands)}
        for _, bucket in sorted(buckets.items()):
            target = message.descriptors.add(shadow_mode=bucket.shadow)
            for key, value in bucket.entries:
                target.entries.add(key=key, value=value)
            target.token_bucket.max_tokens = bucket.capacity
            target.token_bucket.tokens_per_fill.value = bucket.refill
            durations.assign(target.token_bucket.fill_interval, bucket.window)
        return base.config(message)


FILTER = LocalRateLimit()


def _buckets(limit: ir.RateLimit, shape: ratelimit.Shape) -> Iterator[Bucket]:
    """One, and one more for each plan that limits."""
    own = ratelimit.Plan(ratelimit.ABSENT, limit.amount, limit.window, limit.burst)
    for plan in (own, *limit.plans):
        if plan.amount is not None:
            entries = tuple(_entry(entry, plan.name) for entry in shape)
            yield Bucket(entries, plan.burst or plan.amount, plan.amount, plan.window, limit.shadow)


def _entry(entry: ratelimit.Entry, plan: str) -> tuple[str, str]:
    """Of a plan the name: an exact value and any value could not stand beside each other."""
    if entry.key == ratelimit.OF_PLAN:
        return entry.key, plan
    return entry.key, "" if entry.key == ratelimit.PLACE else entry.value or ""
