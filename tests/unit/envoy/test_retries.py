"""Retries, pairs, fallbacks and faults: what Envoy is told for which IR value."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dragoman import proto
from dragoman.envoy import fractions, naming, pairs, routes
from dragoman.ir import model as ir, upstream
from dragoman.proto.envoy.config.cluster import v3 as cluster_proto
from dragoman.proto.envoy.type import v3 as type_proto
from tests.unit.envoy.build import cluster, envoy_route, forward, route

UNSENT = "connect-failure,refused-stream,reset-before-request"


def policy(**more: Any) -> dict[str, Any]:
    found: dict[str, Any] = envoy_route(route(forward(**more)))["route"]["retry_policy"]
    return found


def test_no_policy_where_nothing_is_tried_again() -> None:
    for retry in (None, ir.Retry(0), ir.Retry(0, (503,), wait=5.0)):
        found = envoy_route(route(forward(retry=retry)))
        assert "retry_policy" not in found["route"]
        assert "response_headers_to_remove" not in found
        assert "typed_per_filter_config" not in found


def test_methods_guard_what_the_backend_may_have_seen() -> None:
    retry = ir.Retry(
        2, (503,), conditions=("connect-failure", "reset", "unavailable"), methods=("GET", "PUT")
    )
    found = envoy_route(route(forward(retry=retry)))
    assert found["route"]["retry_policy"]["retry_on"] == "connect-failure,unavailable"
    (header,) = found["request_headers_to_add"]
    assert header["header"]["key"] == "x-envoy-retry-on"
    assert '["GET", "PUT"]' in header["header"]["value"]
    assert '"reset,retriable-status-codes"' in header["header"]["value"]


def test_calls_are_not_guarded() -> None:
    retry = ir.Retry(2, (503,), conditions=("reset",), methods=("GET",))
    match = ir.RouteMatch(ir.SegmentPrefix("/"), grpc=True)
    found = envoy_route(route(forward(retry=retry), match=match))
    assert found["route"]["retry_policy"]["retry_on"] == "reset,retriable-status-codes"
    assert "request_headers_to_add" not in found


@pytest.mark.parametrize(
    ("base", "most", "expected"),
    [
        (0.1, None, ("0.100s", "1s")),
        (0.1, 0.5, ("0.100s", "0.500s")),
        (None, 0.01, ("0.010s", "0.010s")),
        (None, 1.0, ("0.025s", "1s")),
        (0.5, 0.1, ("0.500s", "0.500s")),  # Envoy refuses a maximum below the base
    ],
)
def test_pauses(base: float | None, most: float | None, expected: tuple[str, str]) -> None:
    found = policy(retry=ir.Retry(1, backoff=base, backoff_max=most))["retry_back_off"]
    assert (found["base_interval"], found["max_interval"]) == expected


def test_one_try_more_goes_to_the_reserve() -> None:
    item = forward(retry=ir.Retry(2, conditions=("reset",)), fallback=ir.Fallback(cluster("v2")))
    found = envoy_route(route(item))["route"]
    assert found["retry_policy"]["num_retries"] == 3
    assert found["retry_policy"]["retry_priority"]["typed_config"]["update_frequency"] == 3
    assert found["retry_policy"]["retry_on"] == f"{UNSENT},reset"
    pair = cluster("v1")._replace(reserve=(cluster("v2"),))
    assert found["cluster"] == naming.cluster(pair)
    names = {naming.cluster(key) for key in (pair, cluster("v1"), cluster("v2"))}
    assert set(routes.encode_route(route(item)).clusters) == names


def test_a_backend_is_no_reserve_of_its_own() -> None:
    item = forward(fallback=ir.Fallback(cluster("v1")))
    assert item.pairs() == ()
    assert envoy_route(route(item))["route"]["cluster"] == naming.cluster(cluster("v1"))


def test_a_pair() -> None:
    key = cluster("v1")._replace(reserve=(cluster("v2"),))
    first = ir.Cluster(
        cluster("v1"), ir.Discovery.EDS, limits=upstream.Limits(budget=upstream.RetryBudget(10.0, 1))
    )
    made = pairs.encode(key, first)
    found = proto.to_dict(cluster_proto.Cluster.FromString(made.payload))
    members = [naming.cluster(cluster("v1")), naming.cluster(cluster("v2"))]
    assert found["cluster_type"]["typed_config"]["clusters"] == members
    assert found["lb_policy"] == "CLUSTER_PROVIDED"
    (limits,) = found["circuit_breakers"]["thresholds"]
    assert limits["retry_budget"] == {"budget_percent": {"value": 10.0}, "min_retry_concurrency": 1}


def test_an_answer() -> None:
    answer = ir.Answer(200, (("content-type", "application/problem+json"),), json.dumps({"a": [1, None]}))
    item = route(forward(fallback=ir.Fallback(None, answer, (500,))))
    (found,) = envoy_route(item)["typed_per_filter_config"].values()
    (matcher,) = found["custom_response_matcher"]["matcher_list"]["matchers"]
    told = matcher["on_match"]["action"]["typed_config"]
    assert told["body_format"]["json_format"] == {"a": [1, None]}
    (header,) = told["response_headers_to_add"]
    assert header["header"] == {"key": "content-type", "value": "application/problem+json"}
    assert len(matcher["predicate"]["or_matcher"]["predicate"]) == 2


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0, (0, "HUNDRED")),
        (10_000, (1, "HUNDRED")),
        (5_000, (50, "TEN_THOUSAND")),
        (1, (1, "MILLION")),
        (ir.SHARES, (100, "HUNDRED")),
    ],
)
def test_shares(share: int, expected: tuple[int, str]) -> None:
    made = type_proto.FractionalPercent()
    fractions.assign(made, share, ir.SHARES)
    name = type_proto.FractionalPercent.DenominatorType.Name(made.denominator)
    assert (made.numerator, name) == expected


def test_times() -> None:
    item = forward(timeout=0.0, try_idle=0.5, stream_idle=0.0, duration=60.0, try_timeout=2.0)
    found = envoy_route(route(item))["route"]
    assert found["timeout"] == "2s"  # one try: its limit is that of the whole
    assert found["idle_timeout"] == "0s"
    assert found["retry_policy"] == {"per_try_idle_timeout": "0.500s"}
    assert found["max_stream_duration"] == {"max_stream_duration": "60s"}
