"""What TrafficPolicies make of clusters: layers, what does not fit, who is kept from what."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.ir import model as ir, upstream

WORLD = """
kind: GatewayClass
metadata: {name: dragoman}
spec: {controllerName: dragoman.dev/gateway-controller}
---
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: dragoman
  listeners:
  - {name: one, port: 8080, protocol: HTTP}
  - {name: tcp, port: 5432, protocol: TCP}
---
kind: Service
metadata: {name: shop}
spec: {ports: [{name: http, port: 80}, {name: https, port: 443, appProtocol: https}]}
---
kind: HTTPRoute
metadata: {name: route}
spec:
  parentRefs: [{name: edge, sectionName: one}]
  rules:
  - matches: [{path: {value: /plain}}]
    backendRefs: [{name: shop, port: 80}]
  - matches: [{path: {value: /tls}}]
    backendRefs: [{name: shop, port: 443}]
---
kind: TCPRoute
metadata: {name: tcp}
spec:
  parentRefs: [{name: edge, sectionName: tcp}]
  rules: [{backendRefs: [{name: shop, port: 80}]}]
"""

EDGE = "{kind: Gateway, name: edge}"
ROUTE = "{kind: HTTPRoute, name: route}"
SHOP = "{kind: Service, name: shop}"
PLAIN = "{kind: Service, name: shop, sectionName: http}"


def policy(name: str, target: str, *sections: str) -> str:
    body = "\n".join(f"  {section}" for section in sections)
    return f"kind: TrafficPolicy\nmetadata: {{name: {name}}}\nspec:\n  targetRefs: [{target}]\n{body}\n"


@pytest.fixture
def edge(world: Any) -> Any:
    return world.apply(WORLD)


def cluster(edge: Any, port: int = 80, transport: str = "") -> ir.Cluster:
    found: list[ir.Cluster] = [
        one for key, one in edge.outputs.clusters.items() if (key.port, key.transport) == (port, transport)
    ]
    (made,) = found
    return made


def test_layers_merge_field_by_field(edge: Any) -> None:
    edge.apply(
        policy("gateway", EDGE, "circuitBreaker: {maxConnections: 5, maxRetries: 1}"),
        policy("route", ROUTE, "circuitBreaker: {maxConnections: 7}", "outlierDetection: {breaker: true}"),
        policy("service", SHOP, "outlierDetection: {baseEjectionTime: 9s}"),
    )
    made = cluster(edge)
    assert made.limits == upstream.Limits(connections=7, retries=1)
    assert made.outliers == upstream.Outliers(errors=5, base=9, longest=9, percent=100)
    assert [one.name for one in made.key.policies] == ["gateway", "route"]
    # Connections that are not looked into have the Service's policy alone.
    assert cluster(edge, transport="tcp").limits is None
    assert cluster(edge, transport="tcp").outliers == upstream.Outliers(errors=5, base=9)


def test_a_choice_is_taken_as_a_whole(edge: Any) -> None:
    edge.apply(
        policy("gateway", EDGE, "loadBalancing: {type: RingHash, hashOn: [{header: x}], balanceFactor: 120}"),
        policy("route", ROUTE, "loadBalancing: {type: RoundRobin}"),
    )
    assert cluster(edge).balancing == upstream.RoundRobin()


def test_switched_off(edge: Any) -> None:
    sections = (
        "circuitBreaker: {maxConnections: 5}",
        "outlierDetection: {}",
        "loadBalancing: {type: Random}",
        "failover: {panicThreshold: 50}",
        "healthCheck: {tcp: {}}",
        "connection: {maxRequests: 1}",
        "tls: {insecureSkipVerify: true}",
        "timeouts: {connect: 1s, idle: 1s}",
    )
    edge.apply(policy("gateway", EDGE, *sections))
    assert cluster(edge).outliers is not None
    off = (f"{section.partition(':')[0]}: {{disabled: true}}" for section in sections)
    edge.apply(policy("service", SHOP, *off))
    made = cluster(edge)
    assert made.connect_timeout == 5.0
    assert made.panic == 0
    wanted = (made.limits, made.outliers, made.balancing, made.health_check, made.connection, made.tls)
    assert wanted == (None,) * 6


@pytest.mark.parametrize(
    ("above", "below", "longest"),
    [
        ("{baseEjectionTime: 60s}", "{maxEjectionTime: 30s}", 60),
        ("{baseEjectionTime: 600s}", "{interval: 1s}", 600),
        ("{baseEjectionTime: 10s}", "{maxEjectionTime: 30s}", 30),
    ],
)
def test_times_that_layers_say_fit_each_other(edge: Any, above: str, below: str, longest: float) -> None:
    """Envoy refuses a longest time that is shorter than the first."""
    edge.apply(
        policy("gateway", EDGE, f"outlierDetection: {above}"),
        policy("service", PLAIN, f"outlierDetection: {below}"),
    )
    made = cluster(edge).outliers
    assert made is not None
    assert made.longest == longest
    told = "DRG3002 spec.outlierDetection.maxEjectionTime" in edge.findings()
    assert told == (above == "{baseEjectionTime: 60s}")


def test_tls_by_a_policy_needs_somebody_to_trust(edge: Any) -> None:
    """What only narrows it turns it on for nobody, and changes those that have it."""
    edge.apply(policy("gateway", EDGE, "tls: {minimumVersion: '1.3'}"))
    assert cluster(edge).tls is None
    secured = cluster(edge, 443).tls
    assert secured == ir.UpstreamTls("shop.default.svc", sans=("shop.default.svc",), oldest="1.3")
    edge.apply(policy("service", SHOP, "tls: {wellKnownCACertificates: System, hostname: a.example}"))
    expected = ir.UpstreamTls("a.example", sans=("a.example",), oldest="1.3")
    assert cluster(edge).tls == cluster(edge, 443).tls == expected


def test_the_stricter_of_two_layers_counts(edge: Any) -> None:
    """Trusting anybody never wins over trusting somebody."""
    edge.apply(
        policy("gateway", EDGE, "tls: {wellKnownCACertificates: System}"),
        policy("service", SHOP, "tls: {insecureSkipVerify: true}"),
    )
    made = cluster(edge).tls
    assert made is not None
    assert not made.insecure
    assert made.sans


def test_a_backend_tls_policy_stands_above(edge: Any) -> None:
    edge.apply(
        "kind: BackendTLSPolicy\nmetadata: {name: b}\nspec:\n"
        "  targetRefs: [{group: '', kind: Service, name: shop}]\n"
        "  validation: {hostname: b.example, wellKnownCACertificates: System}\n",
        policy("gateway", EDGE, "tls: {insecureSkipVerify: true, maximumVersion: '1.2'}"),
    )
    made = cluster(edge).tls
    assert made == ir.UpstreamTls("b.example", sans=("b.example",), newest="1.2")


@pytest.mark.parametrize("target", [SHOP, PLAIN, EDGE, ROUTE])
@pytest.mark.parametrize("field", ["caCertificateRefs: [{name: gone}]", "clientCertificateRef: {name: gone}"])
def test_certificates_that_are_not_there(edge: Any, target: str, field: str) -> None:
    edge.apply(policy("p", target, f"tls: {{{field}}}"))
    backend = edge.routes().routes[0].action.backends[0]
    assert backend.cluster is None
    assert "is not there" in backend.reason
    assert f"DRG2007 spec.tls.{field.partition(':')[0]}" in edge.findings()
    (ancestor,) = edge.status("TrafficPolicy", "p")["ancestors"]
    assert ancestor["ancestorRef"]["kind"] == "Gateway"
    conditions = {one["type"]: (one["status"], one["reason"]) for one in ancestor["conditions"]}
    assert conditions == {
        "Accepted": ("True", "Accepted"),
        "ResolvedRefs": ("False", "InvalidCertificateRef"),
    }
    tcp = next(one for _, one in edge.outputs.streams.items())
    assert (tcp.backends[0].cluster is None) == ("Service" in target)
    edge.apply(policy("service", PLAIN, "tls: {disabled: true}"))
    if target != PLAIN:
        assert edge.routes().routes[0].action.backends[0].cluster is not None


def test_a_breaker_knows_no_panic(edge: Any) -> None:
    edge.apply(
        policy("gateway", EDGE, "failover: {panicThreshold: 50}"),
        policy("service", SHOP, "outlierDetection: {breaker: true}"),
    )
    assert cluster(edge).panic == 0
    assert "DRG3001 spec.failover.panicThreshold" in edge.findings()
    edge.apply(policy("service", SHOP, "outlierDetection: {breaker: false}"))
    assert cluster(edge).panic == 50
    assert "DRG3001 spec.failover.panicThreshold" not in edge.findings()


@pytest.mark.parametrize(
    ("sections", "outliers"),
    [
        ("healthCheck: {tcp: {}}", upstream.Outliers(local_errors=3, split=True, longest=30.0)),
        (
            "healthCheck: {tcp: {}, connectionFailures: 7}",
            upstream.Outliers(local_errors=7, split=True, longest=30.0),
        ),
        ("healthCheck: {tcp: {}, connectionFailures: 0}", None),
        ("healthCheck: {disabled: true}", None),
        ("healthCheck: {tcp: {}}\n  outlierDetection: {disabled: true}", None),
        ("healthCheck: {tcp: {}}\n  outlierDetection: {}", upstream.Outliers(errors=5)),
    ],
)
def test_requests_that_are_not_answered_count_beside_checks(
    edge: Any, sections: str, outliers: upstream.Outliers | None
) -> None:
    edge.apply(policy("p", SHOP, sections))
    assert cluster(edge).outliers == outliers


def test_what_does_not_fit_is_told_once(edge: Any) -> None:
    edge.apply(policy("p", SHOP, "connection: {protocol: Auto, maxRequests: 3}", "healthCheck: {grpc: {}}"))
    assert cluster(edge).protocol is ir.AppProtocol.HTTP1
    assert cluster(edge).health_check is None
    assert cluster(edge, 443).protocol is ir.AppProtocol.AUTO
    assert cluster(edge, transport="tcp").connection is None
    found = [one for one in edge.findings() if one.startswith("DRG3001")]
    assert set(found) == {
        "DRG3001 spec.connection.protocol",
        "DRG3001 spec.connection.maxRequests",
        "DRG3001 spec.healthCheck.grpc",
    }


def test_a_policy_about_backends_leaves_routes_alone(edge: Any) -> None:
    """On the backend itself: its cluster changes, no route runs again."""
    edge.apply(policy("p", SHOP, "circuitBreaker: {maxConnections: 3}"))
    before, routes = edge.runs(), edge.routes()
    edge.apply(policy("p", SHOP, "circuitBreaker: {maxConnections: 4}"))
    made = cluster(edge).limits
    assert made is not None
    assert made.connections == 4
    assert edge.routes() == routes
    ran = {name for name, count in edge.runs().items() if count != before.get(name, 0)}
    assert "HTTPRoute rules" not in ran
    assert "HTTPRoutes" not in ran
