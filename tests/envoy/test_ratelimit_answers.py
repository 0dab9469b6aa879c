"""Redirects and direct responses whose requests the rate-limit service counts."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.envoy.test_auth import policy as auth_policy
from tests.envoy.test_ratelimit_consumers import ALICE, CYD, clients
from tests.envoy.test_ratelimit_policy import ROUTE, ask, change, limit, policy, start, statuses, tables
from tests.harness import manifests, net
from tests.harness.manifests import http_route, rule
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


@pytest.mark.parametrize("scoped", [False, True])
async def test_the_route_that_was_counted_answers(tmp_path: Path, envoy_binary: Path, scoped: bool) -> None:
    """Headers change on the way (a key is taken off, its owner's name is put on): neither makes another route
    of it, nor is the request sent anywhere; and nobody gets past the count by knowing how it is made. In a
    list, and in a tree within scopes."""
    by_key = {"headers": [{"name": "x-api-key", "value": ALICE}]}
    by_name = {"headers": [{"name": "x-consumer-id", "type": "RegularExpression", "value": ".+"}]}
    environment = {"DRAGOMAN_GATEWAYS_SCOPED_HOSTS": "2"} if scoped else None
    async with Site(tmp_path, environment=environment) as site:
        rules = moved("told", "/old", "/told", **by_name), moved("keyed", "/old", "/keyed", **by_key)
        if scoped:
            more = [http_route(f"h{n}", rule("shop"), hostnames=[f"h{n}.example"]) for n in range(3)]
            paths = [[rule("shop", path=f"/t/{n}/{m}") for m in range(16)] for n in range(8)]
            more += [http_route(f"t{n}", *some, hostnames=["shop.example"]) for n, some in enumerate(paths)]
            site.plane.write("more.yaml", *more)
        await start(site, *rules, rule("shop"))
        site.plane.write("clients.yaml", *clients())
        site.plane.write("auth.yaml", auth_policy("keys", ROUTE, apiKeys={"headers": ["X-API-Key"]}))
        site.plane.write("policy.yaml", policy(ROUTE, user=limit(3, key=[{"type": "Consumer"}])))
        await site.served("shop.example", status=401)
        if scoped:
            await net.until("scopes and a tree", lambda: cut(site))

        async def counted() -> bool:
            return "x-ratelimit-limit" in (await ask(site, "/old/a?b=1", x_api_key=CYD)).headers

        await net.until("redirects are counted", counted)
        reply = await ask(site, "/old/a?b=1", x_api_key=CYD)
        assert reply.status == 200, "it matches the rule for all else"
        reply = await ask(site, "/old/a?b=1", x_api_key=ALICE)
        assert reply.status == 302
        assert reply.headers["location"].endswith("/keyed/a?b=1")
        assert reply.headers["x-ratelimit-remaining"] == "2"
        forged = {"x_api_key": ALICE, "dragoman_counted": "HTTPRoute/shop/shop"}
        assert await statuses(site, 3, "/old", **forged) == [302, 302, 429]


async def cut(site: Site) -> bool:
    """Whether Envoy looks in scopes, and in a tree of routes within them."""
    text = json.dumps(await site.envoy.config())
    return '"scoped_routes"' in text and '"prefix_match_map"' in text


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
