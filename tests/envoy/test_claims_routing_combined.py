"""Cases of claims together with what else decides where a request goes, or who it is: WebSockets, a Rollout
of the rule's own backends, and logins. In one list, cut into scopes, and with clusters that are fetched for
the first request of a case.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.envoy.test_auth import GATEWAY, HOST, bearer, jwt, policy, token
from tests.envoy.test_auth_keys import secret
from tests.envoy.test_auth_oidc import jwt as provided, oidc
from tests.envoy.test_claims_routing import GOLD, at, case, gold, reached, routing
from tests.envoy.test_rollout import by_hand, rollout, said
from tests.harness import net
from tests.harness.browser import PAGE, Browser
from tests.harness.load import read_reply
from tests.harness.manifests import http_route, rule
from tests.harness.provider import SECRET, Provider
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

NAMES = ("shop", "gold", "new", "old")


@pytest.fixture(params=["list", "scopes", "lazy"])
async def site(request: pytest.FixtureRequest, tmp_path: Path, envoy_binary: Path) -> AsyncIterator[Site]:
    environment = {"DRAGOMAN_STATE_DIRECTORY": str(tmp_path / "state")}
    if request.param == "scopes":
        environment["DRAGOMAN_GATEWAYS_SCOPED_HOSTS"] = "2"
    if request.param == "lazy":
        environment["DRAGOMAN_GATEWAYS_LAZY_CLUSTERS"] = "true"
    async with Site(tmp_path, environment=environment) as running:
        for name in NAMES:
            running.plane.write(f"{name}.yaml", *await running.service(name))
        crowd = [http_route(f"h{n}", rule("shop"), hostnames=[f"h{n}.example"]) for n in range(3)]
        running.plane.write("crowd.yaml", *crowd)
        yield running


async def upgraded(site: Site, *lines: str, path: str = "/") -> tuple[str, asyncio.StreamWriter | None]:
    """Whose WebSocket it is, once it has answered a frame; else the status."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    head = (
        f"GET {path} HTTP/1.1",
        f"Host: {HOST}",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        *lines,
    )
    writer.write("\r\n".join((*head, "", "")).encode())
    reply = await read_reply(reader)
    if reply.status != 101:
        writer.close()
        return str(reply.status), None
    writer.write(bytes([0x81, 0x82, 0, 0, 0, 0]) + b"hi")
    assert await reader.readexactly(4) == b"\x81\x02hi"
    return reply.pod, writer


async def whose(site: Site, *lines: str, path: str = "/") -> str:
    pod, writer = await upgraded(site, *lines, path=path)
    if writer is not None:
        writer.close()
    return pod


async def test_websockets(site: Site) -> None:
    """The handshake is a request like others; what is open stays where it is."""
    denied = {"allow": [{"scopes": {"allOf": ["admin"]}}]}
    shop = http_route("shop", rule("shop"), rule("shop", path="/admin", name="admin"))
    site.plane.write("route.yaml", shop)
    on = {"kind": "HTTPRoute", "name": "shop"}
    site.plane.write(
        "auth.yaml",
        policy("all", GATEWAY, jwt=jwt()),
        policy("shop", on, routing=routing(case(GOLD, "gold"))),
        policy("admin", at("admin"), rules=denied, routing=routing(case(GOLD, "gold"))),
    )
    await site.served(HOST, status=401)
    await net.until("cases", lambda: leads(site, "gold"))
    for lines, path, pod in (
        ((bearer(gold()),), "/", "gold"),
        ((bearer(token()),), "/", "shop"),
        ((), "/", "401"),
        ((bearer(gold()),), "/admin", "403"),
        ((bearer(gold(scope="admin")),), "/admin", "gold"),
    ):
        assert await whose(site, *lines, path=path) == pod, (lines, path)
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(
        f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Key: x\r\nSec-WebSocket-Version: 13\r\n{bearer(gold())}\r\n\r\n".encode()
    )
    assert (await read_reply(reader)).pod == "gold"
    site.plane.write(
        "auth.yaml",
        policy("all", GATEWAY, jwt=jwt()),
        policy("shop", on, routing=routing(case(GOLD, "new"))),
    )
    await net.until("another case", lambda: leads(site, "new"))
    assert await whose(site, bearer(gold())) == "new"
    for _ in range(3):
        writer.write(bytes([0x81, 0x82, 0, 0, 0, 0]) + b"hi")
        assert await reader.readexactly(4) == b"\x81\x02hi"
    writer.close()


async def leads(site: Site, pod: str) -> bool:
    return await reached(site, "/", bearer(gold())) == pod


async def test_a_rollout_shifts_who_meets_no_case(site: Site) -> None:
    """Its steps cost no request of anybody, and lead nobody of a case to the canary."""
    site.plane.write("route.yaml", http_route("shop", rule(("old", 100), ("new", 0))))
    site.plane.write(
        "auth.yaml",
        policy("all", GATEWAY, jwt=jwt()),
        policy("shop", {"kind": "HTTPRoute", "name": "shop"}, routing=routing(case(GOLD, "gold"))),
    )
    await site.served(HOST, status=401)
    await net.until("cases", lambda: leads(site, "gold"))
    site.plane.write("rollout.yaml", rollout(*by_hand(50, 100)))
    found: dict[str, Counter[str]] = {"gold": Counter(), "none": Counter()}
    texts = {"gold": gold(), "none": token()}
    stop = asyncio.Event()

    async def client(who: str) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
        while not stop.is_set():
            writer.write(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n{bearer(texts[who])}\r\n\r\n".encode())
            reply = await read_reply(reader)
            found[who][json.loads(reply.body)["pod"] if reply.status == 200 else str(reply.status)] += 1
        writer.close()

    async def more(count: int = 200) -> dict[str, Counter[str]]:
        """Who answered the next requests."""
        before = {who: counter.copy() for who, counter in found.items()}
        await net.until(
            "more requests",
            lambda: all(found[who].total() >= counter.total() + count for who, counter in before.items()),
        )
        return {who: found[who] - counter for who, counter in before.items()}

    async def alone(pod: str) -> bool:
        return set((await more(50))["none"]) == {pod}

    async with asyncio.TaskGroup() as tasks:
        for who in found:
            tasks.create_task(client(who))
        await net.until("the canary's first", lambda: found["none"]["new"])
        shares = (await more(600))["none"]
        assert 0.35 < shares["new"] / shares.total() < 0.65
        assert (await said(site, "approve", "shop"))[0] == 0
        await net.until("all to the canary", lambda: alone("new"))
        assert (await said(site, "abort", "shop"))[0] == 0
        await net.until("all back", lambda: alone("old"))
        stop.set()
    assert set(found["gold"]) == {"gold"}
    assert set(found["none"]) == {"old", "new"}


async def test_a_login_says_which_case_it_is(site: Site) -> None:
    """A browser has no token of its own: the session's is what is checked. Its WebSockets go the same way."""
    async with Provider() as provider:
        provider.claims = {"realm": {"tier": "gold"}}
        site.plane.write("route.yaml", http_route("shop", rule("shop")))
        site.plane.write("login.yaml", secret("login", **{"client-secret": f"{SECRET}\n"}))
        site.plane.write(
            "auth.yaml",
            policy("all", GATEWAY, oidc=oidc(provider), jwt=provided(provider)),
            policy("shop", {"kind": "HTTPRoute", "name": "shop"}, routing=routing(case(GOLD, "gold"))),
        )

        async def sent_away() -> bool:
            return (await Browser(site).get("/", PAGE)).status == 302

        await net.until("the shop asks for a login", sent_away)
        rich, poor = Browser(site), Browser(site)
        await rich.log_in()
        provider.claims = {"realm": {"tier": "silver"}}
        await poor.log_in()
        for browser, pod in ((rich, "gold"), (poor, "shop"), (rich, "gold")):
            page = await browser.get("/cart", PAGE)
            assert (page.status, pod_of(page.body)) == (200, pod)
            assert page.seen["x-user-id"] == ["alice"]
            assert not {"cookie", "authorization"} & page.seen.keys()
            jar = "; ".join(f"{name}={value}" for name, value in browser.jar.items())
            assert await whose(site, f"Cookie: {jar}") == pod
        # What a browser adds changes nothing: the session decides.
        page = await poor.get("/cart", PAGE, "realm.tier: gold", "dragoman.cases: 1")
        assert pod_of(page.body) == "shop"
        assert (await Browser(site).get("/cart", PAGE)).status == 302
        assert site.backends["gold"].echo.seen


def pod_of(body: bytes) -> Any:
    return json.loads(body)["pod"]
