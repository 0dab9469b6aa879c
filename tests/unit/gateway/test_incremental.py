"""The graph says what one built from scratch would say, and a change reaches only what depends on it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

VARIANTS: dict[tuple[str, str, str], list[str]] = {
    ("GatewayClass", "", "edge"): [
        "spec: {controllerName: dragoman.dev/gateway-controller}",
        "spec: {controllerName: example.com/other}",
        (
            "spec: {controllerName: dragoman.dev/gateway-controller, "
            "parametersRef: {group: a, kind: B, name: c}}"
        ),
    ],
    ("Gateway", "default", "one"): [
        "spec: {gatewayClassName: dragoman, listeners: [{name: http, port: 80, protocol: HTTP}]}",
        "spec: {gatewayClassName: edge, listeners: [{name: http, port: 80, protocol: HTTP}]}",
        """spec: {gatewayClassName: dragoman, listeners: [
          {name: http, port: 80, protocol: HTTP, hostname: '*.example',
            allowedRoutes: {namespaces: {from: All}}},
          {name: other, port: 80, protocol: HTTP, hostname: '*.example'}]}""",
        """spec: {gatewayClassName: dragoman, listeners: [
          {name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: Selector,
            selector: {matchLabels: {team: a}}}}},
          {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}]}""",
        """spec: {gatewayClassName: dragoman, listeners: [
          {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert,
            namespace: apps}]}}]}""",
    ],
    ("Gateway", "apps", "two"): [
        """spec: {gatewayClassName: dragoman, addresses: [{value: 127.0.0.9}], listeners: [
          {name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]}""",
        "spec: {gatewayClassName: dragoman, listeners: [{name: tcp, port: 80, protocol: TCP}]}",
    ],
    ("HTTPRoute", "default", "a"): [
        "spec: {parentRefs: [{name: one}], rules: [{backendRefs: [{name: shop, port: 80}]}]}",
        """spec: {parentRefs: [{name: one, sectionName: http}, {name: two, namespace: apps}],
          hostnames: [x.example],
          rules: [{backendRefs: [{name: shop, port: 80, weight: 3}, {name: cart, namespace: apps,
            port: 80}]}]}""",
        """spec: {parentRefs: [{name: one, port: 443}], hostnames: [y.org], rules: [
          {matches: [{path: {type: RegularExpression, value: '('}}]},
          {filters: [{type: RequestMirror, requestMirror: {backendRef: {name: shop, port: 81}}}]}]}""",
    ],
    ("Rollout", "default", "r"): [
        """spec: {targetRef: {name: a}, stable: {name: shop, port: 80},
          canary: {name: cart, namespace: apps, port: 80}, steps: [{weight: 10}]}""",
        """spec: {targetRef: {name: a}, stable: {name: cart, namespace: apps, port: 80},
          canary: {name: shop, port: 80}, steps: [{weight: 20, pause: 1m}],
          testers: [{headers: [{name: x, value: y}]}], checks: [{successRate: {min: 99}}]}""",
        """spec: {targetRef: {kind: GRPCRoute, name: a}, stable: {name: shop, port: 80},
          canary: {name: cart, port: 80}, steps: [{weight: 10}]}""",
    ],
    ("Rollout", "default", "q"): [
        """spec: {targetRef: {name: a}, stable: {name: cart, namespace: apps, port: 80},
          canary: {name: shop, port: 80}, steps: [{weight: 30}]}""",
    ],
    ("HTTPRoute", "apps", "b"): [
        """spec: {parentRefs: [{name: one, namespace: default}, {name: two}],
          rules: [{backendRefs: [{group: dragoman.dev, kind: Backend, name: pay}]}]}""",
        """spec: {parentRefs: [{name: two}], rules: [
          {filters: [{type: ExtensionRef, extensionRef: {group: a, kind: B, name: c}}]}]}""",
        """spec: {parentRefs: [{name: none}],
          rules: [{backendRefs: [{name: cart, port: 80}, {name: shop, namespace: default, port: 80}]}]}""",
    ],
    ("Gateway", "default", "host"): [
        """spec: {gatewayClassName: dragoman, allowedListeners: {namespaces: {from: All}}, listeners: [
          {name: tcp, port: 90, protocol: TCP}, {name: udp, port: 90, protocol: UDP},
          {name: tls, port: 443, protocol: TLS, hostname: '*.example', tls: {mode: Passthrough}}],
          tls: {backend: {clientCertificateRef: {name: cert}}}}""",
        """spec: {gatewayClassName: dragoman, allowedListeners: {namespaces: {from: Selector,
          selector: {matchLabels: {team: a}}}}, listeners: [{name: tcp, port: 90, protocol: HTTP},
          {name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}],
          tls: {frontend: {default: {validation: {caCertificateRefs: [
            {group: '', kind: ConfigMap, name: ca, namespace: apps}]}}}}}""",
    ],
    ("ListenerSet", "apps", "s"): [
        """spec: {parentRef: {name: host, namespace: default}, listeners: [
          {name: a, port: 80, protocol: HTTP}, {name: b, port: 90, protocol: TCP}]}""",
        """spec: {parentRef: {name: two}, listeners: [{name: a, port: 443, protocol: HTTPS,
          tls: {certificateRefs: [{name: cert}]}}]}""",
    ],
    ("ListenerSet", "default", "s"): [
        """spec: {parentRef: {name: host}, listeners: [{name: a, port: 80, protocol: HTTP},
          {name: b, port: 91, protocol: UDP}]}""",
    ],
    ("GRPCRoute", "default", "a"): [
        """spec: {parentRefs: [{name: one}, {kind: ListenerSet, name: s, namespace: apps}],
          rules: [{matches: [{method: {service: x}}], backendRefs: [{name: shop, port: 80}]}]}""",
        """spec: {parentRefs: [{kind: ListenerSet, name: s}], hostnames: [x.example],
          rules: [{backendRefs: [{group: dragoman.dev, kind: Backend, name: pay}]}]}""",
    ],
    ("TCPRoute", "apps", "t"): [
        """spec: {parentRefs: [{name: host, namespace: default}, {kind: ListenerSet, name: s}],
          rules: [{backendRefs: [{name: cart, port: 80}, {name: shop, namespace: default, port: 80}]}]}""",
        """spec: {parentRefs: [{name: two}],
          rules: [{backendRefs: [{group: dragoman.dev, kind: Backend, name: pay}]}]}""",
    ],
    ("UDPRoute", "default", "t"): [
        """spec: {parentRefs: [{name: host}, {kind: ListenerSet, name: s}],
          rules: [{backendRefs: [{name: shop, port: 81}, {name: cart, namespace: apps, port: 81}]}]}""",
    ],
    ("TLSRoute", "default", "t"): [
        """spec: {parentRefs: [{name: host}], hostnames: [x.example],
          rules: [{backendRefs: [{name: shop, port: 80}]}]}""",
    ],
    ("BackendTLSPolicy", "default", "p"): [
        """spec: {targetRefs: [{group: '', kind: Service, name: shop}],
          validation: {hostname: a.example, wellKnownCACertificates: System}}""",
        """spec: {targetRefs: [{group: '', kind: Service, name: shop, sectionName: h}],
          validation: {hostname: b.org, caCertificateRefs: [{group: '', kind: ConfigMap, name: gone}]}}""",
    ],
    ("BackendTLSPolicy", "apps", "p"): [
        """spec: {targetRefs: [{group: '', kind: Service, name: cart}],
          validation: {hostname: a.example, caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}}""",
    ],
    ("ReferenceGrant", "apps", "g"): [
        """spec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}],
          to: [{group: '', kind: Service}]}""",
        """spec: {from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: default}],
          to: [{group: '', kind: Secret, name: cert}, {group: '', kind: ConfigMap}]}""",
        """spec: {from: [{group: gateway.networking.k8s.io, kind: UDPRoute, namespace: default}],
          to: [{group: '', kind: Service}]}""",
    ],
    ("Service", "default", "shop"): [
        "spec: {ports: [{port: 80, targetPort: 3000}]}",
        "spec: {ports: [{name: h, port: 80, appProtocol: kubernetes.io/h2c}, {name: i, port: 81}]}",
        "spec: {ports: [{name: h, port: 80}, {name: u, port: 81, protocol: UDP, targetPort: 3000}]}",
        "spec: {type: ExternalName, externalName: a.example, ports: [{port: 80}]}",
        "spec: {ports: [{port: 80, appProtocol: https}]}",
    ],
    ("Service", "apps", "cart"): [
        "spec: {ports: [{port: 80}]}",
        "spec: {ports: [{port: 81, protocol: UDP}]}",
    ],
    ("EndpointSlice", "default", "shop-1"): [
        "addressType: IPv4\nports: [{port: 3000}]\nendpoints: [{addresses: [10.0.0.1]}]",
        "addressType: IPv4\nports: [{name: h, port: 1}]\nendpoints: [{addresses: [10.0.0.2], zone: z}]",
    ],
    ("EndpointSlice", "default", "shop-2"): [
        (
            "addressType: IPv4\nports: [{port: 3000}]\nendpoints: [{addresses: "
            "[10.0.0.1], conditions: {ready: false}}]"
        ),
        "addressType: IPv6\nports: [{port: 3000}]\nendpoints: [{addresses: ['fd00::1']}]",
    ],
    ("Namespace", "", "apps"): ["metadata.labels: {team: a}", "metadata.labels: {team: b}"],
    ("Secret", "default", "cert"): [
        "certificate: a",
        "certificate: b",
        "stringData: {tls.crt: a, tls.key: b}",
    ],
    ("Secret", "apps", "cert"): ["certificate: c"],
    ("ConfigMap", "apps", "ca"): ["authority: a", "authority: b", "data: {ca.crt: nonsense}", "data: {}"],
    ("Backend", "apps", "pay"): [
        "spec: {endpoints: [{address: 10.0.0.7, port: 1}]}",
        """spec: {endpoints: [{hostname: pay.example, port: 443}],
          tls: {caCertificateRefs: [{name: ca}], clientCertificateRef: {name: cert}}}""",
        """spec: {endpoints: [{hostname: pay.example, port: 443}],
          tls: {caCertificateRefs: [{name: ca}, {name: ca}]}}""",
    ],
}
Key = tuple[str, str, str]


def text_of(key: Key, variant: str, generation: int, issue: Any) -> str:
    kind, namespace, name = key
    labels = f"{{kubernetes.io/service-name: {name[:4]}}}" if kind == "EndpointSlice" else "{}"
    if variant.startswith("metadata.labels: "):
        labels, variant = variant.removeprefix("metadata.labels: "), ""
    lines = [
        f"kind: {kind}",
        f"metadata: {{name: {name}, namespace: '{namespace}', labels: {labels}, generation: {generation}}}",
    ]
    if variant.startswith(("certificate: ", "authority: ")):
        what, _, host = variant.partition(": ")
        certificate, private = issue(host)
        entries = (
            {"tls.crt": certificate, "tls.key": private} if what == "certificate" else {"ca.crt": certificate}
        )
        variant = "\n".join(
            [f"{'stringData' if what == 'certificate' else 'data'}:"]
            + [
                f"  {entry}: |\n" + "".join(f"    {line}\n" for line in pem.decode().splitlines())
                for entry, pem in entries.items()
            ]
        )
    return "\n".join([*lines, variant])


@st.composite
def edits(draw: st.DrawFn) -> list[list[tuple[Key, int]]]:
    """Batches of edits: an object and the number of its variant, -1 to remove it."""
    one = st.sampled_from(sorted(VARIANTS)).flatmap(
        lambda key: st.tuples(st.just(key), st.integers(-1, len(VARIANTS[key]) - 1))
    )
    return draw(st.lists(st.lists(one, min_size=1, max_size=6), min_size=1, max_size=12))


def everything(world: Any) -> dict[str, dict[Any, Any]]:
    outputs = world.outputs
    apart = ("rollouts", "fetches")
    collections = {name: getattr(outputs, name) for name in type(outputs).__slots__ if name not in apart}
    assert outputs.rollouts is not None
    assert outputs.fetches is not None
    collections |= {"plans": outputs.rollouts.plans, "wanted": outputs.fetches.wanted}
    return {name: dict(found.items()) for name, found in collections.items()}


@pytest.mark.timeout(600)  # twelve seconds of CPU: minutes where many share the machine
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=edits())
def test_incremental_is_as_from_scratch(
    batches: list[list[tuple[Key, int]]], new_world: Any, issue: Any, documents: Any
) -> None:
    world = new_world()
    present: dict[Key, Any] = {}
    generation = 0
    for batch in batches:
        for key, number in batch:
            generation += 1
            if number < 0:
                if present.pop(key, None) is not None:
                    ref = world.ref(key[0], key[2], key[1])
                    world.objects[ref.group, ref.kind].remove(ref)
                continue
            (document,) = documents(text_of(key, VARIANTS[key][number], generation, issue))
            present[key] = document
            world.put(document)
            assert world.rejected[document.ref] == ()
        world.graph.commit()
        fresh = new_world()
        for document in present.values():
            fresh.put(document)
        fresh.graph.commit()
        assert everything(world) == everything(fresh)


# --- what runs again --------------------------------------------------------------------------------------


def runs_of(world: Any) -> dict[str, int]:
    return {c.name: getattr(c, "runs", 0) for c in world.graph.collections}


SELECTION = {"Service labels", "labelled targets", "targets selected"}
"""Labels are held against the selectors of policies."""


def again(world: Any, *texts: str) -> set[str]:
    """The collections that ran anything when these documents came in."""
    before = runs_of(world)
    world.apply(*texts)
    return {name for name, runs in runs_of(world).items() if runs != before[name]}


@pytest.fixture
def busy(shop: Any, http_route: Any) -> Any:
    return shop.apply(*(http_route(name=f"r{n}") for n in range(20)))


ROUTE_SIDE = {"HTTPRoute rules", "HTTPRoute attached alone", "HTTPRoutes", "routes", "HTTPRoute status"}


def test_an_endpoint_touches_neither_routes_nor_clusters(busy: Any) -> None:
    text = """
kind: EndpointSlice
metadata: {name: shop-1, labels: {kubernetes.io/service-name: shop}}
addressType: IPv4
ports: [{name: http, port: 3000}]
endpoints: [{addresses: [10.0.0.2]}]
"""
    ran = again(busy, text)
    assert "endpoints" in ran
    assert not ran & {*ROUTE_SIDE, "clusters", "services", "Gateway reports", "secrets"}


def test_a_gateway_annotation_touches_no_route(busy: Any) -> None:
    text = """
kind: Gateway
metadata: {name: edge, annotations: {a: b}, generation: 2}
spec: {gatewayClassName: dragoman, listeners: [{name: http, port: 80, protocol: HTTP}]}
"""
    ran = again(busy, text)
    assert "Gateway status" in ran
    assert not ran & ROUTE_SIDE


def test_one_route_touches_itself(busy: Any, http_route: Any) -> None:
    before = runs_of(busy)
    busy.apply(http_route("- backendRefs: [{name: shop, port: 8080, weight: 2}]", name="r7"))
    after = runs_of(busy)
    assert {name: after[name] - before[name] for name in ROUTE_SIDE} == dict.fromkeys(ROUTE_SIDE, 1)
    for name in ("Gateway reports", "Gateway status", "HTTPRoutes of listeners", "clusters", "endpoints"):
        assert after[name] == before[name], name


def test_a_new_route_only_counts_at_its_gateway(busy: Any, http_route: Any) -> None:
    before = runs_of(busy)
    busy.apply(http_route(name="new"))
    after = runs_of(busy)
    assert after["HTTPRoutes of listeners"] - before["HTTPRoutes of listeners"] == 1
    assert after["Gateway status"] - before["Gateway status"] == 1
    assert after["Gateway reports"] == before["Gateway reports"]


def test_a_service_that_nobody_uses_touches_no_route(busy: Any) -> None:
    ran = again(busy, "kind: Service\nmetadata: {name: idle}\nspec: {ports: [{port: 1}]}")
    assert not ran & {*ROUTE_SIDE, "clusters", "endpoints"}


def test_labels_of_a_service_touch_nothing(busy: Any) -> None:
    text = (
        "kind: Service\nmetadata: {name: shop, labels: {a: b}}\nspec: {ports: "
        "[{name: http, port: 8080, targetPort: 3000}]}"
    )
    assert again(busy, text) == {"services", "Service present", *SELECTION}


def test_a_grant_touches_those_that_refer_into_its_namespace(busy: Any) -> None:
    grant = """
kind: ReferenceGrant
metadata: {name: g, namespace: elsewhere}
spec:
  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}]
  to: [{group: "", kind: Service}]
"""
    assert again(busy, grant) == {"grants"}
