"""GRPCRoutes: methods into paths, who comes first, backends' protocol, conditions, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.ir import model as ir
from dragoman.refs import Ref, format_path
from dragoman.translators.gateway import decode


def route(rules: str, *, name: str = "route", more: str = "", meta: str = "") -> str:
    return (
        f"kind: GRPCRoute\nmetadata: {{name: {name}{meta}}}\n"
        f"spec: {{parentRefs: [{{name: edge}}], {more}rules: [{rules}]}}"
    )


def method(text: str) -> str:
    return route(f"{{matches: [{{method: {text}}}], {TO_SHOP}}}")


TO_SHOP = "backendRefs: [{name: shop, port: 8080}]"
SHOP = Ref("", "Service", "default", "shop")
BACKEND = "kind: Backend\nmetadata: {name: pay}\nspec: {endpoints: [{address: 10.0.0.7, port: 1}]%s}"


# --- matches ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "path"),
    [
        ("{service: a.B, method: C}", ir.ExactPath("/a.B/C")),
        ("{service: a.B}", ir.SegmentPrefix("/a.B")),
        ("{method: C}", ir.RegexPath("/[^/]+/C")),
        ("{type: RegularExpression, service: 'a\\..*'}", ir.RegexPath("/(?:a\\..*)/(?:[^/]+)")),
        ("{type: RegularExpression, method: 'A|B'}", ir.RegexPath("/(?:[^/]+)/(?:A|B)")),
        ("{type: RegularExpression, service: 'a|b', method: 'A|B'}", ir.RegexPath("/(?:a|b)/(?:A|B)")),
    ],
)
def test_methods_are_paths(wanted: str, path: ir.PathMatch, shop: Any) -> None:
    shop.apply(method(wanted))
    (found,) = shop.routes(kind="GRPCRoute").routes
    assert found.match == ir.RouteMatch(path, grpc=True)


@pytest.mark.parametrize("rule", [f"{{{TO_SHOP}}}", f"{{matches: [{{}}], {TO_SHOP}}}"])
def test_no_match_is_every_call(rule: str, shop: Any) -> None:
    shop.apply(route(rule))
    assert shop.routes(kind="GRPCRoute").routes[0].match == ir.RouteMatch(ir.SegmentPrefix("/"), grpc=True)


def test_headers(shop: Any) -> None:
    headers = "[{name: Version, value: '2'}, {name: env, value: 'a|b', type: RegularExpression}]"
    shop.apply(route(f"{{matches: [{{headers: {headers}}}], {TO_SHOP}}}"))
    (found,) = shop.routes(kind="GRPCRoute").routes
    assert found.match.headers == (
        ir.HeaderMatch("version", ir.Exact("2")),
        ir.HeaderMatch("env", ir.Regex("a|b")),
    )


PRECEDENCE = [
    "{method: {service: a.LongService, method: C}}",
    "{method: {service: a.LongService}}",
    "{method: {service: a.B, method: Ccc}}",
    "{method: {type: RegularExpression, service: 'a.B', method: 'C.'}}",
    "{method: {service: a.B}, headers: [{name: a, value: '1'}, {name: b, value: '1'}]}",
    "{method: {service: a.B}, headers: [{name: a, value: '1'}]}",
    "{method: {type: RegularExpression, service: 'a.B'}}",
    "{method: {method: Longest}}",
    "{method: {type: RegularExpression, method: 'Long.'}}",
    "{headers: [{name: a, value: '1'}]}",
    "{}",
]


def test_precedence(shop: Any) -> None:
    """Characters of the service, of the method, then headers; then the order of the rules."""
    shop.apply(route(", ".join(f"{{matches: [{one}], {TO_SHOP}}}" for one in reversed(PRECEDENCE))))
    found = sorted(shop.routes(kind="GRPCRoute").routes, key=lambda one: one.order)
    numbers = [int(one.name.split("#")[1].partition("/")[0]) for one in found]
    assert [len(PRECEDENCE) - 1 - one for one in numbers] == list(range(len(PRECEDENCE)))


def test_the_oldest_route_comes_first(shop: Any) -> None:
    for name, created in (("a", "2026-01-02T00:00:00Z"), ("b", "2026-01-01T00:00:00Z")):
        shop.apply(route(f"{{{TO_SHOP}}}", name=name, meta=f", creationTimestamp: '{created}'"))
    a, b = (shop.routes(name, kind="GRPCRoute").routes[0].order for name in "ab")
    assert b < a


# --- backends ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("protocol", "transport", "spoken"),
    [
        ("", "grpc", ir.AppProtocol.HTTP2),
        ("kubernetes.io/h2c", "", ir.AppProtocol.HTTP2),
        ("http", "", ir.AppProtocol.HTTP1),
        ("https", "", ir.AppProtocol.AUTO),
    ],
)
def test_services_are_spoken_to_in_http2_unless_they_say_otherwise(
    protocol: str, transport: str, spoken: ir.AppProtocol, shop: Any
) -> None:
    said = f", appProtocol: {protocol}" if protocol else ""
    shop.apply(f"kind: Service\nmetadata: {{name: shop}}\nspec: {{ports: [{{port: 8080{said}}}]}}")
    shop.apply(route(f"{{{TO_SHOP}}}"))
    key = ir.ClusterKey(SHOP, 8080, transport)
    assert shop.routes(kind="GRPCRoute").clusters() == {key}
    assert shop.outputs.clusters.get(key).protocol is spoken
    assert set(shop.outputs.endpoints) == {ir.ClusterKey(SHOP, 8080)}


@pytest.mark.parametrize(
    ("said", "transport", "spoken"),
    [
        ("", "grpc", ir.AppProtocol.HTTP2),
        (", protocol: HTTP1", "", ir.AppProtocol.HTTP1),
        (", protocol: HTTP2", "", ir.AppProtocol.HTTP2),
    ],
)
def test_backends_are_too(said: str, transport: str, spoken: ir.AppProtocol, shop: Any) -> None:
    shop.apply(BACKEND % said, route("{backendRefs: [{group: dragoman.dev, kind: Backend, name: pay}]}"))
    (key,) = shop.routes(kind="GRPCRoute").clusters()
    assert key.transport == transport
    assert shop.outputs.clusters.get(key).protocol is spoken


@pytest.mark.parametrize("refs", ["[]", "[{name: gone, port: 1}]", "[{name: shop, port: 8080, weight: 0}]"])
def test_without_a_backend_calls_are_unavailable(refs: str, shop: Any) -> None:
    shop.apply(route(f"{{backendRefs: {refs}}}"))
    action = shop.routes(kind="GRPCRoute").routes[0].action
    assert isinstance(action, ir.Forward)
    assert action.failure == 503


# --- conditions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ref", "reason", "code"),
    [
        ("{name: gone, port: 1}", "BackendNotFound", "DRG2003"),
        ("{name: shop, port: 1}", "BackendNotFound", "DRG2004"),
        ("{name: shop, namespace: other, port: 1}", "RefNotPermitted", "DRG2006"),
        ("{name: shop, kind: Thing, group: a.example}", "InvalidKind", "DRG2005"),
        ("{name: datagrams, port: 53}", "UnsupportedProtocol", "DRG1402"),
    ],
)
def test_references_that_lead_nowhere(ref: str, reason: str, code: str, shop: Any) -> None:
    shop.apply("kind: Service\nmetadata: {name: datagrams}\nspec: {ports: [{port: 53, protocol: UDP}]}")
    shop.apply(route(f"{{backendRefs: [{ref}]}}"))
    assert shop.conditions("GRPCRoute", "route") == {
        "Accepted": "True Accepted",
        "ResolvedRefs": f"False {reason}",
    }
    assert shop.finding(code).path[:2] == ("spec", "rules")
    assert shop.listener("http")["attachedRoutes"] == 1


def test_a_grant_for_grpc_routes_is_needed(shop: Any) -> None:
    shop.apply(route("{backendRefs: [{name: far, namespace: other, port: 1}]}"))
    shop.apply("kind: Service\nmetadata: {name: far, namespace: other}\nspec: {ports: [{port: 1}]}")
    grant = """
kind: ReferenceGrant
metadata: {name: g, namespace: other}
spec:
  from: [{group: gateway.networking.k8s.io, kind: %s, namespace: default}]
  to: [{group: "", kind: Service}]
"""
    shop.apply(grant % "HTTPRoute")
    assert shop.conditions("GRPCRoute", "route")["ResolvedRefs"] == "False RefNotPermitted"
    shop.apply(grant % "GRPCRoute")
    assert shop.conditions("GRPCRoute", "route")["ResolvedRefs"] == "True ResolvedRefs"


BAD = f"{{matches: [{{method: {{type: RegularExpression, method: '('}}}}], {TO_SHOP}}}"


def test_one_bad_rule_of_two(shop: Any) -> None:
    shop.apply(route(f"{BAD}, {{{TO_SHOP}}}", meta=", generation: 5"))
    found = shop.conditions("GRPCRoute", "route")
    assert found["Accepted"] == "True Accepted"
    assert found["PartiallyInvalid"] == "True UnsupportedValue"
    conditions = shop.status("GRPCRoute", "route")["parents"][0]["conditions"]
    assert {one["observedGeneration"] for one in conditions} == {5}
    assert any(one["message"].startswith("Dropped Rule: ") for one in conditions)
    assert len(shop.routes(kind="GRPCRoute").routes) == 1
    assert shop.listener("http")["attachedRoutes"] == 1


def test_nothing_but_bad_rules(shop: Any) -> None:
    shop.apply(route(BAD))
    assert shop.conditions("GRPCRoute", "route")["Accepted"] == "False UnsupportedValue"
    assert "PartiallyInvalid" not in shop.conditions("GRPCRoute", "route")
    assert shop.listener("http")["attachedRoutes"] == 0


def test_no_rules_at_all(shop: Any) -> None:
    shop.apply(route(""))
    assert shop.conditions("GRPCRoute", "route")["Accepted"] == "True Accepted"
    assert shop.listener("http")["attachedRoutes"] == 1


def test_a_listener_for_http_routes_alone(world: Any) -> None:
    world.apply(
        """
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: dragoman
  listeners: [{name: http, port: 80, protocol: HTTP, allowedRoutes: {kinds: [{kind: HTTPRoute}]}}]
""",
        route(f"{{{TO_SHOP}}}"),
    )
    assert world.conditions("GRPCRoute", "route")["Accepted"] == "False NotAllowedByListeners"


def test_host_names_that_no_listener_serves(world: Any) -> None:
    world.apply(
        """
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: dragoman
  listeners: [{name: http, port: 80, protocol: HTTP, hostname: a.example}]
""",
        route(f"{{{TO_SHOP}}}", more="hostnames: [b.example], "),
    )
    assert world.conditions("GRPCRoute", "route")["Accepted"] == "False NoMatchingListenerHostname"


# --- filters ----------------------------------------------------------------------------------------------


def test_filters(shop: Any) -> None:
    filters = """[
      {type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: A, value: b}]}},
      {type: ResponseHeaderModifier, responseHeaderModifier: {remove: [c]}},
      {type: RequestMirror, requestMirror: {backendRef: {name: shop, port: 8080}}}]"""
    shop.apply(route(f"{{filters: {filters}, {TO_SHOP}}}"))
    (found,) = shop.routes(kind="GRPCRoute").routes
    assert found.request_headers.set == (("a", "b"),)
    assert found.response_headers.remove == ("c",)
    assert [one.cluster for one in found.action.mirrors] == [ir.ClusterKey(SHOP, 8080, "grpc")]


# --- decoding ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("{matches: [{method: {}}]}", "DRG1102 spec.rules[0].matches[0].method"),
        (
            "{matches: [{method: {type: RegularExpression}}]}",
            "DRG1102 spec.rules[0].matches[0].method",
        ),
        ("{matches: [{method: {service: a/b}}]}", "DRG1103 spec.rules[0].matches[0].method.service"),
        ("{matches: [{method: {method: a.b}}]}", "DRG1103 spec.rules[0].matches[0].method.method"),
        ("{matches: [{method: {type: Prefix, method: a}}]}", "DRG1106 spec.rules[0].matches[0].method.type"),
        ("{matches: [{path: {value: /}}]}", "DRG1101 spec.rules[0].matches[0].path"),
        (
            "{filters: [{type: RequestRedirect, requestRedirect: {port: 1}}]}",
            "DRG1106 spec.rules[0].filters[0].type",
        ),
        (
            "{backendRefs: [{name: a, port: 1, filters: [{type: URLRewrite, urlRewrite: {hostname: a}}]}]}",
            "DRG1106 spec.rules[0].backendRefs[0].filters[0].type",
        ),
        ("{timeouts: {request: 1s}}", "DRG1101 spec.rules[0].timeouts"),
        ("{backendRefs: [{name: a}]}", "DRG1102 spec.rules[0].backendRefs[0]"),
        ("{name: a}, {name: a}", "DRG1108 spec.rules[1].name"),
    ],
)
def test_what_is_refused(rule: str, expected: str, documents: Any) -> None:
    (document,) = documents(route(rule))
    found = decode.decode(document)
    assert found.object is None
    assert [f"{one.code} {format_path(one.path)}" for one in found.diagnostics] == [expected]


def test_services_with_a_leading_dot_are_taken(documents: Any) -> None:
    (document,) = documents(method("{service: .a.B, method: _c}"))
    assert decode.decode(document).diagnostics == ()


def test_too_many_matches(documents: Any) -> None:
    rule = f"{{matches: [{', '.join(['{method: {service: a}}'] * 64)}]}}"
    (document,) = documents(route(f"{rule}, {rule}, {{matches: [{{}}]}}"))
    assert [one.code for one in decode.decode(document).diagnostics] == ["DRG1107"]
