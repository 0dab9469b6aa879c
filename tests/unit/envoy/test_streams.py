"""Connections and datagrams that are not looked into: tcp_proxy in chains, udp_proxy in listeners."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman import proto, resource
from dragoman.envoy import clusters, endpoints, listeners, naming
from dragoman.ir import model as ir
from dragoman.proto.envoy.config.cluster import v3 as cluster_proto
from dragoman.proto.envoy.config.endpoint import v3 as endpoint_proto
from dragoman.proto.envoy.config.listener import v3 as listener_proto
from dragoman.refs import Ref
from tests.unit.envoy.build import BIND, PLAIN, secret

UDP = BIND._replace(udp=True)
LOST = ir.WeightedBackend(None, reason="gone")


def key(name: str = "db", transport: ir.Transport = ir.Transport.BYTES) -> ir.ClusterKey:
    return ir.ClusterKey(Ref("", "Service", "shop", name), 5432, transport.value)


def share(
    name: str = "db", weight: int = 1, transport: ir.Transport = ir.Transport.BYTES
) -> ir.WeightedBackend:
    return ir.WeightedBackend(key(name, transport), weight)


def stream(*shares: ir.WeightedBackend, passthrough: bool = False) -> ir.Stream:
    return ir.Stream("TCPRoute/shop/db", shares, passthrough)


def tcp(made: ir.Stream) -> resource.Resource:
    return listeners.encode(ir.Listener(BIND, (ir.FilterChain("", None, PLAIN, stream=made),)))


def udp(made: ir.Stream) -> resource.Resource:
    return listeners.encode(ir.Listener(UDP, (ir.FilterChain("", None, ir.Scope(UDP), stream=made),)))


def decode(made: resource.Resource) -> dict[str, Any]:
    return proto.to_dict(listener_proto.Listener.FromString(made.payload))


def proxy(made: resource.Resource) -> dict[str, Any]:
    """The tcp_proxy of a listener's only chain."""
    (chain,) = decode(made)["filter_chains"]
    (only,) = chain["filters"]
    assert only["name"] == "envoy.filters.network.tcp_proxy"
    found: dict[str, Any] = only["typed_config"]
    return found


def target(made: resource.Resource) -> str:
    """The cluster of a UDP listener."""
    (only,) = decode(made)["listener_filters"]
    assert only["name"] == "envoy.filters.udp_listener.udp_proxy"
    action = only["typed_config"]["matcher"]["on_no_match"]["action"]["typed_config"]
    return str(action["cluster"])


# --- connections ------------------------------------------------------------------------------------------


def test_one_backend() -> None:
    made = tcp(stream(share()))
    found = proxy(made)
    assert found["cluster"] == "Service/shop/db/5432/tcp"
    assert found["stat_prefix"] == "127.0.0.1:8080"
    assert found["idle_timeout"] == "3600s"
    assert "weighted_clusters" not in found
    shown = decode(made)
    assert "listener_filters" not in shown
    assert "filter_chain_match" not in shown["filter_chains"][0]
    assert set(made.refers(resource.CLUSTER)) == {"Service/shop/db/5432/tcp"}
    assert not made.refers(resource.ROUTE)
    assert not made.refers(resource.SECRET)


def test_shares() -> None:
    made = tcp(stream(share("a", 3), share("b", 0), LOST))
    assert proxy(made)["weighted_clusters"]["clusters"] == [
        {"name": "Service/shop/a/5432/tcp", "weight": 3},
        {"name": naming.INVALID_CLUSTER, "weight": 1},
    ]
    assert set(made.refers(resource.CLUSTER)) == {"Service/shop/a/5432/tcp"}


@pytest.mark.parametrize("shares", [(), (LOST,), (share(weight=0),)])
def test_nowhere_to_go(shares: tuple[ir.WeightedBackend, ...]) -> None:
    """A cluster that never exists: Envoy closes the connection."""
    made = tcp(stream(*shares))
    assert proxy(made)["cluster"] == naming.INVALID_CLUSTER
    assert not made.refers(resource.CLUSTER)


def test_server_names() -> None:
    through = stream(share(transport=ir.Transport.PASSTHROUGH), passthrough=True)
    ended = ir.TlsTermination((secret("cert"),), ())
    made = listeners.encode(
        ir.Listener(
            BIND,
            (
                ir.FilterChain("a.test", None, ir.Scope(BIND, "a.test"), stream=through),
                ir.FilterChain("b.test", ended, ir.Scope(BIND, "b.test"), stream=stream(share())),
                ir.FilterChain("c.test", ended, ir.Scope(BIND, "c.test")),
            ),
        )
    )
    shown = decode(made)
    assert shown["listener_filters"][0]["name"] == "envoy.filters.listener.tls_inspector"
    chains = {one["filter_chain_match"]["server_names"][0]: one for one in shown["filter_chains"]}
    assert {one["filter_chain_match"]["transport_protocol"] for one in chains.values()} == {"tls"}
    assert "transport_socket" not in chains["a.test"]
    common = chains["b.test"]["transport_socket"]["typed_config"]["common_tls_context"]
    assert "alpn_protocols" not in common, "what is spoken inside is not ours to negotiate"
    assert [
        chains[name]["filters"][0]["name"].rpartition(".")[2] for name in ("a.test", "b.test", "c.test")
    ] == [
        "tcp_proxy",
        "tcp_proxy",
        "http_connection_manager",
    ]
    assert set(made.refers(resource.CLUSTER)) == {"Service/shop/db/5432/tcp", "Service/shop/db/5432/tls"}
    assert set(made.refers(resource.ROUTE)) == {"127.0.0.1:8080/c.test"}
    assert set(made.refers(resource.SECRET)) == {"Secret/shop/cert/tls"}


def test_any_server_name() -> None:
    chain = ir.FilterChain("", None, ir.Scope(BIND, "*"), stream=stream(share(), passthrough=True))
    (found,) = decode(listeners.encode(ir.Listener(BIND, (chain,))))["filter_chains"]
    assert found["filter_chain_match"] == {"transport_protocol": "tls"}


# --- datagrams --------------------------------------------------------------------------------------------


def test_datagrams() -> None:
    made = udp(stream(share(transport=ir.Transport.DATAGRAMS)))
    shown = decode(made)
    assert made.name == shown["name"] == "127.0.0.1:8080/udp"
    assert shown["address"]["socket_address"] == {
        "protocol": "UDP",
        "address": "127.0.0.1",
        "port_value": 8080,
    }
    assert shown["udp_listener_config"] == {}
    assert "filter_chains" not in shown
    assert target(made) == "Service/shop/db/5432/udp"
    assert set(made.refers(resource.CLUSTER)) == {"Service/shop/db/5432/udp"}
    assert not made.refers(resource.ROUTE)


@pytest.mark.parametrize("shares", [(), (LOST,), (share(weight=0),)])
def test_datagrams_with_nowhere_to_go(shares: tuple[ir.WeightedBackend, ...]) -> None:
    assert target(udp(stream(*shares))) == naming.INVALID_CLUSTER


# --- their clusters ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transport", "place"),
    [
        (ir.Transport.BYTES, "Service/shop/db/5432"),
        (ir.Transport.PASSTHROUGH, "Service/shop/db/5432"),
        (ir.Transport.GRPC, "Service/shop/db/5432"),
        (ir.Transport.DATAGRAMS, "Service/shop/db/5432/udp"),
    ],
)
def test_endpoints_are_shared_by_all_but_datagrams(transport: ir.Transport, place: str) -> None:
    made = clusters.encode(ir.Cluster(key(transport=transport), ir.Discovery.EDS, ir.AppProtocol.NONE))
    shown = proto.to_dict(cluster_proto.Cluster.FromString(made.payload))
    assert made.name == f"Service/shop/db/5432/{transport.value}"
    assert set(made.refers(resource.ENDPOINT)) == {place}
    assert shown["eds_cluster_config"].get("service_name", made.name) == place
    assert "typed_extension_protocol_options" not in shown


def test_bytes_in_tls_negotiate_nothing() -> None:
    tls = ir.UpstreamTls(sni="a.test", sans=("a.test",))
    made = clusters.encode(ir.Cluster(key(), ir.Discovery.EDS, ir.AppProtocol.NONE, tls))
    shown = proto.to_dict(cluster_proto.Cluster.FromString(made.payload))
    assert "alpn_protocols" not in shown["transport_socket"]["typed_config"]["common_tls_context"]


MIXED = ir.ClusterKey(Ref("gateway.networking.k8s.io", "UDPRoute", "shop", "logs"), 0, "udp")


def test_zones_stand_for_backends() -> None:
    made = clusters.encode(ir.Cluster(MIXED, ir.Discovery.EDS, ir.AppProtocol.NONE, shared=True))
    shown = proto.to_dict(cluster_proto.Cluster.FromString(made.payload))
    assert made.name == "UDPRoute/shop/logs//udp"
    assert shown["common_lb_config"] == {
        "healthy_panic_threshold": {},
        "locality_weighted_lb_config": {},
        "update_merge_window": "0s",
    }
    found = (ir.Endpoint("10.0.0.1", 53, "00"), ir.Endpoint("10.0.0.2", 53, "01"))
    filled = endpoints.encode(ir.EndpointSet(MIXED, found, (("00", 9), ("01", 1))))
    places = proto.to_dict(endpoint_proto.ClusterLoadAssignment.FromString(filled.payload))["endpoints"]
    assert [(one["locality"]["zone"], one["load_balancing_weight"]) for one in places] == [
        ("00", 9),
        ("01", 1),
    ]


@pytest.mark.parametrize("name", ["Service/shop/db/5432/tcp", "UDPRoute/shop/logs//udp"])
def test_names_lead_back_to_the_object(name: str) -> None:
    (found,) = naming.refs_of(resource.CLUSTER, name)
    assert str(found) == " shop/".join(name.split("/")[0:3:2])
