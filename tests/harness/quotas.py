"""An Envoy that keeps quotas (RLQS): every request is answered by Envoy itself, so that rates are its own.

A request's bucket is `name: per-user` and the header x-user; without that header it is not limited.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, Self

from tests.harness import limits, net
from tests.harness.load import Load, Reply

Json = dict[str, Any]

DENY: Json = {"blanket_rule": "DENY_ALL"}
ALLOW: Json = {"blanket_rule": "ALLOW_ALL"}

_FILTERS = "envoy.extensions.filters.http"
_HEADER = {
    "name": "user",
    "typed_config": limits.typed("envoy.type.matcher.v3.HttpRequestHeaderMatchInput", header_name="x-user"),
}


def http_filter(expired: Json | None = None, unassigned: Json = ALLOW, domain: str = "shop") -> Json:
    """The filter; it asks the cluster `rlqs`. `expired`: the strategy after an assignment has ended, and for
    how long (`{"blanket_rule": ..., "seconds": 60}`).
    """
    settings: Json = {
        "bucket_id_builder": {
            "bucket_id_builder": {"name": {"string_value": "per-user"}, "user": {"custom_value": _HEADER}}
        },
        "reporting_interval": "5s",
        "no_assignment_behavior": {"fallback_rate_limit": unassigned},
    }
    if expired is not None:
        strategy = {key: value for key, value in expired.items() if key != "seconds"}
        settings["expired_assignment_behavior"] = {
            "expired_assignment_behavior_timeout": f"{expired['seconds']}s",
        }
        if "reuse_last_assignment" in strategy:
            settings["expired_assignment_behavior"] |= strategy
        else:
            settings["expired_assignment_behavior"]["fallback_rate_limit"] = strategy
    matcher = {
        "predicate": {"single_predicate": {"input": _HEADER, "value_match": {"prefix": "u"}}},
        "on_match": {
            "action": {
                "name": "bucket",
                "typed_config": limits.typed(
                    f"{_FILTERS}.rate_limit_quota.v3.RateLimitQuotaBucketSettings", **settings
                ),
            }
        },
    }
    typed = limits.typed(
        f"{_FILTERS}.rate_limit_quota.v3.RateLimitQuotaFilterConfig",
        rlqs_server={"envoy_grpc": {"cluster_name": "rlqs"}},
        domain=domain,
        bucket_matchers={"matcher_list": {"matchers": [matcher]}},
    )
    return {"name": "quota", "typed_config": typed}


def bootstrap(
    port: int, service: int, *, expired: Json | None = None, unassigned: Json = ALLOW, backend: int = 0
) -> Json:
    """`backend`: a port to send requests to, instead of answering them."""
    route: Json = {"match": {"prefix": "/"}}
    if backend:
        route["route"] = {"cluster": "backend"}
    else:
        route["direct_response"] = {"status": 200, "body": {"inline_string": "ok"}}
    manager = limits.typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="http",
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        http_filters=[
            http_filter(expired, unassigned),
            {"name": "router", "typed_config": limits.typed(f"{_FILTERS}.router.v3.Router")},
        ],
    )
    clusters = [limits.cluster("rlqs", [service], typed_extension_protocol_options=limits.H2)]
    if backend:
        clusters.append(limits.cluster("backend", [backend]))
    return {
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": limits.tcp(net.free_port())},
        "static_resources": {
            "listeners": [
                {
                    "name": "http",
                    "address": limits.tcp(port),
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                }
            ],
            "clusters": clusters,
        },
    }


class Client:
    """`async with Client(port, "u1") as client`: asks all the time. `seen` counts answers by status."""

    def __init__(self, port: int, user: str, *, connections: int = 2, pause: float = 0.001) -> None:
        self.seen: Counter[int] = Counter()
        host = f"shop.example\r\nx-user: {user}"
        self._load = Load(port, host, connections=connections, pause=pause, warm=0, expect=self._count)

    def _count(self, reply: Reply) -> str | None:
        self.seen[reply.status] += 1
        return None if reply.status in (200, 429) else f"status {reply.status}"

    async def passed(self, seconds: float) -> tuple[int, float]:
        """How many requests pass in about so many seconds, and in how many exactly. A while in which nobody
        ran (a machine that was stopped) is left out, with what passed in it: nobody asked then."""
        loop = asyncio.get_running_loop()
        passed, took = 0, 0.0
        while took < seconds:
            before, begun = self.seen[200], loop.time()
            await asyncio.sleep(min(0.25, seconds - took))
            lasted = loop.time() - begun
            if lasted < 1.0:
                passed += self.seen[200] - before
                took += lasted
        return passed, took

    async def __aenter__(self) -> Self:
        await self._load.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._load.__aexit__(None, None, None)
        assert not self._load.failures
