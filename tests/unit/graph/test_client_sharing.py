"""Listeners that share something in Envoy: whose settings hold, who is told, and what a change reaches."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman import resource
from dragoman.document import Document
from dragoman.graph.pipeline import Pipeline
from dragoman.ir import model as ir
from dragoman.refs import Ref
from dragoman.sources.base import Update
from tests.harness import certs, manifests

Body = dict[str, Any]
PAIR = certs.Authority().issue("a.example")


def document(body: Body) -> Document:
    group = body["apiVersion"].rpartition("/")[0]
    about = body["metadata"]
    return Document(Ref(group, body["kind"], about.get("namespace", ""), about["name"]), body)


def policy(spec: Body, section: str = "", gateway: str = "edge", kind: str = "ClientPolicy") -> Body:
    target = {"kind": "Gateway", "name": gateway, **({"sectionName": section} if section else {})}
    return {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": f"{gateway}-{section or 'all'}", "namespace": "shop"},
        "spec": {"targetRefs": [target], **spec},
    }


def gateway(name: str, *listeners: Body, created: str) -> Body:
    body = manifests.gateway(*listeners, name=name)
    body["metadata"]["creationTimestamp"] = created
    return body


def plain(name: str, port: int = 80) -> Body:
    return manifests.listener(name, port, hostname=f"{name}.example")


def secure(name: str, port: int = 443) -> Body:
    host = f"{name}.example"
    return manifests.listener(name, port, protocol="HTTPS", hostname=host, secret="cert")


def world(*objects: Body) -> Pipeline:
    made = Pipeline()
    common = [manifests.gateway_class(), manifests.tls_secret("cert", PAIR.certificate, PAIR.key)]
    made.load(map(document, [*common, *objects]))
    made.activate("*")
    return made


def settings(made: Pipeline, host: str = "") -> ir.ClientSettings:
    """Of the filter chain of a host name, "" for plain HTTP on port 80."""
    port = 443 if host else 80
    (listener,) = (one for bind, one in made.view().listeners.items() if bind[1:] == (port, False))
    (chain,) = (one for one in listener.chains if one.hostname == host)
    return chain.client


def told(made: Pipeline) -> list[tuple[str, str, str]]:
    """Code, policy and field of every diagnostic."""
    return [
        (one.code, one.ref.name if one.ref else "", ".".join(map(str, one.path)))
        for one in made.diagnostics()
    ]


SMALL: Body = {"headers": {"maxBytes": 2048}}
EDGE = gateway("edge", plain("a"), plain("b"), created="2026-01-01T00:00:00Z")
YOUNG = gateway("young", plain("c"), created="2027-01-01T00:00:00Z")


def test_a_gateways_policy_holds_for_all_of_its_listeners() -> None:
    made = world(EDGE, policy(SMALL))
    assert settings(made).http.header_bytes == 2048
    assert told(made) == []


def test_the_first_listener_decides_and_others_are_told() -> None:
    made = world(EDGE, policy(SMALL, "b"))
    assert settings(made).http.header_bytes is None
    assert told(made) == [("DRG3902", "edge-b", "spec.headers.maxBytes")]
    (status,) = made.statuses()[document(policy(SMALL, "b")).ref].body["ancestors"]
    conditions = {one["type"]: (one["status"], one["reason"]) for one in status["conditions"]}
    assert conditions == {"Accepted": ("True", "Accepted"), "Overridden": ("True", "SharedPort")}


def test_a_policy_is_told_whom_else_it_holds_for() -> None:
    made = world(EDGE, policy(SMALL, "a"))
    assert settings(made).http.header_bytes == 2048
    (found,) = made.diagnostics()
    assert "`b` of Gateway shop/edge as well" in found.message
    assert (found.ref and found.ref.name) == "edge-a"


def test_listeners_that_agree_are_told_nothing() -> None:
    made = world(EDGE, YOUNG, policy(SMALL), policy(SMALL, gateway="young"))
    assert settings(made).http.header_bytes == 2048
    assert told(made) == []


def test_the_older_gateway_decides() -> None:
    made = world(EDGE, YOUNG, policy({"timeouts": {"idle": "5s"}}, gateway="young"))
    assert settings(made).http.idle == 3600.0
    assert told(made) == [("DRG3902", "young-all", "spec.timeouts.idle")]


def test_a_port_of_its_own_is_a_way_out() -> None:
    apart = gateway("edge", plain("a"), plain("b", 81), created="2026-01-01T00:00:00Z")
    assert told(world(apart, policy(SMALL, "b"))) == []


def test_hosts_with_tls_are_told_apart_but_not_before_their_port() -> None:
    edge = gateway("edge", secure("a"), secure("b"), created="2026-01-01T00:00:00Z")
    proxied = {**SMALL, "proxyProtocol": {"enabled": True}}
    made = world(edge, policy(proxied, "b"))
    assert settings(made, "a.example").http.header_bytes is None
    assert settings(made, "b.example").http.header_bytes == 2048
    assert told(made) == [("DRG3902", "edge-b", "spec.proxyProtocol.enabled")]
    (listener,) = made.view().listeners.values()
    assert listener.settings == ir.DEFAULT_CLIENTS.port


def test_gateways_that_share_a_host_name_share_its_chain() -> None:
    made = world(
        gateway("edge", secure("a"), created="2026-01-01T00:00:00Z"),
        gateway("young", secure("a"), created="2027-01-01T00:00:00Z"),
        policy({"tls": {"minVersion": "TLSv1.3"}}, gateway="young"),
    )
    assert told(made) == [("DRG3902", "young-all", "spec.tls.minVersion")]


def test_many_listeners_are_told_of_in_one_sentence() -> None:
    names = [f"l{number:03}" for number in range(50)]
    edge = gateway("edge", *map(plain, names), created="2026-01-01T00:00:00Z")
    (found,) = world(edge, policy(SMALL, "l000")).diagnostics()
    assert found.message.count("of Gateway shop/edge") == 3
    assert "and 46 more" in found.message


def test_http3_is_a_second_listener_with_the_same_table() -> None:
    edge = gateway("edge", secure("a"), secure("b"), created="2026-01-01T00:00:00Z")
    made = world(edge, policy({"http3": {"enabled": True}}, "a"))
    listeners = made.view().listeners
    (quic,) = (one for bind, one in listeners.items() if bind.udp)
    assert [(chain.hostname, chain.quic) for chain in quic.chains] == [("a.example", True)]
    assert quic.chains[0].scope == next(
        chain.scope
        for bind, one in listeners.items()
        if not bind.udp
        for chain in one.chains
        if chain.hostname[0] == "a"
    )
    names = made.snapshot().resources(resource.LISTENER)
    assert set(names) == {"127.0.0.1:443", "127.0.0.1:443/udp"}


def test_a_listener_for_datagrams_keeps_its_port() -> None:
    udp = manifests.listener("datagrams", 443, protocol="UDP")
    edge = gateway("edge", secure("a"), udp, created="2026-01-01T00:00:00Z")
    made = world(edge, policy({"http3": {"enabled": True}}))
    (chains,) = (one.chains for bind, one in made.view().listeners.items() if bind.udp)
    assert [chain.quic for chain in chains] == [False]
    assert told(made) == [("DRG1652", "edge-all", "spec.http3.enabled")]
    tables = made.snapshot().resources(resource.ROUTE)
    assert not any(b"alt-svc" in one.payload for one in tables.values())


@pytest.mark.parametrize(
    "other",
    [
        policy({"timeouts": {"request": "5s"}}, kind="TrafficPolicy"),
        policy(SMALL, gateway="elsewhere"),
        policy({"headers": {"maxBytes": 4096}}, "b"),
    ],
)
def test_an_unrelated_policy_changes_no_byte_of_a_listener(other: Body) -> None:
    """Of another kind; for another Gateway; for another host of the same port (whose chain it changes)."""
    edge = gateway("edge", secure("a"), secure("b"), created="2026-01-01T00:00:00Z")
    made = world(edge, policy(SMALL, "a"))
    before = made.view().listeners, made.snapshot().resources(resource.LISTENER)
    made.apply(Update(upserts=(document(other),)))
    made.commit()
    after = made.view().listeners, made.snapshot().resources(resource.LISTENER)
    if other["spec"]["targetRefs"][0].get("sectionName") == "b":
        (bind,) = before[0]
        assert before[0][bind].chains[0] == after[0][bind].chains[0]
        assert before[0][bind].chains[1] != after[0][bind].chains[1]
    else:
        assert {name: one.version for name, one in before[1].items()} == {
            name: one.version for name, one in after[1].items()
        }
        assert [one.payload for one in before[1].values()] == [one.payload for one in after[1].values()]
