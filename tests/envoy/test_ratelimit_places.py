"""Where the rate-limit service is: behind TLS inside the control plane, or at several sockets elsewhere."""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.envoy.test_ratelimit_policy import ROUTE, USER, ask, change, limit, policy, start, statuses
from tests.harness import limits, net
from tests.harness.certs import Authority
from tests.harness.plane import Plane
from tests.harness.site import Site

pytestmark = pytest.mark.envoy


def at(folder: Path, **settings: object) -> Site:
    """A site whose control plane has these settings of `ratelimit`."""
    site = Site(folder)
    below = folder / "plane"
    below.mkdir()
    environment = {f"DRAGOMAN_RATELIMIT_{key.upper()}": json.dumps(value) for key, value in settings.items()}
    plane = Plane(below, environment=environment)
    plane.xds_port = site.plane.xds_port
    site.plane = plane
    return site


async def test_mutual_tls_inside_the_control_plane(tmp_path: Path, envoy_binary: Path) -> None:
    """Questions and streams; whoever shows nothing gets nothing; the plane's page has the metrics."""
    authority = Authority()
    files = {"ca": authority.pem}
    for name, pair in (
        ("server", authority.issue("127.0.0.1")),
        ("client", authority.issue("envoy.example")),
    ):
        files |= {f"{name}.crt": pair.certificate, f"{name}.key": pair.key}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    server = {"certificate": "server.crt", "key": "server.key", "client_ca": "ca"}
    client = {"ca": "ca", "certificate": "client.crt", "key": "client.key"}
    settings = [{key: str(tmp_path / name) for key, name in one.items()} for one in (server, client)]
    port = net.free_port()
    async with at(tmp_path, tls=settings[0], trust=settings[1], port=port) as site:
        await start(site)
        await change(
            site,
            policy(
                ROUTE,
                user=limit(2, key=USER, failure="Closed"),
                quota=limit(1, "Second", where="Quota", when=[{"methods": ["PUT"]}]),
            ),
        )
        assert await statuses(site, 3, x_user="ann") == [200, 200, 429]

        async def assigned() -> bool:
            return 429 in [(await ask(site, method="PUT", x_user=f"u{at}")).status for at in range(8)]

        await net.until("a quota is assigned", assigned)
        page = await site.plane.get("/metrics")
        line = 'dragoman_ratelimit_decisions_total{domain="shop/edge",outcome="over_limit"} '
        assert any(one.startswith(line) and float(one.split()[-1]) >= 1 for one in page.splitlines())
        assert "PRIVATE KEY" not in json.dumps(await site.envoy.config())
        context = authority.client_context()
        context.set_alpn_protocols(["h2"])
        assert not await greeted(port, context), "who shows no certificate hears nothing"
        context.load_cert_chain(tmp_path / "client.crt", tmp_path / "client.key")
        assert await greeted(port, context)


async def greeted(port: int, context: ssl.SSLContext) -> bytes:
    """What the service says first; nothing where it ends the connection."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        return await asyncio.wait_for(reader.readexactly(9), 15)
    except (OSError, asyncio.IncompleteReadError):
        return b""


async def test_two_services_at_unix_sockets(tmp_path: Path, envoy_binary: Path) -> None:
    """Each request asks one of them in turn (counts in memory are two), and one that ends costs nothing."""
    sockets = [f"unix:{tmp_path}/{number}.sock" for number in range(2)]
    site = at(tmp_path, endpoints=sockets)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(site)
        await start(site)
        await change(site, policy(ROUTE, user=limit(5, key=USER, failure="Closed")))
        options = ("--xds", f"127.0.0.1:{site.plane.xds_port}", "--grace", "2.5")
        services = [limits.Service(tmp_path, "", *options, "--listen", socket) for socket in sockets]
        for service in services:
            stack.push_async_callback(service.kill)
            await service.start()

        users = (f"ann-{number}" for number in itertools.count())

        async def both() -> bool:
            return sorted(await statuses(site, 12, x_user=next(users))) == [200] * 10 + [429] * 2

        await net.until("both are asked in turn", both)
        stop = asyncio.Event()
        seen: set[int] = set()

        async def client() -> None:
            while not stop.is_set():
                seen.add((await ask(site, x_user="bob")).status)

        work = asyncio.create_task(client())
        assert await services[0].end() == 0
        stop.set()
        await work
        assert seen <= {200, 429}, "closed on failure, and nothing failed"
        assert sorted(await statuses(site, 7, x_user="eve")) == [200] * 5 + [429] * 2
