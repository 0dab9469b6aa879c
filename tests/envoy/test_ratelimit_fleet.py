"""Two Envoys, two rate-limit services that take their limits from the control plane, one Redis.

Both Envoys listen on the same port, and the kernel deals connections out to them.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from tests.envoy.test_auth import GATEWAY, policy as auth_policy
from tests.envoy.test_ratelimit_consumers import ALICE, BOB, CYD, clients
from tests.envoy.test_ratelimit_policy import ROUTE, USER, ask, change, limit, policy, start
from tests.harness import limits, net, redis
from tests.harness.envoy import Envoy
from tests.harness.manifests import rule
from tests.harness.plane import Plane
from tests.harness.site import Site

pytestmark = pytest.mark.envoy


@dataclass
class Fleet:
    site: Site
    envoys: tuple[Envoy, Envoy]
    services: tuple[limits.Service, limits.Service]
    redis: redis.Redis

    async def served(self) -> list[int]:
        """Requests that each Envoy has had."""
        pattern = r"^http\..*\.downstream_rq_completed$"
        return [
            sum(n for name, n in (await one.stats(pattern)).items() if ".admin." not in name)
            for one in self.envoys
        ]

    async def decided(self) -> list[float]:
        """What each service has denied."""
        names = {"domain": "shop/edge", "outcome": "over_limit"}
        return [await one.metric("decisions_total", **names) for one in self.services]


@pytest_asyncio.fixture
async def fleet(tmp_path: Path, envoy_binary: Path) -> AsyncIterator[Fleet]:
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(redis.Redis(tmp_path))
        site = Site(tmp_path)
        options = ("--xds", f"127.0.0.1:{site.plane.xds_port}", "--store", store.url)
        options += ("--store-timeout", "0.4", "--grace", "2.5")
        services = [limits.Service(tmp_path, "", *options) for _ in range(2)]
        endpoints = ", ".join(f"127.0.0.1:{service.port}" for service in services)
        folder = tmp_path / "site"
        folder.mkdir()
        plane = Plane(folder, environment={"DRAGOMAN_RATELIMIT_ENDPOINTS": f"[{endpoints}]"})
        plane.xds_port = site.plane.xds_port
        site.plane = plane
        await stack.enter_async_context(site)
        second = Envoy(await asyncio.to_thread(site.bootstrap), folder)
        stack.push_async_callback(second.stop)
        await second.start()
        await start(site, rule("shop", path="/closed", name="closed"), rule("shop"))
        for service in services:
            stack.push_async_callback(service.kill)
        await asyncio.gather(*(service.start() for service in services))
        yield Fleet(site, (site.envoy, second), (services[0], services[1]), store)


async def settled(fleet: Fleet, path: str, **headers: str) -> None:
    """Both Envoys and both services know the limit, of which the first request tells."""

    async def known() -> bool:
        replies = [await ask(fleet.site, path, **headers) for _ in range(12)]
        return all("x-ratelimit-limit" in reply.headers for reply in replies)

    await net.until("everybody knows the limit", known)


async def many(fleet: Fleet, number: int, path: str = "/", **headers: str) -> Counter[int]:
    """So many requests by eight clients at once."""
    seen: Counter[int] = Counter()

    async def client() -> None:
        for _ in range(number // 8):
            seen[(await ask(fleet.site, path, **headers)).status] += 1

    await asyncio.gather(*(client() for _ in range(8)))
    return seen


async def test_one_limit_for_all(fleet: Fleet) -> None:
    """Not one request too many; a changed number reaches the services and loses no counts; limits outlive the
    control plane; the body says which limit it was."""
    site = fleet.site
    await change(site, policy(ROUTE, user=limit(40, key=USER, headers={"rateLimit": True})))
    await settled(fleet, "/", x_user="probe")
    assert await many(fleet, 96, x_user="ann") == {200: 40, 429: 56}
    assert all(number > 10 for number in await fleet.served()), "both Envoys"
    assert all(number > 5 for number in await fleet.decided()), "both services"
    denied = await ask(site, x_user="ann")
    body = {"error": "rate_limit_exceeded", "limit": 40, "retryAfter": int(denied.headers["retry-after"])}
    assert {**json.loads(denied.body), **body} == json.loads(denied.body)
    assert denied.headers["ratelimit-policy"] == "40;w=86400"
    site.plane.write("policy.yaml", policy(ROUTE, user=limit(50, key=USER)))

    async def fresh() -> bool:
        return {(await ask(site, x_user="eve")).headers["x-ratelimit-limit"] for _ in range(6)} == {"50"}

    await net.until("the new number is everywhere", fresh)
    assert await many(fleet, 48, x_user="ann") == {200: 10, 429: 38}
    await site.plane.kill()
    assert await many(fleet, 96, x_user="bob") == {200: 50, 429: 46}
    await site.plane.start()
    site.plane.write("policy.yaml", policy(ROUTE, user=limit(60, key=USER)))
    await net.until(
        "the services follow again",
        lambda: _status(fleet, 200, x_user="bob"),
        limit=30,
    )


async def _status(fleet: Fleet, wanted: int, path: str = "/", **headers: str) -> bool:
    return (await ask(fleet.site, path, **headers)).status == wanted


async def test_plans_and_shadows_over_all(fleet: Fleet) -> None:
    site = fleet.site
    site.plane.write("clients.yaml", *clients())
    site.plane.write("auth.yaml", auth_policy("all", GATEWAY, apiKeys={"headers": ["X-API-Key"]}))
    await site.served("shop.example", status=401)
    plans = {"gold": {"requests": 40}, "free": {"unlimited": True}}
    await change(
        site,
        policy(
            ROUTE, plan=limit(16, plans=plans), shadow=limit(1, shadow=True, headers={"xRateLimit": False})
        ),
    )
    await settled(fleet, "/", x_api_key=CYD)
    assert await many(fleet, 64, x_api_key=ALICE) == {200: 40, 429: 24}
    assert (await many(fleet, 64, x_api_key=BOB))[429] == 0
    assert (await many(fleet, 16, x_api_key=CYD))[429] >= 12
    shadow = {"limit": "shop/edge.shop/p/shadow", "outcome": "shadow"}
    assert sum([await one.metric("hits_total", **shadow) for one in fleet.services]) > 90


async def test_redis_and_services_come_and_go_under_load(fleet: Fleet) -> None:
    """Nobody gets an error. Without Redis requests pass and are counted; without one service the other
    decides; without any everything passes; and all of it ends by itself."""
    site = fleet.site
    await change(site, policy(ROUTE, user=limit(20, key=USER)))
    await settled(fleet, "/", x_user="probe")
    seen: Counter[int] = Counter()
    stop = asyncio.Event()

    async def client(number: int) -> None:
        while not stop.is_set():
            seen[(await ask(site, x_user=f"user{number % 2}")).status] += 1

    async def without() -> float:
        return sum([await one.metric("decisions_without_store_total", mode="open") for one in fleet.services])

    async def passes(number: int, what: str) -> None:
        before = seen[200]
        await net.until(what, lambda: seen[200] > before + number, limit=30)

    async def denies(what: str) -> None:
        async def only() -> bool:
            before = Counter(seen)
            await net.until(what, lambda: seen[429] > before[429] + 10)
            return seen[200] == before[200]

        await net.until(what, only, limit=30)

    tasks = [asyncio.create_task(client(number)) for number in range(8)]
    try:
        await denies("all is used up")
        await fleet.redis.kill()
        await passes(40, "what nobody can count passes")

        async def counted() -> bool:
            return await without() > 40

        await net.until("and is counted", counted)
        await fleet.redis.start()
        await denies("Redis counts again")
        first, second = fleet.services
        await first.end()
        await denies("one service decides alone")
        await second.kill()
        await passes(40, "without any service all passes")
        await second.start()
        await denies("it decides again")
    finally:
        stop.set()
        await asyncio.gather(*tasks)
    assert set(seen) == {200, 429}
