"""HTTPPolicy's `cache`: what it comes to on a route, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from dragoman.ir import model as ir
from tests.unit.gateway.test_policies import EDGE, FIRST, GATEWAY, ROUTE, policy


@pytest.fixture
def edge(world: Any) -> Any:
    return world.apply(GATEWAY)


def apply(edge: Any, spec: str, target: str = FIRST, name: str = "p") -> Any:
    return edge.apply(policy(name, target, f"cache: {spec}", kind="HTTPPolicy"))


def cache(edge: Any, rule: int = 0) -> ir.Cache | None:
    found: ir.Cache | None = edge.routes().routes[rule].cache
    return found


def test_the_smallest_heeds_backends_and_keeps_nothing_else(edge: Any) -> None:
    apply(edge, "{}")
    assert cache(edge) == ir.Cache()
    assert cache(edge, 1) is None


def test_every_field(edge: Any) -> None:
    apply(
        edge,
        "{ttl: 1m, ttlByStatus: [{statuses: [404, 410], ttl: 1500ms}, {statuses: [301], ttl: 0s}],"
        " respectOrigin: false, version: v2, clientRefresh: true, statusHeader: X-Kept, maxBodyBytes: 10,"
        " keyBy: {identityHeaders: [X-User-Id, x-user-id], headers: [Accept-Language], queryParameters: [a],"
        " ignoredQueryParameters: [b]}, storage: {directory: /var/cache/envoy, size: 65536}}",
    )
    assert cache(edge) == ir.Cache(
        ttl=60,
        statuses=((404, 2), (410, 2), (301, 0)),
        respect_origin=False,
        headers=("accept-language",),
        identity=("x-user-id",),
        parameters=("a",),
        ignored=("b",),
        version="v2",
        status_header="x-kept",
        client_refresh=True,
        largest=10,
        storage=ir.Storage("/var/cache/envoy", 65536),
    )


def test_no_parameters_are_not_any_parameters(edge: Any) -> None:
    apply(edge, "{keyBy: {queryParameters: []}, statusHeader: ''}")
    found = cache(edge)
    assert found is not None
    assert (found.parameters, found.status_header) == ((), "")


def test_layers_merge_and_switch_off(edge: Any) -> None:
    apply(edge, "{ttl: 1m, keyBy: {headers: [a]}}", EDGE, "gateway")
    apply(edge, "{keyBy: {identityHeaders: [x-user-id]}}", ROUTE, "route")
    apply(edge, "{disabled: true}", FIRST, "first")
    assert cache(edge) is None
    assert cache(edge, 1) == ir.Cache(ttl=60, headers=("a",), identity=("x-user-id",))


def test_answers_made_here_are_not_cached(edge: Any) -> None:
    edge.apply(policy("p", FIRST, "maintenance: {body: soon}\n  cache: {ttl: 1m}", kind="HTTPPolicy"))
    assert cache(edge) is None


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("{keyBy: {identityHeaders: [x, Cookie]}}", "DRG1106 spec.cache.keyBy.identityHeaders[1]"),
        ("{keyBy: {headers: [authorization]}}", "DRG1106 spec.cache.keyBy.headers[0]"),
        ("{keyBy: {headers: [Host]}}", "DRG1108 spec.cache.keyBy.headers[0]"),
        ("{shared: true, keyBy: {identityHeaders: [x]}}", "DRG1108 spec.cache.shared"),
    ],
)
def test_what_cannot_be_meant_caches_nothing(edge: Any, spec: str, found: str) -> None:
    apply(edge, spec)
    assert cache(edge) is None
    assert found in edge.findings()


def test_a_status_that_is_never_kept(edge: Any) -> None:
    apply(edge, "{ttlByStatus: [{statuses: [404, 500], ttl: 1s}]}")
    assert "DRG3001 spec.cache.ttlByStatus[0].statuses[1]" in edge.findings()
    assert cache(edge) is not None


@pytest.mark.parametrize(
    "spec",
    [
        "{keyBy: {headers: ['a)%']}}",
        "{keyBy: {queryParameters: ['a|b']}}",
        "{statusHeader: 'a b'}",
        "{storage: {directory: tmp}}",
        "{storage: {directory: '/tmp/%DOWN%'}}",
        "{storage: {size: 10}}",
        "{ttl: 5}",
        "{ttl: -1s}",
        "{ttlByStatus: [{statuses: [99], ttl: 1s}]}",
        "{maxBodyBytes: 0}",
        "{ttls: 1s}",
    ],
)
def test_what_envoy_would_choke_on_does_not_decode(edge: Any, spec: str) -> None:
    apply(edge, spec)
    assert edge.rejected[edge.ref("HTTPPolicy", "p")]
    assert cache(edge) is None
