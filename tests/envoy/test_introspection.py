"""Tokens that are looked up where they were issued (RFC 7662): files, `dragoman run` with its companion, the
real Envoy, an issuer of the tests'.

The backend's own log decides: a request that was refused must not be in it. The issuer's says how often
somebody asked.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.envoy.test_auth import GATEWAY, HOST, ask, bearer, error, jwt, policy, token
from tests.envoy.test_auth_keys import secret
from tests.harness import manifests, net
from tests.harness.issuer import Issuer
from tests.harness.load import Reply
from tests.harness.manifests import http_route, rule
from tests.harness.plane import Plane
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

ROUTE = {"kind": "HTTPRoute", "name": "shop"}


@pytest_asyncio.fixture
async def issuer() -> AsyncIterator[Issuer]:
    async with Issuer() as running:
        running.tokens["good"] = {
            "active": True,
            "sub": "ann",
            "client_id": "app",
            "scope": "cart:read cart:write",
            "realm": {"roles": ["user", "buyer"]},
            "exp": time.time() + 3600,
        }
        yield running


@pytest_asyncio.fixture
async def site(tmp_path: Path, envoy_binary: Path) -> AsyncIterator[Site]:
    """A site whose companion tells its metrics."""
    made = Site(tmp_path)
    made.companion = net.free_port()  # type: ignore[attr-defined]
    environment = {"DRAGOMAN_AUTHZ_METRICS_PORT": str(made.companion)}  # type: ignore[attr-defined]
    made.plane = Plane(tmp_path, environment=environment, log_level="debug")
    async with made:
        yield made


def section(issuer: Issuer, /, **more: Any) -> manifests.Body:
    return {
        "endpoint": issuer.endpoint,
        "clientID": issuer.client,
        "clientSecretRef": {"name": "gateway"},
        "claimsToHeaders": [
            {"claim": "sub", "header": "X-User-ID"},
            {"claim": "realm.roles", "header": "X-User-Roles"},
            {"claim": "scope", "header": "X-Scopes"},
        ],
        **more,
    }


async def start(
    site: Site, issuer: Issuer, /, *policies: manifests.Body, status: int = 401, **more: Any
) -> None:
    """Everything is looked up but `/open`; `/admin` needs a scope and a role, `/buyers` a role."""
    names = ("admin", "buyers", "open", "optional", "lenient")
    rules = [rule("shop"), *(rule("shop", path=f"/{one}", name=one) for one in names)]
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", *rules))
    scopes = {"allOf": ["admin:read"], "anyOf": ["cart:read", "other"]}
    site.plane.write(
        "auth.yaml",
        secret("gateway", **{"client-secret": issuer.secret}),
        policy("all", GATEWAY, introspection=section(issuer, **more)),
        policy("admin", at("admin"), rules={"allow": [{"scopes": scopes}]}),
        policy(
            "buyers",
            at("buyers"),
            rules={"allow": [{"claims": [{"name": "realm.roles", "values": ["buyer"]}]}]},
        ),
        policy("open", at("open"), introspection={"disabled": True}),
        policy("optional", at("optional"), introspection=section(issuer, optional=True)),
        policy("lenient", at("lenient"), introspection=section(issuer, failure="Open", timeout="300ms")),
        *policies,
    )
    await site.served(HOST, status=status)


def at(name: str) -> manifests.Body:
    return {**ROUTE, "sectionName": name}


def heard(reply: Reply) -> dict[str, list[str]]:
    """The headers that the backend got."""
    assert reply.status == 200, reply.body
    found: dict[str, list[str]] = json.loads(reply.body)["headers"]
    return found


def served(site: Site) -> int:
    """Requests that a backend has seen."""
    return sum(len(one.echo.seen) for one in site.backends.values())


async def companion(site: Site, prefix: str) -> dict[str, float]:
    """The companion's metrics."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.companion)  # type: ignore[attr-defined]
    writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
    text = (await reader.read()).decode().partition("\r\n\r\n")[2]
    writer.close()
    lines = (line.rpartition(" ") for line in text.splitlines() if line.startswith(prefix) and line[0] != "#")
    return {name: float(value) for name, _, value in lines}


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


@pytest.mark.parametrize(
    "mode", ["error", "malformed", "html", "huge", "redirect", "gzip", "no-active", "closed", "slow"]
)
async def test_an_issuer_that_fails_is_not_the_clients_fault(site: Site, issuer: Issuer, mode: Any) -> None:
    """503 and not 401; nothing of it is remembered; who is to pass then passes, with nothing claimed."""
    await start(site, issuer, timeout="500ms")
    issuer.mode = mode
    before = served(site)
    reply = await ask(site, "/", bearer("good"))
    assert (reply.status, error(reply)) == (503, "unavailable")
    assert "www-authenticate" not in reply.headers
    assert served(site) == before
    headers = heard(await ask(site, "/lenient", bearer("good"), "X-User-ID: mallory"))
    assert "X-User-Id" not in headers
    assert (await ask(site, "/lenient")).status == 401, "without a token nobody needs to be asked"
    issuer.mode = "good"
    assert heard(await ask(site, "/", bearer("good")))["X-User-Id"] == ["ann"]


async def test_an_issuer_that_is_away_and_comes_back(site: Site, issuer: Issuer) -> None:
    await start(site, issuer)
    heard(await ask(site, "/", bearer("good")))
    await issuer.stop()
    heard(await ask(site, "/", bearer("good")))
    assert (await ask(site, "/", bearer("other"))).status == 503
    assert (await ask(site, "/lenient", bearer("other"))).status == 200
    errors = await companion(site, "dragoman_authz_errors_total")
    assert errors['dragoman_authz_errors_total{policy="shop/all",reason="unreachable"}'] == 1
    await issuer.start()
    assert (await ask(site, "/", bearer("other"))).status == 401


async def test_a_revoked_token_is_refused_after_its_time(site: Site, issuer: Issuer) -> None:
    """It passes as long as the answer is believed, and not much longer."""
    await start(site, issuer, remember={"active": "2s", "inactive": "1s"})
    heard(await ask(site, "/", bearer("good")))
    asked = time.monotonic()
    issuer.tokens["good"] = {"active": False}
    early = await ask(site, "/", bearer("good"))
    if time.monotonic() - asked < 1.5:
        assert early.status == 200

    async def refused() -> bool:
        return (await ask(site, "/", bearer("good"))).status == 401

    await net.until("the revoked token refused", refused, limit=10)
    assert time.monotonic() - asked >= 1.5
    issuer.tokens["good"] = {"active": True}

    async def passes() -> bool:
        return (await ask(site, "/", bearer("good"))).status == 200

    await net.until("the token that is good again", passes, limit=10)


async def test_never_beyond_the_end(site: Site, issuer: Issuer) -> None:
    """A long memory does not help a token that has ended, although its issuer would still say yes."""
    await start(site, issuer)
    issuer.tokens["short"] = {"active": True, "exp": time.time() + 2}
    heard(await ask(site, "/", bearer("short")))

    async def over() -> bool:
        return (await ask(site, "/", bearer("short"))).status == 401

    await net.until("the token's end", over, limit=10)
    assert error(await ask(site, "/", bearer("short"))) == "token_expired"


async def test_many_requests_are_one_question(site: Site, issuer: Issuer) -> None:
    await start(site, issuer)
    issuer.delay = 1.0
    replies = await asyncio.gather(*(ask(site, "/", bearer("good")) for _ in range(40)))
    assert {one.status for one in replies} == {200}
    assert issuer.asked("good") == 1
    outcomes = await companion(site, "dragoman_authz_cache_total")
    found = {name.partition('outcome="')[2].partition('"')[0]: value for name, value in outcomes.items()}
    assert found["miss"] == 1
    assert found["joined"] + found.get("hit", 0) == 39
    page = await site.plane.metrics("dragoman_authz_")
    assert page.items() >= outcomes.items(), "the control plane's page has them too"
    assert page['dragoman_authz_introspection_seconds_count{outcome="active",policy="shop/all"}'] == 1
    assert page['dragoman_authz_requests_total{outcome="allowed",policy="shop/all"}'] >= 40


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
    assert (await ask(site, "/?access_token=good", "X-Token: unknown")).status == 401, "the first decides"
    assert {one.how for one in issuer.questions} == {"post"}
    assert {(one.user, one.password) for one in issuer.questions} == {(issuer.client, issuer.secret)}


async def test_the_issuers_description_says_where(site: Site, issuer: Issuer) -> None:
    """And the audience is looked at."""
    await start(site, issuer, endpoint=None, issuer=issuer.url, audiences=["shop"])
    for name, claims, status in (
        ("mine", {"aud": ["other", "shop"], "iss": issuer.url}, 200),
        ("silent", {"aud": "shop"}, 200),
        ("others", {"aud": "other", "iss": issuer.url}, 401),
        ("for all", {"iss": issuer.url}, 401),
        ("foreign", {"aud": "shop", "iss": "https://evil.example"}, 401),
    ):
        text = name.replace(" ", "-")
        issuer.tokens[text] = {"active": True, **claims}
        assert (await ask(site, "/", bearer(text))).status == status, name


async def test_a_new_secret_touches_no_route(site: Site, issuer: Issuer) -> None:
    await start(site, issuer)
    heard(await ask(site, "/", bearer("good")))
    issuer.secret = "the next one"
    assert (await ask(site, "/", bearer("other"))).status == 503
    tables = await site.envoy.stats(r"^http\..*\.rds\..*\.update_success$")
    site.plane.write("secret.yaml", secret("other"))
    text = (site.plane.folder / "auth.yaml").read_text()
    (site.plane.folder / "auth.yaml").write_text(text.replace("s3cr et:+", "the next one"))
    issuer.tokens["new"] = {"active": True}

    async def followed() -> bool:
        return (await ask(site, "/", bearer("new"))).status == 200

    await net.until("the new secret", followed)
    heard(await ask(site, "/", bearer("good")))
    assert issuer.asked("good") == 1, "what is remembered stays"
    assert await site.envoy.stats(r"^http\..*\.rds\..*\.update_success$") == tables


async def test_without_the_secret_nobody_passes(site: Site, issuer: Issuer) -> None:
    await start(site, issuer)
    site.plane.write(
        "auth.yaml", policy("all", GATEWAY, introspection=section(issuer, clientSecretRef={"name": "gone"}))
    )
    await site.served(HOST, status=500)
    before = served(site)
    reply = await ask(site, "/", bearer("good"))
    assert json.loads(reply.body)["code"] == "DRG1861"
    assert served(site) == before


async def test_secrets_and_tokens_are_nowhere(site: Site, issuer: Issuer) -> None:
    """Not in the log (at its most talkative), the admin pages, metrics, or what Envoy was given."""
    await start(site, issuer)
    issuer.tokens["token-7f3a"] = {"active": True, "sub": "ann"}
    heard(await ask(site, "/", bearer("token-7f3a")))
    issuer.mode = "malformed"
    assert (await ask(site, "/", bearer("token-9e8d"))).status == 503
    pages = [site.plane.log, await site.plane.get("/metrics")]
    pages += [
        str(await site.plane.get(page))
        for page in ("/api/v1/objects", "/api/v1/diagnostics", "/api/v1/snapshot?body=1")
    ]
    pages.append(str(await companion(site, "")))
    pages.append(json.dumps(await site.envoy.get("/config_dump?include_eds")))
    for page in pages:
        assert page
        for word in ("s3cr", "token-7f3a", "token-9e8d", "czNjcitldA"):
            assert word not in page


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


async def test_a_companion_of_its_own(tmp_path: Path, envoy_binary: Path, issuer: Issuer) -> None:
    """`dragoman authz` on the same files, the control plane without one: away it is 503, and back again."""
    port = net.free_port()
    site = Site(tmp_path)
    environment = {"DRAGOMAN_AUTHZ_ENABLED": "false", "DRAGOMAN_AUTHZ_PORT": str(port)}
    site.plane = Plane(tmp_path, environment=environment)
    command = [sys.executable, "-m", "dragoman", "authz", str(site.plane.folder), "--port", str(port)]

    async def answered(token: str, status: int) -> None:
        async def so() -> bool:
            return (await ask(site, "/", bearer(token))).status == status

        await net.until(f"{token} answered with {status}", so)

    async with site:
        rules = [rule("shop"), rule("shop", path="/lenient", name="lenient")]
        site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", *rules))
        site.plane.write(
            "auth.yaml",
            secret("gateway", **{"client-secret": issuer.secret}),
            policy("all", GATEWAY, introspection=section(issuer)),
            policy("lenient", at("lenient"), introspection=section(issuer, failure="Open")),
        )
        await site.served(HOST, status=503)
        assert error(await ask(site, "/", bearer("good"))) == "unavailable"
        headers = heard(await ask(site, "/lenient", bearer("good"), "X-User-ID: mallory"))
        assert "X-User-Id" not in headers
        for _ in range(2):
            process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.DEVNULL)
            try:
                await answered("good", 200)
                assert (await ask(site, "/", bearer("unknown"))).status == 401
                issuer.tokens["later"] = {"active": True, "aud": "shop"}
                assert (await ask(site, "/", bearer("later"))).status == 200
            finally:
                process.terminate()
                assert await asyncio.wait_for(process.wait(), 20) == 0
            await answered("good", 503)


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
