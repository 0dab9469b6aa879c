"""Quotas with `failure: Closed`: nothing passes that the service has no say in, nothing else is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.envoy.test_ratelimit_places import at
from tests.envoy.test_ratelimit_policy import ROUTE, ask, change, limit, policy, start
from tests.harness import limits, net
from tests.harness.manifests import rule
from tests.harness.site import Site

pytestmark = pytest.mark.envoy

NAMES = ("first", "second", "third")


async def statuses(site: Site, path: str, number: int = 5) -> set[int]:
    return {(await ask(site, path)).status for _ in range(number)}


async def test_closed_without_the_service(tmp_path: Path, envoy_binary: Path) -> None:
    """Before it was there, while it is, and when it is gone, also for what never had an assignment."""
    asked, streams = net.free_port(), net.free_port()
    ports = {"endpoints": [f"127.0.0.1:{asked}"], "stream_endpoints": [f"127.0.0.1:{streams}"]}
    async with at(tmp_path, **ports) as site:
        await start(
            site, *(rule("shop", path=f"/{name}", name=name) for name in NAMES), rule("shop", name="rest")
        )
        quota = limit(1_000_000, "Second", where="Quota", failure="Closed")
        puts = {**quota, "shadow": True}
        await change(
            site,
            *(policy({**ROUTE, "sectionName": name}, name, **{name: quota}) for name in NAMES),
            policy(
                {**ROUTE, "sectionName": "rest"},
                "open",
                open=limit(1_000_000, "Second", where="Quota"),
                watched=puts,
            ),
        )
        assert await statuses(site, "/first", 20) == {503}
        denied = await ask(site, "/first")
        assert json.loads(denied.body)["error"] == "rate_limit_unavailable"
        assert denied.headers["content-type"] == "application/json"
        assert await statuses(site, "/") == {200}, "open ones, and those that only watch"
        options = ("--xds", f"127.0.0.1:{site.plane.xds_port}", "--streams", f"127.0.0.1:{streams}")
        service = limits.Service(tmp_path, "", *options, "--listen", f"127.0.0.1:{asked}")
        async with service:

            async def opened() -> bool:
                return await statuses(site, "/first", 1) == {200}

            await net.until("the service was heard", opened)
            assert await statuses(site, "/first") == {200}
            assert await statuses(site, "/second") == {200}, "no first request of a bucket is refused"

        async def closed() -> bool:
            return await statuses(site, "/first", 1) == {503}

        await net.until("the service is missed", closed, limit=45)
        assert await statuses(site, "/third") == {503}, "it never had an assignment"
        assert await statuses(site, "/") == {200}
