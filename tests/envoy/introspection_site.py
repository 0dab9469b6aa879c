"""Where tokens are looked up at an issuer of the tests': files, `dragoman run` with its companion, the real
Envoy. Fixtures and objects that the tests of introspection share.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest_asyncio

from tests.envoy.test_auth import GATEWAY, HOST, policy
from tests.envoy.test_auth_keys import secret
from tests.harness import manifests, net
from tests.harness.issuer import Issuer
from tests.harness.load import Reply
from tests.harness.manifests import http_route, rule
from tests.harness.plane import Plane
from tests.harness.site import Site

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


class AskedSite(Site):
    """A site whose companion tells its metrics, on the port `companion`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.companion = net.free_port()
        environment = {"DRAGOMAN_AUTHZ_METRICS_PORT": str(self.companion)}
        self.plane = Plane(folder, environment=environment, log_level="debug")


@pytest_asyncio.fixture
async def site(tmp_path: Path, envoy_binary: Path) -> AsyncIterator[AskedSite]:
    async with AskedSite(tmp_path) as made:
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


async def companion(site: AskedSite, prefix: str) -> dict[str, float]:
    """The companion's metrics."""
    reader, writer = await asyncio.open_connection("127.0.0.1", site.companion)
    writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
    text = (await reader.read()).decode().partition("\r\n\r\n")[2]
    writer.close()
    lines = (line.rpartition(" ") for line in text.splitlines() if line.startswith(prefix) and line[0] != "#")
    return {name: float(value) for name, _, value in lines}
