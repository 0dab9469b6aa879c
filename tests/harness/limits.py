"""`dragoman ratelimit` as users run it, and an Envoy in front of a backend that asks it.

The descriptors of a request are said by its route (`ROUTES`); whatever goes wrong between Envoy and the
service is a 500 (`failure_mode_deny`), so that a test cannot take a failure for a pass.
"""

from __future__ import annotations

import asyncio
import json
import signal
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.harness import net, warm
from tests.harness.load import Reply, read_reply

Json = dict[str, Any]

_FILTERS = "envoy.extensions.filters.http"
_HTTP = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


class Service:
    """`async with Service(folder, text) as service`: a process of its own. `arguments` go to the command;
    without `text` they say where limits come from."""

    def __init__(self, folder: Path, text: str, *arguments: str) -> None:
        self.port, self.admin_port = net.free_port(), net.free_port()
        self.folder = folder / f"ratelimit-{self.port}"
        self.folder.mkdir()
        self.file = self.folder / "limits.yaml"
        self.file.write_text(text)
        self._arguments = (str(self.file), *arguments) if text else arguments
        self._process: warm.Process | None = None

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    async def start(self, *, ready: bool = True) -> None:
        """`ready` waits until it serves; else only until it says how it is."""
        command = ["ratelimit", *self._arguments]
        if "--listen" not in self._arguments:
            command += ["--listen", f"127.0.0.1:{self.port}"]
        command += ["--admin", f"127.0.0.1:{self.admin_port}"]
        with (self.folder / "log").open("ab") as log:
            self._process = warm.start(command, log)
        await net.until("the service is ready", self._ready if ready else self._state, limit=40)

    async def _ready(self) -> bool:
        return await self._state() == "serving"

    async def _state(self) -> str:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(self.log)
        return str(json.loads(await self.page("/healthz"))["state"])

    async def page(self, path: str) -> str:
        """Its text, whatever the status."""

        def fetch() -> str:
            try:
                url = f"http://127.0.0.1:{self.admin_port}{path}"
                with urllib.request.urlopen(url, timeout=5) as response:
                    return response.read().decode()  # type: ignore[no-any-return]
            except urllib.error.HTTPError as answer:
                return answer.read().decode()

        return await asyncio.to_thread(fetch)

    async def decide(self, domain: str, **entries: str) -> tuple[int, Json]:
        """One descriptor asked by hand; status and answer."""
        pairs = [{"key": key, "value": value} for key, value in entries.items()]
        body = json.dumps({"domain": domain, "descriptors": [{"entries": pairs}]}).encode()

        def post() -> tuple[int, Json]:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/json", body, 20) as answer:
                    return answer.status, json.load(answer)
            except urllib.error.HTTPError as answer:
                return answer.code, json.load(answer)

        return await asyncio.to_thread(post)

    async def metric(self, name: str, **labels: str) -> float:
        """A sample of `dragoman_ratelimit_<name>`; 0 where there is none."""
        inner = ",".join(f'{key}="{value}"' for key, value in labels.items())
        start = f"dragoman_ratelimit_{name}" + (f"{{{inner}}} " if inner else " ")
        lines = [line for line in (await self.page("/metrics")).splitlines() if line.startswith(start)]
        return float(lines[0].rpartition(" ")[2]) if lines else 0.0

    async def end(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = await asyncio.to_thread(self._process.wait, 20)
        self._process = None
        return code

    async def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            await asyncio.to_thread(self._process.wait)
            self._process = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()


def _header(name: str, key: str) -> Json:
    return {"request_headers": {"header_name": name, "descriptor_key": key}}


_HEALTH: Json = {
    "timeout": "2s",
    "interval": "0.1s",
    "no_traffic_interval": "0.1s",
    "unhealthy_threshold": 1,
    "healthy_threshold": 1,
    "grpc_health_check": {"service_name": "ratelimit"},
}

ROUTES: dict[str, list[Json]] = {
    "/user": [{"actions": [_header("x-user", "user")]}],
    "/cost": [
        {
            "actions": [_header("x-user", "user")],
            "hits_addend": {"format": "%DYNAMIC_METADATA(request:cost)%"},
        }
    ],
    "/look": [{"actions": [_header("x-user", "user")], "hits_addend": {"number": 0}}],
    "/refund": [
        {
            "actions": [_header("x-user", "user")],
            "hits_addend": {"format": "%DYNAMIC_METADATA(request:cost)%", "is_negative_hits": True},
        }
    ],
    "/paced": [{"actions": [_header("x-user", "paced")]}],
    "/two": [{"actions": [_header("x-user", "user")]}, {"actions": [_header("x-team", "team")]}],
    "/done": [
        {"actions": [_header("x-user", "tokens")], "hits_addend": {"number": 0}},
        {
            "actions": [_header("x-user", "tokens")],
            "hits_addend": {"format": "%DYNAMIC_METADATA(request:cost)%"},
            "apply_on_stream_done": True,
        },
    ],
}
"""Path prefix -> the route's `rate_limits`."""


def bootstrap(
    port: int,
    backend: int,
    services: Sequence[int],
    log: Path,
    timeout: str = "5s",
    *,
    open_on_failure: bool = False,
) -> Json:
    """Listens on `port`; the access log has path, status, and what the service says of a denial.
    `open_on_failure`: what cannot be asked passes.
    """
    limiter = {
        "domain": "shop",
        "timeout": timeout,
        "failure_mode_deny": not open_on_failure,
        "rate_limit_service": {
            "transport_api_version": "V3",
            "grpc_service": {"envoy_grpc": {"cluster_name": "ratelimit"}},
        },
    }
    # Envoy takes `hits_addend` and `apply_on_stream_done` from here only, not from the route's own action.
    routes = [
        {
            "match": {"prefix": path},
            "route": {"cluster": "backend"},
            "typed_per_filter_config": {
                "ratelimit": typed(f"{_FILTERS}.ratelimit.v3.RateLimitPerRoute", rate_limits=limits)
            },
        }
        for path, limits in ROUTES.items()
    ]
    metadata = "envoy.filters.http.ratelimit"
    text = f"%REQ(:PATH)% %RESPONSE_CODE% %DYNAMIC_METADATA({metadata}:limit)%\n"
    manager = typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="http",
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        access_log=[
            {
                "name": "file",
                "typed_config": typed(
                    "envoy.extensions.access_loggers.file.v3.FileAccessLog",
                    path=str(log),
                    log_format={"text_format_source": {"inline_string": text}},
                ),
            }
        ],
        http_filters=[
            # Hits have to be a number, which a header's value is not.
            {
                "name": "cost",
                "typed_config": typed(
                    f"{_FILTERS}.header_to_metadata.v3.Config",
                    request_rules=[
                        {
                            "header": "x-cost",
                            "on_header_present": {
                                "metadata_namespace": "request",
                                "key": "cost",
                                "type": "NUMBER",
                            },
                        }
                    ],
                ),
            },
            {"name": "ratelimit", "typed_config": typed(f"{_FILTERS}.ratelimit.v3.RateLimit", **limiter)},
            {"name": "router", "typed_config": typed(f"{_FILTERS}.router.v3.Router")},
        ],
    )
    return {
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": tcp(net.free_port())},
        "static_resources": {
            "listeners": [
                {
                    "name": "http",
                    "address": tcp(port),
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                }
            ],
            "clusters": [
                cluster("backend", [backend]),
                cluster("ratelimit", services, typed_extension_protocol_options=H2, health_checks=[_HEALTH]),
            ],
        },
    }


def typed(name: str, **fields: Any) -> Json:
    return {"@type": f"type.googleapis.com/{name}", **fields}


H2: Json = {_HTTP: typed(_HTTP, explicit_http_config={"http2_protocol_options": {}})}
"""A cluster's protocol options for gRPC."""


def tcp(port: int) -> Json:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def cluster(name: str, ports: Sequence[int], **more: Any) -> Json:
    endpoints = [{"endpoint": {"address": tcp(port)}} for port in ports]
    assignment = {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]}
    return {"name": name, "type": "STATIC", "connect_timeout": "2s", "load_assignment": assignment, **more}


async def fetch(port: int, path: str, **headers: str) -> Reply:
    """One request on a connection of its own; `x_user` is the header `x-user`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        lines = [f"GET {path} HTTP/1.1", "host: shop.example"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        return await asyncio.wait_for(read_reply(reader), 20)
    finally:
        writer.close()
