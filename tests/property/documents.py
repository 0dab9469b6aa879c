"""Documents of every kind, drawn at random from few names, so that edits meet. For the property tests of the
pipeline.
"""

from __future__ import annotations

import functools
from typing import Any

from hypothesis import strategies as st

from tests.harness import certs, manifests

Body = dict[str, Any]

HOSTS = ("a.test", "b.test", "*.test", "x.a.test", "*.a.test")
NAMESPACES = ("shop", "stock")
RED: Body = {"from": "Selector", "selector": {"matchLabels": {"team": "red"}}}


@functools.cache
def pairs() -> tuple[certs.Pair, ...]:
    authority = certs.Authority()
    return tuple(authority.issue(name) for name in ("a.test", "b.test"))


some = st.sampled_from
hosts = st.lists(some(HOSTS), max_size=2, unique=True)


@st.composite
def gateways(draw: st.DrawFn) -> Body:
    listeners = []
    for number in range(draw(st.integers(1, 3))):
        secret = draw(some([None, None, "c0", "c1"]))
        listener = manifests.listener(
            f"l{number}",
            draw(some([443, 8443] if secret else [80, 8080, 443])),
            protocol="HTTPS" if secret else "HTTP",
            hostname=draw(some([None, *HOSTS])),
            secret=secret,
        )
        if draw(st.booleans()):
            listener["allowedRoutes"] = draw(
                some(
                    [
                        {"namespaces": {"from": "Same"}},
                        {"namespaces": RED},
                    ]
                )
            )
        listeners.append(listener)
    listeners += draw(st.lists(stream_listeners(), max_size=2, unique_by=lambda one: one["name"]))
    body = manifests.gateway(*listeners, name=draw(some(["edge", "inner"])))
    dated(draw, body)
    if draw(st.booleans()):
        body["spec"]["addresses"] = [{"value": "127.0.0.2"}]
    if draw(st.booleans()):
        body["spec"]["allowedListeners"] = {
            "namespaces": draw(some([{"from": "All"}, {"from": "Same"}, RED]))
        }
    tls: Body = {}
    if draw(st.integers(0, 3)) == 0:
        tls["backend"] = {"clientCertificateRef": {"name": draw(some(["c0", "c1"]))}}
    if draw(st.integers(0, 3)) == 0:
        refs = [{"group": "", "kind": "ConfigMap", "name": draw(some(["ca0", "ca1"]))}]
        tls["frontend"] = {
            "default": draw(some([{}, {"validation": {"caCertificateRefs": refs}}])),
            "perPort": draw(some([[], [{"port": 443, "tls": {"validation": {"caCertificateRefs": refs}}}]])),
        }
    if tls:
        body["spec"]["tls"] = tls
    return body


@st.composite
def stream_listeners(draw: st.DrawFn) -> Body:
    """TCP, UDP, TLS of both modes; on ports that HTTPS has as well."""
    protocol = draw(some(["TCP", "UDP", "TLS", "TLS"]))
    name = draw(some(["s0", "s1"]))
    if protocol != "TLS":
        return manifests.listener(name, draw(some([9000, 9001, 443])), protocol=protocol)
    secret = draw(some([None, "c0"]))
    body = manifests.listener(name, draw(some([443, 8443])), protocol="TLS", secret=secret)
    body["hostname"] = draw(some(HOSTS))
    body.setdefault("tls", {})["mode"] = "Terminate" if secret else "Passthrough"
    return body


@st.composite
def listener_sets(draw: st.DrawFn) -> Body:
    own = [
        manifests.listener(f"l{number}", draw(some([80, 8080])), hostname=draw(some([None, *HOSTS])))
        for number in range(draw(st.integers(1, 2)))
    ]
    own += draw(st.lists(stream_listeners(), max_size=1))
    body: Body = {
        "apiVersion": manifests.GATEWAY_API,
        "kind": "ListenerSet",
        "metadata": {"name": draw(some(["more", "most"])), "namespace": draw(some(NAMESPACES))},
        "spec": {"parentRef": {"name": draw(some(["edge", "inner"])), "namespace": "shop"}, "listeners": own},
    }
    return dated(draw, body)


def dated(draw: st.DrawFn, body: Body) -> Body:
    """The body, perhaps with its time of creation."""
    if draw(st.booleans()):
        body["metadata"]["creationTimestamp"] = draw(some(["2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"]))
    return body


@st.composite
def parents(draw: st.DrawFn, sections: tuple[str, ...]) -> list[Body]:
    gateways = draw(st.lists(some(["edge", "inner", "nowhere"]), min_size=1, max_size=2, unique=True))
    found: list[Body] = [{"name": name, "namespace": "shop"} for name in gateways]
    if draw(st.integers(0, 2)) == 0:
        name = draw(some(["more", "most"]))
        found.append({"kind": "ListenerSet", "name": name, "namespace": draw(some(NAMESPACES))})
    for one in found:
        if draw(st.booleans()):
            one["sectionName"] = draw(some(sections))
    return found


@st.composite
def backend_refs(draw: st.DrawFn, least: int = 0) -> list[Body]:
    refs: list[Body] = []
    for _ in range(draw(st.integers(least, 2))):
        if draw(st.integers(0, 3)) == 0:
            refs.append({"group": "dragoman.dev", "kind": "Backend", "name": "outside"})
        else:
            refs.append(
                {"name": draw(some("abz")), "port": draw(some([80, 80, 81])), "weight": draw(some([1, 0, 9]))}
            )
            if draw(st.booleans()):
                refs[-1]["namespace"] = draw(some(NAMESPACES))
    return refs


@st.composite
def grpc_routes(draw: st.DrawFn) -> Body:
    method = draw(some([None, {"service": "a.B"}, {"service": "a.B", "method": "C"}, {"method": "C"}]))
    made: Body = {"backendRefs": draw(backend_refs())}
    if method is not None:
        made["matches"] = [{"method": method}]
    spec = {"parentRefs": draw(parents(("l0", "l1"))), "hostnames": draw(hosts), "rules": [made]}
    return dated(draw, route_of("GRPCRoute", draw(some(["g0", "g1"])), draw(some(NAMESPACES)), spec))


@st.composite
def stream_routes(draw: st.DrawFn) -> Body:
    kind = draw(some(["TLSRoute", "TCPRoute", "UDPRoute"]))
    spec: Body = {
        "parentRefs": draw(parents(("s0", "s1"))),
        "rules": [{"backendRefs": draw(backend_refs(least=1))}],
    }
    if kind == "TLSRoute":
        spec["hostnames"] = draw(st.lists(some(HOSTS), min_size=1, max_size=2, unique=True))
    return dated(draw, route_of(kind, draw(some(["t0", "t1"])), draw(some(NAMESPACES)), spec))


def route_of(kind: str, name: str, namespace: str, spec: Body) -> Body:
    about = {"name": name, "namespace": namespace}
    return {"apiVersion": manifests.GATEWAY_API, "kind": kind, "metadata": about, "spec": spec}


@st.composite
def policies(draw: st.DrawFn) -> Body:
    target = {
        "group": "",
        "kind": "Service",
        "name": draw(some("ab")),
        **draw(some([{}, {"sectionName": "http"}])),
    }
    validation: Body = {"hostname": draw(some(["a.test", "b.test"]))}
    names = draw(st.lists(some(["ca0", "ca1"]), max_size=2, unique=True))
    if names:
        validation["caCertificateRefs"] = [{"group": "", "kind": "ConfigMap", "name": name} for name in names]
    else:
        validation["wellKnownCACertificates"] = "System"
    spec = {"targetRefs": [target], "validation": validation}
    return dated(draw, route_of("BackendTLSPolicy", draw(some(["p0", "p1"])), draw(some(NAMESPACES)), spec))


@st.composite
def rules(draw: st.DrawFn) -> Body:
    made: Body = {}
    path = {"path": {"type": draw(some(["Exact", "PathPrefix"])), "value": draw(some(["/", "/a", "/a/b"]))}}
    if draw(st.booleans()):
        path["method"] = "GET"  # type: ignore[assignment]
    made["matches"] = [path] if draw(st.booleans()) else [path, {"headers": [{"name": "x", "value": "1"}]}]
    kind = draw(st.integers(0, 5))
    if kind == 0:
        made["filters"] = [
            {"type": "RequestRedirect", "requestRedirect": {"scheme": draw(some(["http", "https"]))}}
        ]
        return made
    if kind == 1:
        mirror = {"backendRef": {"name": draw(some("abz")), "port": 80}, "percent": draw(some([5, 100]))}
        made["filters"] = [{"type": "RequestMirror", "requestMirror": mirror}]
    made["backendRefs"] = draw(backend_refs())
    return made


@st.composite
def routes(draw: st.DrawFn) -> Body:
    body = manifests.http_route(
        draw(some(["r0", "r1", "r2"])),
        *draw(st.lists(rules(), min_size=1, max_size=3)),
        hostnames=draw(hosts),
        namespace=draw(some(NAMESPACES)),
    )
    body["spec"]["parentRefs"] = draw(parents(("l0", "l1", "l2")))
    dated(draw, body)
    if draw(st.booleans()):
        body["spec"]["rules"][0]["name"] = "named"
    if draw(st.booleans()):
        body["metadata"]["labels"] = {"team": draw(some(["red", "blue"]))}
    if draw(st.integers(0, 4)) == 0:
        body["metadata"]["annotations"] = {"dragoman.dev/priority": draw(some(["1", "-1"]))}
    return body


TARGETS = (
    {"kind": "Gateway", "name": "edge"},
    {"kind": "Gateway", "name": "edge", "sectionName": "l1"},
    {"kind": "HTTPRoute", "name": "r0"},
    {"kind": "HTTPRoute", "name": "r1", "sectionName": "named"},
    {"kind": "GRPCRoute", "name": "g0"},
    {"kind": "ListenerSet", "name": "set"},
    {"kind": "Service", "name": "a"},
    {"kind": "Service", "name": "a", "sectionName": "more"},
    {"kind": "Backend", "name": "outside"},
)


TREATMENTS: tuple[Body, ...] = (
    {"maintenance": {}},
    {"maintenance": {"disabled": True}},
    {"maintenance": {"body": {"text": "soon"}, "exempt": {"addresses": ["10.0.0.0/8"]}}},
    {
        "responseOverride": {
            "rules": [{"statuses": [404, "5xx"], "body": {"json": {"error": "%RESPONSE_CODE%"}}}]
        }
    },
    {"rewrite": {"host": {"header": "x-host"}}, "queryParameters": {"remove": ["a"]}},
    {"compression": {}, "requestBody": {"maxSize": "1Mi"}, "responseHeaders": {"remove": ["x-a"]}},
)


CA0, CA1 = ({"group": "", "kind": "ConfigMap", "name": name} for name in ("ca0", "ca1"))
CLIENTS: tuple[Body, ...] = (
    {},
    {"headers": {"maxBytes": 2048}},
    {"headers": {"maxBytes": 4096, "underscores": "Allow"}, "http3": {"enabled": True}},
    {"http3": {"disabled": True}, "tls": {"minVersion": "TLSv1.3"}},
    {"proxyProtocol": {"enabled": True}, "connections": {"max": 5}},
    {"clientAddress": {"trustedNetworks": ["10.0.0.0/8"]}, "http3": {"enabled": True}},
    {"clientValidation": {"caCertificateRefs": [CA0]}},
    {"clientValidation": {"mode": "Optional", "caCertificateRefs": [CA0, CA1], "crlRefs": [CA1]}},
)
"""Each says something of ports, connection managers, filter chains or certificates."""


@st.composite
def client_policies(draw: st.DrawFn) -> Body:
    """Policies about clients, on listeners that share ports."""
    known = [one for one in TARGETS if one["kind"] in ("Gateway", "ListenerSet")]
    body: Body = {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "ClientPolicy",
        "metadata": {"name": draw(some(["p0", "p1"])), "namespace": draw(some(NAMESPACES))},
        "spec": {"targetRefs": [draw(some(known))], **draw(some(CLIENTS))},
    }
    dated(draw, body)
    return body


@st.composite
def own_policies(draw: st.DrawFn) -> Body:
    """Dragoman's own policies, few and often in each other's way."""
    kind = draw(some(["TrafficPolicy", "TrafficPolicy", "HTTPPolicy"]))
    spec: Body = {"mode": draw(some(["Merge", "Merge", "Replace"]))}
    known = [one for one in TARGETS if kind == "TrafficPolicy" or one["kind"] not in ("Service", "Backend")]
    spec["targetRefs"] = draw(
        st.lists(some(known), min_size=1, max_size=2, unique_by=lambda one: tuple(one.values()))
    )
    if draw(st.integers(0, 3)) == 0:
        spec["targetSelectors"] = [
            {"kind": "HTTPRoute", "matchLabels": {"team": draw(some(["red", "blue"]))}}
        ]
    if kind == "HTTPPolicy":
        spec |= draw(some(TREATMENTS))
    else:
        spec["timeouts"] = draw(some([{}, {"request": "1s"}, {"connect": "2s"}, {"disabled": True}]))
        if draw(st.booleans()):
            reference = {"name": draw(some("abz")), "namespace": draw(some(NAMESPACES)), "port": 80}
            spec["fallback"] = draw(some([{"backendRef": reference}, {"disabled": True}]))
    body: Body = {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": draw(some(["p0", "p1"])), "namespace": draw(some(NAMESPACES))},
        "spec": spec,
    }
    dated(draw, body)
    return body


@st.composite
def services(draw: st.DrawFn) -> Body:
    body = manifests.service(draw(some("ab")), namespace=draw(some(NAMESPACES)))
    if draw(st.booleans()):
        body["spec"]["ports"].append({"name": "more", "port": 81, "appProtocol": "kubernetes.io/h2c"})
    if draw(st.booleans()):
        body["spec"]["ports"].append({"name": "udp", "port": 80, "protocol": "UDP", "targetPort": 8080})
    return body


@st.composite
def slices(draw: st.DrawFn) -> Body:
    endpoints = [
        manifests.endpoint(
            f"10.0.0.{draw(st.integers(1, 3))}", ready=draw(st.booleans()), terminating=draw(st.booleans())
        )
        for _ in range(draw(st.integers(0, 3)))
    ]
    body = manifests.endpoint_slice(
        draw(some("ab")), draw(some([8080, 8081])), suffix=draw(some("12")), namespace=draw(some(NAMESPACES))
    )
    if draw(st.booleans()):
        body["ports"].append({"name": "udp", "port": 8080, "protocol": "UDP"})
    body["endpoints"] = endpoints
    return body


@st.composite
def others(draw: st.DrawFn) -> Body:
    kind = draw(st.integers(0, 5))
    if kind == 5:
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": draw(some(["ca0", "ca1"])), "namespace": draw(some(NAMESPACES))},
            "data": draw(some([{}, *({"ca.crt": pair.certificate} for pair in pairs())])),
        }
    if kind == 0:
        pair = draw(st.integers(0, 1))
        return manifests.tls_secret(draw(some(["c0", "c1"])), pairs()[pair].certificate, pairs()[pair].key)
    if kind == 1:
        return {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": draw(some(NAMESPACES)), "labels": {"team": draw(some(["red", "blue"]))}},
        }
    if kind == 2:
        return {
            "apiVersion": "gateway.networking.k8s.io/v1beta1",
            "kind": "ReferenceGrant",
            "metadata": {"name": "grant", "namespace": draw(some(NAMESPACES))},
            "spec": {
                "from": [
                    {
                        "group": "gateway.networking.k8s.io",
                        "kind": draw(some(["HTTPRoute", "TCPRoute", "UDPRoute", "GRPCRoute"])),
                        "namespace": draw(some(NAMESPACES)),
                    }
                ],
                "to": [{"group": "", "kind": "Service", **draw(some([{}, {"name": "a"}]))}],
            },
        }
    if kind == 3:
        return {
            "apiVersion": "dragoman.dev/v1alpha1",
            "kind": "Backend",
            "metadata": {"name": "outside", "namespace": draw(some(NAMESPACES))},
            "spec": draw(
                some(
                    [
                        {
                            "endpoints": [{"hostname": "out.test", "port": 443}],
                            "tls": {"insecureSkipVerify": True},
                        },
                        {"endpoints": [{"address": "10.9.9.9", "port": 80}], "protocol": "HTTP2"},
                    ]
                )
            ),
        }
    return manifests.gateway_class()


bodies = st.one_of(
    gateways(),
    listener_sets(),
    routes(),
    routes(),
    grpc_routes(),
    stream_routes(),
    stream_routes(),
    policies(),
    own_policies(),
    own_policies(),
    client_policies(),
    client_policies(),
    services(),
    slices(),
    slices(),
    others(),
)
