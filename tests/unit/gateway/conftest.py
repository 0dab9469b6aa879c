"""A small world of objects, filled from YAML, with this translator's part of the graph over it."""

from __future__ import annotations

import base64
import datetime
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from dragoman.diagnostics import Diagnostic
from dragoman.document import Document
from dragoman.graph.collection import Graph
from dragoman.ir import model as ir
from dragoman.refs import Ref, format_path
from dragoman.translators import base
from dragoman.translators.gateway import Translator
from tests.harness import manifests

GATEWAY = "gateway.networking.k8s.io"
VERSIONS = {
    "GatewayClass": f"{GATEWAY}/v1",
    "Gateway": f"{GATEWAY}/v1",
    **dict.fromkeys(("HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute"), f"{GATEWAY}/v1"),
    **dict.fromkeys(("ListenerSet", "BackendTLSPolicy"), f"{GATEWAY}/v1"),
    "ReferenceGrant": f"{GATEWAY}/v1beta1",
    "EndpointSlice": "discovery.k8s.io/v1",
    **dict.fromkeys(
        ("Backend", "TrafficPolicy", "HTTPPolicy", "ClientPolicy", "AuthPolicy", "RateLimitPolicy"),
        "dragoman.dev/v1alpha1",
    ),
    "Consumer": "dragoman.dev/v1alpha1",
    "Rollout": "dragoman.dev/v1alpha1",
}
CLUSTER_SCOPED = ("GatewayClass", "Namespace")


def documents(text: str) -> Iterator[Document]:
    """YAML documents; apiVersion is filled in where it is left out, namespace `default`."""
    for body in manifests.load(text):
        if body is None:
            continue
        kind = body["kind"]
        version = body.setdefault("apiVersion", VERSIONS.get(kind, "v1"))
        about = body["metadata"]
        namespace = "" if kind in CLUSTER_SCOPED else about.get("namespace", "default")
        group = version.rpartition("/")[0]
        yield Document(Ref(group, kind, namespace, about["name"]), body)


class World:
    """Objects in, outputs out. What does not decode leaves what was there; other kinds are skipped."""

    def __init__(self, **settings: Any) -> None:
        self.translator = Translator(**settings)
        self.graph = Graph()
        self.objects = {kind: self.graph.source(kind[1]) for kind in self.translator.kinds}
        self.outputs: base.Outputs = self.translator.build(self.graph, self.objects)
        self.rejected: dict[Ref, tuple[Diagnostic, ...]] = {}

    def apply(self, *texts: str) -> World:
        for text in texts:
            for document in documents(text):
                if (document.ref.group, document.ref.kind) in self.objects:
                    self.put(document)
        self.graph.commit()
        return self

    def put(self, document: Document) -> None:
        ref = document.ref
        decoded = self.translator.decode(document)
        self.rejected[ref] = decoded.diagnostics
        found = decoded.object or decoded.fallback
        if found is not None:
            self.objects[ref.group, ref.kind].put(ref, found)

    def remove(self, kind: str, name: str, namespace: str = "default") -> World:
        ref = self.ref(kind, name, namespace)
        self.objects[ref.group, ref.kind].remove(ref)
        self.graph.commit()
        return self

    def ref(self, kind: str, name: str, namespace: str = "default") -> Ref:
        group = VERSIONS.get(kind, "v1").rpartition("/")[0]
        return Ref(group, kind, "" if kind in CLUSTER_SCOPED else namespace, name)

    # --- looking -----------------------------------------------------------------------------------------

    def routes(self, name: str = "route", namespace: str = "default", kind: str = "HTTPRoute") -> ir.RouteSet:
        found = self.outputs.routes.get(self.ref(kind, name, namespace))
        assert found is not None, f"no routes; findings: {self.findings()}"
        return found

    def stream(self, kind: str, name: str = "route", how: str | None = None) -> ir.StreamRoute:
        """What a TLSRoute, TCPRoute or UDPRoute gives; `how` where there are several ways."""
        ref = self.ref(kind, name)
        found = [one for key, one in self.outputs.streams.items() if key[0] == ref and how in (None, key[1])]
        assert len(found) == 1, (found, self.findings())
        return found[0]

    def action(self, name: str = "route", index: int = 0) -> Any:
        return self.routes(name).routes[index].action

    def gateway(self, name: str = "edge", namespace: str = "default") -> ir.Gateway | None:
        return self.outputs.gateways.get(self.ref("Gateway", name, namespace))

    def status(self, kind: str, name: str, namespace: str = "default") -> dict[str, Any]:
        found = self.outputs.statuses.get(self.ref(kind, name, namespace))
        assert found is not None
        return dict(found.body)

    def conditions(self, kind: str, name: str, namespace: str = "default", at: int = 0) -> dict[str, str]:
        """Type -> `True Reason`; of a route, those of its parent number `at`."""
        body = self.status(kind, name, namespace)
        return spoken(body["parents"][at] if "parents" in body else body)

    def listener(self, name: str, gateway: str = "edge", kind: str = "Gateway") -> dict[str, Any]:
        listeners = self.status(kind, gateway)["listeners"]
        return next(one for one in listeners if one["name"] == name)

    def runs(self) -> dict[str, int]:
        """Collection's name -> how often its transform ran."""
        return {one.name: getattr(one, "runs", 0) for one in self.graph.collections}

    def findings(self) -> list[str]:
        """`CODE path` of everything that translation found, sorted."""
        found = [d for each in self.outputs.diagnostics.values() for d in each]
        return sorted(f"{d.code} {format_path(d.path)}" for d in found)

    def finding(self, code: str) -> Diagnostic:
        found = [d for each in self.outputs.diagnostics.values() for d in each if d.code == code]
        assert len(found) == 1, self.findings()
        return found[0]


def spoken(body: dict[str, Any]) -> dict[str, str]:
    """A body's conditions as type -> `True Reason`."""
    return {one["type"]: f"{one['status']} {one['reason']}" for one in body["conditions"]}


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(scope="session")
def issue() -> Any:
    """Makes a self-signed certificate and its key: `issue("shop.example")` -> (certificate, key) in PEM."""
    made: dict[str, tuple[bytes, bytes]] = {}

    def one(name: str) -> tuple[bytes, bytes]:
        if name not in made:
            key = ec.generate_private_key(ec.SECP256R1())
            subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
            start = datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC)
            certificate = (
                x509.CertificateBuilder()
                .subject_name(subject)
                .issuer_name(subject)
                .public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(start)
                .not_valid_after(start + datetime.timedelta(days=3650))
                .sign(key, hashes.SHA256())
            )
            made[name] = (
                certificate.public_bytes(serialization.Encoding.PEM),
                key.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                ),
            )
        return made[name]

    return one


@pytest.fixture(scope="session")
def tls_secret(issue: Any) -> Any:
    """YAML of a Secret with a certificate: `tls_secret("cert", "shop.example")`."""

    def make(name: str, host: str, namespace: str = "default", type: str = "kubernetes.io/tls") -> str:
        certificate, key = issue(host)
        body = {
            "kind": "Secret",
            "metadata": {"name": name, "namespace": namespace},
            "type": type,
            "data": {
                "tls.crt": base64.b64encode(certificate).decode(),
                "tls.key": base64.b64encode(key).decode(),
            },
        }
        return yaml.safe_dump(body)

    return make


EDGE = """
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: dragoman
  listeners:
  - {name: http, port: 80, protocol: HTTP}
"""
SHOP = """
kind: Service
metadata: {name: shop}
spec: {ports: [{name: http, port: 8080, targetPort: 3000}]}
---
kind: EndpointSlice
metadata: {name: shop-1, labels: {kubernetes.io/service-name: shop}}
addressType: IPv4
ports: [{name: http, port: 3000}]
endpoints: [{addresses: [10.0.0.1]}]
"""


@pytest.fixture
def shop(world: World) -> World:
    """A world with a Gateway `edge` on port 80 and a Service `shop` on 8080."""
    return world.apply(EDGE, SHOP)


def route(rules: str = "", *, name: str = "route", head: str = "") -> str:
    """YAML of an HTTPRoute on `edge`; `rules` are the lines below `rules:`, `head` further lines of spec."""
    lines = [
        "kind: HTTPRoute",
        f"metadata: {{name: {name}}}",
        "spec:",
        "  parentRefs: [{name: edge}]",
        *(f"  {line}" for line in head.splitlines() if line.strip()),
        "  rules:",
        *(f"  {line}" for line in (rules or "- backendRefs: [{name: shop, port: 8080}]").splitlines()),
    ]
    return "\n".join(lines)


@pytest.fixture
def http_route() -> Any:
    return route


@pytest.fixture(name="documents")
def documents_of() -> Any:
    return documents


@pytest.fixture
def new_world() -> Any:
    return World
