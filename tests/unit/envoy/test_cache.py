"""Cached routes in bytes: two routes of one, what the first one matches, and what the key is made of."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from dragoman import proto, resource
from dragoman.envoy import bootstrap, caching, inner, naming, routes
from dragoman.envoy.filters import cache, chain
from dragoman.ir import cache as caches, model as ir
from dragoman.proto.envoy.config.route import v3 as route_proto
from tests.envoy import static_site
from tests.unit.envoy.build import PLAIN, cluster, envoy_route, forward, route

SPEC = ir.Cache(ttl=60)
INNER = "cache:127.0.0.1:8080"


def encoded(item: ir.Route) -> list[dict[str, Any]]:
    chunk = routes.encode_route(item, PLAIN).chunk
    return [proto.to_dict(each) for each in route_proto.VirtualHost.FromString(chunk).routes]


def kept(spec: ir.Cache = SPEC, action: ir.Action | None = None, **more: Any) -> ir.Route:
    return route(action or forward(), cache=spec, **more)


def matched(spec: ir.Cache) -> dict[str, Any]:
    first, _ = encoded(kept(spec))
    return {each["name"]: each for each in first["match"]["headers"]}


def key(spec: ir.Cache, item: ir.Route | None = None) -> dict[str, str]:
    """The parameters that are added to what the cache sees."""
    first, _ = encoded(replace(item or kept(), cache=spec))
    filters = first["typed_per_filter_config"][cache.NAME]["filter_chain"]["filters"]
    (found,) = (each["typed_config"] for each in filters if each["name"] == "dragoman.cache.key")
    changes = found["mutations"]["query_parameter_mutations"]
    return {each["append"]["record"]["key"]: each["append"]["record"]["value"] for each in changes}


def store(spec: ir.Cache) -> dict[str, Any]:
    first, _ = encoded(kept(spec))
    filters = first["typed_per_filter_config"][cache.NAME]["filter_chain"]["filters"]
    (found,) = (each["typed_config"] for each in filters if each["name"] == "envoy.filters.http.cache_v2")
    return dict(found)


def test_one_route_becomes_two_that_do_the_same() -> None:
    first, second = encoded(kept(response_headers=ir.HeaderMutation((("x-a", "1"),))))
    assert first["typed_per_filter_config"].keys() == {cache.NAME, cache.ANSWER}
    assert second["typed_per_filter_config"].keys() == {cache.ANSWER}
    for each in (first, second):
        del each["typed_per_filter_config"], each["match"]
    assert first == second


def test_the_bootstrap_has_the_word() -> None:
    first, second = encoded(kept())
    assert first["match"]["runtime_fraction"] == {"default_value": {}, "runtime_key": bootstrap.CACHING}
    assert "runtime_fraction" not in second["match"]
    data = bootstrap.bootstrap(node_id="n")
    assert data["layered_runtime"]["layers"][0]["static_layer"] == {bootstrap.CACHING: 100}
    assert data["bootstrap_extensions"][0]["name"] == "envoy.bootstrap.internal_listener"


@pytest.mark.parametrize(
    "item",
    [
        route(ir.Redirect(), cache=SPEC),
        route(ir.Respond(200), cache=SPEC),
        kept(action=ir.Forward(())),
        kept(action=ir.Forward((ir.WeightedBackend(cluster(), 0),))),
        kept(match=ir.RouteMatch(ir.SegmentPrefix("/"), method="POST")),
        kept(match=ir.RouteMatch(ir.SegmentPrefix("/"), grpc=True)),
        kept(match=ir.RouteMatch(ir.SegmentPrefix("/"), share=500_000)),
        kept(replace(SPEC, authenticated=True)),
        kept(auth=ir.Auth()),
    ],
)
def test_what_is_never_cached(item: ir.Route) -> None:
    assert caching.cached(item) is None
    assert routes.encode_route(item, PLAIN) == routes.encode_route(replace(item, cache=None), PLAIN)


def test_a_route_without_a_table_is_not_cached() -> None:
    assert envoy_route(kept()) == envoy_route(route(forward()))


def test_authenticated_routes_are_cached_by_identity_or_out_loud() -> None:
    assert replace(SPEC, authenticated=True, identity=("x-user-id",)).usable
    assert replace(SPEC, authenticated=True, shared=True).usable


def test_credentials_are_matched() -> None:
    own = {"if-none-match", "if-modified-since", "if-match", "if-unmodified-since", "if-range", "upgrade"}
    assert matched(SPEC).keys() == own | {":method", "authorization", "cookie"}
    assert matched(replace(SPEC, credentials=("x-api-key",))).keys() == own | {":method", "x-api-key"}
    for open_to_all in (replace(SPEC, shared=True), replace(SPEC, identity=("x-user-id",))):
        assert matched(open_to_all).keys() == own | {":method"}
    assert all(each["invert_match"] for name, each in matched(SPEC).items() if name != ":method")


@pytest.mark.parametrize(
    ("names", "path", "expected"),
    [
        ((), "/a", True),
        ((), "/a?", True),
        ((), "/a?b", False),
        (("a", "b.c"), "/x", True),
        (("a", "b.c"), "/x?a=1&b.c&a=", True),
        (("a", "b.c"), "/x?bxc=1", False),
        (("a", "b.c"), "/x?a=1&z=1", False),
        (("a", "b.c"), "/x?za=1", False),
        (("a", "b.c"), "/x?a=1?z=1", True),  # a value may have a question mark
    ],
)
def test_parameters(names: tuple[str, ...], path: str, expected: bool) -> None:
    assert bool(re.fullmatch(caches.parameters(names), path)) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("accept", True), ("Accept , x-a", True), (" x-a", True), ("accept, *", False), ("accepted", False)],
)
def test_varying(value: str, expected: bool) -> None:
    assert bool(re.search(caches.varying(("accept", "x-a")), value)) is expected


def test_the_key_has_the_route_and_what_the_policy_adds() -> None:
    assert key(SPEC).keys() == {"dragoman-route", "dragoman-path", "dragoman-place"}
    assert (
        key(replace(SPEC, headers=("accept-language",)))["dragoman-header-accept-language"]
        == "%REQ(accept-language)%"
    )
    mine = key(replace(SPEC, identity=("x-user-id",)))
    assert mine["dragoman-header-x-user-id"] == "%REQ(x-user-id)%"
    assert mine["dragoman-request-x-user-id"] == "%REQ(x-user-id?x-request-id)%"


def test_no_header_takes_the_place_of_the_route() -> None:
    names = ("route", "path", "place", "header-a", "request-a")
    found = key(replace(SPEC, headers=names, identity=("a",)))
    assert len(found) == 3 + len(names) + 2
    assert found["dragoman-route"] == key(SPEC)["dragoman-route"]


def test_a_changed_route_or_version_is_another_key() -> None:
    same = key(SPEC)["dragoman-route"]
    assert key(replace(SPEC, ttl=5))["dragoman-route"] == same
    others = [
        key(replace(SPEC, version="2")),
        key(SPEC, kept(action=forward("v2"))),
        key(SPEC, kept(action=forward(rewrite=ir.ReplaceFullPath("/a")))),
        key(SPEC, kept(response_headers=ir.HeaderMutation((("x-a", "1"),)))),
        key(
            SPEC,
            kept(match=ir.RouteMatch(ir.SegmentPrefix("/"), headers=(ir.HeaderMatch("x", ir.Present()),))),
        ),
    ]
    digests = {each["dragoman-route"] for each in others}
    assert len(digests) == len(others)
    assert same not in digests


def test_the_store_is_bounded_and_asks_the_inner_listener() -> None:
    found = store(SPEC)
    assert found["override_upstream_cluster"] == INNER
    assert found["ignore_request_cache_control_header"] is True
    assert "allowed_vary_headers" not in found  # the simple store of version 1 crashed on it
    assert found["typed_config"]["max_cache_size_bytes"] == str(ir.Storage().size)
    assert found["typed_config"]["cache_path"] == "/dev/shm/"


def test_stores_of_one_folder_and_different_sizes_are_spelled_differently() -> None:
    """Envoy would refuse the table."""
    paths = {
        store(replace(SPEC, storage=ir.Storage("/a", size)))["typed_config"]["cache_path"]
        for size in range(1, 99)
    }
    assert len(paths) == 98
    assert {re.sub(r"(/\.?)+$", "", path) for path in paths} == {"/a"}


def test_lifetimes() -> None:
    shown = cache.lifetime(replace(SPEC, statuses=((404, 5), (200, 0))))
    assert '== "404" ? "max-age=5"' in shown
    assert '== "200" ? "no-store"' in shown
    assert shown.index("404") < shown.index('"203"')
    assert '"expires"' in shown
    assert '"expires"' not in cache.lifetime(replace(SPEC, respect_origin=False))
    assert cache.lifetime(ir.Cache()).endswith('"" : "no-store"')


def test_the_table_refers_to_its_inner_listener() -> None:
    table = static_site.table(PLAIN, {"*": [kept()]})
    assert set(table.refers(resource.LISTENER)) == {INNER}
    assert INNER in table.refers(resource.CLUSTER)
    assert not static_site.table(PLAIN, {"*": [route(forward())]}).refers(resource.LISTENER)


def test_the_inner_listener_has_what_stands_after_the_cache() -> None:
    made = proto.to_dict(
        proto.message("envoy.config.listener.v3.Listener").FromString(inner.listener(PLAIN).payload)
    )
    assert made["name"] == naming.inner(PLAIN) == INNER
    manager = made["filter_chains"][0]["filters"][0]["typed_config"]
    assert manager["rds"]["route_config_name"] == naming.route_config(PLAIN)
    names = [each["name"] for each in manager["http_filters"]]
    after = [each.name for each in chain.FILTERS][
        [each.name for each in chain.FILTERS].index(cache.NAME) + 1 :
    ]
    assert names == [cache.RESTORE, cache.ANSWER, *after]


def test_no_object_is_called_like_an_inner_cluster() -> None:
    for scope in (PLAIN, ir.Scope(PLAIN.bind, "*.shop.example")):
        assert naming.refs_of(resource.CLUSTER, naming.inner(scope)) == ()
