"""Limits that are quotas: Envoy counts by token buckets that the rate-limit service assigns to it (RLQS).

Envoy's filter cannot be told anything by a route, and picks one bucket for a request. So what a route limits,
and by what, is written into headers first (`KEYS`); each filter stands for one of a route's quotas, reads
the name of its bucket from there, and the headers go again (`DONE`). Envoy makes a bucket for every name:
only limits whose names are few come here (`ir.quota`).

`failure: Closed` is two things. What has had an assignment is denied when that ends; and in front of the
filter stands another, the guard, with one bucket for all of an Envoy: without an assignment it denies, so it
tells whether the service is there. The quotas' own buckets cannot, for each would refuse its first request.

The filters' configuration comes by ECDS, since Envoy warns whenever it sees a strategy like the one that
`failure: Closed` needs.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Hashable, Iterable, Mapping
from typing import Any, Final, cast

from dragoman import proto
from dragoman.envoy import durations, limit_keys, ratelimits
from dragoman.envoy.filters import base, mutations
from dragoman.ir import model as ir, quota, ratelimit
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.extensions.filters.http.filter_chain import v3 as filter_chain
from dragoman.proto.envoy.extensions.filters.http.header_mutation import v3 as header_mutation
from dragoman.proto.envoy.extensions.filters.http.rate_limit_quota import v3 as rate_limit_quota
from dragoman.proto.envoy.type.matcher import v3 as matcher_proto
from dragoman.proto.xds.core import v3 as xds_core
from dragoman.proto.xds.type.matcher import v3 as xds_matcher

GUARDED: Final = proto.type_url(filter_chain.FilterChainConfig)
"""The other type that a quota's filter may be of."""
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
_UNAVAILABLE: Final = {
    "error": "rate_limit_unavailable",
    "message": "The request could not be counted. Try again later.",
}
_OVERWRITE: Final = core.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD


def _quotas(route: ir.Route) -> list[ir.RateLimit]:
    return [limit for limit in route.limits if limit.quota]


class Keys(mutations.Mutations):
    """`envoy.filters.http.header_mutation`, under a name of its own: what the quotas' filters read."""

    name = "dragoman.quota.keys"

    def per_route(self, route: ir.Route) -> base.Config | None:
        limits = _quotas(route)
        if not limits:
            return None
        message = header_mutation.HeaderMutationPerRoute()
        target = message.mutations.request_mutations
        target.add().remove_on_match.key_matcher.prefix = _HEADER
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
                option = target.add().append
                option.header.key, option.header.value = _header(slot, name), value
                option.append_action = _OVERWRITE
                option.keep_empty_value = True
            # An empty value makes no header, and without it the request is not counted.
            option = target.add().append
            option.header.key = _header(slot)
            failure = limit.failure.value
            option.header.value = (
                _formatted(f'{limit_keys.met(limit.when)} ? {limit_keys.text(failure)} : ""')
                if limit.when
                else failure
            )
            option.append_action = _OVERWRITE
        return base.config(message)


class Done(mutations.Mutations):
    """`envoy.filters.http.header_mutation`: takes off what `Keys` has set."""

    name = "dragoman.quota.done"

    def per_route(self, route: ir.Route) -> base.Config | None:
        if not _quotas(route):
            return None
        message = header_mutation.HeaderMutationPerRoute()
        message.mutations.request_mutations.add().remove_on_match.key_matcher.prefix = _HEADER
        return base.config(message)


class Quota:
    """`envoy.filters.http.rate_limit_quota` for the `slot`th quota of a route; a `filter_chain` of that and
    its guard where some are closed."""

    disabled = True
    sensitive = False
    type_url = proto.type_url("envoy.extensions.filters.http.rate_limit_quota.v3.RateLimitQuotaFilterConfig")

    def __init__(self, slot: int) -> None:
        self._slot = slot
        self.name = f"dragoman.quota.{slot}"

    def per_route(self, route: ir.Route) -> base.Config | None:
        return base.WAKE if len(_quotas(route)) > self._slot else None

    def demands(self, route: ir.Route) -> Iterable[ratelimit.Failure]:
        return {limit.failure for limit in _quotas(route)[self._slot : self._slot + 1]}

    def slot(self, part: Hashable) -> Hashable:
        return part

    def shared(self, demands: Collection[Hashable]) -> base.Config:
        message = _message()
        for failure in sorted(cast(Collection[ratelimit.Failure], demands), key=lambda each: each.value):
            self._bucket(message.bucket_matchers.matcher_list.matchers.add(), failure)
        if ratelimit.Failure.CLOSED not in demands:
            return base.config(message)
        made = filter_chain.FilterChainConfig()
        for name, each in (("guard", self._guard()), ("quota", message)):
            entry = made.default_filter_chain.filters.add(name=name)
            entry.typed_config.CopyFrom(proto.pack_any(each))
        return base.config(made)

    def _bucket(
        self, target: xds_matcher.Matcher.MatcherList.FieldMatcher, failure: ratelimit.Failure
    ) -> None:
        self._when(target, failure)
        settings = _settings(429, _BODY)
        for name in _NAMES:
            _read(settings.bucket_id_builder.bucket_id_builder[name].custom_value, _header(self._slot, name))
        if failure is ratelimit.Failure.CLOSED:
            _close(settings)
        target.on_match.action.name = "bucket"
        target.on_match.action.typed_config.CopyFrom(proto.pack_any(settings))

    def _guard(self) -> rate_limit_quota.RateLimitQuotaFilterConfig:
        message = _message()
        target = message.bucket_matchers.matcher_list.matchers.add()
        self._when(target, ratelimit.Failure.CLOSED)
        settings = _settings(503, _UNAVAILABLE)
        for key, value in quota.GUARD:
            settings.bucket_id_builder.bucket_id_builder[key].string_value = value
        unassigned = settings.no_assignment_behavior.fallback_rate_limit
        unassigned.blanket_rule = unassigned.DENY_ALL
        _close(settings)
        target.on_match.action.name = "bucket"
        target.on_match.action.typed_config.CopyFrom(proto.pack_any(settings))
        return message

    def _when(self, target: xds_matcher.Matcher.MatcherList.FieldMatcher, failure: ratelimit.Failure) -> None:
        single = target.predicate.single_predicate
        _read(single.input, _header(self._slot))
        single.value_match.exact = failure.value


KEYS: Final = Keys()
DONE: Final = Done()
FILTERS: Final = tuple(Quota(slot) for slot in range(quota.MOST_OF_A_ROUTE))


def _header(slot: int, name: str = "") -> str:
    return f"{_HEADER}-{slot}-{name}" if name else f"{_HEADER}-{slot}"


def _formatted(expression: str) -> str:
    return f"%CEL({expression})%"


def _message() -> rate_limit_quota.RateLimitQuotaFilterConfig:
    """A filter without buckets."""
    message = rate_limit_quota.RateLimitQuotaFilterConfig(domain=ratelimit.QUOTAS)
    message.rlqs_server.envoy_grpc.cluster_name = ratelimits.STREAMS
    message.bucket_matchers.SetInParent()
    return message


def _settings(status: int, body: Mapping[str, Any]) -> rate_limit_quota.RateLimitQuotaBucketSettings:
    """A bucket's, with what a denial says."""
    settings = rate_limit_quota.RateLimitQuotaBucketSettings()
    durations.assign(settings.reporting_interval, _INTERVAL)
    denial = settings.deny_response_settings
    denial.http_status.code = status  # type: ignore[assignment]
    denial.http_body.value = json.dumps(body).encode()
    for name, value in (("content-type", "application/json"), ("retry-after", str(_AFTER))):
        option = denial.response_headers_to_add.add()
        option.header.key, option.header.value = name, value
        option.append_action = _OVERWRITE
    return settings


def _close(settings: rate_limit_quota.RateLimitQuotaBucketSettings) -> None:
    """Denies when an assignment has ended."""
    expired = settings.expired_assignment_behavior
    durations.assign(expired.expired_assignment_behavior_timeout, quota.CLOSED_FOR)
    expired.fallback_rate_limit.blanket_rule = expired.fallback_rate_limit.DENY_ALL


def _read(target: xds_core.TypedExtensionConfig | core.TypedExtensionConfig, header: str) -> None:
    found = matcher_proto.HttpRequestHeaderMatchInput(header_name=header)
    target.name = "header"
    target.typed_config.CopyFrom(proto.pack_any(found))
