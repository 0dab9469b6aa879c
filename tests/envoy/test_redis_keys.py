"""API keys that Redis knows: files, `dragoman run` with its companion, the real Envoy, a real redis-server.

The backend's own log decides: a request that was refused must not be in it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from dragoman.redis import cluster
from tests.envoy.introspection_site import at, heard, served
from tests.envoy.test_auth import GATEWAY, HOST, ask, bearer, error, policy
from tests.envoy.test_auth_keys import secret
from tests.envoy.test_consumers import consumer
from tests.harness import net, redis as servers
from tests.harness.issuer import Issuer
from tests.harness.manifests import http_route, rule
from tests.harness.plane import Plane
from tests.harness.site import Site

pytestmark = pytest.mark.envoy


@pytest_asyncio.fixture
async def redis(tmp_path: Path) -> AsyncIterator[servers.Redis]:
    async with servers.Redis(tmp_path, password="r3dis") as running:
        yield running


@pytest_asyncio.fixture
async def shop(tmp_path: Path, envoy_binary: Path, redis: servers.Redis) -> AsyncIterator[Site]:
    """Everything needs a key; `/admin` one of a group, `/ann` ann's, `/lenient` none while Redis is away, and
    `/open` none."""
    site = Site(tmp_path)
    site.plane = Plane(tmp_path, environment={"DRAGOMAN_AUTHZ_STORE": redis.url}, log_level="debug")
    async with site:
        names = ("admin", "ann", "open", "lenient", "few", "bob")
        rules = [rule("shop"), *(rule("shop", path=f"/{one}", name=one) for one in names)]
        where = {"headers": ["X-API-Key", "Authorization"], "queryParams": ["api_key"], "cookies": ["ak"]}
        site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", *rules))
        site.plane.write(
            "auth.yaml",
            policy("all", GATEWAY, redisKeys=where),
            policy("admin", at("admin"), rules={"allow": [{"groups": ["admins"]}]}),
            policy("ann", at("ann"), rules={"allow": [{"consumers": ["ann"]}]}),
            policy("open", at("open"), redisKeys={"disabled": True}),
            policy("lenient", at("lenient"), redisKeys={"failure": "Open"}),
            policy("few", at("few"), redisKeys={"groups": ["admins"], "consumers": ["bob"]}),
            policy("bob", at("bob"), redisKeys={"consumers": ["bob"]}),
        )
        await site.served(HOST, status=401)
        yield site


async def put(redis: servers.Redis, key: str, namespace: str = "shop", **fields: Any) -> str:
    """Writes a key as docs/auth.md says; its name in Redis."""
    name = f"dragoman:key:{namespace}:{{{hashlib.sha256(key.encode()).hexdigest()}}}"
    await redis.call("HSET", name, *(str(word) for pair in fields.items() for word in pair))
    return name


def key(text: str) -> str:
    return f"X-API-Key: {text}"


async def test_who_has_a_key_passes_and_the_key_does_not(shop: Site, redis: servers.Redis) -> None:
    await put(redis, "ann-1", id="ann", groups="staff, admins", plan="gold")
    await put(redis, "bob-1", id="bob")
    spoofed = (
        "X-Consumer-ID: root",
        "X-Consumer-Groups: all",
        "X-Consumer-Plan: free",
        "X-Dragoman-Client: CgA=",
    )
    ways: list[tuple[str, tuple[str, ...]]] = [
        ("/", (key("ann-1"),)),
        ("/", (bearer("ann-1"),)),
        ("/", ("Authorization: ann-1",)),
        ("/?x=1&api_key=ann-1", ()),
        ("/", ("Cookie: a=1; ak=ann-1",)),
    ]
    for path, lines in ways:
        reply = await ask(shop, path, *lines, *spoofed)
        headers = heard(reply)
        assert headers["X-Consumer-Id"] == ["ann"]
        assert headers["X-Consumer-Groups"] == ["staff,admins"]
        assert headers["X-Consumer-Plan"] == ["gold"]
        assert b"ann-1" not in reply.body, "the key goes no further"
        assert "X-Dragoman-Client" not in headers
        assert "x-ratelimit-limit" not in reply.headers
    headers = heard(await ask(shop, "/", key("bob-1"), *spoofed))
    assert headers["X-Consumer-Id"] == ["bob"]
    assert "X-Consumer-Groups" not in headers
    assert "X-Consumer-Plan" not in headers
    opened = heard(await ask(shop, "/open", *spoofed))
    assert not [name for name in opened if name.startswith("X-Consumer")]


async def test_who_has_none_reaches_no_backend(shop: Site, redis: servers.Redis) -> None:
    await put(redis, "ann-1", id="ann", groups="staff")
    await put(redis, "elsewhere", namespace="other", id="eve")
    await put(redis, "old", id="old", expires=int(time.time()) - 1)
    await put(redis, "off", id="off", disabled=1)
    await put(redis, "nameless", groups="admins")
    await put(redis, "odd", id="odd", expires="tomorrow")
    await put(redis, "odd-quota", id="odd", quota="many")
    await put(redis, "breaking", id="a\r\nx-admin: yes")
    cases = {
        "no key": ((), 401, "unauthorized"),
        "unknown": ((key("unknown"),), 401, "invalid_key"),
        "another namespace's": ((key("elsewhere"),), 401, "invalid_key"),
        "expired": ((key("old"),), 401, "key_expired"),
        "switched off": ((key("off"),), 401, "invalid_key"),
        "nobody's": ((key("nameless"),), 401, "invalid_key"),
        "twice": ((key("ann-1"), key("ann-1")), 401, "invalid_key"),
        "no text": ((key("\u00e9"),), 401, "invalid_key"),
        "a record that nobody can read": ((key("odd"),), 503, "unavailable"),
        "another one": ((key("odd-quota"),), 503, "unavailable"),
        "a name that is no header": ((key("breaking"),), 503, "unavailable"),
    }
    before = served(shop)
    for name, (lines, status, word) in cases.items():
        reply = await ask(shop, "/", *lines)
        assert (reply.status, error(reply)) == (status, word), name
        assert ("www-authenticate" in reply.headers) == (status == 401), name
    await put(redis, "gap", id="eve", groups="staff, ")
    for path, text in (("/admin", "ann-1"), ("/few", "ann-1"), ("/bob", "ann-1"), ("/bob", "gap")):
        assert error(await ask(shop, path, key(text))) == "forbidden", (path, text)
    assert served(shop) == before
    assert (await ask(shop, "/ann", key("ann-1"))).status == 200
    await put(redis, "bob-1", id="bob")
    await put(redis, "root-1", id="root", groups="x,admins")
    assert (await ask(shop, "/ann", key("bob-1"))).status == 403
    assert (await ask(shop, "/admin", key("root-1"))).status == 200
    assert (await ask(shop, "/few", key("bob-1"))).status == 200
    assert (await ask(shop, "/few", key("root-1"))).status == 200


async def test_a_key_that_is_taken_away_is_refused_at_once(shop: Site, redis: servers.Redis) -> None:
    name = await put(redis, "ann-1", id="ann")
    assert (await ask(shop, "/", key("ann-1"))).status == 200
    await redis.call("DEL", name)
    assert (await ask(shop, "/", key("ann-1"))).status == 401


async def test_a_quota_is_exact(shop: Site, redis: servers.Redis) -> None:
    """However many ask at once; what is refused is not counted, and the client knows where it stands."""
    name = await put(redis, "ann-1", id="ann", groups="staff", quota=20, period=86400 * 300)
    await put(redis, "eve-1", id="eve", quota=1, period=86400 * 300)
    for _ in range(3):
        assert (await ask(shop, "/few", key("ann-1"))).status == 403
    first = await ask(shop, "/", key("ann-1"))
    assert first.status == 200
    assert first.headers["x-ratelimit-limit"] == "20"
    assert first.headers["x-ratelimit-remaining"] == "19"
    before = served(shop)
    replies = await asyncio.gather(*(ask(shop, "/", key("ann-1")) for _ in range(60)))
    assert sorted(one.status for one in replies) == [200] * 19 + [429] * 41
    assert served(shop) == before + 19
    refused = next(one for one in replies if one.status == 429)
    said = json.loads(refused.body)
    assert said["error"] == "rate_limit_exceeded"
    assert said["limit"] == 20
    assert int(refused.headers["retry-after"]) == said["retryAfter"] > 0
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert (await ask(shop, "/", key("eve-1"))).status == 200, "each has its own"
    await redis.call("HSET", name, "quota", 21)
    assert [(await ask(shop, "/", key("ann-1"))).status for _ in range(2)] == [200, 429]
    keys = [bytes(one).decode() for one in await redis.call("KEYS", "*")]
    assert all("ann-1" not in one and "eve-1" not in one for one in keys), "Redis has hashes"
    assert 0 < int(await redis.call("TTL", f"{name}:used")) <= 86400 * 300 + 1


async def test_a_period_ends(shop: Site, redis: servers.Redis) -> None:
    await put(redis, "ann-1", id="ann", quota=1, period=2)

    async def passes() -> bool:
        return (await ask(shop, "/", key("ann-1"))).status == 200

    await net.until("a request of this period", passes)
    await net.until("the quota used", lambda: _is_not(passes), limit=10)
    await net.until("a request of the next", passes, limit=10)


async def _is_not(passes: Any) -> bool:
    return not await passes()


async def test_redis_down(shop: Site, redis: servers.Redis) -> None:
    """503 and not 401; who is to pass then passes as nobody; and all is well when it is back."""
    await put(redis, "ann-1", id="ann")
    assert (await ask(shop, "/", key("ann-1"))).status == 200
    redis.freeze()
    before = served(shop)
    assert error(await ask(shop, "/", key("ann-1"))) == "unavailable"
    redis.thaw()
    await redis.kill()
    reply = await ask(shop, "/", key("ann-1"))
    assert (reply.status, error(reply)) == (503, "unavailable")
    assert served(shop) == before
    headers = heard(await ask(shop, "/lenient", key("ann-1"), "X-Consumer-ID: root"))
    assert not {"X-Consumer-Id", "X-Api-Key"} & headers.keys()
    assert (await ask(shop, "/lenient")).status == 401
    await redis.start()
    await put(redis, "ann-1", id="ann")

    async def back() -> bool:
        return (await ask(shop, "/", key("ann-1"))).status == 200

    await net.until("Redis asked again", back)
    for word in ("ann-1", "r3dis"):
        assert word not in shop.plane.log
        assert word not in await shop.plane.get("/metrics")


async def test_a_token_and_a_key(shop: Site, redis: servers.Redis) -> None:
    """Both are needed; one call finds out; a request that is refused for its token costs no quota."""
    await put(redis, "ann-1", id="ann", quota=2, period=86400 * 300)
    await put(redis, "poll", id="poll")
    async with Issuer() as issuer:
        issuer.tokens["good"] = {"active": True, "sub": "user-7"}
        told = {
            "endpoint": issuer.endpoint,
            "clientID": issuer.client,
            "clientSecretRef": {"name": "gateway"},
            "claimsToHeaders": [{"claim": "sub", "header": "X-User-ID"}],
        }
        both = {"introspection": told, "redisKeys": {"headers": ["X-API-Key"]}}
        shop.plane.write(
            "both.yaml",
            secret("gateway", **{"client-secret": issuer.secret}),
            policy("both", {"kind": "HTTPRoute", "name": "shop"}, **both),
        )

        async def passes() -> bool:
            reply = await ask(shop, "/", key("poll"), bearer("bad"))
            return reply.status == 401 and error(reply) == "invalid_token"

        await net.until("both asked for", passes)
        assert error(await ask(shop, "/", bearer("good"))) == "unauthorized"
        assert error(await ask(shop, "/", key("ann-1"), bearer("bad"))) == "invalid_token"
        headers = heard(await ask(shop, "/", key("ann-1"), bearer("good")))
        assert (headers["X-User-Id"], headers["X-Consumer-Id"]) == (["user-7"], ["ann"])
        assert "X-Api-Key" not in headers
        assert headers["Authorization"] == ["Bearer good"]
        assert (await ask(shop, "/", key("ann-1"), bearer("good"))).status == 200
        assert (await ask(shop, "/", key("ann-1"), bearer("good"))).status == 429


async def test_a_key_of_a_consumer(shop: Site, redis: servers.Redis) -> None:
    """Its groups and plan hold, not the record's; who is none any more has no key, and is not counted."""

    def write(*names: str) -> None:
        groups = {"app": ["admins"], "job": ["staff"]}
        named = [consumer(name, groups=groups[name], plan="gold") for name in names]
        shop.plane.write("clients.yaml", consumer("app", "other", groups=["staff"]), *named)

    write("app", "job")
    record = {"id": "ann", "groups": "admins", "plan": "free", "quota": 4, "period": 86400 * 300}
    name = await put(redis, "app-1", consumer="app", **record)
    await put(redis, "job-1", consumer="job", **record)
    await put(redis, "gone-1", consumer="gone", **record)

    async def known() -> bool:
        return (await ask(shop, "/", key("app-1"))).status == 200

    await net.until("the Consumers known", known)
    reply = await ask(shop, "/admin", key("app-1"), "X-Consumer-Groups: root")
    headers = heard(reply)
    assert headers["X-Consumer-Id"] == ["app"]
    assert headers["X-Consumer-Groups"] == ["admins"]
    assert headers["X-Consumer-Plan"] == ["gold"]
    assert reply.headers["x-ratelimit-remaining"] == "2"
    before = served(shop)
    assert error(await ask(shop, "/", key("gone-1"))) == "invalid_key"
    assert error(await ask(shop, "/admin", key("job-1"))) == "forbidden"
    assert error(await ask(shop, "/few", key("job-1"))) == "forbidden"
    assert error(await ask(shop, "/ann", key("app-1"))) == "forbidden"
    assert served(shop) == before
    assert (await ask(shop, "/few", key("app-1"))).status == 200
    assert (await ask(shop, "/", key("app-1"))).status == 429
    write("job")

    async def gone() -> bool:
        return (await ask(shop, "/", key("app-1"))).status == 401

    await net.until("the app's key refused", gone)
    await redis.call("HDEL", name, "consumer")
    assert (await ask(shop, "/ann", key("app-1"))).status == 429, "what is left is ann's"
    assert not await redis.call(
        "EXISTS", f"dragoman:key:shop:{{{hashlib.sha256(b'gone-1').hexdigest()}}}:used"
    )


async def test_a_cluster_of_redis(tmp_path: Path, envoy_binary: Path) -> None:
    """Each key is asked for at the master that has its slot, also when that is another one than before, and
    is counted once; a master that is away costs its own keys only."""
    async with servers.Cluster(tmp_path) as there:
        for node in there.nodes:
            await node.call("CONFIG", "SET", "cluster-require-full-coverage", "no")
        site = Site(tmp_path)
        environment = {"DRAGOMAN_AUTHZ_STORE": there.url, "DRAGOMAN_AUTHZ_STORE_TIMEOUT": "2"}
        site.plane = Plane(tmp_path, environment=environment)
        slots = {f"key-{number}": _slot(f"key-{number}") for number in range(12)}
        for name, where in slots.items():
            await put(await there.owner(where), name, id=name, quota=3, period=86400 * 300)
        assert all([await node.call("DBSIZE") for node in there.nodes])
        async with site:
            site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", rule("shop")))
            site.plane.write("auth.yaml", policy("all", GATEWAY, redisKeys={"headers": ["X-API-Key"]}))
            await site.served(HOST, status=401)
            for name in slots:
                assert heard(await ask(site, "/", key(name)))["X-Consumer-Id"] == [name]
            assert (await ask(site, "/", key("unknown"))).status == 401

            moved = "key-0"
            here, target = await there.begin_move(slots[moved])
            assert (await ask(site, "/", key(moved))).status == 200, "it is there still"
            for part in await here.call("CLUSTER", "GETKEYSINSLOT", slots[moved], 10):
                await here.call("MIGRATE", "127.0.0.1", target.port, part, 0, 5000)
            assert (await ask(site, "/", key(moved))).status == 200, "ASK is followed"
            await there.end_move(slots[moved], here, target)
            assert (await ask(site, "/", key(moved))).status == 429, "MOVED is followed, count and all"

            gone = there.nodes[2]
            await gone.kill()
            first = 2 * (16384 // 3 + 1)
            for name, where in slots.items():
                if name != moved:
                    assert (await ask(site, "/", key(name))).status == (503 if where >= first else 200), name


def _slot(text: str) -> int:
    return cluster.slot(hashlib.sha256(text.encode()).hexdigest().encode())
