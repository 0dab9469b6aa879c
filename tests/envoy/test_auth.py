"""AuthPolicies through the real Envoy: what passes reaches the backend, what does not never does.

The backend's own log decides: a request that was refused must not be in it.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import pytest
from aiohttp import web

from tests.harness import manifests, net, pods, tokens
from tests.harness.load import Reply, read_reply
from tests.harness.manifests import http_route, rule
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

HOST = "shop.example"
ISSUER = tokens.Issuer("https://issuer.example")
IMPOSTOR = tokens.Issuer("https://issuer.example")  # the same name and key id, another key
NOW = int(time.time())


def policy(name: str, target: manifests.Body, **spec: Any) -> manifests.Body:
    return {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "AuthPolicy",
        "metadata": {"name": name, "namespace": "shop"},
        "spec": {"targetRefs": [target], **spec},
    }


def jwt(**more: Any) -> manifests.Body:
    provider = {
        "name": "main",
        "issuer": ISSUER.name,
        "audiences": ["shop"],
        "jwks": {"inline": ISSUER.jwks},
        "claimsToHeaders": [{"claim": "sub", "header": "x-user-id"}],
        "payloadHeader": "x-payload",
        **more,
    }
    return {"providers": [provider]}


def token(header: dict[str, Any] | None = None, **claims: Any) -> str:
    return ISSUER.token(header, **{"aud": "shop", "exp": NOW + 3600, **claims})


GATEWAY = {"kind": "Gateway", "name": "edge"}


@pytest.fixture
async def shop(site: Site) -> Site:
    """Everything needs a token; `/admin` a scope as well; `/open` nothing."""
    paths = [rule("shop"), rule("shop", path="/admin", name="admin"), rule("shop", path="/open", name="open")]
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", *paths))
    site.plane.write(
        "auth.yaml",
        policy("all", GATEWAY, jwt=jwt()),
        policy(
            "admin",
            {"kind": "HTTPRoute", "name": "shop", "sectionName": "admin"},
            rules={"allow": [{"scopes": {"allOf": ["admin:read"]}, "methods": ["GET"]}]},
        ),
        policy("open", {"kind": "HTTPRoute", "name": "shop", "sectionName": "open"}, jwt={"disabled": True}),
    )
    await site.served(HOST, status=401)
    return site


async def ask(site: Site, path: str = "/", *lines: str, method: str = "GET") -> Reply:
    """One request; `lines` are headers as they go on the wire, doubled ones too."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    try:
        head = "\r\n".join((f"{method} {path} HTTP/1.1", f"Host: {HOST}", *lines))
        writer.write(f"{head}\r\n\r\n".encode())
        return await read_reply(reader, head=method == "HEAD")
    finally:
        writer.close()


def bearer(text: str) -> str:
    return f"Authorization: Bearer {text}"


def error(reply: Reply) -> str:
    return str(json.loads(reply.body)["error"])


async def test_a_good_token_passes_and_says_who_it_is(shop: Site) -> None:
    reply = await ask(shop, "/", bearer(token()), "X-User-Id: mallory", "X-Payload: mallory")
    assert reply.status == 200
    headers = json.loads(reply.body)["headers"]
    assert headers["X-User-Id"] == ["alice"]
    assert headers["X-Payload"] != ["mallory"]


async def test_a_token_that_is_remembered_still_expires(site: Site) -> None:
    """Envoy looks at the signature once, and at the time always."""
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", rule("shop")))
    site.plane.write("auth.yaml", policy("all", GATEWAY, jwt=jwt(clockSkew="1s")))
    await site.served(HOST, status=401)
    short = bearer(token(exp=int(time.time()) + 30))
    for _ in range(3):
        assert (await ask(site, "/", short)).status == 200
    ending = bearer(token(exp=int(time.time()) + 2))
    await ask(site, "/", ending)

    async def expired() -> bool:
        reply = await ask(site, "/", ending)
        return reply.status == 401 and error(reply) == "token_expired"

    await net.until("the token expired", expired)
    assert (await ask(site, "/", bearer(token()))).status == 200


ATTACKS: dict[str, tuple[str, str]] = {
    "no token": ("", "unauthorized"),
    "another scheme": ("Authorization: Basic YTpi", "unauthorized"),
    "alg none": (bearer(token({"alg": "none"})), "invalid_token"),
    "HS256 with the public key": (bearer(token({"alg": "HS256"})), "invalid_token"),
    "unknown kid": (bearer(token({"kid": "two"})), "invalid_token"),
    "another key of the same name": (bearer(IMPOSTOR.token(aud="shop", exp=NOW + 3600)), "invalid_token"),
    "another issuer": (bearer(token(iss="https://evil.example")), "invalid_token"),
    "expired": (bearer(token(exp=NOW - 3600)), "token_expired"),
    "not yet valid": (bearer(token(nbf=NOW + 3600)), "invalid_token"),
    "without an end": (bearer(token(exp=None)), "invalid_token"),
    "another audience": (bearer(token(aud="bank")), "invalid_token"),
    "no audience": (bearer(token(aud=None)), "invalid_token"),
    "a changed payload": (bearer(token()[:-10] + "AAAAAAAAAA"), "invalid_token"),
    "nonsense": (bearer("a.b.c"), "invalid_token"),
}


async def test_what_is_no_good_token_never_reaches_the_backend(shop: Site) -> None:
    before = list(shop.backends["shop"].echo.seen)
    for attack, (line, expected) in ATTACKS.items():
        reply = await ask(shop, "/", *([line] if line else []))
        assert (reply.status, error(reply)) == (401, expected), attack
        assert reply.headers["content-type"] == "application/json", attack
        assert "www-authenticate" in reply.headers, attack
    assert shop.backends["shop"].echo.seen == before


PATHS = (
    *("//", "/x/../", "/open/../", "/open/..;/", "/open%2f..%2f", "/%6fpen/../", "/OPEN", "/opening"),
    "/open/%2e%2e/",
)


async def test_no_way_round_by_the_path(shop: Site) -> None:
    """`/open` is open, and nothing else that looks like it."""
    before = list(shop.backends["shop"].echo.seen)
    for path in PATHS:
        reply = await ask(shop, path)
        if reply.status == 307:  # escaped slashes are unescaped first, by way of the client
            location = reply.headers["location"]
            reply = await ask(shop, location.partition(HOST)[2] or location)
        assert reply.status == 401, path
    assert shop.backends["shop"].echo.seen == before


async def test_where_it_is_switched_off_identity_cannot_be_claimed(shop: Site) -> None:
    reply = await ask(shop, "/open", "X-User-Id: mallory", "X-Payload: mallory")
    assert reply.status == 200
    assert not {"X-User-Id", "X-Payload"} & json.loads(reply.body)["headers"].keys()


async def test_scopes(shop: Site) -> None:
    refused = await ask(shop, "/admin", bearer(token(scope="admin:write shop")))
    assert (refused.status, error(refused)) == (403, "insufficient_scope")
    said = json.loads(refused.body)
    assert said["requiredScopes"] == ["admin:read"]
    assert said["currentScopes"] == ["admin:write", "shop"]
    assert (await ask(shop, "/admin", bearer(token(scope="shop admin:read")))).status == 200
    assert (await ask(shop, "/admin", bearer(token(scope=["shop", "admin:read"])))).status == 200
    assert (await ask(shop, "/admin", bearer(token(scope="admin:read")), method="DELETE")).status == 403
    assert (await ask(shop, "/admin", bearer(token()))).status == 403
    assert (await ask(shop, "/admin")).status == 401


async def test_doubled_authorization_headers(shop: Site) -> None:
    """Of two tokens a bad one decides, whatever the order."""
    before = list(shop.backends["shop"].echo.seen)
    for lines in ([bearer(token()), bearer("a.b.c")], [bearer("a.b.c"), bearer(token())]):
        assert (await ask(shop, "/", *lines)).status in (400, 401)
    assert shop.backends["shop"].echo.seen == before


async def test_a_changed_policy_lets_nobody_slip_through(shop: Site) -> None:
    """Keys come and go by ECDS, routes by RDS: under load nobody without a token passes, and nobody with
    one is refused."""
    good = token(exp=NOW + 3600)
    wrong: list[int] = []
    done = 0
    stop = asyncio.Event()

    async def clients() -> None:
        nonlocal done
        while not stop.is_set():
            with_token, without = await asyncio.gather(ask(shop, "/", bearer(good)), ask(shop, "/"))
            wrong.extend(status for status in (with_token.status,) if status != 200)
            wrong.extend(status for status in (without.status,) if status != 401)
            done += 2

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(clients())
        for number in range(8):
            skew = f"{number + 30}s"
            shop.plane.write("auth.yaml", policy("all", GATEWAY, jwt=jwt(clockSkew=skew)))
            goal = done + 40
            await net.until("more requests", lambda goal=goal: done >= goal)
        stop.set()
    assert not wrong


async def test_a_policy_that_is_wrong_closes(site: Site) -> None:
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", rule("shop")))
    await site.served(HOST)
    site.plane.write("auth.yaml", policy("all", GATEWAY, jwt={"provider": []}))
    await site.served(HOST, status=500)
    reply = await pods.ask(site.port, HOST)
    assert json.loads(reply.body)["error"] == "misconfigured"
    site.plane.write("auth.yaml", policy("all", GATEWAY, jwt=jwt()))
    await site.served(HOST, status=401)
    # Broken later, it goes on as it was.
    site.plane.write("auth.yaml", policy("all", GATEWAY, jwt={"provider": []}))
    site.plane.write(
        "more.yaml", *await site.service("more"), http_route("more", rule("more"), hostnames=["m.test"])
    )
    await site.served("m.test", status=401)
    assert (await ask(site)).status == 401


async def test_an_issuer_is_asked_for_its_keys_and_may_go_down_afterwards(site: Site) -> None:
    """OpenID Connect Discovery, then the keys; a new key is taken up, and what was good stays."""
    port = net.free_port()
    issuer = tokens.Issuer(f"http://127.0.0.1:{port}")
    answers = {
        "/.well-known/openid-configuration": {"issuer": issuer.name, "jwks_uri": f"{issuer.name}/keys"},
        "/keys": json.loads(issuer.jwks),
    }

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(answers[request.path])

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", rule("shop")))
        provider = {"name": "main", "issuer": issuer.name, "audiences": ["shop"]}
        site.plane.write("auth.yaml", policy("all", GATEWAY, jwt={"providers": [provider]}))
        await site.served(HOST, status=401)
        assert (await ask(site, "/", bearer(issuer.token(aud="shop")))).status == 200
    finally:
        await runner.cleanup()
    site.plane.write(
        "more.yaml", *await site.service("more"), http_route("more", rule("more"), hostnames=["m.test"])
    )
    await site.served("m.test", status=401)
    assert (await ask(site, "/", bearer(issuer.token(aud="shop")))).status == 200
