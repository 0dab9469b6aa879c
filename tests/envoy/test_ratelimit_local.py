"""Limits that Envoy counts itself: what clients are told, costs, and rules that no backend answers."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from tests.envoy.test_auth import GATEWAY, jwt, policy as auth_policy, token
from tests.envoy.test_ratelimit_consumers import ALICE, CYD, clients
from tests.envoy.test_ratelimit_policy import ROUTE, USER, ask, change, limit, policy, start, statuses
from tests.harness import manifests, net
from tests.harness.load import Reply, read_reply
from tests.harness.manifests import rule
from tests.harness.site import Site

pytestmark = pytest.mark.envoy


def own(requests: int, per: str = "Day", **more: Any) -> manifests.Body:
    return limit(requests, per, where="Local", **more)


def at(name: str) -> manifests.Body:
    return {**ROUTE, "sectionName": name}


async def head(site: Site, header: str) -> Reply:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    try:
        writer.write(f"HEAD / HTTP/1.1\r\nhost: shop.example\r\n{header}\r\n\r\n".encode())
        return await asyncio.wait_for(read_reply(reader, head=True), 20)
    finally:
        writer.close()


async def test_what_each_limit_says(site: Site) -> None:
    """Status, message, body and headers of each of several limits of a route; metadata name what is behind a
    denial, and the backend's own answers are let alone."""
    await start(site, rule("shop", path="/quiet", name="quiet"), rule("shop"))
    told = {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "HTTPPolicy",
        "metadata": {"name": "told", "namespace": "shop"},
        "spec": {
            "targetRefs": [ROUTE],
            "responseOverride": {
                "rules": [
                    {
                        "statuses": [403],
                        "body": {
                            "text": "%DYNAMIC_METADATA(envoy.filters.http.ratelimit:policy)%"
                            " %DYNAMIC_METADATA(envoy.filters.http.ratelimit:limit)%"
                        },
                    }
                ]
            },
        },
    }
    await change(
        site,
        told,
        policy(
            ROUTE,
            few=own(
                2, key=USER, status=503, body={"message": 'Slowly: 100% "so".'}, headers={"rateLimit": True}
            ),
            puts=own(1, "Hour", when=[{"methods": ["PUT"]}], status=409, headers={"retryAfter": False}),
            deletes=own(3, when=[{"methods": ["DELETE"]}], status=403),
        ),
        policy(
            at("quiet"),
            "quiet",
            few={"disabled": True},
            puts={"disabled": True},
            deletes={"disabled": True},
            quiet=own(1, headers={"xRateLimit": False}, body={"disabled": True}, status=402),
        ),
    )
    for left in (1, 0):
        reply = await ask(site, x_user="ann")
        assert reply.status == 200
        assert reply.headers["x-ratelimit-remaining"] == reply.headers["ratelimit-remaining"] == str(left)
        assert reply.headers["ratelimit-limit"] == "2"
        assert reply.headers["ratelimit-policy"] == "2;w=86400"
    denied = await ask(site, x_user="ann")
    assert denied.status == 503
    wait = int(denied.headers["retry-after"])
    body = {"error": "rate_limit_exceeded", "message": 'Slowly: 100% "so".', "retryAfter": wait, "limit": 2}
    assert json.loads(denied.body) == body
    assert denied.headers["content-type"] == "application/json"
    assert denied.headers["ratelimit-limit"] == denied.headers["x-ratelimit-limit"] == "2"
    assert "x-dragoman-denied" not in denied.headers
    short = await head(site, "x-user: ann")
    assert (short.status, short.headers["content-length"]) == (503, str(len(denied.body)))
    assert await statuses(site, 2, method="PUT", x_user="bob") == [200, 409]
    denied = await ask(site, method="PUT", x_user="eve")
    assert "retry-after" not in denied.headers
    assert "ratelimit-limit" not in denied.headers, "the other limit's wish"
    assert json.loads(denied.body)["limit"] == 1
    users = [{"x_user": user} for user in ("fay", "gil", "hal", "ida")]
    replies = [await ask(site, method="DELETE", **user) for user in users]
    assert [one.status for one in replies] == [200, 200, 200, 403]
    assert replies[3].body == b"shop/p deletes", "an override sees the status, and the limit"
    assert await statuses(site, 1, "/quiet") == [200]
    denied = await ask(site, "/quiet")
    assert (denied.status, denied.body) == (402, b"")
    assert not [name for name in denied.headers if "limit" in name or name == "content-type"]
    # A backend's 429 is its own, whatever it calls it.
    theirs = {"x_echo_status": "429", "x_echo_set_header": "x-dragoman-denied: local"}
    assert (await ask(site, x_user="cyd", **theirs)).status == 429


async def test_a_denied_call_of_grpc(site: Site) -> None:
    """Its status says it, in gRPC's words."""
    await start(site)
    await change(site, policy(ROUTE, few=own(1, status=403, body={"message": "Zu schnell für uns."})))
    assert await statuses(site, 1) == [200]
    denied = await ask(site, method="POST", content_type="application/grpc")
    assert (denied.status, denied.headers["grpc-status"]) == (200, "7")
    assert '"message":"Zu schnell f%C3%BCr uns."' in denied.headers["grpc-message"]
    assert denied.headers["grpc-message"].endswith('"limit":1}')


async def test_keys(site: Site) -> None:
    """Each of them finds its bucket in the filter's own configuration; some limits of a route are alike."""
    keys: dict[str, list[manifests.Body]] = {
        "address": [{"type": "ClientAddress", "prefix4": 24}],
        "cookie": [{"type": "Cookie", "name": "session"}],
        "query": [{"type": "Query", "name": "tenant"}, *USER],
        "path": [{"type": "Path"}, {"type": "Method"}, {"type": "Host"}],
    }
    await start(site, *(rule("shop", path=f"/{path}", name=path) for path in keys), rule("shop"))
    await change(
        site,
        *(policy(at(path), path, **{path: own(1, key=key, scope="Rule")}) for path, key in keys.items()),
        policy(ROUTE, a=own(4, key=USER), b=own(3, key=USER), c=own(2, key=USER)),
    )
    assert await statuses(site, 2, "/address", x_user="a") == [200, 429]
    assert await statuses(site, 2, "/cookie", cookie="a=1; session=ann", x_user="b") == [200, 429]
    assert await statuses(site, 2, "/cookie", cookie="session=bob", x_user="c") == [200, 429]
    assert await statuses(site, 2, "/query?tenant=red", x_user="d") == [200, 429]
    assert await statuses(site, 2, "/query?tenant=red", x_user="e") == [200, 429]
    assert await statuses(site, 2, "/query", x_user="f") == [200, 429]
    assert await statuses(site, 2, "/path/a?1", x_user="g") == [200, 429]
    assert await statuses(site, 1, "/path/b", x_user="g") == [200]
    replies = [await ask(site, x_user="h") for _ in range(3)]
    assert [one.status for one in replies] == [200, 200, 429]
    assert json.loads(replies[2].body)["limit"] == 2


async def test_costs(site: Site) -> None:
    """What the request says it costs; neither nothing, nor less, nor what is no number goes for free."""
    await start(site, rule("shop", path="/twice", name="twice"), rule("shop"))
    await change(
        site,
        policy(ROUTE, tokens=own(10, cost={"header": "X-Cost"})),
        policy(at("twice"), "twice", more=own(6, "Hour", cost={"header": "X-Cost"}, key=USER)),
    )
    assert await statuses(site, 3, x_cost="4") == [200, 200, 429]
    assert await statuses(site, 3) == [200, 200, 429]
    for cost in ("0", "-1", "many", "99999999999"):
        assert await statuses(site, 1, x_cost=cost) == [429], cost
    # The one that fills up more slowly is asked first: no cost is paid where the other denies.
    assert await statuses(site, 1, "/twice", x_cost="1", x_user="ann") == [429]


@pytest.mark.parametrize("where", ["Local", "Global"])
async def test_costs_in_metadata(site: Site, where: str) -> None:
    """Here they are a token's claims. What is no number, or not there, costs one, like a header's."""
    await start(site, rule("shop"))
    told = {"namespace": "envoy.filters.http.jwt_authn", "key": "payload.order.size"}
    await change(
        site,
        auth_policy("all", GATEWAY, jwt=jwt()),
        policy(ROUTE, tokens=limit(20, "Day", cost={"metadata": told}, where=where)),
    )

    async def left(**claims: Any) -> str:
        reply = await ask(site, authorization=f"Bearer {token(**claims)}")
        return reply.headers["x-ratelimit-remaining"] if reply.status == 200 else str(reply.status)

    assert await left(order={"size": 6}) == "14"
    wrong = [None, "many", 0, -3, 99999999999, True, [5], {"size": 5}]
    orders: list[dict[str, Any]] = [{}, {"order": 5}, {"order": [{"size": 5}]}]
    orders += [{"order": {"size": one}} for one in wrong]
    for number, claims in enumerate(orders):
        assert await left(**claims) == str(13 - number), claims
    assert await left(order={"size": 4}) == "429"
    if where == "Local":
        return
    done = {"done": limit(20, "Day", cost={"metadata": told, "of": "Response"})}
    await change(site, auth_policy("all", GATEWAY, jwt=jwt()), policy(ROUTE, **done))
    assert await left(order={"size": 6}) == "20"
    assert await left() in {"20", "14"}  # costs nothing, or not yet

    async def charged() -> bool:
        return await left() == "14"

    await net.until("the cost is charged", charged)


@pytest.mark.parametrize("where", ["Local", "Global"])
async def test_rules_without_a_backend(site: Site, where: str) -> None:
    """Redirects and direct responses are limited like all others, with keys, costs and answers."""
    to = {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/new"}, "statusCode": 302}
    old = {
        "name": "old",
        "matches": [{"path": {"value": "/old"}}],
        "filters": [{"type": "RequestRedirect", "requestRedirect": to}],
    }
    answer = {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "HTTPPolicy",
        "metadata": {"name": "answer", "namespace": "shop"},
        "spec": {"targetRefs": [at("said")], "directResponse": {"status": 200, "body": {"text": "said"}}},
    }
    await start(site, old, rule("shop", path="/said", name="said"), rule("shop"))
    await change(
        site,
        answer,
        policy(ROUTE, all=limit(3, key=USER, where=where)),
        policy(at("old"), "old", old=limit(12, "Hour", cost={"header": "x-cost"}, status=503, where=where)),
    )
    moved = await ask(site, "/old", x_user="ann")
    assert (moved.status, moved.headers["x-ratelimit-limit"][-1]) == (302, "3")
    assert moved.headers["location"].endswith("/new")
    assert (await ask(site, "/said", x_user="ann")).body == b"said"
    # One count for the redirect, the answer and what goes to the backend.
    assert await statuses(site, 2, x_user="ann") == [200, 429]
    assert await statuses(site, 1, "/old", x_user="ann") == [429]
    assert await statuses(site, 1, "/said", x_user="ann") == [429]
    assert await statuses(site, 3, "/old", x_user="bob", x_cost="4") == [302, 302, 503]


async def test_plans_say_their_own_number(site: Site) -> None:
    await start(site)
    site.plane.write("clients.yaml", *clients())
    site.plane.write("auth.yaml", auth_policy("all", GATEWAY, apiKeys={"headers": ["X-API-Key"]}))
    await site.served("shop.example", status=401)
    await change(site, policy(ROUTE, day=own(1, plans={"gold": {"requests": 2}})))
    assert await statuses(site, 2, x_api_key=CYD) == [200, 429]
    assert json.loads((await ask(site, x_api_key=CYD)).body)["limit"] == 1
    assert await statuses(site, 3, x_api_key=ALICE) == [200, 200, 429]
    assert json.loads((await ask(site, x_api_key=ALICE)).body)["limit"] == 2
