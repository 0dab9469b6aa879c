"""AuthPolicies' CORS, CSRF, asked services, and rules on certificates through the real Envoy.

Where something is refused, the backend's own log decides: the request must not be in it.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.envoy import asked, client_site
from tests.envoy.client_site import ClientAuthority, client_policy, config_map, trusting
from tests.envoy.test_auth import GATEWAY, HOST, bearer, error, jwt, policy, token
from tests.harness import manifests, net
from tests.harness.load import Reply, read_reply
from tests.harness.manifests import http_route, rule
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

ROUTE = {"kind": "HTTPRoute", "name": "shop"}
APP = "https://app.example"
PREFLIGHT = ("Access-Control-Request-Method: PUT",)


async def ask(site: Site, path: str = "/", *lines: str, method: str = "GET", body: bytes = b"") -> Reply:
    """One request; `lines` are headers as they go on the wire."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    try:
        size = (f"Content-Length: {len(body)}",) if body or method in ("POST", "PUT", "PATCH") else ()
        head = "\r\n".join((f"{method} {path} HTTP/1.1", f"Host: {HOST}", *lines, *size))
        writer.write(f"{head}\r\n\r\n".encode() + body)
        return await read_reply(reader, head=method == "HEAD")
    finally:
        writer.close()


def seen(site: Site) -> list[str]:
    return list(site.backends["shop"].echo.seen)


def told(reply: Reply) -> dict[str, list[str]]:
    """The headers that the backend saw, by lower-case name."""
    headers: dict[str, list[str]] = json.loads(reply.body)["headers"]
    return {name.lower(): values for name, values in headers.items()}


async def shop(site: Site, *policies: manifests.Body, status: int = 200, **more: Any) -> None:
    """The shop under policies: a plain rule at `/`, and one at `/own` with a CORS filter of its own."""
    own = {"type": "CORS", "cors": {"allowOrigins": ["https://own.example"]}}
    rules = [rule("shop"), rule("shop", path="/own", name="own", filters=[own])]
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", *rules))
    site.plane.write("auth.yaml", *policies)
    await site.served(HOST, status=status, **more)


async def is_asked(site: Site, asks: asked.Service) -> bool:
    """Whether the policy is in force by now: the route may have come a moment before it."""
    await ask(site)
    return bool(asks.checks)


CORS = {
    "allowOrigins": [
        {"value": APP},
        {"value": "https://*.trusted.example"},
        {"value": r"https://pr-[0-9]+\.preview\.example", "type": "RegularExpression"},
    ],
    "allowMethods": ["GET", "PUT"],
    "allowHeaders": ["x-one"],
    "exposeHeaders": ["x-two"],
    "allowCredentials": True,
    "maxAge": "10m",
}


async def test_preflights_are_answered_where_a_token_is_needed(site: Site) -> None:
    """The route's policy sets CORS alone: the Gateway's tokens are asked for all the same."""
    await shop(site, policy("all", GATEWAY, jwt=jwt()), policy("pages", ROUTE, cors=CORS), status=401)

    async def answered() -> bool:
        found = await ask(site, "/", f"Origin: {APP}", *PREFLIGHT, method="OPTIONS")
        return found.headers.get("access-control-allow-origin") == APP

    await net.until("preflights answered", answered)
    before = seen(site)
    for origin in (APP, "https://a.b.trusted.example", "https://pr-12.preview.example"):
        reply = await ask(site, "/", f"Origin: {origin}", *PREFLIGHT, method="OPTIONS")
        assert reply.status == 200
        assert reply.headers["access-control-allow-origin"] == origin
        assert reply.headers["access-control-allow-credentials"] == "true"
        assert reply.headers["access-control-max-age"] == "600"
        assert reply.headers["access-control-allow-headers"] == "x-one"
        assert "PUT" in reply.headers["access-control-allow-methods"]
    strangers = (
        "https://evil.example",
        "http://app.example",
        "https://app.example.evil.example",
        "https://pr-x.preview.example",
        "https://pr-1xpreview.example",
        "https://trusted.example",
        "https://evil.example/.trusted.example",
        "null",
    )
    for origin in strangers:
        reply = await ask(site, "/", f"Origin: {origin}", *PREFLIGHT, method="OPTIONS")
        assert "access-control-allow-origin" not in reply.headers, origin
    assert (await ask(site, "/", f"Origin: {APP}")).status == 401
    assert seen(site) == before
    reply = await ask(site, "/", f"Origin: {APP}", bearer(token()))
    assert reply.status == 200
    assert reply.headers["access-control-allow-origin"] == APP
    assert reply.headers["access-control-expose-headers"] == "x-two"
    # A plain OPTIONS is no preflight, and needs a token.
    assert (await ask(site, "/", f"Origin: {APP}", method="OPTIONS")).status == 401
    # The refusal can be read by the page.
    refused = await ask(site, "/", f"Origin: {APP}")
    assert refused.headers["access-control-allow-origin"] == APP


async def test_a_rules_own_cors_filter_wins(site: Site) -> None:
    await shop(site, policy("pages", GATEWAY, cors=CORS))

    async def allowed(path: str, origin: str) -> bool:
        reply = await ask(site, path, f"Origin: {origin}", *PREFLIGHT, method="OPTIONS")
        return reply.headers.get("access-control-allow-origin") == origin

    await net.until("preflights answered", lambda: allowed("/", APP))
    assert await allowed("/own", "https://own.example")
    assert not await allowed("/own", APP)
    assert not await allowed("/", "https://own.example")


async def test_what_pages_of_other_hosts_try_to_change(site: Site) -> None:
    hosts = [
        {"value": "app.example"},
        {"value": "*.trusted.example:8443"},
        {"value": r"pr-[0-9]+\.preview\.example", "type": "RegularExpression"},
    ]
    await shop(site, policy("csrf", GATEWAY, csrf={"additionalOrigins": hosts}))

    async def refuses() -> bool:
        return (await ask(site, "/", "Origin: https://evil.example", method="POST")).status == 403

    await net.until("refusals", refuses)
    before = seen(site)
    strangers = [
        ("Origin: https://evil.example",),
        ("Origin: https://app.example.evil.example",),
        ("Origin: https://a.trusted.example",),
        ("Origin: https://pr-x.preview.example",),
        ("Referer: https://evil.example/app.example",),
        ("Origin: null",),
        (),
    ]
    for lines in strangers:
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            reply = await ask(site, "/", *lines, method=method)
            assert (reply.status, error(reply)) == (403, "forbidden"), (lines, method)
    assert seen(site) == before
    friends = (
        f"Origin: http://{HOST}",
        f"Referer: http://{HOST}/cart",
        "Origin: https://app.example",
        "Origin: https://a.trusted.example:8443",
        "Origin: https://pr-7.preview.example",
    )
    for line in friends:
        assert (await ask(site, "/", line, method="POST")).status == 200, line
    assert (await ask(site, "/", "Origin: https://evil.example")).status == 200  # GET changes nothing


def service(port: int, protocol: str = "GRPC") -> list[manifests.Body]:
    """The service that is asked, as the Gateway sees it."""
    del protocol
    return [manifests.service("asked"), manifests.endpoint_slice("asked", port)]


ASKED = {"name": "asked", "port": 80}


async def test_a_service_is_asked_by_grpc(site: Site) -> None:
    async with asked.by_grpc() as asks:
        site.plane.write("asked.yaml", *service(asks.port))
        external = {
            "backendRef": ASKED,
            "timeout": "5s",
            "context": [{"name": "scopes", "value": "a b"}],
            "addHeaders": [{"name": "x-gateway", "value": "100%"}],
            "bodyBytes": 4,
        }
        await shop(site, policy("asked", GATEWAY, external=external))
        await net.until("the service asked", partial(is_asked, site, asks))
        asks.checks.clear()
        asks.metadata.clear()
        reply = await ask(
            site, "/a?b=c", "x-who: mallory", "x-secret: mine", method="POST", body=b"\xff12345"
        )
        assert reply.status == 200
        assert told(reply)["x-who"] == ["alice"]
        assert "x-secret" not in told(reply)
        assert reply.headers["x-checked"] == "yes"
        (check,) = asks.checks
        assert check.attributes.request.http.path == "/a?b=c"
        assert check.attributes.request.http.raw_body == b"\xff123"
        assert dict(check.attributes.context_extensions) == {"scopes": "a b"}
        assert asks.metadata[0]["x-gateway"] == "100%"
        before = seen(site)
        refused = await ask(site, "/", "x-say: no")
        assert (refused.status, refused.body, refused.headers["x-why"]) == (418, b"not you", "because")
        assert seen(site) == before


async def test_a_service_that_is_down(site: Site) -> None:
    """Closed: 503 and JSON, nothing reaches the backend. Open where the policy says so. Back again, it
    decides."""
    port = net.free_port()
    site.plane.write("asked.yaml", *service(port))
    external = {"backendRef": ASKED, "timeout": "2s"}
    await shop(
        site,
        policy("asked", GATEWAY, external=external),
        policy(
            "open",
            {"kind": "HTTPRoute", "name": "shop", "sectionName": "own"},
            external={**external, "failOpen": True},
        ),
        status=503,
    )
    before = seen(site)
    reply = await ask(site)
    assert (reply.status, error(reply)) == (503, "unavailable")
    assert reply.headers["content-type"] == "application/json"
    assert seen(site) == before
    assert (await ask(site, "/own")).status == 200
    async with asked.by_grpc(port) as asks:

        async def decides() -> bool:
            return (await ask(site)).status == 200

        await net.until("the service decides", decides)

        async def refuses() -> bool:
            return (await ask(site, "/own", "x-say: no")).status == 418

        await net.until("the service decides where it fails open", refuses)
        assert asks.checks


async def test_a_service_is_asked_by_http(site: Site) -> None:
    async with asked.by_http() as asks:
        site.plane.write("asked.yaml", *service(asks.port))
        external = {
            "backendRef": ASKED,
            "protocol": "HTTP",
            "timeout": "5s",
            "pathPrefix": "/check",
            "addHeaders": [{"name": "x-gateway", "value": "100%"}],
            "backendHeaders": ["X-Who"],
            "clientHeaders": ["x-why"],
            "successHeaders": ["x-checked"],
            "bodyBytes": 4,
        }
        await shop(site, policy("asked", ROUTE, external=external))
        await net.until("the service asked", partial(is_asked, site, asks))
        asks.checks.clear()
        asks.bodies.clear()
        reply = await ask(
            site, "/a?b=c", "x-who: mallory", "x-other: 1", bearer("t"), method="POST", body=b"12345"
        )
        assert reply.status == 200
        assert told(reply)["x-who"] == ["alice"]
        assert "x-inner" not in told(reply)
        assert reply.headers["x-checked"] == "yes"
        assert "x-inner" not in reply.headers
        (check,) = asks.checks
        assert (check.method, check.path_qs) == ("POST", "/check/a?b=c")
        assert check.headers["x-gateway"] == "100%"
        assert (check.headers["x-other"], check.headers["authorization"]) == ("1", "Bearer t")
        assert "x-who" not in check.headers
        assert asks.bodies == [b"1234"]
        before = seen(site)
        refused = await ask(site, "/", "x-say: no")
        assert (refused.status, json.loads(refused.body)) == (403, {"error": "not you"})
        assert refused.headers["content-type"].startswith("application/json")
        assert refused.headers["x-why"] == "because"
        assert "x-inner" not in refused.headers
        assert seen(site) == before


async def test_a_service_that_is_not_there_closes(site: Site) -> None:
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", rule("shop")))
    await site.served(HOST)
    site.plane.write("auth.yaml", policy("asked", GATEWAY, external={"backendRef": ASKED, "failOpen": True}))
    await site.served(HOST, status=500)
    assert error(await ask(site)) == "misconfigured"
    async with asked.by_grpc() as asks:
        site.plane.write("asked.yaml", *service(asks.port))
        await site.served(HOST)
        assert asks.checks


CLIENTS = ClientAuthority()
OTHERS = ClientAuthority("others")
API = "spiffe://shop.example/ns/api"


async def test_names_in_certificates(envoy_binary: Path, tmp_path: Path) -> None:
    """Also where a listener lets certificates in that nobody checked: those prove nothing."""
    certificates = {"caCertificateRefs": [{"name": "clients"}]}
    rules = {
        "allow": [
            {"principals": [{"exact": API}, {"prefix": "spiffe://shop.example/ns/jobs/"}]},
            {"principals": [{"type": "DNS", "exact": "ops.example"}]},
        ],
        "deny": [{"userAgents": ["(?i).*bot.*"]}],
    }
    policies = [
        client_policy({"clientValidation": {**certificates, "mode": "Optional"}}, section="some"),
        client_policy({"clientValidation": {**certificates, "mode": "AllowInvalid"}}, section="any"),
        policy("named", {"kind": "Gateway", "name": "edge"}, rules=rules),
    ]
    more = [config_map("clients", ca_crt=CLIENTS.pem)]
    shown = {
        "api": CLIENTS.issue(tmp_path, API)[:2],
        "job": CLIENTS.issue(tmp_path, "spiffe://shop.example/ns/jobs/1")[:2],
        "ops": CLIENTS.issue(tmp_path, "spiffe://shop.example/ns/ops", "ops.example")[:2],
        "other": CLIENTS.issue(tmp_path, f"{API}2")[:2],
        "false": OTHERS.issue(tmp_path, API)[:2],
    }
    async with client_site.running(
        envoy_binary, {"some": "HTTPS", "any": "HTTPS", "plain": "HTTP"}, policies, more
    ) as site:
        for listener in ("some", "any"):
            for name in ("api", "job", "ops"):
                tls = trusting(shows=shown[name])
                assert (await site.ask(listener, tls=tls)).status == 200, (listener, name)
                assert (await site.ask(listener, "User-Agent: GoogleBot/2", tls=tls)).status == 403
            passed = len(site.requests)
            refused = [trusting(shows=shown["other"]), trusting()]
            refused += [trusting(shows=shown["false"])] if listener == "any" else []
            for tls in refused:
                reply = await site.ask(listener, tls=tls)
                assert (reply.status, error(reply)) == (403, "forbidden")
            assert len(site.requests) == passed
        assert (await site.ask("plain")).status == 403
