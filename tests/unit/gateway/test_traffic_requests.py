"""TrafficPolicies about requests: what is refused, what an HTTPRoute says itself, what is warned of."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.ir import model as ir, upstream
from dragoman.refs import format_path
from tests.unit.gateway.test_policies import EDGE, FIRST, GATEWAY, ROUTE, policy

GRPC = """
kind: GRPCRoute
metadata: {name: calls}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{name: shop, port: 80}]}]
"""
OWN = """
kind: HTTPRoute
metadata: {name: own}
spec:
  parentRefs: [{name: edge}]
  rules:
  - backendRefs: [{name: shop, port: 80}]
    retry: {attempts: 3}
  - matches: [{path: {value: /codes}}]
    backendRefs: [{name: shop, port: 80}]
    retry: {codes: [500], backoff: 200ms}
    timeouts: {request: 2s, backendRequest: 1s}
"""


@pytest.fixture
def edge(world: Any) -> Any:
    return world.apply(GATEWAY)


def warnings(edge: Any) -> list[str]:
    """Those about policies."""
    return [one for one in edge.findings() if one.startswith(("DRG1611", "DRG3001"))]


def action(edge: Any, kind: str = "HTTPRoute", name: str = "route", rule: int = 0) -> ir.Forward:
    found = edge.outputs.routes.get(edge.ref(kind, name)).routes[rule].action
    assert isinstance(found, ir.Forward)
    return found


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("retries: {backOff: {base: 0s}}", "DRG1104 spec.retries.backOff.base"),
        ("retries: {backOff: {base: 2s, max: 1s}}", "DRG1108 spec.retries.backOff.max"),
        ("retries: {conditions: [5xx, sometimes]}", "DRG1106 spec.retries.conditions[1]"),
        ("retries: {statusCodes: [99]}", "DRG1104 spec.retries.statusCodes[0]"),
        ("retries: {responseHeaders: [{name: 'a b'}]}", "DRG1103 spec.retries.responseHeaders[0].name"),
        ("retries: {responseHeaders: [{name: Host}]}", "DRG1106 spec.retries.responseHeaders[0].name"),
        ("retries: {methods: [get]}", "DRG1103 spec.retries.methods[0]"),
        ("retries: {methods: ['*', GET]}", "DRG1108 spec.retries.methods"),
        ("retries: {retryAfter: {max: 500ms}}", "DRG1104 spec.retries.retryAfter.max"),
        ("retries: {budget: {percent: 101}}", "DRG1104 spec.retries.budget.percent"),
        ("faults: {delay: {percent: 5}}", "DRG1108 spec.faults.delay"),
        ("faults: {delay: {fixed: 0s}}", "DRG1104 spec.faults.delay.fixed"),
        ("faults: {abort: {httpStatus: 503, grpcStatus: 1}}", "DRG1108 spec.faults.abort"),
        ("faults: {abort: {httpStatus: 503, percent: 100.5}}", "DRG1104 spec.faults.abort.percent"),
        ("faults: {abort: {httpStatus: 999}}", "DRG1104 spec.faults.abort.httpStatus"),
        ("fallback: {response: {json: {}, text: x}}", "DRG1108 spec.fallback.response.text"),
        ("fallback: {response: {text: '100%'}}", "DRG1110 spec.fallback.response.text"),
        (
            "fallback: {response: {json: {a: [{b: '%REQUEST(x)%'}]}}}",
            "DRG1110 spec.fallback.response.json.a[0].b",
        ),
        (
            "fallback: {response: {headers: [{name: x-a, value: '%REQ%'}]}}",
            "DRG1110 spec.fallback.response.headers[0].value",
        ),
        (
            "fallback: {response: {headers: [{name: host, value: a}]}}",
            "DRG1106 spec.fallback.response.headers[0].name",
        ),
        ("fallback: {backendRef: {name: shop}}", "DRG1102 spec.fallback.backendRef"),
    ],
)
def test_refused_at_the_field(edge: Any, spec: str, expected: str) -> None:
    edge.apply(policy("p", ROUTE, spec))
    found = edge.rejected[edge.ref("TrafficPolicy", "p")]
    assert [f"{one.code} {format_path(one.path)}" for one in found] == [expected]


def test_every_time_has_its_place(edge: Any) -> None:
    edge.apply(
        policy(
            "p",
            FIRST,
            "timeouts: {request: 9s, perTry: 3s, perTryIdle: 1s, streamIdle: 20s, maxStreamDuration: 60s}",
        )
    )
    found = action(edge)
    assert (found.timeout, found.try_timeout, found.try_idle) == (9.0, 3.0, 1.0)
    assert (found.stream_idle, found.duration) == (20.0, 60.0)
    assert warnings(edge) == []


def test_retries_and_their_defaults(edge: Any) -> None:
    edge.apply(policy("p", FIRST, "retries: {}"))
    found = action(edge).retry
    assert found is not None
    assert found.tries == 1
    assert "POST" not in found.methods
    assert "GET" in found.methods
    assert found.conditions is not None
    assert "5xx" not in found.conditions
    assert found.wait == 10.0
    edge.apply(policy("p", FIRST, "timeouts: {request: 4s}\n  retries: {methods: ['*'], attempts: 0}"))
    found = action(edge).retry
    assert found is not None
    assert (found.tries, found.methods, found.wait) == (0, (), 4.0)


def test_calls_have_no_methods(edge: Any) -> None:
    edge.apply(GRPC, policy("p", "{kind: GRPCRoute, name: calls}", "retries: {attempts: 2}"))
    found = action(edge, "GRPCRoute", "calls").retry
    assert found is not None
    assert found.methods == ()
    assert found.conditions is not None
    assert "unavailable" in found.conditions
    assert "reset" not in found.conditions


def test_a_route_wins_field_by_field(edge: Any) -> None:
    edge.apply(
        OWN,
        policy(
            "p",
            EDGE,
            "timeouts: {perTry: 4s}\n  retries: {attempts: 7, conditions: [5xx], statusCodes: [429],"
            " backOff: {base: 10ms, max: 100ms}}",
        ),
    )
    first, second = (action(edge, name="own", rule=rule).retry for rule in (0, 1))
    assert first is not None
    assert second is not None
    assert (first.tries, first.codes, first.backoff, first.backoff_max) == (3, (429,), 0.01, 0.1)
    assert (second.tries, second.codes, second.backoff, second.backoff_max) == (7, (500,), 0.2, 0.2)
    assert first.conditions == second.conditions == ("5xx",)
    assert action(edge, name="own", rule=1).try_timeout == 1.0
    assert "DRG1611 spec.retries.backOff.max" in edge.findings()
    said = [
        [one.name for one in route.said]
        for route in edge.outputs.routes.get(edge.ref("HTTPRoute", "own")).routes
    ]
    assert "retries.attempts" not in said[0]
    assert "retries.statusCodes" in said[0]
    assert not {"retries.statusCodes", "retries.backOff.base", "timeouts.perTry"} & {*said[1]}
    assert "retries.attempts" in said[1]


def test_a_route_that_retries_keeps_its_own_where_the_section_is_off(edge: Any) -> None:
    edge.apply(OWN, policy("p", EDGE, "retries: {attempts: 7, disabled: true}"))
    found = action(edge, name="own").retry
    assert found == ir.Retry(3)


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("timeouts: {request: 1s, perTry: 1s}", "spec.timeouts.perTry"),
        ("timeouts: {perTry: 1s, perTryIdle: 2s}", "spec.timeouts.perTryIdle"),
        ("timeouts: {request: 1s, connect: 1s}", "spec.timeouts.connect"),
        ("timeouts: {request: 2s, maxStreamDuration: 1s}", "spec.timeouts.request"),
        ("timeouts: {request: 2s, perTry: 1s}\n  retries: {attempts: 2}", "spec.timeouts.perTry"),
        ("timeouts: {request: 0s, perTry: 1s}\n  retries: {attempts: 2}", None),
        ("timeouts: {request: 3s, perTry: 1s}\n  retries: {attempts: 2}", None),
        ("timeouts: {request: 2s, perTry: 0s}", None),
    ],
)
def test_tiers(edge: Any, spec: str, expected: str | None) -> None:
    edge.apply(policy("p", FIRST, spec))
    assert warnings(edge) == ([f"DRG1611 {expected}"] if expected else [])


def test_hedging_needs_a_limit(edge: Any) -> None:
    edge.apply(policy("p", FIRST, "retries: {hedge: true}"))
    assert warnings(edge) == ["DRG3001 spec.retries.hedge"]
    edge.apply(policy("p", FIRST, "timeouts: {perTry: 1s}\n  retries: {hedge: true}"))
    assert warnings(edge) == []


def test_a_budget_is_the_clusters(edge: Any) -> None:
    edge.apply(policy("p", ROUTE, "retries: {budget: {percent: 10.5}}"))
    key = action(edge).backends[0].cluster
    assert key is not None
    assert [one.name for one in key.policies] == ["p"]
    assert edge.outputs.clusters.get(key).limits.budget == upstream.RetryBudget(10.5, 3)


def test_another_backend(edge: Any) -> None:
    edge.apply(policy("p", FIRST, "fallback: {backendRef: {name: other, port: 80}}"))
    found = action(edge)
    assert found.fallback is not None
    assert found.fallback.cluster is not None
    assert found.fallback.cluster.ref.name == "other"
    assert edge.outputs.clusters.get(found.fallback.cluster) is not None
    assert resolved(edge) == ("True", "ResolvedRefs")
    edge.remove("Service", "other")
    assert action(edge).fallback is None
    assert "DRG2003 spec.fallback.backendRef.name" in edge.findings()
    assert resolved(edge) == ("False", "BackendNotFound")


def test_another_namespace_needs_a_grant(edge: Any) -> None:
    edge.apply(
        "kind: Service\nmetadata: {name: far, namespace: away}\nspec: {ports: [{port: 80}]}",
        policy("p", FIRST, "fallback: {backendRef: {name: far, namespace: away, port: 80}}"),
    )
    assert action(edge).fallback is None
    assert resolved(edge) == ("False", "RefNotPermitted")
    edge.apply(
        "kind: ReferenceGrant\nmetadata: {name: g, namespace: away}\nspec:\n"
        "  from: [{group: dragoman.dev, kind: TrafficPolicy, namespace: default}]\n"
        "  to: [{group: '', kind: Service}]"
    )
    assert action(edge).fallback is not None
    assert resolved(edge) == ("True", "ResolvedRefs")


def resolved(edge: Any) -> tuple[str, str]:
    (ancestor,) = edge.status("TrafficPolicy", "p")["ancestors"]
    (found,) = (one for one in ancestor["conditions"] if one["type"] == "ResolvedRefs")
    return found["status"], found["reason"]


def test_a_more_specific_backend_is_taken_whole(edge: Any) -> None:
    edge.apply(
        policy("p", EDGE, "fallback: {backendRef: {name: shop, port: 81}, response: {status: 200}}"),
        policy("q", FIRST, "fallback: {backendRef: {name: other, port: 80}}"),
    )
    found = action(edge).fallback
    assert found is not None
    assert found.cluster is not None
    assert (found.cluster.ref.name, found.cluster.port) == ("other", 80)
    assert found.answer == ir.Answer(200)


def test_calls_get_no_answer(edge: Any) -> None:
    edge.apply(
        GRPC,
        policy(
            "p",
            "{kind: GRPCRoute, name: calls}",
            "fallback: {response: {text: sorry}, backendRef: {name: other, port: 80}}",
        ),
    )
    found = action(edge, "GRPCRoute", "calls").fallback
    assert found is not None
    assert found.cluster is not None
    assert found.answer is None
    assert found.cluster.transport == "grpc"
    assert warnings(edge) == ["DRG3001 spec.fallback.response"]


def test_faults(edge: Any) -> None:
    edge.apply(
        policy(
            "p",
            FIRST,
            "faults: {delay: {fixed: 1s, percent: 0.5}, abort: {grpcStatus: 14, percent: 0.00001},"
            " headers: [{name: X-Test, value: 'yes'}, {name: x-any}]}",
        )
    )
    assert action(edge).faults == ir.Faults(
        ir.Delay(1.0, 5_000), ir.Abort(1, grpc=14), (("x-test", "yes"), ("x-any", ""))
    )
