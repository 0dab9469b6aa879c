"""Policies on a TLS host whose filter chain comes long after Envoy has started
(`gateways.discovered_chains`): what comes by discovery of its own (keys, buckets, secrets of logins, the way
through the cache) must be there for it as for the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from tests.envoy.test_auth import HOST, ask, bearer, jwt, policy, token
from tests.envoy.test_auth_keys import PARTNER, secret
from tests.envoy.test_auth_oidc import jwt as provided, oidc
from tests.envoy.test_claims_routing import GOLD, at, case, gold, routing
from tests.envoy.test_discovered_chains import SETTING
from tests.harness import manifests, net
from tests.harness.browser import PAGE, Browser
from tests.harness.certs import Authority
from tests.harness.load import Load
from tests.harness.manifests import http_route, rule
from tests.harness.provider import SECRET, Provider
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

PATHS = ("jwt", "keys", "local", "global", "cached", "open")


class Front:
    """Plain HTTP on `port`, each connection one of TLS to the host: for clients that know no TLS."""

    def __init__(self, site: Site, port: int, authority: Authority) -> None:
        self.port = 0
        self.backends = site.backends
        self._tls = port
        self._context = authority.client_context()

    async def run(self, stack: contextlib.AsyncExitStack) -> Front:
        server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        await stack.enter_async_context(server)
        return self

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            back, forth = await asyncio.open_connection(
                "127.0.0.1", self._tls, ssl=self._context, server_hostname=HOST
            )
        except OSError:
            writer.close()
            return
        await asyncio.gather(_copy(reader, forth), _copy(back, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
    with contextlib.suppress(OSError):
        writer.close()


def of_rule(kind: str, name: str, **spec: Any) -> manifests.Body:
    return {**policy(name, at(name), **spec), "kind": kind}


def limit(where: str) -> manifests.Body:
    return {"few": {"requests": 2, "per": "Day", "where": where}}


class Late:
    """A site with one TLS host from the start, and `HOST` with all its policies, that came when Envoy had
    served the other."""

    def __init__(self, site: Site, provider: Provider) -> None:
        self.site = site
        self.provider = provider
        self.port = net.free_port()
        self.authority = Authority()

    async def begin(self) -> None:
        gateway = self.site.gateway()
        gateway[1]["spec"]["allowedListeners"] = {"namespaces": {"from": "Same"}}
        self.site.plane.write("gateway.yaml", *gateway)
        for name in ("shop", "gold"):
            self.site.plane.write(f"{name}-backend.yaml", *await self.site.service(name))
        self.secure("first.example", "first")
        self.site.plane.write("first-route.yaml", _of_set(http_route("first", rule("shop"))))
        await net.until("the first host", partial(self.served, "first.example"))
        off = {"oidc": {"disabled": True}}
        rules = [rule("shop"), *(rule("shop", path=f"/{name}", name=name) for name in PATHS)]
        self.site.plane.write(
            "shop-route.yaml",
            _of_set(http_route("shop", *rules)),
            secret("login", **{"client-secret": f"{SECRET}\n"}),
            secret("partners", partner=PARTNER),
            policy(
                "login",
                {"kind": "HTTPRoute", "name": "shop"},
                oidc=oidc(self.provider),
                jwt=provided(self.provider),
            ),
            of_rule("AuthPolicy", "jwt", **off, jwt=jwt(), routing=routing(case(GOLD, "gold"))),
            of_rule(
                "AuthPolicy",
                "keys",
                **off,
                jwt={"disabled": True},
                apiKeys={"headers": ["X-API-Key"], "secretRefs": [{"name": "partners"}]},
            ),
            *(
                of_rule("AuthPolicy", name, **off, jwt={"disabled": True})
                for name in ("local", "global", "cached", "open")
            ),
            of_rule("RateLimitPolicy", "local", limits=limit("Local")),
            of_rule("RateLimitPolicy", "global", limits=limit("Global")),
            of_rule("HTTPPolicy", "cached", cache={"ttl": "1h"}),
        )
        self.secure(HOST, "shop")
        await net.until("the late host", partial(self.served, HOST, "/open"))

    def secure(self, host: str, name: str) -> int:
        """A listener with a certificate of its own; its serial number."""
        pair = self.authority.issue(host)
        own = manifests.listener("own", self.port, protocol="HTTPS", hostname=host, secret=f"{name}-tls")
        secret = manifests.tls_secret(f"{name}-tls", pair.certificate, pair.key)
        self.site.plane.write(f"{name}-tls.yaml", secret, manifests.listener_set(name, own))
        return pair.serial

    def load(self, host: str, path: str = "/", **more: Any) -> Load:
        return Load(self.port, host, path, tls=self.authority.client_context(), connections=1, warm=1, **more)

    async def served(self, host: str, path: str = "/") -> bool:
        async with self.load(host, path) as load:
            pass
        return not load.failures

    async def shows(self, serial: int) -> bool:
        async with self.load(HOST, "/open", fresh=True) as load:
            pass
        return load.latest_serial == serial


def _of_set(route: manifests.Body) -> manifests.Body:
    route["spec"]["parentRefs"] = [{"kind": "ListenerSet", "name": route["metadata"]["name"]}]
    return route


@pytest.fixture
async def late(tmp_path: Path, envoy_binary: Path) -> AsyncIterator[tuple[Late, Site]]:
    """With the same, as it is for clients without TLS."""
    async with (
        contextlib.AsyncExitStack() as stack,
        Provider() as provider,
        Site(tmp_path, environment=SETTING) as site,
    ):
        made = Late(site, provider)
        await made.begin()
        yield made, cast(Site, await Front(site, made.port, made.authority).run(stack))


def pod(body: bytes) -> str:
    return str(json.loads(body)["pod"])


async def test_policies_of_a_late_host(late: tuple[Late, Site]) -> None:
    made, shop = late
    for path, lines, expected in (
        ("/open", (), "shop"),
        ("/jwt", (), "401"),
        ("/jwt", (bearer("forged"),), "401"),
        ("/jwt", (bearer(token()),), "shop"),
        ("/jwt", (bearer(gold()),), "gold"),
        ("/keys", (), "401"),
        ("/keys", ("X-API-Key: wrong",), "401"),
        ("/keys", (f"X-API-Key: {PARTNER}",), "shop"),
        *((f"/{where}", (), found) for where in ("local", "global") for found in ("shop", "shop", "429")),
    ):
        reply = await ask(shop, path, *lines)
        assert (pod(reply.body) if reply.status == 200 else str(reply.status)) == expected, (path, lines)
    replies = [await ask(shop, "/cached?once") for _ in range(5)]
    assert {reply.status for reply in replies} == {200}
    assert shop.backends["shop"].echo.seen.count("/cached?once") == 1
    # Another certificate is another chain, with the same in it.
    serial = made.secure(HOST, "shop")
    await net.until("the new certificate", partial(made.shows, serial))
    assert (await ask(shop, "/jwt")).status == 401
    assert pod((await ask(shop, "/jwt", bearer(gold()))).body) == "gold"
    assert (await ask(shop, "/keys")).status == 401
    assert (await ask(shop, "/keys", f"X-API-Key: {PARTNER}")).status == 200
    assert (await ask(shop, "/global")).status == 429
    assert (await ask(shop, "/cached?once")).status == 200
    assert shop.backends["shop"].echo.seen.count("/cached?once") == 1
    # What Envoy counts itself is counted for each chain.
    assert [(await ask(shop, "/local")).status for _ in range(3)] == [200, 200, 429]


async def test_logins_at_a_late_host(late: tuple[Late, Site]) -> None:
    made, shop = late

    async def sent_away() -> bool:
        return (await Browser(shop).get("/", PAGE)).status == 302

    await net.until("the shop asks for a login", sent_away)
    browser = Browser(shop)
    back = await browser.sent_to_provider("/cart")
    answer = await browser.get(back, PAGE)
    assert (answer.status, answer.location) == (302, f"https://{HOST}/cart")
    page = await browser.get("/cart", PAGE)
    assert page.seen["x-user-id"] == ["alice"]
    serial = made.secure(HOST, "shop")
    await net.until("the new certificate", partial(made.shows, serial))
    assert (await browser.get("/cart", PAGE)).seen["x-user-id"] == ["alice"]
    assert (await Browser(shop).get("/cart", PAGE)).status == 302
    assert not made.provider.refused
