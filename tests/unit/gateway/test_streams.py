"""TLSRoutes, TCPRoutes and UDPRoutes: where they stand, what they forward to, who has it, conditions."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.ir import model as ir
from dragoman.refs import Ref, format_path
from dragoman.translators.gateway import decode

GATEWAY = """
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: dragoman
  listeners:
  - {name: tcp, port: 5432, protocol: TCP}
  - {name: udp, port: 5432, protocol: UDP}
  - {name: through, port: 443, protocol: TLS, hostname: "*.example", tls: {mode: Passthrough}}
  - {name: ended, port: 8443, protocol: TLS, hostname: "*.example",
     tls: {mode: Terminate, certificateRefs: [{name: cert}]}}
"""
SERVICES = """
kind: Service
metadata: {name: db}
spec: {ports: [{name: t, port: 5432, targetPort: 1}, {name: u, port: 5432, protocol: UDP, targetPort: 2}]}
---
kind: Service
metadata: {name: more}
spec: {ports: [{name: u, port: 53, protocol: UDP}, {name: t, port: 80}]}
---
kind: EndpointSlice
metadata: {name: db-1, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: t, port: 1}, {name: u, port: 2, protocol: UDP}]
endpoints: [{addresses: [10.0.0.1]}]
---
kind: EndpointSlice
metadata: {name: more-1, labels: {kubernetes.io/service-name: more}}
addressType: IPv4
ports: [{name: u, port: 53, protocol: UDP}, {name: t, port: 80}]
endpoints: [{addresses: [10.0.0.2]}]
"""
DB = Ref("", "Service", "default", "db")
MORE = Ref("", "Service", "default", "more")
SECTIONS = {"TCPRoute": "tcp", "UDPRoute": "udp", "TLSRoute": "through"}


def route(
    kind: str,
    refs: str = "[{name: db, port: 5432}]",
    *,
    name: str = "route",
    parents: str = "",
    hosts: str = "[a.example]",
    meta: str = "",
) -> str:
    parents = parents or f"{{name: edge, sectionName: {SECTIONS[kind]}}}"
    names = f"hostnames: {hosts}, " if kind == "TLSRoute" else ""
    return (
        f"kind: {kind}\nmetadata: {{name: {name}{meta}}}\n"
        f"spec: {{parentRefs: [{parents}], {names}rules: [{{backendRefs: {refs}}}]}}"
    )


def created(day: int) -> str:
    return f", creationTimestamp: '2026-01-0{day}T00:00:00Z'"


@pytest.fixture
def edge(world: Any, tls_secret: Any) -> Any:
    return world.apply(GATEWAY, SERVICES, tls_secret("cert", "a.example"))


# --- what they forward to ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "parents", "transport"),
    [
        ("TCPRoute", "", "tcp"),
        ("UDPRoute", "", "udp"),
        ("TLSRoute", "{name: edge, sectionName: through}", "tls"),
        ("TLSRoute", "{name: edge, sectionName: ended}", "tcp"),
    ],
)
def test_the_listener_says_how_backends_are_spoken_to(
    kind: str, parents: str, transport: str, edge: Any
) -> None:
    edge.apply(route(kind, parents=parents))
    found = edge.stream(kind)
    key = ir.ClusterKey(DB, 5432, transport)
    assert [one.cluster for one in found.backends] == [key]
    assert edge.outputs.clusters.get(key).protocol is ir.AppProtocol.NONE
    assert edge.outputs.clusters.get(key).tls is None
    assert [(e.address, e.port) for e in edge.outputs.endpoints.get(key.place).endpoints] == [
        ("10.0.0.1", 2 if transport == "udp" else 1)
    ]
    assert edge.conditions(kind, "route") == {
        "Accepted": "True Accepted",
        "ResolvedRefs": "True ResolvedRefs",
    }


def test_a_tls_route_on_listeners_of_both_modes(edge: Any) -> None:
    edge.apply(route("TLSRoute", parents="{name: edge}"))
    passed, ended = (edge.stream("TLSRoute", how=how) for how in ("tls", "tcp"))
    assert [one.listener for one in passed.attachments] == ["through"]
    assert [one.listener for one in ended.attachments] == ["ended"]
    assert len(edge.status("TLSRoute", "route")["parents"]) == 1


def test_weights(edge: Any) -> None:
    refs = "[{name: db, port: 5432, weight: 9}, {name: more, port: 80}, {name: gone, port: 1, weight: 0}]"
    edge.apply(route("TCPRoute", refs))
    assert [
        (one.cluster and one.cluster.ref.name, one.weight) for one in edge.stream("TCPRoute").backends
    ] == [
        ("db", 9),
        ("more", 1),
        (None, 0),
    ]


def test_backends_of_our_own(edge: Any) -> None:
    edge.apply(
        """
kind: Backend
metadata: {name: out}
spec: {endpoints: [{hostname: out.example, port: 443}], tls: {}}
""",
        route("TCPRoute", "[{group: dragoman.dev, kind: Backend, name: out}]"),
        route("TLSRoute", "[{group: dragoman.dev, kind: Backend, name: out}]"),
    )
    ref = Ref("dragoman.dev", "Backend", "default", "out")
    assert edge.outputs.clusters.get(ir.ClusterKey(ref, 0, "tcp")).tls.sni == "out.example"
    assert edge.outputs.clusters.get(ir.ClusterKey(ref, 0, "tls")).tls is None, "it is TLS already"


# --- datagrams to several backends ------------------------------------------------------------------------


MIXED = ir.ClusterKey(
    Ref("gateway.networking.k8s.io", "UDPRoute", "default", "route"), 0, ir.Transport.DATAGRAMS.value
)
BOTH = "[{name: db, port: 5432, weight: 3}, {name: more, port: 53, weight: 1}]"


def test_one_cluster_of_several_backends(edge: Any) -> None:
    edge.apply(route("UDPRoute", BOTH))
    assert edge.stream("UDPRoute").clusters() == {MIXED}
    assert edge.outputs.clusters.get(MIXED).shared
    found = edge.outputs.endpoints.get(MIXED)
    assert [(one.address, one.zone) for one in found.endpoints] == [("10.0.0.1", "00"), ("10.0.0.2", "01")]
    assert found.shares == (("00", 3), ("01", 1))


def test_their_endpoints_follow(edge: Any) -> None:
    edge.apply(route("UDPRoute", BOTH))
    edge.remove("Service", "more")
    found = edge.outputs.endpoints.get(MIXED)
    assert found.shares == (("00", 3), ("01", 1))
    lost = [one for one in found.endpoints if one.zone == "01"]
    assert [(one.address, one.port) for one in lost] == [("127.255.255.254", 9)]  # discarded, not given away
    assert edge.stream("UDPRoute").clusters() == {MIXED}
    assert edge.conditions("UDPRoute", "route")["ResolvedRefs"] == "False BackendNotFound"


@pytest.mark.parametrize(
    "refs",
    [
        "[{name: db, port: 5432, weight: 3}, {name: more, port: 53, weight: 0}]",
        "[{name: db, port: 5432, weight: 0}, {name: more, port: 53, weight: 0}]",
        "[{name: db, port: 5432}]",
    ],
)
def test_one_backend_needs_no_mixture(refs: str, edge: Any) -> None:
    edge.apply(route("UDPRoute", refs))
    assert MIXED not in edge.outputs.clusters
    assert all(one.cluster != MIXED for one in edge.stream("UDPRoute").backends)


def test_none_of_several_backends(edge: Any) -> None:
    edge.apply(route("UDPRoute", "[{name: gone, port: 1}, {name: lost, port: 1}]"))
    assert edge.stream("UDPRoute").clusters() == frozenset()
    assert len(edge.outputs.clusters) == 0


# --- who has it -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["TCPRoute", "UDPRoute"])
def test_the_oldest_has_the_listener(kind: str, edge: Any) -> None:
    edge.apply(route(kind, name="b", meta=created(1)), route(kind, name="a", meta=created(2)))
    assert edge.stream(kind, "b").age < edge.stream(kind, "a").age
    assert edge.listener(SECTIONS[kind])["attachedRoutes"] == 1
    for name in "ab":
        assert edge.conditions(kind, name)["Accepted"] == "True Accepted"


def test_every_server_name_has_its_route(edge: Any) -> None:
    edge.apply(
        route("TLSRoute", name="a", hosts="[a.example]", meta=created(1)),
        route("TLSRoute", name="b", hosts="[b.example, a.example]", meta=created(2)),
        route("TLSRoute", name="c", hosts="[b.example]", meta=created(3)),
    )
    assert edge.listener("through")["attachedRoutes"] == 2


# --- conditions -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["TCPRoute", "UDPRoute", "TLSRoute"])
@pytest.mark.parametrize(
    ("ref", "reason", "code"),
    [
        ("{name: gone, port: 1}", "BackendNotFound", "DRG2003"),
        ("{name: db, port: 1}", "BackendNotFound", "DRG2004"),
        ("{name: db, namespace: other, port: 1}", "RefNotPermitted", "DRG2006"),
        ("{name: db, kind: Thing, group: a.example}", "InvalidKind", "DRG2005"),
        ("{name: outside, port: 1}", "InvalidKind", "DRG1401"),
    ],
)
def test_references_that_lead_nowhere(kind: str, ref: str, reason: str, code: str, edge: Any) -> None:
    edge.apply(
        "kind: Service\nmetadata: {name: outside}\nspec: {type: ExternalName, externalName: a.example}"
    )
    edge.apply(route(kind, f"[{ref}]", meta=", generation: 6"))
    assert edge.conditions(kind, "route") == {
        "Accepted": "True Accepted",
        "ResolvedRefs": f"False {reason}",
    }
    (parent,) = edge.status(kind, "route")["parents"]
    assert {one["observedGeneration"] for one in parent["conditions"]} == {6}
    assert format_path(edge.finding(code).path).startswith("spec.rules[0].backendRefs[0]")
    assert edge.stream(kind).clusters() == frozenset()
    assert edge.listener(SECTIONS[kind])["attachedRoutes"] == 1


@pytest.mark.parametrize(("kind", "port"), [("TCPRoute", 53), ("UDPRoute", 80), ("TLSRoute", 53)])
def test_ports_that_speak_otherwise(kind: str, port: int, edge: Any) -> None:
    edge.apply(route(kind, f"[{{name: more, port: {port}}}]"))
    assert edge.conditions(kind, "route")["ResolvedRefs"] == "False UnsupportedProtocol"
    spoken = "TCP" if kind == "UDPRoute" else "UDP"
    assert f"speaks {spoken}, which" in edge.finding("DRG1402").message


@pytest.mark.parametrize("kind", ["TCPRoute", "TLSRoute"])
def test_app_protocols_do_not_matter_to_bytes(kind: str, edge: Any) -> None:
    edge.apply("kind: Service\nmetadata: {name: db}\nspec: {ports: [{port: 5432, appProtocol: postgres}]}")
    edge.apply(route(kind))
    assert edge.conditions(kind, "route")["ResolvedRefs"] == "True ResolvedRefs"


def test_every_backend_without_weight(edge: Any) -> None:
    edge.apply(route("TCPRoute", "[{name: db, port: 5432, weight: 0}]"))
    assert edge.finding("DRG1306").label == "its connections are closed"


@pytest.mark.parametrize("kind", ["TCPRoute", "UDPRoute", "TLSRoute"])
@pytest.mark.parametrize(
    ("parents", "reason"),
    [
        ("{name: edge, sectionName: gone}", "NoMatchingParent"),
        ("{name: edge, port: 1}", "NoMatchingParent"),
        ("{name: edge, sectionName: other}", "NotAllowedByListeners"),
    ],
)
def test_parents_that_refuse(kind: str, parents: str, reason: str, edge: Any) -> None:
    other = "\n  - {name: other, port: 80, protocol: HTTP}\n"
    edge.apply(GATEWAY.rstrip() + other, route(kind, parents=parents))
    assert edge.conditions(kind, "route")["Accepted"] == f"False {reason}"
    assert not any(ref.kind == kind for ref, _ in edge.outputs.streams)
    assert edge.listener("other")["attachedRoutes"] == 0


def test_server_names_that_no_listener_has(edge: Any) -> None:
    edge.apply(route("TLSRoute", hosts="[a.org]"))
    assert edge.conditions("TLSRoute", "route")["Accepted"] == "False NoMatchingListenerHostname"
    edge.apply(route("TLSRoute", hosts="[a.org, b.example]"))
    assert edge.conditions("TLSRoute", "route")["Accepted"] == "True Accepted"
    assert edge.stream("TLSRoute").attachments[0].hostnames == ("b.example",)


def test_kinds_of_listeners(edge: Any) -> None:
    kinds = {
        name: [k["kind"] for k in edge.listener(name)["supportedKinds"]] for name in ("tcp", "udp", "ended")
    }
    assert kinds == {"tcp": ["TCPRoute"], "udp": ["UDPRoute"], "ended": ["TLSRoute"]}


# --- decoding ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kind: TCPRoute\nmetadata: {name: r}\nspec: {rules: []}", "DRG1107 spec.rules"),
        (
            "kind: TCPRoute\nmetadata: {name: r}\nspec: {rules: [{backendRefs: []}]}",
            "DRG1107 spec.rules[0].backendRefs",
        ),
        ("kind: TCPRoute\nmetadata: {name: r}\nspec: {}", "DRG1102 spec"),
        (route("TCPRoute", "[{name: db}]"), "DRG1102 spec.rules[0].backendRefs[0]"),
        (route("TLSRoute", hosts="[]"), "DRG1107 spec.hostnames"),
        (route("TLSRoute", hosts="[10.0.0.1]"), "DRG1103 spec.hostnames[0]"),
        (route("UDPRoute", parents="{name: edge}, {name: edge}"), "DRG1108 spec.parentRefs[1]"),
        (
            route("UDPRoute").removesuffix("]}") + ", {backendRefs: [{name: a, port: 1}]}]}",
            "DRG1107 spec.rules",
        ),
    ],
)
def test_what_is_refused(text: str, expected: str, documents: Any) -> None:
    (document,) = documents(text)
    found = decode.decode(document)
    assert [f"{one.code} {format_path(one.path)}" for one in found.diagnostics] == [expected]
    assert found.object is None


@pytest.mark.parametrize(
    ("kind", "version"),
    [("TLSRoute", "v1alpha2"), ("TLSRoute", "v1alpha3"), ("TCPRoute", "v1alpha2"), ("UDPRoute", "v1alpha2")],
)
def test_older_versions(kind: str, version: str, documents: Any) -> None:
    text = f"apiVersion: gateway.networking.k8s.io/{version}\n{route(kind)}"
    (document,) = documents(text)
    assert decode.decode(document).diagnostics == ()


# --- what runs again --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["TCPRoute", "UDPRoute", "TLSRoute"])
def test_an_endpoint_touches_no_route(kind: str, edge: Any) -> None:
    edge.apply(*(route(kind, name=f"r{n}") for n in range(9)))
    before = edge.runs()
    edge.apply(
        """
kind: EndpointSlice
metadata: {name: db-1, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
ports: [{name: t, port: 1}, {name: u, port: 2, protocol: UDP}]
endpoints: [{addresses: [10.0.0.9]}]
"""
    )
    ran = {name for name, runs in edge.runs().items() if runs != before[name]}
    assert "endpoints" in ran
    assert ran <= {"endpoints", "slices", "EndpointSlice findings", "undescribed"}


def test_one_route_touches_itself(edge: Any) -> None:
    edge.apply(*(route("TLSRoute", name=f"r{n}", hosts=f"[h{n}.example]") for n in range(9)))
    before = edge.runs()
    edge.apply(route("TLSRoute", "[{name: more, port: 80}]", name="r3", hosts="[h3.example]"))
    ran = {name: runs - before[name] for name, runs in edge.runs().items() if runs != before[name]}
    assert ran["TLSRoute targets"] == ran["TLSRoute status"] == 1
    assert not {"Gateway reports", "Gateway status", "TLSRoutes of listeners"} & set(ran)


def test_early_routes_without_host_names(edge: Any) -> None:
    """v1alpha2 let them be left out: whatever the listener serves."""
    text = route("TLSRoute").replace("hostnames: [a.example], ", "")
    edge.apply(f"apiVersion: gateway.networking.k8s.io/v1alpha2\n{text}")
    assert edge.conditions("TLSRoute", "route")["Accepted"] == "True Accepted"
    (attachment,) = edge.stream("TLSRoute").attachments
    assert attachment.hostnames == ("*.example",)
    edge.apply(text.replace("name: route", "name: late"))
    (finding,) = edge.rejected[edge.ref("TLSRoute", "late")]
    assert (finding.code, format_path(finding.path)) == ("DRG1102", "spec")
