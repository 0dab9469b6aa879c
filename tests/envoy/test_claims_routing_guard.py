"""Who is led to a copy that is not its route's own goes nowhere: tables that say something else by the time
that claims are looked at, made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dragoman import proto
from dragoman.envoy import static
from dragoman.envoy.filters import cases
from dragoman.proto.envoy.config.route import v3 as route_proto
from dragoman.proto.envoy.extensions.filters.network.http_connection_manager import v3 as hcm
from tests.envoy import policy_site
from tests.harness import tokens

pytestmark = pytest.mark.envoy

ISSUER = tokens.Issuer("https://issuer.example")
SITE = (
    policy_site.route(
        "shop", "{name: it, matches: [{path: {value: /a}}], backendRefs: [ECHO]}", "{backendRefs: [ECHO]}"
    )
    + f"""---
kind: AuthPolicy
metadata: {{name: shop}}
spec:
  targetRefs: [{{kind: HTTPRoute, name: shop}}]
  jwt: {{providers: [{{name: main, issuer: '{ISSUER.name}', jwks: {{inline: '{ISSUER.jwks}'}}}}]}}
  routing:
    byClaim:
    - claims: [{{name: tier, values: [gold]}}]
      backendRefs: [{{group: dragoman.dev, kind: Backend, name: echo}}]
"""
)

Routes = list[route_proto.Route]


def gone(routes: Routes) -> Routes:
    """No copy is there any more."""
    return [one for one in routes if not one.match.dynamic_metadata]


def renamed(routes: Routes) -> Routes:
    """The copies are those of routes that ask for something else."""
    for one in routes:
        if one.match.dynamic_metadata:
            one.metadata.filter_metadata[cases.NAME].fields[cases.RULE].string_value = "another"
    return routes


def unnamed(routes: Routes) -> Routes:
    """What the metadata leads to is no copy."""
    for one in routes:
        one.ClearField("metadata")
    return routes


def empty(routes: Routes) -> Routes:
    """Nothing matches any more."""
    for one in routes:
        if one.match.dynamic_metadata:
            one.match.dynamic_metadata[0].value.string_match.exact = "nobody"
        else:
            # A request that is on its way again has the metadata: what it came by does not match any more.
            absent = one.match.dynamic_metadata.add(filter=cases.NAME, invert=True)
            absent.path.add().key = cases.CASE
            absent.value.present_match = True
    return routes


def edited(change: Callable[[Routes], Routes]) -> Callable[[Any, int], None]:
    def edit(bootstrap: Any, _: int) -> None:
        for listener in bootstrap.static_resources.listeners:
            for chain in listener.filter_chains:
                for network in chain.filters:
                    manager = hcm.HttpConnectionManager.FromString(network.typed_config.value)
                    for table in static.tables(manager):
                        for host in table.virtual_hosts:
                            kept = change(list(host.routes))
                            host.ClearField("routes")
                            host.routes.extend(kept)
                    network.typed_config.value = proto.serialize(manager)

    return edit


@pytest.mark.parametrize("change", [gone, renamed, unnamed, empty])
async def test_the_filter_looks_where_it_was_led(
    change: Callable[[Routes], Routes], envoy_binary: Path
) -> None:
    gold = f"Bearer {ISSUER.token(tier='gold')}"
    plain = f"Bearer {ISSUER.token()}"
    async with policy_site.running(envoy_binary, SITE, more=edited(change)) as site:
        assert (await site.ask("shop", "/a", authorization=plain)).status == 200
        before = list(site.backend.echo.seen)
        for path in ("/a", "/b"):
            reply = await site.ask("shop", path, authorization=gold)
            assert (reply.status, json.loads(reply.body)["error"]) == (503, "unavailable")
        assert site.backend.echo.seen == before
        assert (await site.ask("shop", "/b", authorization=plain)).status == 200


async def test_it_lets_pass_what_is_as_it_was(envoy_binary: Path) -> None:
    async with policy_site.running(envoy_binary, SITE, more=edited(lambda routes: routes)) as site:
        assert (
            await site.ask("shop", "/a", authorization=f"Bearer {ISSUER.token(tier='gold')}")
        ).status == 200
