"""What a real Envoy does with scopes and clusters that are fetched at the first request for them.

docs/scale.md ("Fetching on demand") rests on it. Should Envoy come to do otherwise with scopes, the first of
these says so by failing.
"""

from __future__ import annotations

import asyncio
import contextlib
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from dragoman import proto, resource
from dragoman.proto.envoy.config.listener import v3 as listeners
from dragoman.proto.envoy.config.route import v3 as routes
from dragoman.resource import CLUSTER, LISTENER, ROUTE, SCOPE, Resource
from tests.harness import net
from tests.harness.envoy import Envoy
from tests.wire import plane
from tests.wire.test_envoy import backend, bootstrap

pytestmark = [pytest.mark.envoy, pytest.mark.usefixtures("envoy_binary")]

_FILTERS = "type.googleapis.com/envoy.extensions.filters.http"
_ASLEEP = {
    "name": "rbac",
    "disabled": True,
    "typed_config": {"@type": f"{_FILTERS}.rbac.v3.RBAC"},
}
"""As all of ours in the connection manager."""
_NOBODY = {
    "rbac": {
        "@type": f"{_FILTERS}.rbac.v3.RBACPerRoute",
        "rbac": {"rules": {"action": "ALLOW", "policies": {}}},
    }
}
"""Wakes it, and lets nobody pass."""


def _table(name: str, *listed: dict[str, Any]) -> Resource:
    host = {"name": "all", "domains": ["*"], "routes": listed}
    body = {"name": name, "virtual_hosts": [host], "validate_clusters": False}
    message = proto.from_dict(routes.RouteConfiguration, body)
    return resource.make(ROUTE, name, proto.serialize(message), {CLUSTER: ["a"]})


def _closed(prefix: str) -> dict[str, Any]:
    return {
        "match": {"prefix": prefix},
        "route": {"cluster": "a"},
        "typed_per_filter_config": _NOBODY,
    }


def _listener(port: int, where: dict[str, Any], *filters: dict[str, Any]) -> Resource:
    config = {"@type": plane.HCM, "stat_prefix": "web", "http_filters": [*filters, plane.ROUTER], **where}
    body = {
        "name": "l",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "hcm", "typed_config": config}]}],
    }
    return resource.make(LISTENER, "l", proto.serialize(proto.from_dict(listeners.Listener, body)))


@dataclass
class World:
    running: plane.Plane
    port: int

    async def ask(self, path: str) -> int:
        """The status."""
        return await asyncio.to_thread(self._ask, path)

    def _ask(self, path: str) -> int:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers={"scope": "s"})
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


@contextlib.asynccontextmanager
async def _world(folder: Path, port: int, *resources: Resource, clusters: bool) -> AsyncIterator[World]:
    """With the cluster `a`. `clusters`: Envoy asks for all of them."""
    async with contextlib.AsyncExitStack() as stack:
        one = await stack.enter_async_context(backend("one"))
        given = [plane.cluster("a"), plane.endpoints("a", one), plane.endpoints("b", one), *resources]
        running = await stack.enter_async_context(plane.plane(*given))
        config = bootstrap("DELTA_GRPC", running.port, net.free_port())
        if not clusters:
            del config["dynamic_resources"]["cds_config"]
        await stack.enter_async_context(Envoy(config, folder))
        yield World(running, port)


async def test_the_first_request_for_a_scope_passes_filters_that_its_route_wakes(tmp_path: Path) -> None:
    """Envoy makes a request's filters before it has the route, and goes on with those when it has it."""
    port = net.free_port()
    looks = {
        "name": "t",
        "scope_key_builder": {"fragments": [{"header_value_extractor": {"name": "scope", "index": 0}}]},
        "rds_config_source": plane.ADS,
        "scoped_rds": {"scoped_rds_config_source": plane.ADS},
    }
    cold = routes.ScopedRouteConfiguration(name="s", on_demand=True, route_configuration_name="r")
    cold.key.fragments.add().string_key = "s"
    fetches = {"name": "on_demand", "typed_config": {"@type": f"{_FILTERS}.on_demand.v3.OnDemand"}}
    async with _world(
        tmp_path,
        port,
        resource.make(SCOPE, "s", proto.serialize(cold)),
        _table("r", _closed("/")),
        _listener(port, {"scoped_routes": looks}, fetches, _ASLEEP),
        clusters=True,
    ) as site:
        assert [await site.ask("/") for _ in range(3)] == [200, 403, 403]


async def test_the_first_request_for_a_cluster_does_not(tmp_path: Path) -> None:
    """Here the route is known when the filters are made. A cluster that comes later is found."""
    port = net.free_port()
    source = {"odcds": {"source": plane.ADS, "timeout": "1s"}}
    fetches = {"name": "on_demand", "typed_config": {"@type": f"{_FILTERS}.on_demand.v3.OnDemand", **source}}
    async with _world(
        tmp_path,
        port,
        _table(
            "r",
            _closed("/closed"),
            {"match": {"prefix": "/later"}, "route": {"cluster": "b"}},
            {"match": {"prefix": "/"}, "route": {"cluster": "a"}},
        ),
        _listener(port, {"rds": {"route_config_name": "r", "config_source": plane.ADS}}, _ASLEEP, fetches),
        clusters=False,
    ) as site:
        assert await site.ask("/closed") == 403
        assert await site.ask("/") == 200
        assert await site.ask("/closed") == 403
        assert [await site.ask("/later") for _ in range(2)] == [503, 503]
        plane.put(site.running.view, plane.cluster("b"))

        async def there() -> bool:
            return await site.ask("/later") == 200

        await net.until("the cluster", there)
