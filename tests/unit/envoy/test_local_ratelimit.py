"""Limits that Envoy counts itself: what stands in the shared configuration, and what in routes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dragoman import proto
from dragoman.envoy import ratelimits
from dragoman.envoy.filters import local_denials, local_ratelimit
from dragoman.ir import model as ir, ratelimit
from dragoman.proto.envoy.config.route import v3 as route_proto
from dragoman.proto.envoy.extensions.filters.http.local_ratelimit import v3 as local_proto
from tests.unit.ir.build import route

USER = (ratelimit.KeyPart(ratelimit.Part.HEADER, "x-user"),)
A = ir.RateLimit(
    "p/a", "a", "p", 10, 60.0, ratelimit.Counting.TOKEN_BUCKET, ratelimit.Where.LOCAL, key=USER, gateway="g"
)
B = replace(A, id="p/b", name="b", amount=5, window=1.0)


def parts(*limits: ir.RateLimit) -> set[Any]:
    return set(local_ratelimit.FILTER.demands(replace(route("one", "/"), limits=limits)))


def shared(*limits: ir.RateLimit) -> Any:
    made = local_ratelimit.FILTER.shared(parts(*limits))
    return local_proto.LocalRateLimit.FromString(made.value)


def names(*limits: ir.RateLimit) -> Any:
    message = route_proto.Route()
    local_ratelimit.mark(message, replace(route("one", "/"), limits=limits))
    return proto.to_dict(message)["metadata"]["filter_metadata"][ratelimits.NAMES]


def test_limits_that_differ_in_numbers_share_a_form() -> None:
    """Where a route gets the second of two limits that others have, nothing shared changes."""
    apart = parts(A) | parts(B)
    assert parts(A, B) == apart
    assert sum(isinstance(one, local_ratelimit.Form) for one in apart) == 2
    assert len(shared(A, B).descriptors) == len(shared(A, B).rate_limits) == 2
    assert [one["limit"] for _, one in sorted(names(A, B).items())] == ["p/a", "p/b"]


def test_what_is_asked_otherwise_is_another_form() -> None:
    others = (
        replace(A, key=()),
        replace(A, when=(ratelimit.Condition("x-a"),)),
        replace(A, cost=ratelimit.Cost("x-cost")),
        replace(A, place="HTTPRoute/shop/cart"),
        replace(A, plans=(ratelimit.Plan("gold", 1, 1.0),)),
        replace(A, told=ratelimit.Told(x_ratelimit=False)),
    )
    assert len({next(iter(names(one))) for one in (A, *others)}) == 1 + len(others)


def test_a_cost_has_one_bucket_and_two_ways_to_it() -> None:
    made = shared(replace(A, cost=ratelimit.Cost("x-cost")))
    assert len(made.descriptors) == 1
    said, default = made.rate_limits[:2]
    assert (said.hits_addend.format, default.hits_addend.format) == ("%REQ(x-cost)%", "")


def test_the_same_route_again_is_the_same_bytes() -> None:
    made = [local_ratelimit.FILTER.shared(order) for order in (list(parts(A, B)), list(parts(A, B))[::-1])]
    assert made[0] == made[1]


def test_drafts_are_for_limits_that_want_them() -> None:
    assert local_denials.DRAFTS.per_route(replace(route("one", "/"), limits=(A,))) is None
    told = replace(A, told=ratelimit.Told(draft=True))
    made = local_denials.DRAFTS.per_route(replace(route("one", "/"), limits=(told, B)))
    assert made is not None
    assert b'"10;w=60"' in made.value
    assert b'"5;' not in made.value
