"""Several credentials on one route through the real Envoy: all of them, any of them, none at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.envoy import client_site
from tests.envoy.client_site import ClientAuthority, client_policy, config_map, trusting
from tests.envoy.test_auth import GATEWAY, HOST, ask, bearer, error, policy, token
from tests.envoy.test_auth_basic import line, login
from tests.envoy.test_auth_keys import heard, key, secret
from tests.envoy.test_consumers import consumer, providers, token_of
from tests.harness import manifests
from tests.harness.manifests import http_route, rule
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

CLIENTS = ClientAuthority()
OTHERS = ClientAuthority("others")
API = "spiffe://shop.example/ns/api"
GOOD, BAD = "good-key-0001", "bad-key"


async def test_all_and_any(envoy_binary: Path, tmp_path: Path) -> None:
    certificates = {"caCertificateRefs": [{"name": "clients"}], "mode": "AllowInvalid"}

    def at(section: str) -> manifests.Body:
        return {"kind": "Gateway", "name": "edge", "sectionName": section}

    jwt, keys = providers(consumerClaim="sub"), {"headers": ["X-API-Key"]}
    certificate = {"consumerName": "URI"}
    three = {"jwt": jwt, "apiKeys": keys, "clientCertificate": certificate}
    two = {"jwt": jwt, "apiKeys": keys}
    policies = [
        client_policy({"clientValidation": certificates}),
        policy("all", at("all"), **three),
        policy("any", at("any"), combine="Any", **three),
        policy("two", at("two"), combine="Any", rules={"allow": [{"groups": ["staff"]}]}, **two),
        policy("open", at("open"), combine="Any", jwt=jwt, apiKeys={**keys, "optional": True}),
        policy("key", at("key"), apiKeys={**keys, "optional": True}),
        policy(
            "worded",
            at("worded"),
            combine="Any",
            rules={"allow": [{"groups": ["staff"]}]},
            answers={"forbidden": {"json": {"error": "forbidden", "own": "words"}}},
            **two,
        ),
    ]
    more = [
        config_map("clients", ca_crt=CLIENTS.pem),
        secret("alice-keys", one=GOOD),
        consumer("alice", apiKeys=[{"name": "alice-keys"}], groups=["staff"]),
        consumer("bob", tokens=[token_of("bob")], groups=["staff"]),
        consumer("api", certificates=[{"name": API}]),
    ]
    shown = {"api": CLIENTS.issue(tmp_path, API)[:2], "false": OTHERS.issue(tmp_path, API)[:2]}
    listeners = dict.fromkeys(("all", "any"), "HTTPS") | dict.fromkeys(
        ("two", "open", "key", "worded"), "HTTP"
    )
    async with client_site.running(envoy_binary, listeners, policies, more) as site:

        async def who(listener: str, *lines: str, name: str = "") -> Any:
            tls = trusting(shows=shown.get(name)) if listeners[listener] == "HTTPS" else None
            before = len(site.requests)
            reply = await site.ask(listener, *lines, tls=tls)
            if reply.status != 200:
                assert len(site.requests) == before
                return reply.status, error(reply)
            headers = json.loads(reply.body)["headers"]
            assert not [one for one in headers if "dragoman" in one.lower()]
            assert "X-Api-Key" not in headers
            return headers.get("X-Consumer-Id", ["-"])[0]

        bob, alice = bearer(token(sub="bob")), key(GOOD)
        wrong, expired = bearer("a.b.c"), bearer(token(exp=1))
        none, claims = (401, "unauthorized"), ("X-Consumer-ID: alice", "X-Dragoman-Client: AAAA")

        assert await who("all", bob, alice, name="api") == "alice"
        assert await who("all", alice, name="api") == none
        assert await who("all", bob, name="api") == none
        assert await who("all", bob, alice) == (403, "forbidden")

        assert await who("any", *claims) == none
        assert await who("any", bob) == "bob"
        assert await who("any", alice) == "alice"
        assert await who("any", name="api") == "api"
        assert await who("any", bob, alice, name="api") == "alice"
        assert await who("any", bob, name="api") == "bob"
        assert await who("any", name="false") == (403, "forbidden")
        for line, why in ((wrong, "invalid_token"), (expired, "token_expired"), (key(BAD), "invalid_key")):
            for good in ({"name": "api"}, {}):
                assert await who("any", line, **good) == (401, why)
        assert await who("any", wrong, alice) == (401, "invalid_token")
        assert await who("any", bob, key(BAD)) == (401, "invalid_key")

        assert await who("two", *claims) == none
        assert await who("two", bob) == "bob"
        assert await who("two", alice) == "alice"
        assert await who("two", bearer(token(sub="mallory"))) == (403, "forbidden")
        assert await who("two", key("no-key-was-sent")) == none
        assert await who("two", bearer(token(sub="mallory")), key("no-key-was-sent")) == (403, "forbidden")

        assert await who("open", *claims) == "-"
        assert await who("open", bob) == "bob"
        assert await who("open", alice) == "alice"
        assert await who("open", key(BAD)) == (401, "invalid_key")

        assert await who("key", *claims) == "-"
        assert await who("key", alice) == "alice"
        assert await who("key", key(BAD)) == (401, "invalid_key")
        reply = await site.ask("two")
        assert reply.headers["www-authenticate"] == "Bearer, ApiKey"
        assert await who("worded") == none
        assert await who("worded", bearer(token(sub="mallory"))) == (403, "forbidden")
        worded = await site.ask("worded", bearer(token(sub="mallory")))
        assert json.loads(worded.body)["own"] == "words"


EXCLUDED = [
    {"paths": [{"value": "/health"}, {"type": "Exact", "value": "/login"}]},
    {"methods": ["OPTIONS"]},
    {"paths": [{"value": "/read"}], "methods": ["GET"]},
]


async def test_requests_that_need_none(site: Site) -> None:
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", rule("shop")))
    site.plane.write(
        "auth.yaml",
        secret("alice-keys", one=GOOD),
        consumer("alice", apiKeys=[{"name": "alice-keys"}]),
        policy("all", GATEWAY, jwt=providers(), apiKeys={"headers": ["X-API-Key"]}, exclude=EXCLUDED),
    )
    await site.served(HOST, status=401)
    seen = site.backends["shop"].echo.seen
    for path, method in (
        ("/health", "GET"),
        ("/health/a?b", "POST"),
        ("/login", "GET"),
        ("/", "OPTIONS"),
        ("/read", "GET"),
    ):
        reply = await ask(site, path, method=method)
        assert reply.status == 200, (path, method)
    before = list(seen)
    for path, method in (
        ("/", "GET"),
        ("/healthy", "GET"),
        ("/login/a", "GET"),
        ("/read", "POST"),
        ("/health/../admin", "GET"),
        ("/health/%2e%2e/admin", "GET"),
        ("/health/..;/admin", "GET"),
        ("/health;/../admin", "GET"),
        ("/health/%3b/admin", "GET"),
        ("/Health", "GET"),
    ):
        reply = await ask(site, path, method=method)
        assert reply.status == 401, (path, method)
    for path in ("/health", "/"):
        assert error(await ask(site, path, bearer("a.b.c"))) == "invalid_token"
        assert error(await ask(site, path, key(BAD))) == "invalid_key"
    assert error(await ask(site, "/", bearer(token()))) == "unauthorized"
    assert error(await ask(site, "/", key(GOOD))) == "unauthorized"
    assert list(seen) == before
    assert (await ask(site, "/", bearer(token()), key(GOOD))).status == 200


async def test_passwords_among_others(site: Site) -> None:
    """A user that is a Consumer, and one that is none."""
    names = ("basic", "optional")
    rules = [rule("shop"), *(rule("shop", path=f"/{one}", name=one) for one in names)]
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", *rules))
    basic = {"secretRefs": [{"name": "users"}], "consumers": True, "userHeader": "X-User"}
    entries = f"{line('al', 'secret')}\n{line('zoe', 'other')}\n"

    def at(name: str) -> manifests.Body:
        return {"kind": "HTTPRoute", "name": "shop", "sectionName": name}

    off = {"disabled": True}
    site.plane.write(
        "auth.yaml",
        secret("users", **{".htpasswd": entries}),
        secret("alice-keys", one=GOOD),
        consumer("alice", apiKeys=[{"name": "alice-keys"}], users=["al"], groups=["staff"], plan="gold"),
        consumer("bob", tokens=[token_of("bob")]),
        policy("any", GATEWAY, combine="Any", jwt=providers(consumerClaim="sub"), basic=basic, apiKeys={}),
        policy("basic", at("basic"), jwt=off, apiKeys=off),
        policy("optional", at("optional"), jwt=off, apiKeys=off, basic={**basic, "optional": True}),
    )
    await site.served(HOST, status=401)
    for path in ("/", "/basic", "/optional"):
        headers = heard(await ask(site, path, login("al", "secret"), "X-Consumer-ID: root"))
        assert headers["X-Consumer-Id"] == ["alice"], path
        assert headers["X-Consumer-Plan"] == ["gold"]
        assert headers["X-User"] == ["al"]
        assert headers.get("Authorization") in (None, ["Basic"])
        headers = heard(await ask(site, path, login("zoe", "other"), "X-Consumer-ID: root"))
        assert headers["X-User"] == ["zoe"]
        assert "X-Consumer-Id" not in headers
        wrong = await ask(site, path, login("al", "wrong"))
        assert (wrong.status, error(wrong)) == (401, "invalid_credentials")
    assert (await ask(site, "/basic")).status == 401
    assert not {"X-User", "X-Consumer-Id"} & heard(await ask(site, "/optional", "X-User: al")).keys()
    bob = bearer(token(sub="bob"))
    headers = heard(await ask(site, "/", bob))
    assert headers["X-Consumer-Id"] == ["bob"]
    assert headers["Authorization"] == [bob.partition(": ")[2]]
    assert heard(await ask(site, "/", key(GOOD)))["X-Consumer-Id"] == ["alice"]
    assert heard(await ask(site, "/", key(GOOD), login("zoe", "other")))["X-Consumer-Id"] == ["alice"]
    assert error(await ask(site, "/", key(GOOD), login("al", "wrong"))) == "invalid_credentials"
    assert error(await ask(site, "/", login("al", "secret"), key(BAD))) == "invalid_key"
    assert error(await ask(site, "/")) == "unauthorized"
