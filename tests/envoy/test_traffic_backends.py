"""TrafficPolicies about backends through a real Envoy: limits, and endpoints that are left alone."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.harness import net
from tests.harness.pods import Pod, ask, backend, many, pod, policy, route, slices
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

HOST = "shop.example"
SHOP = ("Service", "shop")
PAUSE = 0.02
"""Seconds between requests where one of them makes Envoy leave an endpoint alone: its workers are told."""


async def at_once(count: int, port: int, path: str = "/?delay=700ms") -> Counter[int]:
    """The statuses of requests sent together."""
    replies = await asyncio.gather(*(ask(port, HOST, path) for _ in range(count)))
    return Counter(reply.status for reply in replies)


async def test_more_connections_than_the_limit_are_answered_503(site: Site) -> None:
    """One connection and one request that waits for it: of ten at once, two are served."""
    one = await pod(site, "one")
    limits = {"maxConnections": 1, "maxPendingRequests": 1}
    site.plane.write("policy.yaml", policy("p", *SHOP, circuitBreaker=limits))
    site.plane.write("shop.yaml", *slices("shop", one), route("shop", "shop"))
    await site.served(HOST)
    asked = one.mood.asked
    assert await at_once(10, site.port) == {200: 2, 503: 8}
    assert one.mood.asked - asked == 2
    assert len(one.connections) == 1
    stats = await site.envoy.stats(r"cluster\.Service/shop/shop/80\.(upstream_rq_pending_overflow|circuit)")
    assert stats["cluster.Service/shop/shop/80.upstream_rq_pending_overflow"] == 8
    assert stats["cluster.Service/shop/shop/80.circuit_breakers.default.remaining_cx"] == 0
    assert stats["cluster.Service/shop/shop/80.circuit_breakers.default.remaining_pending"] == 1


async def test_more_requests_than_the_limit_are_answered_503(site: Site) -> None:
    one = await pod(site, "one")
    site.plane.write("policy.yaml", policy("p", *SHOP, circuitBreaker={"maxRequests": 3}))
    site.plane.write("shop.yaml", *slices("shop", one), route("shop", "shop"))
    await site.served(HOST)
    asked = one.mood.asked
    assert await at_once(10, site.port) == {200: 3, 503: 7}
    assert one.mood.asked - asked == 3


async def test_connections_to_each_endpoint_are_limited(site: Site) -> None:
    """Two endpoints with two connections each: never a third one at either."""
    pods = [await pod(site, name) for name in ("one", "two")]
    most: Counter[str] = Counter()
    site.plane.write("policy.yaml", policy("p", *SHOP, circuitBreaker={"maxConnectionsPerEndpoint": 2}))
    site.plane.write("shop.yaml", *slices("shop", *pods), route("shop", "shop"))
    await site.served(HOST)
    asking = asyncio.create_task(at_once(12, site.port, "/?delay=150ms"))
    while not asking.done():
        for one in pods:
            most[one.name] = max(most[one.name], len(one.connections))
        await asyncio.sleep(0.005)
    assert most == {"one": 2, "two": 2}


async def failing(site: Site, **detection: object) -> None:
    """A Service of two pods, of which `bad` is about to fail."""
    pods = [await pod(site, name) for name in ("good", "bad")]
    site.plane.write("policy.yaml", policy("p", *SHOP, outlierDetection=detection))
    site.plane.write("shop.yaml", *slices("shop", *pods), route("shop", "shop"))
    await site.served(HOST)
    pods[1].mood.status = 500


async def test_an_endpoint_that_fails_is_left_alone(site: Site) -> None:
    await failing(site, consecutive5xx=4, baseEjectionTime="300s")
    found = await many(60, site.port, HOST, PAUSE)
    assert found == {"good": 56, "500": 4}
    site.backends["bad"].mood.status = 200  # type: ignore[attr-defined]
    assert await many(30, site.port, HOST) == {"good": 30}


def flaky(one: Pod) -> None:
    """From now on every other request fails: never two in a row."""
    mood = one.mood
    answer = type(mood).answer

    def every_other(request: object) -> object:
        mood.status = 500 if mood.status == 200 else 200
        return answer(mood, request)  # type: ignore[arg-type]

    one.echo = type("Flaky", (), {"identity": mood.identity, "answer": staticmethod(every_other)})()


async def test_gateway_errors_are_502_to_504(site: Site) -> None:
    """Answers 500 do not count; answers 503 do."""
    await failing(site, consecutiveGatewayErrors=3, baseEjectionTime="300s")
    assert (await many(40, site.port, HOST, PAUSE))["500"] >= 10
    site.backends["bad"].mood.status = 503  # type: ignore[attr-defined]
    found = await many(40, site.port, HOST, PAUSE)
    assert found == {"good": 37, "503": 3}


async def test_an_endpoint_that_succeeds_less_often_than_the_others(site: Site) -> None:
    """By statistics: one of four fails every second time, never twice in a row."""
    names = ("one", "two", "three", "bad")
    pods = [await pod(site, name) for name in names]
    rate = {"minimumEndpoints": 4, "minimumRequests": 5, "deviations": 1.0}
    detection = {"successRate": rate, "interval": "1s", "baseEjectionTime": "300s"}
    site.plane.write("policy.yaml", policy("p", *SHOP, outlierDetection=detection))
    site.plane.write("shop.yaml", *slices("shop", *pods), route("shop", "shop"))
    await site.served(HOST)
    flaky(pods[3])

    async def alone() -> bool:
        return not {"bad", "500"} & set(await many(20, site.port, HOST, PAUSE))

    await net.until("it is left alone", alone, limit=20)


async def test_it_is_left_alone_whatever_else_changes(site: Site) -> None:
    """A changed cluster would forget: nothing about this cluster may change with other things."""
    await failing(site, consecutive5xx=4, baseEjectionTime="300s")
    bad = site.backends["bad"]
    assert (await many(60, site.port, HOST, PAUSE))["500"] == 4
    asked = bad.mood.asked  # type: ignore[attr-defined]
    # Another cluster and another route; the route's own rules; an endpoint that comes by EDS.
    site.plane.write("other.yaml", *await site.service("other"), route("other", "other"))
    await site.served("other.example")
    changed = route("shop", "shop")
    changed["spec"]["rules"].insert(
        0, {**changed["spec"]["rules"][0], "matches": [{"path": {"value": "/new"}}]}
    )
    changed["spec"]["rules"][0]["timeouts"] = {"request": "9s"}
    site.plane.write("routes.yaml", changed)
    third = await pod(site, "third")
    pods = [site.backends["good"], bad, third]
    site.plane.write("shop.yaml", *slices("shop", *pods))

    async def joined() -> bool:
        return "third" in await many(10, site.port, HOST)

    await net.until("the new endpoint answers", joined)
    found = await many(60, site.port, HOST, PAUSE)
    assert set(found) == {"good", "third"}
    assert bad.mood.asked == asked  # type: ignore[attr-defined]


async def test_failures_that_envoy_sees_itself_count_apart(site: Site) -> None:
    """Connections that are refused, with answers 500 not counted at all."""
    good, bad = [await pod(site, name) for name in ("good", "bad")]
    port = net.free_port()
    detection = {"consecutiveLocalErrors": 2, "baseEjectionTime": "300s"}
    site.plane.write("policy.yaml", policy("p", "Backend", "shop", outlierDetection=detection))
    site.plane.write("shop.yaml", backend("shop", {"port": good.port}, {"port": port}, {"port": bad.port}))
    site.plane.write("route.yaml", route("shop", "shop", kind="Backend"))
    await net.until("served", lambda: _served(site))
    bad.mood.status = 500
    found = await many(90, site.port, HOST, PAUSE)
    assert found["503"] <= 2
    assert found["500"] > 20
    stats = await site.envoy.stats(r"cluster\.Backend/shop/shop\.outlier_detection\.ejections_active")
    assert list(stats.values()) == [1]


async def _served(site: Site) -> bool:
    return "good" in await many(6, site.port, HOST)


async def test_a_breaker_opens_and_closes_again(site: Site) -> None:
    """One endpoint: after five failures requests are answered at once and it is left in peace; then it is
    asked again."""
    one = await pod(site, "one")
    detection = {"breaker": True, "interval": "100ms", "baseEjectionTime": "3s"}
    site.plane.write("policy.yaml", policy("p", *SHOP, outlierDetection=detection))
    site.plane.write("shop.yaml", *slices("shop", one), route("shop", "shop"))
    await site.served(HOST)
    one.mood.status, one.mood.asked = 500, 0
    assert await many(40, site.port, HOST, PAUSE) == {"500": 5, "503": 35}
    assert one.mood.asked == 5
    one.mood.status = 200

    async def closed() -> bool:
        return set(await many(1, site.port, HOST)) == {"one"}

    await net.until("the breaker closed", closed, pause=0.1)
    assert await many(20, site.port, HOST, PAUSE) == {"one": 20}
    # Every time as long as the first: were it longer each time, the third would last 9 s.
    for _ in range(2):
        one.mood.status, one.mood.asked = 500, 0
        assert (await many(20, site.port, HOST, PAUSE))["500"] == 5
        assert one.mood.asked == 5
        one.mood.status = 200
        await net.until("the breaker closed again", closed, limit=6, pause=0.1)


async def test_half_of_the_endpoints_at_most_without_a_breaker(site: Site) -> None:
    """One endpoint alone is never left alone, unless that is asked for."""
    one = await pod(site, "one")
    site.plane.write("policy.yaml", policy("p", *SHOP, outlierDetection={"consecutive5xx": 2}))
    site.plane.write("shop.yaml", *slices("shop", one), route("shop", "shop"))
    await site.served(HOST)
    one.mood.status = 500
    assert await many(20, site.port, HOST, PAUSE) == {"500": 20}


async def test_a_failing_share_of_requests(site: Site) -> None:
    """Every other request fails: never two in a row, but half of them."""
    pods = [await pod(site, name) for name in ("good", "bad")]
    detection = {
        "failurePercentage": {"threshold": 40, "minimumRequests": 20},
        "interval": "300ms",
        "baseEjectionTime": "300s",
    }
    site.plane.write("policy.yaml", policy("p", *SHOP, outlierDetection=detection))
    site.plane.write("shop.yaml", *slices("shop", *pods), route("shop", "shop"))
    await site.served(HOST)
    flaky(pods[1])

    async def alone() -> bool:
        return await many(60, site.port, HOST) == {"good": 60}

    await net.until("the failing endpoint left alone", alone)


async def test_panic_asks_everybody(site: Site) -> None:
    one = await pod(site, "one")
    detection = {"consecutive5xx": 2, "maxEjectionPercent": 100, "baseEjectionTime": "300s"}
    site.plane.write(
        "policy.yaml", policy("p", *SHOP, outlierDetection=detection, failover={"panicThreshold": 50})
    )
    site.plane.write("shop.yaml", *slices("shop", one), route("shop", "shop"))
    await site.served(HOST)
    one.mood.status = 500
    assert await many(20, site.port, HOST, PAUSE) == {"500": 20}
    stats = await site.envoy.stats(r"cluster\.Service/shop/shop/80\.outlier_detection\.ejections_active")
    assert list(stats.values()) == [1]


@pytest.mark.parametrize("target", ["HTTPRoute", "Service"])
async def test_an_open_breaker_hands_over_to_another_backend(site: Site, target: str) -> None:
    """While it is open the other backend answers, and nobody sees an error; closed, the first one is back."""
    one, other = await pod(site, "one"), await pod(site, "other")
    wanted = policy(
        "p",
        target,
        "shop",
        outlierDetection={"breaker": True, "interval": "100ms", "baseEjectionTime": "3s"},
        fallback={"backendRef": {"name": "other", "port": 80}},
    )
    site.plane.write("policy.yaml", wanted)
    site.plane.write("shop.yaml", *slices("shop", one), *slices("other", other), route("shop", "shop"))
    await site.served(HOST)
    one.mood.status, one.mood.asked = 500, 0
    assert await many(40, site.port, HOST, PAUSE) == {"500": 5, "other": 35}
    assert one.mood.asked == 5
    one.mood.status = 200

    async def back() -> bool:
        return set(await many(1, site.port, HOST)) == {"one"}

    await net.until("the first one back", back, pause=0.1)
    assert await many(20, site.port, HOST, PAUSE) == {"one": 20}
