"""Route tables that are cut into scopes: on the way from one shape to the other, and back, no request is lost
and every change is seen; nobody chooses a scope but the Host header."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from dragoman.envoy import scoping
from dragoman.envoy.scoping import Cut
from dragoman.graph.pipeline import shapes
from tests.envoy.static_site import exchange
from tests.harness import manifests, net
from tests.harness.certs import Authority
from tests.harness.load import Load, Reply
from tests.harness.manifests import http_route, rule
from tests.harness.site import Mode, Site

pytestmark = pytest.mark.envoy

LEAST = 10


@pytest_asyncio.fixture(params=["delta", "sotw"])
async def site(request: pytest.FixtureRequest, tmp_path: Path, envoy_binary: Path) -> AsyncIterator[Site]:
    mode: Mode = request.param
    settings = {"DRAGOMAN_GATEWAYS_SCOPED_HOSTS": str(LEAST)}
    async with Site(tmp_path, mode=mode, drain=20, environment=settings) as running:
        yield running


def routes(count: int, backend: str = "s0") -> list[manifests.Body]:
    return [http_route(f"r{n}", rule(backend), hostnames=[f"r{n}.example"]) for n in range(count)]


async def managers(site: Site) -> list[dict[str, Any]]:
    """The connection managers of the listeners that serve."""
    found = []
    for section in (await site.envoy.config())["configs"]:
        for listener in section.get("dynamic_listeners", ()):
            for chain in listener.get("active_state", {}).get("listener", {}).get("filter_chains", ()):
                found += [each["typed_config"] for each in chain["filters"]]
    return found


async def shaped(site: Site, cut: Cut) -> None:
    async def done() -> bool:
        return {looks_in(each) for each in await managers(site)} == {cut}

    await net.until(f"listeners that look in {cut.name} ones", done)


def looks_in(manager: dict[str, Any]) -> Cut:
    """How the table of a connection manager is cut."""
    if "scoped_routes" not in manager:
        return Cut.WHOLE
    (_, key, *_) = json.dumps(manager["early_header_mutation_extensions"]).split(scoping.HEADER)
    return Cut.FINE if "##%CEL" in key else Cut.COARSE


async def asked(site: Site, host: str, scope: str) -> Reply:
    """The answer to a client that wants to say itself which scope it is in."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    return await exchange(reader, writer, "/", host, **{scoping.HEADER: scope})


async def test_a_table_grows_and_shrinks_under_load(site: Site) -> None:
    """Old connections are drained for 20 s, so clients meet both shapes."""
    for name in ("s0", "s1"):
        site.plane.write(f"{name}.yaml", *await site.service(name))
    site.plane.write("routes.yaml", *routes(2))
    await site.served("r0.example")
    await shaped(site, Cut.WHOLE)
    async with site.load("r0.example") as load, site.load("R1.Example:81") as other:
        site.plane.write("routes.yaml", *routes(3 * LEAST))
        await site.served(f"r{3 * LEAST - 1}.example")
        await shaped(site, Cut.COARSE)
        for backend in ("s1", "s0", "s1"):  # each change reaches every connection
            site.plane.write("routes.yaml", *routes(3 * LEAST, backend))
            await load.only(backend)
            await other.only(backend)
        site.plane.write("routes.yaml", *routes(2, "s1"))
        await site.served("r7.example", status=404)
        await shaped(site, Cut.WHOLE)
        for backend in ("s0", "s1"):
            site.plane.write("routes.yaml", *routes(2, backend))
            await load.only(backend)
            await other.only(backend)
    assert not load.failures, dict(load.failures)
    assert not other.failures, dict(other.failures)


def crowd(hosts: int, backend: str) -> list[manifests.Body]:
    """So many host names, of few routes."""
    names = [f"r{number}.example" for number in range(hosts)]
    return [
        http_route(f"c{start}", rule(backend), hostnames=names[start : start + 16])
        for start in range(0, hosts, 16)
    ]


async def test_a_large_table_is_cut_finer_under_load(site: Site) -> None:
    for name in ("s0", "s1"):
        site.plane.write(f"{name}.yaml", *await site.service(name))
    site.plane.write("routes.yaml", *crowd(shapes.FINE - 32, "s0"))
    await site.served("r0.example")
    await shaped(site, Cut.COARSE)
    async with site.load("r0.example") as load, site.load("R1.Example:81") as other:
        for count, cut in ((shapes.FINE, Cut.FINE), (shapes.FINE // 2 - 32, Cut.COARSE)):
            site.plane.write("routes.yaml", *crowd(count, "s0"))
            await shaped(site, cut)
            await site.served(f"r{count - 1}.example")
            await site.served(f"r{count}.example", status=404)
            for backend in ("s1", "s0"):  # each change reaches every connection
                site.plane.write("routes.yaml", *crowd(count, backend))
                await load.only(backend)
                await other.only(backend)
    assert not load.failures, dict(load.failures)
    assert not other.failures, dict(other.failures)


@pytest.mark.parametrize("mode", ["delta", "sotw"])
async def test_tables_that_are_cut_again_find_their_scopes(
    mode: Mode, tmp_path: Path, envoy_binary: Path
) -> None:
    """Envoy ends its watch of scopes with the last that looks in them, without a word, and has only the
    listener that began a watch wait for it: here two begin together."""
    settings = {"DRAGOMAN_GATEWAYS_SCOPED_HOSTS": str(LEAST)}
    async with Site(tmp_path, mode=mode, environment=settings) as site:
        port = net.free_port()
        site.plane.write("gateway.yaml", *site.gateway(manifests.listener("second", port)))
        for name in ("s0", "s1"):
            site.plane.write(f"{name}.yaml", *await site.service(name))
        for backend in ("s0", "s1"):
            site.plane.write("routes.yaml", *routes(2, backend))
            await site.served("r0.example")
            await shaped(site, Cut.WHOLE)
            await net.until("nothing drained any more", lambda: drained(site))
            async with (
                site.load("r0.example", fresh=True) as load,
                Load(port, "r1.example", fresh=True) as second,
            ):
                site.plane.write("routes.yaml", *routes(3 * LEAST, backend))
                await shaped(site, Cut.COARSE)
                await load.more(100)
                await second.more(100)
            assert not load.failures, dict(load.failures)
            assert not second.failures, (backend, dict(second.failures))
            for number in range(3 * LEAST):
                await site.served(f"r{number}.example")


async def drained(site: Site) -> bool:
    found = await site.envoy.stats("^listener_manager.total_filter_chains_draining$")
    return bool(found) and not any(found.values())


async def test_a_table_behind_tls_grows_and_shrinks_under_load(site: Site) -> None:
    """Its connection manager stands beside the listener, and the one with scopes is another."""
    authority, port = Authority(), net.free_port()
    pair = authority.issue("*.shop.example")
    secure = manifests.listener("https", port, protocol="HTTPS", hostname="*.shop.example", secret="cert")
    site.plane.write("cert.yaml", manifests.tls_secret("cert", pair.certificate, pair.key))
    site.plane.write("gateway.yaml", *site.gateway(secure))
    for name in ("s0", "s1"):
        site.plane.write(f"{name}.yaml", *await site.service(name))

    def write(count: int, backend: str = "s0") -> None:
        hosts = [f"r{number}.shop.example" for number in range(count)]
        each = [http_route(f"r{n}", rule(backend), hostnames=[host]) for n, host in enumerate(hosts)]
        for one in each:
            one["spec"]["parentRefs"][0]["sectionName"] = "https"
        site.plane.write("routes.yaml", *each)

    def opened(number: int, **more: Any) -> Load:
        host = f"r{number}.shop.example"
        return Load(port, host, tls=authority.client_context(), connections=2, **more)

    async def served(number: int) -> bool:
        async with opened(number, warm=1) as load:
            pass
        return not load.failures

    async def named(name: str) -> bool:
        configs = (await site.envoy.config())["configs"]
        found = [
            each["active_state"]["listener"]["filter_chains"][0]["filters"][0]["name"]
            for section in configs
            for each in section.get("dynamic_listeners", ())
            if each["name"].endswith(f":{port}")
        ]
        return [each.partition("@")[0] for each in found] == [
            f"manager:127.0.0.1:{port}/*.shop.example{name}"
        ]

    write(2)
    await net.until("served", lambda: served(0))
    assert await named("")
    async with opened(0) as load, opened(1, fresh=True) as fresh:
        for count, name in ((3 * LEAST, "#"), (2, ""), (3 * LEAST, "#")):
            write(count)
            await net.until(f"{count} hosts", partial(named, name))
            for backend in ("s1", "s0"):
                write(count, backend)
                await load.only(backend)
                await fresh.only(backend, run=10)
    assert not load.failures, dict(load.failures)
    assert not fresh.failures, dict(fresh.failures)


async def test_it_does_not_flap(site: Site) -> None:
    site.plane.write("s0.yaml", *await site.service("s0"))
    site.plane.write("routes.yaml", *routes(LEAST))
    await site.served("r0.example")
    await shaped(site, Cut.COARSE)
    before = await site.envoy.stats(r"^listener_manager\.(lds\.update_success|listener_in_place_updated)$")
    for count in (LEAST - 1, LEAST, LEAST - 2, LEAST + 1):
        site.plane.write("routes.yaml", *routes(count))
        await site.served(f"r{count - 1}.example")
        await site.served(f"r{count}.example", status=404)
    assert before == await site.envoy.stats(
        r"^listener_manager\.(lds\.update_success|listener_in_place_updated)$"
    )


async def test_clients_do_not_choose_their_scope(site: Site) -> None:
    site.plane.write("s0.yaml", *await site.service("s0"))
    site.plane.write("routes.yaml", *routes(2 * LEAST))
    await site.served("r0.example")
    await shaped(site, Cut.COARSE)
    for number in Cut.COARSE.numbers:
        scope = scoping.name(f"127.0.0.1:{site.port}", Cut.COARSE, number)
        assert (await asked(site, "nobody.example", scope)).status == 404
        reply = await asked(site, "r1.example", scope)
        assert reply.status == 200
        assert scoping.HEADER not in reply.body.decode().lower()
