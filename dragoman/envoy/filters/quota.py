"""Limits that are quotas: Envoy counts by token buckets that the rate-limit service assigns to it (RLQS).

Envoy's filter cannot be told anything by a route, and picks one bucket for a request. So what a route limits,
and by what, is written into headers first (`KEYS`); each filter stands for one of a route's quotas, reads
the name of its bucket from there, and the headers go again (`DONE`). Envoy makes a bucket for every name:
only limits whose names are few come here (`ir.quota`).

The filters' configuration comes by ECDS, since Envoy warns whenever it sees a strategy like the one that
`failure: Closed` needs.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Hashable, Iterable
from typing import Final, cast

from dragoman import proto
from dragoman.envoy import durations, limit_keys, ratelimits
from dragoman.envoy.filters import base
from dragoman.ir import model as ir, quota, ratelimit
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.config.route import v3 as route_proto
from dragoman.proto.envoy.extensions.filters.http.header_mutation import v3 as header_mutation
from dragoman.proto.envoy.extensions.filters.http.rate_limit_quota import v3 as rate_limit_quota
from dragoman.proto.envoy.type.matcher import v3 as matcher_proto
from dragoman.proto.xds.core import v3 as xds_core
from dragoman.proto.xds.type.matcher import v3 as xds_matcher

_HEADER: Final = "x-dragoman-quota"
_NAMES: Final = (
    *(ratelimit.GATEWAY, ratelimit.LIMIT, ratelimit.PLACE, ratelimit.OF_PLAN),
    *(ratelimit.entry_key(ratelimit.KeyPart(part)) for part in ratelimit.QUOTA_PARTS),
)
"""Entries that a bucket's name may have."""
_INTERVAL: Final = 5.0
"""Seconds; Envoy has its own mind."""
_AFTER: Final = 1
"""Seconds until another try may help. Envoy says nothing here that differs from request to request, and a
quota is for limits of many requests a second."""
_BODY: Final = {
    "error": "rate_limit_exceeded",
    "message": "Too many requests. Try again later.",
    "retryAfter": _AFTER,
}
_OVERWRITE: Final = core.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD


def _quotas(route: ir.Route) -> list[ir.RateLimit]:
    return [limit for limit in route.limits if limit.quota]


class Keys:
    """`envoy.filters.http.header_mutation`, under a name of its own: what the quotas' filters read."""

    name = "dragoman.quota.keys"
    disabled = True

    def config(self) -> base.Config:
        return base.config(header_mutation.HeaderMutation())

    def per_route(self, route: ir.Route) -> base.Config | None:
        limits = _quotas(route)
        if not limits:
            return None
        message = header_mutation.HeaderMutationPerRoute()
        mutations = message.mutations.request_mutations
        mutations.add().remove_on_match.key_matcher.prefix = _HEADER
        for slot, limit in enumerate(limits):
            given = dict.fromkeys(_NAMES, "")
            for entry in ratelimit.head(limit):
                value = entry.value or ""
                given[entry.key] = (
                    _formatted(limit_keys.plan(limit.plans)) if entry.key == ratelimit.OF_PLAN else value
                )
            for part in limit.key:
                given[ratelimit.entry_key(part)] = _formatted(limit_keys.part(part))
            for name, value in given.items():
                option = mutations.add().append
                option.header.key, option.header.value = _header(slot, name), value
                option.append_action = _OVERWRITE
                option.keep_empty_value = True
            # An empty value makes no header, and without it the request is not counted.
            option = mutations.add().append
            option.header.key = _header(slot)
            failure = limit_keys.text(limit.failure.value)
            option.header.value = (
                _formatted(f'{limit_keys.met(limit.when)} ? {failure} : ""')
                if limit.when
                else limit.failure.value
            )
            option.append_action = _OVERWRITE
        return base.config(message)


class Done:
    """`envoy.filters.http.header_mutation`: takes off what `Keys` has set."""

    name = "dragoman.quota.done"
    disabled = True

    def config(self) -> base.Config:
        return base.config(header_mutation.HeaderMutation())

    def per_route(self, route: ir.Route) -> base.Config | None:
        if not _quotas(route):
            return None
        message = header_mutation.HeaderMutationPerRoute()
        message.mutations.request_mutations.add().remove_on_match.key_matcher.prefix = _HEADER
        return base.config(message)


class Quota:
    """`envoy.filters.http.rate_limit_quota` for the `slot`th quota of a route."""

    disabled = True
    sensitive = False
    type_url = proto.type_url("envoy.extensions.filters.http.rate_limit_quota.v3.RateLimitQuotaFilterConfig")

    def __init__(self, slot: int) -> None:
        self._slot = slot
        self.name = f"dragoman.quota.{slot}"

    def per_route(self, route: ir.Route) -> base.Config | None:
        if len(_quotas(route)) <= self._slot:
            return None
        wake = route_proto.FilterConfig()
        wake.config.SetInParent()
        return base.config(wake)

    def demands(self, route: ir.Route) -> Iterable[ratelimit.Failure]:
        return {limit.failure for limit in _quotas(route)[self._slot : self._slot + 1]}

    def slot(self, part: Hashable) -> Hashable:
        return part

    def shared(self, demands: Collection[Hashable]) -> base.Config:
        message = rate_limit_quota.RateLimitQuotaFilterConfig(domain=ratelimit.QUOTAS)
        message.rlqs_server.envoy_grpc.cluster_name = ratelimits.STREAMS
        message.bucket_matchers.SetInParent()
        for failure in sorted(cast(Collection[ratelimit.Failure], demands), key=lambda each: each.value):
            self._bucket(message.bucket_matchers.matcher_list.matchers.add(), failure)
        return base.config(message)

    def _bucket(
        self, target: xds_matcher.Matcher.MatcherList.FieldMatcher, failure: ratelimit.Failure
    ) -> None:
        single = target.predicate.single_predicate
        self._read(single.input, "")
        single.value_match.exact = failure.value
        settings = rate_limit_quota.RateLimitQuotaBucketSettings()
        for name in _NAMES:
            self._read(settings.bucket_id_builder.bucket_id_builder[name].custom_value, name)
        durations.assign(settings.reporting_interval, _INTERVAL)
        denial = settings.deny_response_settings
        denial.http_status.code = 429  # type: ignore[assignment]
        denial.http_body.value = json.dumps(_BODY).encode()
        for name, value in (("content-type", "application/json"), ("retry-after", str(_AFTER))):
            option = denial.response_headers_to_add.add()
            option.header.key, option.header.value = name, value
            option.append_action = _OVERWRITE
        if failure is ratelimit.Failure.CLOSED:
            expired = settings.expired_assignment_behavior
            durations.assign(expired.expired_assignment_behavior_timeout, quota.CLOSED_FOR)
            expired.fallback_rate_limit.blanket_rule = expired.fallback_rate_limit.DENY_ALL
        action = target.on_match.action
        action.name = "bucket"
        action.typed_config.CopyFrom(proto.pack_any(settings))

    def _read(self, target: xds_core.TypedExtensionConfig | core.TypedExtensionConfig, name: str) -> None:
        found = matcher_proto.HttpRequestHeaderMatchInput(header_name=_header(self._slot, name))
        target.name = "header"
        target.typed_config.CopyFrom(proto.pack_any(found))


KEYS: Final = Keys()
DONE: Final = Done()
FILTERS: Final = tuple(Quota(slot) for slot in range(quota.MOST_OF_A_ROUTE))


def _header(slot: int, name: str = "") -> str:
    return f"{_HEADER}-{slot}-{name}" if name else f"{_HEADER}-{slot}"


def _formatted(expression: str) -> str:
    return f"%CEL({expression})%"
