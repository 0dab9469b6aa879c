"""Where the rate-limit service is: behind TLS inside the control plane, or at several sockets elsewhere."""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.envoy.test_ratelimit_policy import ROUTE, USER, ask, change, limit, policy, start, statuses
from tests.harness import limits, net
from tests.harness.certs import Authority
from tests.harness.plane import Plane
from tests.harness.site import Site

pytestmark = pytest.mark.envoy


def at(folder: Path, *, bootstrap: Sequence[str] = (), xds_tls: object = None, **settings: object) -> Site:
    """A site whose control plane has these settings of `ratelimit`, and of `xds.tls`."""
    site = Site(folder, bootstrap=bootstrap)
    below = folder / "plane"
    below.mkdir()
    environment = {f"DRAGOMAN_RATELIMIT_{key.upper()}": json.dumps(value) for key, value in settings.items()}
    if xds_tls is not None:
        environment["DRAGOMAN_XDS_TLS"] = json.dumps(xds_tls)
    plane = Plane(below, environment=environment)
    plane.xds_port = site.plane.xds_port
    site.plane = plane
    return site


async def test_mutual_tls_inside_the_control_plane(tmp_path: Path, envoy_binary: Path) -> None:
    """Questions and streams; whoever shows nothing gets nothing; the plane's page has the metrics."""
    authority = Authority()
    write(tmp_path, authority, server="127.0.0.1", client="envoy.example")
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


def write(folder: Path, authority: Authority, **names: str) -> None:
    """Files: `ca`, and for each `NAME=NAME IN IT` a certificate `NAME.crt` with its key `NAME.key`."""
    (folder / "ca").write_text(authority.pem)
    for name, known in names.items():
        pair = authority.issue(known)
        (folder / f"{name}.crt").write_text(pair.certificate)
        (folder / f"{name}.key").write_text(pair.key)


async def greeted(port: int, context: ssl.SSLContext) -> bytes:
    """What the service says first; nothing where it ends the connection."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        return await asyncio.wait_for(reader.readexactly(9), 15)
    except (OSError, asyncio.IncompleteReadError):
        return b""


async def test_two_services_by_name_and_address_follow_over_mutual_tls(
    tmp_path: Path, envoy_binary: Path
) -> None:
    """`dragoman ratelimit --xds` with certificates; one of them is found by its name. Both go on without the
    control plane, and follow the next one. Whoever shows no certificate is told nothing."""
    write(tmp_path, Authority(), plane="plane.example", envoy="envoy.example", service="rls.example")

    def shown(name: str) -> tuple[str, ...]:
        files = {"ca": "ca", "cert": f"{name}.crt", "key": f"{name}.key"}
        options = [(f"--xds-{key}", str(tmp_path / file)) for key, file in files.items()]
        return tuple(itertools.chain(*options, ("--xds-name", "plane.example")))

    files = {"certificate": "plane.crt", "key": "plane.key", "client_ca": "ca"}
    xds_tls = {key: str(tmp_path / name) for key, name in files.items()}
    ports = [net.free_port(), net.free_port()]
    endpoints = [f"localhost:{ports[0]}", f"127.0.0.1:{ports[1]}"]
    async with AsyncExitStack() as stack:
        site = at(tmp_path, endpoints=endpoints, xds_tls=xds_tls, bootstrap=shown("envoy"))
        await stack.enter_async_context(site)
        await start(site)
        await change(site, policy(ROUTE, user=limit(5, key=USER, failure="Closed")))
        services = []
        for port, options in zip([*ports, net.free_port()], [shown("service")] * 2 + [()], strict=True):
            where = ("--xds", f"127.0.0.1:{site.plane.xds_port}", "--listen", f"127.0.0.1:{port}")
            service = limits.Service(tmp_path, "", *where, *options)
            stack.push_async_callback(service.kill)
            services.append(service)
        await asyncio.gather(*(service.start() for service in services[:2]), services[2].start(ready=False))
        users = (f"ann-{number}" for number in itertools.count())

        async def both(number: int = 5) -> bool:
            wanted = [200] * (2 * number) + [429] * 2
            return sorted(await statuses(site, len(wanted), x_user=next(users))) == wanted

        await net.until("both are asked in turn", both)
        stranger = services[2]
        await net.until("the stranger is turned away", lambda: "no control plane at" in stranger.log)
        assert json.loads(await stranger.page("/healthz"))["state"] == "starting"
        await site.plane.kill()
        await net.until("both go on without it", both)
        site.plane.write("policy.yaml", policy(ROUTE, user=limit(6, key=USER, failure="Closed")))
        await site.plane.start()
        await net.until("both follow the next control plane", lambda: both(6))
        for service in services[:2]:
            assert "the control plane is gone" in service.log
            assert service.log.count("limits come from") >= 2
        assert "limits come from" not in stranger.log
        dump = json.dumps(await site.envoy.config())
        assert '"error_state"' not in dump, "nothing is refused"


async def test_two_services_at_unix_sockets(tmp_path: Path, envoy_binary: Path) -> None:
    """Each request asks one of them in turn (counts in memory are two), and one that ends costs nothing."""
    sockets = [f"unix:{tmp_path}/{number}.sock" for number in range(2)]
    site = at(tmp_path, endpoints=sockets)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(site)
        await start(site)
        quota = limit(9, "Second", where="Quota", when=[{"methods": ["PUT"]}])
        await change(site, policy(ROUTE, user=limit(5, key=USER, failure="Closed"), quota=quota))
        warning = "the quota `shop/p/quota` is not kept"
        await net.until("nobody takes streams", lambda: site.plane.log.count(warning) == 1)
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
