"""Listeners whose TLS hosts have filter chains of their own (`gateways.discovered_chains`)."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from dragoman import config, proto, resource
from dragoman.document import Document
from dragoman.envoy import dump, static
from dragoman.graph.pipeline import Pipeline
from dragoman.proto.envoy.config.listener import v3 as listeners
from dragoman.refs import Ref
from dragoman.xds.snapshot import Snapshot
from tests.envoy.client_site import client_policy
from tests.harness import manifests
from tests.harness.certs import Authority

AUTHORITY = Authority()
PAIRS = [AUTHORITY.issue("*.shop.example") for _ in range(2)]
NAMES = ("a.shop.example", "b.shop.example", "*.shop.example", None)
PORT = "127.0.0.1:8443"


def world(on: bool = True) -> Pipeline:
    found: list[dict[str, Any]] = [
        manifests.listener(f"l{at}", 8443, protocol="HTTPS", hostname=name, secret=f"c{at}")
        for at, name in enumerate(NAMES)
    ]
    made = Pipeline(config.Settings(gateways=config.Gateways(discovered_chains=on)))
    bodies = [manifests.gateway_class(), manifests.gateway(manifests.listener("http", 8080), *found)]
    bodies += [secret(at) for at in range(len(NAMES))]
    made.load([_document(body) for body in bodies])
    return made


def secret(at: int, pair: int = 0) -> dict[str, Any]:
    return manifests.tls_secret(f"c{at}", PAIRS[pair].certificate, PAIRS[pair].key)


def _document(body: dict[str, Any]) -> Document:
    body = yaml.safe_load(manifests.dump([body]))
    group = body["apiVersion"].rpartition("/")[0]
    about = body["metadata"]
    namespace = "" if body["kind"] == "GatewayClass" else about.get("namespace", "shop")
    return Document(Ref(group, body["kind"], namespace, about["name"]), body)


def taken(made: Pipeline) -> Snapshot:
    return made.snapshot("shop/edge")


def test_each_host_has_a_chain_and_the_listener_their_names() -> None:
    found = taken(world())
    chains = {f"{PORT}/{name or '*'}" for name in NAMES}
    assert set(found.resources(resource.CHAIN)) == chains
    assert all(one.sensitive for one in found.resources(resource.CHAIN).values())
    one = found.get(resource.LISTENER, PORT)
    assert one is not None
    assert set(one.refers(resource.CHAIN)) == chains
    listener = listeners.Listener.FromString(one.payload)
    assert [chain.name for chain in listener.filter_chains] == ["closed"]
    text = json.dumps(proto.to_dict(listener))
    assert all(f'"value": "{name}"' in text for name in chains)
    assert found.inconsistencies() == ()


def test_chains_are_whole_messages_with_their_key_which_nobody_is_shown() -> None:
    one = taken(world()).get(resource.CHAIN, f"{PORT}/a.shop.example")
    assert one is not None
    made = proto.to_dict(listeners.FilterChain.FromString(one.payload))
    (manager,) = made["filters"]
    assert manager["typed_config"]["rds"]["route_config_name"] == f"{PORT}/a.shop.example"
    common = made["transport_socket"]["typed_config"]["common_tls_context"]
    assert "inline_bytes" in common["tls_certificates"][0]["private_key"]
    shown = dump.to_dict(one)["transport_socket"]["typed_config"]["common_tls_context"]
    assert shown["tls_certificates"][0]["private_key"] == "[redacted]"


def test_a_renewed_certificate_changes_its_own_chain_and_no_listener() -> None:
    made = world()
    before = taken(made)
    made.load([_document(secret(1, pair=1))])
    after = taken(made)
    changed = {
        (kind, name)
        for kind in (resource.CHAIN, resource.LISTENER, resource.WHOLE)
        for name, one in after.resources(kind).items()
        if one != before.get(kind, name)
    }
    assert changed == {(resource.CHAIN, f"{PORT}/b.shop.example")}


def test_who_cannot_fetch_chains_has_the_same_as_without_the_setting() -> None:
    without, found = taken(world(on=False)), taken(world())
    assert without.resources(resource.CHAIN) == without.resources(resource.WHOLE) == {}
    one, other = found.get(resource.WHOLE, PORT), without.get(resource.LISTENER, PORT)
    assert one is not None
    assert other is not None
    assert (one.payload, one.version) == (other.payload, other.version)
    plain = "127.0.0.1:8080"
    assert found.get(resource.LISTENER, plain) == without.get(resource.LISTENER, plain)
    assert found.get(resource.WHOLE, plain) is None


def test_http3_is_as_it_was() -> None:
    policy = client_policy({"http3": {"enabled": True}})
    found = []
    for on in (True, False):
        made = world(on)
        made.load([_document(policy)])
        found.append(taken(made))
    one, other = (each.get(resource.LISTENER, f"{PORT}/udp") for each in found)
    assert one is not None
    assert one == other
    assert found[0].get(resource.WHOLE, f"{PORT}/udp") is None
    assert found[0].inconsistencies() == ()


@pytest.mark.parametrize("on", [True, False])
def test_a_static_bootstrap_has_everything_in_it(on: bool) -> None:
    made = static.bootstrap(taken(world(on)))
    (tls,) = [each for each in made.static_resources.listeners if each.name == PORT]
    assert len(tls.filter_chains) == len(NAMES)
