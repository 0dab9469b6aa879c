"""Limits by who the client is, and by its plan, through the whole plane and the real Envoy."""

from __future__ import annotations

import pytest

from tests.envoy import test_consumers as consumers
from tests.envoy.test_auth import GATEWAY, bearer, policy as auth_policy, token
from tests.envoy.test_auth_keys import consumer, secret
from tests.envoy.test_ratelimit_policy import ROUTE, ask, change, limit, policy, start
from tests.harness import manifests, net
from tests.harness.manifests import rule
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

ALICE, ALICES, BOB, CYD, PARTNER = "alice-0001", "alice-0002", "bob-0003", "cyd-0004", "partner-0005"
CONSUMER = [{"type": "Consumer"}]


def clients(alice: str = "gold") -> list[manifests.Body]:
    """Alice has two keys and a plan of her own; an entry of a Secret has bob's name."""
    return [
        secret("alice-keys", one=ALICE, two=ALICES),
        secret("bob-keys", key=BOB),
        secret("cyd-keys", key=CYD),
        secret("partners", bob=PARTNER),
        consumer("alice", plan=alice),
        consumer("bob", plan="free"),
        consumer("cyd"),
    ]


@pytest.fixture
async def shop(site: Site) -> Site:
    await start(site, *(rule("shop", path=f"/{name}", name=name) for name in ("a", "b")), rule("shop"))
    site.plane.write("clients.yaml", *clients())
    keys = {"headers": ["X-API-Key"], "secretRefs": [{"name": "partners"}]}
    site.plane.write("auth.yaml", auth_policy("all", GATEWAY, apiKeys=keys))
    await site.served("shop.example", status=401)
    return site


async def statuses(site: Site, key: str, number: int, path: str = "/") -> list[int]:
    return [(await ask(site, path, x_api_key=key)).status for _ in range(number)]


@pytest.mark.parametrize("where", ["Global", "Local"])
async def test_a_count_for_each_client(shop: Site, where: str) -> None:
    """Whichever of its keys it shows; a Secret's entry with a Consumer's name is somebody else."""
    key = [*CONSUMER, {"type": "Path"}]
    await change(
        shop, policy(ROUTE, own=limit(2, key=CONSUMER, where=where), path=limit(1, key=key, where=where))
    )
    assert await statuses(shop, ALICE, 1, "/a") == [200]
    assert await statuses(shop, ALICES, 1, "/a") == [429]  # the path's; it counts for both
    assert await statuses(shop, BOB, 2, "/a") == [200, 429]
    assert await statuses(shop, PARTNER, 1, "/a") == [200]
    assert await statuses(shop, PARTNER, 1, "/b") == [200]
    assert await statuses(shop, PARTNER, 1) == [429]
    assert [(await ask(shop)).status] == [401], "who may not pass at all is not counted"


@pytest.mark.parametrize("where", ["Global", "Local"])
async def test_plans(shop: Site, where: str) -> None:
    plans = {"gold": {"requests": 4}, "free": {"requests": 2, "per": "Hour"}, "staff": {"unlimited": True}}
    await change(shop, policy(ROUTE, plan=limit(1, where=where, plans=plans)))
    assert await statuses(shop, ALICE, 5) == [200, 200, 200, 200, 429]
    assert await statuses(shop, ALICES, 1) == [429], "one count for a client"
    assert await statuses(shop, BOB, 3) == [200, 200, 429]
    assert await statuses(shop, CYD, 2) == [200, 429]
    assert await statuses(shop, PARTNER, 2) == [200, 429]
    forged = [(await ask(shop, x_api_key=CYD, x_consumer_plan="staff", x_consumer_id="alice")).status]
    assert forged == [429], "nobody chooses a plan"
    # Another plan is another number, of the same count where the service counts.
    shop.plane.write("clients.yaml", *clients("staff"))

    async def passes() -> bool:
        return await statuses(shop, ALICE, 1) == [200]

    await net.until("alice has another plan", passes)
    assert await statuses(shop, ALICE, 6) == [200] * 6
    shop.plane.write("clients.yaml", *clients("gold"))

    async def denied() -> bool:
        return await statuses(shop, ALICE, 1) == [429]

    await net.until("alice has her plan again, and its count", denied)
    assert await statuses(shop, BOB, 1) == [429]


async def test_a_plan_merges_like_everything_else(shop: Site) -> None:
    """A rule's policy gives one plan another number, and takes another away."""
    edge = policy(
        GATEWAY, "edge", plan=limit(1, plans={"gold": {"requests": 3}, "free": {"requests": 2}}, scope="Rule")
    )
    own = policy(
        {**ROUTE, "sectionName": "a"},
        "own",
        plan={"plans": {"gold": {"requests": 2}, "free": {"disabled": True}}},
    )
    await change(shop, edge, own)
    assert await statuses(shop, ALICE, 4) == [200, 200, 200, 429]
    assert await statuses(shop, ALICE, 3, "/a") == [200, 200, 429]
    assert await statuses(shop, BOB, 3) == [200, 200, 429]
    assert await statuses(shop, BOB, 2, "/a") == [200, 429]


async def test_a_count_for_each_key(shop: Site) -> None:
    await change(shop, policy(ROUTE, key=limit(1, key=[{"type": "ApiKey"}])))
    for key in (ALICE, ALICES, PARTNER):
        assert await statuses(shop, key, 2) == [200, 429]


async def test_all_of_a_plan_together(shop: Site) -> None:
    await change(shop, policy(ROUTE, plan=limit(2, key=[{"type": "Plan"}])))
    assert await statuses(shop, ALICE, 1) == [200]
    assert await statuses(shop, BOB, 3) == [200, 200, 429]
    assert await statuses(shop, ALICE, 2) == [200, 429]
    assert await statuses(shop, CYD, 1) + await statuses(shop, PARTNER, 2) == [200, 200, 429]


async def test_one_count_however_a_client_comes_in(site: Site) -> None:
    """By key or by token: a Consumer is one client with one plan. Tokens that are nobody's share a count, and
    a claim counts for itself."""
    names = ("keys", "claim")
    await start(site, *(rule("shop", path=f"/{name}", name=name) for name in names), rule("shop"))
    consumers.write_clients(site)
    keys, claim = ({**ROUTE, "sectionName": name} for name in names)
    site.plane.write(
        "auth.yaml",
        auth_policy("all", GATEWAY, jwt=consumers.providers(consumerClaim="sub")),
        auth_policy("keys", keys, jwt={"disabled": True}, apiKeys={"headers": ["X-API-Key"]}),
    )
    await site.served("shop.example", status=401)
    sub = limit(2, key=[{"type": "Claim", "name": "sub"}])
    await change(
        site,
        policy(ROUTE, plan=limit(1, plans={"gold": {"requests": 3}})),
        policy(claim, "claim", plan={"disabled": True}, sub=sub),
    )

    async def by_token(subject: str, number: int, path: str = "/") -> list[int]:
        text = bearer(token(sub=subject)).partition(": ")[2]
        return [(await ask(site, path, authorization=text)).status for _ in range(number)]

    assert await by_token("alice", 2) == [200, 200]
    assert await statuses(site, consumers.KEY, 2, "/keys") == [200, 429]
    assert await by_token("alice", 1) == [429]
    assert await by_token("bob", 2) == [200, 429]
    assert await by_token("stranger", 2) == [200, 429]
    assert await by_token("other", 1) == [429], "who is nobody shares a count"
    assert await by_token("stranger", 3, "/claim") == [200, 200, 429]
    assert await by_token("other", 1, "/claim") == [200]
