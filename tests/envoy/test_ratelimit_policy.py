"""RateLimitPolicies through the whole plane: files, `dragoman run` with its own rate-limit service, the real
Envoy."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from typing import Any

import pytest

from tests.harness import manifests, net
from tests.harness.load import Reply, read_reply
from tests.harness.manifests import http_route, rule
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

ROUTE = {"kind": "HTTPRoute", "name": "shop"}
EDGE = {"kind": "Gateway", "name": "edge"}
USER = [{"type": "Header", "name": "X-User"}]


def policy(target: manifests.Body, name: str = "p", **limits: Any) -> manifests.Body:
    return {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "RateLimitPolicy",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"targetRefs": [target], "limits": {n.replace("_", "-"): one for n, one in limits.items()}},
    }


def limit(requests: int, per: str = "Day", **more: Any) -> manifests.Body:
    return {"requests": requests, "per": per, **more}


async def ask(site: Site, path: str = "/", method: str = "GET", host: str = "shop", **headers: str) -> Reply:
    """One request on a connection of its own; `x_user` is the header `x-user`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    try:
        lines = [f"{method} {path} HTTP/1.1", f"host: {host}.example"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode())
        return await asyncio.wait_for(read_reply(reader), 20)
    finally:
        writer.close()


async def statuses(site: Site, number: int, path: str = "/", **more: str) -> list[int]:
    return [(await ask(site, path, **more)).status for _ in range(number)]


async def start(site: Site, *rules: manifests.Body) -> None:
    site.plane.write(
        "shop.yaml", *await site.service("shop"), http_route("shop", *(rules or (rule("shop"),)))
    )
    await site.served("shop.example")


async def tables(site: Site) -> int:
    return sum((await site.envoy.stats(r"^http\..*\.rds\..*\.update_success$")).values())


async def change(site: Site, *objects: manifests.Body, name: str = "policy.yaml") -> None:
    """Writes objects, and waits until Envoy has taken new routes because of them."""
    before = await tables(site)
    site.plane.write(name, *objects)

    async def followed() -> bool:
        return await tables(site) > before

    await net.until("Envoy has the routes", followed)


async def test_a_global_limit(site: Site) -> None:
    """Headers, body, keys; a changed number keeps the counts; the access log can name the limit."""
    await start(site)
    await change(
        site,
        policy(ROUTE, per_user=limit(3, key=USER, headers={"rateLimit": True}, body={"message": "Slowly."})),
    )
    for left in (2, 1, 0):
        reply = await ask(site, x_user="ann")
        assert reply.status == 200
        assert reply.headers["x-ratelimit-limit"] == "3"
        assert reply.headers["x-ratelimit-remaining"] == reply.headers["ratelimit-remaining"] == str(left)
        assert reply.headers["ratelimit-policy"] == "3;w=86400"
    denied = await ask(site, x_user="ann")
    assert denied.status == 429
    assert denied.headers["content-type"] == "application/json"
    wait = int(denied.headers["retry-after"])
    body = {"error": "rate_limit_exceeded", "message": "Slowly.", "retryAfter": wait, "limit": 3}
    assert json.loads(denied.body) == body
    assert (await ask(site, x_user="bob")).status == 200
    assert await statuses(site, 4) == [200, 200, 200, 429]  # without the header they share a count
    routes = await tables(site)
    site.plane.write("policy.yaml", policy(ROUTE, per_user=limit(5, key=USER, headers={"retryAfter": False})))

    async def changed() -> bool:
        return (await ask(site, x_user="eve")).headers["x-ratelimit-limit"] == "5"

    await net.until("the new number", changed)
    assert [(await ask(site, x_user="ann")).status for _ in range(3)] == [200, 200, 429]
    denied = await ask(site, x_user="ann")
    assert "retry-after" not in denied.headers
    assert "ratelimit-limit" not in denied.headers
    assert await tables(site) == routes, "a number is the service's business alone"


async def test_what_is_behind_a_denial(site: Site) -> None:
    """The service's word for it reaches what Envoy writes."""
    await start(site)
    told = {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "HTTPPolicy",
        "metadata": {"name": "told", "namespace": "shop"},
        "spec": {
            "targetRefs": [ROUTE],
            "responseHeaders": {
                "set": [
                    {
                        "name": "x-behind",
                        "value": "%DYNAMIC_METADATA(envoy.filters.http.ratelimit:policy)%"
                        " %DYNAMIC_METADATA(envoy.filters.http.ratelimit:limit)%",
                    }
                ]
            },
        },
    }
    limits = policy(ROUTE, day=limit(1), paced=limit(9, "Second", failure="Closed"))
    await change(site, told, limits)
    assert await statuses(site, 1) == [200]
    denied = await ask(site)
    assert (denied.status, denied.headers["x-behind"]) == (429, "shop/p day")


async def test_a_local_limit_survives_changes_of_routes(site: Site) -> None:
    await start(site)
    await change(site, policy(ROUTE, own=limit(3, where="Local", key=USER)))
    assert await statuses(site, 2, x_user="ann") == [200, 200]
    reply = await ask(site, x_user="bob")
    assert (reply.headers["x-ratelimit-limit"], reply.headers["x-ratelimit-remaining"]) == ("3", "2")
    # Routes change in the same table: the bucket stays.
    await change(site, http_route("other", rule("shop")), name="other.yaml")
    await change(
        site,
        *await site.service("shop"),
        http_route("shop", rule("shop", timeouts={"request": "9s"})),
        name="shop.yaml",
    )
    assert await statuses(site, 2, x_user="ann") == [200, 429]
    denied = await ask(site, x_user="ann")
    assert json.loads(denied.body) == {
        "error": "rate_limit_exceeded",
        "message": "Too many requests. Try again later.",
        "retryAfter": int(denied.headers["retry-after"]),
        "limit": 3,
    }
    assert denied.headers["content-type"] == "application/json"
    assert await statuses(site, 1, x_user="bob") == [200]


async def test_another_bucket_fills_all(site: Site) -> None:
    """What the documentation says of Envoy: a changed set of local limits begins anew, once."""
    await start(site)
    await change(site, policy(ROUTE, own=limit(2, where="Local")))
    assert await statuses(site, 3) == [200, 200, 429]
    site.plane.write("policy.yaml", policy(ROUTE, own=limit(4, where="Local")))

    async def anew() -> bool:
        return (await ask(site)).status == 200

    await net.until("the bucket is new", anew)
    assert await statuses(site, 4) == [200, 200, 200, 429]


async def test_keys(site: Site) -> None:
    paths = ("address", "cookie", "query", "path", "method", "host", "two")
    await start(site, *(rule("shop", path=f"/{path}", name=path) for path in paths), rule("shop"))
    keys: dict[str, list[manifests.Body]] = {
        "address": [{"type": "ClientAddress", "prefix4": 24}],
        "cookie": [{"type": "Cookie", "name": "session"}],
        "query": [{"type": "Query", "name": "tenant"}],
        "path": [{"type": "Path"}],
        "method": [{"type": "Method"}],
        "host": [{"type": "Host"}],
        "two": [{"type": "Query", "name": "tenant"}, *USER],
    }
    policies = [
        policy({**ROUTE, "sectionName": path}, name=path, **{path: limit(1, key=key)})
        for path, key in keys.items()
    ]
    await change(site, *policies)
    assert await statuses(site, 2, "/address") == [200, 429]
    assert await statuses(site, 2, "/cookie", cookie="a=1; session=ann") == [200, 429]
    assert await statuses(site, 2, "/cookie", cookie="session=bob; a=1") == [200, 429]
    assert await statuses(site, 2, "/cookie") == [200, 429]
    assert await statuses(site, 2, "/query?tenant=red") == [200, 429]
    assert await statuses(site, 2, "/query?tenant=blue") == [200, 429]
    assert await statuses(site, 2, "/query") == [200, 429]
    assert await statuses(site, 1, "/query?other=1") == [429]
    assert await statuses(site, 2, "/path/a?1") == [200, 429]
    assert await statuses(site, 1, "/path/a?2") == [429]
    assert await statuses(site, 1, "/path/b") == [200]
    assert await statuses(site, 2, "/method") == [200, 429]
    assert await statuses(site, 1, "/method", method="DELETE") == [200]
    assert await statuses(site, 2, "/host") == [200, 429]
    assert await statuses(site, 2, "/two?tenant=red", x_user="ann") == [200, 429]
    assert await statuses(site, 2, "/two?tenant=red", x_user="bob") == [200, 429]
    assert await statuses(site, 2, "/two?tenant=blue", x_user="ann") == [200, 429]
    assert await statuses(site, 2, "/two", x_user="ann") == [200, 429]


@pytest.mark.parametrize("where", ["Global", "Local"])
async def test_selectors(site: Site, where: str) -> None:
    await start(site)
    when: list[manifests.Body] = [
        {"methods": ["POST", "DELETE"]},
        {"path": {"value": "/log-in"}},
        {"header": {"name": "x-friend", "type": "Present"}, "invert": True},
        {"header": {"name": "x-kind", "type": "RegularExpression", "value": "a+"}},
    ]
    await change(site, policy(ROUTE, log_in=limit(1, when=when, where=where)))
    hit = {"path": "/log-in/x?y", "method": "DELETE", "x_kind": "aa"}
    assert [(await ask(site, **hit)).status for _ in range(2)] == [200, 429]
    for missed in (
        {"method": "GET"},
        {"path": "/log-inside"},
        {"x_friend": "1"},
        {"x_kind": "b"},
        {"x_kind": "aab"},
    ):
        assert (await ask(site, **{**hit, **missed})).status == 200, missed
    assert (await ask(site, **{**hit, "path": "/log-in"})).status == 429


async def test_scopes_and_gateways_limits(site: Site) -> None:
    """A Gateway's limit is one count for all routes, or one for each; a route's word makes another limit."""
    site.plane.write("other.yaml", http_route("other", rule("shop", path="/a"), rule("shop", path="/b")))
    await start(site)
    all_of = policy(
        EDGE,
        "edge",
        shared=limit(4, key=USER),
        by_route=limit(4, scope="Route", headers={"xRateLimit": False}),
        by_rule=limit(2, scope="Rule", headers={"xRateLimit": False}),
    )
    await change(site, all_of)
    assert await statuses(site, 3, "/a", host="other", x_user="ann") == [200, 200, 429]  # the rule's
    assert await statuses(site, 2, "/b", host="other", x_user="bob") == [200, 429]  # the route's
    assert await statuses(site, 2, x_user="ann") == [200, 429]  # the Gateway's: she was elsewhere
    assert await statuses(site, 1, x_user="eve") == [429]
    # The route says another number for one, and switches two off.
    own = policy(
        ROUTE, "own", shared={"requests": 2}, by_route={"disabled": True}, by_rule={"disabled": True}
    )
    await change(site, all_of, own)
    assert await statuses(site, 3, x_user="ann") == [200, 200, 429]
    assert (await ask(site, x_user="cyd")).headers["x-ratelimit-limit"] == "2"


async def test_algorithms(site: Site) -> None:
    """What the service makes of them is tested there; here, that each gets there."""
    kinds: dict[str, manifests.Body] = {
        "fixed": {"type": "FixedWindow"},
        "log": {"type": "SlidingWindowLog"},
        "counter": {"type": "SlidingWindowCounter"},
        "tokens": {"type": "TokenBucket", "burst": 5},
        "nodelay": {"type": "LeakyBucket", "burst": 2, "nodelay": True},
    }
    await start(site, *(rule("shop", path=f"/{name}", name=name) for name in (*kinds, "queue")), rule("shop"))
    queue = limit(10, "Second", algorithm={"type": "LeakyBucket", "burst": 10})
    await change(
        site,
        policy({**ROUTE, "sectionName": "queue"}, "queue", queue=queue),
        *(
            policy({**ROUTE, "sectionName": name}, name, **{name: limit(3, algorithm=kind)})
            for name, kind in kinds.items()
        ),
    )
    for name in ("fixed", "log", "counter", "nodelay"):
        assert await statuses(site, 4, f"/{name}") == [200, 200, 200, 429], name
    assert await statuses(site, 6, "/tokens") == [200] * 5 + [429]
    loop = asyncio.get_running_loop()
    begin = loop.time()
    assert await asyncio.gather(*((_status(site, "/queue")) for _ in range(10))) == [200] * 10
    assert loop.time() - begin > 0.7, "they wait for their turn"


async def _status(site: Site, path: str) -> int:
    return (await ask(site, path)).status


async def test_costs_and_shadows(site: Site) -> None:
    names = ("asked", "done", "shadow", "own")
    await start(site, *(rule("shop", path=f"/{name}", name=name) for name in names), rule("shop"))
    limits = {
        "asked": limit(10, cost={"header": "x-cost"}),
        "done": limit(10, cost={"header": "x-cost", "of": "Response"}),
        "shadow": limit(1, shadow=True),
        "own": limit(1, shadow=True, where="Local"),
    }
    await change(
        site,
        *(policy({**ROUTE, "sectionName": name}, name, **{name: one}) for name, one in limits.items()),
    )
    assert await statuses(site, 3, "/asked", x_cost="4") == [200, 200, 429]
    assert await statuses(site, 3, "/asked") == [200, 200, 429]
    # Neither nothing, nor less, nor what is no number goes for free.
    for cost in ("0", "-1", "many"):
        assert await statuses(site, 1, "/asked", x_cost=cost) == [429], cost
    assert await statuses(site, 3, "/shadow") == [200, 200, 200]
    assert await statuses(site, 3, "/own") == [200, 200, 200]
    for before in ("10", "4"):
        reply = await ask(site, "/done", x_echo_set_header="x-cost: 6")
        assert (reply.status, reply.headers["x-ratelimit-remaining"]) == (200, before)

        async def charged(before: str = before) -> bool:
            said = await ask(site, "/done")
            return said.headers["x-ratelimit-remaining"] != before

        await net.until("the cost is charged", charged)
    assert await statuses(site, 1, "/done") == [429]


async def test_when_nobody_counts(site: Site) -> None:
    """The service is gone with its control plane: open and closed as said, and well again with the next."""
    await start(site, rule("shop", path="/closed", name="closed"), rule("shop"))
    await change(
        site,
        policy(ROUTE, "open", open=limit(1)),
        policy({**ROUTE, "sectionName": "closed"}, "closed", closed=limit(1, failure="Closed")),
    )
    assert await statuses(site, 2, "/") == [200, 429]
    await site.plane.kill()
    assert await statuses(site, 3, "/") == [200] * 3
    denied = await ask(site, "/closed")
    assert denied.status == 503
    assert json.loads(denied.body)["error"] == "rate_limit_unavailable"
    await site.plane.start()

    async def counted() -> bool:
        return (await ask(site, "/")).status == 429

    await net.until("it counts again", counted, limit=30)
    assert (await ask(site, "/closed")).status == 429  # by the other limit, but nobody is refused with 503


async def test_a_limit_comes_and_goes_under_load(site: Site) -> None:
    """Nobody is refused because the service, its cluster or the limit is not there yet, or no longer; and no
    connection is drained for it."""
    await start(site)
    async with site.load("shop.example") as load:
        for number in range(1, 4):
            wanted = limit(10_000_000 + number, failure="Closed")
            own = limit(10_000_000, "Second", where="Local")
            await change(site, policy(ROUTE, many=wanted, own=own))
            await load.more(200)
            before = await tables(site)
            site.plane.remove("policy.yaml")

            async def gone(before: int = before) -> bool:
                return await tables(site) > before

            await net.until("the limit is gone", gone)
            await load.more(200)
    assert not load.failures
    assert load.opened == load.connections, "a connection was closed"


async def test_status_and_timeout_of_ones_own(site: Site) -> None:
    """A status for each limit, also of several on one route; a service that is stopped costs as long as the
    limit says."""
    await start(site, rule("shop", path="/paid", name="paid"), rule("shop"))
    await change(
        site,
        policy(ROUTE, few=limit(2, status=503, body={"message": "Slowly."}), many=limit(1000, status=403)),
        policy({**ROUTE, "sectionName": "paid"}, "paid", few={"disabled": True}, paid=limit(1, status=402)),
    )
    assert await statuses(site, 3) == [200, 200, 503]
    denied = await ask(site)
    assert denied.headers["x-ratelimit-limit"] == "2"
    assert json.loads(denied.body)["message"] == "Slowly."
    assert int(denied.headers["retry-after"]) > 0
    assert await statuses(site, 3, "/paid") == [200, 402, 402]
    # The service is there and says nothing.
    site.plane.write("policy.yaml", policy(ROUTE, slow=limit(1000, failure="Closed", timeout="3s")))

    async def followed() -> bool:
        return (await ask(site)).headers.get("x-ratelimit-limit") == "1000"

    await net.until("the limit is there", followed)
    loop = asyncio.get_running_loop()
    os.kill(site.plane.pid, signal.SIGSTOP)
    try:
        begun = loop.time()
        assert (await ask(site)).status == 503
        assert loop.time() - begun > 1.0, "longer than the customary half second"
    finally:
        os.kill(site.plane.pid, signal.SIGCONT)
