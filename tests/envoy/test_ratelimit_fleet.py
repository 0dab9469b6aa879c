"""Two Envoys, two rate-limit services that take their limits from the control plane, one Redis.

Both Envoys listen on the same port, and the kernel deals connections out to them. All tests share them: each
has limits of its own, and leaves everybody running.
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

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]


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

    async def decided(self, outcome: str = "over_limit") -> list[float]:
        """What each service has denied."""
        names = {"domain": "shop/edge", "outcome": outcome}
        return [await one.metric("decisions_total", **names) for one in self.services]

    async def uncounted(self, mode: str = "open") -> float:
        """Requests that a service decided without Redis: here also because a machine stood still for longer
        than it waits."""
        return sum([await one.metric("decisions_without_store_total", mode=mode) for one in self.services])

    async def failed(self) -> int:
        """Requests that an Envoy refused because nobody could count them."""
        pattern = r"^cluster\..*\.ratelimit\.error$"
        return sum([sum((await one.stats(pattern)).values()) for one in self.envoys])


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory, envoy_binary: Path) -> AsyncIterator[Fleet]:
    tmp_path = tmp_path_factory.mktemp("fleet")
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


async def passing(fleet: Fleet, wanted: int, number: int, **headers: str) -> None:
    """Of so many requests so many pass, and none but these: those aside that nobody could count."""
    before = await fleet.failed() + await fleet.uncounted()
    seen = await many(fleet, number, **headers)
    lost = await fleet.failed() + await fleet.uncounted() - before
    assert seen == {200: seen[200], 429: number - seen[200]}
    assert wanted <= seen[200] <= wanted + lost


async def test_one_limit_for_all(fleet: Fleet) -> None:
    """Not one request too many; a changed number reaches the services and loses no counts; limits outlive the
    control plane; the body says which limit it was."""
    site = fleet.site
    await change(
        site,
        policy(ROUTE, user=limit(40, key=USER, headers={"rateLimit": True}, body={"message": "Slowly."})),
    )
    await settled(fleet, "/", x_user="probe")
    served, decided = await fleet.served(), await fleet.decided()
    await passing(fleet, 40, 96, x_user="ann")
    both = zip(served, await fleet.served(), strict=True)
    assert all(after - before > 10 for before, after in both), "both Envoys"
    both = zip(decided, await fleet.decided(), strict=True)
    assert all(after - before > 5 for before, after in both), "both services"
    denied = await ask(site, x_user="ann")
    wait = int(denied.headers["retry-after"])
    body = {"error": "rate_limit_exceeded", "message": "Slowly.", "retryAfter": wait, "limit": 40}
    assert json.loads(denied.body) == body
    assert denied.headers["ratelimit-policy"] == "40;w=86400"
    site.plane.write("policy.yaml", policy(ROUTE, user=limit(50, key=USER)))

    async def fresh() -> bool:
        return {(await ask(site, x_user="eve")).headers["x-ratelimit-limit"] for _ in range(6)} == {"50"}

    await net.until("the new number is everywhere", fresh)
    await passing(fleet, 10, 48, x_user="ann")
    await site.plane.kill()
    await passing(fleet, 50, 96, x_user="bob")
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
    await passing(fleet, 40, 64, x_api_key=ALICE)
    assert (await many(fleet, 64, x_api_key=BOB))[429] == 0
    assert (await many(fleet, 16, x_api_key=CYD))[429] >= 12
    shadow = {"limit": "shop/edge.shop/p/shadow", "outcome": "shadow"}
    assert sum([await one.metric("hits_total", **shadow) for one in fleet.services]) > 90
    site.plane.remove("auth.yaml")
    site.plane.remove("policy.yaml")
    await site.served("shop.example")


async def test_redis_and_services_come_and_go_under_load(fleet: Fleet) -> None:
    """Without Redis, or without any service, requests pass an open limit and get 503 at a closed one, and
    both is counted. One service is enough, whichever it is, and nobody notices that the other restarts. All
    of it ends by itself, and nobody gets any other error."""
    site = fleet.site
    closed = {"open": {"disabled": True}, "closed": limit(20, key=USER, failure="Closed")}
    await change(
        site,
        policy(ROUTE, open=limit(20, key=USER)),
        policy({**ROUTE, "sectionName": "closed"}, "closed", **closed),
    )
    for path in ("/", "/closed"):
        await settled(fleet, path, x_user="probe")
    seen = {path: Counter[int]() for path in ("/", "/closed")}
    refused = 0
    """Without waiting: not because a machine that stood still let Envoy's half a second go by."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def client(path: str, number: int) -> None:
        nonlocal refused
        while not stop.is_set():
            begun = loop.time()
            reply = await ask(site, path, x_user=f"user{number % 2}")
            seen[path][reply.status] += 1
            if reply.status == 503:
                assert json.loads(reply.body)["error"] == "rate_limit_unavailable"
                refused += loop.time() - begun < 0.35

    async def becomes(what: str, on_open: int, on_closed: int) -> None:
        """From now on the two limits answer so, and nothing else."""

        async def only() -> bool:
            before = {path: Counter(found) for path, found in seen.items()}

            def enough() -> bool:
                more = [seen[path].total() - before[path].total() for path in seen]
                return min(more) > 12

            await net.until(what, enough)
            new = [set(seen[path] - before[path]) for path in ("/", "/closed")]
            return new == [{on_open}, {on_closed}]

        await net.until(what, only, limit=40)

    tasks = [asyncio.create_task(client(path, number)) for number in range(4) for path in seen]
    try:
        await becomes("all is used up", 429, 429)
        assert not refused
        await fleet.redis.kill()
        await becomes("nobody can count", 200, 503)

        async def counted() -> bool:
            many = seen["/closed"][503]
            failed, errors = await fleet.failed(), sum(await fleet.decided("error"))
            unseen = await fleet.uncounted("fail")
            return await fleet.uncounted() > 12 and min(unseen, failed, errors) >= many

        await net.until("what passes and what is refused is counted", counted)
        await fleet.redis.start()
        await becomes("Redis counts again", 429, 429)
        before = refused
        first, second = fleet.services
        await first.end()
        await becomes("one service decides alone", 429, 429)
        await first.start()
        alone = await first.metric("decisions_total", domain="shop/edge", outcome="over_limit")

        async def asked() -> bool:
            outcome = await first.metric("decisions_total", domain="shop/edge", outcome="over_limit")
            return outcome > alone + 12

        await net.until("the restarted one is asked again", asked)
        await second.end()
        await becomes("the restarted one decides alone", 429, 429)
        assert refused == before, "a service that ends costs nothing"
        await first.kill()
        await becomes("there is no service", 200, 503)
        await asyncio.gather(first.start(), second.start())
        await becomes("they decide again", 429, 429)
    finally:
        stop.set()
        await asyncio.gather(*tasks)
    assert set(seen["/"]) == {200, 429}
    assert set(seen["/closed"]) == {200, 429, 503}
