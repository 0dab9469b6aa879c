"""What `explain` says of who may pass, against what the real Envoy does.

Where it says that a request is refused, Envoy refuses it with that status; where it says that it passes, it
does. Where it says "depends", both may happen, and a good credential makes it pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.envoy.test_auth import GATEWAY, HOST, ask, bearer, jwt, policy, token
from tests.envoy.test_auth_basic import ALICE, line, login
from tests.envoy.test_auth_keys import route_target, secret
from tests.harness import net
from tests.harness.manifests import http_route, rule
from tests.harness.provider import CLIENT, SECRET, Provider
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

PAGE = "Accept: text/html"
KEY = "the-key-of-a-partner"
RULES = ("token", "scoped", "key", "basic", "login", "rules", "csrf", "both", "any")


async def explained(site: Site, path: str, lines: Sequence[str], method: str) -> dict[str, Any]:
    query = urlencode(
        [
            ("url", f"http://{HOST}:{site.port}{path}"),
            ("method", method),
            ("header", f"Host: {HOST}"),
            *(("header", one) for one in lines),
        ]
    )
    found: dict[str, Any] = await site.plane.get(f"/api/v1/explain?{query}")
    return found


@pytest.fixture
async def shop(site: Site) -> Any:
    async with Provider() as provider:
        site.plane.write(
            "shop.yaml",
            *await site.service("shop"),
            http_route("shop", *(rule("shop", path=f"/{one}", name=one) for one in RULES)),
        )
        site.plane.write(
            "secrets.yaml",
            secret("users", **{".htpasswd": line("alice", ALICE)}),
            secret("partners", partner=KEY),
            secret("login", **{"client-secret": SECRET}),
        )
        scoped = {"allow": [{"scopes": {"allOf": ["cart"]}, "methods": ["GET"]}]}
        rules = {
            "allow": [
                {"methods": ["GET"], "clientAddresses": ["127.0.0.0/8"]},
                {"headers": [{"name": "x-friend", "value": "yes"}]},
            ],
            "deny": [{"paths": [{"type": "PathPrefix", "value": "/rules/inner"}]}, {"userAgents": ["bot.*"]}],
        }
        oidc = {
            "issuer": provider.issuer,
            "clientID": CLIENT,
            "clientSecretRef": {"name": "login"},
            "redirectPath": "/login/callback",
            "logoutPath": "/login/logout",
        }
        keys = {"secretRefs": [{"name": "partners"}]}
        site.plane.write(
            "auth.yaml",
            policy("token", route_target("token"), jwt=jwt()),
            policy("scoped", route_target("scoped"), jwt=jwt(), rules=scoped),
            policy("key", route_target("key"), apiKeys=keys),
            policy("basic", route_target("basic"), basic={"secretRefs": [{"name": "users"}]}),
            policy("login", route_target("login"), oidc=oidc),
            policy("rules", route_target("rules"), rules=rules),
            policy("csrf", route_target("csrf"), csrf={"additionalOrigins": [{"value": "app.example"}]}),
            policy("both", route_target("both"), jwt=jwt(), apiKeys=keys),
            policy(
                "any",
                route_target("any"),
                jwt=jwt(),
                apiKeys=keys,
                combine="Any",
                exclude=[{"methods": ["GET"], "paths": [{"type": "PathPrefix", "value": "/any/health"}]}],
            ),
            policy("nowhere", GATEWAY, answers={"invalidKey": {"text": "no such key"}}),
        )

        async def settled() -> bool:
            return (await ask(site, "/login", PAGE)).status == 302

        await net.until("the policies", settled)
        yield site


CASES: list[tuple[str, str, tuple[str, ...], str]] = [
    ("GET", "/token", (), "refused"),
    ("GET", "/token", ("Authorization: Basic abc",), "refused"),
    ("GET", "/token", (bearer("junk"),), "depends"),
    ("POST", "/scoped", (bearer(token(scope="cart")),), "refused"),
    ("GET", "/key", (), "refused"),
    ("GET", "/basic", (), "refused"),
    ("GET", "/basic", (bearer("a"),), "refused"),
    ("GET", "/basic", (login("alice", "no"),), "depends"),
    ("GET", "/login", (PAGE,), "refused"),
    ("GET", "/login", ("Accept: application/json",), "refused"),
    ("GET", "/login", (PAGE, "Sec-Fetch-Mode: cors"), "refused"),
    ("GET", "/login/logout", (PAGE,), "refused"),
    ("GET", "/login", (PAGE, bearer(token())), "refused"),
    ("GET", "/rules", (), "passes"),
    ("POST", "/rules", (), "refused"),
    ("POST", "/rules", ("x-friend: yes",), "passes"),
    ("GET", "/rules/inner", (), "refused"),
    ("GET", "/rules/%69nner", (), "refused"),
    ("GET", "/rules/innermost", (), "passes"),
    ("GET", "/rules", ("User-Agent: bot/1",), "refused"),
    ("GET", "/rules", ("User-Agent: a bot",), "passes"),
    ("GET", "/csrf", (), "passes"),
    ("DELETE", "/csrf", (), "refused"),
    ("DELETE", "/csrf", ("Origin: https://evil.example",), "refused"),
    ("DELETE", "/csrf", ("Origin: https://app.example",), "passes"),
    ("DELETE", "/csrf", (f"Referer: http://{HOST}/cart",), "passes"),
    ("GET", "/both", (bearer(token()),), "refused"),
    ("GET", "/both", (f"x-api-key: {KEY}",), "refused"),
    ("GET", "/any", (), "refused"),
    ("GET", "/any/health/live", (), "passes"),
    ("POST", "/any/health/live", (), "refused"),
    ("GET", "/any/healthy", (), "refused"),
    ("GET", "/any", (bearer("junk"),), "depends"),
]
GOOD: list[tuple[str, tuple[str, ...]]] = [
    ("/token", (bearer(token()),)),
    (f"/token?access_token={token()}", ()),
    ("/scoped", (bearer(token(scope="cart")),)),
    ("/key", (f"X-API-Key: {KEY}",)),
    ("/basic", (login("alice", ALICE),)),
    ("/both", (bearer(token()), f"x-api-key: {KEY}")),
    ("/any", (bearer(token()),)),
    ("/any", (f"x-api-key: {KEY}",)),
]


async def test_envoy_agrees(shop: Site) -> None:
    for method, path, lines, verdict in CASES:
        found = await explained(shop, path, lines, method)
        reply = await ask(shop, path, *lines, method=method)
        assert found["access"]["verdict"] == verdict, (method, path, lines, found["access"])
        if verdict == "refused":
            assert reply.status == found["status"] == found["access"]["status"], (method, path, lines, reply)
        elif verdict == "passes":
            assert (reply.status, found["status"]) == (200, None), (method, path, lines, reply)
        else:
            assert reply.status == 401
            assert found["status"] is None
    for path, lines in GOOD:
        found = await explained(shop, path, lines, "GET")
        assert found["access"]["verdict"] == "depends", (path, found["access"])
        assert (await ask(shop, path, *lines)).status == 200, path
        text = str(found["access"])
        assert not [one for one in (KEY, ALICE, SECRET, token()) if one in text]


async def test_the_page_of_a_route_says_what_is_needed(shop: Site) -> None:
    found = await shop.plane.get("/api/v1/explain?object=httproute/shop/shop")
    needs = {row["match"]: " / ".join(row.get("needs", ())) for row in found["routes"]}
    assert len(needs) == len(RULES)
    text = "\n".join(needs.values())
    for words in (
        "a token of https://issuer.example for shop",
        "scope cart and method GET",
        "an API key of",
        "name and password of one of 1 users",
        "a session, after a login at 127.0.0.1",
        "not path /rules/inner/*",
        "a page of the same host, or of app.example",
    ):
        assert words in text, (words, text)
