"""Policies come and go under load: no request fails, and no connection is drained for it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness import manifests, net
from tests.harness.manifests import http_route, rule
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

_TABLES = r"^http\..*\.rds\..*\.update_success$"
_CLUSTERS = r"^cluster_manager.cluster_(added|modified|removed)$"
_LISTENERS = r"^listener_manager.lds.update_success$"

TARGETS = (
    {"kind": "Gateway", "name": "edge"},
    {"kind": "HTTPRoute", "name": "shop"},
    {"kind": "Service", "name": "shop"},
)


def policy(target: manifests.Body, **spec: Any) -> manifests.Body:
    return {
        "apiVersion": "dragoman.dev/v1alpha1",
        "kind": "TrafficPolicy",
        "metadata": {"name": "p", "namespace": "shop"},
        "spec": {"targetRefs": [target], **spec},
    }


async def _count(site: Site, pattern: str) -> float:
    return sum((await site.envoy.stats(pattern)).values())


@pytest.mark.parametrize("target", TARGETS, ids=lambda one: one["kind"])
async def test_a_policy_comes_and_goes(site: Site, target: manifests.Body) -> None:
    """What it says of requests goes into routes; what it says of backends makes clusters of their own, warm
    before routes use them."""
    site.plane.write("shop.yaml", *await site.service("shop"), http_route("shop", rule("shop")))
    await site.served("shop.example")
    listeners = await _count(site, _LISTENERS)
    async with site.load("shop.example") as load:
        for number in range(1, 5):
            tables, clusters = await _count(site, _TABLES), await _count(site, _CLUSTERS)
            wanted = {"request": f"{number}0s", "connect": f"{number}s"}
            site.plane.write("policy.yaml", policy(target, timeouts=wanted))

            async def followed(tables: float = tables, clusters: float = clusters) -> bool:
                return await _count(site, _TABLES) > tables and await _count(site, _CLUSTERS) > clusters

            await net.until("Envoy has the policy", followed)
            await load.more(100)
            if number % 2:
                site.plane.remove("policy.yaml")
                await load.more(100)
        await load.more(400)
    assert not load.failures
    assert load.opened == load.connections, "a connection was closed"
    assert await _count(site, _LISTENERS) == listeners
