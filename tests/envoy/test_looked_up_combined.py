"""Credentials that are looked up where not all are needed: excluded requests, one of several, none at all.

An issuer, a redis-server, the real Envoy. The backend's own log decides what reached it. All tests share a
site; the last ones end the companion.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
import pytest_asyncio

from tests.envoy.introspection_site import at, section, served
from tests.envoy.test_auth import GATEWAY, HOST, ask, bearer, error, policy, token
from tests.envoy.test_auth_keys import heard, key, secret
from tests.envoy.test_consumers import consumer, providers, token_of
from tests.envoy.test_redis_keys import put
from tests.harness import redis as servers
from tests.harness.issuer import Issuer
from tests.harness.manifests import http_route, rule
from tests.harness.plane import Plane
from tests.harness.site import Site

pytestmark = [pytest.mark.envoy, pytest.mark.asyncio(loop_scope="module")]

GOOD, BAD = bearer("good"), bearer("unknown")
KEY, NO_KEY = key("ann-1"), key("unknown")
OPAQUE = {"from": {"headers": [{"name": "X-Opaque"}]}}
AWAY = "X-Envoy-Auth-Failure-Mode-Allowed: true"
CLAIMED = (
    AWAY,
    "X-Consumer-ID: ann",
    "X-Consumer-Groups: admins",
    "X-User-ID: ann",
    "X-Dragoman-Token: CgA=",
    "X-Dragoman-Client: AAAA",
)
PARTS = ("keys", "any", "jwt-or-key", "three", "strict", "optional", "lenient", "open-any", "rules", "many")
PLACES = {
    "headers": [{"name": "X-Token"}, {"name": "Authorization", "prefix": "Bearer "}],
    "queryParams": ["access_token"],
    "cookies": ["session"],
}
EXCLUDED = [
    {"methods": ["OPTIONS"]},
    {"paths": [{"value": f"{stem}/health"} for stem in ("", *(f"/{part}" for part in PARTS))]},
    {"paths": [{"value": "/read"}], "methods": ["GET"]},
]


class Shop(NamedTuple):
    site: Site
    issuer: Issuer
    redis: servers.Redis

    async def refused(self, path: str, *lines: str, method: str = "GET") -> tuple[int, str]:
        """What the answer says; the backend saw nothing of it."""
        before = served(self.site)
        reply = await ask(self.site, path, *lines, method=method)
        assert served(self.site) == before, (path, lines)
        return reply.status, error(reply)

    async def who(self, path: str, *lines: str, method: str = "GET") -> str:
        """Whom the backend takes the client for: user or consumer, "-" for nobody."""
        headers = heard(await ask(self.site, path, *lines, *CLAIMED, method=method))
        assert not [name for name in headers if "dragoman" in name.lower()]
        return headers.get("X-Consumer-Id", headers.get("X-User-Id", ["-"]))[0]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory, envoy_binary: Path) -> AsyncIterator[Shop]:
    folder = tmp_path_factory.mktemp("site")
    async with Issuer() as issuer, servers.Redis(folder, password="r3dis") as redis:
        issuer.tokens["good"] = {"active": True, "sub": "ann", "iss": "https://issuer.example"}
        await put(redis, "ann-1", id="ann", groups="staff")
        site = Site(folder)
        site.plane = Plane(folder, environment={"DRAGOMAN_AUTHZ_STORE": redis.url})
        async with site:
            await start(site, issuer)
            yield Shop(site, issuer, redis)


async def start(site: Site, issuer: Issuer) -> None:
    """A token is looked up unless the path says something else."""
    rules = [rule("shop"), *(rule("shop", path=f"/{one}", name=one) for one in PARTS)]
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", *rules))
    tokens, keys, jwt = section(issuer), {"headers": ["X-API-Key"]}, providers(consumerClaim="sub")
    off, any_of = {"disabled": True}, {"combine": "Any"}
    lenient = section(issuer, failure="Open", timeout="300ms")
    certificate = {"clientCertificate": {}}
    site.plane.write(
        "auth.yaml",
        secret("gateway", **{"client-secret": issuer.secret}),
        consumer("bob", tokens=[token_of("bob")]),
        policy("all", GATEWAY, introspection=tokens, exclude=EXCLUDED),
        policy("keys", at("keys"), introspection=off, redisKeys=keys),
        policy("any", at("any"), **any_of, redisKeys=keys),
        policy("jwt-or-key", at("jwt-or-key"), **any_of, introspection=off, jwt=jwt, redisKeys=keys),
        policy("three", at("three"), **any_of, apiKeys=keys, **certificate),
        policy("strict", at("strict"), jwt=jwt, introspection={**tokens, **OPAQUE}),
        policy("optional", at("optional"), introspection=off, redisKeys={**keys, "optional": True}),
        policy("lenient", at("lenient"), introspection=lenient),
        policy("many", at("many"), introspection={**tokens, "from": PLACES}),
        policy(
            "open-any", at("open-any"), **any_of, introspection=lenient, redisKeys={**keys, "failure": "Open"}
        ),
        policy("rules", at("rules"), rules={"allow": [{"claims": [{"name": "sub", "values": ["ann"]}]}]}),
    )
    await site.served(HOST, status=401)


async def test_excluded_requests_need_none_and_others_do(shop: Shop) -> None:
    for path, method in (("/health", "GET"), ("/health/a?b", "POST"), ("/", "OPTIONS"), ("/read", "GET")):
        assert await shop.who(path, method=method) == "-", (path, method)
        assert await shop.who(path, GOOD, method=method) == "ann"
        assert await shop.refused(path, BAD, *CLAIMED, method=method) == (401, "invalid_token")
    assert await shop.who("/keys/health") == "-"
    assert await shop.who("/keys/health", KEY) == "ann"
    assert await shop.refused("/keys/health", NO_KEY, *CLAIMED) == (401, "invalid_key")
    for path, method in (
        ("/", "GET"),
        ("/healthy", "GET"),
        ("/read", "POST"),
        ("/health/../admin", "GET"),
        ("/health/%2e%2e/admin", "GET"),
        ("/health/..;/admin", "GET"),
        ("/health;/../admin", "GET"),
        ("/Health", "GET"),
        ("/keys", "GET"),
        ("/keys/healthy", "GET"),
        ("/keys/health/..;/a", "GET"),
        ("/keys/health/../a", "GET"),
    ):
        assert await shop.refused(path, *CLAIMED, method=method) == (401, "unauthorized"), (path, method)
        wrong = (401, "invalid_key" if path.startswith("/keys") else "invalid_token")
        assert await shop.refused(path, BAD, NO_KEY, *CLAIMED, method=method) == wrong
    assert await shop.who("/", GOOD) == "ann"
    assert await shop.who("/keys", KEY) == "ann"
    assert await shop.refused("/keys", GOOD, *CLAIMED) == (401, "unauthorized"), "a token is no key"
    assert await shop.refused("/", KEY, *CLAIMED) == (401, "unauthorized"), "nor the other way round"
    assert await shop.refused("/rules/health", *CLAIMED) == (403, "forbidden"), "rules hold there too"
    assert await shop.who("/rules/health", GOOD) == "ann"
    for path, *lines in (
        ("/many/health", "X-Token: unknown"),
        ("/many/health", BAD),
        ("/many/health", "Cookie: a=b; session=unknown"),
        ("/many/health?access_token=unknown",),
        ("/many/health?a=b&%61ccess_token=unknown",),
    ):
        assert await shop.refused(path, *lines) == (401, "invalid_token"), (path, lines)
    before = len(shop.issuer.questions)
    assert await shop.who("/many/health?a=b", "Cookie: a=b") == "-"
    assert len(shop.issuer.questions) == before


async def test_one_of_several(shop: Shop) -> None:
    bob, mallory, none = bearer(token(sub="bob")), bearer("a.b.c"), (401, "unauthorized")
    assert await shop.refused("/any", *CLAIMED) == none
    assert await shop.who("/any", GOOD) == "ann"
    assert await shop.who("/any", KEY) == "ann"
    assert await shop.refused("/any", GOOD, NO_KEY) == (401, "invalid_key")
    assert await shop.refused("/any", BAD, KEY) == (401, "invalid_token")
    assert await shop.refused("/jwt-or-key", *CLAIMED) == none
    assert await shop.who("/jwt-or-key", bob) == "bob"
    assert await shop.who("/jwt-or-key", KEY) == "ann"
    assert await shop.who("/jwt-or-key", KEY, bob) == "ann"
    assert await shop.refused("/jwt-or-key", KEY, mallory) == (401, "invalid_token")
    assert await shop.refused("/jwt-or-key", NO_KEY, bob) == (401, "invalid_key")
    assert await shop.refused("/three", *CLAIMED) == none
    assert await shop.who("/three", GOOD) == "ann"
    assert await shop.refused("/three", BAD) == (401, "invalid_token")
    assert await shop.refused("/three", KEY) == (401, "invalid_key"), "of Redis, not of a Consumer"
    assert await shop.who("/optional") == "-"
    assert await shop.who("/optional", KEY) == "ann"
    assert await shop.refused("/optional", NO_KEY) == (401, "invalid_key")


async def test_a_checked_and_a_looked_up_token_are_both_needed(shop: Shop) -> None:
    """Whatever policies say: the claims of one stand in the place of the other's."""
    for path in ("/strict", "/strict/health"):
        for lines in ((), ("X-Opaque: good",), (bearer(token()),), (bearer("good"),)):
            assert (await shop.refused(path, *lines, *CLAIMED))[0] == 401, (path, lines)
    assert await shop.who("/strict", "X-Opaque: good", bearer(token(sub="bob"))) == "bob"
    found = await shop.site.plane.get("/api/v1/diagnostics")
    assert "does not hold beside `introspection` and `jwt`" in str(found)


async def test_an_issuer_that_is_down(shop: Shop) -> None:
    """Those who bring nothing need nobody to be asked; where policies say so, nobody else needs to either."""
    shop.issuer.mode = "error"
    try:
        fresh = bearer("fresh")
        for path in ("/", "/health"):
            assert await shop.refused(path, fresh, *CLAIMED) == (503, "unavailable")
        assert await shop.who("/health") == "-"
        assert await shop.refused("/any", fresh, KEY, *CLAIMED) == (503, "unavailable")
        assert await shop.who("/any", KEY) == "ann"
        for path in ("/lenient", "/lenient/health", "/open-any"):
            assert await shop.who(path, fresh) == "-"
        for path in ("/lenient", "/open-any"):
            assert await shop.refused(path, *CLAIMED) == (401, "unauthorized")
    finally:
        shop.issuer.mode = "good"


async def test_redis_down(shop: Shop) -> None:
    await shop.redis.kill()
    for path in ("/keys", "/keys/health", "/any", "/jwt-or-key", "/optional"):
        assert await shop.refused(path, KEY, *CLAIMED) == (503, "unavailable"), path
    assert await shop.who("/keys/health") == "-"
    assert await shop.who("/jwt-or-key", bearer(token(sub="bob"))) == "bob"
    assert await shop.who("/open-any", KEY) == "-"
    assert await shop.refused("/open-any", *CLAIMED) == (401, "unauthorized")


async def test_the_companion_away(shop: Shop) -> None:
    """Who brings something cannot be told from others, and gets 503 unless requests pass then. Who brings
    nothing passes where nothing is needed, and nowhere else."""
    await shop.site.plane.stop()
    for path in ("/", "/health", "/keys", "/keys/health", "/any", "/optional"):
        assert await shop.refused(path, GOOD, KEY, *CLAIMED) == (503, "unavailable"), path
    assert await shop.refused("/jwt-or-key", KEY, *CLAIMED) == (503, "unavailable")
    for path in ("/health", "/keys/health", "/any/health", "/optional", "/lenient/health", "/many/health"):
        assert await shop.who(path) == "-", path
    for path in ("/", "/keys", "/any", "/lenient", "/open-any", "/many"):
        assert await shop.refused(path, *CLAIMED) == (401, "unauthorized"), path
    assert await shop.who("/jwt-or-key", bearer(token(sub="bob"))) == "bob"
    for path in ("/lenient", "/lenient/health", "/open-any"):
        headers = heard(await ask(shop.site, path, GOOD, *CLAIMED))
        assert headers[AWAY.partition(":")[0]] == ["true"]
        assert not {"X-User-Id", "X-Consumer-Id"} & headers.keys()
    reply = await ask(shop.site, "/open-any", KEY)
    assert heard(reply).get("X-Api-Key") is None, "a key goes no further, looked up or not"
    for path, *lines in (
        ("/many/health", "X-Token: a"),
        ("/many/health", "X-Token:"),
        ("/many/health", GOOD),
        ("/many/health", "Cookie: a=b"),
        ("/many/health?a=b",),
        ("/many/health?%61ccess_token=good",),
    ):
        assert await shop.refused(path, *lines, *CLAIMED) == (503, "unavailable"), (path, lines)
