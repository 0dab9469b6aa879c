"""`dragoman bootstrap`: flags to JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Call


def made(call: Call, *arguments: str) -> dict[str, Any]:
    result = call("bootstrap", *arguments)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def test_delta_and_an_admin_interface_by_default(call: Call) -> None:
    found = made(call)
    assert found["dynamic_resources"]["ads_config"]["api_type"] == "DELTA_GRPC"
    assert found["admin"]["address"]["socket_address"] == {"address": "127.0.0.1", "port_value": 9901}


def test_flags(call: Call) -> None:
    found = made(
        call, "sidecar", "--xds", "[::1]:19000", "--id", "a", "-g", "shop/edge", "-g", "shop/b", "--sotw",
        "--admin-port", "0", "--zone", "z1",
    )  # fmt: skip
    assert found["node"] == {
        "id": "a",
        "cluster": "dragoman",
        "metadata": {"gateways": ["shop/edge", "shop/b"]},
        "locality": {"zone": "z1"},
    }
    assert found["dynamic_resources"]["ads_config"]["api_type"] == "GRPC"
    assert "admin" not in found
    assert '"::1"' in json.dumps(found)


def test_tls(call: Call) -> None:
    found = made(
        call, "--xds-ca", "/ca.pem", "--xds-cert", "/c.pem", "--xds-key", "/k.pem", "--xds-name", "cp"
    )
    (cluster,) = found["static_resources"]["clusters"]
    assert cluster["transport_socket"]["typed_config"]["sni"] == "cp"


def test_statistics(call: Call) -> None:
    asked = made(call, "--cluster-statistics", "Service/a.b/*", "--cluster-statistics", "cache:?")
    patterns = json.dumps(asked["stats_config"])
    assert r"cluster\\.Service/a\\.b/.*\\.(" in patterns
    assert r"cluster\\.cache_.\\.(" in patterns
    assert "stats_config" not in made(call, "--all-statistics")


@pytest.mark.parametrize(
    "arguments",
    [
        ("--xds", "nowhere"),
        ("--xds", "a:0"),
        ("--xds", ":18000"),
        ("--xds", "::1"),
        ("--xds", "::1:18000"),
        ("--xds", "[]:18000"),
        ("--xds-cert", "/c.pem"),
        ("--xds-name", "cp"),
        ("--heap", "512"),
        ("-g", "edge"),
        ("-g", "shop/edge/http"),
        ("gateway",),
    ],
)
def test_mistakes(call: Call, arguments: tuple[str, ...]) -> None:
    assert call("bootstrap", *arguments).exit_code == 2


def test_gateways_may_stand_in_one_option(call: Call) -> None:
    assert made(call, "-g", "shop/b, shop/edge")["node"]["metadata"] == {"gateways": ["shop/b", "shop/edge"]}


def test_infrastructure_labels_reach_the_node(call: Call, hello: Path) -> None:
    gateway = hello / "gateway.yaml"
    gateway.write_text(
        gateway.read_text().replace(
            "  listeners:",
            "  infrastructure: {labels: {team: shop}, annotations: {tier: edge}}\n  listeners:",
            1,
        )
    )
    node = json.loads(call("bootstrap", "-g", "hello/edge", "-f", hello).stdout)["node"]
    assert node["metadata"] == {
        "labels": {"team": "shop"},
        "annotations": {"tier": "edge"},
        "gateways": ["hello/edge"],
    }
    node = json.loads(call("bootstrap", "-g", "other/edge", "-f", hello).stdout)["node"]
    assert node["metadata"] == {"gateways": ["other/edge"]}
