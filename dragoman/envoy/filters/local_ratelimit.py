"""Limits that Envoy counts by itself, in token buckets.

Buckets, and what of a request they are found by (`Form`), stand in the filter's shared configuration, where a
changed route does not touch them. A route says in its metadata which limits it has; so routes without a
backend are limited as well. Whatever changes that configuration (a bucket more, other numbers) fills all
buckets anew, so it holds nothing that can be elsewhere: a key's values, and the routes that count apart, are
wildcards of one bucket, and limits that only differ in names and numbers share a form.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Hashable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from dragoman import proto, resource
from dragoman.envoy import durations, ratelimits
from dragoman.envoy.filters import base
from dragoman.ir import model as ir, ratelimit
from dragoman.proto.envoy.config.route import v3 as route_proto
from dragoman.proto.envoy.extensions.filters.http.local_ratelimit import v3 as local_ratelimit

MOST: Final = 10_000
"""Values of a key that one bucket is kept for; of more, those used longest ago begin anew."""
DENIED: Final = "x-dragoman-denied"
"""Header of a denial, for `local_denials`."""
_AT_ONCE: Final = 2
"""Limits of one form that a route may have before the configuration has to change for it."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """One kind of descriptor ("" stands for any value), and its numbers. Of two with the same entries only
    one can be told to Envoy."""

    entries: tuple[tuple[str, str], ...]
    capacity: int
    refill: int
    window: float
    shadow: bool


@dataclass(frozen=True, slots=True)
class Form:
    """What makes descriptors of requests. `limit` has no names and numbers; `at`: of several limits of one
    form that a route has."""

    limit: ir.RateLimit
    at: int

    @property
    def key(self) -> str:
        """Under which a route's metadata say the names."""
        return f"{_digest(self.limit)}.{self.at}"


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
        return base.WAKE

    def demands(self, route: ir.Route) -> Iterable[Bucket | Form]:
        for form, limit in _formed(route):
            for shape in ratelimit.shapes(limit):
                yield from _buckets(limit, shape)
            for at in range(form.at - form.at % _AT_ONCE, form.at - form.at % _AT_ONCE + _AT_ONCE):
                yield replace(form, at=at)

    def slot(self, part: Hashable) -> Hashable:
        return part.entries if isinstance(part, Bucket) else part

    def shared(self, demands: Collection[Hashable]) -> base.Config:
        message = local_ratelimit.LocalRateLimit(stat_prefix="local", enable_retry_after_header=True)
        for share in (message.filter_enabled, message.filter_enforced):
            share.default_value.numerator = 100
        message.always_consume_default_token_bucket.value = False
        message.max_dynamic_descriptors.value = MOST
        buckets = {part.entries: part for part in demands if isinstance(part, Bucket)}
        for _, bucket in sorted(buckets.items()):
            target = message.descriptors.add(shadow_mode=bucket.shadow)
            for key, value in bucket.entries:
                target.entries.add(key=key, value=value)
            target.token_bucket.max_tokens = bucket.capacity
            target.token_bucket.tokens_per_fill.value = bucket.refill
            durations.assign(target.token_bucket.fill_interval, bucket.window)
        forms = {part.key: part for part in demands if isinstance(part, Form)}
        if forms:
            note = message.response_headers_to_add.add()
            note.header.key, note.header.value = DENIED, "local"
            note.append_action = note.OVERWRITE_IF_EXISTS_OR_ADD
        for key, form in sorted(forms.items()):
            message.rate_limits.extend(ratelimits.counted(form.limit, key))
        return base.config(message)


FILTER = LocalRateLimit()


def mark(target: route_proto.Route, route: ir.Route) -> None:
    """Writes down which limits a route has."""
    for form, limit in _formed(route):
        names = target.metadata.filter_metadata[ratelimits.NAMES].get_or_create_struct(form.key)
        for entry in ratelimit.head(limit):
            if entry.key in (ratelimit.GATEWAY, ratelimit.LIMIT, ratelimit.PLACE):
                names[entry.key] = entry.value or ""


def _formed(route: ir.Route) -> Iterator[tuple[Form, ir.RateLimit]]:
    """The limits of a route that Envoy counts itself."""
    seen: Counter[ir.RateLimit] = Counter()
    for limit in route.limits:
        if limit.local:
            nameless = _nameless(limit)
            yield Form(nameless, seen[nameless]), limit
            seen[nameless] += 1


def _nameless(limit: ir.RateLimit) -> ir.RateLimit:
    """What is the same for all limits of a form."""
    plans = tuple(ratelimit.Plan(plan.name, None, 0.0) for plan in limit.plans)
    return ir.RateLimit(
        "",
        "",
        "",
        0,
        0.0,
        limit.counting,
        limit.where,
        key=limit.key,
        when=limit.when,
        cost=limit.cost,
        told=ratelimit.Told(limit.told.x_ratelimit),
        plans=plans,
        place="place" if limit.place else "",
    )


@functools.lru_cache(maxsize=1024)
def _digest(nameless: ir.RateLimit) -> str:
    return resource.digest(*map(proto.serialize, ratelimits.counted(nameless, "-")))[:12]


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
