"""What those get who may not pass, in the gateway's words and in a policy's own, through the real Envoy."""

from __future__ import annotations

import json

import pytest

from tests.envoy.test_auth import GATEWAY, HOST, IMPOSTOR, NOW, ask, bearer, error, jwt, policy, token
from tests.envoy.test_auth_basic import ALICE, line, login
from tests.envoy.test_auth_keys import route_target, secret
from tests.harness import manifests, net
from tests.harness.load import Reply
from tests.harness.manifests import http_route, rule
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

EXPIRED, FOREIGN = token(exp=NOW - 3600), token(aud="other")


async def shop(site: Site, *policies: manifests.Body, status: int = 401) -> Site:
    """Everything needs a token; `/admin` scopes, `/private` a claim; `/basic` a password, `/key` a key."""
    names = ("admin", "private", "basic", "key", "late")
    rules = [rule("shop"), *(rule("shop", path=f"/{one}", name=one) for one in names)]
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", *rules))
    site.plane.write(
        "secrets.yaml",
        secret("users", **{".htpasswd": line("alice", ALICE)}),
        secret("partners", partner="the-key-of-a-partner"),
    )
    off = {"disabled": True}
    site.plane.write(
        "auth.yaml",
        policy("all", GATEWAY, jwt=jwt()),
        policy(
            "admin", route_target("admin"), rules={"allow": [{"scopes": {"allOf": ["a:read", "a:write"]}}]}
        ),
        policy(
            "private",
            route_target("private"),
            rules={"allow": [{"claims": [{"name": "x", "values": ["y"]}]}]},
        ),
        policy(
            "basic",
            route_target("basic"),
            jwt=off,
            basic={"secretRefs": [{"name": "users"}], "realm": "a 100%"},
        ),
        policy("key", route_target("key"), jwt=off, apiKeys={"secretRefs": [{"name": "partners"}]}),
        *policies,
    )
    await site.served(HOST, status=status)

    async def settled() -> bool:
        wanted = dict.fromkeys(("/admin", "/private", "/basic", "/key"), status)
        return {path: (await ask(site, path)).status for path in wanted} == wanted

    await net.until("every rule", settled)
    return site


def said(reply: Reply) -> dict[str, object]:
    found: dict[str, object] = json.loads(reply.body)
    return found


async def test_every_refusal_says_why_and_what_is_asked_for(site: Site) -> None:
    await shop(site)
    before = list(site.backends["shop"].echo.seen)
    cases = (
        ("/", (), 401, "unauthorized", "Bearer"),
        ("/", (bearer(EXPIRED),), 401, "token_expired", "Bearer"),
        ("/", (bearer(FOREIGN),), 401, "invalid_token", "Bearer"),
        ("/", (bearer(IMPOSTOR.token(aud="shop")),), 401, "invalid_token", "Bearer"),
        ("/", (bearer("junk"),), 401, "invalid_token", "Bearer"),
        ("/admin", (bearer(token(scope="a:read")),), 403, "insufficient_scope", "Bearer"),
        ("/private", (bearer(token()),), 403, "forbidden", None),
        ("/basic", (), 401, "unauthorized", "Basic"),
        ("/basic", (login("alice", "no"),), 401, "invalid_credentials", "Basic"),
        ("/key", (), 401, "unauthorized", "ApiKey"),
        ("/key", ("X-API-Key: no",), 401, "invalid_key", "ApiKey"),
    )
    for path, lines, status, why, challenge in cases:
        reply = await ask(site, path, *lines)
        assert (reply.status, error(reply)) == (status, why), (path, lines)
        assert reply.headers["content-type"] == "application/json"
        asked = reply.headers.get("www-authenticate")
        assert (asked is None) if challenge is None else asked.startswith(challenge), (path, lines, asked)
    lacking = await ask(site, "/admin", bearer(token(scope="a:read b")))
    assert said(lacking)["requiredScopes"] == ["a:read", "a:write"]
    assert said(lacking)["currentScopes"] == ["a:read", "b"]
    assert lacking.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="a:read a:write"'
    assert site.backends["shop"].echo.seen == before


ANSWERS = {
    "unauthorized": {
        "status": 302,
        "headers": [{"name": "Location", "value": "https://login.example/?why=%ERROR%"}],
    },
    "tokenExpired": {
        "json": {
            "code": "%STATUS%",
            "why": "%ERROR%: %MESSAGE%",
            "at": {"path": "%PATH%", "how": ["%METHOD%", "%HOST%"]},
            "id": "%REQUEST_ID%",
            "share": "100%%",
            "off": False,
        },
        "contentType": "application/problem+json",
        "headers": [{"name": "X-Why", "value": "%ERROR% 100%%"}],
    },
    "insufficientScope": {
        "status": 404,
        "json": {"wanted": "%REQUIRED_SCOPES%", "had": "%CURRENT_SCOPES%", "text": "needs %REQUIRED_SCOPES%"},
    },
    "forbidden": {"text": "<h1>%STATUS%</h1> 100%% %MESSAGE%", "contentType": "text/html"},
}


async def test_a_policys_own_words(site: Site) -> None:
    """Of a Gateway's policy, for every method of proof; errors that it does not name stay as they are."""
    await shop(site, policy("words", {"kind": "HTTPRoute", "name": "shop"}, answers=ANSWERS), status=302)

    async def worded() -> bool:
        return (await ask(site, "/")).status == 302

    await net.until("the policy's own words", worded)
    before = list(site.backends["shop"].echo.seen)
    for path in ("/", "/basic", "/key"):
        reply = await ask(site, path)
        assert (reply.status, reply.body) == (302, b"")
        assert reply.headers["location"] == "https://login.example/?why=unauthorized"
    reply = await ask(site, "/cart?secret=1", bearer(EXPIRED), "X-Request-Id: mine")
    assert reply.status == 401
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["x-why"] == "token_expired 100%"
    assert reply.headers["www-authenticate"] == "Bearer"
    found = said(reply)
    assert found.pop("id")
    assert found == {
        "code": 401,
        "why": "token_expired: the token has expired",
        "at": {"path": "/cart", "how": ["GET", HOST]},
        "share": "100%",
        "off": False,
    }
    reply = await ask(site, "/admin", bearer(token(scope="a:read b")))
    assert reply.status == 404
    assert said(reply) == {
        "wanted": ["a:read", "a:write"],
        "had": ["a:read", "b"],
        "text": "needs a:read a:write",
    }
    reply = await ask(site, "/private", bearer(token()))
    assert (reply.status, reply.body) == (403, b"<h1>403</h1> 100% you may not do this")
    assert reply.headers["content-type"] == "text/html"
    # Not named, and told from those that are.
    for text in (FOREIGN, "junk"):
        reply = await ask(site, "/", bearer(text))
        assert (reply.status, error(reply)) == (401, "invalid_token")
    reply = await ask(site, "/basic", login("alice", "no"))
    assert (reply.status, error(reply)) == (401, "invalid_credentials")
    assert (await ask(site, "/", bearer(token()))).status == 200
    assert len(site.backends["shop"].echo.seen) == len(before) + 1


async def test_one_error_is_not_taken_for_another(site: Site) -> None:
    """`invalid_token` begins like all that is wrong with tokens: the others keep their usual words."""
    own = {"invalidToken": {"text": "no", "status": 400}}
    await shop(site, policy("words", {"kind": "HTTPRoute", "name": "shop"}, answers=own))

    async def worded() -> bool:
        return (await ask(site, "/", bearer("junk"))).status == 400

    await net.until("the policy's own words", worded)
    assert error(await ask(site, "/")) == "unauthorized"
    assert error(await ask(site, "/", bearer(EXPIRED))) == "token_expired"


async def test_words_merge_error_by_error_and_go_before_overrides_by_status(site: Site) -> None:
    more = {"tokenExpired": {"text": "late"}}
    override = {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "HTTPPolicy",
        "metadata": {"name": "override", "namespace": "shop"},
        "spec": {
            "targetRefs": [GATEWAY],
            "responseOverride": {"rules": [{"statuses": [401, 403], "body": {"text": "by status"}}]},
        },
    }
    await shop(
        site,
        policy("words", {"kind": "HTTPRoute", "name": "shop"}, answers={"unauthorized": {"text": "who?"}}),
        policy("more", route_target("late"), answers=more),
        override,
    )

    async def worded() -> bool:
        return (await ask(site, "/late", bearer(EXPIRED))).body == b"late"

    await net.until("the policy's own words", worded)
    reply = await ask(site, "/late")
    assert (reply.status, reply.body) == (401, b"who?")
    assert reply.headers["www-authenticate"] == "Bearer"
    assert (await ask(site, "/", bearer(EXPIRED))).body == b"by status"
    assert (await ask(site, "/basic", login("alice", "no"))).body == b"by status"
    reply = await ask(site, "/basic")
    assert reply.headers["www-authenticate"] == 'Basic realm="a 100%"'
