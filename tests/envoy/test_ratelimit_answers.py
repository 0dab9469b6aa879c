"""Redirects and direct responses whose requests the rate-limit service counts."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.envoy.test_auth import policy as auth_policy
from tests.envoy.test_ratelimit_consumers import ALICE, clients
from tests.envoy.test_ratelimit_policy import ROUTE, ask, change, limit, policy, start, statuses, tables
from tests.harness import manifests, net
from tests.harness.manifests import rule
from tests.harness.site import Site

pytestmark = pytest.mark.envoy


def moved(name: str, path: str, to: str, **match: object) -> manifests.Body:
    target = {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": to}, "statusCode": 302}
    return {
        "name": name,
        "matches": [{"path": {"value": path}, **match}],
        "filters": [{"type": "RequestRedirect", "requestRedirect": target}],
    }


def answer(name: str, cost: str) -> manifests.Body:
    response = {"status": 200, "body": {"text": "said"}, "headers": [{"name": "x-cost", "value": cost}]}
    return {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "HTTPPolicy",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"targetRefs": [{**ROUTE, "sectionName": name}], "directResponse": response},
    }


async def test_a_cost_of_the_answer(site: Site) -> None:
    """It is charged at the end, as a backend's would be."""
    await start(site, rule("shop", path="/said", name="said"), rule("shop"))
    cost = {"header": "x-cost", "of": "Response"}
    await change(site, answer("said", "6"), policy(ROUTE, tokens=limit(10, cost=cost)))
    first = await ask(site, "/said")
    assert (first.status, first.body, first.headers["x-ratelimit-remaining"]) == (200, b"said", "10")
    seen = {200}

    async def spent() -> bool:
        reply = await ask(site, "/said")
        seen.add(reply.status)
        return reply.status == 429

    await net.until("what the answers cost is charged", spent)
    assert seen == {200, 429}


async def test_the_route_that_was_counted_answers(site: Site) -> None:
    """Headers change on the way (a key is taken off, its owner's name is put on): neither makes another route
    of it, nor is the request sent anywhere; and nobody gets past the count by knowing how it is made."""
    by_key = {"headers": [{"name": "x-api-key", "value": ALICE}]}
    by_name = {"headers": [{"name": "x-consumer-id", "type": "RegularExpression", "value": ".+"}]}
    await start(
        site,
        moved("told", "/old", "/told", **by_name),
        moved("keyed", "/old", "/keyed", **by_key),
        rule("shop"),
    )
    site.plane.write("clients.yaml", *clients())
    site.plane.write("auth.yaml", auth_policy("keys", ROUTE, apiKeys={"headers": ["X-API-Key"]}))
    await site.served("shop.example", status=401)
    await change(site, policy(ROUTE, user=limit(2, key=[{"type": "Consumer"}])))
    reply = await ask(site, "/old/a?b=1", x_api_key=ALICE)
    assert reply.status == 302
    assert reply.headers["location"].endswith("/keyed/a?b=1")
    assert reply.headers["x-ratelimit-remaining"] == "1"
    assert await statuses(site, 2, "/old", x_api_key=ALICE, dragoman_counted="HTTPRoute/shop/shop") == [
        302,
        429,
    ]


async def test_a_limit_of_redirects_comes_and_goes(site: Site) -> None:
    """Under load: no request gets anything but its redirect."""
    await start(site, moved("old", "/old", "/new"), rule("shop"))

    stop = asyncio.Event()
    limits: set[str | None] = set()

    async def client() -> None:
        while not stop.is_set():
            reply = await ask(site, "/old")
            assert (reply.status, reply.headers["location"][-4:]) == (302, "/new"), reply
            limits.add(reply.headers.get("x-ratelimit-limit"))

    clients = [asyncio.create_task(client()) for _ in range(2)]
    for number in (1_000_001, 1_000_002):
        await change(site, policy(ROUTE, many=limit(number, failure="Closed")))

        async def counted(number: int = number) -> bool:
            return str(number) in limits

        await net.until("redirects are counted", counted)
        before = await tables(site)
        site.plane.remove("policy.yaml")

        async def gone(before: int = before) -> bool:
            return await tables(site) > before

        await net.until("the limit is gone", gone)
    stop.set()
    await asyncio.gather(*clients)
    assert limits == {None, "1000001", "1000002"}


async def test_closed_when_the_service_is_gone(site: Site) -> None:
    """Redirects get 503 as well, and where the limit is open they go on."""
    await start(site, moved("open", "/open", "/new"), moved("closed", "/closed", "/new"), rule("shop"))
    await change(
        site,
        policy({**ROUTE, "sectionName": "open"}, "open", one=limit(1)),
        policy({**ROUTE, "sectionName": "closed"}, "closed", two=limit(1, failure="Closed")),
    )
    assert await statuses(site, 2, "/open") == [302, 429]
    await site.plane.kill()
    assert await statuses(site, 2, "/open") == [302, 302]
    denied = await ask(site, "/closed")
    assert denied.status == 503
    assert json.loads(denied.body)["error"] == "rate_limit_unavailable"
