"""The golden folder of extremes, loaded into a running Envoy: what validation of a file cannot show."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import yaml

from tests.harness import manifests, net
from tests.harness.pods import ask, backend, policy, route
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

EXTREMES = Path(__file__).parents[1] / "golden" / "49-traffic-backends-extremes" / "in.yaml"


async def test_a_running_envoy_takes_all_of_them(site: Site) -> None:
    """Every cluster warm, and none refused."""
    kept = [
        one
        for one in yaml.safe_load_all(EXTREMES.read_text())
        if one["kind"] not in ("GatewayClass", "Gateway")
    ]
    port = net.free_port()
    site.plane.write("gateway.yaml", *site.gateway(manifests.listener("tcp", port, protocol="TCP")))
    site.plane.write("all.yaml", *kept)
    site.plane.write("last.yaml", *await site.service("last"), route("last", "last"))
    await site.served("last.example")
    names = {one["metadata"]["name"] for one in kept if one["kind"] == "Backend"}

    async def there() -> bool:
        listed = await site.envoy.get("/clusters")
        return all(f"Backend/shop/{name}::" in listed for name in names)

    await net.until("every cluster there", there)
    for name in names:
        await ask(site.port, "any.example", f"/{name}")  # a worker makes a cluster at its first request
    rejected = await site.envoy.stats(r"\.update_rejected$")
    assert set(rejected.values()) == {0}
    assert (await ask(site.port, "last.example")).status == 200


async def test_tcp_keepalive_does_no_harm_to_sockets_without_tcp(site: Site, tmp_path: Path) -> None:
    """A policy of the whole Gateway reaches backends on unix sockets as well."""
    path = tmp_path / "echo.sock"

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nx-pod: socket\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        writer.close()

    server = await asyncio.start_unix_server(answer, path)
    try:
        keep = {"tcpKeepalive": {"idle": "60s", "interval": "5s", "probes": 3}}
        site.plane.write("policy.yaml", policy("p", "Gateway", "edge", connection=keep))
        spec = backend("shop")
        spec["spec"]["endpoints"] = [{"unix": str(path)}]
        site.plane.write("shop.yaml", spec, route("shop", "shop", kind="Backend"))
        await site.served("shop.example")
    finally:
        server.close()
