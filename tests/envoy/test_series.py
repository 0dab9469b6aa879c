"""The statistics that a real Envoy keeps with our bootstrap's `stats_config`: as many for any number of
services and workers, those of the clusters that were asked for, and those that a policy makes.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

from dragoman.envoy import bootstrap
from dragoman.envoy.admin import Admin
from tests.harness import net
from tests.harness.backend import Backend
from tests.harness.echo import Echo, Identity
from tests.harness.envoy import Envoy
from tests.harness.load import Load

_TYPE = "type.googleapis.com/envoy.extensions.filters"


def _service(number: int, backend: int) -> dict[str, Any]:
    endpoint = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": backend}}}
    return {
        "name": f"Service/shop/s{number}/80",
        "circuit_breakers": {"thresholds": [{"track_remaining": True}]} if number == 0 else {},
        "load_assignment": {
            "cluster_name": f"Service/shop/s{number}/80",
            "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
        },
    }


def _listener(port: int, services: int) -> dict[str, Any]:
    hosts = [
        {
            "name": f"s{number}.test",
            "domains": [f"s{number}.test"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": f"Service/shop/s{number}/80"}}],
        }
        for number in range(services)
    ]
    manager = {
        "@type": f"{_TYPE}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": f"127.0.0.1:{port}",
        "route_config": {"name": f"127.0.0.1:{port}", "virtual_hosts": hosts},
        "http_filters": [{"name": "router", "typed_config": {"@type": f"{_TYPE}.http.router.v3.Router"}}],
    }
    return {
        "name": f"127.0.0.1:{port}",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }


async def _series(folder: Path, backend: int, services: int, workers: int, *patterns: str) -> set[str]:
    """The names that there are when every service was asked, without ports and numbers of workers."""
    port = net.free_port()
    made = bootstrap.bootstrap(node_id="n", admin=Admin(port=net.free_port()), clusters=patterns)
    del made["dynamic_resources"], made["static_resources"]
    made["static_resources"] = {
        "listeners": [_listener(port, services)],
        "clusters": [_service(number, backend) for number in range(services)],
    }
    async with Envoy(made, folder, workers=workers) as envoy:
        for number in range(services):
            async with Load(port, f"s{number}.test", connections=1) as load:
                pass
            assert load.done > 0
            assert not load.failures
        text = await envoy.get("/stats")
    names = {line.partition(": ")[0].replace(str(port), "PORT") for line in text.splitlines()}
    return {re.sub(r"worker_\d+", "worker", name) for name in names}


async def test_what_is_kept(tmp_path: Path, envoy_binary: Path) -> None:
    del envoy_binary
    folders = [tmp_path / name for name in ("few", "many", "asked")]
    for folder in folders:
        folder.mkdir()
    async with Backend(Echo(Identity("one"))) as backend:
        few, many, asked = await asyncio.gather(
            _series(folders[0], backend.port, 2, 1),
            _series(folders[1], backend.port, 12, 2),
            _series(folders[2], backend.port, 3, 1, "Service/shop/s[!]", "Service/*/s1/??"),
        )
    limits = {name for name in few if name.startswith("cluster.")}
    assert limits == {
        f"cluster.Service/shop/s0/80.circuit_breakers.default.remaining_{kind}"
        for kind in ("cx", "cx_pools", "pending", "retries", "rq")
    }, "a policy's limits"
    assert few == many
    assert {"http.127.0.0.1_PORT.downstream_rq_2xx", "listener.127.0.0.1_PORT.downstream_cx_total"} <= few
    more = {
        name for name in asked - few if not name.endswith((".upstream_rq_time", "external.upstream_rq_2xx"))
    }
    assert more == {
        f"cluster.Service/shop/s1/80.{kind}"
        for kind in (
            "membership_healthy",
            "membership_total",
            "upstream_cx_active",
            "upstream_cx_connect_fail",
            "upstream_cx_overflow",
            "upstream_rq_2xx",
            "upstream_rq_active",
            "upstream_rq_pending_overflow",
            "upstream_rq_retry",
            "upstream_rq_timeout",
            "upstream_rq_total",
        )
    }
    assert few <= asked
