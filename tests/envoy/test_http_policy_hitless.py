"""An HTTPPolicy comes and goes on a route under load: no request fails, no connection is closed for it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness import manifests, net
from tests.harness.load import Reply
from tests.harness.manifests import http_route, rule
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

SPEC: dict[str, Any] = {
    "compression": {"minLength": 0},
    "decompression": {},
    "requestBody": {"maxSize": "1Mi"},
    "requestHeaders": {"set": [{"name": "x-a", "value": "%REQ(:method)%"}]},
    "responseHeaders": {"set": [{"name": "x-seen", "value": "policy"}]},
    "queryParameters": {"set": [{"name": "a", "value": "1"}]},
    "rewrite": {"path": {"regex": "^/$", "substitution": "/other"}},
    "responseOverride": {"rules": [{"statuses": ["5xx"], "body": {"json": {"error": "sorry"}}}]},
    "maintenance": {"exempt": {"addresses": ["127.0.0.0/8"]}},
}


def policy(target: dict[str, str]) -> manifests.Body:
    return {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "HTTPPolicy",
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"targetRefs": [target], **SPEC},
    }


@pytest.mark.parametrize("kind", ["HTTPRoute", "Gateway"])
async def test_a_policy_comes_and_goes(site: Site, kind: str) -> None:
    target = {"kind": kind, "name": "edge" if kind == "Gateway" else "shop"}
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", rule("shop")))
    await site.served("shop.example")
    seen = {"policy": 0, "": 0}

    def expect(reply: Reply) -> str | None:
        seen[reply.headers.get("x-seen", "")] += 1
        return None if reply.status == 200 else f"status {reply.status}"

    async def asked_with(value: str) -> None:
        before = seen[value]
        await net.until(f"answers with {value!r}", lambda: seen[value] > before)

    async with site.load("shop.example", expect=expect) as load:
        for _ in range(3):
            site.plane.write("policy.yaml", policy(target))
            await asked_with("policy")
            await load.more(50)
            site.plane.remove("policy.yaml")
            await asked_with("")
            await load.more(50)
    assert not load.failures
    assert load.opened == load.connections, "a connection was closed"
