"""Policies: where they are in force, how they merge, who is told what."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.ir import model as ir

GATEWAY = """
kind: GatewayClass
metadata: {name: dragoman}
spec: {controllerName: dragoman.dev/gateway-controller}
---
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: dragoman
  listeners:
  - {name: one, port: 8080, protocol: HTTP, hostname: one.example}
  - {name: two, port: 8081, protocol: HTTP, hostname: two.example}
---
kind: Service
metadata: {name: shop, labels: {tier: front}}
spec: {ports: [{name: http, port: 80}, {name: admin, port: 81}]}
---
kind: Service
metadata: {name: other}
spec: {ports: [{port: 80}]}
---
kind: HTTPRoute
metadata: {name: route}
spec:
  parentRefs: [{name: edge}]
  rules:
  - name: first
    matches: [{path: {value: /first}}]
    backendRefs: [{name: shop, port: 80}]
  - matches: [{path: {value: /second}}]
    backendRefs: [{name: shop, port: 80}]
    timeouts: {request: 7s}
  - matches: [{path: {value: /third}}]
    backendRefs: [{name: shop, port: 81}, {name: other, port: 80}]
"""


def policy(name: str, target: str, spec: str, created: str = "", kind: str = "TrafficPolicy") -> str:
    about = f", creationTimestamp: '{created}'" if created else ""
    return f"kind: {kind}\nmetadata: {{name: {name}{about}}}\nspec:\n  targetRefs: [{target}]\n  {spec}\n"


EDGE = "{kind: Gateway, name: edge}"
TWO = "{kind: Gateway, name: edge, sectionName: two}"
ROUTE = "{kind: HTTPRoute, name: route}"
FIRST = "{kind: HTTPRoute, name: route, sectionName: first}"
SERVICE = "{kind: Service, name: shop}"
PORT = "{kind: Service, name: shop, sectionName: admin}"


@pytest.fixture
def edge(world: Any) -> Any:
    return world.apply(GATEWAY)


def timeouts(edge: Any, listener: str = "one") -> list[float | None]:
    """Of the rules, as one listener has them."""
    for stand in edge.routes().stands:
        if any(one.listener == listener for one in stand.attachments):
            return [route.action.timeout for route in stand.routes]
    raise AssertionError(listener)


def accepted(edge: Any, name: str, kind: str = "TrafficPolicy") -> tuple[str, str]:
    (ancestor,) = edge.status(kind, name)["ancestors"]
    (found,) = (one for one in ancestor["conditions"] if one["type"] == "Accepted")
    return found["status"], found["reason"]


def test_without_policies_nothing_is_said(edge: Any) -> None:
    assert timeouts(edge) == [None, 7.0, None]
    assert len(edge.routes().stands) == 1


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (EDGE, [3.0, 7.0, 3.0]),
        (ROUTE, [3.0, 7.0, 3.0]),
        (FIRST, [3.0, 7.0, None]),
        (SERVICE, [3.0, 7.0, None]),  # the third rule has another backend as well
        (PORT, [None, 7.0, None]),
    ],
)
def test_where_a_policy_is_in_force(edge: Any, target: str, expected: list[float | None]) -> None:
    edge.apply(policy("p", target, "timeouts: {request: 3s}"))
    assert timeouts(edge) == expected
    assert accepted(edge, "p") == ("True", "Accepted")


def test_a_listener_has_routes_of_its_own(edge: Any) -> None:
    edge.apply(policy("p", TWO, "timeouts: {request: 3s}"))
    assert timeouts(edge, "one") == [None, 7.0, None]
    assert timeouts(edge, "two") == [3.0, 7.0, 3.0]


def test_the_more_specific_wins_field_by_field(edge: Any) -> None:
    edge.apply(
        policy("gateway", EDGE, "timeouts: {request: 1s}\n  circuitBreaker: {maxConnections: 5}"),
        policy("listener", TWO, "timeouts: {request: 2s}"),
        policy("route", ROUTE, "timeouts: {request: 3s, connect: 1s}"),
        policy("rule", FIRST, "timeouts: {request: 4s}"),
    )
    assert timeouts(edge, "two") == [4.0, 7.0, 3.0]
    said = {one.name: str(one.origin) for one in edge.routes().routes[0].said}
    assert said == {"timeouts.request": "TrafficPolicy default/rule spec.timeouts.request"}
    key = edge.routes().routes[0].action.backends[0].cluster
    assert [one.name for one in key.policies] == ["gateway", "route"]
    cluster = edge.outputs.clusters.get(key)
    assert cluster.connect_timeout == 1.0
    assert [one.name for one in cluster.said] == ["circuitBreaker.maxConnections", "timeouts.connect"]


def test_replace_stands_alone(edge: Any) -> None:
    edge.apply(
        policy("gateway", EDGE, "timeouts: {request: 1s}"),
        policy("route", ROUTE, "mode: Replace\n  timeouts: {connect: 1s}"),
    )
    assert timeouts(edge) == [None, 7.0, None]


def test_switched_off_and_on_again(edge: Any) -> None:
    edge.apply(
        policy("gateway", EDGE, "timeouts: {request: 1s}"),
        policy("route", ROUTE, "timeouts: {disabled: true}"),
    )
    assert timeouts(edge) == [None, 7.0, None]
    edge.apply(policy("rule", FIRST, "timeouts: {connect: 2s}"))
    assert timeouts(edge) == [1.0, 7.0, None]


def test_a_backends_own_policy_needs_no_other_cluster(edge: Any) -> None:
    edge.apply(policy("p", SERVICE, "timeouts: {connect: 9s}"))
    key = edge.routes().routes[0].action.backends[0].cluster
    assert key.policies == ()
    assert edge.outputs.clusters.get(key).connect_timeout == 9.0


def test_a_port_goes_before_its_service(edge: Any) -> None:
    edge.apply(
        policy("service", SERVICE, "timeouts: {connect: 9s}"),
        policy("port", PORT, "timeouts: {connect: 8s}"),
    )
    clusters = {key.port: one.connect_timeout for key, one in edge.outputs.clusters.items() if key.port > 80}
    assert clusters == {81: 8.0}


def test_the_older_of_two_is_in_force(edge: Any) -> None:
    edge.apply(
        policy("young", ROUTE, "timeouts: {request: 1s}", "2026-02-01T00:00:00Z"),
        policy("old", ROUTE, "timeouts: {request: 2s}", "2026-01-01T00:00:00Z"),
    )
    assert timeouts(edge) == [2.0, 7.0, 2.0]
    assert accepted(edge, "young") == ("False", "Conflicted")
    edge.remove("TrafficPolicy", "old")
    assert timeouts(edge) == [1.0, 7.0, 1.0]
    assert accepted(edge, "young") == ("True", "Accepted")


def test_selectors(edge: Any) -> None:
    edge.apply(
        "kind: TrafficPolicy\nmetadata: {name: p}\nspec:\n"
        "  targetSelectors: [{kind: Service, matchLabels: {tier: front}}]\n  timeouts: {request: 3s}\n"
    )
    assert timeouts(edge) == [3.0, 7.0, None]
    edge.apply("kind: Service\nmetadata: {name: shop}\nspec: {ports: [{name: http, port: 80}]}")
    assert timeouts(edge) == [None, 7.0, None]
    assert "DRG1601 spec.targetSelectors" in edge.findings()


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("{kind: HTTPRoute, name: rout}", "spec.targetRefs[0].name"),
        ("{kind: HTTPRoute, name: route, sectionName: frist}", "spec.targetRefs[0].sectionName"),
    ],
)
def test_a_target_that_is_not_there(edge: Any, target: str, path: str) -> None:
    edge.apply(policy("p", target, "timeouts: {request: 3s}"))
    assert f"DRG1601 {path}" in edge.findings()
    assert accepted(edge, "p") == ("False", "TargetNotFound")


def test_a_listener_without_requests_is_no_target(edge: Any) -> None:
    """Nobody is to believe that an AuthPolicy guards a database."""
    more = "\n  - {name: db, port: 5432, protocol: TCP}\n---\nkind: Service\nmetadata: {name: shop,"
    edge.apply(GATEWAY.replace("\n---\nkind: Service\nmetadata: {name: shop,", more))
    target = "{kind: Gateway, name: edge, sectionName: db}"
    edge.apply(policy("p", target, "apiKeys: {headers: [X-Key]}", kind="AuthPolicy"))
    assert "DRG1601 spec.targetRefs[0].sectionName" in edge.findings()
    assert accepted(edge, "p", "AuthPolicy") == ("False", "TargetNotFound")
    edge.apply(policy("q", target, "circuitBreaker: {maxConnections: 3}"))
    assert accepted(edge, "q")[0] == "True"


def test_kinds_that_cannot_be_targeted(edge: Any) -> None:
    edge.apply(policy("p", "{kind: Secret, name: x}", "timeouts: {request: 3s}"))
    (found,) = edge.rejected[edge.ref("TrafficPolicy", "p")]
    assert found.code == "DRG1106"
    assert "HTTPRoute" in found.label


def test_an_http_policy(edge: Any) -> None:
    edge.apply(policy("p", FIRST, "maintenance: {body: {text: soon}}", kind="HTTPPolicy"))
    assert edge.routes().routes[0].action == ir.Respond(503, content=ir.Body("soon"))


def test_one_policy_changed_touches_the_routes_under_it(edge: Any) -> None:
    edge.apply(policy("p", FIRST, "timeouts: {request: 3s}"))
    before = edge.runs()
    edge.apply(policy("p", FIRST, "timeouts: {request: 4s}"))
    assert timeouts(edge) == [4.0, 7.0, None]
    ran = {name for name, count in edge.runs().items() if count != before.get(name, 0)}
    assert "HTTPRoute rules" not in ran
    assert "Gateway reports" not in ran
    assert "clusters" not in ran
