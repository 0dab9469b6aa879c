"""Quotas as Envoy's filters: which stand where, and who guards the closed ones."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dragoman.envoy.filters import chain, quota as filters
from dragoman.ir import model as ir, quota, ratelimit
from dragoman.proto.envoy.extensions.filters.http.filter_chain import v3 as filter_chain
from dragoman.proto.envoy.extensions.filters.http.rate_limit_quota import v3 as rate_limit_quota
from tests.unit.ir.build import route

OPEN = ir.RateLimit(
    "p/a", "a", "p", 100, 1.0, ratelimit.Counting.TOKEN_BUCKET, ratelimit.Where.QUOTA, gateway="g"
)
CLOSED = replace(OPEN, id="p/b", failure=ratelimit.Failure.CLOSED)


def made(slot: int, *limits: ir.RateLimit) -> tuple[str, Any]:
    limited = replace(route("one", "/"), limits=limits)
    config = filters.FILTERS[slot].shared(list(filters.FILTERS[slot].demands(limited)))
    assert config.type_url in chain.type_urls(filters.FILTERS[slot].name)
    if config.type_url == filters.GUARDED:
        return "guarded", filter_chain.FilterChainConfig.FromString(config.value)
    return "plain", rate_limit_quota.RateLimitQuotaFilterConfig.FromString(config.value)


def test_closed_quotas_have_a_guard_where_they_stand() -> None:
    assert [made(slot, OPEN, CLOSED)[0] for slot in (0, 1)] == ["plain", "guarded"]
    assert made(0, CLOSED)[0] == "guarded"
    guard, own = made(0, CLOSED)[1].default_filter_chain.filters
    read = rate_limit_quota.RateLimitQuotaFilterConfig()
    guard.typed_config.Unpack(read)
    (entry,) = read.bucket_matchers.matcher_list.matchers
    settings = rate_limit_quota.RateLimitQuotaBucketSettings()
    entry.on_match.action.typed_config.Unpack(settings)
    name = {key: one.string_value for key, one in settings.bucket_id_builder.bucket_id_builder.items()}
    assert name == dict(quota.GUARD)
    deny = settings.no_assignment_behavior.fallback_rate_limit
    assert deny.blanket_rule == deny.DENY_ALL
    own.typed_config.Unpack(read)
    (entry,) = read.bucket_matchers.matcher_list.matchers
    entry.on_match.action.typed_config.Unpack(settings)
    assert not settings.HasField("no_assignment_behavior"), "the first request of each bucket passes"
