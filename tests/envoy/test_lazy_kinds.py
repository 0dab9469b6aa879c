"""Clusters that Envoy fetches on demand and that are not ready when they come: health checks have yet to say
who is well, names have yet to be resolved. The first requests wait for it, and get the answer that the later
ones get.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.envoy.test_lazy import clusters
from tests.harness import net
from tests.harness.pods import ask, backend, many, pod, policy, route, slices
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

HOST = "shop.example"
OTHER = "other.example"
SOON = {"interval": "100ms", "timeout": "20s", "unhealthyThreshold": 2, "healthyThreshold": 2}
CHECKED = {"http": {"path": "/healthz"}, **SOON}


@pytest_asyncio.fixture
async def site(tmp_path: Path, envoy_binary: Path) -> AsyncIterator[Site]:
    """`other.example` is served: what is written beside it was taken by Envoy once it is."""
    settings = {"DRAGOMAN_GATEWAYS_LAZY_CLUSTERS": "true"}
    async with Site(tmp_path, environment=settings) as running:
        yield running


async def written(site: Site) -> None:
    """Returns when Envoy has the routes that were written before, without a request for them."""
    site.plane.write("other.yaml", *await site.service("other"), route("other", "other"))
    await site.served(OTHER)


async def at_once(site: Site, count: int) -> Counter[str]:
    """Who answers the first requests, that come together."""
    found = await asyncio.gather(*(ask(site.port, HOST) for _ in range(count)))
    return Counter(reply.pod if reply.status == 200 else str(reply.status) for reply in found)


async def only(site: Site, *pods: str) -> None:
    async def so() -> bool:
        return set(await many(12, site.port, HOST)) == set(pods)

    await net.until(f"only {pods}", so)


async def test_health_checks_decide_the_first_requests(site: Site) -> None:
    pods = {name: await pod(site, name) for name in "ab"}
    pods["b"].mood.health = 500
    site.plane.write("policy.yaml", policy("p", "Service", "shop", healthCheck=CHECKED))
    site.plane.write("shop.yaml", *slices("shop", *pods.values()), route("shop", "shop"))
    await written(site)
    assert "shop" not in await clusters(site)
    assert [one.mood.checked for one in pods.values()] == [0, 0], "nobody is checked before it is asked for"
    assert await at_once(site, 8) == {"a": 8}
    assert await many(30, site.port, HOST) == {"a": 30}
    assert pods["b"].mood.asked == 0
    pods["b"].mood.health = 200
    await only(site, "a", "b")
    pods["a"].mood.health = 500
    await only(site, "b")


async def test_nobody_is_well(site: Site) -> None:
    one = await pod(site, "one")
    one.mood.health = 500
    site.plane.write("policy.yaml", policy("p", "Service", "shop", healthCheck=CHECKED))
    site.plane.write("shop.yaml", *slices("shop", one), route("shop", "shop"))
    await written(site)
    assert await at_once(site, 4) == {"503": 4}
    assert one.mood.asked == 0
    one.mood.health = 200
    await only(site, "one")


async def test_checks_change_under_load_and_go_on_without_a_control_plane(site: Site) -> None:
    pods = {name: await pod(site, name) for name in "ab"}
    site.plane.write("policy.yaml", policy("p", "Service", "shop", healthCheck=CHECKED))
    site.plane.write("shop.yaml", *slices("shop", *pods.values()), route("shop", "shop"))
    await written(site)
    async with site.load(HOST) as load:
        for number in (3, 1, 2):
            changed = {**CHECKED, "unhealthyThreshold": number}
            site.plane.write("policy.yaml", policy("p", "Service", "shop", healthCheck=changed))
            await load.more(200)
        site.plane.write("policy.yaml", policy("p", "Service", "shop"))
        await load.more(200)
        site.plane.write("policy.yaml", policy("p", "Service", "shop", healthCheck=CHECKED))
        before = pods["b"].mood.checked
        await net.until("checked again", lambda: pods["b"].mood.checked > before)
        await site.plane.kill()
        pods["b"].mood.health = 500
        await load.only("a")
        await site.plane.start()
        pods["b"].mood.health = 200
        await load.seen("b")
    assert not load.failures, dict(load.failures)


async def test_names_are_resolved_for_the_first_requests(site: Site) -> None:
    one = await pod(site, "one")
    name = {"hostname": "localhost", "port": one.port}
    site.plane.write("shop.yaml", named(name), route("shop", "shop", kind="Backend"))
    await written(site)
    assert not await has(site, "shop")
    assert await at_once(site, 8) == {"one": 8}
    assert await has(site, "shop")
    two = await pod(site, "two")
    async with site.load(HOST) as load:
        site.plane.write("shop.yaml", named(name | {"port": two.port}), route("shop", "shop", kind="Backend"))
        await load.only("two")
    assert not load.failures, dict(load.failures)


async def test_a_name_that_nobody_knows(site: Site) -> None:
    """Its requests are answered, and nothing else waits for them."""
    site.plane.write(
        "shop.yaml",
        named({"hostname": "nobody.invalid", "port": 80}),
        route("shop", "shop", kind="Backend"),
    )
    await written(site)
    first = asyncio.create_task(at_once(site, 4))
    assert await many(20, site.port, OTHER) == {"other": 20}
    assert await first == {"503": 4}
    one = await pod(site, "one")
    site.plane.write(
        "shop.yaml",
        named({"hostname": "localhost", "port": one.port}),
        route("shop", "shop", kind="Backend"),
    )
    await only(site, "one")


async def test_several_names_are_not_waited_for(site: Site) -> None:
    """Envoy would take the first one that is resolved for the whole, and b may be the first."""
    pods = {name: await pod(site, name) for name in "ab"}
    pods["b"].mood.health = 500
    names = [{"hostname": "localhost", "port": one.port} for one in pods.values()]
    check = policy("p", "Backend", "shop", healthCheck=CHECKED)
    check["spec"]["targetRefs"][0]["group"] = "dragoman.dev"
    site.plane.write("shop.yaml", named(*names), route("shop", "shop", kind="Backend"), check)
    await written(site)
    assert await has(site, "shop")
    await net.until("a checked", lambda: pods["a"].mood.checked > 1)
    assert await at_once(site, 8) == {"a": 8}
    pods["b"].mood.health = 200
    await only(site, "a", "b")


async def test_one_name_and_health_checks(site: Site) -> None:
    one = await pod(site, "one")
    check = policy("p", "Backend", "shop", healthCheck=CHECKED)
    check["spec"]["targetRefs"][0]["group"] = "dragoman.dev"
    name = named({"hostname": "localhost", "port": one.port})
    site.plane.write("shop.yaml", name, route("shop", "shop", kind="Backend"), check)
    await written(site)
    assert not await has(site, "shop")
    assert await at_once(site, 8) == {"one": 8}
    one.mood.health = 500
    await only(site, "503")


def named(*endpoints: dict[str, object]) -> dict[str, object]:
    made = backend("shop", *endpoints)
    for one in made["spec"]["endpoints"]:
        del one["address"]
    return made


async def has(site: Site, name: str) -> bool:
    """Whether Envoy has the Backend's cluster."""
    return f"/{name}" in "".join(
        line for line in (await site.envoy.get("/clusters")).splitlines() if line.startswith("Backend")
    )
