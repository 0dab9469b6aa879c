"""Tokens that are looked up where they were issued (RFC 7662): who passes, who is told what, and what others
make of the claims.

The backend's own log decides: a request that was refused must not be in it. The issuer's says how often
somebody asked.
"""

from __future__ import annotations

import json
import time

import pytest

from tests.envoy.introspection_site import ROUTE, at, heard, issuer, section, served, site, start
from tests.envoy.test_auth import GATEWAY, HOST, ask, bearer, error, jwt, policy, token
from tests.envoy.test_auth_keys import secret
from tests.harness.issuer import Issuer
from tests.harness.manifests import http_route, rule
from tests.harness.site import Site

__all__ = ["issuer", "site"]

pytestmark = pytest.mark.envoy


async def test_a_token_that_is_active_passes_and_says_who_it_is(site: Site, issuer: Issuer) -> None:
    await start(site, issuer)
    spoofed = ("X-User-ID: mallory", "X-Scopes: all", "X-User-Roles: root", "X-Dragoman-Token: CgA=")
    headers = heard(await ask(site, "/", bearer("good"), *spoofed))
    assert headers["X-User-Id"] == ["ann"]
    assert headers["X-User-Roles"] == ["user,buyer"]
    assert headers["X-Scopes"] == ["cart:read,cart:write"]
    assert headers["Authorization"] == ["Bearer good"]
    assert "X-Dragoman-Token" not in headers
    for _ in range(20):
        heard(await ask(site, "/", bearer("good")))
    assert issuer.asked("good") == 1, "it is remembered"
    question = issuer.questions[0]
    assert (question.user, question.password, question.how) == (issuer.client, issuer.secret, "basic")
    assert question.form["token_type_hint"] == "access_token"


async def test_who_may_not_pass_reaches_no_backend(site: Site, issuer: Issuer) -> None:
    """And is told why, in the form of all answers."""
    await start(site, issuer)
    issuer.tokens |= {
        "over": {"active": True, "exp": time.time() - 5},
        "early": {"active": True, "nbf": time.time() + 600},
    }
    cases = {
        "no token": ([], "unauthorized"),
        "another scheme": (["Authorization: Basic YTpi"], "unauthorized"),
        "nobody's": ([bearer("unknown")], "invalid_token"),
        "over": ([bearer("over")], "token_expired"),
        "early": ([bearer("early")], "invalid_token"),
        "two": ([bearer("good"), bearer("unknown")], "invalid_token"),
        "two in one": (["Authorization: Bearer good, Bearer good"], "invalid_token"),
        "in two words": (["Authorization: Bearer good good"], "invalid_token"),
        "no ASCII": (["Authorization: Bearer g\u00f6\u00f6d"], "invalid_token"),
        "huge": ([bearer("x" * 9000)], "invalid_token"),
        "elsewhere": (["X-Token: good", "Cookie: token=good"], "unauthorized"),
        "claims brought along": (["X-Dragoman-Token: CgA=", "X-User-ID: ann"], "unauthorized"),
    }
    before = served(site)
    for name, (lines, word) in cases.items():
        reply = await ask(site, "/?access_token=good", *lines)
        assert (reply.status, error(reply)) == (401, word), name
        assert reply.headers["content-type"] == "application/json"
        challenge = reply.headers["www-authenticate"]
        assert challenge.startswith(f'Bearer realm="{HOST}"'), name
        assert ('error="invalid_token"' in challenge) == (word != "unauthorized"), name
    assert served(site) == before
    assert issuer.asked("good") == 0
    assert issuer.asked("unknown") == 1


async def test_rules_read_what_the_issuer_says(site: Site, issuer: Issuer) -> None:
    await start(site, issuer)
    issuer.tokens["admin"] = {"active": True, "scope": "admin:read cart:read", "sub": "eve"}
    assert (await ask(site, "/admin", bearer("admin"))).status == 200
    before = served(site)
    refused = await ask(site, "/admin", bearer("good"))
    assert refused.status == 403
    said = json.loads(refused.body)
    assert said["error"] == "insufficient_scope"
    assert said["requiredScopes"] == ["admin:read", "cart:read", "other"]
    assert said["currentScopes"] == ["cart:read", "cart:write"]
    assert (await ask(site, "/buyers", bearer("good"))).status == 200
    before += 1
    assert error(await ask(site, "/buyers", bearer("admin"))) == "forbidden"
    assert served(site) == before


async def test_open_and_optional_routes_strip_what_clients_claim(site: Site, issuer: Issuer) -> None:
    await start(site, issuer)
    for path in ("/open", "/optional"):
        headers = heard(await ask(site, path, "X-User-ID: mallory", "x-scopes: all"))
        assert "X-User-Id" not in headers
        assert "X-Scopes" not in headers
    assert heard(await ask(site, "/optional", bearer("good")))["X-User-Id"] == ["ann"]
    assert (await ask(site, "/optional", bearer("unknown"))).status == 401


async def test_other_places_and_what_goes_on(site: Site, issuer: Issuer) -> None:
    """Headers, query, cookies; taken out where the policy says so. Client credentials in the body."""
    places = {
        "headers": [{"name": "X-Token"}, {"name": "Authorization", "prefix": "Bearer "}],
        "queryParams": ["access_token"],
        "cookies": ["session"],
    }
    await start(site, issuer, **{"from": places, "forward": False, "clientAuth": "Post"})
    for path, lines in (
        ("/", ("X-Token: good",)),
        ("/", (bearer("good"),)),
        ("/?a=1&access_token=good&b=2", ()),
        ("/", ("Cookie: a=1; session=good; b=2",)),
        ("/", ("Cookie: session=good",)),
    ):
        reply = await ask(site, path, *lines)
        headers = heard(reply)
        assert headers["X-User-Id"] == ["ann"]
        assert b"good" not in reply.body, "nothing of the token goes on"
        if "Cookie: a=1; session=good; b=2" in lines:
            assert headers["Cookie"] == ["a=1; b=2"]
    for rest in ("a=%20&b=1%26c=2", "a=%0D%0AX:1", "%C3%A9"):
        reply = await ask(site, f"/?access_token=good&{rest}")
        assert (reply.status, json.loads(reply.body)["path"]) == (200, f"/?{rest}"), reply.body
    assert (await ask(site, "/?access_token=good", "X-Token: unknown")).status == 401, "the first decides"
    assert {one.how for one in issuer.questions} == {"post"}
    assert {(one.user, one.password) for one in issuer.questions} == {(issuer.client, issuer.secret)}


async def test_limits_count_by_claims_that_were_looked_up(site: Site, issuer: Issuer) -> None:
    """Whatever reads the claims of tokens reads these."""
    issuer.tokens["other"] = {"active": True, "sub": "bob"}
    limits = {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "RateLimitPolicy",
        "metadata": {"name": "each", "namespace": "shop"},
        "spec": {
            "targetRefs": [ROUTE],
            "limits": {"each": {"requests": 2, "per": "Day", "key": [{"type": "Claim", "name": "sub"}]}},
        },
    }
    await start(site, issuer, limits)

    async def found() -> list[int]:
        return [(await ask(site, "/", bearer(one))).status for one in ("good", "good", "good", "other")]

    assert await found() == [200, 200, 429, 200]


async def test_policies_word_these_refusals(site: Site, issuer: Issuer) -> None:
    """As all others; those that nobody words stay as they are."""
    words = {
        "unauthorized": {
            "status": 302,
            "headers": [{"name": "Location", "value": "https://login.example/?why=%ERROR%"}],
        },
        "invalidToken": {
            "json": {"type": "%ERROR%", "at": "%PATH%"},
            "contentType": "application/problem+json",
        },
        "unavailable": {"text": "Later. (%ERROR%)"},
    }
    await start(site, issuer, policy("words", ROUTE, answers=words), status=302)
    issuer.tokens["over"] = {"active": True, "exp": time.time() - 5}
    sent = await ask(site, "/")
    assert (sent.status, sent.headers["location"]) == (302, "https://login.example/?why=unauthorized")
    reply = await ask(site, "/", bearer("unknown"))
    assert (reply.status, json.loads(reply.body)) == (401, {"type": "invalid_token", "at": "/"})
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["www-authenticate"] == "Bearer"
    assert error(await ask(site, "/", bearer("over"))) == "token_expired"
    issuer.mode = "error"
    late = await ask(site, "/", bearer("other"))
    assert (late.status, late.body) == (503, b"Later. (unavailable)")


async def test_claims_are_handed_on_whole_or_not_at_all(site: Site, issuer: Issuer) -> None:
    """What Envoy would drop without a word is no yes: rules that deny would not see it."""
    await start(site, issuer)
    issuer.tokens["large"] = {"active": True, "sub": "ann", "scope": "cart:read admin:read", "x": "y" * 5000}
    issuer.tokens["larger"] = {**issuer.tokens["large"], "x": "y" * 7000}
    assert (await ask(site, "/admin", bearer("large"))).status == 200
    assert (await ask(site, "/admin", bearer("larger"))).status == 503


async def test_a_token_that_was_looked_up_is_no_checked_one(site: Site, issuer: Issuer) -> None:
    """Its claims stand where those of a JWT do, whatever a policy above leaves open."""
    issuer.tokens["iss"] = {**issuer.tokens["good"], "iss": "https://issuer.example"}
    elsewhere = section(issuer, **{"from": {"headers": [{"name": "X-Opaque"}]}})
    free = [{"paths": [{"value": "/both/free"}]}]
    rules = [rule("shop"), rule("shop", path="/both", name="both")]
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", *rules))
    site.plane.write(
        "auth.yaml",
        secret("gateway", **{"client-secret": issuer.secret}),
        policy("jwt", GATEWAY, jwt=jwt(), exclude=free),
        policy("both", at("both"), introspection=elsewhere),
    )
    await site.served(HOST, status=401)
    before = served(site)
    for path in ("/both", "/both/free"):
        assert (await ask(site, path, "X-Opaque: iss")).status == 401, path
        assert (await ask(site, path, bearer(token()))).status == 401, path
    assert served(site) == before
    heard(await ask(site, "/both", "X-Opaque: iss", bearer(token())))


async def test_claims_that_were_looked_up_lead_to_other_backends(site: Site, issuer: Issuer) -> None:
    """So they do while nobody can be asked only if the token is remembered; without claims, nowhere else."""
    issuer.tokens["plain"] = {"active": True, "sub": "bob", "exp": time.time() + 3600}
    case = {
        "claims": [{"name": "realm.roles", "values": ["buyer"]}],
        "backendRefs": [{"name": "gold", "port": 80}],
    }
    site.plane.write("gold.yaml", *await site.service("gold"))
    await start(site, issuer, policy("cases", ROUTE, routing={"byClaim": [case]}))

    async def reached(path: str, *lines: str) -> str:
        reply = await ask(site, path, *lines)
        return str(json.loads(reply.body)["pod"]) if reply.status == 200 else str(reply.status)

    forged = ("x-user-roles: buyer", "x-dragoman-token: e30=")
    assert await reached("/", bearer("good"), *forged) == "gold"
    assert await reached("/", bearer("plain"), *forged) == "shop"
    assert await reached("/", bearer("unknown"), *forged) == "401"
    assert await reached("/optional", *forged) == "shop"
    assert await reached("/optional", bearer("good")) == "gold"
    assert await reached("/lenient", bearer("good")) == "gold"
