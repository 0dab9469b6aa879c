"""Connections through the pipeline: which resources a change reaches, and which certificate backends see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from dragoman import resource
from dragoman.document import Document
from dragoman.graph.pipeline import Pipeline
from dragoman.refs import Ref
from dragoman.resource import Resource
from dragoman.sources.base import Update
from tests.harness import certs, manifests

Body = dict[str, Any]
PAIR = certs.Authority().issue("a.test")
KINDS = {"TCPRoute": "tcp", "UDPRoute": "udp", "TLSRoute": "through"}


def document(body: Body) -> Document:
    meta = body["metadata"]
    group = body["apiVersion"].rpartition("/")[0]
    return Document(Ref(group, body["kind"], meta.get("namespace", ""), meta["name"]), body)


def route(kind: str, *backends: str, name: str = "route", section: str = "") -> Body:
    spec: Body = {
        "parentRefs": [{"name": "edge", "sectionName": section or KINDS[kind]}],
        "rules": [{"backendRefs": [{"name": each, "port": 80} for each in backends]}],
    }
    if kind == "TLSRoute":
        spec["hostnames"] = ["a.test"]
    about = {"name": name, "namespace": "shop"}
    return {"apiVersion": manifests.GATEWAY_API, "kind": kind, "metadata": about, "spec": spec}


def service(name: str) -> Body:
    body = manifests.service(name)
    body["spec"]["ports"].append({"name": "udp", "port": 80, "protocol": "UDP"})
    return body


def endpoints(name: str, address: str) -> Body:
    body = manifests.endpoint_slice(name, 8080, manifests.endpoint(address))
    body["ports"].append({"name": "udp", "port": 80, "protocol": "UDP"})
    return body


def gateway() -> Body:
    through, ended = (manifests.listener(name, 443, protocol="TLS") for name in ("through", "ended"))
    through |= {"tls": {"mode": "Passthrough"}, "hostname": "a.test"}
    ended |= {"tls": {"mode": "Terminate", "certificateRefs": [{"name": "cert"}]}, "hostname": "b.test"}
    tcp, udp = manifests.listener("tcp", 81, protocol="TCP"), manifests.listener("udp", 81, protocol="UDP")
    return manifests.gateway(through, ended, tcp, udp)


class Told:
    """A pipeline, and the names that the group's followers were told of by the last change."""

    def __init__(self, *bodies: Body) -> None:
        self.pipeline = Pipeline()
        self.pipeline.load([document(body) for body in bodies])
        self._changed: set[tuple[str, str]] = set()
        self.pipeline.activate("*").subscribe(self._follow)

    def put(self, *bodies: Body) -> set[tuple[str, str]]:
        self._changed = set()
        self.pipeline.apply(Update(upserts=tuple(map(document, bodies))))
        self.pipeline.commit()
        return self._changed

    def _follow(self, changes: Mapping[str, Mapping[str, Resource | None]]) -> None:
        for url, named in changes.items():
            self._changed |= {(resource.SHORT[url], name) for name in named}

    def clusters(self) -> set[str]:
        return set(self.pipeline.snapshot().resources(resource.CLUSTER))


WORLD = [
    manifests.gateway_class(),
    manifests.tls_secret("cert", PAIR.certificate, PAIR.key),
    *(service(name) for name in "ab"),
    *(endpoints(name, "10.0.0.1") for name in "ab"),
]


@pytest.mark.parametrize(
    ("kind", "backends", "changed"),
    [
        ("TCPRoute", "a", {"Service/shop/a/80"}),
        ("TLSRoute", "ab", {"Service/shop/a/80"}),
        ("UDPRoute", "a", {"Service/shop/a/80/udp"}),
        ("UDPRoute", "ab", {"UDPRoute/shop/route//udp"}),
    ],
)
def test_endpoints_touch_no_listener(kind: str, backends: str, changed: set[str]) -> None:
    told = Told(*WORLD, gateway(), route(kind, *backends))
    assert told.put(endpoints("a", "10.0.0.9")) == {("EDS", name) for name in changed}


def test_a_route_touches_its_own_listener() -> None:
    told = Told(*WORLD, gateway(), *(route(kind, "a") for kind in KINDS))
    assert told.put(route("TCPRoute", "b")) == {
        ("LDS", "127.0.0.1:81"),
        ("CDS", "Service/shop/a/80/tcp"),
        ("CDS", "Service/shop/b/80/tcp"),
        ("EDS", "Service/shop/b/80"),
    }


def test_the_oldest_gives_way_when_it_goes() -> None:
    told = Told(*WORLD, gateway(), route("TCPRoute", "a", name="a"), route("TCPRoute", "b", name="b"))
    (listener,) = (
        each for each in told.pipeline.view().listeners.values() if each.bind == ("127.0.0.1", 81, False)
    )
    assert listener.chains[0].stream is not None
    assert listener.chains[0].stream.name == "TCPRoute shop/a"
    told.pipeline.apply(Update(deletes=(document(route("TCPRoute", name="a")).ref,)))
    told.pipeline.commit()
    (listener,) = (
        each for each in told.pipeline.view().listeners.values() if each.bind == ("127.0.0.1", 81, False)
    )
    assert listener.chains[0].stream is not None
    assert listener.chains[0].stream.name == "TCPRoute shop/b"


def certified() -> Body:
    body = gateway()
    body["spec"]["tls"] = {"backend": {"clientCertificateRef": {"name": "cert"}}}
    return body


POLICY = {
    "apiVersion": manifests.GATEWAY_API,
    "kind": "BackendTLSPolicy",
    "metadata": {"name": "policy", "namespace": "shop"},
    "spec": {
        "targetRefs": [{"group": "", "kind": "Service", "name": "a"}],
        "validation": {"hostname": "a.test", "wellKnownCACertificates": "System"},
    },
}
IDENTITY = "Secret%2Fshop%2Fcert"


@pytest.mark.parametrize(
    ("kind", "section", "names"),
    [
        ("TCPRoute", "tcp", {f"Service/shop/a/80/tcp/{IDENTITY}", "Service/shop/b/80/tcp"}),
        ("TLSRoute", "through", {"Service/shop/a/80/tls", "Service/shop/b/80/tls"}),
    ],
)
def test_the_gateways_certificate_is_shown_inside_tls(kind: str, section: str, names: set[str]) -> None:
    told = Told(*WORLD, certified(), POLICY, route(kind, "a", "b", section=section))
    assert told.clusters() == names
    assert told.pipeline.snapshot().inconsistencies() == ()


def test_a_backends_own_certificate_needs_no_second_cluster() -> None:
    backend = {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "Backend",
        "metadata": {"name": "out", "namespace": "shop"},
        "spec": {
            "endpoints": [{"hostname": "out.test", "port": 443}],
            "tls": {"clientCertificateRef": {"name": "cert"}},
        },
    }
    made = route("TCPRoute")
    made["spec"]["rules"] = [{"backendRefs": [{"group": "dragoman.dev", "kind": "Backend", "name": "out"}]}]
    assert Told(*WORLD, certified(), backend, made).clusters() == {"Backend/shop/out//tcp"}


def test_none_of_several_backends_is_there() -> None:
    told = Told(*WORLD, gateway(), route("UDPRoute", "x", "y"))
    assert told.clusters() == set()
    assert told.pipeline.snapshot().inconsistencies() == ()
