"""Clusters that Envoy fetches at the first request for them (`gateways.lazy_clusters`).

It has those that are used, no request is lost on the way, and who speaks SotW has all of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.envoy.static_site import exchange
from tests.harness import manifests, net
from tests.harness.manifests import http_route, rule
from tests.harness.site import Mode, Site

pytestmark = pytest.mark.envoy


@pytest_asyncio.fixture
async def site(request: pytest.FixtureRequest, tmp_path: Path, envoy_binary: Path) -> AsyncIterator[Site]:
    mode: Mode = getattr(request, "param", "delta")
    settings = {"DRAGOMAN_GATEWAYS_LAZY_CLUSTERS": "true"}
    async with Site(tmp_path, mode=mode, environment=settings) as running:
        yield running


async def status(site: Site, host: str) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    return (await exchange(reader, writer, "/", host)).status


async def clusters(site: Site) -> set[str]:
    """The services' that Envoy has."""
    text = await site.envoy.get("/clusters")
    names = {line.partition("::")[0] for line in text.splitlines()}
    return {name.split("/")[2] for name in names if name.startswith("Service/")}


async def test_only_what_is_used_is_there(site: Site) -> None:
    for name in ("one", "two", "other", "copied"):
        site.plane.write(f"{name}.yaml", *await site.service(name))
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "copied", "port": 80}}}
    site.plane.write(
        "routes.yaml",
        http_route("one", rule("one", filters=[mirror])),
        http_route("two", rule("two")),
        http_route("none", rule(("other", 1), ("missing", 1))),
    )
    await site.served("one.example")
    assert await clusters(site) == {"one", "copied"}, "nothing of the others"
    await net.until("the mirror's first", lambda: site.backends["copied"].served)
    assert await status(site, "two.example") == 200
    assert await clusters(site) == {"one", "two", "copied"}

    assert await status(site, "none.example") in (200, 500)
    async with asyncio.timeout(90):  # where one was asked for, each of some 40 would wait 5 s
        assert {await status(site, "none.example") for _ in range(80)} == {200, 500}


async def test_no_request_is_lost(site: Site) -> None:
    """Routes move to clusters that Envoy does not have; a Service goes and comes back; the control plane is
    killed and comes back."""
    for number in range(6):
        site.plane.write(f"s{number}.yaml", *await site.service(f"s{number}"))
    site.plane.write("shop.yaml", http_route("shop", rule("s0")))
    site.plane.write("late.yaml", http_route("late", rule("s5")))
    await site.served("shop.example")
    async with site.load("shop.example") as load:
        for number in (1, 2, 3):
            site.plane.write("shop.yaml", http_route("shop", rule(f"s{number}")))
            await load.only(f"s{number}")
        moved = await site.backend("s4")
        site.plane.write("s3.yaml", manifests.service("s3"), manifests.endpoint_slice("s3", moved.port))
        await load.only("s4")
        await site.plane.kill()
        await load.more(100)
        await site.plane.start()
        await net.until("connected", lambda: _connected(site))
        await load.more(100)
        assert await clusters(site) == {"s3"}, "it keeps what it has, and gets no more"
        assert await status(site, "late.example") == 200
        site.plane.write("shop.yaml", http_route("shop", rule("s0")))
        await load.only("s0")
    assert not load.failures, dict(load.failures)
    site.plane.remove("s5.yaml")
    await site.served("late.example", status=500)
    site.plane.write("s5.yaml", *await site.service("s5"))
    await site.served("late.example")


async def _connected(site: Site) -> bool:
    found = await site.plane.metrics("dragoman_xds_streams{")
    return sum(number for name, number in found.items() if 'type="CDS"' in name) == 1


@pytest.mark.parametrize("site", ["sotw"], indirect=True)
async def test_who_speaks_sotw_has_all(site: Site) -> None:
    for name in ("one", "two"):
        site.plane.write(f"{name}.yaml", *await site.service(name))
    site.plane.write(
        "routes.yaml",
        http_route("one", rule(("one", 1), ("missing", 1))),
        http_route("two", rule("two")),
    )
    await site.served("two.example")
    assert await clusters(site) == {"one", "two"}
    assert {await status(site, "one.example") for _ in range(40)} == {200, 500}
