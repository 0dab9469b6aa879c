"""The bootstrap: a message that Envoy has, lean, and without secrets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dragoman import proto
from dragoman.envoy import bootstrap
from dragoman.envoy.admin import Admin
from dragoman.proto.envoy.config.bootstrap import v3 as bootstrap_proto

TLS = bootstrap.Tls(Path("/ca.pem"), Path("/cert.pem"), Path("/key.pem"), "dragoman.infra.svc")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kind": "sidecar", "protocol": "sotw", "statistics": "all", "zone": "a"},
        {
            "clusters": ("Service/a.b/*", "?"),
            "tls": TLS,
            "heap": 2**30,
            "gateways": ("shop/edge",),
            "admin": Admin(path="/run/admin.sock"),
        },
    ],
)
def test_every_field_is_one_that_envoy_has(options: dict[str, Any]) -> None:
    data = bootstrap.bootstrap(node_id="n", **options)
    proto.from_dict(bootstrap_proto.Bootstrap, json.loads(json.dumps(data)))


def test_connections_are_limited() -> None:
    def most(**options: Any) -> int:
        manager = bootstrap.bootstrap(node_id="n", **options)["overload_manager"]
        found: int = manager["resource_monitors"][0]["typed_config"]["max_active_downstream_connections"]
        return found

    assert (most(), most(kind="sidecar"), most(connections=5)) == (50_000, 10_000, 5)


def test_delta_ads_by_default() -> None:
    resources = bootstrap.bootstrap(node_id="n")["dynamic_resources"]
    assert resources["ads_config"]["api_type"] == "DELTA_GRPC"
    for kind in ("lds_config", "cds_config"):
        assert resources[kind] == {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    sotw = bootstrap.bootstrap(node_id="n", protocol="sotw")["dynamic_resources"]
    assert sotw["ads_config"]["api_type"] == "GRPC"


def test_the_node_says_what_it_is_for() -> None:
    node = bootstrap.bootstrap(node_id="n", cluster="c", gateways=("a/b", "a/c"), zone="z")["node"]
    assert node == {
        "id": "n",
        "cluster": "c",
        "metadata": {"gateways": ["a/b", "a/c"]},
        "locality": {"zone": "z"},
    }


def test_there_is_an_admin_interface_only_where_asked_for() -> None:
    assert "admin" not in bootstrap.bootstrap(node_id="n")
    made = bootstrap.bootstrap(node_id="n", admin=Admin(port=9901))
    assert made["admin"]["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 9901}


@pytest.mark.parametrize(
    ("address", "name", "san_type"),
    [
        ("10.0.0.1", "", "IP_ADDRESS"),
        ("::1", "", "IP_ADDRESS"),
        ("cp.svc", "", "DNS"),
        ("10.0.0.1", "cp", "DNS"),
    ],
)
def test_tls_checks_the_control_planes_name(address: str, name: str, san_type: str) -> None:
    tls = bootstrap.Tls(Path("/ca.pem"), name=name)
    (cluster,) = bootstrap.bootstrap(node_id="n", xds_address=address, tls=tls)["static_resources"][
        "clusters"
    ]
    config = cluster["transport_socket"]["typed_config"]
    (matcher,) = config["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"]
    assert matcher == {"san_type": san_type, "matcher": {"exact": name or address}}
    assert config.get("sni", "") == ((name or address) if san_type == "DNS" else "")
    assert "tls_certificates" not in config["common_tls_context"]


def test_statistics_are_lean_unless_asked_for() -> None:
    lean = bootstrap.bootstrap(node_id="n")
    assert lean["deferred_stat_options"] == {"enable_deferred_creation_stats": True}
    assert "stats_config" not in bootstrap.bootstrap(node_id="n", statistics="all")
