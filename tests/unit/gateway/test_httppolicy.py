"""HTTPPolicies: how their sections merge, and what a route says itself."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.ir import model as ir, treatment

WORLD = """
kind: GatewayClass
metadata: {name: dragoman}
spec: {controllerName: dragoman.dev/gateway-controller}
---
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: dragoman
  listeners: [{name: http, port: 8080, protocol: HTTP}]
---
kind: Service
metadata: {name: shop}
spec: {ports: [{port: 80}]}
---
kind: HTTPRoute
metadata: {name: route}
spec:
  parentRefs: [{name: edge}]
  rules:
  - name: plain
    matches: [{path: {value: /plain}}]
    backendRefs: [{name: shop, port: 80}]
  - name: rewritten
    matches: [{path: {value: /rewritten}}]
    filters:
    - {type: URLRewrite, urlRewrite: {hostname: own.example}}
    - {type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: X-A, value: own}], remove: [x-b]}}
    backendRefs: [{name: shop, port: 80}]
  - name: moved
    matches: [{path: {value: /moved}}]
    filters: [{type: RequestRedirect, requestRedirect: {hostname: b.example}}]
  - name: empty
    matches: [{path: {value: /empty}}]
"""
EDGE = "{kind: Gateway, name: edge}"
ROUTE = "{kind: HTTPRoute, name: route}"


def policy(name: str, target: str, spec: str) -> str:
    return f"kind: HTTPPolicy\nmetadata: {{name: {name}}}\nspec:\n  targetRefs: [{target}]\n  {spec}\n"


def rule(name: str) -> str:
    return f"{{kind: HTTPRoute, name: route, sectionName: {name}}}"


@pytest.fixture
def edge(world: Any) -> Any:
    return world.apply(WORLD)


def routes(edge: Any) -> dict[str, ir.Route]:
    (stand,) = edge.routes().stands
    return dict(zip(("plain", "rewritten", "moved", "empty"), stand.routes, strict=True))


def test_lists_are_taken_from_the_most_specific_and_fields_from_each(edge: Any) -> None:
    edge.apply(
        policy("edge", EDGE, "requestHeaders: {set: [{name: X-A, value: edge}], remove: [X-B]}"),
        policy("route", ROUTE, "requestHeaders: {set: [{name: x-c, value: route}]}"),
    )
    assert routes(edge)["plain"].treatment.request == treatment.HeaderChanges(
        remove=("x-b",), set=(("x-c", "route"),)
    )


def test_unions_are_taken_as_a_whole(edge: Any) -> None:
    edge.apply(
        policy("edge", EDGE, "rewrite: {host: {name: edge.example}, path: {regex: ^/a, substitution: /b}}"),
        policy("route", ROUTE, "rewrite: {host: {header: X-Host}}"),
    )
    action = routes(edge)["plain"].action
    assert isinstance(action, ir.Forward)
    assert (action.hostname, action.host) == ("", ir.HostFromHeader("x-host"))
    assert action.rewrite == ir.ReplacePattern("^/a", "/b")


def test_the_routes_own_filters_win(edge: Any) -> None:
    changes = ", ".join(f"{{name: x-{one}, value: policy}}" for one in "abc")
    edge.apply(
        policy(
            "edge",
            EDGE,
            f"responseHeaders: {{set: [{changes}]}}\n"
            "  rewrite: {host: {name: edge.example}, path: {regex: ^/a, substitution: /b}}\n"
            "  requestHeaders: {remove: [x-a]}",
        )
    )
    found = routes(edge)
    own = found["rewritten"].action
    assert isinstance(own, ir.Forward)
    assert own.hostname == "own.example"
    assert own.rewrite == ir.ReplacePattern("^/a", "/b")
    assert [name for name, _ in found["rewritten"].treatment.response.set] == ["x-c"]
    assert [name for name, _ in found["plain"].treatment.response.set] == ["x-a", "x-b", "x-c"]
    # Nothing that is meant for backends shows in a redirect.
    assert found["moved"].treatment.response.set
    assert not found["moved"].treatment.request


def test_answers(edge: Any) -> None:
    edge.apply(policy("edge", EDGE, "directResponse: {body: {text: hello}}\n  requestBody: {maxSize: 1Ki}"))
    found = routes(edge)
    assert found["plain"].action == ir.Respond(200, content=ir.Body("hello"))
    assert found["plain"].treatment.body_limit is None
    assert isinstance(found["moved"].action, ir.Redirect)
    edge.apply(policy("rule", rule("moved"), "maintenance: {retryAfter: 1500ms}"))
    closed = routes(edge)["moved"].action
    assert isinstance(closed, ir.Respond)
    assert (closed.status, closed.headers) == (503, (("retry-after", "2"),))


def test_a_rule_that_a_policy_answers_needs_no_backends(edge: Any) -> None:
    assert "DRG1306 spec.rules[3]" in edge.findings()
    edge.apply(policy("rule", rule("empty"), "directResponse: {status: 204}"))
    assert "DRG1306 spec.rules[3]" not in edge.findings()


def test_what_no_route_matches(edge: Any) -> None:
    assert not list(edge.outputs.unmatched)
    edge.apply(policy("edge", EDGE, "responseOverride: {rules: [{statuses: [404]}]}"))
    ((key, route),) = edge.outputs.unmatched.items()
    assert (key[0].name, key[1]) == ("edge", "http")
    assert route.action == ir.Respond(404)
    assert route.treatment.overrides == (treatment.Override(("404",)),)
    edge.apply(policy("edge", EDGE, "compression: {disabled: true}"))
    assert not list(edge.outputs.unmatched)


def test_routes_under_the_same_policies_share_what_is_made_of_them(edge: Any) -> None:
    edge.apply(policy("edge", EDGE, "compression: {}"))
    found = routes(edge)
    assert found["plain"].treatment is found["rewritten"].treatment


@pytest.mark.parametrize(
    ("text", "size"),
    [("1024", 1024), ("10k", 10_000), ("512Ki", 524_288), ("8Mi", 8_388_608), ("1G", 10**9), ("0", 0)],
)
def test_sizes(edge: Any, text: str, size: int) -> None:
    edge.apply(policy("edge", EDGE, f"requestBody: {{maxSize: {text}}}"))
    assert routes(edge)["plain"].treatment.body_limit == size
