"""RateLimitPolicies with `where: Quota`: Envoy counts what the service of the plane assigns to it."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.envoy.test_auth import GATEWAY, policy as auth_policy
from tests.envoy.test_ratelimit_consumers import ALICE, ALICES, BOB, CYD, PARTNER, clients
from tests.envoy.test_ratelimit_policy import ROUTE, ask, change, limit, policy, start, tables
from tests.harness import net
from tests.harness.manifests import rule
from tests.harness.site import Site

pytestmark = pytest.mark.envoy


async def assigned(site: Site, path: str = "/", **headers: str) -> int:
    """Asks at once until a request is denied; how many passed before. The first go before there is an
    assignment."""
    for passed in range(2000):
        if (await ask(site, path, **headers)).status == 429:
            return passed
    raise AssertionError("nothing is denied")


async def test_envoy_keeps_what_is_assigned(site: Site) -> None:
    """It denies with JSON, without asking; another number is assigned at once, without other routes."""
    await start(site, rule("shop", path="/other", name="other"), rule("shop"))
    when = [{"methods": ["GET"]}, {"path": {"value": "/other"}, "invert": True}]
    await change(site, policy(ROUTE, own=limit(2, "Second", where="Quota", when=when)))
    await assigned(site)
    denied = await ask(site)
    assert denied.status == 429
    assert denied.headers["content-type"] == "application/json"
    body = json.loads(denied.body)
    assert body["error"] == "rate_limit_exceeded"
    assert denied.headers["retry-after"] == str(body["retryAfter"]) == "1"
    for missed in ({"method": "POST"}, {"path": "/other"}):
        assert [(await ask(site, **missed)).status for _ in range(10)] == [200] * 10
    heard = json.loads((await ask(site, method="POST")).body)["headers"]
    assert not [name for name in heard if "quota" in name.lower()], "the backend sees nothing of it"
    # No client chooses a bucket.
    assert (await ask(site, x_dragoman_quota_0_limit="none", x_dragoman_quota_0="")).status == 429
    routes = await tables(site)
    site.plane.write("policy.yaml", policy(ROUTE, own=limit(100_000, "Second", where="Quota", when=when)))

    async def more() -> bool:
        return [(await ask(site)).status for _ in range(20)] == [200] * 20

    await net.until("more is assigned", more, limit=15)
    assert await tables(site) == routes
    stats = await site.envoy.stats(r"^cluster\.ratelimit(-streams)?\.upstream_rq_total$")
    assert stats.get("cluster.ratelimit.upstream_rq_total", 0) == 0, "nobody is asked"
    assert stats["cluster.ratelimit-streams.upstream_rq_total"] >= 1


async def test_a_quota_of_each_client_and_by_plan(site: Site) -> None:
    """Two quotas of one route; each client has its own bucket, and the number of its plan."""
    await start(site)
    site.plane.write("clients.yaml", *clients())
    keys = {"headers": ["X-API-Key"], "secretRefs": [{"name": "partners"}]}
    site.plane.write("auth.yaml", auth_policy("all", GATEWAY, apiKeys=keys))
    await site.served("shop.example", status=401)
    plans = {"gold": {"requests": 60}, "free": {"unlimited": True}}
    await change(
        site,
        policy(ROUTE, plan=limit(1, "Second", where="Quota", plans=plans)),
        policy(GATEWAY, "edge", all=limit(2, "Second", where="Quota", when=[{"methods": ["PUT"]}])),
    )
    few = await assigned(site, x_api_key=CYD)
    assert few < 30
    many = await assigned(site, x_api_key=ALICE)
    assert many > 40
    assert [(await ask(site, x_api_key=BOB)).status for _ in range(60)] == [200] * 60
    await assigned(site, x_api_key=PARTNER)
    # The other quota is the first one's neighbour: it counts all PUTs of everybody.
    await assigned(site, x_api_key=BOB, method="PUT")
    assert 429 in [(await ask(site, x_api_key=ALICES, method="PUT")).status for _ in range(10)]
    assert (await ask(site, x_api_key=BOB)).status == 200


async def test_quotas_survive_other_changes(site: Site) -> None:
    """A bucket stays when routes, listeners or other quotas change."""
    await start(site)
    await change(site, policy(ROUTE, own=limit(60, "Minute", where="Quota")))
    await assigned(site)
    await change(
        site,
        policy(ROUTE, own=limit(60, "Minute", where="Quota", failure="Closed")),
    )

    async def heard() -> bool:
        return (await ask(site)).status != 503

    await net.until("the service is there", heard)
    spent = [(await ask(site)).status for _ in range(4)]
    assert spent.count(429) >= 2, spent


async def test_what_happens_without_the_service(site: Site) -> None:
    """Open lets pass when the assignment has ended; closed denies, and says that nobody counts."""
    await start(site, rule("shop", path="/closed", name="closed"), rule("shop"))
    await change(
        site,
        policy(ROUTE, "open", open=limit(1, "Second", where="Quota")),
        policy(
            {**ROUTE, "sectionName": "closed"},
            "closed",
            open={"disabled": True},
            closed=limit(1, "Second", where="Quota", failure="Closed"),
        ),
    )
    await assigned(site)

    async def heard() -> bool:
        return (await ask(site, "/closed")).status == 200

    await net.until("the service is there", heard)
    await assigned(site, "/closed")
    await site.plane.kill()

    async def passes() -> bool:
        return [(await ask(site)).status for _ in range(8)] == [200] * 8

    await net.until("the assignment has ended", passes, limit=40)

    async def denies() -> bool:
        return (await ask(site, "/closed")).status == 503

    await net.until("that of the other, too", denies, limit=40)
    assert [(await ask(site, "/closed")).status for _ in range(8)] == [503] * 8
    await site.plane.start()

    async def counted() -> bool:
        return 429 in await asyncio.gather(*(_status(site, "/") for _ in range(8)))

    await net.until("it is assigned again", counted, limit=40)

    async def reopened() -> bool:
        return 200 in [(await ask(site, "/closed")).status for _ in range(3)]

    await net.until("so is the other", reopened, limit=40)


async def _status(site: Site, path: str) -> int:
    return (await ask(site, path)).status


async def test_a_rule_without_a_backend(site: Site) -> None:
    """Redirects can be limited by quotas."""
    to = {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/new"}, "statusCode": 302}
    old = {
        "matches": [{"path": {"value": "/old"}}],
        "filters": [{"type": "RequestRedirect", "requestRedirect": to}],
    }
    await start(site, {**old, "name": "old"}, rule("shop"))
    assert (await ask(site, "/old")).status == 302
    target = {**ROUTE, "sectionName": "old"}
    await change(site, policy(target, own=limit(1, "Second", where="Quota")))
    await assigned(site, "/old")
    assert (await ask(site, "/old")).status == 429
