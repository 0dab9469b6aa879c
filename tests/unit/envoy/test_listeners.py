"""Listeners: chains by server name, the connection manager, what they refer to."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dragoman import proto, resource
from dragoman.envoy import listeners
from dragoman.envoy.scoping import Cut
from dragoman.ir import client, model as ir
from dragoman.proto.envoy.config.core import v3 as core
from dragoman.proto.envoy.config.listener import v3 as listener_proto
from dragoman.refs import Ref
from tests.unit.envoy.build import BIND, PLAIN, secret

TLS = ir.TlsTermination((secret("rsa"), secret("ecdsa")))


def decode(made: resource.Resource) -> dict[str, Any]:
    return proto.to_dict(listener_proto.Listener.FromString(made.payload))


def chain(hostname: str) -> ir.FilterChain:
    return ir.FilterChain(hostname, TLS, ir.Scope(BIND, hostname or "*"))


def test_plain_http() -> None:
    made = listeners.encode(ir.Listener(BIND, (ir.FilterChain("", None, PLAIN),)))
    shown = decode(made)
    assert made.name == shown["name"] == "127.0.0.1:8080"
    assert "listener_filters" not in shown
    (only,) = shown["filter_chains"]
    assert "filter_chain_match" not in only
    manager = only["filters"][0]["typed_config"]
    assert manager["rds"] == {
        "route_config_name": "127.0.0.1:8080",
        "config_source": {"ads": {}, "resource_api_version": "V3"},
    }
    assert [(each["name"], each.get("disabled", False)) for each in manager["http_filters"]] == [
        ("dragoman.rollout", True),
        ("envoy.filters.http.cors", True),
        ("envoy.filters.http.custom_response", True),
        ("dragoman.http.client_address", True),
        ("dragoman.http.maintenance", True),
        ("dragoman.http.bodies", True),
        ("envoy.filters.http.csrf", True),
        ("dragoman.identity", False),
        ("envoy.filters.http.oauth2", True),
        ("envoy.filters.http.jwt_authn", True),
        ("dragoman.claims", True),
        ("envoy.filters.http.basic_auth", True),
        ("dragoman.basic_optional", True),
        ("dragoman.basic_user", True),
        ("dragoman.credentials.held", True),
        ("dragoman.credentials", True),
        ("envoy.filters.http.api_key_auth", True),
        ("dragoman.spared", True),
        ("dragoman.lookups", True),
        ("dragoman.lookups_open", True),
        ("dragoman.tokens", True),
        ("dragoman.credentials.looked_up", True),
        ("dragoman.consumers", True),
        ("dragoman.credentials.taken", True),
        ("dragoman.clients", True),
        ("dragoman.client_headers", True),
        ("dragoman.methods", True),
        ("dragoman.spent", True),
        ("envoy.filters.http.ext_authz", True),
        ("dragoman.ext_authz_open", True),
        ("envoy.filters.http.rbac", True),
        ("dragoman.cases", True),
        ("envoy.filters.http.header_to_metadata", True),
        ("dragoman.local.drafts", True),
        ("dragoman.local.denials", True),
        ("envoy.filters.http.local_ratelimit", True),
        ("dragoman.quota.keys", True),
        *((f"dragoman.quota.{slot}", True) for slot in (0, 1)),
        ("dragoman.quota.done", True),
        ("dragoman.ratelimit.open", True),
        ("dragoman.ratelimit.closed", True),
        ("dragoman.ratelimit.open.queue", True),
        ("dragoman.ratelimit.closed.queue", True),
        ("dragoman.ratelimit.own", True),
        ("dragoman.counted", True),
        ("dragoman.cache", True),
        ("envoy.filters.http.header_mutation", True),
        ("dragoman.http.query_parameters", True),
        ("dragoman.fallback", True),
        ("envoy.filters.http.stateful_session", True),
        ("envoy.filters.http.fault", True),
        ("envoy.filters.http.router", False),
    ]
    assert manager["use_remote_address"] is True
    assert manager["normalize_path"] is True
    assert set(made.refers(resource.ROUTE)) == {"127.0.0.1:8080"}
    assert not made.refers(resource.SECRET)


def test_tls_by_server_name() -> None:
    made = listeners.encode(ir.Listener(BIND, (chain("*.shop.example"), chain(""), chain("shop.example"))))
    shown = decode(made)
    assert shown["listener_filters"][0]["name"] == "envoy.filters.listener.tls_inspector"
    assert [each["filter_chain_match"] for each in shown["filter_chains"]] == [
        {"transport_protocol": "tls"},
        {"transport_protocol": "tls", "server_names": ["*.shop.example"]},
        {"transport_protocol": "tls", "server_names": ["shop.example"]},
    ]
    assert len({each["name"] for each in shown["filter_chains"]}) == 3
    common = shown["filter_chains"][0]["transport_socket"]["typed_config"]["common_tls_context"]
    assert [each["name"] for each in common["tls_certificate_sds_secret_configs"]] == [
        "Secret/shop/rsa/tls",
        "Secret/shop/ecdsa/tls",
    ]
    assert common["alpn_protocols"] == ["h2", "http/1.1"]
    assert set(made.refers(resource.SECRET)) == {"Secret/shop/rsa/tls", "Secret/shop/ecdsa/tls"}
    assert len(set(made.refers(resource.ROUTE))) == 3


def test_chains_keep_their_bytes() -> None:
    """Envoy drains the connections of a chain that changed, and of no other."""
    one = listeners.encode(ir.Listener(BIND, (chain("a"), chain("b"))))
    two = listeners.encode(ir.Listener(BIND, (chain("c"), chain("b"), chain("a"))))
    assert set(one.chunks) < set(two.chunks)
    assert one.version != two.version
    again = listeners.encode(ir.Listener(BIND, (chain("b"), chain("a"))))
    assert (again.version, again.payload) == (one.version, one.payload)


# --- connection managers beside their chains --------------------------------------------------------------


def apart(
    hostname: str, settings: client.ClientSettings = ir.DEFAULT_CLIENTS, **more: Any
) -> listeners.ChainChunk:
    made = replace(chain(hostname), client=settings)
    return listeners.encode_chain(BIND, made, apart=True, **more)


def network(chunk: listeners.ChainChunk) -> dict[str, Any]:
    found: dict[str, Any] = decode(listeners.join(BIND, [chunk]))["filter_chains"][0]["filters"][0]
    return found


def test_a_manager_beside_its_chain() -> None:
    """It is the same that would be in it."""
    made = apart("*.shop.example")
    assert made.manager is not None
    plain, _, version = made.manager.name.partition("@")
    assert plain == "manager:127.0.0.1:8080/*.shop.example"
    assert len(version) == 12
    shown = proto.to_dict(core.TypedExtensionConfig.FromString(made.manager.payload))
    assert shown["name"] == made.manager.name
    within = network(listeners.encode_chain(BIND, chain("*.shop.example")))
    assert shown["typed_config"] == within["typed_config"]
    assert network(made) == {
        "name": made.manager.name,
        "config_discovery": {
            "config_source": {"ads": {}, "resource_api_version": "V3"},
            "type_urls": [shown["typed_config"]["@type"]],
        },
    }
    joined = listeners.join(BIND, [made])
    assert made.manager.name in joined.refers(resource.EXTENSION)
    assert joined.size < 2000


def test_a_changed_manager_is_another() -> None:
    """Envoy crashes on a change of one that its chain had through a change of the listener."""
    http = replace(ir.DEFAULT_CLIENTS.http, normalize=not ir.DEFAULT_CLIENTS.http.normalize)
    one, two = apart("a"), apart("a", replace(ir.DEFAULT_CLIENTS, http=http))
    assert one.manager is not None
    assert two.manager is not None
    assert one.manager.name != two.manager.name
    assert one.manager.name.partition("@")[0] == two.manager.name.partition("@")[0]
    assert one != two
    assert apart("a") == one


@pytest.mark.parametrize(("cut", "mark"), [(Cut.COARSE, "#"), (Cut.FINE, "##")])
def test_a_manager_of_scopes_is_another(cut: Cut, mark: str) -> None:
    whole, other = apart("a"), apart("a", cut=cut)
    assert whole.manager is not None
    assert other.manager is not None
    assert other.manager.name.partition("@")[0] == f"{whole.manager.name.partition('@')[0]}{mark}"


@pytest.mark.parametrize(
    "made",
    [
        ir.FilterChain("", None, PLAIN),
        replace(chain("a"), quic=True),
        ir.FilterChain("a", TLS, ir.Scope(BIND, "a"), stream=ir.Stream("TLSRoute/shop/db", ())),
    ],
    ids=["plain HTTP", "HTTP/3", "not looked into"],
)
def test_what_has_its_filters_in_its_chain(made: ir.FilterChain) -> None:
    chunk = listeners.encode_chain(BIND, made, apart=True)
    assert chunk.manager is None
    assert chunk == listeners.encode_chain(BIND, made)


# --- certificates of clients ------------------------------------------------------------------------------

EDGE = ir.SecretKey(Ref("gateway.networking.k8s.io", "Gateway", "shop", "edge"), "ca")


def checked(clients: ir.ClientValidation | None) -> resource.Resource:
    terms = ir.TlsTermination((secret("rsa"),), clients=clients)
    return listeners.encode(ir.Listener(BIND, (ir.FilterChain("", terms, ir.Scope(BIND, "*")),)))


def context(made: resource.Resource) -> dict[str, Any]:
    found: dict[str, Any] = decode(made)["filter_chains"][0]["transport_socket"]["typed_config"]
    return found


def test_clients_must_have_a_certificate() -> None:
    made = checked(ir.ClientValidation(EDGE))
    found = context(made)
    assert found["require_client_certificate"] is True
    combined = found["common_tls_context"]["combined_validation_context"]
    assert combined["validation_context_sds_secret_config"]["name"] == "Gateway/shop/edge/ca"
    assert combined["default_validation_context"] == {}, "the chain is verified"
    assert set(made.refers(resource.SECRET)) == {"Secret/shop/rsa/tls", "Gateway/shop/edge/ca"}


def test_clients_may_have_one() -> None:
    found = context(checked(ir.ClientValidation(EDGE, optional=True)))
    assert found["require_client_certificate"] is False
    combined = found["common_tls_context"]["combined_validation_context"]
    assert combined["default_validation_context"] == {"trust_chain_verification": "ACCEPT_UNTRUSTED"}


def test_clients_are_not_asked() -> None:
    found = context(checked(None))
    assert "require_client_certificate" not in found
    assert "combined_validation_context" not in found["common_tls_context"]
