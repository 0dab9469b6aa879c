"""Clusters, TLS to endpoints, endpoints and secrets."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman import proto, resource
from dragoman.envoy import clusters, endpoints, secrets
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.cluster import v3 as cluster_proto
from dragoman.proto.envoy.config.endpoint import v3 as endpoint_proto
from dragoman.proto.envoy.extensions.transport_sockets.tls import v3 as tls_proto
from tests.unit.envoy.build import cluster, secret

KEY = cluster()
NAME = "Service/shop/v1/8080"


def decode(item: ir.Cluster) -> dict[str, Any]:
    return proto.to_dict(cluster_proto.Cluster.FromString(clusters.encode(item).payload))


def tls_of(settings: ir.UpstreamTls, protocol: ir.AppProtocol = ir.AppProtocol.HTTP1) -> dict[str, Any]:
    shown = decode(ir.Cluster(KEY, ir.Discovery.EDS, protocol, settings))
    found: dict[str, Any] = shown["transport_socket"]["typed_config"]
    return found


def test_services_get_endpoints_apart() -> None:
    made = clusters.encode(ir.Cluster(KEY, ir.Discovery.EDS))
    shown = decode(ir.Cluster(KEY, ir.Discovery.EDS))
    assert shown["type"] == "EDS"
    assert shown["eds_cluster_config"] == {"eds_config": {"ads": {}, "resource_api_version": "V3"}}
    assert set(made.refers(resource.ENDPOINT)) == {NAME} == {made.name}
    assert shown["common_lb_config"] == {"healthy_panic_threshold": {}, "update_merge_window": "0s"}
    (limits,) = shown["circuit_breakers"]["thresholds"]
    assert set(limits.values()) == {2**32 - 1}
    assert "typed_extension_protocol_options" not in shown


def test_addresses_and_sockets_stand_inside() -> None:
    found = (ir.Endpoint("10.0.0.1", 80), ir.Endpoint("/run/app.sock", 0, priority=3))
    made = clusters.encode(ir.Cluster(KEY, ir.Discovery.STATIC, endpoints=found))
    shown = decode(ir.Cluster(KEY, ir.Discovery.STATIC, endpoints=found))
    places = shown["load_assignment"]["endpoints"]
    assert [each.get("priority", 0) for each in places] == [0, 1]
    assert places[1]["lb_endpoints"] == [{"endpoint": {"address": {"pipe": {"path": "/run/app.sock"}}}}]
    assert not made.refers(resource.ENDPOINT)


def test_names_are_resolved() -> None:
    shown = decode(ir.Cluster(KEY, ir.Discovery.DNS, endpoints=(ir.Endpoint("a.example", 443),)))
    assert shown["cluster_type"]["name"] == "envoy.cluster.dns"
    assert shown["cluster_type"]["typed_config"]["dns_lookup_family"] == "V4_PREFERRED"


@pytest.mark.parametrize(
    ("protocol", "options"),
    [
        (ir.AppProtocol.HTTP2, {"explicit_http_config": {"http2_protocol_options": {}}}),
        (ir.AppProtocol.AUTO, {"auto_config": {"http_protocol_options": {}, "http2_protocol_options": {}}}),
    ],
)
def test_protocols(protocol: ir.AppProtocol, options: dict[str, Any]) -> None:
    shown = decode(ir.Cluster(KEY, ir.Discovery.EDS, protocol))
    (found,) = shown["typed_extension_protocol_options"].values()
    found.pop("@type")
    assert found == options


def test_tls_by_a_given_authority() -> None:
    settings = ir.UpstreamTls(
        "a.example", secret("ca", "ca"), False, ("spiffe://x", "10.0.0.1"), secret("me")
    )
    made = clusters.encode(ir.Cluster(KEY, ir.Discovery.EDS, tls=settings))
    assert set(made.refers(resource.SECRET)) == {"Secret/shop/ca/ca", "Secret/shop/me/tls"}
    shown = tls_of(settings)
    assert shown["sni"] == "a.example"
    combined = shown["common_tls_context"]["combined_validation_context"]
    assert combined["validation_context_sds_secret_config"]["name"] == "Secret/shop/ca/ca"
    assert combined["default_validation_context"]["match_typed_subject_alt_names"] == [
        {"san_type": "URI", "matcher": {"exact": "spiffe://x"}},
        {"san_type": "IP_ADDRESS", "matcher": {"exact": "10.0.0.1"}},
    ]


def test_tls_by_the_systems_authorities() -> None:
    shown = tls_of(ir.UpstreamTls("a.example"), ir.AppProtocol.HTTP2)
    common = shown["common_tls_context"]
    assert common["alpn_protocols"] == ["h2"]
    assert common["validation_context"]["trusted_ca"]["filename"].startswith("/etc/")
    assert common["validation_context"]["match_typed_subject_alt_names"] == [
        {"san_type": "DNS", "matcher": {"exact": "a.example"}}
    ]


def test_tls_without_a_name_takes_the_endpoints() -> None:
    shown = tls_of(ir.UpstreamTls(), ir.AppProtocol.AUTO)
    assert shown["auto_host_sni"] is True
    assert shown["auto_sni_san_validation"] is True
    assert "alpn_protocols" not in shown["common_tls_context"]


def test_only_insecure_tls_checks_nothing() -> None:
    common = tls_of(ir.UpstreamTls("a", insecure=True))["common_tls_context"]
    newest = {"tls_maximum_protocol_version": "TLSv1_3"}
    assert common == {"alpn_protocols": ["http/1.1"], "tls_params": newest}


def test_endpoints_by_priority_and_zone() -> None:
    found = (
        ir.Endpoint("10.0.0.3", 80, "b", 5, ir.Health.UNHEALTHY, 3),
        ir.Endpoint("10.0.0.1", 80, "b", 0, hostname="one"),
        ir.Endpoint("10.0.0.2", 80, "", 0, ir.Health.DRAINING),
        ir.Endpoint("10.0.0.4", 80, "a", 9),
        ir.Endpoint("10.0.0.5", 80, "c", 7, weight=0),
    )
    made = endpoints.encode(ir.EndpointSet(KEY, found))
    shown = proto.to_dict(endpoint_proto.ClusterLoadAssignment.FromString(made.payload))

    def at(address: str, **more: Any) -> dict[str, Any]:
        return {"address": {"socket_address": {"address": address, "port_value": 80}}, **more}

    assert shown == {
        "cluster_name": NAME,
        "endpoints": [
            {"lb_endpoints": [{"endpoint": at("10.0.0.2"), "health_status": "DRAINING"}]},
            {"locality": {"zone": "b"}, "lb_endpoints": [{"endpoint": at("10.0.0.1", hostname="one")}]},
            {
                "locality": {"zone": "b"},
                "priority": 1,
                "lb_endpoints": [
                    {"endpoint": at("10.0.0.3"), "health_status": "UNHEALTHY", "load_balancing_weight": 3}
                ],
            },
            {"locality": {"zone": "a"}, "priority": 2, "lb_endpoints": [{"endpoint": at("10.0.0.4")}]},
        ],
    }


def test_no_endpoints_are_an_empty_set() -> None:
    made = endpoints.encode(ir.EndpointSet(KEY, ()))
    assert endpoint_proto.ClusterLoadAssignment.FromString(made.payload).cluster_name == NAME


def test_secrets() -> None:
    pair = secrets.encode(ir.Secret(secret("cert"), b"chain", b"key"))
    assert pair.sensitive
    assert "key" not in repr(pair)
    shown = tls_proto.Secret.FromString(pair.payload)
    assert (shown.name, shown.tls_certificate.private_key.inline_bytes) == (pair.name, b"key")
    ca = secrets.encode(ir.Secret(secret("ca", "ca"), ca=b"ca"))
    assert tls_proto.Secret.FromString(ca.payload).validation_context.trusted_ca.inline_bytes == b"ca"
