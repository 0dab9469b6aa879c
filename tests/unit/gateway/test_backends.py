"""References to Services and Backends, what clusters they become, and which endpoints those have."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.ir import model as ir
from dragoman.refs import Ref

SHOP = ir.ClusterKey(Ref("", "Service", "default", "shop"), 8080)


def forward(backend: str) -> str:
    return f"- backendRefs: [{backend}]"


def resolved(world: Any) -> str:
    return str(world.conditions("HTTPRoute", "route")["ResolvedRefs"])


# --- references -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backend", "reason", "finding"),
    [
        ("{name: gone, port: 8080}", "BackendNotFound", "DRG2003 spec.rules[0].backendRefs[0].name"),
        ("{name: shop, port: 81}", "BackendNotFound", "DRG2004 spec.rules[0].backendRefs[0].port"),
        ("{kind: Pod, name: shop}", "InvalidKind", "DRG2005 spec.rules[0].backendRefs[0].kind"),
        ("{kind: Backend, name: shop}", "InvalidKind", "DRG2005 spec.rules[0].backendRefs[0].kind"),
        (
            "{group: a.example, kind: Service, name: shop}",
            "InvalidKind",
            "DRG2005 spec.rules[0].backendRefs[0].kind",
        ),
        (
            "{group: dragoman.dev, kind: Backend, name: gone}",
            "BackendNotFound",
            "DRG2003 spec.rules[0].backendRefs[0].name",
        ),
        (
            "{name: shop, namespace: other, port: 8080}",
            "RefNotPermitted",
            "DRG2006 spec.rules[0].backendRefs[0].namespace",
        ),
    ],
)
def test_references_that_lead_nowhere(
    backend: str, reason: str, finding: str, shop: Any, http_route: Any
) -> None:
    shop.apply(http_route(forward(backend)))
    (share,) = shop.action().backends
    assert share.cluster is None
    assert share.reason
    assert resolved(shop) == f"False {reason}"
    assert shop.conditions("HTTPRoute", "route")["Accepted"] == "True Accepted"
    assert shop.findings() == [finding]
    assert len(shop.outputs.clusters) == 0


def test_help_for_ports(shop: Any, http_route: Any) -> None:
    shop.apply(http_route(forward("{name: shop, port: 80}")))
    assert (
        shop.finding("DRG2004").help == "Service default/shop exposes 8080 (http); did you mean `port: 8080`?"
    )


GRANT = """
kind: ReferenceGrant
metadata: {{name: g, namespace: {0}}}
spec:
  from: [{{group: {1}, kind: {2}, namespace: {3}}}]
  to: [{{group: "{4}", kind: {5}{6}}}]
"""
GATEWAY = "gateway.networking.k8s.io"
RIGHT = ["other", GATEWAY, "HTTPRoute", "default", "", "Service", ""]


@pytest.mark.parametrize(
    ("at", "value", "permitted"),
    [
        (0, "other", True),
        (6, ", name: shop", True),
        (0, "default", False),
        (1, "other.group", False),
        (2, "Gateway", False),
        (3, "third", False),
        (4, "other.group", False),
        (5, "Secret", False),
        (6, ", name: another", False),
    ],
)
def test_grants(at: int, value: str, permitted: bool, shop: Any, http_route: Any) -> None:
    values = [*RIGHT[:at], value, *RIGHT[at + 1 :]]
    shop.apply(
        "kind: Service\nmetadata: {name: shop, namespace: other}\nspec: {ports: [{port: 80}]}",
        GRANT.format(*values),
        http_route(forward("{name: shop, namespace: other, port: 80}")),
    )
    assert resolved(shop) == ("True ResolvedRefs" if permitted else "False RefNotPermitted")


def test_without_a_grant_nothing_is_told_of_what_exists(shop: Any, http_route: Any) -> None:
    shop.apply(http_route(forward("{name: gone, namespace: other, port: 80}")))
    assert resolved(shop) == "False RefNotPermitted"


def test_services_come_and_go(shop: Any, http_route: Any) -> None:
    shop.apply(http_route())
    assert set(shop.outputs.clusters) == set(shop.outputs.endpoints) == {SHOP}
    shop.remove("Service", "shop")
    assert resolved(shop) == "False BackendNotFound"
    assert set(shop.outputs.clusters) == set(shop.outputs.endpoints) == set()


def test_only_what_attached_routes_use(shop: Any, http_route: Any) -> None:
    shop.apply(http_route().replace("{name: edge}", "{name: edge, port: 9}"))
    assert len(shop.outputs.clusters) == 0


# --- Services ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("port", "protocol", "tls"),
    [
        ("{port: 80}", ir.AppProtocol.HTTP1, False),
        ("{port: 80, appProtocol: http}", ir.AppProtocol.HTTP1, False),
        ("{port: 80, appProtocol: kubernetes.io/ws}", ir.AppProtocol.HTTP1, False),
        ("{port: 80, appProtocol: kubernetes.io/h2c}", ir.AppProtocol.HTTP2, False),
        ("{port: 80, appProtocol: kubernetes.io/wss}", ir.AppProtocol.HTTP1, True),
        ("{port: 80, appProtocol: https}", ir.AppProtocol.AUTO, True),
        ("{port: 80, appProtocol: HTTPS}", ir.AppProtocol.AUTO, True),
    ],
)
def test_app_protocols(port: str, protocol: ir.AppProtocol, tls: bool, shop: Any, http_route: Any) -> None:
    shop.apply(
        f"kind: Service\nmetadata: {{name: s}}\nspec: {{ports: [{port}]}}",
        http_route(forward("{name: s, port: 80}")),
    )
    cluster = shop.outputs.clusters.get(ir.ClusterKey(shop.ref("Service", "s"), 80))
    assert (cluster.discovery, cluster.protocol) == (ir.Discovery.EDS, protocol)
    assert cluster.tls == (ir.UpstreamTls(sni="s.default.svc", sans=("s.default.svc",)) if tls else None)
    assert str(cluster.origin) == "Service default/s spec.ports[0]"


@pytest.mark.parametrize("port", ["{port: 80, appProtocol: mysql}", "{port: 80, protocol: UDP}"])
def test_protocols_that_cannot_be_spoken(port: str, shop: Any, http_route: Any) -> None:
    shop.apply(
        f"kind: Service\nmetadata: {{name: s}}\nspec: {{ports: [{port}]}}",
        http_route(forward("{name: s, port: 80}")),
    )
    assert resolved(shop) == "False UnsupportedProtocol"
    assert shop.findings() == ["DRG1402 spec.rules[0].backendRefs[0].port"]


def test_tcp_wins_where_a_port_has_both(shop: Any, http_route: Any) -> None:
    ports = "[{name: a, port: 80, protocol: UDP}, {name: b, port: 80}]"
    shop.apply(
        f"kind: Service\nmetadata: {{name: s}}\nspec: {{ports: {ports}}}",
        http_route(forward("{name: s, port: 80}")),
    )
    assert resolved(shop) == "True ResolvedRefs"


def test_external_names_are_refused(shop: Any, http_route: Any) -> None:
    spec = "{type: ExternalName, externalName: pay.example, ports: [{port: 80}]}"
    shop.apply(
        f"kind: Service\nmetadata: {{name: s}}\nspec: {spec}", http_route(forward("{name: s, port: 80}"))
    )
    assert resolved(shop) == "False InvalidKind"
    assert shop.finding("DRG1401").help == "use a Backend with endpoint {hostname: pay.example, port: 80}"


# --- endpoints --------------------------------------------------------------------------------------------


def endpoints(world: Any) -> list[tuple[str, int, str, str]]:
    found = world.outputs.endpoints.get(SHOP)
    return [(one.address, one.port, one.zone, one.health.value) for one in found.endpoints]


def slice_of(name: str, points: str, ports: str = "[{name: http, port: 3000}]", type: str = "IPv4") -> str:
    labels = "{kubernetes.io/service-name: shop}"
    return (
        f"kind: EndpointSlice\nmetadata: {{name: {name}, labels: {labels}}}\n"
        f"addressType: {type}\nports: {ports}\nendpoints: {points}"
    )


@pytest.mark.parametrize(
    ("conditions", "health"),
    [
        ("{}", "healthy"),
        ("{ready: true}", "healthy"),
        ("{ready: null, serving: null, terminating: null}", "healthy"),
        ("{ready: false}", None),
        ("{ready: false, serving: true, terminating: true}", "draining"),
        ("{ready: false, serving: false, terminating: true}", None),
        ("{ready: false, serving: true}", None),
    ],
)
def test_endpoint_conditions(conditions: str, health: str | None, shop: Any, http_route: Any) -> None:
    shop.apply(
        http_route(), slice_of("shop-1", f"[{{addresses: [10.0.0.9], conditions: {conditions}, zone: z}}]")
    )
    assert endpoints(shop) == ([("10.0.0.9", 3000, "z", health)] if health else [])


def test_several_slices(shop: Any, http_route: Any) -> None:
    shop.apply(
        http_route(),
        slice_of(
            "shop-2",
            "[{addresses: [10.0.0.2], zone: b}, {addresses: [10.0.0.1], conditions: {ready: false}}]",
        ),
        slice_of(
            "shop-3", "[{addresses: [10.0.0.3, 10.0.0.4]}]", "[{name: http, port: 3001}, {name: x, port: 1}]"
        ),
    )
    assert endpoints(shop) == [
        ("10.0.0.1", 3000, "", "healthy"),
        ("10.0.0.2", 3000, "b", "healthy"),
        ("10.0.0.3", 3001, "", "healthy"),
        ("10.0.0.4", 3001, "", "healthy"),
    ]
    shop.remove("EndpointSlice", "shop-1").remove("EndpointSlice", "shop-3")
    assert endpoints(shop) == [("10.0.0.2", 3000, "b", "healthy")]


@pytest.mark.parametrize(
    ("ports", "number"),
    [
        ("[{name: http, port: 1}, {name: other, port: 2}]", 1),
        ("[{port: 3000}]", 3000),
        ("[{name: other, port: 3000}]", None),
        ("[{port: 8080}]", None),
        ("[]", None),
    ],
)
def test_ports_of_slices(ports: str, number: int | None, shop: Any, http_route: Any) -> None:
    shop.apply(http_route(), slice_of("shop-1", "[{addresses: [10.0.0.1]}]", ports))
    assert [one[1] for one in endpoints(shop)] == ([number] if number else [])


def test_one_family_of_a_dual_stack_service(shop: Any, http_route: Any) -> None:
    shop.apply(http_route(), slice_of("shop-6", "[{addresses: ['fd00::1']}]", type="IPv6"))
    assert [one[0] for one in endpoints(shop)] == ["10.0.0.1"]
    shop.apply(
        "kind: Service\nmetadata: {name: shop}\nspec: {ipFamilies: [IPv6, "
        "IPv4], ports: [{name: http, port: 8080}]}"
    )
    assert [one[0] for one in endpoints(shop)] == ["fd00::1"]


def test_service_without_slices(shop: Any, http_route: Any) -> None:
    shop.apply(http_route()).remove("EndpointSlice", "shop-1")
    assert shop.outputs.endpoints.get(SHOP) == ir.EndpointSet(SHOP, ())
    assert shop.findings() == ["DRG1405 "]


def test_slices_that_cannot_be_used(shop: Any, http_route: Any) -> None:
    shop.apply(
        http_route(),
        slice_of("shop-1", "[{addresses: [a.example]}]", type="FQDN"),
        slice_of("shop-2", "[{addresses: [10.0.0.1, nonsense]}]"),
        "kind: EndpointSlice\nmetadata: {name: lost}\naddressType: IPv4",
    )
    assert shop.findings() == [
        "DRG1403 metadata.labels",
        "DRG1404 addressType",
        "DRG1404 endpoints[0].addresses[1]",
    ]
    assert [one[0] for one in endpoints(shop)] == ["10.0.0.1"]


# --- Backend ----------------------------------------------------------------------------------------------

PAY = Ref("dragoman.dev", "Backend", "default", "pay")


def backend(spec: str) -> str:
    return f"kind: Backend\nmetadata: {{name: pay, generation: 2}}\nspec: {spec}"


def cluster(world: Any) -> ir.Cluster:
    found: ir.Cluster | None = world.outputs.clusters.get(ir.ClusterKey(PAY))
    assert found is not None
    return found


@pytest.fixture
def paid(shop: Any, http_route: Any) -> Any:
    return shop.apply(http_route(forward("{group: dragoman.dev, kind: Backend, name: pay}")))


def test_addresses_and_sockets_are_static(paid: Any) -> None:
    points = (
        "[{address: '::1', port: 1}, {unix: /run/a, weight: 3}, {address: "
        "10.0.0.1, port: 2, zone: z, priority: 1}]"
    )
    paid.apply(backend(f"{{endpoints: {points}, protocol: HTTP2, connectTimeout: 1s}}"))
    assert cluster(paid) == ir.Cluster(
        ir.ClusterKey(PAY),
        ir.Discovery.STATIC,
        ir.AppProtocol.HTTP2,
        None,
        (
            ir.Endpoint("/run/a", 0, weight=3),
            ir.Endpoint("10.0.0.1", 2, "z", 1),
            ir.Endpoint("::1", 1),
        ),
        1.0,
    )
    assert paid.outputs.endpoints.get(ir.ClusterKey(PAY)) is None
    assert paid.conditions("Backend", "pay") == {"Accepted": "True Accepted"}


def test_host_names_are_resolved_by_envoy(paid: Any) -> None:
    paid.apply(backend("{endpoints: [{hostname: pay.example, port: 443}, {address: 10.0.0.1, port: 1}]}"))
    assert cluster(paid).discovery is ir.Discovery.DNS
    assert cluster(paid).endpoints == (
        ir.Endpoint("10.0.0.1", 1),
        ir.Endpoint("pay.example", 443, hostname="pay.example"),
    )


@pytest.mark.parametrize(
    ("tls", "expected"),
    [
        ("{}", ir.UpstreamTls("pay.example", sans=("pay.example",))),
        ("{hostname: x.example}", ir.UpstreamTls("x.example", sans=("x.example",))),
        ("{subjectAltNames: [a, b]}", ir.UpstreamTls("pay.example", sans=("a", "b"))),
        ("{insecureSkipVerify: true}", ir.UpstreamTls("pay.example", system_ca=False, insecure=True)),
        ("{wellKnownCACertificates: System}", ir.UpstreamTls("pay.example", sans=("pay.example",))),
    ],
)
def test_tls(tls: str, expected: ir.UpstreamTls, paid: Any) -> None:
    paid.apply(backend(f"{{endpoints: [{{hostname: pay.example, port: 443}}], tls: {tls}}}"))
    assert cluster(paid).tls == expected


def config_map(name: str, pem: bytes) -> str:
    lines = "".join(f"    {line}\n" for line in pem.decode().splitlines())
    return f"kind: ConfigMap\nmetadata: {{name: {name}}}\ndata:\n  ca.crt: |\n{lines}"


def test_certificates_towards_a_backend(paid: Any, issue: Any, tls_secret: Any) -> None:
    tls = "{caCertificateRefs: [{name: ca}], clientCertificateRef: {name: client}}"
    paid.apply(
        config_map("ca", issue("ca")[0]),
        tls_secret("client", "client"),
        backend(f"{{endpoints: [{{hostname: pay.example, port: 443}}], tls: {tls}}}"),
    )
    trusted = ir.SecretKey(Ref("", "ConfigMap", "default", "ca"), "ca")
    shown = ir.SecretKey(Ref("", "Secret", "default", "client"))
    found = cluster(paid).tls
    assert found is not None
    assert (found.ca, found.system_ca, found.certificate) == (trusted, False, shown)
    assert set(paid.outputs.secrets) == {trusted, shown}
    assert paid.findings() == []


def test_several_authorities_become_one_bundle(paid: Any, issue: Any) -> None:
    tls = "{caCertificateRefs: [{name: one}, {name: two}]}"
    paid.apply(
        config_map("one", issue("one")[0]),
        config_map("two", issue("two")[0]),
        backend(f"{{endpoints: [{{hostname: pay.example, port: 443}}], tls: {tls}}}"),
    )
    (secret,) = paid.outputs.secrets.values()
    assert secret.key == ir.SecretKey(PAY, "ca")
    assert secret.ca.count(b"BEGIN CERTIFICATE") == 2


@pytest.mark.parametrize(
    "tls",
    [
        "{caCertificateRefs: [{name: gone}]}",
        "{caCertificateRefs: [{name: one}, {name: gone}]}",
        "{clientCertificateRef: {name: gone}}",
    ],
)
def test_a_backend_that_cannot_be_checked_is_not_used(tls: str, paid: Any, issue: Any) -> None:
    paid.apply(
        config_map("one", issue("one")[0]),
        backend(f"{{endpoints: [{{hostname: pay.example, port: 443}}], tls: {tls}}}"),
    )
    assert paid.action().backends[0].cluster is None
    assert resolved(paid) == "False InvalidBackend"
    assert paid.conditions("Backend", "pay") == {"Accepted": "False InvalidCertificateRef"}
    assert paid.findings() == ["DRG2007 spec.rules[0].backendRefs[0].name", "DRG2007 spec.tls"]


def test_a_port_beside_a_backend_is_named(paid: Any, http_route: Any) -> None:
    paid.apply(
        backend("{endpoints: [{unix: /run/a}]}"),
        http_route(forward("{group: dragoman.dev, kind: Backend, name: pay, port: 80}")),
    )
    assert paid.findings() == ["DRG3001 spec.rules[0].backendRefs[0].port"]
    assert paid.action().backends[0].cluster == ir.ClusterKey(PAY)
